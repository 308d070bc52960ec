//! Losses, gradients, distances and neighbours of batches of embeddings: a wing for each choice of pairs.
//!
//! A call here checks its arguments once, cuts the work into blocks whose number follows from the
//! shapes alone, runs a kernel for each block and adds the block results up in a fixed order: the
//! result is bit-identical for any number of threads.
//!
//! | wing | calls |
//! |---|---|
//! | `rows` | [`rows`], [`indexed`], [`triplet_rows`], [`row_distances`], [`hard_pairs`], [`cross_entropy`] |
//! | `pairwise` | [`all_pairs`], [`cross`], [`distance_matrix`] |
//! | `anchors` | [`all_anchors`], [`cross_anchors`] |
//! | `neighbours` | the searches of [`pairs`](crate::pairs) |
//! | `mining` | [`triplets`] |
//! | `hvp` | Hessian-vector products of `rows`, `indexed`, `all_pairs`, `cross` and `triplet_rows` |

#![forbid(unsafe_code)]

mod anchors;
pub(crate) mod blocking;
mod hvp;
mod mining;
pub(crate) mod neighbours;
pub(crate) mod pairwise;
pub(crate) mod rows;

pub use anchors::{
    AnchorScratch, Anchors, AnchorsOut, CrossAnchorsOut, all_anchors, cross_anchors,
};
pub use hvp::{
    IndexedHvpOut, RowsHvpOut, TripletRowsHvpOut, all_pairs_hvp, cross_hvp, indexed_hvp, rows_hvp,
    triplet_rows_hvp,
};
pub use mining::{Mining, MiningScratch, triplets};
pub use pairwise::{
    AllPairsScratch, CrossOut, CrossScratch, CrossSimilar, all_pairs, cross, distance_matrix,
};
pub(crate) use rows::check_pairs;
pub use rows::{
    CrossEntropy, CrossEntropyOutcome, Distance, IndexedOut, IndexedScratch, PairFlags, PairList,
    RowsOut, TripletRows, TripletRowsOut, cross_entropy, hard_pairs, indexed, row_distances,
    row_distances_backward, rows, triplet_rows,
};
