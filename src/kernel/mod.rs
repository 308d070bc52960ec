//! Loops over lanes. Each file is one computation on data that its caller has checked, cut to a
//! block and assigned to a thread; nothing here splits work or returns an error.

pub(crate) mod add_up;
pub(crate) mod all_pairs;
pub(crate) mod all_pairs_planar;
pub(crate) mod anchors;
pub(crate) mod blocks;
pub(crate) mod classes;
pub(crate) mod columns;
pub(crate) mod conv;
pub(crate) mod dense;
pub(crate) mod direct;
pub(crate) mod distances;
pub(crate) mod dots;
pub(crate) mod elementwise;
pub(crate) mod gradient;
pub(crate) mod gradients;
pub(crate) mod indexed;
pub(crate) mod kinds;
pub(crate) mod large;
pub(crate) mod lists;
pub(crate) mod matrix;
pub(crate) mod max_pool;
pub(crate) mod mined;
pub(crate) mod nearest;
pub(crate) mod normalize;
pub(crate) mod planar;
pub(crate) mod pool;
pub(crate) mod product;
pub(crate) mod rows;
pub(crate) mod search;
pub(crate) mod strip;
pub(crate) mod tally;
pub(crate) mod tile;
pub(crate) mod transpose;
pub(crate) mod triplets;
pub(crate) mod update;
