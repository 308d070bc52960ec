//! Pairs by rows in one, two or three dimensions: the embeddings of the paper's figures.
//!
//! Rows are shorter than a vector here, so a vector holds several of them and lanes are pairs
//! throughout: differences are squared, the members of each row added across vectors, and the
//! slopes spread out again. No row is handled by itself.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::pair_blocks::PairLayout;
use crate::simd::Simd;
use crate::simd::real::Real;

/// The widest row that is handled here.
pub(crate) const WIDEST: usize = 3;

/// [`PairRows`](super::pairs::PairRows) for rows of `D` elements without gaps.
pub(crate) struct PlanarRows<'a, T, const D: usize> {
    pub a: &'a [T],
    pub b: &'a [T],
    /// Both gradients, to be overwritten.
    pub grads: Option<(&'a mut [T], &'a mut [T])>,
}

impl<T: Real, const D: usize> PairLayout<T> for PlanarRows<'_, T, D> {
    #[inline(always)]
    fn squared_distances<S: Simd<T>>(&self, s: S, pairs: Range<usize>, d2: &mut [T]) {
        let elements = pairs.start * D..pairs.end * D;
        squared_distances::<T, S, D>(s, &self.a[elements.clone()], &self.b[elements], d2);
    }

    #[inline(always)]
    fn gradients<S: Simd<T>>(
        &mut self,
        s: S,
        pairs: Range<usize>,
        slopes: &[T],
        ignored: Option<&[bool]>,
    ) {
        let Some((grad_a, grad_b)) = &mut self.grads else { return };
        let elements = pairs.start * D..pairs.end * D;
        let (a, b) = (&self.a[elements.clone()], &self.b[elements.clone()]);
        let (grad_a, grad_b) = (&mut grad_a[elements.clone()], &mut grad_b[elements]);
        gradients::<T, S, D>(s, slopes, [a, b], [grad_a, grad_b]);
        let ignored = ignored.into_iter().flatten().enumerate().filter(|(_, ignored)| **ignored);
        for (i, _) in ignored {
            grad_a[i * D..(i + 1) * D].fill(T::ZERO);
            grad_b[i * D..(i + 1) * D].fill(T::ZERO);
        }
    }
}

/// d2_i = |a_i - b_i|² for rows of `D` elements.
#[inline(always)]
pub(crate) fn squared_distances<T: Real, S: Simd<T>, const D: usize>(
    s: S,
    a: &[T],
    b: &[T],
    d2: &mut [T],
) {
    // Whole vectors by themselves: the lengths are constants in that loop.
    let mut a = a.chunks_exact(D * S::LANES);
    let mut b = b.chunks_exact(D * S::LANES);
    let mut d2 = d2.chunks_exact_mut(S::LANES);
    for ((a, b), d2) in a.by_ref().zip(b.by_ref()).zip(d2.by_ref()) {
        squared_distances_of_lanes::<T, S, D>(s, a, b, d2);
    }
    let d2 = d2.into_remainder();
    if !d2.is_empty() {
        squared_distances_of_lanes::<T, S, D>(s, a.remainder(), b.remainder(), d2);
    }
}

#[inline(always)]
fn squared_distances_of_lanes<T: Real, S: Simd<T>, const D: usize>(
    s: S,
    a: &[T],
    b: &[T],
    d2: &mut [T],
) {
    let mut squares = differences::<T, S, D>(s, a, b);
    for square in &mut squares {
        *square = *square * *square;
    }
    s.store(row_sums(s, squares), d2);
}

/// grad_a = slope (a - b), grad_b = -slope (a - b) for rows of `D` elements.
#[inline(always)]
fn gradients<T: Real, S: Simd<T>, const D: usize>(
    s: S,
    slopes: &[T],
    [a, b]: [&[T]; 2],
    [grad_a, grad_b]: [&mut [T]; 2],
) {
    let width = D * S::LANES;
    let mut slopes = slopes.chunks_exact(S::LANES);
    let (mut a, mut b) = (a.chunks_exact(width), b.chunks_exact(width));
    let mut grad_a = grad_a.chunks_exact_mut(width);
    let mut grad_b = grad_b.chunks_exact_mut(width);
    let inputs = slopes.by_ref().zip(a.by_ref().zip(b.by_ref()));
    for ((slopes, (a, b)), grads) in inputs.zip(grad_a.by_ref().zip(grad_b.by_ref())) {
        gradients_of_lanes::<T, S, D>(s, slopes, [a, b], grads.into());
    }
    let slopes = slopes.remainder();
    if !slopes.is_empty() {
        let inputs = [a.remainder(), b.remainder()];
        let grads = [grad_a.into_remainder(), grad_b.into_remainder()];
        gradients_of_lanes::<T, S, D>(s, slopes, inputs, grads);
    }
}

#[inline(always)]
fn gradients_of_lanes<T: Real, S: Simd<T>, const D: usize>(
    s: S,
    slopes: &[T],
    [a, b]: [&[T]; 2],
    [grad_a, grad_b]: [&mut [T]; 2],
) {
    let differences = differences::<T, S, D>(s, a, b);
    let slopes = spread::<T, S, D>(s, s.load(slopes));
    for k in 0..D {
        let g = slopes[k] * differences[k];
        s.store(g, part_mut::<T, S>(grad_a, k));
        s.store(-g, part_mut::<T, S>(grad_b, k));
    }
}

/// a - b as `D` vectors in a row; lanes past the end are 0.
#[inline(always)]
fn differences<T: Real, S: Simd<T>, const D: usize>(s: S, a: &[T], b: &[T]) -> [S::F; D] {
    let mut out = [s.splat(T::ZERO); D];
    for (k, out) in out.iter_mut().enumerate() {
        let from = (k * S::LANES).min(a.len());
        let to = ((k + 1) * S::LANES).min(a.len());
        *out = s.load(&a[from..to]) - s.load(&b[from..to]);
    }
    out
}

/// The elements of vector `k`; fewer than a vector at the end, or none.
#[inline(always)]
fn part_mut<T: Real, S: Simd<T>>(all: &mut [T], k: usize) -> &mut [T] {
    let from = (k * S::LANES).min(all.len());
    let to = ((k + 1) * S::LANES).min(all.len());
    &mut all[from..to]
}

/// Adds up the `D` members of each row.
#[inline(always)]
fn row_sums<T: Real, S: Simd<T>, const D: usize>(s: S, v: [S::F; D]) -> S::F {
    match D {
        1 => v[0],
        2 => s.pair_sums([v[0], v[1]]),
        3 => s.triple_sums([v[0], v[1], v[2]]),
        _ => unreachable!("rows of {D} elements are not planar"),
    }
}

/// Repeats each lane `D` times.
#[inline(always)]
fn spread<T: Real, S: Simd<T>, const D: usize>(s: S, v: S::F) -> [S::F; D] {
    let mut out = [v; D];
    match D {
        1 => {}
        2 => out.copy_from_slice(&s.spread_pairs(v)),
        3 => out.copy_from_slice(&s.spread_triples(v)),
        _ => unreachable!("rows of {D} elements are not planar"),
    }
    out
}
