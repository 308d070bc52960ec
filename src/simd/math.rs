//! `exp` and `tanh` in lanes, for both element types from one formula each.
//!
//! Bounds, held by `tests/precision/math.rs`: `f32` within 2 ULP of the exact value over all floats, `f64`
//! within 1e-15 relative; NaN gives NaN, `tanh` keeps the sign of zero.

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
