//! Optimizers: one pass over parameters, gradient and moments for each step; the gradient's norm; and
//! learning rates as plain functions of the step.

#![forbid(unsafe_code)]

use crate::cx::Cx;
use crate::error::{Error, Result, check_len};
use crate::real::Real;

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
/// Gradients, moments and parameters below the smallest normal number count as 0, and so does what
/// would change a moment by less, or a parameter of plain descent: arithmetic on denormals would slow
/// training down. A NaN stays one.
pub trait Optimizer<T: Real> {
    /// One step at a learning rate. The first call decides how many parameters there are.
    ///
    /// Refused, with nothing changed, where the lengths do not match or the rate is negative or not
    /// finite.
    fn step(&mut self, cx: &Cx, rate: f64, params: &mut [T], grad: &[T]) -> Result<()>;
}

fn check<T: Real>(rate: f64, params: usize, grad: usize, steps: u64, state: usize) -> Result<()> {
    check_len("step", "grad", grad, params, "the parameters")?;
    if steps > 0 {
        check_len("step", "params", params, state, "as in the first step")?;
    }
    check_not_negative::<T>("rate", rate)
}

/// Refuses what is negative, NaN, or infinite in the element type.
fn check_not_negative<T: Real>(arg: &'static str, got: f64) -> Result<()> {
    if got >= 0.0 && T::from_f64(got).is_finite() {
        Ok(())
    } else {
        Err(Error::Value { arg, got, expected: "finite and not negative" })
    }
}

/// Refuses what is not a share, or rounds to 1 in the element type.
fn check_share<T: Real>(arg: &'static str, got: f64) -> Result<()> {
    if got >= 0.0 && T::from_f64(got) < T::ONE {
        Ok(())
    } else {
        Err(Error::Value { arg, got, expected: "at least 0 and below 1" })
    }
}
