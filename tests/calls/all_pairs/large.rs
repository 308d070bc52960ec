//! Batches of so many blocks that a task takes several: rows of them against scalar f64, for any number of
//! threads, and of two batches against each other.

use drlim::batch::{CrossOut, CrossScratch, CrossSimilar, cross};
use drlim::loss::{BlockLoss, Contrastive, Objective, Reduction};
use drlim::{Cx, Graph, Isa, Mat, MatMut, Par, Similar};

use super::MARGIN;
use super::batch::Batch;
use crate::support::element::{bits, wide};
use crate::support::{labels, oracle};

const ROWS: usize = 8300;
const COLS: usize = 4;

/// The gradient of one row of a sum: with all rows of `others` but itself.
fn expected(
    row: &[f64],
    others: &[Vec<f64>],
    own: Option<usize>,
    similar: impl Fn(usize) -> bool,
) -> [(f64, f64); COLS] {
    let twin = oracle::Contrastive::of::<f32>(MARGIN);
    let mut grad = [(0.0, 0.0); COLS];
    for (j, other) in others.iter().enumerate().filter(|&(j, _)| Some(j) != own) {
        let slope = twin.pair(row, other, similar(j)).slope;
        for (k, (sum, size)) in grad.iter_mut().enumerate() {
            let term = slope * (row[k] - other[k]);
            *sum += term;
            *size += term.abs();
        }
    }
    grad
}

fn assert_near(grad: &[f32], expected: [(f64, f64); COLS], case: &str) {
    for (got, (expected, size)) in grad.iter().zip(expected) {
        let error = (f64::from(*got) - expected).abs();
        assert!(error <= 60.0 * f64::from(f32::EPSILON) * size, "{case}: {error:e} off");
    }
}

fn with_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

#[test]
fn rows_of_a_large_batch_are_those_of_their_pairs() {
    let batch = Batch::<f32>::random([ROWS, COLS], 3);
    let rows: Vec<Vec<f64>> = batch.z().iter().map(wide).collect();
    let labels = labels(ROWS, 5000);
    let ring: Vec<_> = (0..ROWS as u32).map(|i| (i, (i + 17) % ROWS as u32)).collect();
    let graph = Graph::from_pairs(ROWS, &ring).unwrap();
    for similar in [Similar::Labels(&labels), Similar::Graph(&graph)] {
        let cx = Cx { isa: Isa::best(), par: Par::Rayon };
        let run = || batch.run(&cx, Reduction::Sum, similar);
        let (outcome, grad) = with_threads(1, run);
        for i in (0..ROWS).step_by(997).chain([ROWS - 1]) {
            let expected = expected(&rows[i], &rows, Some(i), |j| similar.of(i, j) == Some(true));
            assert_near(
                &grad[i * COLS..][..COLS],
                expected,
                &format!("row {i}, {similar:?}")[..30],
            );
        }
        for threads in [2, 3, 7] {
            let (shared, of_shared) = with_threads(threads, run);
            assert_eq!(shared, outcome, "{threads} threads");
            assert_eq!(bits(&of_shared), bits(&grad), "{threads} threads");
        }
    }
}

#[test]
fn rows_of_two_large_batches_are_those_of_their_pairs() {
    let sides = [ROWS, ROWS - 70].map(|rows| Batch::<f32>::random([rows, COLS], rows as u64));
    let [queries, keys] =
        sides.each_ref().map(|batch| -> Vec<Vec<f64>> { batch.z().iter().map(wide).collect() });
    let [of_queries, of_keys] = [labels(ROWS, 60), labels(ROWS - 70, 60)];
    let similar = CrossSimilar::Labels { queries: &of_queries, keys: &of_keys, ignored: None };
    let loss = Contrastive::new(MARGIN as f32).unwrap();
    let run = || {
        let mut grads = sides.each_ref().map(|batch| vec![f32::NAN; batch.z.len()]);
        let [to_queries, to_keys] = &mut grads;
        let out = CrossOut::grads(
            MatMut::new(to_queries, ROWS, COLS).unwrap(),
            MatMut::new(to_keys, ROWS - 70, COLS).unwrap(),
        );
        let cx = Cx { isa: Isa::best(), par: Par::Rayon };
        let (objective, scratch) = (Objective::sum(&loss), &mut CrossScratch::new());
        let [queries, keys]: [Mat<f32>; 2] = sides.each_ref().map(Batch::z);
        let outcome = cross(&cx, &objective, queries, keys, similar, None, out, scratch).unwrap();
        (outcome, grads)
    };
    let (outcome, grads) = with_threads(1, run);
    for i in (0..keys.len()).step_by(997).chain([keys.len() - 1]) {
        let row = expected(&queries[i], &keys, None, |j| of_queries[i] == of_keys[j]);
        assert_near(&grads[0][i * COLS..][..COLS], row, &format!("query {i}"));
        let row = expected(&keys[i], &queries, None, |j| of_keys[i] == of_queries[j]);
        assert_near(&grads[1][i * COLS..][..COLS], row, &format!("key {i}"));
    }
    let (shared, of_shared) = with_threads(3, run);
    assert_eq!(shared, outcome);
    assert_eq!(of_shared.map(|grad| bits(&grad)), grads.map(|grad| bits(&grad)));
}

/// A loss that hands its thread to whatever else there is to do.
struct Sharing(Contrastive<f32>);

impl BlockLoss<f32> for Sharing {
    fn eval_block(&self, isa: Isa, d2: &mut [f32], similar: &[bool], values: &mut [f32]) {
        rayon::join(|| (), std::thread::yield_now);
        self.0.eval_block(isa, d2, similar, values);
    }
}

#[test]
fn a_loss_may_use_the_pool_that_calls_it() {
    let batch = Batch::<f32>::random([700, 20], 5);
    let labels = labels(700, 9);
    let cx = Cx { isa: Isa::best(), par: Par::Rayon };
    let (plain, sharing) = (
        Contrastive::new(MARGIN as f32).unwrap(),
        Sharing(Contrastive::new(MARGIN as f32).unwrap()),
    );
    let run = |loss: &dyn BlockLoss<f32>| {
        batch.run_with(loss, &cx, Reduction::Mean, Similar::Labels(&labels))
    };
    with_threads(3, || {
        let (expected, _) = run(&plain);
        let (outcome, grad) = run(&sharing);
        assert_eq!(outcome.pairs, expected.pairs);
        assert!((outcome.value - expected.value).abs() <= 1e-5 * expected.value);
        assert!(grad.iter().all(|g| g.is_finite()));
    });
}
