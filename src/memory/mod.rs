//! Views of a caller's memory, and buffers of the crate's own.

pub(crate) mod aligned;
pub(crate) mod mat;
#[cfg(feature = "ndarray-0_17")]
mod ndarray;
pub(crate) mod reserve;
