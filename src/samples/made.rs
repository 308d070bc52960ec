//! The samples of a batch that are not stored: made on the pool, each by itself, into memory that the training
//! run keeps.

#![forbid(unsafe_code)]

use super::Samples;
use crate::error::Result;
use crate::memory::mat::Mat;
use crate::memory::reserve::try_filled;
use crate::parallel::cx::Cx;
use crate::parallel::split::{Chunks, for_blocks};
use crate::simd::real::{Real, compiled};

/// Samples of a batch, (samples, elements).
pub(crate) struct Made<T>(Vec<T>);

/// None yet.
impl<T> Default for Made<T> {
    fn default() -> Self {
        Made(Vec::new())
    }
}

/// The rows of a batch: where its samples lie.
#[derive(Clone, Copy)]
pub(crate) enum Batch<'a, T> {
    /// Row i is sample `.1[i]` of a matrix.
    Stored(Mat<'a, T>, &'a [u32]),
    /// Row i has so many elements from `i * .1` on.
    Made(&'a [T], usize),
}

impl<'a, T> Batch<'a, T> {
    pub(crate) fn row(&self, i: usize) -> &'a [T] {
        match *self {
            Batch::Stored(mat, samples) => mat.row(samples[i] as usize),
            Batch::Made(values, len) => &values[i * len..(i + 1) * len],
        }
    }
}

impl<T: Real> Made<T> {
    /// The given samples, which are below [`count`](Samples::count). Makes those that are not stored; takes memory
    /// once, for the largest batch.
    pub(crate) fn batch<'a>(
        &'a mut self,
        cx: &Cx,
        data: &'a impl Samples<T>,
        samples: &'a [u32],
        draw: u64,
    ) -> Result<Batch<'a, T>> {
        if let Some(mat) = data.stored() {
            return Ok(Batch::Stored(mat, samples));
        }
        let len = data.len();
        // The network has refused more samples than it has room for: no overflow.
        let all = samples.len() * len;
        if self.0.len() < all {
            self.0 = try_filled("the samples of a batch", all, T::ZERO)?;
        }
        let write = |i: usize, to: &mut [T]| data.write(samples[i] as usize, draw, to);
        make(cx, &mut self.0[..all], len, &write);
        Ok(Batch::Made(&self.0[..all], len))
    }
}

/// Writes samples of `len` elements, one after the other, on the pool.
#[inline(never)]
fn make<T: Real>(cx: &Cx, to: &mut [T], len: usize, write: &(dyn Fn(usize, &mut [T]) + Sync)) {
    let samples = to.len().checked_div(len).unwrap_or(0);
    for_blocks(cx.par, samples, Chunks(to, len), write);
}

// Not generic over the source, so that a user's crate compiles the source alone.
compiled!(make::<T>);
