//! Passes over a whole gradient, between the backward pass and the optimizer: the sum of its squares, its
//! scaling, and the accumulation of the gradients of several batches.

#![forbid(unsafe_code)]

use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// Number of independent sums: they fill two vectors of `f64` on the widest tier, and no more than the
/// registers of the narrowest.
const SUMS: usize = 16;

/// Σ (scale g)² in `f64`, in which squares of `f32` are exact.
///
/// No lane operation turns one element type into the other, so these are plain loops that the
/// compiler lays into vectors; every tier adds in the same order.
pub(crate) struct Squares<'a, T> {
    pub grad: &'a [T],
    pub scale: f64,
}

impl<T: Real> Kernel<T> for Squares<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd<T>>(self, _: S) -> f64 {
        let mut sums = [0.0; SUMS];
        let mut chunks = self.grad.chunks_exact(SUMS);
        for chunk in chunks.by_ref() {
            for (sum, g) in sums.iter_mut().zip(chunk) {
                let g = self.scale * g.to_f64();
                *sum += g * g;
            }
        }
        for (sum, g) in sums.iter_mut().zip(chunks.remainder()) {
            let g = self.scale * g.to_f64();
            *sum += g * g;
        }
        sums.iter().sum()
    }
}

/// g = ends factor ends g, one factor after another in `f64`, for which their product may be too small.
pub(crate) struct Scale<'a, T> {
    pub grad: &'a mut [T],
    pub factor: f64,
    /// A power of two.
    pub ends: f64,
}

impl<T: Real> Kernel<T> for Scale<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, _: S) {
        for g in self.grad {
            *g = T::from_f64(self.ends * g.to_f64() * self.factor * self.ends);
        }
    }
}

/// sum = sum + factor g
pub(crate) struct Accumulate<'a, T> {
    pub factor: T,
    pub grad: &'a [T],
    pub sum: &'a mut [T],
}

impl<T: Real> Kernel<T> for Accumulate<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let factor = s.splat(self.factor);
        for (sum, grad) in self.sum.chunks_mut(S::LANES).zip(self.grad.chunks(S::LANES)) {
            s.store(s.fma(factor, s.load(grad), s.load(sum)), sum);
        }
    }
}
