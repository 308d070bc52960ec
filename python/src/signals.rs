//! Signals that arrive during a call: Python runs their handlers on its main thread, and only when that
//! thread asks.

use std::cell::{Cell, RefCell};

use pyo3::prelude::*;

thread_local! {
    /// Whether this thread is Python's main thread; if it is not, in which process. A child that another thread
    /// forks has that as its main thread.
    static IS_MAIN: Cell<Option<Result<(), u32>>> = const { Cell::new(None) };
    /// The exception that a handler has raised.
    static RAISED: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// Whether signals are handled on this thread.
pub fn are_handled_here(py: Python<'_>) -> PyResult<bool> {
    match IS_MAIN.get() {
        Some(Ok(())) => return Ok(true),
        Some(Err(process)) if process == std::process::id() => return Ok(false),
        _ => {}
    }
    let threading = py.import("threading")?;
    let main: u64 = threading.call_method0("main_thread")?.getattr("ident")?.extract()?;
    let this: u64 = threading.call_method0("get_ident")?.extract()?;
    let is_main = this == main;
    IS_MAIN.set(Some(if is_main { Ok(()) } else { Err(std::process::id()) }));
    Ok(is_main)
}

/// Runs the handlers of signals that have arrived. Returns whether one has raised an exception, which
/// [`raised`] takes.
pub fn ask() -> bool {
    match Python::attach(|py| py.check_signals()) {
        Ok(()) => false,
        Err(error) => {
            RAISED.set(Some(error));
            true
        }
    }
}

/// The exception that a handler has raised on this thread.
pub fn raised() -> PyErr {
    RAISED.take().expect("a call ends early where a handler has raised something")
}
