//! The names of the instruction tiers.

#![forbid(unsafe_code)]

use std::fmt;

/// The name of an instruction tier, from the narrowest to the widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Tier {
    /// Whatever the build enables, through the crate `wide`: SSE2, NEON, wasm simd128.
    Portable,
    /// AVX2, FMA and POPCNT: 8 `f32` or 4 `f64` at a time.
    Avx2,
    /// AVX-512 F, BW, DQ and VL beside the features of `Avx2`: 16 `f32` or 8 `f64` at a time.
    Avx512,
}

impl Tier {
    /// Every tier the crate is written for, narrowest first.
    pub const ALL: [Tier; 3] = [Tier::Portable, Tier::Avx2, Tier::Avx512];
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Tier::Portable => "portable",
            Tier::Avx2 => "avx2",
            Tier::Avx512 => "avx512",
        })
    }
}
