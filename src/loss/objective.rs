//! Objectives: a loss, the reduction that adds up the costs of pairs or triplets, and a factor for
//! gradients.

#![forbid(unsafe_code)]

use super::reduction::Reduction;
use super::sums::Sums;
use super::{BlockLoss, BlockTripletLoss};
use crate::error::{Error, Result};
use crate::simd::real::Real;

/// A pair loss with its way of being added up.
///
/// ```
/// use drlim::loss::{Contrastive, LinearHinge, Objective, Reduction};
/// let loss = Contrastive::new(1.0_f32)?;
/// let halved = Objective::mean(&loss).scaled(0.5);
///
/// // What pytorch-metric-learning computes by default, on rows of unit length.
/// let loss = LinearHinge::new(0.0_f32, 1.0)?;
/// let objective = Objective::sum(&loss).reduced(Reduction::BalancedNonZero);
/// # Ok::<(), drlim::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Objective<'l, T> {
    /// What a pair costs.
    pub loss: &'l dyn BlockLoss<T>,
    /// How the costs are added up.
    pub reduction: Reduction,
    /// Factor of gradients and slopes, and of nothing else: the derivative of the caller's own objective
    /// with respect to this one's value.
    pub scale: T,
}

impl<'l, T: Real> Objective<'l, T> {
    /// The sum over pairs.
    pub fn sum(loss: &'l dyn BlockLoss<T>) -> Self {
        Objective { loss, reduction: Reduction::Sum, scale: T::ONE }
    }

    /// The mean over pairs.
    pub fn mean(loss: &'l dyn BlockLoss<T>) -> Self {
        Objective::sum(loss).reduced(Reduction::Mean)
    }

    /// This objective with another reduction.
    pub fn reduced(self, reduction: Reduction) -> Self {
        Objective { reduction, ..self }
    }

    /// This objective with another factor for gradients.
    pub fn scaled(self, scale: T) -> Self {
        Objective { scale, ..self }
    }

    /// Factors of the slopes of similar and of dissimilar pairs.
    pub(crate) fn factors(&self, sums: &Sums) -> [T; 2] {
        self.reduction.factors(sums).map(|factor| T::from_f64(self.scale.to_f64() * factor))
    }

    /// Whether a slope of 0 stays 0, whatever it is multiplied by.
    pub(crate) fn is_finite(&self) -> bool {
        // Other reductions divide by a number of pairs, or by nothing.
        self.factors(&Sums::default()).iter().all(|factor| factor.is_finite())
            && self.scale.is_finite()
    }
}

/// A triplet loss with its way of being added up.
///
/// ```
/// use drlim::loss::{Reduction, TripletMargin, TripletObjective};
/// let loss = TripletMargin::new(0.2_f32)?;
/// let objective = TripletObjective::sum(&loss).reduced(Reduction::MeanNonZero)?;
/// # Ok::<(), drlim::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct TripletObjective<'l, T> {
    /// What a triplet costs.
    pub loss: &'l dyn BlockTripletLoss<T>,
    reduction: Reduction,
    /// Factor of gradients and slopes, and of nothing else.
    pub scale: T,
}

impl<'l, T: Real> TripletObjective<'l, T> {
    /// The sum over triplets.
    pub fn sum(loss: &'l dyn BlockTripletLoss<T>) -> Self {
        TripletObjective { loss, reduction: Reduction::Sum, scale: T::ONE }
    }

    /// The mean over triplets.
    pub fn mean(loss: &'l dyn BlockTripletLoss<T>) -> Self {
        TripletObjective { reduction: Reduction::Mean, ..TripletObjective::sum(loss) }
    }

    /// This objective with another reduction: `Sum`, `Mean` or `MeanNonZero`. The others are refused,
    /// because a triplet is neither similar nor dissimilar. (Parts of a batch on several machines take
    /// the gradient of a sum, [`scaled`](TripletObjective::scaled) by the second of
    /// [`Reduction::factors`] of the total.)
    pub fn reduced(self, reduction: Reduction) -> Result<Self> {
        match reduction {
            Reduction::Sum | Reduction::Mean | Reduction::MeanNonZero => {
                Ok(TripletObjective { reduction, ..self })
            }
            _ => Err(Error::Reduction { got: format!("{reduction:?}") }),
        }
    }

    /// This objective with another factor for gradients.
    pub fn scaled(self, scale: T) -> Self {
        TripletObjective { scale, ..self }
    }

    /// How the costs are added up.
    pub fn reduction(&self) -> Reduction {
        self.reduction
    }

    /// Factor of all slopes.
    pub(crate) fn factor(&self, sums: &Sums) -> T {
        let [_, factor] = self.reduction.factors(sums);
        T::from_f64(self.scale.to_f64() * factor)
    }

    /// Factor of slopes during a pass over at most `most` triplets, whose number is not yet known: it is
    /// close to the final factor, so that no sum overflows.
    pub(crate) fn factor_of_pass(&self, most: u64) -> T {
        T::from_f64(self.scale.to_f64() * self.early(most))
    }

    /// Factor of gradients at the end of such a pass.
    pub(crate) fn scale_after_pass(&self, most: u64, sums: &Sums) -> T {
        T::from_f64(self.reduction.factors(sums)[1] / self.early(most))
    }

    fn early(&self, most: u64) -> f64 {
        match self.reduction {
            Reduction::Sum => 1.0,
            _ => 1.0 / most.max(1) as f64,
        }
    }
}
