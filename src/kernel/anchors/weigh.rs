//! The second pass over the pairs of anchors: their weights, and the gradients that follow from them.
//!
//! ```text
//! W_ij = dL/du_ij = sum over the anchors of the pair of c weight dx/du        a row, a column, or both
//!
//! u = a function of d²     slope = 2 dL/d(d²)      dL/dq_i = sum over j of slope_ij (q_i - k_j)
//! u = q·k                                         dL/dq_i = sum over j of W_ij k_j
//! ```

#![forbid(unsafe_code)]

use std::ops::Range;

use super::block::{
    AnchorBatch, AnchorBlock, AnchorGroup, GroupPass, needs_distances, to_similarities, to_slopes,
};
use super::strip::{self, StripBlock};
use crate::kernel::blocking::{BLOCK_ROWS, GROUP_PAIRS};
use crate::kernel::pairwise::block_planar::add_group;
use crate::kernel::pairwise::gradient::BlockOut;
use crate::kernel::pairwise::gradients::{Among, Gradients, SlopeSums};
use crate::kernel::pairwise::tile::Subtraction;
use crate::kernel::rows::planar::WIDEST;
use crate::loss::anchor::work::{Group, Terms, Work};
use crate::simd::isa::MOST_LANES;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// Adds the gradients of a block's pairs. Returns the sum of w x over its pairs.
pub(crate) struct WeighBlock<'a, T> {
    pub block: AnchorBlock<'a, T>,
    /// The terms of the anchors of each side, by place.
    pub terms: [Option<Terms<'a, T>>; 2],
    pub to: Gradients<'a, T>,
}

/// As [`WeighBlock`], for a block that has been kept: turns its entries into slopes, and adds the gradients of
/// its rows alone, where wanted. Only rows are anchors.
pub(crate) struct WeighKept<'a, T> {
    pub block: AnchorBlock<'a, T>,
    pub terms: Terms<'a, T>,
    pub kept: &'a mut StripBlock<T>,
    /// Whether gradients of the columns are made of the slopes as well.
    pub columns: bool,
    pub out: Option<BlockOut<'a, T>>,
}

impl<T: Real> Kernel<T> for WeighBlock<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> f64 {
        let WeighBlock { block, terms, to } = self;
        let weights = Weights { terms, d2: [T::ZERO; GROUP_PAIRS], sum: 0.0 };
        match (block.batch.is_planar(), block.batch.sides[0].points.rows.z.cols()) {
            (true, 1) => planar::<T, S, 1>(s, block, weights, to),
            (true, 2) => planar::<T, S, 2>(s, block, weights, to),
            (true, WIDEST) => planar::<T, S, WIDEST>(s, block, weights, to),
            _ => {
                let close = [false; GROUP_PAIRS];
                let mut pass = ByProducts { weights, to, sums: SlopeSums::new(), close };
                block.for_groups(s, false, &mut pass);
                if pass.to.are_wanted() {
                    pass.to.multiply(s, &pass.sums);
                }
                pass.weights.sum
            }
        }
    }
}

impl<T: Real> Kernel<T> for WeighKept<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> f64 {
        let WeighKept { block, terms, kept, columns, out } = self;
        let weights = Weights { terms: [Some(terms), None], d2: [T::ZERO; GROUP_PAIRS], sum: 0.0 };
        let mut entries = std::mem::take(&mut kept.entries);
        let (i, j, AnchorBatch { isa, sides, offsets, .. }) =
            (block.i.clone(), block.j.clone(), block.batch);
        let to = Gradients {
            isa: *isa,
            sides: *sides,
            offsets,
            i,
            j,
            among: Among::No,
            out: [out, None],
            slopes: &mut entries,
        };
        let close = [false; GROUP_PAIRS];
        let products = ByProducts { weights, to, sums: SlopeSums::new(), close };
        let mut pass = Kept { products, near: kept.near, columns, close: &mut kept.close };
        block.for_groups(s, false, &mut pass);
        let ByProducts { mut to, sums, weights, .. } = pass.products;
        if to.are_wanted() {
            to.multiply(s, &sums);
        }
        kept.slope_sums.copy_from_slice(sums.cols());
        kept.active = sums.is_active();
        let sum = weights.sum;
        kept.entries = entries;
        sum
    }
}

/// Weights of groups, and the sum of w x over all pairs so far.
struct Weights<'a, T> {
    terms: [Option<Terms<'a, T>>; 2],
    /// The squared distances of a group, where slopes are made of both.
    d2: [T; GROUP_PAIRS],
    sum: f64,
}

impl<T: Real> Weights<'_, T> {
    /// Turns d², or -2 q·k, into slopes.
    #[inline(always)]
    fn weigh<S: Simd<T>>(
        &mut self,
        s: S,
        block: &AnchorBlock<T>,
        group: &AnchorGroup,
        raw: &mut [T],
    ) {
        let batch = block.batch;
        if needs_distances(batch.measure) {
            self.d2[..raw.len()].copy_from_slice(raw);
        }
        to_similarities(s, batch.measure, batch.top, raw);
        let anchors = [
            self.terms[0].map(|terms| terms.at(group.rows.clone())),
            self.terms[1].map(|terms| terms.at(group.col..group.col + 2 * S::LANES)),
        ];
        let mut by_scale = [T::ZERO; MOST_LANES];
        let work = Work::Weigh {
            group: Group { u: raw, kinds: group.kinds },
            anchors,
            by_scale: batch.by_scale.then_some(&mut by_scale[..S::LANES]),
            once: block.among,
            reference: batch.reference,
        };
        batch.loss.work_block(batch.isa, work);
        if batch.by_scale {
            // Sums of a group in lanes, all others in f64.
            self.sum += s.sum(s.load(&by_scale[..S::LANES])).to_f64();
        }
        to_slopes(s, batch.measure, &self.d2[..raw.len()], raw);
    }
}

/// The pass in which gradients are products of slopes and rows.
struct ByProducts<'a, T> {
    weights: Weights<'a, T>,
    to: Gradients<'a, T>,
    sums: SlopeSums<T>,
    close: [bool; GROUP_PAIRS],
}

impl<T: Real> GroupPass<T> for ByProducts<'_, T> {
    #[inline(always)]
    fn group<S: Simd<T>>(
        &mut self,
        s: S,
        block: &AnchorBlock<T>,
        group: AnchorGroup,
        raw: &mut [T],
    ) {
        let ByProducts { weights, to, sums, close } = self;
        let (rows, col) = (group.rows.clone(), group.col);
        let wanted = to.are_wanted();
        let any_close = group.near && wanted && to.find_close::<S>(rows.clone(), col, raw, close);
        weights.weigh(s, block, &group, raw);
        if any_close {
            to.add_close(s, rows.clone(), col, raw, close);
        }
        if wanted {
            let at = [rows.start - block.i.start, col - block.j.start];
            to.keep_slopes(s, rows.len(), at, raw, sums);
        }
    }
}

/// The pass over a block that has been kept.
struct Kept<'a, 'k, T> {
    products: ByProducts<'a, T>,
    near: bool,
    columns: bool,
    close: &'k mut Vec<(usize, usize, T)>,
}

impl<T: Real> GroupPass<T> for Kept<'_, '_, T> {
    #[inline(always)]
    fn measure<S: Simd<T>>(
        &mut self,
        s: S,
        block: &AnchorBlock<T>,
        rows: Range<usize>,
        col: usize,
        _: &mut Subtraction<T>,
        to: &mut [T],
    ) -> u32 {
        let at = [rows.start - block.i.start, col - block.j.start];
        strip::get(s, self.products.to.slopes, at, to);
        if self.near { u32::MAX } else { 0 }
    }

    #[inline(always)]
    fn group<S: Simd<T>>(
        &mut self,
        s: S,
        block: &AnchorBlock<T>,
        group: AnchorGroup,
        raw: &mut [T],
    ) {
        let ByProducts { weights, to, sums, close } = &mut self.products;
        let (rows, col) = (group.rows.clone(), group.col);
        let any_close = group.near && to.find_close::<S>(rows.clone(), col, raw, close);
        weights.weigh(s, block, &group, raw);
        let [r, c] = [rows.start - block.i.start, col - block.j.start];
        if any_close {
            if self.columns {
                for (at, _) in
                    close.iter().enumerate().filter(|&(at, &close)| close && at < raw.len())
                {
                    let (row, column) = (r + at / (2 * S::LANES), c + at % (2 * S::LANES));
                    if raw[at] != T::ZERO {
                        self.close.push((row, column, raw[at]));
                    }
                }
            }
            to.add_close(s, rows.clone(), col, raw, close);
        }
        to.keep_slopes(s, rows.len(), [r, c], raw, sums);
    }
}

/// The pass in which gradients are sums of slopes and differences: rows of `D` elements.
struct ByDifferences<'a, T, const D: usize> {
    weights: Weights<'a, T>,
    /// Element k of the gradient of row r, or column c, at [k][r].
    by_row: [[T; BLOCK_ROWS]; D],
    by_column: [[T; BLOCK_ROWS]; D],
}

#[inline(always)]
fn planar<T: Real, S: Simd<T>, const D: usize>(
    s: S,
    block: AnchorBlock<T>,
    weights: Weights<T>,
    mut to: Gradients<T>,
) -> f64 {
    let zeros = [[T::ZERO; BLOCK_ROWS]; D];
    let mut pass = ByDifferences { weights, by_row: zeros, by_column: zeros };
    block.for_groups(s, false, &mut pass);
    for (out, by) in to.out.iter_mut().zip([&pass.by_row, &pass.by_column]) {
        let Some(out) = out else { continue };
        for (r, grad) in out.grad.chunks_exact_mut(D).enumerate() {
            for (grad, by) in grad.iter_mut().zip(by) {
                *grad += by[r];
            }
        }
    }
    pass.weights.sum
}

impl<T: Real, const D: usize> GroupPass<T> for ByDifferences<'_, T, D> {
    #[inline(always)]
    fn group<S: Simd<T>>(
        &mut self,
        s: S,
        block: &AnchorBlock<T>,
        group: AnchorGroup,
        raw: &mut [T],
    ) {
        self.weights.weigh(s, block, &group, raw);
        // Rows of a group: as many as make 256 pairs with the columns of a panel.
        match S::LANES {
            16.. => self.add::<S, 8>(s, block, &group, raw),
            8.. => self.add::<S, 16>(s, block, &group, raw),
            _ => self.add::<S, 32>(s, block, &group, raw),
        }
    }
}

impl<T: Real, const D: usize> ByDifferences<'_, T, D> {
    #[inline(always)]
    fn add<S: Simd<T>, const ROWS: usize>(
        &mut self,
        s: S,
        block: &AnchorBlock<T>,
        AnchorGroup { rows, col, .. }: &AnchorGroup,
        slopes: &[T],
    ) {
        let sides = [&block.batch.sides[0].points, &block.batch.sides[1].points];
        let mut of_rows = [[s.splat(T::ZERO); D]; ROWS];
        let at = [*col, col - block.j.start];
        add_group(s, sides, rows.clone(), at, slopes, &mut of_rows, &mut self.by_column);
        for (r, of_row) in of_rows.iter().enumerate().take(rows.len()) {
            for k in 0..D {
                self.by_row[k][rows.start - block.i.start + r] += s.sum(of_row[k]);
            }
        }
    }
}
