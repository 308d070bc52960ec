//! The paper's network for digits, in a frame of 32 x 32 pixels.

use drlim::Error;
use drlim::nn::{Builder, Conv2d, Dense, L2Normalize, Network, Shape, Subsample2d, Tanh};

use super::digits::FRAME;

/// G_W of the paper: 37 127 parameters.
pub fn network(seed: u64) -> Result<Network<f32>, Error> {
    layers().build(seed)
}

/// The same, with its outputs scaled to unit length: for losses that compare directions.
pub fn network_to_circle(seed: u64) -> Result<Network<f32>, Error> {
    layers().layer("unit", L2Normalize::new()).build(seed)
}

fn layers() -> Builder<f32> {
    Network::builder(Shape::image(1, FRAME, FRAME))
        .layer("c1", Conv2d::new(15, 6))
        .layer("tanh1", Tanh::new())
        .layer("s2", Subsample2d::new(3))
        .layer("tanh2", Tanh::new())
        .layer("c3", Conv2d::new(30, 9))
        .layer("tanh3", Tanh::new())
        .layer("f4", Dense::new(2))
}
