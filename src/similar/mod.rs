//! Who is similar to whom: labels or a graph.

#![forbid(unsafe_code)]

pub(crate) mod graph;
pub(crate) mod subset;
