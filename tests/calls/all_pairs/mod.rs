//! `batch::all_pairs` against a scalar f64 oracle over every pair: every tier, both precisions, the
//! shapes at which blocks and tiles end, and the batches on which faster formulas go wrong.

#![forbid(unsafe_code)]

use crate::support::{REDUCTIONS, serial};

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
