//! The gradients of the pairs of two blocks of rows, from a block of their slopes.
//!
//! ```text
//! grad = (diag(C 1) - C) Z        C the symmetric matrix of slopes, zero on its diagonal
//! ```
//!
//! A block of C exists for a moment only, in a scratch that stays in L2. The products take rows from
//! which the batch's mean has been taken, which changes no gradient; a pair much closer than its rows
//! are to the mean would still cancel, so its slope is left out of C and its difference added by
//! itself. Pairs of a row that is not finite are handled the same way: in a product, 0 times infinity would
//! give NaN. A block without an active pair is not multiplied: slopes of 0 contribute nothing.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::gradient::{BlockOffsets, BlockOut, CLOSE, Operand, Slopes, add_difference};
use crate::kernel::blocking::{BLOCK_ROWS, GROUP_PAIRS, SLOPE_STRIDE};
use crate::simd::Simd;
use crate::simd::isa::{Isa, MOST_LANES};
use crate::simd::real::Real;

/// Which pairs of a block stand in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Among {
    /// Rows i and rows j are different: all pairs.
    No,
    /// They are the same, and each pair stands once, above the diagonal.
    Upper,
    /// They are the same, and each pair stands twice, with the same slope.
    Whole,
}

/// Turns the slopes of a block into gradients of its rows i and j, which start at a panel.
pub(crate) struct Gradients<'a, T> {
    pub isa: Isa,
    pub sides: [Operand<'a, T>; 2],
    pub offsets: &'a BlockOffsets,
    pub i: Range<usize>,
    pub j: Range<usize>,
    pub among: Among,
    /// The outputs of rows i and of rows j, where asked for; among the same rows, those of rows i alone.
    pub out: [Option<BlockOut<'a, T>>; 2],
    /// Scratch for a block of -C: [`SLOPE_BLOCK`](crate::kernel::blocking::SLOPE_BLOCK) elements of any content,
    /// where a gradient is asked for.
    pub slopes: &'a mut [T],
}

/// Sums of the slopes of a block, by row and by column.
pub(crate) struct SlopeSums<T> {
    /// A vector of partial sums for each row.
    rows: [T; BLOCK_ROWS * MOST_LANES],
    cols: [T; BLOCK_ROWS],
    active: u32,
}

impl<T: Real> SlopeSums<T> {
    pub(crate) fn new() -> Self {
        SlopeSums {
            rows: [T::ZERO; BLOCK_ROWS * MOST_LANES],
            cols: [T::ZERO; BLOCK_ROWS],
            active: 0,
        }
    }

    /// The sums of columns.
    pub(crate) fn cols(&self) -> &[T; BLOCK_ROWS] {
        &self.cols
    }

    /// Whether any slope is not 0.
    pub(crate) fn is_active(&self) -> bool {
        self.active > 0
    }
}

impl<T: Real> Gradients<'_, T> {
    pub(crate) fn are_wanted(&self) -> bool {
        self.out.iter().any(Option::is_some)
    }

    /// Writes slopes of 0 into the block.
    #[inline(always)]
    pub(crate) fn keep_none<S: Simd<T>>(&mut self, rows: &Range<usize>, col: usize) {
        if self.are_wanted() {
            for row in rows.clone() {
                let at = (row - self.i.start) * SLOPE_STRIDE + (col - self.j.start);
                self.slopes[at..at + 2 * S::LANES].fill(T::ZERO);
            }
        }
    }

    /// Writes the negative slopes of a group into the block, and adds the slopes to the sums of its rows
    /// and columns.
    #[inline(always)]
    pub(crate) fn keep_slopes<S: Simd<T>>(
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
    pub(crate) fn find_close<S: Simd<T>>(
        &self,
        rows: Range<usize>,
        col: usize,
        d2: &[T],
        close: &mut [bool; GROUP_PAIRS],
    ) -> bool {
        let cols = 2 * S::LANES;
        let [x, y] = self.sides.map(|side| side.points.norms);
        let norms = &y[col..self.j.end.min(col + cols)];
        close.fill(false);
        let mut any = false;
        for (r, row) in rows.enumerate() {
            let own = x[row];
            let d2 = &d2[r * cols..][..norms.len()];
            let close = &mut close[r * cols..][..norms.len()];
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
    pub(crate) fn add_close<S: Simd<T>>(
        &mut self,
        s: S,
        rows: Range<usize>,
        col: usize,
        slopes: &mut [T],
        close: &[bool; GROUP_PAIRS],
    ) {
        let cols = 2 * S::LANES;
        let [x, y] = self.sides.map(|side| side.points.rows);
        let heights = [self.i.len(), self.j.len()];
        for (r, row) in rows.enumerate() {
            for c in 0..cols {
                if !close[r * cols + c] {
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
                let of_j = match self.among {
                    Among::No => of_j,
                    Among::Upper => of_i,
                    Among::Whole => continue,
                };
                if let Some(out) = of_j {
                    add_difference(s, slope, [other, own], (out.grad, heights[1], c));
                }
            }
        }
    }

    /// Adds the products of the block, which holds -C, with the rows to both gradients.
    #[inline(always)]
    pub(crate) fn multiply<S: Simd<T>>(&mut self, s: S, sums: &SlopeSums<T>) {
        if sums.active == 0 {
            return;
        }
        let (height, width) = (self.i.len(), self.j.len());
        let upper = self.among == Among::Upper;
        if upper {
            // The half that has been computed is mirrored: C is symmetric.
            for r in 0..height {
                self.slopes[r * SLOPE_STRIDE + r] = T::ZERO;
                for c in 0..r {
                    self.slopes[r * SLOPE_STRIDE + c] = self.slopes[c * SLOPE_STRIDE + r];
                }
            }
        }
        let Gradients { isa, offsets, sides: [x, y], .. } = self;
        let depth = x.points.rows.z.cols();
        let block = |of: &Range<usize>| of.start * depth..of.end * depth;
        let [of_i, of_j] = &mut self.out;
        if let Some(out) = of_i {
            for r in 0..height {
                let mut sum = s.sum(s.load(&sums.rows[r * S::LANES..][..S::LANES]));
                if upper {
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
