//! The two element types, `f32` and `f64`, and the constants in which they differ.

#![forbid(unsafe_code)]

use std::fmt::{Debug, Display};
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

use super::Kernel;
use super::isa::Isa;
use crate::simd;

/// `f32` or `f64`. Sealed: the lanes of every tier exist for these two.
pub trait Real:
    simd::sealed::Sealed
    + Copy
    + Debug
    + Default
    + Display
    + PartialEq
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + AddAssign
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + 'static
{
    /// The type's name, as reports and benches print it.
    const NAME: &'static str;
    /// 0
    const ZERO: Self;
    /// 1
    const ONE: Self;
    /// The smallest normal number: squared distances below it count as zero.
    const MIN_POSITIVE: Self;
    /// Positive infinity.
    const INFINITY: Self;
    /// The most negative finite number.
    #[doc(hidden)]
    const LOWEST: Self;
    /// The distance from 1 to the next larger number.
    const EPSILON: Self;

    /// A factor for numbers whose squares are too small: a power of two that makes the squares normal, and
    /// whose square root is a power of two as well.
    #[doc(hidden)]
    const SQUARED_UP: Self;
    /// A factor for numbers whose squares are infinite, or add up to infinity.
    #[doc(hidden)]
    const SQUARED_DOWN: Self;
    /// 1.5 times 2 to the number of mantissa bits: added and taken away again, it rounds to the
    /// nearest integer, ties to even.
    #[doc(hidden)]
    const ROUNDER: Self;
    /// log2(e), rounded.
    #[doc(hidden)]
    const LOG2_E: Self;
    /// The leading bits of ln(2), few enough that a product with any exponent is exact.
    #[doc(hidden)]
    const LN_2_HIGH: Self;
    /// ln(2) - `LN_2_HIGH`, rounded.
    #[doc(hidden)]
    const LN_2_LOW: Self;
    /// An argument from which on `exp` is infinite.
    #[doc(hidden)]
    const EXP_MAX: Self;
    /// An argument up to which `exp` is 0.
    #[doc(hidden)]
    const EXP_MIN: Self;
    /// The logarithm of the smallest normal number.
    #[doc(hidden)]
    const LN_MIN_POSITIVE: Self;
    /// 1/k for k = 3, 5, ... as far as artanh(z) with |z| <= 1/3 needs them.
    #[doc(hidden)]
    const ARTANH_TERMS: &'static [Self];
    /// An argument from which on `tanh` rounds to 1.
    #[doc(hidden)]
    const TANH_MAX: Self;
    /// 1/k! for k = 2, 3, ... as far as exp(r) with |r| <= ln(2)/2 needs them.
    #[doc(hidden)]
    const EXP_TERMS: &'static [Self];

    /// The nearest value of this type.
    fn from_f64(x: f64) -> Self;
    /// The value as `f64`, exactly.
    fn to_f64(self) -> f64;
    /// The correctly rounded square root.
    fn sqrt(self) -> Self;
    /// The absolute value.
    fn abs(self) -> Self;
    /// Whether the value is neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// Whether the value is NaN.
    fn is_nan(self) -> bool;

    /// A key and the number of a row as one integer.
    #[doc(hidden)]
    type Ranked: Copy + Default + Ord + Send + Sync;
    /// Packs a key and a number. The integers are ordered by key, NaN last, and where keys are equal by
    /// number.
    #[doc(hidden)]
    fn ranked(self, number: u32) -> Self::Ranked;
    /// Unpacks the key and the number. A NaN may come back as another NaN, and -0 as 0.
    #[doc(hidden)]
    fn unranked(ranked: Self::Ranked) -> (Self, u32);

    /// Appends the value's bytes, the least significant first.
    #[doc(hidden)]
    fn push_le(self, bytes: &mut Vec<u8>);
    /// The value of its bytes, the least significant first.
    #[doc(hidden)]
    fn from_le(bytes: &[u8]) -> Self;

    /// Runs a kernel with the lanes of a tier.
    fn dispatch<K: Kernel<Self>>(isa: Isa, kernel: K) -> K::Output;

    /// Runs the function for this element type.
    #[doc(hidden)]
    fn by_type<F: ByType>(arguments: F::Arguments<'_, Self>);
}

/// A function that is written once for each element type, because it calls functions that are.
#[doc(hidden)]
pub trait ByType {
    /// What the function takes.
    type Arguments<'a, T: Real>;
    /// The function for `f32`.
    fn f32(arguments: Self::Arguments<'_, f32>);
    /// The function for `f64`.
    fn f64(arguments: Self::Arguments<'_, f64>);
}

/// Compiles functions that are generic over the element type in this crate, for both types. A crate that
/// calls them then compiles none of the kernels behind them: it is built sooner, and its debug build is as
/// fast as this crate was built. In the list, `T` stands for the type:
///
/// ```text
/// #[inline(never)]
/// pub fn work<T: Real>(x: &mut [T]) { ... }
/// compiled!(work::<T>, <Dense as Layer<T>>::forward);
/// ```
///
/// `#[inline(never)]` makes rustc call the instance that is here from other crates too: optimised builds
/// share instances of such functions alone, other builds those of all functions. Naming the functions in a
/// `static` makes the instance; nothing of the `static` itself is left in a program. A public function that
/// runs a kernel is in such a list, or calls one that is: `tests/interfaces/users_crate` finds those that
/// do not.
macro_rules! compiled {
    (@$t:ident $($function:expr),+) => {
        // The crate's own unit tests do without: they call few of these.
        $(#[cfg(not(test))]
        const _: () = {
            type T = $t;
            #[expect(dead_code, reason = "the instance is all that is wanted")]
            static COMPILED: std::sync::atomic::AtomicPtr<()> =
                std::sync::atomic::AtomicPtr::new($function as *mut ());
        };)+
    };
    ($($function:expr),+ $(,)?) => {
        $crate::simd::real::compiled!(@f32 $($function),+);
        $crate::simd::real::compiled!(@f64 $($function),+);
    };
}
pub(crate) use compiled;

/// 1/k! for k = 2 up to 13.
const INVERSE_FACTORIALS: [f64; 12] = {
    let mut terms = [0.5; 12];
    let mut k = 1;
    while k < terms.len() {
        terms[k] = terms[k - 1] / (k + 2) as f64;
        k += 1;
    }
    terms
};

macro_rules! real {
    ($t:ident, $bits:ident, $ranked:ident, { $($constants:tt)* }) => {
        impl Real for $t {
            const NAME: &'static str = stringify!($t);
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const MIN_POSITIVE: Self = $t::MIN_POSITIVE;
            const INFINITY: Self = $t::INFINITY;
            const LOWEST: Self = $t::MIN;
            const EPSILON: Self = $t::EPSILON;
            const LOG2_E: Self = std::$t::consts::LOG2_E;
            $($constants)*

            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            #[inline(always)]
            fn abs(self) -> Self {
                self.abs()
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                self.is_finite()
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                self.is_nan()
            }
            type Ranked = $ranked;
            #[inline(always)]
            fn ranked(self, number: u32) -> $ranked {
                // All NaNs become one NaN, and both zeros one zero.
                let bits = if self.is_nan() { $bits::MAX >> 1 } else { (self + 0.0).to_bits() };
                let sign = 1 << ($bits::BITS - 1);
                // The bits of negative numbers are flipped, so that they descend with the magnitude and lie
                // below all others.
                let key = if bits & sign == 0 { bits | sign } else { !bits };
                $ranked::from(key) << u32::BITS | $ranked::from(number)
            }
            #[inline(always)]
            fn unranked(ranked: $ranked) -> ($t, u32) {
                let (key, sign) = ((ranked >> u32::BITS) as $bits, 1 << ($bits::BITS - 1));
                let bits = if key & sign == 0 { !key } else { key ^ sign };
                ($t::from_bits(bits), ranked as u32)
            }
            #[inline]
            fn push_le(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
            #[inline]
            fn from_le(bytes: &[u8]) -> Self {
                let mut value = [0; size_of::<$t>()];
                value.copy_from_slice(bytes);
                $t::from_le_bytes(value)
            }
            #[inline]
            fn dispatch<K: Kernel<Self>>(isa: Isa, kernel: K) -> K::Output {
                simd::dispatch::$t(isa, kernel)
            }
            #[inline]
            fn by_type<F: ByType>(arguments: F::Arguments<'_, Self>) {
                F::$t(arguments)
            }
        }
    };
}

// LN_2_HIGH keeps 15 bits for f32 (exponents need 8 of its 24) and 32 for f64 (11 of 53); written
// as fractions, since those are exact.
real!(f32, u32, u64, {
    const SQUARED_UP: Self = f32::from_bits((127 + 100) << 23);
    const SQUARED_DOWN: Self = f32::from_bits((127 - 80) << 23);
    const ROUNDER: Self = 12582912.0;
    const LN_2_HIGH: Self = 22713.0 / 32768.0;
    const LN_2_LOW: Self = (std::f64::consts::LN_2 - 22713.0 / 32768.0) as f32;
    const EXP_MAX: Self = 89.0;
    const EXP_MIN: Self = -104.0;
    const LN_MIN_POSITIVE: Self = -87.33654;
    const ARTANH_TERMS: &'static [Self] = &{
        let mut terms = [0.0; 7];
        let mut k = 0;
        while k < terms.len() {
            terms[k] = 1.0 / (2 * k + 3) as f32;
            k += 1;
        }
        terms
    };
    const TANH_MAX: Self = 9.1;
    const EXP_TERMS: &'static [Self] = &{
        let mut terms = [0.0; 6];
        let mut k = 0;
        while k < terms.len() {
            terms[k] = INVERSE_FACTORIALS[k] as f32;
            k += 1;
        }
        terms
    };
});
real!(f64, u64, u128, {
    const SQUARED_UP: Self = f64::from_bits((1023 + 816) << 52);
    const SQUARED_DOWN: Self = f64::from_bits((1023 - 654) << 52);
    const ROUNDER: Self = 6755399441055744.0;
    const LN_2_HIGH: Self = 2977044471.0 / 4294967296.0;
    // ln(2) = 2977044471 / 2^32 + 1.9082149292705877e-10 , the remainder to 17 digits.
    const LN_2_LOW: Self = 1.908_214_929_270_587_8e-10;
    const EXP_MAX: Self = 710.0;
    const EXP_MIN: Self = -746.0;
    const LN_MIN_POSITIVE: Self = -708.396_418_532_264_1;
    const ARTANH_TERMS: &'static [Self] = &{
        let mut terms = [0.0; 16];
        let mut k = 0;
        while k < terms.len() {
            terms[k] = 1.0 / (2 * k + 3) as f64;
            k += 1;
        }
        terms
    };
    const TANH_MAX: Self = 19.1;
    const EXP_TERMS: &'static [Self] = &INVERSE_FACTORIALS;
});
