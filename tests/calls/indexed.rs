//! `batch::indexed` against `batch::rows` on the gathered rows and a scalar scatter, and the lists of
//! pairs that it takes: every tier, both precisions, any length and stride of rows, repeats, rows
//! paired with themselves, rows in no pair and rows in thousands.

#![forbid(unsafe_code)]

use crate::support::element::{bits, wide};
use crate::support::formulas::PairFormula;
use crate::support::{Element, Guarded, REDUCTIONS, Random, serial, tiers};
use drlim::batch::{
    IndexedOut, IndexedScratch, PairFlags, PairList, RowsOut, hard_pairs, indexed, rows,
};
use drlim::loss::{Contrastive, Objective, Outcome, Pairing, Reduction};
use drlim::{Cx, Error, Graph, Isa, Mat, MatMut, Par, Similar};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// Row lengths: planar kernels, less than a vector, whole and split ones, several accumulators.
const COLS: [usize; 8] = [1, 2, 3, 5, 16, 33, 100, 257];

crate::support::cases::in_both_precisions! {
    a_list_has_the_results_of_its_rows_gathered
    rows_in_no_pair_and_pairs_of_one_row_have_gradient_zero
    a_pair_that_is_left_out_leaves_everything_clean
    a_row_in_thousands_of_pairs_is_added_up_precisely
    results_do_not_depend_on_threads
    results_do_not_depend_on_alignment_or_scratch
    what_does_not_fit_is_refused_and_nothing_is_written
    hard_pairs_are_those_of_the_rule
}

/// Each of these on each tier.
fn on_tiers<X: Clone>(of: impl IntoIterator<Item = X>) -> impl Iterator<Item = (X, Isa)> {
    of.into_iter().flat_map(|x| tiers().into_iter().map(move |isa| (x.clone(), isa)))
}

/// A matrix, and pairs of its rows.
struct Batch<T> {
    z: Guarded<T>,
    list: PairList,
    similar: Vec<bool>,
    weights: Vec<T>,
    ignored: Vec<bool>,
}

/// What a call wrote, and what it returned.
struct Results<T> {
    outcome: Outcome,
    grad: Guarded<T>,
    distances: Vec<T>,
    values: Vec<T>,
    slopes: Vec<T>,
}

impl<T: Element> Results<T> {
    fn bits(&self) -> [Vec<u64>; 4] {
        [self.grad.bits(), bits(&self.distances), bits(&self.values), bits(&self.slopes)]
    }
}

impl<T: Element> Batch<T> {
    /// Random pairs: some of them repeat others, some are of one row; the last row is in none.
    fn new([rows, cols]: [usize; 2], pairs: usize, gap: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let size = (3.0 / cols as f64).sqrt();
        let z = Guarded::new(3, [rows, cols], cols + gap, |_, _| random.between::<T>(-size, size));
        let row = |random: &mut Random| (random.unit() * (rows - 1) as f64) as u32;
        let mut list: Vec<(u32, u32)> = Vec::new();
        for i in 0..pairs {
            let (one, other) = (row(&mut random), row(&mut random));
            let pair = match i % 10 {
                3 => (one, one),
                5 => list[i / 2],
                7 => (list[i / 2].1, list[i / 2].0),
                _ => (one, other),
            };
            list.push(pair);
        }
        Batch {
            z,
            list: PairList::new(rows, &list).unwrap(),
            similar: (0..pairs).map(|_| random.flag(0.3)).collect(),
            weights: (0..pairs).map(|_| random.between(-0.5, 2.0)).collect(),
            ignored: (0..pairs).map(|_| random.flag(0.2)).collect(),
        }
    }

    fn pairing(&self, weighted: bool, ignoring: bool) -> Pairing<'_, T> {
        let pairing = Pairing::new(&self.similar);
        let pairing = if weighted { pairing.weighted(&self.weights) } else { pairing };
        if ignoring { pairing.ignoring(&self.ignored) } else { pairing }
    }

    fn run(&self, cx: &Cx, objective: &Objective<T>, pairing: Pairing<T>) -> Results<T> {
        let ([rows, cols], n) = (self.z.mat().shape(), self.list.len());
        let mut grad = Guarded::output(1, [rows, cols], cols + 2);
        let mut per_pair = [(); 3].map(|()| Guarded::slice(n));
        let [distances, values, slopes] = per_pair.each_mut().map(Guarded::slice_mut);
        let out = IndexedOut::grad(grad.mat_mut());
        let out = out.distances(distances).values(values).slopes(slopes);
        let scratch = &mut IndexedScratch::new();
        let outcome = indexed(cx, objective, self.z.mat(), &self.list, pairing, out, scratch);
        grad.check("grad");
        let [distances, values, slopes] = per_pair.map(|output| output.checked("per pair"));
        Results { outcome: outcome.unwrap(), grad, distances, values, slopes }
    }

    /// The rows of all pairs, one matrix of the first and one of the second.
    fn gathered(&self) -> [Vec<T>; 2] {
        let pairs = || self.list.pairs().iter();
        let row = |i: u32| self.z.row(i as usize);
        [
            pairs().flat_map(|pair| row(pair.0)).copied().collect(),
            pairs().flat_map(|pair| row(pair.1)).copied().collect(),
        ]
    }

    /// Compares the gradient with the slopes that were written, scattered in f64.
    fn check_gradient(&self, results: &Results<T>, ignoring: bool, what: &str) {
        let [rows, cols] = self.z.mat().shape();
        let (mut sums, mut sizes) = (vec![0.0; rows * cols], vec![0.0; rows * cols]);
        let mut terms = vec![0; rows];
        for (p, &(i, j)) in self.list.pairs().iter().enumerate() {
            if ignoring && self.ignored[p] {
                continue;
            }
            let (i, j) = (i as usize, j as usize);
            let slope = results.slopes[p].to_f64();
            let (zi, zj) = (wide(self.z.row(i)), wide(self.z.row(j)));
            for (row, sign) in [(i, 1.0), (j, -1.0)] {
                terms[row] += 1;
                for k in 0..cols {
                    let term = sign * slope * (zi[k] - zj[k]);
                    sums[row * cols + k] += term;
                    sizes[row * cols + k] += term.abs();
                }
            }
        }
        for row in 0..rows {
            let relative = (terms[row] + 2) as f64 * T::EPSILON.to_f64();
            for k in 0..cols {
                let (got, expected) = (results.grad.row(row)[k].to_f64(), sums[row * cols + k]);
                let allowed = relative * sizes[row * cols + k];
                let error = (got - expected).abs();
                assert!(
                    error <= allowed,
                    "{what}: row {row}, {k}: {got}, not {expected} +- {allowed:e}"
                );
            }
        }
    }
}

fn a_list_has_the_results_of_its_rows_gathered<T: Element>() {
    for (f, formula) in PairFormula::all(0.5, 1.25).into_iter().enumerate() {
        let loss = formula.loss::<T>();
        for (c, cols) in COLS.into_iter().enumerate() {
            let n = [1, 40, 300, 700][(f + c) % 4];
            let batch = Batch::<T>::new([30, cols], n, (f + c) % 2 * 5, (f * 10 + c) as u64);
            let [a, b] = batch.gathered();
            let [a, b] = [&a, &b].map(|x| Mat::new(x, n, cols).unwrap());
            for (r, reduction) in REDUCTIONS.into_iter().enumerate() {
                let [weighted, ignoring] = [(f + r) % 2 == 0, (c + r) % 3 == 0];
                let pairing = batch.pairing(weighted, ignoring);
                let objective =
                    Objective::sum(&*loss).reduced(reduction).scaled(T::from_f64(-0.75));
                for isa in tiers() {
                    let what =
                        format!("{formula:?}, {reduction:?}, {n} pairs, {cols} columns, {isa}");
                    let results = batch.run(&serial(isa), &objective, pairing);
                    let [mut distances, mut values, mut slopes] =
                        [const { Vec::new() }; 3].map(|_: Vec<T>| vec![T::NAN; n]);
                    let out = RowsOut::none()
                        .distances(&mut distances)
                        .values(&mut values)
                        .slopes(&mut slopes);
                    let outcome = rows(&serial(isa), &objective, a, b, pairing, out).unwrap();
                    assert_eq!(results.outcome, outcome, "{what}");
                    let expected = [&distances, &values].map(|of| bits(of));
                    assert!(results.bits()[1..3] == expected, "{what}: distances or values");
                    // Where factors are known only after the pass, slopes are multiplied twice.
                    for (got, slope) in results.slopes.iter().zip(&slopes) {
                        let (got, slope) = (got.to_f64(), slope.to_f64());
                        let allowed = 2.0 * T::EPSILON.to_f64() * slope.abs();
                        assert!((got - slope).abs() <= allowed, "{what}: {got}, not {slope}");
                    }
                    batch.check_gradient(&results, ignoring, &what);
                    let (z, list, out) = (batch.z.mat(), &batch.list, IndexedOut::none());
                    let scratch = &mut IndexedScratch::new();
                    let alone = indexed(&serial(isa), &objective, z, list, pairing, out, scratch);
                    assert_eq!(alone, Ok(outcome), "{what}: the value alone");
                }
            }
        }
    }
}

fn rows_in_no_pair_and_pairs_of_one_row_have_gradient_zero<T: Element>() {
    let loss = Contrastive::new(T::ONE).unwrap();
    let objective = Objective::sum(&loss);
    for cols in COLS {
        let mut batch = Batch::<T>::new([6, cols], 10, 1, 3);
        batch.list = PairList::new(6, &[(1, 1), (3, 3), (1, 1), (0, 4), (5, 0)]).unwrap();
        batch.similar = vec![true, false, false, true, true];
        for isa in tiers() {
            let results = batch.run(&serial(isa), &objective, batch.pairing(false, false));
            // Two coincident dissimilar pairs cost half a margin squared each.
            let [two, four] = [results.values[3], results.values[4]].map(T::to_f64);
            let (expected, eps) = (1.0 + two + four, T::EPSILON.to_f64());
            assert!((results.outcome.value - expected).abs() <= 8.0 * eps * expected);
            assert_eq!(results.distances[..3], [T::ZERO; 3]);
            for row in [1, 2, 3] {
                assert!(results.grad.row(row).iter().all(|&g| g == T::ZERO), "row {row} on {isa}");
            }
            assert!(results.grad.row(4).iter().any(|&g| g != T::ZERO));
            let none = Batch {
                list: PairList::new(6, &[]).unwrap(),
                similar: vec![],
                ..Batch::new([6, cols], 1, 0, 4)
            };
            let results = none.run(&serial(isa), &objective, none.pairing(false, false));
            assert_eq!(results.outcome, Outcome::default());
            assert!(results.grad.wide().iter().all(|&g| g == 0.0));
        }
    }
}

fn a_pair_that_is_left_out_leaves_everything_clean<T: Element>() {
    for cols in COLS {
        let mut batch = Batch::<T>::new([30, cols], 400, 0, 5);
        // Rows 0 to 4 hold NaN or infinity, and every pair with one of them is left out.
        let bad = |i: u32| i < 5;
        batch.ignored = batch.list.pairs().iter().map(|&(i, j)| bad(i) || bad(j)).collect();
        let formula = PairFormula::DoubleMargin { p: 0.4, m: 1.3 };
        let loss = formula.loss::<T>();
        for (reduction, isa) in
            REDUCTIONS.into_iter().flat_map(|r| tiers().into_iter().map(move |isa| (r, isa)))
        {
            let objective = Objective::sum(&*loss).reduced(reduction);
            let what = format!("{reduction:?}, {cols} columns, {isa}");
            let clean = batch.run(&serial(isa), &objective, batch.pairing(true, true));
            let mut poisoned = Batch::<T>::new([30, cols], 400, 0, 5);
            poisoned.ignored = batch.ignored.clone();
            for row in 0..5 {
                let bad = if row == 2 { T::INFINITY } else { T::NAN };
                poisoned.z.mat_mut().row_mut(row)[row % cols] = bad;
            }
            let results = poisoned.run(&serial(isa), &objective, poisoned.pairing(true, true));
            assert_eq!(results.outcome, clean.outcome, "{what}");
            assert!(results.outcome.value.is_finite(), "{what}");
            let [got, expected] = [results.bits(), clean.bits()];
            assert!((got[0] == expected[0]) && got[2..] == expected[2..], "{what}");
            for (p, _) in batch.ignored.iter().enumerate().filter(|(_, ignored)| **ignored) {
                assert_eq!((results.values[p], results.slopes[p]), (T::ZERO, T::ZERO), "{what}");
            }
            for row in 0..5 {
                assert!(results.grad.row(row).iter().all(|&g| g == T::ZERO), "{what}: row {row}");
            }
        }
    }
}

fn a_row_in_thousands_of_pairs_is_added_up_precisely<T: Element>() {
    let loss = Contrastive::new(T::from_f64(1.25)).unwrap();
    let objective = Objective::mean(&loss);
    for cols in COLS {
        let mut batch = Batch::<T>::new([50, cols], 5000, 0, 6);
        let others = (0..50).filter(|&other| other != 7).cycle().enumerate().take(5000);
        let either = |(p, other): (usize, u32)| if p % 3 == 0 { (other, 7) } else { (7, other) };
        let pairs: Vec<(u32, u32)> = others.map(either).collect();
        batch.list = PairList::new(50, &pairs).unwrap();
        assert_eq!(batch.list.pairs_of(7).count(), 5000);
        for isa in tiers() {
            let results = batch.run(&serial(isa), &objective, batch.pairing(true, false));
            batch.check_gradient(&results, false, &format!("{cols} columns, {isa}"));
        }
    }
}

fn results_do_not_depend_on_threads<T: Element>() {
    let pools = [1, 2, 3, 7]
        .map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    let loss = Contrastive::new(T::from_f64(1.25)).unwrap();
    for (cols, rows, pairs) in [(2, 20_000, 60_000), (33, 3000, 10_000), (100, 1500, 6000)] {
        let batch = Batch::<T>::new([rows, cols], pairs, 0, 7);
        for (reduction, isa) in on_tiers([Reduction::Mean, Reduction::BalancedNonZero]) {
            let objective = Objective::sum(&loss).reduced(reduction);
            let alone = batch.run(&serial(isa), &objective, batch.pairing(true, true));
            for pool in &pools {
                let cx = Cx { isa, par: Par::Rayon };
                let shared = pool.install(|| batch.run(&cx, &objective, batch.pairing(true, true)));
                let which =
                    format!("{cols} columns, {isa}, {} threads", pool.current_num_threads());
                assert_eq!(shared.outcome, alone.outcome, "{which}");
                assert!(shared.bits() == alone.bits(), "{which}");
            }
        }
    }
}

fn results_do_not_depend_on_alignment_or_scratch<T: Element>() {
    let loss = Contrastive::new(T::from_f64(1.25)).unwrap();
    let objective = Objective::mean(&loss);
    // One scratch for calls of all sizes: what an earlier one left in it is not used.
    let mut scratch = IndexedScratch::new();
    for cols in COLS {
        let batch = Batch::<T>::new([20, cols], 100, 0, 8);
        for isa in tiers() {
            let expected = batch.run(&serial(isa), &objective, batch.pairing(true, true));
            for (offset, gap) in [(0, 0), (1, 0), (0, 1), (5, 3), (15, 16)] {
                let z = Guarded::new(offset, [20, cols], cols + gap, |i, k| batch.z.row(i)[k]);
                let mut grad = Guarded::output(2 * offset, [20, cols], cols + 2 * gap);
                let out = IndexedOut::grad(grad.mat_mut());
                let pairing = batch.pairing(true, true);
                let (cx, list) = (serial(isa), &batch.list);
                let outcome = indexed(&cx, &objective, z.mat(), list, pairing, out, &mut scratch);
                grad.check("grad");
                assert_eq!(outcome, Ok(expected.outcome), "{cols} columns, {isa}");
                assert!(
                    grad.bits() == expected.grad.bits(),
                    "{cols} columns, {offset}, {gap}, {isa}"
                );
            }
        }
    }
}

/// The lengths of all slices of a call on two pairs of three rows.
#[derive(Clone, Copy)]
struct Lengths {
    list: usize,
    similar: usize,
    weights: usize,
    ignored: usize,
    distances: usize,
    values: usize,
    slopes: usize,
    grad: [usize; 2],
}

const RIGHT: Lengths = Lengths {
    list: 3,
    similar: 2,
    weights: 2,
    ignored: 2,
    distances: 2,
    values: 2,
    slopes: 2,
    grad: [3, 2],
};

fn what_does_not_fit_is_refused_and_nothing_is_written<T: Element>() {
    let mut wrong = vec![
        (
            Lengths { list: 2, ..RIGHT },
            "list has 2 elements, expected 3 (the rows of z)".to_owned(),
        ),
        (
            Lengths { list: 4, ..RIGHT },
            "list has 4 elements, expected 3 (the rows of z)".to_owned(),
        ),
        (Lengths { grad: [2, 2], ..RIGHT }, "grad has shape 2x2, expected 3x2 (as z)".to_owned()),
        (Lengths { grad: [3, 1], ..RIGHT }, "grad has shape 3x1, expected 3x2 (as z)".to_owned()),
    ];
    for len in [0, 1, 3] {
        let of =
            |name: &str| format!("{name} has {len} elements, expected 2 (the pairs of the list)");
        wrong.extend([
            (Lengths { similar: len, ..RIGHT }, of("similar")),
            (Lengths { weights: len, ..RIGHT }, of("weights")),
            (Lengths { ignored: len, ..RIGHT }, of("ignored")),
            (Lengths { distances: len, ..RIGHT }, of("distances")),
            (Lengths { values: len, ..RIGHT }, of("values")),
            (Lengths { slopes: len, ..RIGHT }, of("slopes")),
        ]);
    }
    let loss = Contrastive::new(T::ONE).unwrap();
    let (seven, objective) = (T::from_f64(7.0), Objective::mean(&loss));
    for (lengths, message) in wrong {
        let (data, flags, weights) = ([T::ONE; 6], [false; 3], [T::ONE; 3]);
        let (mut grad, mut outputs) = ([seven; 6], [[seven; 3]; 3]);
        let list = PairList::new(lengths.list, &[(0, 1), (1, 0)]).unwrap();
        let pairing = Pairing::new(&flags[..lengths.similar])
            .weighted(&weights[..lengths.weights])
            .ignoring(&flags[..lengths.ignored]);
        let [rows, cols] = lengths.grad;
        let [distances, values, slopes] = outputs.each_mut();
        let out = IndexedOut::grad(MatMut::new(&mut grad[..rows * cols], rows, cols).unwrap())
            .distances(&mut distances[..lengths.distances])
            .values(&mut values[..lengths.values])
            .slopes(&mut slopes[..lengths.slopes]);
        let z = Mat::new(&data, 3, 2).unwrap();
        let cx = Cx::default();
        let refused = indexed(&cx, &objective, z, &list, pairing, out, &mut IndexedScratch::new());
        assert_eq!(refused.unwrap_err().to_string(), format!("indexed: {message}"));
        assert_eq!((grad, outputs), ([seven; 6], [[seven; 3]; 3]), "{message}");
    }
}

fn hard_pairs_are_those_of_the_rule<T: Element>() {
    let mut random = Random::new(9);
    for round in 0..400 {
        let n = round % 12;
        // Few distances, so that there are ties; NaN and infinities among them.
        let few = [T::ZERO, T::ONE, T::from_f64(2.0), T::from_f64(3.0), T::INFINITY, T::NAN];
        let pick = |random: &mut Random| few[(random.unit() * few.len() as f64) as usize];
        let distances: Vec<T> = (0..n).map(|_| pick(&mut random)).collect();
        let share = [0.0, 0.3, 0.7, 1.0][round % 4];
        let similar: Vec<bool> = (0..n).map(|_| random.flag(share)).collect();
        let ignored: Vec<bool> = (0..n).map(|_| random.flag(0.2)).collect();
        // A similar pair is hard that is farther than some dissimilar one, and the reverse, among
        // the pairs that are not left out.
        let hard = |i: usize, ignored: &[bool]| {
            let beaten = |j: usize| match similar[i] {
                _ if ignored[j] => false,
                true => !similar[j] && distances[i] > distances[j],
                false => similar[j] && distances[i] < distances[j],
            };
            !ignored[i] && (distances[i].is_nan() || (0..n).any(beaten))
        };
        for ignored in [&vec![false; n], &ignored] {
            let all = 0..n as u32;
            let expected: Vec<u32> = all.filter(|&i| hard(i as usize, ignored)).collect();
            let pairing = Pairing::new(&similar).ignoring(ignored);
            assert_eq!(
                hard_pairs(&distances, pairing),
                Ok(expected),
                "{distances:?}, {similar:?}, {ignored:?}"
            );
        }
    }
    assert!(matches!(
        hard_pairs(&[T::ONE; 3], &[true; 2]),
        Err(Error::Length { arg: "similar", got: 2, expected: 3, .. })
    ));
}

#[test]
fn a_list_refuses_indices_past_the_rows_and_stays_as_it_was() {
    for (rows, pairs, at, index) in [
        (3, vec![(0, 1), (3, 0)], 1, 3),
        (3, vec![(0, 3)], 0, 3),
        (0, vec![(0, 0)], 0, 0),
        (5, vec![(1, 2), (4, 4), (2, u32::MAX)], 2, u32::MAX as usize),
    ] {
        let refusal = Error::Index { arg: "pairs", at, index, len: rows };
        assert_eq!(PairList::new(rows, &pairs), Err(refusal.clone()));
        let mut list = PairList::new(4, &[(0, 3), (2, 2)]).unwrap();
        let before = list.clone();
        assert_eq!(list.set(rows, &pairs), Err(refusal));
        assert_eq!(list, before);
    }
    let too_many = u32::MAX as usize + 1;
    let mut list = PairList::new(4, &[(0, 3)]).unwrap();
    assert!(matches!(list.set(too_many, &[]), Err(Error::Pairs { .. })));
    assert_eq!((list.rows(), list.len()), (4, 1));
}

#[test]
fn kinds_are_those_of_labels_and_graphs() {
    let list = PairList::new(4, &[(0, 1), (1, 2), (3, 0), (3, 3), (2, 2)]).unwrap();
    let labels = [5, 5, -1, 5];
    let all = list.kinds(Similar::Labels(&labels)).unwrap();
    assert_eq!(all.similar, [true, false, true, true, true]);
    assert_eq!(all.ignored, [false; 5]);
    let known = list.kinds(Similar::LabelsIgnoring { labels: &labels, ignored: -1 }).unwrap();
    assert_eq!(known.similar, [true, false, true, true, false]);
    assert_eq!(known.ignored, [false, true, false, false, true]);
    let graph = Graph::from_pairs(4, &[(1, 2), (0, 3)]).unwrap();
    let near = list.kinds(Similar::Graph(&graph)).unwrap();
    assert_eq!(near.similar, [false, true, true, false, false]);
    assert!(list.kinds(Similar::Labels(&labels[..3])).is_err());
    let pairing: Pairing<f32> = known.pairing();
    assert_eq!(pairing.len(), 5);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource(
            "proptest-regressions",
        ))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_list_knows_the_pairs_of_each_row(
        pairs in prop::collection::vec((0..9_u32, 0..9_u32), 0..60),
        places in prop::collection::vec(0..70_u32, 0..20),
    ) {
        let list = PairList::new(9, &pairs).unwrap();
        prop_assert_eq!([list.rows(), list.len()], [9, pairs.len()]);
        prop_assert_eq!(list.is_empty(), pairs.is_empty());
        prop_assert_eq!(list.pairs(), &pairs[..]);
        for row in 0..9_u32 {
            // A pair of one row is in it twice.
            let expected: Vec<(usize, usize)> = pairs
                .iter()
                .enumerate()
                .flat_map(|(p, &(i, j))| [(i, (p, j as usize)), (j, (p, i as usize))])
                .filter(|(of, _)| *of == row)
                .map(|(_, member)| member)
                .collect();
            prop_assert_eq!(list.pairs_of(row as usize).collect::<Vec<_>>(), expected);
        }
        // A list that is set again is the same as a new one.
        let mut again = PairList::new(100, &[(99, 3); 80]).unwrap();
        again.set(9, &pairs).unwrap();
        prop_assert_eq!(&again, &list);

        let kinds = PairFlags {
            similar: pairs.iter().map(|pair| pair.0 < pair.1).collect(),
            ignored: pairs.iter().map(|pair| pair.0 == 4).collect(),
        };
        let past = places.iter().position(|&place| place as usize >= pairs.len());
        match past {
            Some(at) => {
                let (index, len) = (places[at] as usize, pairs.len());
                let refusal = Error::Index { arg: "places", at, index, len };
                prop_assert_eq!(list.select(&places), Err(refusal.clone()));
                prop_assert_eq!(kinds.select(&places), Err(refusal));
            }
            None => {
                let selected = list.select(&places).unwrap();
                let picked: Vec<_> = places.iter().map(|&place| pairs[place as usize]).collect();
                prop_assert_eq!(&selected, &PairList::new(9, &picked).unwrap());
                let expected = PairFlags {
                    similar: picked.iter().map(|pair| pair.0 < pair.1).collect(),
                    ignored: picked.iter().map(|pair| pair.0 == 4).collect(),
                };
                prop_assert_eq!(kinds.select(&places), Ok(expected));
            }
        }
    }
}

/// Factors that are known late leave ignored pairs alone, whatever they are, and are multiplied with
/// the weight first, as by rows.
#[test]
fn late_factors_leave_ignored_pairs_alone_and_do_not_overflow() {
    let z = [0.0_f32, 1.0, 3.0, 1e10];
    let z = Mat::new(&z, 4, 1).unwrap();
    let loss = Contrastive::new(1.0).unwrap();
    for isa in tiers() {
        let cx = Cx { isa, par: Par::Serial };
        let call = |scale, pairs: &[(u32, u32)], pairing: Pairing<f32>| {
            let objective = Objective::sum(&loss).reduced(Reduction::MeanNonZero).scaled(scale);
            let list = PairList::new(4, pairs).unwrap();
            let mut slopes = vec![7.0; pairs.len()];
            let (out, mut scratch) =
                (IndexedOut::none().slopes(&mut slopes), IndexedScratch::new());
            indexed(&cx, &objective, z, &list, pairing, out, &mut scratch).unwrap();
            slopes
        };
        for scale in [f32::NAN, f32::INFINITY] {
            let pairing = Pairing::new(&[true, true]).ignoring(&[true, false]);
            let slopes = call(scale, &[(0, 1), (1, 2)], pairing);
            assert!(slopes[0] == 0.0 && !slopes[1].is_finite(), "{slopes:?} on {isa}");
        }
        let pairing = Pairing::new(&[true]).weighted(&[1e30]);
        assert_eq!(call(1e-30, &[(0, 1)], pairing), [1.0], "{isa}");
    }
}
