//! Rows as anchors against blocks of candidates: running log-sums, and the gradients that follow from them.

#![forbid(unsafe_code)]

pub(crate) mod block;
pub(crate) mod strip;
pub(crate) mod sum;
pub(crate) mod weigh;
