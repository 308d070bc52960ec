//! The contrastive loss with its hinge on the squared distance.

#![forbid(unsafe_code)]

use super::pair::compiled_here;
use crate::error::{Result, check_positive};
use crate::simd::Simd;
use crate::simd::real::Real;

/// The hinge on the squared distance, margin m (the contrastive loss layer of Caffe as it was first
/// released, and as its option `legacy_version` keeps it):
///
/// ```text
/// similar      l = d²/2                slope = 1
/// dissimilar   l = max(0, m - d²)/2    slope = -1 where d² < m, else 0
/// ```
///
/// The margin is one of squared distances: dissimilar pairs cost nothing from sqrt(m) on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SquaredHinge<T> {
    margin: T,
}

impl<T: Real> SquaredHinge<T> {
    /// Refused where `margin` is not finite and positive.
    pub fn new(margin: T) -> Result<Self> {
        check_positive("margin", margin.to_f64())?;
        Ok(SquaredHinge { margin })
    }

    /// The squared distance from which dissimilar pairs cost nothing.
    pub fn margin(&self) -> T {
        self.margin
    }

    #[inline(always)]
    fn formula<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
        let gap = s.hinge(s.splat(self.margin) - d2);
        let value = s.splat(T::from_f64(0.5)) * s.select(similar, d2, gap);
        (value, s.select(similar, s.splat(T::ONE), -s.step(gap)))
    }

    /// 0: slopes are constants.
    #[inline(always)]
    fn bend<S: Simd<T>>(&self, s: S, _: S::F, _: S::M) -> S::F {
        s.splat(T::ZERO)
    }
}

compiled_here!(SquaredHinge, |loss| Some(loss.margin.sqrt()), |_| Some(T::ONE));
