//! Max pooling: the largest pixel of each window.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::windows::{
    Windows, backward_by_maps, compiled_pooling, disjoint_windows, pooling_layer,
};
use crate::kernel::layers::activation::Activation;
use crate::kernel::layers::avg_pool::Pooling;
use crate::kernel::layers::max_pool::{MaxBackward, MaxForward};
use crate::nn::layer::image_layer::{DisjointPooling, ImageLayer};
use crate::nn::layer::{Backward, Forward, Layer, ParamSpec, Shape, image_blocks};
use crate::parallel::cx::Cx;
use crate::simd::isa::Isa;
use crate::simd::real::Real;

/// The largest pixel of each window of a map. Rows and columns that no window reaches do not matter.
///
/// The gradient goes to that pixel, or where several are equal to the first of them, row by row. A NaN counts
/// as larger than any number.
///
/// # Accuracy
///
/// Outputs are exact. The gradient of a pixel that lies in n windows is off by at most (n/2 + 2) eps of the
/// sum of the terms' magnitudes.
#[derive(Clone, Debug)]
pub struct MaxPool2d {
    windows: Windows,
}

impl MaxPool2d {
    /// Square windows that do not overlap.
    pub fn new(kernel: usize) -> Self {
        MaxPool2d { windows: Windows::new(kernel, kernel) }
    }

    /// Pixels from one window to the next, in both directions.
    pub fn stride(self, stride: usize) -> Self {
        MaxPool2d { windows: Windows::new(self.windows.sizes.kernel, stride) }
    }
}

compiled_pooling!(MaxPool2d);

impl<T: Real> Layer<T> for MaxPool2d {
    fn describe(&self) -> String {
        let Pooling { kernel, stride, .. } = self.windows.sizes;
        format!("MaxPool2d {kernel}x{kernel} stride {stride}")
    }

    pooling_layer!();
}

impl<T: Real> ImageLayer<T> for MaxPool2d {
    fn group_scratch(&self, _: usize) -> usize {
        0
    }

    #[inline(never)]
    fn forward_group(&self, isa: Isa, group: usize, pass: Forward<T>) {
        let Forward { x, y, .. } = pass;
        T::dispatch(isa, MaxForward { sizes: self.windows.sizes, group, x, y: &mut *y });
        self.windows.activate(isa, y);
    }

    backward_by_maps!();
}

impl<T: Real> DisjointPooling<T> for MaxPool2d {
    disjoint_windows!();

    #[inline(never)]
    fn backward_rows(
        &self,
        isa: Isa,
        group: usize,
        map: usize,
        rows: Range<usize>,
        pass: Backward<T>,
    ) {
        let Some(dx) = pass.dx else { return };
        let sizes = self.windows.sizes;
        let [x, dy] = self.windows.rows_of(group, map, &rows, [pass.x, pass.dy]);
        T::dispatch(isa, MaxBackward { sizes, group, x, dy, dx });
    }
}
