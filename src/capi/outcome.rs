//! How the values of pairs become one number, and what a call reports.

use super::places::PointerArgs;
use super::status::{Refusal, drlim_status, guard};
use crate::loss::{KindSums, Outcome, Reduction, Sums};

/// How the values of pairs become one number. With the sums S of values, the numbers N of pairs and the
/// numbers A of pairs whose value is not zero, of similar (s) and dissimilar pairs (d); 0/0 is 0:
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct drlim_reduction(pub u32);

impl drlim_reduction {
    /// S_s + S_d
    pub const SUM: drlim_reduction = drlim_reduction(0);
    /// (S_s + S_d) / (N_s + N_d)
    pub const MEAN: drlim_reduction = drlim_reduction(1);
    /// (S_s + S_d) / (A_s + A_d)
    pub const MEAN_NON_ZERO: drlim_reduction = drlim_reduction(2);
    /// S_s / N_s + S_d / N_d; not for triplets
    pub const BALANCED: drlim_reduction = drlim_reduction(3);
    /// S_s / A_s + S_d / A_d, the default of pytorch-metric-learning; not for triplets
    pub const BALANCED_NON_ZERO: drlim_reduction = drlim_reduction(4);
    /// similar_factor S_s + dissimilar_factor S_d; not for triplets
    pub const FACTORS: drlim_reduction = drlim_reduction(5);

    /// The reduction as Rust has it; `factors` are those of `FACTORS`.
    pub(super) fn with_factors(self, factors: [f64; 2]) -> Result<Reduction, Refusal> {
        match self {
            drlim_reduction::SUM => Ok(Reduction::Sum),
            drlim_reduction::MEAN => Ok(Reduction::Mean),
            drlim_reduction::MEAN_NON_ZERO => Ok(Reduction::MeanNonZero),
            drlim_reduction::BALANCED => Ok(Reduction::Balanced),
            drlim_reduction::BALANCED_NON_ZERO => Ok(Reduction::BalancedNonZero),
            drlim_reduction::FACTORS => {
                let [similar, dissimilar] = factors;
                Ok(Reduction::Factors { similar, dissimilar })
            }
            drlim_reduction(got) => Err(Refusal::Code { arg: "reduction", got }),
        }
    }
}

/// Sums over the pairs of one kind.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct drlim_sums {
    /// How many pairs there were.
    pub pairs: u64,
    /// How many had a value other than zero. A NaN is not zero.
    pub active: u64,
    /// The sum of their values, weights included.
    pub sum: f64,
}

/// The result of a call on pairs or triplets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct drlim_outcome {
    /// The objective's value, not multiplied by its scale.
    pub value: f64,
    /// How many pairs there were, without those left out.
    pub pairs: u64,
    /// How many had a value other than zero. A NaN is not zero.
    pub active: u64,
    /// Sums over the similar pairs.
    pub similar: drlim_sums,
    /// Sums over the dissimilar pairs. Triplets are counted here.
    pub dissimilar: drlim_sums,
}

impl drlim_sums {
    fn of(kind: KindSums) -> Self {
        drlim_sums { pairs: kind.pairs, active: kind.active, sum: kind.sum }
    }

    fn kind(self) -> KindSums {
        KindSums { pairs: self.pairs, active: self.active, sum: self.sum }
    }
}

impl From<Outcome> for drlim_outcome {
    fn from(outcome: Outcome) -> Self {
        drlim_outcome {
            value: outcome.value,
            pairs: outcome.pairs,
            active: outcome.active,
            similar: drlim_sums::of(outcome.sums.similar),
            dissimilar: drlim_sums::of(outcome.sums.dissimilar),
        }
    }
}

/// The value of a batch in parts, on several machines for instance, given the totals of the sums over similar
/// and over dissimilar pairs; and the factors for DRLIM_REDUCTION_FACTORS with which each part gets its
/// gradient of the whole.
///
/// reduction: any but DRLIM_REDUCTION_FACTORS. value, similar_factor, dissimilar_factor: written; each may
/// be null. Refused: an unknown reduction.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drlim_reduce(
    reduction: drlim_reduction,
    similar: drlim_sums,
    dissimilar: drlim_sums,
    value: *mut f64,
    similar_factor: *mut f64,
    dissimilar_factor: *mut f64,
) -> drlim_status {
    guard(|| {
        if reduction == drlim_reduction::FACTORS {
            return Err(Refusal::Code { arg: "reduction", got: reduction.0 });
        }
        let reduction = reduction.with_factors([1.0; 2])?;
        let sums = Sums { similar: similar.kind(), dissimilar: dissimilar.kind() };
        let factors = reduction.factors(&sums);
        let mut places = PointerArgs::new();
        let value = places.result("value", value)?;
        let similar_factor = places.result("similar_factor", similar_factor)?;
        let dissimilar_factor = places.result("dissimilar_factor", dissimilar_factor)?;
        places.check_apart()?;
        // SAFETY: each is null, or the caller's to be written.
        unsafe {
            value.put(reduction.value(&sums));
            similar_factor.put(factors[0]);
            dissimilar_factor.put(factors[1]);
        }
        Ok(())
    })
}
