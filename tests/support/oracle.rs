//! A pair under the contrastive loss in scalar `f64`, and how far from it a kernel may be.

use super::formulas::PairFormula;
use drlim::Real;

/// What one pair gives. The gradient with respect to the first point is `slope` times the
/// difference of the points, that of the second its negative.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    pub d2: f64,
    pub value: f64,
    pub slope: f64,
}

/// Squared Euclidean distance.
pub fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// The contrastive loss for elements of one type.
#[derive(Clone, Copy, Debug)]
pub struct Contrastive {
    pub margin: f64,
    /// The smallest normal number of the element type: below it a squared distance counts as zero,
    /// and a quotient by the distance is 0.
    pub smallest_normal: f64,
}

impl Contrastive {
    pub fn of<T: Real>(margin: f64) -> Self {
        Contrastive { margin, smallest_normal: T::MIN_POSITIVE.to_f64() }
    }

    /// l = d²/2 where similar, max(0, m - d)²/2 where not.
    pub fn pair(&self, a: &[f64], b: &[f64], similar: bool) -> Pair {
        let d2 = squared_distance(a, b);
        let formula = PairFormula::Contrastive { m: self.margin };
        let [value, slope] = formula.value_and_slope(d2, similar, self.smallest_normal);
        Pair { d2, value, slope }
    }

    /// How much a kernel's result may differ where its rows have `cols` elements and rounding is
    /// `epsilon`: the errors of value and slope that one relative rounding error for each operation
    /// on the way to d² makes.
    pub fn tolerance(&self, pair: &Pair, cols: usize, similar: bool, epsilon: f64) -> Pair {
        let relative = (cols as f64 + 8.0) * epsilon;
        let d = pair.d2.sqrt();
        let d2 = relative * pair.d2;
        if similar {
            return Pair { d2, value: relative * pair.value, slope: 0.0 };
        }
        if d > self.margin * (1.0 + relative) {
            return Pair { d2, value: 0.0, slope: 0.0 };
        }
        Pair {
            d2,
            value: relative * self.margin * self.margin,
            slope: if pair.d2 < self.smallest_normal { 0.0 } else { relative * self.margin / d },
        }
    }
}
