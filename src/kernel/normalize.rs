//! Samples scaled to unit length, forward and backward.

#![forbid(unsafe_code)]

use super::distances::dot;
use crate::real::Real;
use crate::simd::{Kernel, Simd};

/// y = x/|x| for each sample of `len` elements; 0 where |x|² is zero or subnormal.
pub(crate) struct Forward<'a, T> {
    pub len: usize,
    pub x: &'a [T],
    pub y: &'a mut [T],
}

impl<T: Real> Kernel<T> for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let samples = self.x.chunks_exact(self.len).zip(self.y.chunks_exact_mut(self.len));
        for (x, y) in samples {
            let scale = inverse_length(s, x);
            let mut xs = x.chunks_exact(S::LANES);
            let mut ys = y.chunks_exact_mut(S::LANES);
            for (x, y) in xs.by_ref().zip(ys.by_ref()) {
                s.store(s.load(x) * scale, y);
            }
            s.store(s.load(xs.remainder()) * scale, ys.into_remainder());
        }
    }
}

/// dx = (dy - y (y·dy))/|x| for each sample of `len` elements, where y = x/|x|; 0 where |x|² is
/// zero or subnormal.
///
/// By x_j, y_i = x_i/|x| has the derivative (δ_ij - y_i y_j)/|x|: what dy has along y is lost,
/// since y cannot change its length.
pub(crate) struct Backward<'a, T> {
    pub len: usize,
    pub x: &'a [T],
    pub y: &'a [T],
    pub dy: &'a [T],
    pub dx: &'a mut [T],
}

impl<T: Real> Kernel<T> for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let inputs = self.x.chunks_exact(self.len).zip(self.y.chunks_exact(self.len));
        let grads = self.dy.chunks_exact(self.len).zip(self.dx.chunks_exact_mut(self.len));
        for ((x, y), (dy, dx)) in inputs.zip(grads) {
            let (scale, along) = (inverse_length(s, x), s.splat(dot(s, y, dy)));
            let mut ys = y.chunks_exact(S::LANES);
            let mut dys = dy.chunks_exact(S::LANES);
            let mut dxs = dx.chunks_exact_mut(S::LANES);
            for ((y, dy), dx) in ys.by_ref().zip(dys.by_ref()).zip(dxs.by_ref()) {
                s.store(s.fma(-s.load(y), along, s.load(dy)) * scale, dx);
            }
            let (y, dy) = (s.load(ys.remainder()), s.load(dys.remainder()));
            s.store(s.fma(-y, along, dy) * scale, dxs.into_remainder());
        }
    }
}

/// 1/|x| in every lane, by the rule for zero distance.
#[inline(always)]
fn inverse_length<T: Real, S: Simd<T>>(s: S, x: &[T]) -> S::F {
    let square = s.splat(dot(s, x, x));
    s.over_distance(s.splat(T::ONE), s.sqrt(square), square)
}
