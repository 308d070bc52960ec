//! Weights and sums of a block of pairs or triplets, between the loss and the reduction.

#![forbid(unsafe_code)]

use crate::loss::{KindSums, Pairing, Sums};
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// Multiplies slopes by the factor of their kind and by their weight. Slopes of ignored pairs become 0.
#[inline(always)]
pub(crate) fn scale_slopes<T: Real, S: Simd<T>>(
    s: S,
    pairing: Pairing<T>,
    factors: [T; 2],
    slopes: &mut [T],
) {
    if pairing.is_plain() && factors == [T::ONE; 2] {
        return;
    }
    let [similar, dissimilar] = factors;
    let (similar, dissimilar) = (s.splat(similar), s.splat(dissimilar));
    for (i, slopes) in slopes.chunks_mut(S::LANES).enumerate() {
        let at = i * S::LANES..i * S::LANES + slopes.len();
        let factor = s.select(s.mask(&pairing.similar[at.clone()]), similar, dissimilar);
        let mut slope = s.load(slopes) * factor;
        if let Some(weights) = pairing.weights {
            slope = slope * s.load(&weights[at.clone()]);
        }
        if let Some(ignored) = pairing.ignored {
            slope = s.select(s.mask(&ignored[at]), s.splat(T::ZERO), slope);
        }
        s.store(slope, slopes);
    }
}

/// [`scale_slopes`] as a kernel of its own.
pub(crate) struct WeighSlopes<'a, T> {
    pub pairing: Pairing<'a, T>,
    pub factors: [T; 2],
    pub slopes: &'a mut [T],
}

impl<T: Real> Kernel<T> for WeighSlopes<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        scale_slopes(s, self.pairing, self.factors, self.slopes);
    }
}

/// Multiplies values by their weights, in place, and adds them up by kind. Ignored pairs get the value 0
/// and are not counted.
#[inline(always)]
pub(crate) fn reduce_values<T: Real, S: Simd<T>>(
    s: S,
    pairing: Pairing<T>,
    values: &mut [T],
) -> Sums {
    let left_out = if pairing.is_plain() { 0 } else { weigh_values(s, pairing, values) };
    let mut lanes = Lanes::new(s);
    let mut values_of = values.chunks_exact(S::LANES);
    let mut similar_of = pairing.similar.chunks_exact(S::LANES);
    for (values, similar) in values_of.by_ref().zip(similar_of.by_ref()) {
        lanes.add(s.load(values), s.mask(similar));
    }
    // A lane past the end is a dissimilar pair of value 0.
    lanes.add(s.load(values_of.remainder()), s.mask(similar_of.remainder()));
    let mut sums = lanes.sums(values.len() as u64);
    if !(sums.similar.sum + sums.dissimilar.sum).is_finite() {
        // Lanes overflow where f64 does not. A value that is not finite leaves the sum not finite.
        [sums.similar.sum, sums.dissimilar.sum] = sums_one_by_one(pairing.similar, values);
    }
    if let Some(ignored) = pairing.ignored {
        let both = ignored.iter().zip(pairing.similar);
        let similar = both.filter(|&(&ignored, &similar)| ignored && similar).count() as u64;
        sums.similar.pairs -= similar;
        sums.dissimilar.pairs -= left_out - similar;
    }
    sums
}

#[cold]
fn sums_one_by_one<T: Real>(similar: &[bool], values: &[T]) -> [f64; 2] {
    let mut sums = [0.0; 2];
    for (&similar, value) in similar.iter().zip(values) {
        sums[usize::from(!similar)] += value.to_f64();
    }
    sums
}

/// Multiplies values by their weights, in place; ignored pairs get 0. Returns how many pairs are ignored.
#[inline(always)]
fn weigh_values<T: Real, S: Simd<T>>(s: S, pairing: Pairing<T>, values: &mut [T]) -> u64 {
    let mut left_out = 0;
    for (i, values) in values.chunks_mut(S::LANES).enumerate() {
        let at = i * S::LANES..i * S::LANES + values.len();
        let mut value = s.load(values);
        if let Some(weights) = pairing.weights {
            value = value * s.load(&weights[at.clone()]);
        }
        if let Some(ignored) = pairing.ignored {
            let ignored = s.mask(&ignored[at]);
            value = s.select(ignored, s.splat(T::ZERO), value);
            left_out += s.count(ignored);
        }
        s.store(value, values);
    }
    left_out.into()
}

/// Sums and counts of a block, by lane.
struct Lanes<T: Real, S: Simd<T>> {
    s: S,
    similar: S::F,
    dissimilar: S::F,
    similar_pairs: u32,
    similar_active: u32,
    active: u32,
}

impl<T: Real, S: Simd<T>> Lanes<T, S> {
    #[inline(always)]
    fn new(s: S) -> Self {
        let zero = s.splat(T::ZERO);
        Lanes { s, similar: zero, dissimilar: zero, similar_pairs: 0, similar_active: 0, active: 0 }
    }

    #[inline(always)]
    fn add(&mut self, value: S::F, similar: S::M) {
        let (s, zero) = (self.s, self.s.splat(T::ZERO));
        let nonzero = s.nonzero(value);
        self.similar = self.similar + s.select(similar, value, zero);
        self.dissimilar = self.dissimilar + s.select(similar, zero, value);
        self.similar_pairs += s.count(similar);
        self.similar_active += s.count(similar & nonzero);
        self.active += s.count(nonzero);
    }

    /// The sums of a block of `pairs` pairs.
    #[inline(always)]
    fn sums(self, pairs: u64) -> Sums {
        let similar = KindSums {
            pairs: self.similar_pairs.into(),
            active: self.similar_active.into(),
            sum: self.s.sum(self.similar).to_f64(),
        };
        let dissimilar = KindSums {
            pairs: pairs - similar.pairs,
            active: u64::from(self.active) - similar.active,
            sum: self.s.sum(self.dissimilar).to_f64(),
        };
        Sums { similar, dissimilar }
    }
}
