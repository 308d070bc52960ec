//! The face in C: the calls of [`batch`](crate::batch) and [`pairs`](crate::pairs) on a caller's
//! pointers, for programs in C and whatever can call it.
//!
//! Every function checks what it is given, makes views of it and hands these to the call that Rust has.
//! `include/drlim.h` is generated from this module: what is exported has its names, in the order of the
//! modules below, and its comments are written for readers of that file. Functions stand in macros, once for
//! both element types. The crate's own tests export none: what is exported is compiled with all that it calls,
//! and those tests are of a few private parts.

#![allow(unsafe_code, reason = "pointers come from another language")]
#![allow(non_camel_case_types, reason = "what is exported has the names of the header")]
#![allow(clippy::missing_safety_doc, reason = "what is asked of callers stands in the header")]

// What a call returns, and where it runs.
mod status;

mod context;

// What a call takes.
mod matrix;

mod outcome;

mod objective;

mod triplet_objective;

mod scratch;

mod similar;

// The calls.
mod rows;

mod indexed;

mod all_pairs;

mod cross;

mod triplets;

mod distances;

mod nearest;

// What they have in common.
mod callback;
mod element;
mod extent;
mod handle;
mod pairing;
mod places;
mod run;

pub use all_pairs::*;
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
