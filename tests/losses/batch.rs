//! Pairs with their formula's costs, and the comparison of all that a call wrote with them.

use drlim::Cx;
use drlim::batch::{RowsOut, rows};
use drlim::loss::{Objective, Outcome, Pairing, Reduction};

use crate::counted::{Counted, factors};
use crate::outputs::Outputs;
use crate::support::element::wide;
use crate::support::formulas::{Cost, PairFormula};
use crate::support::oracle::squared_distance;
use crate::support::{Element, Guarded, Random};
use crate::{M, assert_near};

/// Pairs off the kinks of a loss, some with NaN in them and left out, and their formula's costs.
pub struct Batch<T> {
    pub inputs: [Guarded<T>; 2],
    pub similar: Vec<bool>,
    pub weights: Vec<T>,
    pub ignored: Vec<bool>,
    /// How far d² may be off, relative to itself.
    pub relative: f64,
    pub costs: Vec<Cost>,
}

impl<T: Element> Batch<T> {
    pub fn new(formula: PairFormula, [n, cols]: [usize; 2], gap: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let a = Guarded::new(1, [n, cols], cols + gap, |_, _| random.between::<T>(-1.0, 1.0));
        let mut b = Guarded::new(3, [n, cols], cols + gap, |i, k| a.row(i)[k]);
        let clear = |d: f64| formula.kinks().iter().all(|kink| (d - kink).abs() > 0.01 * kink);
        for i in 0..n {
            let direction: Vec<f64> = (0..cols).map(|_| random.between(-1.0, 1.0)).collect();
            let length = direction.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-3);
            let distance = loop {
                match random.between::<f64>(0.05, 2.0 * M) {
                    distance if clear(distance) => break distance,
                    _ => {}
                }
            };
            let mut mat = b.mat_mut();
            for (x, u) in mat.row_mut(i).iter_mut().zip(&direction) {
                *x += T::from_f64(distance * u / length);
            }
        }
        let similar: Vec<bool> = (0..n).map(|_| random.flag(0.25)).collect();
        // Some weights are 0, some negative.
        let weights = (0..n).map(|i| if i % 7 == 0 { T::ZERO } else { random.between(-1.0, 2.0) });
        let weights = weights.collect();
        let ignored = (0..n).map(|_| random.flag(0.2)).collect();
        let relative = (cols as f64 + 8.0) * T::EPSILON.to_f64();
        let costs = (0..n).map(|i| {
            let d2 = squared_distance(&wide(a.row(i)), &wide(b.row(i)));
            formula.cost::<T>(d2, similar[i], relative)
        });
        let costs = costs.collect();
        Batch { inputs: [a, b], similar, weights, ignored, relative, costs }
    }

    /// NaN or infinity somewhere in each pair that is left out, in the first or the second row.
    pub fn poison(&mut self) {
        for (i, _) in self.ignored.iter().enumerate().filter(|(_, ignored)| **ignored) {
            let mut mat = self.inputs[i % 2].mat_mut();
            let row = mat.row_mut(i);
            let k = i % row.len();
            row[k] = if i % 3 == 0 { T::INFINITY } else { T::NAN };
        }
    }

    pub fn pairing(&self, weighted: bool, ignoring: bool) -> Pairing<'_, T> {
        let pairing = Pairing::new(&self.similar);
        let pairing = if weighted { pairing.weighted(&self.weights) } else { pairing };
        if ignoring { pairing.ignoring(&self.ignored) } else { pairing }
    }

    pub fn run(
        &self,
        cx: &Cx,
        objective: &Objective<T>,
        pairing: Pairing<T>,
        out: RowsOut<T>,
    ) -> Outcome {
        let [a, b] = self.inputs.each_ref().map(Guarded::mat);
        rows(cx, objective, a, b, pairing, out).unwrap()
    }

    pub fn is_ignored(&self, of: Options, i: usize) -> bool {
        of.ignoring && self.ignored[i]
    }

    pub fn weight(&self, of: Options, i: usize) -> f64 {
        if of.weighted { self.weights[i].to_f64() } else { 1.0 }
    }

    /// What the pairs add up to by kind, and the sizes of their values and of the errors of these.
    pub fn sums(&self, of: Options) -> ([Counted; 2], [f64; 2]) {
        let (mut kinds, mut errors, mut sizes) = ([Counted::default(); 2], 0.0, 0.0);
        for (i, cost) in self.costs.iter().enumerate().filter(|(i, _)| !self.is_ignored(of, *i)) {
            let kind = &mut kinds[usize::from(!self.similar[i])];
            let value = self.weight(of, i) * cost.value;
            kind.pairs += 1;
            kind.active += u64::from(value != 0.0);
            kind.sum += value;
            errors += (self.weight(of, i) * cost.value_error).abs();
            sizes += value.abs();
        }
        (kinds, [errors, sizes])
    }

    /// Compares all that a call wrote with the formula.
    pub fn check(&self, out: &Outputs<T>, outcome: Outcome, of: Options, what: &str) {
        let epsilon = T::EPSILON.to_f64();
        let (kinds, [errors, sizes]) = self.sums(of);
        let [similar, dissimilar] = kinds;
        assert_eq!(
            [outcome.pairs, outcome.similar, outcome.active],
            [similar.pairs + dissimilar.pairs, similar.pairs, similar.active + dissimilar.active],
            "{what}: pairs, similar ones, active ones"
        );
        let factors = factors(of.reduction, kinds);
        let expected = factors[0] * similar.sum + factors[1] * dissimilar.sum;
        // Up to 64 values are added in a lane, and the lanes of a vector as a tree.
        let largest = factors[0].abs().max(factors[1].abs());
        let allowed = largest * (errors + 72.0 * epsilon * sizes);
        let error = (outcome.value - expected).abs();
        assert!(error <= allowed, "{what}: {}, not {expected} +- {allowed:e}", outcome.value);
        for (i, &cost) in self.costs.iter().enumerate() {
            let ignored = self.is_ignored(of, i);
            let factor = of.scale * factors[usize::from(!self.similar[i])];
            self.check_pair(out, i, cost, [self.weight(of, i), factor], ignored, what);
        }
        out.check_guards();
    }

    pub fn check_pair(
        &self,
        out: &Outputs<T>,
        i: usize,
        cost: Cost,
        [weight, factor]: [f64; 2],
        ignored: bool,
        what: &str,
    ) {
        let epsilon = T::EPSILON.to_f64();
        let [a, b] = self.inputs.each_ref().map(|input| wide(input.row(i)));
        let [value, slope, distance] =
            [&out.values, &out.slopes, &out.distances].map(|o| o.row(0)[i]);
        let d = squared_distance(&a, &b).sqrt();
        assert_near(distance, d, self.relative * d, format_args!("{what}: distance {i}"));
        let grads = out.grads.each_ref().map(|grad| grad.row(i));
        if ignored {
            assert_eq!((value, slope), (T::ZERO, T::ZERO), "{what}: pair {i} is left out");
            assert!(grads.iter().all(|row| row.iter().all(|&g| g == T::ZERO)), "{what}: {i}");
            return;
        }
        let error = weight.abs() * cost.value_error + epsilon * (weight * cost.value).abs();
        assert_near(value, weight * cost.value, error, format_args!("{what}: value {i}"));
        let expected = factor * weight * cost.slope;
        let error = (factor * weight).abs() * cost.slope_error + 4.0 * epsilon * expected.abs();
        assert_near(slope, expected, error, format_args!("{what}: slope {i}"));
        for k in 0..a.len() {
            let t = a[k] - b[k];
            let error =
                error * t.abs() + 2.0 * epsilon * (expected * t).abs() + T::MIN_POSITIVE.to_f64();
            assert_near(grads[0][k], expected * t, error, format_args!("{what}: grad_a {i}, {k}"));
            assert!(grads[1][k] == -grads[0][k], "{what}: grad_b {i}, {k}");
        }
    }
}

/// What a call is asked for beside a loss.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub reduction: Reduction,
    pub scale: f64,
    pub weighted: bool,
    pub ignoring: bool,
}
