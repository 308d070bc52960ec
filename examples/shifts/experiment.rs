//! The paper's net on shifted digits, by two ways of saying which images are similar.

use std::ops::ControlFlow;
use std::time::Instant;

use drlim::loss::{Contrastive, Objective, Reduction};
use drlim::optim::{Adam, schedule};
use drlim::pairs::{BatchSampler, nearest_others};
use drlim::samples::{Samples, Shift, Versions};
use drlim::siamese::{Fit, Progress, Siamese};
use drlim::{Cx, Error, Graph, Mat, MatMut, Rng, metrics};

use crate::args::Args;
use crate::shared::Failure;
use crate::shared::digits::{Digits, FRAME, Split, VOTERS};
use crate::shared::net::network;
use crate::shared::points::points;
use crate::shared::progress::Bar;

/// How far the versions of an image are moved to the right: the paper's four shifts, and none.
pub const SHIFTS: [isize; 5] = [-6, -3, 0, 3, 6];

/// What makes two images similar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// One is among the nearest neighbours of the other, among all shifted images, in pixel space.
    Neighbours,
    /// They are versions of one image, or of two originals of which one is among the nearest neighbours of the
    /// other.
    Shifts,
}

/// What training gave.
pub struct Trained {
    /// Training alone.
    pub seconds: f64,
    /// Steps of training.
    pub steps: usize,
    /// Similar pairs of the training set.
    pub similar_pairs: usize,
    /// Where the test images lie in the plane: version v of image i at 5 i + v.
    pub test: Vec<[f32; 2]>,
    pub measures: Measures,
}

/// How the embedding of the test images is organised.
#[derive(Clone, Copy, Debug)]
pub struct Measures {
    /// 5-NN error of the class, test images against training images.
    pub digit_error: f64,
    /// 5-NN error of the shift, measured alike.
    pub shift_error: f64,
    /// Mean distance between versions of an image over that between two random images of one shift.
    pub own_over_random: f64,
    /// 5-NN error of the class among the training images, each against all others: what the defaults were chosen
    /// by.
    pub train_digit_error: f64,
    /// 5-NN error of the shift, measured alike.
    pub train_shift_error: f64,
}

/// All versions of the images, made as they are drawn.
fn versions(split: &Split) -> Result<impl Samples<f32> + '_, Error> {
    const BY: [Shift; SHIFTS.len()] = {
        let mut by = [Shift { down: 0, right: 0 }; SHIFTS.len()];
        let mut v = 0;
        while v < SHIFTS.len() {
            by[v].right = SHIFTS[v];
            v += 1;
        }
        by
    };
    Versions::shifted(split.frames()?, [FRAME, FRAME], &BY, 0.0)
}

/// Trains, embeds all versions of all images, and measures.
pub fn train(
    cx: &Cx,
    args: &Args,
    digits: &Digits,
    knowledge: Knowledge,
) -> Result<Trained, Failure> {
    let (graph, pairs) = match knowledge {
        Knowledge::Neighbours => neighbours(cx, args, digits)?,
        Knowledge::Shifts => prior_knowledge(cx, args, digits)?,
    };
    let images = versions(&digits.train)?;
    let batch = args.batch.min(images.count());
    let mut sampler = BatchSampler::listed(&graph, &pairs, batch, args.seed)?;
    let steps = sampler.steps_per_epoch();
    let epochs = match knowledge {
        Knowledge::Neighbours => args.neighbor_epochs,
        Knowledge::Shifts => args.shift_epochs,
    };
    let mut siamese = Siamese::new(network(args.seed)?, Adam::new(), batch.div_ceil(2))?;
    let loss = Contrastive::new(args.margin)?;
    let objective = Objective::sum(&loss).reduced(Reduction::Balanced);
    let rate = schedule::cosine(args.rate, (epochs * steps) as u64);
    let mut bar = Bar::new(epochs, steps);
    let observe = |progress: &Progress| {
        let loss = 0.5 * Reduction::Balanced.value(&progress.sums);
        if progress.epoch_ended {
            bar.epoch(loss);
        } else {
            bar.step(loss, progress.rate);
        }
        ControlFlow::Continue(())
    };
    let begin = Instant::now();
    siamese.fit_batches(cx, &objective, &images, &mut sampler, Fit::new(epochs, &rate), observe)?;
    let seconds = begin.elapsed().as_secs_f64();
    let train = embed(cx, &mut siamese, &images)?;
    let test = embed(cx, &mut siamese, &versions(&digits.test)?)?;
    if train.iter().chain(&test).flatten().any(|z| !z.is_finite()) {
        return Err("training diverged: the embedding is not finite".into());
    }
    let measures = measure(cx, args, digits, &train, &test)?;
    let steps = epochs * steps;
    Ok(Trained { seconds, steps, similar_pairs: graph.edges(), test, measures })
}

/// Each shifted image with its nearest neighbours among all of them. The search needs all of them at once; they
/// are gone when it is done.
fn neighbours(cx: &Cx, args: &Args, digits: &Digits) -> Result<(Graph, Vec<(u32, u32)>), Failure> {
    let images = versions(&digits.train)?;
    let mut pixels = vec![0.0; images.count() * images.len()];
    for (i, image) in pixels.chunks_exact_mut(images.len()).enumerate() {
        images.write(i, 0, image);
    }
    let stored = Mat::new(&pixels, images.count(), images.len())?;
    let neighbours = nearest_others(cx, stored, args.neighbors)
        .map_err(|error| format!("--neighbors: {error}"))?;
    let pairs: Vec<_> = neighbours.pairs().collect();
    Ok((Graph::from_pairs(images.count(), &pairs)?, pairs))
}

/// All versions of an image are similar, and so are all versions of two neighbours: 620 300 pairs of the fours and
/// nines, each of which counts in a batch that holds both. Batches are drawn around some of them: each version of an
/// image comes with its neighbours, each in a random version, and with one other version of itself.
fn prior_knowledge(
    cx: &Cx,
    args: &Args,
    digits: &Digits,
) -> Result<(Graph, Vec<(u32, u32)>), Failure> {
    let neighbours = nearest_others(cx, digits.train.pixels()?, args.neighbors)
        .map_err(|error| format!("--neighbors: {error}"))?;
    let of_originals: Vec<_> = neighbours.pairs().collect();
    let graph = Graph::from_pairs(neighbours.rows(), &of_originals)?.versions(SHIFTS.len())?;
    let versions = SHIFTS.len() as u32;
    let mut rng = Rng::stream(args.seed, 1);
    let mut below = |n: u32| rng.below(u64::from(n)) as u32;
    let mut pairs = Vec::new();
    for version in 0..versions {
        for &(i, j) in &of_originals {
            pairs.push((i * versions + version, j * versions + below(versions)));
        }
        for i in 0..neighbours.rows() as u32 {
            let other = (version + 1 + below(versions - 1)) % versions;
            pairs.push((i * versions + version, i * versions + other));
        }
    }
    Ok((graph, pairs))
}

/// What LLE, which has no network and no knowledge, makes of the first test images of each class.
pub struct Lle {
    /// Which test image each five points are.
    pub images: Vec<usize>,
    /// Version v of the i-th of them at 5 i + v.
    pub points: Vec<[f32; 2]>,
    /// 5-NN error of the class, each point against all others.
    pub digit_error: f64,
    /// 5-NN error of the shift, measured alike.
    pub shift_error: f64,
}

/// Images that LLE is given: its time grows with the cube of their number.
const LLE_IMAGES: usize = 300;

/// Embeds shifted test images by LLE.
pub fn lle(cx: &Cx, args: &Args, digits: &Digits) -> Result<Lle, Failure> {
    let test = &digits.test;
    let each = LLE_IMAGES / digits.classes.len();
    let mut images = Vec::new();
    for &class in &digits.classes {
        let of_class = (0..test.len()).filter(|&i| test.labels[i] == i64::from(class));
        images.extend(of_class.take(each));
    }
    let all = versions(test)?;
    let mut pixels = vec![0.0; images.len() * SHIFTS.len() * all.len()];
    for (at, to) in pixels.chunks_exact_mut(all.len()).enumerate() {
        all.write(images[at / SHIFTS.len()] * SHIFTS.len() + at % SHIFTS.len(), 0, to);
    }
    let x = Mat::new(&pixels, images.len() * SHIFTS.len(), all.len())?;
    let points = crate::shared::lle::embed::<2>(cx, x, (2 * args.neighbors).min(x.rows() - 1))?;
    let class = |at: usize| test.labels[images[at / SHIFTS.len()]];
    let classes: Vec<i64> = (0..points.len()).map(class).collect();
    let shifts: Vec<i64> = (0..points.len()).map(|at| (at % SHIFTS.len()) as i64).collect();
    let error = |labels: &[i64]| -> Result<f64, Error> {
        metrics::knn_error_leave_one_out(cx, self::points(&points)?, labels, VOTERS)
    };
    let (digit_error, shift_error) = (error(&classes)?, error(&shifts)?);
    Ok(Lle { images, points, digit_error, shift_error })
}

fn embed(
    cx: &Cx,
    siamese: &mut Siamese<f32, Adam<f32>>,
    images: &impl Samples<f32>,
) -> Result<Vec<[f32; 2]>, Error> {
    let mut points = vec![[0.0; 2]; images.count()];
    let z = MatMut::new(points.as_flattened_mut(), images.count(), 2)?;
    siamese.embed(cx, images, z)?;
    Ok(points)
}

fn measure(
    cx: &Cx,
    args: &Args,
    digits: &Digits,
    train: &[[f32; 2]],
    test: &[[f32; 2]],
) -> Result<Measures, Error> {
    let classes = |split: &Split| -> Vec<i64> {
        split.labels.iter().flat_map(|&label| [label; SHIFTS.len()]).collect()
    };
    let shifts = |split: &Split| -> Vec<i64> {
        let one = 0..SHIFTS.len() as i64;
        (0..split.len()).flat_map(|_| one.clone()).collect()
    };
    let (of_train, of_test) = (points(train)?, points(test)?);
    let error = |labels: &dyn Fn(&Split) -> Vec<i64>| {
        let (train, test) = (labels(&digits.train), labels(&digits.test));
        metrics::knn_error(cx, of_train, &train, of_test, &test, VOTERS)
    };
    let alone = |labels: &dyn Fn(&Split) -> Vec<i64>| {
        metrics::knn_error_leave_one_out(cx, of_train, &labels(&digits.train), VOTERS)
    };
    Ok(Measures {
        digit_error: error(&classes)?,
        shift_error: error(&shifts)?,
        own_over_random: own_over_random(test, args.seed),
        train_digit_error: alone(&classes)?,
        train_shift_error: alone(&shifts)?,
    })
}

/// The mean distance between two versions of one image, over that between random images of one shift: as many of
/// these as of the former. NaN for a single image.
fn own_over_random(points: &[[f32; 2]], seed: u64) -> f64 {
    let versions = SHIFTS.len();
    let images = points.len() / versions;
    let distance = |a: usize, b: usize| {
        let [x, y] = [0, 1].map(|k| f64::from(points[a][k]) - f64::from(points[b][k]));
        x.hypot(y)
    };
    if images < 2 {
        return f64::NAN;
    }
    let mut rng = Rng::stream(seed, 2);
    let (mut own, mut random) = (0.0, 0.0);
    for image in 0..images {
        for v in 0..versions {
            for w in 0..v {
                own += distance(image * versions + v, image * versions + w);
                let other = (image + 1 + rng.below(images as u64 - 1) as usize) % images;
                let shift = rng.below(versions as u64) as usize;
                random += distance(image * versions + shift, other * versions + shift);
            }
        }
    }
    own / random
}
