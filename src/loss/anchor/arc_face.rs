//! ArcFace: a softmax whose similar angle has a margin added.

#![forbid(unsafe_code)]

use super::anchor_loss::{AnchorLoss, work_here};
use super::softmax::Softmax;
use super::sums::{Anchor, AnchorSums};
use crate::error::{Result, check_not_negative};
use crate::simd::Simd;
use crate::simd::real::{Real, compiled};

/// [`Softmax`] with an additive margin m on the angle of similar pairs (Deng et al. 2019, ArcFace):
///
/// ```text
/// s = a cos(t + m) for similar pairs, a cos t for others         t = arccos u
///
/// cos(t + m) = u cos m - r sin m       d cos(t + m)/du = cos m + u sin m / r       r = sin t = sqrt(1 - u²)
///
/// s = a (u - m sin m) beyond t + m = pi, where the cosine would rise again
/// ```
///
/// Anchors are rows of unit length, candidates class vectors of unit length. Where an anchor lies on its class,
/// r is 0 and the derivative infinite: it counts as cos m there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ArcFace<T> {
    softmax: Softmax<T>,
    scale: T,
    margin: T,
    cos_margin: T,
    sin_margin: T,
}

impl<T: Real> ArcFace<T> {
    /// The margin m is in radians: 28.6 degrees in pytorch-metric-learning, with a scale of 64. Refused unless the
    /// scale is finite and positive, and the margin finite and not negative.
    pub fn new(scale: T, margin: T) -> Result<Self> {
        check_not_negative("margin", margin.to_f64())?;
        let (sin, cos) = margin.to_f64().sin_cos();
        let (sin_margin, cos_margin) = (T::from_f64(sin), T::from_f64(cos));
        Ok(ArcFace { softmax: Softmax::scale(scale)?, scale, margin, cos_margin, sin_margin })
    }
}

impl<T: Real> AnchorLoss<T> for ArcFace<T> {
    #[inline(always)]
    fn exponent<S: Simd<T>>(&self, s: S, u: S::F, similar: bool) -> (S::F, S::F) {
        let scale = s.splat(self.scale);
        if !similar {
            return (scale * u, scale);
        }
        let one = s.splat(T::ONE);
        // Rounding may leave a cosine beyond 1.
        let r2 = s.hinge((one - u) * (one + u));
        let (r, sin, cos) = (s.sqrt(r2), s.splat(self.sin_margin), s.splat(self.cos_margin));
        let (x, rate) = (s.fma(-r, sin, u * cos), cos + s.over_distance(u * sin, r, r2));
        let beyond = s.lt(u, -cos);
        let linear = u - s.splat(self.margin) * sin;
        (scale * s.select(beyond, linear, x), scale * s.select(beyond, one, rate))
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

    fn scale(&self) -> Option<T> {
        Some(self.scale)
    }

    fn ranks(&self) -> bool {
        true
    }

    work_here!();
}

compiled!(<ArcFace<T> as AnchorLoss<T>>::work);
