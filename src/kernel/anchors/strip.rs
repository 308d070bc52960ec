//! A block of a strip: the pairs of a block of anchors with a block of candidates, kept between the passes.
//!
//! A strip is a block of rows, all anchors, against all candidates. It is small enough to be kept, so its
//! distances are computed once:
//!
//! ```text
//! SumBlock      d² of the block, kept; log-sums of its rows
//! WeighBlock    d² -> slopes in place; gradient of its rows += slopes x candidates
//! MultiplyStrip gradient of the candidates += slopesᵀ x rows                          by blocks of candidates
//! ```

#![forbid(unsafe_code)]

use std::ops::Range;

use crate::kernel::blocking::{BLOCK_ROWS, SLOPE_STRIDE};
use crate::kernel::pairwise::gradient::{BlockOffsets, BlockOut, Operand, Slopes, add_difference};
use crate::memory::aligned::Aligned;
use crate::simd::isa::Isa;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// The pairs of rows r and columns c of two blocks.
#[derive(Clone, Debug, Default)]
pub(crate) struct StripBlock<T> {
    /// d², or -2 q·k; later -slopes. Pair (r, c) is at `r * SLOPE_STRIDE + c`.
    pub entries: Aligned<T>,
    /// Whether pairs may be close, or not finite.
    pub near: bool,
    /// The sums of slopes of each column, once there are slopes.
    pub slope_sums: Vec<T>,
    /// Whether any slope is not 0.
    pub active: bool,
    /// Pairs whose slope is not among the entries, since they are too close for products.
    pub close: Vec<(usize, usize, T)>,
}

impl<T: Real> StripBlock<T> {
    /// Makes room for a block of so many rows.
    pub(super) fn clear(&mut self, rows: usize) {
        self.entries.resize(rows * SLOPE_STRIDE);
        self.slope_sums.clear();
        self.slope_sums.resize(BLOCK_ROWS, T::ZERO);
        self.close.clear();
        (self.near, self.active) = (false, false);
    }

    /// Puts a group, rows of two vectors, at its place.
    #[inline(always)]
    pub(super) fn put<S: Simd<T>>(&mut self, s: S, [r, c]: [usize; 2], group: &[T]) {
        for (k, row) in group.chunks_exact(2 * S::LANES).enumerate() {
            let to = &mut self.entries[(r + k) * SLOPE_STRIDE + c..][..2 * S::LANES];
            s.store(s.load(&row[..S::LANES]), &mut to[..S::LANES]);
            s.store(s.load(&row[S::LANES..]), &mut to[S::LANES..]);
        }
    }

    /// Takes rows of two vectors from their place. Returns a bit for each group that may hold close pairs.
    #[inline(always)]
    pub(super) fn get<S: Simd<T>>(&self, s: S, at: [usize; 2], to: &mut [T]) -> u32 {
        get(s, &self.entries, at, to);
        if self.near { u32::MAX } else { 0 }
    }
}

/// Takes rows of two vectors from their place among the entries of a block.
#[inline(always)]
pub(super) fn get<T: Real, S: Simd<T>>(s: S, entries: &[T], [r, c]: [usize; 2], to: &mut [T]) {
    for (k, row) in to.chunks_exact_mut(2 * S::LANES).enumerate() {
        let from = &entries[(r + k) * SLOPE_STRIDE + c..][..2 * S::LANES];
        s.store(s.load(&from[..S::LANES]), &mut row[..S::LANES]);
        s.store(s.load(&from[S::LANES..]), &mut row[S::LANES..]);
    }
}

/// Adds the gradients of a block of candidates, from the slopes of a block of anchors.
pub(crate) struct MultiplyStrip<'a, 'o, T> {
    pub isa: Isa,
    pub block: &'a StripBlock<T>,
    pub sides: [Operand<'a, T>; 2],
    pub offsets: &'a BlockOffsets,
    /// The anchors, and the candidates.
    pub i: Range<usize>,
    pub j: Range<usize>,
    pub out: BlockOut<'o, T>,
}

impl<T: Real> Kernel<T> for MultiplyStrip<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let MultiplyStrip { isa, block, sides: [x, y], offsets, i, j, out } = self;
        let rows = [x.points.rows, y.points.rows];
        for &(r, c, slope) in &block.close {
            let (anchor, candidate) = (rows[0].row(i.start + r), rows[1].row(j.start + c));
            add_difference(s, slope, [candidate, anchor], (&mut *out.grad, j.len(), c));
        }
        if !block.active {
            return;
        }
        for (sum, &more) in out.slope_sums.iter_mut().zip(&block.slope_sums) {
            *sum += more;
        }
        let depth = x.points.rows.z.cols();
        let anchors = &x.centered[i.start * depth..i.end * depth];
        let slopes = Slopes { slopes: &block.entries, transposed: true };
        offsets.add_product(isa, slopes, (anchors, i.len()), (out.grad, j.len()));
    }
}
