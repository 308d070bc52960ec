//! What happens to a whole vector of parameters or gradients at once.

#![forbid(unsafe_code)]

pub(crate) mod clip;
pub(crate) mod update;
