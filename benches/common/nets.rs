//! The networks whose passes and training steps are measured, with the multiply-adds of their products.

use drlim::nn::{AvgPool2d, Conv2d, Dense, Network, Relu, Shape, Subsample2d, Tanh};
use drlim::{Real, Rng};

/// A network and what its products take.
pub struct Net<T> {
    pub network: Network<T>,
    pub products: Products,
}

/// The multiply-adds of a network's products for one image: of all layers, and of the first one.
pub struct Products {
    all: usize,
    first: usize,
}

impl Products {
    pub fn forward_flops(&self, images: usize) -> usize {
        2 * images * self.all
    }

    /// Forward, weight gradient, and input gradient of all layers but the first: two flops each.
    pub fn step_flops(&self, images: usize) -> usize {
        2 * images * (3 * self.all - self.first)
    }
}

/// The network of Hadsell, Chopra and LeCun (2006).
pub fn paper<T: Real>() -> Net<T> {
    let network = Network::builder(Shape::image(1, 32, 32))
        .layer("c1", Conv2d::new(15, 6))
        .layer("tanh1", Tanh::new())
        .layer("s2", Subsample2d::new(3))
        .layer("tanh2", Tanh::new())
        .layer("c3", Conv2d::new(30, 9))
        .layer("tanh3", Tanh::new())
        .layer("f4", Dense::new(2))
        .build(1)
        .expect("the paper's network");
    let first = 15 * 36 * 27 * 27;
    let all = first + 30 * 15 * 81 + 30 * 2;
    Net { network, products: Products { all, first } }
}

/// LeNet as siamese examples have it, with average pooling.
pub fn lenet<T: Real>() -> Net<T> {
    let network = Network::builder(Shape::image(1, 28, 28))
        .layer("conv1", Conv2d::new(20, 5))
        .layer("pool1", AvgPool2d::new(2))
        .layer("conv2", Conv2d::new(50, 5))
        .layer("pool2", AvgPool2d::new(2))
        .layer("ip1", Dense::new(500))
        .layer("relu1", Relu::new())
        .layer("ip2", Dense::new(10))
        .layer("feat", Dense::new(2))
        .build(1)
        .expect("LeNet");
    let first = 20 * 25 * 24 * 24;
    let all = first + 50 * 20 * 25 * 8 * 8 + 800 * 500 + 500 * 10 + 10 * 2;
    Net { network, products: Products { all, first } }
}

/// Dense layers alone.
pub fn dense<T: Real>() -> Net<T> {
    let network = Network::builder(Shape::flat(784))
        .layer("fc1", Dense::new(512))
        .layer("relu1", Relu::new())
        .layer("fc2", Dense::new(128))
        .layer("relu2", Relu::new())
        .layer("fc3", Dense::new(2))
        .build(1)
        .expect("a dense network");
    let first = 784 * 512;
    let all = first + 512 * 128 + 128 * 2;
    Net { network, products: Products { all, first } }
}

/// So many random images, one after another.
pub fn images(rng: &mut Rng, count: usize, len: usize) -> Vec<f32> {
    (0..count * len).map(|_| rng.uniform() as f32).collect()
}
