//! A point near the mean of a set of rows, which is subtracted from them before products are formed.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::pack::{NO_CLASS, Rows};
use crate::kernel::vector::dot;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// Whether all elements of a row are finite.
#[inline(always)]
pub(crate) fn is_finite_row<T: Real, S: Simd<T>>(s: S, row: &[T]) -> bool {
    // 0 x is 0, and NaN where x is not finite.
    let zero = s.splat(T::ZERO);
    let mut zeros = zero;
    for x in row.chunks(S::LANES) {
        zeros = s.fma(zero, s.load(x), zeros);
    }
    !s.sum(zeros).is_nan()
}

/// `sum` += the sum of z_i - point over the finite rows at `places`; returns their number.
pub(crate) struct SumRows<'a, T> {
    pub rows: Rows<'a, T>,
    pub places: Range<usize>,
    /// (d)
    pub point: &'a [T],
    /// (d)
    pub sum: &'a mut [T],
}

impl<T: Real> Kernel<T> for SumRows<'_, T> {
    type Output = u64;

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> u64 {
        let mut count = 0;
        for place in self.places {
            let row = self.rows.row(place);
            if !is_finite_row(s, row) {
                continue;
            }
            count += 1;
            let row = row.chunks(S::LANES).zip(self.point.chunks(S::LANES));
            for (sum, (x, point)) in self.sum.chunks_mut(S::LANES).zip(row) {
                s.store(s.load(sum) + (s.load(x) - s.load(point)), sum);
            }
        }
        count
    }
}

/// `nearest[k]` becomes the number nearest to `mean[k]` among `nearest[k]` itself and column k of the
/// finite rows at `places`; of two numbers that are equally near, the first.
pub(crate) struct NearestToMean<'a, T> {
    pub rows: Rows<'a, T>,
    /// Every `step`-th place is looked at.
    pub places: Range<usize>,
    pub step: usize,
    /// (d)
    pub mean: &'a [T],
    /// (d)
    pub nearest: &'a mut [T],
}

impl<T: Real> Kernel<T> for NearestToMean<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        for place in self.places.step_by(self.step) {
            let row = self.rows.row(place);
            if !is_finite_row(s, row) {
                continue;
            }
            let row = row.chunks(S::LANES).zip(self.mean.chunks(S::LANES));
            for (nearest, (x, mean)) in self.nearest.chunks_mut(S::LANES).zip(row) {
                let (x, mean, before) = (s.load(x), s.load(mean), s.load(nearest));
                let nearer = s.lt(s.abs(x - mean), s.abs(before - mean));
                s.store(s.select(nearer, x, before), nearest);
            }
        }
    }
}

/// The largest squared length of the rows at `places` that are in some pair; NaN where one is.
pub(crate) struct LargestNorm<'a, T> {
    pub rows: Rows<'a, T>,
    /// The class of each place, or empty.
    pub classes: &'a [u32],
    pub places: Range<usize>,
}

impl<T: Real> Kernel<T> for LargestNorm<'_, T> {
    type Output = T;

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> T {
        let mut largest = T::ZERO;
        for place in self.places {
            if self.classes.get(place) == Some(&NO_CLASS) {
                continue;
            }
            let row = self.rows.row(place);
            let norm = dot(s, row, row);
            if !(largest >= norm || largest.is_nan()) {
                largest = norm;
            }
        }
        largest
    }
}
