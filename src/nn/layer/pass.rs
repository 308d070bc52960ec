//! What a layer's forward and backward pass read and write.

#![forbid(unsafe_code)]

/// What a forward pass reads and writes.
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
    /// The gradient of the parameters, the sum over all samples. [`Layer::backward`](super::Layer::backward)
    /// overwrites it; an `ImageLayer`, which is given one group after another, adds to it.
    pub d_params: &'a mut [T],
    /// [`Layer::scratch`](super::Layer::scratch) elements of any content.
    pub scratch: &'a mut [T],
}
