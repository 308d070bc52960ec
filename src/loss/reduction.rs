//! How the values of pairs become one number: sums, means, and means of either kind.

#![forbid(unsafe_code)]

use super::sums::Sums;

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
/// scaling at the end would read and write all of them again. Calls on all pairs scale at the end. With
/// `BalancedNonZero` they measure similar pairs a second time, or all pairs where similar pairs are the
/// majority or have been added up by class.
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
    /// `Balanced` over pairs whose value is not zero: the default of pytorch-metric-learning.
    BalancedNonZero,
    /// Given factors. With them, parts of a batch on several machines get the gradient of the whole: see
    /// [`Reduction::factors`].
    Factors {
        /// The factor of values of similar pairs.
        similar: f64,
        /// The factor of values of dissimilar pairs.
        dissimilar: f64,
    },
}

impl Reduction {
    /// The factors of the values of similar and of dissimilar pairs, given the sums over the whole batch.
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
