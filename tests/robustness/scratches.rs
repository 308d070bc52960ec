//! Calls on anchors hold what the documentation of their scratch says, of their rows and never of their pairs;
//! with a scratch that has held a batch as large, next to nothing.

use drlim::batch::{
    AnchorScratch, Anchors, AnchorsOut, CrossAnchorsOut, CrossSimilar, all_anchors, cross_anchors,
};
use drlim::loss::{AnchorObjective, AnchorSums, Measure, Positives, Softmax};
use drlim::{Cx, Mat, MatMut, Par, Similar};

use crate::allocator::peak;

/// What is kept for each anchor, beside its elements.
const OF_AN_ANCHOR: usize = 100;

/// Blocks of weights and of sums in lanes, lists of tasks.
const SMALL: usize = 1 << 20;

/// Distances of some strips.
const STRIPS: usize = 30 << 20;

/// On the calling thread alone, whose memory is measured.
fn cx() -> Cx {
    Cx { par: Par::Serial, ..Cx::default() }
}

fn random(n: usize, d: usize) -> Vec<f32> {
    let mut random = crate::support::Random::new(n as u64);
    (0..n * d).map(|_| random.between::<f32>(-0.5, 0.5)).collect()
}

/// Peaks of a call with an empty scratch, and once more with the same.
fn peaks(mut call: impl FnMut(&mut AnchorScratch<f32>)) -> [usize; 2] {
    let mut scratch = AnchorScratch::new();
    [(); 2].map(|()| peak(|| call(&mut scratch)).0)
}

/// That the first call holds so many bytes at most, and those of its rows at least: the allocator does
/// measure. The second call holds lists of its anchors.
fn assert_within(
    [first, second]: [usize; 2],
    rows: usize,
    anchors: usize,
    more: usize,
    what: &str,
) {
    let most = 3 * rows + OF_AN_ANCHOR * anchors + SMALL + more;
    assert!((rows..=most).contains(&first), "{what}: {first} bytes, at most {most} are promised");
    let most = OF_AN_ANCHOR * anchors + SMALL;
    assert!(second <= most, "{what}: {second} bytes once more, expected {most} at most");
}

#[test]
fn one_batch_of_anchors_takes_three_times_its_rows() {
    let loss = Softmax::scale(8.0).unwrap().positives(Positives::Each);
    for (n, d, measure) in [(20_000, 16, Measure::Cosine), (2000, 300, Measure::Dot)] {
        let (z, mut grad) = (random(n, d), vec![0.0; n * d]);
        let (mut values, mut sums) = (vec![0.0; n], vec![AnchorSums::default(); n]);
        let labels: Vec<i64> = (0..n as i64).map(|i| i * 7919 % 500).collect();
        let objective = AnchorObjective::mean(&loss).measured(measure);
        let peaks = peaks(|scratch| {
            let (z, similar) = (Mat::new(&z, n, d).unwrap(), Similar::Labels(&labels));
            let mut out = AnchorsOut::grad(MatMut::new(&mut grad, n, d).unwrap());
            (out.values, out.sums) = (Some(&mut values[..]), Some(&mut sums[..]));
            all_anchors(&cx(), &objective, z, similar, out, scratch).unwrap();
        });
        let rows = n * d * size_of::<f32>();
        assert_within(peaks, rows, n, 0, &format!("{n} anchors x{d}, {measure:?}"));
    }
}

#[test]
fn two_batches_of_anchors_take_three_times_both() {
    let loss = Softmax::scale(8.0).unwrap();
    let objective = AnchorObjective::mean(&loss);
    for (anchors, more) in [(Anchors::Queries, STRIPS), (Anchors::Keys, 0), (Anchors::Both, 0)] {
        let (n, m, d) = (4096, 6000, 32);
        let (queries, keys) = (random(n, d), random(m, d));
        let mut grads = [n, m].map(|rows| vec![0.0; rows * d]);
        let peaks = peaks(|scratch| {
            let [of_queries, of_keys] = &mut grads;
            let out = CrossAnchorsOut::grads(
                MatMut::new(of_queries, n, d).unwrap(),
                MatMut::new(of_keys, m, d).unwrap(),
            );
            let (queries, keys) =
                (Mat::new(&queries, n, d).unwrap(), Mat::new(&keys, m, d).unwrap());
            let similar = CrossSimilar::Position { first_key: 0 };
            let cx = cx();
            cross_anchors(&cx, &objective, queries, keys, similar, None, anchors, out, scratch)
                .unwrap();
        });
        let rows = (n + m) * d * size_of::<f32>();
        assert_within(peaks, rows, n + m, more, &format!("{n} and {m} x{d}, {anchors:?}"));
    }
}
