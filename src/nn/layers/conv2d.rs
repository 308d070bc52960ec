//! The convolution layer.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::{activation, dense};
use crate::error::Error;
use crate::kernel::layers::activation::{Activation, Slope};
use crate::kernel::layers::conv::{self as kernel, Plan};
use crate::kernel::layers::dense as dense_kernel;
use crate::nn::MOST_ELEMENTS;
use crate::nn::layer::image_layer::{BackwardByRows, ImageLayer};
use crate::nn::layer::{Backward, Forward, InitialValue, Layer, ParamSpec, Shape, image_blocks};
use crate::parallel::cx::Cx;
use crate::simd::isa::Isa;
use crate::simd::real::{Real, compiled};

/// A two-dimensional convolution (a correlation, as everywhere in this field):
///
/// ```text
/// y[o][r][c] = bias[o] + sum over i, u, v of weight[o][i][u][v] x[i][stride r + u - pad][stride c + v - pad]
/// ```
///
/// with zeros outside the image. `weight` has shape `[out, in, height, width]`, `bias` `[out]`. Where the
/// windows do not fill the padded image, its last rows and columns are not reached.
///
/// # Accuracy
///
/// As of [`Dense`](crate::nn::Dense): (n/2 + 2) eps for a sum of n terms, in `y`, in both gradients and in dx.
///
/// # How it is computed
///
/// A kernel that covers the whole image is a [`Dense`](crate::nn::Dense) layer. Otherwise as many images as a
/// vector has lanes lie interleaved (in a small batch, a quarter of its images), and a row of output pixels
/// is a product of the weights with pixels read where they lie. In a small batch, rows that fill less than
/// five eighths of their vectors are gathered as patches first, and multiplied together.
///
/// Measured on one Zen 4 core, a forward pass of one image: the time of rows read where they lie, divided by
/// that of gathered patches, by channels x maps and kernel, and by the pixels of a row.
///
/// | | pixels | filled | 1 x 16, 5x5 | 16 x 32, 3x3 | 20 x 50, 5x5 | 64 x 64, 3x3 |
/// |---|---|---|---|---|---|---|
/// | AVX-512 | 4 | 0.25 | 1.0 | 1.5 | 2.0 | 2.2 |
/// | | 8 | 0.50 | 1.0 | 1.2 | 1.3 | 1.4 |
/// | | 18 | 0.56 | | 1.2 | | 1.4 |
/// | | 10 | 0.63 | | 0.9 | | 1.1 |
/// | | 12 | 0.75 | 0.8 | | 0.9 | |
/// | | 26 | 0.81 | | 0.8 | | 1.0 |
/// | | 16, 32 | 1.00 | 0.8, 0.9 | | 0.8, 0.9 | |
/// | AVX2 | 4 | 0.50 | 1.0 | 1.0 | 1.2 | 1.4 |
/// | | 10 | 0.63 | | 0.9 | | 1.1 |
/// | | 6 | 0.75 | | 0.8 | 0.8 | 0.9 |
/// | | 16, 32 | 1.00 | 0.8, 0.8 | | 0.8, 0.9 | |
#[derive(Clone, Debug)]
pub struct Conv2d {
    maps: usize,
    kernel: [usize; 2],
    stride: usize,
    padding: usize,
    /// The activation that follows, fused into the layer's passes.
    activation: Option<Activation>,
    plan: Plan,
    /// A kernel that covers the whole image has one output pixel and is a dense layer.
    dense: Option<dense_kernel::Plan>,
}

impl Conv2d {
    /// `maps` output maps by a square kernel of `kernel` rows, with stride 1 and no padding.
    pub fn new(maps: usize, kernel: usize) -> Self {
        Conv2d::rectangular(maps, [kernel, kernel])
    }

    /// `maps` output maps by a kernel of `kernel[0]` rows and `kernel[1]` columns.
    pub fn rectangular(maps: usize, kernel: [usize; 2]) -> Self {
        let (activation, plan) = (None, Plan::default());
        Conv2d { maps, kernel, stride: 1, padding: 0, activation, plan, dense: None }
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
pub(crate) fn windows(
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
    fn describe(&self) -> String {
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
        let reason = |error: Error| error.to_string();
        let dense = covers.then(|| dense_kernel::Plan::new(input.len(), self.maps));
        self.dense = dense.transpose().map_err(reason)?;
        let [input, output_sizes] = [input, output].map(sizes);
        self.plan = Plan::new(input, output_sizes, self.kernel, self.stride, self.padding)
            .map_err(reason)?;
        Ok(output)
    }

    fn params(&self) -> Vec<ParamSpec> {
        let window = self.kernel[0] * self.kernel[1];
        let (fan_in, fan_out) = (self.plan.tap_count(), self.maps * window);
        let shape = vec![self.maps, self.plan.input[0], self.kernel[0], self.kernel[1]];
        vec![
            ParamSpec { name: "weight", shape, initial: InitialValue::Random { fan_in, fan_out } },
            ParamSpec {
                name: "bias",
                shape: vec![self.maps],
                initial: InitialValue::Constant(0.0),
            },
        ]
    }

    fn scratch(&self, samples: usize) -> usize {
        match &self.dense {
            Some(plan) => dense::scratch(plan),
            None => image_blocks::scratch(self as &dyn ImageLayer<T>, self.params_len(), samples),
        }
    }

    #[inline(never)]
    fn forward(&self, cx: &Cx, pass: Forward<T>) {
        match &self.dense {
            Some(plan) => dense::forward(cx, plan, self.activation, pass),
            None => {
                let samples = pass.x.len() / self.plan.input_len();
                image_blocks::forward(cx, self, samples, pass);
            }
        }
    }

    #[inline(never)]
    fn backward(&self, cx: &Cx, pass: Backward<T>) {
        match &self.dense {
            Some(plan) => dense::backward(cx, plan, self.activation, pass),
            None => {
                let samples = pass.x.len() / self.plan.input_len();
                image_blocks::backward(cx, self, samples, pass);
            }
        }
    }

    fn as_image_layer(&self) -> Option<&dyn ImageLayer<T>> {
        if self.dense.is_none() { Some(self) } else { None }
    }

    fn fuse(&mut self, next: Activation) -> bool {
        activation::fuse(&mut self.activation, next)
    }
}

impl Conv2d {
    fn params_len(&self) -> usize {
        (self.plan.tap_count() + 1) * self.maps
    }
}

impl<T: Real> ImageLayer<T> for Conv2d {
    fn group_scratch(&self, group: usize) -> usize {
        self.plan.scratch(group)
    }

    fn forward_scratch(&self, group: usize) -> usize {
        self.plan.forward_scratch(group)
    }

    #[inline(never)]
    fn forward_group(&self, isa: Isa, group: usize, pass: Forward<T>) {
        let Forward { params, x, y, scratch } = pass;
        let (weight, bias) = params.split_at(self.plan.tap_count() * self.maps);
        let (plan, f) = (&self.plan, self.activation);
        kernel::forward(isa, plan, group, [weight, bias], f, x, y, scratch);
    }

    #[inline(never)]
    fn backward_group(&self, isa: Isa, group: usize, pass: Backward<T>) {
        let Backward { params, x, y, dy, dx, d_params, scratch } = pass;
        let pixels = self.plan.pixel_count() * group;
        let run = pixels / self.plan.output[1];
        let mut rows = |map: usize, rows: Range<usize>, to: &mut [T]| {
            let part = map * pixels + rows.start * run..map * pixels + rows.end * run;
            to.copy_from_slice(&dy[part]);
        };
        let pass = Backward { params, x, y, dy: &mut [], dx, d_params, scratch };
        self.backward_by_rows(isa, group, pass, 1, &mut rows);
    }

    fn by_rows(&self) -> Option<&dyn BackwardByRows<T>> {
        if self.dense.is_none() { Some(self) } else { None }
    }
}

compiled!(
    <Conv2d as Layer<T>>::forward,
    <Conv2d as Layer<T>>::backward,
    <Conv2d as ImageLayer<T>>::forward_group,
    <Conv2d as ImageLayer<T>>::backward_group,
    <Conv2d as BackwardByRows<T>>::backward_by_rows,
);

impl<T: Real> BackwardByRows<T> for Conv2d {
    #[inline(never)]
    fn backward_by_rows(
        &self,
        isa: Isa,
        group: usize,
        pass: Backward<T>,
        step: usize,
        dy: kernel::GradientRows<T>,
    ) {
        let Backward { params, x, y, dx, d_params, scratch, .. } = pass;
        let (plan, weights) = (&self.plan, self.plan.tap_count() * self.maps);
        let (weight, bias) = d_params.split_at_mut(weights);
        let gradients = kernel::Gradients { weight, bias, x: dx };
        let pixels = plan.pixel_count() * group;
        let run = pixels / plan.output[1];
        let mut sloped = |map: usize, rows: Range<usize>, to: &mut [T]| {
            dy(map, rows.clone(), to);
            if let Some(f) = self.activation {
                // While the rows are in L1.
                let part = map * pixels + rows.start * run..map * pixels + rows.end * run;
                T::dispatch(isa, Slope { f, y: &y[part], dy: to });
            }
        };
        let weight = &params[..weights];
        kernel::backward(isa, plan, group, weight, [x, y], gradients, scratch, step, &mut sloped);
    }
}
