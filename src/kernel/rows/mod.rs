//! Row i of one matrix with row i of another, and the pairs of a list: each row is read once, so these
//! loops are as fast as memory is.

pub(crate) mod cross_entropy;
pub(crate) mod distances;
pub(crate) mod list;
pub(crate) mod pair_blocks;
pub(crate) mod pairs;
pub(crate) mod planar;
pub(crate) mod streaming;
pub(crate) mod triplets;
