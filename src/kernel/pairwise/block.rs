//! Every pair of two blocks of rows: distances in a register tile, slopes, gradients by products.
//!
//! ```text
//! grad = (diag(C 1) - C) Z        C the symmetric matrix of slopes, zero on its diagonal
//! ```
//!
//! A block of C exists for a moment only, in a scratch that stays in L2. The products take rows from
//! which the batch's mean has been taken, which changes no gradient; a pair much closer than its rows
//! are to the mean would still cancel, so its slope is left out of C and its difference added by
//! itself. Pairs of a row that is not finite are handled the same way: in a product, 0 times infinity would
//! give NaN.
//!
//! Blocks whose result is known in advance are skipped: pairs of classes beyond the loss's reach cost
//! nothing, and classes whose similar pairs have one constant slope have been added up by their mean
//! (`classes.rs`). A block without an active pair is not multiplied: slopes of 0 contribute nothing.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::gradient::{BlockOffsets, BlockOut, CLOSE, Operand, Slopes, add_difference};
use super::similarity::{BlockSimilarity, GraphMask, Similarity};
use super::tile::{Subtraction, squared_distances};
use crate::kernel::blocking::{BLOCK_ROWS, GROUP_PAIRS, SLOPE_STRIDE, STRIP_PAIRS, rows_at_once};
use crate::kernel::reduce::{reduce_values, scale_slopes};
use crate::kernel::shown::eval_pairs;
use crate::loss::{BlockLoss, Pairing, Sums};
use crate::simd::isa::{Isa, MOST_LANES};
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// The inputs that all blocks of a batch share.
pub(crate) struct Batch<'a, T> {
    pub isa: Isa,
    pub loss: &'a dyn BlockLoss<T>,
    /// Both sides; twice the same one where pairs are of one set.
    pub sides: [Operand<'a, T>; 2],
    pub kinds: Similarity<'a, T>,
    /// Squared distances at which the loss changes its formula.
    pub kinks: &'a [T],
    /// Factors of the slopes of similar and of dissimilar pairs.
    pub factors: [T; 2],
    /// This walk needs similar pairs alone: groups without one are skipped.
    pub similar_only: bool,
    pub offsets: &'a BlockOffsets,
}

impl<T: Real> Batch<'_, T> {
    /// [`Similarity::content`], where groups that this walk skips are known.
    #[inline(always)]
    pub(crate) fn block_similarity<S: Simd<T>>(
        &self,
        s: S,
        rows: &Range<usize>,
        cols: &Range<usize>,
        few: u32,
        marks: Option<&GraphMask>,
    ) -> BlockSimilarity {
        match self.kinds.block_similarity(s, rows, cols, few, marks) {
            BlockSimilarity::Uniform(false) if self.similar_only => {
                BlockSimilarity::Known(Sums::default())
            }
            content => content,
        }
    }
}

/// All pairs of rows `i` of one side with rows `j` of the other, both from the start of a panel.
pub(crate) struct BlockPair<'a, T> {
    pub batch: &'a Batch<'a, T>,
    pub i: Range<usize>,
    pub j: Range<usize>,
    /// Whether rows i and rows j are the same, so that each pair is met twice.
    pub among: bool,
    /// The outputs of rows i and of rows j, where asked for; among the same rows, those of rows i alone.
    pub out: [Option<BlockOut<'a, T>>; 2],
    /// The result of [`Similarity::marks`], found once per block.
    pub marks: Option<GraphMask>,
    /// Scratch for a block of -C: [`SLOPE_BLOCK`] elements of any content, where a gradient is
    /// asked for.
    pub slopes: &'a mut [T],
}

impl<T: Real> Kernel<T> for BlockPair<'_, T> {
    type Output = Sums;

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) -> Sums {
        if let BlockSimilarity::Known(sums) =
            self.batch.block_similarity(s, &self.i, &self.j, 8, None)
        {
            return sums;
        }
        self.mark::<S>();
        self.block(s)
    }
}

/// A group: the pairs of a few rows with a panel of columns, without their distances and slopes. The pair
/// of row r and column c is at `r * cols + c`.
pub(crate) struct GroupPairs<T> {
    values: [T; GROUP_PAIRS],
    similar: [bool; GROUP_PAIRS],
    ignored: [bool; GROUP_PAIRS],
    close: [bool; GROUP_PAIRS],
    /// The kind of all pairs of the group, where it is known.
    uniform: Option<bool>,
}

impl<T: Real> GroupPairs<T> {
    pub(crate) fn new() -> Self {
        GroupPairs {
            values: [T::ZERO; GROUP_PAIRS],
            similar: [false; GROUP_PAIRS],
            ignored: [false; GROUP_PAIRS],
            close: [false; GROUP_PAIRS],
            uniform: Some(false),
        }
    }
}

/// Sums of the slopes of a block, by row and by column.
pub(crate) struct SlopeSums<T> {
    /// A vector of partial sums for each row.
    rows: [T; BLOCK_ROWS * MOST_LANES],
    cols: [T; BLOCK_ROWS],
    active: u32,
}

impl<T: Real> BlockPair<'_, T> {
    /// ```text
    /// LOOP 2  for each panel of columns j: two vectors of rows of the other side
    /// LOOP 3    for each strip of rows i, above the diagonal among the same rows
    ///             d², values and slopes of rows x panel; -slopes into the block        `strip`
    ///         gradients of i and j += -slopes x rows of j and i                        `gradients`
    /// ```
    #[inline(always)]
    fn block<S: Simd<T>>(&mut self, s: S) -> Sums {
        let cols = 2 * S::LANES;
        let mut pairs = GroupPairs::new();
        let mut slope_sums = SlopeSums {
            rows: [T::ZERO; BLOCK_ROWS * MOST_LANES],
            cols: [T::ZERO; BLOCK_ROWS],
            active: 0,
        };
        let mut sums = Sums::default();
        let mut strip = [T::ZERO; STRIP_PAIRS];
        let mut subtraction = Subtraction::new(self.batch.isa);
        let depth = self.batch.sides[0].points.rows.z.cols();
        let height = rows_at_once::<S, T>(depth);
        for col in self.j.clone().step_by(cols) {
            // Among the same rows, rows below the panel hold the same pairs again.
            let end = if self.among { self.i.end.min(col + cols) } else { self.i.end };
            for row in (self.i.start..end).step_by(height) {
                let rows = row..(row + height).min(end);
                let (strip, slope_sums) = ((&mut strip, &mut subtraction), &mut slope_sums);
                sums = sums + self.strip(s, rows, col, strip, &mut pairs, slope_sums);
            }
        }
        if self.wants_gradient() {
            self.gradients(s, &slope_sums);
        }
        sums
    }

    /// Finds the groups that hold an edge of the graph, or a row with itself: see [`GraphMask`].
    #[inline(always)]
    pub(crate) fn mark<S: Simd<T>>(&mut self) {
        let size = [GROUP_PAIRS / (2 * S::LANES), 2 * S::LANES];
        self.marks = self.batch.kinds.marks(&self.i, &self.j, size);
    }

    pub(crate) fn wants_gradient(&self) -> bool {
        self.out.iter().any(Option::is_some)
    }

    /// Evaluates the pairs of some rows with a panel of columns, and writes their slopes into the block.
    ///
    /// ```text
    /// for each group of 256 pairs: what is known of it                                 `content`
    /// distances of all groups from the first unknown to the last one                   `squared_distances`
    /// for each group that is not known
    ///   values, slopes = loss(d²)                                                      `evaluate`
    ///   close pairs: their differences into the gradients, their slopes to 0           `add_close`
    ///   -slopes into the block, slopes into sums of rows and columns                   `keep_slopes`
    /// ```
    #[inline(always)]
    fn strip<S: Simd<T>>(
        &mut self,
        s: S,
        rows: Range<usize>,
        col: usize,
        (strip, subtraction): (&mut [T; STRIP_PAIRS], &mut Subtraction<T>),
        pairs: &mut GroupPairs<T>,
        slope_sums: &mut SlopeSums<T>,
    ) -> Sums {
        let cols = 2 * S::LANES;
        let height = GROUP_PAIRS / cols;
        let groups = rows.clone().step_by(height).map(|row| row..(row + height).min(rows.end));
        // Groups that are not known are measured, and so are the groups between them.
        let mut contents = [const { BlockSimilarity::Mixed }; STRIP_PAIRS / GROUP_PAIRS];
        let mut measured = 0..0;
        for (group, content) in groups.clone().zip(&mut contents) {
            *content = self.block_similarity(s, &group, col);
            if !matches!(content, BlockSimilarity::Known(_)) {
                let start = if measured.is_empty() { group.start } else { measured.start };
                measured = start..group.end;
            }
        }
        let mut near = 0;
        if !measured.is_empty() {
            let [x, y] = &self.batch.sides;
            let (sides, first) = ([&x.points, &y.points], measured.start - rows.start);
            let to = &mut strip[first * cols..];
            let kinks = self.batch.kinks;
            near = squared_distances(s, sides, measured, col, kinks, to, subtraction);
            near <<= first / height;
        }
        let mut sums = Sums::default();
        for (g, (group, content)) in groups.zip(contents).enumerate() {
            if let BlockSimilarity::Known(known) = content {
                self.keep_none::<S>(&group, col);
                sums = sums + known;
                continue;
            }
            let len = group.len() * cols;
            let slopes = &mut strip[g * GROUP_PAIRS..][..len];
            let any_close = near >> g & 1 == 1
                && self.wants_gradient()
                && self.find_close::<S>(group.clone(), col, slopes, pairs);
            sums = sums + self.evaluate(s, group.clone(), col, content, slopes, pairs);
            if self.wants_gradient() {
                if any_close {
                    self.add_close(s, group.clone(), col, slopes, pairs);
                }
                let at = [group.start - self.i.start, col - self.j.start];
                self.keep_slopes(s, group.len(), at, slopes, slope_sums);
            }
        }
        sums
    }

    /// Writes slopes of 0 into the block.
    #[inline(always)]
    fn keep_none<S: Simd<T>>(&mut self, rows: &Range<usize>, col: usize) {
        if self.wants_gradient() {
            for row in rows.clone() {
                let at = (row - self.i.start) * SLOPE_STRIDE + (col - self.j.start);
                self.slopes[at..at + 2 * S::LANES].fill(T::ZERO);
            }
        }
    }

    /// The [`BlockSimilarity`] of a few rows and a panel of columns.
    #[inline(always)]
    pub(crate) fn block_similarity<S: Simd<T>>(
        &self,
        s: S,
        rows: &Range<usize>,
        col: usize,
    ) -> BlockSimilarity {
        let cols = col..self.j.end.min(col + 2 * S::LANES);
        let ragged = cols.len() < 2 * S::LANES || (self.among && cols.start < rows.end);
        match self.batch.block_similarity(s, rows, &cols, 4, self.marks.as_ref()) {
            BlockSimilarity::Uniform(_) if ragged => BlockSimilarity::Mixed,
            content => content,
        }
    }

    /// Turns squared distances into values and, where a gradient is asked for, into slopes. Returns the
    /// sums of values.
    #[inline(always)]
    pub(crate) fn evaluate<S: Simd<T>>(
        &self,
        s: S,
        rows: Range<usize>,
        col: usize,
        content: BlockSimilarity,
        slopes: &mut [T],
        pairs: &mut GroupPairs<T>,
    ) -> Sums {
        let len = rows.len() * 2 * S::LANES;
        let GroupPairs { values, similar, ignored, uniform, .. } = pairs;
        let (slopes, values, ignored) =
            (&mut slopes[..len], &mut values[..len], &mut ignored[..len]);
        let whole = match content {
            BlockSimilarity::Uniform(kind) => {
                if *uniform != Some(kind) {
                    similar.fill(kind);
                    *uniform = Some(kind);
                }
                true
            }
            _ => {
                *uniform = None;
                let cols = col..self.j.end.min(col + 2 * S::LANES);
                self.batch.kinds.fill(rows, cols, self.among, &mut similar[..len], ignored)
            }
        };
        let mut pairing = Pairing::new(&similar[..len]);
        if !whole {
            pairing = pairing.ignoring(ignored);
        }
        let Batch { loss, isa, .. } = self.batch;
        eval_pairs(*loss, *isa, slopes, pairing.similar, pairing.ignored, values);
        if self.wants_gradient() {
            scale_slopes(s, pairing, self.batch.factors, slopes);
        }
        reduce_values(s, pairing, values)
    }

    /// Writes the negative slopes of a group into the block, and adds the slopes to the sums of its rows
    /// and columns.
    #[inline(always)]
    fn keep_slopes<S: Simd<T>>(
        &mut self,
        s: S,
        height: usize,
        at: [usize; 2],
        slopes: &[T],
        sums: &mut SlopeSums<T>,
    ) {
        let lanes = S::LANES;
        let of_cols = &mut sums.cols[at[1]..][..2 * lanes];
        let mut cols = [s.load(&of_cols[..lanes]), s.load(&of_cols[lanes..])];
        let mut active = s.first(0);
        for r in 0..height {
            let slopes = &slopes[r * 2 * lanes..][..2 * lanes];
            let slopes = [s.load(&slopes[..lanes]), s.load(&slopes[lanes..])];
            let to = &mut self.slopes[(at[0] + r) * SLOPE_STRIDE + at[1]..][..2 * lanes];
            for v in 0..2 {
                s.store(-slopes[v], &mut to[v * lanes..][..lanes]);
                cols[v] = cols[v] + slopes[v];
                active = active | s.nonzero(slopes[v]);
            }
            let row = &mut sums.rows[(at[0] + r) * lanes..][..lanes];
            s.store(s.load(row) + (slopes[0] + slopes[1]), row);
        }
        sums.active |= s.count(active);
        s.store(cols[0], &mut of_cols[..lanes]);
        s.store(cols[1], &mut of_cols[lanes..]);
    }

    /// Marks the pairs that are much closer than their rows are long, and those with a row whose norm is
    /// NaN because its length is not finite. Returns whether there are any.
    #[inline(always)]
    fn find_close<S: Simd<T>>(
        &self,
        rows: Range<usize>,
        col: usize,
        d2: &[T],
        pairs: &mut GroupPairs<T>,
    ) -> bool {
        let cols = 2 * S::LANES;
        let [x, y] = self.batch.sides.map(|side| side.points.norms);
        let norms = &y[col..self.j.end.min(col + cols)];
        pairs.close.fill(false);
        let mut any = false;
        for (r, row) in rows.enumerate() {
            let own = x[row];
            let d2 = &d2[r * cols..][..norms.len()];
            let close = &mut pairs.close[r * cols..][..norms.len()];
            for ((close, &d2), &norm) in close.iter_mut().zip(d2).zip(norms) {
                let limit = T::from_f64(CLOSE) * (own + norm);
                *close = d2 < limit || d2.is_nan() || limit.is_nan();
                any |= *close;
            }
        }
        any
    }

    /// Adds the gradients of close pairs one by one, and sets their slopes in the tile to 0. A slope of 0
    /// contributes nothing, whatever the difference is.
    #[inline(always)]
    fn add_close<S: Simd<T>>(
        &mut self,
        s: S,
        rows: Range<usize>,
        col: usize,
        slopes: &mut [T],
        pairs: &GroupPairs<T>,
    ) {
        let cols = 2 * S::LANES;
        let [x, y] = self.batch.sides.map(|side| side.points.rows);
        let heights = [self.i.len(), self.j.len()];
        for (r, row) in rows.enumerate() {
            for c in 0..cols {
                if !pairs.close[r * cols + c] {
                    continue;
                }
                let slope = std::mem::replace(&mut slopes[r * cols + c], T::ZERO);
                if slope == T::ZERO {
                    continue;
                }
                let (own, other) = (x.row(row), y.row(col + c));
                let (r, c) = (row - self.i.start, col + c - self.j.start);
                let [of_i, of_j] = &mut self.out;
                if let Some(out) = of_i {
                    add_difference(s, slope, [own, other], (out.grad, heights[0], r));
                }
                let of_j = if self.among { of_i } else { of_j };
                if let Some(out) = of_j {
                    add_difference(s, slope, [other, own], (out.grad, heights[1], c));
                }
            }
        }
    }

    /// Adds the products of the block, which holds -C, with the rows to both gradients.
    #[inline(always)]
    fn gradients<S: Simd<T>>(&mut self, s: S, sums: &SlopeSums<T>) {
        if sums.active == 0 {
            return;
        }
        let (height, width, among) = (self.i.len(), self.j.len(), self.among);
        if among {
            // The half that has been computed is mirrored: C is symmetric.
            for r in 0..height {
                self.slopes[r * SLOPE_STRIDE + r] = T::ZERO;
                for c in 0..r {
                    self.slopes[r * SLOPE_STRIDE + c] = self.slopes[c * SLOPE_STRIDE + r];
                }
            }
        }
        let Batch { isa, offsets, sides: [x, y], .. } = self.batch;
        let depth = x.points.rows.z.cols();
        let block = |of: &Range<usize>| of.start * depth..of.end * depth;
        let [of_i, of_j] = &mut self.out;
        if let Some(out) = of_i {
            for r in 0..height {
                let mut sum = s.sum(s.load(&sums.rows[r * S::LANES..][..S::LANES]));
                if among {
                    sum += sums.cols[r];
                }
                out.slope_sums[r] += sum;
            }
            let slopes = Slopes { slopes: &*self.slopes, transposed: false };
            let others = &y.centered[block(&self.j)];
            offsets.add_product(*isa, slopes, (others, width), (&mut *out.grad, height));
        }
        if let Some(out) = of_j {
            for (sum, &column) in out.slope_sums.iter_mut().zip(&sums.cols) {
                *sum += column;
            }
            let slopes = Slopes { slopes: &*self.slopes, transposed: true };
            let others = &x.centered[block(&self.i)];
            offsets.add_product(*isa, slopes, (others, height), (&mut *out.grad, width));
        }
    }
}
