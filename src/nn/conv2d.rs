//! The convolution layer.

#![forbid(unsafe_code)]

use super::layer::{Backward, Forward, Layer, ParamSpec, Shape, Start};
use super::{MOST_ELEMENTS, block_samples, dense, most_blocks};
use crate::cx::Cx;
use crate::kernel::conv::{self as kernel, Plan};
use crate::kernel::dense::{self as dense_kernel, AddRows};
use crate::kernel::transpose::Transpose;
use crate::par::{Chunks, for_blocks};
use crate::real::Real;

/// A two-dimensional convolution (a correlation, as everywhere in this field):
///
/// ```text
/// y[o][r][c] = bias[o] + sum over i, u, v of weight[o][i][u][v] x[i][stride r + u - pad][stride c + v - pad]
/// ```
///
/// with zeros outside the image. `weight` has shape `[out, in, height, width]`, `bias` `[out]`. Where
/// stride and padding do not divide, the last rows and columns of the input are not reached.
#[derive(Clone, Debug)]
pub struct Conv2d {
    maps: usize,
    kernel: [usize; 2],
    stride: usize,
    padding: usize,
    plan: Plan,
    /// A kernel that covers the whole image has one output pixel and is a dense layer.
    dense: Option<dense_kernel::Plan>,
}

impl Conv2d {
    /// So many output maps by a square kernel, with stride 1 and no padding.
    pub fn new(maps: usize, kernel: usize) -> Self {
        Conv2d::rectangular(maps, [kernel, kernel])
    }

    /// So many output maps by a kernel of so many rows and columns.
    pub fn rectangular(maps: usize, kernel: [usize; 2]) -> Self {
        Conv2d { maps, kernel, stride: 1, padding: 0, plan: Plan::default(), dense: None }
    }

    /// Pixels from one window to the next, in both directions.
    pub fn stride(self, stride: usize) -> Self {
        Conv2d { stride, ..self }
    }

    /// Rows and columns of zeros on each side of the image.
    pub fn padding(self, padding: usize) -> Self {
        Conv2d { padding, ..self }
    }
}

/// How many windows fit along one side of an image, or why none does.
pub(super) fn windows(
    side: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
) -> Result<usize, String> {
    if kernel == 0 || stride == 0 {
        return Err(format!("kernel {kernel} and stride {stride} must be at least 1"));
    }
    let padded = padding.checked_mul(2).and_then(|frame| side.checked_add(frame));
    match padded.ok_or("the padding overflows")?.checked_sub(kernel) {
        Some(room) => Ok(room / stride + 1),
        None => Err(format!("a kernel of {kernel} does not fit {side} pixels, padding {padding}")),
    }
}

impl<T: Real> Layer<T> for Conv2d {
    fn kind(&self) -> String {
        let [height, width] = self.kernel;
        let mut kind = format!("Conv2d {} maps {height}x{width}", self.maps);
        if self.stride > 1 {
            kind += &format!(" stride {}", self.stride);
        }
        if self.padding > 0 {
            kind += &format!(" padding {}", self.padding);
        }
        kind
    }

    fn connect(&mut self, input: Shape) -> Result<Shape, String> {
        if self.maps == 0 {
            return Err("a convolution needs at least one output map".to_owned());
        }
        let output = Shape {
            channels: self.maps,
            height: windows(input.height, self.kernel[0], self.stride, self.padding)?,
            width: windows(input.width, self.kernel[1], self.stride, self.padding)?,
        };
        let frame = Shape {
            channels: input.channels,
            height: input.height + 2 * self.padding,
            width: input.width + 2 * self.padding,
        };
        let taps = Shape::image(input.channels, self.kernel[0], self.kernel[1]).checked_len();
        let weights = taps.and_then(|taps| taps.checked_mul(self.maps));
        // The plan and a workspace hold small multiples of these.
        let all = [frame.checked_len(), output.checked_len(), weights];
        if !all.iter().all(|len| len.is_some_and(|len| len <= MOST_ELEMENTS)) {
            return Err("its size overflows".to_owned());
        }
        let sizes = |shape: Shape| [shape.channels, shape.height, shape.width];
        let covers = self.padding == 0 && self.kernel == [input.height, input.width];
        self.dense = covers.then(|| dense_kernel::Plan::new(input.len(), self.maps));
        self.plan = Plan::new(sizes(input), sizes(output), self.kernel, self.stride, self.padding);
        Ok(output)
    }

    fn params(&self) -> Vec<ParamSpec> {
        let window = self.kernel[0] * self.kernel[1];
        let (fan_in, fan_out) = (self.plan.tap_count(), self.maps * window);
        let shape = vec![self.maps, self.plan.input[0], self.kernel[0], self.kernel[1]];
        vec![
            ParamSpec { name: "weight", shape, start: Start::Random { fan_in, fan_out } },
            ParamSpec { name: "bias", shape: vec![self.maps], start: Start::Constant(0.0) },
        ]
    }

    fn scratch(&self, samples: usize) -> usize {
        if let Some(plan) = &self.dense {
            return dense::scratch(plan, samples);
        }
        let plan = &self.plan;
        let a_block = plan.forward_scratch().max(plan.input_scratch()).max(plan.weight_scratch());
        most_blocks(samples) * a_block
    }

    fn forward(&self, cx: &Cx, pass: Forward<T>) {
        if let Some(plan) = &self.dense {
            return dense::forward(cx, plan, pass);
        }
        let plan = &self.plan;
        let Forward { params, x, y, scratch } = pass;
        let (weight, bias) = params.split_at(plan.tap_count() * self.maps);
        let (blocks, count) = blocks(plan, x);
        let out = (Chunks(y, count * plan.output_len()), Chunks(scratch, plan.forward_scratch()));
        for_blocks(cx.par, blocks, out, |block, (y, scratch): (Chunks<T>, Chunks<T>)| {
            let from = block * count * plan.input_len();
            let x = &x[from..][..y.0.len() / plan.output_len() * plan.input_len()];
            let scratch = &mut scratch.0[..plan.forward_scratch()];
            kernel::forward(cx.isa, plan, [weight, bias], x, y.0, scratch);
        });
    }

    fn backward(&self, cx: &Cx, pass: Backward<T>) {
        if let Some(plan) = &self.dense {
            return dense::backward(cx, plan, pass);
        }
        let Backward { params, x, dy, dx, d_params, scratch, .. } = pass;
        let weight = &params[..self.plan.tap_count() * self.maps];
        if let Some(dx) = dx {
            input_gradient(cx, &self.plan, weight, dy, dx, scratch);
        }
        weight_gradient(cx, &self.plan, x, dy, d_params, scratch);
    }
}

/// The number of blocks of samples, and of samples in each.
fn blocks<T>(plan: &Plan, x: &[T]) -> (usize, usize) {
    let samples = x.len() / plan.input_len();
    let count = block_samples(samples);
    (samples.div_ceil(count), count)
}

fn input_gradient<T: Real>(
    cx: &Cx,
    plan: &Plan,
    weight: &[T],
    dy: &[T],
    dx: &mut [T],
    scratch: &mut [T],
) {
    let (blocks, count) = blocks(plan, dx);
    let out = (Chunks(dx, count * plan.input_len()), Chunks(scratch, plan.input_scratch()));
    for_blocks(cx.par, blocks, out, |block, (dx, scratch): (Chunks<T>, Chunks<T>)| {
        let from = block * count * plan.output_len();
        let dy = &dy[from..][..dx.0.len() / plan.input_len() * plan.output_len()];
        let scratch = &mut scratch.0[..plan.input_scratch()];
        kernel::input_gradient(cx.isa, plan, weight, dy, dx.0, scratch);
    });
}

/// Each block of samples leaves its sum at the start of its part of the scratch; the sums are added
/// in the order of the blocks.
fn weight_gradient<T: Real>(
    cx: &Cx,
    plan: &Plan,
    x: &[T],
    dy: &[T],
    d_params: &mut [T],
    scratch: &mut [T],
) {
    let (blocks, count) = blocks(plan, x);
    let size = plan.weight_scratch();
    let samples = x.len() / plan.input_len();
    for_blocks(cx.par, blocks, Chunks(scratch, size), |block, scratch: Chunks<T>| {
        let (from, to) = (block * count, ((block + 1) * count).min(samples));
        let x = &x[from * plan.input_len()..to * plan.input_len()];
        let dy = &dy[from * plan.output_len()..to * plan.output_len()];
        let scratch = &mut scratch.0[..size];
        kernel::weight_gradient(cx.isa, plan, x, dy, scratch);
    });
    let Some((sum, others)) = scratch[..blocks * size].split_at_mut_checked(size) else {
        return d_params.fill(T::ZERO);
    };
    let sum = &mut sum[..plan.partial_len()];
    for other in others.chunks_exact(size) {
        T::dispatch(cx.isa, AddRows { rows: &other[..plan.partial_len()], sum });
    }
    let weights = plan.tap_count() * plan.output[0];
    let (from, to) = (&sum[..weights], &mut d_params[..weights]);
    T::dispatch(cx.isa, Transpose { from, cols: plan.output[0], to });
    d_params[weights..].copy_from_slice(&sum[weights..]);
}
