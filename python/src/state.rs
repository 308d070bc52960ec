//! The tier and the threads that all calls of the process run on.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use drlim::threads::Threads;
use drlim::{Cx, Error, Isa};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::{Any, checked};
use crate::errors::raised;
use crate::signals;

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
    // The old value is dropped after the lock, as it may have threads to end.
    let _old = std::mem::replace(&mut *lock.write().unwrap_or_else(PoisonError::into_inner), value);
}

/// Work below which a call is over before anybody could want to end it: some milliseconds on the narrowest tier.
const SHORT: usize = 1 << 22;

/// Runs a call on the tier and threads of the process, while other threads of Python go on. If the handler of
/// a signal raises an exception, as that of Ctrl-C does, the call ends with it, and its outputs are of no
/// use.
///
/// `work` is about the number of products or comparisons that the call takes. With 0 the call is not ended:
/// signals are handled afterwards.
pub fn run<R: Send>(
    py: Python<'_>,
    work: usize,
    call: impl FnOnce(&Cx) -> drlim::Result<R> + Send,
) -> PyResult<R> {
    if work < SHORT || !signals::are_handled_here(py)? {
        return py.detach(|| get(pool()).run(get(isa()), call)).map_err(raised);
    }
    match py.detach(|| get(pool()).run_watched(get(isa()), signals::ask, call)) {
        Some(result) => result.map_err(raised),
        None => Err(signals::raised()),
    }
}

/// The product of three sizes, or the largest number where that overflows.
pub fn times(factors: [usize; 3]) -> usize {
    factors.into_iter().fold(1, usize::saturating_mul)
}

/// The instruction tiers of this processor, narrowest first.
///
///     >>> drlim.tiers()[0]
///     'portable'
#[pyfunction]
pub fn tiers() -> Vec<String> {
    Isa::available().map(|isa| isa.to_string()).collect()
}

/// The tier that calls use: the best one, or what DRLIM_ISA or set_tier named.
///
///     >>> drlim.tier() in drlim.tiers()
///     True
#[pyfunction]
pub fn tier() -> String {
    get(isa()).to_string()
}

/// Makes all calls of the process use a tier of this processor. ValueError: any other name.
///
///     >>> drlim.set_tier(drlim.tier())
#[pyfunction]
pub fn set_tier(name: &str) -> PyResult<()> {
    let wanted = name.parse().and_then(Isa::new).map_err(raised)?;
    set(isa(), wanted);
    Ok(())
}

/// How many threads a call may use.
///
///     >>> drlim.threads() >= 1
///     True
#[pyfunction]
pub fn threads(py: Python<'_>) -> usize {
    py.detach(|| get(pool()).count())
}

/// Sets the number of threads that all calls of the process use: with 1 the calling thread alone, with 0 a
/// thread a core or RAYON_NUM_THREADS. ValueError: a number above 4096.
///
///     >>> drlim.set_threads(1)
///     >>> drlim.threads()
///     1
///     >>> drlim.set_threads(0)
#[pyfunction]
pub fn set_threads(py: Python<'_>, count: &Any) -> PyResult<()> {
    let count = checked("size", "count", count)?.extract()?;
    let wanted = py.detach(|| Threads::new(count)).map_err(|error| match error {
        Error::Value { got, expected, .. } => {
            PyValueError::new_err(format!("count is {got}, expected {expected}"))
        }
        other => raised(other),
    })?;
    py.detach(|| set(pool(), Arc::new(wanted)));
    Ok(())
}
