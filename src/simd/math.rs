//! Exponentials, `ln_1p` and `tanh` in lanes, for both element types from one formula each.
//!
//! Bounds, held by `tests/precision/math.rs`: `f32` within 2 ULP of the exact value over all floats (`exp_m1`,
//! `ln_1p_of_unit`, `softplus` and `logistic` 3, `ln_1p` 5), `f64` within 1e-15 relative; NaN gives NaN, `tanh`
//! keeps the sign of zero.

#![forbid(unsafe_code)]

use super::Simd;
use super::real::Real;

/// x = n ln(2) + r with integral n and |r| <= ln(2)/2; returns n and expm1(r).
///
/// expm1(r) = r + r^2 (1/2! + r/3! + ...): the Taylor series, whose first omitted term is below
/// a tenth of an ULP on so short an interval.
#[inline(always)]
fn reduced_expm1<T: Real, S: Simd<T>>(s: S, x: S::F) -> (S::F, S::F) {
    let rounder = s.splat(T::ROUNDER);
    let n = s.fma(x, s.splat(T::LOG2_E), rounder) - rounder;
    let r = s.fma(n, s.splat(-T::LN_2_HIGH), x);
    let r = s.fma(n, s.splat(-T::LN_2_LOW), r);
    let mut series = s.splat(T::ZERO);
    for &term in T::EXP_TERMS.iter().rev() {
        series = s.fma(series, r, s.splat(term));
    }
    (n, s.fma(r * r, series, r))
}

/// e^x: 0 for very negative arguments, infinity for large ones.
#[inline(always)]
pub fn exp<T: Real, S: Simd<T>>(s: S, x: S::F) -> S::F {
    let (low, high) = (s.splat(T::EXP_MIN), s.splat(T::EXP_MAX));
    let inside = s.select(s.lt(x, low), low, s.select(s.lt(high, x), high, x));
    let (n, expm1) = reduced_expm1(s, inside);
    // 2^n in two factors, because n alone leaves the normal exponents at both ends.
    let half = s.fma(n, s.splat(T::from_f64(0.5)), s.splat(T::ROUNDER)) - s.splat(T::ROUNDER);
    (expm1 + s.splat(T::ONE)) * s.pow2(half) * s.pow2(n - half)
}

/// e^x for arguments up to 80, in two thirds of the time of [`exp`]: what is below the smallest normal number
/// is 0. Larger arguments give anything.
///
/// Softmaxes take it of x - m, where m is the largest x or the logarithm of their sum.
#[inline(always)]
pub fn exp_of_small<T: Real, S: Simd<T>>(s: S, x: S::F) -> S::F {
    let (n, expm1) = reduced_expm1(s, x);
    let power = (expm1 + s.splat(T::ONE)) * s.pow2(n);
    s.select(s.lt(x, s.splat(T::LN_MIN_POSITIVE)), s.splat(T::ZERO), power)
}

/// e^x - 1 for arguments up to 80, to relative precision also near 0. Larger arguments give anything.
#[inline(always)]
pub fn exp_m1<T: Real, S: Simd<T>>(s: S, x: S::F) -> S::F {
    let (n, expm1) = reduced_expm1(s, x);
    let power = s.pow2(n);
    let all = s.fma(power, expm1, power - s.splat(T::ONE));
    s.select(s.lt(x, s.splat(T::LN_MIN_POSITIVE)), s.splat(-T::ONE), all)
}

/// ln(1 + x) for x from 0 to 1, to relative precision.
///
/// With z = x / (2 + x), at most 1/3, it is 2 artanh(z) = 2 (z + z^3/3 + z^5/5 + ...).
#[inline(always)]
pub fn ln_1p_of_unit<T: Real, S: Simd<T>>(s: S, x: S::F) -> S::F {
    let two = s.splat(T::ONE + T::ONE);
    let z = x / (two + x);
    let z2 = z * z;
    let mut series = s.splat(T::ZERO);
    for &term in T::ARTANH_TERMS.iter().rev() {
        series = s.fma(series, z2, s.splat(term));
    }
    let z = z + z;
    s.fma(z * z2, series, z)
}

/// ln(1 + x) for x from 0 to infinity, to relative precision.
///
/// Up to 1 it is [`ln_1p_of_unit`]. Of a larger y = 1 + x, roots are taken until it is at most 2:
/// ln y = 2^k ln(y^(1/2^k)). A root halves the relative error, and the factor doubles it again.
#[inline(always)]
pub fn ln_1p<T: Real, S: Simd<T>>(s: S, x: S::F) -> S::F {
    let (one, two, inf) = (s.splat(T::ONE), s.splat(T::ONE + T::ONE), s.splat(T::INFINITY));
    let (mut y, mut factor) = (one + x, one);
    let (infinite, mut large) = (s.eq(x, inf), s.lt(one, x));
    large = large & !infinite;
    while s.count(large) > 0 {
        y = s.select(large, s.sqrt(y), y);
        factor = s.select(large, factor + factor, factor);
        large = s.lt(two, y) & !infinite;
    }
    // After a root the series takes y - 1, which is exact; without one it takes x itself.
    let rest = s.select(s.lt(one, factor), y - one, x);
    s.select(infinite, inf, factor * ln_1p_of_unit(s, rest))
}

/// ln(1 + e^x), the softplus, to relative precision; max(x, 0) far from 0.
#[inline(always)]
pub fn softplus<T: Real, S: Simd<T>>(s: S, x: S::F) -> S::F {
    s.hinge(x) + ln_1p_of_unit(s, exp_of_small(s, -s.abs(x)))
}

/// 1 / (1 + e^-x), the logistic function, to relative precision also where it is near 0.
#[inline(always)]
pub fn logistic<T: Real, S: Simd<T>>(s: S, x: S::F) -> S::F {
    let (one, power) = (s.splat(T::ONE), exp_of_small(s, -s.abs(x)));
    s.select(s.lt(x, s.splat(T::ZERO)), power, one) / (one + power)
}

/// tanh(x) = q / (q + 2) with q = expm1(2x), taken at |x| and given the sign of x.
///
/// With 2|x| = n ln(2) + r, q = 2^n expm1(r) + (2^n - 1), which loses nothing for small |x|, where
/// n = 0. The plain quotient is off by up to 2.25 ULP in `f32`, from the roundings of q + 2 and of
/// the quotient. Both weigh less in a small correction, for any t near the result:
///
/// ```text
/// q / (q + 2) = t + (q - 2t - t q) / (q + 2)        here t = min(|x|, 1/2): 1.72 ULP
/// ```
#[inline(always)]
pub fn tanh<T: Real, S: Simd<T>>(s: S, x: S::F) -> S::F {
    let (one, two, limit) = (s.splat(T::ONE), s.splat(T::ONE + T::ONE), s.splat(T::TANH_MAX));
    let magnitude = s.abs(x);
    // A comparison with NaN is false, so a NaN goes on to the formula.
    let magnitude = s.select(s.lt(limit, magnitude), limit, magnitude);
    let (n, expm1) = reduced_expm1(s, magnitude + magnitude);
    let power = s.pow2(n);
    let q = s.fma(power, expm1, power - one);
    let half = s.splat(T::from_f64(0.5));
    let t = s.select(s.lt(half, magnitude), half, magnitude);
    let correction = s.fma(-t, q, q - (t + t)) / (q + two);
    s.copysign(t + correction, x)
}
