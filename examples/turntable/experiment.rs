//! The paper's fully connected net on views of one object, and what their nearest neighbours have in common.

use std::time::Instant;

use drlim::loss::{Contrastive, Objective, Reduction};
use drlim::nn::{Dense, Network, Shape, Tanh};
use drlim::optim::{Adam, schedule};
use drlim::pairs::{nearest, nearest_others};
use drlim::siamese::Siamese;
use drlim::{Cx, Error, Mat, MatMut, Similar};

use crate::args::Args;
use crate::shared::Failure;
use crate::shared::progress::Bar;
use crate::views::{SIDE, Views};

/// What training gave.
pub struct Trained {
    pub net: Network<f32>,
    /// Training alone.
    pub seconds: f64,
    /// Among the views to train with.
    pub similar_pairs: u64,
    pub dissimilar_pairs: u64,
    /// Where all views lie, those to train with first.
    pub points: Vec<[f32; 3]>,
}

/// The share of the test views that have something in common with their nearest training view.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    pub azimuth: f64,
    pub elevation: f64,
    pub both: f64,
    pub lighting: f64,
}

/// Steps that the progress bar takes for an epoch.
const EPOCH: usize = 100;

/// Trains on all pairs of the training views at once, and embeds all views.
pub fn train(cx: &Cx, args: &Args, views: &Views) -> Result<Trained, Failure> {
    let graph = views.similar()?;
    let net = Network::builder(Shape::flat(SIDE * SIDE))
        .layer("f1", Dense::new(20))
        .layer("tanh1", Tanh::new())
        .layer("f2", Dense::new(3))
        .build(args.seed)?;
    let mut siamese = Siamese::new(net, Adam::new(), views.train.div_ceil(2))?;
    let loss = Contrastive::new(args.margin)?;
    let objective = Objective::sum(&loss).reduced(Reduction::Balanced);
    let rate = schedule::cosine(args.rate, args.steps as u64);
    let centered: Vec<f32> = views.pixels.iter().map(|&x| x - 0.5).collect();
    let all = Mat::new(&centered, views.len(), SIDE * SIDE)?;
    let training = all.rows_range(0, views.train);
    let batch: Vec<u32> = (0..views.train as u32).collect();
    let mut bar = Bar::new(args.steps.div_ceil(EPOCH), EPOCH.min(args.steps));
    let begin = Instant::now();
    let (mut similar_pairs, mut dissimilar_pairs) = (0, 0);
    for step in 0..args.steps {
        let (rate, similar) = (rate(step as u64), Similar::Graph(&graph));
        let outcome = siamese.step_batch(cx, &objective, rate, training, &batch, similar)?;
        let loss = 0.5 * outcome.value;
        bar.step(loss, rate);
        if (step + 1) % EPOCH == 0 || step + 1 == args.steps {
            bar.epoch(loss);
        }
        similar_pairs = outcome.sums.similar.pairs;
        dissimilar_pairs = outcome.sums.dissimilar.pairs;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let mut points = vec![[0.0; 3]; views.len()];
    siamese.embed(cx, all, MatMut::new(points.as_flattened_mut(), views.len(), 3)?)?;
    if points.iter().flatten().any(|z| !z.is_finite()) {
        return Err("training diverged: the embedding is not finite".into());
    }
    Ok(Trained { net: siamese.into_net(), seconds, similar_pairs, dissimilar_pairs, points })
}

/// Looks at the nearest training view of each test view.
pub fn shares(cx: &Cx, views: &Views, points: &[[f32; 3]]) -> Result<Shares, Error> {
    let all = Mat::new(points.as_flattened(), views.len(), 3)?;
    let (train, test) = (all.rows_range(0, views.train), all.rows_range(views.train, views.len()));
    Ok(alike(views, views.train, nearest(cx, test, train, 1)?.indices()))
}

/// Looks at the nearest other view of each training view: what the defaults were chosen by.
pub fn shares_of_training(cx: &Cx, views: &Views, points: &[[f32; 3]]) -> Result<Shares, Error> {
    let all = Mat::new(points.as_flattened(), views.len(), 3)?;
    let train = all.rows_range(0, views.train);
    Ok(alike(views, 0, nearest_others(cx, train, 1)?.indices()))
}

/// The share of the views from `first` on that have something in common with the view found for each.
fn alike(views: &Views, first: usize, found: &[u32]) -> Shares {
    let share = |alike: &dyn Fn(usize, usize) -> bool| {
        let pairs = found.iter().enumerate().map(|(i, &j)| (first + i, j as usize));
        pairs.filter(|&(i, j)| alike(i, j)).count() as f64 / found.len() as f64
    };
    let poses = &views.poses;
    Shares {
        azimuth: share(&|i, j| poses[i].azimuth_within_a_step(&poses[j])),
        elevation: share(&|i, j| poses[i].elevation_within_a_step(&poses[j])),
        both: share(&|i, j| poses[i].is_similar(&poses[j])),
        lighting: share(&|i, j| poses[i].lighting == poses[j].lighting),
    }
}
