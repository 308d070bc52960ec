//! `batch::cross` against a scalar f64 oracle over every pair of a query and a key, and against
//! `all_pairs` of both in one batch: every tier, both precisions, the shapes at which blocks end.

#![forbid(unsafe_code)]

mod common;

use common::element::{bits, wide};
use common::oracle::Contrastive;
use common::{Element, Guarded, Random, tiers};
use drlim::batch::{AllPairsScratch, CrossOut, CrossScratch, CrossSimilar, all_pairs, cross};
use drlim::loss::{Objective, Outcome, Reduction, Sums};
use drlim::{Cx, Error, Graph, Isa, Mat, MatMut, Par, Similar};
use proptest::prelude::*;

const MARGIN: f64 = 1.0;

/// Every reduction, `Factors` with factors that no count gives.
const REDUCTIONS: [Reduction; 6] = [
    Reduction::Sum,
    Reduction::Mean,
    Reduction::MeanNonZero,
    Reduction::Balanced,
    Reduction::BalancedNonZero,
    Reduction::Factors { similar: 0.25, dissimilar: -3.0 },
];

fn serial(isa: Isa) -> Cx {
    Cx { isa, par: Par::Serial }
}

/// Queries and keys, and of which samples.
struct Sides<T> {
    z: [Vec<T>; 2],
    rows: [usize; 2],
    d: usize,
}

impl<T: Element> Sides<T> {
    /// Rows at distances around the margin, some of the keys the same as queries.
    fn random(rows: [usize; 2], d: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let reach = (1.5 / d.max(1) as f64).sqrt();
        let mut z = rows.map(|n| (0..n * d).map(|_| random.between(-reach, reach)).collect());
        let [queries, keys]: &mut [Vec<T>; 2] = &mut z;
        for row in (0..rows[0].min(rows[1])).step_by(5) {
            keys[row * d..(row + 1) * d].copy_from_slice(&queries[row * d..(row + 1) * d]);
        }
        Sides { z, rows, d }
    }

    fn mat(&self, side: usize) -> Mat<'_, T> {
        Mat::new(&self.z[side], self.rows[side], self.d).unwrap()
    }

    /// A call for both gradients. Each alone, and the value alone, are the same.
    fn run(&self, cx: &Cx, reduction: Reduction, of: (CrossSimilar, Option<usize>)) -> Called<T> {
        let loss = T::contrastive(MARGIN);
        let objective = Objective::sum(&*loss).reduced(reduction);
        let mut scratch = CrossScratch::new();
        let mut call = |wanted: [bool; 2]| {
            let mut grads = self.z.each_ref().map(|z| vec![T::NAN; z.len()]);
            let [queries, keys] = &mut grads;
            let to = |grad, side: usize| MatMut::new(grad, self.rows[side], self.d).unwrap();
            let out = CrossOut {
                grad_queries: wanted[0].then(|| to(queries, 0)),
                grad_keys: wanted[1].then(|| to(keys, 1)),
            };
            let [queries, keys] = [self.mat(0), self.mat(1)];
            let (similar, own) = of;
            let outcome =
                cross(cx, &objective, queries, keys, similar, own, out, &mut scratch).unwrap();
            Called { outcome, grads }
        };
        let both = call([true; 2]);
        for (wanted, side) in [([true, false], 0), ([false, true], 1)] {
            let one = call(wanted);
            assert_eq!(bits(&one.grads[side]), bits(&both.grads[side]), "the gradient alone");
            assert!(one.grads[1 - side].iter().all(|g| g.is_nan()), "not asked for");
            assert_eq!(one.outcome.value.to_bits(), both.outcome.value.to_bits());
        }
        let none = call([false; 2]).outcome;
        assert_eq!(none.value.to_bits(), both.outcome.value.to_bits(), "the value alone");
        both
    }

    /// What each pair of samples costs, in scalar f64.
    fn expected(
        &self,
        reduction: Reduction,
        kind: &dyn Fn(usize, usize) -> Option<bool>,
    ) -> Expected {
        let (twin, d) = (Contrastive::of::<T>(MARGIN), self.d);
        let [queries, keys] =
            [0, 1].map(|side| self.mat(side).iter().map(wide).collect::<Vec<Vec<f64>>>());
        let (mut sums, mut pairs) = (Sums::default(), Vec::new());
        for (i, query) in queries.iter().enumerate() {
            for (j, key) in keys.iter().enumerate() {
                let Some(similar) = kind(i, j) else { continue };
                let pair = twin.pair(query, key, similar);
                let of = if similar { &mut sums.similar } else { &mut sums.dissimilar };
                of.pairs += 1;
                of.active += u64::from(pair.value != 0.0);
                of.sum += pair.value;
                pairs.push((i, j, similar, pair));
            }
        }
        let (factors, epsilon) = (reduction.factors(&sums), T::EPSILON.to_f64());
        let mut grads = self.rows.map(|n| vec![0.0; n * d]);
        let mut sizes = self.rows.map(|n| vec![0.0; n * d]);
        for (i, j, similar, pair) in pairs {
            let slope = pair.slope * factors[usize::from(!similar)];
            // How far the slope may be off, as many times the rounding.
            let shaky = twin.tolerance(&pair, d, similar, epsilon).slope / epsilon;
            let shaky = shaky * factors[0].abs().max(factors[1].abs());
            for k in 0..d {
                let difference = queries[i][k] - keys[j][k];
                for (side, at, sign) in [(0, i * d + k, 1.0), (1, j * d + k, -1.0)] {
                    grads[side][at] += sign * slope * difference;
                    sizes[side][at] += (slope.abs() + shaky) * difference.abs();
                }
            }
        }
        let largest = sizes.iter().flatten().fold(0.0_f64, |max, size| max.max(*size));
        Expected { sums, value: reduction.value(&sums), grads, largest }
    }

    /// Compares a call on every tier with the oracle.
    fn check(
        &self,
        reduction: Reduction,
        of: (CrossSimilar, Option<usize>),
        kind: &dyn Fn(usize, usize) -> Option<bool>,
    ) {
        self.check_within(60.0, reduction, of, kind);
    }

    /// As [`check`](Sides::check), gradients within so many roundings of the largest sum of terms.
    fn check_within(
        &self,
        rounding: f64,
        reduction: Reduction,
        of: (CrossSimilar, Option<usize>),
        kind: &dyn Fn(usize, usize) -> Option<bool>,
    ) {
        let expected = self.expected(reduction, kind);
        let [n, m] = self.rows;
        for isa in tiers() {
            let case = format!("{n} and {m} x{}, {}, {isa}, {reduction:?}", self.d, T::NAME);
            let called = self.run(&serial(isa), reduction, of);
            called.check(&expected, (self.d, rounding), &case);
        }
    }
}

struct Called<T> {
    outcome: Outcome,
    grads: [Vec<T>; 2],
}

struct Expected {
    sums: Sums,
    value: f64,
    grads: [Vec<f64>; 2],
    /// Of all elements of gradients, the most that the sizes of their terms add up to.
    largest: f64,
}

impl<T: Element> Called<T> {
    fn check(&self, expected: &Expected, (d, rounding): (usize, f64), case: &str) {
        let (got, sums) = (&self.outcome.sums, &expected.sums);
        assert_eq!(got.similar.pairs, sums.similar.pairs, "{case}");
        assert_eq!(got.dissimilar.pairs, sums.dissimilar.pairs, "{case}");
        assert_eq!(got.similar.active, sums.similar.active, "{case}");
        let epsilon = T::EPSILON.to_f64();
        let allowed = 8.0 * (d as f64 + 80.0) * epsilon * (1.0 + expected.value.abs());
        let error = (self.outcome.value - expected.value).abs();
        assert!(error <= allowed, "{case}: value {}, {error:e} off", self.outcome.value);
        for (side, (got, expected_grad)) in self.grads.iter().zip(&expected.grads).enumerate() {
            for (at, (got, expected_here)) in got.iter().zip(expected_grad).enumerate() {
                let error = (got.to_f64() - expected_here).abs();
                let allowed = rounding * epsilon * expected.largest;
                assert!(error <= allowed, "{case}: side {side}, {at}: {got}, not {expected_here}");
            }
        }
    }
}

/// Labels of a side, in turn.
fn labels(n: usize, classes: usize) -> Vec<i64> {
    (0..n).map(|i| (i * 7919 % classes) as i64 - 3).collect()
}

/// What two samples are by their labels.
fn by_labels<'l>(
    of: [&'l [i64]; 2],
    ignored: Option<i64>,
    own: Option<usize>,
) -> impl Fn(usize, usize) -> Option<bool> + 'l {
    move |i, j| {
        let [a, b] = [of[0][i], of[1][j]];
        let none = Some(a) == ignored || Some(b) == ignored || own.is_some_and(|own| own + i == j);
        (!none).then_some(a == b)
    }
}

/// What samples are in a graph, from a first one on each side.
fn by_graph(graph: &Graph, first: [usize; 2]) -> impl Fn(usize, usize) -> Option<bool> {
    move |i, j| {
        let (a, b) = (first[0] + i, first[1] + j);
        (a != b).then(|| graph.contains(a, b))
    }
}

fn agrees_at_every_shape<T: Element>() {
    let sizes = [0, 1, 2, 31, 33, 65, 129, 300];
    for (n, m) in sizes.into_iter().flat_map(|n| sizes.map(|m| (n, m))) {
        let [of_n, of_m] = [labels(n, 4), labels(m, 5)];
        let similar = CrossSimilar::Labels { queries: &of_n, keys: &of_m, ignored: None };
        let kind = by_labels([&of_n, &of_m], None, None);
        Sides::<T>::random([n, m], 5, 1).check(Reduction::Balanced, (similar, None), &kind);
    }
    for d in [1, 2, 3, 4, 16, 33, 128, 257] {
        let [of_n, of_m] = [labels(70, 4), labels(45, 4)];
        let similar = CrossSimilar::Labels { queries: &of_n, keys: &of_m, ignored: None };
        let kind = by_labels([&of_n, &of_m], None, None);
        Sides::<T>::random([70, 45], d, 2).check(Reduction::Mean, (similar, None), &kind);
    }
}

#[test]
fn agrees_with_the_oracle_at_every_shape() {
    agrees_at_every_shape::<f32>();
    agrees_at_every_shape::<f64>();
}

/// A ring with chords.
fn ring(n: usize) -> Graph {
    let chords = (0..n as u32).map(|i| (i, (i * 31 + 1) % n as u32));
    let pairs: Vec<_> = chords.chain((1..n as u32).map(|i| (i - 1, i))).collect();
    let pairs: Vec<_> = pairs.into_iter().filter(|(i, j)| i != j).collect();
    Graph::from_pairs(n, &pairs).unwrap()
}

fn agrees_for_every_similar_set<T: Element>(d: usize) {
    let [n, m] = [50, 140];
    let sides = Sides::<T>::random([n, m], d, 3);
    let [of_n, of_m] = [labels(n, 6), labels(m, 4)];
    let (one, others) = (vec![9; n], (100..100 + m as i64).collect::<Vec<_>>());
    let graph = ring(400);
    for reduction in REDUCTIONS {
        for (queries, keys, ignored) in [
            (&of_n, &of_m, None),
            (&of_n, &of_m, Some(-2)),
            (&one, &of_m, Some(9)),
            (&one, &others, None),
            (&one, &vec![9; m], None),
        ] {
            for own in [None, Some(0), Some(17), Some(m - n)] {
                let similar = CrossSimilar::Labels { queries, keys, ignored };
                let kind = by_labels([queries, keys], ignored, own);
                sides.check(reduction, (similar, own), &kind);
            }
        }
        // Samples apart, the queries among the keys, and keys that begin amid the queries.
        for first in [[0, 200], [300, 220], [350, 210], [100, 120], [260, 260]] {
            let [first_query, first_key] = first;
            let similar = CrossSimilar::Graph { graph: &graph, first_query, first_key };
            let own = first_query.checked_sub(first_key).filter(|own| own + n <= m);
            for own in [None, own] {
                sides.check(reduction, (similar, own), &by_graph(&graph, first));
            }
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

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn agrees_for_any_batches(
        queries in prop::collection::vec(0_i64..5, 0..80),
        keys in prop::collection::vec(0_i64..5, 0..150),
        ignored in prop::option::of(0_i64..5),
        own in prop::option::of(any::<prop::sample::Index>()),
        first in [0_usize..300, 0..300],
        d in 1_usize..40,
        reduction in prop::sample::select(&REDUCTIONS[..]),
        seed: u64,
    ) {
        let [n, m] = [queries.len(), keys.len()];
        let sides = Sides::<f32>::random([n, m], d, seed);
        let own = own.filter(|_| n <= m).map(|own| own.index(m - n + 1));
        let similar = CrossSimilar::Labels { queries: &queries, keys: &keys, ignored };
        sides.check(reduction, (similar, own), &by_labels([&queries, &keys], ignored, own));
        let (graph, [first_query, first_key]) = (ring(450), first);
        let similar = CrossSimilar::Graph { graph: &graph, first_query, first_key };
        sides.check(reduction, (similar, None), &by_graph(&graph, first));
    }
}

/// Classes so large that spheres around them tell what is out of reach.
fn agrees_where_classes_are_apart<T: Element>(d: usize) {
    let (n, m) = (150, 260);
    let [of_n, of_m] = [labels(n, 4), labels(m, 4)];
    let mut random = Random::new(4);
    for apart in [0.9, 1.1, 10.0] {
        let mut sides = Sides::<T>::random([n, m], d, 5);
        for (z, labels) in sides.z.iter_mut().zip([&of_n, &of_m]) {
            for (at, z) in z.iter_mut().enumerate() {
                let center = if at % d == 0 { labels[at / d] as f64 * apart } else { 0.0 };
                *z = T::from_f64(center + random.between::<f64>(-1e-2, 1e-2));
            }
        }
        let similar = CrossSimilar::Labels { queries: &of_n, keys: &of_m, ignored: None };
        let kind = by_labels([&of_n, &of_m], None, Some(3));
        // Products lose some roundings times what rows are from the mean over their distance.
        let (reduction, of) = (Reduction::BalancedNonZero, (similar, Some(3)));
        sides.check_within(8000.0, reduction, of, &kind);
    }
}

#[test]
fn agrees_where_classes_are_out_of_each_others_reach() {
    for d in [2, 20] {
        agrees_where_classes_are_apart::<f32>(d);
        agrees_where_classes_are_apart::<f64>(d);
    }
}

/// The gradient of close pairs is as good as that of differences, however far they are from the
/// origin and from other rows: eight rows of each side in a cluster, all of one class.
fn close_pairs_keep_their_precision<T: Element>() {
    let ([n, m], d) = ([64, 160], 33);
    let [of_n, of_m] = [n, m].map(|rows| (0..rows as i64).map(|i| i / 8).collect::<Vec<_>>());
    let similar = CrossSimilar::Labels { queries: &of_n, keys: &of_m, ignored: None };
    let kind = by_labels([&of_n, &of_m], None, None);
    for spread in [1e-1, 1e-3, 1e-4, 1e-6] {
        for origin in [0.0, 1.0, 1000.0, 1e6] {
            let mut random = Random::new(11);
            let center: Vec<f64> = (0..m / 8 * d).map(|_| random.between(-3.0, 3.0)).collect();
            let z = [n, m].map(|rows| {
                let near = |at: usize| center[at / d / 8 * d + at % d];
                let within = |at| origin + near(at) + random.between::<f64>(-spread, spread);
                (0..rows * d).map(within).map(T::from_f64).collect::<Vec<T>>()
            });
            let sides = Sides { z, rows: [n, m], d };
            let expected = sides.expected(Reduction::Sum, &kind);
            // Products of rows as far from the mean as a thousand times a distance lose three
            // digits, closer pairs none.
            let allowed = 4000.0 * T::EPSILON.to_f64() * expected.largest;
            for isa in tiers() {
                let called = sides.run(&serial(isa), Reduction::Sum, (similar, None));
                for (got, expected) in called.grads.concat().iter().zip(expected.grads.concat()) {
                    let error = (got.to_f64() - expected).abs();
                    let case = format!("{spread} at {origin}, {} on {isa}", T::NAME);
                    assert!(error <= allowed, "{case}: {got}, not {expected}");
                }
                let error = (called.outcome.value - expected.value).abs();
                assert!(error <= 2e-4 * expected.value, "value {}", called.outcome.value);
            }
        }
    }
}

#[test]
fn close_pairs_of_far_clusters_keep_the_precision_of_their_gradient() {
    close_pairs_keep_their_precision::<f32>();
    close_pairs_keep_their_precision::<f64>();
}

/// All pairs of a batch are those of its parts and those between them.
fn adds_up_to_all_pairs<T: Element>() {
    let (n, m, d) = (70, 130, 21);
    let sides = Sides::<T>::random([n, m], d, 6);
    let classes = labels(n + m, 7);
    let graph = ring(n + m);
    let whole = sides.z.concat();
    let loss = T::contrastive(MARGIN);
    for (isa, reduction) in tiers().into_iter().flat_map(|isa| REDUCTIONS.map(|r| (isa, r))) {
        let cx = serial(isa);
        let all = |objective: &Objective<T>, z: Mat<T>, similar: Similar| {
            let mut grad = vec![T::NAN; z.rows() * d];
            let to = Some(MatMut::new(&mut grad, z.rows(), d).unwrap());
            let mut scratch = AllPairsScratch::new();
            (all_pairs(&cx, objective, z, similar, to, &mut scratch).unwrap(), grad)
        };
        let edges = |of: std::ops::Range<usize>| {
            let within = |i: &u32| of.contains(&(*i as usize));
            let pairs = graph.pairs().filter(|(i, j)| within(i) && within(j));
            let first = of.start as u32;
            let pairs: Vec<_> = pairs.map(|(i, j)| (i - first, j - first)).collect();
            Graph::from_pairs(of.len(), &pairs).unwrap()
        };
        let parts = [edges(0..n), edges(n..n + m)];
        let (of_a, of_b) = classes.split_at(n);
        for by_graph in [false, true] {
            let of = |labels, graph| match by_graph {
                false => Similar::Labels(labels),
                true => Similar::Graph(graph),
            };
            let between = match by_graph {
                false => CrossSimilar::Labels { queries: of_a, keys: of_b, ignored: None },
                true => CrossSimilar::Graph { graph: &graph, first_query: 0, first_key: n },
            };
            let objective = Objective::sum(&*loss).reduced(reduction);
            let z = Mat::new(&whole, n + m, d).unwrap();
            let (expected, expected_grad) = all(&objective, z, of(&classes, &graph));
            // The sums of all parts give the factors that each part's gradient takes.
            let a = all(&objective, sides.mat(0), of(of_a, &parts[0])).0;
            let b = all(&objective, sides.mat(1), of(of_b, &parts[1])).0;
            let ab = sides.run(&cx, reduction, (between, None)).outcome;
            let sums = a.sums + b.sums + ab.sums;
            let case = format!("{reduction:?}, graph: {by_graph}, {} on {isa}", T::NAME);
            for (got, expected) in
                [(sums.similar, expected.sums.similar), (sums.dissimilar, expected.sums.dissimilar)]
            {
                assert_eq!((got.pairs, got.active), (expected.pairs, expected.active), "{case}");
            }
            let epsilon = T::EPSILON.to_f64();
            let error = (reduction.value(&sums) - expected.value).abs();
            assert!(error <= 100.0 * epsilon * expected.value.abs(), "{case}: {error:e}");
            let [similar, dissimilar] = reduction.factors(&sums);
            let factors = Reduction::Factors { similar, dissimilar };
            let part = Objective::sum(&*loss).reduced(factors);
            let a = all(&part, sides.mat(0), of(of_a, &parts[0])).1;
            let b = all(&part, sides.mat(1), of(of_b, &parts[1])).1;
            let ab = sides.run(&cx, factors, (between, None)).grads;
            let largest = expected_grad.iter().fold(0.0_f64, |max, g| max.max(g.to_f64().abs()));
            let got = a.into_iter().chain(b).zip(ab.concat()).map(|(one, other)| one + other);
            for (at, (got, expected)) in got.zip(expected_grad).enumerate() {
                let error = (got.to_f64() - expected.to_f64()).abs();
                let allowed = 1000.0 * epsilon * largest;
                assert!(error <= allowed, "{case}: gradient {at} is {got}, not {expected}");
            }
        }
    }
}

#[test]
fn parts_and_what_is_between_them_add_up_to_the_whole() {
    adds_up_to_all_pairs::<f32>();
    adds_up_to_all_pairs::<f64>();
}

/// A NaN in a query reaches all keys that it has a pair with, and no other query.
fn poisoned<T: Element>(d: usize) {
    let (n, m, row, k) = (40, 70, 13, d / 2);
    let mut sides = Sides::<T>::random([n, m], d, 7);
    sides.z[0][row * d + k] = T::NAN;
    let [mut of_n, of_m] = [vec![0; n], vec![0; m]];
    for isa in tiers() {
        let run = |sides: &Sides<T>, queries: &[i64], ignored| {
            let similar = CrossSimilar::Labels { queries, keys: &of_m, ignored };
            sides.run(&serial(isa), Reduction::BalancedNonZero, (similar, None))
        };
        // Similar pairs have a slope of 1 whatever their distance is.
        let Called { outcome, grads } = run(&sides, &of_n, None);
        assert!(outcome.value.is_nan());
        for (at, g) in grads[0].iter().enumerate() {
            assert_eq!(g.is_nan(), at == row * d + k, "query {at} is {g} on {isa}");
        }
        for (at, g) in grads[1].iter().enumerate() {
            assert_eq!(g.is_nan(), at % d == k, "key {at} is {g} on {isa}");
        }
        // Dissimilar ones have a slope of NaN.
        of_n[row] = 1;
        let Called { grads, .. } = run(&sides, &of_n, None);
        for (at, g) in grads[0].iter().enumerate() {
            assert_eq!(g.is_nan(), at / d == row, "query {at} is {g} on {isa}");
        }
        assert!(grads[1].iter().all(|g| g.is_nan()), "{isa}");
        // Left out, it leaves nothing behind.
        let Called { outcome, grads } = run(&sides, &of_n, Some(1));
        assert!(outcome.value.is_finite());
        assert!(grads.concat().iter().all(|g| g.is_finite()), "{isa}");
        assert!(grads[0][row * d..][..d].iter().all(|&g| g == T::ZERO), "{isa}");
        // At infinity a dissimilar pair costs nothing.
        let mut far = Sides { z: sides.z.clone(), ..sides };
        far.z[0][row * d + k] = T::INFINITY;
        let Called { outcome, grads } = run(&far, &of_n, None);
        assert!(outcome.value.is_finite());
        assert!(grads.concat().iter().all(|g| g.is_finite()), "{isa}");
        of_n[row] = 0;
    }
}

#[test]
fn nan_and_infinity_reach_what_depends_on_them_and_nothing_else() {
    for d in [1, 2, 3, 20] {
        poisoned::<f32>(d);
        poisoned::<f64>(d);
    }
}

fn independent_of_threads<T: Element>() {
    for ([n, m], d) in [([517, 260], 17), ([130, 1100], 2), ([1100, 517], 40)] {
        let sides = Sides::<T>::random([n, m], d, 8);
        let [of_n, of_m] = [labels(n, 9), labels(m, 9)];
        let similar = CrossSimilar::Labels { queries: &of_n, keys: &of_m, ignored: Some(2) };
        for isa in tiers() {
            let cx = Cx { isa, par: Par::Rayon };
            let expected = sides.run(&serial(isa), Reduction::BalancedNonZero, (similar, None));
            let run = || sides.run(&cx, Reduction::BalancedNonZero, (similar, None));
            let pooled = [1, 2, 3, 7].map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(run)
            });
            for Called { outcome, grads } in pooled.into_iter().chain([run()]) {
                assert_eq!(outcome, expected.outcome, "{n} and {m} x{d} on {isa}");
                for (got, expected) in grads.iter().zip(&expected.grads) {
                    assert_eq!(bits(got), bits(expected), "{n} and {m} x{d} on {isa}");
                }
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    independent_of_threads::<f32>();
    independent_of_threads::<f64>();
}

fn strided<T: Element>() {
    let ([n, m], d) = ([45, 75], 21);
    let sides = Sides::<T>::random([n, m], d, 9);
    let [of_n, of_m] = [labels(n, 3), labels(m, 3)];
    let similar = CrossSimilar::Labels { queries: &of_n, keys: &of_m, ignored: None };
    let (loss, own) = (T::contrastive(MARGIN), Some(4));
    for isa in tiers() {
        let expected = sides.run(&serial(isa), Reduction::Sum, (similar, own));
        for (offset, gap) in [(0, 1), (3, 11), (15, 0)] {
            let [queries, keys] = [0, 1].map(|side| {
                let shape = [sides.rows[side], d];
                Guarded::new(offset + side, shape, d + gap, |i, k| sides.z[side][i * d + k])
            });
            let [mut of_queries, mut of_keys] =
                [n, m].map(|rows| Guarded::output(offset + 1, [rows, d], d + gap));
            let out = CrossOut::grads(of_queries.mat_mut(), of_keys.mat_mut());
            let outcome = cross(
                &serial(isa),
                &Objective::sum(&*loss),
                queries.mat(),
                keys.mat(),
                similar,
                own,
                out,
                &mut CrossScratch::new(),
            );
            assert_eq!(outcome.unwrap(), expected.outcome);
            assert_eq!(of_queries.bits(), bits(&expected.grads[0]), "gap {gap} on {isa}");
            assert_eq!(of_keys.bits(), bits(&expected.grads[1]), "gap {gap} on {isa}");
            of_queries.check("grad_queries");
            of_keys.check("grad_keys");
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
    let (loss, mut scratch) = (f64::contrastive(MARGIN), CrossScratch::new());
    for ([n, m], d) in [([200, 90], 30), ([2, 3], 2), ([40, 170], 70)] {
        let sides = Sides::<f64>::random([n, m], d, 10);
        let [queries, keys] = &[labels(n, 4), labels(m, 4)];
        let similar = CrossSimilar::Labels { queries, keys, ignored: None };
        let mut call = |scale| {
            let objective = Objective::sum(&*loss).scaled(scale);
            let mut grad = vec![f64::NAN; n * d];
            let out = CrossOut::grad_queries(MatMut::new(&mut grad, n, d).unwrap());
            let (cx, [queries, keys]) = (Cx::default(), [sides.mat(0), sides.mat(1)]);
            let value = cross(&cx, &objective, queries, keys, similar, None, out, &mut scratch);
            (value.unwrap(), grad)
        };
        let ((value, one), (scaled, other)) = (call(1.0), call(0.5));
        assert_eq!(value, scaled);
        assert!(one.iter().zip(&other).all(|(one, other)| 0.5 * one == *other));
    }
}

#[test]
fn rows_without_elements_are_coincident() {
    let loss = f32::contrastive(MARGIN);
    let [queries, keys] = [2, 3].map(|n| Mat::new(&[], n, 0).unwrap());
    let similar = CrossSimilar::Labels { queries: &[0, 1], keys: &[0, 0, 1], ignored: None };
    for isa in tiers() {
        let (objective, out) = (Objective::sum(&*loss), CrossOut::none());
        let mut scratch = CrossScratch::new();
        let outcome =
            cross(&serial(isa), &objective, queries, keys, similar, None, out, &mut scratch);
        assert_eq!(outcome.unwrap().value, 3.0 / 2.0);
    }
}

#[test]
fn what_does_not_match_is_refused_and_nothing_is_written() {
    let loss = f32::contrastive(MARGIN);
    let z = [0.0_f32; 12];
    let (two, three) = (Mat::new(&z[..6], 2, 3).unwrap(), Mat::new(&z[..9], 3, 3).unwrap());
    let graph = ring(10);
    let of_labels = |queries, keys| CrossSimilar::Labels { queries, keys, ignored: None };
    let of_graph =
        |first_query, first_key| CrossSimilar::Graph { graph: &graph, first_query, first_key };
    let call = |keys: Mat<f32>, similar, own, shapes: [[usize; 2]; 2]| {
        let mut grads = shapes.map(|[n, d]| vec![7.0_f32; n * d]);
        let [of_queries, of_keys] = &mut grads;
        let out = CrossOut::grads(
            MatMut::new(of_queries, shapes[0][0], shapes[0][1]).unwrap(),
            MatMut::new(of_keys, shapes[1][0], shapes[1][1]).unwrap(),
        );
        let (cx, objective) = (Cx::default(), Objective::sum(&*loss));
        let outcome =
            cross(&cx, &objective, two, keys, similar, own, out, &mut CrossScratch::new());
        let unwritten = grads.concat().iter().all(|&g| g == 7.0);
        assert!(outcome.is_ok() || unwritten, "written, though refused: {outcome:?}");
        outcome.map_err(|error| match error {
            Error::Index { arg, index, len, .. } => format!("{arg} {index} of {len}"),
            Error::Pairs { .. } => "pairs".into(),
            error => error.to_string(),
        })
    };
    let fits = [[2, 3], [3, 3]];
    let right = of_labels(&[1, 2], &[1, 2, 3]);
    assert!(call(three, right, None, fits).is_ok());
    assert!(call(three, right, Some(1), fits).is_ok());
    assert_eq!(call(three, right, Some(2), fits).unwrap_err(), "own 2 of 2");
    assert_eq!(
        call(three, right, Some(usize::MAX), fits).unwrap_err(),
        format!("own {} of 2", usize::MAX)
    );
    let narrow = Mat::new(&z, 3, 4).unwrap();
    let starts = |error: String, with: &str| assert!(error.starts_with(with), "{error}");
    starts(call(narrow, right, None, fits).unwrap_err(), "cross: keys");
    starts(call(three, right, None, [[3, 2], [3, 3]]).unwrap_err(), "cross: grad_queries");
    starts(call(three, right, None, [[2, 3], [2, 3]]).unwrap_err(), "cross: grad_keys");
    let short = of_labels(&[1], &[1, 2, 3]);
    starts(call(three, short, None, fits).unwrap_err(), "cross: queries' labels has 1");
    let long = of_labels(&[1, 2], &[1, 2, 3, 4]);
    starts(call(three, long, None, fits).unwrap_err(), "cross: keys' labels has 4");
    assert!(call(three, of_graph(8, 7), None, fits).is_ok());
    assert_eq!(call(three, of_graph(9, 7), None, fits).unwrap_err(), "first_query 9 of 9");
    assert_eq!(call(three, of_graph(8, 8), None, fits).unwrap_err(), "first_key 8 of 8");
    assert!(call(three, of_graph(usize::MAX, 0), None, fits).is_err());
    // The graph says which keys the queries are.
    assert!(call(three, of_graph(5, 4), Some(1), fits).is_ok());
    assert_eq!(call(three, of_graph(5, 4), Some(0), fits).unwrap_err(), "pairs");
}
