//! The k nearest or farthest rows of each row: candidates from register tiles, decided by differences.

#![forbid(unsafe_code)]

pub(crate) mod by_differences;
pub(crate) mod by_tiles;
pub(crate) mod shortlist;
pub(crate) mod top_k;
