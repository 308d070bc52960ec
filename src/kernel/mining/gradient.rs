//! Gradients from a strip of slopes c: a few rows of the batch by all of its rows.
//!
//! ```text
//! grad_i += sum over j of c_ij (z_i - z_j)        of the strip's own rows
//! grad_j -= sum over i of c_ij (z_i - z_j)        of all rows
//! ```
//!
//! As in `pairwise`, most pairs are added by products of rows without their mean. Pairs that would cancel
//! there, and pairs of a row that is not finite, are added by differences.

#![forbid(unsafe_code)]

use std::ops::Range;

use crate::kernel::pairwise::gradient::{
    BlockOffsets, BlockOut, CLOSE, Operand, Slopes, add_difference,
};
use crate::kernel::pairwise::tile::{TileOperand, by_differences};
use crate::parallel::split::rows_of_block;
use crate::simd::isa::Isa;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// Squared distances by differences of some rows, which start at a panel, from all rows of the batch. A
/// pair gets the same bits wherever it stands, and of two equal distances none comes out larger by a
/// rounding. Panels hold the rows as they are.
pub(crate) struct StripDistances<'a, T> {
    pub points: TileOperand<'a, T>,
    pub rows: Range<usize>,
    /// Elements from one row of `d2` to the next: whole panels of columns.
    pub stride: usize,
    /// To be overwritten; columns past the last row of the batch get any value.
    pub d2: &'a mut [T],
}

impl<T: Real> Kernel<T> for StripDistances<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let StripDistances { points, rows, stride, d2 } = self;
        let count = points.rows.order.len();
        for col in (0..count).step_by(2 * S::LANES) {
            let to = (&mut d2[col..], stride);
            by_differences::<T, S>(s, [&points; 2], rows.clone(), col, to);
        }
    }
}

/// Moves the slopes of close pairs, which would cancel in products, from `slopes` to `d2`, and negates the
/// other slopes. Before, `d2` holds the squared distances. Returns whether any slope was moved.
pub(crate) struct TakeClose<'a, T> {
    pub norms: &'a [T],
    pub rows: Range<usize>,
    pub stride: usize,
    pub d2: &'a mut [T],
    pub slopes: &'a mut [T],
}

impl<T: Real> Kernel<T> for TakeClose<'_, T> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> bool {
        let (zero, share) = (s.splat(T::ZERO), s.splat(T::from_f64(CLOSE)));
        let mut count = 0;
        let rows = self.d2.chunks_exact_mut(self.stride);
        for ((row, d2), slopes) in
            self.rows.zip(rows).zip(self.slopes.chunks_exact_mut(self.stride))
        {
            let own = s.splat(self.norms[row]);
            let lanes = d2.chunks_mut(S::LANES).zip(slopes.chunks_mut(S::LANES));
            for ((d2, slopes), norms) in lanes.zip(self.norms.chunks(S::LANES)) {
                let limit = share * (own + s.load(norms));
                let slope = s.load(slopes);
                let d = s.load(d2);
                let far = s.lt(limit, d) | s.eq(limit, d) | !s.nonzero(slope);
                let taken = s.select(far, zero, slope);
                count += s.count(s.nonzero(taken));
                s.store(taken, d2);
                s.store(s.select(far, -slope, zero), slopes);
            }
        }
        count > 0
    }
}

/// The slopes of a strip, once those of close pairs have been taken out.
#[derive(Clone, Copy)]
pub(crate) struct Strip<'a, T> {
    pub isa: Isa,
    pub side: Operand<'a, T>,
    /// The rows of the strip.
    pub rows: &'a Range<usize>,
    /// The number of rows of a block of the side.
    pub block: usize,
    pub stride: usize,
    /// Negative slopes.
    pub slopes: &'a [T],
    /// Slopes of close pairs, if there are any: see [`TakeClose`].
    pub close: Option<&'a [T]>,
    pub offsets: &'a BlockOffsets,
}

impl<T: Real> Strip<'_, T> {
    /// The rows of a block of the side.
    fn block(&self, block: usize) -> (Range<usize>, &[T]) {
        let count = self.side.points.norms.len();
        let rows = rows_of_block(block, self.block, count);
        let depth = self.side.points.rows.z.cols();
        (rows.clone(), &self.side.centered[rows.start * depth..rows.end * depth])
    }

    /// Whether any slope of some rows and columns is not 0.
    #[inline(always)]
    fn active<S: Simd<T>>(&self, s: S, rows: Range<usize>, cols: &Range<usize>) -> bool {
        let mut active = s.first(0);
        for row in rows {
            let row = &self.slopes[(row - self.rows.start) * self.stride..][cols.clone()];
            for slopes in row.chunks(S::LANES) {
                active = active | s.nonzero(s.load(slopes));
            }
        }
        s.count(active) > 0
    }

    #[inline(always)]
    fn at(&self, row: usize, col: usize) -> &[T] {
        &self.slopes[(row - self.rows.start) * self.stride + col..]
    }
}

/// grad_i of some rows of the strip: the first formula above.
pub(crate) struct OwnRows<'a, T> {
    pub strip: Strip<'a, T>,
    pub rows: Range<usize>,
    pub out: BlockOut<'a, T>,
}

impl<T: Real> Kernel<T> for OwnRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let OwnRows { strip, rows, out } = self;
        let (height, points) = (rows.len(), strip.side.points);
        let count = points.norms.len();
        for (row, sum) in rows.clone().zip(&mut *out.slope_sums) {
            let mut slopes = s.splat(T::ZERO);
            for some in strip.at(row, 0)[..count].chunks(S::LANES) {
                slopes = slopes + s.load(some);
            }
            *sum += -s.sum(slopes);
        }
        for block in 0..count.div_ceil(strip.block) {
            let (cols, centered) = strip.block(block);
            if strip.active(s, rows.clone(), &cols) {
                let slopes = Slopes { slopes: strip.at(rows.start, cols.start), transposed: false };
                let to = (&mut *out.grad, height);
                strip.offsets.add_product(strip.isa, slopes, (centered, cols.len()), to);
            }
        }
        let Some(close) = strip.close else { return };
        for (r, row) in rows.enumerate() {
            let slopes = &close[(row - strip.rows.start) * strip.stride..][..count];
            for (col, &slope) in slopes.iter().enumerate().filter(|&(_, &slope)| slope != T::ZERO) {
                let both = [points.rows.row(row), points.rows.row(col)];
                add_difference(s, slope, both, (&mut *out.grad, height, r));
            }
        }
    }
}

/// grad_j of some rows of the batch, over all rows of the strip: the second formula above.
pub(crate) struct OtherRows<'a, T> {
    pub strip: Strip<'a, T>,
    pub cols: Range<usize>,
    pub out: BlockOut<'a, T>,
}

impl<T: Real> Kernel<T> for OtherRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let OtherRows { strip, cols, out } = self;
        let (height, points) = (cols.len(), strip.side.points);
        for row in strip.rows.clone() {
            let sums = out.slope_sums.chunks_mut(S::LANES);
            for (sums, slopes) in sums.zip(strip.at(row, cols.start)[..height].chunks(S::LANES)) {
                s.store(s.load(sums) - s.load(slopes), sums);
            }
        }
        let first = strip.rows.start / strip.block;
        for block in first..strip.rows.end.div_ceil(strip.block) {
            let (rows, centered) = strip.block(block);
            if strip.active(s, rows.clone(), &cols) {
                let slopes = Slopes { slopes: strip.at(rows.start, cols.start), transposed: true };
                let to = (&mut *out.grad, height);
                strip.offsets.add_product(strip.isa, slopes, (centered, rows.len()), to);
            }
        }
        let Some(close) = strip.close else { return };
        for row in strip.rows.clone() {
            let slopes = &close[(row - strip.rows.start) * strip.stride..][cols.clone()];
            for (c, &slope) in slopes.iter().enumerate().filter(|&(_, &slope)| slope != T::ZERO) {
                let both = [points.rows.row(cols.start + c), points.rows.row(row)];
                add_difference(s, slope, both, (&mut *out.grad, height, c));
            }
        }
    }
}

/// Adds the gradients of pairs whose slopes lie outside of a strip's rows.
pub(crate) struct AddExtras<'a, T> {
    pub side: Operand<'a, T>,
    pub extras: &'a [super::anchors::Extra<T>],
    /// Rows of a block of gradients.
    pub block: usize,
    pub grad: &'a mut [T],
}

impl<T: Real> Kernel<T> for AddExtras<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let rows = self.side.points.rows;
        let (count, depth) = (rows.order.len(), rows.z.cols());
        for extra in self.extras {
            let [a, b] = extra.rows.map(|place| place as usize);
            for (own, other) in [(a, b), (b, a)] {
                let first = own - own % self.block;
                let height = self.block.min(count - first);
                let to = &mut self.grad[first * depth..][..height * depth];
                let both = [rows.row(own), rows.row(other)];
                add_difference(s, extra.slope, both, (to, height, own - first));
            }
        }
    }
}
