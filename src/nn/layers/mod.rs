//! The layers, one file each: shape, parameters, and the passes that kernels make.

#![forbid(unsafe_code)]

pub(super) mod activation;
pub(crate) mod avg_pool;
pub(crate) mod conv2d;
pub(super) mod dense;
mod l2_normalize;
mod max_pool;
mod windows;

pub use activation::{Relu, ScaledTanh, Sigmoid, Tanh};
pub use avg_pool::{AvgPool2d, Subsample2d};
pub use conv2d::Conv2d;
pub use dense::Dense;
pub use l2_normalize::L2Normalize;
pub use max_pool::MaxPool2d;
