//! Which samples are similar: by labels, or by a graph of neighbours, of versions, or of a rule.

#![forbid(unsafe_code)]

pub(crate) mod graph;
mod knowledge;
pub(crate) mod subset;
