//! The dense layer: every output is a weighted sum of all inputs.

#![forbid(unsafe_code)]

use super::layer::{Backward, Forward, Layer, ParamSpec, Shape, Start};
use super::{MOST_ELEMENTS, activation};
use crate::cx::Cx;
use crate::kernel::add_up::AddUp;
use crate::kernel::dense::{self as kernel, DenseDots, Plan};
use crate::kernel::elementwise::{Activate, Activation};
use crate::kernel::large::is_large;
use crate::kernel::transpose::Transpose;
use crate::par::{Chunks, for_blocks};
use crate::real::Real;

/// Samples of a block of work.
const BLOCK_SAMPLES: usize = 32;
/// Outputs of a block of the weight gradient.
const BLOCK_OUTPUTS: usize = 16;
/// Samples or outputs of a block where the weights are large: each block packs them once.
const LARGE_BLOCK: usize = 128;
/// Up to so many samples, dot products with the weights as they lie are faster than transposing
/// them first.
const FEW_SAMPLES: usize = 4;

/// y = W x + b, with `weight` of shape `[out, in]` and `bias` of shape `[out]`.
///
/// Its backward pass is dx = W' dy, dW = sum of dy x', db = sum of dy over the samples.
#[derive(Clone, Debug, Default)]
pub struct Dense {
    outputs: usize,
    /// What follows, computed within the layer's passes.
    activation: Option<Activation>,
    plan: Plan,
}

impl Dense {
    /// A layer of so many outputs.
    pub fn new(outputs: usize) -> Self {
        Dense { outputs, activation: None, plan: Plan::default() }
    }
}

impl<T: Real> Layer<T> for Dense {
    fn kind(&self) -> String {
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
        self.plan = Plan::new(input.len(), self.outputs);
        Ok(Shape::flat(self.outputs))
    }

    fn params(&self) -> Vec<ParamSpec> {
        let Plan { inputs, outputs, .. } = self.plan;
        let start = Start::Random { fan_in: inputs, fan_out: outputs };
        vec![
            ParamSpec { name: "weight", shape: vec![outputs, inputs], start },
            ParamSpec { name: "bias", shape: vec![outputs], start: Start::Constant(0.0) },
        ]
    }

    fn scratch(&self, samples: usize) -> usize {
        scratch(&self.plan, samples)
    }

    fn forward(&self, cx: &Cx, pass: Forward<T>) {
        forward(cx, &self.plan, self.activation, pass);
    }

    fn backward(&self, cx: &Cx, pass: Backward<T>) {
        backward(cx, &self.plan, self.activation, pass);
    }

    fn fuse(&mut self, next: Activation) -> bool {
        let free = self.activation.is_none();
        self.activation.get_or_insert(next);
        free
    }
}

/// The transposed weights, where they pay.
pub(super) fn scratch(plan: &Plan, samples: usize) -> usize {
    if samples <= FEW_SAMPLES { 0 } else { plan.inputs * plan.outputs }
}

/// y = f(x W' + bias)
pub(super) fn forward<T: Real>(cx: &Cx, plan: &Plan, f: Option<Activation>, pass: Forward<T>) {
    let Forward { params, x, y, scratch } = pass;
    let (weight, bias) = params.split_at(plan.inputs * plan.outputs);
    let samples = y.len() / plan.outputs;
    // While a block is in cache.
    let activate = |y: &mut [T]| {
        if let Some(f) = f {
            let width = y.len();
            T::dispatch(cx.isa, Activate { f, y, rows: 1, stride: width, width });
        }
    };
    if samples <= FEW_SAMPLES {
        T::dispatch(cx.isa, DenseDots { plan, weight, bias, x, y: &mut *y });
        return activate(y);
    }
    if is_large(cx.isa, weight.len()) {
        let out = Chunks(y, LARGE_BLOCK * plan.outputs);
        return for_blocks(cx.par, samples.div_ceil(LARGE_BLOCK), out, |block, y: Chunks<T>| {
            let x = &x[block * LARGE_BLOCK * plan.inputs..];
            kernel::forward_large(plan, weight, bias, x, y.0);
            activate(y.0);
        });
    }
    let transposed = &mut scratch[..weight.len()];
    T::dispatch(cx.isa, Transpose { from: weight, cols: plan.inputs, to: &mut *transposed });
    let transposed = &*transposed;
    let out = Chunks(y, BLOCK_SAMPLES * plan.outputs);
    for_blocks(cx.par, samples.div_ceil(BLOCK_SAMPLES), out, |block, y: Chunks<T>| {
        let count = y.0.len() / plan.outputs;
        let x = &x[block * BLOCK_SAMPLES * plan.inputs..][..count * plan.inputs];
        kernel::forward(cx.isa, plan, transposed, bias, x, y.0);
        activate(y.0);
    });
}

pub(super) fn backward<T: Real>(cx: &Cx, plan: &Plan, f: Option<Activation>, pass: Backward<T>) {
    let Backward { params, x, y, dy, dx, d_params, .. } = pass;
    if let Some(f) = f {
        activation::slope(cx, f, y, dy);
    }
    let dy = &*dy;
    let weight = &params[..plan.inputs * plan.outputs];
    let (d_weight, d_bias) = d_params.split_at_mut(weight.len());
    let samples = dy.len() / plan.outputs;
    let sums = AddUp { from: dy, stride: plan.outputs, count: samples, sum: d_bias };
    T::dispatch(cx.isa, sums);
    if is_large(cx.isa, weight.len()) {
        return backward_large(cx, plan, weight, [x, dy], dx, d_weight);
    }
    if let Some(dx) = dx {
        let out = Chunks(dx, BLOCK_SAMPLES * plan.inputs);
        for_blocks(cx.par, samples.div_ceil(BLOCK_SAMPLES), out, |block, dx: Chunks<T>| {
            let count = dx.0.len() / plan.inputs;
            let dy = &dy[block * BLOCK_SAMPLES * plan.outputs..][..count * plan.outputs];
            kernel::input_gradient(cx.isa, plan, weight, dy, dx.0);
        });
    }
    let out = Chunks(d_weight, BLOCK_OUTPUTS * plan.inputs);
    for_blocks(cx.par, plan.outputs.div_ceil(BLOCK_OUTPUTS), out, |block, d_weight: Chunks<T>| {
        kernel::weight_gradient(cx.isa, plan, block * BLOCK_OUTPUTS, x, dy, d_weight.0);
    });
}

/// dx and dW where the weights are large.
fn backward_large<T: Real>(
    cx: &Cx,
    plan: &Plan,
    weight: &[T],
    [x, dy]: [&[T]; 2],
    dx: Option<&mut [T]>,
    d_weight: &mut [T],
) {
    let samples = dy.len() / plan.outputs;
    if let Some(dx) = dx {
        let out = Chunks(dx, LARGE_BLOCK * plan.inputs);
        for_blocks(cx.par, samples.div_ceil(LARGE_BLOCK), out, |block, dx: Chunks<T>| {
            let dy = &dy[block * LARGE_BLOCK * plan.outputs..];
            kernel::input_gradient_large(plan, weight, dy, dx.0);
        });
    }
    let out = Chunks(d_weight, LARGE_BLOCK * plan.inputs);
    for_blocks(cx.par, plan.outputs.div_ceil(LARGE_BLOCK), out, |block, d_weight: Chunks<T>| {
        kernel::weight_gradient_large(plan, block * LARGE_BLOCK, x, dy, d_weight.0);
    });
}
