//! What each call on a batch computes, against scalar formulas in `f64`: every tier, both precisions, the
//! shapes at which loops change their course, alignments and strides, and what is refused.

#[path = "../support/mod.rs"]
mod support;

mod all_pairs;
mod anchors;
mod cross;
mod cross_entropy;
mod distances;
mod hvp;
mod indexed;
mod mining;
mod nearest;
mod rows;
mod shown;
