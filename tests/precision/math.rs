//! How far exponentials, logarithms and what is made of them in lanes are from the exact values.
//!
//! `f32`: within 2 ULP of the correctly rounded result, 3 or 5 of some functions, against `f64` of the standard
//! library, over all floats in a release build and over every 1009th otherwise. `f64`: within 1e-15 relative,
//! against double-double arithmetic.

#![forbid(unsafe_code)]

use crate::support::double_double::{self, DoubleDouble};
use crate::support::number::Number;
use crate::support::{Element, Random, tiers};
use drlim::simd::{Kernel, Simd, math};
use drlim::{Isa, Real};
use rayon::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Function {
    Exp,
    Tanh,
    ExpOfSmall,
    ExpM1,
    Ln1pOfUnit,
    Ln1p,
    Softplus,
    Logistic,
}

impl Function {
    /// Whether the function says what it gives of an argument. A NaN gives NaN.
    fn takes(self, x: f64) -> bool {
        match self {
            Function::ExpOfSmall | Function::ExpM1 => x <= 80.0 || x.is_nan(),
            Function::Ln1pOfUnit => (0.0..=1.0).contains(&x) || x.is_nan(),
            Function::Ln1p => x >= 0.0 || x.is_nan(),
            _ => true,
        }
    }
}

/// A function of each element.
struct Map<'a, T> {
    function: Function,
    x: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Kernel<T> for Map<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        for (x, out) in self.x.chunks(S::LANES).zip(self.out.chunks_mut(S::LANES)) {
            let x = s.load(x);
            let y = match self.function {
                Function::Exp => math::exp(s, x),
                Function::Tanh => math::tanh(s, x),
                Function::ExpOfSmall => math::exp_of_small(s, x),
                Function::ExpM1 => math::exp_m1(s, x),
                Function::Ln1pOfUnit => math::ln_1p_of_unit(s, x),
                Function::Ln1p => math::ln_1p(s, x),
                Function::Softplus => math::softplus(s, x),
                Function::Logistic => math::logistic(s, x),
            };
            s.store(y, out);
        }
    }
}

fn map<T: Real>(isa: Isa, function: Function, x: &[T]) -> Vec<T> {
    let mut out = vec![T::ZERO; x.len()];
    T::dispatch(isa, Map { function, x, out: &mut out });
    out
}

/// The largest error so far, and where.
#[derive(Clone, Copy, Debug)]
struct Worst<T> {
    error: f64,
    x: T,
    got: T,
}

impl<T: Element> Worst<T> {
    fn none() -> Self {
        Worst { error: 0.0, x: T::ZERO, got: T::ZERO }
    }

    /// A NaN error is the worst.
    fn or(self, other: Self) -> Self {
        if other.error > self.error || other.error.is_nan() { other } else { self }
    }

    fn check(self, isa: Isa, function: Function, bound: f64, unit: &str) {
        let Worst { error, x, got } = self;
        let name = T::NAME;
        println!("{function:?} {name} {isa}: worst {error:.3e} {unit} at {x:e} ({got:e})");
        assert!(
            error <= bound,
            "{function:?} in {name} on {isa} is off by {error:e} {unit} at {x:e} \
             (bits {:#x}): got {got:e}; {bound:e} is allowed",
            x.bits()
        );
    }
}

/// The distance from one float to the next at the correctly rounded `exact`.
fn ulp(exact: f64) -> f64 {
    let rounded = (exact.abs() as f32).clamp(f32::MIN_POSITIVE, f32::MAX);
    f64::from(f32::from_bits(rounded.to_bits() & 0x7F80_0000)) * f64::from(f32::EPSILON)
}

/// How many ULP `got` lies from the exact value; infinity counts as the power of two behind the
/// largest number. Infinite where NaN or the sign of zero is wrong.
fn ulps(got: f32, exact: f64) -> f64 {
    let overflow = 2.0_f64.powi(128);
    if exact.is_nan() || got.is_nan() || got.is_sign_negative() != exact.is_sign_negative() {
        return if exact.is_nan() && got.is_nan() { 0.0 } else { f64::INFINITY };
    }
    let finite = |x: f64| x.clamp(-overflow, overflow);
    (finite(got.into()) - finite(exact)).abs() / ulp(exact)
}

#[test]
fn the_ulp_is_that_of_the_rounded_result() {
    let epsilon = f64::from(f32::EPSILON);
    assert_eq!(ulp(1.0), epsilon);
    assert_eq!(ulp(1.0 - 1e-12), epsilon);
    assert_eq!(ulp(0.999), epsilon / 2.0);
    assert_eq!(ulp(0.0), f32::tiny().to_f64());
    assert_eq!(ulp(1e-44), f32::tiny().to_f64());
    assert_eq!(ulp(f64::INFINITY), 2.0_f64.powi(104));
    assert_eq!(ulps(f32::INFINITY, 2.0_f64.powi(128) - 2.0_f64.powi(104)), 1.0);
    assert_eq!(ulps(f32::MAX, f64::INFINITY), 1.0);
    assert_eq!(ulps(1.0 + 3.0 * f32::EPSILON, 1.0), 3.0);
    assert_eq!(ulps(-0.0, 0.0), f64::INFINITY);
    assert_eq!(ulps(f32::NAN, 1.0), f64::INFINITY);
}

/// Every float, or every 1009th: a prime, so that all low bits occur with all exponents.
const STRIDE: u64 = if cfg!(debug_assertions) { 1009 } else { 1 };

fn check_f32(function: Function, exact: fn(f64) -> f64, bound: f64) {
    const CHUNK: u64 = 1 << 14;
    let tiers = tiers();
    let count = (1_u64 << 32).div_ceil(STRIDE);
    let none = || vec![Worst::none(); tiers.len()];
    let worst = (0..count.div_ceil(CHUNK))
        .into_par_iter()
        .map(|chunk| {
            let indices = chunk * CHUNK..((chunk + 1) * CHUNK).min(count);
            let x = indices.map(|i| f32::from_bits((i * STRIDE) as u32));
            let x: Vec<f32> = x.filter(|&x| function.takes(x.into())).collect();
            let expected: Vec<f64> = x.iter().map(|&x| exact(x.into())).collect();
            worst_f32(&tiers, function, &x, &expected)
        })
        .reduce(none, merge);
    let edges: Vec<f32> =
        [0.0, 1.0, 80.0, 88.722_84, 88.722_85, 87.336_54, 103.278_93, 103.972_08, 104.0, 9.1]
            .into_iter()
            .chain(f32::awkward())
            .chain((-300..=300).map(|n| n as f32 * (std::f32::consts::LN_2 / 2.0)))
            .flat_map(|x| neighbours(x, 20))
            .filter(|&x| function.takes(x.into()))
            .collect();
    let expected: Vec<f64> = edges.iter().map(|&x| exact(x.into())).collect();
    let worst = merge(worst, worst_f32(&tiers, function, &edges, &expected));
    for (&isa, worst) in tiers.iter().zip(worst) {
        worst.check(isa, function, bound, "ULP");
    }
}

fn worst_f32(tiers: &[Isa], function: Function, x: &[f32], exact: &[f64]) -> Vec<Worst<f32>> {
    let worst_of = |got: Vec<f32>| {
        let errors = x.iter().zip(got).zip(exact);
        errors
            .map(|((&x, got), &exact)| Worst { error: ulps(got, exact), x, got })
            .fold(Worst::none(), Worst::or)
    };
    tiers.iter().map(|&isa| worst_of(map(isa, function, x))).collect()
}

fn merge<T: Element>(a: Vec<Worst<T>>, b: Vec<Worst<T>>) -> Vec<Worst<T>> {
    a.into_iter().zip(b).map(|(a, b)| a.or(b)).collect()
}

/// `x` and -`x`, and the numbers up to `reach` steps away.
fn neighbours<T: Element>(x: T, reach: u64) -> impl Iterator<Item = T> {
    let first = x.bits().saturating_sub(reach);
    (first..=first + 2 * reach)
        .map(T::from_bits)
        .flat_map(|x| [x, T::from_bits(x.bits() ^ T::sign_bit())])
}

#[test]
fn exp_of_f32_is_within_2_ulp() {
    check_f32(Function::Exp, f64::exp, 2.0);
}

#[test]
fn tanh_of_f32_is_within_2_ulp() {
    check_f32(Function::Tanh, f64::tanh, 2.0);
}

/// 0 in place of what is no normal number, which powers of small arguments lose.
fn flushed(x: f64) -> f64 {
    if x < f64::from(f32::MIN_POSITIVE) { 0.0 } else { x }
}

#[test]
fn powers_of_small_f32_are_within_2_ulp() {
    check_f32(Function::ExpOfSmall, |x| flushed(x.exp()), 2.0);
}

#[test]
fn exp_m1_of_f32_is_within_3_ulp() {
    // Both zeros give 0.
    check_f32(Function::ExpM1, |x| if x == 0.0 { 0.0 } else { x.exp_m1() }, 3.0);
}

#[test]
fn ln_1p_of_unit_f32_is_within_3_ulp() {
    check_f32(Function::Ln1pOfUnit, f64::ln_1p, 3.0);
}

/// A root leaves half an ULP of a number near 1.4, of whose logarithm that is more than two.
#[test]
fn ln_1p_of_f32_is_within_5_ulp() {
    check_f32(Function::Ln1p, f64::ln_1p, 5.0);
}

/// ln(1 + e^x) by a power that is at most 1.
fn softplus(x: f64) -> f64 {
    x.hinge() + (-x.abs()).exp().ln_1p()
}

/// 1 / (1 + e^-x), likewise.
fn logistic(x: f64) -> f64 {
    let power = (-x.abs()).exp();
    if x < 0.0 { power / (1.0 + power) } else { 1.0 / (1.0 + power) }
}

/// Both have the roundings of a power and of what is made of it.
#[test]
fn softplus_of_f32_is_within_3_ulp() {
    check_f32(Function::Softplus, |x| flushed(softplus(x)), 3.0);
}

#[test]
fn logistic_of_f32_is_within_3_ulp() {
    check_f32(Function::Logistic, |x| flushed(logistic(x)), 3.0);
}

/// Arguments over all magnitudes, dense where functions change their course: near 0, near the
/// breakpoints of the reduction (multiples of ln(2)/4 cover those of both functions), at the ends.
fn f64_arguments() -> Vec<f64> {
    let mut random = Random::new(7);
    let n = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    let mut x = f64::awkward();
    x.extend((0..n).map(|_| random.pattern::<f64>()));
    x.extend((0..n).map(|_| random.between::<f64>(-750.0, 715.0)));
    x.extend((0..n).map(|_| random.between::<f64>(-25.0, 25.0)));
    x.extend((0..n).map(|_| random.between::<f64>(-1.0, 1.0)));
    x.extend((0..n).map(|_| {
        let magnitude = 2.0_f64.powf(random.between(-70.0, 3.0));
        if random.flag(0.5) { magnitude } else { -magnitude }
    }));
    for n in 0..4400 {
        let breakpoint = f64::from(n) * (std::f64::consts::LN_2 / 4.0);
        x.extend(neighbours(breakpoint, 5));
    }
    for edge in [709.782712893384, 708.3964185322641, 744.4400719213812, 745.1332191019411, 19.06] {
        x.extend(neighbours(edge, 100));
    }
    for edge in [1.0, 40.0, 80.0] {
        x.extend(neighbours(edge, 100));
    }
    x
}

/// The relative error of `got` for e^x; 0 where the one subnormal number next to the exact value,
/// or the rounding to infinity next to the largest one, explains it.
fn exp_error(x: f64, got: f64) -> f64 {
    if x.is_nan() || got.is_nan() || got.is_sign_negative() {
        return if x.is_nan() && got.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if !(-746.0..=710.0).contains(&x) {
        let limit = if x > 0.0 { f64::INFINITY } else { 0.0 };
        return if got == limit { 0.0 } else { f64::INFINITY };
    }
    let (exact, n) = double_double::exp(x);
    // In two steps, since 2^-n may be beyond the largest number; exact, since it scales up or the
    // number is normal. Infinity stands for 2^1024.
    let half = n / 2;
    let scaled = if got == f64::INFINITY {
        2.0_f64.powi(1024 - n)
    } else {
        got * 2.0_f64.powi(-half) * 2.0_f64.powi(half - n)
    };
    let error = distance(scaled, exact);
    let overflows = exact.high * 2.0_f64.powi(n - 1024) > 1.0 - 1e-15;
    if overflows && got == f64::INFINITY {
        return 0.0;
    }
    let spacing = 2.0_f64.powi(-1074 - half) * 2.0_f64.powi(half - n);
    let subnormal = got < f64::MIN_POSITIVE;
    if subnormal && error <= spacing { 0.0 } else { error / exact.high }
}

/// |got - exact|
fn distance(got: f64, exact: DoubleDouble) -> f64 {
    ((got - exact.high) - exact.low).abs()
}

/// The relative error of `got` for tanh(x).
fn tanh_error(x: f64, got: f64) -> f64 {
    if x.is_nan() || got.is_nan() || got.is_sign_negative() != x.is_sign_negative() {
        return if x.is_nan() && got.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if x == 0.0 {
        return if got == 0.0 { 0.0 } else { f64::INFINITY };
    }
    let exact = if x.abs() < 30.0 {
        double_double::tanh(x)
    } else {
        DoubleDouble::new(1.0_f64.copysign(x))
    };
    let error = distance(got, exact);
    let subnormal = x.abs() < f64::MIN_POSITIVE;
    if subnormal && error <= f64::tiny() { 0.0 } else { error / exact.high.abs() }
}

/// Relative errors of functions that have no sign of zero to keep. An exact value that is no normal number may
/// be off by the smallest one.
fn relative(x: f64, got: f64, exact: fn(f64) -> DoubleDouble) -> f64 {
    if x.is_nan() || got.is_nan() {
        return if x.is_nan() && got.is_nan() { 0.0 } else { f64::INFINITY };
    }
    let exact = exact(x);
    if exact.high.is_infinite() || got.is_infinite() {
        return if got == exact.high { 0.0 } else { f64::INFINITY };
    }
    let (error, size) = (distance(got, exact), exact.high.abs());
    let within = size < f64::MIN_POSITIVE && error <= f64::tiny();
    if within || error == 0.0 { 0.0 } else { error / size }
}

/// The error of a power that is 0 below the smallest normal number. The logarithm of that number is rounded, so
/// the power next to it may be either.
fn flushed_exp_error(x: f64, got: f64) -> f64 {
    let (below, above) = (-708.3964185322642, -708.396418532264);
    match got == 0.0 {
        true if x < above => 0.0,
        false if x < below => f64::INFINITY,
        _ => exp_error(x, got),
    }
}

fn exp_m1_error(x: f64, got: f64) -> f64 {
    relative(x, got, |x| match x {
        x if x < -800.0 => DoubleDouble::new(-1.0),
        x if x.abs() < 1e-9 => {
            // x + x^2/2 + x^3/6; the next term is below 1e-28 of it.
            let x = DoubleDouble::new(x);
            let third = x * x / DoubleDouble::new(3.0);
            x + (x * x + x * third) / DoubleDouble::new(2.0)
        }
        x => DoubleDouble::new(x).exp() - DoubleDouble::new(1.0),
    })
}

/// ln(1 + x) for x of 0 and above.
fn ln_1p(x: DoubleDouble) -> DoubleDouble {
    if x.high < 1e-8 {
        let [half, third] = [2.0, 3.0].map(|by| x / DoubleDouble::new(by));
        return x - x * (half - x * third);
    }
    if x.high == f64::INFINITY {
        return x;
    }
    // A step of Newton's.
    let one = DoubleDouble::new(1.0);
    let first = DoubleDouble::new(x.high.ln_1p());
    first + ((one + x) * (-first).exp() - one)
}

fn ln_1p_error(x: f64, got: f64) -> f64 {
    relative(x, got, |x| ln_1p(DoubleDouble::new(x)))
}

/// Up to where softplus and logistic are e^x, to twice the precision of e^x.
const POWER: f64 = -40.0;

fn softplus_error(x: f64, got: f64) -> f64 {
    if x < POWER {
        return flushed_exp_error(x, got);
    }
    relative(x, got, |x| match x {
        f64::INFINITY => DoubleDouble::new(x),
        x => DoubleDouble::new(x.hinge()) + ln_1p(DoubleDouble::new(-x.abs()).exp()),
    })
}

fn logistic_error(x: f64, got: f64) -> f64 {
    if x < POWER {
        return flushed_exp_error(x, got);
    }
    relative(x, got, |x| {
        let one = DoubleDouble::new(1.0);
        let power = DoubleDouble::new(-x.abs()).exp();
        if x < 0.0 { power / (one + power) } else { one / (one + power) }
    })
}

fn check_f64(function: Function, error: fn(f64, f64) -> f64) {
    let x: Vec<f64> = f64_arguments().into_iter().filter(|&x| function.takes(x)).collect();
    for isa in tiers() {
        let got = map(isa, function, &x);
        let worst = x
            .par_iter()
            .zip(got)
            .map(|(&x, got)| Worst { error: error(x, got), x, got })
            .reduce(Worst::none, Worst::or);
        worst.check(isa, function, 1e-15, "relative");
    }
}

#[test]
fn exp_of_f64_is_within_1e_15() {
    check_f64(Function::Exp, exp_error);
}

#[test]
fn tanh_of_f64_is_within_1e_15() {
    check_f64(Function::Tanh, tanh_error);
}

#[test]
fn powers_of_small_f64_are_within_1e_15() {
    check_f64(Function::ExpOfSmall, flushed_exp_error);
}

#[test]
fn exp_m1_of_f64_is_within_1e_15() {
    check_f64(Function::ExpM1, exp_m1_error);
}

#[test]
fn ln_1p_of_f64_is_within_1e_15() {
    check_f64(Function::Ln1pOfUnit, ln_1p_error);
    check_f64(Function::Ln1p, ln_1p_error);
}

#[test]
fn softplus_of_f64_is_within_1e_15() {
    check_f64(Function::Softplus, softplus_error);
}

#[test]
fn logistic_of_f64_is_within_1e_15() {
    check_f64(Function::Logistic, logistic_error);
}

/// A ULP or two says little where the exact value is 0 or infinite.
fn check_ends<T: Element>(far: f64) {
    let x = [-T::INFINITY, T::from_f64(-far), T::ZERO, T::from_f64(far), T::INFINITY];
    let (zero, one, inf) = (T::ZERO, T::ONE, T::INFINITY);
    for isa in tiers() {
        assert_eq!(map(isa, Function::Exp, &x), [zero, zero, one, inf, inf], "exp on {isa}");
        assert_eq!(map(isa, Function::Tanh, &x), [-one, -one, zero, one, one], "tanh on {isa}");
    }
}

#[test]
fn the_ends_are_exact() {
    check_ends::<f32>(104.0);
    check_ends::<f64>(746.0);
}

/// The yardstick of the tests above, by identities that hold for no other functions.
#[test]
fn double_double_functions_are_good_to_28_digits() {
    let one = DoubleDouble::new(1.0);
    let relative = |a: DoubleDouble, b: DoubleDouble| ((a - b).high / b.high).abs();
    // e = 2.71828182845904523536028747135266249776; n is 1 here.
    let (half_e, n) = double_double::exp(1.0);
    let e = DoubleDouble { high: std::f64::consts::E, low: 1.445_646_891_729_250_2e-16 };
    assert!(relative(half_e + half_e, e) < 1e-28 && n == 1, "{half_e:?}");
    let mut random = Random::new(8);
    for _ in 0..1000 {
        // Multiples of 2^-20, so that their sums are exact.
        let [x, y]: [f64; 2] = [(); 2]
            .map(|()| (random.between::<f64>(-300.0, 300.0) * 1048576.0).round() / 1048576.0);
        let ((a, i), (b, j), (c, k)) =
            (double_double::exp(x), double_double::exp(y), double_double::exp(x + y));
        let scale = DoubleDouble::new(2.0_f64.powi(i + j - k));
        assert!(relative(a * b * scale, c) < 1e-28, "exp({x}) exp({y})");

        let [x, y] = [x / 100.0, y / 100.0].map(|z: f64| (z * 1048576.0).round() / 1048576.0);
        let (a, b) = (double_double::tanh(x), double_double::tanh(y));
        // tanh(x + y) (1 + tanh(x) tanh(y)) = tanh(x) + tanh(y), as far as nothing cancels.
        let (left, right) = (double_double::tanh(x + y) * (one + a * b), a + b);
        let error = (left - right).high.abs();
        assert!(error < 1e-28, "tanh({x} + {y}) is off by {error:e}");

        let x = DoubleDouble::new(random.between(0.0, 300.0));
        assert!(relative(ln_1p(x).exp(), one + x) < 1e-28, "ln_1p({})", x.high);
    }
}
