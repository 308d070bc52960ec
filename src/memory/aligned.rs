//! Buffers that start at a cache line, so that no vector in them crosses one.

#![forbid(unsafe_code)]

use std::ops::{Deref, DerefMut};

use crate::error::{Error, Result};
use crate::simd::real::Real;

/// Bytes of a cache line, and of the widest vector.
pub(crate) const LINE: usize = 64;

/// A buffer of elements that starts at a cache line. Its memory is kept when the length shrinks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aligned<T> {
    /// Up to a line longer than `len`.
    data: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Real> Aligned<T> {
    /// Sets it to `len` zeros.
    pub(crate) fn clear(&mut self, len: usize) {
        self.resize(len);
        self.fill(T::ZERO);
    }

    /// Makes `len` zeros, or an error that says `what` there was no room for.
    pub(crate) fn zeros(what: &'static str, len: usize) -> Result<Self> {
        let room = if len == 0 { 0 } else { len.saturating_add(LINE / size_of::<T>()) };
        let mut data = Vec::new();
        data.try_reserve_exact(room).map_err(|_| Error::Overflow { what })?;
        data.resize(room, T::ZERO);
        let mut zeros = Aligned { data, start: 0, len };
        zeros.resize(len);
        Ok(zeros)
    }

    /// Sets its length to `len`; elements hold anything.
    pub(crate) fn resize(&mut self, len: usize) {
        let room = if len == 0 { 0 } else { len + LINE / size_of::<T>() };
        if self.data.len() < room {
            // The old elements need not be copied.
            self.data = Vec::new();
            self.data = vec![T::ZERO; room];
        }
        self.start = self.data.as_ptr().align_offset(LINE).min(self.data.len() - len);
        self.len = len;
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.data[self.start..self.start + self.len]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.data[self.start..self.start + self.len]
    }
}
