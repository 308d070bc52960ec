//! The rows of a batch in the order of their classes, and what holds for a class as a whole: a sphere
//! around its rows, and what its pairs cost where similar pairs are pulled by a constant.
//!
//! With a value s d²/2 and so a slope s for every similar pair, the n rows of a class need no pair:
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
    /// Not finite for a class with a row that is not.
    pub radii: &'a [T],
}

/// Whether all rows of one sphere are out of `reach` of all rows of another one, however distances are
/// rounded, and by more than a distance from products may be off.
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
    // What underflows in a square is not in a radius.
    let lost = T::from_f64(4.0 * (T::MIN_POSITIVE.to_f64() * one.centers.cols() as f64).sqrt());
    distance - taken > rounding * (distance + taken) + lost
}

/// The rows of a class as one: see [`Class`].
pub(crate) struct MeasureClass<'a, T> {
    pub rows: Rows<'a, T>,
    pub places: Range<usize>,
    /// To be overwritten: the mean of the rows.
    pub center: &'a mut [T],
    /// To be overwritten: the mean of what the rows are beyond that. (The mean of rows far from the origin
    /// is rounded by more than they may be apart.)
    pub residual: &'a mut [T],
    /// Scratch for as many numbers as there are columns.
    pub part: &'a mut [T],
    /// What similar pairs are pulled by, where that is wanted and a constant.
    pub pull: Option<T>,
    /// Scratch for a number for each row.
    pub radii: &'a mut Vec<(T, u32)>,
}

/// What is known of the rows of a class.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Class<T> {
    /// Of a sphere around their mean; not finite where a row is not.
    pub radius: T,
    /// What its pairs add up to, where they need not be measured one by one.
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
    /// The mean of what the rows are beyond some point, or the first of them, in parts of a few rows, so
    /// that long sums keep their digits.
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

    /// What the pairs of the class add up to without being measured; none where overflow or underflow
    /// is near, or where so many rows may coincide that nothing is gained.
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
