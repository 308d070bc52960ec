//! The pairwise sigmoid loss.

#![forbid(unsafe_code)]

use super::pair::compiled_here;
use super::sums::SlopeTotals;
use crate::error::{Error, Result, check_positive};
use crate::simd::Simd;
use crate::simd::math::{logistic, softplus};
use crate::simd::real::Real;

/// The pairwise sigmoid loss of SigLIP (Zhai et al. 2023): each pair is a yes or a no by itself. For rows of unit
/// length, with the logit s = a u + b of their cosine u = 1 - d²/2:
///
/// ```text
/// similar      l = ln(1 + e^-s)         slope =  a / (1 + e^s)
/// dissimilar   l = ln(1 + e^s)          slope = -a / (1 + e^-s)
/// ```
///
/// since dl/ds is -1/(1 + e^s), or 1/(1 + e^-s), and the slope 2 dl/d(d²) is -a dl/ds. There is no margin: every
/// pair is active. SigLIP adds up all pairs of N images and their texts and divides by N:
/// [`Reduction::Factors`](super::Reduction::Factors) with 1/N.
///
/// The derivatives by a and b follow from the sums of all slopes that [`cross`](crate::batch::cross()) gives:
/// [`scale_and_bias`](Sigmoid::scale_and_bias).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sigmoid<T> {
    scale: T,
    bias: T,
}

impl<T: Real> Sigmoid<T> {
    /// a and b: at first 10 and -10 in SigLIP. Refused unless a is finite and positive, and b finite.
    pub fn new(scale: T, bias: T) -> Result<Self> {
        check_positive("scale", scale.to_f64())?;
        if !bias.is_finite() {
            return Err(Error::Value {
                arg: "bias",
                got: bias.to_f64(),
                expected: "a finite number",
            });
        }
        Ok(Sigmoid { scale, bias })
    }

    /// The derivatives of the value by the scale and by the bias, from the totals of the slopes of all pairs:
    ///
    /// ```text
    /// dL/db = sum of f dl/ds = -(1/a) sum of f slope         dL/da = sum of f dl/ds u,  u = 1 - d²/2
    /// ```
    ///
    /// ```
    /// # fn main() -> drlim::Result<()> {
    /// use drlim::batch::{CrossOut, CrossScratch, CrossSimilar, cross};
    /// use drlim::loss::{Objective, Reduction, Sigmoid, SlopeTotals};
    /// use drlim::{Cx, Mat};
    ///
    /// // Two images and their texts.
    /// let (images, texts) = ([1.0_f64, 0.0, /**/ 0.0, 1.0], [0.8, 0.6, /**/ 0.6, 0.8]);
    /// let loss = Sigmoid::new(10.0, -10.0)?;
    /// let siglip = Objective::sum(&loss).reduced(Reduction::Factors { similar: 0.5, dissimilar: 0.5 });
    /// let mut totals = SlopeTotals::default();
    /// let mut out = CrossOut::none();
    /// out.slope_totals = Some(&mut totals);
    /// let (x, y) = (Mat::new(&images, 2, 2)?, Mat::new(&texts, 2, 2)?);
    /// let similar = CrossSimilar::Position { first_key: 0 };
    /// cross(&Cx::default(), &siglip, x, y, similar, None, out, &mut CrossScratch::new())?;
    ///
    /// let logistic = |s: f64| 1.0 / (1.0 + (-s).exp());
    /// let [by_scale, by_bias] = loss.scale_and_bias(&totals);
    /// assert!((by_bias - (logistic(-4.0) - logistic(2.0))).abs() < 1e-12); // s is -2 and -4
    /// assert!((by_scale - (0.6 * logistic(-4.0) - 0.8 * logistic(2.0))).abs() < 1e-12);
    /// # Ok(()) }
    /// ```
    pub fn scale_and_bias(&self, totals: &SlopeTotals) -> [f64; 2] {
        let scale = self.scale.to_f64();
        [(0.5 * totals.squares - totals.slopes) / scale, -totals.slopes / scale]
    }

    /// -s and s of similar and dissimilar pairs: what the loss is the softplus of.
    #[inline(always)]
    fn wrong<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> S::F {
        // s = (a + b) - (a/2) d²
        let half = s.splat(T::from_f64(-0.5) * self.scale);
        let logit = s.fma(half, d2, s.splat(self.scale + self.bias));
        s.select(similar, -logit, logit)
    }

    #[inline(always)]
    fn formula<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
        let wrong = self.wrong(s, d2, similar);
        let pull = s.splat(self.scale) * logistic(s, wrong);
        (softplus(s, wrong), s.select(similar, pull, -pull))
    }

    /// a² d² p (1 - p), p = 1/(1 + e^-s).
    #[inline(always)]
    fn bend<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> S::F {
        let wrong = self.wrong(s, d2, similar);
        let scale = s.splat(self.scale);
        (scale * logistic(s, wrong)) * (scale * logistic(s, -wrong)) * d2
    }
}

compiled_here!(Sigmoid, |_| None, |_| None);
