//! How exact results are: each lane operation against its scalar meaning, the elementary functions against
//! exact values, and every call against its documented bound.

#[path = "../support/mod.rs"]
mod support;

mod accuracy;
mod lanes;
mod math;
