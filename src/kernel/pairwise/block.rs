//! Every pair of two blocks of rows: distances in a register tile, slopes, gradients by products.
//!
//! What becomes of the slopes is in `gradients.rs`.
//!
//! Blocks whose result is known in advance are skipped: pairs of classes beyond the loss's reach cost
//! nothing, and classes whose similar pairs have one constant slope have been added up by their mean
//! (`classes.rs`).

#![forbid(unsafe_code)]

use std::ops::Range;

use super::gradient::{BlockOffsets, Operand};
use super::gradients::{Among, Gradients, SlopeSums};
use super::similarity::{BlockSimilarity, GraphMask, Similarity};
use super::tile::{Subtraction, squared_distances};
use crate::kernel::blocking::{GROUP_PAIRS, STRIP_PAIRS, rows_at_once};
use crate::kernel::reduce::{reduce_values, scale_slopes};
use crate::kernel::shown::eval_pairs;
use crate::loss::{BlockLoss, Pairing, SlopeTotals, Sums};
use crate::simd::isa::Isa;
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
    /// Whether [`SlopeTotals`] are wanted.
    pub totals: bool,
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
    /// The rows, and what becomes of their slopes.
    pub to: Gradients<'a, T>,
    /// The result of [`Similarity::marks`], found once per block.
    pub marks: Option<GraphMask>,
    /// Added to, where wanted.
    pub totals: &'a mut SlopeTotals,
}

impl<T: Real> Kernel<T> for BlockPair<'_, T> {
    type Output = Sums;

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) -> Sums {
        if let BlockSimilarity::Known(sums) =
            self.batch.block_similarity(s, &self.to.i, &self.to.j, 8, None)
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
    /// The distances that slopes were made of, where both are added up, and their sums so far.
    d2: [T; GROUP_PAIRS],
    pub totals: SlopeTotals,
}

impl<T: Real> GroupPairs<T> {
    pub(crate) fn new() -> Self {
        GroupPairs {
            values: [T::ZERO; GROUP_PAIRS],
            similar: [false; GROUP_PAIRS],
            ignored: [false; GROUP_PAIRS],
            close: [false; GROUP_PAIRS],
            uniform: Some(false),
            d2: [T::ZERO; GROUP_PAIRS],
            totals: SlopeTotals::default(),
        }
    }
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
        let mut slope_sums = SlopeSums::new();
        let mut sums = Sums::default();
        let mut strip = [T::ZERO; STRIP_PAIRS];
        let mut subtraction = Subtraction::new(self.batch.isa);
        let depth = self.batch.sides[0].points.rows.z.cols();
        let height = rows_at_once::<S, T>(depth);
        for col in self.to.j.clone().step_by(cols) {
            // Among the same rows, rows below the panel hold the same pairs again.
            let end = if self.is_upper() { self.to.i.end.min(col + cols) } else { self.to.i.end };
            for row in (self.to.i.start..end).step_by(height) {
                let rows = row..(row + height).min(end);
                let (strip, slope_sums) = ((&mut strip, &mut subtraction), &mut slope_sums);
                sums = sums + self.strip(s, rows, col, strip, &mut pairs, slope_sums);
            }
        }
        if self.to.are_wanted() {
            self.to.multiply(s, &slope_sums);
        }
        *self.totals = *self.totals + pairs.totals;
        sums
    }

    /// Whether rows i and rows j are the same, so that each pair is met twice.
    pub(crate) fn is_upper(&self) -> bool {
        self.to.among == Among::Upper
    }

    /// Finds the groups that hold an edge of the graph, or a row with itself: see [`GraphMask`].
    #[inline(always)]
    pub(crate) fn mark<S: Simd<T>>(&mut self) {
        let size = [GROUP_PAIRS / (2 * S::LANES), 2 * S::LANES];
        self.marks = self.batch.kinds.marks(&self.to.i, &self.to.j, size);
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
                self.to.keep_none::<S>(&group, col);
                sums = sums + known;
                continue;
            }
            let len = group.len() * cols;
            let slopes = &mut strip[g * GROUP_PAIRS..][..len];
            let any_close = near >> g & 1 == 1
                && self.to.are_wanted()
                && self.to.find_close::<S>(group.clone(), col, slopes, &mut pairs.close);
            sums = sums + self.evaluate(s, group.clone(), col, content, slopes, pairs);
            if self.to.are_wanted() {
                if any_close {
                    self.to.add_close(s, group.clone(), col, slopes, &pairs.close);
                }
                let at = [group.start - self.to.i.start, col - self.to.j.start];
                self.to.keep_slopes(s, group.len(), at, slopes, slope_sums);
            }
        }
        sums
    }

    /// The [`BlockSimilarity`] of a few rows and a panel of columns.
    #[inline(always)]
    pub(crate) fn block_similarity<S: Simd<T>>(
        &self,
        s: S,
        rows: &Range<usize>,
        col: usize,
    ) -> BlockSimilarity {
        let cols = col..self.to.j.end.min(col + 2 * S::LANES);
        let ragged = cols.len() < 2 * S::LANES || (self.is_upper() && cols.start < rows.end);
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
        let GroupPairs { values, similar, ignored, uniform, d2, totals, .. } = pairs;
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
                let cols = col..self.to.j.end.min(col + 2 * S::LANES);
                self.batch.kinds.fill(rows, cols, self.is_upper(), &mut similar[..len], ignored)
            }
        };
        let mut pairing = Pairing::new(&similar[..len]);
        if !whole {
            pairing = pairing.ignoring(ignored);
        }
        let Batch { loss, isa, .. } = self.batch;
        if self.batch.totals {
            d2[..len].copy_from_slice(slopes);
        }
        eval_pairs(*loss, *isa, slopes, pairing.similar, pairing.ignored, values);
        if self.to.are_wanted() || self.batch.totals {
            scale_slopes(s, pairing, self.batch.factors, slopes);
        }
        if self.batch.totals {
            add_totals(s, slopes, &d2[..len], totals);
        }
        reduce_values(s, pairing, values)
    }
}

/// Adds the slopes of some pairs, and the slopes times d², up to those before. A slope of 0 adds nothing.
#[inline(always)]
fn add_totals<T: Real, S: Simd<T>>(s: S, slopes: &[T], d2: &[T], totals: &mut SlopeTotals) {
    let zero = s.splat(T::ZERO);
    let (mut sum, mut squares) = (zero, zero);
    for (slopes, d2) in slopes.chunks(S::LANES).zip(d2.chunks(S::LANES)) {
        let slope = s.load(slopes);
        sum = sum + slope;
        squares = squares + s.select(s.nonzero(slope), slope * s.load(d2), zero);
    }
    let [slopes, squares] = [s.sum(sum), s.sum(squares)].map(T::to_f64);
    *totals = *totals + SlopeTotals { slopes, squares };
}
