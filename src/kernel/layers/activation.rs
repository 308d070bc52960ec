//! Activations: a function of each element by itself, applied in place where other kernels have just
//! written, and its slope.

#![forbid(unsafe_code)]

use crate::simd::real::Real;
use crate::simd::{Kernel, Simd, math};

/// The functions. Each has a derivative in terms of its result, so that no input is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    Tanh,
    ScaledTanh,
    Sigmoid,
    Relu,
}

/// A function in lanes.
trait Function: Copy {
    /// y = f(x)
    fn value<T: Real, S: Simd<T>>(self, s: S, x: S::F) -> S::F;
    /// dx = f'(x) dy, where y = f(x)
    fn gradient<T: Real, S: Simd<T>>(self, s: S, y: S::F, dy: S::F) -> S::F;
}

/// tanh(x), with derivative 1 - y².
#[derive(Clone, Copy)]
struct Tanh;

impl Function for Tanh {
    #[inline(always)]
    fn value<T: Real, S: Simd<T>>(self, s: S, x: S::F) -> S::F {
        math::tanh(s, x)
    }
    #[inline(always)]
    fn gradient<T: Real, S: Simd<T>>(self, s: S, y: S::F, dy: S::F) -> S::F {
        s.fma(-(y * dy), y, dy)
    }
}

/// a tanh(b x), with derivative b (a - y²/a).
#[derive(Clone, Copy)]
struct ScaledTanh;

impl ScaledTanh {
    /// a and b of LeCun, Bottou, Orr, Müller 1998: f(1) = 1 and f(-1) = -1.
    const AMPLITUDE: f64 = 1.7159;
    const SLOPE: f64 = 2.0 / 3.0;
}

impl Function for ScaledTanh {
    #[inline(always)]
    fn value<T: Real, S: Simd<T>>(self, s: S, x: S::F) -> S::F {
        let [a, b] = [Self::AMPLITUDE, Self::SLOPE].map(T::from_f64);
        s.splat(a) * math::tanh(s, s.splat(b) * x)
    }
    #[inline(always)]
    fn gradient<T: Real, S: Simd<T>>(self, s: S, y: S::F, dy: S::F) -> S::F {
        let steepest = T::from_f64(Self::AMPLITUDE * Self::SLOPE);
        let bend = T::from_f64(-Self::SLOPE / Self::AMPLITUDE);
        s.fma(s.splat(bend) * y, y, s.splat(steepest)) * dy
    }
}

/// 1 / (1 + exp(-x)), with derivative y (1 - y).
#[derive(Clone, Copy)]
struct Sigmoid;

impl Function for Sigmoid {
    #[inline(always)]
    fn value<T: Real, S: Simd<T>>(self, s: S, x: S::F) -> S::F {
        let one = s.splat(T::ONE);
        one / (one + math::exp(s, -x))
    }
    #[inline(always)]
    fn gradient<T: Real, S: Simd<T>>(self, s: S, y: S::F, dy: S::F) -> S::F {
        s.fma(-y, y, y) * dy
    }
}

/// max(x, 0) that keeps a NaN, with derivative 1 where y > 0, else 0 (0 at 0 too).
#[derive(Clone, Copy)]
struct Relu;

impl Function for Relu {
    #[inline(always)]
    fn value<T: Real, S: Simd<T>>(self, s: S, x: S::F) -> S::F {
        s.hinge(x)
    }
    #[inline(always)]
    fn gradient<T: Real, S: Simd<T>>(self, s: S, y: S::F, dy: S::F) -> S::F {
        s.select(s.nonzero(y), dy, s.splat(T::ZERO))
    }
}

/// y = f(y) for `rows` runs of `width` elements, `stride` apart.
pub(crate) struct Activate<'a, T> {
    pub f: Activation,
    pub y: &'a mut [T],
    pub rows: usize,
    pub stride: usize,
    pub width: usize,
}

impl<T: Real> Kernel<T> for Activate<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        match self.f {
            Activation::Tanh => self.by(s, Tanh),
            Activation::ScaledTanh => self.by(s, ScaledTanh),
            Activation::Sigmoid => self.by(s, Sigmoid),
            Activation::Relu => self.by(s, Relu),
        }
    }
}

impl<'a, T: Real> Activate<'a, T> {
    /// All elements of a slice.
    pub(crate) fn all(f: Activation, y: &'a mut [T]) -> Self {
        let width = y.len();
        Activate { f, y, rows: 1, stride: width, width }
    }

    #[inline(always)]
    fn by<S: Simd<T>>(self, s: S, f: impl Function) {
        for row in 0..self.rows {
            let mut vectors = self.y[row * self.stride..][..self.width].chunks_exact_mut(S::LANES);
            for y in vectors.by_ref() {
                s.store(f.value(s, s.load(y)), y);
            }
            let y = vectors.into_remainder();
            s.store(f.value(s, s.load(y)), y);
        }
    }
}

/// dy = f'(x) dy for slices of equal length, from y = f(x).
pub(crate) struct Slope<'a, T> {
    pub f: Activation,
    pub y: &'a [T],
    pub dy: &'a mut [T],
}

impl<T: Real> Kernel<T> for Slope<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        match self.f {
            Activation::Tanh => self.by(s, Tanh),
            Activation::ScaledTanh => self.by(s, ScaledTanh),
            Activation::Sigmoid => self.by(s, Sigmoid),
            Activation::Relu => self.by(s, Relu),
        }
    }
}

impl<T: Real> Slope<'_, T> {
    #[inline(always)]
    fn by<S: Simd<T>>(self, s: S, f: impl Function) {
        let mut y = self.y.chunks_exact(S::LANES);
        let mut dy = self.dy.chunks_exact_mut(S::LANES);
        for (y, dy) in y.by_ref().zip(dy.by_ref()) {
            s.store(f.gradient(s, s.load(y), s.load(dy)), dy);
        }
        let (y, dy) = (s.load(y.remainder()), dy.into_remainder());
        s.store(f.gradient(s, y, s.load(dy)), dy);
    }
}
