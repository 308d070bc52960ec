//! Threads: which of them a call runs on, how its work is cut among them, and how it is ended early.

#![forbid(unsafe_code)]

pub(crate) mod cx;
pub(crate) mod split;
pub(crate) mod stop;
pub mod threads;
