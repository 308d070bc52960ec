//! Reproducible numbers: SplitMix64 (Steele, Lea, Flood 2014), which any seed starts well.

use super::Element;

/// A stream of numbers that depends on its seed alone.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform from 0 up to 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform between two numbers.
    pub fn between<T: Element>(&mut self, low: f64, high: f64) -> T {
        T::from_f64(low + (high - low) * self.unit())
    }

    /// True with the given probability.
    pub fn flag(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Any bit pattern: every exponent, subnormal numbers, NaN.
    pub fn pattern<T: Element>(&mut self) -> T {
        T::from_bits(self.bits() >> (64 - 8 * size_of::<T>()))
    }
}
