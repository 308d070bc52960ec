//! Who is similar to whom: labels, or a graph of neighbours, of versions, or by a rule.

#![forbid(unsafe_code)]

pub(crate) mod graph;
mod knowledge;
pub(crate) mod subset;
