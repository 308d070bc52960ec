//! `batch::row_distances` and `batch::row_distances_backward` against a scalar twin in f64: every
//! distance, tier and precision, rows of all lengths at which a loop changes its course, any
//! alignment and stride; what they promise about zeros, NaN and nearly parallel rows; gradients
//! against central differences of the twin.

#![forbid(unsafe_code)]

mod batch;
mod derivatives;
mod formula;
mod invariance;
mod nearly_parallel;
mod refusals;
mod special_values;
mod twin;

use crate::support::serial;
use drlim::batch::Distance;

const DISTANCES: [Distance; 4] =
    [Distance::Euclidean, Distance::SquaredEuclidean, Distance::Dot, Distance::Cosine];

/// Row lengths around those at which loops change.
const COLS: [usize; 21] =
    [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 127, 128, 129, 257];
