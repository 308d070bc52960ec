//! Shapes of samples and of parameter tensors.

#![forbid(unsafe_code)]

use std::fmt;

/// The shape of one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Channels, or the number of elements of a sample that is not an image.
    pub channels: usize,
    /// Rows of an image; 1 for others.
    pub height: usize,
    /// Columns of an image; 1 for others.
    pub width: usize,
}

impl Shape {
    /// An image.
    pub fn image(channels: usize, height: usize, width: usize) -> Self {
        Shape { channels, height, width }
    }

    /// A sample of `len` elements that is not an image.
    pub fn flat(len: usize) -> Self {
        Shape::image(len, 1, 1)
    }

    /// The number of elements, or none where it overflows.
    pub fn checked_len(self) -> Option<usize> {
        self.channels.checked_mul(self.height)?.checked_mul(self.width)
    }

    /// The number of elements. The shapes of a network that has been built do not overflow.
    pub fn len(self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether a sample has no elements.
    pub fn is_empty(self) -> bool {
        self.channels == 0 || self.height == 0 || self.width == 0
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match (self.height, self.width) {
            (1, 1) => format!("{}", self.channels),
            (height, width) => format!("{}x{height}x{width}", self.channels),
        })
    }
}

/// A parameter tensor of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamSpec {
    /// Its name within the layer, such as `weight`.
    pub name: &'static str,
    /// Its shape, row-major: `[out, in]` or `[out, in, height, width]` for weights.
    pub shape: Vec<usize>,
    /// Its starting values.
    pub initial: InitialValue,
}

impl ParamSpec {
    /// The number of elements, or none where it overflows.
    pub fn checked_len(&self) -> Option<usize> {
        self.shape.iter().try_fold(1_usize, |product, &n| product.checked_mul(n))
    }
}

/// Starting values of a parameter tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InitialValue {
    /// Drawn by the network's [`Init`](crate::nn::init::Init).
    Random {
        /// Inputs that an output sums over.
        fan_in: usize,
        /// Outputs that an input reaches.
        fan_out: usize,
    },
    /// One value everywhere.
    Constant(f64),
}
