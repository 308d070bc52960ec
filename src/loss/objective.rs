//! How the costs of pairs are added up, and what a call reports.

#![forbid(unsafe_code)]

use super::{BlockLoss, BlockSum};
use crate::real::Real;

/// How the values of pairs become one number. The gradient is always the gradient of that number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reduction {
    /// The sum over pairs: the paper's own.
    #[default]
    Sum,
    /// The mean over pairs; 0 where there are none.
    Mean,
}

/// A loss with its way of being added up.
///
/// ```
/// use drlim::loss::{Contrastive, Objective};
/// let loss = Contrastive::new(1.0_f32)?;
/// let objective = Objective::mean(&loss).scaled(0.5);
/// # Ok::<(), drlim::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Objective<'l, T> {
    /// What a pair costs.
    pub loss: &'l dyn BlockLoss<T>,
    /// How the costs are added up.
    pub reduction: Reduction,
    /// What gradients, and only those, are multiplied by: the derivative of the caller's own
    /// objective with respect to this one's value.
    pub scale: T,
}

impl<'l, T: Real> Objective<'l, T> {
    /// The sum over pairs.
    pub fn sum(loss: &'l dyn BlockLoss<T>) -> Self {
        Objective { loss, reduction: Reduction::Sum, scale: T::ONE }
    }

    /// The mean over pairs.
    pub fn mean(loss: &'l dyn BlockLoss<T>) -> Self {
        Objective { reduction: Reduction::Mean, ..Objective::sum(loss) }
    }

    /// The same with another factor for gradients.
    pub fn scaled(self, scale: T) -> Self {
        Objective { scale, ..self }
    }

    /// What the slope of each of `pairs` pairs is multiplied by.
    pub(crate) fn factor(&self, pairs: usize) -> T {
        match self.reduction {
            Reduction::Sum => self.scale,
            Reduction::Mean => T::from_f64(self.scale.to_f64() / pairs.max(1) as f64),
        }
    }

    pub(crate) fn outcome(&self, pairs: usize, similar: u64, sum: BlockSum) -> Outcome {
        let value = match self.reduction {
            Reduction::Sum => sum.value,
            Reduction::Mean => sum.value / pairs.max(1) as f64,
        };
        Outcome { value, pairs: pairs as u64, similar, active: sum.active }
    }
}

/// What a call on a batch of pairs reports.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// The objective's value, not multiplied by its scale.
    pub value: f64,
    /// How many pairs there were.
    pub pairs: u64,
    /// How many of them were similar.
    pub similar: u64,
    /// How many had a value other than zero. A NaN is not zero.
    pub active: u64,
}
