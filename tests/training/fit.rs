//! What a fit does beyond step after step: it bounds the gradient's norm, makes one step of several
//! batches, and ends when the loss no longer improves.

use std::ops::ControlFlow;

use crate::support::{Random, tiers};
use drlim::loss::{Contrastive, Objective, Reduction};
use drlim::nn::{Dense, Network, Shape, Tanh};
use drlim::optim::{Adam, Sgd};
use drlim::pairs::{BatchSampler, Sampler};
use drlim::siamese::{End, Fit, History, Progress, Siamese};
use drlim::{Cx, Error, Isa, Mat, Par, Similar};

const SAMPLES: usize = 22;
const WIDTH: usize = 5;

fn points() -> Vec<f64> {
    let mut random = Random::new(6);
    (0..SAMPLES * WIDTH).map(|_| random.between(-1.0, 1.0)).collect()
}

fn labels() -> Vec<i64> {
    (0..SAMPLES as i64).map(|i| i % 2).collect()
}

fn network() -> Network<f64> {
    Network::builder(Shape::flat(WIDTH))
        .layer("f1", Dense::new(7))
        .layer("tanh1", Tanh::new())
        .layer("f2", Dense::new(2))
        .build(3)
        .unwrap()
}

fn siamese() -> Siamese<f64, Sgd<f64>> {
    Siamese::new(network(), Sgd::new(), 240).unwrap()
}

fn go_on(_: &Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-13)
}

/// Fits on listed pairs in batches of 12, and returns what the observer was told too.
fn run(fit: Fit) -> (Siamese<f64, Sgd<f64>>, History, Vec<Progress>) {
    let (points, labels, mut told) = (points(), labels(), Vec::new());
    let loss = Contrastive::new(1.0).unwrap();
    let mut siamese = siamese();
    let history = siamese
        .fit(
            &Cx::default(),
            &Objective::mean(&loss),
            Mat::new(&points, SAMPLES, WIDTH).unwrap(),
            &mut Sampler::new(Similar::Labels(&labels), 12, 9).unwrap(),
            fit,
            |progress| {
                told.push(*progress);
                ControlFlow::Continue(())
            },
        )
        .unwrap();
    (siamese, history, told)
}

/// The same, step by step: the pairs of so many batches as one batch, and its gradient scaled to at
/// most `max`. Returns the norms of all steps too.
fn by_hand(epochs: usize, batches: usize, rate: f64, max: f64) -> (Network<f64>, Vec<f64>) {
    let (points, labels, mut norms) = (points(), labels(), Vec::new());
    let data = Mat::new(&points, SAMPLES, WIDTH).unwrap();
    let loss = Contrastive::new(1.0).unwrap();
    let mut siamese = siamese();
    let mut sampler = Sampler::new(Similar::Labels(&labels), 12, 9).unwrap();
    let (mut pairs, mut similar) = (Vec::new(), Vec::new());
    for _ in 0..epochs {
        let mut left = sampler.steps_per_epoch();
        while left > 0 {
            let (mut all, mut all_similar) = (Vec::new(), Vec::new());
            for _ in 0..batches.min(left) {
                sampler.next_batch(&mut pairs, &mut similar);
                all.extend_from_slice(&pairs);
                all_similar.extend_from_slice(&similar);
            }
            left -= batches.min(left);
            let objective = Objective::mean(&loss);
            siamese.step_pairs(&Cx::default(), &objective, 0.0, data, &all, &all_similar).unwrap();
            let gradient = siamese.gradient().to_vec();
            let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            let factor = f64::min(1.0, max / norm);
            for (p, g) in siamese.net_mut().params_mut().iter_mut().zip(gradient) {
                *p -= rate * factor * g;
            }
            norms.push(norm);
        }
    }
    (siamese.into_net(), norms)
}

#[test]
fn a_clipped_fit_takes_steps_of_bounded_length_and_tells_the_norm() {
    let max = 0.25;
    let (siamese, _, told) = run(Fit::new(2, &|_| 0.1).clip_norm(max).unwrap());
    let (net, norms) = by_hand(2, 1, 0.1, max);
    assert!(close(siamese.net().params(), net.params()));
    let steps = told.iter().filter(|progress| !progress.epoch_ended);
    let seen: Vec<f64> = steps.map(|progress| progress.norm.unwrap()).collect();
    assert!(close(&seen, &norms), "{seen:?}, {norms:?}");
    let clipped = norms.iter().filter(|&&norm| norm > max).count();
    assert!(clipped > 2 && clipped + 2 < norms.len(), "{clipped} of {}: too easy", norms.len());
    assert_eq!(told.last().unwrap().norm, seen.last().copied(), "an epoch tells its last step's");
    // Measuring changes nothing.
    let (measured, _, _) = run(Fit::new(2, &|_| 0.1).clip_norm(f64::INFINITY).unwrap());
    let (plain, _, told) = run(Fit::new(2, &|_| 0.1));
    assert_eq!(measured.net().params(), plain.net().params());
    assert!(told.iter().all(|progress| progress.norm.is_none()));
}

#[test]
fn a_gradient_that_is_not_finite_ends_a_clipped_fit_before_the_step() {
    for bad in [f64::NAN, 1e200] {
        let (mut points, labels) = (points(), labels());
        points[7 * WIDTH] = bad; // Reached after a few steps.
        // Unbounded, so that large inputs give large outputs.
        let net = || {
            let builder = Network::builder(Shape::flat(WIDTH));
            builder.layer("map", Dense::new(2)).build(3).unwrap()
        };
        let mut siamese = Siamese::new(net(), Adam::new(), 2).unwrap();
        let mut sampler = Sampler::new(Similar::Labels(&labels), 2, 1).unwrap();
        let loss = Contrastive::new(1.0).unwrap();
        let objective = Objective::mean(&loss);
        let data = Mat::new(&points, SAMPLES, WIDTH).unwrap();
        let (mut steps, cx) = (0, Cx::default());
        let fit = Fit::new(3, &|_| 0.01).clip_norm(1.0).unwrap();
        let error = siamese
            .fit(&cx, &objective, data, &mut sampler, fit, |_| {
                steps += 1;
                ControlFlow::Continue(())
            })
            .unwrap_err();
        assert!(error.to_string().starts_with("the gradient's norm is"), "{error}");
        assert!(steps > 0, "too easy");
        // What is left is what training gives that was ended before.
        let mut twin = Siamese::new(net(), Adam::new(), 2).unwrap();
        let mut sampler = Sampler::new(Similar::Labels(&labels), 2, 1).unwrap();
        let mut left = steps;
        twin.fit(&cx, &objective, data, &mut sampler, fit, |_| {
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        assert_eq!(siamese.net().params(), twin.net().params());
        assert_eq!(siamese.optimizer(), twin.optimizer());
        assert!(siamese.net().params().iter().all(|p| p.is_finite()));
    }
}

#[test]
fn a_step_of_several_batches_is_the_step_of_their_pairs_together() {
    for batches in [2, 3, 5, 100] {
        let rates = std::cell::RefCell::new(Vec::new());
        let rate = |step: u64| {
            rates.borrow_mut().push(step);
            0.1
        };
        let (siamese, history, told) = run(Fit::new(2, &rate).accumulate(batches).unwrap());
        let (net, norms) = by_hand(2, batches, 0.1, f64::INFINITY);
        assert!(close(siamese.net().params(), net.params()), "{batches} batches");
        // An epoch of 19 batches leaves a rest.
        let steps = usize::div_ceil(19, batches);
        assert_eq!(norms.len(), 2 * steps);
        assert_eq!(told.len(), 2 * (steps + 1));
        assert!(told.iter().all(|progress| progress.steps == steps));
        assert_eq!(*rates.borrow(), (0..2 * steps as u64).collect::<Vec<_>>(), "rates go by steps");
        assert_eq!(told[0].sums.similar.pairs, 6 * batches.min(19) as u64);
        let epoch = told[..steps].iter().map(|progress| progress.sums).reduce(|a, b| a + b);
        assert_eq!(epoch, Some(told[steps].sums));
        assert_eq!(told[steps].loss, history.losses[0]);
    }
}

#[test]
fn a_mean_of_batches_is_clipped_as_a_whole() {
    let fit = Fit::new(2, &|_| 0.1).accumulate(2).unwrap().clip_norm(0.25).unwrap();
    let (siamese, _, told) = run(fit);
    let (net, norms) = by_hand(2, 2, 0.1, 0.25);
    assert!(close(siamese.net().params(), net.params()));
    assert!((told[0].norm.unwrap() - norms[0]).abs() < 1e-13);
    let last = *norms.last().unwrap();
    let kept = siamese.gradient().iter().map(|g| g * g).sum::<f64>().sqrt();
    assert!((kept - last.min(0.25)).abs() < 1e-13, "the gradient of the last step");
}

#[test]
fn a_step_of_several_batches_of_all_pairs_has_the_mean_of_their_gradients() {
    let (points, labels) = (points(), labels());
    let data = Mat::new(&points, SAMPLES, WIDTH).unwrap();
    let (cx, set) = (Cx::default(), Similar::Labels(&labels));
    let loss = Contrastive::new(1.0).unwrap();
    let objective = Objective::sum(&loss).reduced(Reduction::Balanced);
    let mut sampler = BatchSampler::new(set, 8, 9).unwrap();
    assert_eq!(sampler.steps_per_epoch(), 3);
    let mut twin_sampler = sampler.clone();
    let mut fitted = siamese();
    let fit = Fit::new(1, &|_| 0.1).accumulate(2).unwrap();
    fitted.fit_batches(&cx, &objective, data, &mut sampler, fit, go_on).unwrap();

    let (mut twin, mut samples) = (siamese(), Vec::new());
    for batches in [2, 1] {
        let mut mean = vec![0.0; twin.gradient().len()];
        for _ in 0..batches {
            twin_sampler.next_batch(&mut samples);
            twin.step_batch(&cx, &objective, 0.0, data, &samples, set).unwrap();
            for (mean, g) in mean.iter_mut().zip(twin.gradient()) {
                *mean += g / f64::from(batches);
            }
        }
        for (p, g) in twin.net_mut().params_mut().iter_mut().zip(mean) {
            *p -= 0.1 * g;
        }
    }
    assert!(close(fitted.net().params(), twin.net().params()));
}

#[test]
fn clipped_means_of_batches_are_the_same_bytes_for_any_number_of_threads() {
    let train = |isa: Isa, par: Par| {
        let points: Vec<f32> = points().iter().map(|&x| x as f32).collect();
        let labels = labels();
        // More parameters than a block of work.
        let net = Network::builder(Shape::flat(WIDTH))
            .layer("f1", Dense::new(200))
            .layer("f2", Dense::new(150))
            .build(3)
            .unwrap();
        let mut siamese = Siamese::new(net, Adam::new(), 6).unwrap();
        let mut sampler = BatchSampler::new(Similar::Labels(&labels), 8, 9).unwrap();
        let loss = Contrastive::new(1.0_f32).unwrap();
        let data = Mat::new(&points, SAMPLES, WIDTH).unwrap();
        let fit = Fit::new(2, &|_| 0.01).accumulate(2).unwrap().clip_norm(0.1).unwrap();
        let objective = Objective::mean(&loss);
        let history = siamese
            .fit_batches(&Cx { isa, par }, &objective, data, &mut sampler, fit, go_on)
            .unwrap();
        (history, siamese.into_net().params().to_vec())
    };
    for isa in tiers() {
        let serial = train(isa, Par::Serial);
        for threads in [2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert!(pool.install(|| train(isa, Par::Rayon)) == serial, "{threads} threads, {isa}");
        }
    }
}

/// Any batch has the same loss, which falls while the rate is above 0, and stays where it is at 0: listed
/// pairs of two classes, each of equal points, or all pairs. One step an epoch.
fn fit_of_steady_loss(listed: bool, fit: Fit) -> History {
    let points = [0.0, 0.4, 0.0, 0.4];
    let labels = if listed { [0, 1, 0, 1] } else { [0, 0, 1, 1] };
    let data = Mat::new(&points, 4, 1).unwrap();
    let net = Network::builder(Shape::flat(1)).layer("map", Dense::new(2)).build(1).unwrap();
    let mut siamese = Siamese::new(net, Sgd::new(), 80).unwrap();
    let (cx, set) = (Cx::default(), Similar::Labels(&labels));
    let loss = Contrastive::new(2.0).unwrap();
    let objective = Objective::mean(&loss);
    let history = if listed {
        let mut sampler = Sampler::new(set, 40, 1).unwrap();
        assert_eq!(sampler.steps_per_epoch(), 1);
        siamese.fit(&cx, &objective, data, &mut sampler, fit, go_on)
    } else {
        let mut sampler = BatchSampler::new(set, 4, 1).unwrap();
        assert_eq!(sampler.steps_per_epoch(), 1);
        siamese.fit_batches(&cx, &objective, data, &mut sampler, fit, go_on)
    };
    history.unwrap()
}

#[test]
fn training_ends_after_so_many_epochs_without_an_improvement() {
    // The losses of epochs 0, 1, 2 and 3 fall.
    let rate = |step: u64| if step < 3 { 0.1 } else { 0.0 };
    for listed in [false, true] {
        for patience in [1, 2, 5] {
            let fit = Fit::new(50, &rate).patience(patience, 1e-9).unwrap();
            let history = fit_of_steady_loss(listed, fit);
            assert!(history.losses[..4].is_sorted_by(|a, b| *a > b + 1e-4), "{history:?}");
            assert_eq!(history.losses.len(), 4 + patience, "{history:?}");
            assert_eq!((history.best, history.end), (Some(3), End::Patience));
            // The first epoch improves on nothing at all, the others by less than is asked for.
            let fit = Fit::new(50, &rate).patience(patience, 100.0).unwrap();
            let history = fit_of_steady_loss(listed, fit);
            assert_eq!((history.losses.len(), history.best), (1 + patience, Some(0)));
        }
        let history = fit_of_steady_loss(listed, Fit::new(50, &rate));
        assert_eq!((history.losses.len(), history.end), (50, End::Epochs), "not asked for");
        // Small improvements add up to one.
        let small = history.losses[0] - history.losses[1];
        let fit = Fit::new(4, &rate).patience(3, 1.5 * small).unwrap();
        let history = fit_of_steady_loss(listed, fit);
        assert_eq!((history.losses.len(), history.best), (4, Some(2)), "{history:?}");
    }
}

#[test]
fn a_loss_that_is_not_finite_is_no_improvement() {
    let fit = Fit::new(50, &|_| f64::MAX).patience(3, 0.0).unwrap();
    let history = fit_of_steady_loss(false, fit);
    assert!(history.losses[0].is_finite() && history.losses[3].is_nan(), "{history:?}");
    assert_eq!((history.losses.len(), history.best, history.end), (4, Some(0), End::Patience));
}

#[test]
fn a_fit_that_is_ended_by_its_observer_says_so() {
    let (points, labels) = (points(), labels());
    let data = Mat::new(&points, SAMPLES, WIDTH).unwrap();
    let loss = Contrastive::new(1.0).unwrap();
    let objective = Objective::mean(&loss);
    for (at_end, best) in [(true, Some(0)), (false, None)] {
        let mut sampler = Sampler::new(Similar::Labels(&labels), 12, 9).unwrap();
        let fit = Fit::new(9, &|_| 0.1).patience(1, 100.0).unwrap();
        let mut siamese = siamese();
        let history = siamese
            .fit(&Cx::default(), &objective, data, &mut sampler, fit, |progress| {
                match progress.epoch_ended == at_end {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            })
            .unwrap();
        let got = (history.losses.len(), history.best, history.end);
        assert_eq!(got, (1, best, End::Observer));
        assert_ne!(siamese.net().params(), network().params(), "the step is kept");
    }
}

#[test]
fn a_fit_names_what_it_refuses() {
    let fit = Fit::new(1, &|_| 0.1);
    for (refused, name) in [
        (fit.clip_norm(0.0), "max"),
        (fit.clip_norm(-1.0), "max"),
        (fit.clip_norm(f64::NAN), "max"),
        (fit.accumulate(0), "batches"),
        (fit.patience(0, 0.1), "epochs"),
        (fit.patience(1, -0.1), "min_delta"),
        (fit.patience(1, f64::NAN), "min_delta"),
        (fit.patience(1, f64::INFINITY), "min_delta"),
    ] {
        let error = refused.err().unwrap();
        assert!(matches!(error, Error::Value { arg, .. } if arg == name), "{error}, not {name}");
    }
}
