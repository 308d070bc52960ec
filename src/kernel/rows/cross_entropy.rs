//! The cross entropy of rows of logits with a label each, and its gradient.
//!
//! A row is read once from memory: what follows finds it in a cache. Its own logit is kept apart from the
//! others, whose powers alone are added up: of a row that is nearly certain both the value and the gradient
//! at its label are as small as that sum, and would be lost in a difference from 1.

#![forbid(unsafe_code)]

use std::ops::Add;

use crate::memory::mat::{Mat, MatMut};
use crate::parallel::stop::look;
use crate::simd::isa::MOST_LANES;
use crate::simd::math::exp;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// Rows whose values are added up by themselves before they join the others, so that sums of many rows round
/// no worse than those of a few.
const ROWS_OF_A_SUM: usize = 64;

/// The rows of a task.
pub(crate) struct CrossEntropyRows<'a, T> {
    pub logits: Mat<'a, T>,
    /// The column of each row, or `ignored`.
    pub labels: &'a [i64],
    pub ignored: Option<i64>,
    pub weights: Option<&'a [T]>,
    /// What gradients are multiplied by, beside the weight of their row.
    pub factor: f64,
    pub grad: Option<MatMut<'a, T>>,
}

/// What rows come to.
#[derive(Clone, Copy, Default)]
pub(crate) struct RowSums {
    /// The sum of the values, each times the weight of its row.
    pub value: f64,
    /// Rows whose label has the largest logit.
    pub correct: u64,
}

impl Add for RowSums {
    type Output = RowSums;

    fn add(self, other: RowSums) -> RowSums {
        RowSums { value: self.value + other.value, correct: self.correct + other.correct }
    }
}

impl<T: Real> Kernel<T> for CrossEntropyRows<'_, T> {
    type Output = RowSums;

    /// For each row x with label y, factor f and weight w; k runs over the other columns:
    ///
    /// ```text
    /// m      = max(max_k x_k, x_y)
    /// e_k    = exp(x_k - m)                  own = exp(x_y - m)
    /// others = sum of e_k
    /// value += w (ln(own + others) + (m - x_y))                  one of own and others is at least 1
    /// grad_k = e_k r        grad_y = -others r                   r = f w / (own + others)
    /// ```
    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) -> RowSums {
        let mut sums = RowSums::default();
        for start in (0..self.labels.len()).step_by(ROWS_OF_A_SUM) {
            look();
            let end = (start + ROWS_OF_A_SUM).min(self.labels.len());
            let mut part = RowSums::default();
            for i in start..end {
                let to = self.grad.as_mut().map(|grad| grad.row_mut(i));
                if self.ignored == Some(self.labels[i]) {
                    if let Some(to) = to {
                        to.fill(T::ZERO);
                    }
                    continue;
                }
                let weight = match self.weights {
                    Some(weights) => weights[i].to_f64(),
                    None => 1.0,
                };
                let row = Row { logits: self.logits.row(i), label: self.labels[i] as usize };
                let (value, correct) = row.run(s, self.factor * weight, to);
                part.value += weight * value;
                part.correct += u64::from(correct);
            }
            sums = sums + part;
        }
        sums
    }
}

/// A row, and the column that it should be largest in.
#[derive(Clone, Copy)]
struct Row<'a, T> {
    logits: &'a [T],
    label: usize,
}

impl<T: Real> Row<'_, T> {
    /// The value, and whether the label has the largest logit.
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S, factor: f64, to: Option<&mut [T]>) -> (f64, bool) {
        let (own_logit, largest_other) = (self.logits[self.label], self.largest_other(s));
        let largest = if largest_other < own_logit { own_logit } else { largest_other };
        let own = power(s, own_logit - largest);
        let others = match to {
            None => self.sum_of_others(s, largest, None),
            Some(to) => {
                let others = self.sum_of_others(s, largest, Some(&mut *to));
                let rate = T::from_f64(factor / (own + others).to_f64());
                for to in to.chunks_mut(S::LANES) {
                    s.store(s.load(to) * s.splat(rate), to);
                }
                to[self.label] = -(others * rate);
                others
            }
        };
        let (own, others) = (own.to_f64(), others.to_f64());
        let logarithm = if own == 1.0 { others.ln_1p() } else { (own + others).ln() };
        let value = logarithm + (largest.to_f64() - own_logit.to_f64());
        (value, largest_other < own_logit && !value.is_nan())
    }

    /// A vector of the logits from column `at` on, with negative infinity in place of the label's and past the
    /// end.
    #[inline(always)]
    fn others<S: Simd<T>>(self, s: S, at: usize) -> S::F {
        let x = s.load(&self.logits[at..]);
        let (left, lane) = (self.logits.len() - at, self.label.wrapping_sub(at));
        if left >= S::LANES && lane >= S::LANES {
            return x;
        }
        let mut others = s.first(left.min(S::LANES));
        if lane < S::LANES {
            others = others & !(s.first(lane + 1) & !s.first(lane));
        }
        s.select(others, x, s.splat(-T::INFINITY))
    }

    /// The largest logit beside the label's; negative infinity where there is none. NaN are passed over.
    #[inline(always)]
    fn largest_other<S: Simd<T>>(self, s: S) -> T {
        let mut largest = [s.splat(-T::INFINITY); 4];
        for start in (0..self.logits.len()).step_by(4 * S::LANES) {
            for k in 0..4 {
                let at = start + k * S::LANES;
                if at < self.logits.len() {
                    let x = self.others(s, at);
                    largest[k] = s.select(s.lt(largest[k], x), x, largest[k]);
                }
            }
        }
        let mut lanes = [-T::INFINITY; MOST_LANES];
        for k in 1..4 {
            largest[0] = s.select(s.lt(largest[0], largest[k]), largest[k], largest[0]);
        }
        s.store(largest[0], &mut lanes);
        let mut most = lanes[0];
        for &x in &lanes[1..S::LANES.min(self.logits.len())] {
            most = if most < x { x } else { most };
        }
        most
    }

    /// The sum of exp(x - largest) over the columns beside the label's. Writes each of them, and 0 at the label.
    #[inline(always)]
    fn sum_of_others<S: Simd<T>>(self, s: S, largest: T, mut to: Option<&mut [T]>) -> T {
        let mut sums = [s.splat(T::ZERO); 4];
        for start in (0..self.logits.len()).step_by(4 * S::LANES) {
            for k in 0..4 {
                let at = start + k * S::LANES;
                if at < self.logits.len() {
                    let power = exp(s, self.others(s, at) - s.splat(largest));
                    sums[k] = sums[k] + power;
                    if let Some(to) = &mut to {
                        s.store(power, &mut to[at..]);
                    }
                }
            }
        }
        s.sum((sums[0] + sums[1]) + (sums[2] + sums[3]))
    }
}

/// e^x, as lanes have it.
#[inline(always)]
fn power<T: Real, S: Simd<T>>(s: S, x: T) -> T {
    s.sum(s.select(s.first(1), exp(s, s.splat(x)), s.splat(T::ZERO)))
}
