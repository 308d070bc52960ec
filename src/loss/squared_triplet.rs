//! The triplet loss on squared distances.

#![forbid(unsafe_code)]

use super::triplet::triplets_compiled_here;
use crate::error::{Result, check_positive};
use crate::simd::Simd;
use crate::simd::real::Real;

/// The triplet loss on squared distances, margin m (Schroff, Kalenichenko, Philbin 2015, "FaceNet"):
///
/// ```text
/// l = max(0, d²(a,p) - d²(a,n) + m)         where l > 0:
/// slope_ap = 2     slope_an = -2     slope_pn = 0
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SquaredTriplet<T> {
    margin: T,
}

impl<T: Real> SquaredTriplet<T> {
    /// Refused where `margin` is not finite and positive.
    pub fn new(margin: T) -> Result<Self> {
        check_positive("margin", margin.to_f64())?;
        Ok(SquaredTriplet { margin })
    }

    /// How much larger than the positive's a negative's squared distance must be to cost nothing.
    pub fn margin(&self) -> T {
        self.margin
    }

    #[inline(always)]
    fn formula<S: Simd<T>>(&self, s: S, [ap2, an2, _]: [S::F; 3]) -> (S::F, [S::F; 3]) {
        let value = s.hinge(ap2 - an2 + s.splat(self.margin));
        let slope = s.step(value) * s.splat(T::ONE + T::ONE);
        (value, [slope, -slope, s.splat(T::ZERO)])
    }

    /// 0: slopes are constants.
    #[inline(always)]
    fn bends<S: Simd<T>>(&self, s: S, _: [S::F; 3]) -> [S::F; 6] {
        [s.splat(T::ZERO); 6]
    }
}

triplets_compiled_here!(SquaredTriplet, |_| false);
