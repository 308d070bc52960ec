//! `batch::all_pairs` against a scalar f64 oracle over every pair: every tier, both precisions, the
//! shapes at which blocks and tiles end, and the batches on which faster formulas go wrong.

#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;

use drlim::loss::Reduction;
use drlim::{Cx, Isa, Par};

mod agreement;
mod batch;
mod distances;
mod large;
mod margins;
mod precision;
mod pull;
mod quiet;
mod refusals;
mod skipping;
mod special_values;
mod threads;

const MARGIN: f64 = 1.0;

/// Every reduction, `Factors` with factors that no count gives.
const REDUCTIONS: [Reduction; 6] = [
    Reduction::Sum,
    Reduction::Mean,
    Reduction::MeanNonZero,
    Reduction::Balanced,
    Reduction::BalancedNonZero,
    Reduction::Factors { similar: 0.25, dissimilar: -3.0 },
];

fn serial(isa: Isa) -> Cx {
    Cx { isa, par: Par::Serial }
}
