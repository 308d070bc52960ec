//! The optimizers' one pass over parameters, gradients and moments.
//!
//! Gradients, moments and parameters below the smallest normal number become 0 on the way: arithmetic
//! on denormals is slow on many processors, and decaying moments would fill with them.

#![forbid(unsafe_code)]

use crate::real::Real;
use crate::simd::{Kernel, Simd};

/// v = momentum v + g;  p = p - rate v, or p - rate (g + momentum v) with Nesterov's momentum
///
/// with g = gradient + decay p.
pub(crate) struct Sgd<'a, T> {
    pub rate: T,
    pub momentum: T,
    pub nesterov: bool,
    pub decay: T,
    /// A smaller v moves p by less than the smallest normal number. It counts as 0 there.
    pub floor: T,
    pub params: &'a mut [T],
    pub grad: &'a [T],
    pub velocity: &'a mut [T],
}

impl<T: Real> Kernel<T> for Sgd<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let [rate, momentum] = [self.rate, self.momentum].map(|x| s.splat(x));
        let [decay, floor] = [self.decay, self.floor].map(|x| s.splat(x));
        let state = self.params.chunks_mut(S::LANES).zip(self.velocity.chunks_mut(S::LANES));
        for ((params, velocity), grad) in state.zip(self.grad.chunks(S::LANES)) {
            let p = s.load(params);
            let g = s.fma(decay, p, flush(s, s.load(grad)));
            let v = flush(s, s.fma(momentum, s.load(velocity), g));
            s.store(v, velocity);
            let v = if self.nesterov { s.fma(momentum, v, g) } else { v };
            s.store(flush(s, s.fma(-rate, cut(s, v, floor), p)), params);
        }
    }
}

/// p = p - shrink p;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g²;
/// p = p - rate m / (sqrt(v) root + eps), and no such step where the divisor is 0
///
/// with g = gradient + decay p, `rate` already divided by 1 - b1^t and `root` = 1 / sqrt(1 - b2^t).
pub(crate) struct Adam<'a, T> {
    pub rate: T,
    pub betas: [T; 2],
    /// 1 - b1 and 1 - b2, each rounded once: near 1 the difference of rounded numbers is far off.
    pub rest: [T; 2],
    /// A smaller g adds less than the smallest normal number to m, to v. It counts as 0 there.
    pub floors: [T; 2],
    pub epsilon: T,
    pub decay: T,
    pub shrink: T,
    pub root: T,
    pub params: &'a mut [T],
    pub grad: &'a [T],
    pub first: &'a mut [T],
    pub second: &'a mut [T],
}

impl<T: Real> Kernel<T> for Adam<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let [rate, epsilon, root] = [self.rate, self.epsilon, self.root].map(|x| s.splat(x));
        let [decay, shrink] = [self.decay, self.shrink].map(|x| s.splat(x));
        let [b1, b2] = self.betas.map(|x| s.splat(x));
        let [c1, c2] = self.rest.map(|x| s.splat(x));
        let [floor1, floor2] = self.floors.map(|x| s.splat(x));
        let moments = self.first.chunks_mut(S::LANES).zip(self.second.chunks_mut(S::LANES));
        let state = self.params.chunks_mut(S::LANES).zip(moments);
        for ((params, (first, second)), grad) in state.zip(self.grad.chunks(S::LANES)) {
            let p = s.load(params);
            let g = s.fma(decay, p, flush(s, s.load(grad)));
            let (g1, g2) = (cut(s, g, floor1), cut(s, g, floor2));
            let m = flush(s, s.fma(b1, s.load(first), c1 * g1));
            let v = flush(s, s.fma(b2, s.load(second), c2 * g2 * g2));
            s.store(m, first);
            s.store(v, second);
            let divisor = s.fma(s.sqrt(v), root, epsilon);
            let step = s.select(s.nonzero(divisor), rate * m / divisor, s.splat(T::ZERO));
            s.store(flush(s, s.fma(-shrink, p, p) - step), params);
        }
    }
}

/// 0 where |v| is below the smallest normal number.
#[inline(always)]
fn flush<T: Real, S: Simd<T>>(s: S, v: S::F) -> S::F {
    cut(s, v, s.splat(T::MIN_POSITIVE))
}

/// 0 where |v| is below the floor.
#[inline(always)]
fn cut<T: Real, S: Simd<T>>(s: S, v: S::F, floor: S::F) -> S::F {
    s.select(s.lt(s.abs(v), floor), s.splat(T::ZERO), v)
}
