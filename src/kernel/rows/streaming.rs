//! The gradients of a block of rows: differences times slopes, written where they belong.
//!
//! Outputs larger than the last cache are written past the caches: a plain store first reads the
//! line that it writes to, a streamed one does not, which saves a third of the traffic. Only whole
//! aligned vectors can be streamed, while rows start anywhere: so a block of rows without gaps is
//! one flat run of elements, cut where the outputs are aligned, and the vector that spans two rows
//! takes its slopes from both. Plain stores gain from the same cut, because a store across two
//! lines costs two.
//!
//! Did not help (65536 x 128): one output after the other; staging the
//! gradients in L1 and copying them out.

#![allow(unsafe_code, reason = "streamed stores go through raw pointers")]

use std::marker::PhantomData;

use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// The formula of the `N` gradients of a row, from its `K` slopes and the elements of its inputs.
pub(crate) trait RowGradient<T: Real, const K: usize, const N: usize>: Copy {
    /// Elements of each input, and of each output.
    fn len(&self) -> usize;

    /// The `N` vectors of gradients at elements `at..at + len`, at most a vector of them.
    fn at<S: Simd<T>>(&self, s: S, slopes: [S::F; K], at: usize, len: usize) -> [S::F; N];
}

/// slope (a - b) and its negative.
#[derive(Clone, Copy)]
pub(crate) struct DifferenceGradient<'a, T> {
    pub a: &'a [T],
    pub b: &'a [T],
}

impl<T: Real> RowGradient<T, 1, 2> for DifferenceGradient<'_, T> {
    #[inline(always)]
    fn len(&self) -> usize {
        assert_eq!(self.a.len(), self.b.len());
        self.a.len()
    }

    #[inline(always)]
    fn at<S: Simd<T>>(&self, s: S, [slope]: [S::F; 1], at: usize, len: usize) -> [S::F; 2] {
        let g = slope * (s.load(&self.a[at..at + len]) - s.load(&self.b[at..at + len]));
        [g, -g]
    }
}

/// The position of a run over rows without gaps. The run is cut where the outputs are aligned, so the end
/// of a row may wait for the next row.
#[derive(Clone, Copy)]
pub(crate) struct StreamCursor<T, const K: usize> {
    /// The number of elements written so far.
    at: usize,
    /// The slopes of the last row that was seen.
    last: [T; K],
}

impl<T: Real, const K: usize> StreamCursor<T, K> {
    /// Before the first row.
    pub(crate) fn start() -> Self {
        StreamCursor { at: 0, last: [T::ZERO; K] }
    }

    /// Writes the gradients of the next rows of matrices without gaps, from their slopes. Rows are at least
    /// a vector long. With `past_caches`, vectors are streamed where all outputs are aligned alike; the
    /// caller calls [`Simd::fence`] before its task ends.
    ///
    /// # Panics
    /// Where lengths do not match, or a row is shorter than a vector.
    #[inline(always)]
    pub(crate) fn rows<S: Simd<T>, const N: usize>(
        &mut self,
        s: S,
        gradient: impl RowGradient<T, K, N>,
        [first, cols]: [usize; 2],
        slopes: [&[T]; K],
        out: [&mut [T]; N],
        past_caches: bool,
    ) {
        // Streamed vectors start at a multiple of vectors behind the first of them. That one starts at `at`
        // where the end of a row waits, and otherwise behind a head that is cut off.
        let offset = |grad: &[T]| to_aligned::<T, S>(&grad[self.at..]);
        let alike = out.iter().all(|grad| offset(grad) == offset(out[0]));
        let waiting = self.at < first * cols;
        let streamable = offset(out[0]).is_some_and(|offset| !waiting || offset == 0);
        if past_caches && alike && streamable {
            self.run::<S, N, true>(s, gradient, [first, cols], slopes, out);
        } else {
            self.run::<S, N, false>(s, gradient, [first, cols], slopes, out);
        }
    }

    /// [`rows`](StreamCursor::rows) with streamed or plain stores. Streamed ones need outputs that are
    /// aligned alike.
    #[inline(always)]
    fn run<S: Simd<T>, const N: usize, const STREAMED: bool>(
        &mut self,
        s: S,
        gradient: impl RowGradient<T, K, N>,
        [first, cols]: [usize; 2],
        slopes: [&[T]; K],
        mut out: [&mut [T]; N],
    ) {
        let (len, rows) = (gradient.len(), slopes[0].len());
        assert!(out.iter().all(|out| out.len() == len) && slopes.iter().all(|s| s.len() == rows));
        assert!(cols >= S::LANES && (first + rows) * cols <= len);
        assert!(self.at <= first * cols && first * cols < self.at + S::LANES);

        let mut at = self.at;
        let mut here = splat(s, self.last);
        for i in 0..rows {
            let (start, end) = ((first + i) * cols, (first + i + 1) * cols);
            let next = splat(s, at_row(slopes, i));
            if at < start {
                // The end of the last row and the start of this one.
                let of_last = s.first(start - at);
                for (here, next) in here.iter_mut().zip(next) {
                    *here = s.select(of_last, *here, next);
                }
                store::<T, S, N, STREAMED>(s, gradient.at(s, here, at, S::LANES), &mut out, at);
                at += S::LANES;
            } else {
                let head = to_aligned::<T, S>(&out[0][at..]).unwrap_or(0);
                if head > 0 {
                    // A whole vector; its end is written again by the next one.
                    store::<T, S, N, false>(s, gradient.at(s, next, at, S::LANES), &mut out, at);
                    at += head;
                }
            }
            here = next;
            while at + S::LANES <= end {
                store::<T, S, N, STREAMED>(s, gradient.at(s, here, at, S::LANES), &mut out, at);
                at += S::LANES;
            }
        }
        self.at = at;
        if rows > 0 {
            self.last = at_row(slopes, rows - 1);
        }
        if (first + rows) * cols == len {
            self.flush(s, gradient, len, out);
        }
    }

    /// Writes the end of the last row, which ends at element `end`.
    #[inline(always)]
    pub(crate) fn flush<S: Simd<T>, const N: usize>(
        &mut self,
        s: S,
        gradient: impl RowGradient<T, K, N>,
        end: usize,
        mut out: [&mut [T]; N],
    ) {
        if self.at < end {
            let at = end - S::LANES;
            let last = splat(s, self.last);
            store::<T, S, N, false>(s, gradient.at(s, last, at, S::LANES), &mut out, at);
        }
        self.at = end;
    }

    /// Goes on at element `end`: the caller has written the elements before it.
    pub(crate) fn resume(&mut self, end: usize) {
        self.at = end;
    }
}

/// The number of elements up to the next address that is aligned to a vector; `None` where there is no such
/// address, because elements are not aligned to their own size.
#[inline(always)]
fn to_aligned<T: Real, S: Simd<T>>(from: &[T]) -> Option<usize> {
    Some(from.as_ptr().align_offset(S::LANES * size_of::<T>())).filter(|&at| at < S::LANES)
}

/// Row `i` of each slice. (A loop, since `map` of an array is a function by itself, which has none of
/// the tier's features where it is not inlined.)
#[inline(always)]
pub(crate) fn at_row<T: Real, const K: usize>(slopes: [&[T]; K], i: usize) -> [T; K] {
    let mut row = [T::ZERO; K];
    for (row, slopes) in row.iter_mut().zip(slopes) {
        *row = slopes[i];
    }
    row
}

/// Each number in all lanes of a vector.
#[inline(always)]
fn splat<T: Real, S: Simd<T>, const K: usize>(s: S, numbers: [T; K]) -> [S::F; K] {
    let mut vectors = [s.splat(T::ZERO); K];
    for (vector, number) in vectors.iter_mut().zip(numbers) {
        *vector = s.splat(number);
    }
    vectors
}

/// Writes a vector to each output.
#[inline(always)]
fn store<T: Real, S: Simd<T>, const N: usize, const STREAMED: bool>(
    s: S,
    vectors: [S::F; N],
    out: &mut [&mut [T]; N],
    at: usize,
) {
    for (out, vector) in out.iter_mut().zip(vectors) {
        let to = &mut out[at..at + S::LANES];
        if STREAMED {
            debug_assert!(to.as_ptr().align_offset(S::LANES * size_of::<T>()) == 0);
            // SAFETY: `to` is a vector's room, a multiple of vectors behind an aligned element, which
            // `StreamCursor::rows` has made sure of; the caller fences, else other threads may read old
            // values (never memory that is not theirs).
            unsafe { s.stream(vector, to.as_mut_ptr()) }
        } else {
            s.store(vector, to);
        }
    }
}

/// Writes the gradients of one row by itself.
#[inline(always)]
pub(crate) fn write_row<T: Real, S: Simd<T>, const K: usize, const N: usize>(
    s: S,
    gradient: impl RowGradient<T, K, N>,
    slopes: [T; K],
    mut out: [&mut [T]; N],
) {
    let n = gradient.len();
    let slopes = splat(s, slopes);
    for at in (0..n).step_by(S::LANES) {
        let len = S::LANES.min(n - at);
        let vectors = gradient.at(s, slopes, at, len);
        for (out, vector) in out.iter_mut().zip(vectors) {
            s.store(vector, &mut out[at..at + len]);
        }
    }
}

/// Copies side by side: the memory traffic of `rows` with gradients, without the arithmetic.
pub(crate) struct Copies<'a, T, const N: usize> {
    pub from: [&'a [T]; N],
    pub to: [&'a mut [T]; N],
    pub past_caches: bool,
}

impl<T: Real, const N: usize> Kernel<T> for Copies<'_, T, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        /// Elements of one copy before it is the next one's turn.
        const TURN: usize = 1024;
        let len = self.from[0].len();
        let mut to = self.to;
        for start in (0..len).step_by(TURN) {
            let turn = start..(start + TURN).min(len);
            for (from, to) in self.from.iter().zip(&mut to) {
                copy(s, &from[turn.clone()], &mut to[turn.clone()], self.past_caches);
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

/// A kernel whose streamed writes are ordered when it ends, also when a loss panics.
pub(crate) struct Fenced<K> {
    pub kernel: K,
    pub past_caches: bool,
}

impl<T: Real, K: Kernel<T>> Kernel<T> for Fenced<K> {
    type Output = K::Output;

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> K::Output {
        let _fence = self.past_caches.then(|| FenceAtEnd(s, PhantomData));
        self.kernel.run(s)
    }
}

pub(crate) struct FenceAtEnd<T: Real, S: Simd<T>>(S, PhantomData<T>);

impl<T: Real, S: Simd<T>> Drop for FenceAtEnd<T, S> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.fence();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::simd::isa::Isa;

    /// Three gradients of three inputs, none of them like another one.
    #[derive(Clone, Copy)]
    struct ThreeGradients<'a, T>([&'a [T]; 3]);

    impl<T: Real> RowGradient<T, 3, 3> for ThreeGradients<'_, T> {
        #[inline(always)]
        fn len(&self) -> usize {
            self.0[0].len()
        }

        #[inline(always)]
        fn at<S: Simd<T>>(&self, s: S, [x, y, z]: [S::F; 3], at: usize, len: usize) -> [S::F; 3] {
            let [a, b, c] = self.0;
            let (a, b) = (s.load(&a[at..at + len]), s.load(&b[at..at + len]));
            let c = s.load(&c[at..at + len]);
            [x * a, y * b + x * c, z * c - y * a]
        }
    }

    /// Rows that are written together, in a call of [`StreamCursor::rows`] or apart from it.
    #[derive(Clone, Copy, Debug)]
    struct Turn {
        rows: usize,
        apart: bool,
    }

    /// Turns over `rows` rows.
    fn turns(rng: &mut Rng, rows: usize, share_apart: f64) -> Vec<Turn> {
        let mut turns = Vec::new();
        let mut left = rows;
        while left > 0 {
            let rows = (1 + rng.below(3) as usize).min(left);
            turns.push(Turn { rows, apart: rng.uniform() < share_apart });
            left -= rows;
        }
        turns
    }

    struct Block<'a, T, F, const K: usize, const N: usize> {
        gradient: F,
        /// The gradient of a row by itself.
        of_row: &'a dyn Fn(usize) -> F,
        cols: usize,
        slopes: [&'a [T]; K],
        grads: [&'a mut [T]; N],
        turns: &'a [Turn],
        past_caches: bool,
    }

    impl<T: Real, F, const K: usize, const N: usize> Kernel<T> for Block<'_, T, F, K, N>
    where
        F: RowGradient<T, K, N>,
    {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd<T>>(self, s: S) {
            let Block { gradient, of_row, cols, slopes, mut grads, turns, past_caches } = self;
            let (mut cut, mut first) = (StreamCursor::start(), 0);
            for &Turn { rows, apart } in turns {
                let end = first + rows;
                let out = grads.each_mut().map(|grad| &mut **grad);
                if apart {
                    cut.flush(s, gradient, first * cols, out);
                    for row in first..end {
                        let out = grads.each_mut().map(|grad| &mut grad[row * cols..][..cols]);
                        write_row(s, of_row(row), at_row(slopes, row), out);
                    }
                    cut.resume(end * cols);
                } else {
                    let slopes = slopes.map(|slopes| &slopes[first..end]);
                    cut.rows(s, gradient, [first, cols], slopes, out, past_caches);
                }
                first = end;
            }
            s.fence();
        }
    }

    /// A number that no gradient has.
    const CANARY: f64 = -999.0;

    /// An output that starts `offset` elements behind a multiple of 64 bytes, between canaries.
    struct Output<T> {
        buffer: Vec<T>,
        start: usize,
        len: usize,
    }

    impl<T: Real> Output<T> {
        fn new(offset: usize, len: usize) -> Self {
            let buffer = vec![T::from_f64(CANARY); len + 64];
            let start = buffer.as_ptr().align_offset(64) + offset;
            Output { buffer, start, len }
        }

        fn room(&mut self) -> &mut [T] {
            &mut self.buffer[self.start..][..self.len]
        }

        fn check(&self, expected: impl Fn(usize) -> T, case: &str) {
            for (at, &got) in self.buffer.iter().enumerate() {
                let inside = at.checked_sub(self.start).filter(|&at| at < self.len);
                let expected = inside.map_or(T::from_f64(CANARY), &expected);
                assert!(got == expected, "{case}: {got} at {inside:?}, expected {expected}");
            }
        }
    }

    /// Asserts that what turns over rows have written is what the formula gives, an output and an element
    /// at a time.
    fn check<T: Real, F: RowGradient<T, K, N>, const K: usize, const N: usize>(
        [rows, cols]: [usize; 2],
        gradient: F,
        of_row: &dyn Fn(usize) -> F,
        slopes: [&[T]; K],
        expected: impl Fn(usize, usize) -> T,
    ) {
        let mut rng = Rng::new((rows * cols) as u64);
        for (isa, past_caches) in Isa::available().flat_map(|isa| [(isa, false), (isa, true)]) {
            // Aligned alike or not.
            for offsets in [[0; 3], [1; 3], [3; 3], [15; 3], [3, 9, 3], [0, 0, 5], [0, 5, 8]] {
                for share_apart in [0.0, 0.3, 0.3, 0.6, 1.0] {
                    let turns = turns(&mut rng, rows, share_apart);
                    let mut out: [Output<T>; N] =
                        std::array::from_fn(|n| Output::new(offsets[n], rows * cols));
                    let grads = out.each_mut().map(Output::room);
                    let turns = &turns[..];
                    let block = Block { gradient, of_row, cols, slopes, grads, turns, past_caches };
                    T::dispatch(isa, block);
                    for (n, out) in out.iter().enumerate() {
                        let case = format!(
                            "output {n} of {rows}x{cols} at {offsets:?} on {isa}, past caches \
                             {past_caches}, {turns:?}"
                        );
                        out.check(|at| expected(n, at), &case);
                    }
                }
            }
        }
    }

    const SHAPES: [[usize; 2]; 9] =
        [[1, 16], [1, 47], [3, 16], [5, 17], [4, 31], [7, 64], [2, 129], [13, 17], [11, 21]];

    /// Multiples of 1/8, whose products and sums are exact.
    fn numbers<T: Real>(count: usize, from: usize) -> Vec<T> {
        let value = |i: usize| T::from_f64(((i * 37) % 101) as f64 / 8.0);
        (from..from + count).map(value).collect()
    }

    fn agrees<T: Real>() {
        for [rows, cols] in SHAPES {
            let len = rows * cols;
            let [a, b, c] = [0, 50, 77].map(|from| numbers::<T>(len, from));
            let [x, y, z] = [3, 20, 61].map(|from| numbers::<T>(rows, from));
            let row = |i: usize| i * cols..(i + 1) * cols;

            let of_row = |i| DifferenceGradient { a: &a[row(i)], b: &b[row(i)] };
            check([rows, cols], DifferenceGradient { a: &a, b: &b }, &of_row, [&x], |n, at| {
                let g = x[at / cols] * (a[at] - b[at]);
                if n == 0 { g } else { -g }
            });

            let of_row = |i| ThreeGradients([&a[row(i)], &b[row(i)], &c[row(i)]]);
            let gradient = ThreeGradients([&a, &b, &c]);
            check([rows, cols], gradient, &of_row, [&x, &y, &z], |n, at| {
                let (x, y, z) = (x[at / cols], y[at / cols], z[at / cols]);
                [x * a[at], y * b[at] + x * c[at], z * c[at] - y * a[at]][n]
            });
        }
    }

    #[test]
    fn blocks_agree_with_their_formula_plain_and_past_the_caches() {
        agrees::<f32>();
        agrees::<f64>();
    }
}
