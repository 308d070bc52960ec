//! The call `distance_matrix`: the distances of every row of one matrix from every row of another.

#![forbid(unsafe_code)]

use super::packed_rows::{PackedRows, SOME_ROWS, center};
use crate::batch::blocking::{block_rows, serial_if_small};
use crate::error::{Result, check_shape};
use crate::kernel::pairwise::distance_matrix::MatrixBlock;
use crate::memory::mat::{Mat, MatMut};
use crate::parallel::cx::Cx;
use crate::parallel::split::{RowBlocks, for_blocks, rows_of_block};
use crate::simd::real::{Real, compiled};
use crate::similar::graph::check_samples;

/// Overwrites `distances`, N x M, with d_ij = |a_i - b_j| for every row of `a`, N x D, and every row of `b`,
/// M x D.
///
/// It is for callers who want the matrix itself: losses, neighbours and miners of this crate do without it.
/// Equal rows have distance 0. Within one set, d_ij and d_ji have the same bits. Refused where a shape does
/// not match, or rows do not fit in a `u32`; nothing has been written then.
///
/// # Accuracy
///
/// As for [`all_pairs`](crate::batch::all_pairs()), each distance is within 1e-4 of itself in `f32`, 2e-13 in
/// `f64`, that of close rows too, unless squares underflow.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::{Cx, Mat, MatMut, batch};
/// let (a, b) = ([0.0_f32, 0.0], [3.0_f32, 4.0, /**/ 0.0, 0.0]);
/// let mut distances = [0.0; 2];
/// let to = MatMut::new(&mut distances, 1, 2)?;
/// batch::distance_matrix(&Cx::default(), Mat::new(&a, 1, 2)?, Mat::new(&b, 2, 2)?, to)?;
/// assert_eq!(distances, [5.0, 0.0]);
/// # Ok(()) }
/// ```
#[inline(never)]
pub fn distance_matrix<T: Real>(cx: &Cx, a: Mat<T>, b: Mat<T>, distances: MatMut<T>) -> Result<()> {
    let (n, m, d) = (a.rows(), b.rows(), a.cols());
    check_samples(n)?;
    check_samples(m)?;
    check_shape("distance_matrix", "b", b.shape(), [m, d], "the columns of a")?;
    check_shape(
        "distance_matrix",
        "distances",
        distances.shape(),
        [n, m],
        "rows of a x rows of b",
    )?;
    if n == 0 || m == 0 {
        return Ok(());
    }
    let cx = &serial_if_small(cx, n.saturating_mul(m), d);
    run(cx, a, b, distances);
    Ok(())
}
compiled!(distance_matrix::<T>);

fn run<T: Real>(cx: &Cx, a: Mat<T>, b: Mat<T>, distances: MatMut<T>) {
    let n = a.rows();
    let mut sets = [PackedRows::default(), PackedRows::default()];
    sets.iter_mut().zip([a, b]).for_each(|(set, z)| set.keep_order(z.rows()));
    let mean = center(cx, [(&sets[0], a), (&sets[1], b)], SOME_ROWS);
    sets.iter_mut().zip([a, b]).for_each(|(set, z)| set.prepare_distances(cx, z, &mean));
    let sides = [sets[0].side(a).points, sets[1].side(b).points];
    let height = block_rows(n);
    let distances = RowBlocks(distances, height);
    for_blocks(cx.par, n.div_ceil(height), distances, |block, distances| {
        let rows = rows_of_block(block, height, n);
        T::dispatch(cx.isa, MatrixBlock { isa: cx.isa, sides, rows, distances });
    });
}
