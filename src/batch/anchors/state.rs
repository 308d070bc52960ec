//! The anchors of one side of a call, by place: their sums, then their values and what weights are made of.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::counts::Counts;
use crate::batch::pairwise::blocks::cut;
use crate::kernel::anchors::sum::{EachOut, SumsOut};
use crate::loss::anchor::work::Terms;
use crate::loss::{AnchorObjective, AnchorSums, AnchorTotals, LogSum};
use crate::parallel::cx::Cx;
use crate::parallel::split::{Chunks, Split, rows_of_block, sum_blocks};
use crate::simd::real::Real;

/// An element of each vector for each anchor.
#[derive(Clone, Debug, Default)]
pub(super) struct AnchorState<T> {
    largest: [Vec<T>; 2],
    sums: [Vec<f64>; 2],
    exponents: Vec<f64>,
    each: [Vec<f64>; 2],
    /// How many similar and dissimilar pairs each is in. An anchor that is left out is in none.
    counts: Vec<Counts>,
    /// What is known of the anchors from elsewhere, in place of all sums above.
    known: Vec<AnchorSums>,
    terms: [Vec<T>; 4],
    factors: Vec<T>,
    /// See [`Terms::powers`].
    powers: Vec<T>,
    values: Vec<f64>,
    /// What sums over dissimilar pairs are relative to, if not to the largest exponent.
    reference: Option<f64>,
}

/// Some anchors: an element of each slice for each. Slices are empty where their vectors are.
pub(super) struct SomeAnchors<'a, T> {
    pub first: usize,
    pub largest: [&'a mut [T]; 2],
    pub sums: [&'a mut [f64]; 2],
    pub exponents: &'a mut [f64],
    pub each: [&'a mut [f64]; 2],
    pub terms: [&'a mut [T]; 4],
    pub factors: &'a mut [T],
    pub powers: &'a mut [T],
    pub values: &'a mut [f64],
}

/// What evaluating anchors takes beside their sums.
pub(super) struct Evaluation<'a, T> {
    pub objective: &'a AnchorObjective<'a, T>,
    /// The row at each place.
    pub order: &'a [u32],
    /// The weight of each row.
    pub weights: Option<&'a [T]>,
}

fn refill<X: Clone>(of: &mut Vec<X>, len: usize, with: X) {
    of.clear();
    of.resize(len, with);
}

impl<T: Real> AnchorState<T> {
    /// Starts all sums anew. Anchor p is row `order[p]`; the exponents of known sums are larger by `shift` than
    /// those that are added up.
    pub(super) fn start(
        &mut self,
        counts: Vec<Counts>,
        order: &[u32],
        known: Option<&[AnchorSums]>,
        (reference, shift): (Option<T>, f64),
    ) {
        self.reference = reference.map(T::to_f64);
        let all = counts.len();
        self.counts = counts;
        self.known.clear();
        if let Some(known) = known {
            self.known.extend(order.iter().map(|&row| known[row as usize].shifted(-shift)));
        }
        let n = if known.is_some() { 0 } else { all };
        for kind in 0..2 {
            refill(&mut self.largest[kind], n, T::LOWEST);
            refill(&mut self.sums[kind], n, 0.0);
            self.each[kind].clear();
        }
        refill(&mut self.exponents, n, 0.0);
        self.terms.iter_mut().for_each(|of| refill(of, all, T::ZERO));
        refill(&mut self.factors, all, T::ZERO);
        refill(&mut self.powers, if reference.is_some() { all } else { 0 }, T::ZERO);
        refill(&mut self.values, all, 0.0);
    }

    /// Lets similar pairs be looked at again.
    pub(super) fn start_each(&mut self) {
        let n = self.counts.len();
        self.each.iter_mut().for_each(|of| refill(of, n, 0.0));
    }

    /// Whether similar pairs are still to be looked at.
    pub(super) fn lacks_each(&self) -> bool {
        self.known.iter().all(|sums| sums.each.is_none())
    }

    /// Running sums, by task and block.
    pub(super) fn sums_out(&mut self) -> Vec<Vec<SumsOut<'_, T>>> {
        let [mut p, mut g] = self.largest.each_mut().map(|of| &mut of[..]);
        let [mut of_p, mut of_g] = self.sums.each_mut().map(|of| &mut of[..]);
        let mut exponents = &mut self.exponents[..];
        cut(self.counts.len(), |height| SumsOut {
            largest: [&mut p, &mut g].map(|of| take(of, height)),
            sums: [&mut of_p, &mut of_g].map(|of| take(of, height)),
            exponents: take(&mut exponents, height),
        })
    }

    /// Sums over each similar pair, by task and block, and the terms that they are made with.
    pub(super) fn each_out(&mut self) -> (Vec<Vec<EachOut<'_>>>, Terms<'_, T>) {
        let AnchorState { each, terms, factors, powers, counts, .. } = self;
        let [mut first, mut second] = each.each_mut().map(|of| &mut of[..]);
        let out = cut(counts.len(), |height| EachOut {
            each: [&mut first, &mut second].map(|of| take(of, height)),
        });
        let terms = terms.each_ref().map(|of| &of[..]);
        (out, Terms { first: 0, terms, factors, powers })
    }

    pub(super) fn terms(&self) -> Terms<'_, T> {
        let terms = self.terms.each_ref().map(|of| &of[..]);
        Terms { first: 0, terms, factors: &self.factors, powers: &self.powers }
    }

    /// All anchors in blocks of `height`, and what they have in common.
    pub(super) fn blocks(&mut self, height: usize) -> (Blocks<'_, T>, Common<'_>) {
        self.blocks_of(0..self.counts.len(), height)
    }

    /// The anchors at these places.
    pub(super) fn blocks_of(
        &mut self,
        places: Range<usize>,
        height: usize,
    ) -> (Blocks<'_, T>, Common<'_>) {
        let AnchorState { largest, sums, exponents, each, counts, known, .. } = self;
        let AnchorState { terms, factors, powers, values, reference, .. } = self;
        let blocks = Blocks {
            first: places.start,
            height,
            largest: largest.each_mut().map(|of| chunks(of, &places, height)),
            sums: sums.each_mut().map(|of| chunks(of, &places, height)),
            exponents: chunks(exponents, &places, height),
            each: each.each_mut().map(|of| chunks(of, &places, height)),
            terms: terms.each_mut().map(|of| chunks(of, &places, height)),
            factors: chunks(factors, &places, height),
            powers: chunks(powers, &places, height),
            values: chunks(values, &places, height),
        };
        (blocks, Common { counts, known, reference: *reference })
    }

    /// Values and terms of all anchors.
    pub(super) fn evaluate(&mut self, cx: &Cx, evaluation: &Evaluation<T>) -> AnchorTotals {
        const HEIGHT: usize = 512;
        let n = self.counts.len();
        let (blocks, common) = self.blocks(HEIGHT);
        let add = |a: AnchorTotals, b: AnchorTotals| a + b;
        sum_blocks(cx.par, n.div_ceil(HEIGHT), blocks, add, |block, mut anchors| {
            anchors.evaluate(&common, rows_of_block(block, HEIGHT, n).len(), evaluation)
        })
    }

    /// Multiplies the factor of each anchor by one for all.
    pub(super) fn scale(&mut self, factor: f64) {
        for of in self.factors.iter_mut().chain(&mut self.powers) {
            *of = T::from_f64(of.to_f64() * factor);
        }
    }

    /// Values in the caller's order of rows.
    pub(super) fn write_values(&self, order: &[u32], to: &mut [T]) {
        for (&row, &value) in order.iter().zip(&self.values) {
            to[row as usize] = T::from_f64(value);
        }
    }

    /// Sums in the caller's order of rows; exponents are larger by `shift` than they were added up.
    pub(super) fn write_sums(&mut self, order: &[u32], shift: f64, to: &mut [AnchorSums]) {
        let (blocks, common) = self.blocks(usize::MAX);
        let anchors = blocks.part();
        for (place, &row) in order.iter().enumerate() {
            to[row as usize] = anchors.sums(&common, place).shifted(shift);
        }
    }
}

/// What is known of all anchors before any sum.
pub(super) struct Common<'a> {
    counts: &'a [Counts],
    known: &'a [AnchorSums],
    reference: Option<f64>,
}

/// [`SomeAnchors`] in blocks.
pub(super) struct Blocks<'a, T> {
    first: usize,
    height: usize,
    largest: [Chunks<'a, T>; 2],
    sums: [Chunks<'a, f64>; 2],
    exponents: Chunks<'a, f64>,
    each: [Chunks<'a, f64>; 2],
    terms: [Chunks<'a, T>; 4],
    factors: Chunks<'a, T>,
    powers: Chunks<'a, T>,
    values: Chunks<'a, f64>,
}

/// The elements at these places, where there are any.
fn chunks<'a, X>(of: &'a mut [X], places: &Range<usize>, height: usize) -> Chunks<'a, X> {
    let of = if of.is_empty() { of } else { &mut of[places.clone()] };
    Chunks(of, height)
}

impl<'a, T: Real> Split for Blocks<'a, T> {
    type Part = SomeAnchors<'a, T>;

    fn split(self, blocks: usize) -> (Self, Self) {
        let Blocks { first, height, .. } = self;
        let (largest, of_largest) = self.largest.split(blocks);
        let (sums, of_sums) = self.sums.split(blocks);
        let (exponents, of_exponents) = self.exponents.split(blocks);
        let (each, of_each) = self.each.split(blocks);
        let (terms, of_terms) = self.terms.split(blocks);
        let (factors, of_factors) = self.factors.split(blocks);
        let (powers, of_powers) = self.powers.split(blocks);
        let (values, of_values) = self.values.split(blocks);
        let rest = Blocks {
            first: first + blocks * height,
            height,
            largest: of_largest,
            sums: of_sums,
            exponents: of_exponents,
            each: of_each,
            terms: of_terms,
            factors: of_factors,
            powers: of_powers,
            values: of_values,
        };
        let some = Blocks {
            first,
            height,
            largest,
            sums,
            exponents,
            each,
            terms,
            factors,
            powers,
            values,
        };
        (some, rest)
    }

    fn part(self) -> SomeAnchors<'a, T> {
        SomeAnchors {
            first: self.first,
            largest: self.largest.part(),
            sums: self.sums.part(),
            exponents: self.exponents.part(),
            each: self.each.part(),
            terms: self.terms.part(),
            factors: self.factors.part(),
            powers: self.powers.part(),
            values: self.values.part(),
        }
    }
}

impl<T: Real> SomeAnchors<'_, T> {
    pub(super) fn sums_out(&mut self) -> SumsOut<'_, T> {
        SumsOut {
            largest: self.largest.each_mut().map(|of| &mut **of),
            sums: self.sums.each_mut().map(|of| &mut **of),
            exponents: self.exponents,
        }
    }

    /// Sums over each similar pair, and the terms that they are made with.
    pub(super) fn each_out(&mut self) -> (EachOut<'_>, Terms<'_, T>) {
        let SomeAnchors { first, each, terms, factors, powers, .. } = self;
        let terms = terms.each_ref().map(|of| &**of);
        let each = each.each_mut().map(|of| &mut **of);
        (EachOut { each }, Terms { first: *first, terms, factors, powers })
    }

    pub(super) fn terms(&self) -> Terms<'_, T> {
        let terms = self.terms.each_ref().map(|of| &**of);
        Terms { first: self.first, terms, factors: self.factors, powers: self.powers }
    }

    /// All sums of anchor `at` of these.
    fn sums(&self, common: &Common, at: usize) -> AnchorSums {
        let place = self.first + at;
        let looked = self.each.each_ref().map(|each| each.get(at).copied());
        let each = looked[0].zip(looked[1]).map(|(first, second)| [first, second]);
        if let Some(&known) = common.known.get(place) {
            return AnchorSums { each: each.or(known.each), ..known };
        }
        let Counts { similar, dissimilar, .. } = common.counts[place];
        let log = |kind: usize, count: u32| {
            let sum = self.sums[kind][at];
            let largest = self.largest[kind][at].to_f64();
            let largest = if sum == 0.0 { f64::NEG_INFINITY } else { largest };
            LogSum { count: count.into(), largest, sum }
        };
        let [similar, mut dissimilar] = [log(0, similar), log(1, dissimilar)];
        if let Some(reference) = common.reference
            && dissimilar.sum != 0.0
        {
            dissimilar.sum *= (reference - dissimilar.largest).exp();
        }
        AnchorSums { similar, dissimilar, exponents: self.exponents[at], each }
    }

    /// Values and terms of the first `count` of these anchors.
    pub(super) fn evaluate(
        &mut self,
        common: &Common,
        count: usize,
        Evaluation { objective, order, weights }: &Evaluation<T>,
    ) -> AnchorTotals {
        let ranks = objective.loss.ranks_block();
        let mut totals = AnchorTotals::default();
        for at in 0..count {
            let place = self.first + at;
            if !common.counts[place].counted {
                continue;
            }
            let sums = self.sums(common, at);
            let anchor = objective.loss.anchor_block(&sums);
            let weight = weights.map_or(1.0, |weights| weights[order[place] as usize].to_f64());
            // A weight of 0 leaves out what is not finite.
            let value = if weight == 0.0 { 0.0 } else { weight * anchor.value };
            self.values[at] = value;
            self.factors[at] = T::ZERO;
            if let Some(power) = self.powers.get_mut(at) {
                *power = T::ZERO;
            }
            if let Some(of_anchor) = anchor.terms
                && weight != 0.0
            {
                // A NaN reaches all pairs of its anchor, also those whose weights do not depend on it.
                let factor = if anchor.value.is_nan() { f64::NAN } else { weight };
                self.factors[at] = T::from_f64(factor);
                if let (Some(reference), Some(power)) = (common.reference, self.powers.get_mut(at))
                {
                    *power = T::from_f64(factor * (reference - of_anchor[0]).exp());
                }
                for k in 0..4 {
                    self.terms[k][at] = T::from_f64(of_anchor[k]);
                }
            }
            totals = totals
                + AnchorTotals {
                    anchors: 1,
                    with_similar: u64::from(sums.similar.count > 0),
                    active: u64::from(anchor.value != 0.0),
                    correct: u64::from(ranks && sums.similar.largest > sums.dissimilar.largest),
                    similar: sums.similar.count,
                    pairs: sums.similar.count + sums.dissimilar.count,
                    sum: value,
                };
        }
        totals
    }
}

/// Cuts off the first elements.
fn take<'a, X>(of: &mut &'a mut [X], len: usize) -> &'a mut [X] {
    of.split_off_mut(..len).expect("an element for each anchor")
}
