//! Weights and sums of a block of pairs or triplets, between the loss and the reduction.

#![forbid(unsafe_code)]

use crate::loss::{Kind, Pairing, Sums};
use crate::real::Real;
use crate::simd::{Kernel, Simd};

/// Multiplies slopes by the factor of their kind and by their weight; those of ignored pairs
/// become 0.
#[inline(always)]
pub(crate) fn weigh_slopes<T: Real, S: Simd<T>>(
    s: S,
    pairing: Pairing<T>,
    [similar, dissimilar]: [T; 2],
    slopes: &mut [T],
) {
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

/// [`weigh_slopes`] by itself.
pub(crate) struct WeighSlopes<'a, T> {
    pub pairing: Pairing<'a, T>,
    pub factors: [T; 2],
    pub slopes: &'a mut [T],
}

impl<T: Real> Kernel<T> for WeighSlopes<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        weigh_slopes(s, self.pairing, self.factors, self.slopes);
    }
}

/// Multiplies values by their weights, in place, and adds them up by kind; those of ignored pairs
/// become 0 and are not counted.
#[inline(always)]
pub(crate) fn tally<T: Real, S: Simd<T>>(s: S, pairing: Pairing<T>, values: &mut [T]) -> Sums {
    let zero = s.splat(T::ZERO);
    let mut sums = [zero; 2];
    let [mut similar_pairs, mut left_out, mut similar_active, mut active] = [0; 4];
    for (i, values) in values.chunks_mut(S::LANES).enumerate() {
        let at = i * S::LANES..i * S::LANES + values.len();
        let mut similar = s.mask(&pairing.similar[at.clone()]);
        let mut value = s.load(values);
        if let Some(weights) = pairing.weights {
            value = value * s.load(&weights[at.clone()]);
        }
        if let Some(ignored) = pairing.ignored {
            let ignored = s.mask(&ignored[at]);
            value = s.select(ignored, zero, value);
            similar = similar & !ignored;
            left_out += s.count(ignored);
        }
        s.store(value, values);
        let nonzero = s.nonzero(value);
        sums[0] = sums[0] + s.select(similar, value, zero);
        sums[1] = sums[1] + s.select(similar, zero, value);
        similar_pairs += s.count(similar);
        similar_active += s.count(similar & nonzero);
        active += s.count(nonzero);
    }
    let pairs = values.len() as u64 - u64::from(left_out);
    let [similar_sum, dissimilar_sum] = sums.map(|sum| s.sum(sum).to_f64());
    let [similar_pairs, similar_active, active] =
        [similar_pairs, similar_active, active].map(u64::from);
    Sums {
        similar: Kind { pairs: similar_pairs, active: similar_active, sum: similar_sum },
        dissimilar: Kind {
            pairs: pairs - similar_pairs,
            active: active - similar_active,
            sum: dissimilar_sum,
        },
    }
}
