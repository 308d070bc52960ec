//! Training: the same network on both inputs of a pair, a loss between its outputs, an optimizer.
//!
//! The two copies of G_W in the paper share their weights, so here they are one network that takes all
//! samples of a batch of pairs in one pass, each of them once. Its gradient is then the sum over both copies.
//! The pairs may also be all pairs of the batch, which cost little beside the network.

#![forbid(unsafe_code)]

use crate::batch::IndexedOut;
use crate::batch::IndexedScratch;
use crate::batch::PairList;
use crate::batch::RowsOut;
use crate::batch::check_pairs;
use crate::batch::indexed;
use crate::batch::rows;
use crate::error::Error;
use crate::error::Result;
use crate::error::check_len;
use crate::error::check_shape;
use crate::loss::Objective;
use crate::loss::Outcome;
use crate::loss::Pairing;
use crate::memory::mat::Mat;
use crate::memory::mat::MatMut;
use crate::memory::reserve::try_filled;
use crate::memory::reserve::try_with_capacity;
use crate::nn::Network;
use crate::nn::Workspace;
use crate::optim::Optimizer;
use crate::parallel::cx::Cx;
use crate::samples::{Made, Samples};
use crate::simd::real::Real;
use crate::similar::graph::Similar;
use crate::similar::graph::check_samples;
use crate::similar::subset::Subset;

#[cfg(feature = "safetensors")]
use crate::optim::Resume;

mod batch_objective;
mod fit;
mod towers;
mod train;

use batch_objective::BatchScratch;

pub use batch_objective::BatchObjective;
pub use fit::{End, Fit, History, Progress};
pub use towers::Towers;

/// A network, its optimizer, and the memory of a training step.
///
/// ```
/// use drlim::loss::{Contrastive, Objective};
/// use drlim::nn::{Dense, Network, Shape};
/// use drlim::optim::{Sgd, schedule};
/// use drlim::pairs::Sampler;
/// use drlim::siamese::{Fit, Siamese};
/// use drlim::{Cx, Mat, Similar};
/// use std::ops::ControlFlow;
///
/// // Four points on a line, in two classes.
/// let points = [0.0, 0.1, 1.0, 1.1];
/// let labels = [0, 0, 1, 1];
/// let net = Network::builder(Shape::flat(1)).layer("map", Dense::new(2)).build(1)?;
/// let mut siamese = Siamese::new(net, Sgd::new(), 4)?;
/// let mut sampler = Sampler::new(Similar::Labels(&labels), 4, 1)?;
/// let loss = Contrastive::new(1.0)?;
/// let rate = schedule::constant(0.1);
/// let history = siamese.fit(
///     &Cx::default(),
///     &Objective::mean(&loss),
///     Mat::new(&points, 4, 1)?,
///     &mut sampler,
///     Fit::new(20, &rate),
///     |_| ControlFlow::Continue(()),
/// )?;
/// assert!(history.losses[19] < history.losses[0]);
/// # Ok::<(), drlim::Error>(())
/// ```
pub struct Siamese<T, O> {
    net: Network<T>,
    optimizer: O,
    max_pairs: usize,
    steps: u64,
    workspace: Workspace<T>,
    dz: Vec<T>,
    gradient: Vec<T>,
    /// The gradient of several batches, while it is put together; empty until a fit asks for that.
    accumulated: Vec<T>,
    batch: Batch,
    scratch: IndexedScratch<T>,
    subset: Subset,
    whole: BatchScratch<T>,
    /// The samples of a batch that are not stored.
    made: Made<T>,
}

/// The name of this memory in errors.
const PAIRS: &str = "a batch of pairs";

/// The samples of a batch of pairs, each of them once.
#[derive(Default)]
struct Batch {
    /// Rows of the data, ascending.
    samples: Vec<u32>,
    /// The pairs, by places in `samples`.
    pairs: Vec<(u32, u32)>,
    list: PairList,
}

impl Batch {
    /// A batch with room for `pairs` pairs of samples that are all different, so that no later one allocates.
    fn try_with_capacity(pairs: usize) -> Result<Self> {
        let mut batch = Batch::default();
        let mut different = try_with_capacity(PAIRS, pairs)?;
        different.extend((0..pairs as u32).map(|i| (2 * i, 2 * i + 1)));
        batch.samples = try_with_capacity(PAIRS, 2 * pairs)?;
        batch.pairs = try_with_capacity(PAIRS, pairs)?;
        batch.set(&different)?;
        Ok(batch)
    }

    /// Replaces the batch by pairs of rows of the data. Allocates nothing once it has held as many pairs.
    fn set(&mut self, pairs: &[(u32, u32)]) -> Result<()> {
        let Batch { samples, pairs: places, list } = self;
        samples.clear();
        samples.extend(pairs.iter().flat_map(|&(i, j)| [i, j]));
        samples.sort_unstable();
        samples.dedup();
        let place = |sample: u32| samples.partition_point(|&other| other < sample) as u32;
        places.clear();
        places.extend(pairs.iter().map(|&(i, j)| (place(i), place(j))));
        list.set(samples.len(), places)
    }
}

impl<T: Real, O: Optimizer<T>> Siamese<T, O> {
    /// A training step for batches of up to `max_pairs` pairs, or of twice as many samples.
    ///
    /// Refused where 2 `max_pairs` do not fit in a `u32`, or there is no memory for a batch of that size.
    pub fn new(net: Network<T>, optimizer: O, max_pairs: usize) -> Result<Self> {
        let samples =
            max_pairs.checked_mul(2).ok_or(Error::Overflow { what: "a doubled batch" })?;
        check_samples(samples)?;
        let workspace = Workspace::training(&net, samples)?;
        let dz = try_filled(PAIRS, samples * net.output().len(), T::ZERO)?;
        let gradient = try_filled("the gradient of a network", net.params().len(), T::ZERO)?;
        let (batch, scratch) =
            (Batch::try_with_capacity(max_pairs)?, IndexedScratch::try_with_capacity(max_pairs)?);
        let (subset, whole) = (Subset::try_with_capacity(samples)?, BatchScratch::default());
        Ok(Siamese {
            net,
            optimizer,
            max_pairs,
            steps: 0,
            workspace,
            dz,
            gradient,
            accumulated: Vec::new(),
            batch,
            scratch,
            subset,
            whole,
            made: Made::default(),
        })
    }

    /// The network.
    pub fn net(&self) -> &Network<T> {
        &self.net
    }

    /// The network, mutable. (A network that is put in its place must have the same layers.)
    pub fn net_mut(&mut self) -> &mut Network<T> {
        &mut self.net
    }

    /// The optimizer.
    pub fn optimizer(&self) -> &O {
        &self.optimizer
    }

    /// Steps done, including those of a run that this one continues.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The network by itself, when training is over.
    pub fn into_net(self) -> Network<T> {
        self.net
    }

    /// The gradient of the last step, clipped where that was asked for.
    pub fn gradient(&self) -> &[T] {
        &self.gradient
    }

    /// One step on the pairs of rows (x1_i, x2_i): forward, loss, backward, optimizer.
    ///
    /// `x1` and `x2` have a row for each pair of `pairing`, at most `max_pairs`, and the width of the
    /// network's input. Where an argument is refused, no parameter has changed.
    pub fn step<'p>(
        &mut self,
        cx: &Cx,
        objective: &Objective<T>,
        rate: f64,
        x1: Mat<T>,
        x2: Mat<T>,
        pairing: impl Into<Pairing<'p, T>>,
    ) -> Result<Outcome> {
        let pairing = pairing.into();
        let expected = [pairing.len(), self.net.input().len()];
        check_shape("step", "x1", x1.shape(), expected, "similar x the network's input")?;
        check_shape("step", "x2", x2.shape(), expected, "as x1")?;
        let pairs = pairing.len();
        pairing.check("step", pairs, "as similar")?;
        self.check_room("step", "similar", pairs)?;
        let row = |i: usize| if i < pairs { x1.row(i) } else { x2.row(i - pairs) };
        let z = self.net.forward_rows(cx, 2 * pairs, &row, &mut self.workspace)?;
        let (z1, z2) = (z.rows_range(0, pairs), z.rows_range(pairs, 2 * pairs));
        let dz = &mut self.dz[..2 * pairs * z.cols()];
        let (dz1, dz2) = MatMut::new(dz, 2 * pairs, z.cols())?.split_rows_at(pairs);
        let outcome = rows(cx, objective, z1, z2, pairing, RowsOut::grads(dz1, dz2))?;
        self.backward(cx, 2 * pairs)?;
        self.descend(cx, rate)?;
        Ok(outcome)
    }

    /// One step on pairs of samples of `data`, given by index. A sample that is in several pairs goes
    /// through the network once.
    ///
    /// `data` is a matrix, whose rows are the samples, or another source of [`Samples`]; they have the length of
    /// the network's input. `pairs` has at most `max_pairs` elements, and `pairing` says of each of them whether
    /// it is similar. Where an argument is refused, no parameter has changed.
    pub fn step_pairs<'p>(
        &mut self,
        cx: &Cx,
        objective: &Objective<T>,
        rate: f64,
        data: impl Samples<T>,
        pairs: &[(u32, u32)],
        pairing: impl Into<Pairing<'p, T>>,
    ) -> Result<Outcome> {
        let draw = self.steps;
        let outcome = self.backward_pairs(cx, objective, &data, draw, pairs, pairing.into())?;
        self.descend(cx, rate)?;
        Ok(outcome)
    }

    /// The part of a step on listed pairs that ends with the gradient.
    fn backward_pairs(
        &mut self,
        cx: &Cx,
        objective: &Objective<T>,
        data: &impl Samples<T>,
        draw: u64,
        pairs: &[(u32, u32)],
        pairing: Pairing<T>,
    ) -> Result<Outcome> {
        let (shape, expected) =
            ([data.count(), data.len()], [data.count(), self.net.input().len()]);
        check_shape("step_pairs", "data", shape, expected, "the network's input")?;
        pairing.check("step_pairs", pairs.len(), "as pairs")?;
        check_pairs(data.count(), pairs)?;
        self.check_room("step_pairs", "pairs", pairs.len())?;
        self.batch.set(pairs)?;
        let Batch { samples, list, .. } = &self.batch;
        let n = samples.len();
        let x = self.made.batch(cx, data, samples, draw)?;
        let z = self.net.forward_rows(cx, n, &|i| x.row(i), &mut self.workspace)?;
        let dz = MatMut::new(&mut self.dz[..n * z.cols()], n, z.cols())?;
        let out = IndexedOut::grad(dz);
        let outcome = indexed(cx, objective, z, list, pairing, out, &mut self.scratch)?;
        self.backward(cx, n)?;
        Ok(outcome)
    }

    /// One step on all B (B - 1) / 2 pairs of B samples of `data`, given by index. Each of them goes
    /// through the network once.
    ///
    /// `data` is a matrix, whose rows are the samples, or another source of [`Samples`]; they have the length of
    /// the network's input. `samples` has at most `2 max_pairs` elements, all different. `similar` says which
    /// samples of `data` are similar, and so which of the batch are. Where an argument is refused, no parameter
    /// has changed.
    ///
    /// The objective is one of pairs or one of anchors. Dissimilar pairs outnumber the similar ones by far, so that
    /// of pairs will mostly be [`Balanced`](crate::loss::Reduction::Balanced). That of anchors, such as a
    /// [`Softmax`](crate::loss::Softmax), mostly compares cosines: end the network by
    /// [`L2Normalize`](crate::nn::L2Normalize).
    pub fn step_batch<B: BatchObjective<T>>(
        &mut self,
        cx: &Cx,
        objective: &B,
        rate: f64,
        data: impl Samples<T>,
        samples: &[u32],
        similar: Similar,
    ) -> Result<B::Outcome> {
        let outcome = self.backward_batch(cx, objective, &data, self.steps, samples, similar)?;
        self.descend(cx, rate)?;
        Ok(outcome)
    }

    /// The part of a step on all pairs of a batch that ends with the gradient.
    fn backward_batch<B: BatchObjective<T>>(
        &mut self,
        cx: &Cx,
        objective: &B,
        data: &impl Samples<T>,
        draw: u64,
        samples: &[u32],
        similar: Similar,
    ) -> Result<B::Outcome> {
        let (shape, expected) =
            ([data.count(), data.len()], [data.count(), self.net.input().len()]);
        check_shape("step_batch", "data", shape, expected, "the network's input")?;
        check_len("step_batch", "similar", similar.samples(), data.count(), "the samples of data")?;
        let n = samples.len();
        self.net.check_workspace("step_batch", &self.workspace, n)?;
        let similar = self.subset.choose(similar, samples)?;
        let x = self.made.batch(cx, data, samples, draw)?;
        let z = self.net.forward_rows(cx, n, &|i| x.row(i), &mut self.workspace)?;
        let dz = MatMut::new(&mut self.dz[..n * z.cols()], n, z.cols())?;
        let outcome = objective.run(cx, z, similar, dz, &mut self.whole)?;
        self.backward(cx, n)?;
        Ok(outcome)
    }

    /// Refuses more pairs than there is room for.
    fn check_room(&self, call: &'static str, arg: &'static str, got: usize) -> Result<()> {
        check_at_most(call, arg, got, self.max_pairs)?;
        self.net.check_workspace(call, &self.workspace, 2 * got)
    }

    /// Computes the gradient of the parameters from that of `samples` embeddings.
    fn backward(&mut self, cx: &Cx, samples: usize) -> Result<()> {
        let width = self.net.output().len();
        let dz = Mat::new(&self.dz[..samples * width], samples, width)?;
        self.net.backward(cx, dz, &mut self.workspace, &mut self.gradient, None)
    }

    /// The optimizer's step.
    fn descend(&mut self, cx: &Cx, rate: f64) -> Result<()> {
        self.optimizer.step(cx, rate, self.net.params_mut(), &self.gradient)?;
        self.steps = self.steps.saturating_add(1);
        Ok(())
    }

    /// Overwrites `z` with the embeddings of new samples: a row for each row of `x`.
    ///
    /// `x` is a matrix of any number of rows, or another source of [`Samples`], which are made as for a batch
    /// number 0. They are taken in batches of the training's size.
    pub fn embed(&mut self, cx: &Cx, x: impl Samples<T>, mut z: MatMut<T>) -> Result<()> {
        let (inputs, outputs) = (self.net.input().len(), self.net.output().len());
        let (count, like) = (x.count(), "x by the network's output");
        check_shape("embed", "x", [count, x.len()], [count, inputs], "the network's input")?;
        check_shape("embed", "z", z.shape(), [count, outputs], like)?;
        check_samples(count)?;
        let at_once = self.workspace.max_samples();
        if at_once == 0 && count > 0 {
            let (arg, got) = ("max_pairs", 0.0);
            return Err(Error::Value { arg, got, expected: "at least 1 to embed samples" });
        }
        let mut samples = Vec::new();
        for start in (0..count).step_by(at_once.max(1)) {
            let end = (start + at_once).min(count);
            samples.clear();
            samples.extend(start as u32..end as u32);
            let rows = self.made.batch(cx, &x, &samples, 0)?;
            let batch =
                self.net.forward_rows(cx, end - start, &|i| rows.row(i), &mut self.workspace)?;
            for (i, row) in batch.iter().enumerate() {
                z.row_mut(start + i).copy_from_slice(row);
            }
        }
        Ok(())
    }
}

#[cfg(feature = "safetensors")]
impl<T: Real, O: Resume<T>> Siamese<T, O> {
    /// Restores the state of another run of the same network and optimizer: its steps and those of the
    /// optimizer, parameters and moments. Refused, with nothing changed, where the optimizer refuses.
    pub(crate) fn resume(
        &mut self,
        [steps, optimizer_steps]: [u64; 2],
        params: &[T],
        moments: Vec<Vec<T>>,
    ) -> Result<()> {
        self.optimizer.restore(optimizer_steps, moments)?;
        self.net.params_mut().copy_from_slice(params);
        self.steps = steps;
        Ok(())
    }
}

fn check_at_most(call: &'static str, arg: &'static str, got: usize, most: usize) -> Result<()> {
    match got <= most {
        true => Ok(()),
        false => Err(Error::Length { call, arg, got, expected: most, like: "at most" }),
    }
}
