//! Hessian-vector products: how the gradient of a call changes as its rows move along given directions.
//!
//! A loss that is part of a larger objective is differentiated twice where that objective holds its gradient:
//! gradient penalties, Newton steps, learning to learn. Nobody forms the Hessian, which has (B D)² entries; its
//! product with one direction costs about as much as a few gradients:
//!
//! ```text
//! h = lim (gradient(z + t v) - gradient(z)) / t  as t goes to 0
//! ```
//!
//! Each call here stands beside the call of the same layout whose gradient it differentiates, and takes the
//! same objective: with the loss's [`curvature`](crate::loss::PairLoss::curvature), the scale, and the
//! factors of the reduction, which are constant except where a pair becomes active. Differences of rows are
//! formed directly, in memory proportional to the batch. Products are symmetric: v'·H v is v·H v'.

#![forbid(unsafe_code)]

mod all_pairs;
mod cross;
mod indexed;
mod rows;
mod triplet_rows;

pub use all_pairs::all_pairs_hvp;
pub use cross::cross_hvp;
pub use indexed::{IndexedHvpOut, indexed_hvp};
pub use rows::{RowsHvpOut, rows_hvp};
pub use triplet_rows::{TripletRowsHvpOut, triplet_rows_hvp};

use std::ops::Range;

use super::blocking::task_rows;
use crate::error::{Error, Result};
use crate::kernel::hvp::{Bends, Likeness, MeasureBends, Pairs, Rays, SumOverAll};
use crate::loss::{BlockLoss, Objective, Pairing};
use crate::memory::mat::MatMut;
use crate::memory::reserve::try_filled;
use crate::parallel::cx::Cx;
use crate::parallel::split::{Chunks, RowBlocks, for_blocks, rows_of_block};
use crate::simd::real::Real;

/// Refuses a loss without second derivatives.
fn check_curvature<T: Real>(call: &'static str, cx: &Cx, loss: &dyn BlockLoss<T>) -> Result<()> {
    match loss.curvature_block(cx.isa, &mut [], &[]) {
        true => Ok(()),
        false => Err(Error::NoCurvature { call }),
    }
}

/// Memory for the [`Bends`] of some pairs: slopes, stretches and inverses.
struct BendsOfPairs<T>([Vec<T>; 3]);

impl<T: Real> BendsOfPairs<T> {
    fn new(pairs: usize) -> Result<Self> {
        let zeros = || try_filled("the second derivatives of pairs", pairs, T::ZERO);
        Ok(BendsOfPairs([zeros()?, zeros()?, zeros()?]))
    }

    /// The memory, cut into tasks of `height` pairs.
    fn split(&mut self, height: usize) -> [Chunks<'_, T>; 3] {
        self.0.each_mut().map(|of| Chunks(of.as_mut_slice(), height))
    }

    fn get(&self) -> [&[T]; 3] {
        self.0.each_ref().map(Vec::as_slice)
    }
}

/// The bends of one task.
fn bends<T>([slopes, stretches, inverses]: [&mut [T]; 3]) -> Bends<'_, T> {
    Bends { slopes, stretches, inverses }
}

/// Pairs by rows or of a list, with their loss, their flags and the factors of the reduction.
struct Listed<'c, 'o, T> {
    cx: &'c Cx,
    objective: &'c Objective<'o, T>,
    pairs: Pairs<'c, T>,
    pairing: Pairing<'c, T>,
    factors: [T; 2],
}

impl<T: Real> Listed<'_, '_, T> {
    /// The bends of all pairs. Where `derivatives` is given, writes by how much the value of each pair
    /// changes.
    fn measure(&self, derivatives: Option<&mut [T]>) -> Result<BendsOfPairs<T>> {
        let n = self.pairing.len();
        let cols = match self.pairs {
            Pairs::Rows([a, _]) => a.z.cols(),
            Pairs::List(rays, _) => rays.z.cols(),
        };
        let height = task_rows(n, cols.saturating_mul(4 * size_of::<T>()));
        let mut room = BendsOfPairs::new(n)?;
        let output = (room.split(height), derivatives.map(|of| Chunks(of, height)));
        for_blocks(self.cx.par, n.div_ceil(height), output, |block, (part, derivatives)| {
            let Range { start, end } = rows_of_block(block, height, n);
            let pairs = match self.pairs {
                Pairs::Rows(sides) => Pairs::Rows(sides.map(|rays| rays.range(start, end))),
                Pairs::List(rays, list) => Pairs::List(rays, &list[start..end]),
            };
            let measure = MeasureBends {
                isa: self.cx.isa,
                loss: self.objective.loss,
                pairs,
                pairing: self.pairing.range(start..end),
                factors: self.factors,
                bends: bends(part),
                derivatives,
            };
            T::dispatch(self.cx.isa, measure);
        });
        Ok(room)
    }
}

/// The rows of one side, and the rows that each of them is paired with.
struct Side<'c, 'o, T> {
    cx: &'c Cx,
    objective: &'c Objective<'o, T>,
    own: Rays<'c, T>,
    others: Rays<'c, T>,
    likeness: Likeness<'c>,
    same: Option<isize>,
    factors: [T; 2],
}

impl<T: Real> Side<'_, '_, T> {
    /// Overwrites each row of `out` with the sum over all rows of the other side; one task adds up a whole
    /// row.
    fn sum(&self, out: MatMut<T>) {
        let [n, cols] = out.shape();
        let pairs = self.others.z.rows().max(1);
        let height = task_rows(n, cols.max(8).saturating_mul(pairs).saturating_mul(size_of::<T>()));
        for_blocks(self.cx.par, n.div_ceil(height), RowBlocks(out, height), |block, out| {
            let sum = SumOverAll {
                isa: self.cx.isa,
                loss: self.objective.loss,
                own: self.own,
                others: self.others,
                likeness: self.likeness,
                same: self.same,
                factors: self.factors,
                first: block * height,
                out,
            };
            T::dispatch(self.cx.isa, sum);
        });
    }
}
