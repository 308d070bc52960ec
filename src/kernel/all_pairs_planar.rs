//! Every pair of two blocks of rows in up to three dimensions: the embeddings of the paper's figures.
//!
//! With so few elements a row, differences are cheaper than anything that avoids them: gradients are
//! added up from them directly, those of rows across lanes, those of columns in lanes.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::all_pairs::{BlockPair, MOST_ROWS, TilePairs};
use crate::loss::Sums;
use crate::real::Real;
use crate::simd::{Kernel, Simd};

/// As [`BlockPair`], for rows of `D` elements; without products, and without what they need.
pub(crate) struct PlanarBlockPair<'a, T, const D: usize>(pub BlockPair<'a, T>);

impl<T: Real, const D: usize> Kernel<T> for PlanarBlockPair<'_, T, D> {
    type Output = Sums;

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) -> Sums {
        if S::LANES * size_of::<T>() >= 64 { self.tiles::<S, 8>(s) } else { self.tiles::<S, 4>(s) }
    }
}

impl<T: Real, const D: usize> PlanarBlockPair<'_, T, D> {
    #[inline(always)]
    fn tiles<S: Simd<T>, const ROWS: usize>(&mut self, s: S) -> Sums {
        let BlockPair { i, j, .. } = &self.0;
        let (i, j, cols) = (i.clone(), j.clone(), 2 * S::LANES);
        let among = i == j;
        let mut pairs = TilePairs::new();
        // Element k of column c at [k][c].
        let mut by_column = [[T::ZERO; MOST_ROWS]; D];
        let mut sums = Sums::default();
        for row in i.clone().step_by(ROWS) {
            let rows = row..(row + ROWS).min(i.end);
            let mut by_row = [[s.splat(T::ZERO); D]; ROWS];
            for col in j.clone().step_by(cols) {
                // Among the rows of a block, tiles below the diagonal hold the same pairs again.
                if among && col + cols <= row + 1 {
                    continue;
                }
                let block = &self.0;
                if let Some(skipped) = block.skip(s, rows.clone(), col) {
                    sums = sums + skipped;
                    continue;
                }
                sums =
                    sums + block.evaluate::<S, ROWS>(s, rows.clone(), col, &mut pairs, |_, _| {});
                if block.out.is_some() {
                    let slopes = pairs.slopes(rows.len(), cols);
                    let columns = &mut by_column;
                    add_tile(s, block, rows.clone(), col, slopes, &mut by_row, columns);
                }
            }
            let Some((out, _)) = &mut self.0.out else { continue };
            let grads = out.grad[(row - i.start) * D..].chunks_exact_mut(D);
            for (grad, sums) in grads.zip(&by_row[..rows.len()]) {
                for (grad, &sum) in grad.iter_mut().zip(sums) {
                    *grad += s.sum(sum);
                }
            }
        }
        if let Some((out_i, out_j)) = &mut self.0.out {
            let out = out_j.as_mut().unwrap_or(out_i);
            for (c, grad) in out.grad.chunks_exact_mut(D).enumerate() {
                for (grad, column) in grad.iter_mut().zip(&by_column) {
                    *grad += column[c];
                }
            }
        }
        sums
    }
}

/// Adds the gradients of a tile's pairs: slope (z_i - z_j) to row i, its negative to column j. A slope
/// of 0 contributes nothing, whatever the difference is.
#[inline(always)]
fn add_tile<T: Real, S: Simd<T>, const ROWS: usize, const D: usize>(
    s: S,
    block: &BlockPair<T>,
    rows: Range<usize>,
    col: usize,
    slopes: &[T],
    by_row: &mut [[S::F; D]; ROWS],
    by_column: &mut [[T; MOST_ROWS]; D],
) {
    let (zero, cols) = (s.splat(T::ZERO), 2 * S::LANES);
    let panel = &block.batch.panels[col / cols * D * cols..][..D * cols];
    let at = col - block.j.start;
    for v in 0..2 {
        let lanes = at + v * S::LANES..(at + (v + 1) * S::LANES).min(MOST_ROWS);
        let mut other = [zero; D];
        let mut columns = [zero; D];
        for k in 0..D {
            other[k] = s.load(&panel[k * cols + v * S::LANES..][..S::LANES]);
            columns[k] = s.load(&by_column[k][lanes.clone()]);
        }
        for (r, row) in rows.clone().enumerate() {
            let slope = s.load(&slopes[r * cols + v * S::LANES..][..S::LANES]);
            let some = s.nonzero(slope);
            let own = block.batch.rows.row(row);
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
