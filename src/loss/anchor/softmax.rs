//! The softmax loss: InfoNCE, NT-Xent, SupCon, N-pairs, and what else is a softmax over a batch.

#![forbid(unsafe_code)]

use super::anchor_loss::{AnchorLoss, work_here};
use super::sums::{Anchor, AnchorSums, softplus};
use crate::error::{Error, Result, check_positive};
use crate::simd::Simd;
use crate::simd::math::{exp_m1, exp_of_small, logistic, softplus as softplus_of};
use crate::simd::real::{Real, compiled};

/// How the similar pairs of an anchor share its softmax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positives {
    /// The mean of their losses, each against all candidates: SupCon's L_out, and InfoNCE where there is one.
    Mean,
    /// Their powers are added up, the sum is against all candidates: SupCon's L_in (less a constant), MIL-NCE.
    Sum,
    /// Each by itself against the dissimilar pairs, and not against the other similar ones, added up: NT-Xent
    /// in pytorch-metric-learning.
    Each,
}

/// Softmax cross entropy of an anchor over its candidates, with logits s = a u.
///
/// ```text
/// P, G  similar and dissimilar pairs, n = |P|        t  sum of s over P
/// D = ln(1 + e^(lse_G - lse_P))                      lse_A = lse_P + D, over all candidates
///
///                 l                                   w = dl/ds, dissimilar       w, similar
/// Mean            D + (lse_P - t/n)                   e^(s - lse_A)               (e^(s - e - D) - 1)/n,  e = lse_P - ln n
/// Sum             D                                   e^(s - lse_A)               -r e^(s - lse_P),  r = 1/(1 + e^(lse_P - lse_G))
/// Each            sum over P of ln(1 + e^(lse_G-s))   g e^(s - lse_G)             -1/(1 + e^(s - lse_G)),  g minus their sum
/// decoupled Mean  lse_G - t/n                         e^(s - lse_G)               -1/n
/// decoupled Sum   lse_G - lse_P                       e^(s - lse_G)               -e^(s - lse_P)
/// decoupled Each  sum over P of lse_G - s             n e^(s - lse_G)             -1
/// ```
///
/// An anchor without similar pairs has the value 0. Without dissimilar pairs D is 0, and so is `Each`.
/// [`decoupled`](Softmax::decoupled) leaves similar pairs out of the denominator; its value may be negative,
/// and it is 0 for an anchor that lacks either kind.
///
/// How it is derived: of l = lse_A - s for one similar pair, dl/ds is the pair's share e^(s - lse_A) of the
/// softmax, less 1 for the similar one. Near the optimum a share less 1 loses all its digits, so it is taken
/// as e^(s - e - D) - 1, of which the argument is -D exactly where there is one similar pair; and l is never
/// taken as lse_A - s, but from D, which is small where l is.
///
/// | known as | |
/// |---|---|
/// | InfoNCE (van den Oord et al. 2018), multiple negatives ranking, N-pairs, NT-Xent of SimCLR, CLIP | `Mean` |
/// | SupCon (Khosla et al. 2020): L_out, L_in | `Mean`, `Sum` |
/// | NT-Xent of pytorch-metric-learning | `Each`, with [`MeanOfPairs`](super::AnchorReduction::MeanOfPairs) |
/// | decoupled contrastive loss (Yeh et al. 2022) | `Mean`, `decoupled` |
///
/// ```
/// use drlim::loss::{AnchorObjective, Positives, Softmax};
/// let clip = Softmax::scale(100.0_f32)?;
/// let ntxent = Softmax::temperature(0.07_f32)?.positives(Positives::Each);
/// assert!(Softmax::temperature(0.0_f32).is_err());
/// # Ok::<(), drlim::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softmax<T> {
    scale: T,
    positives: Positives,
    decoupled: bool,
}

impl<T: Real> Softmax<T> {
    /// Logits s = a u, with the scale a. Refused unless it is finite and positive.
    pub fn scale(scale: T) -> Result<Self> {
        check_positive("scale", scale.to_f64())?;
        Ok(Softmax { scale, positives: Positives::Mean, decoupled: false })
    }

    /// Logits s = u / t, with the temperature t. Refused unless t and 1/t are finite and positive.
    pub fn temperature(temperature: T) -> Result<Self> {
        check_positive("temperature", temperature.to_f64())?;
        let (arg, got) = ("temperature", temperature.to_f64());
        let expected = "such that 1 / temperature is finite";
        Softmax::scale(T::ONE / temperature).map_err(|_| Error::Value { arg, got, expected })
    }

    /// How similar pairs share the softmax, where an anchor has several.
    pub fn positives(self, positives: Positives) -> Self {
        Softmax { positives, ..self }
    }

    /// Leaves similar pairs out of the denominator.
    pub fn decoupled(self) -> Self {
        Softmax { decoupled: true, ..self }
    }
}

impl<T: Real> AnchorLoss<T> for Softmax<T> {
    #[inline(always)]
    fn exponent<S: Simd<T>>(&self, s: S, u: S::F, _similar: bool) -> (S::F, S::F) {
        let scale = s.splat(self.scale);
        (scale * u, scale)
    }

    fn anchor(&self, sums: &AnchorSums) -> Anchor {
        let n = sums.similar.count as f64;
        if n == 0.0 || (self.decoupled && sums.dissimilar.count == 0) {
            return Anchor::default();
        }
        let (lse_p, lse_g) = (sums.similar.log(), sums.dissimilar.log());
        let delta = if self.decoupled { lse_g - lse_p } else { softplus(lse_g - lse_p) };
        let lse_a = if self.decoupled { lse_g } else { lse_p + delta };
        let (value, terms) = match self.positives {
            Positives::Mean => {
                let value = delta + (lse_p - sums.exponents / n);
                (value, [lse_a, lse_p - n.ln(), delta, 1.0 / n])
            }
            Positives::Sum => {
                let log_r = if self.decoupled { 0.0 } else { -softplus(lse_p - lse_g) };
                (delta, [lse_a, lse_p - log_r, 0.0, 0.0])
            }
            Positives::Each => {
                let [value, g] = sums.each.unwrap_or_default();
                (value, [lse_g - g.ln(), lse_g, 0.0, 0.0])
            }
        };
        Anchor { value, terms: Some(terms) }
    }

    #[inline(always)]
    fn weight<S: Simd<T>>(&self, s: S, x: S::F, similar: bool, terms: [S::F; 4]) -> S::F {
        if !similar {
            return exp_of_small(s, x - terms[0]);
        }
        match (self.positives, self.decoupled) {
            (Positives::Mean, false) => terms[3] * exp_m1(s, (x - terms[1]) - terms[2]),
            (Positives::Mean, true) => -terms[3],
            (Positives::Sum, _) => -exp_of_small(s, x - terms[1]),
            (Positives::Each, false) => -logistic(s, terms[1] - x),
            (Positives::Each, true) => s.splat(-T::ONE),
        }
    }

    #[inline(always)]
    fn each<S: Simd<T>>(&self, s: S, x: S::F, terms: [S::F; 4]) -> [S::F; 2] {
        let over = terms[1] - x;
        if self.decoupled {
            [over, s.splat(T::ONE)]
        } else {
            [softplus_of(s, over), logistic(s, over)]
        }
    }

    fn looks_twice(&self) -> bool {
        self.positives == Positives::Each
    }

    fn dissimilar_range(&self, least: T, most: T) -> Option<[T; 2]> {
        Some([self.scale * least, self.scale * most])
    }

    fn shift_invariant(&self) -> bool {
        true
    }

    fn scale(&self) -> Option<T> {
        Some(self.scale)
    }

    fn ranks(&self) -> bool {
        true
    }

    work_here!();
}

compiled!(<Softmax<T> as AnchorLoss<T>>::work);
