//! Every loss against its scalar formula, through calls by rows: values and slopes at the distances
//! where a formula changes its course, all reductions, weights, pairs left out, outputs on request,
//! and what is refused. On every tier, in both precisions, for rows of any length and stride, within
//! the caches and past them.

#![forbid(unsafe_code)]

#[path = "../support/mod.rs"]
mod support;

use crate::support::formulas::PairFormula;
use crate::support::{Element, REDUCTIONS, serial, tiers};
use drlim::Isa;

mod anchors;
mod batch;
mod counted;
mod gradcheck;
mod outputs;
mod properties;
mod reductions;
mod refusals;
mod rows;
mod sigmoid;
mod triplets;

/// Margins whose squares and halves are exact, so that a distance can lie exactly at one.
const P: f64 = 0.5;
const M: f64 = 1.25;

/// Row lengths: planar kernels, less than a vector, whole and split ones.
const COLS: [usize; 7] = [1, 2, 3, 5, 16, 33, 100];

/// Each of these on each tier.
fn on_tiers<X: Clone>(of: impl IntoIterator<Item = X>) -> impl Iterator<Item = (X, Isa)> {
    of.into_iter().flat_map(|x| tiers().into_iter().map(move |isa| (x.clone(), isa)))
}

/// That of a loss without margins.
const SIGMOID: PairFormula = PairFormula::Sigmoid { a: 2.0, b: -0.5 };

/// Each loss once, with its kinks at distances P and M.
fn formulas() -> Vec<PairFormula> {
    let with_margins = PairFormula::all(P, M).map(|formula| match formula {
        PairFormula::SquaredHinge { .. } => PairFormula::SquaredHinge { m: M * M },
        PairFormula::CosineContrastive { .. } => PairFormula::CosineContrastive { m: M * M / 2.0 },
        other => other,
    });
    with_margins.into_iter().chain([SIGMOID]).collect()
}

/// Compares a number with a formula's; NaN and infinities must be the formula's own.
fn assert_near<T: Element>(got: T, expected: f64, error: f64, what: std::fmt::Arguments) {
    let got = got.to_f64();
    let same = got == expected || got.is_nan() && expected.is_nan();
    let near = expected.is_finite() && (got - expected).abs() <= error;
    assert!(same || near, "{} {what} is {got:e}, expected {expected:e} +- {error:e}", T::NAME);
}
