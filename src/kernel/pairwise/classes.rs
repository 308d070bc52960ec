//! Measures each class of a batch as a whole: a sphere around its rows, and, where similar pairs have a
//! constant slope, the sum of its pairs. Rows stand in the order of their classes.
//!
//! If every similar pair has the value s d²/2, and so the slope s, the n rows of a class need no pair:
//!
//! ```text
//! sum of values = s n/2 sum |z_i - m|²        gradient of z_i = s n (z_i - m)        m their mean
//! ```

#![forbid(unsafe_code)]

use std::ops::Range;

use super::pack::Rows;
use super::tile::DISTANCE_ROUNDINGS;
use crate::kernel::vector::squared_distance;
use crate::loss::KindSums;
use crate::memory::mat::Mat;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// Spheres that hold the rows of each class.
#[derive(Clone, Copy)]
pub(crate) struct Spheres<'a, T> {
    pub centers: Mat<'a, T>,
    /// Not finite for a class with a row that is not finite.
    pub radii: &'a [T],
}

/// Whether all rows of one sphere are farther than `reach` from all rows of another one, by more than
/// distances may be off by rounding, also those from products.
#[inline(always)]
pub(crate) fn apart<T: Real, S: Simd<T>>(
    s: S,
    (one, a): (&Spheres<T>, usize),
    (other, b): (&Spheres<T>, usize),
    reach: T,
) -> bool {
    let distance = squared_distance(s, one.centers.row(a), other.centers.row(b)).sqrt();
    let taken = one.radii[a] + other.radii[b] + reach;
    let roundings = 4.0 * (one.centers.cols() as f64 + 8.0) + DISTANCE_ROUNDINGS;
    let rounding = T::EPSILON * T::from_f64(roundings);
    // Squares that underflow are missing from a radius.
    let lost = T::from_f64(4.0 * (T::MIN_POSITIVE.to_f64() * one.centers.cols() as f64).sqrt());
    distance - taken > rounding * (distance + taken) + lost
}

/// Measures the rows of a class as a whole: see [`Class`].
pub(crate) struct MeasureClass<'a, T> {
    pub rows: Rows<'a, T>,
    pub places: Range<usize>,
    /// (d), to be overwritten: the mean of the rows.
    pub center: &'a mut [T],
    /// (d), to be overwritten: the mean of row - `center`. (Far from the origin, the rounding of a mean may
    /// be larger than the distances of the rows.)
    pub residual: &'a mut [T],
    /// (d), scratch.
    pub part: &'a mut [T],
    /// The constant slope of similar pairs, if they have one and the sum of the pairs is wanted.
    pub pull: Option<T>,
    /// Scratch for each row: its distance from the center, and its place.
    pub radii: &'a mut Vec<(T, u32)>,
}

/// A class as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Class<T> {
    /// The radius of a sphere around the mean of the rows; not finite where a row is not.
    pub radius: T,
    /// The sums of the class's pairs, where these need not be measured one by one.
    pub pulled: Option<KindSums>,
}

impl<T: Real> Kernel<T> for MeasureClass<'_, T> {
    type Output = Class<T>;

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) -> Class<T> {
        let first = self.rows.row(self.places.start);
        self.find_mean(s, None);
        let means = self.center.chunks_mut(S::LANES).zip(self.residual.chunks(S::LANES));
        for ((center, beyond), first) in means.zip(first.chunks(S::LANES)) {
            s.store(s.load(first) + s.load(beyond), center);
        }
        let center = std::mem::take(&mut self.center);
        self.find_mean(s, Some(center));
        let (mut radius, mut spread) = (T::ZERO, 0.0);
        self.radii.clear();
        for place in self.places.clone() {
            let (mut squares, mut of_rest) = (s.splat(T::ZERO), s.splat(T::ZERO));
            let row = self.rows.row(place).chunks(S::LANES).zip(center.chunks(S::LANES));
            for ((x, center), residual) in row.zip(self.residual.chunks(S::LANES)) {
                let t = s.load(x) - s.load(center);
                squares = s.fma(t, t, squares);
                let t = t - s.load(residual);
                of_rest = s.fma(t, t, of_rest);
            }
            spread += s.sum(of_rest).to_f64();
            let distance = s.sum(squares).sqrt();
            if (distance > radius || distance.is_nan()) && !radius.is_nan() {
                radius = distance;
            }
            self.radii.push((distance, place as u32));
        }
        self.center = center;
        Class { radius, pulled: self.pull.and_then(|pull| self.pulled(s, pull, radius, spread)) }
    }
}

impl<T: Real> MeasureClass<'_, T> {
    /// residual = the mean of row - point, where the first row is the point if none is given. It is summed
    /// in parts of a few rows, so that long sums keep their digits.
    #[inline(always)]
    fn find_mean<S: Simd<T>>(&mut self, s: S, point: Option<&[T]>) {
        const PART: usize = 64;
        let point = point.unwrap_or(self.rows.row(self.places.start));
        self.residual.fill(T::ZERO);
        for from in self.places.clone().step_by(PART) {
            self.part.fill(T::ZERO);
            for place in from..(from + PART).min(self.places.end) {
                let row = self.rows.row(place).chunks(S::LANES).zip(point.chunks(S::LANES));
                for ((x, point), part) in row.zip(self.part.chunks_mut(S::LANES)) {
                    s.store(s.load(part) + (s.load(x) - s.load(point)), part);
                }
            }
            let parts = self.part.chunks(S::LANES);
            for (sum, part) in self.residual.chunks_mut(S::LANES).zip(parts) {
                s.store(s.load(sum) + s.load(part), sum);
            }
        }
        let share = s.splat(T::from_f64(1.0 / self.places.len() as f64));
        for mean in self.residual.chunks_mut(S::LANES) {
            s.store(s.load(mean) * share, mean);
        }
    }

    /// The sums of the pairs of the class, without measuring them. `None` where overflow or underflow is
    /// near, or where so many rows may coincide that nothing is gained.
    #[inline(always)]
    fn pulled<S: Simd<T>>(&mut self, s: S, pull: T, radius: T, spread: f64) -> Option<KindSums> {
        let n = self.places.len() as u64;
        let half = T::from_f64(0.5) * pull;
        let sum = half.to_f64() * n as f64 * spread;
        // Rows whose distances from the mean differ by more than this do not coincide.
        let roundings = self.center.len().div_ceil(S::LANES) + 16;
        let gap = T::EPSILON * T::from_f64(roundings as f64) * radius;
        let widest = T::from_f64(8.0) * radius * radius;
        if !(half * gap * gap > T::MIN_POSITIVE
            && widest.is_finite()
            && (half * widest).is_finite())
        {
            return None;
        }
        self.radii
            .sort_unstable_by(|a, b| a.0.to_f64().total_cmp(&b.0.to_f64()).then(a.1.cmp(&b.1)));
        let (mut candidates, most) = (0, 64 * n);
        let mut coincident = 0;
        for (i, &(radius, place)) in self.radii.iter().enumerate() {
            let near = self.radii[i + 1..].iter().take_while(|(other, _)| *other - radius <= gap);
            for &(_, other) in near {
                candidates += 1;
                if candidates > most {
                    return None;
                }
                let rows = [place, other].map(|place| self.rows.row(place as usize));
                let d2 = squared_distance(s, rows[0], rows[1]);
                coincident += u64::from(half * d2 == T::ZERO);
            }
        }
        let pairs = n * (n - 1) / 2;
        Some(KindSums { pairs, active: pairs - coincident, sum })
    }
}
