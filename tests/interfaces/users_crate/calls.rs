//! A user's crate that makes every call with losses, layers and optimizers of the library, in both
//! element types. `main.rs` compiles it, and looks for kernels in what comes out; it never runs.

use drlim::batch::{
    AllPairsScratch, CrossEntropy, CrossOut, CrossScratch, CrossSimilar, Distance, IndexedHvpOut, IndexedOut,
    MiningScratch, Mining, PairList, RowsHvpOut, RowsOut, IndexedScratch, TripletRows, TripletRowsHvpOut,
    TripletRowsOut, all_pairs, all_pairs_hvp, cross, cross_entropy, cross_hvp, distance_matrix, hard_pairs, indexed,
    indexed_hvp, row_distances, row_distances_backward, rows, rows_hvp, triplet_rows,
    triplet_rows_hvp, triplets,
};
use drlim::loss::{
    BlockLoss, BlockTripletLoss, Contrastive, CosineContrastive, DoubleMargin, Exponential,
    LinearHinge, Objective, SquaredHinge, SquaredTriplet, TripletMargin, TripletObjective,
};
use drlim::nn::{
    AvgPool2d, Conv2d, Dense, L2Normalize, MaxPool2d, Network, Relu, ScaledTanh, Shape, Sigmoid,
    Subsample2d, Tanh, Workspace,
};
use drlim::optim::{Adam, AdamW, Optimizer, Sgd, clip_norm};
use drlim::pairs::{BatchSampler, Sampler, hardest, nearest, nearest_others, neighbour_graph};
use drlim::siamese::{Fit, Siamese};
use drlim::{Cx, Mat, MatMut, Real, Result, Similar, gradcheck, metrics};
use std::ops::ControlFlow;

pub fn in_f32(x: &[f32], out: &mut [f32]) -> Result<f64> {
    everything(x, out)
}

pub fn in_f64(x: &[f64], out: &mut [f64]) -> Result<f64> {
    everything(x, out)
}

fn everything<T: Real>(x: &[T], out: &mut [T]) -> Result<f64> {
    Ok(losses(x, out)? + distances(x, out)? + layers(x, out)? + training(x)?)
}

fn losses<T: Real>(x: &[T], out: &mut [T]) -> Result<f64> {
    let cx = &Cx::default();
    let margin = T::from_f64(1.0);
    let of_pairs: [&dyn BlockLoss<T>; 6] = [
        &Contrastive::new(margin)?,
        &CosineContrastive::new(margin)?,
        &DoubleMargin::new(margin, margin)?,
        &Exponential::new(margin)?,
        &LinearHinge::new(margin, margin)?,
        &SquaredHinge::new(margin)?,
    ];
    let z = Mat::new(x, 2, 4)?;
    let similar = Similar::Labels(&[1, 2]);
    let list = PairList::new(2, &[(0, 1)])?;
    let mut sum = 0.0;
    for loss in of_pairs {
        let objective = &Objective::mean(loss);
        let (a, b) = out.split_at_mut(8);
        let grads = RowsOut::grads(MatMut::new(a, 2, 4)?, MatMut::new(b, 2, 4)?);
        sum += rows(cx, objective, z, z, &[true, false], grads)?.value;
        let grad = IndexedOut::grad(MatMut::new(out, 2, 4)?);
        sum += indexed(cx, objective, z, &list, &[true], grad, &mut IndexedScratch::new())?.value;
        let grad = Some(MatMut::new(out, 2, 4)?);
        sum += all_pairs(cx, objective, z, similar, grad, &mut AllPairsScratch::new())?.value;
        let labels = CrossSimilar::Labels { queries: &[1, 2], keys: &[1, 2], ignored: None };
        let scratch = &mut CrossScratch::new();
        sum += cross(cx, objective, z, z, labels, None, CrossOut::none(), scratch)?.value;
        rows_hvp(cx, objective, [z, z], &[true, false], [z, z], RowsHvpOut::none())?;
        indexed_hvp(cx, objective, z, &list, &[true], z, IndexedHvpOut::none())?;
        all_pairs_hvp(cx, objective, z, similar, z, MatMut::new(out, 2, 4)?)?;
        cross_hvp(cx, objective, [z, z], labels, None, [z, z], CrossOut::none())?;
    }
    let (how, grad) = (CrossEntropy::mean().ignoring(-1), Some(MatMut::new(out, 2, 4)?));
    sum += cross_entropy(cx, z, &[1, 2], how, grad)?.value;
    let of_triplets: [&dyn BlockTripletLoss<T>; 2] =
        [&TripletMargin::new(margin)?, &SquaredTriplet::new(margin)?];
    for loss in of_triplets {
        let objective = &TripletObjective::mean(loss);
        let by_rows = TripletRows::new(z, z, z)?;
        sum += triplet_rows(cx, objective, by_rows, TripletRowsOut::none())?.value;
        triplet_rows_hvp(cx, objective, by_rows, [z, z, z], TripletRowsHvpOut::none())?;
        let scratch = &mut MiningScratch::new();
        for mining in [Mining::All, Mining::Hardest, Mining::SemiHard] {
            sum += triplets(cx, objective, z, similar, mining, None, scratch)?.value;
        }
    }
    Ok(sum)
}

fn distances<T: Real>(x: &[T], out: &mut [T]) -> Result<f64> {
    let cx = &Cx::default();
    let z = Mat::new(x, 2, 4)?;
    distance_matrix(cx, z, z, MatMut::new(out, 2, 2)?)?;
    let (a, b) = out.split_at_mut(8);
    let grads = [MatMut::new(a, 2, 4)?, MatMut::new(b, 2, 4)?];
    let [a, b] = grads;
    row_distances_backward(cx, Distance::Cosine, z, z, &x[..2], a, b)?;
    row_distances(cx, Distance::Euclidean, z, z, &mut out[..2])?;
    let hard = hard_pairs(&out[..2], &[true, false])?.len();
    let found = nearest(cx, z, z, 1)?.k() + nearest_others(cx, z, 1)?.k();
    let hardest = hardest(cx, z, Similar::Labels(&[1, 2]), 1)?.similar.k();
    let edges = neighbour_graph(cx, z, 1)?.edges();
    let errors = metrics::knn_error(cx, z, &[1, 2], z, &[1, 2], 1)?
        + metrics::knn_error_leave_one_out(cx, z, &[1, 2], 1)?;
    Ok(errors + (hard + found + hardest + edges) as f64)
}

/// A network of every layer, each of them with an activation of its own after it.
fn network<T: Real>() -> Result<Network<T>> {
    Network::builder(Shape::image(1, 28, 28))
        .layer("conv", Conv2d::new(2, 5))
        .layer("tanh", Tanh::new())
        .layer("mean", AvgPool2d::new(2))
        .layer("scaled", ScaledTanh::new())
        .layer("max", MaxPool2d::new(2))
        .layer("relu", Relu::new())
        .layer("sub", Subsample2d::new(2))
        .layer("dense", Dense::new(4))
        .layer("sigmoid", Sigmoid::new())
        .layer("unit", L2Normalize::new())
        .build(1)
}

fn layers<T: Real>(x: &[T], out: &mut [T]) -> Result<f64> {
    let cx = &Cx::default();
    let net = network()?;
    let mut workspace = Workspace::training(&net, 1)?;
    net.forward(cx, Mat::new(x, 1, 784)?, &mut workspace)?;
    net.backward(cx, Mat::new(&x[..4], 1, 4)?, &mut workspace, out, None)?;
    gradcheck::check_layer(Dense::new(3), Shape::flat(2), 4, 1)?;
    clip_norm(cx, out, 1.0)
}

fn training<T: Real>(x: &[T]) -> Result<f64> {
    Ok(train(x, Sgd::new())? + train(x, Adam::new())? + train(x, AdamW::new())?)
}

fn train<T: Real>(x: &[T], optimizer: impl Optimizer<T>) -> Result<f64> {
    let cx = &Cx::default();
    let loss = Contrastive::new(T::ONE)?;
    let objective = &Objective::mean(&loss);
    let mut siamese = Siamese::new(network()?, optimizer, 2)?;
    let data = Mat::new(x, 4, 784)?;
    let labels = Similar::Labels(&[1, 1, 2, 2]);
    let rate = |_| 0.1;
    let fit = Fit::new(1, &rate).accumulate(2)?;
    let mut sampler = Sampler::new(labels, 2, 1)?;
    let of_pairs =
        siamese.fit(cx, objective, data, &mut sampler, fit, |_| ControlFlow::Continue(()))?;
    let mut sampler = BatchSampler::new(labels, 4, 1)?;
    siamese.fit_batches(cx, objective, data, &mut sampler, fit, |_| ControlFlow::Continue(()))?;
    siamese.step(cx, objective, 0.1, data, data, &[true; 4])?;
    Ok(of_pairs.losses[0])
}
