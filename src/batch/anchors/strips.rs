//! Queries as anchors against keys, by strips: each distance is computed once.
//!
//! A strip is a block of queries against all keys. Some strips are kept at a time, as many as fit 30 MiB:
//!
//! ```text
//! for each few strips
//!   each strip by itself       d² with all keys, kept; log-sums; value and terms of each query;
//!                              slopes in place of d²; gradient of the queries
//!   each block of keys         gradient of the keys += slopesᵀ x queries, strip by strip
//! ```
//!
//! That is 6 N M D flops for both gradients and 4 N M D for the queries' alone, where two passes take 8 and 6.
//! The order of additions does not depend on threads: no gradient is any thread's own.
//!
//! Measured on two Zen 3 cores (512 KiB of L2, 4096 x 4096 rows): at D = 128 two passes over tiles take as long, or
//! up to a tenth less, since a strip is read back from L3; at 768 strips take a tenth less than both directions do by
//! tiles, of which the flops are those of queries by tiles. How many strips are kept at a time, 2 to 12, made no
//! difference above the noise.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::passes::Walk;
use super::state::{AnchorState, Evaluation};
use crate::batch::blocking::block_rows;
use crate::batch::pairwise::blocks::Pool;
use crate::batch::pairwise::gradient::Gradient;
use crate::kernel::anchors::block::AnchorBlock;
use crate::kernel::anchors::strip::{MultiplyStrip, StripBlock};
use crate::kernel::anchors::sum::{EachBlock, SumBlock, SumScratch};
use crate::kernel::anchors::weigh::WeighKept;
use crate::kernel::blocking::{BLOCK_ROWS, SLOPE_STRIDE};
use crate::kernel::pairwise::gradient::BlockOut;
use crate::loss::AnchorTotals;
use crate::loss::anchor::work::Terms;
use crate::parallel::split::{Chunks, for_blocks, rows_of_block, sum_blocks};
use crate::parallel::stop::look;
use crate::simd::real::Real;

/// How a call is cut into strips: a function of its shape alone.
#[derive(Clone, Copy)]
pub(super) struct Strips {
    /// Queries of a strip.
    pub rows: usize,
    /// Strips that are kept at a time.
    at_once: usize,
    /// Blocks of keys.
    blocks: usize,
}

impl Strips {
    /// The strips of N queries against M keys of D elements; `None` where keys are too many to keep several
    /// strips, so that threads would wait for one another.
    pub(super) fn new<T>(n: usize, m: usize, d: usize) -> Option<Self> {
        const MOST_BYTES: usize = 30 << 20;
        /// The least number of strips at a time: as many threads find work.
        const LEAST: usize = 8;
        // The gradient of the keys is read and written once a strip: long rows need high strips.
        let heights: &[usize] = if d <= 256 { &[BLOCK_ROWS, 64, 32] } else { &[BLOCK_ROWS, 64] };
        let blocks = m.div_ceil(block_rows(m));
        heights.iter().find_map(|&height| {
            let rows = height.min(block_rows(n));
            let bytes = blocks * rows * SLOPE_STRIDE * size_of::<T>();
            let at_once = MOST_BYTES / bytes.max(1);
            (at_once >= LEAST).then_some(Strips { rows, at_once: at_once.min(64), blocks })
        })
    }
}

/// One strip.
struct Strip<'a, 'b, T> {
    walk: &'a Walk<'a, 'b, T>,
    queries: Range<usize>,
    blocks: &'a mut [StripBlock<T>],
}

impl<'a, T: Real> Strip<'a, '_, T> {
    /// Runs `f` on each of its blocks.
    fn each(&mut self, mut f: impl FnMut(AnchorBlock<T>, &mut StripBlock<T>)) {
        let m = self.walk.counts[1];
        let height = block_rows(m);
        for (at, block) in self.blocks.iter_mut().enumerate() {
            look();
            let (i, j) = (self.queries.clone(), rows_of_block(at, height, m));
            f(AnchorBlock { batch: self.walk.batch, i, j, among: false }, block);
        }
    }
}

impl<T: Real> Walk<'_, '_, T> {
    /// Values and gradients, less the factor of the reduction. Returns the totals, and the sum of w x over all
    /// pairs.
    pub(super) fn strips(
        &self,
        strips: Strips,
        evaluation: &Evaluation<T>,
        state: &mut AnchorState<T>,
        to: &mut [Gradient<T>; 2],
        wanted: [bool; 2],
        kept: &mut Vec<StripBlock<T>>,
    ) -> (AnchorTotals, f64) {
        let Strips { rows, at_once, blocks } = strips;
        let ([n, m], d, isa) = (self.counts, self.batch.sides[0].points.rows.z.cols(), self.cx.isa);
        let (looks_twice, key_rows) =
            (evaluation.objective.loss.looks_twice_block(), block_rows(m));
        if looks_twice {
            state.start_each();
        }
        let [of_queries, of_keys] = to;
        let pool = Pool::new();
        let mut all = (AnchorTotals::default(), 0.0);
        for first in (0..n).step_by(rows * at_once) {
            let some = first..(first + rows * at_once).min(n);
            let count = some.len().div_ceil(rows);
            kept.resize_with(kept.len().max(count * blocks), StripBlock::default);
            let (anchors, common) = state.blocks_of(some.clone(), rows);
            let grads = wanted[0].then(|| {
                let sums = &mut of_queries.sums[some.start * d..some.end * d];
                (Chunks(sums, rows * d), Chunks(&mut of_queries.slopes[some.clone()], rows))
            });
            let output = (anchors, (grads, Chunks(&mut kept[..count * blocks], blocks)));
            let add = |a: (AnchorTotals, f64), b: (AnchorTotals, f64)| (a.0 + b.0, a.1 + b.1);
            let of_some = sum_blocks(
                self.cx.par,
                count,
                output,
                add,
                |strip, (mut anchors, (mut grad, blocks))| {
                    let within = rows_of_block(strip, rows, some.len());
                    let queries = some.start + within.start..some.start + within.end;
                    let mut strip = Strip { walk: self, queries: queries.clone(), blocks };
                    let mut sums = anchors.sums_out();
                    pool.lend(SumScratch::new, |scratch| {
                        strip.each(|block, kept| {
                            let out = [Some(&mut sums), None];
                            T::dispatch(isa, SumBlock { block, out, scratch, keep: Some(kept) });
                        });
                    });
                    let mut totals = anchors.evaluate(&common, queries.len(), evaluation);
                    if looks_twice {
                        let (mut each, terms) = anchors.each_out();
                        strip.each(|block, kept| {
                            let (terms, out) = ([Some(terms), None], [Some(&mut each), None]);
                            T::dispatch(isa, EachBlock { block, terms, out, kept: Some(kept) });
                        });
                        totals = anchors.evaluate(&common, queries.len(), evaluation);
                    }
                    let terms: Terms<T> = anchors.terms();
                    let mut by_scale = 0.0;
                    strip.each(|block, kept| {
                        let out =
                            grad.as_mut().map(|(grad, slope_sums)| BlockOut { grad, slope_sums });
                        by_scale += T::dispatch(
                            isa,
                            WeighKept { block, terms, kept, columns: wanted[1], out },
                        );
                    });
                    (totals, by_scale)
                },
            );
            all = add(all, of_some);
            if !wanted[1] {
                continue;
            }
            let grads =
                (Chunks(&mut of_keys.sums, key_rows * d), Chunks(&mut of_keys.slopes, key_rows));
            for_blocks(self.cx.par, blocks, grads, |block, (grad, slope_sums)| {
                for strip in 0..count {
                    let within = rows_of_block(strip, rows, some.len());
                    let mut out = BlockOut { grad: &mut *grad, slope_sums: &mut *slope_sums };
                    T::dispatch(
                        isa,
                        MultiplyStrip {
                            isa,
                            block: &kept[strip * blocks + block],
                            sides: self.batch.sides,
                            offsets: self.batch.offsets,
                            i: some.start + within.start..some.start + within.end,
                            j: rows_of_block(block, key_rows, m),
                            out: out.lend(),
                        },
                    );
                }
            });
        }
        all
    }
}
