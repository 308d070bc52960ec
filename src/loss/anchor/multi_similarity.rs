//! The multi-similarity loss.

#![forbid(unsafe_code)]

use super::anchor_loss::{AnchorLoss, work_here};
use super::sums::{Anchor, AnchorSums, softplus};
use crate::error::{Error, Result, check_positive};
use crate::simd::Simd;
use crate::simd::math::exp_of_small;
use crate::simd::real::{Real, compiled};

/// The multi-similarity loss (Wang et al. 2019), without its mining:
///
/// ```text
/// l = ln(1 + sum over P of e^(-α (u - λ)))/α + ln(1 + sum over G of e^(β (u - λ)))/β
///
/// x = -α (u - λ) for similar pairs, β (u - λ) for others
/// dl/du = -e^(x - L_P) for similar pairs, e^(x - L_G) for others       L = ln(1 + e^lse) of each kind
/// ```
///
/// An anchor without pairs of a kind has 0 for it. dl/dx is e^(x - L)/α, or /β, and dx/du has that factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MultiSimilarity<T> {
    alpha: T,
    beta: T,
    base: T,
}

impl<T: Real> MultiSimilarity<T> {
    /// α, β and λ: 2, 50 and 0.5 in pytorch-metric-learning, λ = 1 in the paper. Refused unless α and β are finite
    /// and positive, and λ finite.
    pub fn new(alpha: T, beta: T, base: T) -> Result<Self> {
        check_positive("alpha", alpha.to_f64())?;
        check_positive("beta", beta.to_f64())?;
        if !base.is_finite() {
            return Err(Error::Value {
                arg: "base",
                got: base.to_f64(),
                expected: "a finite number",
            });
        }
        Ok(MultiSimilarity { alpha, beta, base })
    }
}

impl<T: Real> AnchorLoss<T> for MultiSimilarity<T> {
    #[inline(always)]
    fn exponent<S: Simd<T>>(&self, s: S, u: S::F, similar: bool) -> (S::F, S::F) {
        let rate = s.splat(if similar { -self.alpha } else { self.beta });
        (rate * (u - s.splat(self.base)), rate)
    }

    fn anchor(&self, sums: &AnchorSums) -> Anchor {
        let (alpha, beta) = (self.alpha.to_f64(), self.beta.to_f64());
        let [of_p, of_g] = [sums.similar, sums.dissimilar].map(|kind| softplus(kind.log()));
        Anchor { value: of_p / alpha + of_g / beta, terms: Some([of_g, of_p, 0.0, 0.0]) }
    }

    #[inline(always)]
    fn weight<S: Simd<T>>(&self, s: S, x: S::F, similar: bool, terms: [S::F; 4]) -> S::F {
        let factor = if similar { self.alpha } else { self.beta };
        exp_of_small(s, x - terms[usize::from(similar)]) / s.splat(factor)
    }

    work_here!();
}

compiled!(<MultiSimilarity<T> as AnchorLoss<T>>::work);
