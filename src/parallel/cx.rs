//! Where a call runs: the one argument that names the instruction tier and the threads.

#![forbid(unsafe_code)]

use std::fmt;

use crate::simd::isa::Isa;

/// Which threads a call may use. The result is the same, to the last bit, whatever is chosen here.
///
/// # From within tasks of rayon
///
/// Give each task memory that no other task can ask for: a scratch of the task, or, for calls that stay on
/// their thread, of the thread.
///
/// ```
/// use std::cell::RefCell;
///
/// use drlim::batch::{AllPairsScratch, all_pairs};
/// use drlim::loss::{Contrastive, Objective};
/// use drlim::{Cx, Mat, Par, Similar};
/// use rayon::prelude::*;
///
/// let (batches, labels) = (vec![[0.0_f32, 0.25, 1.0]; 100], [0_i64, 0, 1]);
/// let loss = Contrastive::new(1.0)?;
/// let value = |cx: Cx, batch: &[f32], scratch: &mut AllPairsScratch<f32>| {
///     let (z, similar) = (Mat::new(batch, 3, 1)?, Similar::Labels(&labels));
///     all_pairs(&cx, &Objective::sum(&loss), z, similar, None, scratch).map(|found| found.value)
/// };
///
/// // A scratch of the task, made anew as rarely as rayon can: whatever the call runs on.
/// let of_tasks: Vec<f64> = batches
///     .par_iter()
///     .map_init(AllPairsScratch::new, |scratch, batch| value(Cx::default(), batch, scratch))
///     .collect::<drlim::Result<_>>()?;
///
/// // A scratch of the thread: by calls that stay on it.
/// thread_local! { static SCRATCH: RefCell<AllPairsScratch<f32>> = RefCell::default(); }
/// let here = Cx { par: Par::Serial, ..Cx::default() };
/// let of_threads: Vec<f64> = batches
///     .par_iter()
///     .map(|batch| SCRATCH.with_borrow_mut(|scratch| value(here, batch, scratch)))
///     .collect::<drlim::Result<_>>()?;
/// assert_eq!(of_tasks, of_threads);
/// # Ok::<(), drlim::Error>(())
/// ```
///
/// A `Mutex` around a list of scratches works too: each task takes one out and puts it back, and the list
/// is locked for that alone. Many small batches are best shared as above, with [`Serial`](Par::Serial); one
/// large one is best left to its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Par {
    /// The calling thread only.
    Serial,
    /// The current rayon pool: the caller's own inside `ThreadPool::install`, the global one
    /// (`RAYON_NUM_THREADS`) elsewhere. Small calls stay on the calling thread. Without the feature
    /// `rayon` this is the same as [`Serial`](Par::Serial).
    ///
    /// **Hold no lock over such a call in a task of rayon.** A thread that waits for its share of the call
    /// takes up other tasks meanwhile. If one of these asks for the same lock, the thread waits for itself,
    /// forever; if it asks for a `RefCell` of the thread, it finds that borrowed. This holds for a `Mutex`
    /// around a scratch, a workspace or a network, and for anything that rayon runs. See
    /// [below](Par#from-within-tasks-of-rayon).
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
