//! The limit of what is bound by memory: a plain copy of the same traffic, in turn with the kernel.

use std::cell::RefCell;
use std::hint::black_box;

use drlim::{Cx, Real, limits};

use super::{Runner, Times};

/// Traffic of a call that no last cache holds.
const BEYOND_CACHES: usize = 64 << 20;

/// Times a copy of `N` arrays, with whichever way of storing is faster here, and the kernel that
/// reads them and writes as many.
///
/// Within the caches the copy goes to the kernel's own outputs; beyond them to buffers of its own,
/// because whichever came second would find part of its data in a cache.
pub fn against_copy<T: Real, const N: usize, R>(
    runner: &Runner,
    cx: Cx,
    from: [&[T]; N],
    outputs: &mut [Vec<T>; N],
    mut kernel: impl FnMut(&mut [Vec<T>; N]) -> R,
) -> [Times; 2] {
    let len = from[0].len();
    let own = if 2 * N * len * size_of::<T>() > BEYOND_CACHES { len } else { 0 };
    let mut buffers = from.map(|_| vec![T::ZERO; own]);
    let outputs = RefCell::new(outputs);
    let mut copy = |past_caches| {
        let outputs = &mut **outputs.borrow_mut();
        let to = if own > 0 { &mut buffers } else { outputs };
        limits::copy(&cx, past_caches, from, to.each_mut().map(|to| to.as_mut_slice()));
    };
    let plain = runner.time(|| copy(false)).best;
    let streamed = runner.time(|| copy(true)).best;
    runner.time_in_turn(
        || copy(streamed < plain),
        || {
            black_box(kernel(&mut outputs.borrow_mut()));
        },
    )
}
