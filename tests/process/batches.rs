//! What calls on whole batches take from the heap: memory of their rows, never of their pairs.

use super::allocator::peak;
use crate::support::labels;
use drlim::batch::{
    AllPairsScratch, CrossOut, CrossScratch, CrossSimilar, all_pairs, cross, distance_matrix,
};
use drlim::loss::{Contrastive, Objective};
use drlim::{Cx, Mat, MatMut, Rng, Similar, pairs};

/// What a call may take beside a multiple of its rows: slopes of a few blocks, and a few bytes a row.
const SMALL: usize = 16 << 20;

/// That a call takes so many bytes at most, and `least` at least: the allocator does measure.
fn assert_within(bytes: usize, least: usize, most: usize, what: &str) {
    assert!(bytes <= most, "{what}: {bytes} bytes, at most {most} are promised");
    assert!(bytes >= least, "{what}: only {bytes} bytes");
}

fn random(n: usize, d: usize) -> Vec<f32> {
    let mut rng = Rng::new(1);
    (0..n * d).map(|_| rng.uniform() as f32).collect()
}

pub fn calls_take_memory_of_their_rows_and_never_of_their_pairs() {
    all_pairs_take_three_times_their_batch();
    cross_takes_three_times_both_batches();
    searches_take_their_set_once();
    a_matrix_of_distances_takes_both_sets_once();
}

fn all_pairs_take_three_times_their_batch() {
    for (n, d, classes) in [(16384, 128, 100), (16384, 16, 16384), (8192, 2, 10)] {
        let (z, labels, mut grad) = (random(n, d), labels(n, classes), vec![0.0_f32; n * d]);
        let loss = Contrastive::new(1.0).unwrap();
        let bytes = peak(|| {
            all_pairs(
                &Cx::default(),
                &Objective::mean(&loss),
                Mat::new(&z, n, d).unwrap(),
                Similar::Labels(&labels),
                Some(MatMut::new(&mut grad, n, d).unwrap()),
                &mut AllPairsScratch::new(),
            )
            .unwrap();
        });
        let batch = n * d * size_of::<f32>();
        assert_within(bytes, batch, 3 * batch + SMALL, &format!("all pairs of {n}x{d}"));
    }
}

fn cross_takes_three_times_both_batches() {
    for (n, m, d, classes) in [(2048, 16384, 128, 100), (8192, 4096, 16, 8192), (8192, 1, 128, 10)]
    {
        let (queries, keys) = (random(n, d), random(m, d));
        let mut grads = [n, m].map(|rows| vec![0.0_f32; rows * d]);
        let [of_queries, of_keys] = &mut grads;
        let [labels, other_labels] = [n, m].map(|rows| labels(rows, classes));
        let similar = CrossSimilar::Labels { queries: &labels, keys: &other_labels, ignored: None };
        let loss = Contrastive::new(1.0).unwrap();
        let out = CrossOut::grads(
            MatMut::new(of_queries, n, d).unwrap(),
            MatMut::new(of_keys, m, d).unwrap(),
        );
        let bytes = peak(|| {
            let (cx, objective) = (Cx::default(), Objective::mean(&loss));
            let queries = Mat::new(&queries, n, d).unwrap();
            let keys = Mat::new(&keys, m, d).unwrap();
            let mut scratch = CrossScratch::new();
            cross(
                &cx,
                &objective,
                queries,
                keys,
                similar,
                Some(0).filter(|_| n <= m),
                out,
                &mut scratch,
            )
            .unwrap();
        });
        let both = (n + m) * d * size_of::<f32>();
        assert_within(bytes, both, 3 * both + SMALL, &format!("cross of {n} and {m} x{d}"));
    }
}

fn searches_take_their_set_once() {
    let (n, d, k) = (16384, 128, 10);
    let set = random(n, d);
    let set = Mat::new(&set, n, d).unwrap();
    let batch = n * d * size_of::<f32>();
    // Lists of indices and distances, and 16 bytes a row.
    let lists = n * (8 * k + 16) + (1 << 20);
    let bytes = peak(|| drop(pairs::nearest_others(&Cx::default(), set, k).unwrap()));
    assert_within(bytes, batch, batch + lists, &format!("nearest others of {n}x{d}"));
    let half = set.rows_range(0, n / 2);
    let bytes = peak(|| drop(pairs::nearest(&Cx::default(), half, half, k).unwrap()));
    assert_within(bytes, batch, batch + lists, &format!("nearest among {}x{d}", n / 2));
    // Few queries are measured against the rows as they are.
    let few = set.rows_range(0, 8);
    let bytes = peak(|| drop(pairs::nearest(&Cx::default(), few, set, k).unwrap()));
    assert!(bytes < 1 << 20, "{bytes} bytes for eight queries");
}

fn a_matrix_of_distances_takes_both_sets_once() {
    let (n, m, d) = (1024, 4096, 128);
    let (a, b) = (random(n, d), random(m, d));
    let mut distances = vec![0.0_f32; n * m];
    let bytes = peak(|| {
        let (a, b) = (Mat::new(&a, n, d).unwrap(), Mat::new(&b, m, d).unwrap());
        distance_matrix(&Cx::default(), a, b, MatMut::new(&mut distances, n, m).unwrap()).unwrap();
    });
    let both = (n + m) * d * size_of::<f32>();
    assert_within(bytes, both, both + (1 << 20), &format!("distances of {n} and {m} x{d}"));
}
