//! Sums and products of single rows and lists (level 1 of BLAS), used by several wings.

#![forbid(unsafe_code)]

use crate::simd::Simd;
use crate::simd::real::Real;

/// |a - b|² with four independent sums.
///
/// Did not help: adding up the lanes of sixteen rows together, by a tree of sums of neighbouring
/// lanes (2048 x 128 on one thread: 0.051 ms instead of 0.043).
#[inline(always)]
pub(crate) fn squared_distance<T: Real, S: Simd<T>>(s: S, a: &[T], b: &[T]) -> T {
    let b = &b[..a.len()];
    let zero = s.splat(T::ZERO);
    let mut sums = [zero; 4];
    let mut a4 = a.chunks_exact(4 * S::LANES);
    let mut b4 = b.chunks_exact(4 * S::LANES);
    for (a, b) in a4.by_ref().zip(b4.by_ref()) {
        for k in 0..4 {
            let t = s.load(&a[k * S::LANES..][..S::LANES]) - s.load(&b[k * S::LANES..][..S::LANES]);
            sums[k] = s.fma(t, t, sums[k]);
        }
    }
    let rest = a4.remainder().chunks(S::LANES).zip(b4.remainder().chunks(S::LANES));
    for (k, (a, b)) in rest.enumerate() {
        let t = s.load(a) - s.load(b);
        sums[k & 3] = s.fma(t, t, sums[k & 3]);
    }
    s.sum((sums[0] + sums[1]) + (sums[2] + sums[3]))
}

/// A term of a sum over two rows: the contribution of one pair of elements.
pub(crate) trait Term<T: Real>: Copy {
    /// sum + term(a, b); a pair of zeros adds nothing.
    fn add<S: Simd<T>>(self, s: S, sum: S::F, a: S::F, b: S::F) -> S::F;
}

/// a b
#[derive(Clone, Copy)]
pub(crate) struct Product;

impl<T: Real> Term<T> for Product {
    #[inline(always)]
    fn add<S: Simd<T>>(self, s: S, sum: S::F, a: S::F, b: S::F) -> S::F {
        s.fma(a, b, sum)
    }
}

/// a·b for slices of equal length.
#[inline(always)]
pub(crate) fn dot<T: Real, S: Simd<T>>(s: S, a: &[T], b: &[T]) -> T {
    row_sum(s, Product, a, b)
}

/// The sum of the terms of two rows of equal length, with four independent sums.
#[inline(always)]
pub(crate) fn row_sum<T: Real, S: Simd<T>>(s: S, term: impl Term<T>, a: &[T], b: &[T]) -> T {
    let b = &b[..a.len()];
    let mut sums = [s.splat(T::ZERO); 4];
    let mut a4 = a.chunks_exact(4 * S::LANES);
    let mut b4 = b.chunks_exact(4 * S::LANES);
    for (a, b) in a4.by_ref().zip(b4.by_ref()) {
        for k in 0..4 {
            let lanes = k * S::LANES..(k + 1) * S::LANES;
            sums[k] = term.add(s, sums[k], s.load(&a[lanes.clone()]), s.load(&b[lanes]));
        }
    }
    let rest = a4.remainder().chunks(S::LANES).zip(b4.remainder().chunks(S::LANES));
    for (k, (a, b)) in rest.enumerate() {
        sums[k & 3] = term.add(s, sums[k & 3], s.load(a), s.load(b));
    }
    s.sum((sums[0] + sums[1]) + (sums[2] + sums[3]))
}

/// out_i = √of_i
#[inline(always)]
pub(crate) fn square_roots<T: Real, S: Simd<T>>(s: S, of: &[T], out: &mut [T]) {
    for (of, out) in of.chunks(S::LANES).zip(out.chunks_mut(S::LANES)) {
        s.store(s.sqrt(s.load(of)), out);
    }
}

/// The sum of all elements.
#[inline(always)]
pub(crate) fn sum<T: Real, S: Simd<T>>(s: S, of: &[T]) -> T {
    let mut sum = s.splat(T::ZERO);
    for of in of.chunks(S::LANES) {
        sum = sum + s.load(of);
    }
    s.sum(sum)
}

/// to += of
#[inline(always)]
pub(crate) fn add<T: Real, S: Simd<T>>(s: S, of: &[T], to: &mut [T]) {
    for (of, to) in of.chunks(S::LANES).zip(to.chunks_mut(S::LANES)) {
        s.store(s.load(to) + s.load(of), to);
    }
}
