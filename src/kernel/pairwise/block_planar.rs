//! Every pair of two blocks of rows in up to three dimensions: the embeddings of the paper's figures.
//!
//! With so few elements a row, differences are cheaper than anything that avoids them: gradients are
//! added up from them directly, those of rows across lanes, those of columns in lanes.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::block::{BlockPair, GroupPairs};
use super::similarity::BlockSimilarity;
use super::tile::TileOperand;
use crate::kernel::blocking::{BLOCK_ROWS, GROUP_PAIRS};
use crate::loss::Sums;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// [`BlockPair`] for rows of `D` elements, without products: panels hold the rows as they are.
pub(crate) struct PlanarBlockPair<'a, T, const D: usize>(pub BlockPair<'a, T>);

impl<T: Real, const D: usize> Kernel<T> for PlanarBlockPair<'_, T, D> {
    type Output = Sums;

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) -> Sums {
        if let BlockSimilarity::Known(sums) =
            self.0.batch.block_similarity(s, &self.0.to.i, &self.0.to.j, 8, None)
        {
            return sums;
        }
        self.0.mark::<S>();
        // Rows of a group: as many as make 256 pairs with the columns of a panel.
        match S::LANES {
            16.. => self.block::<S, 8>(s),
            8.. => self.block::<S, 16>(s),
            _ => self.block::<S, 32>(s),
        }
    }
}

impl<T: Real, const D: usize> PlanarBlockPair<'_, T, D> {
    #[inline(always)]
    fn block<S: Simd<T>, const ROWS: usize>(&mut self, s: S) -> Sums {
        let (i, j, cols) = (self.0.to.i.clone(), self.0.to.j.clone(), 2 * S::LANES);
        let mut pairs = GroupPairs::new();
        let mut slopes = [T::ZERO; GROUP_PAIRS];
        // Element k of column c at [k][c].
        let mut by_column = [[T::ZERO; BLOCK_ROWS]; D];
        let mut sums = Sums::default();
        for row in i.clone().step_by(ROWS) {
            let rows = row..(row + ROWS).min(i.end);
            let mut by_row = [[s.splat(T::ZERO); D]; ROWS];
            for col in j.clone().step_by(cols) {
                // Among the same rows, groups below the diagonal hold the same pairs again.
                if self.0.is_upper() && col + cols <= row + 1 {
                    continue;
                }
                let block = &self.0;
                let content = block.block_similarity(s, &rows, col);
                if let BlockSimilarity::Known(known) = content {
                    sums = sums + known;
                    continue;
                }
                let slopes = &mut slopes[..rows.len() * cols];
                let sides = block.batch.sides.each_ref().map(|side| &side.points);
                planar_distances::<T, S, D>(s, sides, rows.clone(), col, slopes);
                sums = sums + block.evaluate(s, rows.clone(), col, content, slopes, &mut pairs);
                if block.to.are_wanted() {
                    let (at, columns) = (col - j.start, &mut by_column);
                    add_group(s, sides, rows.clone(), [col, at], slopes, &mut by_row, columns);
                }
            }
            let Some(out) = &mut self.0.to.out[0] else { continue };
            let grads = out.grad[(row - i.start) * D..].chunks_exact_mut(D);
            for (grad, sums) in grads.zip(&by_row[..rows.len()]) {
                for (grad, &sum) in grad.iter_mut().zip(sums) {
                    *grad += s.sum(sum);
                }
            }
        }
        let among = self.0.is_upper();
        let [of_i, of_j] = &mut self.0.to.out;
        if let Some(out) = if among { of_i } else { of_j } {
            for (c, grad) in out.grad.chunks_exact_mut(D).enumerate() {
                for (grad, column) in grad.iter_mut().zip(&by_column) {
                    *grad += column[c];
                }
            }
        }
        *self.0.totals = *self.0.totals + pairs.totals;
        sums
    }
}

/// |z_i - z_j|² of a few rows with a panel of columns, for rows of `D` elements.
#[inline(always)]
pub(crate) fn planar_distances<T: Real, S: Simd<T>, const D: usize>(
    s: S,
    [x, y]: [&TileOperand<T>; 2],
    rows: Range<usize>,
    col: usize,
    out: &mut [T],
) {
    let cols = 2 * S::LANES;
    let panel = &y.panels[col / cols * D * cols..][..D * cols];
    let mut columns = [[s.splat(T::ZERO); 2]; D];
    for k in 0..D {
        for v in 0..2 {
            columns[k][v] = s.load(&panel[k * cols + v * S::LANES..][..S::LANES]);
        }
    }
    for (out, row) in out.chunks_exact_mut(cols).zip(rows) {
        let row = x.rows.row(row);
        for v in 0..2 {
            let mut sum = s.splat(T::ZERO);
            for k in 0..D {
                let t = s.splat(row[k]) - columns[k][v];
                sum = s.fma(t, t, sum);
            }
            s.store(sum, &mut out[v * S::LANES..][..S::LANES]);
        }
    }
}

/// Adds the gradients of a group's pairs: slope (z_i - z_j) to row i, its negative to column j. A slope
/// of 0 contributes nothing, whatever the difference is. Column `col` is at `at` of `by_column`.
#[inline(always)]
pub(crate) fn add_group<T: Real, S: Simd<T>, const ROWS: usize, const D: usize>(
    s: S,
    [x, y]: [&TileOperand<T>; 2],
    rows: Range<usize>,
    [col, at]: [usize; 2],
    slopes: &[T],
    by_row: &mut [[S::F; D]; ROWS],
    by_column: &mut [[T; BLOCK_ROWS]; D],
) {
    let (zero, cols) = (s.splat(T::ZERO), 2 * S::LANES);
    let panel = &y.panels[col / cols * D * cols..][..D * cols];
    for v in 0..2 {
        let lanes = at + v * S::LANES..(at + (v + 1) * S::LANES).min(BLOCK_ROWS);
        let mut other = [zero; D];
        let mut columns = [zero; D];
        for k in 0..D {
            other[k] = s.load(&panel[k * cols + v * S::LANES..][..S::LANES]);
            columns[k] = s.load(&by_column[k][lanes.clone()]);
        }
        for (r, row) in rows.clone().enumerate() {
            let slope = s.load(&slopes[r * cols + v * S::LANES..][..S::LANES]);
            let some = s.nonzero(slope);
            let own = x.rows.row(row);
            for k in 0..D {
                let g = s.select(some, slope * (s.splat(own[k]) - other[k]), zero);
                by_row[r][k] = by_row[r][k] + g;
                columns[k] = columns[k] - g;
            }
        }
        for k in 0..D {
            s.store(columns[k], &mut by_column[k][lanes.clone()]);
        }
    }
}
