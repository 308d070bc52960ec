//! The gradients of a block of rows: differences times slopes, written where they belong.
//!
//! Outputs larger than the last cache are written past the caches: a plain store first reads the
//! line that it writes to, a streamed one does not, which saves a third of the traffic. Only whole
//! aligned vectors can be streamed, while rows start anywhere: so a block of rows without gaps is
//! one flat run of elements, cut where the output is aligned, and the vector that spans two rows
//! takes its slopes from both. Plain stores gain from the same cut, because a store across two
//! lines costs two.
//!
//! What was measured and did not help (Zen 5, 65536 x 128, one thread, where this way takes 3.3 ms
//! and a copy of the same traffic 2.6): one output after the other, 3.6 ms; without asking for the
//! rows that are read next, so that reading and writing take turns, 4.4 ms; staging the gradients
//! in L1 and copying them out, 4.8 ms.

#![allow(unsafe_code, reason = "streamed stores go through raw pointers")]

use std::ops::Range;

use crate::real::Real;
use crate::simd::{Kernel, Simd};

/// What a cache line holds, in bytes.
const LINE: usize = 64;

/// grad_a = slope (a - b) and grad_b = -grad_a for each row of a block without gaps, whose rows are
/// at least a vector long; with `PAST_CACHES`, streamed.
///
/// Past the caches it asks meanwhile for as many elements behind `a` and `b`, which are read next;
/// the caller calls [`Simd::fence`] before its task ends.
///
/// # Panics
/// Where the lengths do not match, or a row is shorter than a vector.
#[inline(always)]
pub(crate) fn scaled_differences<T: Real, S: Simd<T>, const PAST_CACHES: bool>(
    s: S,
    slopes: &[T],
    inputs: [&[T]; 2],
    [grad_a, grad_b]: [&mut [T]; 2],
) {
    let offset = |grad: &[T]| grad.as_ptr().align_offset(S::LANES * size_of::<T>());
    if offset(grad_a) == offset(grad_b) {
        flat::<T, S, 2, false, PAST_CACHES>(s, slopes, inputs, [grad_a, grad_b]);
    } else {
        flat::<T, S, 1, false, PAST_CACHES>(s, slopes, inputs, [grad_a]);
        flat::<T, S, 1, true, PAST_CACHES>(s, slopes, inputs, [grad_b]);
    }
}

/// slope (a - b) into the first output and its negative into the second, or the other way round
/// with `NEGATED`; all outputs are aligned alike.
#[inline(always)]
fn flat<T: Real, S: Simd<T>, const N: usize, const NEGATED: bool, const PAST_CACHES: bool>(
    s: S,
    slopes: &[T],
    [a, b]: [&[T]; 2],
    mut out: [&mut [T]; N],
) {
    let len = a.len();
    assert!(b.len() == len && out.iter().all(|out| out.len() == len));
    assert!(!slopes.is_empty() && len.is_multiple_of(slopes.len()));
    let cols = len / slopes.len();
    assert!(cols >= S::LANES);

    let mut at = out[0].as_ptr().align_offset(S::LANES * size_of::<T>()).min(cols);
    if at > 0 {
        // A whole vector, of which the end is written again.
        store::<T, S, N, NEGATED>(s, s.splat(slopes[0]) * difference(s, a, b, 0), &mut out, 0);
    }
    for (i, &slope) in slopes.iter().enumerate() {
        if PAST_CACHES {
            for line in (0..cols).step_by(LINE / size_of::<T>()) {
                let next = len + i * cols + line;
                s.prefetch(a.as_ptr().wrapping_add(next));
                s.prefetch(b.as_ptr().wrapping_add(next));
            }
        }
        let end = (i + 1) * cols;
        let slope = s.splat(slope);
        while at + S::LANES <= end {
            let g = slope * difference(s, a, b, at);
            store_aligned::<T, S, N, NEGATED, PAST_CACHES>(s, g, &mut out, at);
            at += S::LANES;
        }
        let Some(&following) = slopes.get(i + 1) else { break };
        if at < end {
            let slopes = s.select(s.first(end - at), slope, s.splat(following));
            let g = slopes * difference(s, a, b, at);
            store_aligned::<T, S, N, NEGATED, PAST_CACHES>(s, g, &mut out, at);
            at += S::LANES;
        }
    }
    if at < len {
        let last = s.splat(slopes[slopes.len() - 1]);
        let at = len - S::LANES;
        store::<T, S, N, NEGATED>(s, last * difference(s, a, b, at), &mut out, at);
    }
}

/// The vector of a - b at `at`.
#[inline(always)]
fn difference<T: Real, S: Simd<T>>(s: S, a: &[T], b: &[T], at: usize) -> S::F {
    s.load(&a[at..at + S::LANES]) - s.load(&b[at..at + S::LANES])
}

/// g into the first output, -g into the second; the other way round with `NEGATED`.
#[inline(always)]
fn store<T: Real, S: Simd<T>, const N: usize, const NEGATED: bool>(
    s: S,
    g: S::F,
    out: &mut [&mut [T]; N],
    at: usize,
) {
    for (k, out) in out.iter_mut().enumerate() {
        s.store(if (k == 1) == NEGATED { g } else { -g }, &mut out[at..at + S::LANES]);
    }
}

/// As [`store`], where the outputs are aligned to a vector.
#[inline(always)]
fn store_aligned<
    T: Real,
    S: Simd<T>,
    const N: usize,
    const NEGATED: bool,
    const PAST_CACHES: bool,
>(
    s: S,
    g: S::F,
    out: &mut [&mut [T]; N],
    at: usize,
) {
    if !PAST_CACHES {
        return store::<T, S, N, NEGATED>(s, g, out, at);
    }
    for (k, out) in out.iter_mut().enumerate() {
        let to = out[at..at + S::LANES].as_mut_ptr();
        debug_assert!(to.cast::<[T; 1]>().align_offset(S::LANES * size_of::<T>()) == 0);
        // SAFETY: `to` points at a vector's room within the output, `at` being a multiple of
        // vectors after an aligned element; the caller fences.
        unsafe { s.stream(if (k == 1) == NEGATED { g } else { -g }, to) }
    }
}

/// The gradients of one row, whatever lies around it.
#[inline(always)]
pub(crate) fn scaled_difference<T: Real, S: Simd<T>>(
    s: S,
    slope: T,
    [a, b]: [&[T]; 2],
    [grad_a, grad_b]: [&mut [T]; 2],
) {
    let n = a.len();
    let slope = s.splat(slope);
    for at in (0..n).step_by(S::LANES) {
        let lanes: Range<usize> = at..(at + S::LANES).min(n);
        let g = slope * (s.load(&a[lanes.clone()]) - s.load(&b[lanes.clone()]));
        s.store(g, &mut grad_a[lanes.clone()]);
        s.store(-g, &mut grad_b[lanes]);
    }
}

/// Two copies side by side: what `rows` with gradients moves, without its arithmetic.
pub(crate) struct CopyTwo<'a, T> {
    pub from: [&'a [T]; 2],
    pub to: [&'a mut [T]; 2],
    pub past_caches: bool,
}

impl<T: Real> Kernel<T> for CopyTwo<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        /// Elements of one copy before it is the other's turn.
        const TURN: usize = 1024;
        let [a, b] = self.from;
        let [c, d] = self.to;
        let from = a.chunks(TURN).zip(b.chunks(TURN));
        for ((a, b), (c, d)) in from.zip(c.chunks_mut(TURN).zip(d.chunks_mut(TURN))) {
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
            // SAFETY: `to` holds a vector and lies a multiple of vectors after an aligned element;
            // the caller fences.
            unsafe { s.stream(s.load(from), to.as_mut_ptr()) }
        } else {
            s.store(s.load(from), to);
        }
    }
    s.store(s.load(from.remainder()), to.into_remainder());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    struct Block<'a, T> {
        slopes: &'a [T],
        inputs: [&'a [T]; 2],
        grads: [&'a mut [T]; 2],
        past_caches: bool,
    }

    impl<T: Real> Kernel<T> for Block<'_, T> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd<T>>(self, s: S) {
            let Block { slopes, inputs, grads, past_caches } = self;
            if past_caches {
                scaled_differences::<T, S, true>(s, slopes, inputs, grads);
                s.fence();
            } else {
                scaled_differences::<T, S, false>(s, slopes, inputs, grads);
            }
        }
    }

    fn agrees<T: Real>() {
        let value = |i: usize| T::from_f64(((i * 37) % 101) as f64 / 8.0);
        for (isa, past_caches) in Isa::available().flat_map(|isa| [(isa, false), (isa, true)]) {
            for (rows, cols) in [(1, 16), (1, 47), (3, 16), (5, 17), (4, 31), (7, 64), (2, 129)] {
                for (offset_a, offset_b) in [(0, 0), (1, 1), (3, 9), (15, 15), (0, 5)] {
                    let len = rows * cols;
                    let a: Vec<T> = (0..len).map(value).collect();
                    let b: Vec<T> = (0..len).map(|i| value(i + 50)).collect();
                    let slopes: Vec<T> = (0..rows).map(|i| value(i + 3)).collect();
                    let expected: Vec<T> =
                        (0..len).map(|i| slopes[i / cols] * (a[i] - b[i])).collect();
                    let mut out = [vec![T::ZERO; len + 32], vec![T::ZERO; len + 32]];
                    let [grad_a, grad_b] = &mut out;
                    let grads = [&mut grad_a[offset_a..][..len], &mut grad_b[offset_b..][..len]];
                    let inputs = [&a[..], &b[..]];
                    let block = Block { slopes: &slopes, inputs, grads, past_caches };
                    T::dispatch(isa, block);
                    let case = format!("{rows}x{cols} at {offset_a}, {offset_b} on {isa}");
                    assert!(out[0][offset_a..][..len] == expected, "{case}");
                    let negated: Vec<T> = out[1][offset_b..][..len].iter().map(|&g| -g).collect();
                    assert!(negated == expected, "{case}");
                    let outside = |out: &[T], at: usize| {
                        out[..at].iter().chain(&out[at + len..]).all(|&x| x == T::ZERO)
                    };
                    assert!(outside(&out[0], offset_a) && outside(&out[1], offset_b), "{case}");
                }
            }
        }
    }

    #[test]
    fn blocks_agree_with_their_formula_plain_and_past_the_caches() {
        agrees::<f32>();
        agrees::<f64>();
    }
}
