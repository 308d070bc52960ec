//! Instruction tiers: which vector instructions a call uses, decided when the program runs.
//!
//! An [`Isa`] can only be had when the processor has its tier, so holding one is the proof on which
//! every use of wide instructions in this crate rests. `DRLIM_ISA=portable|avx2|avx512` lowers the
//! default of a whole process.

#![forbid(unsafe_code)]

use std::fmt;
use std::io::Write;
use std::str::FromStr;
use std::sync::OnceLock;

use super::tier::Tier;
use crate::error::{Error, Result};

impl FromStr for Tier {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Tier::ALL
            .into_iter()
            .find(|tier| tier.to_string() == text)
            .ok_or_else(|| Error::UnknownTier { got: text.to_owned() })
    }
}

/// The most elements that a vector of any tier holds.
pub(crate) const MOST_LANES: usize = 16;

/// A tier that this processor is known to have.
///
/// ```
/// use drlim::{Isa, Tier};
/// let isa = Isa::best();
/// assert!(Isa::available().any(|other| other == isa));
/// assert!(Isa::new(Tier::Portable).is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Isa(Tier);

impl Isa {
    /// The given tier, or [`Error::Tier`] where the processor lacks one of its features.
    pub fn new(tier: Tier) -> Result<Self> {
        if processor_has(tier) { Ok(Isa(tier)) } else { Err(Error::Tier { wanted: tier }) }
    }

    /// Every tier of this processor, narrowest first; never empty.
    pub fn available() -> impl Iterator<Item = Isa> {
        Tier::ALL.into_iter().filter_map(|tier| Isa::new(tier).ok())
    }

    /// The widest tier of this processor, whatever the environment says.
    pub fn best() -> Self {
        Isa::at_most(Tier::Avx512)
    }

    /// The tier that `DRLIM_ISA` names, or the best one where the variable is not set.
    ///
    /// An unknown name and a tier that this processor lacks are errors.
    pub fn from_env() -> Result<Self> {
        match std::env::var("DRLIM_ISA") {
            Ok(text) => Isa::new(text.parse()?),
            Err(std::env::VarError::NotPresent) => Ok(Isa::best()),
            Err(std::env::VarError::NotUnicode(text)) => {
                Err(Error::UnknownTier { got: text.to_string_lossy().into_owned() })
            }
        }
    }

    /// The tier's name.
    pub fn tier(self) -> Tier {
        self.0
    }

    /// How many elements of a type a vector of the tier holds.
    pub(crate) fn lanes<T>(self) -> usize {
        let bytes = match self.0 {
            Tier::Portable | Tier::Avx2 => 32,
            Tier::Avx512 => 64,
        };
        bytes / size_of::<T>()
    }

    /// How many vector registers the tier has: [`Simd::REGISTERS`](super::Simd::REGISTERS).
    pub(crate) fn registers(self) -> usize {
        match self.0 {
            Tier::Portable | Tier::Avx2 => 16,
            Tier::Avx512 => 32,
        }
    }

    fn at_most(limit: Tier) -> Self {
        Isa::available().filter(|isa| isa.0 <= limit).last().unwrap_or(Isa(Tier::Portable))
    }
}

/// The default of the process: [`Isa::from_env`], read once. Where that is an error, one line on
/// standard error says so and the best tier below the one asked for is taken.
impl Default for Isa {
    fn default() -> Self {
        static DEFAULT: OnceLock<Isa> = OnceLock::new();
        *DEFAULT.get_or_init(|| {
            Isa::from_env().unwrap_or_else(|error| {
                let isa = match &error {
                    Error::Tier { wanted } => Isa::at_most(*wanted),
                    _ => Isa::best(),
                };
                // A message that cannot be written is no reason to fail.
                let _ = writeln!(std::io::stderr(), "drlim: DRLIM_ISA: {error}; using {isa}");
                isa
            })
        })
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn processor_has(tier: Tier) -> bool {
    let avx2 = || {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("popcnt")
    };
    match tier {
        Tier::Portable => true,
        Tier::Avx2 => avx2(),
        Tier::Avx512 => {
            avx2()
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn processor_has(tier: Tier) -> bool {
    tier == Tier::Portable
}
