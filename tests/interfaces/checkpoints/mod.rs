//! Checkpoints: files hold what PyTorch's do, come back to the bit, are refused whole where anything is
//! wrong, are never seen half written, and let a run go on as if it had never stopped.

mod allowed;
mod files;
mod pytorch;
mod refused;
mod replaced;
mod runs;

use crate::support::{Element, Random};
use drlim::nn::{AvgPool2d, Conv2d, Dense, Network, Relu, Shape, Subsample2d, Tanh};

/// Layers of every kind that has parameters, and one of another kind of pooling.
fn network<T: Element>(seed: u64) -> Network<T> {
    Network::builder(Shape::image(1, 12, 12))
        .layer("c1", Conv2d::new(3, 3))
        .layer("tanh1", Tanh::new())
        .layer("s2", Subsample2d::new(2))
        .layer("c3", Conv2d::rectangular(4, [2, 3]).padding(1))
        .layer("relu3", Relu::new())
        .layer("p4", AvgPool2d::new(2))
        .layer("f5", Dense::new(5))
        .layer("f6", Dense::new(2))
        .build(seed)
        .unwrap()
}

/// The bits of all parameters.
fn bits<T: Element>(net: &Network<T>) -> Vec<u64> {
    net.params().iter().map(|value| value.bits()).collect()
}

/// Every kind of number as parameters.
fn scramble<T: Element>(net: &mut Network<T>, seed: u64) {
    let mut random = Random::new(seed);
    net.params_mut().fill_with(|| random.pattern());
    for (param, awkward) in net.params_mut().iter_mut().zip(T::awkward()) {
        *param = awkward;
    }
}
