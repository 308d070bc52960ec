//! Every loss of the crate in scalar numbers, straight from its formula and apart from the crate: what lanes
//! compute is compared with it, in `f64`, and their errors are measured against it, in double-double.

use super::number::Number;
use drlim::Real;
use drlim::loss::{
    BlockLoss, BlockTripletLoss, Contrastive, CosineContrastive, DoubleMargin, Exponential,
    LinearHinge, Sigmoid, SquaredHinge, SquaredTriplet, TripletMargin,
};

/// What a pair costs, and how far from it a kernel may be.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub value: f64,
    pub value_error: f64,
    pub slope: f64,
    pub slope_error: f64,
}

/// A loss of pairs with its margins: m; p and m; or the bound Q; or scale and bias.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PairFormula {
    Contrastive { m: f64 },
    SquaredHinge { m: f64 },
    LinearHinge { p: f64, m: f64 },
    DoubleMargin { p: f64, m: f64 },
    Exponential { q: f64 },
    CosineContrastive { m: f64 },
    Sigmoid { a: f64, b: f64 },
}

use PairFormula as P;

/// x / d, by the rule for zero distance: 0 for d² below `least`.
pub fn over_distance<N: Number>(x: N, d2: N, least: f64) -> N {
    if d2 < N::of(least) { N::default() } else { x / d2.sqrt() }
}

/// ln(1 + x) for x from 0 to 1: 2 artanh(z) = 2 (z + z³/3 + z⁵/5 + ...) with z = x / (2 + x).
fn ln_1p_of_unit<N: Number>(x: N) -> N {
    let z = x / (N::of(2.0) + x);
    let add = |series: N, k: u8| series * z * z + N::of(1.0) / N::of((2 * k + 1).into());
    N::of(2.0) * z * (0..36).rev().fold(N::default(), add)
}

/// ln(1 + e^x) and 1 / (1 + e^-x).
fn softplus_and_logistic<N: Number>(x: N) -> [N; 2] {
    let (one, size) = (N::of(1.0), x.hinge() + (-x).hinge());
    let power = (-size).exp();
    let share = if x < N::default() { power } else { one };
    [x.hinge() + ln_1p_of_unit(power), share / (one + power)]
}

impl PairFormula {
    /// One of each kind that has margins, from two of them.
    pub fn all(p: f64, m: f64) -> [Self; 6] {
        [
            P::Contrastive { m },
            P::SquaredHinge { m },
            P::LinearHinge { p, m },
            P::DoubleMargin { p, m },
            P::Exponential { q: m },
            P::CosineContrastive { m },
        ]
    }

    /// With its margins rounded to another precision.
    pub fn rounded<T: Real>(self) -> Self {
        let round = |x: f64| T::from_f64(x).to_f64();
        match self {
            P::Sigmoid { a, b } => P::Sigmoid { a: round(a), b: round(b) },
            other => other.map(round, round),
        }
    }

    /// For embeddings that are `factor` times as large.
    pub fn scaled(self, factor: f64) -> Self {
        match self {
            // What rows at distance 0 cost stays as it is.
            P::Sigmoid { a, b } => {
                let scale = a / (factor * factor);
                P::Sigmoid { a: scale, b: (a + b) - scale }
            }
            other => other.map(|length| length * factor, |square| square * factor * factor),
        }
    }

    fn map(self, length: impl Fn(f64) -> f64, square: impl Fn(f64) -> f64) -> Self {
        match self {
            P::Contrastive { m } => P::Contrastive { m: length(m) },
            P::SquaredHinge { m } => P::SquaredHinge { m: square(m) },
            P::LinearHinge { p, m } => P::LinearHinge { p: length(p), m: length(m) },
            P::DoubleMargin { p, m } => P::DoubleMargin { p: length(p), m: length(m) },
            P::Exponential { q } => P::Exponential { q: length(q) },
            P::CosineContrastive { m } => P::CosineContrastive { m: square(m) },
            P::Sigmoid { .. } => self,
        }
    }

    /// The power of lengths that a value is.
    pub fn degree(self) -> i32 {
        match self {
            P::LinearHinge { .. } | P::Exponential { .. } => 1,
            P::Contrastive { .. } | P::SquaredHinge { .. } | P::DoubleMargin { .. } => 2,
            P::CosineContrastive { .. } => 4,
            P::Sigmoid { .. } => 0,
        }
    }

    /// The distances at which there is no derivative; of the exponential loss, which has one
    /// everywhere but at 0, the distance that it is made for.
    pub fn kinks(self) -> Vec<f64> {
        match self {
            P::Contrastive { m } => vec![m],
            P::SquaredHinge { m } => vec![m.sqrt()],
            P::LinearHinge { p, m } | P::DoubleMargin { p, m } => vec![p, m],
            P::Exponential { q } => vec![q],
            P::CosineContrastive { m } => vec![(2.0 * m).sqrt()],
            P::Sigmoid { .. } => Vec::new(),
        }
    }

    /// l and 2 dl/d(d²), where a quotient by d is 0 for d² below `least`.
    pub fn value_and_slope<N: Number>(self, d2: N, similar: bool, least: f64) -> [N; 2] {
        let (of, d) = (N::of, d2.sqrt());
        let half_square = |x: N| of(0.5) * x * x;
        let over = |x: N| over_distance(x, d2, least);
        match (self, similar) {
            (P::Contrastive { .. } | P::SquaredHinge { .. }, true) => [of(0.5) * d2, of(1.0)],
            (P::SquaredHinge { m }, false) => {
                let gap = (of(m) - d2).hinge();
                [of(0.5) * gap, -gap.step()]
            }
            (P::LinearHinge { p, .. }, true) => [(d - of(p)).hinge(), over((d - of(p)).step())],
            (P::LinearHinge { m, .. }, false) => [(of(m) - d).hinge(), -over((of(m) - d).step())],
            (P::DoubleMargin { p, .. }, true) => {
                [half_square((d - of(p)).hinge()), over((d - of(p)).hinge())]
            }
            (P::Contrastive { m } | P::DoubleMargin { m, .. }, false) => {
                [half_square((of(m) - d).hinge()), -over((of(m) - d).hinge())]
            }
            (P::Exponential { q }, true) => [of(2.0) * d2 / of(q), of(4.0) / of(q)],
            (P::Exponential { q }, false) => {
                let e = (of(-2.77) * d / of(q)).exp();
                [of(2.0 * q) * e, -over(of(5.54) * e)]
            }
            (P::CosineContrastive { .. }, true) => [half_square(of(0.5) * d2), of(0.5) * d2],
            (P::CosineContrastive { m }, false) => {
                let gap = (of(m) - of(0.5) * d2).hinge();
                [half_square(gap), -gap]
            }
            (P::Sigmoid { a, b }, similar) => {
                let logit = of(a) + of(b) - of(0.5 * a) * d2;
                let [value, share] = softplus_and_logistic(if similar { -logit } else { logit });
                [value, of(a) * if similar { share } else { -share }]
            }
        }
    }

    pub fn value(self, d2: f64, similar: bool) -> f64 {
        self.value_and_slope(d2, similar, 0.0)[0]
    }

    pub fn slope(self, d2: f64, similar: bool, least: f64) -> f64 {
        self.value_and_slope(d2, similar, least)[1]
    }

    /// Value and slope for elements of type `T`, from a squared distance that is off by up to
    /// `relative`: what that makes of them, the formula itself says.
    pub fn cost<T: Real>(self, d2: f64, similar: bool, relative: f64) -> Cost {
        let (rounding, least) = (8.0 * T::EPSILON.to_f64(), T::MIN_POSITIVE.to_f64());
        let at = |d2: f64| self.value_and_slope(d2, similar, least);
        let [value, slope] = at(d2);
        let mut cost = Cost {
            value,
            value_error: rounding * value.abs() + least,
            slope,
            slope_error: rounding * slope.abs() + least,
        };
        for nearby in [d2 * (1.0 - relative), d2 * (1.0 + relative)] {
            let [there, slope_there] = at(nearby);
            cost.value_error += (there - value).abs();
            cost.slope_error += (slope_there - slope).abs();
        }
        cost
    }

    /// The crate's own.
    pub fn loss<T: Real>(self) -> Box<dyn BlockLoss<T>> {
        let t = T::from_f64;
        match self {
            P::Contrastive { m } => Box::new(Contrastive::new(t(m)).unwrap()),
            P::SquaredHinge { m } => Box::new(SquaredHinge::new(t(m)).unwrap()),
            P::LinearHinge { p, m } => Box::new(LinearHinge::new(t(p), t(m)).unwrap()),
            P::DoubleMargin { p, m } => Box::new(DoubleMargin::new(t(p), t(m)).unwrap()),
            P::Exponential { q } => Box::new(Exponential::new(t(q)).unwrap()),
            P::CosineContrastive { m } => Box::new(CosineContrastive::new(t(m)).unwrap()),
            P::Sigmoid { a, b } => Box::new(Sigmoid::new(t(a), t(b)).unwrap()),
        }
    }
}

/// A loss of triplets with its margin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TripletFormula {
    Margin { m: f64 },
    Swapping { m: f64 },
    Squared { m: f64 },
}

impl TripletFormula {
    pub fn all(m: f64) -> [Self; 3] {
        [Self::Margin { m }, Self::Swapping { m }, Self::Squared { m }]
    }

    pub fn margin(self) -> f64 {
        match self {
            Self::Margin { m } | Self::Swapping { m } | Self::Squared { m } => m,
        }
    }

    /// With another margin.
    pub fn with(self, m: f64) -> Self {
        match self {
            Self::Margin { .. } => Self::Margin { m },
            Self::Swapping { .. } => Self::Swapping { m },
            Self::Squared { .. } => Self::Squared { m },
        }
    }

    /// With its margin rounded to another precision.
    pub fn rounded<T: Real>(self) -> Self {
        self.with(T::from_f64(self.margin()).to_f64())
    }

    /// For embeddings that are `factor` times as large.
    pub fn scaled(self, factor: f64) -> Self {
        self.with(self.margin() * factor.powi(self.degree()))
    }

    /// The power of lengths that a value is.
    pub fn degree(self) -> i32 {
        match self {
            Self::Margin { .. } | Self::Swapping { .. } => 1,
            Self::Squared { .. } => 2,
        }
    }

    /// The distance of the negative at which there is no derivative, given that of the positive.
    pub fn kink(self, positive: f64) -> f64 {
        match self {
            Self::Margin { m } | Self::Swapping { m } => positive + m,
            Self::Squared { m } => (positive * positive + m).sqrt(),
        }
    }

    /// l of the squared distances d²(a,p), d²(a,n), d²(p,n), and 2 dl/d(d²) of each of them.
    pub fn value_and_slopes<N: Number>(self, [ap2, an2, pn2]: [N; 3], least: f64) -> (N, [N; 3]) {
        let (zero, m) = (N::default(), N::of(self.margin()));
        if let Self::Squared { .. } = self {
            let value = (ap2 - an2 + m).hinge();
            let slope = N::of(2.0) * value.step();
            return (value, [slope, -slope, zero]);
        }
        let swapped = matches!(self, Self::Swapping { .. }) && pn2 < an2;
        let n2 = if swapped { pn2 } else { an2 };
        let value = (ap2.sqrt() - n2.sqrt() + m).hinge();
        let pull = over_distance(value.step(), ap2, least);
        let push = -over_distance(value.step(), n2, least);
        (value, if swapped { [pull, zero, push] } else { [pull, push, zero] })
    }

    pub fn value(self, d2: [f64; 3]) -> f64 {
        self.value_and_slopes(d2, 0.0).0
    }

    pub fn slopes(self, d2: [f64; 3], least: f64) -> [f64; 3] {
        self.value_and_slopes(d2, least).1
    }

    /// The crate's own.
    pub fn loss<T: Real>(self) -> Box<dyn BlockTripletLoss<T>> {
        let m = T::from_f64(self.margin());
        match self {
            Self::Margin { .. } => Box::new(TripletMargin::new(m).unwrap()),
            Self::Swapping { .. } => Box::new(TripletMargin::new(m).unwrap().swapping()),
            Self::Squared { .. } => Box::new(SquaredTriplet::new(m).unwrap()),
        }
    }
}
