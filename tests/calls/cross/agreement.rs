//! Values and gradients against the oracle: every shape, every way to say which pairs are similar, every
//! reduction, and pairs that are close.

use drlim::Graph;
use drlim::batch::CrossSimilar;
use drlim::loss::Reduction;
use proptest::prelude::*;

use super::sides::{Sides, by_graph, by_labels, ring};
use super::{REDUCTIONS, serial};
use crate::support::{Element, Random, labels, tiers};

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

/// Queries that are among the keys, in a graph that has nothing to say of them.
fn agrees_without_neighbours<T: Element>(d: usize) {
    let sides = Sides::<T>::random([70, 150], d, 6);
    let graph = Graph::from_pairs(250, &[(0, 249)]).unwrap();
    for first in [[30, 20], [100, 50], [20, 40]] {
        let [first_query, first_key] = first;
        let similar = CrossSimilar::Graph { graph: &graph, first_query, first_key };
        sides.check(Reduction::Mean, (similar, None), &by_graph(&graph, first));
    }
}

#[test]
fn a_sample_without_neighbours_is_no_pair_with_itself() {
    for d in [1, 2, 3, 19] {
        agrees_without_neighbours::<f32>(d);
        agrees_without_neighbours::<f64>(d);
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
