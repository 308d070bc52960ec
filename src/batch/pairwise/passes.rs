//! The walks over all pairs that each reduction takes, and the factors of slopes and gradients.
//!
//! A gradient needs a factor for each slope. Some reductions know it from the numbers of pairs, others only
//! from the numbers of pairs whose value is not 0, which a walk finds out. N is the number of pairs and A
//! that of pairs whose value is not 0; s and d are for similar and dissimilar ones:
//!
//! | reduction | walks | factors of slopes: similar, dissimilar | gradients, at the end |
//! |---|---|---|---|
//! | `Sum`, `Factors`, `Mean`, `Balanced` | one | as the reduction has them | x 1 |
//! | `MeanNonZero` | one | 1 / N for both | x N / A |
//! | `BalancedNonZero`, fewer similar pairs than others | all pairs | 0, 1 / N_d | |
//! | | and the similar ones | N_d^-1 A_d / A_s, 0 | x N_d / A_d |
//! | `BalancedNonZero` else | all pairs, values alone | | |
//! | | and all pairs | 1 / A_s, 1 / A_d | x 1 |

#![forbid(unsafe_code)]

use crate::loss::{Objective, Reduction, Sums};
use crate::simd::real::Real;

/// The purpose of one walk over all pairs.
#[derive(Clone, Copy)]
pub(crate) struct Pass<T> {
    /// The factors of slopes of similar and of dissimilar pairs.
    pub factors: [T; 2],
    /// Whether gradients are added up, rather than values alone.
    pub gradient: bool,
    /// Whether similar pairs alone are needed. The sums that the walk returns are then to be ignored.
    pub similar_only: bool,
}

impl<T: Real> Pass<T> {
    pub(crate) fn values() -> Self {
        Pass { factors: [T::ONE; 2], gradient: false, similar_only: false }
    }

    fn gradient(factors: [T; 2]) -> Self {
        Pass { factors, gradient: true, similar_only: false }
    }

    fn gradient_of_similar(factors: [T; 2]) -> Self {
        Pass { factors, gradient: true, similar_only: true }
    }
}

/// A call that can walk over all its pairs more than once.
pub(crate) trait Walk<T> {
    /// Starts the gradients anew, for slopes that are multiplied by `factors`.
    fn start(&mut self, factors: [T; 2]);

    /// Walks over all pairs; where the pass is for gradients, adds to them.
    fn run(&mut self, pass: Pass<T>) -> Sums;
}

/// The walks that a reduction takes.
enum Plan {
    Once,
    ByKind,
    MeasureFirst,
}

impl Plan {
    /// Measuring takes three quarters of a walk with gradients: measuring the similar pairs a second time is
    /// cheaper than measuring all of them twice where the similar ones are fewer.
    fn new(reduction: Reduction, counted: &Sums, has_kinds: bool) -> Self {
        match reduction {
            Reduction::BalancedNonZero
                if has_kinds && counted.similar.pairs < counted.dissimilar.pairs =>
            {
                Plan::ByKind
            }
            Reduction::BalancedNonZero => Plan::MeasureFirst,
            _ => Plan::Once,
        }
    }
}

/// Computes values and gradients. Returns the sums over the pairs, and the factor that gradients are still to
/// be multiplied by.
///
/// `counted` has the numbers of pairs, where the reduction needs them. Where a walk cannot leave out one kind
/// of pairs (`has_kinds` is false), there are no walks by kind.
pub(crate) fn run<T: Real>(
    objective: &Objective<T>,
    counted: Sums,
    has_kinds: bool,
    walk: &mut impl Walk<T>,
) -> (Sums, T) {
    match Plan::new(objective.reduction, &counted, has_kinds) {
        Plan::Once => {
            let late = matches!(objective.reduction, Reduction::MeanNonZero);
            let early = if late { objective.reduced(Reduction::Mean) } else { *objective };
            let factors = early.factors(&counted);
            walk.start(factors);
            let sums = walk.run(Pass::gradient(factors));
            if !late {
                return (sums, T::ONE);
            }
            let [late, early] = [(Reduction::MeanNonZero, &sums), (Reduction::Mean, &counted)]
                .map(|(reduction, sums)| reduction.factors(sums)[1]);
            (sums, T::from_f64(late / early))
        }
        Plan::ByKind => {
            let early = objective.reduced(Reduction::Balanced).factors(&counted)[1];
            walk.start([T::ZERO, early]);
            let sums = walk.run(Pass::gradient([T::ZERO, early]));
            let [similar, late] = objective.reduction.factors(&sums);
            let scale = late / Reduction::Balanced.factors(&counted)[1];
            let similar = T::from_f64(objective.scale.to_f64() * similar / scale);
            walk.run(Pass::gradient_of_similar([similar, T::ZERO]));
            (sums, T::from_f64(scale))
        }
        Plan::MeasureFirst => {
            let factors = objective.factors(&walk.run(Pass::values()));
            walk.start(factors);
            (walk.run(Pass::gradient(factors)), T::ONE)
        }
    }
}
