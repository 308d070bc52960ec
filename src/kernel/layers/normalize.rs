//! Scaling samples to unit length, forward and backward, also where the squares of a sample underflow or
//! overflow.

#![forbid(unsafe_code)]

use crate::kernel::rows::distances::scaled_square;
use crate::kernel::vector::dot;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// y = x/|x| for each sample of `len` elements; 0 where |x| is zero or subnormal.
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
            let [scale, end] = inverse_length(s, x);
            let mut xs = x.chunks_exact(S::LANES);
            let mut ys = y.chunks_exact_mut(S::LANES);
            for (x, y) in xs.by_ref().zip(ys.by_ref()) {
                s.store(s.load(x) * scale * end, y);
            }
            s.store(s.load(xs.remainder()) * scale * end, ys.into_remainder());
        }
    }
}

/// dx = (dy - y (y·dy))/|x| for each sample of `len` elements, where y = x/|x|; 0 where |x| is
/// zero or subnormal.
///
/// The derivative of y_i = x_i/|x| by x_j is (δ_ij - y_i y_j)/|x|: the part of dy along y is lost, since y
/// cannot change its length.
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
            let [scale, end] = inverse_length(s, x);
            let along = s.splat(dot(s, y, dy));
            let mut ys = y.chunks_exact(S::LANES);
            let mut dys = dy.chunks_exact(S::LANES);
            let mut dxs = dx.chunks_exact_mut(S::LANES);
            for ((y, dy), dx) in ys.by_ref().zip(dys.by_ref()).zip(dxs.by_ref()) {
                s.store(s.fma(-s.load(y), along, s.load(dy)) * scale * end, dx);
            }
            let (y, dy) = (s.load(ys.remainder()), s.load(dys.remainder()));
            s.store(s.fma(-y, along, dy) * scale * end, dxs.into_remainder());
        }
    }
}

/// 1/|x| in every lane, as two factors; 0 where |x| is zero or subnormal, by the rule for zero distance.
///
/// The second factor is 1, except where the squares of x are too small to be told apart or add up to
/// infinity. There |x| comes from a scaled sample, and the factors are 1/(|x| half) and half; their product
/// may not be representable.
#[inline(always)]
fn inverse_length<T: Real, S: Simd<T>>(s: S, x: &[T]) -> [S::F; 2] {
    let one = s.splat(T::ONE);
    let square = dot(s, x, x);
    // A NaN takes the last branch.
    let power = if square < T::MIN_POSITIVE / T::EPSILON {
        T::SQUARED_UP
    } else if square == T::INFINITY {
        T::SQUARED_DOWN
    } else {
        let square = s.splat(square);
        return [one / s.sqrt(square), one];
    };
    let square = s.splat(scaled_square(s, x, power));
    let (half, least) = (s.splat(power.sqrt()), s.splat(T::MIN_POSITIVE * power));
    let scale = half * s.over_distance(one, s.sqrt(square), square);
    [s.select(s.lt(square, least * least), s.splat(T::ZERO), scale), half]
}
