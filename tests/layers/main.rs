//! Layers and networks: gradients against finite differences over odd shapes, agreement of tiers,
//! independence of threads, and every refusal.

#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;

use common::{Element, Random};
use drlim::nn::{AvgPool2d, Conv2d, Dense, Network, Relu, Shape, Subsample2d, Tanh, Workspace};
use drlim::{Cx, Isa, Mat, MatMut, Par};

mod activations;
mod agreement;
mod gradients;
mod network;
mod normalisation;
mod refusals;
mod threads;
mod workspace;

fn serial(isa: Isa) -> Cx {
    Cx { isa, par: Par::Serial }
}

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

/// Output, parameter gradient and input gradient of a batch.
fn pass(net: &Network<f64>, cx: &Cx, samples: usize, max_samples: usize) -> [Vec<f64>; 3] {
    let (inputs, outputs) = (net.input().len(), net.output().len());
    let mut random = Random::new(3);
    let x: Vec<f64> = (0..samples * inputs).map(|_| random.between(-1.0, 1.0)).collect();
    let dz: Vec<f64> = (0..samples * outputs).map(|_| random.between(-1.0, 1.0)).collect();
    let mut workspace = Workspace::training(net, max_samples).unwrap();
    let mut gradient = vec![f64::NAN; net.params().len()];
    let mut dx = vec![f64::NAN; x.len()];
    let z = net.forward(cx, Mat::new(&x, samples, inputs).unwrap(), &mut workspace).unwrap();
    let z = z.as_slice().unwrap().to_vec();
    let dz = Mat::new(&dz, samples, outputs).unwrap();
    let out = MatMut::new(&mut dx, samples, inputs).unwrap();
    net.backward(cx, dz, &mut workspace, &mut gradient, Some(out)).unwrap();
    [z, gradient, dx]
}
