//! One element in, one element out: activations forward and backward.

#![forbid(unsafe_code)]

use crate::real::Real;
use crate::simd::{Kernel, Simd, math};

/// A function of one element, and its derivative in terms of its result.
pub(crate) trait Activation: Copy + Send + Sync {
    /// y = f(x)
    fn value<T: Real, S: Simd<T>>(self, s: S, x: S::F) -> S::F;
    /// dx = f'(x) dy, where y = f(x)
    fn gradient<T: Real, S: Simd<T>>(self, s: S, y: S::F, dy: S::F) -> S::F;
}

/// tanh(x), with derivative 1 - y².
#[derive(Clone, Copy)]
pub(crate) struct Tanh;

impl Activation for Tanh {
    #[inline(always)]
    fn value<T: Real, S: Simd<T>>(self, s: S, x: S::F) -> S::F {
        math::tanh(s, x)
    }
    #[inline(always)]
    fn gradient<T: Real, S: Simd<T>>(self, s: S, y: S::F, dy: S::F) -> S::F {
        s.fma(-(y * dy), y, dy)
    }
}

/// max(x, 0) that keeps a NaN, with derivative 1 where y > 0, else 0 (0 at 0 too).
#[derive(Clone, Copy)]
pub(crate) struct Relu;

impl Activation for Relu {
    #[inline(always)]
    fn value<T: Real, S: Simd<T>>(self, s: S, x: S::F) -> S::F {
        s.hinge(x)
    }
    #[inline(always)]
    fn gradient<T: Real, S: Simd<T>>(self, s: S, y: S::F, dy: S::F) -> S::F {
        s.select(s.nonzero(y), dy, s.splat(T::ZERO))
    }
}

/// y = f(x) for slices of equal length.
pub(crate) struct Forward<'a, T, A> {
    pub f: A,
    pub x: &'a [T],
    pub y: &'a mut [T],
}

impl<T: Real, A: Activation> Kernel<T> for Forward<'_, T, A> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let mut x = self.x.chunks_exact(S::LANES);
        let mut y = self.y.chunks_exact_mut(S::LANES);
        for (x, y) in x.by_ref().zip(y.by_ref()) {
            s.store(self.f.value(s, s.load(x)), y);
        }
        s.store(self.f.value(s, s.load(x.remainder())), y.into_remainder());
    }
}

/// dx = f'(x) dy for slices of equal length, from y = f(x).
pub(crate) struct Backward<'a, T, A> {
    pub f: A,
    pub y: &'a [T],
    pub dy: &'a [T],
    pub dx: &'a mut [T],
}

impl<T: Real, A: Activation> Kernel<T> for Backward<'_, T, A> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let mut y = self.y.chunks_exact(S::LANES);
        let mut dy = self.dy.chunks_exact(S::LANES);
        let mut dx = self.dx.chunks_exact_mut(S::LANES);
        for ((y, dy), dx) in y.by_ref().zip(dy.by_ref()).zip(dx.by_ref()) {
            s.store(self.f.gradient(s, s.load(y), s.load(dy)), dx);
        }
        let (y, dy) = (s.load(y.remainder()), s.load(dy.remainder()));
        s.store(self.f.gradient(s, y, dy), dx.into_remainder());
    }
}
