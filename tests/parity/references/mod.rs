//! Values and gradients against PyTorch's autograd in f64: one module for each reference file.
//!
//! Every case of a file is computed on every tier in both precisions. See `support/reference.rs` for
//! the files, the tolerances and how to point the tests at other ones.

#![forbid(unsafe_code)]

mod all_pairs;
mod drlim_net;
mod layers;
mod optimizers;
mod pair_losses;
mod parity;
mod row_losses;
mod triplets;
