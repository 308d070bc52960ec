//! Checks hand-derived gradients against finite differences: the crate's own, and a user's.
//!
//! With no autodiff to fall back on, a loss or a layer is only as good as the formula that somebody
//! wrote for its derivative. Each check here returns the [`Worst`] coordinate; a test asserts that
//! its error is small:
//!
//! ```
//! use drlim::gradcheck;
//! use drlim::loss::Contrastive;
//! use drlim::nn::{Dense, Shape};
//!
//! let worst = gradcheck::check_loss(&Contrastive::new(1.0)?, &[1.0], 7)?;
//! assert!(worst.error < 1e-8, "{worst}");
//!
//! let worst = gradcheck::check_layer(Dense::new(3), Shape::flat(4), 2, 7)?;
//! assert!(worst.error < 1e-8, "{worst}");
//! # Ok::<(), drlim::Error>(())
//! ```
//!
//! Everything is done in `f64`, with central differences, whose error is of second order in the step. Near
//! a kink the difference of the two sides says nothing about either, so a loss is not checked there (say
//! where its kinks are). In a layer with kinks, such as a rectifier, an input can fall near one; then try
//! another seed.

#![forbid(unsafe_code)]

use std::fmt;

pub use super::anchor_check::check_anchor_loss;
use crate::batch::{RowsOut, rows};
use crate::error::{Error, Result, check_len};
use crate::loss::{BlockLoss, BlockTripletLoss, Objective};
use crate::memory::mat::{Mat, MatMut};
use crate::memory::reserve::{try_filled, try_with_capacity};
use crate::nn::{Layer, Network, Shape, Workspace};
use crate::parallel::cx::Cx;
use crate::rng::Rng;

/// Half the distance between the two points of a difference, relative to the coordinate where that
/// is above 1: near the cube root of the precision, where rounding and truncation balance.
const STEP: f64 = 1e-5;

/// How far from a kink a loss is checked.
const OFF_KINKS: f64 = 1e-3;

/// The name of this memory in errors.
const POINT: &str = "the point of a check";

/// The coordinate at which two gradients differ most.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Worst {
    /// The coordinate's index.
    pub at: usize,
    /// The derivative by the formula.
    pub analytic: f64,
    /// The derivative by a central difference.
    pub numeric: f64,
    /// How much they differ, relative to the largest entry of both gradients. A NaN in either is
    /// an infinite error.
    pub error: f64,
}

impl fmt::Display for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Worst { at, analytic, numeric, error } = self;
        write!(f, "coordinate {at}: analytic {analytic:e}, numeric {numeric:e}, error {error:e}")
    }
}

/// Compares a gradient with the central differences of `f` at `x`.
///
/// ```
/// // d/dx x³ = 3x²; somebody wrote 2x² instead.
/// let wrong = drlim::gradcheck::check(|x| x[0].powi(3), &[2.0], &[8.0])?;
/// assert!(wrong.error > 0.3 && (wrong.numeric - 12.0).abs() < 1e-6);
/// # Ok::<(), drlim::Error>(())
/// ```
pub fn check(mut f: impl FnMut(&[f64]) -> f64, x: &[f64], analytic: &[f64]) -> Result<Worst> {
    check_len("check", "analytic", analytic.len(), x.len(), "as x")?;
    let (given, mut x) = (x, try_filled(POINT, x.len(), 0.0)?);
    x.copy_from_slice(given);
    let mut numeric = try_with_capacity(POINT, x.len())?;
    for i in 0..x.len() {
        let center = x[i];
        let step = STEP * center.abs().max(1.0);
        x[i] = center + step;
        let above = f(&x);
        x[i] = center - step;
        let below = f(&x);
        x[i] = center;
        numeric.push((above - below) / (2.0 * step));
    }
    Ok(worst(analytic, &numeric))
}

fn worst(analytic: &[f64], numeric: &[f64]) -> Worst {
    let largest = analytic.iter().chain(numeric).fold(0.0_f64, |max, x| max.max(x.abs()));
    let mut worst = Worst::default();
    for (at, (&analytic, &numeric)) in analytic.iter().zip(numeric).enumerate() {
        let difference = (analytic - numeric).abs();
        let error = match difference / largest.max(f64::MIN_POSITIVE) {
            error if error.is_nan() => f64::INFINITY,
            error => error,
        };
        if at == 0 || error > worst.error {
            worst = Worst { at, analytic, numeric, error };
        }
    }
    worst
}

/// Checks a loss: the slopes that it gives pairs at many distances, similar and dissimilar, against
/// differences of its values.
///
/// Distances are drawn between 0 and twice the largest kink, away from `kinks`: the distances at
/// which the loss has no derivative, such as its margin.
pub fn check_loss(loss: &dyn BlockLoss<f64>, kinks: &[f64], seed: u64) -> Result<Worst> {
    let x = distances_off(kinks, seed)?;
    let similar = every_other();
    let origin = [0.0; PAIRS];
    let cx = Cx::default();
    let objective = Objective::sum(loss);
    let value = |x: &[f64], out: RowsOut<f64>| {
        let (a, b) = (Mat::new(x, PAIRS, 1)?, Mat::new(&origin, PAIRS, 1)?);
        Ok(rows(&cx, &objective, a, b, &similar, out)?.value)
    };
    let mut grad = [0.0; PAIRS];
    let mut opposite = [0.0; PAIRS];
    let grads =
        RowsOut::grads(MatMut::new(&mut grad, PAIRS, 1)?, MatMut::new(&mut opposite, PAIRS, 1)?);
    value(&x, grads)?;
    check(|x| value(x, RowsOut::none()).unwrap_or(f64::NAN), &x, &grad)
}

/// Checks the [curvatures](crate::loss::PairLoss::curvature) that a loss gives pairs at the distances of
/// [`check_loss`], d ds/dd, against differences of its slopes.
///
/// Refused where the loss has none.
pub fn check_curvature(loss: &dyn BlockLoss<f64>, kinks: &[f64], seed: u64) -> Result<Worst> {
    let x = distances_off(kinks, seed)?;
    let (isa, similar) = (Cx::default().isa, every_other());
    // Steps are shares of a distance: d ds/dd is the change of s with log(d).
    let squares = |by: f64| x.iter().map(|x| (x * (1.0 + by)).powi(2)).collect::<Vec<f64>>();
    let mut analytic = squares(0.0);
    if !loss.curvature_block(isa, &mut analytic, &similar) {
        return Err(Error::NoCurvature { call: "check_curvature" });
    }
    let slopes = |by: f64| {
        let (mut slopes, mut values) = (squares(by), [0.0; PAIRS]);
        loss.eval_block(isa, &mut slopes, &similar, &mut values);
        slopes
    };
    let both = slopes(STEP).into_iter().zip(slopes(-STEP));
    let numeric: Vec<f64> = both.map(|(above, below)| (above - below) / (2.0 * STEP)).collect();
    Ok(worst(&analytic, &numeric))
}

/// The pairs at which a loss is checked.
const PAIRS: usize = 200;

/// Distances between 0 and twice the largest kink that are off all kinks.
fn distances_off(kinks: &[f64], seed: u64) -> Result<Vec<f64>> {
    const DRAWS: usize = 100 * PAIRS;
    if let Some(&got) = kinks.iter().find(|kink| !kink.is_finite()) {
        return Err(Error::Value { arg: "kinks", got, expected: "finite" });
    }
    let largest = kinks.iter().fold(0.5_f64, |max, kink| max.max(*kink));
    let mut rng = Rng::new(seed);
    let mut x: Vec<f64> = (0..DRAWS).map(|_| OFF_KINKS + 2.0 * largest * rng.uniform()).collect();
    x.retain(|distance| kinks.iter().all(|kink| (distance - kink).abs() > OFF_KINKS));
    x.truncate(PAIRS);
    if x.len() < PAIRS {
        let (arg, got) = ("kinks", kinks.len() as f64);
        return Err(Error::Value { arg, got, expected: "few enough to leave distances between" });
    }
    Ok(x)
}

/// Similar and dissimilar pairs in turn.
fn every_other() -> [bool; PAIRS] {
    std::array::from_fn(|i| i % 2 == 0)
}

/// Checks a loss of triplets: the slopes that it gives triplets of distances between 0.01 and 2,
/// against differences of its values. Coordinates count the distances that it looks at, triplet
/// after triplet: anchor and positive, anchor and negative, and positive and negative where it
/// [swaps](crate::loss::TripletLoss::swaps).
///
/// Triplets near a kink are not checked: those where the value's slope changes by three tenths or more
/// within 0.001 of a distance.
///
/// Refused where next to no triplet is off the kinks.
pub fn check_triplet_loss(loss: &dyn BlockTripletLoss<f64>, seed: u64) -> Result<Worst> {
    const TRIPLETS: usize = 200;
    let looks_at = if loss.swaps_block() { 3 } else { 2 };
    let isa = Cx::default().isa;
    let eval = |d: [f64; 3]| {
        let mut slopes = d.map(|d| [d * d]);
        let mut value = [0.0];
        loss.eval_block(isa, slopes.each_mut().map(|d2| d2.as_mut_slice()), &mut value);
        (value[0], slopes.map(|[slope]| slope))
    };
    let moved = |d: [f64; 3], k: usize, by: f64| {
        let mut d = d;
        d[k] += by;
        eval(d).0
    };
    let bends = |d: [f64; 3], k: usize| {
        let value = eval(d).0;
        let [above, below] = [moved(d, k, OFF_KINKS) - value, value - moved(d, k, -OFF_KINKS)];
        (above - below).abs() > 0.3 * above.abs().max(below.abs())
    };
    let mut rng = Rng::new(seed);
    let (mut analytic, mut numeric) = (Vec::new(), Vec::new());
    for _ in 0..TRIPLETS {
        let mut d = [0.0; 3];
        d[..looks_at].fill_with(|| 0.01 + 1.99 * rng.uniform());
        if (0..looks_at).any(|k| bends(d, k)) {
            continue;
        }
        let slopes = eval(d).1;
        for k in 0..looks_at {
            analytic.push(slopes[k] * d[k]);
            numeric.push((moved(d, k, STEP) - moved(d, k, -STEP)) / (2.0 * STEP));
        }
    }
    if analytic.len() < TRIPLETS / 10 {
        let (arg, got) = ("loss", (analytic.len() / looks_at) as f64);
        return Err(Error::Value { arg, got, expected: "smooth at more triplets of distances" });
    }
    Ok(worst(&analytic, &numeric))
}

/// Checks a layer by itself, connected to inputs of a shape: the gradients of its parameters and of
/// its input, for random parameters, inputs and output gradients. Coordinates count the parameters
/// first, then the inputs.
pub fn check_layer(
    layer: impl Layer<f64> + 'static,
    input: Shape,
    samples: usize,
    seed: u64,
) -> Result<Worst> {
    let mut net = Network::builder(input).layer("layer", layer).build(seed)?;
    let mut rng = Rng::stream(seed, 1);
    for param in net.params_mut() {
        *param += rng.uniform() - 0.5;
    }
    check_network(&mut net, samples, seed)
}

/// Checks a whole network, with the parameters that it has, as [`check_layer`] does.
///
/// The parameters are changed on the way and restored at the end.
pub fn check_network(net: &mut Network<f64>, samples: usize, seed: u64) -> Result<Worst> {
    if samples == 0 {
        return Err(Error::Value { arg: "samples", got: 0.0, expected: "at least 1" });
    }
    let (inputs, outputs) = (net.input().len(), net.output().len());
    let params = net.params().len();
    let mut workspace = Workspace::training(net, samples)?;
    let mut rng = Rng::stream(seed, 2);
    // The workspace holds more samples than these: their products do not overflow.
    let coordinates = params + samples * inputs;
    let mut draw = || 2.0 * rng.uniform() - 1.0;
    let mut point = try_filled(POINT, coordinates, 0.0)?;
    point[..params].copy_from_slice(net.params());
    point[params..].fill_with(&mut draw);
    let mut dz = try_filled(POINT, samples * outputs, 0.0)?;
    dz.fill_with(&mut draw);
    let cx = Cx::default();

    let mut analytic = try_filled(POINT, coordinates, 0.0)?;
    let (gradient, dx) = analytic.split_at_mut(params);
    let x = Mat::new(&point[params..], samples, inputs)?;
    net.forward(&cx, x, &mut workspace)?;
    let dx = MatMut::new(dx, samples, inputs)?;
    net.backward(&cx, Mat::new(&dz, samples, outputs)?, &mut workspace, gradient, Some(dx))?;

    let mut start = try_filled(POINT, params, 0.0)?;
    start.copy_from_slice(net.params());
    let changed = Restored { net, start };
    let net = &mut *changed.net;
    let mut value = |point: &[f64]| -> Result<f64> {
        net.params_mut().copy_from_slice(&point[..params]);
        let x = Mat::new(&point[params..], samples, inputs)?;
        let z = net.forward(&cx, x, &mut workspace)?;
        Ok(z.iter().flatten().zip(&dz).map(|(z, dz)| z * dz).sum())
    };
    check(|point| value(point).unwrap_or(f64::NAN), &point, &analytic)
}

/// A network whose parameters are restored at the end, also where a layer panics.
struct Restored<'n> {
    net: &'n mut Network<f64>,
    start: Vec<f64>,
}

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        self.net.params_mut().copy_from_slice(&self.start);
    }
}
