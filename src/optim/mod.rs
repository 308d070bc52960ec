//! Optimizers: one pass over parameters, gradient and moments for each step; the gradient's norm; and
//! learning rates as plain functions of the step.

#![forbid(unsafe_code)]

use crate::error::{Error, Result, check_len};
use crate::parallel::cx::Cx;
use crate::simd::real::Real;

mod adam;
mod gradient;
pub mod schedule;
mod sgd;

pub use adam::{Adam, AdamW};
pub use gradient::clip_norm;
pub(crate) use gradient::{accumulate, check_max};
pub use sgd::Sgd;

/// Parameters of a block of work.
const BLOCK: usize = 16 << 10;

/// Changes parameters by their gradient.
///
/// Gradients, moments and parameters below the smallest normal number count as 0. So do changes below it, of
/// a moment or, in plain descent, of a parameter: arithmetic on denormals would slow training down. A NaN
/// stays NaN.
pub trait Optimizer<T: Real> {
    /// One step at a learning rate. The first call decides how many parameters there are.
    ///
    /// Refused, with nothing changed, where the lengths do not match or the rate is negative or not
    /// finite.
    fn step(&mut self, cx: &Cx, rate: f64, params: &mut [T], grad: &[T]) -> Result<()>;
}

/// An optimizer whose state can be saved and restored: see `checkpoint` (feature `safetensors`).
///
/// The settings that it was built with, such as momentum or betas, are not part of the state.
///
/// ```
/// use drlim::optim::{Optimizer, Resume, Sgd};
/// let (cx, mut p) = (drlim::Cx::default(), [1.0_f64]);
/// let mut sgd = Sgd::new().momentum(0.5)?;
/// sgd.step(&cx, 0.25, &mut p, &[1.0])?;
///
/// let moments = sgd.moments().into_iter().map(|(_, moment)| moment.to_vec()).collect();
/// let mut resumed = Sgd::new().momentum(0.5)?;
/// resumed.restore(sgd.steps(), moments)?;
/// assert_eq!(resumed, sgd);
/// # Ok::<(), drlim::Error>(())
/// ```
pub trait Resume<T: Real>: Optimizer<T> {
    /// The number of steps done.
    fn steps(&self) -> u64;

    /// The moments: what the optimizer remembers of the gradients, under fixed and distinct names. Each is as
    /// long as the parameters, or empty before the first step.
    fn moments(&self) -> Vec<(&'static str, &[T])>;

    /// Restores the state of another optimizer: its steps, and its moments in the order of
    /// [`moments`](Resume::moments).
    ///
    /// Refused, with nothing changed, where there are more or fewer moments, or they differ in
    /// length.
    fn restore(&mut self, steps: u64, moments: Vec<Vec<T>>) -> Result<()>;
}

/// Refuses moments that are not `N` vectors of one length.
fn check_moments<T, const N: usize>(moments: Vec<Vec<T>>) -> Result<[Vec<T>; N]> {
    let moments: [Vec<T>; N] = moments.try_into().map_err(|moments: Vec<_>| Error::Length {
        call: "restore",
        arg: "moments",
        got: moments.len(),
        expected: N,
        like: "as the optimizer has",
    })?;
    for moment in &moments {
        check_len("restore", "a moment", moment.len(), moments[0].len(), "as the first")?;
    }
    Ok(moments)
}

fn check<T: Real>(rate: f64, params: usize, grad: usize, steps: u64, state: usize) -> Result<()> {
    check_len("step", "grad", grad, params, "the parameters")?;
    if steps > 0 {
        check_len("step", "params", params, state, "as in the first step")?;
    }
    check_not_negative::<T>("rate", rate)
}

/// Refuses a number that is negative, NaN, or infinite in the element type.
fn check_not_negative<T: Real>(arg: &'static str, got: f64) -> Result<()> {
    if got >= 0.0 && T::from_f64(got).is_finite() {
        Ok(())
    } else {
        Err(Error::Value { arg, got, expected: "finite and not negative" })
    }
}

/// Refuses a number outside of [0, 1), or one that rounds to 1 in the element type.
fn check_share<T: Real>(arg: &'static str, got: f64) -> Result<()> {
    if got >= 0.0 && T::from_f64(got) < T::ONE {
        Ok(())
    } else {
        Err(Error::Value { arg, got, expected: "at least 0 and below 1" })
    }
}
