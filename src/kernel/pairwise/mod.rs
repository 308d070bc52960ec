//! Every row of one set with every row of another: blocks of distances from a register tile, the slopes of
//! the pairs, and gradients as products of slopes and rows.

pub(crate) mod block;
pub(crate) mod block_planar;
pub(crate) mod center;
pub(crate) mod classes;
pub(crate) mod distance_matrix;
pub(crate) mod gradient;
pub(crate) mod gradients;
pub(crate) mod pack;
pub(crate) mod similarity;
pub(crate) mod tile;
pub(crate) mod tile_by_differences;
