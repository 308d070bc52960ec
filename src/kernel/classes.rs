//! The rows of a batch in the order of their classes: without their mean, and in spheres.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::rows::squared_distance;
use crate::mat::Mat;
use crate::real::Real;
use crate::simd::{Kernel, Simd};

/// The class of rows that are left out.
pub(crate) const NO_CLASS: u32 = u32::MAX;

/// The rows of a batch in an order in which those of a class are neighbours.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, T> {
    pub z: Mat<'a, T>,
    /// Place p holds row `order[p]`.
    pub order: &'a [u32],
}

impl<'a, T: Real> Rows<'a, T> {
    #[inline(always)]
    pub(crate) fn row(&self, place: usize) -> &'a [T] {
        self.z.row(self.order[place] as usize)
    }
}

/// Spheres that hold the rows of each class, and how far a dissimilar pair's push reaches.
#[derive(Clone, Copy)]
pub(crate) struct Spheres<'a, T> {
    pub centers: Mat<'a, T>,
    /// Not finite for a class with a row that is not.
    pub radii: &'a [T],
    pub reach: T,
}

impl<T: Real> Spheres<'_, T> {
    /// Whether all rows of one class are out of reach of all rows of another one, however distances
    /// are rounded.
    #[inline(always)]
    pub(super) fn apart<S: Simd<T>>(&self, s: S, one: usize, other: usize) -> bool {
        let distance = squared_distance(s, self.centers.row(one), self.centers.row(other)).sqrt();
        let rounding = T::EPSILON * T::from_f64(4.0 * (self.centers.cols() as f64 + 8.0));
        let size = distance + self.radii[one] + self.radii[other] + self.reach;
        distance - self.radii[one] - self.radii[other] - self.reach > rounding * size
    }
}

/// Adds the rows at some places that are finite to `sum`; returns how many they are.
pub(crate) struct SumRows<'a, T> {
    pub rows: Rows<'a, T>,
    pub places: Range<usize>,
    pub sum: &'a mut [T],
}

impl<T: Real> Kernel<T> for SumRows<'_, T> {
    type Output = u64;

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> u64 {
        let mut count = 0;
        for place in self.places {
            let row = self.rows.row(place);
            // 0 x is 0, and NaN where x is not finite.
            let zero = s.splat(T::ZERO);
            let mut zeros = zero;
            for x in row.chunks(S::LANES) {
                zeros = s.fma(zero, s.load(x), zeros);
            }
            if s.sum(zeros).is_nan() {
                continue;
            }
            count += 1;
            for (sum, x) in self.sum.chunks_mut(S::LANES).zip(row.chunks(S::LANES)) {
                s.store(s.load(sum) + s.load(x), sum);
            }
        }
        count
    }
}

/// The radius of a sphere around `center` that holds the rows at some places; not finite where one of
/// them is not.
pub(crate) struct Radius<'a, T> {
    pub rows: Rows<'a, T>,
    pub places: Range<usize>,
    pub center: &'a [T],
}

impl<T: Real> Kernel<T> for Radius<'_, T> {
    type Output = T;

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> T {
        let mut largest = T::ZERO;
        for place in self.places {
            let d2 = squared_distance(s, self.rows.row(place), self.center);
            if d2 > largest || d2.is_nan() {
                largest = d2;
            }
            if largest.is_nan() {
                break;
            }
        }
        largest.sqrt()
    }
}

/// Rows without a mean, and their squared lengths: see [`Batch::centered`](super::all_pairs::Batch::centered).
pub(crate) struct CenterRows<'a, T> {
    pub rows: Rows<'a, T>,
    pub first: usize,
    /// By place, or empty.
    pub classes: &'a [u32],
    pub mean: &'a [T],
    pub centered: &'a mut [T],
    pub norms: &'a mut [T],
}

impl<T: Real> Kernel<T> for CenterRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let out = self.centered.chunks_exact_mut(self.mean.len()).zip(self.norms);
        for (place, (to, norm)) in (self.first..).zip(out) {
            *norm = T::ZERO;
            if self.classes.get(place) == Some(&NO_CLASS) {
                to.fill(T::ZERO);
                continue;
            }
            let row = self.rows.row(place);
            let mut squares = s.splat(T::ZERO);
            let inputs = row.chunks(S::LANES).zip(self.mean.chunks(S::LANES));
            for (to, (x, mean)) in to.chunks_mut(S::LANES).zip(inputs) {
                let x = s.load(x) - s.load(mean);
                squares = s.fma(x, x, squares);
                s.store(x, to);
            }
            *norm = s.sum(squares);
            if !norm.is_finite() {
                to.fill(T::ZERO);
                *norm = T::from_f64(f64::NAN);
            }
        }
    }
}
