//! `batch::cross` against a scalar f64 oracle over every pair of a query and a key, and against
//! `all_pairs` of both in one batch: every tier, both precisions, the shapes at which blocks end.

#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;

use drlim::loss::Reduction;
use drlim::{Cx, Isa, Par};

mod agreement;
mod outputs;
mod parts;
mod refusals;
mod sides;
mod special_values;

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
