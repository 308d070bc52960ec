//! The C interface: the calls of [`batch`](crate::batch) and [`pairs`](crate::pairs) on a caller's pointers,
//! for programs in C and whatever can call it.
//!
//! Every function checks its arguments, makes views of them and hands these to the call in Rust.
//! `include/drlim.h` is generated from this module: exported items have the names of that file, in the order
//! of the modules below, and their comments are written for its readers. Functions stand in macros, once for
//! both element types.

#![allow(unsafe_code, reason = "pointers come from another language")]
#![allow(non_camel_case_types, reason = "what is exported has the names of the header")]
#![allow(clippy::missing_safety_doc, reason = "what is asked of callers stands in the header")]

// The status that calls return, and the tier and threads that they run on.
mod status;

mod context;

// The arguments of calls.
mod matrix;

mod outcome;

mod objective;

mod triplet_objective;

mod anchor_sums;

mod anchor_objective;

mod anchor_outcome;

mod scratch;

mod similar;

// The calls.
mod rows;

mod indexed;

mod all_pairs;

mod cross;

mod triplets;

mod anchors;

mod distances;

mod nearest;

// The parts that calls share.
mod callback;
mod element;
mod extent;
mod handle;
mod pairing;
mod places;
mod run;

pub use all_pairs::*;
pub use anchor_objective::*;
pub use anchor_outcome::*;
pub use anchor_sums::*;
pub use anchors::*;
pub use context::*;
pub use cross::*;
pub use distances::*;
pub use indexed::*;
pub use matrix::*;
pub use nearest::*;
pub use objective::*;
pub use outcome::*;
pub use rows::*;
pub use scratch::*;
pub use similar::*;
pub use status::*;
pub use triplet_objective::*;
pub use triplets::*;
