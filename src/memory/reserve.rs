//! Memory sized by a number that a caller gives rather than by data that it holds: asked for, and
//! refused where there is none. Everything else grows with data that is there already.

#![forbid(unsafe_code)]

use crate::error::{Error, Result};

/// Nothing, with room for so many elements.
pub(crate) fn try_with_capacity<T>(what: &'static str, len: usize) -> Result<Vec<T>> {
    let mut room = Vec::new();
    room.try_reserve_exact(len).map_err(|_| Error::Overflow { what })?;
    Ok(room)
}

/// `len` copies of `value`, or an error where there is no room.
pub(crate) fn try_filled<T: Clone>(what: &'static str, len: usize, value: T) -> Result<Vec<T>> {
    let mut filled = try_with_capacity(what, len)?;
    filled.resize(len, value);
    Ok(filled)
}
