//! Layers that take a group of images at a time, and the backward passes that two of them make together.
//!
//! As many images as a vector has lanes lie interleaved, so that every vector is full whatever the size of a
//! map: element e of image n of a group of g is at `e g + n`.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::pass::{Backward, Forward};
use crate::kernel::layers::conv::GradientRows;
use crate::simd::isa::Isa;
use crate::simd::real::Real;

/// A layer whose samples are independent but for the gradient of its parameters.
///
/// The images of a pass are one group, of at most as many as a vector has lanes. Each pass runs on the calling
/// thread. It adds to the gradient of the parameters.
pub trait ImageLayer<T: Real>: Send + Sync {
    /// Elements of scratch for a group.
    fn group_scratch(&self, group: usize) -> usize;

    /// Elements of scratch for a group where there are forward passes alone.
    fn forward_scratch(&self, group: usize) -> usize {
        self.group_scratch(group)
    }

    /// y from x.
    fn forward_group(&self, isa: Isa, group: usize, pass: Forward<T>);

    /// dx and the gradients of the parameters from dy.
    fn backward_group(&self, isa: Isa, group: usize, pass: Backward<T>);

    /// The layer, where its backward pass can take the gradient of its output a band of rows at a time.
    fn by_rows(&self) -> Option<&dyn BackwardByRows<T>> {
        None
    }

    /// The layer, where it is a pooling that can give the gradient of its input a band of rows at a time.
    fn as_pooling(&self) -> Option<&dyn DisjointPooling<T>> {
        None
    }
}

/// A layer (a convolution) whose backward pass reads the gradient of its output a band of rows at a time.
pub trait BackwardByRows<T: Real>: Send + Sync {
    /// The backward pass where `dy(map, rows, to)` gives the gradient of the output, a multiple of `step`
    /// rows at a time but where the map ends. `pass.dy` is not read.
    fn backward_by_rows(
        &self,
        isa: Isa,
        group: usize,
        pass: Backward<T>,
        step: usize,
        dy: GradientRows<T>,
    );
}

/// A pooling whose windows are disjoint. After a convolution its backward pass is part of that
/// layer's: the gradient of the maps in between, the largest of a network, is never written as a whole.
pub trait DisjointPooling<T: Real>: Send + Sync {
    /// Rows from one window to the next.
    fn stride(&self) -> usize;

    /// Multiplies dy by the slope of the activation that is fused into the layer, if any: once, before any
    /// rows are asked for.
    fn times_slope(&self, isa: Isa, y: &[T], dy: &mut [T]);

    /// Writes dx for `rows` of one map of the input to `pass.dx`, which holds these rows alone. They begin
    /// where a window starts, and end where another one starts or at the last row. The other slices of the
    /// pass hold the whole group.
    fn backward_rows(
        &self,
        isa: Isa,
        group: usize,
        map: usize,
        rows: Range<usize>,
        pass: Backward<T>,
    );
}
