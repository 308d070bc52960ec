//! `batch::all_anchors` and `batch::cross_anchors` against a scalar f64 oracle over every pair: every loss, every
//! measure, every layout, every tier, both precisions, the shapes at which blocks and strips end.

#![forbid(unsafe_code)]

mod agreement;
mod batch;
mod case;
mod certain;
mod edges;
mod large;
mod losses_of_users;
mod not_finite;
mod order;
mod outputs;
mod parts;
mod refusals;
mod threads;
mod weights;
