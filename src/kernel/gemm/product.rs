//! The register tile of every matrix product in the layers: dense, convolution, and their gradients.
//!
//! ```text
//! c[i][j] = initial + sum over k of a[rows[i] + depth[k]] b[from[k] + j]
//! ```
//!
//! One operand is read an element at a time and broadcast, so it may lie anywhere: a table of offsets for
//! its rows and one for its depth make it a matrix, a transposed matrix or the patches of an image, without
//! a copy. The other one is read in vectors, so its elements are contiguous along j. The depth may come in
//! several turns; both operands move by a step from one turn to the next. Up to
//! [`TILE_ROWS`](Simd::TILE_ROWS) rows by two vectors stay in registers for the whole depth; with 32
//! registers also seven rows by three vectors, which read less for each product. (Eight by three spill.)

#![allow(unsafe_code, reason = "offsets are checked once a product, not once an element")]

use std::ops::Range;

use crate::error::Result;
use crate::memory::reserve::try_with_capacity;
use crate::simd::isa::Isa;
use crate::simd::real::{Real, compiled};
use crate::simd::{Kernel, Simd};

/// A table of offsets into an operand, planned once, with its largest offset.
#[derive(Clone, Debug, Default)]
pub(crate) struct OffsetTable {
    table: Vec<usize>,
    largest: usize,
    ascending: bool,
    step: Option<usize>,
}

/// A range of a table of offsets.
#[derive(Clone, Copy)]
pub(crate) struct Offsets<'a> {
    table: &'a [usize],
    /// At least as large as every offset in the table.
    largest: usize,
    /// The step from each offset to the next, where it is the same all along.
    step: Option<usize>,
}

impl OffsetTable {
    /// A table of these offsets; refused where there is no memory for it, since it is as long as the layer
    /// is large.
    pub(crate) fn new(offsets: impl ExactSizeIterator<Item = usize>) -> Result<Self> {
        let mut table = try_with_capacity("the plan of a layer", offsets.len())?;
        table.extend(offsets);
        Ok(OffsetTable::from(table))
    }

    /// 0, step, 2 step, ...
    pub(crate) fn linear(len: usize, step: usize) -> Result<Self> {
        OffsetTable::new((0..len).map(|i| i * step))
    }

    /// All offsets.
    pub(crate) fn all(&self) -> Offsets<'_> {
        Offsets { table: &self.table, largest: self.largest, step: self.step }
    }

    /// The offsets at a range of places.
    pub(crate) fn range(&self, range: Range<usize>) -> Offsets<'_> {
        let table = &self.table[range];
        let largest = match self.ascending {
            true => table.last().copied(),
            false => table.iter().copied().max(),
        };
        Offsets { table, largest: largest.unwrap_or(0), step: self.step }
    }
}

impl From<Vec<usize>> for OffsetTable {
    fn from(table: Vec<usize>) -> Self {
        let largest = table.iter().copied().max().unwrap_or(0);
        let ascending = table.is_sorted();
        let first = table.get(1).map_or(Some(1), |second| second.checked_sub(table[0]));
        let even =
            |step: &usize| table.windows(2).all(|of| of[1].checked_sub(of[0]) == Some(*step));
        let step = first.filter(even);
        OffsetTable { table, largest, ascending, step }
    }
}

impl<'a> Offsets<'a> {
    pub(crate) fn as_slice(self) -> &'a [usize] {
        self.table
    }

    /// A number that no offset exceeds.
    pub(crate) fn largest(self) -> usize {
        self.largest
    }
}

/// The operand that is broadcast: element (i, k) is `data[rows[i] + depth[k]]`, in turn t
/// `data[start + t step + rows[i] + depth[k]]`.
#[derive(Clone, Copy)]
pub(crate) struct Broadcast<'a, T> {
    data: &'a [T],
    rows: Offsets<'a>,
    depth: Offsets<'a>,
    start: usize,
    step: isize,
}

impl<'a, T> Broadcast<'a, T> {
    pub(crate) fn new(data: &'a [T], rows: Offsets<'a>, depth: Offsets<'a>) -> Self {
        Broadcast { data, rows, depth, start: 0, step: 0 }
    }

    /// Sets where the first turn starts, and the step to the next one, both in elements.
    pub(crate) fn turning(self, start: usize, step: isize) -> Self {
        Broadcast { start, step, ..self }
    }
}

/// The operand that is read in vectors: element (k, j) is `data[from[k] scale + j]`, in turn t
/// `data[t step + from[k] scale + j]`.
#[derive(Clone, Copy)]
pub(crate) struct Contiguous<'a, T> {
    pub data: &'a [T],
    pub from: Offsets<'a>,
    /// How many elements an offset stands for.
    pub scale: usize,
    step: usize,
}

impl<'a, T> Contiguous<'a, T> {
    pub(crate) fn new(data: &'a [T], from: Offsets<'a>) -> Self {
        Contiguous { data, from, scale: 1, step: 0 }
    }

    pub(crate) fn scaled(self, scale: usize) -> Self {
        Contiguous { scale, ..self }
    }

    /// Sets the step from one turn to the next, in elements.
    pub(crate) fn turning(self, step: usize) -> Self {
        Contiguous { step, ..self }
    }
}

/// The values that a product is added to.
#[derive(Clone, Copy)]
pub(crate) enum Initial<'a, T> {
    /// Nothing.
    Zero,
    /// The values that the output holds.
    Output,
    /// One value a row of the output.
    PerRow(&'a [T]),
    /// One value a column of the output.
    PerColumn(&'a [T]),
}

/// The output: element (i, j) is `data[i * stride + j]` for j below `width`.
pub(crate) struct Output<'a, T> {
    pub data: &'a mut [T],
    pub stride: usize,
    pub width: usize,
}

/// A product, for [`multiply`]: c = initial + a b, summed over the turns.
pub(crate) struct Product<'a, T> {
    pub a: Broadcast<'a, T>,
    pub b: Contiguous<'a, T>,
    pub turns: usize,
    pub initial: Initial<'a, T>,
    pub c: Output<'a, T>,
}

/// Runs a product on a tier. Kernels that multiply call this too, so that the tiles are compiled once per
/// tier rather than once per kernel.
#[inline(never)]
pub(crate) fn multiply<T: Real>(isa: Isa, product: Product<T>) {
    T::dispatch(isa, product);
}
compiled!(multiply::<T>);

/// The most vectors of columns in a tile: 3 where there are 32 registers, 2 where there are 16.
pub(crate) fn most_vectors(isa: Isa) -> usize {
    if isa.registers() == 32 { 3 } else { 2 }
}

impl<T: Real> Kernel<T> for Product<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        product(s, self);
    }
}

/// Cuts the columns into panels, and the rows of each panel into tiles.
///
/// # Panics
/// Where an operand or the output is too small for its offsets.
#[inline(always)]
fn product<T: Real, S: Simd<T>>(s: S, Product { a, b, turns, initial, c }: Product<T>) {
    let (m, depth) = (a.rows.table.len(), a.depth.table.len());
    assert_eq!(b.from.table.len(), depth, "depth of both operands");
    if m == 0 || c.width == 0 {
        return;
    }
    // The elements furthest out lie within their slices, so all that a tile reads or writes do.
    assert!(c.stride >= c.width && (m - 1) * c.stride + c.width <= c.data.len(), "output");
    assert!(depth > 0 && turns > 0, "a product without depth");
    let last = a.start.checked_add_signed(a.step * (turns - 1) as isize).expect("the last turn");
    let start = a.start.max(last);
    assert!(start + a.rows.largest + a.depth.largest < a.data.len(), "broadcast operand");
    let start = (turns - 1) * b.step;
    assert!(start + b.from.largest * b.scale + c.width <= b.data.len(), "contiguous operand");
    let vectors = c.width.div_ceil(S::LANES);
    let most = if S::REGISTERS == 32 && c.width % S::LANES == 0 { 3 } else { 2 };
    let panels = vectors.div_ceil(most);
    let high = if most == 3 { 7 } else { S::TILE_ROWS };
    let tiles = m.div_ceil(high);
    for panel in 0..panels {
        let j = vectors * panel / panels * S::LANES;
        let end = (vectors * (panel + 1) / panels * S::LANES).min(c.width);
        let width = end - j;
        let mut start = 0;
        for t in 0..tiles {
            // Tiles of equal height: of nine rows, a tile of one after a tile of eight would wait for its
            // latency.
            let end = m * (t + 1) / tiles;
            let (c, stride) = (c.data.as_mut_ptr(), c.stride);
            let tile = Tile { a, b, turns, initial, c, stride, j, width };
            // SAFETY: the assertions above cover all turns, rows and columns, and the whole depth.
            unsafe { tile.run(s, start..end) }
            start = end;
        }
    }
}

/// A register tile: 1 to 8 rows by at most two vectors of columns, or 1 to 7 by three.
struct Tile<'a, T> {
    a: Broadcast<'a, T>,
    b: Contiguous<'a, T>,
    turns: usize,
    initial: Initial<'a, T>,
    c: *mut T,
    stride: usize,
    j: usize,
    width: usize,
}

impl<T: Real> Tile<'_, T> {
    /// # Safety
    /// All offsets of the operands, and the output's rows and columns of the tile, lie within
    /// their slices; there are 1 to `TILE_ROWS` rows and 1 to 2 `LANES` columns, or, where
    /// there are 32 registers, 1 to 7 rows and 3 `LANES` columns.
    #[inline(always)]
    unsafe fn run<S: Simd<T>>(self, s: S, rows: Range<usize>) {
        // SAFETY: the caller's promise is the callee's.
        unsafe {
            if const { S::REGISTERS == 32 } && self.width == 3 * S::LANES {
                return self.of_height::<S, 3, true>(s, rows);
            }
            match self.width {
                w if w == 2 * S::LANES => self.of_height::<S, 2, true>(s, rows),
                w if w > S::LANES => self.of_height::<S, 2, false>(s, rows),
                w if w == S::LANES => self.of_height::<S, 1, true>(s, rows),
                _ => self.of_height::<S, 1, false>(s, rows),
            }
        }
    }

    /// # Safety
    /// As for [`run`](Tile::run).
    #[inline(always)]
    unsafe fn of_height<S: Simd<T>, const V: usize, const FULL: bool>(
        self,
        s: S,
        rows: Range<usize>,
    ) {
        // SAFETY: the caller's promise is the callee's.
        unsafe {
            match rows.len() {
                1 => self.multiply::<S, 1, V, FULL>(s, rows.start),
                2 => self.multiply::<S, 2, V, FULL>(s, rows.start),
                // The condition is a constant, so a tier compiles only the tiles that it has.
                3 if const { S::TILE_ROWS >= 3 } => self.multiply::<S, 3, V, FULL>(s, rows.start),
                4 if const { S::TILE_ROWS >= 4 } => self.multiply::<S, 4, V, FULL>(s, rows.start),
                5 if const { S::TILE_ROWS >= 5 } => self.multiply::<S, 5, V, FULL>(s, rows.start),
                6 if const { S::TILE_ROWS >= 6 } => self.multiply::<S, 6, V, FULL>(s, rows.start),
                7 if const { S::TILE_ROWS >= 7 } => self.multiply::<S, 7, V, FULL>(s, rows.start),
                8 if const { V < 3 && S::TILE_ROWS >= 8 } => {
                    self.multiply::<S, 8, V, FULL>(s, rows.start)
                }
                height => unreachable!("a tile of {height} rows"),
            }
        }
    }

    /// # Safety
    /// As for [`run`](Tile::run), with `M` rows from `start`, `V` vectors of columns, all of them
    /// full or the last one not.
    #[inline(always)]
    unsafe fn multiply<S: Simd<T>, const M: usize, const V: usize, const FULL: bool>(
        self,
        s: S,
        start: usize,
    ) {
        // SAFETY: as promised by the caller; each pointer is offset within its own slice.
        unsafe {
            let a = self.a.data.as_ptr().add(self.a.start);
            let mut rows = [a; M];
            for i in 0..M {
                rows[i] = a.add(self.a.rows.table[start + i]);
            }
            let mut b = self.b.data.as_ptr().add(self.j);
            let c = self.c.add(start * self.stride + self.j);
            let mut lanes = [S::LANES; V];
            if !FULL {
                lanes[V - 1] = self.width - (V - 1) * S::LANES;
            }
            let mut sums = [[s.splat(T::ZERO); V]; M];
            // One loop for each case: with the cases inside it, the loop is too large for the
            // compiler to unroll, and the sums stay in memory.
            match self.initial {
                Initial::Zero => {}
                Initial::PerRow(values) => {
                    for i in 0..M {
                        sums[i] = [s.splat(values[start + i]); V];
                    }
                }
                Initial::PerColumn(values) => {
                    let mut row = [s.splat(T::ZERO); V];
                    for v in 0..V {
                        row[v] = s.load(&values[self.j + v * S::LANES..][..lanes[v]]);
                    }
                    sums = [row; M];
                }
                // Added at the end: its lines have the whole depth to arrive in.
                Initial::Output => {
                    for i in 0..M {
                        s.prefetch(c.add(i * self.stride).cast_const());
                    }
                }
            }
            // Where both operands move by even steps, no offsets are read. With the output added at the end these
            // loops alone took 5 to 10 % less on Zen 3, calls on all pairs up to 9 % less.
            // (The low tiles, which are few, have one loop.)
            let mut even = None;
            if const { FULL && M >= 5 } {
                even = self.a.depth.step.zip(self.b.from.step).map(|(k, b)| [k, b * self.b.scale]);
            }
            for turn in 0..self.turns {
                if turn > 0 {
                    for i in 0..M {
                        rows[i] = rows[i].offset(self.a.step);
                    }
                    b = b.add(self.b.step);
                }
                if let Some([k_step, b_step]) = even {
                    let mut b = b.add(self.b.from.table[0] * self.b.scale);
                    let mut k = self.a.depth.table[0];
                    for _ in 0..self.a.depth.table.len() {
                        multiply_row(s, &rows, k, (b, lanes), &mut sums);
                        k += k_step;
                        b = b.wrapping_add(b_step);
                    }
                    continue;
                }
                for (&k, &from) in self.a.depth.table.iter().zip(self.b.from.table) {
                    let b = b.add(from * self.b.scale);
                    multiply_row(s, &rows, k, (b, lanes), &mut sums);
                }
            }
            for i in 0..M {
                for v in 0..V {
                    let c = c.add(i * self.stride + v * S::LANES);
                    let c = std::slice::from_raw_parts_mut(c, lanes[v]);
                    if let Initial::Output = self.initial {
                        sums[i][v] = s.load(c) + sums[i][v];
                    }
                    s.store(sums[i][v], c);
                }
            }
        }
    }
}

/// Adds the products of one row of the contiguous operand, at `b`, with element `k` of some rows.
///
/// # Safety
/// Each row holds element `k`, and `b` points to as many elements as there are `lanes`.
#[inline(always)]
unsafe fn multiply_row<T: Real, S: Simd<T>, const M: usize, const V: usize>(
    s: S,
    rows: &[*const T; M],
    k: usize,
    (b, lanes): (*const T, [usize; V]),
    sums: &mut [[S::F; V]; M],
) {
    // SAFETY: as promised by the caller.
    unsafe {
        let mut vectors = [s.splat(T::ZERO); V];
        for v in 0..V {
            let b = b.add(v * S::LANES);
            vectors[v] = s.load(std::slice::from_raw_parts(b, lanes[v]));
        }
        for i in 0..M {
            let a = s.splat(*rows[i].add(k));
            for v in 0..V {
                sums[i][v] = s.fma(a, vectors[v], sums[i][v]);
            }
        }
    }
}
