//! What the integration tests share: the tiers of this machine, plain scalar twins of what the
//! crate computes in lanes, guarded buffers, reproducible numbers and the reference files.
//!
//! Each test binary takes it in by `mod support;` and uses a part of it.

#![allow(dead_code, unused_imports, unused_macros, reason = "each test binary uses a part")]

pub mod anchors;
pub mod cases;
pub mod double_double;
pub mod element;
pub mod folder;
pub mod formulas;
pub mod guarded;
pub mod number;
pub mod oracle;
pub mod random;
pub mod reference;

use std::io::Write;
use std::sync::OnceLock;

use drlim::{Isa, Tier};

pub use cases::{REDUCTIONS, labels, serial};
pub use element::Element;
pub use folder::Folder;
pub use guarded::Guarded;
pub use random::Random;
pub use reference::Reference;

/// The tiers of this machine, narrowest first. Says once for each test binary which they are.
///
/// # Panics
/// Where `DRLIM_ENSURE_ISA` is set and names a tier that this machine lacks, or no tier: tests that
/// were meant to run on a tier fail without it rather than skip it.
pub fn tiers() -> Vec<Isa> {
    static TIERS: OnceLock<Vec<Isa>> = OnceLock::new();
    let available = TIERS.get_or_init(|| {
        let available: Vec<Isa> = Isa::available().collect();
        let names: Vec<String> = available.iter().map(Isa::to_string).collect();
        // Not by `println`, which the test runner keeps to itself where a test passes.
        let _ = writeln!(std::io::stderr(), "tiers of this machine: {}", names.join(", "));
        available
    });
    if let Some(wanted) = std::env::var_os("DRLIM_ENSURE_ISA") {
        let wanted = wanted.to_string_lossy();
        let tier: Tier = wanted.parse().unwrap_or_else(|error| panic!("DRLIM_ENSURE_ISA: {error}"));
        Isa::new(tier).unwrap_or_else(|error| panic!("DRLIM_ENSURE_ISA: {error}"));
    }
    available.clone()
}
