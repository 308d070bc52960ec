//! Pooling layers: the mean of each window, plain or with LeNet's trainable factor and offset.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::windows::{
    Windows, backward_by_maps, compiled_pooling, disjoint_windows, pooling_layer,
};
use crate::kernel::layers::activation::Activation;
use crate::kernel::layers::avg_pool::{PoolBackward, PoolForward, Pooling};
use crate::nn::layer::image_layer::{DisjointPooling, ImageLayer};
use crate::nn::layer::{Backward, Forward, InitialValue, Layer, ParamSpec, Shape, image_blocks};
use crate::parallel::cx::Cx;
use crate::simd::isa::Isa;
use crate::simd::real::Real;

/// The mean of each window of a map. Rows and columns that no window reaches do not matter.
///
/// # Accuracy
///
/// A mean of n pixels, and the gradient of a pixel that lies in n windows, is off by at most (n/2 + 2) eps of
/// the sum of the terms' magnitudes.
#[derive(Clone, Debug)]
pub struct AvgPool2d {
    windows: Windows,
}

/// LeNet's subsampling: the mean of each window of a map, times the map's trainable `coefficient`,
/// plus its trainable `bias` (LeCun, Bottou, Bengio, Haffner 1998, with the mean for the sum).
/// Windows do not overlap. It starts as the plain mean.
#[derive(Clone, Debug)]
pub struct Subsample2d {
    windows: Windows,
}

impl AvgPool2d {
    /// Square windows that do not overlap.
    pub fn new(kernel: usize) -> Self {
        AvgPool2d { windows: Windows::new(kernel, kernel) }
    }

    /// Pixels from one window to the next, in both directions.
    pub fn stride(self, stride: usize) -> Self {
        AvgPool2d { windows: Windows::new(self.windows.sizes.kernel, stride) }
    }
}

impl Subsample2d {
    /// Square windows that do not overlap.
    pub fn new(kernel: usize) -> Self {
        Subsample2d { windows: Windows::new(kernel, kernel) }
    }
}

compiled_pooling!(AvgPool2d);
compiled_pooling!(Subsample2d);

impl<T: Real> Layer<T> for AvgPool2d {
    fn describe(&self) -> String {
        let Pooling { kernel, stride, .. } = self.windows.sizes;
        format!("AvgPool2d {kernel}x{kernel} stride {stride}")
    }

    pooling_layer!();
}

impl<T: Real> ImageLayer<T> for AvgPool2d {
    fn group_scratch(&self, _: usize) -> usize {
        self.windows.sizes.row_len()
    }

    #[inline(never)]
    fn forward_group(&self, isa: Isa, group: usize, pass: Forward<T>) {
        let Forward { x, y, scratch, .. } = pass;
        let sizes = self.windows.sizes;
        let row = &mut scratch[..sizes.row_len()];
        T::dispatch(isa, PoolForward { sizes, group, affine: None, x, y: &mut *y, row });
        self.windows.activate(isa, y);
    }

    backward_by_maps!();
}

impl<T: Real> DisjointPooling<T> for AvgPool2d {
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
        let (sizes, coefficient, affine) = (self.windows.sizes, T::ONE, false);
        let [x, dy] = self.windows.rows_of(group, map, &rows, [pass.x, pass.dy]);
        let (dx, row) = (pass.dx, &mut pass.scratch[..sizes.row_len()]);
        T::dispatch(isa, PoolBackward { sizes, group, coefficient, x, dy, dx, affine, row });
    }
}

impl<T: Real> Layer<T> for Subsample2d {
    fn describe(&self) -> String {
        let kernel = self.windows.sizes.kernel;
        format!("Subsample2d {kernel}x{kernel}")
    }

    fn params(&self) -> Vec<ParamSpec> {
        let spec = |name, value| ParamSpec {
            name,
            shape: vec![self.windows.sizes.channels],
            initial: InitialValue::Constant(value),
        };
        vec![spec("coefficient", 1.0), spec("bias", 0.0)]
    }

    pooling_layer!();
}

impl<T: Real> ImageLayer<T> for Subsample2d {
    fn group_scratch(&self, _: usize) -> usize {
        self.windows.sizes.row_len()
    }

    #[inline(never)]
    fn forward_group(&self, isa: Isa, group: usize, pass: Forward<T>) {
        let Forward { params, x, y, scratch } = pass;
        let sizes = self.windows.sizes;
        let affine = Some(params.split_at(sizes.channels).into());
        let row = &mut scratch[..sizes.row_len()];
        T::dispatch(isa, PoolForward { sizes, group, affine, x, y: &mut *y, row });
        self.windows.activate(isa, y);
    }

    backward_by_maps!();
}

impl<T: Real> DisjointPooling<T> for Subsample2d {
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
        let (sizes, coefficient, affine) = (self.windows.sizes, pass.params[map], true);
        let [x, dy] = self.windows.rows_of(group, map, &rows, [pass.x, pass.dy]);
        let (dx, row) = (pass.dx, &mut pass.scratch[..sizes.row_len()]);
        let pool = PoolBackward { sizes, group, coefficient, x, dy, dx, affine, row };
        let [d_coefficient, d_bias] = T::dispatch(isa, pool);
        pass.d_params[map] += d_coefficient;
        pass.d_params[sizes.channels + map] += d_bias;
    }
}
