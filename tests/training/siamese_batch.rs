//! A step on all pairs of a batch is the step on these pairs, listed one by one; and a fit on batches
//! is the one on pairs.

use std::ops::ControlFlow;

use crate::support::{Random, tiers};
use drlim::loss::{Contrastive, Objective, Reduction};
use drlim::nn::{Conv2d, Dense, Network, Shape, Tanh};
use drlim::optim::{Adam, Sgd};
use drlim::pairs::{BatchSampler, Sampler};
use drlim::siamese::{End, Fit, History, Progress, Siamese};
use drlim::{Cx, Error, Graph, Mat, Par, Real, Similar};

const SIDE: usize = 8;
const WIDTH: usize = SIDE * SIDE;
const SAMPLES: usize = 40;

fn images<T: Real>() -> Vec<T> {
    let mut random = Random::new(8);
    (0..SAMPLES * WIDTH).map(|_| T::from_f64(random.between::<f64>(-1.0, 1.0))).collect()
}

/// Three classes; the third, -1, may be ignored.
fn labels() -> Vec<i64> {
    (0..SAMPLES as i64).map(|i| i * i % 3 - i % 2).collect()
}

/// Each sample with one or two further on.
fn graph() -> Graph {
    let n = SAMPLES as u32;
    let pairs: Vec<_> = (0..n).flat_map(|i| [(i, (i + 1) % n), (i, (i * 3 + 2) % n)]).collect();
    Graph::from_pairs(SAMPLES, &pairs.into_iter().filter(|(i, j)| i != j).collect::<Vec<_>>())
        .unwrap()
}

fn network<T: Real>() -> Network<T> {
    Network::builder(Shape::image(1, SIDE, SIDE))
        .layer("c1", Conv2d::new(4, 3))
        .layer("tanh1", Tanh::new())
        .layer("f2", Dense::new(3))
        .build(3)
        .unwrap()
}

fn siamese<T: Real>(max_pairs: usize) -> Siamese<T, Sgd<T>> {
    Siamese::new(network(), Sgd::new(), max_pairs).unwrap()
}

/// The pairs of the samples that are not left out, and whether they are similar.
fn listed(samples: &[u32], set: Similar) -> (Vec<(u32, u32)>, Vec<bool>) {
    let all =
        samples.iter().enumerate().flat_map(|(at, &i)| samples[..at].iter().map(move |&j| (j, i)));
    all.filter_map(|(j, i)| Some(((j, i), set.of(i as usize, j as usize)?))).unzip()
}

fn largest<T: Real>(values: &[T]) -> f64 {
    values.iter().fold(0.0, |max, x| f64::max(max, x.to_f64().abs()))
}

fn a_step_is_that_of_all_listed_pairs<T: Real>(tolerance: f64) {
    let (images, labels, graph) = (images::<T>(), labels(), graph());
    let data = Mat::new(&images, SAMPLES, WIDTH).unwrap();
    let loss = Contrastive::new(T::from_f64(1.5)).unwrap();
    let ignoring = Similar::LabelsIgnoring { labels: &labels, ignored: -1 };
    // Neither ascending nor all.
    let samples: Vec<u32> = (0..23).map(|i| (i * 17 + 5) % SAMPLES as u32).collect();
    for (isa, set) in tiers().into_iter().flat_map(|isa| {
        [Similar::Labels(&labels), ignoring, Similar::Graph(&graph)].map(|set| (isa, set))
    }) {
        let cx = Cx { isa, par: Par::Serial };
        let (pairs, similar) = listed(&samples, set);
        for reduction in [Reduction::Sum, Reduction::Mean, Reduction::Balanced] {
            let what = format!("{set:?}, {reduction:?}, {}, {isa}", T::NAME);
            let objective = Objective::sum(&loss).reduced(reduction).scaled(T::from_f64(0.7));
            let mut by_batch = siamese::<T>(samples.len().div_ceil(2));
            let batch = by_batch.step_batch(&cx, &objective, 0.1, data, &samples, set).unwrap();
            let mut by_pairs = siamese::<T>(pairs.len());
            let one_by_one =
                by_pairs.step_pairs(&cx, &objective, 0.1, data, &pairs, &similar).unwrap();
            assert_eq!(
                (batch.pairs, batch.similar, batch.active),
                (one_by_one.pairs, one_by_one.similar, one_by_one.active),
                "{what}"
            );
            assert!(batch.similar > 10 && batch.active < batch.pairs, "{what}: too easy");
            let close = |a: f64, b: f64, scale: f64| (a - b).abs() <= tolerance * scale;
            assert!(close(batch.value, one_by_one.value, batch.value), "{what}: value");
            let scale = largest(by_pairs.gradient());
            for (a, b) in by_batch.gradient().iter().zip(by_pairs.gradient()) {
                assert!(close(a.to_f64(), b.to_f64(), scale), "{what}: gradient {a}, {b}");
            }
            for (a, b) in by_batch.net().params().iter().zip(by_pairs.net().params()) {
                assert!(
                    close(a.to_f64(), b.to_f64(), scale.max(1.0)),
                    "{what}: parameter {a}, {b}"
                );
            }
            assert_ne!(by_batch.net().params(), network::<T>().params());
        }
    }
}

#[test]
fn a_step_on_a_batch_is_the_step_on_all_its_pairs_listed() {
    a_step_is_that_of_all_listed_pairs::<f32>(1e-5);
    a_step_is_that_of_all_listed_pairs::<f64>(1e-13);
}

#[test]
fn a_step_does_not_depend_on_the_batches_before() {
    let (images, labels, graph) = (images::<f32>(), labels(), graph());
    let data = Mat::new(&images, SAMPLES, WIDTH).unwrap();
    let loss = Contrastive::new(1.5).unwrap();
    let objective = Objective::mean(&loss);
    let cx = Cx::default();
    let few: Vec<u32> = (3..12).collect();
    let many: Vec<u32> = (0..SAMPLES as u32).rev().collect();
    let mut used = siamese::<f32>(SAMPLES / 2);
    for set in [Similar::Graph(&graph), Similar::Labels(&labels), Similar::Graph(&graph)] {
        used.step_batch(&cx, &objective, 0.0, data, &many, set).unwrap();
        used.step_batch(&cx, &objective, 0.0, data, &few, set).unwrap();
        let mut fresh = siamese::<f32>(SAMPLES / 2);
        fresh.step_batch(&cx, &objective, 0.0, data, &few, set).unwrap();
        assert_eq!(used.gradient(), fresh.gradient(), "{set:?}");
    }
}

#[test]
fn what_is_no_batch_is_refused_and_changes_nothing() {
    let (images, labels, graph) = (images::<f32>(), labels(), graph());
    let data = Mat::new(&images, SAMPLES, WIDTH).unwrap();
    let loss = Contrastive::new(1.5).unwrap();
    let objective = Objective::mean(&loss);
    let cx = Cx::default();
    let mut siamese = siamese::<f32>(2);
    let narrow = Mat::strided(&images, SAMPLES, WIDTH - 1, WIDTH).unwrap();
    let fewer = data.rows_range(0, 30);
    for set in [Similar::Labels(&labels), Similar::Graph(&graph)] {
        for (rate, data, samples, expected) in [
            (0.1, data, &[0, 1, 40][..], "samples[2] is 40, expected an index below 40"),
            (0.1, data, &[5, 0, 1, 5], "samples[0] and samples[3] are both sample 5"),
            (
                0.1,
                data,
                &[0, 1, 2, 3, 4],
                "step_batch: samples has 5 elements, expected 4 (at most",
            ),
            (0.1, narrow, &[0, 1], "data has shape 40x63, expected 40x64 (the network's input)"),
            (0.1, fewer, &[0, 1], "similar has 40 elements, expected 30 (the samples of data)"),
            (-0.1, data, &[0, 1], "rate is -0.1"),
            (f64::NAN, data, &[0, 1], "rate is NaN"),
        ] {
            let refused = siamese.step_batch(&cx, &objective, rate, data, samples, set);
            let error = refused.unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(siamese.net().params(), network::<f32>().params(), "{error}");
        }
    }
    assert!(siamese.step_batch(&cx, &objective, 0.1, data, &[], Similar::Graph(&graph)).is_ok());
}

fn go_on(_: &Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Fits and returns the losses of the epochs and the parameters at the end.
fn fit(cx: &Cx, set: Similar, epochs: usize) -> (Vec<f64>, Vec<f32>) {
    let images = images::<f32>();
    let data = Mat::new(&images, SAMPLES, WIDTH).unwrap();
    let loss = Contrastive::new(1.0).unwrap();
    let objective = Objective::sum(&loss).reduced(Reduction::Balanced);
    let fit = Fit::new(epochs, &|_| 0.01);
    let mut sampler = BatchSampler::new(set, 12, 9).unwrap();
    let mut siamese = Siamese::new(network(), Adam::new(), 6).unwrap();
    let history = siamese.fit_batches(cx, &objective, data, &mut sampler, fit, go_on).unwrap();
    (history.losses, siamese.into_net().params().to_vec())
}

#[test]
fn a_fit_on_batches_lowers_the_loss_and_gives_the_same_bytes_twice() {
    let (labels, graph) = (labels(), graph());
    for isa in tiers() {
        for set in [Similar::Labels(&labels), Similar::Graph(&graph)] {
            let expected = fit(&Cx { isa, par: Par::Serial }, set, 30);
            let losses = &expected.0;
            assert!(losses[29] < 0.7 * losses[0], "{losses:?}, {set:?} on {isa}");
            for threads in [1, 2, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let again = pool.install(|| fit(&Cx { isa, par: Par::Rayon }, set, 30));
                assert_eq!(again, expected, "{threads} threads, {set:?} on {isa}");
            }
        }
    }
}

/// What an observer is told over two epochs.
fn told(run: impl FnOnce(&mut dyn FnMut(&Progress) -> ControlFlow<()>) -> History) {
    let mut seen = Vec::new();
    let history = run(&mut |progress| {
        seen.push(*progress);
        ControlFlow::Continue(())
    });
    assert_eq!((history.losses.len(), seen.len()), (2, 2 * (seen[0].steps + 1)));
    assert_eq!(history.end, End::Epochs);
    for progress in &seen {
        assert_eq!(progress.loss, Reduction::Mean.value(&progress.sums));
    }
    for epoch in seen.chunks(seen[0].steps + 1) {
        let (end, steps) = epoch.split_last().unwrap();
        assert!(end.epoch_ended && steps.iter().all(|step| !step.epoch_ended));
        let total = steps.iter().map(|step| step.sums).reduce(|a, b| a + b);
        assert_eq!(Some(end.sums), total, "an epoch adds up to its steps");
    }
}

#[test]
fn the_observer_is_told_what_pairs_add_up_to() {
    let (images, labels) = (images::<f32>(), labels());
    let data = Mat::new(&images, SAMPLES, WIDTH).unwrap();
    let loss = Contrastive::new(1.0).unwrap();
    let objective = Objective::mean(&loss);
    let (cx, set) = (Cx::default(), Similar::Labels(&labels));
    let fit = Fit::new(2, &|_| 0.01);
    told(|observe| {
        let mut sampler = BatchSampler::new(set, 12, 9).unwrap();
        assert_eq!(sampler.steps_per_epoch(), 4);
        siamese::<f32>(6).fit_batches(&cx, &objective, data, &mut sampler, fit, observe).unwrap()
    });
    told(|observe| {
        let mut sampler = Sampler::new(set, 12, 9).unwrap();
        siamese::<f32>(12).fit(&cx, &objective, data, &mut sampler, fit, observe).unwrap()
    });
    // Batches larger than the workspace are refused before anything changes.
    let mut small = siamese::<f32>(5);
    let mut sampler = BatchSampler::new(set, 12, 9).unwrap();
    let refused = small.fit_batches(&cx, &objective, data, &mut sampler, fit, go_on);
    let arg = "a batch of the sampler";
    let expected =
        Error::Length { call: "fit_batches", arg, got: 12, expected: 10, like: "at most" };
    assert_eq!(refused.unwrap_err(), expected);
    assert_eq!(small.net().params(), network::<f32>().params());
}
