//! The windows of pooling layers, and the parts of their passes that all of them share.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::activation;
use super::conv2d::windows;
use crate::kernel::layers::activation::{Activate, Activation, Slope};
use crate::kernel::layers::avg_pool::Pooling;
use crate::nn::MOST_ELEMENTS;
use crate::nn::layer::image_layer::DisjointPooling;
use crate::nn::layer::{Backward, Shape};
use crate::simd::isa::Isa;
use crate::simd::real::Real;

/// The windows of a pooling layer: maps in, smaller maps out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Windows {
    pub(crate) sizes: Pooling,
    /// The activation that follows, fused into the layer's passes.
    activation: Option<Activation>,
}

impl Windows {
    pub(crate) fn new(kernel: usize, stride: usize) -> Self {
        Windows { sizes: Pooling { kernel, stride, ..Pooling::default() }, activation: None }
    }

    pub(crate) fn connect(&mut self, input: Shape) -> Result<Shape, String> {
        let Pooling { kernel, stride, .. } = self.sizes;
        if input.checked_len().is_none_or(|len| len > MOST_ELEMENTS) {
            return Err("its size overflows".to_owned());
        }
        let Shape { channels, height, width } = input;
        let output = [windows(height, kernel, stride, 0)?, windows(width, kernel, stride, 0)?];
        self.sizes = Pooling { channels, input: [height, width], output, kernel, stride };
        Ok(Shape { channels, height: output[0], width: output[1] })
    }

    /// The number of samples in a batch of `elements` elements.
    pub(crate) fn samples(&self, elements: usize) -> usize {
        let Pooling { channels, input: [height, width], .. } = self.sizes;
        elements / (channels * height * width)
    }

    pub(crate) fn fuse(&mut self, next: Activation) -> bool {
        activation::fuse(&mut self.activation, next)
    }

    /// The backward pass over all maps, by a layer's backward pass over rows of one map.
    pub(crate) fn backward_maps<T: Real>(
        &self,
        isa: Isa,
        group: usize,
        pass: Backward<T>,
        layer: &dyn DisjointPooling<T>,
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

    /// The parts of x and of dy that a backward pass over `rows` of a map reads.
    pub(crate) fn rows_of<'a, T>(
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

    pub(crate) fn activate<T: Real>(&self, isa: Isa, y: &mut [T]) {
        if let Some(f) = self.activation {
            T::dispatch(isa, Activate::all(f, y));
        }
    }

    pub(crate) fn slope<T: Real>(&self, isa: Isa, y: &[T], dy: &mut [T]) {
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
            let layer: &dyn ImageLayer<T> = self;
            let params = Layer::<T>::params(self);
            let len = params.iter().filter_map(ParamSpec::checked_len).sum();
            image_blocks::scratch(layer, len, samples)
        }

        #[inline(never)]
        fn forward(&self, cx: &Cx, pass: Forward<T>) {
            image_blocks::forward(cx, self, self.windows.samples(pass.x.len()), pass);
        }

        #[inline(never)]
        fn backward(&self, cx: &Cx, pass: Backward<T>) {
            image_blocks::backward(cx, self, self.windows.samples(pass.x.len()), pass);
        }

        fn as_image_layer(&self) -> Option<&dyn ImageLayer<T>> {
            Some(self)
        }

        fn fuse(&mut self, next: Activation) -> bool {
            self.windows.fuse(next)
        }
    };
}
pub(crate) use pooling_layer;

/// The window sizes and the fused activation, for a pooling by bands of rows.
macro_rules! disjoint_windows {
    () => {
        fn stride(&self) -> usize {
            self.windows.sizes.stride
        }

        #[inline(never)]
        fn times_slope(&self, isa: Isa, y: &[T], dy: &mut [T]) {
            self.windows.slope(isa, y, dy);
        }
    };
}
pub(crate) use disjoint_windows;

/// The backward pass over a group, map by map.
macro_rules! backward_by_maps {
    () => {
        #[inline(never)]
        fn backward_group(&self, isa: Isa, group: usize, pass: Backward<T>) {
            self.windows.backward_maps(isa, group, pass, self);
        }

        fn as_pooling(&self) -> Option<&dyn DisjointPooling<T>> {
            if self.windows.sizes.is_disjoint() { Some(self) } else { None }
        }
    };
}
pub(crate) use backward_by_maps;

/// A pooling layer's passes, compiled in this crate.
macro_rules! compiled_pooling {
    ($layer:ident) => {
        $crate::simd::real::compiled!(
            <$layer as Layer<T>>::forward,
            <$layer as Layer<T>>::backward,
            <$layer as ImageLayer<T>>::forward_group,
            <$layer as ImageLayer<T>>::backward_group,
            <$layer as DisjointPooling<T>>::backward_rows,
            <$layer as DisjointPooling<T>>::times_slope,
        );
    };
}
pub(crate) use compiled_pooling;
