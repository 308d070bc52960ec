//! Training lowers the loss, repeats to the last bit, and refuses what does not belong together.

use std::ops::ControlFlow;

use crate::support::Random;
use drlim::loss::{Contrastive, Objective};
use drlim::nn::{Conv2d, Dense, Network, Shape, Subsample2d, Tanh};
use drlim::optim::{Adam, Sgd, schedule};
use drlim::pairs::Sampler;
use drlim::siamese::{End, Fit, Progress, Siamese};
use drlim::{Cx, Error, Isa, Mat, MatMut, Par, Similar};

const SIDE: usize = 10;
const SAMPLES: usize = 60;

/// Images of bars, upright or lying, in noise: two classes.
fn bars() -> (Vec<f32>, Vec<i64>) {
    let mut random = Random::new(5);
    let mut images = Vec::new();
    let mut labels = Vec::new();
    for i in 0..SAMPLES {
        let (upright, at) = (i % 2 == 0, 2 + i / 2 % 6);
        for y in 0..SIDE {
            for x in 0..SIDE {
                let lit = if upright { x == at } else { y == at };
                images.push(f32::from(u8::from(lit)) + random.between::<f32>(0.0, 0.3));
            }
        }
        labels.push(i as i64 % 2);
    }
    (images, labels)
}

fn network() -> Network<f32> {
    Network::builder(Shape::image(1, SIDE, SIDE))
        .layer("c1", Conv2d::new(4, 3))
        .layer("tanh1", Tanh::new())
        .layer("s2", Subsample2d::new(2))
        .layer("c3", Conv2d::new(6, 4))
        .layer("tanh3", Tanh::new())
        .layer("f4", Dense::new(2))
        .build(3)
        .unwrap()
}

/// Trains and returns the losses of the epochs and the parameters at the end.
fn train(cx: &Cx, epochs: usize) -> (Vec<f64>, Vec<f32>) {
    let (images, labels) = bars();
    let data = Mat::new(&images, SAMPLES, SIDE * SIDE).unwrap();
    let mut siamese = Siamese::new(network(), Adam::new(), 10).unwrap();
    let mut sampler = Sampler::new(Similar::Labels(&labels), 20, 9).unwrap();
    let loss = Contrastive::new(1.0).unwrap();
    let rate = schedule::cosine(0.005, (epochs * sampler.steps_per_epoch()) as u64);
    let fit = Fit::new(epochs, &rate);
    // Batches larger than the workspace are refused before anything changes.
    let error = siamese.fit(cx, &Objective::mean(&loss), data, &mut sampler, fit, go_on);
    assert!(matches!(
        error,
        Err(Error::Length { arg: "a batch of the sampler", got: 20, expected: 10, .. })
    ));
    assert_eq!(siamese.net().params(), network().params());

    let mut siamese = Siamese::new(network(), Adam::new(), 20).unwrap();
    let mut sampler = Sampler::new(Similar::Labels(&labels), 20, 9).unwrap();
    let history = siamese.fit(cx, &Objective::mean(&loss), data, &mut sampler, fit, go_on).unwrap();
    (history.losses, siamese.into_net().params().to_vec())
}

fn go_on(_: &Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn a_short_run_lowers_the_loss_and_gives_the_same_bytes_twice() {
    for isa in Isa::available() {
        let (losses, params) = train(&Cx { isa, par: Par::Serial }, 6);
        assert!(losses[5] < 0.5 * losses[0], "{losses:?} on {isa}");
        assert_eq!(train(&Cx { isa, par: Par::Serial }, 6), (losses.clone(), params.clone()));
        for threads in [2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let again = pool.install(|| train(&Cx { isa, par: Par::Rayon }, 6));
            assert_eq!(again, (losses.clone(), params.clone()), "{threads} threads on {isa}");
        }
    }
}

#[test]
fn training_without_an_end_is_ended_by_the_observer() {
    let (images, labels) = bars();
    let data = Mat::new(&images, SAMPLES, SIDE * SIDE).unwrap();
    let mut siamese = Siamese::new(network(), Sgd::new(), 20).unwrap();
    let mut sampler = Sampler::new(Similar::Labels(&labels), 20, 9).unwrap();
    let loss = Contrastive::new(1.0).unwrap();
    let fit = Fit::new(usize::MAX, &|_| 1e-3);
    let objective = Objective::mean(&loss);
    let end = |_: &Progress| ControlFlow::Break(());
    let history = siamese.fit(&Cx::default(), &objective, data, &mut sampler, fit, end).unwrap();
    assert_eq!((history.losses.len(), history.end), (1, End::Observer));
}

#[test]
fn a_step_that_takes_each_image_once_is_the_doubled_one() {
    let (images, labels) = bars();
    let width = SIDE * SIDE;
    let data = Mat::new(&images, SAMPLES, width).unwrap();
    let pairs = [(0, 1), (2, 2), (59, 1), (1, 0)];
    let similar = pairs.map(|(i, j)| labels[i as usize] == labels[j as usize]);
    let gather = |side: fn(&(u32, u32)) -> u32| -> Vec<f32> {
        pairs.iter().flat_map(|pair| data.row(side(pair) as usize).to_vec()).collect()
    };
    let (x1, x2) = (gather(|pair| pair.0), gather(|pair| pair.1));
    let loss = Contrastive::new(1.0).unwrap();
    let objective = Objective::sum(&loss);
    let cx = Cx::default();

    let mut by_index = Siamese::new(network(), Sgd::new(), 4).unwrap();
    let indexed = by_index.step_pairs(&cx, &objective, 0.1, data, &pairs, &similar).unwrap();
    let mut by_rows = Siamese::new(network(), Sgd::new(), 4).unwrap();
    let (x1, x2) = (Mat::new(&x1, 4, width).unwrap(), Mat::new(&x2, 4, width).unwrap());
    let outcome = by_rows.step(&cx, &objective, 0.1, x1, x2, &similar).unwrap();
    // The same samples in another order: sums round differently.
    assert!((outcome.value - indexed.value).abs() <= 1e-6 * outcome.value);
    assert_eq!((outcome.pairs, outcome.similar), (indexed.pairs, indexed.similar));
    let largest = by_rows.gradient().iter().fold(0.0_f32, |max, g| max.max(g.abs()));
    for (g, h) in by_rows.gradient().iter().zip(by_index.gradient()) {
        assert!((g - h).abs() <= 4e-6 * largest, "{g} by rows, {h} by index");
    }
    let descended: Vec<f32> = network()
        .params()
        .iter()
        .zip(by_rows.gradient())
        .map(|(p, g)| (-0.1_f32).mul_add(*g, *p))
        .collect();
    let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * b.abs().max(1e-3);
    assert!(by_rows.net().params().iter().zip(&descended).all(close));
}

#[test]
fn the_observer_sees_every_step_and_epoch_and_can_end_the_training() {
    let (images, labels) = bars();
    let data = Mat::new(&images, SAMPLES, SIDE * SIDE).unwrap();
    let loss = Contrastive::new(1.0).unwrap();
    let run = |last: usize| {
        let mut siamese = Siamese::new(network(), Sgd::new(), 40).unwrap();
        let mut sampler = Sampler::new(Similar::Labels(&labels), 40, 9).unwrap();
        assert_eq!(sampler.steps_per_epoch(), 15);
        let mut seen = Vec::new();
        let rate = |step: u64| 1e-3 * (step + 1) as f64;
        let fit = Fit::new(2, &rate);
        let objective = Objective::mean(&loss);
        let history = siamese
            .fit(&Cx::default(), &objective, data, &mut sampler, fit, |progress| {
                seen.push(*progress);
                if seen.len() == last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap();
        (history.losses, seen)
    };
    let (losses, seen) = run(usize::MAX);
    assert_eq!((losses.len(), seen.len()), (2, 32));
    assert!(seen[15].epoch_ended && seen[31].epoch_ended && seen[31].epoch == 1);
    assert_eq!(seen.iter().filter(|p| p.epoch_ended).map(|p| p.loss).collect::<Vec<_>>(), losses);
    let first: f64 = seen[..15].iter().map(|p| p.loss).sum::<f64>() / 15.0;
    assert!((first - losses[0]).abs() < 1e-12, "an epoch's loss is the mean of its steps'");
    assert!((seen[17].rate - 0.017).abs() < 1e-12, "the rate goes on over epochs");
    assert_eq!((seen[17].epoch, seen[17].step, seen[17].steps), (1, 2, 15));
    let (losses, seen) = run(3);
    assert_eq!((losses.len(), seen.len()), (1, 3), "it ends at once");
}

#[test]
fn samples_are_embedded_in_batches_as_one_by_one() {
    let (images, _) = bars();
    let width = SIDE * SIDE;
    let cx = Cx::default();
    let mut siamese = Siamese::new(network(), Sgd::new(), 4).unwrap();
    let mut z = vec![f32::NAN; 2 * SAMPLES];
    let x = Mat::new(&images, SAMPLES, width).unwrap();
    siamese.embed(&cx, x, MatMut::new(&mut z, SAMPLES, 2).unwrap()).unwrap();
    for (i, z) in z.chunks(2).enumerate() {
        let mut one = [0.0; 2];
        siamese.embed(&cx, x.rows_range(i, i + 1), MatMut::new(&mut one, 1, 2).unwrap()).unwrap();
        assert!((z[0] - one[0]).abs() < 1e-6 && (z[1] - one[1]).abs() < 1e-6, "{z:?} {one:?}");
    }
    let narrow = Mat::strided(&images, SAMPLES, width - 1, width).unwrap();
    let error = siamese.embed(&cx, narrow, MatMut::new(&mut z, SAMPLES, 2).unwrap()).unwrap_err();
    assert!(matches!(error, Error::Shape { call: "embed", arg: "x", .. }), "{error}");
    let error = siamese.embed(&cx, x, MatMut::new(&mut z, 2 * SAMPLES, 1).unwrap()).unwrap_err();
    assert!(matches!(error, Error::Shape { call: "embed", arg: "z", .. }), "{error}");
}

#[test]
fn what_does_not_belong_together_is_refused_and_changes_nothing() {
    let (images, _) = bars();
    let width = SIDE * SIDE;
    let data = Mat::new(&images, SAMPLES, width).unwrap();
    let loss = Contrastive::new(1.0).unwrap();
    let objective = Objective::sum(&loss);
    let cx = Cx::default();
    let mut siamese = Siamese::new(network(), Sgd::new(), 2).unwrap();
    let two = [(0, 1), (1, 2)];
    for (rate, pairs, similar, expected) in [
        (0.1, &two[..], &[true][..], "similar has 1 elements, expected 2"),
        (0.1, &[(0, 1), (60, 2)], &[true; 2], "pairs[1] is 60, expected an index below 60"),
        (0.1, &[(0, 1); 3], &[true; 3], "pairs has 3 elements, expected 2 (at most)"),
        (-0.1, &two, &[true; 2], "rate is -0.1"),
        (f64::NAN, &two, &[true; 2], "rate is NaN"),
    ] {
        let error = siamese.step_pairs(&cx, &objective, rate, data, pairs, similar).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let (one, other) = (data.rows_range(0, 2), data.rows_range(0, 1));
    let error = siamese.step(&cx, &objective, 0.1, one, other, &[true; 2]).unwrap_err();
    assert_eq!(error.to_string(), "step: x2 has shape 1x100, expected 2x100 (as x1)");
    assert_eq!(siamese.net().params(), network().params());
}
