//! Refusals of the crate as exceptions.

use drlim::Error;
use pyo3::PyErr;
use pyo3::exceptions::{PyIndexError, PyMemoryError, PyValueError};

/// `ValueError`, but `IndexError` for indices past the end and `MemoryError` where there is no memory.
pub fn raised(error: Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::Index { .. } => PyIndexError::new_err(message),
        Error::Overflow { .. } => PyMemoryError::new_err(message),
        _ => PyValueError::new_err(message),
    }
}
