//! CosFace: a softmax whose similar logit has a margin taken off.

#![forbid(unsafe_code)]

use super::anchor_loss::{AnchorLoss, work_here};
use super::softmax::Softmax;
use super::sums::{Anchor, AnchorSums};
use crate::error::{Result, check_not_negative};
use crate::simd::Simd;
use crate::simd::real::{Real, compiled};

/// [`Softmax`] with an additive margin m on the cosine of similar pairs (Wang et al. 2018, CosFace):
///
/// ```text
/// s = a (u - m) for similar pairs, a u for others
/// ```
///
/// Anchors are rows of unit length, candidates class vectors of unit length. The margin asks a similar pair to
/// be closer by m than it would have to be; the derivative ds/du is a either way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosFace<T> {
    softmax: Softmax<T>,
    scale: T,
    margin: T,
}

impl<T: Real> CosFace<T> {
    /// 64 and 0.35 in pytorch-metric-learning. Refused unless the scale is finite and positive, and the margin
    /// finite and not negative.
    pub fn new(scale: T, margin: T) -> Result<Self> {
        check_not_negative("margin", margin.to_f64())?;
        Ok(CosFace { softmax: Softmax::scale(scale)?, scale, margin })
    }
}

impl<T: Real> AnchorLoss<T> for CosFace<T> {
    #[inline(always)]
    fn exponent<S: Simd<T>>(&self, s: S, u: S::F, similar: bool) -> (S::F, S::F) {
        let scale = s.splat(self.scale);
        let u = if similar { u - s.splat(self.margin) } else { u };
        (scale * u, scale)
    }

    fn anchor(&self, sums: &AnchorSums) -> Anchor {
        self.softmax.anchor(sums)
    }

    #[inline(always)]
    fn weight<S: Simd<T>>(&self, s: S, x: S::F, similar: bool, terms: [S::F; 4]) -> S::F {
        self.softmax.weight(s, x, similar, terms)
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

compiled!(<CosFace<T> as AnchorLoss<T>>::work);
