//! Rows scaled to unit length on the way into a call, and its gradient on the way back.

use drlim::nn::{L2Normalize, Network, Shape, Workspace};
use drlim::{Cx, Mat, MatMut, Real, Result};

/// Elements of the rows that are scaled at once: where a batch does not fit in a cache, copies of it would
/// not either.
const AT_ONCE: usize = 1 << 18;

/// With `unit`, calls with the rows of `z` divided by their lengths, and leaves in `grad` the gradient by the
/// rows as they are. A row of length 0 has no direction: its gradient is 0.
pub fn with_unit_rows<T: Real, R>(
    unit: bool,
    cx: &Cx,
    z: Mat<T>,
    mut grad: Option<MatMut<T>>,
    call: impl FnOnce(Mat<T>, Option<MatMut<T>>) -> Result<R>,
) -> Result<R> {
    let [rows, cols] = z.shape();
    if !unit || rows == 0 || cols == 0 {
        return call(z, grad);
    }
    let net = Network::builder(Shape::flat(cols)).layer("unit", L2Normalize::new()).build(0)?;
    let height = (AT_ONCE / cols).clamp(1, rows);
    let mut workspace = Workspace::training(&net, height)?;
    let parts = || (0..rows).step_by(height).map(|from| (from, rows.min(from + height)));
    let mut scaled = Vec::with_capacity(rows * cols);
    for (from, to) in parts() {
        let part = net.forward(cx, z.rows_range(from, to), &mut workspace)?;
        part.iter().for_each(|row| scaled.extend_from_slice(row));
    }
    let outcome = call(Mat::new(&scaled, rows, cols)?, grad.as_mut().map(MatMut::rb_mut))?;
    let Some(mut rest) = grad else { return Ok(outcome) };
    drop(scaled);
    let mut by_unit = Vec::with_capacity(height * cols);
    for (from, to) in parts() {
        let (part, others) = rest.split_rows_at(to - from);
        by_unit.clear();
        part.rb().iter().for_each(|row| by_unit.extend_from_slice(row));
        net.forward(cx, z.rows_range(from, to), &mut workspace)?;
        let by_unit = Mat::new(&by_unit, to - from, cols)?;
        net.backward(cx, by_unit, &mut workspace, &mut [], Some(part))?;
        rest = others;
    }
    Ok(outcome)
}
