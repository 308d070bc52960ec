//! What a layer is: shapes, named parameters, a forward and a backward pass.

#![forbid(unsafe_code)]

use std::fmt;

use super::blockwise::Blockwise;
use crate::cx::Cx;
use crate::kernel::elementwise::Activation;
use crate::real::Real;

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
    pub start: Start,
}

impl ParamSpec {
    /// The number of elements, or none where it overflows.
    pub fn checked_len(&self) -> Option<usize> {
        self.shape.iter().try_fold(1_usize, |product, &n| product.checked_mul(n))
    }
}

/// Starting values of a parameter tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// Drawn by the network's [`Init`](crate::init::Init).
    Random {
        /// Inputs that an output sums over.
        fan_in: usize,
        /// Outputs that an input reaches.
        fan_out: usize,
    },
    /// The same everywhere.
    Constant(f64),
}

/// What a forward pass reads and writes.
pub struct Forward<'a, T> {
    /// The layer's parameters, tensor after tensor.
    pub params: &'a [T],
    /// Samples of the input shape, one after another.
    pub x: &'a [T],
    /// Samples of the output shape, to be overwritten.
    pub y: &'a mut [T],
    /// [`Layer::scratch`] elements of any content.
    pub scratch: &'a mut [T],
}

/// What a backward pass reads and writes.
pub struct Backward<'a, T> {
    /// The layer's parameters, tensor after tensor.
    pub params: &'a [T],
    /// The input of the forward pass.
    pub x: &'a [T],
    /// The output of the forward pass.
    pub y: &'a [T],
    /// The gradient of the output; what it holds after the pass does not matter.
    pub dy: &'a mut [T],
    /// The gradient of the input, to be overwritten, where somebody asks for it.
    pub dx: Option<&'a mut [T]>,
    /// The gradient of the parameters, to be overwritten: the sum over all samples. (The crate's layers of
    /// images, which are given one group of a block after another, add to it.)
    pub d_params: &'a mut [T],
    /// [`Layer::scratch`] elements of any content.
    pub scratch: &'a mut [T],
}

/// One layer of a network, the crate's own or a user's.
///
/// The network calls [`connect`](Layer::connect) once and then hands every call slices of the
/// lengths that follow from it; the number of samples is `x.len() / input.len()`.
///
/// ```
/// use drlim::nn::{Backward, Forward, Layer, Shape};
/// use drlim::Cx;
///
/// /// y = x²
/// struct Square;
///
/// impl Layer<f64> for Square {
///     fn kind(&self) -> String {
///         "Square".into()
///     }
///     fn connect(&mut self, input: Shape) -> Result<Shape, String> {
///         Ok(input)
///     }
///     fn forward(&self, _: &Cx, pass: Forward<f64>) {
///         for (y, x) in pass.y.iter_mut().zip(pass.x) {
///             *y = x * x;
///         }
///     }
///     fn backward(&self, _: &Cx, pass: Backward<f64>) {
///         let Some(dx) = pass.dx else { return };
///         for ((dx, dy), x) in dx.iter_mut().zip(&*pass.dy).zip(pass.x) {
///             *dx = 2.0 * x * dy;
///         }
///     }
/// }
/// let worst = drlim::gradcheck::check_layer(Square, Shape::flat(5), 3, 1)?;
/// assert!(worst.error < 1e-8, "{worst}");
/// # Ok::<(), drlim::Error>(())
/// ```
pub trait Layer<T: Real>: Send + Sync {
    /// What the summary calls the layer, such as `Conv2d 15 maps 6x6`: everything that decides what
    /// it computes, but its parameters. Checkpoints keep it, so it says the same in later versions.
    fn kind(&self) -> String;

    /// Takes the shape of an input sample and returns that of an output sample, or why there is
    /// none. Called once; the place to plan what follows from the shapes.
    fn connect(&mut self, input: Shape) -> Result<Shape, String>;

    /// The parameter tensors, in the order in which they lie in the flat vector.
    fn params(&self) -> Vec<ParamSpec> {
        Vec::new()
    }

    /// Elements of scratch that a pass over so many samples, or fewer, needs.
    fn scratch(&self, samples: usize) -> usize {
        let _ = samples;
        0
    }

    /// y from x.
    fn forward(&self, cx: &Cx, pass: Forward<T>);

    /// dx and the gradients of the parameters from dy.
    fn backward(&self, cx: &Cx, pass: Backward<T>);

    /// The layer as one that takes a block of images at a time: such layers run one after another over
    /// each block.
    #[doc(hidden)]
    fn blockwise(&self) -> Option<&dyn Blockwise<T>> {
        None
    }

    /// What the layer is where it is only a function of each element.
    #[doc(hidden)]
    fn activation(&self) -> Option<Activation> {
        None
    }

    /// Takes the activation that follows into the layer's own passes, and says whether it has: `y` is the
    /// activation's output from then on, and `dy` its gradient.
    #[doc(hidden)]
    fn fuse(&mut self, next: Activation) -> bool {
        let _ = next;
        false
    }
}
