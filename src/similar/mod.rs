//! Which samples are similar: by labels or by a graph.

#![forbid(unsafe_code)]

pub(crate) mod graph;
pub(crate) mod subset;
