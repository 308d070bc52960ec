//! The inputs and outputs of a layer's forward and backward pass.

#![forbid(unsafe_code)]

/// The inputs and outputs of a forward pass.
pub struct Forward<'a, T> {
    /// The layer's parameters, tensor after tensor.
    pub params: &'a [T],
    /// Samples of the input shape, one after another.
    pub x: &'a [T],
    /// Samples of the output shape, to be overwritten.
    pub y: &'a mut [T],
    /// [`Layer::scratch`](super::Layer::scratch) elements of any content.
    pub scratch: &'a mut [T],
}

/// The inputs and outputs of a backward pass.
pub struct Backward<'a, T> {
    /// The layer's parameters, tensor after tensor.
    pub params: &'a [T],
    /// The input of the forward pass.
    pub x: &'a [T],
    /// The output of the forward pass.
    pub y: &'a [T],
    /// The gradient of the output. Its content after the pass does not matter.
    pub dy: &'a mut [T],
    /// The gradient of the input, to be overwritten, if it is wanted.
    pub dx: Option<&'a mut [T]>,
    /// The gradient of the parameters, the sum over all samples. [`Layer::backward`](super::Layer::backward)
    /// overwrites it; an `ImageLayer`, which is given one group after another, adds to it.
    pub d_params: &'a mut [T],
    /// [`Layer::scratch`](super::Layer::scratch) elements of any content.
    pub scratch: &'a mut [T],
}
