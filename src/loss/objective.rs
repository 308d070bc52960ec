//! How the costs of pairs are added up, and what a call reports.

#![forbid(unsafe_code)]

use std::ops::Add;

use super::{BlockLoss, BlockTripletLoss};
use crate::error::{Error, Result};
use crate::real::Real;

/// How the values of pairs become one number. The gradient is always the gradient of that number.
///
/// With the sums S of values, the numbers N of pairs and the numbers A of active ones, whose value
/// is not zero, over the similar (s) and the dissimilar pairs (d); 0/0 is 0:
///
/// | reduction | value |
/// |---|---|
/// | `Sum` | S_s + S_d |
/// | `Mean` | (S_s + S_d) / (N_s + N_d) |
/// | `MeanNonZero` | (S_s + S_d) / (A_s + A_d) |
/// | `Balanced` | S_s / N_s + S_d / N_d |
/// | `BalancedNonZero` | S_s / A_s + S_d / A_d |
/// | `Factors` | similar S_s + dissimilar S_d |
///
/// Numbers of active pairs are known only when all values are. Calls by rows then measure the batch twice
/// where gradients are asked for: that reads more, but writes each gradient once, with its factor, where a
/// scaling at the end would read and write all of them again. Calls on all pairs scale at the end, and with
/// `BalancedNonZero` measure similar pairs a second time, or all pairs where these are the most or are pulled
/// as one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Reduction {
    /// The sum over pairs: the paper's own.
    #[default]
    Sum,
    /// The mean over pairs.
    Mean,
    /// The mean over pairs whose value is not zero.
    MeanNonZero,
    /// The mean over the similar plus the mean over the dissimilar pairs, whose numbers may be very
    /// different.
    Balanced,
    /// The same over pairs whose value is not zero: the default of pytorch-metric-learning.
    BalancedNonZero,
    /// Given factors. They are how parts of a batch on several machines get the gradient of the
    /// whole: see [`Reduction::factors`].
    Factors {
        /// What values of similar pairs are multiplied by.
        similar: f64,
        /// What values of dissimilar pairs are multiplied by.
        dissimilar: f64,
    },
}

impl Reduction {
    /// What the values of similar and of dissimilar pairs are multiplied by, given the sums over
    /// the whole batch.
    ///
    /// A batch in two parts, each of which could lie on another machine:
    ///
    /// ```
    /// # fn main() -> drlim::Result<()> {
    /// use drlim::batch::{RowsOut, rows};
    /// use drlim::loss::{Contrastive, Objective, Reduction};
    /// use drlim::{Cx, Mat, MatMut};
    ///
    /// let (a, b) = ([0.0_f32, 0.3, 0.9, 4.0], [0.1_f32, 0.5, 0.2, 0.0]); // four pairs, D = 1
    /// let similar = [true, false, false, false];
    /// let loss = Contrastive::new(1.0)?;
    /// let whole = Objective::sum(&loss).reduced(Reduction::BalancedNonZero);
    /// let part = |objective: &Objective<f32>, at: std::ops::Range<usize>, out: RowsOut<f32>| {
    ///     let (a, b) = (Mat::new(&a[at.clone()], 2, 1)?, Mat::new(&b[at.clone()], 2, 1)?);
    ///     rows(&Cx::default(), objective, a, b, &similar[at], out)
    /// };
    /// let sums = part(&whole, 0..2, RowsOut::none())?.sums + part(&whole, 2..4, RowsOut::none())?.sums;
    /// let [similar, dissimilar] = whole.reduction.factors(&sums);
    /// let mine = whole.reduced(Reduction::Factors { similar, dissimilar });
    /// let mut grad = [0.0; 4];
    /// let (grad_a, grad_b) = grad.split_at_mut(2);
    /// let grads = RowsOut::grads(MatMut::new(grad_a, 2, 1)?, MatMut::new(grad_b, 2, 1)?);
    /// let first = part(&mine, 0..2, grads)?;
    /// assert_eq!(first.value + part(&mine, 2..4, RowsOut::none())?.value, whole.reduction.value(&sums));
    /// # Ok(()) }
    /// ```
    pub fn factors(self, sums: &Sums) -> [f64; 2] {
        let Sums { similar, dissimilar } = sums;
        let one_over = |count: u64| 1.0 / count.max(1) as f64;
        match self {
            Reduction::Sum => [1.0; 2],
            Reduction::Mean => [one_over(similar.pairs + dissimilar.pairs); 2],
            Reduction::MeanNonZero => [one_over(similar.active + dissimilar.active); 2],
            Reduction::Balanced => [one_over(similar.pairs), one_over(dissimilar.pairs)],
            Reduction::BalancedNonZero => [one_over(similar.active), one_over(dissimilar.active)],
            Reduction::Factors { similar, dissimilar } => [similar, dissimilar],
        }
    }

    /// The value of a batch with these sums.
    pub fn value(self, sums: &Sums) -> f64 {
        let Sums { similar, dissimilar } = sums;
        let over = |sum: f64, count: u64| sum / count.max(1) as f64;
        match self {
            Reduction::Sum => similar.sum + dissimilar.sum,
            Reduction::Mean => over(similar.sum + dissimilar.sum, similar.pairs + dissimilar.pairs),
            Reduction::MeanNonZero => {
                over(similar.sum + dissimilar.sum, similar.active + dissimilar.active)
            }
            Reduction::Balanced => {
                over(similar.sum, similar.pairs) + over(dissimilar.sum, dissimilar.pairs)
            }
            Reduction::BalancedNonZero => {
                over(similar.sum, similar.active) + over(dissimilar.sum, dissimilar.active)
            }
            Reduction::Factors { similar: s, dissimilar: d } => {
                s * similar.sum + d * dissimilar.sum
            }
        }
    }

    /// Whether the factors are known only when all values are.
    pub(crate) fn needs_values(self) -> bool {
        matches!(self, Reduction::MeanNonZero | Reduction::BalancedNonZero)
    }
}

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
    /// What gradients and slopes, and only those, are multiplied by: the derivative of the caller's
    /// own objective with respect to this one's value.
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

    /// The same with another reduction.
    pub fn reduced(self, reduction: Reduction) -> Self {
        Objective { reduction, ..self }
    }

    /// The same with another factor for gradients.
    pub fn scaled(self, scale: T) -> Self {
        Objective { scale, ..self }
    }

    /// What slopes of similar and of dissimilar pairs are multiplied by.
    pub(crate) fn factors(&self, sums: &Sums) -> [T; 2] {
        self.reduction.factors(sums).map(|factor| T::from_f64(self.scale.to_f64() * factor))
    }

    /// What slopes are multiplied by on the way, given the numbers of pairs where the reduction needs them;
    /// those of a mean where the number of non-zero pairs comes out at the end.
    pub(crate) fn factors_of_pass(&self, counted: &Sums) -> [T; 2] {
        match self.reduction {
            Reduction::MeanNonZero => {
                Objective::mean(self.loss).scaled(self.scale).factors(counted)
            }
            _ => self.factors(counted),
        }
    }

    /// What gradients are multiplied by at the end of such a pass.
    pub(crate) fn scale_after_pass(&self, counted: &Sums, sums: &Sums) -> T {
        late_scale(self.reduction, counted, sums)
    }

    /// What slopes are multiplied by in a pass that leaves the gradient of similar pairs to another one, of the
    /// reduction that divides either kind by what comes out of the first; given the numbers of pairs.
    pub(crate) fn factors_of_dissimilar(&self, counted: &Sums) -> [T; 2] {
        [T::ZERO, self.reduced(Reduction::Balanced).factors(counted)[1]]
    }

    /// What slopes are multiplied by in that other pass, and gradients at the end of both.
    pub(crate) fn factors_of_similar(&self, counted: &Sums, sums: &Sums) -> ([T; 2], T) {
        let [similar, late] = self.reduction.factors(sums);
        let scale = late / Reduction::Balanced.factors(counted)[1];
        ([T::from_f64(self.scale.to_f64() * similar / scale), T::ZERO], T::from_f64(scale))
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
    /// What gradients and slopes, and only those, are multiplied by.
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

    /// The same with another reduction: `Sum`, `Mean` or `MeanNonZero`. The others are refused,
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

    /// The same with another factor for gradients.
    pub fn scaled(self, scale: T) -> Self {
        TripletObjective { scale, ..self }
    }

    /// How the costs are added up.
    pub fn reduction(&self) -> Reduction {
        self.reduction
    }

    /// What slopes are multiplied by.
    pub(crate) fn factor(&self, sums: &Sums) -> T {
        let [_, factor] = self.reduction.factors(sums);
        T::from_f64(self.scale.to_f64() * factor)
    }

    /// What slopes are multiplied by on the way where there are at most so many triplets: about what they are
    /// to be multiplied by, so that no sum overflows.
    pub(crate) fn factor_of_pass(&self, most: u64) -> T {
        T::from_f64(self.scale.to_f64() * self.early(most))
    }

    /// What gradients are multiplied by at the end of such a pass.
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

/// From gradients of a mean over the pairs `counted` to those of the mean over the non-zero ones that `sums`
/// has; 1 for other reductions.
fn late_scale<T: Real>(reduction: Reduction, counted: &Sums, sums: &Sums) -> T {
    match reduction {
        Reduction::MeanNonZero => {
            let [late, early] =
                [(reduction, sums), (Reduction::Mean, counted)].map(|(r, of)| r.factors(of)[1]);
            T::from_f64(late / early)
        }
        _ => T::ONE,
    }
}

/// What the pairs of one kind add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Kind {
    /// How many there were.
    pub pairs: u64,
    /// How many had a value other than zero. A NaN is not zero.
    pub active: u64,
    /// The sum of their values, weights included.
    pub sum: f64,
}

impl Add for Kind {
    type Output = Kind;

    fn add(self, other: Kind) -> Kind {
        Kind {
            pairs: self.pairs + other.pairs,
            active: self.active + other.active,
            sum: self.sum + other.sum,
        }
    }
}

/// What the pairs of a batch add up to. Sums of the parts of a batch can be added: every
/// [`Reduction`] is a function of the total.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Over the similar pairs.
    pub similar: Kind,
    /// Over the dissimilar pairs. Triplets are counted here.
    pub dissimilar: Kind,
}

impl Add for Sums {
    type Output = Sums;

    fn add(self, other: Sums) -> Sums {
        Sums {
            similar: self.similar + other.similar,
            dissimilar: self.dissimilar + other.dissimilar,
        }
    }
}

/// What a call on a batch of pairs or triplets reports.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// The objective's value, not multiplied by its scale.
    pub value: f64,
    /// How many pairs there were, without those left out.
    pub pairs: u64,
    /// How many of them were similar.
    pub similar: u64,
    /// How many had a value other than zero. A NaN is not zero.
    pub active: u64,
    /// What the value was made of.
    pub sums: Sums,
}

impl Outcome {
    pub(crate) fn new(reduction: Reduction, sums: Sums) -> Self {
        Outcome {
            value: reduction.value(&sums),
            pairs: sums.similar.pairs + sums.dissimilar.pairs,
            similar: sums.similar.pairs,
            active: sums.similar.active + sums.dissimilar.active,
            sums,
        }
    }

    /// The mean value of a pair, whatever the reduction.
    pub fn mean(&self) -> f64 {
        Reduction::Mean.value(&self.sums)
    }
}
