//! The threads that calls of other languages run on: the C and Python interfaces hand each call to a
//! [`Threads`], where Rust has `ThreadPool::install`.
//!
//! A process that forks leaves its threads behind, and a call that waits for them would wait forever
//! (Python's `multiprocessing` forks). Results do not depend on threads, so a call in such a child simply
//! runs on the thread that makes it.

#![forbid(unsafe_code)]

#[cfg(feature = "rayon")]
use std::sync::atomic::{AtomicU32, Ordering};

use super::cx::{Cx, Par};
use super::stop;
use crate::error::{Error, Result};
use crate::simd::isa::Isa;

/// The most threads that a pool is made of. More than any machine has, and fewer than systems refuse.
const MOST: usize = 4096;

/// The threads of a context.
#[derive(Debug)]
pub struct Threads(Which);

#[derive(Debug)]
enum Which {
    Calling,
    Global,
    #[cfg(feature = "rayon")]
    Own {
        process: u32,
        pool: rayon::ThreadPool,
    },
}

impl Threads {
    /// A pool of `threads` threads; with 1 the calling thread, with 0 the pool of the process
    /// (`RAYON_NUM_THREADS`, or a thread a core).
    ///
    /// Refused above 4096, and where the system does not start them.
    pub fn new(threads: usize) -> Result<Self> {
        match threads {
            0 => Ok(Threads(Which::Global)),
            1 => Ok(Threads(Which::Calling)),
            2..=MOST => start(threads),
            _ => Err(refused(threads, "from 0 to 4096")),
        }
    }

    /// How many threads a call may use.
    pub fn count(&self) -> usize {
        match &self.0 {
            Which::Calling => 1,
            Which::Global if !is_ours() => 1,
            Which::Global => Par::Rayon.threads(),
            #[cfg(feature = "rayon")]
            Which::Own { process, .. } if *process != std::process::id() => 1,
            #[cfg(feature = "rayon")]
            Which::Own { pool, .. } => pool.current_num_threads(),
        }
    }

    /// Runs a call with the context that it is to take.
    ///
    /// If this thread is answering the question of another call, it makes this call alone: the threads of a
    /// pool are busy with the other one.
    pub fn run<R: Send>(&self, isa: Isa, call: impl FnOnce(&Cx) -> R + Send) -> R {
        match &self.0 {
            _ if stop::is_asking() => stop::unwatched(|| call(&Cx { isa, par: Par::Serial })),
            Which::Global if is_ours() => call(&Cx { isa, par: Par::Rayon }),
            #[cfg(feature = "rayon")]
            Which::Own { process, pool } if *process == std::process::id() => {
                pool.install(|| stop::unwatched(|| call(&Cx { isa, par: Par::Rayon })))
            }
            _ => call(&Cx { isa, par: Par::Serial }),
        }
    }

    /// [`run`](Threads::run), but every 50 ms the calling thread asks whether the call is to end. If so, it
    /// ends after the blocks that are being worked on and returns `None`. Its outputs, a scratch included,
    /// are in no known state then.
    ///
    /// Needs panics that unwind.
    #[doc(hidden)]
    pub fn run_watched<R: Send>(
        &self,
        isa: Isa,
        question: fn() -> bool,
        call: impl FnOnce(&Cx) -> R + Send,
    ) -> Option<R> {
        let alone = stop::is_asking();
        stop::watched(question, || match &self.0 {
            _ if alone => call(&Cx { isa, par: Par::Serial }),
            Which::Global if is_ours() => call(&Cx { isa, par: Par::Rayon }),
            #[cfg(feature = "rayon")]
            Which::Own { process, pool } if *process == std::process::id() => {
                stop::in_pool(Some(pool), || call(&Cx { isa, par: Par::Rayon }))
            }
            _ => call(&Cx { isa, par: Par::Serial }),
        })
    }
}

fn refused(threads: usize, expected: &'static str) -> Error {
    Error::Value { arg: "threads", got: threads as f64, expected }
}

#[cfg(feature = "rayon")]
fn start(threads: usize) -> Result<Threads> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|_| refused(threads, "as many as the system starts"))?;
    Ok(Threads(Which::Own { process: std::process::id(), pool }))
}

#[cfg(not(feature = "rayon"))]
fn start(_: usize) -> Result<Threads> {
    Ok(Threads(Which::Calling))
}

/// Whether the pool of the process was first used in this process, not in one that it was forked from.
#[cfg(feature = "rayon")]
fn is_ours() -> bool {
    static USER: AtomicU32 = AtomicU32::new(0);
    let process = std::process::id();
    match USER.compare_exchange(0, process, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => true,
        Err(user) => user == process,
    }
}

#[cfg(not(feature = "rayon"))]
fn is_ours() -> bool {
    true
}

#[cfg(feature = "rayon")]
impl Drop for Threads {
    /// Stops the threads. A forked child does not have them, so there is nothing to stop.
    fn drop(&mut self) {
        match &self.0 {
            Which::Own { process, .. } if *process != std::process::id() => {
                std::mem::forget(std::mem::replace(&mut self.0, Which::Calling));
            }
            _ => {}
        }
    }
}
