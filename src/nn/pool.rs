//! Pooling layers: the mean of each window, plain or with LeNet's trainable factor and offset.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::blockwise::{self, Blockwise};
use super::conv2d::windows;
use super::layer::{Backward, Forward, Layer, ParamSpec, Shape, Start};
use super::{MOST_ELEMENTS, activation};
use crate::cx::Cx;
use crate::isa::Isa;
use crate::kernel::elementwise::{Activate, Activation, Slope};
use crate::kernel::pool::{PoolBackward, PoolForward, Pooling};
use crate::real::Real;

/// The mean of each window of a map. Rows and columns that no window reaches do not matter.
///
/// # Accuracy
///
/// A mean of n pixels, and the sum of what n windows give back to a pixel, is off by at most (n/2 + 2) eps of
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

/// What pooling layers share: maps in, smaller maps out.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    pub(super) sizes: Pooling,
    /// What follows, computed within the layer's passes.
    activation: Option<Activation>,
}

impl Windows {
    pub(super) fn new(kernel: usize, stride: usize) -> Self {
        Windows { sizes: Pooling { kernel, stride, ..Pooling::default() }, activation: None }
    }

    pub(super) fn connect(&mut self, input: Shape) -> Result<Shape, String> {
        let Pooling { kernel, stride, .. } = self.sizes;
        if input.checked_len().is_none_or(|len| len > MOST_ELEMENTS) {
            return Err("its size overflows".to_owned());
        }
        let Shape { channels, height, width } = input;
        let output = [windows(height, kernel, stride, 0)?, windows(width, kernel, stride, 0)?];
        self.sizes = Pooling { channels, input: [height, width], output, kernel, stride };
        Ok(Shape { channels, height: output[0], width: output[1] })
    }

    /// Samples of a batch of so many elements.
    pub(super) fn samples(&self, elements: usize) -> usize {
        let Pooling { channels, input: [height, width], .. } = self.sizes;
        elements / (channels * height * width)
    }

    pub(super) fn fuse(&mut self, next: Activation) -> bool {
        activation::fuse(&mut self.activation, next)
    }

    /// Backward passes of all rows of all maps, for a layer whose own is for some rows of one.
    pub(super) fn backward_maps<T: Real>(
        &self,
        isa: Isa,
        group: usize,
        pass: Backward<T>,
        layer: &dyn blockwise::Pooling<T>,
    ) {
        let Backward { params, x, y, dy, dx, d_params, scratch } = pass;
        self.slope(isa, y, dy);
        let map_len = self.sizes.input_map() * group;
        let mut maps = dx.map(|dx| dx.chunks_exact_mut(map_len));
        for map in 0..self.sizes.channels {
            let dx = maps.as_mut().and_then(Iterator::next);
            let (dy, d_params, scratch) = (&mut *dy, &mut *d_params, &mut *scratch);
            let pass = Backward { params, x, y, dy, dx, d_params, scratch };
            layer.backward_rows(isa, group, map, 0..self.sizes.input[0], pass);
        }
    }

    /// What a pass over some rows of a map reads: of x, and of dy.
    pub(super) fn rows_of<'a, T>(
        &self,
        group: usize,
        map: usize,
        rows: &Range<usize>,
        [x, dy]: [&'a [T]; 2],
    ) -> [&'a [T]; 2] {
        let [inputs, outputs] = self.sizes.parts(rows, group);
        let x = &x[map * self.sizes.input_map() * group..][inputs];
        [x, &dy[map * self.sizes.output_map() * group..][outputs]]
    }

    pub(super) fn activate<T: Real>(&self, isa: Isa, y: &mut [T]) {
        if let Some(f) = self.activation {
            T::dispatch(isa, Activate::all(f, y));
        }
    }

    pub(super) fn slope<T: Real>(&self, isa: Isa, y: &[T], dy: &mut [T]) {
        if let Some(f) = self.activation {
            T::dispatch(isa, Slope { f, y, dy });
        }
    }
}

/// The parts of a layer that are the same for every pooling.
macro_rules! pooling_layer {
    () => {
        fn connect(&mut self, input: Shape) -> Result<Shape, String> {
            self.windows.connect(input)
        }

        fn scratch(&self, samples: usize) -> usize {
            let layer: &dyn Blockwise<T> = self;
            let params = Layer::<T>::params(self);
            let len = params.iter().filter_map(ParamSpec::checked_len).sum();
            blockwise::scratch(layer, len, samples)
        }

        #[inline(never)]
        fn forward(&self, cx: &Cx, pass: Forward<T>) {
            blockwise::forward(cx, self, self.windows.samples(pass.x.len()), pass);
        }

        #[inline(never)]
        fn backward(&self, cx: &Cx, pass: Backward<T>) {
            blockwise::backward(cx, self, self.windows.samples(pass.x.len()), pass);
        }

        fn blockwise(&self) -> Option<&dyn Blockwise<T>> {
            Some(self)
        }

        fn fuse(&mut self, next: Activation) -> bool {
            self.windows.fuse(next)
        }
    };
}
pub(super) use pooling_layer;

/// The same of its passes over a group.
macro_rules! backward_by_maps {
    () => {
        #[inline(never)]
        fn backward_group(&self, isa: Isa, group: usize, pass: Backward<T>) {
            self.windows.backward_maps(isa, group, pass, self);
        }

        fn as_pooling(&self) -> Option<&dyn blockwise::Pooling<T>> {
            if self.windows.sizes.is_disjoint() { Some(self) } else { None }
        }
    };
}
pub(super) use backward_by_maps;

/// A pooling layer's passes, compiled in this crate.
macro_rules! compiled_pooling {
    ($layer:ident) => {
        $crate::real::compiled!(
            <$layer as Layer<T>>::forward,
            <$layer as Layer<T>>::backward,
            <$layer as Blockwise<T>>::forward_group,
            <$layer as Blockwise<T>>::backward_group,
            <$layer as blockwise::Pooling<T>>::backward_rows,
        );
    };
}
pub(super) use compiled_pooling;

compiled_pooling!(AvgPool2d);
compiled_pooling!(Subsample2d);

impl<T: Real> Layer<T> for AvgPool2d {
    fn kind(&self) -> String {
        let Pooling { kernel, stride, .. } = self.windows.sizes;
        format!("AvgPool2d {kernel}x{kernel} stride {stride}")
    }

    pooling_layer!();
}

impl<T: Real> Blockwise<T> for AvgPool2d {
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

impl<T: Real> blockwise::Pooling<T> for AvgPool2d {
    fn windows(&self) -> &Windows {
        &self.windows
    }

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
    fn kind(&self) -> String {
        let kernel = self.windows.sizes.kernel;
        format!("Subsample2d {kernel}x{kernel}")
    }

    fn params(&self) -> Vec<ParamSpec> {
        let spec = |name, value| ParamSpec {
            name,
            shape: vec![self.windows.sizes.channels],
            start: Start::Constant(value),
        };
        vec![spec("coefficient", 1.0), spec("bias", 0.0)]
    }

    pooling_layer!();
}

impl<T: Real> Blockwise<T> for Subsample2d {
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

impl<T: Real> blockwise::Pooling<T> for Subsample2d {
    fn windows(&self) -> &Windows {
        &self.windows
    }

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
