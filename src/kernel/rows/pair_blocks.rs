//! Evaluates the pairs of a batch in blocks, in any layout: squared distances, one call of the loss that
//! turns them into slopes, gradients, sums.
//!
//! Values are added up in blocks of a fixed number of pairs. Within such a block the loss is called
//! for a few pairs at a time, as many as the layout likes to measure before it writes their
//! gradients; that number changes no bit of the result, so it may depend on the caches.

#![forbid(unsafe_code)]

use std::ops::Range;

use crate::kernel::blocking::GROUP_PAIRS;
use crate::kernel::reduce::{reduce_values, scale_slopes};
use crate::kernel::shown::eval_pairs;
use crate::kernel::vector::square_roots;
use crate::loss::{BlockLoss, Pairing, Sums};
use crate::parallel::stop::look;
use crate::simd::isa::Isa;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// A layout of the pairs of a batch: how they are measured, and where their gradients go.
pub(crate) trait PairLayout<T: Real> {
    /// d2_i = |a_i - b_i|² for some pairs.
    fn squared_distances<S: Simd<T>>(&self, s: S, pairs: Range<usize>, d2: &mut [T]);

    /// Both gradients of some pairs, to be overwritten: slope_i (a_i - b_i) and its negative, 0
    /// for pairs that are ignored.
    fn gradients<S: Simd<T>>(
        &mut self,
        s: S,
        pairs: Range<usize>,
        slopes: &[T],
        ignored: Option<&[bool]>,
    );
}

/// The outputs for each pair, where asked for.
pub(crate) struct PerPair<'a, T> {
    pub distances: Option<&'a mut [T]>,
    pub values: Option<&'a mut [T]>,
    pub slopes: Option<&'a mut [T]>,
}

impl<T> Default for PerPair<'_, T> {
    fn default() -> Self {
        PerPair { distances: None, values: None, slopes: None }
    }
}

/// Values, and on request slopes and gradients, of the pairs of a layout.
///
/// ```text
/// LOOP 1  for each group of 256 pairs
/// LOOP 2    for each step of the group: as many pairs as fit L1, where gradients are wanted
///             d² -> values and slopes; values into their sum; gradients, while rows are in L1
/// ```
pub(crate) struct PairBlocks<'a, T, L> {
    pub isa: Isa,
    pub loss: &'a dyn BlockLoss<T>,
    pub pairing: Pairing<'a, T>,
    /// Factors of the slopes of similar and of dissimilar pairs, beside their weights; `None` where slopes
    /// stay as the loss gives them.
    pub factors: Option<[T; 2]>,
    pub per_pair: PerPair<'a, T>,
    pub layout: L,
    /// How many pairs are measured before their gradients are written, where these are wanted.
    pub step: Option<usize>,
}

impl<T: Real, L: PairLayout<T>> Kernel<T> for PairBlocks<'_, T, L> {
    type Output = Sums;

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) -> Sums {
        let (mut slopes, mut values) = ([T::ZERO; GROUP_PAIRS], [T::ZERO; GROUP_PAIRS]);
        let mut sums = Sums::default();
        let pairs = self.pairing.len();
        for start in (0..pairs).step_by(GROUP_PAIRS) {
            // This call leaves the tier's code, so it is made seldom: a block of short rows takes half a
            // microsecond.
            if start % (16 * GROUP_PAIRS) == 0 {
                look();
            }
            let end = (start + GROUP_PAIRS).min(pairs);
            let values = match &mut self.per_pair.values {
                Some(values) => &mut values[start..end],
                None => &mut values[..end - start],
            };
            let step = self.step.unwrap_or(GROUP_PAIRS);
            for from in (start..end).step_by(step) {
                let some = from..(from + step).min(end);
                let pairing = self.pairing.range(some.clone());
                let slopes = &mut slopes[..some.len()];
                self.layout.squared_distances(s, some.clone(), slopes);
                if let Some(distances) = &mut self.per_pair.distances {
                    square_roots(s, slopes, &mut distances[some.clone()]);
                }
                let values = &mut values[some.start - start..some.end - start];
                let Pairing { similar, ignored, .. } = pairing;
                eval_pairs(self.loss, self.isa, slopes, similar, ignored, values);
                if let Some(factors) = self.factors {
                    scale_slopes(s, pairing, factors, slopes);
                }
                if let Some(out) = &mut self.per_pair.slopes {
                    out[some.clone()].copy_from_slice(slopes);
                }
                if self.step.is_some() {
                    self.layout.gradients(s, some, slopes, pairing.ignored);
                }
            }
            sums = sums + reduce_values(s, self.pairing.range(start..end), values);
        }
        sums
    }
}
