//! The distances of a block of rows from all rows of another set.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::tile::{Subtraction, TileOperand, squared_distances};
use crate::kernel::blocking::{STRIP_PAIRS, rows_at_once};
use crate::memory::mat::MatMut;
use crate::parallel::stop::look;
use crate::simd::isa::Isa;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// |x_i - y_j| for some rows of one side, which start at a panel, and all of the other.
pub(crate) struct MatrixBlock<'a, T> {
    pub isa: Isa,
    pub sides: [TileOperand<'a, T>; 2],
    pub rows: Range<usize>,
    /// To be overwritten.
    pub distances: MatMut<'a, T>,
}

impl<T: Real> Kernel<T> for MatrixBlock<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) {
        self.block(s)
    }
}

impl<T: Real> MatrixBlock<'_, T> {
    #[inline(always)]
    fn block<S: Simd<T>>(&mut self, s: S) {
        let cols = 2 * S::LANES;
        let height = rows_at_once::<S, T>(self.sides[0].rows.z.cols());
        let mut d2 = [T::ZERO; STRIP_PAIRS];
        let count = self.distances.cols();
        let mut subtraction = Subtraction::new(self.isa);
        for col in (0..count).step_by(cols) {
            look();
            let present = cols.min(count - col);
            for row in self.rows.clone().step_by(height) {
                let rows = row..(row + height).min(self.rows.end);
                let sides = [&self.sides[0], &self.sides[1]];
                squared_distances(s, sides, rows.clone(), col, &[], &mut d2, &mut subtraction);
                for (d2, row) in d2.chunks_exact(cols).zip(rows) {
                    let to = &mut self.distances.row_mut(row - self.rows.start)[col..col + present];
                    for (to, d2) in to.chunks_mut(S::LANES).zip(d2.chunks_exact(S::LANES)) {
                        s.store(s.sqrt(s.load(d2)), to);
                    }
                }
            }
        }
    }
}
