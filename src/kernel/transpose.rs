//! Transposed copies of small matrices, for products that read their rows in vectors.

#![forbid(unsafe_code)]

use crate::real::Real;
use crate::simd::{Kernel, Simd};

/// Writes rows of `cols` elements as columns.
pub(crate) struct Transpose<'a, T> {
    pub from: &'a [T],
    pub cols: usize,
    pub to: &'a mut [T],
}

impl<T: Real> Kernel<T> for Transpose<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, _: S) {
        let Transpose { from, cols, to } = self;
        assert_eq!(from.len(), to.len());
        let rows = from.len() / cols;
        let mut i = 0;
        while i < rows {
            let from = &from[i * cols..];
            // Columns of 8, 4, 2 or 1 rows: what is written at once.
            i += match rows - i {
                8.. => {
                    band::<T, 8>(std::array::from_fn(|k| &from[k * cols..][..cols]), to, i, rows)
                }
                4.. => {
                    band::<T, 4>(std::array::from_fn(|k| &from[k * cols..][..cols]), to, i, rows)
                }
                2.. => {
                    band::<T, 2>(std::array::from_fn(|k| &from[k * cols..][..cols]), to, i, rows)
                }
                _ => band::<T, 1>([&from[..cols]], to, i, rows),
            };
        }
    }
}

/// Writes element e of row n at `e rows + n`.
pub(crate) struct Interleave<'a, T> {
    pub rows: &'a [&'a [T]],
    pub to: &'a mut [T],
}

impl<T: Real> Kernel<T> for Interleave<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, _: S) {
        let Interleave { rows, to } = self;
        let stride = rows.len();
        assert!(rows.iter().all(|row| row.len() * stride == to.len()), "rows of one length");
        if let [row] = rows {
            return to.copy_from_slice(row);
        }
        let (eights, rest) = rows.as_chunks::<8>();
        let (fours, rest) = rest.as_chunks::<4>();
        let mut done = 0;
        for &eight in eights {
            done += band::<T, 8>(eight, to, done, stride);
        }
        for &four in fours {
            done += band::<T, 4>(four, to, done, stride);
        }
        for &row in rest {
            done += band::<T, 1>([row], to, done, stride);
        }
    }
}

/// Writes rows as the columns from `i` on of a matrix of rows of `stride` elements, a block of 8 columns
/// at a time, which the compiler keeps in registers; returns N.
#[inline(always)]
fn band<T: Real, const N: usize>(rows: [&[T]; N], to: &mut [T], i: usize, stride: usize) -> usize {
    const WIDTH: usize = 8;
    let cols = rows[0].len();
    let whole = cols - cols % WIDTH;
    for j in (0..whole).step_by(WIDTH) {
        let block: [[T; WIDTH]; N] =
            std::array::from_fn(|k| std::array::from_fn(|l| rows[k][j + l]));
        for l in 0..WIDTH {
            let column: [T; N] = std::array::from_fn(|k| block[k][l]);
            to[(j + l) * stride + i..][..N].copy_from_slice(&column);
        }
    }
    for j in whole..cols {
        for k in 0..N {
            to[j * stride + i + k] = rows[k][j];
        }
    }
    N
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    #[test]
    fn rows_become_columns_at_every_size() {
        for (rows, isa) in (0..20).flat_map(|rows| Isa::available().map(move |isa| (rows, isa))) {
            for cols in 1..20 {
                let from: Vec<f64> = (0..rows * cols).map(|i| i as f64).collect();
                let mut to = vec![f64::NAN; rows * cols];
                f64::dispatch(isa, Transpose { from: &from, cols, to: &mut to });
                for (at, &x) in to.iter().enumerate() {
                    assert_eq!(x, from[at % rows * cols + at / rows], "{rows}x{cols} at {at}");
                }
            }
        }
    }
}
