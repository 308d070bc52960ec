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
    pull: T,
    push: T,
}

impl<T: Real> LinearHinge<T> {
    /// Refused where `pull` is not finite or below 0, or `push` not finite and positive.
    pub fn new(pull: T, push: T) -> Result<Self> {
        check_not_negative("pull", pull.to_f64())?;
        check_positive("push", push.to_f64())?;
        Ok(LinearHinge { pull, push })
    }

    /// p: the distance up to which similar pairs cost nothing.
    pub fn pull(&self) -> T {
        self.pull
    }

    /// m: the distance from which dissimilar pairs cost nothing.
    pub fn push(&self) -> T {
        self.push
    }

    #[inline(always)]
    fn formula<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
        let d = s.sqrt(d2);
        let gap = s.select(similar, d - s.splat(self.pull), s.splat(self.push) - d);
        let value = s.hinge(gap);
        let force = s.over_distance(s.step(value), d, d2);
        (value, s.select(similar, force, -force))
    }

    /// What takes the slope away again: a linear hinge does not bend along the pair.
    #[inline(always)]
    fn bend<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> S::F {
        let (_, slope) = self.formula(s, d2, similar);
        -slope
    }
}

compiled_here!(LinearHinge, |loss| Some(loss.push), |_| None, |loss| Some(loss.pull));
