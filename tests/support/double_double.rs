//! Arithmetic, `exp` and `tanh` to about 95 bits, to measure `f64` results against: numbers as the
//! unevaluated sum of two `f64`, after Dekker (1971) and Knuth.

use std::f64::consts::LN_2;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// `high + low`, with `|low|` at most half an ULP of `high`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct DoubleDouble {
    pub high: f64,
    pub low: f64,
}

/// ln(2) - `LN_2`.
const LN_2_REST: f64 = 2.319_046_813_846_299_6e-17;

/// Halvings of the argument of the Taylor series.
const HALVINGS: i32 = 8;

impl DoubleDouble {
    pub const fn new(x: f64) -> Self {
        DoubleDouble { high: x, low: 0.0 }
    }

    /// The exact sum of two numbers.
    fn sum(a: f64, b: f64) -> Self {
        let high = a + b;
        let part = high - a;
        DoubleDouble { high, low: (a - (high - part)) + (b - part) }
    }

    /// The exact product of two numbers, where nothing underflows.
    fn product(a: f64, b: f64) -> Self {
        let high = a * b;
        DoubleDouble { high, low: a.mul_add(b, -high) }
    }

    /// Times a power of two.
    fn scale(self, factor: f64) -> Self {
        DoubleDouble { high: self.high * factor, low: self.low * factor }
    }

    pub fn abs(self) -> Self {
        if self.high < 0.0 { -self } else { self }
    }

    /// The square root of a number that is not negative, by a step of Newton's.
    pub fn sqrt(self) -> Self {
        let first = self.high.sqrt();
        if first == 0.0 {
            return DoubleDouble::new(first);
        }
        let rest = self - DoubleDouble::product(first, first);
        DoubleDouble::sum(first, rest.high / (2.0 * first))
    }

    pub fn quotient(self, by: Self) -> Self {
        let first = self.high / by.high;
        let rest = self - by * DoubleDouble::new(first);
        DoubleDouble::sum(first, rest.high / by.high)
    }
}

impl Add for DoubleDouble {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let high = DoubleDouble::sum(self.high, other.high);
        let low = DoubleDouble::sum(self.low, other.low);
        let sum = DoubleDouble::sum(high.high, high.low + low.high);
        DoubleDouble::sum(sum.high, sum.low + low.low)
    }
}

impl Sub for DoubleDouble {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Neg for DoubleDouble {
    type Output = Self;
    fn neg(self) -> Self {
        self.scale(-1.0)
    }
}

impl Div for DoubleDouble {
    type Output = Self;
    fn div(self, by: Self) -> Self {
        self.quotient(by)
    }
}

impl Mul for DoubleDouble {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let high = DoubleDouble::product(self.high, other.high);
        let cross = self.high * other.low + self.low * other.high;
        DoubleDouble::sum(high.high, high.low + cross)
    }
}

/// e^x - 1 for |x| below 1, by the Taylor series at x / 2^8 and e^2y - 1 = (e^y - 1)(e^y + 1).
fn expm1_near_zero(x: DoubleDouble) -> DoubleDouble {
    let x = x.scale(0.5_f64.powi(HALVINGS));
    let mut series = DoubleDouble::new(1.0);
    for k in (2..=12).rev() {
        let next = (x * series).quotient(DoubleDouble::new(k.into()));
        series = DoubleDouble::new(1.0) + next;
    }
    let mut expm1 = x * series;
    for _ in 0..HALVINGS {
        expm1 = expm1 * (expm1 + DoubleDouble::new(2.0));
    }
    expm1
}

/// x = n ln(2) + r: returns n and e^r - 1.
fn reduce(x: f64) -> (i32, DoubleDouble) {
    let n = (x / LN_2).round();
    let times_n = |part: f64| DoubleDouble::product(n, part);
    let r = DoubleDouble::new(x) - times_n(LN_2) - times_n(LN_2_REST);
    (n as i32, expm1_near_zero(r))
}

/// e^x as a number near 1 and the power of two that it is to be multiplied by.
pub fn exp(x: f64) -> (DoubleDouble, i32) {
    let (n, expm1) = reduce(x);
    (expm1 + DoubleDouble::new(1.0), n)
}

/// tanh(x) for |x| below 100.
pub fn tanh(x: f64) -> DoubleDouble {
    if x.abs() < 1e-9 {
        // x - x^3/3; the next term is below 1e-36 of it.
        return DoubleDouble { high: x, low: -x * x * x / 3.0 };
    }
    let (n, expm1) = reduce(2.0 * x);
    let power = 2.0_f64.powi(n);
    let one = DoubleDouble::new(1.0);
    let expm1 = if n == 0 { expm1 } else { (expm1 + one).scale(power) - one };
    expm1.quotient(expm1 + DoubleDouble::new(2.0))
}
