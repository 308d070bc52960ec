//! The pairs of a batch without their embeddings: similarity, weights, and which pairs are left out.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::{KindSums, Reduction, Sums};
use crate::error::{Result, check_len};
use crate::simd::real::Real;

/// Whether each pair of a batch is similar; on request also its weight, and whether it is left out.
///
/// Calls take `&[bool]`, `&Vec<bool>` or `&[bool; N]` in its place.
///
/// ```
/// use drlim::loss::Pairing;
/// let (similar, weights) = ([true, false, false], [1.0_f32, 0.5, 2.0]);
/// let pairing = Pairing::new(&similar).weighted(&weights).ignoring(&[false, false, true]);
/// assert_eq!(pairing.len(), 3);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Pairing<'a, T> {
    pub(crate) similar: &'a [bool],
    pub(crate) weights: Option<&'a [T]>,
    pub(crate) ignored: Option<&'a [bool]>,
}

impl<'a, T: Real> Pairing<'a, T> {
    /// Pairs that all count the same.
    pub fn new(similar: &'a [bool]) -> Self {
        Pairing { similar, weights: None, ignored: None }
    }

    /// Multiplies the value, and with it the gradient, of each pair by its weight. Counts and the divisors
    /// of means do not change: a pair of weight 0 is still a pair, and one whose weighted value is 0 is not
    /// active.
    pub fn weighted(self, weights: &'a [T]) -> Self {
        Pairing { weights: Some(weights), ..self }
    }

    /// Pairs to leave out. They are not counted, their values, slopes and gradients are 0 whatever
    /// their embeddings hold; their distances are measured, but the loss is not asked of them.
    pub fn ignoring(self, ignored: &'a [bool]) -> Self {
        Pairing { ignored: Some(ignored), ..self }
    }

    /// The number of pairs, those left out included.
    pub fn len(&self) -> usize {
        self.similar.len()
    }

    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.similar.is_empty()
    }

    /// Refuses slices that are not of `pairs` elements.
    pub(crate) fn check(&self, call: &'static str, pairs: usize, like: &'static str) -> Result<()> {
        check_len(call, "similar", self.similar.len(), pairs, like)?;
        if let Some(weights) = self.weights {
            check_len(call, "weights", weights.len(), pairs, like)?;
        }
        match self.ignored {
            Some(ignored) => check_len(call, "ignored", ignored.len(), pairs, like),
            None => Ok(()),
        }
    }

    /// The numbers of pairs of each kind, as far as the reduction needs them before it knows their values.
    pub(crate) fn counts(&self, reduction: Reduction) -> Sums {
        let count = |flags: &[bool]| flags.iter().map(|&flag| u64::from(flag)).sum::<u64>();
        let of = |pairs| KindSums { pairs, ..KindSums::default() };
        let all = self.len() as u64 - self.ignored.map_or(0, count);
        match (reduction, self.ignored) {
            (Reduction::Balanced, None) => {
                let similar = count(self.similar);
                Sums { similar: of(similar), dissimilar: of(all - similar) }
            }
            (Reduction::Balanced, Some(ignored)) => {
                let both = self.similar.iter().zip(ignored);
                let similar = both.filter(|&(&similar, &ignored)| similar && !ignored).count();
                Sums { similar: of(similar as u64), dissimilar: of(all - similar as u64) }
            }
            _ => Sums { similar: of(0), dissimilar: of(all) },
        }
    }

    /// Whether all pairs count the same.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.weights.is_none() && self.ignored.is_none()
    }

    /// A range of the pairs, in place.
    #[inline(always)]
    pub(crate) fn range(&self, range: Range<usize>) -> Self {
        Pairing {
            similar: &self.similar[range.clone()],
            weights: self.weights.map(|weights| &weights[range.clone()]),
            ignored: self.ignored.map(|ignored| &ignored[range]),
        }
    }
}

impl<'a, T: Real> From<&'a [bool]> for Pairing<'a, T> {
    fn from(similar: &'a [bool]) -> Self {
        Pairing::new(similar)
    }
}

impl<'a, T: Real, const N: usize> From<&'a [bool; N]> for Pairing<'a, T> {
    fn from(similar: &'a [bool; N]) -> Self {
        Pairing::new(similar)
    }
}

impl<'a, T: Real> From<&'a Vec<bool>> for Pairing<'a, T> {
    fn from(similar: &'a Vec<bool>) -> Self {
        Pairing::new(similar)
    }
}
