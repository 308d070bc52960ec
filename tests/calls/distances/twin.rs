//! The scalar twin of the distances: their formulas, and how far from them a kernel may be.

use drlim::batch::Distance;

use crate::support::{Element, oracle};

/// The scalar twin of a distance, for elements of one type.
#[derive(Clone, Copy, Debug)]
pub struct Twin {
    pub distance: Distance,
    /// The smallest normal number of the element type: a square below it counts as zero.
    pub smallest_normal: f64,
    pub epsilon: f64,
}

impl Twin {
    pub fn of<T: Element>(distance: Distance) -> Self {
        let (smallest_normal, epsilon) = (T::MIN_POSITIVE.to_f64(), T::EPSILON.to_f64());
        Twin { distance, smallest_normal, epsilon }
    }

    /// Whether the rows have an angle.
    pub fn has_directions(&self, a: &[f64], b: &[f64]) -> bool {
        dot(a, a) >= self.smallest_normal && dot(b, b) >= self.smallest_normal
    }

    pub fn value(&self, a: &[f64], b: &[f64]) -> f64 {
        match self.distance {
            Distance::Euclidean => oracle::squared_distance(a, b).sqrt(),
            Distance::SquaredEuclidean => oracle::squared_distance(a, b),
            Distance::Dot => dot(a, b),
            Distance::Cosine if self.has_directions(a, b) => one_minus_cosine(a, b),
            Distance::Cosine => 1.0,
            other => panic!("no twin of {other:?}"),
        }
    }

    /// How far from [`value`](Twin::value) a kernel may be: one rounding for each operation.
    pub fn value_tolerance(&self, a: &[f64], b: &[f64]) -> f64 {
        let relative = (a.len() as f64 + 8.0) * self.epsilon;
        let value = self.value(a, b);
        match self.distance {
            Distance::Dot => relative * a.iter().zip(b).map(|(a, b)| (a * b).abs()).sum::<f64>(),
            // The difference of the unit vectors is off by the rounding of both, |e|²/2 by |e|
            // times as much; the norms make (s + t) c + (s - t)²/2.
            Distance::Cosine => {
                relative * value + 2.0 * self.epsilon * (2.0 * value).sqrt() + relative * relative
            }
            _ => relative * value,
        }
    }

    /// The gradient by `a`; that by `b` is the one with the sides swapped.
    pub fn gradient(&self, a: &[f64], b: &[f64]) -> Vec<f64> {
        let elements =
            |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect();
        match self.distance {
            Distance::Euclidean => {
                let d2 = oracle::squared_distance(a, b);
                if d2 < self.smallest_normal {
                    return vec![0.0; a.len()];
                }
                elements(&|a, b| (a - b) / d2.sqrt())
            }
            Distance::SquaredEuclidean => elements(&|a, b| 2.0 * (a - b)),
            Distance::Dot => b.to_vec(),
            Distance::Cosine if self.has_directions(a, b) => {
                let (norm_a, norm_b) = (dot(a, a).sqrt(), dot(b, b).sqrt());
                let cos = dot(a, b) / (norm_a * norm_b);
                elements(&|a, b| (cos * (a / norm_a) - b / norm_b) / norm_a)
            }
            Distance::Cosine => vec![0.0; a.len()],
            other => panic!("no twin of {other:?}"),
        }
    }

    /// How far from [`gradient`](Twin::gradient) a kernel may be.
    pub fn gradient_tolerance(&self, a: &[f64], b: &[f64]) -> Vec<f64> {
        let relative = (a.len() as f64 + 8.0) * self.epsilon;
        match self.distance {
            Distance::Cosine if self.has_directions(a, b) => {
                let (norm_a, norm_b) = (dot(a, a).sqrt(), dot(b, b).sqrt());
                let terms = |(a, b): (&f64, &f64)| (a / norm_a).abs() + (b / norm_b).abs();
                a.iter().zip(b).map(|pair| 2.0 * relative * terms(pair) / norm_a).collect()
            }
            _ => self.gradient(a, b).into_iter().map(|g| relative * g.abs()).collect(),
        }
    }
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// 1 - cos, from sin² = |a ∧ b|² / (|a|²|b|²) where cos is near 1: no term of it cancels.
pub fn one_minus_cosine(a: &[f64], b: &[f64]) -> f64 {
    let cos = dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt());
    if cos < 0.5 {
        return 1.0 - cos;
    }
    let mut wedge = 0.0;
    for i in 0..a.len() {
        for j in 0..i {
            wedge += difference_of_products(a[i], b[j], a[j], b[i]).powi(2);
        }
    }
    wedge / dot(a, a) / dot(b, b) / (1.0 + cos)
}

/// a b - c d within 1.5 ULP (Kahan; Jeannerod, Louvet, Muller 2013).
pub fn difference_of_products(a: f64, b: f64, c: f64, d: f64) -> f64 {
    let cd = c * d;
    a.mul_add(b, -cd) + (-c).mul_add(d, cd)
}
