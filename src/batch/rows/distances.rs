//! Distances of row i of one matrix from row i of another, without a loss, and their gradients.

#![forbid(unsafe_code)]

use std::ops::Range;

use crate::batch::blocking::task_rows;
use crate::error::{Result, check_len, check_shape};
use crate::kernel::rows::distances::{
    Cosine, Dot, Euclidean, RowDistance, RowDistances, RowDistancesBackward, SquaredEuclidean,
};
use crate::memory::mat::{Mat, MatMut};
use crate::parallel::cx::Cx;
use crate::parallel::split::{Chunks, RowBlocks, for_blocks, rows_of_block};
use crate::simd::real::{Real, compiled};

/// A distance of two rows a and b. With d = |a - b|, â = a/|a|, b̂ = b/|b| and cos = â·b̂:
///
/// | | value | gradient by a | gradient by b |
/// |---|---|---|---|
/// | `Euclidean` | d | (a - b)/d | (b - a)/d |
/// | `SquaredEuclidean` | d² | 2 (a - b) | 2 (b - a) |
/// | `Dot` | a·b | b | a |
/// | `Cosine` | 1 - cos | (cos â - b̂)/\|a\| | (cos b̂ - â)/\|b\| |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Distance {
    /// The square root of the sum of squared differences. Where that sum is zero or below the
    /// smallest normal number, both gradients are 0.
    Euclidean,
    /// The sum of squared differences.
    SquaredEuclidean,
    /// The sum of products. A similarity rather than a distance: the larger, the nearer.
    Dot,
    /// 1 minus the cosine of the angle between the rows: 0 for one direction, 1 for a right angle,
    /// 2 for opposite directions.
    ///
    /// Evaluated as |â - b̂|²/2, which keeps its precision between nearly parallel rows: at an angle
    /// of t the relative error is a few times eps/t, where that of 1 - cos is eps/t². Equal rows
    /// have distance 0.
    ///
    /// Where |a|² or |b|² is zero or below the smallest normal number (a row without elements is such a row),
    /// there is no angle: the distance is 1 and both gradients are 0. A NaN in the other row still gives NaN.
    /// Squares may overflow: where |a|² is infinite, â is a divided by infinity.
    Cosine,
}

/// The distance of row i of `a` to row i of `b`, for each of the N rows.
///
/// `a` and `b` are N x D, `out` has N elements and is overwritten. Differences are formed before
/// they are squared, so close rows keep their relative precision and equal rows have distance 0
/// (but for [`Dot`](Distance::Dot), which is no distance).
///
/// # Accuracy
///
/// With B = D/32 + 4 and eps the spacing of numbers at 1: `Euclidean` and `SquaredEuclidean` are within B eps
/// of the exact result, relative to it; `Dot` within B eps of the sum of |a_k b_k|; a `Cosine` distance c
/// within B eps of c + sqrt(2c) + B eps.
///
/// # Errors
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
#[inline(never)]
pub fn row_distances<T: Real>(
    cx: &Cx,
    distance: Distance,
    a: Mat<T>,
    b: Mat<T>,
    out: &mut [T],
) -> Result<()> {
    check_shape("row_distances", "b", b.shape(), a.shape(), "as a")?;
    check_len("row_distances", "out", out.len(), a.rows(), "the rows of a")?;
    match distance {
        Distance::Euclidean => forward(cx, Euclidean, a, b, out),
        Distance::SquaredEuclidean => forward(cx, SquaredEuclidean, a, b, out),
        Distance::Dot => forward(cx, Dot, a, b, out),
        Distance::Cosine => forward(cx, Cosine, a, b, out),
    }
    Ok(())
}

/// The gradients of [`row_distances`], by the chain rule: the derivatives of distance i times `upstream` i,
/// which is the derivative of the caller's objective by distance i.
///
/// ```text
/// grad_a_i = upstream_i d(distance_i)/d(a_i)        grad_b_i = upstream_i d(distance_i)/d(b_i)
/// ```
///
/// `a`, `b`, `grad_a` and `grad_b` are N x D, `upstream` has N elements; both gradients are overwritten.
/// [`Distance`] lists the derivatives; where there is none, 0 takes its place.
///
/// # Accuracy
///
/// Elements are within (D/32 + 4) eps of the exact ones, relative to them, with `SquaredEuclidean` and `Dot`
/// within 2 eps; with `Cosine` within (D/16 + 8) eps of (|â_k| + |b̂_k|)/|a|.
///
/// # Errors
///
/// Refused where a shape does not match; nothing has been written then.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::batch::{Distance, row_distances, row_distances_backward};
/// use drlim::{Cx, Mat, MatMut};
///
/// // A loss that this crate does not have: the sum of ln(1 + d²) over pairs of rows.
/// let (a, b) = ([3.0_f32, 1.0, /**/ 2.0, 2.0], [1.0_f32, 1.0, /**/ 2.0, 2.0]);
/// let (a, b) = (Mat::new(&a, 2, 2)?, Mat::new(&b, 2, 2)?);
/// let (cx, distance) = (Cx::default(), Distance::SquaredEuclidean);
/// let mut d2 = [0.0; 2];
/// row_distances(&cx, distance, a, b, &mut d2)?;
/// assert_eq!(d2, [4.0, 0.0]);
/// let loss: f32 = d2.iter().map(|d2| (1.0 + d2).ln()).sum();
///
/// // Its derivative by d² is 1/(1 + d²).
/// let upstream = d2.map(|d2| 1.0 / (1.0 + d2));
/// let (mut grad_a, mut grad_b) = ([0.0; 4], [0.0; 4]);
/// let (by_a, by_b) = (MatMut::new(&mut grad_a, 2, 2)?, MatMut::new(&mut grad_b, 2, 2)?);
/// row_distances_backward(&cx, distance, a, b, &upstream, by_a, by_b)?;
/// assert_eq!((loss, grad_a), (5.0_f32.ln(), [0.8, 0.0, /**/ 0.0, 0.0]));
/// assert_eq!(grad_b, [-0.8, 0.0, /**/ 0.0, 0.0]);
/// # Ok(()) }
/// ```
#[inline(never)]
pub fn row_distances_backward<T: Real>(
    cx: &Cx,
    distance: Distance,
    a: Mat<T>,
    b: Mat<T>,
    upstream: &[T],
    grad_a: MatMut<T>,
    grad_b: MatMut<T>,
) -> Result<()> {
    let call = "row_distances_backward";
    check_shape(call, "b", b.shape(), a.shape(), "as a")?;
    check_len(call, "upstream", upstream.len(), a.rows(), "the rows of a")?;
    check_shape(call, "grad_a", grad_a.shape(), a.shape(), "as a")?;
    check_shape(call, "grad_b", grad_b.shape(), a.shape(), "as a")?;
    let (inputs, grads) = ([a, b], [grad_a, grad_b]);
    match distance {
        Distance::Euclidean => backward(cx, Euclidean, inputs, upstream, grads),
        Distance::SquaredEuclidean => backward(cx, SquaredEuclidean, inputs, upstream, grads),
        Distance::Dot => backward(cx, Dot, inputs, upstream, grads),
        Distance::Cosine => backward(cx, Cosine, inputs, upstream, grads),
    }
    Ok(())
}
compiled!(row_distances::<T>, row_distances_backward::<T>);

fn forward<T: Real, D: RowDistance>(cx: &Cx, distance: D, a: Mat<T>, b: Mat<T>, out: &mut [T]) {
    let n = a.rows();
    let height = task_rows(n, a.cols().saturating_mul(2 * size_of::<T>()));
    for_blocks(cx.par, n.div_ceil(height), Chunks(out, height), |block, out| {
        let Range { start, end } = rows_of_block(block, height, n);
        let (a, b) = (a.rows_range(start, end), b.rows_range(start, end));
        T::dispatch(cx.isa, RowDistances { distance, a, b, out });
    });
}

fn backward<T: Real, D: RowDistance>(
    cx: &Cx,
    distance: D,
    [a, b]: [Mat<T>; 2],
    upstream: &[T],
    grads: [MatMut<T>; 2],
) {
    let n = a.rows();
    let height = task_rows(n, a.cols().saturating_mul(4 * size_of::<T>()));
    let grads = grads.map(|grad| RowBlocks(grad, height));
    for_blocks(cx.par, n.div_ceil(height), grads, |block, grads| {
        let Range { start, end } = rows_of_block(block, height, n);
        let (a, b) = (a.rows_range(start, end), b.rows_range(start, end));
        let upstream = &upstream[start..end];
        T::dispatch(cx.isa, RowDistancesBackward { distance, a, b, upstream, grads });
    });
}
