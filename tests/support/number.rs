//! Numbers that formulas are written in once: `f64`, which knows NaN and infinities, and
//! double-double, which results are measured against.

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::double_double::{self, DoubleDouble};

/// A real number.
pub trait Number:
    Copy
    + Default
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    fn of(x: f64) -> Self;
    fn sqrt(self) -> Self;
    fn exp(self) -> Self;

    /// max(x, 0) that keeps a NaN.
    fn hinge(self) -> Self {
        if self < Self::default() { Self::default() } else { self }
    }

    /// The derivative of [`hinge`](Number::hinge), 0 at the kink.
    fn step(self) -> Self {
        match self {
            // A NaN is not comparable.
            x if x.partial_cmp(&x).is_none() => x,
            x if x > Self::default() => Self::of(1.0),
            _ => Self::default(),
        }
    }
}

impl Number for f64 {
    fn of(x: f64) -> Self {
        x
    }
    fn sqrt(self) -> Self {
        self.sqrt()
    }
    fn exp(self) -> Self {
        self.exp()
    }
}

impl Number for DoubleDouble {
    fn of(x: f64) -> Self {
        DoubleDouble::new(x)
    }
    fn sqrt(self) -> Self {
        self.sqrt()
    }
    fn exp(self) -> Self {
        if self.high < -800.0 {
            return DoubleDouble::default();
        }
        let (mantissa, n) = double_double::exp(self.high);
        // e^low is 1 + low to twice the precision.
        let all = mantissa * (DoubleDouble::new(1.0) + DoubleDouble::new(self.low));
        all * DoubleDouble::new(2.0_f64.powi(n / 2)) * DoubleDouble::new(2.0_f64.powi(n - n / 2))
    }
}

/// The sum of some numbers.
pub fn sum<N: Number>(terms: impl IntoIterator<Item = N>) -> N {
    terms.into_iter().fold(N::default(), |sum, term| sum + term)
}
