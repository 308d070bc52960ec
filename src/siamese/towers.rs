//! Two networks that embed two kinds of samples, such as images and texts, into one space.

#![forbid(unsafe_code)]

use crate::batch::{AnchorScratch, Anchors, CrossAnchorsOut, CrossSimilar, cross_anchors};
use crate::error::{Error, Result, check_shape};
use crate::loss::{AnchorObjective, AnchorOutcome};
use crate::memory::mat::{Mat, MatMut};
use crate::memory::reserve::try_filled;
use crate::nn::{Network, Workspace};
use crate::optim::Optimizer;
use crate::parallel::cx::Cx;
use crate::simd::real::Real;

/// Two networks with outputs of one length, their optimizers, and the memory of a training step: CLIP's towers.
///
/// ```
/// use drlim::batch::{Anchors, CrossSimilar};
/// use drlim::loss::{AnchorObjective, Softmax};
/// use drlim::nn::{Dense, L2Normalize, Network, Shape};
/// use drlim::optim::Sgd;
/// use drlim::siamese::Towers;
/// use drlim::{Cx, Mat};
///
/// // Row i of the one matrix belongs to row i of the other, which has another length.
/// let x = [1.0_f64, 0.0, /**/ 0.0, 1.0, /**/ -1.0, 0.0, /**/ 0.0, -1.0];
/// let y = [0.0, 0.0, 1.0, /**/ 0.0, 1.0, 0.0, /**/ 1.0, 0.0, 0.0, /**/ 1.0, 1.0, 1.0];
/// let net = |input, seed| {
///     let net = Network::builder(Shape::flat(input)).layer("map", Dense::new(2));
///     net.layer("unit", L2Normalize::new()).build(seed)
/// };
/// let mut towers = Towers::new([net(2, 1)?, net(3, 2)?], [Sgd::new(), Sgd::new()], 4)?;
/// let clip = Softmax::scale(5.0)?;
/// let mut values = Vec::new();
/// for _ in 0..50 {
///     let outcome = towers.step(
///         &Cx::default(),
///         &AnchorObjective::mean(&clip),
///         0.2,
///         [Mat::new(&x, 4, 2)?, Mat::new(&y, 4, 3)?],
///         CrossSimilar::Position { first_key: 0 },
///         Anchors::Both,
///     )?;
///     values.push(outcome.value);
/// }
/// assert!(values[49] < 0.5 * values[0]);
/// # Ok::<(), drlim::Error>(())
/// ```
pub struct Towers<T, O> {
    nets: [Network<T>; 2],
    optimizers: [O; 2],
    workspaces: [Workspace<T>; 2],
    dz: [Vec<T>; 2],
    gradients: [Vec<T>; 2],
    scratch: AnchorScratch<T>,
}

impl<T: Real, O: Optimizer<T>> Towers<T, O> {
    /// A training step for batches of up to `max_rows` rows of either kind.
    ///
    /// Refused where the networks' outputs differ in length, or there is no memory for such a batch.
    pub fn new(nets: [Network<T>; 2], optimizers: [O; 2], max_rows: usize) -> Result<Self> {
        let [one, other] = nets.each_ref().map(|net| net.output().len());
        if one != other {
            let expected = "as many as those of the first network";
            return Err(Error::Value { arg: "outputs of nets[1]", got: other as f64, expected });
        }
        let workspaces =
            [Workspace::training(&nets[0], max_rows)?, Workspace::training(&nets[1], max_rows)?];
        let zeros = |len| try_filled("a batch of two towers", len, T::ZERO);
        let size = max_rows.checked_mul(one).ok_or(Error::Overflow { what: "a batch" })?;
        let gradients = [zeros(nets[0].params().len())?, zeros(nets[1].params().len())?];
        let dz = [zeros(size)?, zeros(size)?];
        let scratch = AnchorScratch::new();
        Ok(Towers { nets, optimizers, workspaces, dz, gradients, scratch })
    }

    /// Both networks.
    pub fn nets(&self) -> &[Network<T>; 2] {
        &self.nets
    }

    /// Both networks, mutable. (Networks that are put in their places must have the same layers.)
    pub fn nets_mut(&mut self) -> &mut [Network<T>; 2] {
        &mut self.nets
    }

    /// One step: the rows of `x[0]` through the first network are queries, those of `x[1]` through the second are
    /// keys of [`cross_anchors`]. Where an argument is refused, no parameter has changed.
    pub fn step(
        &mut self,
        cx: &Cx,
        objective: &AnchorObjective<T>,
        rate: f64,
        x: [Mat<T>; 2],
        similar: CrossSimilar,
        anchors: Anchors,
    ) -> Result<AnchorOutcome> {
        for (side, arg) in ["x[0]", "x[1]"].into_iter().enumerate() {
            let (net, x) = (&self.nets[side], x[side]);
            let expected = [x.rows(), net.input().len()];
            check_shape("step", arg, x.shape(), expected, "the network's input")?;
            net.check_workspace("step", &self.workspaces[side], x.rows())?;
        }
        let Towers { nets, optimizers, workspaces, dz, gradients, scratch } = self;
        let [of_queries, of_keys] = workspaces;
        let z = [
            nets[0].forward_rows(cx, x[0].rows(), &|i| x[0].row(i), of_queries)?,
            nets[1].forward_rows(cx, x[1].rows(), &|i| x[1].row(i), of_keys)?,
        ];
        let width = nets[0].output().len();
        let [d_queries, d_keys] = dz;
        let lens = x.map(|x| x.rows() * width);
        let (d_queries, d_keys) = (&mut d_queries[..lens[0]], &mut d_keys[..lens[1]]);
        let out = CrossAnchorsOut::grads(
            MatMut::new(d_queries, x[0].rows(), width)?,
            MatMut::new(d_keys, x[1].rows(), width)?,
        );
        let outcome =
            cross_anchors(cx, objective, z[0], z[1], similar, None, anchors, out, scratch)?;
        let dz = [Mat::new(d_queries, x[0].rows(), width)?, Mat::new(d_keys, x[1].rows(), width)?];
        nets[0].backward(cx, dz[0], of_queries, &mut gradients[0], None)?;
        nets[1].backward(cx, dz[1], of_keys, &mut gradients[1], None)?;
        for (side, optimizer) in optimizers.iter_mut().enumerate() {
            optimizer.step(cx, rate, nets[side].params_mut(), &gradients[side])?;
        }
        Ok(outcome)
    }
}
