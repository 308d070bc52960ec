//! Which pairs of a batch are compared.
//!
//! A call here checks its arguments once, cuts the work into blocks whose number follows from the
//! shapes alone, runs a kernel for each block and adds the block results up in a fixed order: the
//! result is bit-identical for any number of threads.

#![forbid(unsafe_code)]

mod all_pairs;
mod cross;
mod distances;
mod hard;
mod hvp;
mod indexed;
mod matrix;
mod mined;
mod pair_list;
mod per_pair;
mod rounds;
mod rows;
pub(crate) mod search;
pub(crate) mod sets;
mod triplets;

pub use all_pairs::{AllPairsScratch, all_pairs};
pub use cross::{CrossOut, CrossScratch, CrossSimilar, cross};
pub use distances::{Distance, row_distances, row_distances_backward};
pub use hard::hard_pairs;
pub use hvp::{
    IndexedHvpOut, RowsHvpOut, TripletsHvpOut, all_pairs_hvp, cross_hvp, indexed_hvp, rows_hvp,
    triplet_rows_hvp,
};
pub use indexed::{IndexedOut, Scratch, indexed};
pub use matrix::distance_matrix;
pub use mined::{MinedScratch, Mining, triplets};
pub(crate) use pair_list::check_pairs;
pub use pair_list::{PairKinds, PairList};
pub use rows::{RowsOut, rows};
pub use triplets::{Triplets, TripletsOut, triplet_rows};

/// Bytes of memory traffic that are worth handing to another thread.
const TASK_BYTES: usize = 256 << 10;

/// The most tasks that a call is cut into.
const MOST_TASKS: usize = 64;

/// Rows of a task: a function of the shape alone, since it decides the order of addition.
pub(crate) fn task_rows(rows: usize, bytes_per_row: usize) -> usize {
    let rows = (TASK_BYTES / bytes_per_row.max(1)).max(rows.div_ceil(MOST_TASKS));
    rows.max(1).next_multiple_of(16)
}
