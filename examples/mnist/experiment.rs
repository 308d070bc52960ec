//! The paper's net, trained on pairs.

use std::ops::ControlFlow;
use std::time::Instant;

use drlim::loss::{Contrastive, Objective};
use drlim::nn::{Conv2d, Dense, Network, Shape, Subsample2d, Tanh};
use drlim::optim::{Adam, schedule};
use drlim::pairs::{Sampler, nearest_others};
use drlim::siamese::{Fit, Siamese};
use drlim::{Cx, Error, Graph, MatMut, Similar};

use crate::Failure;
use crate::args::{Settings, Similarity};
use crate::digits::{Digits, FRAME, Split};
use crate::progress::Bar;

/// Pairs in a step.
const BATCH: usize = 128;

/// What training gave.
pub struct Trained {
    /// The net.
    pub net: Network<f32>,
    /// Mean value of a pair in each epoch.
    pub losses: Vec<f64>,
    /// The same in each step.
    pub step_losses: Vec<f64>,
    /// Training alone, without reading files and finding neighbours.
    pub seconds: f64,
    /// Where the training images lie in the plane.
    pub train: Vec<[f32; 2]>,
    /// Where the test images lie.
    pub test: Vec<[f32; 2]>,
}

/// G_W of the paper: 37 127 parameters.
fn network(seed: u64) -> Result<Network<f32>, Error> {
    Network::builder(Shape::image(1, FRAME, FRAME))
        .layer("c1", Conv2d::new(15, 6))
        .layer("tanh1", Tanh::new())
        .layer("s2", Subsample2d::new(3))
        .layer("tanh2", Tanh::new())
        .layer("c3", Conv2d::new(30, 9))
        .layer("tanh3", Tanh::new())
        .layer("f4", Dense::new(2))
        .build(seed)
}

/// Trains, and embeds all images.
pub fn train(cx: &Cx, settings: &Settings, digits: &Digits) -> Result<Trained, Failure> {
    let labels = &digits.train.labels;
    match settings.similarity {
        Similarity::Labels => {
            let sampler = Sampler::new(Similar::Labels(labels), BATCH, settings.seed)?;
            train_on(cx, settings, digits, sampler)
        }
        Similarity::Neighbours(k) => {
            let neighbours = nearest_others(cx, digits.train.pixels()?, k)
                .map_err(|error| format!("--neighbors: {error}"))?;
            // As in the paper, each image with each of its neighbours: two images that are
            // neighbours of each other count twice. They are the more reliable pairs, and a point
            // of error is lost where each counts once.
            let pairs: Vec<_> = neighbours.pairs().collect();
            let graph = Graph::from_pairs(neighbours.rows(), &pairs)?;
            let sampler = Sampler::weighted(&graph, pairs, BATCH, settings.seed)?;
            train_on(cx, settings, digits, sampler)
        }
    }
}

fn train_on(
    cx: &Cx,
    settings: &Settings,
    digits: &Digits,
    mut sampler: Sampler,
) -> Result<Trained, Failure> {
    let mut siamese = Siamese::new(network(settings.seed)?, Adam::new(), BATCH)?;
    let loss = Contrastive::new(settings.margin)?;
    let steps = sampler.steps_per_epoch();
    let rate = schedule::cosine(settings.rate, (settings.epochs * steps) as u64);
    let mut bar = Bar::new(settings.epochs, steps);
    let mut step_losses = Vec::new();
    let begin = Instant::now();
    let losses = siamese.fit(
        cx,
        &Objective::mean(&loss),
        digits.train.frames()?,
        &mut sampler,
        Fit { epochs: settings.epochs, rate: &rate },
        |progress| {
            if progress.epoch_ended {
                bar.epoch(progress.loss);
            } else {
                step_losses.push(progress.loss);
                bar.step(progress.loss, progress.rate);
            }
            ControlFlow::Continue(())
        },
    )?;
    let seconds = begin.elapsed().as_secs_f64();
    let train = embed(cx, &mut siamese, &digits.train)?;
    let test = embed(cx, &mut siamese, &digits.test)?;
    if train.iter().chain(&test).flatten().any(|z| !z.is_finite()) {
        return Err("training diverged: the embedding is not finite".into());
    }
    Ok(Trained { net: siamese.into_net(), losses, step_losses, seconds, train, test })
}

impl Trained {
    /// Pairs seen in a second of training.
    pub fn pairs_per_second(&self) -> f64 {
        (self.step_losses.len() * BATCH) as f64 / self.seconds
    }
}

fn embed(
    cx: &Cx,
    siamese: &mut Siamese<f32, Adam<f32>>,
    split: &Split,
) -> Result<Vec<[f32; 2]>, Error> {
    let mut points = vec![[0.0; 2]; split.len()];
    let z = MatMut::new(points.as_flattened_mut(), split.len(), 2)?;
    siamese.embed(cx, split.frames()?, z)?;
    Ok(points)
}
