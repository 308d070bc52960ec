//! Values and gradients against the oracle: the shapes at which blocks and tiles end, every way to say
//! which pairs are similar, and every reduction.

use drlim::batch::{AllPairsScratch, all_pairs};
use drlim::loss::{Objective, Reduction};
use drlim::{Cx, Graph, MatMut, Similar};

use proptest::prelude::*;

use super::batch::Batch;
use super::{MARGIN, REDUCTIONS, serial};
use crate::support::element::{bits, same};
use crate::support::{Element, Guarded, labels, tiers};

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
    for reduction in REDUCTIONS {
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

/// What may be said of samples: labels of which one may be ignored, or edges.
fn any_similar_set() -> impl Strategy<Value = (Vec<i64>, Option<i64>, Vec<(u32, u32)>)> {
    (1_usize..150, 1_i64..6).prop_flat_map(|(n, classes)| {
        let edge =
            (0..n as u32, 1..n.max(2) as u32).prop_map(move |(i, by)| (i, (i + by) % n as u32));
        let edges = prop::collection::vec(edge, 0..if n > 1 { 3 * n } else { 1 });
        let labels = prop::collection::vec(0..classes, n);
        (labels, prop::option::of(0..classes), edges)
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn agrees_for_any_batch(
        (labels, ignored, edges) in any_similar_set(),
        d in 1_usize..40,
        twins in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..9),
        reduction in prop::sample::select(&REDUCTIONS[..]),
        seed: u64,
    ) {
        let n = labels.len();
        let mut batch = Batch::<f32>::random([n, d], seed);
        for (from, to) in twins {
            let (from, to) = (from.index(n) * d, to.index(n) * d);
            batch.z.copy_within(from..from + d, to);
        }
        let of_labels = match ignored {
            Some(ignored) => Similar::LabelsIgnoring { labels: &labels, ignored },
            None => Similar::Labels(&labels),
        };
        batch.check(reduction, of_labels, 60.0);
        let graph = Graph::from_pairs(n, &edges).unwrap();
        batch.check(reduction, Similar::Graph(&graph), 60.0);
    }
}
