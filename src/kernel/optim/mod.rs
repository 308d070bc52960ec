//! What happens to a whole vector of parameters or gradients at once.

pub(crate) mod clip;
pub(crate) mod update;
