//! `batch::cross` against a scalar f64 oracle over every pair of a query and a key, and against
//! `all_pairs` of both in one batch: every tier, both precisions, the shapes at which blocks end.

#![forbid(unsafe_code)]

use crate::support::{REDUCTIONS, serial};

mod agreement;
mod outputs;
mod parts;
mod refusals;
mod sides;
mod special_values;

const MARGIN: f64 = 1.0;
