//! What a caller can do to the crate: sizes at their ends, arguments that lie, files that announce more
//! than they hold, little memory, losses and layers that panic, threads of all kinds. Whatever it is, a
//! call does its work or refuses it; it does not abort, reads and writes nothing beside its arguments,
//! and leaves nothing behind that spoils the next call.

#[path = "../support/mod.rs"]
mod support;

mod allocations;
mod allocator;
mod arguments;
mod batch;
mod calls;
mod layers;
mod memory;
mod panics;
mod readers;
mod refusals;
mod scratches;
mod sizes;
mod threads;
mod training;
mod watched;

use drlim::{Cx, Par};

/// Each tier of this machine, on the calling thread and on several.
fn contexts() -> impl Iterator<Item = Cx> {
    let tiers = crate::support::tiers().into_iter();
    tiers.flat_map(|isa| [Par::Serial, Par::Rayon].map(|par| Cx { isa, par }))
}
