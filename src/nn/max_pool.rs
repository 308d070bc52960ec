//! Max pooling: the largest pixel of each window.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::blockwise::{self, Blockwise};
use super::layer::{Backward, Forward, Layer, ParamSpec, Shape};
use super::pool::{Windows, pooling_layer};
use crate::cx::Cx;
use crate::isa::Isa;
use crate::kernel::elementwise::Activation;
use crate::kernel::max_pool::{MaxBackward, MaxForward};
use crate::kernel::pool::Pooling;
use crate::real::Real;

/// The largest pixel of each window of a map. Rows and columns that no window reaches do not matter.
///
/// The gradient goes to that pixel, or to the first one, row by row, of several. A NaN counts as larger
/// than any number.
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

impl<T: Real> Layer<T> for MaxPool2d {
    fn kind(&self) -> String {
        let Pooling { kernel, stride, .. } = self.windows.sizes;
        format!("MaxPool2d {kernel}x{kernel} stride {stride}")
    }

    pooling_layer!();
}

impl<T: Real> Blockwise<T> for MaxPool2d {
    fn group_scratch(&self, _: usize) -> usize {
        0
    }

    fn forward_group(&self, isa: Isa, group: usize, pass: Forward<T>) {
        let Forward { x, y, .. } = pass;
        T::dispatch(isa, MaxForward { sizes: self.windows.sizes, group, x, y: &mut *y });
        self.windows.activate(isa, y);
    }

    fn backward_group(&self, isa: Isa, group: usize, pass: Backward<T>) {
        if pass.dx.is_some() {
            self.windows.backward_maps(isa, group, pass, self);
        }
    }

    fn as_pooling(&self) -> Option<&dyn blockwise::Pooling<T>> {
        if self.windows.sizes.is_disjoint() { Some(self) } else { None }
    }
}

impl<T: Real> blockwise::Pooling<T> for MaxPool2d {
    fn stride(&self) -> usize {
        self.windows.sizes.stride
    }

    fn begin_backward(&self, isa: Isa, y: &[T], dy: &mut [T]) {
        self.windows.slope(isa, y, dy);
    }

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
