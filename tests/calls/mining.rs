//! `batch::triplets` against plain loops over all triplets in scalar f64: which of them are looked at, what
//! they add up to, and their gradient; every tier, both precisions.

#![forbid(unsafe_code)]

use crate::support::element::{bits, wide};
use crate::support::formulas::TripletFormula;
use crate::support::oracle::squared_distance;
use crate::support::{Element, Guarded, Random, labels, serial, tiers};
use drlim::batch::{Mining, MiningScratch, triplets};
use drlim::loss::{BlockTripletLoss, Outcome, Reduction, TripletMargin, TripletObjective};
use drlim::{Cx, Error, Graph, Isa, Mat, MatMut, Par, Similar};

const MININGS: [Mining; 3] = [Mining::All, Mining::Hardest, Mining::SemiHard];

/// Points around the origin, or around a far one; in steps that keep squared distances exact, so that which
/// of two is the larger does not hang on a rounding.
fn points<T: Element>([n, d]: [usize; 2], offset: f64, seed: u64) -> Vec<T> {
    let mut random = Random::new(seed);
    let size = (2.0 / d.max(1) as f64).sqrt();
    let mut number = || offset + (random.between::<f64>(-size, size) * 256.0).round() / 256.0;
    (0..n * d).map(|_| T::from_f64(number())).collect()
}

fn run<T: Element>(
    cx: &Cx,
    objective: &TripletObjective<T>,
    (z, [n, d]): (&[T], [usize; 2]),
    similar: Similar,
    mining: Mining,
) -> (Outcome, Vec<T>) {
    let mut grad = Guarded::output(1, [n, d], d + 1);
    let z = Mat::new(z, n, d).unwrap();
    let mut scratch = MiningScratch::new();
    let to = Some(grad.mat_mut());
    let outcome = triplets(cx, objective, z, similar, mining, to, &mut scratch).unwrap();
    let alone = triplets(cx, objective, z, similar, mining, None, &mut scratch).unwrap();
    assert_eq!(alone.value.to_bits(), outcome.value.to_bits(), "value alone");
    (outcome, grad.checked("grad"))
}

/// The triplets of a batch, by rows.
fn expected(rows: &[Vec<f64>], similar: Similar, mining: Mining) -> Vec<[usize; 3]> {
    let n = rows.len();
    let d2 = |i: usize, j: usize| squared_distance(&rows[i], &rows[j]);
    let mut found = Vec::new();
    for a in 0..n {
        let of = |kind| (0..n).filter(move |&j| j != a && similar.of(a, j) == Some(kind));
        let (positives, negatives) = (of(true).collect::<Vec<_>>(), of(false).collect::<Vec<_>>());
        let nearest = |from: f64| {
            let farther = negatives.iter().copied().filter(|&q| d2(a, q) > from);
            farther.min_by(|&p, &q| d2(a, p).total_cmp(&d2(a, q)))
        };
        match mining {
            Mining::All => {
                let both =
                    positives.iter().flat_map(|&p| negatives.iter().map(move |&q| [a, p, q]));
                found.extend(both);
            }
            Mining::Hardest => {
                // The first of equal ones.
                let farthest =
                    positives.iter().rev().copied().max_by(|&p, &q| d2(a, p).total_cmp(&d2(a, q)));
                found.extend(farthest.zip(nearest(-1.0)).map(|(p, q)| [a, p, q]));
            }
            Mining::SemiHard => {
                let farthest = || {
                    let negatives = negatives.iter().rev().copied();
                    negatives.max_by(|&p, &q| d2(a, p).total_cmp(&d2(a, q)))
                };
                let chosen = |p: usize| nearest(d2(a, p)).or_else(farthest);
                found.extend(positives.iter().filter_map(|&p| Some([a, p, chosen(p)?])));
            }
        }
    }
    found
}

/// What triplets add up to.
#[derive(Default)]
struct Added {
    sum: f64,
    active: u64,
    /// Of distances and margins, of which the sum is made.
    size: f64,
    grad: Vec<f64>,
    /// The largest sum of sizes of the terms of an element of the gradient.
    largest: f64,
}

impl Added {
    /// In scalar f64.
    fn new<T: Element>(
        formula: TripletFormula,
        rows: &[Vec<f64>],
        triplets: &[[usize; 3]],
    ) -> Self {
        let d = rows.first().map_or(0, Vec::len);
        let mut added = Added { grad: vec![0.0; rows.len() * d], ..Added::default() };
        let (mut terms, mut lost) = (added.grad.clone(), 0.0);
        for &[a, p, q] in triplets {
            let sides = [[a, p], [a, q], [p, q]];
            let d2 = sides.map(|[i, j]| squared_distance(&rows[i], &rows[j]));
            let value = formula.value(d2);
            // Long sums of like terms are rounded alike: what each step loses is kept.
            let sum = added.sum + value;
            lost += (added.sum - sum) + value;
            added.sum = sum;
            added.active += u64::from(value != 0.0);
            let largest = d2.iter().fold(0.0_f64, |x, &y| x.max(y));
            let size = match formula {
                TripletFormula::Squared { .. } => largest.max(largest.sqrt()),
                _ => largest.sqrt(),
            };
            added.size += size + formula.margin();
            let slopes = formula.slopes(d2, T::MIN_POSITIVE.to_f64());
            for ([i, j], slope) in sides.into_iter().zip(slopes) {
                for k in 0..d {
                    let term = slope * (rows[i][k] - rows[j][k]);
                    added.grad[i * d + k] += term;
                    added.grad[j * d + k] -= term;
                    terms[i * d + k] += term.abs();
                    terms[j * d + k] += term.abs();
                }
            }
        }
        added.sum += lost;
        added.largest = terms.into_iter().fold(0.0, f64::max);
        added
    }
}

/// As [`check_of`], by all ways of mining.
fn check<T: Element>(
    formula: TripletFormula,
    z: &[T],
    shape: [usize; 2],
    similar: Similar,
    reduction: Reduction,
) {
    check_of(&MININGS, formula, z, shape, similar, reduction);
}

/// Compares with the formula: the number of triplets to the digit, the value and each element of the
/// gradient within some roundings of the terms they are sums of.
fn check_of<T: Element>(
    minings: &[Mining],
    formula: TripletFormula,
    z: &[T],
    shape: [usize; 2],
    similar: Similar,
    reduction: Reduction,
) {
    let [n, d] = shape;
    let rows: Vec<Vec<f64>> = (0..n).map(|i| wide(&z[i * d..][..d])).collect();
    let loss = formula.loss::<T>();
    let objective =
        TripletObjective::sum(&*loss).reduced(reduction).unwrap().scaled(T::from_f64(-1.5));
    for &mining in minings {
        let all = expected(&rows, similar, mining);
        let added = Added::new::<T>(formula.rounded::<T>(), &rows, &all);
        let divisor = match reduction {
            Reduction::Mean => all.len() as f64,
            Reduction::MeanNonZero => added.active as f64,
            _ => 1.0,
        }
        .max(1.0);
        let epsilon = T::EPSILON.to_f64();
        for isa in tiers() {
            let (outcome, got) = run(&serial(isa), &objective, (z, shape), similar, mining);
            let case = format!("{formula:?}, {mining:?}, {n}x{d} {} on {isa}", T::NAME);
            assert_eq!(outcome.pairs, all.len() as u64, "{case}");
            assert_eq!(outcome.active, added.active, "{case}");
            let error = (outcome.value - added.sum / divisor).abs();
            assert!(error <= 60.0 * epsilon * added.size / divisor, "{case}: {error:e} off");
            for (at, (&got, &expected)) in got.iter().zip(&added.grad).enumerate() {
                let error = (got.to_f64() + 1.5 * expected / divisor).abs();
                let allowed = 1.5 * 100.0 * epsilon * added.largest / divisor;
                assert!(error <= allowed, "{case}: gradient {at} is {got}, {error:e} off");
            }
        }
    }
}

fn agrees<T: Element>() {
    for formula in TripletFormula::all(0.4) {
        for n in [0, 1, 2, 3, 33, 70] {
            let labels = labels(n, 5);
            let z = points::<T>([n, 6], 0.0, 1);
            check(formula, &z, [n, 6], Similar::Labels(&labels), Reduction::Sum);
        }
        for d in [1, 2, 3, 16, 33, 130] {
            let labels = labels(40, 4);
            let z = points::<T>([40, d], 0.0, 2);
            check(formula, &z, [40, d], Similar::Labels(&labels), Reduction::MeanNonZero);
        }
        let n = 150;
        let z = points::<T>([n, 20], 3.0, 3);
        let ring: Vec<_> = (0..n as u32).map(|i| (i, (i * 31 + 1) % n as u32)).collect();
        let ring: Vec<_> = ring.into_iter().filter(|(i, j)| i != j).collect();
        let graph = Graph::from_pairs(n, &ring).unwrap();
        let (few, one, none) = (labels(n, 7), vec![3; n], (0..n as i64).collect::<Vec<_>>());
        for similar in [
            Similar::Labels(&few),
            Similar::Labels(&one),
            Similar::Labels(&none),
            Similar::LabelsIgnoring { labels: &few, ignored: -2 },
            Similar::Graph(&graph),
        ] {
            check(formula, &z, [n, 20], similar, Reduction::Mean);
        }
    }
}

#[test]
fn triplets_of_a_batch_are_those_of_the_formula() {
    agrees::<f32>();
    agrees::<f64>();
}

/// Batches of numbers whose squared distances are exact, and so are often equal.
fn exact<T: Element>([n, d]: [usize; 2], seed: u64) -> Vec<(&'static str, Vec<T>)> {
    let mut random = Random::new(seed);
    let mut batch = |value: &dyn Fn(usize, f64) -> f64| {
        (0..n * d).map(|at| T::from_f64(value(at / d, random.unit()))).collect::<Vec<T>>()
    };
    let level = |low: f64, x: f64| (low + (1.0 - 2.0 * low) * x).floor();
    let mut batches = vec![
        ("signs", batch(&|_, x| if x < 0.5 { -1.0 } else { 1.0 })),
        ("bits", batch(&|_, x| f64::from(x < 0.5))),
        ("levels", batch(&|_, x| level(-3.0, x))),
        ("quarters far from 0", batch(&|_, x| 1000.0 + level(-3.0, x) / 4.0)),
        ("signs and an outlier", {
            batch(&|i, x| if i == 4 { 200.0 } else { 2.0 * f64::from(x < 0.5) - 1.0 })
        }),
    ];
    if d < 10 {
        batches.push(("bytes", batch(&|_, x| level(-127.0, x))));
    }
    // Many rows that are equal.
    let mut repeated = batches[2].1.clone();
    (0..n).for_each(|i| repeated.copy_within(i % 3 * d..(i % 3 + 1) * d, i * d));
    batches.push(("three rows", repeated));
    batches
}

fn ties<T: Element>() {
    for shape @ [n, d] in
        [[5, 2], [7, 4], [50, 32], [64, 8], [100, 32], [128, 5], [200, 16], [256, 32], [60, 140]]
    {
        let labels = labels(n, 8.min(n - 2));
        let ring: Vec<_> = (0..n as u32).map(|i| (i, (i + 3) % n as u32)).collect();
        let graph = Graph::from_pairs(n, &ring).unwrap();
        let some: &[Mining] = if n > 64 { &MININGS[1..] } else { &MININGS };
        for (what, z) in exact::<T>(shape, n as u64) {
            for similar in [Similar::Labels(&labels), Similar::Graph(&graph)] {
                // With a margin of 4, triplets of squared distances are often exactly at it.
                for formula in [TripletFormula::all(0.2)[0], TripletFormula::all(4.0)[2]] {
                    println!("{what}, {n}x{d}");
                    check_of(some, formula, &z, shape, similar, Reduction::MeanNonZero);
                }
            }
        }
    }
}

#[test]
fn equal_distances_are_told_from_larger_ones() {
    ties::<f32>();
    ties::<f64>();
}

fn order<T: Element>() {
    // Equally far negatives cost the same, whichever is taken.
    let shape @ [n, d] = [90, 32];
    let z = &exact::<T>(shape, 3)[0].1;
    let labels = labels(n, 9);
    let loss = TripletMargin::new(T::from_f64(0.2)).unwrap();
    let objective = TripletObjective::sum(&loss);
    let mut order: Vec<usize> = (0..n).collect();
    let mut values = Vec::new();
    for turn in 0..4 {
        order.rotate_left(17 * turn);
        order[..60].reverse();
        let rows: Vec<T> = order.iter().flat_map(|&i| z[i * d..][..d].to_vec()).collect();
        let labels: Vec<i64> = order.iter().map(|&i| labels[i]).collect();
        for isa in tiers() {
            let similar = Similar::Labels(&labels);
            let mining = Mining::SemiHard;
            let (outcome, _) = run(&serial(isa), &objective, (&rows, shape), similar, mining);
            values.push((outcome.pairs, outcome.active, outcome.value));
        }
    }
    let (pairs, active, value) = values[0];
    for &(others, other_active, other) in &values {
        assert_eq!((others, other_active), (pairs, active), "{}", T::NAME);
        assert!((other - value).abs() <= 1e-5 * value, "{}: {values:?}", T::NAME);
    }
}

#[test]
fn what_semi_hard_triplets_cost_does_not_depend_on_the_order_of_rows() {
    order::<f32>();
    order::<f64>();
}

fn close<T: Element>() {
    // Clusters far from each other and from the origin, whose members are close.
    let (n, d) = (60, 12);
    let labels = labels(n, 6);
    for spread in [1e-1, 1e-3, 1e-5] {
        let mut random = Random::new(5);
        let z: Vec<T> = (0..n * d)
            .map(|at| {
                let center = ((labels[at / d] * 13 + (at % d) as i64 * 7) % 5) as f64 * 0.3 + 2.0;
                T::from_f64(center + spread * random.between::<f64>(-1.0, 1.0))
            })
            .collect();
        let rows: Vec<Vec<f64>> = (0..n).map(|i| wide(&z[i * d..][..d])).collect();
        let loss = TripletMargin::new(T::from_f64(4.0)).unwrap();
        let objective = TripletObjective::sum(&loss);
        let all = expected(&rows, Similar::Labels(&labels), Mining::All);
        let Added { grad, largest, .. } = Added::new::<T>(TripletFormula::all(4.0)[0], &rows, &all);
        for isa in tiers() {
            let similar = Similar::Labels(&labels);
            let (_, got) = run(&serial(isa), &objective, (&z, [n, d]), similar, Mining::All);
            // Products take rows up to a thousand times as long as their differences, some ten times.
            let allowed = 1e4 * T::EPSILON.to_f64() * largest;
            for (&got, &expected) in got.iter().zip(&grad) {
                let error = (got.to_f64() - expected).abs();
                assert!(error <= allowed, "spread {spread} on {isa}: {error:e} off");
            }
        }
    }
}

#[test]
fn close_positives_keep_the_precision_of_their_gradient() {
    close::<f32>();
    close::<f64>();
}

fn special<T: Element>() {
    let shape @ [n, d] = [50, 9];
    let labels = labels(n, 4);
    let loss = TripletMargin::new(T::from_f64(0.4)).unwrap();
    let objective = TripletObjective::sum(&loss);
    for (mining, isa) in
        MININGS.into_iter().flat_map(|mining| tiers().into_iter().map(move |isa| (mining, isa)))
    {
        let mut z = points::<T>(shape, 0.0, 7);
        z[20 * d + 3] = T::NAN;
        let call = |z: &[T], similar| run(&serial(isa), &objective, (z, shape), similar, mining);
        let (outcome, grad) = call(&z, Similar::Labels(&labels));
        let case = format!("{mining:?} on {isa}");
        assert!(outcome.value.is_nan(), "{case}: {outcome:?}");
        assert!(grad[20 * d..][..d].iter().all(|g| g.is_nan()), "{case}");
        // Left out, it leaves nothing behind.
        let mut left_out = labels.clone();
        left_out[20] = 77;
        let similar = Similar::LabelsIgnoring { labels: &left_out, ignored: 77 };
        let (outcome, grad) = call(&z, similar);
        assert!(outcome.value.is_finite(), "{case}");
        assert!(grad.iter().all(|g| g.is_finite()), "{case}");
        z[20 * d + 3] = T::ZERO;
        assert_eq!(call(&z, similar).0, outcome, "{case}");
        // Coincident rows have distance 0, and no direction to be moved in.
        let same = vec![T::from_f64(0.3); n * d];
        let (outcome, grad) = call(&same, Similar::Labels(&labels));
        let expected = 0.4 * outcome.pairs as f64;
        assert!((outcome.value - expected).abs() <= 1e-6 * expected, "{case}: {outcome:?}");
        assert!(outcome.pairs > 0, "{case}");
        assert!(grad.iter().all(|&g| g == T::ZERO), "{case}");
    }
}

#[test]
fn nan_is_found_and_coincident_rows_have_no_gradient() {
    special::<f32>();
    special::<f64>();
}

#[test]
fn of_equally_distant_rows_the_first_is_the_hardest() {
    // From the middle both positives, and both negatives, are equally far.
    let z = [0.0_f32, 1.0, -1.0, 2.0, -2.0];
    let labels = [5, 5, 5, 1, 2];
    let loss = TripletMargin::new(10.0_f32).unwrap();
    let objective = TripletObjective::sum(&loss);
    for isa in tiers() {
        let mut grad = [0.0; 5];
        let (z, to) = (Mat::new(&z, 5, 1).unwrap(), MatMut::new(&mut grad, 5, 1).unwrap());
        let (similar, scratch) = (Similar::Labels(&labels), &mut MiningScratch::new());
        triplets(&serial(isa), &objective, z, similar, Mining::Hardest, Some(to), scratch).unwrap();
        // (0, 1, 3), (1, 2, 3) and (2, 1, 4): row 3 is the negative of two anchors.
        assert_eq!(grad[3..], [-2.0, 1.0], "on {isa}");
    }
}

fn shared<T: Element>() {
    let shape = [450, 40];
    let z = points::<T>(shape, 0.5, 9);
    let labels = labels(450, 9);
    let loss = TripletMargin::new(T::from_f64(0.3)).unwrap().swapping();
    let objective = TripletObjective::sum(&loss).reduced(Reduction::MeanNonZero).unwrap();
    for (mining, isa) in
        MININGS.into_iter().flat_map(|mining| tiers().into_iter().map(move |isa| (mining, isa)))
    {
        // The portable tier takes long over ten million triplets.
        if mining == Mining::All && isa != Isa::best() {
            continue;
        }
        let similar = Similar::Labels(&labels);
        let serial = run(&serial(isa), &objective, (&z, shape), similar, mining);
        for threads in [1, 2, 3, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let cx = Cx { isa, par: Par::Rayon };
            let shared = pool.install(|| run(&cx, &objective, (&z, shape), similar, mining));
            assert_eq!(serial.0.value.to_bits(), shared.0.value.to_bits());
            assert_eq!(bits(&serial.1), bits(&shared.1), "{threads} threads, {mining:?} on {isa}");
        }
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    shared::<f32>();
}

#[test]
fn what_does_not_match_is_refused_and_nothing_is_written() {
    let z = vec![0.0_f64; 1025 * 2];
    let loss = TripletMargin::new(1.0).unwrap();
    let objective = TripletObjective::sum(&loss as &dyn BlockTripletLoss<f64>);
    let labels = vec![0; 1025];
    let mut grad = vec![7.0; 1025 * 2];
    let mut call = |n: usize, labels: &[i64], rows: usize, mining| {
        let z = Mat::new(&z[..2 * n], n, 2).unwrap();
        let to = MatMut::new(&mut grad[..2 * rows], rows, 2).unwrap();
        let scratch = &mut MiningScratch::new();
        triplets(&Cx::default(), &objective, z, Similar::Labels(labels), mining, Some(to), scratch)
    };
    for mining in MININGS {
        assert!(matches!(call(5, &labels[..4], 5, mining), Err(Error::Length { .. })));
        assert!(matches!(call(5, &labels[..5], 4, mining), Err(Error::Shape { .. })));
    }
    let error = call(1025, &labels, 1025, Mining::All).unwrap_err();
    assert!(error.to_string().contains("1025"), "{error}");
    assert!(grad.iter().all(|&g| g == 7.0));
}
