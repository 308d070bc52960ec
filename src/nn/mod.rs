//! Networks: a small stack of layers with hand-derived backward passes.
//!
//! A [`Network`] owns one flat vector of parameters; each [`Layer`] knows its part of it and writes the same
//! part of a flat gradient. The values between layers lie in a [`Workspace`], made once for a largest batch.
//! Samples are rows; an image is its channels, rows and columns in that order.
//!
//! | layers | |
//! |---|---|
//! | [`Dense`], [`Conv2d`] | trainable weights |
//! | [`AvgPool2d`], [`Subsample2d`] | the mean of each window |
//! | [`MaxPool2d`] | the largest of each window |
//! | [`Tanh`], [`ScaledTanh`], [`Sigmoid`], [`Relu`] | each element by itself |
//! | [`L2Normalize`] | samples of unit length |
//!
//! ```
//! use drlim::nn::{Conv2d, Dense, Network, Shape, Subsample2d, Tanh, Workspace};
//! use drlim::{Cx, Mat, MatMut};
//!
//! // The paper's network: 32x32 pixels to 2 numbers, 37 127 parameters.
//! let net = Network::<f32>::builder(Shape::image(1, 32, 32))
//!     .layer("c1", Conv2d::new(15, 6))
//!     .layer("tanh1", Tanh::new())
//!     .layer("s2", Subsample2d::new(3))
//!     .layer("tanh2", Tanh::new())
//!     .layer("c3", Conv2d::new(30, 9))
//!     .layer("tanh3", Tanh::new())
//!     .layer("f4", Dense::new(2))
//!     .build(1)?;
//! assert_eq!(net.params().len(), 37_127);
//!
//! let images = vec![0.5; 3 * 1024];
//! let mut workspace = Workspace::training(&net, 3)?;
//! let cx = Cx::default();
//! let z = net.forward(&cx, Mat::new(&images, 3, 1024)?, &mut workspace)?;
//! assert_eq!(z.shape(), [3, 2]);
//!
//! let dz = [1.0; 6];
//! let mut gradient = vec![0.0; net.params().len()];
//! net.backward(&cx, Mat::new(&dz, 3, 2)?, &mut workspace, &mut gradient, None)?;
//! # Ok::<(), drlim::Error>(())
//! ```

#![forbid(unsafe_code)]

pub mod init;
mod layer;
mod layers;
mod network;

pub use layer::{Backward, Forward, InitialValue, Layer, ParamSpec, Shape};
pub use layers::{
    AvgPool2d, Conv2d, Dense, L2Normalize, MaxPool2d, Relu, ScaledTanh, Sigmoid, Subsample2d, Tanh,
};
pub use network::{Builder, Network, Parameter, Workspace};

/// The most weights of a layer, or elements of a sample: 2^28 where addresses have 64 bits. Larger
/// ones are refused before anything is planned for them.
const MOST_ELEMENTS: usize = if usize::BITS > 32 { 1 << 28 } else { 1 << 24 };
