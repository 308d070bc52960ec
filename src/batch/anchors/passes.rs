//! The two passes over all pairs of anchors and candidates.
//!
//! ```text
//! pass 1     running log-sums of each anchor                                             `SumBlock`
//! pass 1b    where the loss looks twice: sums over each similar pair                     `EachBlock`
//! anchors    value and terms of each, totals, factors by the reduction                   `AnchorState`
//! pass 2     weights of all pairs, gradients as products of weights and rows             `WeighBlock`
//! ```
//!
//! Logits are computed in each pass and never kept: 2 N M D flops a pass and 2 N M D for each gradient. Among
//! the rows of one set a block serves its rows and its columns as anchors, so half the blocks do: a value and
//! a gradient take 4 B² D, where a matrix of logits takes 6.

#![forbid(unsafe_code)]

use super::state::{AnchorState, Evaluation};
use super::strips::Strips;
use crate::batch::pairwise::blocks::{Meeting, Pool, SlopeBlocks, gradients, meet, offsets};
use crate::batch::pairwise::gradient::Gradient;
use crate::batch::pairwise::packed_rows::PackedRows;
use crate::error::{Error, Result, check_len};
use crate::kernel::anchors::block::{AnchorBatch, AnchorBlock};
use crate::kernel::anchors::strip::StripBlock;
use crate::kernel::anchors::sum::{EachBlock, SumBlock, SumScratch};
use crate::kernel::anchors::weigh::WeighBlock;
use crate::kernel::pairwise::gradient::BlockOut;
use crate::kernel::pairwise::gradients::{Among, Gradients};
use crate::kernel::pairwise::similarity::Similarity;
use crate::loss::{AnchorObjective, AnchorOutcome, AnchorSums, AnchorTotals, Measure};
use crate::memory::aligned::Aligned;
use crate::memory::mat::{Mat, MatMut};
use crate::parallel::cx::Cx;
use crate::simd::real::Real;

/// Working memory of [`all_anchors`](super::all_anchors) and [`cross_anchors`](super::cross_anchors), kept for
/// the next call: three times that of the rows, up to 120 bytes for each anchor (160 in `f64`), a block of 128 x 144 weights for
/// each thread, and for `cross_anchors` up to 30 MiB of distances.
///
/// One call uses it at a time. Inside tasks of rayon, hold no lock on it over a call: see
/// [`Par`](crate::Par#from-within-tasks-of-rayon).
#[derive(Clone, Debug, Default)]
pub struct AnchorScratch<T> {
    pub(super) sets: [PackedRows<T>; 2],
    /// For each place of a side, that of the same sample on the other.
    pub(super) own: Vec<u32>,
    pub(super) states: [AnchorState<T>; 2],
    pub(super) gradients: [Gradient<T>; 2],
    pub(super) slopes: Aligned<T>,
    pub(super) kept: Vec<StripBlock<T>>,
}

impl<T: Real> AnchorScratch<T> {
    /// An empty scratch, which calls make as large as they need.
    pub fn new() -> Self {
        AnchorScratch::default()
    }
}

/// What is written, beside the outcome. Slices have an element for each anchor.
pub(super) struct Outputs<'a, T> {
    pub grads: [Option<MatMut<'a, T>>; 2],
    pub values: Option<&'a mut [T]>,
    pub sums: Option<&'a mut [AnchorSums]>,
    pub grad_scale: Option<&'a mut f64>,
}

impl<T: Real> Outputs<'_, T> {
    /// Refuses slices that have no element for each anchor, known sums that are none, and a gradient by a scale that
    /// there is not.
    pub(super) fn check(
        &self,
        call: &'static str,
        objective: &AnchorObjective<T>,
        anchors: usize,
        like: &'static str,
    ) -> Result<()> {
        let lens = [
            ("weights", objective.weights.map(<[T]>::len)),
            ("known", objective.known.map(<[AnchorSums]>::len)),
            ("values", self.values.as_ref().map(|values| values.len())),
            ("sums", self.sums.as_ref().map(|sums| sums.len())),
        ];
        for (arg, len) in lens {
            if let Some(len) = len {
                check_len(call, arg, len, anchors, like)?;
            }
        }
        objective.known.into_iter().flatten().try_for_each(AnchorSums::check_known)?;
        if self.grad_scale.is_some() && objective.loss.scale_block().is_none() {
            return Err(Error::NoScale { call });
        }
        if objective.loss.couples_block() && objective.weights.is_some() {
            let reason = "the loss looks at both ends of a pair, expected no weights".into();
            return Err(Error::Pairs { reason });
        }
        Ok(())
    }
}

/// A number that all exponents of dissimilar pairs are at most, and above by so little that no power of a
/// difference is lost: the largest exponent of rows whose squared length, less their mean or not, is at most
/// `norms`. `None` where there is none.
pub(super) fn reference<T: Real>(objective: &AnchorObjective<T>, norms: [T; 2]) -> Option<T> {
    let two = T::ONE + T::ONE;
    let longest = norms[0].sqrt() + norms[1].sqrt();
    let top = objective.top();
    let [least, most] = match objective.measure {
        // d is at most the sum of the lengths.
        Measure::Cosine => [top - longest * longest / two, top],
        Measure::Dot => {
            let most = norms[0].sqrt() * norms[1].sqrt();
            [-most, most]
        }
        Measure::Distance => [-longest, T::ZERO],
        Measure::Student => [T::from_f64(-(longest * longest).to_f64().ln_1p()), T::ZERO],
    };
    let [least, most] = objective.loss.dissimilar_range_block(least, most)?;
    let widest = T::from_f64(-0.85) * T::LN_MIN_POSITIVE;
    // A NaN is no range.
    (most - least < widest).then_some(most)
}

/// A call whose arguments have been checked and whose rows have been packed.
pub(super) struct Call<'c, 'o, T> {
    pub cx: &'c Cx,
    pub objective: &'c AnchorObjective<'o, T>,
    pub z: [Mat<'c, T>; 2],
    /// Whether both sides are one set.
    pub among: bool,
    /// The sides whose rows are anchors; one set is the first side.
    pub anchors: [bool; 2],
    /// See [`AnchorBatch::reference`].
    pub reference: Option<T>,
    /// How queries are cut into strips, where gradients are made that way.
    pub strips: Option<Strips>,
}

impl<'c, T: Real> Call<'c, '_, T> {
    pub(super) fn run<'s>(
        &self,
        kinds: [Similarity<T>; 2],
        sets: [&mut PackedRows<T>; 2],
        states: &mut [AnchorState<T>; 2],
        gradients: &mut [Gradient<T>; 2],
        (slopes, kept): (&mut Aligned<T>, &mut Vec<StripBlock<T>>),
        out: Outputs<'s, T>,
    ) -> AnchorOutcome {
        let (cx, objective, d) = (self.cx, self.objective, self.z[0].cols());
        let counts = self.z.map(|z| z.rows());
        let orders = [sets[0].order.clone(), sets[1].order.clone()];
        let offsets = offsets::<T>(cx, d);
        let batch = AnchorBatch {
            isa: cx.isa,
            loss: objective.loss,
            measure: objective.measure,
            top: objective.top(),
            sides: [sets[0].side(self.z[0]), sets[usize::from(!self.among)].side(self.z[1])],
            kinds,
            offsets: &offsets,
            reference: self.reference,
            by_scale: out.grad_scale.is_some(),
        };
        let walk = Walk { cx, batch: &batch, among: self.among, anchors: self.anchors, counts };
        let wanted = out.grads.each_ref().map(Option::is_some);
        let differentiates = wanted.contains(&true) || out.grad_scale.is_some();
        if differentiates {
            for side in (0..2).filter(|&side| wanted[side]) {
                gradients[side].clear([counts[side], d]);
            }
        }
        // What gradients are still to be multiplied by.
        let mut late = 1.0;
        let (totals, by_scale);
        if let Some(strips) = self.strips.filter(|_| differentiates) {
            let evaluation =
                Evaluation { objective, order: &orders[0], weights: objective.weights };
            let state = &mut states[0];
            let (of_queries, sum) =
                walk.strips(strips, &evaluation, state, gradients, wanted, kept);
            totals = [of_queries, AnchorTotals::default()];
            late = objective.reduction.factor(&of_queries) * objective.scale.to_f64();
            by_scale = sum * late;
        } else {
            totals = walk.values(objective, states, &orders);
            let factors = self.factors(&totals);
            by_scale = if differentiates {
                for (state, factor) in states.iter_mut().zip(factors) {
                    state.scale(factor * objective.scale.to_f64());
                }
                walk.weigh(states, gradients, wanted, slopes)
            } else {
                0.0
            };
        }
        let factors = self.factors(&totals);
        let value = factors[0] * totals[0].sum + factors[1] * totals[1].sum;
        self.write(states, &orders, out.values, out.sums);
        if let (Some(to), Some(scale)) = (out.grad_scale, objective.loss.scale_block()) {
            *to = by_scale / scale.to_f64();
        }
        for ((set, gradient), grad) in sets.into_iter().zip(gradients).zip(out.grads) {
            let Some(grad) = grad else { continue };
            let scale = T::from_f64(late);
            match objective.measure {
                Measure::Dot => gradient.finish_products(cx, set, scale, grad),
                _ => gradient.finish(cx, set, set.block, scale, grad),
            }
        }
        AnchorOutcome::new(value, totals)
    }

    /// What the values of the anchors of each side are multiplied by.
    fn factors(&self, totals: &[AnchorTotals; 2]) -> [f64; 2] {
        let directions = if self.anchors == [true; 2] && !self.among { 2.0 } else { 1.0 };
        totals.map(|totals| self.objective.reduction.factor(&totals) / directions)
    }

    /// Writes values and sums of all anchors, those of the first side first.
    fn write(
        &self,
        states: &mut [AnchorState<T>; 2],
        orders: &[Vec<u32>; 2],
        mut values: Option<&mut [T]>,
        mut sums: Option<&mut [AnchorSums]>,
    ) {
        let shift = self.objective.shift(self.cx.isa);
        for (side, state) in states.iter_mut().enumerate().filter(|(side, _)| self.anchors[*side]) {
            let n = self.z[side].rows();
            if let Some(values) = &mut values {
                state.write_values(&orders[side], values.split_off_mut(..n).expect("all anchors"));
            }
            if let Some(sums) = &mut sums {
                let to = sums.split_off_mut(..n).expect("all anchors");
                state.write_sums(&orders[side], shift, to);
            }
        }
    }
}

/// Passes over the pairs of a call.
pub(super) struct Walk<'a, 'b, T> {
    pub cx: &'a Cx,
    pub batch: &'a AnchorBatch<'b, T>,
    among: bool,
    anchors: [bool; 2],
    pub counts: [usize; 2],
}

impl<'a, T: Real> Walk<'a, '_, T> {
    /// The side that holds the anchors among rows, or among columns: one set is the first.
    fn side_of(&self, side: usize) -> Option<usize> {
        let of = if self.among { 0 } else { side };
        self.anchors[of].then_some(of)
    }

    fn block<O>(&self, meeting: &Meeting<&mut O>) -> AnchorBlock<'_, T> {
        let (i, j) = (meeting.i.clone(), meeting.j.clone());
        AnchorBlock { batch: self.batch, i, j, among: meeting.among }
    }

    /// Passes 1 and 1b, where the sums are not known. Returns the totals of each side.
    fn values(
        &self,
        objective: &AnchorObjective<T>,
        states: &mut [AnchorState<T>; 2],
        orders: &[Vec<u32>; 2],
    ) -> [AnchorTotals; 2] {
        if objective.known.is_none() {
            self.sum(states);
        }
        let totals = self.evaluate(objective, states, orders);
        if !objective.loss.looks_twice_block() || !states.iter().all(AnchorState::lacks_each) {
            return totals;
        }
        self.sum_each(states);
        self.evaluate(objective, states, orders)
    }

    /// Pass 1.
    fn sum(&self, states: &mut [AnchorState<T>; 2]) {
        let mut anchors = self.anchors.into_iter();
        let out = states.each_mut().map(|state| match anchors.next() {
            Some(true) => state.sums_out(),
            _ => Vec::new(),
        });
        let pool = Pool::new();
        meet(self.cx, self.among, self.counts, out, |task| {
            pool.lend(SumScratch::new, |scratch| {
                task.each_block(|meeting| {
                    let block = self.block(&meeting);
                    T::dispatch(
                        self.cx.isa,
                        SumBlock { block, out: meeting.out, scratch, keep: None },
                    );
                });
            });
        });
    }

    /// Pass 1b.
    fn sum_each(&self, states: &mut [AnchorState<T>; 2]) {
        let mut anchors = self.anchors.into_iter();
        let mut terms = [None; 2];
        let mut side = 0;
        let out = states.each_mut().map(|state| {
            state.start_each();
            let (out, of_side) = state.each_out();
            terms[side] = Some(of_side);
            side += 1;
            if anchors.next() == Some(true) { out } else { Vec::new() }
        });
        let terms = [0, 1].map(|side| terms[self.side_of(side)?]);
        meet(self.cx, self.among, self.counts, out, |task| {
            task.each_block(|meeting| {
                let block = self.block(&meeting);
                T::dispatch(self.cx.isa, EachBlock { block, terms, out: meeting.out, kept: None });
            });
        });
    }

    /// Values and terms of all anchors.
    fn evaluate(
        &self,
        objective: &AnchorObjective<T>,
        states: &mut [AnchorState<T>; 2],
        orders: &[Vec<u32>; 2],
    ) -> [AnchorTotals; 2] {
        let mut weights = objective.weights;
        let mut totals = [AnchorTotals::default(); 2];
        for (side, state) in states.iter_mut().enumerate().filter(|(side, _)| self.anchors[*side]) {
            let of_side = weights.map(|all| all.split_at(self.counts[side]));
            weights = of_side.map(|(_, rest)| rest);
            let of_side = of_side.map(|(of_side, _)| of_side);
            let evaluation = Evaluation { objective, order: &orders[side], weights: of_side };
            totals[side] = state.evaluate(self.cx, &evaluation);
        }
        totals
    }

    /// Pass 2. Returns the sum of w x over all pairs.
    fn weigh(
        &self,
        states: &[AnchorState<T>; 2],
        to: &mut [Gradient<T>; 2],
        wanted: [bool; 2],
        slopes: &mut Aligned<T>,
    ) -> f64 {
        let d = self.batch.sides[0].points.rows.z.cols();
        let terms = [0, 1].map(|side| Some(states[self.side_of(side)?].terms()));
        let mut wanted = wanted.into_iter();
        let out = to
            .each_mut()
            .map(|to| wanted.next().is_some_and(|wanted| wanted).then(|| to.out()).flatten());
        let some = out.iter().any(Option::is_some);
        let slopes = SlopeBlocks::new(self.cx, some && !self.batch.is_planar(), slopes);
        let out = gradients(out, self.counts, d);
        let sums = meet(self.cx, self.among, self.counts, out, |task| {
            let mut sum = 0.0;
            slopes.lend(|slopes| {
                task.each_block(|meeting| {
                    let block = self.block(&meeting);
                    let Meeting { i, j, among, out } = meeting;
                    let among = if among { Among::Whole } else { Among::No };
                    let AnchorBatch { isa, sides, offsets, .. } = *self.batch;
                    let out = out.map(|out| out.map(BlockOut::lend));
                    let to = Gradients { isa, sides, offsets, i, j, among, out, slopes };
                    sum += T::dispatch(isa, WeighBlock { block, terms, to });
                });
            });
            sum
        });
        sums.into_iter().sum()
    }
}
