//! The pairs of two blocks of rows, for losses of anchors: similarities in groups, with the kind of each pair.
//!
//! ```text
//! LOOP 2  for each panel of columns j: two vectors of rows of the other side
//! LOOP 3    for each strip of rows i
//!             d² or -2 q·k of rows x panel                        `tile.rs`, `block_planar.rs`
//!             for each group of 256 pairs
//!               which pairs are similar, which places hold none
//!               whatever is done with it                          `sum.rs`, `weigh.rs`
//! ```
//!
//! Blocks of the same rows are computed as a whole, each pair twice: a row is an anchor in the one and a
//! candidate in the other.

#![forbid(unsafe_code)]

use std::ops::Range;

use crate::kernel::blocking::{GROUP_PAIRS, STRIP_PAIRS, rows_at_once};
use crate::kernel::pairwise::block_planar::planar_distances;
use crate::kernel::pairwise::gradient::{BlockOffsets, Operand};
use crate::kernel::pairwise::similarity::{BlockSimilarity, GraphMask, Similarity};
use crate::kernel::pairwise::tile::{Subtraction, by_products, squared_distances};
use crate::kernel::rows::planar::WIDEST;
use crate::loss::anchor::work::Kinds;
use crate::loss::{BlockAnchorLoss, Measure};
use crate::simd::Simd;
use crate::simd::isa::Isa;
use crate::simd::math::ln_1p;
use crate::simd::real::Real;

/// The inputs that all blocks of a call share.
pub(crate) struct AnchorBatch<'a, T> {
    pub isa: Isa,
    pub loss: &'a dyn BlockAnchorLoss<T>,
    pub measure: Measure,
    /// The similarity of rows at distance 0, less what the loss does not see.
    pub top: T,
    /// Both sides; twice the same one where anchors and candidates are of one set.
    pub sides: [Operand<'a, T>; 2],
    /// The kinds of pairs of different blocks of rows, and of a block of rows with itself.
    pub kinds: [Similarity<'a, T>; 2],
    pub offsets: &'a BlockOffsets,
    /// What all exponents of dissimilar pairs are close enough to: powers are of their differences from it.
    pub reference: Option<T>,
    /// Whether the sum of w x is wanted.
    pub by_scale: bool,
}

impl<T: Real> AnchorBatch<'_, T> {
    /// Whether rows are compared by differences, each element for itself: rows of up to three elements.
    pub(crate) fn is_planar(&self) -> bool {
        self.measure != Measure::Dot && self.sides[0].points.rows.z.cols() <= WIDEST
    }
}

/// All pairs of rows `i` of one side with rows `j` of the other, both from the start of a panel.
#[derive(Clone)]
pub(crate) struct AnchorBlock<'a, T> {
    pub batch: &'a AnchorBatch<'a, T>,
    pub i: Range<usize>,
    pub j: Range<usize>,
    /// Whether rows i and rows j are the same rows of one set.
    pub among: bool,
}

/// A group of pairs: some rows with a panel of columns.
pub(crate) struct AnchorGroup<'a> {
    pub rows: Range<usize>,
    pub col: usize,
    /// Whether it may hold pairs that are close, or not finite.
    pub near: bool,
    /// `None` where all pairs are dissimilar.
    pub kinds: Option<Kinds<'a>>,
}

/// What is done with the pairs of a block.
pub(crate) trait GroupPass<T: Real> {
    /// d², or -2 q·k where the measure is the dot product, of rows x panel; a bit for each group that may hold
    /// pairs that are close or not finite.
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
        block.measure(s, rows, col, subtraction, to)
    }

    /// Takes a group of pairs with their d², or -2 q·k.
    fn group<S: Simd<T>>(
        &mut self,
        s: S,
        block: &AnchorBlock<T>,
        group: AnchorGroup,
        raw: &mut [T],
    );
}

impl<T: Real> AnchorBlock<'_, T> {
    /// Whether all its pairs are dissimilar.
    #[inline(always)]
    pub(crate) fn is_dissimilar<S: Simd<T>>(&self, s: S) -> bool {
        let content = self.kinds().block_similarity(s, &self.i, &self.j, 8, None);
        matches!(content, BlockSimilarity::Uniform(false))
            && !matches!(self.kinds(), Similarity::Graph { .. })
    }

    fn kinds(&self) -> &Similarity<'_, T> {
        &self.batch.kinds[usize::from(self.among)]
    }

    /// Shows the pass each group of pairs. With `similar_only`, groups without a similar pair are left out.
    #[inline(always)]
    pub(crate) fn for_groups<S: Simd<T>>(
        &self,
        s: S,
        similar_only: bool,
        pass: &mut impl GroupPass<T>,
    ) {
        let cols = 2 * S::LANES;
        let group_rows = GROUP_PAIRS / cols;
        let depth = self.batch.sides[0].points.rows.z.cols();
        let height = if self.batch.is_planar() { group_rows } else { rows_at_once::<S, T>(depth) };
        let marks = self.kinds().marks(&self.i, &self.j, [group_rows, cols]);
        let mut strip = [T::ZERO; STRIP_PAIRS];
        let mut subtraction = Subtraction::new(self.batch.isa);
        let (mut similar, mut ignored) = ([false; GROUP_PAIRS], [false; GROUP_PAIRS]);
        for col in self.j.clone().step_by(cols) {
            let panel = col..self.j.end.min(col + cols);
            for row in self.i.clone().step_by(height) {
                let rows = row..(row + height).min(self.i.end);
                let groups = rows.clone().step_by(group_rows);
                let groups = groups.map(|row| row..(row + group_rows).min(rows.end));
                let mut uniform = [false; STRIP_PAIRS / GROUP_PAIRS];
                let mut all = true;
                for (group, uniform) in groups.clone().zip(&mut uniform) {
                    *uniform = self.is_uniform(s, &group, &panel, marks.as_ref());
                    all &= *uniform;
                }
                if similar_only && all {
                    continue;
                }
                let to = &mut strip[..rows.len() * cols];
                let near = pass.measure(s, self, rows.clone(), col, &mut subtraction, to);
                for (g, group) in groups.enumerate() {
                    let len = group.len() * cols;
                    let raw = &mut strip[g * GROUP_PAIRS..][..len];
                    let mut kinds = None;
                    if !uniform[g] {
                        let (similar, ignored) = (&mut similar[..len], &mut ignored[..len]);
                        let of = self.kinds();
                        of.fill(group.clone(), panel.clone(), false, similar, ignored);
                        kinds = Some(Kinds { similar, ignored });
                    } else if similar_only {
                        continue;
                    }
                    let near = near >> g & 1 == 1;
                    pass.group(s, self, AnchorGroup { rows: group, col, near, kinds }, raw);
                }
            }
        }
    }

    /// d², or -2 q·k where the measure is the dot product, of rows x panel; a bit for each group that may hold
    /// pairs that are close or not finite.
    #[inline(always)]
    pub(super) fn measure<S: Simd<T>>(
        &self,
        s: S,
        rows: Range<usize>,
        col: usize,
        subtraction: &mut Subtraction<T>,
        to: &mut [T],
    ) -> u32 {
        let batch = self.batch;
        let sides = [&batch.sides[0].points, &batch.sides[1].points];
        if batch.measure == Measure::Dot {
            by_products(s, sides, rows, col, to);
            return 0;
        }
        if !batch.is_planar() {
            return squared_distances(s, sides, rows, col, &[], to, subtraction);
        }
        match batch.sides[0].points.rows.z.cols() {
            0 => to.fill(T::ZERO),
            1 => planar_distances::<T, S, 1>(s, sides, rows, col, to),
            2 => planar_distances::<T, S, 2>(s, sides, rows, col, to),
            _ => planar_distances::<T, S, WIDEST>(s, sides, rows, col, to),
        }
        0
    }

    /// Whether all places of some rows and a panel of columns hold dissimilar pairs.
    #[inline(always)]
    fn is_uniform<S: Simd<T>>(
        &self,
        s: S,
        rows: &Range<usize>,
        cols: &Range<usize>,
        marks: Option<&GraphMask>,
    ) -> bool {
        let content = self.kinds().block_similarity(s, rows, cols, 4, marks);
        cols.len() == 2 * S::LANES && matches!(content, BlockSimilarity::Uniform(false))
    }
}

/// Turns d², or -2 q·k, into similarities: `top` less half of them, or -d.
#[inline(always)]
pub(crate) fn to_similarities<T: Real, S: Simd<T>>(s: S, measure: Measure, top: T, raw: &mut [T]) {
    let (half, top) = (s.splat(T::from_f64(-0.5)), s.splat(top));
    for raw in raw.chunks_exact_mut(S::LANES) {
        let d2 = s.load(raw);
        let u = match measure {
            Measure::Cosine | Measure::Dot => s.fma(half, d2, top),
            Measure::Distance => -s.sqrt(d2),
            Measure::Student => -ln_1p(s, d2),
        };
        s.store(u, raw);
    }
}

/// Turns dL/du into slopes 2 dL/d(d²), where `d2` holds the squared distances if these are needed; into -dL/du for
/// dot products.
#[inline(always)]
pub(crate) fn to_slopes<T: Real, S: Simd<T>>(s: S, measure: Measure, d2: &[T], weights: &mut [T]) {
    let (one, zero) = (s.splat(T::ONE), s.splat(T::ZERO));
    for (weights, d2) in weights.chunks_exact_mut(S::LANES).zip(d2.chunks_exact(S::LANES)) {
        let weight = -s.load(weights);
        let slope = match measure {
            Measure::Cosine | Measure::Dot => weight,
            Measure::Distance => {
                let d2 = s.load(d2);
                s.over_distance(weight, s.sqrt(d2), d2)
            }
            Measure::Student => (weight + weight) / (one + s.load(d2)),
        };
        // A weight of 0 contributes nothing, whatever the distance.
        s.store(s.select(s.nonzero(weight), slope, zero), weights);
    }
}

/// Whether [`to_slopes`] needs the squared distances.
pub(crate) fn needs_distances(measure: Measure) -> bool {
    matches!(measure, Measure::Distance | Measure::Student)
}
