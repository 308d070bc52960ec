//! Pairs of the rows of one matrix, given by their numbers.
//!
//! Distances are measured in the order of the list. Gradients are then added up by row, each row by
//! one task and over its pairs in the order of the list, so no two tasks write to the same place and
//! the order of addition follows from the list alone. (Measuring by row too would halve the rows that
//! are read and double the calls of the loss; rows of a batch lie in the caches, while a loss may be
//! somebody's callback.)

#![forbid(unsafe_code)]

use std::ops::Range;

use super::pair_blocks::PairLayout;
use super::planar;
use crate::kernel::blocking::GROUP_PAIRS;
use crate::kernel::vector::squared_distance;
use crate::memory::mat::{Mat, MatMut};
use crate::parallel::stop::look;
use crate::simd::isa::Isa;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// A row's part in a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    /// The pair's place in the list.
    pub pair: u32,
    /// The other row of the pair.
    pub other: u32,
}

/// Rows i and j of `z` for each pair (i, j); the indices are below the number of rows.
pub(crate) struct IndexedPairs<'a, T> {
    pub z: Mat<'a, T>,
    pub pairs: &'a [(u32, u32)],
}

impl<T: Real> PairLayout<T> for IndexedPairs<'_, T> {
    #[inline(always)]
    fn squared_distances<S: Simd<T>>(&self, s: S, pairs: Range<usize>, d2: &mut [T]) {
        for (&(i, j), d2) in self.pairs[pairs].iter().zip(d2) {
            *d2 = squared_distance(s, self.z.row(i as usize), self.z.row(j as usize));
        }
    }

    #[inline(always)]
    fn gradients<S: Simd<T>>(&mut self, _: S, _: Range<usize>, _: &[T], _: Option<&[bool]>) {}
}

/// [`IndexedPairs`] for rows of `D` elements, which are shorter than a vector: they are copied into planar
/// blocks first.
pub(crate) struct IndexedPlanar<'a, T, const D: usize> {
    pub z: Mat<'a, T>,
    pub pairs: &'a [(u32, u32)],
}

impl<T: Real, const D: usize> PairLayout<T> for IndexedPlanar<'_, T, D> {
    #[inline(always)]
    fn squared_distances<S: Simd<T>>(&self, s: S, pairs: Range<usize>, d2: &mut [T]) {
        let (mut a, mut b) = ([[T::ZERO; D]; GROUP_PAIRS], [[T::ZERO; D]; GROUP_PAIRS]);
        let pairs = &self.pairs[pairs];
        for ((a, b), &(i, j)) in a.iter_mut().zip(&mut b).zip(pairs) {
            a.copy_from_slice(&self.z.row(i as usize)[..D]);
            b.copy_from_slice(&self.z.row(j as usize)[..D]);
        }
        let (a, b) = (a[..pairs.len()].as_flattened(), b[..pairs.len()].as_flattened());
        planar::squared_distances::<T, S, D>(s, a, b, d2);
    }

    #[inline(always)]
    fn gradients<S: Simd<T>>(&mut self, _: S, _: Range<usize>, _: &[T], _: Option<&[bool]>) {}
}

/// grad_i = sum over the pairs p of row i of slope_p (z_i - z_other), for some of the rows.
pub(crate) struct IndexedGradient<'a, T> {
    pub isa: Isa,
    pub z: Mat<'a, T>,
    /// The members of row i are `members[offsets[i]..offsets[i + 1]]`.
    pub offsets: &'a [u32],
    pub members: &'a [Member],
    /// The slope of every pair.
    pub slopes: &'a [T],
    pub ignored: Option<&'a [bool]>,
    /// The number of the first of these rows.
    pub first: usize,
    /// To be overwritten.
    pub grad: MatMut<'a, T>,
}

impl<T: Real> Kernel<T> for IndexedGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) {
        for k in 0..self.grad.rows() {
            if k % 64 == 0 {
                look();
            }
            let row = self.first + k;
            let members = self.offsets[row] as usize..self.offsets[row + 1] as usize;
            let sum = RowSum {
                z: self.z,
                row: self.z.row(row),
                members: &self.members[members],
                slopes: self.slopes,
                ignored: self.ignored,
            };
            sum.write(s, self.grad.row_mut(k));
        }
    }
}

/// The gradient of one row.
struct RowSum<'a, T> {
    z: Mat<'a, T>,
    row: &'a [T],
    members: &'a [Member],
    slopes: &'a [T],
    ignored: Option<&'a [bool]>,
}

impl<T: Real> RowSum<'_, T> {
    /// Sums stay in registers, as many vectors at a time as leave room for the row's own.
    ///
    /// Did not help: scalar sums for rows of two elements (65536 pairs of 8192 x 2 take five times as
    /// long as by rows either way, since slopes and rows are gathered one by one).
    #[inline(always)]
    fn write<S: Simd<T>>(&self, s: S, grad: &mut [T]) {
        let cols = grad.len();
        let mut at = 0;
        if const { S::REGISTERS == 32 } {
            while at + 8 * S::LANES <= cols {
                self.vectors::<S, 8>(s, at, grad);
                at += 8 * S::LANES;
            }
        }
        while at + 4 * S::LANES <= cols {
            self.vectors::<S, 4>(s, at, grad);
            at += 4 * S::LANES;
        }
        while at < cols {
            self.vectors::<S, 1>(s, at, grad);
            at += S::LANES;
        }
    }

    /// Writes `N` vectors of the gradient from element `at` on; the last vector may reach past the end of
    /// the row.
    #[inline(always)]
    fn vectors<S: Simd<T>, const N: usize>(&self, s: S, at: usize, grad: &mut [T]) {
        let end = (at + N * S::LANES).min(grad.len());
        let own = load::<T, S, N>(s, &self.row[at..end]);
        let mut sums = [s.splat(T::ZERO); N];
        for member in self.members {
            if self.ignored.is_some_and(|ignored| ignored[member.pair as usize]) {
                continue;
            }
            let slope = s.splat(self.slopes[member.pair as usize]);
            let other = load::<T, S, N>(s, &self.z.row(member.other as usize)[at..end]);
            for ((sum, own), other) in sums.iter_mut().zip(own).zip(other) {
                *sum = s.fma(slope, own - other, *sum);
            }
        }
        for (sum, grad) in sums.into_iter().zip(grad[at..end].chunks_mut(S::LANES)) {
            s.store(sum, grad);
        }
    }
}

/// Loads `N` vectors; the last one may be short.
#[inline(always)]
fn load<T: Real, S: Simd<T>, const N: usize>(s: S, from: &[T]) -> [S::F; N] {
    if N == 1 {
        return [s.load(from); N];
    }
    std::array::from_fn(|k| s.load(&from[k * S::LANES..(k + 1) * S::LANES]))
}
