//! The stages of a network: its layers with their shapes and parameters.

#![forbid(unsafe_code)]

use std::ops::Range;

use crate::nn::layer::{Layer, ParamSpec, Shape};

/// A layer in its place in the network.
pub(crate) struct Stage<T> {
    pub name: String,
    pub layer: Box<dyn Layer<T>>,
    pub input: Shape,
    pub output: Shape,
    pub specs: Vec<ParamSpec>,
    /// Its part of the flat parameters.
    pub params: Range<usize>,
}

/// A layer's line of the summary. A layer that is fused into the one before it has a line, but no stage.
pub(crate) struct Line {
    pub name: String,
    pub kind: String,
    pub output: Shape,
    pub params: usize,
}
