//! Readers of data sets, behind the feature `data`.
//!
//! What they return is plain bytes and labels; which pairs of them are similar is decided elsewhere.

#![forbid(unsafe_code)]

mod bytes;
pub mod idx;
pub mod norb;
