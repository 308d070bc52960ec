//! Sums of vectors that lie apart: partial gradients of blocks, and rows of a matrix.

#![forbid(unsafe_code)]

use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// sum[j] = the sum of from[i stride + j] over i below `count`, in that order.
pub(crate) struct AddUp<'a, T> {
    pub from: &'a [T],
    pub stride: usize,
    pub count: usize,
    pub sum: &'a mut [T],
}

impl<T: Real> Kernel<T> for AddUp<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        for (column, sums) in self.sum.chunks_mut(4 * S::LANES).enumerate() {
            // Four vectors of columns at a time, so that the sums stay in registers.
            let mut totals = [s.splat(T::ZERO); 4];
            for i in 0..self.count {
                let row = &self.from[i * self.stride + column * 4 * S::LANES..][..sums.len()];
                for (total, vector) in totals.iter_mut().zip(row.chunks(S::LANES)) {
                    *total = *total + s.load(vector);
                }
            }
            for (total, vector) in totals.iter().zip(sums.chunks_mut(S::LANES)) {
                s.store(*total, vector);
            }
        }
    }
}
