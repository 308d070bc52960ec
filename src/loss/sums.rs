//! Sums over the pairs of a call, over similar and dissimilar ones apart.

#![forbid(unsafe_code)]

use std::ops::Add;

/// Sums over the pairs of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KindSums {
    /// How many there were.
    pub pairs: u64,
    /// How many had a value other than zero. A NaN is not zero.
    pub active: u64,
    /// The sum of their values, weights included.
    pub sum: f64,
}

impl Add for KindSums {
    type Output = KindSums;

    fn add(self, other: KindSums) -> KindSums {
        KindSums {
            pairs: self.pairs + other.pairs,
            active: self.active + other.active,
            sum: self.sum + other.sum,
        }
    }
}

/// Sums over the pairs of a batch. Sums of the parts of a batch can be added: every
/// [`Reduction`](super::Reduction) is a function of the total.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Over the similar pairs.
    pub similar: KindSums,
    /// Over the dissimilar pairs. Triplets are counted here.
    pub dissimilar: KindSums,
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
