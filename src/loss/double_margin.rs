//! The contrastive loss with a margin for similar pairs too.

#![forbid(unsafe_code)]

use super::pair::compiled_here;
use crate::error::{Result, check_not_negative, check_positive};
use crate::simd::Simd;
use crate::simd::real::Real;

/// Quadratic hinges, with a margin p for similar and m for dissimilar pairs (proposed to Caffe as
/// pull request 4476):
///
/// ```text
/// similar      l = max(0, d - p)²/2    slope =  (d - p)/d where d > p, else 0
/// dissimilar   l = max(0, m - d)²/2    slope = -(m - d)/d where 0 < d < m, else 0
/// ```
///
/// Similar pairs need not coincide: a spring that is slack up to p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DoubleMargin<T> {
    positive: T,
    negative: T,
}

impl<T: Real> DoubleMargin<T> {
    /// Refused where `positive_margin` is not finite or below 0, or `negative_margin` is not finite and
    /// positive.
    pub fn new(positive_margin: T, negative_margin: T) -> Result<Self> {
        check_not_negative("positive_margin", positive_margin.to_f64())?;
        check_positive("negative_margin", negative_margin.to_f64())?;
        Ok(DoubleMargin { positive: positive_margin, negative: negative_margin })
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
        let gap =
            s.hinge(s.select(similar, d - s.splat(self.positive), s.splat(self.negative) - d));
        let value = s.splat(T::from_f64(0.5)) * gap * gap;
        let force = s.over_distance(gap, d, d2);
        (value, s.select(similar, force, -force))
    }

    /// p/d for similar pairs beyond p, m/d for dissimilar ones within m.
    #[inline(always)]
    fn bend<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> S::F {
        let d = s.sqrt(d2);
        let (p, m) = (s.splat(self.positive), s.splat(self.negative));
        let gap = s.hinge(s.select(similar, d - p, m - d));
        s.over_distance(s.select(similar, p, m) * s.step(gap), d, d2)
    }
}

compiled_here!(DoubleMargin, |loss| Some(loss.negative), |_| None, |loss| Some(loss.positive));
