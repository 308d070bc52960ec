//! Loops over lanes. Each file is one computation on data that its caller has checked, cut to a
//! block and assigned to a thread; nothing here splits work or returns an error.
//!
//! | wing | its loops |
//! |---|---|
//! | `rows` | row i with row i, or the pairs of a list: bound by memory |
//! | `pairwise` | every row with every row, in register tiles |
//! | `anchors` | log-sums of rows over all their candidates, weights and gradients, strips |
//! | `neighbours` | the k nearest or farthest rows of each row |
//! | `mining` | the triplets of a labelled batch |
//! | `hvp` | Hessian-vector products of rows, lists, all pairs and triplets by rows |
//! | `gemm` | the matrix products of layers and of gradients |
//! | `layers` | layers, forward and backward |
//! | `optim` | one pass over parameters, gradients and moments |
//!
//! A wing has the same name in [`batch`](crate::batch), where its work is cut. `docs/design.md` has
//! drawings of how all pairs are cut, of the layouts of rows, and the bound of a distance.

pub(crate) mod anchors;
pub(crate) mod blocking;
pub(crate) mod gemm;
pub(crate) mod hvp;
pub(crate) mod layers;
pub(crate) mod mining;
pub(crate) mod neighbours;
pub(crate) mod optim;
pub(crate) mod pairwise;
pub(crate) mod reduce;
pub(crate) mod rows;
pub(crate) mod shown;
pub(crate) mod vector;
