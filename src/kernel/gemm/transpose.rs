//! Transposed copies of small matrices, for products that read their rows in vectors.

#![forbid(unsafe_code)]

use crate::simd::isa::MOST_LANES;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// to = fromᵀ, with `from` (rows, cols) and `to` (cols, rows).
pub(crate) struct Transpose<'a, T> {
    pub from: &'a [T],
    pub cols: usize,
    pub to: &'a mut [T],
}

impl<T: Real> Kernel<T> for Transpose<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Transpose { from, cols, to } = self;
        assert_eq!(from.len(), to.len());
        let stride = from.len() / cols;
        for (four, rows) in from.chunks(4 * cols).enumerate() {
            let at = 4 * four;
            if rows.len() == 4 * cols {
                let (first, second) = rows.split_at(2 * cols);
                let ((a, b), (c, d)) = (first.split_at(cols), second.split_at(cols));
                write_columns(s, [a, b, c, d], to, at, stride);
            } else {
                for (k, row) in rows.chunks_exact(cols).enumerate() {
                    write_column(row, to, at + k, stride);
                }
            }
        }
    }
}

/// Writes element e of row n to `to[e * rows.len() + n]`.
pub(crate) struct Interleave<'a, T> {
    pub rows: &'a [&'a [T]],
    pub to: &'a mut [T],
}

impl<T: Real> Kernel<T> for Interleave<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Interleave { rows, to } = self;
        let stride = rows.len();
        assert!(rows.iter().all(|row| row.len() * stride == to.len()), "rows of one length");
        let (fours, rest) = rows.as_chunks::<4>();
        for (four, &rows) in fours.iter().enumerate() {
            write_columns(s, rows, to, 4 * four, stride);
        }
        for (k, row) in rest.iter().enumerate() {
            write_column(row, to, stride - rest.len() + k, stride);
        }
    }
}

/// Writes four rows of one length as columns `at..at + 4` of a matrix whose rows have `stride` elements.
#[inline(always)]
fn write_columns<T: Real, S: Simd<T>>(
    s: S,
    rows: [&[T]; 4],
    to: &mut [T],
    at: usize,
    stride: usize,
) {
    let cols = rows[0].len();
    let mut fours = [T::ZERO; 4 * MOST_LANES];
    for j in (0..cols).step_by(S::LANES) {
        let count = (cols - j).min(S::LANES);
        let mut vectors = [s.splat(T::ZERO); 4];
        for k in 0..4 {
            vectors[k] = s.load(&rows[k][j..j + count]);
        }
        let parts = s.interleave(vectors);
        for k in 0..4 {
            s.store(parts[k], &mut fours[k * S::LANES..]);
        }
        let (fours, _) = fours.as_chunks::<4>();
        for (four, to) in fours[..count].iter().zip(to[j * stride..].chunks_mut(stride)) {
            to[at..at + 4].copy_from_slice(four);
        }
    }
}

/// Writes one row as column `at` of such a matrix.
#[inline(always)]
fn write_column<T: Real>(row: &[T], to: &mut [T], at: usize, stride: usize) {
    for (x, to) in row.iter().zip(to.chunks_exact_mut(stride)) {
        to[at] = *x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::isa::Isa;

    fn becomes_columns<T: Real>() {
        for (rows, isa) in (0..20).flat_map(|rows| Isa::available().map(move |isa| (rows, isa))) {
            for cols in 1..40 {
                let from: Vec<T> = (0..rows * cols).map(|i| T::from_f64(i as f64)).collect();
                let expected: Vec<T> =
                    (0..rows * cols).map(|at| from[at % rows * cols + at / rows]).collect();
                let mut to = vec![T::from_f64(f64::NAN); rows * cols];
                T::dispatch(isa, Transpose { from: &from, cols, to: &mut to });
                assert_eq!(to, expected, "{rows}x{cols} on {isa}");

                let apart: Vec<&[T]> = from.chunks(cols).collect();
                to.fill(T::from_f64(f64::NAN));
                T::dispatch(isa, Interleave { rows: &apart, to: &mut to });
                assert_eq!(to, expected, "{rows} rows of {cols} on {isa}");
            }
        }
    }

    #[test]
    fn rows_become_columns_at_every_size() {
        becomes_columns::<f32>();
        becomes_columns::<f64>();
    }
}
