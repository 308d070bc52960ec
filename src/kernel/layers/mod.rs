//! The layers' passes over a group of images or a block of rows, forward and backward.

#![forbid(unsafe_code)]

pub(crate) mod activation;
pub(crate) mod avg_pool;
pub(crate) mod conv;
pub(crate) mod dense;
pub(crate) mod max_pool;
pub(crate) mod normalize;
