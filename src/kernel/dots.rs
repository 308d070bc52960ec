//! Dot products of each row of one operand with each row of another, over runs of elements: the weight
//! gradient of a convolution, whose rows are maps on the one side and taps on the other.
//!
//! ```text
//! c[i][j] += sum over runs r and elements t of a[i stride + r step_a + t] b[from[j] << shift + r step_b + t]
//! ```
//!
//! Both operands are read in vectors along t, so neither is transposed. The sums of a tile of rows of
//! both stay in registers, in lanes, and are added up once a band of runs.

#![allow(unsafe_code, reason = "offsets are checked once a call, not once an element")]

use std::ops::Range;

use super::product::Contiguous;
use super::tile::is_wide;
use crate::isa::Isa;
use crate::real::{Real, precompiled};
use crate::simd::{Kernel, Simd};

/// Elements of the rows of `a` that a band of runs has: a quarter of an L1 cache in `f32`.
const BAND: usize = 4 << 10;

/// The rows of the one operand: run r of row i starts at `i * stride + r * step`.
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
    /// From one run of `b` to the next.
    pub step: usize,
    pub runs: usize,
    /// Elements of a run.
    pub width: usize,
    /// Rows of as many elements as `b` has rows.
    pub c: &'a mut [T],
}

/// Adds the dot products on a tier.
pub(crate) fn add_dots<T: Real>(isa: Isa, dots: Dots<T>) {
    run(OnTier { isa, dots });
}

struct OnTier<'a, T> {
    isa: Isa,
    dots: Dots<'a, T>,
}

precompiled!(run, AddDots: run_on_tier(OnTier) -> ());

fn run_on_tier<T: Real>(OnTier { isa, dots }: OnTier<T>) {
    T::dispatch(isa, dots);
}

impl<T: Real> Kernel<T> for Dots<'_, T> {
    type Output = ();

    /// # Panics
    /// Where an operand or the output is too small for its rows and runs.
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Dots { a, b, step, runs, width, c } = self;
        let (m, n) = (a.count, b.from.as_slice().len());
        if m == 0 || n == 0 || runs == 0 || width == 0 {
            return;
        }
        // Every element that a tile reads lies within its slice: those furthest out do.
        assert!((m - 1) * a.stride + (runs - 1) * a.step + width <= a.data.len(), "rows");
        let last = b.from.largest() << b.shift;
        assert!(last + (runs - 1) * step + width <= b.data.len(), "rows by offset");
        assert_eq!(c.len(), m * n, "output");
        let (high, wide) = if is_wide::<T, S>() { (4, 6) } else { (2, 5) };
        let (row_tiles, column_tiles) = (m.div_ceil(high), n.div_ceil(wide));
        let band = (BAND / (high * width)).max(1);
        for start in (0..runs).step_by(band) {
            let runs = start..(start + band).min(runs);
            for tile in 0..row_tiles {
                // Tiles of equal height and width: a thin one would wait for its latency.
                let rows = m * tile / row_tiles..m * (tile + 1) / row_tiles;
                for tile in 0..column_tiles {
                    let columns = n * tile / column_tiles..n * (tile + 1) / column_tiles;
                    let runs = runs.clone();
                    let tile = Tile { a, b, step, runs, width, columns, c: &mut *c, n };
                    // SAFETY: the assertions above cover all rows, columns and runs.
                    unsafe { tile.run(s, rows.clone()) }
                }
            }
        }
    }
}

/// Some rows of both operands, over some runs.
struct Tile<'a, T> {
    a: Rows<'a, T>,
    b: Contiguous<'a, T>,
    step: usize,
    runs: Range<usize>,
    width: usize,
    columns: Range<usize>,
    c: &'a mut [T],
    n: usize,
}

macro_rules! of_size {
    ($tile:ident, $s:ident, $rows:ident: $($m:literal x $n:literal)*) => {
        match ($rows.len(), $tile.columns.len()) {
            $(($m, $n) => $tile.add::<S, $m, $n>($s, $rows.start),)*
            (m, n) => unreachable!("a tile of {m} by {n} rows"),
        }
    };
}

impl<T: Real> Tile<'_, T> {
    /// # Safety
    /// All runs of the tile's rows lie within their slices; there are 1 to 4 rows and 1 to 6 columns
    /// where vectors are wide, else 1 to 2 and 1 to 5.
    #[inline(always)]
    unsafe fn run<S: Simd<T>>(self, s: S, rows: Range<usize>) {
        // SAFETY: the caller's promise is the callee's.
        unsafe {
            if is_wide::<T, S>() {
                of_size!(self, s, rows:
                    1 x 1 1 x 2 1 x 3 1 x 4 1 x 5 1 x 6 2 x 1 2 x 2 2 x 3 2 x 4 2 x 5 2 x 6
                    3 x 1 3 x 2 3 x 3 3 x 4 3 x 5 3 x 6 4 x 1 4 x 2 4 x 3 4 x 4 4 x 5 4 x 6)
            } else {
                of_size!(self, s, rows:
                    1 x 1 1 x 2 1 x 3 1 x 4 1 x 5 2 x 1 2 x 2 2 x 3 2 x 4 2 x 5)
            }
        }
    }

    /// # Safety
    /// As for [`run`](Tile::run), with `M` rows from `first` and `N` columns.
    #[inline(always)]
    unsafe fn add<S: Simd<T>, const M: usize, const N: usize>(self, s: S, first: usize) {
        let Tile { a, b, step, runs, width, columns, c, n } = self;
        let mut sums = [[s.splat(T::ZERO); N]; M];
        // SAFETY: as promised by the caller; each pointer is offset within its own slice.
        unsafe {
            let from: &[usize; N] =
                b.from.as_slice()[columns.clone()].try_into().unwrap_unchecked();
            for run in runs {
                let a = a.data.as_ptr().add(first * a.stride + run * a.step);
                let stride = self.a.stride;
                let rows: [*const T; M] = std::array::from_fn(|i| a.add(i * stride));
                let data = b.data.as_ptr().add(run * step);
                let columns: [*const T; N] = std::array::from_fn(|j| data.add(from[j] << b.shift));
                let whole = width - width % S::LANES;
                for t in (0..whole).step_by(S::LANES) {
                    step_of_sums(s, t, S::LANES, rows, columns, &mut sums);
                }
                if whole < width {
                    step_of_sums(s, whole, width - whole, rows, columns, &mut sums);
                }
            }
        }
        for i in 0..M {
            for j in 0..N {
                c[(first + i) * n + columns.start + j] += s.sum(sums[i][j]);
            }
        }
    }
}

/// Adds the products of one vector of elements of each row, of which the first `lanes` count.
///
/// # Safety
/// There are so many elements from `t` on in each row.
#[inline(always)]
unsafe fn step_of_sums<T: Real, S: Simd<T>, const M: usize, const N: usize>(
    s: S,
    t: usize,
    lanes: usize,
    rows: [*const T; M],
    columns: [*const T; N],
    sums: &mut [[S::F; N]; M],
) {
    let mut vectors = [s.splat(T::ZERO); M];
    // SAFETY: the caller's promise.
    unsafe {
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
