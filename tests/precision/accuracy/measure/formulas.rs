//! What an error of d² makes of the cost of pairs and triplets.

use super::record::Exact;
use crate::support::Element;
use crate::support::double_double::DoubleDouble;
use crate::support::formulas::{PairFormula, TripletFormula, over_distance};
use crate::support::number::{Number, sum};

pub type Wide = DoubleDouble;

/// How far from the exact one a kernel's d² may be.
#[derive(Clone, Copy, Debug)]
pub struct Off {
    /// Of d².
    pub relative: f64,
    /// What underflow takes away.
    pub lost: f64,
}

impl Off {
    pub fn new<T: Element>(relative: f64, cols: usize) -> Self {
        Off { relative, lost: lost::<T>(cols) }
    }
}

/// What underflow takes away from a sum of so many products.
pub fn lost<T: Element>(terms: usize) -> f64 {
    (terms as f64 + 4.0) * T::tiny().to_f64()
}

pub fn wide<T: Element>(of: &[T]) -> Vec<Wide> {
    of.iter().map(|x| Wide::new(x.to_f64())).collect()
}

pub fn squared_distance<N: Number>(a: &[N], b: &[N]) -> N {
    sum(a.iter().zip(b).map(|(&a, &b)| (a - b) * (a - b)))
}

pub fn dot<N: Number>(a: &[N], b: &[N]) -> N {
    sum(a.iter().zip(b).map(|(&a, &b)| a * b))
}

/// A function of d²: its terms are what it is, and what comes of the error of d².
pub fn through(d2: Wide, off: Off, f: impl Fn(Wide) -> Wide) -> Exact {
    let value = f(d2);
    let away = |by: f64| {
        let there = d2 + Wide::new(by);
        let there = if there < Wide::default() { Wide::default() } else { there };
        (f(there) - value).abs().high
    };
    let both = |by: f64| away(by).max(away(-by));
    let relative = both(off.relative * d2.high) / off.relative;
    Exact { value, size: value.abs().high + relative, lost: both(off.lost) }
}

impl Exact {
    /// Times a number that is known but for one rounding.
    pub fn times(self, by: Wide) -> Self {
        let factor = by.abs().high;
        let [size, lost] =
            [self.size, self.lost].map(|x| if factor == 0.0 { 0.0 } else { x * factor });
        Exact { value: self.value * by, size, lost }
    }

    pub fn plus(self, other: Exact) -> Self {
        let (size, lost) = (self.size + other.size, self.lost + other.lost);
        Exact { value: self.value + other.value, size, lost }
    }

    pub fn losing(self, lost: f64) -> Self {
        Exact { lost: self.lost + lost, ..self }
    }

    /// A term of a sum.
    pub fn term(value: Wide) -> Self {
        Exact { value, size: value.abs().high, lost: 0.0 }
    }
}

/// Value and slope of a pair, as a kernel has them from a d² that is off.
pub fn pair_cost<T: Element>(
    formula: PairFormula,
    d2: Wide,
    similar: bool,
    off: Off,
) -> [Exact; 2] {
    let (least, tiny) = (T::MIN_POSITIVE.to_f64(), T::tiny().to_f64());
    // What the exponential function loses is multiplied afterwards.
    let factors = match formula {
        PairFormula::Exponential { q } if !similar => [2.0 * q, 5.54 / d2.high.max(least).sqrt()],
        _ => [1.0; 2],
    };
    // A power that is no normal number is 0.
    let flushed = match formula {
        PairFormula::Sigmoid { a, .. } => [least, a * least],
        _ => [0.0; 2],
    };
    [0, 1].map(|k| {
        let exact = through(d2, off, |d2| formula.value_and_slope(d2, similar, least)[k]);
        exact.losing(4.0 * tiny * (1.0 + factors[k]) + flushed[k])
    })
}

/// Value and slopes of a triplet, as a kernel has them from squared distances that are off. What hangs on
/// a comparison that an error may turn is of no size that can be told: infinite.
pub fn triplet_costs<T: Element>(
    formula: TripletFormula,
    d2: [Wide; 3],
    off: Off,
) -> (Exact, [Exact; 3]) {
    let least = T::MIN_POSITIVE.to_f64();
    let (value, _) = formula.value_and_slopes(d2, least);
    let lengths = match formula {
        TripletFormula::Squared { .. } => {
            d2.map(|d2| Exact { value: d2, size: d2.high, lost: off.lost })
        }
        _ => d2.map(|d2| Exact { size: d2.high.sqrt(), ..through(d2, off, Number::sqrt) }),
    };
    let [ap, an, pn] = lengths;
    let swapping = matches!(formula, TripletFormula::Swapping { .. });
    let swapped = swapping && pn.value < an.value;
    let n = if swapped { pn } else { an };
    let (m, tiny) = (formula.margin(), T::tiny().to_f64());
    let size = ap.size + n.size + m;
    let gap = ap.value - n.value + Wide::new(m);
    let near = |x: Wide, size: f64, lost: f64| x.abs().high <= 2.0 * off.relative * size + lost;
    let turns = near(gap, size, ap.lost + n.lost + tiny)
        || (swapping && near(an.value - pn.value, an.size + pn.size, an.lost + pn.lost + tiny));
    let value = Exact { value, size, lost: ap.lost + n.lost + tiny };
    let slopes = [0, 1, 2].map(|k| {
        let of_k = |x: Wide| {
            // Whether it is active is asked above.
            let active = Wide::new(if gap > Wide::default() { 1.0 } else { 0.0 });
            match (formula, k) {
                (TripletFormula::Squared { .. }, 0) => active + active,
                (TripletFormula::Squared { .. }, 1) => -(active + active),
                (TripletFormula::Squared { .. }, _) => Wide::default(),
                (_, 0) => over_distance(active, x, least),
                (_, 1) if !swapped => -over_distance(active, x, least),
                (_, 2) if swapped => -over_distance(active, x, least),
                _ => Wide::default(),
            }
        };
        let slope = through(d2[k], off, of_k);
        Exact { size: if turns { f64::INFINITY } else { slope.size }, ..slope }
    });
    (value, slopes)
}
