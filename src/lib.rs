//! Contrastive learning by hand: SIMD kernels without autodiff.

pub mod batch;
mod cx;
#[cfg(feature = "data")]
pub mod data;
pub mod error;
pub mod gradcheck;
mod graph;
pub mod init;
mod isa;
mod kernel;
#[doc(hidden)]
pub mod limits;
pub mod loss;
mod mat;
pub mod metrics;
pub mod nn;
pub mod optim;
pub mod pairs;
mod par;
mod real;
mod rng;
pub mod siamese;
pub mod simd;

pub use cx::{Cx, Par};
pub use error::{Error, Result};
pub use graph::{Graph, Similar};
pub use isa::{Isa, Tier};
pub use mat::{Mat, MatMut};
pub use real::Real;
pub use rng::Rng;
