//! The report of a call: its value, and the numbers of pairs.

#![forbid(unsafe_code)]

use super::reduction::Reduction;
use super::sums::Sums;

/// The report of a call on a batch of pairs or triplets.
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
    /// The sums that the value was computed from.
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
