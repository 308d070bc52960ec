//! Transposed copies of small matrices, for products that read their rows in vectors.

use crate::real::Real;

/// Rows and columns that are read and written as a block, whose rows are vectors on both sides.
const BLOCK: usize = 8;

/// Writes rows of `cols` elements as columns.
///
/// # Panics
/// Where the lengths differ.
pub(crate) fn transpose<T: Real>(from: &[T], cols: usize, to: &mut [T]) {
    assert_eq!(from.len(), to.len());
    let rows = from.len() / cols;
    let (whole_rows, whole_cols) = (rows - rows % BLOCK, cols - cols % BLOCK);
    for i in (0..whole_rows).step_by(BLOCK) {
        for j in (0..whole_cols).step_by(BLOCK) {
            transpose_block(&from[i * cols + j..], cols, &mut to[j * rows + i..], rows);
        }
        for j in whole_cols..cols {
            for (k, to) in to[j * rows + i..][..BLOCK].iter_mut().enumerate() {
                *to = from[(i + k) * cols + j];
            }
        }
    }
    for i in whole_rows..rows {
        for (&from, to) in from[i * cols..][..cols].iter().zip(to[i..].iter_mut().step_by(rows)) {
            *to = from;
        }
    }
}

/// One block, through an array that the compiler keeps in registers.
#[inline(always)]
fn transpose_block<T: Real>(from: &[T], cols: usize, to: &mut [T], rows: usize) {
    let mut block = [[T::ZERO; BLOCK]; BLOCK];
    for (i, row) in block.iter_mut().enumerate() {
        row.copy_from_slice(&from[i * cols..][..BLOCK]);
    }
    for j in 0..BLOCK {
        let column: [T; BLOCK] = std::array::from_fn(|i| block[i][j]);
        to[j * rows..][..BLOCK].copy_from_slice(&column);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns_at_every_size() {
        for rows in 0..20 {
            for cols in 1..20 {
                let from: Vec<f64> = (0..rows * cols).map(|i| i as f64).collect();
                let mut to = vec![f64::NAN; rows * cols];
                transpose(&from, cols, &mut to);
                for (at, &x) in to.iter().enumerate() {
                    assert_eq!(x, from[at % rows * cols + at / rows], "{rows}x{cols} at {at}");
                }
            }
        }
    }
}
