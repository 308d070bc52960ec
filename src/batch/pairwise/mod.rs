//! Every row of a batch against every row of the same batch or of another: losses with gradients, and
//! distances alone.

#![forbid(unsafe_code)]

pub(crate) mod all_pairs;
pub(crate) mod blocks;
pub(crate) mod classes;
pub(crate) mod cross;
mod distance_matrix;
pub(crate) mod gradient;
pub(crate) mod packed_rows;
mod passes;
pub(crate) mod tournament;

pub use all_pairs::{AllPairsScratch, all_pairs};
pub use cross::{CrossOut, CrossScratch, CrossSimilar, cross};
pub use distance_matrix::distance_matrix;
