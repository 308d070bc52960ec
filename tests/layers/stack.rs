//! Stacks of layers that a test describes as a list, with and without what the crate's layers do
//! together.

use drlim::nn::{
    AvgPool2d, Backward, Conv2d, Dense, Forward, Layer, MaxPool2d, Network, ParamSpec, Relu,
    ScaledTanh, Shape, Sigmoid, Subsample2d, Tanh,
};
use drlim::{Cx, Real};

use crate::support::{Element, Random};

/// A layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spec {
    Conv { maps: usize, kernel: [usize; 2], stride: usize, padding: usize },
    Avg { kernel: usize, stride: usize },
    Max { kernel: usize, stride: usize },
    Subsample(usize),
    Dense(usize),
    Tanh,
    ScaledTanh,
    Sigmoid,
    Relu,
}

pub const ACTIVATIONS: [Spec; 4] = [Spec::Tanh, Spec::ScaledTanh, Spec::Sigmoid, Spec::Relu];

impl Spec {
    /// Whether a gradient of finite differences can be wrong near a kink.
    pub fn has_kinks(self) -> bool {
        matches!(self, Spec::Max { .. } | Spec::Relu)
    }
}

/// A layer that hands on what any layer must have, and nothing by which layers run together: no
/// blocks, no groups of images, no activation within it.
struct Alone<L>(L);

impl<T: Real, L: Layer<T>> Layer<T> for Alone<L> {
    fn describe(&self) -> String {
        self.0.describe()
    }
    fn connect(&mut self, input: Shape) -> Result<Shape, String> {
        self.0.connect(input)
    }
    fn params(&self) -> Vec<ParamSpec> {
        self.0.params()
    }
    fn scratch(&self, samples: usize) -> usize {
        self.0.scratch(samples)
    }
    fn forward(&self, cx: &Cx, pass: Forward<T>) {
        self.0.forward(cx, pass);
    }
    fn backward(&self, cx: &Cx, pass: Backward<T>) {
        self.0.backward(cx, pass);
    }
}

/// The layers, each of them [`Alone`] or not, with random parameters.
pub fn build<T: Element>(input: Shape, specs: &[Spec], alone: bool) -> drlim::Result<Network<T>> {
    let mut builder = Network::<T>::builder(input);
    for (i, &spec) in specs.iter().enumerate() {
        macro_rules! add {
            ($layer:expr) => {
                match alone {
                    true => builder.layer(i.to_string(), Alone($layer)),
                    false => builder.layer(i.to_string(), $layer),
                }
            };
        }
        builder = match spec {
            Spec::Conv { maps, kernel, stride, padding } => {
                add!(Conv2d::rectangular(maps, kernel).stride(stride).padding(padding))
            }
            Spec::Avg { kernel, stride } => add!(AvgPool2d::new(kernel).stride(stride)),
            Spec::Max { kernel, stride } => add!(MaxPool2d::new(kernel).stride(stride)),
            Spec::Subsample(kernel) => add!(Subsample2d::new(kernel)),
            Spec::Dense(outputs) => add!(Dense::new(outputs)),
            Spec::Tanh => add!(Tanh::new()),
            Spec::ScaledTanh => add!(ScaledTanh::new()),
            Spec::Sigmoid => add!(Sigmoid::new()),
            Spec::Relu => add!(Relu::new()),
        };
    }
    let mut net = builder.build(7)?;
    let mut random = Random::new(9);
    // Moved away from 0 and 1, where biases and factors start.
    for param in net.params_mut() {
        *param += random.between(-0.5, 0.5);
    }
    Ok(net)
}

/// As [`build`], for layers that fit.
pub fn network<T: Element>(input: Shape, specs: &[Spec]) -> Network<T> {
    build(input, specs, false).unwrap_or_else(|error| panic!("{specs:?} on {input}: {error}"))
}
