//! Rows as register tiles read them: in the order of their classes, less a center, in panels of columns.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::center::is_finite_row;
use crate::memory::mat::Mat;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// The class of rows that are left out.
pub(crate) const NO_CLASS: u32 = u32::MAX;

/// The rows of a batch in an order in which the rows of a class are neighbours.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, T> {
    pub z: Mat<'a, T>,
    /// Place p holds row `order[p]`.
    pub order: &'a [u32],
}

impl<'a, T: Real> Rows<'a, T> {
    #[inline(always)]
    pub(crate) fn row(&self, place: usize) -> &'a [T] {
        self.z.row(self.order[place] as usize)
    }
}

/// The ranges of columns of the panels that rows of `depth` elements are cut into.
#[inline(always)]
pub(crate) fn panels(depth: usize, width: usize) -> impl Iterator<Item = Range<usize>> {
    (0..depth).step_by(width).map(move |from| from..(from + width).min(depth))
}

/// The index of column `at` of row `r` in a block of `height` rows (see `gradient.rs` for the order).
#[inline(always)]
pub(crate) fn place(height: usize, depth: usize, width: usize, r: usize, at: usize) -> usize {
    let from = at - at % width;
    height * from + r * width.min(depth - from) + (at - from)
}

/// Rows less a mean, as tiles and products read them: see [`TileOperand`](super::tile::TileOperand).
pub(crate) struct CenterRows<'a, T> {
    pub rows: Rows<'a, T>,
    /// The places of a block, which starts at a panel.
    pub places: Range<usize>,
    /// The class of each place, or empty.
    pub classes: &'a [u32],
    /// `None` where rows are taken as they are, also those that are not finite.
    pub mean: Option<&'a [T]>,
    /// Whether panels hold the rows as they are, even where there is a mean.
    pub untouched: bool,
    /// Filled up with zeros after the last row.
    pub panels: &'a mut [T],
    /// The block in panels of columns, or empty where no products with it are wanted.
    pub centered: &'a mut [T],
    pub norms: &'a mut [T],
    /// Scratch for [`AT_ONCE`] rows.
    pub scratch: &'a mut [T],
}

/// Rows that are written into a panel together, where it has that many columns: part of a cache line at
/// once.
pub(crate) const AT_ONCE: usize = 8;

impl<T: Real> Kernel<T> for CenterRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let (depth, width, height) = (self.rows.z.cols(), 2 * S::LANES, self.places.len());
        let rows = self.scratch;
        let at_once = AT_ONCE.min(width);
        for first in (0..height).step_by(at_once) {
            let count = at_once.min(height - first);
            let (panel, c) = (first / width, first % width);
            let panel = &mut self.panels[panel * width * depth..][..width * depth];
            let mut fill_panel = |rows: &[T]| {
                for (k, to) in panel.chunks_exact_mut(width).enumerate() {
                    for (to, r) in to[c..c + count].iter_mut().zip(0..) {
                        *to = rows[r * depth + k];
                    }
                }
            };
            if self.untouched {
                for (r, row) in rows.chunks_exact_mut(depth).take(count).enumerate() {
                    row.copy_from_slice(self.rows.row(self.places.start + first + r));
                }
                fill_panel(rows);
            }
            let norms = &mut self.norms[first..first + count];
            for (r, (row, norm)) in rows.chunks_exact_mut(depth).zip(norms).enumerate() {
                let place = self.places.start + first + r;
                *norm = T::ZERO;
                if self.classes.get(place) == Some(&NO_CLASS) {
                    row.fill(T::ZERO);
                    continue;
                }
                let Some(mean) = self.mean else {
                    row.copy_from_slice(self.rows.row(place));
                    continue;
                };
                *norm = less_mean(s, self.rows.row(place), mean, row);
                if !norm.is_finite() {
                    row.fill(T::ZERO);
                    *norm = T::from_f64(f64::NAN);
                }
            }
            if !self.untouched {
                fill_panel(rows);
            }
            if !self.centered.is_empty() {
                for (r, row) in rows.chunks_exact_mut(depth).take(count).enumerate() {
                    // Of products with such a row, NaN reaches what depends on it through its factor; a factor of
                    // 0 contributes nothing.
                    if self.mean.is_none() && !is_finite_row(s, row) {
                        row.fill(T::ZERO);
                    }
                    for columns in panels(depth, width) {
                        let to = place(height, depth, width, first + r, columns.start);
                        self.centered[to..to + columns.len()].copy_from_slice(&row[columns]);
                    }
                }
            }
        }
    }
}

/// to = x - mean; returns the squared length of the result. All are (d).
#[inline(always)]
pub(crate) fn less_mean<T: Real, S: Simd<T>>(s: S, x: &[T], mean: &[T], to: &mut [T]) -> T {
    let mut squares = s.splat(T::ZERO);
    let inputs = x.chunks(S::LANES).zip(mean.chunks(S::LANES));
    for (to, (x, mean)) in to.chunks_mut(S::LANES).zip(inputs) {
        let x = s.load(x) - s.load(mean);
        squares = s.fma(x, x, squares);
        s.store(x, to);
    }
    s.sum(squares)
}
