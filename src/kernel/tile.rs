//! Squared distances of a few rows with a panel of rows: what every pair of two sets is measured by.
//!
//! ```text
//! |x - y|² = |x|² + |y|² - 2 x·y
//! ```
//!
//! A register tile of products costs one instruction an element where a difference costs two. But it
//! is off by roundings of the *norms*, so it is taken only where the distance that comes out is large
//! enough beside them; closer pairs are measured by subtraction. Both read rows from which the mean
//! of the set has been taken, the one as it reads them best: products in panels, with columns in
//! lanes; differences from the rows themselves, untouched.

#![allow(unsafe_code, reason = "panels are checked once a tile, not once an element")]

use std::array::from_fn;
use std::ops::Range;

use super::blocks::BLOCK_PAIRS;
use super::classes::Rows;
use super::direct;
use crate::isa::Isa;
use crate::real::Real;
use crate::simd::Simd;

/// Columns of a tile: a function of the tier's width alone, which is why panels depend on the tier.
pub(crate) fn tile_cols<T>(isa: Isa) -> usize {
    2 * isa.lanes::<T>()
}

/// Rows of a block at most.
pub(crate) const MOST_ROWS: usize = 128;

/// A set of rows, as tiles read them.
#[derive(Clone, Copy)]
pub(crate) struct Points<'a, T> {
    pub rows: Rows<'a, T>,
    /// The rows less some point, in panels of [`tile_cols`]: element k of row c of a panel is at
    /// `k * cols + c`. The last panel is filled up with zeros. Rows whose length is not finite are 0.
    pub panels: &'a [T],
    /// The squared lengths of the rows in panels; NaN where that is not finite.
    pub norms: &'a [T],
}

/// Products that are added up before their sum is added to those of other elements: fewer roundings
/// than in one long sum, and a panel of so many elements stays in L1.
const CHUNK: usize = 128;

/// Roundings by which a squared distance may be off: 2e-4 of itself in `f32`, 4e-13 in `f64`.
const ALLOWED_ROUNDINGS: f64 = 3355.0;

/// The same of a distance, in steps of the spacing of numbers.
pub(super) const DISTANCE_ROUNDINGS: f64 = ALLOWED_ROUNDINGS / 4.0;

/// Which products are exact enough: those from which a squared distance of more than `share` of the
/// squared norms comes out.
#[derive(Clone, Copy)]
pub(super) struct Trust<T> {
    share: T,
    pub least: T,
    /// How far, of the squared norms, a squared distance from a product and one from differences may lie
    /// apart; but for `least`.
    pub error: T,
}

impl<T: Real> Trust<T> {
    /// The roundings of a product, of the norms' sums (in lanes) and of taking away the mean are at most
    /// so many of the norms' sum. What underflows in a product is far below `least`.
    pub(super) fn new(depth: usize, lanes: usize) -> Self {
        let product = depth.min(CHUNK) + depth.div_ceil(CHUNK);
        let roundings = product + depth.div_ceil(lanes) + 16;
        Trust {
            share: T::from_f64(roundings as f64 / ALLOWED_ROUNDINGS),
            least: T::from_f64(T::MIN_POSITIVE.to_f64() / (T::EPSILON.to_f64()).powi(2)),
            error: T::from_f64(roundings as f64 * T::EPSILON.to_f64()),
        }
    }

    /// What a squared distance must be above, rounded as it is in lanes: a pair is trusted everywhere
    /// or nowhere.
    fn limit(&self, norms: T) -> T {
        self.share * norms + self.least
    }
}

/// Rows that are measured at a time against a panel of columns: as many as make a block of pairs; or all
/// of a block of rows where a panel is too deep for L1, so that each chunk of it serves all of them.
#[inline(always)]
pub(super) fn strip_rows<S: Simd<T>, T: Real>(depth: usize) -> usize {
    if depth > CHUNK { MOST_ROWS } else { BLOCK_PAIRS / (2 * S::LANES) }
}

/// The most pairs of a strip: of 32 columns of 4 bytes, or 16 of 8.
pub(super) const STRIP_PAIRS: usize = MOST_ROWS * 32;

/// |x_r - y_c|² for some rows of `x` and a panel of rows of `y`, at `r * cols + c`. Returns which groups of
/// rows, as many as make a block of pairs, hold pairs that had to be measured by subtraction, and so may
/// be close or not finite: bit g for group g.
///
/// `rows` start at a group within a panel; `out` has a row for each of them. Columns past the last row of `y` hold anything. What a pair gets depends on that pair alone,
/// and not on which of its rows comes first.
#[inline(always)]
pub(super) fn squared_distances<T: Real, S: Simd<T>>(
    s: S,
    sides: [&Points<T>; 2],
    rows: Range<usize>,
    col: usize,
    out: &mut [T],
) -> u32 {
    let near = by_products::<T, S, true>(s, sides, rows.clone(), col, out);
    let (height, cols) = (BLOCK_PAIRS / (2 * S::LANES), 2 * S::LANES);
    for (group, row) in rows.clone().step_by(height).enumerate() {
        if near >> group & 1 == 0 {
            continue;
        }
        let some = row..(row + height).min(rows.end);
        let out = &mut out[(row - rows.start) * cols..][..some.len() * cols];
        let cols = col..sides[1].norms.len().min(col + cols);
        if is_wide::<T, S>() {
            subtract::<T, S, 4>(s, sides, some, cols, out);
        } else {
            subtract::<T, S, 2>(s, sides, some, cols, out);
        }
    }
    near
}

/// As [`squared_distances`], whether products are exact enough or not; which groups hold some that are not
/// is found out where that is asked for.
#[inline(always)]
pub(super) fn by_products<T: Real, S: Simd<T>, const COUNTED: bool>(
    s: S,
    [x, y]: [&Points<T>; 2],
    rows: Range<usize>,
    col: usize,
    out: &mut [T],
) -> u32 {
    let (depth, cols) = (x.rows.z.cols(), 2 * S::LANES);
    let trust = Trust::<T>::new(depth, S::LANES);
    let (share, least) = (s.splat(trust.share), s.splat(trust.least));
    let panel = &y.panels[col / cols * depth * cols..][..depth * cols];
    assert!(y.rows.z.cols() == depth, "rows of one length");
    let norms = &y.norms[col..y.norms.len().min(col + cols)];
    let present = norms.len();
    let panel = Panel {
        panel,
        norms: [s.load(norms), s.load(&norms[present.min(S::LANES)..])],
        valid: [s.first(present), s.first(present.saturating_sub(S::LANES))],
        trust: [share, least],
    };
    let mut near = 0;
    let mut done = 0;
    loop {
        let chunk = done..(done + CHUNK).min(depth);
        let mut row = rows.start;
        while row < rows.end {
            let at = row - rows.start;
            let out = &mut out[at * cols..];
            // Tiles of about equal height within a panel of rows: 8 of 32 or 16, else 6, 5 and 5 of 16, or
            // 4 of 8. With 4 of 16 sums just cover the latency (4096 x 128 on AVX2: 37 ms, 33 with these).
            let height = match cols - row % cols {
                _ if is_wide::<T, S>() => 8,
                16 => 6,
                10 | 5 => 5,
                _ => 4,
            };
            let of = (row, (rows.end - row).min(height), chunk.clone());
            let close = match height {
                8 => panel.tile::<8, COUNTED>(s, x, of, out),
                6 => panel.tile::<6, COUNTED>(s, x, of, out),
                5 => panel.tile::<5, COUNTED>(s, x, of, out),
                _ => panel.tile::<4, COUNTED>(s, x, of, out),
            };
            near |= u32::from(close) << (at * cols / BLOCK_PAIRS);
            row += height;
        }
        done = chunk.end;
        if done == depth {
            return near;
        }
    }
}

/// Whether sums take half of 32 registers, rather than of 16.
#[inline(always)]
pub(super) fn is_wide<T: Real, S: Simd<T>>() -> bool {
    S::LANES * size_of::<T>() >= 64
}

/// A panel of columns, as its tiles read it.
struct Panel<'a, T: Real, S: Simd<T>> {
    panel: &'a [T],
    norms: [S::F; 2],
    valid: [S::M; 2],
    trust: [S::F; 2],
}

impl<T: Real, S: Simd<T>> Panel<'_, T, S> {
    /// Some rows from `row`, of which there are `height`, by a chunk of the depth. Whether any pair is not
    /// trusted.
    #[inline(always)]
    fn tile<const ROWS: usize, const COUNTED: bool>(
        &self,
        s: S,
        x: &Points<T>,
        (row, height, chunk): (usize, usize, Range<usize>),
        out: &mut [T],
    ) -> bool {
        let (depth, cols) = (x.rows.z.cols(), 2 * S::LANES);
        let (first, last) = (chunk.start == 0, chunk.end == depth);
        let [share, least] = self.trust;
        let out = &mut out[..height * cols];
        let from = &x.panels[row / cols * depth * cols..][..depth * cols];
        assert!(row % cols + ROWS <= cols && self.panel.len() == from.len(), "a tile in one panel");
        // SAFETY: both panels hold `depth` rows of `cols` elements, and the tile's rows lie within one panel.
        let mut sums = unsafe { products::<T, S, ROWS>(s, from, row % cols, self.panel, chunk) };
        if !first {
            for r in 0..height {
                for v in 0..2 {
                    let before = s.load(&out[r * cols + v * S::LANES..][..S::LANES]);
                    sums[r][v] = before + sums[r][v];
                }
            }
        }
        let mut close = 0;
        if last {
            for r in 0..height {
                let own = s.splat(x.norms[row + r]);
                for v in 0..2 {
                    let both = own + self.norms[v];
                    sums[r][v] = s.fma(s.splat(T::from_f64(-2.0)), sums[r][v], both);
                    if COUNTED {
                        // Rounded as by `limit`.
                        let far = s.lt(share * both + least, sums[r][v]);
                        close += s.count(!far & self.valid[v]);
                    }
                }
            }
        }
        for r in 0..height {
            for v in 0..2 {
                s.store(sums[r][v], &mut out[r * cols + v * S::LANES..][..S::LANES]);
            }
        }
        close > 0
    }
}

/// Sums over some k of x_rk y_ck for `ROWS` rows from `start` of one panel and all columns of another.
///
/// # Safety
/// Each panel holds `2 * LANES` elements for each k below the end of `depth`; `start + ROWS` is at most
/// as many.
#[inline(always)]
unsafe fn products<T: Real, S: Simd<T>, const ROWS: usize>(
    s: S,
    x: &[T],
    start: usize,
    y: &[T],
    depth: Range<usize>,
) -> [[S::F; 2]; ROWS] {
    let cols = 2 * S::LANES;
    let mut sums = [[s.splat(T::ZERO); 2]; ROWS];
    for k in depth {
        // SAFETY: what the caller promises.
        unsafe {
            let y = y.get_unchecked(k * cols..(k + 1) * cols);
            let x = x.get_unchecked(k * cols + start..k * cols + start + ROWS);
            // The next chunk: 4 to 8 % of 6000 x 784, which streams through L2. (Of y it did not help.)
            s.prefetch(x.as_ptr().wrapping_add(CHUNK * cols));
            let y = [s.load(y.get_unchecked(..S::LANES)), s.load(y.get_unchecked(S::LANES..))];
            for r in 0..ROWS {
                let x = s.splat(*x.get_unchecked(r));
                for v in 0..2 {
                    sums[r][v] = s.fma(x, y[v], sums[r][v]);
                }
            }
        }
    }
    sums
}

/// Measures by subtraction what products are not trusted with, a few rows and columns at a time.
#[inline(always)]
fn subtract<T: Real, S: Simd<T>, const Q: usize>(
    s: S,
    [x, y]: [&Points<T>; 2],
    rows: Range<usize>,
    cols: Range<usize>,
    out: &mut [T],
) {
    const R: usize = 4;
    let stride = 2 * S::LANES;
    let trust = Trust::<T>::new(x.rows.z.cols(), S::LANES);
    for row in rows.clone().step_by(Q) {
        for col in cols.clone().step_by(R) {
            let (height, width) = ((rows.end - row).min(Q), (cols.end - col).min(R));
            let tile = &mut out[(row - rows.start) * stride + (col - cols.start)..];
            let mut near = [false; direct::MOST_PAIRS];
            for r in 0..height {
                for c in 0..width {
                    let norms = x.norms[row + r] + y.norms[col + c];
                    let far = trust.limit(norms) < tile[r * stride + c];
                    near[r * R + c] = !far;
                }
            }
            if !near.contains(&true) {
                continue;
            }
            let xs = from_fn::<_, Q, _>(|r| x.rows.row(row + r.min(height - 1)));
            let ys = from_fn::<_, R, _>(|c| y.rows.row(col + c.min(width - 1)));
            let sums = direct::squared_distances(s, &xs, &ys);
            let mut d2 = [T::ZERO; direct::MOST_PAIRS];
            for (v, sum) in sums.into_iter().enumerate().take(Q * R / S::LANES) {
                s.store(sum, &mut d2[v * S::LANES..][..S::LANES]);
            }
            for r in 0..height {
                let to = &mut tile[r * stride..][..width];
                for ((to, &d2), &near) in to.iter_mut().zip(&d2[r * R..]).zip(&near[r * R..]) {
                    *to = if near { d2 } else { *to };
                }
            }
        }
    }
}
