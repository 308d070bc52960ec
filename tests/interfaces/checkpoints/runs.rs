//! A run that stops, is saved, and goes on in another process gives the bytes of one that never stopped.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use drlim::loss::{Contrastive, Objective, Reduction};
use drlim::optim::{Adam, Resume, Sgd, schedule};
use drlim::pairs::{BatchSampler, Sampler, SamplerState};
use drlim::siamese::{Fit, Progress, Siamese};
use drlim::{Cx, Mat, Similar, checkpoint};

use crate::checkpoints::network;
use crate::support::{Element, Folder, Random};

const SAMPLES: usize = 40;
const EPOCHS: usize = 4;

/// Noise in two classes, one of which is brighter.
fn samples<T: Element>() -> (Vec<T>, Vec<i64>) {
    let mut random = Random::new(5);
    let labels: Vec<i64> = (0..SAMPLES as i64).map(|i| i % 2).collect();
    let data = labels.iter().flat_map(|&label| vec![label as f64; 144]);
    (data.map(|mean| random.between(mean - 0.5, mean + 0.5)).collect(), labels)
}

/// The two samplers.
#[derive(Clone, Copy, Debug)]
enum Drawn {
    Pairs,
    Batches,
}

/// Goes on with the run in the file, or starts one where there is none, up to the given epoch or until
/// `steps` are done; and saves it. Returns the epochs of which the observer was told the end.
fn train<T: Element, O: Resume<T>>(
    path: &Path,
    optimizer: O,
    drawn: Drawn,
    epochs: usize,
    steps: u64,
) -> Vec<usize> {
    let (data, labels) = samples::<T>();
    let data = Mat::new(&data, SAMPLES, 144).unwrap();
    let set = Similar::Labels(&labels);
    // Seeds of the process that goes on do not matter.
    let seed = if path.exists() { 99 } else { 3 };
    let mut siamese = Siamese::new(network::<T>(seed), optimizer, 8).unwrap();
    let state: Option<SamplerState> = match path.exists() {
        true => checkpoint::load_training(&mut siamese, path).unwrap(),
        false => None,
    };
    let loss = Contrastive::new(T::ONE).unwrap();
    let cx = Cx::default();
    let mut done = siamese.steps();
    let mut ended = Vec::new();
    let mut observe = |progress: &Progress| {
        done += u64::from(!progress.epoch_ended);
        ended.extend(progress.epoch_ended.then_some(progress.epoch));
        if done == steps { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let sampler = match drawn {
        Drawn::Pairs => {
            let mut sampler = Sampler::new(set, 8, seed).unwrap();
            state.map_or(Ok(()), |state| sampler.restore(state)).unwrap();
            let rate = schedule::cosine(0.01, (EPOCHS * sampler.steps_per_epoch()) as u64);
            let fit = Fit::new(epochs, &rate).first_step(siamese.steps());
            let objective = Objective::mean(&loss);
            siamese.fit(&cx, &objective, data, &mut sampler, fit, &mut observe).unwrap();
            sampler.state()
        }
        Drawn::Batches => {
            let mut sampler = BatchSampler::new(set, 12, seed).unwrap();
            state.map_or(Ok(()), |state| sampler.restore(state)).unwrap();
            let rate = schedule::cosine(0.01, (EPOCHS * sampler.steps_per_epoch()) as u64);
            let fit = Fit::new(epochs, &rate).first_step(siamese.steps());
            let objective = Objective::sum(&loss).reduced(Reduction::Balanced);
            siamese.fit_batches(&cx, &objective, data, &mut sampler, fit, &mut observe).unwrap();
            sampler.state()
        }
    };
    checkpoint::save_training(&siamese, sampler, path).unwrap();
    ended
}

/// In one go, stopped after two epochs, and stopped within epochs.
fn go_on<T: Element, O: Resume<T> + Clone>(optimizer: O, name: &str, drawn: Drawn) {
    let case = format!("{name}-{drawn:?}-{}", T::NAME);
    let folder = Folder::new(&format!("runs-{case}"));
    let [whole, halves, pieces] = ["whole", "halves", "pieces"].map(|name| folder.join(name));
    let never = u64::MAX;
    assert_eq!(train(&whole, optimizer.clone(), drawn, 4, never), [0, 1, 2, 3]);
    let expected = fs::read(&whole).unwrap();

    assert_eq!(train(&halves, optimizer.clone(), drawn, 2, never), [0, 1]);
    assert_ne!(fs::read(&halves).unwrap(), expected);
    assert_eq!(train(&halves, optimizer.clone(), drawn, 4, never), [2, 3], "{case}");
    assert!(fs::read(&halves).unwrap() == expected, "{case}: stopped after two epochs");
    assert!(train(&halves, optimizer.clone(), drawn, 4, never).is_empty(), "it has ended");
    assert!(fs::read(&halves).unwrap() == expected, "{case}: a run that has ended");

    for stop in [0, 1, 4, 5, 9, never] {
        let epochs = if stop == 0 { 0 } else { EPOCHS };
        train(&pieces, optimizer.clone(), drawn, epochs, stop);
    }
    assert!(fs::read(&pieces).unwrap() == expected, "{case}: stopped within epochs");
}

fn by_every_optimizer<T: Element>() {
    for drawn in [Drawn::Pairs, Drawn::Batches] {
        go_on::<T, _>(Sgd::new(), "sgd", drawn);
        go_on::<T, _>(Sgd::new().momentum(0.9).unwrap(), "momentum", drawn);
        go_on::<T, _>(Adam::new().weight_decay(1e-3).unwrap(), "adam", drawn);
    }
}

#[test]
fn a_run_of_f32_goes_on_as_if_it_had_never_stopped() {
    by_every_optimizer::<f32>();
}

#[test]
fn a_run_of_f64_goes_on_as_if_it_had_never_stopped() {
    by_every_optimizer::<f64>();
}

#[test]
fn a_run_can_be_saved_without_a_sampler() {
    let folder = Folder::new("no-sampler");
    let path = folder.join("run.safetensors");
    let mut siamese = Siamese::new(network::<f32>(1), Sgd::new(), 4).unwrap();
    checkpoint::save_training(&siamese, None, &path).unwrap();
    assert_eq!(checkpoint::load_training(&mut siamese, &path), Ok(None));
    let state = SamplerState { pass: u64::MAX, position: 2, rng: 1 << 63 };
    checkpoint::save_training(&siamese, state, &path).unwrap();
    assert_eq!(checkpoint::load_training(&mut siamese, &path), Ok(Some(state)));
}
