//! Every pair of two blocks of rows: distances in a register tile, slopes, gradients by products.
//!
//! ```text
//! grad = (diag(C 1) - C) Z        C the symmetric matrix of slopes, zero on its diagonal
//! ```
//!
//! A block of C exists for a moment only, in a scratch that stays in L2. Distances are formed by
//! subtraction from the rows themselves, with the columns of a tile in lanes, so close pairs keep
//! their relative precision. The products take rows from which the batch's mean has been taken,
//! which changes no gradient; a pair much closer than its rows are to the mean would still cancel,
//! so its slope is left out of C and its difference added by itself. So are the pairs of a row that
//! is not finite, since 0 times infinity is no 0.
//!
//! A tile between classes that are farther apart than the loss reaches is not even measured, and a
//! block without an active pair is not multiplied: slopes of 0 contribute nothing either way.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::blocks::BLOCK_PAIRS;
use super::classes::{NO_CLASS, Rows, Spheres};
use super::product::{Broadcast, Contiguous, Initial, OffsetTable, Output, Product};
use super::tally::{tally, weigh_slopes};
use crate::graph::Graph;
use crate::isa::Isa;
use crate::loss::{BlockLoss, Pairing, Sums};
use crate::real::Real;
use crate::simd::{Kernel, Simd};

/// Rows of a block at most: a block of slopes takes 64 KiB in `f32`.
pub(crate) const MOST_ROWS: usize = 128;

/// Elements of a block of slopes.
pub(crate) const BLOCK_OF_SLOPES: usize = MOST_ROWS * MOST_ROWS;

/// Columns of a tile: a function of the tier's width alone, which is why panels depend on the tier.
pub(crate) fn tile_cols<T>(isa: Isa) -> usize {
    2 * isa.lanes::<T>()
}

/// A pair whose squared distance is below this share of a squared norm is too close for products.
const CLOSE: f64 = 1e-6;

/// Which pairs of the batch are similar.
#[derive(Clone, Copy)]
pub(crate) enum Kinds<'a> {
    /// Rows of the same class; those of class [`NO_CLASS`] are in no pair. By place, ascending.
    Classes(&'a [u32]),
    Graph(&'a Graph),
}

/// What all blocks of a batch read.
pub(crate) struct Batch<'a, T> {
    pub isa: Isa,
    pub loss: &'a dyn BlockLoss<T>,
    pub rows: Rows<'a, T>,
    pub kinds: Kinds<'a>,
    /// Where rows are known by classes, and the loss has a reach.
    pub spheres: Option<Spheres<'a, T>>,
    /// What slopes of similar and of dissimilar pairs are multiplied by.
    pub factors: [T; 2],
    /// The rows in panels of [`tile_cols`]: element k of row c of a panel is at `k * cols + c`.
    pub panels: &'a [T],
    /// The rows without their mean, and their squared lengths; empty where no gradient is asked for.
    /// Rows whose length is not finite are 0 here, of length NaN; rows in no pair are 0.
    pub centered: &'a [T],
    pub norms: &'a [T],
    pub offsets: &'a BlockOffsets,
}

/// Where the operands of the products lie, planned once a batch.
pub(crate) struct BlockOffsets {
    /// 0, 1, 2, ... and 0, MOST_ROWS, 2 MOST_ROWS, ...: along a block of slopes.
    along: OffsetTable,
    across: OffsetTable,
    /// The starts of the batch's rows.
    rows: OffsetTable,
}

impl BlockOffsets {
    pub(crate) fn new(rows: usize, cols: usize) -> Self {
        BlockOffsets {
            along: OffsetTable::linear(MOST_ROWS, 1),
            across: OffsetTable::linear(MOST_ROWS, MOST_ROWS),
            rows: OffsetTable::linear(rows, cols),
        }
    }
}

/// What a block of rows gets: its part of the gradient, and sums of slopes that its own rows are
/// multiplied by when all blocks are done. Both are added to.
pub(crate) struct BlockOut<'a, T> {
    pub grad: &'a mut [T],
    pub slope_sums: &'a mut [T],
}

/// All pairs of rows `i` with rows `j`, which start at a panel; or all pairs among rows `i`, where
/// both are the same.
pub(crate) struct BlockPair<'a, T> {
    pub batch: &'a Batch<'a, T>,
    pub i: Range<usize>,
    pub j: Range<usize>,
    /// Of rows i, and of rows j where those are others; none where no gradient is asked for.
    pub out: Option<(BlockOut<'a, T>, Option<BlockOut<'a, T>>)>,
    /// Scratch for a block of -C: [`BLOCK_OF_SLOPES`] elements of any content, where a gradient is
    /// asked for.
    pub slopes: &'a mut [T],
}

impl<T: Real> Kernel<T> for BlockPair<'_, T> {
    type Output = Sums;

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) -> Sums {
        // Sums of a tile take half of the registers or less: each pair of vectors is loaded once
        // and serves all rows.
        if S::LANES * size_of::<T>() >= 64 { self.tiles::<S, 8>(s) } else { self.tiles::<S, 4>(s) }
    }
}

/// A tile's pairs: row r and column c at `r * cols + c`.
pub(super) struct TilePairs<T> {
    slopes: [T; BLOCK_PAIRS],
    values: [T; BLOCK_PAIRS],
    similar: [bool; BLOCK_PAIRS],
    ignored: [bool; BLOCK_PAIRS],
    close: [bool; BLOCK_PAIRS],
}

impl<T: Real> TilePairs<T> {
    pub(super) fn new() -> Self {
        TilePairs {
            slopes: [T::ZERO; BLOCK_PAIRS],
            values: [T::ZERO; BLOCK_PAIRS],
            similar: [false; BLOCK_PAIRS],
            ignored: [false; BLOCK_PAIRS],
            close: [false; BLOCK_PAIRS],
        }
    }

    /// The slopes of a tile.
    #[inline(always)]
    pub(super) fn slopes(&self, rows: usize, cols: usize) -> &[T] {
        &self.slopes[..rows * cols]
    }
}

impl<T: Real> BlockPair<'_, T> {
    #[inline(always)]
    fn tiles<S: Simd<T>, const ROWS: usize>(&mut self, s: S) -> Sums {
        let cols = 2 * S::LANES;
        let mut pairs = TilePairs::new();
        let mut sums = Sums::default();
        let among = self.i == self.j;
        for row in self.i.clone().step_by(ROWS) {
            let rows = row..(row + ROWS).min(self.i.end);
            for col in self.j.clone().step_by(cols) {
                // Among the rows of a block, tiles below the diagonal hold the same pairs again.
                if among && col + cols <= rows.start + 1 {
                    continue;
                }
                sums = sums + self.tile::<S, ROWS>(s, rows.clone(), col, &mut pairs);
            }
        }
        self.gradients(s, among);
        sums
    }

    /// One tile, and its slopes into the block.
    #[inline(always)]
    fn tile<S: Simd<T>, const ROWS: usize>(
        &mut self,
        s: S,
        rows: Range<usize>,
        col: usize,
        pairs: &mut TilePairs<T>,
    ) -> Sums {
        let (cols, height) = (2 * S::LANES, rows.len());
        let at = [rows.start - self.i.start, col - self.j.start];
        let width = cols.min(MOST_ROWS - at[1]);
        if let Some(sums) = self.skip(s, rows.clone(), col) {
            if self.out.is_some() {
                for r in 0..height {
                    self.slopes[(at[0] + r) * MOST_ROWS + at[1]..][..width].fill(T::ZERO);
                }
            }
            return sums;
        }
        let mut any_close = false;
        let sums = self.evaluate::<S, ROWS>(s, rows.clone(), col, pairs, |block, pairs| {
            let TilePairs { slopes, close, .. } = pairs;
            any_close = block.find_close(s, rows.clone(), col, slopes, close);
        });
        if self.out.is_some() {
            if any_close {
                self.add_close(s, rows.clone(), col, pairs);
            }
            for (r, slopes) in pairs.slopes(height, cols).chunks_exact(cols).enumerate() {
                let start = (at[0] + r) * MOST_ROWS + at[1];
                for (to, &slope) in self.slopes[start..start + width].iter_mut().zip(slopes) {
                    *to = -slope;
                }
            }
        }
        sums
    }

    /// What a tile adds up to whose pairs are all dissimilar and out of reach: nothing but their
    /// number. None where that is not known.
    #[inline(always)]
    pub(super) fn skip<S: Simd<T>>(&self, s: S, rows: Range<usize>, col: usize) -> Option<Sums> {
        /// Classes of a tile's rows or columns that are worth looking at.
        const FEW: u32 = 4;
        let (Some(spheres), Kinds::Classes(classes)) = (self.batch.spheres, self.batch.kinds)
        else {
            return None;
        };
        let cols = col..self.j.end.min(col + 2 * S::LANES);
        if self.i == self.j && cols.start < rows.end {
            return None;
        }
        let range = |of: &Range<usize>| (classes[of.start], classes[of.end - 1]);
        let ((first, last), (low, high)) = (range(&rows), range(&cols));
        let many = last - first >= FEW || high - low >= FEW;
        if many || last == NO_CLASS || high == NO_CLASS || (first <= high && low <= last) {
            return None;
        }
        for one in first..=last {
            for other in low..=high {
                if !spheres.apart(s, one as usize, other as usize) {
                    return None;
                }
            }
        }
        let mut sums = Sums::default();
        sums.dissimilar.pairs = (rows.len() * cols.len()) as u64;
        Some(sums)
    }

    /// Distances, values and, where a gradient is asked for, slopes of a tile. `look` sees the
    /// squared distances before they become slopes.
    #[inline(always)]
    pub(super) fn evaluate<S: Simd<T>, const ROWS: usize>(
        &self,
        s: S,
        rows: Range<usize>,
        col: usize,
        pairs: &mut TilePairs<T>,
        look: impl FnOnce(&Self, &mut TilePairs<T>),
    ) -> Sums {
        let len = rows.len() * 2 * S::LANES;
        self.squared_distances::<S, ROWS>(s, rows.clone(), col, &mut pairs.slopes[..len]);
        if self.out.is_some() {
            look(self, pairs);
        }
        let TilePairs { slopes, values, similar, ignored, .. } = pairs;
        let (slopes, values) = (&mut slopes[..len], &mut values[..len]);
        let (similar, ignored) = (&mut similar[..len], &mut ignored[..len]);
        let whole = self.kinds(rows, col, similar, ignored);
        self.batch.loss.eval_block(self.batch.isa, slopes, similar, values);
        let mut pairing = Pairing::new(similar);
        if !whole {
            pairing = pairing.ignoring(ignored);
        }
        if self.out.is_some() {
            weigh_slopes(s, pairing, self.batch.factors, slopes);
        }
        tally(s, pairing, values)
    }

    /// |z_i - z_j|² of a tile. A row past the block's end is its last one again.
    #[inline(always)]
    fn squared_distances<S: Simd<T>, const ROWS: usize>(
        &self,
        s: S,
        rows: Range<usize>,
        col: usize,
        out: &mut [T],
    ) {
        let (depth, cols) = (self.batch.rows.z.cols(), 2 * S::LANES);
        let panel = &self.batch.panels[col / cols * depth * cols..][..depth * cols];
        let row = |r: usize| &self.batch.rows.row((rows.start + r).min(rows.end - 1))[..depth];
        let rows_of: [&[T]; ROWS] = std::array::from_fn(row);
        let mut sums = [[s.splat(T::ZERO); 2]; ROWS];
        for (k, b) in panel.chunks_exact(cols).enumerate() {
            let b = [s.load(&b[..S::LANES]), s.load(&b[S::LANES..])];
            for r in 0..ROWS {
                let a = s.splat(rows_of[r][k]);
                for v in 0..2 {
                    let t = a - b[v];
                    sums[r][v] = s.fma(t, t, sums[r][v]);
                }
            }
        }
        for (sums, out) in sums.into_iter().zip(out.chunks_exact_mut(cols)) {
            s.store(sums[0], &mut out[..S::LANES]);
            s.store(sums[1], &mut out[S::LANES..]);
        }
    }

    /// Which pairs of a tile are similar and which are none; whether all of them are pairs.
    #[inline(always)]
    fn kinds(
        &self,
        rows: Range<usize>,
        col: usize,
        similar: &mut [bool],
        ignored: &mut [bool],
    ) -> bool {
        let cols = similar.len() / rows.len();
        let present = cols.min(self.j.end - col);
        let above_diagonal = self.i != self.j || col > rows.end - 1;
        let mut whole = present == cols && above_diagonal;
        for (r, row) in rows.clone().enumerate() {
            let similar = &mut similar[r * cols..][..cols];
            match self.batch.kinds {
                Kinds::Classes(classes) => {
                    let class = classes[row];
                    for (similar, &other) in similar.iter_mut().zip(&classes[col..col + present]) {
                        *similar = other == class;
                    }
                }
                Kinds::Graph(graph) => {
                    similar.fill(false);
                    let neighbours = graph.neighbours(row);
                    let from = neighbours.partition_point(|&j| (j as usize) < col);
                    for &j in
                        neighbours[from..].iter().take_while(|&&j| (j as usize) < col + present)
                    {
                        similar[j as usize - col] = true;
                    }
                }
            }
            similar[present..].fill(false);
        }
        if let Kinds::Classes(classes) = self.batch.kinds {
            let none = |classes: &[u32]| classes.contains(&NO_CLASS);
            whole &= !none(&classes[rows.clone()]) && !none(&classes[col..col + present]);
        }
        if !whole {
            for (r, row) in rows.enumerate() {
                for (c, ignored) in ignored[r * cols..][..cols].iter_mut().enumerate() {
                    let none = |row: usize| match self.batch.kinds {
                        Kinds::Classes(classes) => classes[row] == NO_CLASS,
                        Kinds::Graph(_) => false,
                    };
                    let twice = self.i == self.j && col + c <= row;
                    *ignored = c >= present || twice || none(row) || none(col + c);
                }
            }
        }
        whole
    }

    /// Which pairs are much closer than their rows are long, or hold a row whose norm is NaN because
    /// its length is not finite; whether there are any.
    #[inline(always)]
    fn find_close<S: Simd<T>>(
        &self,
        s: S,
        rows: Range<usize>,
        col: usize,
        d2: &[T],
        close: &mut [bool],
    ) -> bool {
        let cols = 2 * S::LANES;
        let share = s.splat(T::from_f64(CLOSE));
        let norms = &self.batch.norms[col..self.j.end.min(col + cols)];
        let mut any = 0;
        for (r, row) in rows.clone().enumerate() {
            let own = s.splat(self.batch.norms[row]);
            for (v, norms) in norms.chunks(S::LANES).enumerate() {
                let d2 = s.load(&d2[r * cols + v * S::LANES..][..norms.len()]);
                let limit = share * (own + s.load(norms));
                let far = s.lt(limit, d2) | s.eq(limit, d2);
                any += s.count(!far & s.first(norms.len()));
            }
        }
        if any == 0 {
            return false;
        }
        close.fill(false);
        for (r, row) in rows.enumerate() {
            for (c, &norm) in norms.iter().enumerate() {
                let limit = T::from_f64(CLOSE) * (self.batch.norms[row] + norm);
                let d2 = d2[r * cols + c];
                close[r * cols + c] = d2 < limit || d2.is_nan() || limit.is_nan();
            }
        }
        true
    }

    /// Adds the gradients of close pairs by themselves, and takes their slopes out of the tile. A slope
    /// of 0 contributes nothing, whatever the difference is.
    #[inline(always)]
    fn add_close<S: Simd<T>>(
        &mut self,
        s: S,
        rows: Range<usize>,
        col: usize,
        TilePairs { slopes, close, .. }: &mut TilePairs<T>,
    ) {
        let (depth, cols) = (self.batch.rows.z.cols(), 2 * S::LANES);
        let Some((out_i, out_j)) = &mut self.out else { return };
        for (r, row) in rows.enumerate() {
            for c in (0..cols).filter(|c| close[r * cols + c]) {
                let slope = std::mem::replace(&mut slopes[r * cols + c], T::ZERO);
                if slope == T::ZERO {
                    continue;
                }
                let other = col + c;
                let inputs = [self.batch.rows.row(row), self.batch.rows.row(other)];
                let (i, j) = ((row - self.i.start) * depth, (other - self.j.start) * depth);
                // Among the rows of a block the other row comes behind this one.
                let (grad_i, grad_j) = match out_j {
                    Some(out_j) => (&mut out_i.grad[i..], &mut out_j.grad[j..]),
                    None => {
                        let (before, from) = out_i.grad.split_at_mut(j);
                        (&mut before[i..], from)
                    }
                };
                let grads = [&mut grad_i[..depth], &mut grad_j[..depth]];
                add_difference(s, slope, inputs, grads);
            }
        }
    }

    /// From the block of -C to both gradients.
    #[inline(always)]
    fn gradients<S: Simd<T>>(&mut self, s: S, among: bool) {
        let Some((out_i, out_j)) = &mut self.out else { return };
        let (height, width) = (self.i.len(), self.j.len());
        if among {
            // The half that has been computed is mirrored: C is symmetric.
            for r in 0..height {
                self.slopes[r * MOST_ROWS + r] = T::ZERO;
                for c in 0..r {
                    self.slopes[r * MOST_ROWS + c] = self.slopes[c * MOST_ROWS + r];
                }
            }
        }
        let zero = s.splat(T::ZERO);
        let mut active = 0;
        let mut column_sums = [T::ZERO; MOST_ROWS];
        for r in 0..height {
            let row = &self.slopes[r * MOST_ROWS..][..width];
            let mut sum = zero;
            for (slopes, columns) in row.chunks(S::LANES).zip(column_sums.chunks_mut(S::LANES)) {
                let slopes = s.load(slopes);
                sum = sum + slopes;
                active += s.count(s.nonzero(slopes));
                s.store(s.load(columns) + slopes, columns);
            }
            out_i.slope_sums[r] += -s.sum(sum);
        }
        if active == 0 {
            return;
        }
        let [along, across] = [&self.batch.offsets.along, &self.batch.offsets.across];
        let by_row = Broadcast {
            data: &*self.slopes,
            rows: across.range(0..height),
            depth: along.range(0..width),
        };
        self.batch.add_product(by_row, self.j.clone(), out_i.grad);
        if let Some(out_j) = out_j {
            for (sum, column) in out_j.slope_sums.iter_mut().zip(column_sums) {
                *sum += -column;
            }
            let by_column = Broadcast {
                data: &*self.slopes,
                rows: along.range(0..width),
                depth: across.range(0..height),
            };
            self.batch.add_product(by_column, self.i.clone(), out_j.grad);
        }
    }
}

impl<T: Real> Batch<'_, T> {
    /// grad += (-C) Z for the rows of a block.
    #[inline(always)]
    fn add_product(&self, slopes: Broadcast<T>, rows: Range<usize>, grad: &mut [T]) {
        let depth = self.rows.z.cols();
        let b = Contiguous { data: self.centered, from: self.offsets.rows.range(rows) };
        let c = Output { data: grad, stride: depth, width: depth };
        T::dispatch(self.isa, Product { a: slopes, b, initial: Initial::Output, c });
    }
}

/// grad_x += slope (x - y), grad_y -= slope (x - y)
#[inline(always)]
fn add_difference<T: Real, S: Simd<T>>(
    s: S,
    slope: T,
    [x, y]: [&[T]; 2],
    [grad_x, grad_y]: [&mut [T]; 2],
) {
    let slope = s.splat(slope);
    for at in (0..x.len()).step_by(S::LANES) {
        let lanes = at..(at + S::LANES).min(x.len());
        let g = slope * (s.load(&x[lanes.clone()]) - s.load(&y[lanes.clone()]));
        let (to_x, to_y) = (&mut grad_x[lanes.clone()], &mut grad_y[lanes]);
        s.store(s.load(to_x) + g, to_x);
        s.store(s.load(to_y) - g, to_y);
    }
}
