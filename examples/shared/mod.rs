//! What the examples share: the command line's habits, digits, the paper's net, figures, results on disk.
//!
//! Each example takes it in by `mod shared;` and uses a part of it.

#![allow(dead_code, reason = "each example uses a part")]

pub mod digits;
pub mod figure;
pub mod lle;
pub mod net;
pub mod output;
pub mod panel;
pub mod pca;
pub mod points;
pub mod progress;
pub mod sprites;
pub mod start;

/// What went wrong, in words that fit on one line.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
