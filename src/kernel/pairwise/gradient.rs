//! The parts in which the gradient of all pairs is formed.
//!
//! ```text
//! grad = (diag(C 1) - C) Z        C the matrix of slopes
//!
//! StartGradient    0, or the pull of whole classes
//! add_product      -C Z, block by block
//! add_difference   pairs that are too close for products, one by one
//! FinishGradient   + (C 1)_i z_i, times a scale, in the caller's order of rows
//! ```
//!
//! Sums and rows are stored in blocks of panels of columns: a block of h rows holds the first `width`
//! columns of all its rows, row after row, then the next ones; the last panel has the columns that are
//! left. So the elements that a register tile of a product reads lie together. Plain rows whose length is a
//! power of two would fall into the same few sets of the cache.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::pack::{Rows, panels, place};
use super::tile::TileOperand;
use crate::kernel::gemm::product::{
    Broadcast, Contiguous, Initial, OffsetTable, Output, Product, multiply,
};
use crate::memory::mat::MatMut;
use crate::simd::isa::Isa;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// Where the operands of products of slopes and rows lie, planned once a batch.
pub(crate) struct BlockOffsets {
    /// Offsets along a block of slopes: 0, 1, 2, ... and 0, stride, 2 stride, ...
    along: OffsetTable,
    across: OffsetTable,
    /// Offsets of the rows of a panel, and of the rows of the last one where that is narrower.
    rows: [OffsetTable; 2],
    depth: usize,
    width: usize,
}

/// A block of slopes: row i and column j at `i * stride + j`, or the other way round where it is read
/// `transposed`.
pub(crate) struct Slopes<'a, T> {
    pub slopes: &'a [T],
    pub transposed: bool,
}

impl BlockOffsets {
    /// For blocks of at most `most` rows of `depth` elements, and slopes in rows of `stride`.
    pub(crate) fn new<T>(isa: Isa, most: usize, stride: usize, depth: usize) -> Self {
        let width = 2 * isa.lanes::<T>();
        let every =
            |step: usize| OffsetTable::from((0..most).map(|i| i * step).collect::<Vec<_>>());
        BlockOffsets {
            along: every(1),
            across: every(stride),
            rows: [every(width), every(depth % width)],
            depth,
            width,
        }
    }

    /// out += (-C) rows, with -C (height, others) a block of slopes, `rows` (others, d) and `out` (height,
    /// d).
    #[inline(always)]
    pub(crate) fn add_product<T: Real>(
        &self,
        isa: Isa,
        slopes: Slopes<T>,
        (rows, others): (&[T], usize),
        (out, height): (&mut [T], usize),
    ) {
        let (of_rows, of_depth) = match slopes.transposed {
            false => (&self.across, &self.along),
            true => (&self.along, &self.across),
        };
        let (of_rows, of_depth) = (of_rows.range(0..height), of_depth.range(0..others));
        let a = Broadcast::new(slopes.slopes, of_rows, of_depth);
        for columns in panels(self.depth, self.width) {
            let width = columns.len();
            let from = self.rows[usize::from(width < self.width)].range(0..others);
            let data = &rows[others * columns.start..][..others * width];
            let b = Contiguous::new(data, from);
            let data = &mut out[height * columns.start..][..height * width];
            let c = Output { data, stride: width, width };
            multiply(isa, Product { a, b, turns: 1, initial: Initial::Output, c });
        }
    }
}

/// Adds `slope (x - y)` to row `r` of a block of gradients.
#[inline(always)]
pub(crate) fn add_difference<T: Real, S: Simd<T>>(
    s: S,
    slope: T,
    [x, y]: [&[T]; 2],
    (grad, height, r): (&mut [T], usize, usize),
) {
    let (depth, width, slope) = (x.len(), 2 * S::LANES, s.splat(slope));
    for at in (0..depth).step_by(S::LANES) {
        let end = (at + S::LANES).min(depth);
        let g = slope * (s.load(&x[at..end]) - s.load(&y[at..end]));
        let to = place(height, depth, width, r, at);
        let to = &mut grad[to..to + end - at];
        s.store(s.load(to) + g, to);
    }
}

/// See [`StartGradient::pulled`].
pub(crate) type Pulled<'a, T> = dyn Fn(usize) -> Option<(T, [&'a [T]; 2])> + 'a;

/// Starts a block of gradients, from 0 or from the pull of whole classes.
pub(crate) struct StartGradient<'a, T> {
    pub rows: Rows<'a, T>,
    pub places: Range<usize>,
    /// For each place, the constant by which it is pulled, and the mean of its class as a sum of two rows:
    /// center and residual.
    pub pulled: &'a Pulled<'a, T>,
    pub grad: &'a mut [T],
}

impl<T: Real> Kernel<T> for StartGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let (depth, width, height) = (self.rows.z.cols(), 2 * S::LANES, self.places.len());
        self.grad.fill(T::ZERO);
        for (r, at) in self.places.enumerate() {
            let Some((pull, [center, residual])) = (self.pulled)(at) else { continue };
            let (row, pull) = (self.rows.row(at), s.splat(pull));
            for at in (0..depth).step_by(S::LANES) {
                let end = (at + S::LANES).min(depth);
                let lanes = at..end;
                let beyond = s.load(&row[lanes.clone()]) - s.load(&center[lanes.clone()]);
                let to = place(height, depth, width, r, at);
                s.store(
                    pull * (beyond - s.load(&residual[lanes])),
                    &mut self.grad[to..to + end - at],
                );
            }
        }
    }
}

/// The gradients of some rows from their sums: `grad = scale (sum + slopes z)`, z without the mean.
pub(crate) struct FinishGradient<'a, T> {
    /// The place of each row of `grad`.
    pub places: &'a [u32],
    /// The number of rows of a block of sums, and of a block of z.
    pub blocks: [usize; 2],
    /// The number of places.
    pub count: usize,
    pub scale: T,
    pub slope_sums: &'a [T],
    pub sums: &'a [T],
    /// z without the mean; empty where the sums alone are the gradient.
    pub centered: &'a [T],
    pub grad: MatMut<'a, T>,
}

impl<T: Real> Kernel<T> for FinishGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) {
        let (depth, width, scale) = (self.grad.cols(), 2 * S::LANES, s.splat(self.scale));
        for (i, &at) in self.places.iter().enumerate() {
            let at = at as usize;
            let slopes = s.splat(self.slope_sums[at]);
            // The block of this row: where it starts, its height, and the row's number in it.
            let [sums, centered] = self.blocks.map(|block| {
                let first = at - at % block;
                (first * depth, block.min(self.count - first), at - first)
            });
            let find = |(start, height, r), from| start + place(height, depth, width, r, from);
            let to = self.grad.row_mut(i);
            for (to, from) in to.chunks_mut(S::LANES).zip((0..depth).step_by(S::LANES)) {
                let mut sum = s.load(&self.sums[find(sums, from)..][..to.len()]);
                if !self.centered.is_empty() {
                    let z = s.load(&self.centered[find(centered, from)..][..to.len()]);
                    sum = s.fma(slopes, z, sum);
                }
                s.store(scale * sum, to);
            }
        }
    }
}

/// A pair whose squared distance is below this share of the sum of both squared norms is too close for
/// products.
pub(crate) const CLOSE: f64 = 1e-6;

/// The rows of one side.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a, T> {
    pub points: TileOperand<'a, T>,
    /// The rows without the batch's mean, block by block in panels of columns; empty where no gradient
    /// is asked for. Rows whose length is not finite, and rows in no pair, are 0.
    pub centered: &'a [T],
}

/// The outputs of a block of rows, which are added to: its part of the gradient, and its sums of slopes.
/// When all blocks are done, each row is multiplied by its sum of slopes.
pub(crate) struct BlockOut<'a, T> {
    pub grad: &'a mut [T],
    pub slope_sums: &'a mut [T],
}
