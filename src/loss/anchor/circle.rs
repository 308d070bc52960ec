//! The circle loss.

#![forbid(unsafe_code)]

use super::anchor_loss::{AnchorLoss, work_here};
use super::sums::{Anchor, AnchorSums, softplus};
use crate::error::{Error, Result, check_positive};
use crate::simd::Simd;
use crate::simd::math::exp_of_small;
use crate::simd::real::{Real, compiled};

/// The circle loss (Sun et al. 2020), on cosines:
///
/// ```text
/// l = ln(1 + e^(lse_P + lse_G))
///
/// x = -γ α_P (u - (1 - m)) for similar pairs,  γ α_G (u - m) for others
/// α_P = max(1 + m - u, 0)      α_G = max(u + m, 0)
/// dl/du = -γ α_P σ e^(x - lse_P), γ α_G σ e^(x - lse_G)          σ = 1/(1 + e^-(lse_P + lse_G))
/// ```
///
/// The factors α say how far a pair is from where it should be. They are constants in the derivative, so it
/// is not that of the value. An anchor that lacks either kind has the value 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Circle<T> {
    margin: T,
    gamma: T,
}

impl<T: Real> Circle<T> {
    /// m and γ: 0.4 and 80 in pytorch-metric-learning. Refused unless m is finite and γ finite and positive.
    pub fn new(margin: T, gamma: T) -> Result<Self> {
        check_positive("gamma", gamma.to_f64())?;
        if !margin.is_finite() {
            return Err(Error::Value {
                arg: "margin",
                got: margin.to_f64(),
                expected: "a finite number",
            });
        }
        Ok(Circle { margin, gamma })
    }
}

impl<T: Real> AnchorLoss<T> for Circle<T> {
    #[inline(always)]
    fn exponent<S: Simd<T>>(&self, s: S, u: S::F, similar: bool) -> (S::F, S::F) {
        let (one, margin, gamma) = (s.splat(T::ONE), s.splat(self.margin), s.splat(self.gamma));
        let (rate, beyond) = match similar {
            true => (-(gamma * s.hinge((one - u) + margin)), (u - one) + margin),
            false => (gamma * s.hinge(u + margin), u - margin),
        };
        (rate * beyond, rate)
    }

    fn anchor(&self, sums: &AnchorSums) -> Anchor {
        if sums.similar.count == 0 || sums.dissimilar.count == 0 {
            return Anchor::default();
        }
        let (lse_p, lse_g) = (sums.similar.log(), sums.dissimilar.log());
        // σ e^(x - lse) = e^(x - (lse - ln σ))
        let minus_ln = softplus(-(lse_p + lse_g));
        let terms = [lse_g + minus_ln, lse_p + minus_ln, 0.0, 0.0];
        Anchor { value: softplus(lse_p + lse_g), terms: Some(terms) }
    }

    #[inline(always)]
    fn weight<S: Simd<T>>(&self, s: S, x: S::F, similar: bool, terms: [S::F; 4]) -> S::F {
        exp_of_small(s, x - terms[usize::from(similar)])
    }

    fn frozen(&self) -> bool {
        true
    }

    work_here!();
}

compiled!(<Circle<T> as AnchorLoss<T>>::work);
