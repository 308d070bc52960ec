//! Contrastive learning by hand: SIMD kernels without autodiff.

pub mod batch;
mod cx;
pub mod error;
mod isa;
mod kernel;
pub mod loss;
mod mat;
mod par;
mod real;
pub mod simd;

pub use cx::{Cx, Par};
pub use error::{Error, Result};
pub use isa::{Isa, Tier};
pub use mat::{Mat, MatMut};
pub use real::Real;
