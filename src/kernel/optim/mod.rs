//! Passes over a whole vector of parameters or gradients: steps of the optimizers, and clipping.

#![forbid(unsafe_code)]

pub(crate) mod clip;
pub(crate) mod update;
