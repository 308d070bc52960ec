//! The contrastive loss of the paper.

#![forbid(unsafe_code)]

use super::pair::compiled_here;
use crate::error::{Result, check_positive};
use crate::simd::Simd;
use crate::simd::real::Real;

/// The contrastive loss (Hadsell, Chopra, LeCun 2006, eq. 4), margin m:
///
/// ```text
/// similar      l = d²/2               slope = 1
/// dissimilar   l = max(0, m - d)²/2   slope = -(m - d)/d where 0 < d < m, else 0
/// ```
///
/// A similar pair is a spring of rest length 0; a dissimilar one pushes apart only while it is
/// closer than the margin. Two coincident dissimilar points cost m²/2 and have slope 0: there is no
/// direction to push in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contrastive<T> {
    margin: T,
}

impl<T: Real> Contrastive<T> {
    /// Refused where `margin` is not finite and positive.
    pub fn new(margin: T) -> Result<Self> {
        check_positive("margin", margin.to_f64())?;
        Ok(Contrastive { margin })
    }

    /// The distance from which dissimilar pairs cost nothing.
    pub fn margin(&self) -> T {
        self.margin
    }

    #[inline(always)]
    fn formula<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
        let d = s.sqrt(d2);
        let gap = s.hinge(s.splat(self.margin) - d);
        let value = s.splat(T::from_f64(0.5)) * s.select(similar, d2, gap * gap);
        let slope = s.select(similar, s.splat(T::ONE), -s.over_distance(gap, d, d2));
        (value, slope)
    }

    /// m/d for dissimilar pairs within the margin.
    #[inline(always)]
    fn bend<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> S::F {
        let (d, margin) = (s.sqrt(d2), s.splat(self.margin));
        let within = s.step(s.hinge(margin - d));
        s.select(similar, s.splat(T::ZERO), s.over_distance(margin * within, d, d2))
    }
}

compiled_here!(Contrastive, |loss| Some(loss.margin), |_| Some(T::ONE));
