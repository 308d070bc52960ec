//! A batch, and what its pairs cost: from every pair in scalar f64.

use drlim::batch::{AllPairsScratch, all_pairs};
use drlim::loss::{BlockLoss, Objective, Outcome, Reduction, Sums};
use drlim::{Cx, Mat, Similar};

use super::{MARGIN, serial};
use crate::support::element::wide;
use crate::support::oracle::Contrastive;
use crate::support::{Element, Guarded, Random, tiers};

/// A batch of rows, some of them in pairs.
pub struct Batch<T> {
    pub z: Vec<T>,
    pub shape: [usize; 2],
}

impl<T: Element> Batch<T> {
    pub fn new(shape: [usize; 2], value: impl FnMut(usize) -> f64) -> Self {
        let z = (0..shape[0] * shape[1]).map(value).map(T::from_f64).collect();
        Batch { z, shape }
    }

    /// Rows at distances around the margin.
    pub fn random(shape: [usize; 2], seed: u64) -> Self {
        let mut random = Random::new(seed);
        let reach = (1.5 / shape[1].max(1) as f64).sqrt();
        Batch::new(shape, |_| random.between::<f64>(-reach, reach))
    }

    pub fn z(&self) -> Mat<'_, T> {
        Mat::new(&self.z, self.shape[0], self.shape[1]).unwrap()
    }

    /// A call with the contrastive loss.
    pub fn run(&self, cx: &Cx, reduction: Reduction, similar: Similar) -> (Outcome, Vec<T>) {
        self.run_with(&*T::contrastive(MARGIN), cx, reduction, similar)
    }

    pub fn run_with(
        &self,
        loss: &dyn BlockLoss<T>,
        cx: &Cx,
        reduction: Reduction,
        similar: Similar,
    ) -> (Outcome, Vec<T>) {
        let objective = Objective::sum(loss).reduced(reduction);
        let [n, d] = self.shape;
        let mut grad = Guarded::output(1, [n, d], d + 1);
        let to = grad.mat_mut();
        let mut scratch = AllPairsScratch::new();
        let outcome = all_pairs(cx, &objective, self.z(), similar, Some(to), &mut scratch).unwrap();
        let alone = all_pairs(cx, &objective, self.z(), similar, None, &mut scratch).unwrap();
        assert_eq!(alone.value.to_bits(), outcome.value.to_bits(), "value alone");
        (outcome, grad.checked("grad"))
    }

    /// The outcome and, of each element of the gradient, value and size of the terms, from every pair
    /// in scalar f64.
    pub fn expected(&self, reduction: Reduction, similar: Similar) -> Expected {
        let [n, d] = self.shape;
        let twin = Contrastive::of::<T>(MARGIN);
        let rows: Vec<Vec<f64>> = self.z().iter().map(wide).collect();
        let mut sums = Sums::default();
        let mut pairs = Vec::new();
        for i in 0..n {
            for j in i + 1..n {
                let Some(similar) = similar.of(i, j) else { continue };
                let pair = twin.pair(&rows[i], &rows[j], similar);
                let kind = if similar { &mut sums.similar } else { &mut sums.dissimilar };
                kind.pairs += 1;
                kind.active += u64::from(pair.value != 0.0);
                kind.sum += pair.value;
                pairs.push((i, j, similar, pair));
            }
        }
        let (factors, epsilon) = (reduction.factors(&sums), T::EPSILON.to_f64());
        let mut grad = vec![(0.0, 0.0); n * d];
        for (i, j, similar, pair) in pairs {
            let slope = pair.slope * factors[usize::from(!similar)];
            // How far the slope may be off, as many times the rounding.
            let shaky = twin.tolerance(&pair, d, similar, epsilon).slope / epsilon;
            let shaky = shaky * factors[0].abs().max(factors[1].abs());
            for k in 0..d {
                let difference = rows[i][k] - rows[j][k];
                let (term, size) = (slope * difference, (slope.abs() + shaky) * difference.abs());
                for (row, term) in [(i, term), (j, -term)] {
                    grad[row * d + k].0 += term;
                    grad[row * d + k].1 += size;
                }
            }
        }
        Expected { sums, value: reduction.value(&sums), grad }
    }

    /// Compares a call on every tier with the oracle: the value within rounding, each element of the
    /// gradient within `rounding` times the largest sum of its terms' sizes.
    pub fn check(&self, reduction: Reduction, similar: Similar, rounding: f64) {
        let expected = self.expected(reduction, similar);
        let epsilon = T::EPSILON.to_f64();
        let largest = expected.grad.iter().fold(0.0_f64, |max, (_, size)| max.max(*size));
        for isa in tiers() {
            let (outcome, grad) = self.run(&serial(isa), reduction, similar);
            let [n, d] = self.shape;
            let case = format!("{n}x{d}, {}, {isa}, {reduction:?}", T::NAME);
            assert_eq!(outcome.pairs, expected.sums.similar.pairs + expected.sums.dissimilar.pairs);
            assert_eq!(outcome.similar, expected.sums.similar.pairs, "{case}");
            let allowed = 8.0 * (d as f64 + 80.0) * epsilon * (1.0 + expected.value.abs());
            let error = (outcome.value - expected.value).abs();
            assert!(error <= allowed, "{case}: value {}, {error:e} off", outcome.value);
            for (at, (got, (expected, _))) in grad.iter().zip(&expected.grad).enumerate() {
                let error = (got.to_f64() - expected).abs();
                let allowed = rounding * epsilon * largest + 1e-30 * largest;
                assert!(error <= allowed, "{case}: gradient {at} is {got}, expected {expected}");
            }
        }
    }
}

/// What a call must give.
pub struct Expected {
    pub sums: Sums,
    pub value: f64,
    /// Of each element its value, and the size of the terms that it is the sum of.
    pub grad: Vec<(f64, f64)>,
}
