//! Where a call runs: the one argument that names the instruction tier and the threads.

#![forbid(unsafe_code)]

use std::fmt;

use crate::isa::Isa;

/// Which threads a call may use. The result is the same, to the last bit, whatever is chosen here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Par {
    /// The calling thread only.
    Serial,
    /// The current rayon pool: the caller's own inside `ThreadPool::install`, the global one
    /// (`RAYON_NUM_THREADS`) elsewhere. Small calls stay on the calling thread. Without the feature
    /// `rayon` this is the same as [`Serial`](Par::Serial).
    #[default]
    Rayon,
}

impl Par {
    /// How many threads a call may use.
    pub fn threads(self) -> usize {
        match self {
            Par::Serial => 1,
            #[cfg(feature = "rayon")]
            Par::Rayon => rayon::current_num_threads(),
            #[cfg(not(feature = "rayon"))]
            Par::Rayon => 1,
        }
    }
}

/// The context of a call. The default is what nearly everybody wants: the best tier of the
/// processor (or what `DRLIM_ISA` says), the current rayon pool.
///
/// ```
/// use drlim::{Cx, Isa, Par, Tier};
/// let everywhere = Cx::default();
/// let reference = Cx { isa: Isa::new(Tier::Portable)?, par: Par::Serial };
/// println!("{everywhere}, {reference}");
/// # Ok::<(), drlim::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cx {
    /// The instruction tier.
    pub isa: Isa,
    /// The threads.
    pub par: Par,
}

impl fmt::Display for Cx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} threads", self.isa, self.par.threads())
    }
}
