//! The properties of losses, written once for pairs and triplets.

#![forbid(unsafe_code)]

use proptest::test_runner::{TestCaseError, TestCaseResult};

use super::batch::Batch;
use super::evaluate::{Evaluate, Results, Tolerance, near, tolerance, tolerances};
use crate::rng::Rng;
use crate::simd::real::Real;

/// Steps of central differences and of descent, relative to the smallest distance of a tuple. At the
/// first, differences are off by 1e-8 of a slope for the curvature of their function, and by as much
/// at most for the rounding of values; the second keeps within the 2 % that batches are clear of
/// kinks.
const DIFFERENCE: f64 = 1e-4;
const DESCENT: f64 = 1e-3;

/// Rotations of two coordinates each.
const ROTATIONS: usize = 4;

/// Properties that every loss has on a batch, and some that not every loss has. A
/// [`PairCheck`](super::PairCheck) and a [`TripletCheck`](super::TripletCheck) are losses with these
/// properties.
///
/// Each method is one of them, and fails with what is wrong where the loss lacks it. The batches must keep
/// off the kinks of the loss, as those of [`pair_batches`](super::pair_batches) and
/// [`triplet_batches`](super::triplet_batches) do. A property makes its random choices by the seed of the
/// batch.
///
/// No tolerance is a fixed number: each follows from D, the precision, and the loss at distances that
/// are off by as much as rounding makes them.
pub trait Properties<T: Real, const N: usize>: Evaluate<T, N> {
    /// All that a loss of distances must have: [`gradient`](Properties::gradient),
    /// [`permutation`](Properties::permutation), [`translation`](Properties::translation),
    /// [`rotation`](Properties::rotation), [`additivity`](Properties::additivity),
    /// [`descent`](Properties::descent), and of pairs [`swap`](super::PairCheck::swap),
    /// [`list`](super::PairCheck::list), [`reach`](super::PairCheck::reach) and
    /// [`similar_slope`](super::PairCheck::similar_slope).
    fn all(&self, batch: &Batch<T, N>) -> TestCaseResult {
        self.gradient(batch)?;
        self.permutation(batch)?;
        self.translation(batch)?;
        self.rotation(batch)?;
        self.additivity(batch)?;
        self.descent(batch)?;
        self.own(batch)
    }

    /// Gradients are the central differences of the loss's own values, in `f64`.
    fn gradient(&self, batch: &Batch<T, N>) -> TestCaseResult {
        let results = self.run(batch)?;
        let wide = batch.rounded::<f64>();
        let steps = (0..batch.len()).map(|i| DIFFERENCE * smallest_distance(self, batch, i));
        let steps: Vec<f64> = steps.collect();
        let values = |m: usize, k: usize, multiple: f64| {
            let moved = wide.map_rows(|matrix, i, row| {
                row[k] += if matrix == m { multiple * steps[i] } else { 0.0 };
            });
            Ok::<_, TestCaseError>(self.run_exact(&moved)?.values)
        };
        let tolerances: Vec<[Tolerance; 2]> = (0..batch.len())
            .map(|i| {
                let of_gradient = tolerance::<T, T, N, Self>(self, batch, i, 0.0);
                [of_gradient, tolerance::<T, f64, N, Self>(self, batch, i, 0.0)]
            })
            .collect();
        // Tuples do not know of each other, so one element of each can move at the same time.
        for m in 0..N {
            for k in 0..batch.cols() {
                let [above, below] = [values(m, k, 1.0)?, values(m, k, -1.0)?];
                let [far_above, far_below] = [values(m, k, 2.0)?, values(m, k, -2.0)?];
                for (i, [of_gradient, of_values]) in tolerances.iter().enumerate() {
                    let numeric = (above[i] - below[i]) / (2.0 * steps[i]);
                    let coarse = (far_above[i] - far_below[i]) / (4.0 * steps[i]);
                    // The curvature of a function shows in how two steps differ. That of a loss
                    // without a derivative here would show too, and is not excused.
                    let curved = (numeric - coarse).abs().min(1e-3 * of_values.terms);
                    let rounded = of_values.value / steps[i];
                    let got = results.grads[m].wide_row(i)[k];
                    let what = format_args!("the gradient of row {i} of input {m}, element {k},");
                    near(what, got, numeric, of_gradient.gradient + curved + rounded)?;
                }
            }
        }
        Ok(())
    }

    /// A permutation of the rows of all matrices permutes values and gradients, to the bit.
    fn permutation(&self, batch: &Batch<T, N>) -> TestCaseResult {
        let mut places: Vec<usize> = (0..batch.len()).collect();
        batch.rng(0).shuffle(&mut places);
        let permuted = self.run(&batch.pick(&places))?;
        same_rows(&permuted, &self.run(batch)?.pick(&places), "of permuted rows")
    }

    /// Only differences count: all embeddings can be moved by one vector.
    fn translation(&self, batch: &Batch<T, N>) -> TestCaseResult {
        let (size, mut rng) = (batch.size(), batch.rng(1));
        let shift: Vec<f64> =
            (0..batch.cols()).map(|_| 4.0 * size * (rng.uniform() - 0.5)).collect();
        let moved = batch.map_rows(|_, _, row| {
            row.iter_mut().zip(&shift).for_each(|(x, shift)| *x += shift);
        });
        let tolerances = tolerances(self, batch, T::EPSILON.to_f64() * 3.0 * size);
        let still = self.run(batch)?.rounded();
        near_rows(&self.run(&moved)?, &still, &tolerances, "after a translation")
    }

    /// Only distances count: all embeddings can be rotated, and gradients rotate along. (Those of
    /// one column are reflected.)
    fn rotation(&self, batch: &Batch<T, N>) -> TestCaseResult {
        let turns = Turn::random(batch.rng(2), batch.cols());
        let turn = |row: &mut [f64]| turns.iter().for_each(|turn| turn.apply(row));
        let rotated = batch.map_rows(|_, _, row| turn(row));
        let longest = (batch.cols() as f64).sqrt() * batch.size();
        let tolerances = tolerances(self, batch, 2.0 * T::EPSILON.to_f64() * longest);
        let mut still = self.run(batch)?.rounded();
        still.grads = still.grads.map(|grad| grad.map_rows(|_, row| turn(row)));
        near_rows(&self.run(&rotated)?, &still, &tolerances, "after a rotation")
    }

    /// With all embeddings times `factor`, above 0, and `scaled`, the same loss with its margins to
    /// match, values are multiplied by `factor` to the power of `degree`, and gradients by one power
    /// less. The contrastive loss has degree 2, and its margin is to be multiplied by `factor`.
    fn scaling(
        &self,
        batch: &Batch<T, N>,
        factor: f64,
        scaled: &Self,
        degree: i32,
    ) -> TestCaseResult
    where
        Self: Sized,
    {
        let larger = batch.map_rows(|_, _, row| row.iter_mut().for_each(|x| *x *= factor));
        let (by_value, by_gradient) = (factor.powi(degree), factor.powi(degree - 1));
        let mut tolerances = tolerances(self, batch, T::EPSILON.to_f64() * batch.size());
        for tolerance in &mut tolerances {
            tolerance.value *= by_value;
            tolerance.gradient *= by_gradient;
        }
        let mut expected = self.run(batch)?.rounded();
        expected.values.iter_mut().for_each(|value| *value *= by_value);
        expected.grads = expected
            .grads
            .map(|grad| grad.map_rows(|_, row| row.iter_mut().for_each(|x| *x *= by_gradient)));
        near_rows(&scaled.run(&larger)?, &expected, &tolerances, "at another scale")
    }

    /// A batch is the sum of its tuples, and of any two parts of it; its tuples do not know of each
    /// other, so values and gradients of the parts are those of the whole, to the bit.
    fn additivity(&self, batch: &Batch<T, N>) -> TestCaseResult {
        let whole = self.run(batch)?;
        let at = batch.rng(3).below(batch.len() as u64 + 1) as usize;
        let (mut pairs, mut similar, mut active, mut value) = (0, 0, 0, 0.0);
        for places in [(0..at).collect::<Vec<_>>(), (at..batch.len()).collect()] {
            let part = self.run(&batch.pick(&places))?;
            same_rows(&part, &whole.pick(&places), "of a part")?;
            pairs += part.outcome.pairs;
            similar += part.outcome.similar;
            active += part.outcome.active;
            value += part.outcome.value;
        }
        let counts = [whole.outcome.pairs, whole.outcome.similar, whole.outcome.active];
        if counts != [pairs, similar, active] {
            return Err(TestCaseError::fail(format!(
                "pairs, similar and active ones are {counts:?}, those of two parts {:?}",
                [pairs, similar, active]
            )));
        }
        let of_tuples: f64 = whole.values.iter().map(|value| value.to_f64()).sum();
        let allowed = sum_rounding(&whole);
        near(format_args!("the sum of two parts"), value, whole.outcome.value, 2.0 * allowed)?;
        near(format_args!("the sum of all values"), of_tuples, whole.outcome.value, allowed)
    }

    /// No value is below 0. (A loss may well have such values, so this is not one of
    /// [`all`](Properties::all).)
    fn not_negative(&self, batch: &Batch<T, N>) -> TestCaseResult {
        for (i, value) in self.run(batch)?.values.into_iter().enumerate() {
            if value < T::ZERO || value.is_nan() {
                return Err(TestCaseError::fail(format!("the value of row {i} is {value}")));
            }
        }
        Ok(())
    }

    /// A small enough step against the gradient lowers the loss, by what the gradient promises.
    fn descent(&self, batch: &Batch<T, N>) -> TestCaseResult {
        let before = self.run(batch)?;
        let (mut step, mut squared) = (f64::INFINITY, 0.0);
        for i in 0..batch.len() {
            let norms = before.grads.each_ref().map(|grad| squared_norm(&grad.wide_row(i)));
            squared += norms.iter().sum::<f64>();
            let speed: f64 = norms.iter().map(|norm| norm.sqrt()).sum();
            step = step.min(DESCENT * smallest_distance(self, batch, i) / speed);
        }
        if squared == 0.0 {
            return Ok(());
        }
        let moved = batch.map_rows(|m, i, row| {
            let grad = before.grads[m].wide_row(i);
            row.iter_mut().zip(grad).for_each(|(x, grad)| *x -= step * grad);
        });
        let after = self.run(&moved)?;
        let tolerances = tolerances(self, batch, T::EPSILON.to_f64() * batch.size());
        let rounding = tolerances.iter().map(|tolerance| tolerance.value).sum::<f64>();
        let allowed = 2.0 * (rounding + sum_rounding(&before));
        let (promised, lowered) = (step * squared, before.outcome.value - after.outcome.value);
        // The slope on the way is that of the start, but for some curvature.
        near(format_args!("what a step lowers"), lowered, promised, 0.5 * promised + allowed)
    }
}

/// The smallest of the distances that a loss sees of a tuple.
fn smallest_distance<T: Real, const N: usize, E: Evaluate<T, N> + ?Sized>(
    _: &E,
    batch: &Batch<T, N>,
    i: usize,
) -> f64 {
    let distances = E::BETWEEN.iter().map(|&between| batch.distance(i, between));
    distances.fold(f64::INFINITY, f64::min)
}

fn squared_norm(of: &[f64]) -> f64 {
    of.iter().map(|x| x * x).sum()
}

/// A rotation in the plane of two coordinates; where both are the same, a reflection.
struct Turn {
    plane: (usize, usize),
    sin: f64,
    cos: f64,
}

impl Turn {
    fn random(mut rng: Rng, cols: usize) -> [Turn; ROTATIONS] {
        std::array::from_fn(|_| {
            let mut below = |n: usize| rng.below(n.max(1) as u64) as usize;
            let first = below(cols);
            let second = (first + 1 + below(cols.saturating_sub(1))) % cols.max(1);
            let (sin, cos) = (std::f64::consts::TAU * rng.uniform()).sin_cos();
            Turn { plane: (first, second), sin, cos }
        })
    }

    fn apply(&self, row: &mut [f64]) {
        let &Turn { plane: (i, j), sin, cos } = self;
        if i == j {
            row.iter_mut().for_each(|x| *x = -*x);
        } else {
            (row[i], row[j]) = (cos * row[i] - sin * row[j], sin * row[i] + cos * row[j]);
        }
    }
}

impl<T: Real, const N: usize> Results<T, N> {
    fn pick(&self, places: &[usize]) -> Self {
        Results {
            outcome: self.outcome,
            values: places.iter().map(|&i| self.values[i]).collect(),
            grads: self.grads.each_ref().map(|grad| grad.pick(places)),
        }
    }

    /// These results in `f64`.
    fn rounded(&self) -> Results<f64, N> {
        Results {
            outcome: self.outcome,
            values: self.values.iter().map(|value| value.to_f64()).collect(),
            grads: self.grads.each_ref().map(|grad| grad.map_rows(|_, _| {})),
        }
    }
}

/// How far off a sum may be: each addition rounds once, to no more than the sum of all sizes.
fn sum_rounding<T: Real, const N: usize>(results: &Results<T, N>) -> f64 {
    let sizes: f64 = results.values.iter().map(|value| value.to_f64().abs()).sum();
    results.values.len() as f64 * T::EPSILON.to_f64() * sizes
}

/// Compares values and gradients, which must be equal.
pub(super) fn same_rows<T: Real, const N: usize>(
    got: &Results<T, N>,
    expected: &Results<T, N>,
    when: &str,
) -> TestCaseResult {
    let tolerances = vec![Tolerance::default(); got.values.len()];
    near_rows(got, &expected.rounded(), &tolerances, when)
}

/// Compares values, gradients and their sum.
pub(super) fn near_rows<T: Real, const N: usize>(
    got: &Results<T, N>,
    expected: &Results<f64, N>,
    tolerances: &[Tolerance],
    when: &str,
) -> TestCaseResult {
    for (i, tolerance) in tolerances.iter().enumerate() {
        let what = format_args!("the value of row {i} {when}");
        near(what, got.values[i].to_f64(), expected.values[i], tolerance.value)?;
        for m in 0..N {
            let (grad, expected) = (got.grads[m].wide_row(i), expected.grads[m].wide_row(i));
            for (k, (grad, expected)) in grad.iter().zip(expected).enumerate() {
                let what =
                    format_args!("the gradient of row {i} of input {m}, element {k}, {when}");
                near(what, *grad, expected, tolerance.gradient)?;
            }
        }
    }
    Ok(())
}
