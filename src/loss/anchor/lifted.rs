//! The lifted structure loss.

#![forbid(unsafe_code)]

use super::anchor_loss::{AnchorLoss, work_here};
use super::sums::{Anchor, AnchorSums};
use crate::error::{Error, Result};
use crate::simd::Simd;
use crate::simd::math::{exp_of_small, softplus};
use crate::simd::real::{Real, compiled};

/// The lifted structure loss (Oh Song et al. 2016), on distances d = -u
/// ([`Measure::Distance`](super::Measure::Distance)): each similar pair (i, j) against the dissimilar pairs of both
/// its ends.
///
/// ```text
/// l_i = sum over j in P_i of J²/2        J = max(ln(e^lse_i + e^lse_j) + d_ij - p, 0)
///
/// lse_i = ln of the sum of e^(m - d_ik) over the dissimilar pairs of i
/// dl/dd = J for similar pairs, -g e^(m - d - lse_i) for others
/// g_i   = 2 sum over j in P_i of J e^(lse_i - ln(e^lse_i + e^lse_j))
/// ```
///
/// Each pair stands in the sums of both its ends, so with
/// [`MeanOfPairs`](super::AnchorReduction::MeanOfPairs) the value is the mean over similar pairs; lse_i is in the
/// value of the pair of i and j as seen from either end, hence the 2. So both ends must be anchors that count the
/// same: [`all_anchors`](crate::batch::all_anchors()) without weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lifted<T> {
    positive_margin: T,
    margin: T,
}

/// The log-sum of an anchor without dissimilar pairs: any exponent is larger.
const NONE: f64 = -1e30;

impl<T: Real> Lifted<T> {
    /// p and m: 0 and 1 in pytorch-metric-learning. Refused unless both are finite.
    pub fn new(positive_margin: T, margin: T) -> Result<Self> {
        for (arg, of) in [("positive_margin", positive_margin), ("margin", margin)] {
            if !of.is_finite() {
                return Err(Error::Value { arg, got: of.to_f64(), expected: "a finite number" });
            }
        }
        Ok(Lifted { positive_margin, margin })
    }

    /// J, and ln(e^lse_i + e^lse_j) - lse_i.
    #[inline(always)]
    fn violation<S: Simd<T>>(
        &self,
        s: S,
        x: S::F,
        terms: [S::F; 4],
        other: [S::F; 4],
    ) -> (S::F, S::F) {
        let more = softplus(s, other[1] - terms[1]);
        (s.hinge(terms[1] + more + x), more)
    }
}

impl<T: Real> AnchorLoss<T> for Lifted<T> {
    #[inline(always)]
    fn exponent<S: Simd<T>>(&self, s: S, u: S::F, similar: bool) -> (S::F, S::F) {
        match similar {
            true => (-u - s.splat(self.positive_margin), s.splat(-T::ONE)),
            false => (u + s.splat(self.margin), s.splat(T::ONE)),
        }
    }

    fn anchor(&self, sums: &AnchorSums) -> Anchor {
        let lse = if sums.dissimilar.count == 0 { NONE } else { sums.dissimilar.log() };
        let [value, g] = sums.each.unwrap_or_default();
        // g e^(x - lse) = e^(x - (lse - ln g))
        Anchor { value, terms: Some([lse - g.ln(), lse, 0.0, 0.0]) }
    }

    #[inline(always)]
    fn weight<S: Simd<T>>(&self, s: S, x: S::F, similar: bool, terms: [S::F; 4]) -> S::F {
        if similar { s.splat(T::ZERO) } else { exp_of_small(s, x - terms[0]) }
    }

    #[inline(always)]
    fn each_of_both<S: Simd<T>>(
        &self,
        s: S,
        x: S::F,
        terms: [S::F; 4],
        other: [S::F; 4],
    ) -> [S::F; 2] {
        let (violation, more) = self.violation(s, x, terms, other);
        let half = s.splat(T::from_f64(0.5));
        let share = (violation + violation) * exp_of_small(s, -more);
        [half * violation * violation, share]
    }

    #[inline(always)]
    fn weight_of_both<S: Simd<T>>(
        &self,
        s: S,
        x: S::F,
        terms: [S::F; 4],
        other: [S::F; 4],
    ) -> S::F {
        self.violation(s, x, terms, other).0
    }

    fn couples(&self) -> bool {
        true
    }

    fn looks_twice(&self) -> bool {
        true
    }

    fn dissimilar_range(&self, least: T, most: T) -> Option<[T; 2]> {
        Some([least + self.margin, most + self.margin])
    }

    work_here!();
}

compiled!(<Lifted<T> as AnchorLoss<T>>::work);
