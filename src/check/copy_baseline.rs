//! The baseline of the bench `roofline`: the memory traffic of the kernels without their arithmetic. Not
//! part of the crate's interface.

#![forbid(unsafe_code)]

use crate::batch::blocking::task_rows;
use crate::kernel::rows::streaming::Copies;
use crate::parallel::cx::Cx;
use crate::parallel::split::{Chunks, for_blocks, rows_of_block};
use crate::simd::real::Real;

/// Copies each of `from` to its place in `to`, all of one length, in the tasks of `batch::rows`, with
/// plain stores or past the caches.
///
/// # Panics
/// Where the lengths differ.
pub fn copy<T: Real, const N: usize>(
    cx: &Cx,
    past_caches: bool,
    from: [&[T]; N],
    to: [&mut [T]; N],
) {
    let len = from[0].len();
    let lengths = from.iter().map(|from| from.len()).chain(to.iter().map(|to| to.len()));
    assert!(lengths.into_iter().all(|other| other == len), "all have one length");
    let height = task_rows(len, 2 * N * size_of::<T>());
    for_blocks(cx.par, len.div_ceil(height), to.map(|to| Chunks(to, height)), |block, to| {
        let part = rows_of_block(block, height, len);
        let from = from.map(|from| &from[part.clone()]);
        T::dispatch(cx.isa, Copies { from, to, past_caches });
    });
}
