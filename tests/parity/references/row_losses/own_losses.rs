//! Losses of pytorch-metric-learning that this crate leaves to its users, written as users would.

use drlim::Real;
use drlim::loss::{Anchor, AnchorLoss, AnchorSums, PairLoss, TripletLoss};
use drlim::simd::Simd;
use drlim::simd::math::{exp_of_small, logistic, softplus};

/// max(0, d² - p) for similar pairs, max(0, m - d²) for others: `ContrastiveLoss` on squared distances.
pub struct SquaredDistances<T> {
    pub positive_margin: T,
    pub margin: T,
}

impl<T: Real> PairLoss<T> for SquaredDistances<T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
        let (pulled, pushed) = (d2 - s.splat(self.positive_margin), s.splat(self.margin) - d2);
        let value = s.hinge(s.select(similar, pulled, pushed));
        let active = s.step(value);
        let slope = active + active;
        (value, s.select(similar, slope, -slope))
    }
}

/// ln(1 + e^(d(a,p) - d(a,n) + m)): `TripletMarginLoss(smooth_loss=True)`.
pub struct SmoothTriplet<T> {
    pub margin: T,
}

impl<T: Real> TripletLoss<T> for SmoothTriplet<T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(&self, s: S, [ap2, an2, _]: [S::F; 3]) -> (S::F, [S::F; 3]) {
        let (ap, an) = (s.sqrt(ap2), s.sqrt(an2));
        let violation = ap - an + s.splat(self.margin);
        let active = logistic(s, violation);
        let slopes =
            [s.over_distance(active, ap, ap2), -s.over_distance(active, an, an2), s.splat(T::ZERO)];
        (softplus(s, violation), slopes)
    }
}

/// `ProxyAnchorLoss` (Kim et al. 2020), of a proxy as the anchor and the rows of a batch as candidates:
///
/// ```text
/// l = f ln(1 + sum over P of e^(-α (u - m))) + ln(1 + sum over G of e^(α (u + m)))
///
/// x = -α (u - m) for similar rows, α (u + m) for others
/// dl/dx = f e^(x - L_P) for similar rows, e^(x - L_G) for others       L = ln(1 + e^lse) of each kind
/// ```
///
/// The mean of the first part is over proxies that have a similar row, that of the second over all. With
/// the factor f = all / those that have one, l is a single mean over all.
pub struct ProxyAnchor<T> {
    pub alpha: T,
    pub margin: T,
    pub factor: T,
}

impl<T: Real> AnchorLoss<T> for ProxyAnchor<T> {
    #[inline(always)]
    fn exponent<S: Simd<T>>(&self, s: S, u: S::F, similar: bool) -> (S::F, S::F) {
        let (alpha, margin) = (s.splat(self.alpha), s.splat(self.margin));
        match similar {
            true => (-(alpha * (u - margin)), -alpha),
            false => (alpha * (u + margin), alpha),
        }
    }

    fn anchor(&self, sums: &AnchorSums) -> Anchor {
        let [of_p, of_g] = [sums.similar, sums.dissimilar].map(|kind| ln_1p_exp(kind.log()));
        let value = self.factor.to_f64() * of_p + of_g;
        Anchor { value, terms: Some([of_p, of_g, 0.0, 0.0]) }
    }

    #[inline(always)]
    fn weight<S: Simd<T>>(&self, s: S, x: S::F, similar: bool, terms: [S::F; 4]) -> S::F {
        match similar {
            true => s.splat(self.factor) * exp_of_small(s, x - terms[0]),
            false => exp_of_small(s, x - terms[1]),
        }
    }
}

/// ln(1 + e^x), which is 0 where x is negative infinity.
fn ln_1p_exp(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}
