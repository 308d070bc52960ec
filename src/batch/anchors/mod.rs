//! Rows as anchors, each against all its candidates at once: the losses of the softmax family.

#![forbid(unsafe_code)]

mod all;
mod counts;
mod cross;
mod passes;
mod state;
mod strips;

pub use all::{AnchorsOut, all_anchors};
pub use cross::{Anchors, CrossAnchorsOut, cross_anchors};
pub use passes::AnchorScratch;
