//! Checks of losses and layers: gradients against differences, properties against random batches, programs
//! that must not compile.

#![forbid(unsafe_code)]

mod anchor_check;
#[cfg(doctest)]
mod borrows;
pub mod copy_baseline;
pub mod gradcheck;
#[cfg(feature = "proptest")]
pub mod properties;
