//! Layers and networks: gradients against finite differences over odd shapes, values against scalar loops,
//! agreement of tiers, independence of threads, and every refusal.
//!
//! Layers of images take as many images at a time as the tier has lanes, and those that are left over one
//! by one, so batches are of sizes around that number.

#![forbid(unsafe_code)]

#[path = "../support/mod.rs"]
mod support;

use crate::support::{Element, Guarded, Random, serial};
use drlim::nn::{AvgPool2d, Conv2d, Dense, Network, Relu, Shape, Subsample2d, Tanh, Workspace};
use drlim::{Cx, Isa, Mat, Tier};

mod activations;
mod agreement;
mod chains;
mod formulas;
mod gradients;
mod groups;
mod images;
mod network;
mod normalisation;
mod refusals;
mod special_values;
mod stack;
mod threads;
mod ties;
mod workspace;

fn draw<T: Element>(random: &mut Random, len: usize, size: f64) -> Vec<T> {
    (0..len).map(|_| random.between(-size, size)).collect()
}

/// Layers of every kind, with sizes that leave tails in rows, maps, samples and outputs.
fn mixed_network() -> Network<f64> {
    Network::builder(Shape::image(2, 21, 23))
        .layer("c1", Conv2d::new(5, 4).padding(1))
        .layer("tanh1", Tanh::new())
        .layer("p1", AvgPool2d::new(3).stride(2))
        .layer("c2", Conv2d::new(7, 3).stride(2))
        .layer("relu", Relu::new())
        .layer("s2", Subsample2d::new(2))
        .layer("c3", Conv2d::new(18, 2))
        .layer("f4", Dense::new(3))
        .build(4)
        .unwrap()
}

/// Images that lie interleaved on a tier: as many as a vector has lanes.
fn lanes<T>(isa: Isa) -> usize {
    let bytes = if isa.tier() == Tier::Avx512 { 64 } else { 32 };
    bytes / size_of::<T>()
}

/// Sizes of batches with no group, a group, and images that are left over.
fn around_a_group<T>(isa: Isa) -> Vec<usize> {
    let lanes = lanes::<T>(isa);
    vec![1, lanes - 1, lanes, lanes + 1]
}

/// Samples and a gradient of their outputs.
fn batch<T: Element>(net: &Network<T>, samples: usize) -> [Vec<T>; 2] {
    let mut random = Random::new(3);
    [net.input(), net.output()].map(|shape| draw(&mut random, samples * shape.len(), 1.0))
}

/// Output, parameter gradient and input gradient of a batch, by a workspace for so many samples.
fn passes<T: Element>(
    net: &Network<T>,
    cx: &Cx,
    [x, dz]: [&[T]; 2],
    max_samples: usize,
) -> [Vec<T>; 3] {
    let mut workspace = Workspace::training(net, max_samples).unwrap();
    passes_within(net, cx, [x, dz], &mut workspace)
}

/// As [`passes`], by a workspace that is there.
fn passes_within<T: Element>(
    net: &Network<T>,
    cx: &Cx,
    [x, dz]: [&[T]; 2],
    workspace: &mut Workspace<T>,
) -> [Vec<T>; 3] {
    let (inputs, outputs) = (net.input().len(), net.output().len());
    let samples = x.len() / inputs;
    let mut gradient = Guarded::slice(net.params().len());
    let mut dx = Guarded::output(1, [samples, inputs], inputs + 1);
    let z = net.forward(cx, Mat::new(x, samples, inputs).unwrap(), workspace).unwrap();
    let z = z.as_slice().unwrap().to_vec();
    let dz = Mat::new(dz, samples, outputs).unwrap();
    let out = Some(dx.mat_mut());
    net.backward(cx, dz, workspace, gradient.slice_mut(), out).unwrap();
    [z, gradient.checked("gradient"), dx.checked("dx")]
}

/// As [`passes`], of a batch of so many samples.
fn pass<T: Element>(net: &Network<T>, cx: &Cx, samples: usize, max_samples: usize) -> [Vec<T>; 3] {
    let [x, dz] = batch(net, samples);
    passes(net, cx, [&x, &dz], max_samples)
}

/// Asserts that two passes agree to `relative` of the largest entry.
#[track_caller]
fn assert_agree<T: Element>(got: &[Vec<T>; 3], expected: &[Vec<T>; 3], relative: f64, which: &str) {
    for ((got, expected), name) in got.iter().zip(expected).zip(["z", "gradient", "dx"]) {
        assert_eq!(got.len(), expected.len(), "{name} of {which}");
        let largest = expected.iter().fold(0.0_f64, |max, x| max.max(x.to_f64().abs()));
        for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
            let error = (got.to_f64() - expected.to_f64()).abs();
            assert!(
                error <= relative * largest,
                "{name}[{at}] of {which}: got {got}, expected {expected}, largest {largest:e}"
            );
        }
    }
}
