//! The generalised lifted structure loss.

#![forbid(unsafe_code)]

use super::anchor_loss::{AnchorLoss, work_here};
use super::sums::{Anchor, AnchorSums};
use crate::error::{Error, Result};
use crate::simd::Simd;
use crate::simd::math::exp_of_small;
use crate::simd::real::{Real, compiled};

/// The generalised lifted structure loss (Hermans, Beyer, Leibe 2017), on distances d = -u
/// ([`Measure::Distance`](super::Measure::Distance)):
///
/// ```text
/// l = max(L_P + L_G, 0)
///
/// x = d - p for similar pairs, m - d for others
/// L = lse of a kind, 0 where the anchor has no pair of it
/// dl/dx = e^(x - lse) of the pair's kind where l > 0, else 0
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeneralizedLifted<T> {
    positive_margin: T,
    margin: T,
}

impl<T: Real> GeneralizedLifted<T> {
    /// p and m: 0 and 1 in pytorch-metric-learning. Refused unless both are finite.
    pub fn new(positive_margin: T, margin: T) -> Result<Self> {
        for (arg, of) in [("positive_margin", positive_margin), ("margin", margin)] {
            if !of.is_finite() {
                return Err(Error::Value { arg, got: of.to_f64(), expected: "a finite number" });
            }
        }
        Ok(GeneralizedLifted { positive_margin, margin })
    }
}

impl<T: Real> AnchorLoss<T> for GeneralizedLifted<T> {
    #[inline(always)]
    fn exponent<S: Simd<T>>(&self, s: S, u: S::F, similar: bool) -> (S::F, S::F) {
        match similar {
            true => (-u - s.splat(self.positive_margin), s.splat(-T::ONE)),
            false => (u + s.splat(self.margin), s.splat(T::ONE)),
        }
    }

    fn anchor(&self, sums: &AnchorSums) -> Anchor {
        let [of_p, of_g] = [sums.similar, sums.dissimilar]
            .map(|kind| if kind.count == 0 { 0.0 } else { kind.log() });
        match of_p + of_g {
            value if value <= 0.0 => Anchor::default(),
            value => Anchor { value, terms: Some([of_g, of_p, 0.0, 0.0]) },
        }
    }

    #[inline(always)]
    fn weight<S: Simd<T>>(&self, s: S, x: S::F, similar: bool, terms: [S::F; 4]) -> S::F {
        exp_of_small(s, x - terms[usize::from(similar)])
    }

    fn dissimilar_range(&self, least: T, most: T) -> Option<[T; 2]> {
        Some([least + self.margin, most + self.margin])
    }

    work_here!();
}

compiled!(<GeneralizedLifted<T> as AnchorLoss<T>>::work);
