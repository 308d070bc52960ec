//! The contrastive loss on cosine distances.

#![forbid(unsafe_code)]

use super::pair::compiled_here;
use crate::error::{Result, check_positive};
use crate::simd::Simd;
use crate::simd::real::Real;

/// The contrastive loss on the cosine distance of rows of unit length, margin m (the
/// `ContrastiveLoss` of sentence-transformers, whose default is m = 0.5):
///
/// ```text
/// c = d²/2 = 1 - cos
/// similar      l = c²/2                slope = c
/// dissimilar   l = max(0, m - c)²/2    slope = -max(0, m - c)
/// ```
///
/// For rows of any length put [`L2Normalize`](crate::nn::L2Normalize) in front, whose backward pass
/// has the gradient of the normalisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineContrastive<T> {
    margin: T,
}

impl<T: Real> CosineContrastive<T> {
    /// Refused where `margin` is not finite and positive.
    pub fn new(margin: T) -> Result<Self> {
        check_positive("margin", margin.to_f64())?;
        Ok(CosineContrastive { margin })
    }

    /// The cosine distance from which dissimilar pairs cost nothing.
    pub fn margin(&self) -> T {
        self.margin
    }

    #[inline(always)]
    fn formula<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
        let half = s.splat(T::from_f64(0.5));
        let c = half * d2;
        let gap = s.hinge(s.splat(self.margin) - c);
        let stretch = s.select(similar, c, gap);
        (half * stretch * stretch, s.select(similar, c, -gap))
    }

    /// 2c, for dissimilar pairs within the margin.
    #[inline(always)]
    fn bend<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> S::F {
        let c = s.splat(T::from_f64(0.5)) * d2;
        let within = s.step(s.hinge(s.splat(self.margin) - c));
        s.select(similar, d2, d2 * within)
    }
}

compiled_here!(CosineContrastive, |loss| Some((loss.margin + loss.margin).sqrt()), |_| None);
