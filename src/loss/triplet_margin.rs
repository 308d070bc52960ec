//! The triplet margin loss.

#![forbid(unsafe_code)]

use super::triplet::triplets_compiled_here;
use crate::error::{Result, check_positive};
use crate::simd::Simd;
use crate::simd::real::Real;

/// The triplet margin loss on Euclidean distances, margin m (Balntas et al. 2016, "Learning local
/// feature descriptors with triplets and shallow convolutional neural networks"; PyTorch's
/// `TripletMarginLoss`, without the 1e-6 that it adds to differences):
///
/// ```text
/// l = max(0, d(a,p) - d(a,n) + m)         where l > 0:
/// slope_ap = 1/d(a,p)     slope_an = -1/d(a,n)     slope_pn = 0
/// ```
///
/// With [`swapping`](TripletMargin::swapping), d(p,n) replaces d(a,n), and slope_pn replaces slope_an,
/// where d(p,n) is smaller. A slope of distance 0 is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TripletMargin<T> {
    margin: T,
    swap: bool,
}

impl<T: Real> TripletMargin<T> {
    /// Refused where `margin` is not finite and positive.
    pub fn new(margin: T) -> Result<Self> {
        check_positive("margin", margin.to_f64())?;
        Ok(TripletMargin { margin, swap: false })
    }

    /// This loss, but the negative is held against the nearer of anchor and positive.
    pub fn swapping(self) -> Self {
        TripletMargin { swap: true, ..self }
    }

    /// How much farther than the positive a negative must be to cost nothing.
    pub fn margin(&self) -> T {
        self.margin
    }

    #[inline(always)]
    fn formula<S: Simd<T>>(&self, s: S, [ap2, an2, pn2]: [S::F; 3]) -> (S::F, [S::F; 3]) {
        let zero = s.splat(T::ZERO);
        // A NaN in d(p,n) comes with one in d(a,p) or d(a,n), so it is not lost here.
        let swapped = s.lt(pn2, an2) & s.splat_mask(self.swap);
        let n2 = s.select(swapped, pn2, an2);
        let (p, n) = (s.sqrt(ap2), s.sqrt(n2));
        let value = s.hinge(p - n + s.splat(self.margin));
        let active = s.step(value);
        let push = -s.over_distance(active, n, n2);
        let slopes = [
            s.over_distance(active, p, ap2),
            s.select(swapped, zero, push),
            s.select(swapped, push, zero),
        ];
        (value, slopes)
    }

    /// C_kk = -slope_k, since no distance bends along itself; C_kl = 0, since the distances do not act on
    /// each other.
    #[inline(always)]
    fn bends<S: Simd<T>>(&self, s: S, d2: [S::F; 3]) -> [S::F; 6] {
        let (_, [ap, an, pn]) = self.formula(s, d2);
        let zero = s.splat(T::ZERO);
        [-ap, -an, -pn, zero, zero, zero]
    }
}

triplets_compiled_here!(TripletMargin, |loss| loss.swap);
