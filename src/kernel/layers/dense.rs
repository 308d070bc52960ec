//! Dense layers: rows of inputs times rows of weights, and the gradients of both.

#![forbid(unsafe_code)]

use std::ops::Range;

use crate::error::Result;
use crate::kernel::gemm::packed::{LargeProduct, Strided};
use crate::kernel::gemm::product::{
    Broadcast, Contiguous, Initial, OffsetTable, Output, Product, most_vectors, multiply,
};
use crate::kernel::gemm::transpose::Interleave;
use crate::parallel::split::rows_of_block;
use crate::simd::isa::Isa;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// Samples that a weight gradient is summed over at once.
const DEPTH: usize = 256;

/// Columns of a panel on any tier, at most.
const MOST_COLUMNS: usize = 48;

/// Sizes of a dense layer and the offsets that follow from them, planned once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub inputs: usize,
    pub outputs: usize,
    /// Offsets of the elements of a row of inputs, and of a row of outputs.
    input_columns: OffsetTable,
    output_columns: OffsetTable,
    /// Offsets of the starts of rows of inputs, and of rows of outputs.
    input_rows: OffsetTable,
    output_rows: OffsetTable,
}

impl Plan {
    /// Refused where there is no memory for the offsets.
    pub(crate) fn new(inputs: usize, outputs: usize) -> Result<Self> {
        Ok(Plan {
            inputs,
            outputs,
            input_columns: OffsetTable::linear(inputs, 1)?,
            output_columns: OffsetTable::linear(outputs, 1)?,
            input_rows: OffsetTable::linear(DEPTH, inputs)?,
            output_rows: OffsetTable::linear(DEPTH, outputs)?,
        })
    }
}

/// dW = dy' x for the outputs from `first` on, as many as `d_weight` has rows: [`weight_gradient`] for
/// large weights.
pub(crate) fn weight_gradient_large<T: Real>(
    plan: &Plan,
    first: usize,
    x: &[T],
    dy: &[T],
    d_weight: &mut [T],
) {
    d_weight.fill(T::ZERO);
    let (samples, outputs) = (dy.len() / plan.outputs, d_weight.len() / plan.inputs);
    if samples == 0 {
        return;
    }
    let product = LargeProduct {
        sizes: [outputs, samples, plan.inputs],
        a: Strided { data: &dy[first..], strides: [1, plan.outputs] },
        b: Strided { data: x, strides: [plan.inputs, 1] },
        c: d_weight,
    };
    product.run();
}

/// Columns of a panel of weights: as many as the product's tile takes at once.
pub(crate) fn panel_width<T>(isa: Isa) -> usize {
    most_vectors(isa) * isa.lanes::<T>()
}

/// Packs the weights of some outputs into a panel, (inputs, outputs).
pub(crate) fn pack_outputs<T: Real>(
    isa: Isa,
    plan: &Plan,
    weight: &[T],
    outputs: Range<usize>,
    panel: &mut [T],
) {
    let mut rows: [&[T]; MOST_COLUMNS] = [&[]; MOST_COLUMNS];
    for (row, output) in rows.iter_mut().zip(outputs.clone()) {
        *row = &weight[output * plan.inputs..][..plan.inputs];
    }
    T::dispatch(isa, Interleave { rows: &rows[..outputs.len()], to: panel });
}

/// Packs the weights of some inputs into a panel, (outputs, inputs).
pub(crate) fn pack_inputs<T: Copy>(
    plan: &Plan,
    weight: &[T],
    inputs: Range<usize>,
    panel: &mut [T],
) {
    for (row, to) in weight.chunks_exact(plan.inputs).zip(panel.chunks_exact_mut(inputs.len())) {
        to.copy_from_slice(&row[inputs.clone()]);
    }
}

/// y = x W' + bias for at most `DEPTH` samples, from all panels of outputs. `x` is (n, inputs), `y` (n,
/// outputs).
pub(crate) fn forward<T: Real>(
    isa: Isa,
    plan: &Plan,
    panels: &[T],
    bias: &[T],
    x: &[T],
    y: &mut [T],
) {
    let rows = plan.input_rows.range(0..y.len() / plan.outputs);
    let a = Broadcast::new(x, rows, plan.input_columns.all());
    for (panel, columns) in of_panels(isa, panels, plan.inputs, plan.outputs) {
        let width = columns.len();
        let product = Product {
            a,
            b: Contiguous::new(panel, plan.input_columns.all()).scaled(width),
            turns: 1,
            initial: Initial::PerColumn(&bias[columns.clone()]),
            c: Output { data: &mut y[columns.start..], stride: plan.outputs, width },
        };
        multiply(isa, product);
    }
}

/// dx = dy W for at most `DEPTH` samples, from all panels of inputs. `dy` is (n, outputs), `dx` (n,
/// inputs).
pub(crate) fn input_gradient<T: Real>(isa: Isa, plan: &Plan, panels: &[T], dy: &[T], dx: &mut [T]) {
    let rows = plan.output_rows.range(0..dy.len() / plan.outputs);
    let a = Broadcast::new(dy, rows, plan.output_columns.all());
    for (panel, columns) in of_panels(isa, panels, plan.outputs, plan.inputs) {
        let width = columns.len();
        let product = Product {
            a,
            b: Contiguous::new(panel, plan.output_columns.all()).scaled(width),
            turns: 1,
            initial: Initial::Zero,
            c: Output { data: &mut dx[columns.start..], stride: plan.inputs, width },
        };
        multiply(isa, product);
    }
}

/// The panels of a matrix of `rows` x `columns`, each with its range of columns.
fn of_panels<T: Real>(
    isa: Isa,
    panels: &[T],
    rows: usize,
    columns: usize,
) -> impl Iterator<Item = (&[T], Range<usize>)> {
    let width = panel_width::<T>(isa);
    panels
        .chunks(rows * width)
        .enumerate()
        .map(move |(p, panel)| (panel, rows_of_block(p, width, columns)))
}

/// dW = dy' x for the outputs from `first` on, as many as `d_weight` has rows. `x` is (n, inputs), `dy` (n,
/// outputs).
pub(crate) fn weight_gradient<T: Real>(
    isa: Isa,
    plan: &Plan,
    first: usize,
    x: &[T],
    dy: &[T],
    d_weight: &mut [T],
) {
    let outputs = first..first + d_weight.len() / plan.inputs;
    d_weight.fill(T::ZERO);
    let x = x.chunks(DEPTH * plan.inputs);
    for (x, dy) in x.zip(dy.chunks(DEPTH * plan.outputs)) {
        let samples = dy.len() / plan.outputs;
        let rows = plan.output_columns.range(outputs.clone());
        let product = Product {
            a: Broadcast::new(dy, rows, plan.output_rows.range(0..samples)),
            b: Contiguous::new(x, plan.input_rows.range(0..samples)),
            turns: 1,
            initial: Initial::Output,
            c: Output { data: &mut *d_weight, stride: plan.inputs, width: plan.inputs },
        };
        multiply(isa, product);
    }
}

/// y = W x + bias for a range of outputs of one sample, from weights as they lie.
pub(crate) struct DenseDots<'a, T> {
    pub weight: &'a [T],
    pub bias: &'a [T],
    pub x: &'a [T],
    pub y: &'a mut [T],
}

impl<T: Real> Kernel<T> for DenseDots<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let rows = self.weight.chunks_exact(self.x.len());
        for ((y, &bias), weight) in self.y.iter_mut().zip(self.bias).zip(rows) {
            *y = bias + dot(s, self.x, weight);
        }
    }
}

/// The sum of products, with four independent sums.
#[inline(always)]
fn dot<T: Real, S: Simd<T>>(s: S, a: &[T], b: &[T]) -> T {
    let b = &b[..a.len()];
    let mut sums = [s.splat(T::ZERO); 4];
    let mut a4 = a.chunks_exact(4 * S::LANES);
    let mut b4 = b.chunks_exact(4 * S::LANES);
    for (a, b) in a4.by_ref().zip(b4.by_ref()) {
        for k in 0..4 {
            let (a, b) = (&a[k * S::LANES..][..S::LANES], &b[k * S::LANES..][..S::LANES]);
            sums[k] = s.fma(s.load(a), s.load(b), sums[k]);
        }
    }
    let rest = a4.remainder().chunks(S::LANES).zip(b4.remainder().chunks(S::LANES));
    for (k, (a, b)) in rest.enumerate() {
        sums[k & 3] = s.fma(s.load(a), s.load(b), sums[k & 3]);
    }
    s.sum((sums[0] + sums[1]) + (sums[2] + sums[3]))
}
