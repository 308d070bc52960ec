//! The gradient of a set of rows: sums that blocks add to, from which it is written out at the end.

#![forbid(unsafe_code)]

use super::packed_rows::PackedRows;
use crate::batch::blocking::task_rows;
use crate::kernel::pairwise::gradient::FinishGradient;
use crate::memory::aligned::Aligned;
use crate::memory::mat::MatMut;
use crate::parallel::cx::Cx;
use crate::parallel::split::{RowBlocks, for_blocks};
use crate::simd::real::Real;

/// The sums from which a set's gradient is made: see [`finish`](Gradient::finish).
#[derive(Clone, Debug, Default)]
pub(crate) struct Gradient<T> {
    /// sum_i by place, N x D, in blocks of panels of columns.
    pub sums: Aligned<T>,
    /// slopes_i by place, N elements: the factor of the row itself.
    pub slopes: Aligned<T>,
}

impl<T: Real> Gradient<T> {
    /// Sets all sums to 0, for N x D rows.
    pub(crate) fn clear(&mut self, [n, d]: [usize; 2]) {
        self.sums.clear(n * d);
        self.slopes.clear(n);
    }

    pub(crate) fn out(&mut self) -> SideOut<'_, T> {
        Some((&mut self.sums, &mut self.slopes))
    }

    /// grad_i = scale (sum_i + slopes_i z_i), where z is without its mean, in the caller's order of rows.
    /// Sums are in blocks of `block` rows.
    pub(crate) fn finish(
        &self,
        cx: &Cx,
        set: &mut PackedRows<T>,
        block: usize,
        scale: T,
        grad: MatMut<T>,
    ) {
        self.write(cx, set, block, (scale, true), grad);
    }

    /// grad_i = scale sum_i, in the caller's order of rows. Sums are in blocks of as many rows as those of the
    /// set.
    pub(crate) fn finish_products(
        &self,
        cx: &Cx,
        set: &mut PackedRows<T>,
        scale: T,
        grad: MatMut<T>,
    ) {
        let block = set.block;
        self.write(cx, set, block, (scale, false), grad);
    }

    fn write(
        &self,
        cx: &Cx,
        set: &mut PackedRows<T>,
        block: usize,
        (scale, own): (T, bool),
        grad: MatMut<T>,
    ) {
        set.find_places();
        let PackedRows { places, centered, block: set_block, .. } = set;
        let [n, d] = grad.shape();
        let height = task_rows(n, d.saturating_mul(3 * size_of::<T>()));
        let grad = RowBlocks(grad, height);
        for_blocks(cx.par, n.div_ceil(height), grad, |task, grad| {
            let first = task * height;
            T::dispatch(
                cx.isa,
                FinishGradient {
                    places: &places[first..first + grad.rows()],
                    blocks: [block, *set_block],
                    scale,
                    count: n,
                    slope_sums: &self.slopes,
                    sums: &self.sums,
                    centered: if own { centered } else { &[] },
                    grad,
                },
            );
        });
    }
}

/// The output of one side, where it is wanted: gradients in blocks, and sums of slopes.
pub(crate) type SideOut<'a, T> = Option<(&'a mut [T], &'a mut [T])>;
