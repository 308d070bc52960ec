//! The two element types as the tests see them: their bits, their limits and their awkward values.

use drlim::Real;
use drlim::loss::{BlockLoss, Contrastive};

/// `f32` or `f64`, with what a test needs beside [`Real`].
pub trait Element: Real + std::fmt::LowerExp {
    /// A quiet NaN.
    const NAN: Self;
    /// The largest finite number.
    const MAX: Self;
    /// The exponents of the smallest and the largest normal power of two.
    const NORMAL_EXPONENTS: std::ops::RangeInclusive<i32>;

    /// The bits, in the low end.
    fn bits(self) -> u64;
    /// The number with these bits; those above the type's width are dropped.
    fn from_bits(bits: u64) -> Self;
    /// `self * b + c`, rounded once.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// Whether the sign bit is set.
    fn is_negative(self) -> bool;
    /// The contrastive loss on numbers of this type.
    fn contrastive(margin: f64) -> Box<dyn BlockLoss<Self>>;

    /// The sign bit alone: -0.
    fn sign_bit() -> u64 {
        (-Self::ZERO).bits()
    }

    /// The smallest number above 0.
    fn tiny() -> Self {
        Self::from_bits(1)
    }

    /// Zeros, infinities, NaN of both signs and with a payload, the ends of the normal and the
    /// subnormal numbers, and a few plain numbers.
    fn awkward() -> Vec<Self> {
        let below_normal = Self::from_bits(Self::MIN_POSITIVE.bits() - 1);
        let positive = [
            Self::ZERO,
            Self::tiny(),
            below_normal,
            Self::MIN_POSITIVE,
            Self::EPSILON,
            Self::from_f64(0.3),
            Self::ONE,
            Self::ONE + Self::EPSILON,
            Self::from_f64(1.5),
            Self::from_f64(1234.5),
            Self::MAX,
            Self::INFINITY,
            Self::NAN,
            Self::from_bits(Self::NAN.bits() | 0x1234),
        ];
        positive
            .into_iter()
            .flat_map(|x| [x, Self::from_bits(x.bits() | Self::sign_bit())])
            .collect()
    }
}

macro_rules! element {
    ($t:ident, $bits:ident) => {
        impl Element for $t {
            const NAN: Self = $t::NAN;
            const MAX: Self = $t::MAX;
            const NORMAL_EXPONENTS: std::ops::RangeInclusive<i32> =
                $t::MIN_EXP - 1..=$t::MAX_EXP - 1;

            fn bits(self) -> u64 {
                self.to_bits().into()
            }
            fn from_bits(bits: u64) -> Self {
                $t::from_bits(bits as $bits)
            }
            fn mul_add(self, b: Self, c: Self) -> Self {
                self.mul_add(b, c)
            }
            fn is_negative(self) -> bool {
                self.is_sign_negative()
            }
            fn contrastive(margin: f64) -> Box<dyn BlockLoss<Self>> {
                Box::new(Contrastive::new(margin as $t).unwrap())
            }
        }
    };
}
element!(f32, u32);
element!(f64, u64);

/// Whether two numbers are the same: the same bits, or both NaN.
pub fn same<T: Element>(a: T, b: T) -> bool {
    a.bits() == b.bits() || (a.is_nan() && b.is_nan())
}

/// The bits of a slice, to compare results to the last of them.
pub fn bits<T: Element>(of: &[T]) -> Vec<u64> {
    of.iter().map(|x| x.bits()).collect()
}

/// A slice in the other precision.
pub fn wide<T: Element>(of: &[T]) -> Vec<f64> {
    of.iter().map(|x| x.to_f64()).collect()
}
