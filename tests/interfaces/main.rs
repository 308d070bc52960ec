//! Where the crate meets others: C, `ndarray`, views of users' memory, files of digits, of toys and of weights, the
//! processor's tiers, and a crate that depends on this one.

#[path = "../support/mod.rs"]
mod support;

mod capi;
mod checkpoints;
mod idx;
mod ndarray;
mod norb;
mod tiers;
mod users_crate;
mod views;
