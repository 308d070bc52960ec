//! A loss as properties see it: a batch goes in, values and gradients come out, and the loss itself
//! says how far rounding may move them.

#![forbid(unsafe_code)]

use proptest::test_runner::{TestCaseError, TestCaseResult};

use super::batch::{Batch, Embeddings};
use crate::loss::Outcome;
use crate::simd::real::Real;

/// The results of a call on a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Results<T, const N: usize> {
    pub outcome: Outcome,
    /// The value of every tuple.
    pub values: Vec<T>,
    pub grads: [Embeddings<T>; N],
}

/// A loss of tuples of `N` rows, in elements of type `T` and once more in `f64`.
pub trait Evaluate<T: Real, const N: usize> {
    /// The squared distances that the loss sees, each by the two matrices that it is between.
    const BETWEEN: &'static [(usize, usize)];

    /// The sum over a batch, with values and gradients.
    fn run(&self, batch: &Batch<T, N>) -> Result<Results<T, N>, TestCaseError>;

    /// [`run`](Evaluate::run) in `f64`.
    fn run_exact(&self, batch: &Batch<f64, N>) -> Result<Results<f64, N>, TestCaseError>;

    /// Value and slopes of a tuple at these distances, in `f64`. Slopes that the tuple does not have are 0.
    fn at(&self, distances: [f64; 3], similar: bool) -> (f64, [f64; 3]);

    /// Checks the properties that only losses of such tuples have.
    fn own(&self, batch: &Batch<T, N>) -> TestCaseResult;
}

/// How far apart two results of one tuple may be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tolerance {
    pub value: f64,
    /// For any element of its gradients.
    pub gradient: f64,
    /// The size of the terms that gradients are the sums of.
    pub terms: f64,
}

/// Roundings on the way through a formula.
const ROUNDINGS: f64 = 16.0;

/// The effect of rounding on each tuple of a batch whose elements may also be off by `moved`.
///
/// D roundings and a few more on the way to a distance change it by that many epsilons, relative to itself,
/// and elements that are off by up to sqrt(D) times as much. The loss itself shows the effect on values and
/// slopes, at distances that are off by so much: near the margin of the contrastive loss a value is off by
/// more than its own epsilons, beyond it by nothing.
pub(super) fn tolerances<T: Real, const N: usize, E: Evaluate<T, N> + ?Sized>(
    loss: &E,
    batch: &Batch<T, N>,
    moved: f64,
) -> Vec<Tolerance> {
    (0..batch.len()).map(|i| tolerance::<T, T, N, E>(loss, batch, i, moved)).collect()
}

/// [`tolerances`] for tuple `i`, under a call in elements of type `U`.
pub(super) fn tolerance<T: Real, U: Real, const N: usize, E: Evaluate<T, N> + ?Sized>(
    loss: &E,
    batch: &Batch<T, N>,
    i: usize,
    moved: f64,
) -> Tolerance {
    let (similar, cols, epsilon) = (batch.similar[i], batch.cols() as f64, U::EPSILON.to_f64());
    let mut distances = [0.0; 3];
    for (d, &between) in distances.iter_mut().zip(E::BETWEEN) {
        *d = batch.distance(i, between);
    }
    let (value, slopes) = loss.at(distances, similar);
    let mut value_error = ROUNDINGS * epsilon * value.abs();
    let mut slope_errors = slopes.map(|slope| ROUNDINGS * epsilon * slope.abs());
    for k in 0..E::BETWEEN.len() {
        let error = (cols + 8.0) * epsilon * distances[k] + 2.0 * cols.sqrt() * moved;
        for nearby in [distances[k] - error, distances[k] + error] {
            let mut distances = distances;
            distances[k] = nearby.max(0.0);
            let (value_there, slopes_there) = loss.at(distances, similar);
            value_error += (value_there - value).abs();
            for (error, (there, here)) in
                slope_errors.iter_mut().zip(slopes_there.iter().zip(slopes))
            {
                *error += (there - here).abs();
            }
        }
    }
    let mut tolerance = Tolerance { value: value_error, ..Tolerance::default() };
    for ((slope, error), d) in slopes.iter().zip(slope_errors).zip(distances) {
        // A slope times a difference, each with its own error, and the sum of two such.
        let of_slope = (error + 4.0 * epsilon * slope.abs()) * d;
        tolerance.gradient += of_slope + slope.abs() * 2.0 * cols.sqrt() * moved;
        tolerance.terms += slope.abs() * d;
    }
    tolerance
}

/// Compares two numbers; a NaN is near nothing.
///
/// # Errors
/// Where they are further apart than is allowed.
pub(super) fn near(
    what: std::fmt::Arguments,
    got: f64,
    expected: f64,
    allowed: f64,
) -> TestCaseResult {
    let error = (got - expected).abs();
    if error <= allowed {
        return Ok(());
    }
    Err(TestCaseError::fail(format!(
        "{what} is {got:e}, expected {expected:e}: off by {error:e}, where {allowed:e} is allowed"
    )))
}
