//! The first pass over the pairs of anchors: running log-sums, and sums over each similar pair.
//!
//! Within a block sums stay in lanes, in the type of the rows. At its end they are added up across lanes, and
//! added to the anchors' sums in `f64`: so a sum over many candidates rounds like one over a block.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::block::{AnchorBlock, AnchorGroup, GroupPass, to_similarities};
use super::strip::StripBlock;
use crate::kernel::blocking::BLOCK_ROWS;
use crate::kernel::pairwise::tile::Subtraction;
use crate::loss::anchor::work::{EachAnchor, Group, Running, Terms, Work};
use crate::simd::isa::MOST_LANES;
use crate::simd::math::exp_of_small;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// Sums of the anchors of a block of rows, an element for each: what is added to.
pub(crate) struct SumsOut<'a, T> {
    /// The largest exponents of similar and of dissimilar pairs. They start at [`Real::LOWEST`].
    pub largest: [&'a mut [T]; 2],
    /// The sums of e^(x - largest).
    pub sums: [&'a mut [f64]; 2],
    /// The sums of the exponents of similar pairs.
    pub exponents: &'a mut [f64],
}

/// Sums of the anchors of one side of a block, in lanes: see [`Running`].
pub(crate) struct Lanes<T> {
    similar: [Vec<T>; 2],
    dissimilar: [Vec<T>; 2],
    exponents: Vec<T>,
}

impl<T: Real> Lanes<T> {
    fn new(len: usize) -> Self {
        let [lowest, zeros] = [T::LOWEST, T::ZERO].map(|x| vec![x; len]);
        let power_sums = [lowest, zeros.clone()];
        Lanes { similar: power_sums.clone(), dissimilar: power_sums, exponents: zeros }
    }

    /// Starts anew. What similar pairs have left untouched is as it was.
    fn clear(&mut self, similar_too: bool) {
        self.dissimilar[0].fill(T::LOWEST);
        self.dissimilar[1].fill(T::ZERO);
        if similar_too {
            self.similar[0].fill(T::LOWEST);
            self.similar[1].fill(T::ZERO);
            self.exponents.fill(T::ZERO);
        }
    }

    fn at(&mut self, at: Range<usize>) -> Running<'_, T> {
        Running {
            similar: self.similar.each_mut().map(|of| &mut of[at.clone()]),
            dissimilar: self.dissimilar.each_mut().map(|of| &mut of[at.clone()]),
            exponents: &mut self.exponents[at],
        }
    }
}

/// Scratch of [`SumBlock`]: sums of rows, a vector for each, and of columns, a lane for each.
pub(crate) struct SumScratch<T> {
    rows: Lanes<T>,
    cols: Lanes<T>,
}

impl<T: Real> SumScratch<T> {
    pub(crate) fn new() -> Self {
        SumScratch { rows: Lanes::new(BLOCK_ROWS * MOST_LANES), cols: Lanes::new(BLOCK_ROWS) }
    }
}

/// Adds the pairs of a block to the sums of its rows and of its columns, where these are anchors.
pub(crate) struct SumBlock<'a, 'o, T> {
    pub block: AnchorBlock<'a, T>,
    pub out: [Option<&'a mut SumsOut<'o, T>>; 2],
    pub scratch: &'a mut SumScratch<T>,
    /// Where d², or -2 q·k, are kept for what follows.
    pub keep: Option<&'a mut StripBlock<T>>,
}

/// The pass of a [`SumBlock`].
struct SumGroups<'a, T> {
    anchors: [bool; 2],
    scratch: &'a mut SumScratch<T>,
    keep: Option<&'a mut StripBlock<T>>,
    /// Whether any group had a place that was no dissimilar pair.
    similar: bool,
}

impl<T: Real> Kernel<T> for SumBlock<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let SumBlock { block, out, scratch, mut keep } = self;
        let reference = block.batch.reference.is_some();
        if let Some(keep) = &mut keep {
            keep.clear(block.i.len());
        }
        let anchors = [out[0].is_some(), out[1].is_some()];
        let mut pass = SumGroups { anchors, scratch, keep, similar: false };
        block.for_groups(s, false, &mut pass);
        let SumGroups { scratch: SumScratch { rows, cols }, similar, .. } = pass;
        let [of_rows, of_cols] = out;
        if let Some(out) = of_rows {
            add_up_rows(s, rows, block.i.len(), similar, reference);
            add_sums(s, rows, similar, reference, out);
            rows.clear(similar);
        }
        if let Some(out) = of_cols {
            add_sums(s, cols, similar, reference, out);
            cols.clear(similar);
        }
    }
}

impl<T: Real> GroupPass<T> for SumGroups<'_, T> {
    #[inline(always)]
    fn group<S: Simd<T>>(
        &mut self,
        s: S,
        block: &AnchorBlock<T>,
        group: AnchorGroup,
        raw: &mut [T],
    ) {
        let (lanes, batch) = (S::LANES, block.batch);
        let AnchorGroup { rows, col, near, kinds } = group;
        let (r, c) = (rows.start - block.i.start, col - block.j.start);
        if let Some(keep) = &mut self.keep {
            keep.put(s, [r, c], raw);
            keep.near |= near;
        }
        to_similarities(s, batch.measure, batch.top, raw);
        self.similar |= kinds.is_some();
        let SumScratch { rows: of_rows, cols: of_cols } = &mut *self.scratch;
        let (mut of_row, mut of_col) = (None, None);
        if self.anchors[0] {
            of_row = Some(of_rows.at(r * lanes..(r + rows.len()) * lanes));
        }
        if self.anchors[1] {
            of_col = Some(of_cols.at(c..c + 2 * lanes));
        }
        let (group, anchors) = (Group { u: raw, kinds }, [of_row, of_col]);
        batch
            .loss
            .work_block(batch.isa, Work::SumGroup { group, anchors, reference: batch.reference });
    }
}

/// Adds up the vector of each row across its lanes, into the first elements. With a `reference`, sums of
/// dissimilar pairs are all relative to it.
#[inline(always)]
fn add_up_rows<T: Real, S: Simd<T>>(
    s: S,
    lanes: &mut Lanes<T>,
    rows: usize,
    similar: bool,
    reference: bool,
) {
    let Lanes { similar: of_p, dissimilar: of_g, exponents } = lanes;
    for (kind, [largest, sums]) in [of_p, of_g].into_iter().enumerate() {
        if kind == 0 && !similar {
            continue;
        }
        for r in 0..rows {
            let at = r * S::LANES..(r + 1) * S::LANES;
            let all = &largest[at.clone()];
            let mut most = all[0];
            for &x in &all[1..] {
                most = if most < x { x } else { most };
            }
            let mut sum = s.load(&sums[at.clone()]);
            if kind == 0 || !reference {
                let powers = exp_of_small(s, s.load(&largest[at]) - s.splat(most));
                // Nothing times the power of anything is nothing.
                sum = s.select(s.nonzero(sum), sum * powers, s.splat(T::ZERO));
            }
            largest[r] = most;
            sums[r] = s.sum(sum);
        }
    }
    if similar {
        for r in 0..rows {
            exponents[r] = s.sum(s.load(&exponents[r * S::LANES..][..S::LANES]));
        }
    }
}

/// Adds the sums of a block's anchors, an element for each, to those before.
#[inline(always)]
fn add_sums<T: Real, S: Simd<T>>(
    s: S,
    lanes: &Lanes<T>,
    similar: bool,
    reference: bool,
    out: &mut SumsOut<T>,
) {
    for (kind, more) in [&lanes.similar, &lanes.dissimilar].into_iter().enumerate() {
        if kind == 0 && !similar {
            continue;
        }
        let (largest, sums) = (&mut out.largest[kind], &mut out.sums[kind]);
        let blocks = largest.chunks_mut(S::LANES).zip(sums.chunks_mut(S::LANES));
        for (i, (largest, sums)) in blocks.enumerate() {
            let at = i * S::LANES;
            let (before, of_block) = (s.load(largest), s.load(&more[0][at..]));
            let most = s.select(s.lt(before, of_block), of_block, before);
            s.store(most, largest);
            if kind == 1 && reference {
                for (sum, more) in sums.iter_mut().zip(&more[1][at..]) {
                    *sum += more.to_f64();
                }
                continue;
            }
            let mut factors = [[T::ZERO; MOST_LANES]; 2];
            s.store(exp_of_small(s, before - most), &mut factors[0]);
            s.store(exp_of_small(s, of_block - most), &mut factors[1]);
            let more = &more[1][at..];
            for (l, sum) in sums.iter_mut().enumerate() {
                // Nothing times the power of anything is nothing.
                let part =
                    |sum: f64, factor: T| if sum == 0.0 { 0.0 } else { sum * factor.to_f64() };
                *sum = part(*sum, factors[0][l]) + part(more[l].to_f64(), factors[1][l]);
            }
        }
    }
    if similar {
        for (sum, more) in out.exponents.iter_mut().zip(&lanes.exponents) {
            *sum += more.to_f64();
        }
    }
}

/// Sums of both numbers of [`AnchorLoss::each`](crate::loss::AnchorLoss::each), an element for each anchor.
pub(crate) struct EachOut<'a> {
    pub each: [&'a mut [f64]; 2],
}

/// Adds the similar pairs of a block to such sums.
pub(crate) struct EachBlock<'a, 'o, T> {
    pub block: AnchorBlock<'a, T>,
    /// The terms of the anchors of each side, by place.
    pub terms: [Option<Terms<'a, T>>; 2],
    pub out: [Option<&'a mut EachOut<'o>>; 2],
    /// The block as it was kept, if it was.
    pub kept: Option<&'a StripBlock<T>>,
}

/// The pass of an [`EachBlock`].
struct EachGroups<'a, T> {
    terms: [Option<Terms<'a, T>>; 2],
    /// The sides whose anchors are added up.
    summed: [bool; 2],
    kept: Option<&'a StripBlock<T>>,
    /// Sums in lanes of both numbers: a vector for each row, a lane for each column.
    of_rows: [[T; BLOCK_ROWS * MOST_LANES]; 2],
    of_cols: [[T; BLOCK_ROWS]; 2],
}

impl<T: Real> Kernel<T> for EachBlock<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let EachBlock { block, terms, out, kept } = self;
        if block.is_dissimilar(s) {
            return;
        }
        let summed = [out[0].is_some(), out[1].is_some()];
        let of_rows = [[T::ZERO; BLOCK_ROWS * MOST_LANES]; 2];
        let of_cols = [[T::ZERO; BLOCK_ROWS]; 2];
        let mut pass = EachGroups { terms, summed, kept, of_rows, of_cols };
        block.for_groups(s, true, &mut pass);
        let [rows, cols] = out;
        if let Some(EachOut { each }) = rows {
            for (each, of_rows) in each.iter_mut().zip(&pass.of_rows) {
                for (sum, lane) in each.iter_mut().zip(of_rows.chunks_exact(S::LANES)) {
                    *sum += s.sum(s.load(lane)).to_f64();
                }
            }
        }
        if let Some(EachOut { each }) = cols {
            for (each, of_cols) in each.iter_mut().zip(&pass.of_cols) {
                for (sum, more) in each.iter_mut().zip(of_cols) {
                    *sum += more.to_f64();
                }
            }
        }
    }
}

impl<T: Real> GroupPass<T> for EachGroups<'_, T> {
    #[inline(always)]
    fn measure<S: Simd<T>>(
        &mut self,
        s: S,
        block: &AnchorBlock<T>,
        rows: Range<usize>,
        col: usize,
        subtraction: &mut Subtraction<T>,
        to: &mut [T],
    ) -> u32 {
        match self.kept {
            Some(kept) => kept.get(s, [rows.start - block.i.start, col - block.j.start], to),
            None => block.measure(s, rows, col, subtraction, to),
        }
    }

    #[inline(always)]
    fn group<S: Simd<T>>(
        &mut self,
        s: S,
        block: &AnchorBlock<T>,
        group: AnchorGroup,
        raw: &mut [T],
    ) {
        let (lanes, batch) = (S::LANES, block.batch);
        let AnchorGroup { rows, col, kinds, .. } = group;
        to_similarities(s, batch.measure, batch.top, raw);
        let (r, c) = (rows.start - block.i.start, col - block.j.start);
        let (mut of_row, mut of_col) = (None, None);
        let [first, second] = &mut self.of_rows;
        if let Some(terms) = self.terms[0] {
            let at = r * lanes..(r + rows.len()) * lanes;
            let sums = self.summed[0].then_some([&mut first[at.clone()], &mut second[at]]);
            of_row = Some(EachAnchor { terms: terms.at(rows), sums });
        }
        let [first, second] = &mut self.of_cols;
        if let Some(terms) = self.terms[1] {
            let at = c..c + 2 * lanes;
            let sums = self.summed[1].then_some([&mut first[at.clone()], &mut second[at]]);
            of_col = Some(EachAnchor { terms: terms.at(col..col + 2 * lanes), sums });
        }
        let (group, anchors) = (Group { u: raw, kinds }, [of_row, of_col]);
        batch.loss.work_block(batch.isa, Work::SumEach { group, anchors });
    }
}
