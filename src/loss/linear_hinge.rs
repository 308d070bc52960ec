//! The contrastive loss with linear hinges and a margin for each kind of pair.

#![forbid(unsafe_code)]

use super::pair::compiled_here;
use crate::error::{Result, check_not_negative, check_positive};
use crate::simd::Simd;
use crate::simd::real::Real;

/// Linear hinges, with a margin p for similar and m for dissimilar pairs (the `ContrastiveLoss` of
/// pytorch-metric-learning, there `pos_margin` and `neg_margin`):
///
/// ```text
/// similar      l = max(0, d - p)    slope =  1/d where d > p, else 0
/// dissimilar   l = max(0, m - d)    slope = -1/d where 0 < d < m, else 0
/// ```
///
/// Every active pair is pulled or pushed by a force of the same size, however far it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearHinge<T> {
    positive: T,
    negative: T,
}

impl<T: Real> LinearHinge<T> {
    /// Refused where `positive_margin` is not finite or below 0, or `negative_margin` is not finite and
    /// positive.
    pub fn new(positive_margin: T, negative_margin: T) -> Result<Self> {
        check_not_negative("positive_margin", positive_margin.to_f64())?;
        check_positive("negative_margin", negative_margin.to_f64())?;
        Ok(LinearHinge { positive: positive_margin, negative: negative_margin })
    }

    /// p: the distance up to which similar pairs cost nothing.
    pub fn positive_margin(&self) -> T {
        self.positive
    }

    /// m: the distance from which dissimilar pairs cost nothing.
    pub fn negative_margin(&self) -> T {
        self.negative
    }

    #[inline(always)]
    fn formula<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
        let d = s.sqrt(d2);
        let gap = s.select(similar, d - s.splat(self.positive), s.splat(self.negative) - d);
        let value = s.hinge(gap);
        let force = s.over_distance(s.step(value), d, d2);
        (value, s.select(similar, force, -force))
    }

    /// The negative slope: a linear hinge does not bend along the pair, so slope and curvature add up to 0.
    #[inline(always)]
    fn bend<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> S::F {
        let (_, slope) = self.formula(s, d2, similar);
        -slope
    }
}

compiled_here!(LinearHinge, |loss| Some(loss.negative), |_| None, |loss| Some(loss.positive));
