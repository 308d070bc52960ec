//! Lanes: vectors of each instruction tier behind one trait. No other place of the crate knows an
//! instruction set.
//!
//! [`Simd<T>`](Simd) is a token of size zero whose methods are the vector operations of one tier.
//! A token can be obtained only through [`Real::dispatch`], which takes an
//! [`Isa`](crate::Isa), the proof that the processor has the tier. Kernels and losses are written
//! once, generic over the token, and compiled once for each tier inside a function that has the
//! tier's features switched on; for that to happen everything between that function and the lane
//! operations must be `#[inline(always)]`.
//!
//! Every operation means the same on every tier, NaN, signed zeros and partial vectors included.
//! Two things may differ in the last bits: `fma` is fused on AVX2 and AVX-512 only, and `sum` adds
//! in the order of the tier's width. Square root and division are exact everywhere; approximations
//! of reciprocals are not offered, since their bits depend on the processor's maker.

use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

use isa::MOST_LANES;
use real::Real;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod cache;
pub(crate) mod dispatch;
pub(crate) mod isa;
pub mod math;
mod portable;
pub(crate) mod real;
pub(crate) mod tier;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A computation written once for the lanes of every tier.
///
/// ```
/// use drlim::simd::{Kernel, Simd};
/// use drlim::{Isa, Real};
///
/// struct Sum<'a>(&'a [f32]);
///
/// impl Kernel<f32> for Sum<'_> {
///     type Output = f32;
///     #[inline(always)]
///     fn run<S: Simd<f32>>(self, s: S) -> f32 {
///         let lanes = self.0.chunks(S::LANES);
///         s.sum(lanes.fold(s.splat(0.0), |sum, chunk| sum + s.load(chunk)))
///     }
/// }
///
/// assert_eq!(f32::dispatch(Isa::best(), Sum(&[1.0; 37])), 37.0);
/// ```
pub trait Kernel<T: Real> {
    /// What the computation returns.
    type Output;
    /// The computation. Mark it `#[inline(always)]`, or it is compiled without the tier's features.
    fn run<S: Simd<T>>(self, s: S) -> Self::Output;
}

/// The lanes of one tier for elements of type `T`. Sealed: the crate implements it, losses and
/// kernels are written against it.
///
/// There is no plain `max`, because it loses a NaN: see [`hinge`](Simd::hinge). There is no
/// reciprocal square root: see [`over_distance`](Simd::over_distance).
pub trait Simd<T: Real>: sealed::Sealed + Copy + Send + Sync {
    /// How many elements a vector holds.
    const LANES: usize;
    /// The number of the tier's vector registers: 16 or 32. Heights of register tiles follow from it and
    /// from `LANES`.
    #[doc(hidden)]
    const REGISTERS: usize;
    /// Rows of the register tile of the product kernel, which is two vectors wide. On AVX-512 eight rows
    /// reach 98 % of the FMA peak at 128 x 32 x 2430. Twelve would fit the vector registers, but the
    /// pointers to their rows would not fit the other registers, and spilling costs half. At most 8; with
    /// 32 registers at least 7.
    #[doc(hidden)]
    const TILE_ROWS: usize;
    /// A vector of `LANES` elements.
    type F: Copy
        + Add<Output = Self::F>
        + Sub<Output = Self::F>
        + Mul<Output = Self::F>
        + Div<Output = Self::F>
        + Neg<Output = Self::F>;
    /// A truth value for each lane.
    type M: Copy + BitAnd<Output = Self::M> + BitOr<Output = Self::M> + Not<Output = Self::M>;

    /// `x` in every lane.
    fn splat(self, x: T) -> Self::F;
    /// The first `LANES` elements; where there are fewer, the other lanes are 0.
    fn load(self, from: &[T]) -> Self::F;
    /// Writes the first `LANES` elements; where there is room for fewer, the other lanes are
    /// dropped.
    fn store(self, v: Self::F, to: &mut [T]);
    /// The first `LANES` truth values; where there are fewer, the other lanes are false.
    fn mask(self, from: &[bool]) -> Self::M;
    /// True in lanes below `n`.
    fn first(self, n: usize) -> Self::M;
    /// Bit i says whether lane i is true.
    #[doc(hidden)]
    fn bits(self, m: Self::M) -> u32;
    /// How many lanes are true.
    #[inline(always)]
    fn count(self, m: Self::M) -> u32 {
        self.bits(m).count_ones()
    }
    /// `a * b + c`; rounded once on the tiers that have the instruction.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The correctly rounded square root; NaN below 0.
    fn sqrt(self, v: Self::F) -> Self::F;
    /// The absolute value; clears the sign bit of a NaN too.
    fn abs(self, v: Self::F) -> Self::F;
    /// The magnitude of `v` with the sign bit of `sign`.
    fn copysign(self, v: Self::F, sign: Self::F) -> Self::F;
    /// `a < b`; false where either is NaN.
    fn lt(self, a: Self::F, b: Self::F) -> Self::M;
    /// `a == b`; false where either is NaN.
    fn eq(self, a: Self::F, b: Self::F) -> Self::M;
    /// `yes` in lanes where `m` is true, `no` in the others.
    fn select(self, m: Self::M, yes: Self::F, no: Self::F) -> Self::F;
    /// The sum of the lanes, as a balanced tree.
    fn sum(self, v: Self::F) -> T;
    /// The sum of the lanes of each of four vectors, cheaper than one by one.
    #[doc(hidden)]
    #[inline(always)]
    fn sums(self, v: [Self::F; 4]) -> [T; 4] {
        [self.sum(v[0]), self.sum(v[1]), self.sum(v[2]), self.sum(v[3])]
    }
    /// Four vectors interleaved: the first element of each, the second of each, and so on.
    #[doc(hidden)]
    #[inline(always)]
    fn interleave(self, v: [Self::F; 4]) -> [Self::F; 4] {
        let (mut rows, mut all) = ([[T::ZERO; MOST_LANES]; 4], [T::ZERO; 4 * MOST_LANES]);
        for k in 0..4 {
            self.store(v[k], &mut rows[k]);
        }
        for at in 0..4 * Self::LANES {
            all[at] = rows[at % 4][at / 4];
        }
        let mut parts = v;
        for k in 0..4 {
            parts[k] = self.load(&all[k * Self::LANES..]);
        }
        parts
    }
    /// 2^n for integral n in the range of normal exponents.
    fn pow2(self, n: Self::F) -> Self::F;
    /// Lane i is the sum of elements 2i and 2i + 1 of the two vectors in a row.
    fn pair_sums(self, v: [Self::F; 2]) -> Self::F;
    /// The two vectors in a row hold each lane of `v` twice.
    fn spread_pairs(self, v: Self::F) -> [Self::F; 2];
    /// Lane i is the sum of elements 3i, 3i + 1 and 3i + 2 of the three vectors in a row.
    fn triple_sums(self, v: [Self::F; 3]) -> Self::F;
    /// The three vectors in a row hold each lane of `v` three times.
    fn spread_triples(self, v: Self::F) -> [Self::F; 3];

    /// Writes `LANES` elements past the caches.
    ///
    /// # Safety
    /// `to` is valid for writing `LANES` elements and aligned to their size in bytes. Before the
    /// written memory is read by another thread, this one calls [`fence`](Simd::fence).
    #[doc(hidden)]
    #[allow(
        unsafe_code,
        reason = "streamed writes need a fence that the type system cannot ask for"
    )]
    unsafe fn stream(self, v: Self::F, to: *mut T);
    /// Prefetches the cache line of an address that is about to be read. Any address will do.
    #[doc(hidden)]
    fn prefetch(self, at: *const T);
    /// Orders streamed writes before everything that follows.
    #[doc(hidden)]
    fn fence(self);

    /// max(v, 0) that keeps a NaN.
    #[inline(always)]
    fn hinge(self, v: Self::F) -> Self::F {
        let zero = self.splat(T::ZERO);
        self.select(self.lt(v, zero), zero, v)
    }

    /// 1 where `v` is above 0, a NaN where it is one, 0 elsewhere: the derivative of
    /// [`hinge`](Simd::hinge).
    #[inline(always)]
    fn step(self, v: Self::F) -> Self::F {
        let zero = self.splat(T::ZERO);
        let below = self.select(self.lt(v, zero), zero, v);
        self.select(self.lt(zero, v), self.splat(T::ONE), below)
    }

    /// `m` in every lane.
    #[inline(always)]
    fn splat_mask(self, m: bool) -> Self::M {
        self.first(if m { Self::LANES } else { 0 })
    }

    /// `numerator / d`, but 0 where the squared distance `d2` is zero or subnormal: the rule for
    /// zero distance, in one place. A NaN in `d2` gives NaN.
    #[inline(always)]
    fn over_distance(self, numerator: Self::F, d: Self::F, d2: Self::F) -> Self::F {
        let coincident = self.lt(d2, self.splat(T::MIN_POSITIVE));
        self.select(coincident, self.splat(T::ZERO), numerator / d)
    }

    /// Where a value counts as not zero; true for a NaN.
    #[inline(always)]
    fn nonzero(self, v: Self::F) -> Self::M {
        !self.eq(v, self.splat(T::ZERO))
    }
}
