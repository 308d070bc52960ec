//! The paper's net, trained on listed pairs or on all pairs of batches.

use std::ops::ControlFlow;
use std::time::Instant;

use drlim::loss::{
    AnchorObjective, AnchorReduction, Contrastive, Objective, Reduction, Softmax, Sums,
};
use drlim::nn::Network;
use drlim::optim::{Adam, schedule};
use drlim::pairs::{BatchSampler, Sampler, nearest_others};
use drlim::siamese::{Fit, Progress, Siamese};
use drlim::{Cx, Error, Graph, MatMut, Similar};

use crate::args::{Loss, Settings, Similarity, Step};
use crate::shared::Failure;
use crate::shared::digits::{Digits, Split};
use crate::shared::net::{network, network_to_circle};
use crate::shared::progress::Bar;

/// Listed pairs in a step.
const PAIRS: usize = 128;

/// SupCon's, as in its authors' code for small images.
const TEMPERATURE: f32 = 0.1;

/// What training gave.
pub struct Trained {
    /// The net.
    pub net: Network<f32>,
    /// Mean value of a pair in each epoch, with half of the weight on the similar ones; by SupCon that of an image.
    pub losses: Vec<f64>,
    /// The same in each step.
    pub step_losses: Vec<f64>,
    /// Pairs in all steps.
    pub pairs: u64,
    /// Training alone, without reading files and finding neighbours.
    pub seconds: f64,
    /// Where the training images lie in the plane.
    pub train: Vec<[f32; 2]>,
    /// Where the test images lie.
    pub test: Vec<[f32; 2]>,
}

/// Where the pairs of a step come from.
enum Source<'a> {
    Listed(Sampler<'a>),
    Batches(BatchSampler<'a>),
}

/// Trains, and embeds all images.
pub fn train(cx: &Cx, settings: &Settings, digits: &Digits) -> Result<Trained, Failure> {
    let seed = settings.seed;
    let at_most_all = |images: usize| images.min(digits.train.len());
    match settings.similarity {
        Similarity::Labels => {
            let similar = Similar::Labels(&digits.train.labels);
            let source = match settings.step {
                Step::Listed => Source::Listed(Sampler::new(similar, PAIRS, seed)?),
                Step::Batch(images) => {
                    Source::Batches(BatchSampler::new(similar, at_most_all(images), seed)?)
                }
            };
            train_on(cx, settings, digits, source)
        }
        Similarity::Neighbours(k) => {
            let neighbours = nearest_others(cx, digits.train.pixels()?, k)
                .map_err(|error| format!("--neighbors: {error}"))?;
            // As in the paper, each image with each of its neighbours: two images that are
            // neighbours of each other count twice. They are the more reliable pairs, and a point
            // of error is lost where each counts once.
            let pairs: Vec<_> = neighbours.pairs().collect();
            let graph = Graph::from_pairs(neighbours.rows(), &pairs)?;
            let source = match settings.step {
                Step::Listed => Source::Listed(Sampler::weighted(&graph, pairs, PAIRS, seed)?),
                Step::Batch(images) => {
                    let images = at_most_all(images);
                    Source::Batches(BatchSampler::listed(&graph, &pairs, images, seed)?)
                }
            };
            train_on(cx, settings, digits, source)
        }
    }
}

fn train_on(
    cx: &Cx,
    settings: &Settings,
    digits: &Digits,
    mut source: Source,
) -> Result<Trained, Failure> {
    // Pairs of each anchor of a batch, each of them counted from both ends.
    let candidates = match &source {
        Source::Listed(_) => 0,
        Source::Batches(sampler) => sampler.batch() as u64 - 1,
    };
    let (steps, max_pairs) = match &source {
        Source::Listed(sampler) => (sampler.steps_per_epoch(), sampler.batch()),
        Source::Batches(sampler) => (sampler.steps_per_epoch(), sampler.batch().div_ceil(2)),
    };
    let net = match settings.loss {
        Loss::Contrastive => network(settings.seed)?,
        Loss::Supcon => network_to_circle(settings.seed)?,
    };
    let mut siamese = Siamese::new(net, Adam::new(), max_pairs)?;
    let (loss, softmax) = (Contrastive::new(settings.margin)?, Softmax::temperature(TEMPERATURE)?);
    let rate = schedule::cosine(settings.rate, (settings.epochs * steps) as u64);
    let fit = Fit::new(settings.epochs, &rate);
    let mut bar = Bar::new(settings.epochs, steps);
    let (mut losses, mut step_losses, mut pairs) = (Vec::new(), Vec::new(), 0);
    let value = |sums: &Sums| match settings.loss {
        Loss::Contrastive => 0.5 * Reduction::Balanced.value(sums),
        Loss::Supcon => Reduction::Mean.value(sums),
    };
    let observe = |progress: &Progress| {
        let loss = value(&progress.sums);
        if progress.epoch_ended {
            losses.push(loss);
            pairs += match settings.loss {
                Loss::Contrastive => progress.sums.similar.pairs + progress.sums.dissimilar.pairs,
                Loss::Supcon => progress.sums.similar.pairs * candidates / 2,
            };
            bar.epoch(loss);
        } else {
            step_losses.push(loss);
            bar.step(loss, progress.rate);
        }
        ControlFlow::Continue(())
    };
    let frames = digits.train.frames()?;
    let begin = Instant::now();
    match &mut source {
        Source::Listed(sampler) => {
            siamese.fit(cx, &Objective::mean(&loss), frames, sampler, fit, observe)?
        }
        Source::Batches(sampler) if settings.loss == Loss::Supcon => {
            let reduction = AnchorReduction::MeanWithSimilar;
            let objective = AnchorObjective::mean(&softmax).reduced(reduction);
            siamese.fit_batches(cx, &objective, frames, sampler, fit, observe)?
        }
        Source::Batches(sampler) => {
            // Of 88 pairs of a batch around neighbours one is similar.
            let objective = Objective::sum(&loss).reduced(Reduction::Balanced);
            siamese.fit_batches(cx, &objective, frames, sampler, fit, observe)?
        }
    };
    let seconds = begin.elapsed().as_secs_f64();
    let train = embed(cx, &mut siamese, &digits.train)?;
    let test = embed(cx, &mut siamese, &digits.test)?;
    if train.iter().chain(&test).flatten().any(|z| !z.is_finite()) {
        return Err("training diverged: the embedding is not finite".into());
    }
    Ok(Trained { net: siamese.into_net(), losses, step_losses, pairs, seconds, train, test })
}

impl Trained {
    /// Pairs seen in a second of training.
    pub fn pairs_per_second(&self) -> f64 {
        self.pairs as f64 / self.seconds
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
