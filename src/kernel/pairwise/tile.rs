//! Squared distances of a few rows from a panel of rows: every pair of two sets is measured here.
//!
//! ```text
//! |x - y|² = |x|² + |y|² - 2 x·y
//! ```
//!
//! A register tile of products costs one instruction an element, a tile of differences two. But a product
//! is off by roundings of the *norms*, so it is taken only where the distance that comes out is large
//! enough beside them. Closer pairs are measured by subtraction, and so are those within a product's error
//! of a kink, a distance at which the loss changes its formula. Products read rows less a point near the
//! mean of the set, in panels with columns in lanes. Differences read the rows themselves, untouched, and
//! are added up in the same order wherever a pair stands: along the depth, chunk by chunk.

#![allow(unsafe_code, reason = "panels are checked once a tile, not once an element")]

use std::array::from_fn;
use std::ops::Range;

use super::pack::{AT_ONCE, Rows};
use crate::kernel::blocking::{CHUNK, GROUP_PAIRS, PANEL_COLS, STRIP_PAIRS};
use crate::simd::isa::{Isa, MOST_LANES};
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// A set of rows, as tiles read them.
#[derive(Clone, Copy)]
pub(crate) struct TileOperand<'a, T> {
    pub rows: Rows<'a, T>,
    /// The rows less some point, in panels of [`tile_cols`]: element k of row c of a panel is at
    /// `k * cols + c`. The last panel is filled up with zeros. Rows whose length is not finite are 0.
    pub panels: &'a [T],
    /// The squared lengths of the rows in panels; NaN where that is not finite.
    pub norms: &'a [T],
}

/// Roundings by which a squared distance may be off: 2e-4 of itself in `f32`, 4e-13 in `f64`.
pub(crate) const ALLOWED_ROUNDINGS: f64 = 3355.0;

/// Roundings by which a distance may be off, in units of eps: half the relative error of its square, and eps
/// is two roundings.
pub(crate) const DISTANCE_ROUNDINGS: f64 = ALLOWED_ROUNDINGS / 4.0;

/// Which products are exact enough: a squared distance must be above `share` times the sum of the squared
/// norms, plus `least`.
#[derive(Clone, Copy)]
pub(crate) struct Trust<T> {
    share: T,
    pub least: T,
    /// A squared distance from a product and one from differences, added up in any order, differ by at most
    /// `error` times the sum of the squared norms, plus `least`.
    pub error: T,
}

impl<T: Real> Trust<T> {
    /// Bounds the roundings of a product, of the norms' sums (in lanes) and of subtracting the mean,
    /// relative to the sum of the norms. What underflows in a product is far below `least`.
    pub(crate) fn new(depth: usize, lanes: usize) -> Self {
        let product = depth.min(CHUNK) + depth.div_ceil(CHUNK);
        let roundings = product + depth.div_ceil(lanes) + 16;
        Trust {
            share: T::from_f64(roundings as f64 / ALLOWED_ROUNDINGS),
            least: T::from_f64(T::MIN_POSITIVE.to_f64() / (T::EPSILON.to_f64()).powi(2)),
            error: T::from_f64((roundings + product) as f64 * T::EPSILON.to_f64()),
        }
    }
}

/// |x_r - y_c|² for some rows of `x` and a panel of rows of `y`, at `r * cols + c`. Returns a bit for each
/// group of [`GROUP_PAIRS`] pairs: bit g is set if group g holds pairs that had to be measured by
/// subtraction, and so may be close or not finite.
///
/// Pairs within a product's error of one of `kinks`, squared distances at which a loss changes its formula,
/// are measured by subtraction too: only the rows themselves tell whether they are exactly there.
///
/// `rows` start at a group within a panel; `out` has a row for each of them. Columns past the last row of
/// `y` hold anything. The result of a pair depends on that pair alone, and not on which of its rows comes
/// first.
#[inline(always)]
pub(crate) fn squared_distances<T: Real, S: Simd<T>>(
    s: S,
    sides: [&TileOperand<T>; 2],
    rows: Range<usize>,
    col: usize,
    kinks: &[T],
    out: &mut [T],
    subtraction: &mut Subtraction<T>,
) -> u32 {
    // One loop for each number of kinks: a loop over kinks inside would take as long as the kinks do.
    let near = match *kinks {
        [] => products::<T, S, true, 0>(s, sides, rows.clone(), col, [], out),
        [kink] => products::<T, S, true, 1>(s, sides, rows.clone(), col, [kink], out),
        [one, other, ..] => {
            products::<T, S, true, 2>(s, sides, rows.clone(), col, [one, other], out)
        }
    };
    if near > 0 {
        let isa = subtraction.isa;
        T::dispatch(isa, Subtract { sides, rows, near, col, kinks, out, subtraction });
    }
    near
}

/// |x_r - y_c|² by products alone, whether they are exact enough or not: see [`squared_distances`].
#[inline(always)]
pub(crate) fn by_products<T: Real, S: Simd<T>>(
    s: S,
    sides: [&TileOperand<T>; 2],
    rows: Range<usize>,
    col: usize,
    out: &mut [T],
) {
    products::<T, S, false, 0>(s, sides, rows, col, [], out);
}

/// d² by products, at `r * cols + c`. With `COUNTED`, returns a bit for each group with a pair that must be
/// measured by subtraction, or may lie on the other side of a kink.
///
/// ```text
/// LOOP 4  for each chunk of the depth: 128 elements of the panel stay in L1
/// LOOP 5    for each register tile of the rows
///             sums[r][v] = sum over k of x[k][r] panel[k][v]                           `sums`
///             out = sums of the chunks before + sums; after the last one
///             d² = |x|² + |y|² - 2 out
/// ```
#[inline(always)]
pub(crate) fn products<T: Real, S: Simd<T>, const COUNTED: bool, const KINKS: usize>(
    s: S,
    [x, y]: [&TileOperand<T>; 2],
    rows: Range<usize>,
    col: usize,
    kinks: [T; KINKS],
    out: &mut [T],
) -> u32 {
    let (depth, cols) = (x.rows.z.cols(), 2 * S::LANES);
    let trust = Trust::<T>::new(depth, S::LANES);
    let panel = &y.panels[col / cols * depth * cols..][..depth * cols];
    assert!(y.rows.z.cols() == depth, "rows of one length");
    let norms = &y.norms[col..y.norms.len().min(col + cols)];
    let present = norms.len();
    let mut largest = T::ZERO;
    for &norm in norms {
        largest = if norm > largest { norm } else { largest };
    }
    let panel = Panel {
        panel,
        largest: s.splat(largest),
        norms: [s.load(norms), s.load(&norms[present.min(S::LANES)..])],
        valid: [s.first(present), s.first(present.saturating_sub(S::LANES))],
        trust: Trusted::new(s, trust),
        kinks: kinks.map(|kink| s.splat(kink)),
    };
    let mut near = 0;
    let mut done = 0;
    loop {
        let chunk = done..(done + CHUNK).min(depth);
        let mut row = rows.start;
        while row < rows.end {
            let at = row - rows.start;
            let out = &mut out[at * cols..];
            let height = tile_rows::<T, S>(row);
            let of = (row, (rows.end - row).min(height), chunk.clone());
            let close = if const { S::REGISTERS == 32 && S::LANES >= 4 } {
                panel.tile::<8, COUNTED>(s, x, of, out)
            } else {
                match height {
                    6 => panel.tile::<6, COUNTED>(s, x, of, out),
                    5 => panel.tile::<5, COUNTED>(s, x, of, out),
                    _ => panel.tile::<4, COUNTED>(s, x, of, out),
                }
            };
            near |= u32::from(close) << (at * cols / GROUP_PAIRS);
            row += height;
        }
        done = chunk.end;
        if done == depth {
            return near;
        }
    }
}

/// A panel of columns, as its tiles read it.
pub(crate) struct Panel<'a, T: Real, S: Simd<T>, const KINKS: usize> {
    panel: &'a [T],
    norms: [S::F; 2],
    valid: [S::M; 2],
    /// At least as large as the norm of each column.
    largest: S::F,
    trust: Trusted<S::F>,
    kinks: [S::F; KINKS],
}

/// A [`Trust`] in lanes.
#[derive(Clone, Copy)]
pub(crate) struct Trusted<F> {
    share: F,
    least: F,
    error: F,
}

impl<F: Copy> Trusted<F> {
    #[inline(always)]
    fn new<T: Real, S: Simd<T, F = F>>(s: S, trust: Trust<T>) -> Self {
        let Trust { share, least, error } = trust;
        Trusted { share: s.splat(share), least: s.splat(least), error: s.splat(error) }
    }
}

/// Lanes whose squared distance is too small, beside the sum of squared norms, to be taken from products,
/// or is NaN.
#[inline(always)]
pub(crate) fn is_near<T: Real, S: Simd<T>>(
    s: S,
    trust: Trusted<S::F>,
    norms: S::F,
    d2: S::F,
) -> S::M {
    !s.lt(s.fma(trust.share, norms, trust.least), d2)
}

/// Lanes whose squared distance from products may be on the other side of a kink.
#[inline(always)]
pub(crate) fn is_at<T: Real, S: Simd<T>>(
    s: S,
    trust: Trusted<S::F>,
    norms: S::F,
    d2: S::F,
    kink: S::F,
) -> S::M {
    s.lt(s.abs(d2 - kink), s.fma(trust.error, norms, trust.least))
}

impl<T: Real, S: Simd<T>, const KINKS: usize> Panel<'_, T, S, KINKS> {
    /// Adds the products of `height` rows from `row`, over a chunk of the depth, to `out`; after the last
    /// chunk turns them into d². Returns whether any pair is not trusted.
    #[inline(always)]
    fn tile<const ROWS: usize, const COUNTED: bool>(
        &self,
        s: S,
        x: &TileOperand<T>,
        (row, height, chunk): (usize, usize, Range<usize>),
        out: &mut [T],
    ) -> bool {
        let (depth, cols) = (x.rows.z.cols(), 2 * S::LANES);
        let (first, last) = (chunk.start == 0, chunk.end == depth);
        let out = &mut out[..height * cols];
        let from = &x.panels[row / cols * depth * cols..][..depth * cols];
        assert!(row % cols + ROWS <= cols && self.panel.len() == from.len(), "a tile in one panel");
        let start = row % cols;
        // SAFETY: both panels hold `depth` rows of `cols` elements, and the tile's rows lie within one panel.
        let mut sums = unsafe { sums::<T, S, ROWS, false>(s, from, start, self.panel, chunk) };
        if !first {
            for r in 0..height {
                for v in 0..2 {
                    let before = s.load(&out[r * cols + v * S::LANES..][..S::LANES]);
                    sums[r][v] = before + sums[r][v];
                }
            }
        }
        let mut close = s.first(0);
        // Loops over constants keep the sums in registers.
        for r in 0..ROWS {
            if r >= height {
                break;
            }
            if last {
                let own = s.splat(x.norms[row + r]);
                for v in 0..2 {
                    let both = own + self.norms[v];
                    sums[r][v] = s.fma(s.splat(T::from_f64(-2.0)), sums[r][v], both);
                    if COUNTED {
                        let near = is_near::<T, S>(s, self.trust, both, sums[r][v]);
                        close = close | (near & self.valid[v]);
                    }
                }
                if KINKS > 0 {
                    // A bound for the whole panel; a closer look tells which of its pairs are at the kink.
                    let bound = s.fma(self.trust.error, own + self.largest, self.trust.least);
                    for k in 0..KINKS {
                        for v in 0..2 {
                            let at = s.lt(s.abs(sums[r][v] - self.kinks[k]), bound);
                            close = close | (at & self.valid[v]);
                        }
                    }
                }
            }
            for v in 0..2 {
                s.store(sums[r][v], &mut out[r * cols + v * S::LANES..][..S::LANES]);
            }
        }
        s.count(close) > 0
    }
}

/// |x_r - y_c|² for some rows of `x` and a panel of rows of `y` by differences, at `r * stride + c`. Panels
/// hold rows as they are.
///
/// Columns past the last row of `y` hold anything. The result of a pair depends on that pair alone, and not
/// on which of its rows comes first.
#[inline(always)]
pub(crate) fn by_differences<T: Real, S: Simd<T>>(
    s: S,
    [x, y]: [&TileOperand<T>; 2],
    rows: Range<usize>,
    col: usize,
    (out, stride): (&mut [T], usize),
) {
    let (depth, cols) = (x.rows.z.cols(), 2 * S::LANES);
    let panel = &y.panels[col / cols * depth * cols..][..depth * cols];
    let mut done = 0;
    loop {
        let chunk = done..(done + CHUNK).min(depth);
        let mut row = rows.start;
        while row < rows.end {
            let out = &mut out[(row - rows.start) * stride..];
            let from = &x.panels[row / cols * depth * cols..][..depth * cols];
            let height = tile_rows::<T, S>(row);
            let of = (from, row % cols, (rows.end - row).min(height), chunk.clone());
            if const { S::REGISTERS == 32 && S::LANES >= 4 } {
                squares::<T, S, 8>(s, of, panel, (out, stride));
            } else {
                match height {
                    6 => squares::<T, S, 6>(s, of, panel, (out, stride)),
                    5 => squares::<T, S, 5>(s, of, panel, (out, stride)),
                    _ => squares::<T, S, 4>(s, of, panel, (out, stride)),
                }
            }
            row += height;
        }
        done = chunk.end;
        if done == depth {
            return;
        }
    }
}

/// Squared differences of `height` rows from `start` of the panel `x` and all rows of the panel `y`, summed
/// over a chunk of the depth and added to the sums of earlier chunks.
#[inline(always)]
pub(crate) fn squares<T: Real, S: Simd<T>, const ROWS: usize>(
    s: S,
    (x, start, height, chunk): (&[T], usize, usize, Range<usize>),
    y: &[T],
    (out, stride): (&mut [T], usize),
) {
    let (cols, first) = (2 * S::LANES, chunk.start == 0);
    let fits = chunk.end * cols <= x.len() && chunk.end * cols <= y.len();
    assert!(start + ROWS <= cols && fits, "a tile in one panel");
    // SAFETY: both panels hold `cols` elements for each k of the chunk, and the tile's rows lie within one.
    let sums = unsafe { sums::<T, S, ROWS, true>(s, x, start, y, chunk) };
    for (r, sums) in sums.into_iter().enumerate().take(height) {
        for (v, sum) in sums.into_iter().enumerate() {
            let to = &mut out[r * stride + v * S::LANES..][..S::LANES];
            s.store(if first { sum } else { s.load(to) + sum }, to);
        }
    }
}

/// Rows of a tile that starts at row `row` of a panel, such that tiles have about the same height: 8 of 32
/// or 16 rows, else 6, 5 and 5 of 16, or 4 of 8. In tiles of 4 of 16 rows, sums just cover the latency
/// (4096 x 128 on AVX2: 37 ms, and 33 with these heights).
#[inline(always)]
fn tile_rows<T: Real, S: Simd<T>>(row: usize) -> usize {
    let cols = 2 * S::LANES;
    match cols - row % cols {
        _ if S::REGISTERS == 32 && cols >= 8 => 8,
        16 => 6,
        10 | 5 => 5,
        _ => 4,
    }
}

/// Sums over some k of x_rk y_ck, or of (x_rk - y_ck)², for `ROWS` rows from `start` of one panel and all
/// columns of another.
///
/// # Safety
/// Each panel holds `2 * LANES` elements for each k below the end of `depth`; `start + ROWS` is at most
/// as many.
#[inline(always)]
pub(crate) unsafe fn sums<T: Real, S: Simd<T>, const ROWS: usize, const DIFFERENCES: bool>(
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
            // Prefetches the next chunk: 4 to 8 % of 6000 x 784, which streams through L2. (Of y it did not
            // help.)
            s.prefetch(x.as_ptr().wrapping_add(CHUNK * cols));
            let y = [s.load(y.get_unchecked(..S::LANES)), s.load(y.get_unchecked(S::LANES..))];
            for r in 0..ROWS {
                let x = s.splat(*x.get_unchecked(r));
                for v in 0..2 {
                    if DIFFERENCES {
                        let t = x - y[v];
                        sums[r][v] = s.fma(t, t, sums[r][v]);
                    } else {
                        sums[r][v] = s.fma(x, y[v], sums[r][v]);
                    }
                }
            }
        }
    }
    sums
}

/// Scratch for measuring by subtraction: a panel of columns as they are, filled when the first of its pairs
/// is to be measured.
pub(crate) struct Subtraction<T> {
    isa: Isa,
    /// The first column that `panel` holds, and the first of the elements of its rows.
    held: Option<[usize; 2]>,
    room: Option<Room<T>>,
}

pub(crate) struct Room<T> {
    panel: [T; CHUNK * PANEL_COLS],
    sums: [T; STRIP_PAIRS],
}

/// Up to so many pairs of a group are measured one by one. More are measured from a panel, all of the group
/// at once; the panel may have to be filled first.
pub(crate) const FEW: u32 = 6;

impl<T> Subtraction<T> {
    #[inline(always)]
    pub(crate) fn new(isa: Isa) -> Self {
        Subtraction { isa, held: None, room: None }
    }
}

/// Measures by subtraction the pairs that products are not trusted with, in the groups whose bit of `near`
/// is set. A kernel by itself, so that its code is not in the way of the loops over products.
pub(crate) struct Subtract<'a, T> {
    sides: [&'a TileOperand<'a, T>; 2],
    rows: Range<usize>,
    near: u32,
    col: usize,
    kinks: &'a [T],
    out: &'a mut [T],
    subtraction: &'a mut Subtraction<T>,
}

impl<T: Real> Kernel<T> for Subtract<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Subtract { sides: [x, y], rows, near, col, kinks, out, subtraction } = self;
        let (depth, cols) = (x.rows.z.cols(), 2 * S::LANES);
        let height = GROUP_PAIRS / cols;
        let trust = Trusted::new(s, Trust::<T>::new(depth, S::LANES));
        let norms = &y.norms[col..y.norms.len().min(col + cols)];
        let present = norms.len();
        let valid = [s.first(present), s.first(present.saturating_sub(S::LANES))];
        let norms = [s.load(norms), s.load(&norms[present.min(S::LANES)..])];
        let near_of = NearPairs { trust, norms, valid, kinks };
        let mut many = 0;
        for (g, row) in rows.clone().step_by(height).enumerate() {
            if near >> g & 1 == 0 {
                continue;
            }
            let some = row..(row + height).min(rows.end);
            let out = &mut out[(row - rows.start) * cols..][..some.len() * cols];
            let mut count = 0;
            for (row, out) in some.clone().zip(out.chunks_exact(cols)) {
                for v in 0..2 {
                    let d2 = s.load(&out[v * S::LANES..]);
                    count += s.count(near_of.of(s, x.norms[row], v, d2));
                }
            }
            if count > FEW {
                many |= 1_u32 << g;
                continue;
            }
            for (row, out) in some.zip(out.chunks_exact_mut(cols)) {
                for v in 0..2 {
                    let out = &mut out[v * S::LANES..][..S::LANES];
                    let near = near_of.of(s, x.norms[row], v, s.load(out));
                    if s.count(near) == 0 {
                        continue;
                    }
                    let mut flags = [T::ZERO; MOST_LANES];
                    s.store(s.select(near, s.splat(T::ONE), s.splat(T::ZERO)), &mut flags);
                    for (c, (out, &flag)) in out.iter_mut().zip(&flags).enumerate() {
                        if flag != T::ZERO {
                            let pair = [x.rows.row(row), y.rows.row(col + v * S::LANES + c)];
                            *out = squared_distance(s, pair);
                        }
                    }
                }
            }
        }
        if many == 0 {
            return;
        }
        let zero = || Room { panel: [T::ZERO; CHUNK * PANEL_COLS], sums: [T::ZERO; STRIP_PAIRS] };
        let Subtraction { held, room, .. } = subtraction;
        let Room { panel, sums } = room.get_or_insert_with(zero);
        let groups =
            || rows.clone().step_by(height).enumerate().filter(|(g, _)| many >> g & 1 == 1);
        for start in (0..depth).step_by(CHUNK) {
            let chunk = start..(start + CHUNK).min(depth);
            if *held != Some([col, start]) {
                fill_panel(&y.rows, col..col + present, chunk.clone(), cols, panel);
                *held = Some([col, start]);
            }
            for (_, row) in groups() {
                let some = row..(row + height).min(rows.end);
                let sums = &mut sums[(row - rows.start) * cols..];
                if const { S::REGISTERS == 32 } {
                    add_squares::<T, S, 8>(s, &x.rows, some, chunk.clone(), panel, sums);
                } else {
                    add_squares::<T, S, 4>(s, &x.rows, some, chunk.clone(), panel, sums);
                }
            }
        }
        for (_, row) in groups() {
            for row in row..(row + height).min(rows.end) {
                for v in 0..2 {
                    let at = (row - rows.start) * cols + v * S::LANES;
                    let out = &mut out[at..at + S::LANES];
                    let d2 = s.load(out);
                    let near = near_of.of(s, x.norms[row], v, d2);
                    s.store(s.select(near, s.load(&sums[at..]), d2), out);
                }
            }
        }
    }
}

/// The test for pairs of a row and a panel of columns that are measured by subtraction.
pub(crate) struct NearPairs<'a, T: Real, S: Simd<T>> {
    trust: Trusted<S::F>,
    norms: [S::F; 2],
    valid: [S::M; 2],
    kinks: &'a [T],
}

impl<T: Real, S: Simd<T>> NearPairs<'_, T, S> {
    /// The lanes of vector `v` to be measured, by the row's norm and the squared distances from products.
    #[inline(always)]
    fn of(&self, s: S, norm: T, v: usize, d2: S::F) -> S::M {
        let both = s.splat(norm) + self.norms[v];
        let mut near = is_near::<T, S>(s, self.trust, both, d2);
        for &kink in self.kinks {
            near = near | is_at::<T, S>(s, self.trust, both, d2, s.splat(kink));
        }
        near & self.valid[v]
    }
}

/// Fills a panel of columns with a chunk of the rows at `places`, as they are.
#[inline(always)]
pub(crate) fn fill_panel<T: Real>(
    rows: &Rows<T>,
    places: Range<usize>,
    chunk: Range<usize>,
    cols: usize,
    panel: &mut [T],
) {
    let at_once = AT_ONCE.min(cols);
    for first in places.clone().step_by(at_once) {
        let last = places.end - 1;
        let some = from_fn::<_, AT_ONCE, _>(|r| &rows.row((first + r).min(last))[chunk.clone()]);
        for (k, to) in panel.chunks_exact_mut(cols).take(chunk.len()).enumerate() {
            let to = &mut to[first - places.start..][..at_once];
            for r in 0..at_once {
                to[r] = some[r][k];
            }
        }
    }
}

/// Squared differences of some rows from a panel, summed over a chunk of the depth and added to the sums of
/// earlier chunks. The panel holds the same chunk of its rows.
#[inline(always)]
pub(crate) fn add_squares<T: Real, S: Simd<T>, const ROWS: usize>(
    s: S,
    x: &Rows<T>,
    rows: Range<usize>,
    chunk: Range<usize>,
    panel: &[T],
    out: &mut [T],
) {
    let cols = 2 * S::LANES;
    for row in rows.clone().step_by(ROWS) {
        let last = rows.end - 1;
        let some = from_fn::<_, ROWS, _>(|r| &x.row((row + r).min(last))[chunk.clone()]);
        assert!(panel.len() >= chunk.len() * cols, "a panel of the chunk");
        let mut sums = [[s.splat(T::ZERO); 2]; ROWS];
        for k in 0..chunk.len() {
            // SAFETY: all rows hold the chunk's elements, and the panel `cols` for each of them.
            unsafe {
                let y = panel.get_unchecked(k * cols..(k + 1) * cols);
                let y = [s.load(y.get_unchecked(..S::LANES)), s.load(y.get_unchecked(S::LANES..))];
                for r in 0..ROWS {
                    let x = s.splat(*some[r].get_unchecked(k));
                    for v in 0..2 {
                        let t = x - y[v];
                        sums[r][v] = s.fma(t, t, sums[r][v]);
                    }
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate().take(rows.end - row) {
            for (v, sum) in sums.into_iter().enumerate() {
                let at = (row - rows.start + r) * cols + v * S::LANES;
                let to = &mut out[at..at + S::LANES];
                s.store(if chunk.start == 0 { sum } else { s.load(to) + sum }, to);
            }
        }
    }
}

/// |x - y|² of one pair, with the same bits as from a panel.
#[inline(always)]
pub(crate) fn squared_distance<T: Real, S: Simd<T>>(s: S, [x, y]: [&[T]; 2]) -> T {
    let mut all: Option<S::F> = None;
    for (x, y) in x.chunks(CHUNK).zip(y.chunks(CHUNK)) {
        let mut sum = s.splat(T::ZERO);
        for (&x, &y) in x.iter().zip(y) {
            let t = s.splat(x) - s.splat(y);
            sum = s.fma(t, t, sum);
        }
        all = Some(match all {
            Some(before) => before + sum,
            None => sum,
        });
    }
    let mut lanes = [T::ZERO; MOST_LANES];
    s.store(all.unwrap_or(s.splat(T::ZERO)), &mut lanes);
    lanes[0]
}
