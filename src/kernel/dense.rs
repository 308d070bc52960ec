//! Dense layers: rows of inputs times rows of weights, and the gradients of both.

use super::pool;
use super::product::{Broadcast, Contiguous, Initial, OffsetTable, Output, product};
use crate::real::Real;
use crate::simd::{Kernel, Simd};

/// Samples that a weight gradient is summed over at once.
const DEPTH: usize = 256;

/// Sizes of a dense layer and the offsets that follow from them, planned once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub inputs: usize,
    pub outputs: usize,
    /// Elements of a row of inputs; of outputs.
    input_columns: OffsetTable,
    output_columns: OffsetTable,
    /// Starts of consecutive rows of inputs; of outputs.
    input_rows: OffsetTable,
    output_rows: OffsetTable,
    /// Rows of the weights; of the transposed weights.
    weight_rows: OffsetTable,
    transposed_rows: OffsetTable,
}

impl Plan {
    /// Whether all offsets of such a layer can be counted.
    pub(crate) fn fits(inputs: usize, outputs: usize) -> bool {
        let rows = inputs.max(outputs).checked_mul(DEPTH);
        let weights = inputs.checked_mul(outputs);
        [rows, weights].iter().all(|len| len.is_some_and(|len| len <= isize::MAX as usize / 8))
    }

    /// The sizes must fit: the caller has checked them.
    pub(crate) fn new(inputs: usize, outputs: usize) -> Self {
        Plan {
            inputs,
            outputs,
            input_columns: OffsetTable::linear(inputs, 1),
            output_columns: OffsetTable::linear(outputs, 1),
            input_rows: OffsetTable::linear(DEPTH, inputs),
            output_rows: OffsetTable::linear(DEPTH, outputs),
            weight_rows: OffsetTable::linear(outputs, inputs),
            transposed_rows: OffsetTable::linear(inputs, outputs),
        }
    }
}

/// y = x W' + bias for at most `DEPTH` samples, from the transposed weights (inputs x outputs).
pub(crate) struct DenseForward<'a, T> {
    pub plan: &'a Plan,
    pub transposed: &'a [T],
    pub bias: &'a [T],
    pub x: &'a [T],
    pub y: &'a mut [T],
}

impl<T: Real> Kernel<T> for DenseForward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let plan = self.plan;
        let samples = self.y.len() / plan.outputs;
        product(
            s,
            Broadcast {
                data: self.x,
                rows: plan.input_rows.range(0..samples),
                depth: plan.input_columns.all(),
            },
            Contiguous { data: self.transposed, from: plan.transposed_rows.all() },
            Initial::PerColumn(self.bias),
            Output { data: self.y, stride: plan.outputs, width: plan.outputs },
        );
    }
}

/// y = x W' + bias for a few samples, from the weights as they lie: one dot product an output.
pub(crate) struct DenseDots<'a, T> {
    pub plan: &'a Plan,
    pub weight: &'a [T],
    pub bias: &'a [T],
    pub x: &'a [T],
    pub y: &'a mut [T],
}

impl<T: Real> Kernel<T> for DenseDots<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Plan { inputs, outputs, .. } = *self.plan;
        for (x, y) in self.x.chunks_exact(inputs).zip(self.y.chunks_exact_mut(outputs)) {
            let rows = self.weight.chunks_exact(inputs);
            for ((y, &bias), weight) in y.iter_mut().zip(self.bias).zip(rows) {
                *y = bias + dot(s, x, weight);
            }
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

/// dx = dy W for at most `DEPTH` samples.
pub(crate) struct DenseInputGradient<'a, T> {
    pub plan: &'a Plan,
    pub weight: &'a [T],
    pub dy: &'a [T],
    pub dx: &'a mut [T],
}

impl<T: Real> Kernel<T> for DenseInputGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let plan = self.plan;
        let samples = self.dy.len() / plan.outputs;
        product(
            s,
            Broadcast {
                data: self.dy,
                rows: plan.output_rows.range(0..samples),
                depth: plan.output_columns.all(),
            },
            Contiguous { data: self.weight, from: plan.weight_rows.all() },
            Initial::Zero,
            Output { data: self.dx, stride: plan.inputs, width: plan.inputs },
        );
    }
}

/// dW = dy' x for the outputs from `first` on, as many as `d_weight` has rows.
pub(crate) struct DenseWeightGradient<'a, T> {
    pub plan: &'a Plan,
    pub first: usize,
    pub x: &'a [T],
    pub dy: &'a [T],
    pub d_weight: &'a mut [T],
}

impl<T: Real> Kernel<T> for DenseWeightGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let plan = self.plan;
        let outputs = self.first..self.first + self.d_weight.len() / plan.inputs;
        self.d_weight.fill(T::ZERO);
        let x = self.x.chunks(DEPTH * plan.inputs);
        for (x, dy) in x.zip(self.dy.chunks(DEPTH * plan.outputs)) {
            let samples = dy.len() / plan.outputs;
            product(
                s,
                Broadcast {
                    data: dy,
                    rows: plan.output_columns.range(outputs.clone()),
                    depth: plan.output_rows.range(0..samples),
                },
                Contiguous { data: x, from: plan.input_rows.range(0..samples) },
                Initial::Output,
                Output { data: self.d_weight, stride: plan.inputs, width: plan.inputs },
            );
        }
    }
}

/// Adds every row to the sum.
pub(crate) struct AddRows<'a, T> {
    pub rows: &'a [T],
    pub sum: &'a mut [T],
}

impl<T: Real> Kernel<T> for AddRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        for row in self.rows.chunks_exact(self.sum.len()) {
            pool::add(s, row, self.sum);
        }
    }
}
