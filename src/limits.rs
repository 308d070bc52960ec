//! What the bench `roofline` measures the kernels against: the same traffic without the arithmetic.
//! Not part of the crate's interface.

#![forbid(unsafe_code)]

use crate::batch::task_rows;
use crate::cx::Cx;
use crate::kernel::gradients::CopyTwo;
use crate::par::{Chunks, for_blocks};
use crate::real::Real;

/// Copies `a` to `c` and `b` to `d`, all of one length, in the tasks of `batch::rows`, with plain
/// stores or past the caches.
///
/// # Panics
/// Where the lengths differ.
pub fn copy_two<T: Real>(cx: &Cx, past_caches: bool, [a, b]: [&[T]; 2], [c, d]: [&mut [T]; 2]) {
    assert!([b.len(), c.len(), d.len()] == [a.len(); 3], "all four have one length");
    let height = task_rows(a.len(), 4 * size_of::<T>());
    let out = (Chunks(c, height), Chunks(d, height));
    for_blocks(cx.par, a.len().div_ceil(height), out, |block, (c, d): (Chunks<T>, Chunks<T>)| {
        let part = block * height..block * height + c.0.len();
        let (a, b) = (&a[part.clone()], &b[part]);
        T::dispatch(cx.isa, CopyTwo { from: [a, b], to: [c.0, d.0], past_caches });
    });
}
