//! Pooling layers: the mean of each window, plain or with LeNet's trainable factor and offset.

#![forbid(unsafe_code)]

use super::conv2d::windows;
use super::layer::{Backward, Forward, Layer, ParamSpec, Shape, Start};
use super::{MOST_ELEMENTS, block_samples, most_blocks};
use crate::cx::Cx;
use crate::kernel::pool::{PoolBackward, PoolForward, Pooling};
use crate::par::{Chunks, for_blocks};
use crate::real::Real;

/// The mean of each window of a map. Rows and columns that no window reaches do not matter.
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

/// What both layers share: maps in, smaller maps out.
#[derive(Clone, Debug, Default)]
struct Windows {
    sizes: Pooling,
    channels: usize,
}

impl Windows {
    fn new(kernel: usize, stride: usize) -> Self {
        Windows { sizes: Pooling { kernel, stride, ..Pooling::default() }, channels: 0 }
    }

    fn connect(&mut self, input: Shape) -> Result<Shape, String> {
        let Pooling { kernel, stride, .. } = self.sizes;
        if input.checked_len().is_none_or(|len| len > MOST_ELEMENTS) {
            return Err("its size overflows".to_owned());
        }
        let height = windows(input.height, kernel, stride, 0)?;
        let width = windows(input.width, kernel, stride, 0)?;
        self.sizes.input = [input.height, input.width];
        self.sizes.output = [height, width];
        self.channels = input.channels;
        Ok(Shape { channels: input.channels, height, width })
    }

    fn input_map(&self) -> usize {
        self.sizes.input[0] * self.sizes.input[1]
    }

    fn output_map(&self) -> usize {
        self.sizes.output[0] * self.sizes.output[1]
    }

    /// One row of the input, and two gradients of each map's affine function.
    fn block_scratch(&self) -> usize {
        self.sizes.row_len() + 2 * self.channels
    }

    fn scratch(&self, samples: usize) -> usize {
        most_blocks(samples) * self.block_scratch()
    }

    /// y = coefficient mean + bias, with one of each per map.
    fn forward<T: Real>(
        &self,
        cx: &Cx,
        affine: impl Fn(usize) -> [T; 2] + Sync,
        x: &[T],
        y: &mut [T],
        scratch: &mut [T],
    ) {
        let sizes = self.sizes;
        let maps = x.len() / self.input_map();
        let count = block_samples(maps / self.channels) * self.channels;
        let out = (Chunks(y, count * self.output_map()), Chunks(scratch, self.block_scratch()));
        for_blocks(cx.par, maps.div_ceil(count), out, |block, (y, row): (Chunks<T>, Chunks<T>)| {
            let x = x[block * count * self.input_map()..].chunks_exact(self.input_map());
            let row = &mut row.0[..sizes.row_len()];
            for (map, (x, y)) in x.zip(y.0.chunks_exact_mut(self.output_map())).enumerate() {
                let [coefficient, bias] = affine(map % self.channels);
                T::dispatch(cx.isa, PoolForward { sizes, coefficient, bias, x, y, row });
            }
        });
    }

    /// dx, and in `d_affine` the gradients of all coefficients, then of all biases.
    fn backward<T: Real>(
        &self,
        cx: &Cx,
        coefficient: impl Fn(usize) -> T + Sync,
        pass: Backward<T>,
        d_affine: &mut [T],
    ) {
        let (sizes, channels) = (self.sizes, self.channels);
        let Backward { x, dy, dx, scratch, .. } = pass;
        let maps = x.len() / self.input_map();
        let count = block_samples(maps / channels) * channels;
        let blocks = maps.div_ceil(count);
        let out = (
            dx.map(|dx| Chunks(dx, count * self.input_map())),
            Chunks(&mut *scratch, self.block_scratch()),
        );
        for_blocks(cx.par, blocks, out, |block, (dx, scratch): (Option<Chunks<T>>, Chunks<T>)| {
            let (row, sums) = scratch.0[..self.block_scratch()].split_at_mut(sizes.row_len());
            sums.fill(T::ZERO);
            let (from, to) = (block * count, ((block + 1) * count).min(maps));
            let mut dx = dx.map(|dx| dx.0.chunks_exact_mut(self.input_map()));
            for map in from..to {
                let x = &x[map * self.input_map()..][..self.input_map()];
                let dy = &dy[map * self.output_map()..][..self.output_map()];
                let dx = dx.as_mut().and_then(Iterator::next);
                let coefficient = coefficient(map % channels);
                let pool = PoolBackward { sizes, coefficient, x, dy, dx, row };
                let [d_coefficient, d_bias] = T::dispatch(cx.isa, pool);
                sums[map % channels] += d_coefficient;
                sums[channels + map % channels] += d_bias;
            }
        });
        for block in scratch.chunks_exact(self.block_scratch()).take(blocks) {
            for (sum, part) in d_affine.iter_mut().zip(&block[sizes.row_len()..]) {
                *sum += *part;
            }
        }
    }
}

impl<T: Real> Layer<T> for AvgPool2d {
    fn kind(&self) -> String {
        let Pooling { kernel, stride, .. } = self.windows.sizes;
        format!("AvgPool2d {kernel}x{kernel} stride {stride}")
    }

    fn connect(&mut self, input: Shape) -> Result<Shape, String> {
        self.windows.connect(input)
    }

    fn scratch(&self, samples: usize) -> usize {
        self.windows.scratch(samples)
    }

    fn forward(&self, cx: &Cx, pass: Forward<T>) {
        self.windows.forward(cx, |_| [T::ONE, T::ZERO], pass.x, pass.y, pass.scratch);
    }

    fn backward(&self, cx: &Cx, pass: Backward<T>) {
        if pass.dx.is_some() {
            self.windows.backward(cx, |_| T::ONE, pass, &mut []);
        }
    }
}

impl<T: Real> Layer<T> for Subsample2d {
    fn kind(&self) -> String {
        let kernel = self.windows.sizes.kernel;
        format!("Subsample2d {kernel}x{kernel}")
    }

    fn connect(&mut self, input: Shape) -> Result<Shape, String> {
        self.windows.connect(input)
    }

    fn params(&self) -> Vec<ParamSpec> {
        let spec = |name, value| ParamSpec {
            name,
            shape: vec![self.windows.channels],
            start: Start::Constant(value),
        };
        vec![spec("coefficient", 1.0), spec("bias", 0.0)]
    }

    fn scratch(&self, samples: usize) -> usize {
        self.windows.scratch(samples)
    }

    fn forward(&self, cx: &Cx, pass: Forward<T>) {
        let (coefficients, biases) = pass.params.split_at(self.windows.channels);
        let affine = |map: usize| [coefficients[map], biases[map]];
        self.windows.forward(cx, affine, pass.x, pass.y, pass.scratch);
    }

    fn backward(&self, cx: &Cx, mut pass: Backward<T>) {
        let d_params = std::mem::take(&mut pass.d_params);
        d_params.fill(T::ZERO);
        let coefficients = pass.params;
        self.windows.backward(cx, |map| coefficients[map], pass, d_params);
    }
}
