//! Distances by themselves, without a loss.

#![forbid(unsafe_code)]

use super::task_rows;
use crate::cx::Cx;
use crate::error::{Result, check_len, check_shape};
use crate::kernel::rows::RowDistances;
use crate::mat::Mat;
use crate::par::{Chunks, for_blocks};
use crate::real::Real;

/// Which distance of two rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Distance {
    /// The square root of the sum of squared differences.
    Euclidean,
    /// The sum of squared differences.
    SquaredEuclidean,
}

/// The distance of row i of `a` to row i of `b`, for each of the N rows.
///
/// `a` and `b` are N x D, `out` has N elements and is overwritten. Differences are formed before
/// they are squared, so close rows keep their relative precision and equal rows have distance 0.
///
/// Refused where a shape does not match; nothing has been written then.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::batch::{Distance, row_distances};
/// use drlim::{Cx, Mat};
/// let (a, b) = ([0.0, 0.0, 512695.0, 0.0], [3.0, 4.0, 512804.0, 0.0]);
/// let mut d = [0.0_f32; 2];
/// let (a, b) = (Mat::new(&a, 2, 2)?, Mat::new(&b, 2, 2)?);
/// row_distances(&Cx::default(), Distance::Euclidean, a, b, &mut d)?;
/// assert_eq!(d, [5.0, 109.0]);
/// # Ok(()) }
/// ```
pub fn row_distances<T: Real>(
    cx: &Cx,
    distance: Distance,
    a: Mat<T>,
    b: Mat<T>,
    out: &mut [T],
) -> Result<()> {
    check_shape("row_distances", "b", b.shape(), a.shape(), "as a")?;
    check_len("row_distances", "out", out.len(), a.rows(), "the rows of a")?;
    let n = a.rows();
    let height = task_rows(n, a.cols().saturating_mul(2 * size_of::<T>()));
    for_blocks(cx.par, n.div_ceil(height), Chunks(out, height), |block, out: Chunks<T>| {
        let (start, end) = (block * height, ((block + 1) * height).min(n));
        let (a, b) = (a.rows_range(start, end), b.rows_range(start, end));
        let root = distance == Distance::Euclidean;
        T::dispatch(cx.isa, RowDistances { a, b, root, out: out.0 });
    });
    Ok(())
}
