//! Operations on a gradient before the optimizer's step: bounding its norm, and adding up those of several
//! batches.

#![forbid(unsafe_code)]

use std::ops::Add;

use super::BLOCK;
use crate::error::{Error, Result};
use crate::kernel::optim::clip::{Accumulate, Scale, Squares};
use crate::parallel::cx::Cx;
use crate::parallel::split::{Chunks, for_blocks, rows_of_block, sum_blocks};
use crate::simd::real::{Real, compiled};

/// Scales a gradient to the Euclidean norm `max` where its norm is larger. Returns the norm that it had.
///
/// This is PyTorch's `clip_grad_norm_`, without the 1e-6 that it adds to the norm. The norm is that of all
/// parameters together. It is computed in `f64`, scaled where squares would leave its range, and has the same
/// bits on every tier. An infinite `max` only measures.
///
/// # Accuracy
///
/// The norm of D elements is within (D/32 + 4) eps of itself, where eps is that of `f64`; scaled elements are
/// rounded once more.
///
/// # Errors
///
/// Refused, with nothing changed, where `max` is not above 0, or where the norm is infinite or NaN:
/// scaled, such a gradient would be NaN.
///
/// ```
/// use drlim::optim::clip_norm;
/// let mut grad = [3.0_f32, -4.0];
/// assert_eq!(clip_norm(&drlim::Cx::default(), &mut grad, 2.5)?, 5.0);
/// assert_eq!(grad, [1.5, -2.0]);
/// # Ok::<(), drlim::Error>(())
/// ```
#[inline(never)]
pub fn clip_norm<T: Real>(cx: &Cx, grad: &mut [T], max: f64) -> Result<f64> {
    check_max(max)?;
    let norm = norm(cx, grad);
    if !norm.is_finite() {
        return Err(Error::Value { arg: "the gradient's norm", got: norm, expected: "finite" });
    }
    if norm > max {
        // A quotient below the normal numbers has few digits or none. Its two factors have all of theirs.
        let ends = if max / norm < f64::MIN_POSITIVE { f64::powi(2.0, -600) } else { 1.0 };
        let factor = max / ends / (norm * ends);
        let blocks = grad.len().div_ceil(BLOCK);
        for_blocks(cx.par, blocks, Chunks(grad, BLOCK), |_, grad| {
            T::dispatch(cx.isa, Scale { grad, factor, ends });
        });
    }
    Ok(norm)
}

/// Refuses a bound of the norm that is not above 0.
pub(crate) fn check_max(max: f64) -> Result<()> {
    if max > 0.0 { Ok(()) } else { Err(Error::Value { arg: "max", got: max, expected: "above 0" }) }
}

/// The Euclidean norm.
fn norm<T: Real>(cx: &Cx, grad: &[T]) -> f64 {
    // Scales that are powers of two round nothing. Squares of `f32` need neither.
    let (up, down) = (f64::powi(2.0, 600), f64::powi(2.0, -600));
    let squares = squares(cx, grad, 1.0);
    if squares == f64::INFINITY {
        self::squares(cx, grad, down).sqrt() * up
    } else if squares < f64::MIN_POSITIVE * up.sqrt() {
        self::squares(cx, grad, up).sqrt() * down
    } else {
        squares.sqrt()
    }
}

/// The sum of the squares of scaled elements.
fn squares<T: Real>(cx: &Cx, grad: &[T], scale: f64) -> f64 {
    sum_blocks(cx.par, grad.len().div_ceil(BLOCK), (), f64::add, |block, ()| {
        let grad = &grad[rows_of_block(block, BLOCK, grad.len())];
        T::dispatch(cx.isa, Squares { grad, scale })
    })
}

/// Adds `factor` times a gradient to `sum`, which is as long.
#[inline(never)]
pub(crate) fn accumulate<T: Real>(cx: &Cx, factor: f64, grad: &[T], sum: &mut [T]) {
    let factor = T::from_f64(factor);
    let blocks = sum.len().div_ceil(BLOCK);
    for_blocks(cx.par, blocks, Chunks(sum, BLOCK), |block, sum| {
        let grad = &grad[block * BLOCK..][..sum.len()];
        T::dispatch(cx.isa, Accumulate { factor, grad, sum });
    });
}

compiled!(clip_norm::<T>, accumulate::<T>);
