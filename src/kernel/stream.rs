//! Writing gradients past the caches, for outputs larger than the last one of them.
//!
//! A plain store first reads the line that it writes to; a streamed one does not, which saves a
//! third of the traffic of `rows` with gradients. Only whole aligned vectors can be streamed, while
//! rows start anywhere: so a block of rows is one flat run of elements, cut where the output is
//! aligned, and the vector that spans two rows takes its slopes from both.
//!
//! What was measured and did not help (Zen 5, 65536 x 128, two threads, where this way takes
//! 2.3 ms): staging the gradients in L1 and copying them out, 3.5 ms; no prefetch of the block that
//! is read next, so that reading and writing take turns, 3.0 ms.

#![allow(unsafe_code, reason = "streamed stores go through raw pointers")]

use crate::real::Real;
use crate::simd::{Kernel, Simd};

/// What a cache line holds, in bytes.
const LINE: usize = 64;

/// out_i = slope_i (a_i - b_i) for rows of `cols` elements without gaps, past the caches; meanwhile
/// asks for the data behind `next`, as much as there is in `a`.
///
/// The caller calls [`Simd::fence`] before its task ends.
///
/// # Panics
/// Where the lengths do not match, or a row is shorter than a vector.
#[inline(always)]
pub(crate) fn scaled_differences<T: Real, S: Simd<T>>(
    s: S,
    slopes: &[T],
    [a, b]: [&[T]; 2],
    out: &mut [T],
    next: *const T,
) {
    let len = out.len();
    assert!(
        a.len() == len && b.len() == len && !slopes.is_empty() && len.is_multiple_of(slopes.len())
    );
    let cols = len / slopes.len();
    assert!(cols >= S::LANES);

    let mut at = out.as_ptr().align_offset(S::LANES * size_of::<T>()).min(cols);
    if at > 0 {
        // A whole vector, of which the end is written again: masked stores are slow.
        s.store(s.splat(slopes[0]) * difference(s, a, b, 0), &mut out[..S::LANES]);
    }
    for (i, &slope) in slopes.iter().enumerate() {
        for line in (0..cols).step_by(LINE / size_of::<T>()) {
            s.prefetch(next.wrapping_add(i * cols + line));
        }
        let end = (i + 1) * cols;
        let vectors = (end - at) / S::LANES;
        let run = at..at + vectors * S::LANES;
        let inputs =
            a[run.clone()].chunks_exact(S::LANES).zip(b[run.clone()].chunks_exact(S::LANES));
        for ((a, b), out) in inputs.zip(out[run.clone()].chunks_exact_mut(S::LANES)) {
            let g = s.splat(slope) * (s.load(a) - s.load(b));
            // SAFETY: `out` holds a vector and lies a multiple of vectors after an aligned
            // address; the caller fences.
            unsafe { s.stream(g, out.as_mut_ptr()) }
        }
        at = run.end;
        let Some(&following) = slopes.get(i + 1) else { break };
        if at < end {
            let own = s.first(end - at);
            let slopes = s.select(own, s.splat(slope), s.splat(following));
            let g = slopes * difference(s, a, b, at);
            // SAFETY: the next row is at least a vector long, so the output holds one here; the
            // address is aligned and the caller fences, as above.
            unsafe { s.stream(g, out[at..at + S::LANES].as_mut_ptr()) }
            at += S::LANES;
        }
    }
    if at < len {
        let last = s.splat(slopes[slopes.len() - 1]);
        s.store(last * difference(s, a, b, len - S::LANES), &mut out[len - S::LANES..]);
    }
}

/// The vector of a - b at `at`.
#[inline(always)]
fn difference<T: Real, S: Simd<T>>(s: S, a: &[T], b: &[T], at: usize) -> S::F {
    s.load(&a[at..at + S::LANES]) - s.load(&b[at..at + S::LANES])
}

/// Two copies side by side: what `rows` with gradients moves, without its arithmetic.
pub(crate) struct Copy<'a, T> {
    pub from: [&'a [T]; 2],
    pub to: [&'a mut [T]; 2],
    pub past_caches: bool,
}

impl<T: Real> Kernel<T> for Copy<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        /// Elements of one copy before it is the other's turn.
        const TURN: usize = 1024;
        let [a, b] = self.from;
        let [c, d] = self.to;
        for ((a, b), (c, d)) in
            a.chunks(TURN).zip(b.chunks(TURN)).zip(c.chunks_mut(TURN).zip(d.chunks_mut(TURN)))
        {
            for (from, to) in [(a, c), (b, d)] {
                copy(s, from, to, self.past_caches);
            }
        }
        s.fence();
    }
}

/// The caller of a copy past the caches calls [`Simd::fence`] before its task ends.
#[inline(always)]
fn copy<T: Real, S: Simd<T>>(s: S, from: &[T], to: &mut [T], past_caches: bool) {
    let head = to.as_ptr().align_offset(S::LANES * size_of::<T>()).min(to.len());
    let (first, to) = to.split_at_mut(head);
    let (first_from, from) = from.split_at(head);
    s.store(s.load(first_from), first);
    let mut to = to.chunks_exact_mut(S::LANES);
    let mut from = from.chunks_exact(S::LANES);
    for (to, from) in to.by_ref().zip(from.by_ref()) {
        if past_caches {
            // SAFETY: `to` holds a vector and lies a multiple of vectors after an aligned address;
            // the caller fences.
            unsafe { s.stream(s.load(from), to.as_mut_ptr()) }
        } else {
            s.store(s.load(from), to);
        }
    }
    s.store(s.load(from.remainder()), to.into_remainder());
}
