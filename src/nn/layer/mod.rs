//! The trait of layers: shapes, named parameters, a forward and a backward pass.

#![forbid(unsafe_code)]

pub(crate) mod image_blocks;
pub(crate) mod image_layer;
mod pass;
mod shape;

pub use pass::{Backward, Forward};
pub use shape::{InitialValue, ParamSpec, Shape};

use image_layer::ImageLayer;

use crate::kernel::layers::activation::Activation;
use crate::parallel::cx::Cx;
use crate::simd::real::Real;

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
///     fn describe(&self) -> String {
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
    /// The layer in the summary, such as `Conv2d 15 maps 6x6`. The text says everything that decides what the
    /// layer computes, except its parameters. Checkpoints keep it, so it has to stay the same in later
    /// versions.
    fn describe(&self) -> String;

    /// Takes the shape of an input sample and returns that of an output sample, or the reason why there is
    /// none. It is called once, and is the place to plan all that follows from the shapes.
    fn connect(&mut self, input: Shape) -> Result<Shape, String>;

    /// The parameter tensors, in the order in which they lie in the flat vector.
    fn params(&self) -> Vec<ParamSpec> {
        Vec::new()
    }

    /// Elements of scratch that a pass over up to `samples` samples needs.
    fn scratch(&self, samples: usize) -> usize {
        let _ = samples;
        0
    }

    /// y from x.
    fn forward(&self, cx: &Cx, pass: Forward<T>);

    /// dx and the gradients of the parameters from dy.
    fn backward(&self, cx: &Cx, pass: Backward<T>);

    /// The layer as one that takes a group of images at a time: such layers run one after another over
    /// each block.
    #[doc(hidden)]
    fn as_image_layer(&self) -> Option<&dyn ImageLayer<T>> {
        None
    }

    /// The activation that the layer is, if it only is a function of each element.
    #[doc(hidden)]
    fn activation(&self) -> Option<Activation> {
        None
    }

    /// Fuses the activation that follows into the layer's own passes, if the layer can; returns whether it
    /// did. From then on `y` is the activation's output, and `dy` the gradient of that.
    #[doc(hidden)]
    fn fuse(&mut self, next: Activation) -> bool {
        let _ = next;
        false
    }
}
