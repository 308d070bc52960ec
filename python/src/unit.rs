//! Rows scaled to unit length on the way into a call, and its gradient on the way back.

use drlim::loss::Outcome;
use drlim::nn::{L2Normalize, Network, Shape, Workspace};
use drlim::{Cx, Mat, MatMut, Real, Result};

/// Where `unit` says so, calls with the rows of `z` divided by their lengths, and leaves in `grad` the gradient by the rows as they
/// are. Where a row has no direction, as it is 0, its gradient is 0.
pub fn with_unit_rows<T: Real>(
    unit: bool,
    cx: &Cx,
    z: Mat<T>,
    grad: Option<MatMut<T>>,
    call: impl FnOnce(Mat<T>, Option<MatMut<T>>) -> Result<Outcome>,
) -> Result<Outcome> {
    let [rows, cols] = z.shape();
    if !unit || rows == 0 || cols == 0 {
        return call(z, grad);
    }
    let net = Network::builder(Shape::flat(cols)).layer("unit", L2Normalize::new()).build(0)?;
    let Some(grad) = grad else {
        let mut workspace = Workspace::inference(&net, rows)?;
        return call(net.forward(cx, z, &mut workspace)?, None);
    };
    let mut workspace = Workspace::training(&net, rows)?;
    let mut by_unit = vec![T::ZERO; rows * cols];
    let to = MatMut::new(&mut by_unit, rows, cols)?;
    let outcome = call(net.forward(cx, z, &mut workspace)?, Some(to))?;
    let by_unit = Mat::new(&by_unit, rows, cols)?;
    net.backward(cx, by_unit, &mut workspace, &mut [], Some(grad))?;
    Ok(outcome)
}
