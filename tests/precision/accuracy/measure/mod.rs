//! How far every kernel is from the exact result, on every tier, over inputs that are hard on it.
//!
//! The tests assert the bounds over a small plan, the example prints the worst of a large one. What is
//! exact is computed in double-double, for both element types.

#![allow(dead_code, reason = "tests and example each use a part")]

pub mod anchors;
pub mod batches;
pub mod bounds;
pub mod distances;
pub mod formulas;
pub mod functions;
pub mod inputs;
pub mod layers;
pub mod optimizers;
pub mod pairs;
pub mod record;
pub mod row_losses;
pub mod specials;

use crate::support::serial;
use record::Record;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Elements of a row.
    pub dims: &'static [usize],
    /// Pairs, triplets or samples of a call by rows.
    pub rows: usize,
    /// Elements of a row, in batches of which all pairs are looked at.
    pub batch_dims: &'static [usize],
    /// Rows of such a batch.
    pub batch: usize,
    /// Arguments of each class for functions of one number.
    pub arguments: usize,
}

impl Plan {
    /// What the example measures.
    pub fn full(seed: u64) -> Self {
        Plan {
            seed,
            dims: &[1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 33, 63, 100, 128, 257, 768],
            rows: 24,
            batch_dims: &[2, 3, 7, 17, 33, 128],
            batch: 80,
            arguments: 40_000,
        }
    }

    /// What a test has time for.
    pub fn small(seed: u64) -> Self {
        Plan {
            seed,
            dims: &[1, 2, 3, 7, 17, 33, 100, 257],
            rows: 12,
            batch_dims: &[2, 3, 17, 33],
            batch: 48,
            arguments: 2_000,
        }
    }
}

/// A part of the crate that is measured at once.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    pub name: &'static str,
    /// In `f32`, in `f64`.
    pub measure: [fn(&Plan, &mut Record); 2],
}

macro_rules! kernels {
    ($($name:literal: $module:ident::$function:ident;)*) => {
        /// Every kernel that is measured.
        pub const KERNELS: &[Kernel] = &[$(Kernel {
            name: $name,
            measure: [$module::$function::<f32>, $module::$function::<f64>],
        }),*];
    };
}

kernels! {
    "functions": functions::functions;
    "row_distances": distances::row_distances;
    "cross_entropy": row_losses::cross_entropy;
    "rows": pairs::rows_of_pairs;
    "sums": pairs::sums;
    "indexed": pairs::lists;
    "triplet_rows": pairs::triplets_by_rows;
    "all_pairs": batches::pairs_of_a_batch;
    "cross": batches::pairs_across;
    "all_anchors": anchors::of_one_batch;
    "cross_anchors": anchors::of_two_batches;
    "triplets": batches::mined;
    "distance_matrix": batches::matrix;
    "nearest": batches::neighbours;
    "dense": layers::dense;
    "conv2d": layers::convolutions;
    "pooling": layers::pooling;
    "l2_normalize": layers::normalize;
    "optimizers": optimizers::steps;
    "clip_norm": optimizers::norms;
}
