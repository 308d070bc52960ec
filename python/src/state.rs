//! Where calls run: the tier and the threads of the whole process.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use drlim::threads::Threads;
use drlim::{Cx, Isa};
use pyo3::prelude::*;

use crate::errors::raised;

fn isa() -> &'static RwLock<Isa> {
    static ISA: OnceLock<RwLock<Isa>> = OnceLock::new();
    ISA.get_or_init(RwLock::default)
}

fn pool() -> &'static RwLock<Arc<Threads>> {
    static POOL: OnceLock<RwLock<Arc<Threads>>> = OnceLock::new();
    POOL.get_or_init(|| {
        let of_the_process = Threads::new(0).expect("threads that are there already");
        RwLock::new(Arc::new(of_the_process))
    })
}

/// A copy, so that no lock is held while a call runs.
fn get<T: Clone>(lock: &RwLock<T>) -> T {
    lock.read().unwrap_or_else(PoisonError::into_inner).clone()
}

fn set<T>(lock: &RwLock<T>, value: T) {
    // Dropped after the lock: what was there may have threads to end.
    let _old = std::mem::replace(&mut *lock.write().unwrap_or_else(PoisonError::into_inner), value);
}

/// Runs a call where the process has been told to, while other threads of Python go on.
pub fn run<R: Send>(
    py: Python<'_>,
    call: impl FnOnce(&Cx) -> drlim::Result<R> + Send,
) -> PyResult<R> {
    py.detach(|| get(pool()).run(get(isa()), call)).map_err(raised)
}

/// The instruction tiers of this processor, narrowest first.
#[pyfunction]
pub fn tiers() -> Vec<String> {
    Isa::available().map(|isa| isa.to_string()).collect()
}

/// The tier that calls use: the best one, or what DRLIM_ISA or set_tier named.
#[pyfunction]
pub fn tier() -> String {
    get(isa()).to_string()
}

/// Makes all calls of the process use a tier of this processor.
#[pyfunction]
pub fn set_tier(name: &str) -> PyResult<()> {
    let wanted = name.parse().and_then(Isa::new).map_err(raised)?;
    set(isa(), wanted);
    Ok(())
}

/// How many threads a call may use.
#[pyfunction]
pub fn threads(py: Python<'_>) -> usize {
    py.detach(|| get(pool()).count())
}

/// Makes all calls of the process use so many threads: with 1 the calling one alone, with 0 a thread a core or
/// RAYON_NUM_THREADS.
#[pyfunction]
pub fn set_threads(py: Python<'_>, count: usize) -> PyResult<()> {
    let wanted = py.detach(|| Threads::new(count)).map_err(raised)?;
    py.detach(|| set(pool(), Arc::new(wanted)));
    Ok(())
}
