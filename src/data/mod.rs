//! Readers of data sets, behind the feature `data`.
//!
//! They return plain bytes and labels. Which pairs of these are similar is decided elsewhere.

#![forbid(unsafe_code)]

mod bytes;
pub mod idx;
pub mod norb;
