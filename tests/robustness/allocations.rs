//! Nothing is allocated where the documentation says so: by a call on pairs, and by a training step
//! after the first.

use std::ops::ControlFlow;

use super::allocator::{allocations, count};
use drlim::batch::{
    IndexedOut, IndexedScratch, PairList, RowsOut, TripletRows, TripletRowsOut, indexed, rows,
    triplet_rows,
};
use drlim::loss::{Contrastive, Objective, Pairing, Reduction, TripletMargin, TripletObjective};
use drlim::nn::{Conv2d, Dense, Network, Shape, Subsample2d, Tanh};
use drlim::optim::Adam;
use drlim::pairs::Sampler;
use drlim::siamese::{Fit, Progress, Siamese};
use drlim::{Cx, Mat, MatMut, Par, Similar};

#[test]
fn calls_on_pairs_and_training_steps_allocate_nothing() {
    for isa in crate::support::tiers() {
        pairs_by_rows(Cx { isa, par: Par::Serial }, 256, 2);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        pool.install(|| pairs_by_rows(Cx { isa, par: Par::Rayon }, 256, 2));
        pairs_by_rows(Cx { isa, par: Par::Serial }, 5000, 128);
        for (n, d) in [(256, 2), (700, 33)] {
            rows_with_all_outputs(Cx { isa, par: Par::Serial }, n, d);
            indexed_pairs(Cx { isa, par: Par::Serial }, n, d);
            triplets_by_rows(Cx { isa, par: Par::Serial }, n, d);
        }
        training_step(Cx { isa, par: Par::Serial });
        training_step_of_listed_pairs(Cx { isa, par: Par::Serial });
        steps_of_a_fit(Cx { isa, par: Par::Serial });
    }
    // The counter counts.
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1_u8; 10]))), 1);
}

fn pairs_by_rows(cx: Cx, n: usize, d: usize) {
    let (a, b) = (vec![0.5_f32; n * d], vec![0.25_f32; n * d]);
    let similar = vec![false; n];
    let (mut grad_a, mut grad_b) = (vec![0.0; n * d], vec![0.0; n * d]);
    let loss = Contrastive::new(1.0).unwrap();
    let mut call = || {
        let (a, b) = (Mat::new(&a, n, d).unwrap(), Mat::new(&b, n, d).unwrap());
        let grads = RowsOut::grads(
            MatMut::new(&mut grad_a, n, d).unwrap(),
            MatMut::new(&mut grad_b, n, d).unwrap(),
        );
        rows(&cx, &Objective::sum(&loss), a, b, &similar, grads).unwrap();
    };
    call();
    assert_eq!(allocations(call), 0, "{n}x{d}, {cx}");
}

/// Flags, weights and pairs that are left out, of `n` pairs.
fn kinds(n: usize) -> ([Vec<bool>; 2], Vec<f32>) {
    let every = |k: usize| (0..n).map(|i| i % k == 0).collect();
    ([every(3), every(7)], vec![0.5; n])
}

fn rows_with_all_outputs(cx: Cx, n: usize, d: usize) {
    let (a, b) = (vec![0.5_f32; n * d], vec![0.25_f32; n * d]);
    let ([similar, ignored], weights) = kinds(n);
    let mut grads = [vec![0.0; n * d], vec![0.0; n * d]];
    let mut per_pair = [vec![0.0; n], vec![0.0; n], vec![0.0; n]];
    let loss = Contrastive::new(1.0).unwrap();
    // The factors of this one need a pass of their own.
    let objective = Objective::sum(&loss).reduced(Reduction::BalancedNonZero);
    let call = || {
        let (a, b) = (Mat::new(&a, n, d).unwrap(), Mat::new(&b, n, d).unwrap());
        let [grad_a, grad_b] = grads.each_mut().map(|grad| MatMut::new(grad, n, d).unwrap());
        let [distances, values, slopes] = per_pair.each_mut();
        let out = RowsOut::grads(grad_a, grad_b);
        let out = out.distances(distances).values(values).slopes(slopes);
        let pairing = Pairing::new(&similar).weighted(&weights).ignoring(&ignored);
        rows(&cx, &objective, a, b, pairing, out).unwrap();
    };
    assert_eq!(allocations(call), 0, "rows with all outputs, {n}x{d}, {cx}");
}

fn indexed_pairs(cx: Cx, n: usize, d: usize) {
    let z: Vec<f32> = (0..n * d).map(|i| (i % 13) as f32 * 0.1).collect();
    let pairs: Vec<(u32, u32)> = (0..n as u32).map(|i| (i, (i * 7 + 1) % n as u32)).collect();
    let pairs: Vec<_> = pairs.into_iter().filter(|(i, j)| i != j).collect();
    let list = PairList::new(n, &pairs).unwrap();
    let ([similar, ignored], weights) = kinds(pairs.len());
    let mut grad = vec![0.0; n * d];
    let mut per_pair = [vec![0.0; pairs.len()], vec![0.0; pairs.len()]];
    let mut slopes = vec![0.0; pairs.len()];
    let loss = Contrastive::new(1.0).unwrap();
    let objective = Objective::sum(&loss).reduced(Reduction::BalancedNonZero);
    let mut scratch = IndexedScratch::new();
    let mut call = |sloped: bool| {
        let [distances, values] = per_pair.each_mut();
        let out = IndexedOut::grad(MatMut::new(&mut grad, n, d).unwrap());
        let out = out.distances(distances).values(values);
        let out = if sloped { out.slopes(&mut slopes) } else { out };
        let pairing = Pairing::new(&similar).weighted(&weights).ignoring(&ignored);
        let z = Mat::new(&z, n, d).unwrap();
        indexed(&cx, &objective, z, &list, pairing, out, &mut scratch).unwrap();
    };
    // Slopes that nobody asks for lie in the scratch.
    assert_eq!(allocations(|| call(true)), 0, "indexed with all outputs, {n}x{d}, {cx}");
    call(false);
    assert_eq!(allocations(|| call(false)), 0, "indexed with a scratch, {n}x{d}, {cx}");
}

fn triplets_by_rows(cx: Cx, n: usize, d: usize) {
    let inputs = [0.5_f32, 0.25, 0.3].map(|x| vec![x; n * d]);
    let ([_, ignored], weights) = kinds(n);
    let mut grads = [vec![0.0; n * d], vec![0.0; n * d], vec![0.0; n * d]];
    let mut per_triplet = [const { Vec::new() }; 6].map(|_: Vec<f32>| vec![0.0; n]);
    let loss = TripletMargin::new(0.2).unwrap();
    let objective = TripletObjective::sum(&loss).reduced(Reduction::MeanNonZero).unwrap();
    let call = || {
        let [a, p, q] = inputs.each_ref().map(|input| Mat::new(input, n, d).unwrap());
        let triplets = TripletRows::new(a, p, q).unwrap();
        let triplets = triplets.weighted(&weights).unwrap().ignoring(&ignored).unwrap();
        let [ga, gp, gn] = grads.each_mut().map(|grad| MatMut::new(grad, n, d).unwrap());
        let [values, dp, dn, ap, an, pn] = per_triplet.each_mut();
        let out = TripletRowsOut::grads(ga, gp, gn).values(values).distances(dp, dn);
        triplet_rows(&cx, &objective, triplets, out.slopes(ap, an, pn)).unwrap();
    };
    assert_eq!(allocations(call), 0, "triplets with all outputs, {n}x{d}, {cx}");
}

/// For batches of five pairs.
fn siamese() -> Siamese<f32, Adam<f32>> {
    let net = Network::<f32>::builder(Shape::image(1, 32, 32))
        .layer("c1", Conv2d::new(15, 6))
        .layer("tanh1", Tanh::new())
        .layer("s2", Subsample2d::new(3))
        .layer("c3", Conv2d::new(30, 9))
        .layer("f4", Dense::new(2))
        .build(1)
        .unwrap();
    Siamese::new(net, Adam::new(), 5).unwrap()
}

fn training_step(cx: Cx) {
    let mut siamese = siamese();
    let x = vec![0.5; 5 * 1024];
    let x = Mat::new(&x, 5, 1024).unwrap();
    let similar = [true, false, true, false, true];
    let loss = Contrastive::new(1.0).unwrap();
    let mut step = || {
        siamese.step(&cx, &Objective::mean(&loss), 1e-3, x, x, &similar).unwrap();
    };
    step();
    assert_eq!(allocations(step), 0, "a step, {cx}");
}

/// The first step has an image in several pairs, so the later one, of images that are all
/// different, is the larger.
fn training_step_of_listed_pairs(cx: Cx) {
    let mut siamese = siamese();
    let data: Vec<f32> = (0..10 * 1024).map(|i| (i % 17) as f32 * 0.05).collect();
    let data = Mat::new(&data, 10, 1024).unwrap();
    let repeated = [(0, 1), (0, 2), (3, 0), (1, 0), (4, 5)];
    let different = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)];
    let similar = [true, false, true, false, true];
    let loss = Contrastive::new(1.0).unwrap();
    let mut step = |pairs: &[(u32, u32)]| {
        siamese.step_pairs(&cx, &Objective::mean(&loss), 1e-3, data, pairs, &similar).unwrap();
    };
    step(&repeated);
    assert_eq!(allocations(|| step(&repeated)), 0, "a step with an image in several pairs, {cx}");
    assert_eq!(allocations(|| step(&different)), 0, "a step of different images, {cx}");
}

/// Steps of two batches each, clipped, and the last one of the rest.
fn steps_of_a_fit(cx: Cx) {
    let mut siamese = siamese();
    let data: Vec<f32> = (0..26 * 1024).map(|i| (i % 17) as f32 * 0.05).collect();
    let data = Mat::new(&data, 26, 1024).unwrap();
    let labels: Vec<i64> = (0..26).map(|i| i % 2).collect();
    let loss = Contrastive::new(1.0).unwrap();
    let objective = Objective::mean(&loss);
    let fit = Fit::new(1, &|_| 1e-3).accumulate(2).unwrap().clip_norm(0.01).unwrap();
    let mut after = Vec::with_capacity(40);
    let observe = |progress: &Progress| {
        assert!(progress.norm > Some(0.01), "too easy");
        if !progress.epoch_ended {
            after.push(count());
        }
        ControlFlow::Continue(())
    };
    let mut sampler = Sampler::new(Similar::Labels(&labels), 4, 1).unwrap();
    siamese.fit(&cx, &objective, data, &mut sampler, fit, observe).unwrap();
    assert_eq!(after.len(), 33);
    assert!(after.iter().all(|count| *count == after[0]), "steps of a fit, {cx}");
}
