//! `batch::all_pairs` against a scalar f64 oracle over every pair: every tier, both precisions, the
//! shapes at which blocks and tiles end, and the batches on which faster formulas go wrong.

#![forbid(unsafe_code)]

mod common;

use std::sync::atomic::{AtomicU64, Ordering};

use common::element::{bits, same};
use common::oracle::{self, squared_distance};
use common::{Element, Guarded, Random, tiers};
use drlim::batch::{AllPairsScratch, all_pairs};
use drlim::loss::{BlockLoss, Objective, Outcome, Reduction};
use drlim::{Cx, Error, Graph, Isa, Mat, MatMut, Par, Similar};

const MARGIN: f64 = 1.0;

fn serial(isa: Isa) -> Cx {
    Cx { isa, par: Par::Serial }
}

/// A batch of rows, some of them in pairs.
struct Batch<T> {
    z: Vec<T>,
    shape: [usize; 2],
}

impl<T: Element> Batch<T> {
    fn new(shape: [usize; 2], value: impl FnMut(usize) -> f64) -> Self {
        let z = (0..shape[0] * shape[1]).map(value).map(T::from_f64).collect();
        Batch { z, shape }
    }

    /// Rows at distances around the margin.
    fn random(shape: [usize; 2], seed: u64) -> Self {
        let mut random = Random::new(seed);
        let reach = (1.5 / shape[1].max(1) as f64).sqrt();
        Batch::new(shape, |_| random.between::<f64>(-reach, reach))
    }

    fn z(&self) -> Mat<'_, T> {
        Mat::new(&self.z, self.shape[0], self.shape[1]).unwrap()
    }

    fn run(&self, cx: &Cx, reduction: Reduction, similar: Similar) -> (Outcome, Vec<T>) {
        let loss = T::contrastive(MARGIN);
        let objective = Objective::sum(&*loss).reduced(reduction);
        let mut grad = vec![T::NAN; self.z.len()];
        let to = MatMut::new(&mut grad, self.shape[0], self.shape[1]).unwrap();
        let mut scratch = AllPairsScratch::new();
        let outcome = all_pairs(cx, &objective, self.z(), similar, Some(to), &mut scratch).unwrap();
        let alone = all_pairs(cx, &objective, self.z(), similar, None, &mut scratch).unwrap();
        assert_eq!(alone.value.to_bits(), outcome.value.to_bits(), "value alone");
        (outcome, grad)
    }

    /// The outcome and, of each element of the gradient, value and size of the terms, from every pair
    /// in scalar f64.
    fn expected(&self, reduction: Reduction, similar: Similar) -> Expected {
        let [n, d] = self.shape;
        let twin = oracle::Contrastive::of::<T>(MARGIN);
        let rows: Vec<Vec<f64>> = self.z().iter().map(common::element::wide).collect();
        let mut sums = drlim::loss::Sums::default();
        let mut pairs = Vec::new();
        for i in 0..n {
            for j in i + 1..n {
                let Some(similar) = similar.of(i, j) else { continue };
                let pair = twin.pair(&rows[i], &rows[j], similar);
                let kind = if similar { &mut sums.similar } else { &mut sums.dissimilar };
                kind.pairs += 1;
                kind.active += u64::from(pair.value != 0.0);
                kind.sum += pair.value;
                pairs.push((i, j, similar, pair));
            }
        }
        let factors = reduction.factors(&sums);
        let mut grad = vec![(0.0, 0.0); n * d];
        for (i, j, similar, pair) in pairs {
            let slope = pair.slope * factors[usize::from(!similar)];
            // How far the slope may be off, as many times the rounding.
            let shaky = twin.tolerance(&pair, d, similar, 1.0).slope * factors[0].max(factors[1]);
            for k in 0..d {
                let difference = rows[i][k] - rows[j][k];
                let (term, size) = (slope * difference, (slope.abs() + shaky) * difference.abs());
                for (row, term) in [(i, term), (j, -term)] {
                    grad[row * d + k].0 += term;
                    grad[row * d + k].1 += size;
                }
            }
        }
        Expected { sums, value: reduction.value(&sums), grad }
    }

    /// Compares a call on every tier with the oracle: the value within rounding, each element of the
    /// gradient within `rounding` times the largest sum of its terms' sizes.
    fn check(&self, reduction: Reduction, similar: Similar, rounding: f64) {
        let expected = self.expected(reduction, similar);
        let epsilon = T::EPSILON.to_f64();
        let largest = expected.grad.iter().fold(0.0_f64, |max, (_, size)| max.max(*size));
        for isa in tiers() {
            let (outcome, grad) = self.run(&serial(isa), reduction, similar);
            let [n, d] = self.shape;
            let case = format!("{n}x{d}, {}, {isa}, {reduction:?}", T::NAME);
            assert_eq!(outcome.pairs, expected.sums.similar.pairs + expected.sums.dissimilar.pairs);
            assert_eq!(outcome.similar, expected.sums.similar.pairs, "{case}");
            let allowed = 8.0 * (d as f64 + 80.0) * epsilon * (1.0 + expected.value.abs());
            let error = (outcome.value - expected.value).abs();
            assert!(error <= allowed, "{case}: value {}, {error:e} off", outcome.value);
            for (at, (got, (expected, _))) in grad.iter().zip(&expected.grad).enumerate() {
                let error = (got.to_f64() - expected).abs();
                let allowed = rounding * epsilon * largest + 1e-30 * largest;
                assert!(error <= allowed, "{case}: gradient {at} is {got}, expected {expected}");
            }
        }
    }
}

struct Expected {
    sums: drlim::loss::Sums,
    value: f64,
    grad: Vec<(f64, f64)>,
}

fn labels(n: usize, classes: usize) -> Vec<i64> {
    (0..n).map(|i| (i * 7919 % classes.max(1)) as i64 - 3).collect()
}

fn agrees_at_every_shape<T: Element>() {
    for n in [0, 1, 2, 3, 17, 31, 32, 33, 64, 65, 129, 257, 300] {
        let labels = labels(n, 5);
        Batch::<T>::random([n, 5], 1).check(Reduction::Sum, Similar::Labels(&labels), 60.0);
    }
    for d in [1, 2, 3, 4, 7, 15, 16, 17, 31, 33, 100, 128, 129, 257] {
        let labels = labels(70, 4);
        Batch::<T>::random([70, d], 2).check(Reduction::Mean, Similar::Labels(&labels), 60.0);
    }
}

#[test]
fn agrees_with_the_oracle_at_every_shape() {
    agrees_at_every_shape::<f32>();
    agrees_at_every_shape::<f64>();
}

/// Eight blocks of as many rows as one has at most, the last of them of few.
fn agrees_with_large_blocks<T: Element>() {
    let labels = labels(900, 11);
    let batch = Batch::<T>::random([900, 6], 12);
    batch.check(Reduction::BalancedNonZero, Similar::Labels(&labels), 60.0);
}

#[test]
fn agrees_with_the_oracle_where_blocks_are_largest() {
    agrees_with_large_blocks::<f32>();
    agrees_with_large_blocks::<f64>();
}

fn agrees_for_every_similar_set<T: Element>(d: usize) {
    let n = 140;
    let batch = Batch::<T>::random([n, d], 3);
    let ring: Vec<(u32, u32)> = (0..n as u32).map(|i| (i, (i * 31 + 1) % n as u32)).collect();
    let ring: Vec<_> = ring.into_iter().filter(|(i, j)| i != j).collect();
    let graph = Graph::from_pairs(n, &ring).unwrap();
    let empty = Graph::from_pairs(n, &[]).unwrap();
    let (few, all, none) = (labels(n, 6), vec![i64::MIN; n], (0..n as i64).collect::<Vec<_>>());
    for reduction in [
        Reduction::Sum,
        Reduction::Mean,
        Reduction::MeanNonZero,
        Reduction::Balanced,
        Reduction::BalancedNonZero,
        Reduction::Factors { similar: 0.25, dissimilar: -3.0 },
    ] {
        for similar in [
            Similar::Labels(&few),
            Similar::Labels(&all),
            Similar::Labels(&none),
            Similar::LabelsIgnoring { labels: &few, ignored: -2 },
            Similar::LabelsIgnoring { labels: &all, ignored: i64::MIN },
            Similar::Graph(&graph),
            Similar::Graph(&empty),
        ] {
            batch.check(reduction, similar, 60.0);
        }
    }
}

#[test]
fn agrees_for_labels_graphs_and_every_reduction() {
    // Up to three elements a row take another course.
    for d in [1, 2, 3, 19] {
        agrees_for_every_similar_set::<f32>(d);
        agrees_for_every_similar_set::<f64>(d);
    }
}

/// The gradient of close pairs is as good as that of differences, however far they are from the
/// origin and from the other rows.
fn close_pairs_keep_their_precision<T: Element>() {
    let (n, d) = (96, 33);
    for spread in [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6] {
        for origin in [0.0, 1.0, 1000.0] {
            let mut random = Random::new(4);
            let center: Vec<f64> = (0..n / 8 * d).map(|_| random.between(-3.0, 3.0)).collect();
            let batch = Batch::<T>::new([n, d], |at| {
                let (row, k) = (at / d, at % d);
                origin + center[row / 8 * d + k] + random.between::<f64>(-spread, spread)
            });
            // Eight rows a cluster, all of one class: only the pull within clusters is there, and
            // each of its elements must be right relative to the terms of its own cluster.
            let classes: Vec<i64> = (0..n as i64).map(|i| i / 8).collect();
            let expected = batch.expected(Reduction::Sum, Similar::Labels(&classes));
            let epsilon = T::EPSILON.to_f64();
            for isa in tiers() {
                let similar = Similar::Labels(&classes);
                let (_, grad) = batch.run(&serial(isa), Reduction::Sum, similar);
                for (cluster, expected) in grad.chunks(8 * d).zip(expected.grad.chunks(8 * d)) {
                    let largest = expected.iter().fold(0.0_f64, |max, (_, size)| max.max(*size));
                    for (got, (expected, _)) in cluster.iter().zip(expected) {
                        let error = (got.to_f64() - expected).abs();
                        // Products of rows as far from the mean as a thousand times a distance
                        // lose three digits, closer pairs none.
                        let allowed = 4000.0 * epsilon * largest;
                        assert!(
                            error <= allowed,
                            "spread {spread} at {origin} on {isa}: {got}, expected {expected}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn close_pairs_of_far_clusters_keep_the_precision_of_their_gradient() {
    close_pairs_keep_their_precision::<f32>();
    close_pairs_keep_their_precision::<f64>();
}

/// The value of two rows is their squared distance, exactly where that can be formed exactly.
#[test]
fn distances_that_cancel_in_products_are_exact() {
    let similar = Similar::Labels(&[1, 1]);
    let value = |x: f32, y: f32, isa| {
        let batch = Batch::<f32> { z: vec![x, 0.0, y, 0.0], shape: [2, 2] };
        let (outcome, grad) = batch.run(&serial(isa), Reduction::Sum, similar);
        assert_eq!(grad, [x - y, 0.0, y - x, 0.0], "{x} and {y} on {isa}");
        outcome.value
    };
    for isa in tiers() {
        assert_eq!(value(512695.0, 512804.0, isa), 109.0 * 109.0 / 2.0);
        assert_eq!(value(1e18, 1e18, isa), 0.0);
        assert_eq!(value(3.0, 3.0, isa), 0.0);
        let tiny = value(3e-18, 5e-18, isa);
        assert!((tiny / 2e-36 - 1.0).abs() < 1e-5, "{tiny:e}");
        let huge = value(1e18, 3e18, isa);
        assert!((huge / 2e36 - 1.0).abs() < 1e-5, "{huge:e}");
    }
}

fn collapsed<T: Element>() {
    for at in [0.0, 0.1, -1e6] {
        let batch = Batch::<T>::new([150, 20], |_| at);
        let classes = labels(150, 2);
        for isa in tiers() {
            let similar = Similar::Labels(&classes);
            let (outcome, grad) = batch.run(&serial(isa), Reduction::Sum, similar);
            let dissimilar = (outcome.pairs - outcome.similar) as f64;
            assert_eq!(outcome.value, dissimilar * MARGIN * MARGIN / 2.0, "at {at} on {isa}");
            assert!(grad.iter().all(|&g| g == T::ZERO), "at {at} on {isa}");
        }
    }
}

#[test]
fn a_collapsed_batch_costs_the_margin_and_has_no_gradient() {
    collapsed::<f32>();
    collapsed::<f64>();
}

/// With `poison` at one coordinate of a row every output depends on it through a dissimilar pair; the
/// rows of a class that has only similar pairs with it depend on it in that coordinate alone.
fn poisoned<T: Element>(d: usize) {
    let (n, row, k) = (70, 37, d / 2);
    for isa in tiers() {
        let mut batch = Batch::<T>::random([n, d], 5);
        batch.z[row * d + k] = T::NAN;
        let one_class = vec![0; n];
        let (outcome, grad) = batch.run(&serial(isa), Reduction::Sum, Similar::Labels(&one_class));
        assert!(outcome.value.is_nan());
        for (at, g) in grad.iter().enumerate() {
            assert_eq!(g.is_nan(), at % d == k, "similar pairs: gradient {at} is {g} on {isa}");
        }

        // Left out, it leaves nothing behind.
        let mut left_out = labels(n, 5);
        left_out[row] = 100;
        let similar = Similar::LabelsIgnoring { labels: &left_out, ignored: 100 };
        let (outcome, grad) = batch.run(&serial(isa), Reduction::BalancedNonZero, similar);
        assert!(outcome.value.is_finite(), "{outcome:?} on {isa}");
        assert!(grad[row * d..][..d].iter().all(|&g| g == T::ZERO), "the row left out on {isa}");
        assert!(grad.iter().all(|g| g.is_finite()), "a row left out is found in others on {isa}");
        let mut without = batch.z.clone();
        without[row * d + k] = T::ZERO;
        let (same_value, same_grad) = Batch { z: without, shape: [n, d] }.run(
            &serial(isa),
            Reduction::BalancedNonZero,
            similar,
        );
        assert_eq!(outcome, same_value);
        let close = |(a, b): (&T, &T)| (*a - *b).abs() <= T::from_f64(1e-5);
        assert!(grad.iter().zip(&same_grad).all(close));

        // A dissimilar pair's slope is NaN, and every row is in one.
        let classes = labels(n, 5);
        let (_, grad) = batch.run(&serial(isa), Reduction::Sum, Similar::Labels(&classes));
        let of_others = (0..n).filter(|&i| classes[i] != classes[row]);
        assert!(of_others.flat_map(|i| &grad[i * d..][..d]).all(|g| g.is_nan()), "on {isa}");

        // At infinity a dissimilar pair is far apart, and a similar one pulls without end.
        batch.z[row * d + k] = T::INFINITY;
        let (_, grad) = batch.run(&serial(isa), Reduction::Sum, Similar::Labels(&one_class));
        for (at, &g) in grad.iter().enumerate() {
            let expected = match (at / d == row, at % d == k) {
                (true, true) => g == T::INFINITY,
                (false, true) => g == -T::INFINITY,
                _ => g.is_finite(),
            };
            assert!(expected, "gradient {at} is {g} on {isa}");
        }
        let apart: Vec<i64> = (0..n as i64).collect();
        let (_, grad) = batch.run(&serial(isa), Reduction::Sum, Similar::Labels(&apart));
        assert!(grad[row * d..][..d].iter().all(|&g| g == T::ZERO), "the row far away on {isa}");
        assert!(grad.iter().all(|g| g.is_finite()), "a slope of 0 times infinity on {isa}");
    }
}

#[test]
fn nan_and_infinity_reach_what_depends_on_them_and_nothing_else() {
    // Up to three elements a row take another course, to the same end.
    for d in [1, 2, 3, 20] {
        poisoned::<f32>(d);
        poisoned::<f64>(d);
    }
}

fn independent_of_threads<T: Element>() {
    let batch = Batch::<T>::random([517, 40], 6);
    let classes = labels(517, 9);
    for isa in tiers() {
        let similar = Similar::Labels(&classes);
        let serial = batch.run(&serial(isa), Reduction::MeanNonZero, similar);
        for threads in [1, 2, 3, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let cx = Cx { isa, par: Par::Rayon };
            let shared = pool.install(|| batch.run(&cx, Reduction::MeanNonZero, similar));
            assert_eq!(serial.0.value.to_bits(), shared.0.value.to_bits());
            assert_eq!(bits(&serial.1), bits(&shared.1), "{threads} threads on {isa}");
        }
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    independent_of_threads::<f32>();
    independent_of_threads::<f64>();
}

fn strided<T: Element>() {
    let shape = [75, 21];
    let batch = Batch::<T>::random(shape, 7);
    let classes = labels(75, 3);
    let similar = Similar::Labels(&classes);
    let loss = T::contrastive(MARGIN);
    for isa in tiers() {
        let expected = batch.run(&serial(isa), Reduction::Sum, similar);
        for (offset, gap) in [(0, 1), (3, 11), (15, 0)] {
            let z = Guarded::new(offset, shape, 21 + gap, |i, k| batch.z[i * 21 + k]);
            let mut grad = Guarded::output(offset + 1, shape, 21 + gap);
            let objective = Objective::sum(&*loss);
            let (cx, to) = (serial(isa), Some(grad.mat_mut()));
            let mut scratch = AllPairsScratch::new();
            let outcome = all_pairs(&cx, &objective, z.mat(), similar, to, &mut scratch).unwrap();
            assert_eq!(outcome, expected.0);
            assert_eq!(grad.bits(), bits(&expected.1), "gap {gap} on {isa}");
            grad.check("grad");
        }
    }
}

#[test]
fn rows_may_be_strided_and_misaligned() {
    strided::<f32>();
    strided::<f64>();
}

#[test]
fn scale_multiplies_gradients_alone_and_scratch_serves_batches_of_any_size() {
    let mut scratch = AllPairsScratch::new();
    let loss = f64::contrastive(MARGIN);
    let (whole, half) = (Objective::sum(&*loss), Objective::sum(&*loss).scaled(0.5));
    let cx = Cx::default();
    for (n, d) in [(200, 30), (3, 2), (90, 70)] {
        let batch = Batch::<f64>::random([n, d], 8);
        let classes = labels(n, 4);
        let similar = Similar::Labels(&classes);
        let (mut one, mut other) = (vec![f64::NAN; n * d], vec![f64::NAN; n * d]);
        let to = Some(MatMut::new(&mut one, n, d).unwrap());
        let value = all_pairs(&cx, &whole, batch.z(), similar, to, &mut scratch).unwrap();
        let to = Some(MatMut::new(&mut other, n, d).unwrap());
        let scaled = all_pairs(&cx, &half, batch.z(), similar, to, &mut scratch).unwrap();
        assert_eq!(value, scaled);
        assert!(one.iter().zip(&other).all(|(&one, &other)| same(0.5 * one, other)));
    }
}

#[test]
fn what_does_not_match_is_refused_and_nothing_is_written() {
    let loss = f32::contrastive(MARGIN);
    let objective = Objective::sum(&*loss);
    let z = [0.0_f32; 12];
    let z = Mat::new(&z, 4, 3).unwrap();
    let mut scratch = AllPairsScratch::new();
    let cx = Cx::default();
    let error = all_pairs(&cx, &objective, z, Similar::Labels(&[1; 3]), None, &mut scratch);
    let message = "all_pairs: similar has 3 elements, expected 4 (the rows of z)";
    assert_eq!(error.unwrap_err().to_string(), message);
    let mut grad = [7.0_f32; 12];
    let to = Some(MatMut::new(&mut grad, 3, 4).unwrap());
    let error = all_pairs(&cx, &objective, z, Similar::Labels(&[1; 4]), to, &mut scratch);
    assert!(matches!(error, Err(Error::Shape { arg: "grad", got: [3, 4], .. })));
    assert_eq!(grad, [7.0; 12]);
}

#[test]
fn rows_without_elements_are_coincident() {
    let loss = f32::contrastive(MARGIN);
    let objective = Objective::sum(&*loss);
    let z = Mat::new(&[], 5, 0).unwrap();
    let similar = Similar::Labels(&[0, 1, 2, 3, 3]);
    for isa in tiers() {
        let grad = Some(MatMut::new(&mut [], 5, 0).unwrap());
        let mut scratch = AllPairsScratch::new();
        let outcome = all_pairs(&serial(isa), &objective, z, similar, grad, &mut scratch).unwrap();
        assert_eq!(outcome.value, 9.0 / 2.0);
    }
    assert_eq!(squared_distance(&[], &[]), 0.0);
}

/// A loss that does not say how far it reaches, so that nothing is skipped.
struct Unbounded<T>(Box<dyn BlockLoss<T>>);

macro_rules! unbounded {
    ($t:ident) => {
        impl BlockLoss<$t> for Unbounded<$t> {
            fn eval_block(&self, isa: Isa, d2: &mut [$t], similar: &[bool], values: &mut [$t]) {
                self.0.eval_block(isa, d2, similar, values);
            }
            fn pull_block(&self) -> Option<$t> {
                self.0.pull_block()
            }
        }
    };
}
unbounded!(f32);
unbounded!(f64);

fn skipping_changes_nothing<T: Element>()
where
    Unbounded<T>: BlockLoss<T>,
{
    let (n, classes) = (400, 16);
    for d in [2, 3, 20] {
        // Neighbouring classes lie just within reach, just out of it, or far away.
        for apart in [0.5, 0.999, 1.0, 1.001, 1.5, 10.0] {
            for poison in [T::ZERO, T::NAN, T::INFINITY] {
                let labels = labels(n, classes);
                let mut random = Random::new(9);
                let mut batch = Batch::<T>::new([n, d], |at| {
                    let center = if at % d == 0 { labels[at / d] as f64 * apart } else { 0.0 };
                    center + random.between::<f64>(-1e-3, 1e-3)
                });
                batch.z[50 * d] += poison;
                let similar = Similar::Labels(&labels);
                let (bounded, unbounded) =
                    (T::contrastive(MARGIN), Unbounded(T::contrastive(MARGIN)));
                let call = |loss: &dyn BlockLoss<T>, isa| {
                    let objective = Objective::sum(loss).reduced(Reduction::Balanced);
                    let mut grad = vec![T::NAN; n * d];
                    let to = Some(MatMut::new(&mut grad, n, d).unwrap());
                    let mut scratch = AllPairsScratch::new();
                    let cx = serial(isa);
                    let outcome =
                        all_pairs(&cx, &objective, batch.z(), similar, to, &mut scratch).unwrap();
                    (outcome, grad)
                };
                for isa in tiers() {
                    let (skipped, grad) = call(&*bounded, isa);
                    let (whole, expected) = call(&unbounded, isa);
                    let case = format!("{apart} apart, {poison}, D = {d} on {isa}");
                    assert!(same(skipped.value, whole.value), "{case}");
                    assert_eq!(skipped.pairs, whole.pairs, "{case}");
                    assert_eq!(skipped.active, whole.active, "{case}");
                    assert!(grad.iter().zip(&expected).all(|(&g, &e)| same(g, e)), "{case}");
                }
            }
        }
    }
}

#[test]
fn skipping_what_is_out_of_reach_changes_no_bit() {
    skipping_changes_nothing::<f32>();
    skipping_changes_nothing::<f64>();
}

/// A loss that counts the pairs it sees, and says how far it reaches where it is asked to.
struct Counting<T> {
    loss: Box<dyn BlockLoss<T>>,
    bounded: bool,
    seen: AtomicU64,
}

macro_rules! counting {
    ($t:ident) => {
        impl BlockLoss<$t> for Counting<$t> {
            fn eval_block(&self, isa: Isa, d2: &mut [$t], similar: &[bool], values: &mut [$t]) {
                self.seen.fetch_add(d2.len() as u64, Ordering::Relaxed);
                self.loss.eval_block(isa, d2, similar, values);
            }
            fn reach_block(&self) -> Option<$t> {
                self.loss.reach_block().filter(|_| self.bounded)
            }
        }
    };
}
counting!(f32);
counting!(f64);

fn skips_by_distance<T: Element>(d: usize)
where
    Counting<T>: BlockLoss<T>,
{
    let n = 400;
    let all = (n * (n - 1) / 2) as u64;
    let labels = labels(n, 16);
    let similar = Similar::Labels(&labels);
    for (isa, gradient) in tiers().into_iter().flat_map(|isa| [(isa, false), (isa, true)]) {
        let case = format!("{d} columns in {} on {isa}, gradient {gradient}", T::NAME);
        // The classes lie on a line, each within 1e-3.
        let seen = |apart: f64, bounded: bool| {
            let mut random = Random::new(10);
            let batch = Batch::<T>::new([n, d], |at| {
                let center = if at % d == 0 { labels[at / d] as f64 * apart } else { 0.0 };
                center + random.between::<f64>(-1e-3, 1e-3)
            });
            let loss = Counting { loss: T::contrastive(MARGIN), bounded, seen: AtomicU64::new(0) };
            let objective = Objective::sum(&loss);
            let mut grad = vec![T::NAN; n * d];
            let to = gradient.then(|| MatMut::new(&mut grad, n, d).unwrap());
            let mut scratch = AllPairsScratch::new();
            let outcome = all_pairs(&serial(isa), &objective, batch.z(), similar, to, &mut scratch);
            assert_eq!(outcome.unwrap().pairs, all, "{case}");
            loss.seen.into_inner()
        };
        // What fills tiles up is seen as well.
        let whole = seen(0.01, false);
        assert!(whole >= all, "{case}: only {whole} of {all} pairs are seen");
        assert_eq!(seen(0.01, true), whole, "{case}: near classes");
        assert_eq!(seen(10.0, false), whole, "{case}: no reach is known");
        let far = seen(10.0, true);
        assert!(
            far < all / 2,
            "{case}: {far} of {all} pairs are seen, though most are out of reach"
        );
    }
}

#[test]
fn pairs_out_of_reach_are_not_even_measured() {
    skips_by_distance::<f32>(20);
    skips_by_distance::<f64>(20);
}

#[test]
fn planar_pairs_out_of_reach_are_not_even_measured() {
    for d in 1..=3 {
        skips_by_distance::<f32>(d);
        skips_by_distance::<f64>(d);
    }
}

/// A factor that is not finite turns slopes of 0 into NaN, so nothing may be skipped then.
#[test]
fn factors_that_are_not_finite_reach_every_pair() {
    let (n, d) = (64, 20);
    let batch = Batch::<f32>::new([n, d], |at| if at / d < n / 2 { 0.0 } else { 100.0 });
    let labels: Vec<i64> = (0..n as i64).map(|i| i / (n as i64 / 2)).collect();
    for isa in tiers() {
        let reduction = Reduction::Factors { similar: 1.0, dissimilar: f64::NAN };
        let (_, grad) = batch.run(&serial(isa), reduction, Similar::Labels(&labels));
        assert!(grad.iter().all(|g| g.is_nan()), "{isa}");
    }
}

/// Values whose sum overflows an element, but not the value of the call.
#[test]
fn large_values_add_up_beyond_their_type() {
    let n = 200;
    let batch = Batch::<f32>::new([n, 5], |at| if at / 5 % 2 == 0 { 2e18 } else { -2e18 });
    let expected = batch.expected(Reduction::Sum, Similar::Labels(&vec![1; n])).value;
    for isa in tiers() {
        let (outcome, _) = batch.run(&serial(isa), Reduction::Sum, Similar::Labels(&vec![1; n]));
        assert!((outcome.value / expected - 1.0).abs() < 1e-5, "{} on {isa}", outcome.value);
    }
}
