//! Allocations that may fail, for memory whose size is a number that a caller gives: where there is none,
//! the call is refused. All other memory is as large as data that is there already.

#![forbid(unsafe_code)]

use crate::error::{Error, Result};

/// An empty vector with room for `len` elements, or an error that says `what` there was no room for.
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
