//! Every loss against its scalar formula, through calls by rows: values and slopes at the distances
//! where a formula changes its course, all reductions, weights, pairs left out, outputs on request,
//! and what is refused. On every tier, in both precisions, for rows of any length and stride, within
//! the caches and past them.

#![forbid(unsafe_code)]

mod common;

use common::element::{same, wide};
use common::formulas::{Cost, PairFormula, TripletFormula};
use common::oracle::squared_distance;
use common::{Element, Guarded, Random, tiers};
use drlim::batch::{RowsOut, Triplets, TripletsOut, rows, triplet_rows};
use drlim::loss::{
    Contrastive, CosineContrastive, DoubleMargin, Exponential, LinearHinge, Objective, Outcome,
    Pairing, Reduction, SquaredHinge, SquaredTriplet, Sums, TripletMargin, TripletObjective,
};
use drlim::{Cx, Isa, Mat, MatMut, Par};

/// Margins whose squares and halves are exact, so that a distance can lie exactly at one.
const P: f64 = 0.5;
const M: f64 = 1.25;

/// Row lengths: planar kernels, less than a vector, whole and split ones.
const COLS: [usize; 7] = [1, 2, 3, 5, 16, 33, 100];

/// Every reduction, `Factors` with factors that no count gives.
const REDUCTIONS: [Reduction; 6] = [
    Reduction::Sum,
    Reduction::Mean,
    Reduction::MeanNonZero,
    Reduction::Balanced,
    Reduction::BalancedNonZero,
    Reduction::Factors { similar: 0.375, dissimilar: -2.5 },
];

/// A test of each check in both precisions.
macro_rules! in_both_precisions {
    ($($check:ident)*) => {
        $(mod $check {
            #[test]
            fn f32() {
                super::$check::<f32>();
            }
            #[test]
            fn f64() {
                super::$check::<f64>();
            }
        })*
    };
}
in_both_precisions! {
    values_and_slopes_are_those_of_the_formula_at_any_distance
    exactly_at_a_margin_nothing_is_active
    reductions_weights_and_pairs_left_out_do_what_they_say
    each_output_is_the_same_with_the_others_and_without
    parts_of_a_batch_add_up_to_the_whole
    past_the_caches_weights_and_pairs_left_out_do_the_same
    triplets_are_those_of_the_formula
    slices_of_wrong_length_are_refused_and_nothing_is_written
    margins_outside_of_their_domain_are_refused
    what_does_not_fit_triplets_is_refused
}

/// Each of these on each tier.
fn on_tiers<X: Clone>(of: impl IntoIterator<Item = X>) -> impl Iterator<Item = (X, Isa)> {
    of.into_iter().flat_map(|x| tiers().into_iter().map(move |isa| (x.clone(), isa)))
}

fn serial(isa: Isa) -> Cx {
    Cx { isa, par: Par::Serial }
}

/// Each loss once, with its kinks at distances P and M.
fn formulas() -> [PairFormula; 6] {
    PairFormula::all(P, M).map(|formula| match formula {
        PairFormula::SquaredHinge { .. } => PairFormula::SquaredHinge { m: M * M },
        PairFormula::CosineContrastive { .. } => PairFormula::CosineContrastive { m: M * M / 2.0 },
        other => other,
    })
}

/// What a call by rows writes, between canaries.
struct Outputs<T> {
    grads: [Guarded<T>; 2],
    distances: Guarded<T>,
    values: Guarded<T>,
    slopes: Guarded<T>,
}

impl<T: Element> Outputs<T> {
    fn new([n, cols]: [usize; 2], offset: usize, gap: usize) -> Self {
        let grad = |offset| Guarded::output(offset, [n, cols], cols + gap);
        let per_pair = |offset| Guarded::output(offset, [1, n], n);
        Outputs {
            grads: [grad(offset), grad(2 * offset)],
            distances: per_pair(offset),
            values: per_pair(offset + 1),
            slopes: per_pair(offset + 2),
        }
    }

    fn all(&mut self) -> RowsOut<'_, T> {
        let [grad_a, grad_b] = self.grads.each_mut().map(Guarded::mat_mut);
        RowsOut::grads(grad_a, grad_b)
            .distances(self.distances.slice_mut())
            .values(self.values.slice_mut())
            .slopes(self.slopes.slice_mut())
    }

    fn check_guards(&self) {
        let [grad_a, grad_b] = &self.grads;
        let Outputs { distances, values, slopes, .. } = self;
        for (name, output) in ["grad_a", "grad_b", "distances", "values", "slopes"]
            .iter()
            .zip([grad_a, grad_b, distances, values, slopes])
        {
            output.check(name);
        }
    }

    fn bits(&self) -> [Vec<u64>; 5] {
        let [grad_a, grad_b] = &self.grads;
        [grad_a, grad_b, &self.distances, &self.values, &self.slopes].map(Guarded::bits)
    }
}

/// Distances where formulas change their course, exactly so, and between; NaN last.
fn distances<T: Element>() -> Vec<T> {
    let mut random = Random::new(1);
    let root = T::MIN_POSITIVE.sqrt();
    let near = |x: f64| {
        let eps = T::EPSILON.to_f64();
        [x * (1.0 - 4.0 * eps), x, x * (1.0 + 4.0 * eps)].map(T::from_f64)
    };
    let mut distances = vec![
        T::ZERO,
        T::tiny(),
        T::MIN_POSITIVE,
        root / T::from_f64(2.0),
        root,
        root * T::from_f64(2.0),
        T::from_f64(1e6),
        T::MAX,
        T::INFINITY,
    ];
    distances.extend([near(P), near(M)].concat());
    distances.extend((0..200).map(|_| random.between::<T>(0.0, 2.0 * M)));
    distances.push(T::NAN);
    distances
}

/// Compares a number with a formula's; NaN and infinities must be the formula's own.
fn assert_near<T: Element>(got: T, expected: f64, error: f64, what: std::fmt::Arguments) {
    let got = got.to_f64();
    let same = got == expected || got.is_nan() && expected.is_nan();
    let near = expected.is_finite() && (got - expected).abs() <= error;
    assert!(same || near, "{} {what} is {got:e}, expected {expected:e} +- {error:e}", T::NAME);
}

fn values_and_slopes_are_those_of_the_formula_at_any_distance<T: Element>() {
    let distances = distances::<T>();
    let pairs: Vec<(T, bool)> =
        distances.into_iter().flat_map(|d| [(d, true), (d, false)]).collect();
    let similar: Vec<bool> = pairs.iter().map(|pair| pair.1).collect();
    for cols in COLS {
        // One coordinate differs, so d² is rounded once.
        let shape = [pairs.len(), cols];
        let a =
            Guarded::new(3, shape, cols, |i, k| if k == cols / 2 { pairs[i].0 } else { T::ZERO });
        let b = Guarded::new(1, shape, cols, |_, _| T::ZERO);
        for (formula, isa) in on_tiers(formulas()) {
            let mut out = Outputs::<T>::new(shape, 1, 0);
            let loss = formula.loss::<T>();
            let objective = Objective::sum(&*loss);
            let outcome =
                rows(&serial(isa), &objective, a.mat(), b.mat(), &similar, out.all()).unwrap();
            out.check_guards();
            assert!(outcome.value.is_nan());
            for (i, &(d, similar)) in pairs.iter().enumerate() {
                let d2 = (d * d).to_f64();
                let what =
                    format!("{formula:?}, d = {d:e}, similar {similar}, {isa}, {cols} columns:");
                let cost = formula.cost::<T>(d2, similar, 4.0 * T::EPSILON.to_f64());
                let [value, slope, distance] =
                    [&out.values, &out.slopes, &out.distances].map(|of| of.row(0)[i]);
                assert_near(value, cost.value, cost.value_error, format_args!("{what} value"));
                assert_near(slope, cost.slope, cost.slope_error, format_args!("{what} slope"));
                assert!(same(distance, (d * d).sqrt()), "{what} distance {distance}");
                let expected = slope * d;
                let [grad_a, grad_b] = out.grads.each_ref().map(|grad| grad.row(i)[cols / 2]);
                assert!(same(grad_a, expected) && same(grad_b, -expected), "{what} gradient");
            }
        }
    }
}

fn exactly_at_a_margin_nothing_is_active<T: Element>() {
    let (at, origin) = ([T::from_f64(P), T::from_f64(M), T::from_f64(M)], [T::ZERO; 3]);
    let similar = [true, false, false];
    for (formula, isa) in on_tiers(formulas()) {
        let loss = formula.loss::<T>();
        let (mut values, mut slopes) = ([T::NAN; 3], [T::NAN; 3]);
        let out = RowsOut::none().values(&mut values).slopes(&mut slopes);
        let [a, b] = [&at, &origin].map(|x| Mat::new(x, 3, 1).unwrap());
        let outcome = rows(&serial(isa), &Objective::sum(&*loss), a, b, &similar, out).unwrap();
        // Pair 0 is at a kink where similar pairs have one, the others where dissimilar ones have.
        let inert = match formula {
            PairFormula::LinearHinge { .. } | PairFormula::DoubleMargin { .. } => 0..3,
            PairFormula::Exponential { .. } => 0..0,
            _ => 1..3,
        };
        assert_eq!(outcome.active, 3 - inert.len() as u64, "{formula:?} on {isa}: {values:?}");
        for i in inert {
            assert_eq!((values[i], slopes[i]), (T::ZERO, T::ZERO), "{formula:?} on {isa}");
        }
    }
}

/// Pairs off the kinks of a loss, some with NaN in them and left out, and their formula's costs.
struct Batch<T> {
    inputs: [Guarded<T>; 2],
    similar: Vec<bool>,
    weights: Vec<T>,
    ignored: Vec<bool>,
    /// How far d² may be off, relative to itself.
    relative: f64,
    costs: Vec<Cost>,
}

impl<T: Element> Batch<T> {
    fn new(formula: PairFormula, [n, cols]: [usize; 2], gap: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let a = Guarded::new(1, [n, cols], cols + gap, |_, _| random.between::<T>(-1.0, 1.0));
        let mut b = Guarded::new(3, [n, cols], cols + gap, |i, k| a.row(i)[k]);
        let clear = |d: f64| formula.kinks().iter().all(|kink| (d - kink).abs() > 0.01 * kink);
        for i in 0..n {
            let direction: Vec<f64> = (0..cols).map(|_| random.between(-1.0, 1.0)).collect();
            let length = direction.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-3);
            let distance = loop {
                match random.between::<f64>(0.05, 2.0 * M) {
                    distance if clear(distance) => break distance,
                    _ => {}
                }
            };
            let mut mat = b.mat_mut();
            for (x, u) in mat.row_mut(i).iter_mut().zip(&direction) {
                *x += T::from_f64(distance * u / length);
            }
        }
        let similar: Vec<bool> = (0..n).map(|_| random.flag(0.25)).collect();
        // Some weights are 0, some negative.
        let weights = (0..n).map(|i| if i % 7 == 0 { T::ZERO } else { random.between(-1.0, 2.0) });
        let weights = weights.collect();
        let ignored = (0..n).map(|_| random.flag(0.2)).collect();
        let relative = (cols as f64 + 8.0) * T::EPSILON.to_f64();
        let costs = (0..n).map(|i| {
            let d2 = squared_distance(&wide(a.row(i)), &wide(b.row(i)));
            formula.cost::<T>(d2, similar[i], relative)
        });
        let costs = costs.collect();
        Batch { inputs: [a, b], similar, weights, ignored, relative, costs }
    }

    /// NaN or infinity somewhere in each pair that is left out, in the first or the second row.
    fn poison(&mut self) {
        for (i, _) in self.ignored.iter().enumerate().filter(|(_, ignored)| **ignored) {
            let mut mat = self.inputs[i % 2].mat_mut();
            let row = mat.row_mut(i);
            let k = i % row.len();
            row[k] = if i % 3 == 0 { T::INFINITY } else { T::NAN };
        }
    }

    fn pairing(&self, weighted: bool, ignoring: bool) -> Pairing<'_, T> {
        let pairing = Pairing::new(&self.similar);
        let pairing = if weighted { pairing.weighted(&self.weights) } else { pairing };
        if ignoring { pairing.ignoring(&self.ignored) } else { pairing }
    }

    fn run(
        &self,
        cx: &Cx,
        objective: &Objective<T>,
        pairing: Pairing<T>,
        out: RowsOut<T>,
    ) -> Outcome {
        let [a, b] = self.inputs.each_ref().map(Guarded::mat);
        rows(cx, objective, a, b, pairing, out).unwrap()
    }

    fn is_ignored(&self, of: Options, i: usize) -> bool {
        of.ignoring && self.ignored[i]
    }

    fn weight(&self, of: Options, i: usize) -> f64 {
        if of.weighted { self.weights[i].to_f64() } else { 1.0 }
    }

    /// What the pairs add up to by kind, and the sizes of their values and of the errors of these.
    fn sums(&self, of: Options) -> ([Counted; 2], [f64; 2]) {
        let (mut kinds, mut errors, mut sizes) = ([Counted::default(); 2], 0.0, 0.0);
        for (i, cost) in self.costs.iter().enumerate().filter(|(i, _)| !self.is_ignored(of, *i)) {
            let kind = &mut kinds[usize::from(!self.similar[i])];
            let value = self.weight(of, i) * cost.value;
            kind.pairs += 1;
            kind.active += u64::from(value != 0.0);
            kind.sum += value;
            errors += (self.weight(of, i) * cost.value_error).abs();
            sizes += value.abs();
        }
        (kinds, [errors, sizes])
    }

    /// Compares all that a call wrote with the formula.
    fn check(&self, out: &Outputs<T>, outcome: Outcome, of: Options, what: &str) {
        let epsilon = T::EPSILON.to_f64();
        let (kinds, [errors, sizes]) = self.sums(of);
        let [similar, dissimilar] = kinds;
        assert_eq!(
            [outcome.pairs, outcome.similar, outcome.active],
            [similar.pairs + dissimilar.pairs, similar.pairs, similar.active + dissimilar.active],
            "{what}: pairs, similar ones, active ones"
        );
        let factors = factors(of.reduction, kinds);
        let expected = factors[0] * similar.sum + factors[1] * dissimilar.sum;
        // Up to 64 values are added in a lane, and the lanes of a vector as a tree.
        let largest = factors[0].abs().max(factors[1].abs());
        let allowed = largest * (errors + 72.0 * epsilon * sizes);
        let error = (outcome.value - expected).abs();
        assert!(error <= allowed, "{what}: {}, not {expected} +- {allowed:e}", outcome.value);
        for (i, &cost) in self.costs.iter().enumerate() {
            let ignored = self.is_ignored(of, i);
            let factor = of.scale * factors[usize::from(!self.similar[i])];
            self.check_pair(out, i, cost, [self.weight(of, i), factor], ignored, what);
        }
        out.check_guards();
    }

    fn check_pair(
        &self,
        out: &Outputs<T>,
        i: usize,
        cost: Cost,
        [weight, factor]: [f64; 2],
        ignored: bool,
        what: &str,
    ) {
        let epsilon = T::EPSILON.to_f64();
        let [a, b] = self.inputs.each_ref().map(|input| wide(input.row(i)));
        let [value, slope, distance] =
            [&out.values, &out.slopes, &out.distances].map(|o| o.row(0)[i]);
        let d = squared_distance(&a, &b).sqrt();
        assert_near(distance, d, self.relative * d, format_args!("{what}: distance {i}"));
        let grads = out.grads.each_ref().map(|grad| grad.row(i));
        if ignored {
            assert_eq!((value, slope), (T::ZERO, T::ZERO), "{what}: pair {i} is left out");
            assert!(grads.iter().all(|row| row.iter().all(|&g| g == T::ZERO)), "{what}: {i}");
            return;
        }
        let error = weight.abs() * cost.value_error + epsilon * (weight * cost.value).abs();
        assert_near(value, weight * cost.value, error, format_args!("{what}: value {i}"));
        let expected = factor * weight * cost.slope;
        let error = (factor * weight).abs() * cost.slope_error + 4.0 * epsilon * expected.abs();
        assert_near(slope, expected, error, format_args!("{what}: slope {i}"));
        for k in 0..a.len() {
            let t = a[k] - b[k];
            let error =
                error * t.abs() + 2.0 * epsilon * (expected * t).abs() + T::MIN_POSITIVE.to_f64();
            assert_near(grads[0][k], expected * t, error, format_args!("{what}: grad_a {i}, {k}"));
            assert!(grads[1][k] == -grads[0][k], "{what}: grad_b {i}, {k}");
        }
    }
}

/// What a call is asked for beside a loss.
#[derive(Clone, Copy, Debug)]
struct Options {
    reduction: Reduction,
    scale: f64,
    weighted: bool,
    ignoring: bool,
}

/// Pairs of one kind, as the scalar formulas count them.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    pairs: u64,
    active: u64,
    sum: f64,
}

/// What sums of similar and of dissimilar pairs are multiplied by.
fn factors(reduction: Reduction, [similar, dissimilar]: [Counted; 2]) -> [f64; 2] {
    let over = |count: u64| if count == 0 { 0.0 } else { 1.0 / count as f64 };
    match reduction {
        Reduction::Sum => [1.0; 2],
        Reduction::Mean => [over(similar.pairs + dissimilar.pairs); 2],
        Reduction::MeanNonZero => [over(similar.active + dissimilar.active); 2],
        Reduction::Balanced => [over(similar.pairs), over(dissimilar.pairs)],
        Reduction::BalancedNonZero => [over(similar.active), over(dissimilar.active)],
        Reduction::Factors { similar, dissimilar } => [similar, dissimilar],
        other => panic!("{other:?} is new"),
    }
}

/// Every reduction, with weights and without, with pairs left out and without.
fn options() -> Vec<Options> {
    let of = |reduction, [weighted, ignoring]: [bool; 2]| {
        let scale = if weighted { -0.75 } else { 1.0 };
        Options { reduction, scale, weighted, ignoring }
    };
    let both = [[false, false], [false, true], [true, false], [true, true]];
    REDUCTIONS.into_iter().flat_map(|r| both.map(|flags| of(r, flags))).collect()
}

fn reductions_weights_and_pairs_left_out_do_what_they_say<T: Element>() {
    for (f, formula) in formulas().into_iter().enumerate() {
        let loss = formula.loss::<T>();
        for (c, cols) in COLS.into_iter().enumerate() {
            // More than a block of pairs.
            let shape = [300, cols];
            let gap = (f + c) % 2 * 3;
            let clean = Batch::<T>::new(formula, shape, gap, (f * 10 + c) as u64);
            let mut poisoned = Batch::<T>::new(formula, shape, gap, (f * 10 + c) as u64);
            poisoned.poison();
            for (options, isa) in on_tiers(options()) {
                let what = format!("{formula:?}, {cols} columns, gap {gap}, {options:?}, {isa}");
                let batch = if options.ignoring { &poisoned } else { &clean };
                let pairing = batch.pairing(options.weighted, options.ignoring);
                let scale = T::from_f64(options.scale);
                let objective = Objective::sum(&*loss).reduced(options.reduction).scaled(scale);
                let mut out = Outputs::new(shape, c, gap);
                let outcome = batch.run(&serial(isa), &objective, pairing, out.all());
                batch.check(&out, outcome, options, &what);
                let alone = batch.run(&serial(isa), &objective, pairing, RowsOut::none());
                assert_eq!(alone, outcome, "{what}");
            }
        }
    }
}

fn each_output_is_the_same_with_the_others_and_without<T: Element>() {
    for (f, formula) in formulas().into_iter().enumerate() {
        let loss = formula.loss::<T>();
        for cols in COLS {
            let batch = Batch::<T>::new(formula, [270, cols], 0, f as u64);
            let reduction = REDUCTIONS[f];
            let objective = Objective::sum(&*loss).reduced(reduction);
            for isa in tiers() {
                let run = |out: RowsOut<T>| {
                    batch.run(&serial(isa), &objective, batch.pairing(true, true), out)
                };
                let mut all = Outputs::<T>::new([270, cols], 0, 0);
                run(all.all());
                let all = all.bits();
                for asked in 0..16 {
                    let mut some = Outputs::<T>::new([270, cols], 0, 0);
                    let untouched = some.bits();
                    let [grad_a, grad_b] = some.grads.each_mut().map(Guarded::mat_mut);
                    let out = if asked & 1 == 0 {
                        RowsOut::none()
                    } else {
                        RowsOut::grads(grad_a, grad_b)
                    };
                    let out = if asked & 2 == 0 {
                        out
                    } else {
                        out.distances(some.distances.slice_mut())
                    };
                    let out =
                        if asked & 4 == 0 { out } else { out.values(some.values.slice_mut()) };
                    let out =
                        if asked & 8 == 0 { out } else { out.slopes(some.slopes.slice_mut()) };
                    run(out);
                    for (m, bit) in [0, 0, 1, 2, 3].into_iter().enumerate() {
                        let expected = if asked >> bit & 1 == 0 { &untouched } else { &all };
                        assert!(
                            some.bits()[m] == expected[m],
                            "{formula:?} {cols} {asked} {m} {isa}"
                        );
                    }
                }
            }
        }
    }
}

fn parts_of_a_batch_add_up_to_the_whole<T: Element>() {
    for (f, formula) in formulas().into_iter().enumerate() {
        let loss = formula.loss::<T>();
        let cols = COLS[f + 1];
        let n = 700;
        let mut batch = Batch::<T>::new(formula, [n, cols], 0, 40 + f as u64);
        batch.poison();
        let [a, b] = batch.inputs.each_ref().map(Guarded::mat);
        for (reduction, isa) in on_tiers(REDUCTIONS) {
            let objective = Objective::sum(&*loss).reduced(reduction);
            let mut whole_out = Outputs::<T>::new([n, cols], 0, 0);
            let whole =
                batch.run(&serial(isa), &objective, batch.pairing(true, true), whole_out.all());
            let cuts = [0, 37, 300, n];
            let parts = |objective: &Objective<T>, out: &mut Outputs<T>| {
                let mut sums = Sums::default();
                let mut value = 0.0;
                for cut in cuts.windows(2) {
                    let (from, to) = (cut[0], cut[1]);
                    let pairing = Pairing::new(&batch.similar[from..to])
                        .weighted(&batch.weights[from..to])
                        .ignoring(&batch.ignored[from..to]);
                    let [grad_a, grad_b] = out.grads.each_mut().map(|grad| {
                        grad.mat_mut().split_rows_at(from).1.split_rows_at(to - from).0
                    });
                    let out = RowsOut::grads(grad_a, grad_b);
                    let (a, b) = (a.rows_range(from, to), b.rows_range(from, to));
                    let outcome = rows(&serial(isa), objective, a, b, pairing, out).unwrap();
                    sums = sums + outcome.sums;
                    value += outcome.value;
                }
                (sums, value)
            };
            let mut out = Outputs::<T>::new([n, cols], 0, 0);
            let (sums, _) = parts(&Objective::sum(&*loss), &mut out);
            let counts =
                |sums: Sums| [sums.similar, sums.dissimilar].map(|kind| (kind.pairs, kind.active));
            assert_eq!(counts(sums), counts(whole.sums), "{formula:?} {reduction:?} {isa}");
            let of = Options { reduction, scale: 1.0, weighted: true, ignoring: true };
            let (_, [_, sizes]) = batch.sums(of);
            let factors = reduction.factors(&sums);
            let largest = factors[0].abs().max(factors[1].abs());
            let allowed = 2.0 * 72.0 * T::EPSILON.to_f64() * sizes * largest;
            let near = |value: f64| (value - whole.value).abs() <= allowed;
            assert!(near(reduction.value(&sums)), "{formula:?} {reduction:?} {isa}");
            // The parts have the gradient of the whole once they know its factors.
            let [similar, dissimilar] = factors;
            let mine = objective.reduced(Reduction::Factors { similar, dissimilar });
            let (_, value) = parts(&mine, &mut out);
            assert!(near(value), "{formula:?} {reduction:?} {isa}");
            for (part, whole) in out.grads.iter().zip(&whole_out.grads) {
                assert!(part.bits() == whole.bits(), "{formula:?} {reduction:?} {isa}");
            }
        }
    }
}

fn past_the_caches_weights_and_pairs_left_out_do_the_same<T: Element>() {
    // More than the last cache of most processors holds.
    let shape = if size_of::<T>() == 4 { [40_000, 100] } else { [21_000, 100] };
    let formula = PairFormula::Contrastive { m: M };
    let loss = formula.loss::<T>();
    let mut dense = Batch::<T>::new(formula, shape, 0, 50);
    dense.poison();
    // A gap between the rows keeps plain writes.
    let mut strided = Batch::<T>::new(formula, shape, 1, 50);
    strided.poison();
    let options = Options {
        reduction: Reduction::BalancedNonZero,
        scale: -0.75,
        weighted: true,
        ignoring: true,
    };
    let scale = T::from_f64(options.scale);
    let objective = Objective::sum(&*loss).reduced(options.reduction).scaled(scale);
    for isa in tiers() {
        let cx = Cx { isa, par: Par::Rayon };
        for offset in [0, 1] {
            let run = |batch: &Batch<T>, gap: usize| {
                let mut out = Outputs::new(shape, offset, gap);
                let pairing = batch.pairing(true, true);
                let outcome = batch.run(&cx, &objective, pairing, out.all());
                batch.check(&out, outcome, options, &format!("{isa}, offset {offset}, gap {gap}"));
                (outcome, out.bits())
            };
            assert!(run(&dense, 0) == run(&strided, 1), "{isa}, offset {offset}");
        }
    }
}

fn triplets_are_those_of_the_formula<T: Element>() {
    for (cols, formula) in
        COLS.into_iter().flat_map(|c| TripletFormula::all(0.75).map(move |f| (c, f)))
    {
        let loss = formula.loss::<T>();
        let n = 300;
        let gap = cols % 2;
        let mut random = Random::new(cols as u64);
        let mut inputs = [2, 0, 1].map(|offset| {
            let size = 0.7 * (3.0 / cols as f64).sqrt();
            Guarded::<T>::new(offset, [n, cols], cols + gap, |_, _| {
                random.between::<T>(-size, size)
            })
        });
        let weights: Vec<T> =
            (0..n).map(|i| if i % 5 == 0 { T::ZERO } else { random.between(0.1, 2.0) }).collect();
        let ignored: Vec<bool> = (0..n).map(|_| random.flag(0.2)).collect();
        // Coincident points, and what is left out is NaN.
        for i in 0..n {
            let from = inputs[0].row(i).to_vec();
            if ignored[i] {
                inputs[i % 3].mat_mut().row_mut(i)[cols - 1] = T::NAN;
            } else if i % 11 == 0 {
                inputs[1].mat_mut().row_mut(i).copy_from_slice(&from);
            } else if i % 11 == 1 {
                inputs[2].mat_mut().row_mut(i).copy_from_slice(&from);
            }
        }
        let [a, p, q] = inputs.each_ref().map(Guarded::mat);
        let triplets = Triplets::new(a, p, q).unwrap();
        let triplets = triplets.weighted(&weights).unwrap().ignoring(&ignored).unwrap();
        for (reduction, isa) in on_tiers([Reduction::Sum, Reduction::Mean, Reduction::MeanNonZero])
        {
            let mut grads =
                [1, 2, 0].map(|offset| Guarded::<T>::output(offset, [n, cols], cols + gap));
            let mut per_triplet = [const { Vec::new() }; 6].map(|_: Vec<T>| vec![T::NAN; n]);
            let [values, dp, dn, s_ap, s_an, s_pn] = per_triplet.each_mut();
            let [grad_a, grad_p, grad_n] = grads.each_mut().map(Guarded::mat_mut);
            let out = TripletsOut::grads(grad_a, grad_p, grad_n)
                .values(values)
                .distances(dp, dn)
                .slopes(s_ap, s_an, s_pn);
            let scale = T::from_f64(-1.5);
            let objective = TripletObjective::sum(&*loss).reduced(reduction).unwrap().scaled(scale);
            let outcome = triplet_rows(&serial(isa), &objective, triplets, out).unwrap();
            let what = format!("{formula:?}, {cols} columns, {reduction:?}, {isa}");
            let relative = (cols as f64 + 8.0) * T::EPSILON.to_f64();
            let least = T::MIN_POSITIVE.to_f64();
            let [mut sum, mut errors] = [0.0; 2];
            let [mut pairs, mut active] = [0_u64; 2];
            let rows_of = |i: usize| inputs.each_ref().map(|input| wide(input.row(i)));
            let squares = |i: usize| {
                let [a, p, q] = rows_of(i);
                [squared_distance(&a, &p), squared_distance(&a, &q), squared_distance(&p, &q)]
            };
            for i in (0..n).filter(|&i| !ignored[i]) {
                let (d2, weight) = (squares(i), weights[i].to_f64());
                let value = weight * formula.value(d2);
                let size: f64 = d2.iter().map(|d2| d2 + d2.sqrt()).sum::<f64>() + 0.75;
                let error = weight * relative * size;
                pairs += 1;
                active += u64::from(value != 0.0);
                sum += value;
                errors += error + 72.0 * T::EPSILON.to_f64() * value;
                assert_near(per_triplet[0][i], value, error, format_args!("{what}: value {i}"));
            }
            assert_eq!([outcome.pairs, outcome.active], [pairs, active], "{what}");
            let counted = Counted { pairs, active, sum };
            let [_, factor] = factors(reduction, [Counted::default(), counted]);
            assert!((outcome.value - factor * sum).abs() <= factor * errors, "{what}");
            for i in 0..n {
                let d2 = squares(i);
                for (of, d2) in per_triplet[1..3].iter().zip(d2) {
                    assert_near(
                        of[i],
                        d2.sqrt(),
                        relative * d2.sqrt(),
                        format_args!("{what}: distance {i}"),
                    );
                }
                let weight = if ignored[i] { 0.0 } else { -1.5 * factor * weights[i].to_f64() };
                let slopes = if ignored[i] {
                    [0.0; 3]
                } else {
                    formula.slopes(d2, least).map(|s| weight * s)
                };
                for (of, slope) in per_triplet[3..].iter().zip(slopes) {
                    assert_near(
                        of[i],
                        slope,
                        2.0 * relative * slope.abs(),
                        format_args!("{what}: slope {i}"),
                    );
                }
                let [a, p, q] = rows_of(i);
                for k in 0..cols {
                    let terms = [
                        slopes[0] * (a[k] - p[k]),
                        slopes[1] * (a[k] - q[k]),
                        slopes[2] * (p[k] - q[k]),
                    ];
                    let terms = if ignored[i] { [0.0; 3] } else { terms };
                    let size: f64 = terms.iter().map(|term| term.abs()).sum();
                    let expected = [terms[0] + terms[1], terms[2] - terms[0], -terms[1] - terms[2]];
                    for (grad, expected) in grads.iter().zip(expected) {
                        let error = 4.0 * relative * size + least;
                        assert_near(
                            grad.row(i)[k],
                            expected,
                            error,
                            format_args!("{what}: gradient {i}, {k}"),
                        );
                    }
                }
            }
            grads.iter().for_each(|grad| grad.check("gradient"));
        }
    }
}

/// The lengths of all slices of a call on three pairs; one of them wrong, and what is said then.
#[derive(Clone, Copy)]
struct Lengths {
    similar: usize,
    weights: usize,
    ignored: usize,
    distances: usize,
    values: usize,
    slopes: usize,
}

const RIGHT: Lengths =
    Lengths { similar: 3, weights: 3, ignored: 3, distances: 3, values: 3, slopes: 3 };

fn slices_of_wrong_length_are_refused_and_nothing_is_written<T: Element>() {
    let loss = Contrastive::new(T::ONE).unwrap();
    let objective = Objective::mean(&loss);
    for len in [0, 2, 4] {
        for (name, lengths) in [
            ("similar", Lengths { similar: len, ..RIGHT }),
            ("weights", Lengths { weights: len, ..RIGHT }),
            ("ignored", Lengths { ignored: len, ..RIGHT }),
            ("distances", Lengths { distances: len, ..RIGHT }),
            ("values", Lengths { values: len, ..RIGHT }),
            ("slopes", Lengths { slopes: len, ..RIGHT }),
        ] {
            let data = [T::ONE; 6];
            let mat = Mat::new(&data, 3, 2).unwrap();
            let seven = T::from_f64(7.0);
            let (flags, weights, mut grads) = ([false; 4], [T::ONE; 4], [[seven; 6]; 2]);
            let mut outputs = [[seven; 4]; 3];
            let [grad_a, grad_b] = grads.each_mut().map(|grad| MatMut::new(grad, 3, 2).unwrap());
            let [distances, values, slopes] = outputs.each_mut();
            let out = RowsOut::grads(grad_a, grad_b)
                .distances(&mut distances[..lengths.distances])
                .values(&mut values[..lengths.values])
                .slopes(&mut slopes[..lengths.slopes]);
            let pairing = Pairing::new(&flags[..lengths.similar])
                .weighted(&weights[..lengths.weights])
                .ignoring(&flags[..lengths.ignored]);
            let refused = rows(&Cx::default(), &objective, mat, mat, pairing, out).unwrap_err();
            let message = format!("rows: {name} has {len} elements, expected 3 (the rows of a)");
            assert_eq!(refused.to_string(), message);
            assert_eq!((grads, outputs), ([[seven; 6]; 2], [[seven; 4]; 3]), "{name} {len}");
        }
    }
}

fn margins_outside_of_their_domain_are_refused<T: Element>() {
    let good = T::from_f64(0.5);
    let wrong = [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -f64::MIN_POSITIVE];
    for bad in wrong.into_iter().chain([0.0]).map(T::from_f64) {
        // The smallest f64 below 0 is -0 in f32, which is 0 to all of them.
        let says = |name: &str| format!("{name} is {}, expected finite and positive", bad.to_f64());
        for (got, expected) in [
            (Contrastive::new(bad).map(drop), says("margin")),
            (SquaredHinge::new(bad).map(drop), says("margin")),
            (CosineContrastive::new(bad).map(drop), says("margin")),
            (Exponential::new(bad).map(drop), says("bound")),
            (LinearHinge::new(good, bad).map(drop), says("push")),
            (DoubleMargin::new(good, bad).map(drop), says("push")),
            (TripletMargin::new(bad).map(drop), says("margin")),
            (SquaredTriplet::new(bad).map(drop), says("margin")),
        ] {
            assert_eq!(got.unwrap_err().to_string(), expected);
        }
        if bad == T::ZERO {
            assert_eq!(LinearHinge::new(bad, good).unwrap().pull(), T::ZERO);
            assert_eq!(DoubleMargin::new(bad, good).unwrap().pull(), T::ZERO);
            continue;
        }
        let says = format!("pull is {}, expected finite and not negative", bad.to_f64());
        assert_eq!(LinearHinge::new(bad, good).unwrap_err().to_string(), says);
        assert_eq!(DoubleMargin::new(bad, good).unwrap_err().to_string(), says);
    }
    let tiny = T::tiny();
    assert_eq!(Exponential::new(tiny).unwrap().bound(), tiny);
    assert_eq!(DoubleMargin::new(good, tiny).unwrap().push(), tiny);
}

fn what_does_not_fit_triplets_is_refused<T: Element>() {
    let loss = TripletMargin::new(T::ONE).unwrap();
    let sum = TripletObjective::sum(&loss);
    let factors = Reduction::Factors { similar: 1.0, dissimilar: 1.0 };
    for reduction in [Reduction::Balanced, Reduction::BalancedNonZero, factors] {
        let refused = sum.reduced(reduction).map(drop).unwrap_err().to_string();
        assert!(
            refused.starts_with(&format!("the reduction {reduction:?} is for pairs")),
            "{refused}"
        );
    }
    let data = [T::ONE; 6];
    let [good, bad] = [3, 2].map(|rows| Mat::new(&data[..2 * rows], rows, 2).unwrap());
    assert!(Triplets::new(good, bad, good).is_err() && Triplets::new(good, good, bad).is_err());
    let triplets = Triplets::new(good, good, good).unwrap();
    assert!(triplets.weighted(&data[..2]).is_err() && triplets.ignoring(&[true; 4]).is_err());
    let seven = T::from_f64(7.0);
    for wrong in 0..9 {
        let mut grads = [[seven; 6]; 3];
        let mut outputs = [[seven; 4]; 6];
        let rows = |m: usize| if m == wrong { 2 } else { 3 };
        let [ga, gp, gn] = grads.each_mut();
        let out = TripletsOut::grads(
            MatMut::new(&mut ga[..2 * rows(0)], rows(0), 2).unwrap(),
            MatMut::new(&mut gp[..2 * rows(1)], rows(1), 2).unwrap(),
            MatMut::new(&mut gn[..2 * rows(2)], rows(2), 2).unwrap(),
        );
        let [values, dp, dn, ap, an, pn] = outputs.each_mut();
        let out = out
            .values(&mut values[..rows(3)])
            .distances(&mut dp[..rows(4)], &mut dn[..rows(5)])
            .slopes(&mut ap[..rows(6)], &mut an[..rows(7)], &mut pn[..rows(8)]);
        assert!(triplet_rows(&Cx::default(), &sum, triplets, out).is_err(), "{wrong}");
        assert_eq!((grads, outputs), ([[seven; 6]; 3], [[seven; 4]; 6]), "{wrong}");
    }
}
