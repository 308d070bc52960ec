//! Every loss of the crate in plain scalar f64, straight from its formula and apart from the crate:
//! what lanes compute is compared with it.

use drlim::Real;
use drlim::loss::{
    BlockLoss, BlockTripletLoss, Contrastive, CosineContrastive, DoubleMargin, Exponential,
    LinearHinge, SquaredHinge, SquaredTriplet, TripletMargin,
};

/// What a pair costs, and how far from it a kernel may be.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub value: f64,
    pub value_error: f64,
    pub slope: f64,
    pub slope_error: f64,
}

/// A loss of pairs with its margins: m; p and m; or the bound Q.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PairFormula {
    Contrastive { m: f64 },
    SquaredHinge { m: f64 },
    LinearHinge { p: f64, m: f64 },
    DoubleMargin { p: f64, m: f64 },
    Exponential { q: f64 },
    CosineContrastive { m: f64 },
}

use PairFormula as P;

/// max(x, 0) that keeps a NaN.
pub fn hinge(x: f64) -> f64 {
    if x < 0.0 { 0.0 } else { x }
}

/// The derivative of [`hinge`], 0 at the kink.
pub fn step(x: f64) -> f64 {
    match x {
        x if x.is_nan() => x,
        x if x > 0.0 => 1.0,
        _ => 0.0,
    }
}

impl PairFormula {
    /// One of each kind, from two margins.
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
        self.map(|x| T::from_f64(x).to_f64(), |x| T::from_f64(x).to_f64())
    }

    /// For embeddings that are `factor` times as large.
    pub fn scaled(self, factor: f64) -> Self {
        self.map(|length| length * factor, |square| square * factor * factor)
    }

    fn map(self, length: impl Fn(f64) -> f64, square: impl Fn(f64) -> f64) -> Self {
        match self {
            P::Contrastive { m } => P::Contrastive { m: length(m) },
            P::SquaredHinge { m } => P::SquaredHinge { m: square(m) },
            P::LinearHinge { p, m } => P::LinearHinge { p: length(p), m: length(m) },
            P::DoubleMargin { p, m } => P::DoubleMargin { p: length(p), m: length(m) },
            P::Exponential { q } => P::Exponential { q: length(q) },
            P::CosineContrastive { m } => P::CosineContrastive { m: square(m) },
        }
    }

    /// The power of lengths that a value is.
    pub fn degree(self) -> i32 {
        match self {
            P::LinearHinge { .. } | P::Exponential { .. } => 1,
            P::Contrastive { .. } | P::SquaredHinge { .. } | P::DoubleMargin { .. } => 2,
            P::CosineContrastive { .. } => 4,
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
        }
    }

    pub fn value(self, d2: f64, similar: bool) -> f64 {
        let (d, half_square) = (d2.sqrt(), |x: f64| 0.5 * x * x);
        match (self, similar) {
            (P::Contrastive { .. } | P::SquaredHinge { .. }, true) => d2 / 2.0,
            (P::Contrastive { m }, false) => half_square(hinge(m - d)),
            (P::SquaredHinge { m }, false) => hinge(m - d2) / 2.0,
            (P::LinearHinge { p, .. }, true) => hinge(d - p),
            (P::LinearHinge { m, .. }, false) => hinge(m - d),
            (P::DoubleMargin { p, .. }, true) => half_square(hinge(d - p)),
            (P::DoubleMargin { m, .. }, false) => half_square(hinge(m - d)),
            (P::Exponential { q }, true) => 2.0 * d2 / q,
            (P::Exponential { q }, false) => 2.0 * q * (-2.77 * d / q).exp(),
            (P::CosineContrastive { .. }, true) => half_square(d2 / 2.0),
            (P::CosineContrastive { m }, false) => half_square(hinge(m - d2 / 2.0)),
        }
    }

    /// 2 dl/d(d²), where a quotient by d is 0 for d² below `smallest_normal`.
    pub fn slope(self, d2: f64, similar: bool, smallest_normal: f64) -> f64 {
        let d = d2.sqrt();
        let over_d = |x: f64| if d2 < smallest_normal { 0.0 } else { x / d };
        match (self, similar) {
            (P::Contrastive { .. } | P::SquaredHinge { .. }, true) => 1.0,
            (P::Contrastive { m }, false) => -over_d(hinge(m - d)),
            (P::SquaredHinge { m }, false) => -step(m - d2),
            (P::LinearHinge { p, .. }, true) => over_d(step(d - p)),
            (P::LinearHinge { m, .. }, false) => -over_d(step(m - d)),
            (P::DoubleMargin { p, .. }, true) => over_d(hinge(d - p)),
            (P::DoubleMargin { m, .. }, false) => -over_d(hinge(m - d)),
            (P::Exponential { q }, true) => 4.0 / q,
            (P::Exponential { q }, false) => -over_d(5.54 * (-2.77 * d / q).exp()),
            (P::CosineContrastive { .. }, true) => d2 / 2.0,
            (P::CosineContrastive { m }, false) => -hinge(m - d2 / 2.0),
        }
    }

    /// Value and slope for elements of type `T`, from a squared distance that is off by up to
    /// `relative`: what that makes of them, the formula itself says.
    pub fn cost<T: Real>(self, d2: f64, similar: bool, relative: f64) -> Cost {
        let (rounding, least) = (8.0 * T::EPSILON.to_f64(), T::MIN_POSITIVE.to_f64());
        let at = |d2: f64| (self.value(d2, similar), self.slope(d2, similar, least));
        let (value, slope) = at(d2);
        let mut cost = Cost {
            value,
            value_error: rounding * value.abs() + least,
            slope,
            slope_error: rounding * slope.abs() + least,
        };
        for nearby in [d2 * (1.0 - relative), d2 * (1.0 + relative)] {
            let (there, slope_there) = at(nearby);
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

    /// Of the squared distances d²(a,p), d²(a,n), d²(p,n).
    pub fn value(self, [ap2, an2, pn2]: [f64; 3]) -> f64 {
        match self {
            Self::Margin { m } => hinge(ap2.sqrt() - an2.sqrt() + m),
            Self::Swapping { m } => hinge(ap2.sqrt() - an2.min(pn2).sqrt() + m),
            Self::Squared { m } => hinge(ap2 - an2 + m),
        }
    }

    /// 2 dl/d(d²) of each of them, where a quotient by d is 0 for d² below `smallest_normal`.
    pub fn slopes(self, [ap2, an2, pn2]: [f64; 3], smallest_normal: f64) -> [f64; 3] {
        let active = step(self.value([ap2, an2, pn2]));
        let over = |d2: f64| if d2 < smallest_normal { 0.0 } else { active / d2.sqrt() };
        match self {
            Self::Swapping { .. } if pn2 < an2 => [over(ap2), 0.0, -over(pn2)],
            Self::Margin { .. } | Self::Swapping { .. } => [over(ap2), -over(an2), 0.0],
            Self::Squared { .. } => [2.0 * active, -2.0 * active, 0.0],
        }
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
