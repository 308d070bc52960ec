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

/// Sums of the slopes of all pairs of a batch, each times its factor: derivatives by what shifts or stretches
/// all squared distances alike follow from them, such as those by the scale and the bias of
/// [`Sigmoid`](super::Sigmoid).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SlopeTotals {
    /// The sum of f slope.
    pub slopes: f64,
    /// The sum of f slope d².
    pub squares: f64,
}

impl SlopeTotals {
    pub(crate) fn scaled(self, by: f64) -> SlopeTotals {
        SlopeTotals { slopes: by * self.slopes, squares: by * self.squares }
    }
}

impl Add for SlopeTotals {
    type Output = SlopeTotals;

    fn add(self, other: SlopeTotals) -> SlopeTotals {
        SlopeTotals { slopes: self.slopes + other.slopes, squares: self.squares + other.squares }
    }
}
