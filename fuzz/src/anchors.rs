//! A case of rows as anchors, of one batch or of two.

use arbitrary::Arbitrary;
use drlim::batch::{
    AnchorScratch, Anchors, AnchorsOut, CrossAnchorsOut, CrossSimilar, all_anchors, cross_anchors,
};
use drlim::loss::{
    AnchorObjective, AnchorOutcome, AnchorReduction, AnchorSums, BlockAnchorLoss, Lifted, Measure,
};
use drlim::{Cx, Isa, Par, Real, Result};

use crate::goal::Kinds;
use crate::points::Points;
use crate::support::anchors::AnchorFormula;
use crate::{CANARY, Placed, Plain, batch_rows, check_same_elements, same_bits};

/// One call, the bytes of which the fuzzer chooses.
#[derive(Arbitrary, Debug)]
pub struct AnchorsCase {
    /// Of both batches together: see `batch_rows`.
    rows: u32,
    cols: u8,
    /// Of 256, how many of them are queries; of one batch, none.
    queries: Option<u8>,
    goal: AnchorGoal,
    /// Of all rows, of which both batches are parts.
    kinds: Kinds,
    /// The key of the first query where keys belong to queries, or where a graph has the first key.
    position: Option<u8>,
    own: Option<u8>,
    points: Points,
    /// Whether rows are brought to unit length.
    unit: bool,
    /// Elements in front of both matrices and what is written, and between their rows.
    offsets: [u8; 5],
    gaps: [u8; 5],
    /// What a second call asks for.
    outputs: u8,
}

/// A loss of anchors with all that goes with it.
#[derive(Arbitrary, Debug)]
struct AnchorGoal {
    loss: u8,
    /// Sixteenths of a power of two.
    scale: i8,
    measure: u8,
    anchors: u8,
    reduction: u8,
    factor: Plain,
    /// In eighths.
    gradients: i8,
    /// In eighths, repeated.
    weights: Option<[i8; 3]>,
}

const MEASURES: [Measure; 4] = [Measure::Cosine, Measure::Dot, Measure::Distance, Measure::Student];
const ANCHORS: [Anchors; 3] = [Anchors::Queries, Anchors::Keys, Anchors::Both];

impl AnchorGoal {
    /// None is the loss that looks at both ends of a pair.
    fn formula(&self) -> Option<AnchorFormula> {
        let all = AnchorFormula::all(2_f64.powf(f64::from(self.scale) / 16.0));
        let at = usize::from(self.loss) % (all.len() + 1);
        all.get(at).copied()
    }

    fn measure(&self) -> Measure {
        MEASURES[usize::from(self.measure) % MEASURES.len()]
    }

    fn anchors(&self) -> Anchors {
        ANCHORS[usize::from(self.anchors) % ANCHORS.len()]
    }

    fn reduction(&self) -> AnchorReduction {
        match self.reduction % 6 {
            0 => AnchorReduction::Sum,
            1 => AnchorReduction::Mean,
            2 => AnchorReduction::MeanWithSimilar,
            3 => AnchorReduction::MeanNonZero,
            4 => AnchorReduction::MeanOfPairs,
            _ => AnchorReduction::Factor(self.factor.value()),
        }
    }

    fn weights<T: Real>(&self, count: usize) -> Option<Vec<T>> {
        let weight = |of: &[i8; 3], i: usize| T::from_f64(f64::from(of[i % 3]) / 8.0);
        self.weights.map(|of| (0..count).map(|i| weight(&of, i)).collect())
    }
}

/// What is asked for, by bits of `outputs`.
const GRADS: [u8; 2] = [1, 2];
const VALUES: u8 = 4;
const SUMS: u8 = 8;
const BY_SCALE: u8 = 16;
const ALL: u8 = 31;

/// What a call has written, canaries where it has not.
struct Written<T> {
    grads: [Vec<T>; 2],
    values: Vec<T>,
    sums: Vec<AnchorSums>,
    by_scale: f64,
}

impl<T: Real> Written<T> {
    /// Numbers of the sums, and the derivative by the scale.
    fn wide(&self) -> Vec<f64> {
        let of = |sums: &AnchorSums| {
            let [p, g] = [sums.similar, sums.dissimilar].map(|kind| [kind.largest, kind.sum]);
            let counts = [sums.similar.count, sums.dissimilar.count].map(|count| count as f64);
            [&p[..], &g, &counts, &[sums.exponents], &sums.each.unwrap_or_default()].concat()
        };
        self.sums.iter().flat_map(of).chain([self.by_scale]).collect()
    }
}

/// What stands where no sums have been written.
fn unwritten() -> AnchorSums {
    let mut sums = AnchorSums::default();
    sums.exponents = CANARY;
    sums
}

impl AnchorsCase {
    /// Runs the case for one element type.
    ///
    /// # Panics
    /// Where a result is not what it should be.
    pub(crate) fn check_type<T: Real>(&self) {
        let cols = usize::from(self.cols);
        let both = batch_rows(self.rows, cols);
        let n = self.queries.map_or(both, |queries| both * usize::from(queries) / 256);
        let m = both - n;
        let known = self.kinds.of(both);
        let place = |at: usize, rows: usize, around: f64| {
            Placed::<T>::new([rows, cols], self.offsets[at], self.gaps[at], around)
        };
        let mut z = [place(0, n, f64::NAN), place(1, m, f64::NAN)];
        self.points.fill(&mut z[0], 0);
        self.points.fill(&mut z[1], n);
        let mut are_unit = self.unit;
        for z in z.iter_mut().filter(|_| self.unit) {
            are_unit &= (0..z.rows).all(|i| to_unit_length(z.row(i)));
        }

        let formula = self.goal.formula();
        let lifted = Lifted::new(T::ZERO, T::ONE).unwrap();
        let of_formula = formula.map(|formula| formula.loss::<T>());
        let loss: &dyn BlockAnchorLoss<T> = match &of_formula {
            Some(loss) => &**loss,
            None => &lifted,
        };
        let anchors = self.queries.map(|_| self.goal.anchors());
        let count = match anchors {
            None | Some(Anchors::Queries) => n,
            Some(Anchors::Keys) => m,
            Some(Anchors::Both) => both,
        };
        let weights = self.goal.weights::<T>(count);
        let objective = AnchorObjective {
            loss,
            measure: self.goal.measure(),
            reduction: self.goal.reduction(),
            scale: T::from_f64(f64::from(self.goal.gradients) / 8.0),
            weights: weights.as_deref(),
            known: None,
        };
        let (position, own) = (self.position.map(usize::from), self.own.map(usize::from));
        let first_key = match &known.graph {
            Some(_) => position.map_or(n, |position| position % (n + 1)),
            None => position.map_or(0, |position| position % (m + 2)),
        };
        let own = own.map(|own| own % (m + 2));
        let similar = match &known.graph {
            Some(graph) => CrossSimilar::Graph { graph, first_query: 0, first_key },
            None if position.is_some() => CrossSimilar::Position { first_key },
            None => {
                let (queries, keys) = known.labels.split_at(n);
                CrossSimilar::Labels { queries, keys, ignored: known.ignored }
            }
        };
        let own_fits =
            own.is_none_or(|own| own + n <= m && (known.graph.is_none() || first_key + own == 0));
        let has_keys = position.is_none() || known.graph.is_some() || first_key + n <= m;
        // A loss of both ends of a pair takes neither two batches nor weights.
        let fits = match anchors {
            Some(_) => own_fits && has_keys && formula.is_some(),
            None => formula.is_some() || weights.is_none(),
        };

        let mut grads = [place(2, n, CANARY), place(3, m, CANARY)];
        let mut values = Placed::<T>::new([1, count], self.offsets[4], self.gaps[4], CANARY);
        let mut scratch = AnchorScratch::new();
        let all = if loss.scale_block().is_some() { ALL } else { ALL & !BY_SCALE };
        // Outputs start with `fill` in place of each element.
        let mut call = |isa, par, outputs: u8, fill: f64| -> (Result<AnchorOutcome>, Written<T>) {
            let outputs = outputs & all;
            for grad in &mut grads {
                (0..grad.rows).for_each(|i| grad.row(i).fill(T::from_f64(fill)));
            }
            values.only_row().fill(T::from_f64(fill));
            let (mut sums, mut by_scale) = (vec![unwritten(); count], CANARY);
            let wanted = |bit: u8| outputs & bit == bit;
            let [of_queries, of_keys] = &mut grads;
            let grad_queries = wanted(GRADS[0]).then(|| of_queries.mat_mut());
            let grad_keys = wanted(GRADS[1]).then(|| of_keys.mat_mut());
            let of_values = wanted(VALUES).then(|| values.only_row());
            let (of_sums, grad_scale) =
                (wanted(SUMS).then_some(&mut sums[..]), wanted(BY_SCALE).then_some(&mut by_scale));
            let (cx, [queries, keys]) = (Cx { isa, par }, z.each_ref().map(Placed::mat));
            let outcome = match anchors {
                None => {
                    let (grad, values, sums) = (grad_queries, of_values, of_sums);
                    let out = AnchorsOut { grad, values, sums, grad_scale };
                    all_anchors(&cx, &objective, queries, known.similar(), out, &mut scratch)
                }
                Some(anchors) => {
                    let (values, sums) = (of_values, of_sums);
                    let out = CrossAnchorsOut { grad_queries, grad_keys, values, sums, grad_scale };
                    let scratch = &mut scratch;
                    cross_anchors(
                        &cx, &objective, queries, keys, similar, own, anchors, out, scratch,
                    )
                }
            };
            let (grads, values) = (grads.each_mut().map(Placed::take), values.take());
            (outcome, Written { grads, values, sums, by_scale })
        };
        let is_untouched = |written: &Written<T>, outputs: u8| {
            let canary = T::from_f64(CANARY);
            let are = |of: &[T]| of.iter().all(|&x| x == canary);
            let of_side = |side: usize| outputs & GRADS[side] != 0 || are(&written.grads[side]);
            (0..2).all(of_side)
                && (outputs & VALUES != 0 || are(&written.values))
                && (outputs & SUMS != 0 || written.sums.iter().all(|sums| *sums == unwritten()))
                && (outputs & BY_SCALE != 0 || written.by_scale == CANARY)
        };
        if !fits {
            let (outcome, written) = call(Isa::best(), Par::Serial, ALL, CANARY);
            assert!(outcome.is_err(), "own {own:?}, first {first_key}, of {n} and {m}");
            return assert!(is_untouched(&written, 0), "written, and refused");
        }

        let near = are_unit.then(|| {
            let takes = |formula: AnchorFormula| formula.takes(objective.measure);
            let shape = [both, cols];
            formula.is_none_or(takes).then(|| Nearness::new::<T>(formula, &objective, shape))
        });
        let mut before: Option<(AnchorOutcome, Written<T>)> = None;
        for isa in Isa::available() {
            let (outcome, got) = call(isa, Par::Serial, all, CANARY);
            let outcome = outcome.unwrap();
            assert!(
                outcome.totals.iter().map(|totals| totals.anchors).sum::<u64>() <= count as u64
            );
            // What a call writes does not depend on what was there.
            let (shared, others) = call(isa, Par::Rayon, all, 0.5);
            check_same_outcome(&outcome, &shared.unwrap(), isa);
            for side in 0..2 {
                check_same_elements(&got.grads[side], &others.grads[side], isa, "a gradient");
            }
            check_same_elements(&got.values, &others.values, isa, "values");
            check_same_elements(&got.wide(), &others.wide(), isa, "sums");
            let (some, written) = call(isa, Par::Serial, self.outputs, CANARY);
            same_counts(&outcome, &some.unwrap(), isa);
            assert!(is_untouched(&written, self.outputs & all), "{isa}: written unasked");
            if let Some((first, of_first)) = &before {
                same_counts(first, &outcome, isa);
                if let Some(Some(near)) = near {
                    near.check([(first, of_first), (&outcome, &got)], isa);
                }
            } else {
                before = Some((outcome, got));
            }
        }
    }
}

/// Whether a row has been brought to unit length; one that has no length is left as it is.
fn to_unit_length<T: Real>(row: &mut [T]) -> bool {
    let largest = row.iter().fold(0.0_f64, |largest, x| largest.max(x.to_f64().abs()));
    if row.iter().any(|x| !x.is_finite()) || largest == 0.0 {
        return false;
    }
    let length = row.iter().map(|x| (x.to_f64() / largest).powi(2)).sum::<f64>().sqrt();
    row.iter_mut().for_each(|x| *x = T::from_f64(x.to_f64() / largest / length));
    true
}

/// # Panics
/// Where two outcomes differ in a bit, but for that of a NaN.
fn check_same_outcome(one: &AnchorOutcome, other: &AnchorOutcome, isa: Isa) {
    let numbers = |of: &AnchorOutcome| [of.value, of.totals[0].sum, of.totals[1].sum];
    let counts = |of: &AnchorOutcome| of.totals.map(|totals| [totals.active, totals.correct]);
    let same = numbers(one).iter().zip(&numbers(other)).all(same_bits);
    assert!(same && counts(one) == counts(other), "{isa}: {one:?} and {other:?}");
    same_counts(one, other, isa);
}

/// # Panics
/// Where two calls count other anchors, or pairs.
fn same_counts(one: &AnchorOutcome, other: &AnchorOutcome, isa: Isa) {
    let counts = |of: &AnchorOutcome| {
        of.totals.map(|of| [of.anchors, of.with_similar, of.similar, of.pairs])
    };
    assert_eq!(counts(one), counts(other), "{isa}: {one:?} and {other:?}");
}

/// How far apart tiers may be, of rows of unit length: each has similarities with errors of its own, and adds up
/// in its own order.
#[derive(Clone, Copy)]
struct Nearness {
    /// Of a value whose weight is 1.
    value: f64,
    /// Of an element of a gradient; none where a derivative may jump.
    gradient: Option<f64>,
    /// The largest weight.
    weight: f64,
    eps: f64,
}

impl Nearness {
    fn new<T: Real>(
        formula: Option<AnchorFormula>,
        objective: &AnchorObjective<T>,
        [rows, cols]: [usize; 2],
    ) -> Self {
        let (eps, rows) = (T::EPSILON.to_f64(), rows as f64);
        let roundings = (cols.min(128) + cols.div_ceil(128)) as f64 / 2.0 + 10.0;
        let promised = if size_of::<T>() == 4 { 2e-4 } else { 4e-13 };
        // Of d² up to 4, from products of rows less a point among them.
        let of_square = (16.0 * roundings * eps).min(4.0 * promised);
        let off = match objective.measure {
            Measure::Cosine => of_square / 2.0,
            Measure::Dot => roundings * eps,
            Measure::Distance | Measure::Student => promised,
        };
        let steepness = formula.map_or(1.0, AnchorFormula::steepness);
        let off = match formula {
            // The sine of an angle changes fast near 0.
            Some(AnchorFormula::ArcFace { .. }) => off + (2.0 * off).sqrt(),
            _ => off,
        };
        // Of an exponent, which itself is up to twice its steepness and some.
        let of_exponent = steepness * off + (2.0 * steepness + 8.0) * eps;
        let weight = objective.weights.unwrap_or(&[]).iter().map(|weight| weight.to_f64().abs());
        let weight = objective.weights.map_or(1.0, |_| weight.fold(0.0, f64::max));
        // A value changes by up to twice the change of an exponent for each similar pair, that of both ends by
        // its violation times that; sums of powers round once for each candidate of a block.
        let pairs = if formula.is_none() { 32.0 * rows } else { rows };
        let of_value = 4.0 * (1.0 + pairs) * (of_exponent + 128.0 * eps);
        let jumps = matches!(
            formula,
            Some(AnchorFormula::ArcFace { .. } | AnchorFormula::GeneralizedLifted { .. })
        );
        let factor = match objective.reduction {
            AnchorReduction::Factor(factor) => factor.abs(),
            _ => 1.0,
        };
        // All weights of a row by their errors, and the roundings of their products with other rows.
        let size = 4.0 * steepness * factor * objective.scale.to_f64().abs() * weight;
        let of_gradient = (8.0 * of_exponent + promised + (rows + 64.0) * eps) * size;
        let gradient = (!jumps && of_exponent < 0.05).then_some(of_gradient * (pairs + 4.0) * rows);
        Nearness { value: of_value, gradient, weight, eps }
    }

    /// # Panics
    /// Where the results of two tiers are further apart than that, or not finite.
    fn check<T: Real>(&self, of: [(&AnchorOutcome, &Written<T>); 2], isa: Isa) {
        let [(one, first), (other, second)] = of;
        let near = |a: &[T], b: &[T], allowed: f64, what: &str| {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                let [a, b] = [a.to_f64(), b.to_f64()];
                let error = (a - b).abs();
                let allowed = allowed + 4.0 * self.eps * a.abs();
                assert!(error <= allowed, "{isa} {}: {what}[{at}] {b:e}, not {a:e}", T::NAME);
            }
        };
        near(&first.values, &second.values, self.value * self.weight.max(1.0), "values");
        if let Some(allowed) = self.gradient {
            for side in 0..2 {
                near(&first.grads[side], &second.grads[side], allowed, "gradients");
            }
        }
        for of in [one, other] {
            assert!(of.value.is_finite() && of.totals.iter().all(|of| of.sum.is_finite()));
        }
    }
}
