//! Dot products of each row of one operand with each row of another, over runs of elements: the weight
//! gradient of a convolution, whose rows are maps on the one side and taps on the other.
//!
//! ```text
//! c[i][j] += sum over runs r and elements t of a[i stride + r step_a + t] b[from[j] + r step_b + t]
//! ```
//!
//! Both operands are read in vectors along t, so neither is transposed. The sums of a tile of rows of both
//! stay in registers, in lanes, and are added up once per band of runs.
//!
//! Did not help: separate loops for whole vectors and for the tail in one tile (the compiler left the sums
//! of either in memory: twice the time); adding up each sum by itself rather than four at a time;
//! prefetching the next runs in the pass that then reads them, rather than here, where there is time.

#![allow(unsafe_code, reason = "offsets are checked once a call, not once an element")]

use std::ops::Range;

use super::product::Contiguous;
use crate::simd::isa::Isa;
use crate::simd::real::{Real, compiled};
use crate::simd::{Kernel, Simd};

/// Elements of `a` that a tile reads in one band of runs: half of an L1 cache in `f32`.
const BAND: usize = 4 << 10;

/// Rows of the operand `a`: run r of row i starts at `i * stride + r * step`.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, T> {
    pub data: &'a [T],
    pub count: usize,
    pub stride: usize,
    pub step: usize,
}

/// Sums of products of rows, for [`add_dots`].
pub(crate) struct Dots<'a, T> {
    pub a: Rows<'a, T>,
    pub b: Contiguous<'a, T>,
    /// Elements from the start of one run of `b` to the start of the next.
    pub step: usize,
    pub runs: usize,
    /// Elements of a run.
    pub width: usize,
    /// Rows that the caller will read next, with runs like those of `a`. They are prefetched on the way;
    /// nothing is read past their end.
    pub next: Option<Rows<'a, T>>,
    /// (rows of `a`) x (rows of `b`), without gaps.
    pub c: &'a mut [T],
}

/// Adds the dot products to `c`, on a tier.
#[inline(never)]
pub(crate) fn add_dots<T: Real>(isa: Isa, dots: Dots<T>) {
    T::dispatch(isa, dots);
}
compiled!(add_dots::<T>);

impl<T: Real> Kernel<T> for Dots<'_, T> {
    type Output = ();

    /// # Panics
    /// Where an operand or the output is too small for its rows and runs.
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Dots { a, b, step, runs, width, next, c } = self;
        let (m, n) = (a.count, b.from.as_slice().len());
        if m == 0 || n == 0 || runs == 0 || width == 0 {
            return;
        }
        // The elements furthest out lie within their slices, so all that a tile reads do.
        assert!((m - 1) * a.stride + (runs - 1) * a.step + width <= a.data.len(), "rows");
        let last = b.from.largest() * b.scale;
        assert!(last + (runs - 1) * step + width <= b.data.len(), "rows by offset");
        assert_eq!(c.len(), m * n, "output");
        let (high, wide) = if S::REGISTERS == 32 { (4, 6) } else { (2, 5) };
        let (row_tiles, column_tiles) = (m.div_ceil(high), n.div_ceil(wide));
        let band = (BAND / (high * width)).max(1);
        let mut ahead = Ahead { rows: next.unwrap_or(a), runs, done: 0 };
        for start in (0..runs).step_by(band) {
            let runs = start..(start + band).min(runs);
            for tile in 0..row_tiles {
                // Tiles of equal height and width: a thin one would wait for its latency.
                let rows = m * tile / row_tiles..m * (tile + 1) / row_tiles;
                for tile in 0..column_tiles {
                    let columns = n * tile / column_tiles..n * (tile + 1) / column_tiles;
                    let runs = runs.clone();
                    let first = ahead.done;
                    ahead.done += runs.len();
                    let ahead = Ahead { done: first, ..ahead };
                    let tile = Tile { a, b, step, runs, width, columns, ahead, c: &mut *c, n };
                    // SAFETY: the assertions above cover all rows, columns and runs.
                    unsafe { tile.run(s, rows.clone()) }
                }
            }
        }
    }
}

/// A tile: a few rows of both operands, over some runs.
struct Tile<'a, T> {
    a: Rows<'a, T>,
    b: Contiguous<'a, T>,
    step: usize,
    runs: Range<usize>,
    width: usize,
    columns: Range<usize>,
    ahead: Ahead<'a, T>,
    c: &'a mut [T],
    n: usize,
}

/// The runs to be brought into the cache, one for each run of a tile.
#[derive(Clone, Copy)]
struct Ahead<'a, T> {
    rows: Rows<'a, T>,
    runs: usize,
    done: usize,
}

impl<T> Ahead<'_, T> {
    /// The start of the next run; past the last run any address, since it is only prefetched.
    #[inline(always)]
    fn next(&mut self) -> *const T {
        let (row, run) = (self.done / self.runs, self.done % self.runs);
        self.done += 1;
        let row = row.min(self.rows.count - 1);
        self.rows.data.as_ptr().wrapping_add(row * self.rows.stride + run * self.rows.step)
    }
}

macro_rules! of_size {
    // Tiles of fewer than `large` sums are rare: one loop will do for whole vectors and for others.
    ($tile:ident, $s:ident, $rows:ident, $large:literal: $($m:literal x $n:literal)*) => {
        match ($rows.len(), $tile.columns.len()) {
            $(($m, $n) if $m * $n >= $large && $tile.width % S::LANES == 0 => {
                $tile.add::<S, $m, $n, { $m * $n >= $large }>($s, $rows.start)
            }
            ($m, $n) => $tile.add::<S, $m, $n, false>($s, $rows.start),)*
            (m, n) => unreachable!("a tile of {m} by {n} rows"),
        }
    };
}

impl<T: Real> Tile<'_, T> {
    /// # Safety
    /// All runs of the tile's rows lie within their slices; there are 1 to 4 rows and 1 to 6 columns
    /// where there are 32 registers, else 1 to 2 and 1 to 5.
    #[inline(always)]
    unsafe fn run<S: Simd<T>>(self, s: S, rows: Range<usize>) {
        // SAFETY: the caller's promise is the callee's.
        unsafe {
            // The condition is a constant, so a tier compiles only the tiles that it has.
            if const { S::REGISTERS == 32 } {
                of_size!(self, s, rows, 12:
                    1 x 1 1 x 2 1 x 3 1 x 4 1 x 5 1 x 6 2 x 1 2 x 2 2 x 3 2 x 4 2 x 5 2 x 6
                    3 x 1 3 x 2 3 x 3 3 x 4 3 x 5 3 x 6 4 x 1 4 x 2 4 x 3 4 x 4 4 x 5 4 x 6)
            } else {
                of_size!(self, s, rows, 6:
                    1 x 1 1 x 2 1 x 3 1 x 4 1 x 5 2 x 1 2 x 2 2 x 3 2 x 4 2 x 5)
            }
        }
    }

    /// # Safety
    /// As for [`run`](Tile::run), with `M` rows from `first` and `N` columns.
    #[inline(always)]
    unsafe fn add<S: Simd<T>, const M: usize, const N: usize, const FULL: bool>(
        self,
        s: S,
        first: usize,
    ) {
        let Tile { a, b, step, runs, width, columns, mut ahead, c, n } = self;
        let mut sums = [[s.splat(T::ZERO); N]; M];
        // SAFETY: as promised by the caller; each pointer is offset within its own slice.
        unsafe {
            let from: &[usize; N] =
                b.from.as_slice()[columns.clone()].try_into().unwrap_unchecked();
            for run in runs {
                let a = a.data.as_ptr().add(first * a.stride + run * a.step);
                let mut rows = [a; M];
                for i in 1..M {
                    rows[i] = a.add(i * self.a.stride);
                }
                let data = b.data.as_ptr().add(run * step);
                let mut columns = [data; N];
                for j in 0..N {
                    columns[j] = data.add(from[j] * b.scale);
                }
                let ahead = ahead.next();
                for t in (0..width).step_by(S::LANES) {
                    s.prefetch(ahead.wrapping_add(t));
                    let lanes = if FULL { S::LANES } else { (width - t).min(S::LANES) };
                    let mut vectors = [s.splat(T::ZERO); M];
                    for i in 0..M {
                        vectors[i] = s.load(std::slice::from_raw_parts(rows[i].add(t), lanes));
                    }
                    for j in 0..N {
                        let column = s.load(std::slice::from_raw_parts(columns[j].add(t), lanes));
                        for i in 0..M {
                            sums[i][j] = s.fma(vectors[i], column, sums[i][j]);
                        }
                    }
                }
            }
        }
        for j in 0..N {
            let mut column = [s.splat(T::ZERO); 4];
            for i in 0..M {
                column[i] = sums[i][j];
            }
            for (i, sum) in s.sums(column).into_iter().enumerate().take(M) {
                c[(first + i) * n + columns.start + j] += sum;
            }
        }
    }
}
