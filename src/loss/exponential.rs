//! The exponential contrastive loss.

#![forbid(unsafe_code)]

use super::pair::compiled_here;
use crate::error::{Error, Result, check_positive};
use crate::simd::Simd;
use crate::simd::math::exp;
use crate::simd::real::Real;

/// The exponential loss, with the bound Q of distances (the form of Chopra, Hadsell, LeCun 2005, with
/// the Euclidean distance):
///
/// ```text
/// similar      l = 2d²/Q                   slope = 4/Q
/// dissimilar   l = 2Q exp(-2.77 d/Q)       slope = -(5.54/d) exp(-2.77 d/Q) where d > 0, else 0
/// ```
///
/// Dissimilar pairs are pushed at any distance; there is no margin, and every pair is active.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exponential<T> {
    bound: T,
}

impl<T: Real> Exponential<T> {
    /// Refused where `bound` is not finite and positive, or 2Q or 4/Q overflows.
    pub fn new(bound: T) -> Result<Self> {
        check_positive("bound", bound.to_f64())?;
        let two = T::ONE + T::ONE;
        if !(two * bound).is_finite() || !((two + two) / bound).is_finite() {
            let (arg, got) = ("bound", bound.to_f64());
            return Err(Error::Value { arg, got, expected: "such that 2Q and 4/Q are finite" });
        }
        Ok(Exponential { bound })
    }

    /// Q.
    pub fn bound(&self) -> T {
        self.bound
    }

    #[inline(always)]
    fn formula<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
        let two = T::ONE + T::ONE;
        let decay = T::from_f64(2.77);
        let d = s.sqrt(d2);
        let push = exp(s, d * s.splat(-decay / self.bound));
        let pull = d2 * s.splat(two / self.bound);
        let value = s.select(similar, pull, s.splat(two * self.bound) * push);
        let force = s.over_distance(s.splat(two * decay) * push, d, d2);
        (value, s.select(similar, s.splat((two + two) / self.bound), -force))
    }

    /// 5.54 (1/d + 2.77/Q) exp(-2.77 d/Q) for dissimilar pairs.
    #[inline(always)]
    fn bend<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> S::F {
        let decay = T::from_f64(2.77);
        let d = s.sqrt(d2);
        let push = s.splat(decay + decay) * exp(s, d * s.splat(-decay / self.bound));
        let bend = s.over_distance(push, d, d2) + push * s.splat(decay / self.bound);
        s.select(similar, s.splat(T::ZERO), bend)
    }
}

compiled_here!(Exponential, |_| None, |loss| Some(T::from_f64(4.0) / loss.bound));
