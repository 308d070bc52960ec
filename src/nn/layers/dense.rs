//! The dense layer: every output is a weighted sum of all inputs.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::activation;
use crate::kernel::gemm::add_up::AddUp;
use crate::kernel::gemm::packed::is_large;
use crate::kernel::layers::activation::{Activate, Activation};
use crate::kernel::layers::dense::{self as kernel, DenseDots, Plan};
use crate::nn::MOST_ELEMENTS;
use crate::nn::layer::{Backward, Forward, InitialValue, Layer, ParamSpec, Shape};
use crate::parallel::cx::{Cx, Par};
use crate::parallel::split::{Chunks, for_blocks, rows_of_block};
use crate::simd::real::{Real, compiled};

/// Samples of a block of work: the second number where each block reads more weights than an L2 holds.
const BLOCK_SAMPLES: [usize; 2] = [32, 64];
/// Weights that an L2 holds.
const CACHED: usize = 1 << 18;
/// Outputs of a block of the weight gradient.
const BLOCK_OUTPUTS: usize = 16;
/// Outputs of a block where samples are packed: each block packs all of them.
const LARGE_BLOCK: usize = 128;
/// Multiply-adds of a pass that is not worth handing over to another thread: a few microseconds.
const SMALL: usize = 1 << 18;
/// Weights of a block of dot products: fewer are not worth handing over to another thread.
const SHARE: usize = 1 << 17;
/// Up to this many samples, dot products with the weights as they lie are faster than transposing them first.
const FEW_SAMPLES: usize = 4;

/// y = W x + b, with `weight` of shape `[out, in]` and `bias` of shape `[out]`.
///
/// Its backward pass is dx = W' dy, dW = sum of dy x', db = sum of dy over the samples.
///
/// # Accuracy
///
/// A sum of n terms, the bias among them, is off by at most (n/2 + 2) eps of the sum of their magnitudes.
#[derive(Clone, Debug, Default)]
pub struct Dense {
    outputs: usize,
    /// The activation that follows, fused into the layer's passes.
    activation: Option<Activation>,
    plan: Plan,
}

impl Dense {
    /// A layer of `outputs` outputs.
    pub fn new(outputs: usize) -> Self {
        Dense { outputs, activation: None, plan: Plan::default() }
    }
}

impl<T: Real> Layer<T> for Dense {
    fn describe(&self) -> String {
        format!("Dense {}", self.outputs)
    }

    fn connect(&mut self, input: Shape) -> Result<Shape, String> {
        if self.outputs == 0 {
            return Err("a dense layer needs at least one output".to_owned());
        }
        let weights = input.len().checked_mul(self.outputs);
        if weights.is_none_or(|len| len > MOST_ELEMENTS) {
            return Err("its size overflows".to_owned());
        }
        self.plan = Plan::new(input.len(), self.outputs).map_err(|error| error.to_string())?;
        Ok(Shape::flat(self.outputs))
    }

    fn params(&self) -> Vec<ParamSpec> {
        let Plan { inputs, outputs, .. } = self.plan;
        let initial = InitialValue::Random { fan_in: inputs, fan_out: outputs };
        vec![
            ParamSpec { name: "weight", shape: vec![outputs, inputs], initial },
            ParamSpec { name: "bias", shape: vec![outputs], initial: InitialValue::Constant(0.0) },
        ]
    }

    fn scratch(&self, _: usize) -> usize {
        scratch(&self.plan)
    }

    #[inline(never)]
    fn forward(&self, cx: &Cx, pass: Forward<T>) {
        forward(cx, &self.plan, self.activation, pass);
    }

    #[inline(never)]
    fn backward(&self, cx: &Cx, pass: Backward<T>) {
        backward(cx, &self.plan, self.activation, pass);
    }

    fn fuse(&mut self, next: Activation) -> bool {
        activation::fuse(&mut self.activation, next)
    }
}

compiled!(<Dense as Layer<T>>::forward, <Dense as Layer<T>>::backward);

/// Elements of scratch: the weights, packed into panels.
pub(crate) fn scratch(plan: &Plan) -> usize {
    plan.inputs * plan.outputs
}

/// The context of a pass over `samples` samples: the calling thread alone where the pass is over before
/// another thread has woken up.
fn context(cx: &Cx, plan: &Plan, samples: usize) -> Cx {
    let work = (plan.inputs * plan.outputs).saturating_mul(samples);
    if work <= SMALL { Cx { par: Par::Serial, ..*cx } } else { *cx }
}

/// y = f(x W' + bias)
pub(crate) fn forward<T: Real>(cx: &Cx, plan: &Plan, f: Option<Activation>, pass: Forward<T>) {
    let Forward { params, x, y, scratch } = pass;
    let (weight, bias) = params.split_at(plan.inputs * plan.outputs);
    let samples = y.len() / plan.outputs;
    let cx = &context(cx, plan, samples);
    let at_once = BLOCK_SAMPLES[usize::from(plan.inputs * plan.outputs > CACHED)];
    // While a block is in cache.
    let activate = |y: &mut [T]| {
        if let Some(f) = f {
            T::dispatch(cx.isa, Activate::all(f, y));
        }
    };
    if samples <= FEW_SAMPLES {
        let height = (SHARE / plan.inputs).max(1);
        for (x, y) in x.chunks_exact(plan.inputs).zip(y.chunks_exact_mut(plan.outputs)) {
            let out = Chunks(y, height);
            for_blocks(cx.par, plan.outputs.div_ceil(height), out, |block, y| {
                let first = block * height;
                let (weight, bias) = (&weight[first * plan.inputs..], &bias[first..]);
                T::dispatch(cx.isa, DenseDots { weight, bias, x, y });
                activate(y);
            });
        }
        return;
    }
    let panels = pack(cx, scratch, plan.inputs, plan.outputs, |outputs, panel| {
        kernel::pack_outputs(cx.isa, plan, weight, outputs, panel);
    });
    let out = Chunks(y, at_once * plan.outputs);
    for_blocks(cx.par, samples.div_ceil(at_once), out, |block, y| {
        let count = y.len() / plan.outputs;
        let x = &x[block * at_once * plan.inputs..][..count * plan.inputs];
        kernel::forward(cx.isa, plan, panels, bias, x, y);
        activate(y);
    });
}

/// Packs the weights into panels of columns, each of `rows` rows.
fn pack<'a, T: Real>(
    cx: &Cx,
    scratch: &'a mut [T],
    rows: usize,
    columns: usize,
    panel: impl Fn(Range<usize>, &mut [T]) + Sync,
) -> &'a [T] {
    let width = kernel::panel_width::<T>(cx.isa);
    let panels = &mut scratch[..rows * columns];
    let out = Chunks(&mut *panels, rows * width);
    for_blocks(cx.par, columns.div_ceil(width), out, |p, to| {
        panel(rows_of_block(p, width, columns), to);
    });
    panels
}

pub(crate) fn backward<T: Real>(cx: &Cx, plan: &Plan, f: Option<Activation>, pass: Backward<T>) {
    let Backward { params, x, y, dy, dx, d_params, scratch } = pass;
    let samples = dy.len() / plan.outputs;
    let cx = &context(cx, plan, samples);
    if let Some(f) = f {
        activation::slope(cx, f, y, dy);
    }
    let dy = &*dy;
    let weight = &params[..plan.inputs * plan.outputs];
    let (d_weight, d_bias) = d_params.split_at_mut(weight.len());
    let at_once = BLOCK_SAMPLES[usize::from(plan.inputs * plan.outputs > CACHED)];
    let sums = AddUp { from: dy, stride: plan.outputs, count: samples, sum: d_bias };
    T::dispatch(cx.isa, sums);
    if let Some(dx) = dx {
        let panels = pack(cx, scratch, plan.outputs, plan.inputs, |inputs, panel| {
            kernel::pack_inputs(plan, weight, inputs, panel);
        });
        let out = Chunks(dx, at_once * plan.inputs);
        for_blocks(cx.par, samples.div_ceil(at_once), out, |block, dx| {
            let count = dx.len() / plan.inputs;
            let dy = &dy[block * at_once * plan.outputs..][..count * plan.outputs];
            kernel::input_gradient(cx.isa, plan, panels, dy, dx);
        });
    }
    let large = is_large(cx.isa, weight.len(), samples);
    let height = if large { LARGE_BLOCK } else { BLOCK_OUTPUTS };
    let out = Chunks(d_weight, height * plan.inputs);
    for_blocks(cx.par, plan.outputs.div_ceil(height), out, |block, d_weight| {
        let first = block * height;
        if large {
            kernel::weight_gradient_large(plan, first, x, dy, d_weight);
        } else {
            kernel::weight_gradient(cx.isa, plan, first, x, dy, d_weight);
        }
    });
}
