//! Row i of one matrix with row i of another, and the pairs of a list: losses, distances, triplets. Rows of
//! logits with their labels.

#![forbid(unsafe_code)]

mod cross_entropy;
mod distances;
mod hard_pairs;
pub(crate) mod list;
pub(crate) mod pair_list;
pub(crate) mod pair_outputs;
pub(crate) mod pairs;
pub(crate) mod triplets;

pub use cross_entropy::{CrossEntropy, CrossEntropyOutcome, cross_entropy};
pub use distances::{Distance, row_distances, row_distances_backward};
pub use hard_pairs::hard_pairs;
pub use list::{IndexedOut, IndexedScratch, indexed};
pub(crate) use pair_list::check_pairs;
pub use pair_list::{PairFlags, PairList};
pub use pairs::{RowsOut, rows};
pub use triplets::{TripletRows, TripletRowsOut, triplet_rows};
