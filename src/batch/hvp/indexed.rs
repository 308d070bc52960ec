//! Hessian-vector products of a list of pairs.

#![forbid(unsafe_code)]

use super::{Listed, check_curvature};
use crate::batch::blocking::task_rows;
use crate::batch::rows::list::{IndexedOut, IndexedScratch, indexed};
use crate::batch::rows::pair_list::PairList;
use crate::error::{Result, check_len, check_shape};
use crate::kernel::hvp::{Pairs, Rays, SumByRow};
use crate::loss::{Objective, Pairing};
use crate::memory::mat::{Mat, MatMut};
use crate::parallel::cx::Cx;
use crate::parallel::split::{RowBlocks, for_blocks};
use crate::simd::real::{Real, compiled};

/// The outputs that [`indexed_hvp`] writes; those given are overwritten.
pub struct IndexedHvpOut<'a, T> {
    product: Option<MatMut<'a, T>>,
    derivatives: Option<&'a mut [T]>,
}

impl<'a, T> IndexedHvpOut<'a, T> {
    /// No outputs.
    pub fn none() -> Self {
        IndexedHvpOut { product: None, derivatives: None }
    }

    /// The product, of the shape of `z`. Rows that are in no pair get 0.
    pub fn product(h: MatMut<'a, T>) -> Self {
        IndexedHvpOut { product: Some(h), derivatives: None }
    }

    /// Also by how much the value of each pair changes along the directions, P elements.
    pub fn derivatives(mut self, derivatives: &'a mut [T]) -> Self {
        self.derivatives = Some(derivatives);
        self
    }
}

/// How the gradient of [`indexed`](crate::batch::indexed()) changes as the rows of `z` move along `v`, both
/// B x D: the product of the Hessian with these directions.
///
/// A row gets what [`rows_hvp`](super::rows_hvp) gives it, added up over its pairs in the list's order.
///
/// # Errors
///
/// Refused where a shape does not match, the loss has no
/// [`curvature`](crate::loss::PairLoss::curvature), or there is no memory for three numbers a pair; nothing has
/// been written then.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::batch::{IndexedHvpOut, PairList, indexed_hvp};
/// use drlim::loss::{Contrastive, Objective};
/// use drlim::{Cx, Mat, MatMut};
///
/// let (z, v) = ([0.0_f32, 3.0, 5.0], [1.0, 0.0, 0.0]);
/// let list = PairList::new(3, &[(0, 1), (0, 2)])?;
/// let mut h = [0.0; 3];
/// indexed_hvp(
///     &Cx::default(),
///     &Objective::sum(&Contrastive::new(1.0)?),
///     Mat::new(&z, 3, 1)?,
///     &list,
///     &[true, true], // two springs: the Hessian does not depend on z
///     Mat::new(&v, 3, 1)?,
///     IndexedHvpOut::product(MatMut::new(&mut h, 3, 1)?),
/// )?;
/// assert_eq!(h, [2.0, -1.0, -1.0]);
/// # Ok(()) }
/// ```
pub fn indexed_hvp<'p, T: Real>(
    cx: &Cx,
    objective: &Objective<T>,
    z: Mat<T>,
    list: &PairList,
    pairing: impl Into<Pairing<'p, T>>,
    v: Mat<T>,
    out: IndexedHvpOut<T>,
) -> Result<()> {
    indexed_hvp_with(cx, objective, z, list, pairing.into(), v, out)
}

#[inline(never)]
fn indexed_hvp_with<T: Real>(
    cx: &Cx,
    objective: &Objective<T>,
    z: Mat<T>,
    list: &PairList,
    pairing: Pairing<T>,
    v: Mat<T>,
    out: IndexedHvpOut<T>,
) -> Result<()> {
    let IndexedHvpOut { product, derivatives } = out;
    check_curvature("indexed_hvp", cx, objective.loss)?;
    check_len("indexed_hvp", "list", list.rows(), z.rows(), "the rows of z")?;
    check_shape("indexed_hvp", "v", v.shape(), z.shape(), "as z")?;
    pairing.check("indexed_hvp", list.len(), "the pairs of the list")?;
    if let Some(h) = &product {
        check_shape("indexed_hvp", "h", h.shape(), z.shape(), "as z")?;
    }
    if let Some(of) = &derivatives {
        check_len("indexed_hvp", "derivatives", of.len(), list.len(), "the pairs of the list")?;
    }
    let sums = match objective.reduction.needs_values() {
        true => {
            let (none, scratch) = (IndexedOut::none(), &mut IndexedScratch::new());
            indexed(cx, objective, z, list, pairing, none, scratch)?.sums
        }
        false => pairing.counts(objective.reduction),
    };
    let rays = Rays { z, v };
    let (pairs, factors) = (Pairs::List(rays, list.pairs()), objective.factors(&sums));
    let bends = Listed { cx, objective, pairs, pairing, factors }.measure(derivatives)?;
    let Some(out) = product else { return Ok(()) };
    let [n, cols] = z.shape();
    let (offsets, members) = list.by_row();
    let reads = members.len().div_ceil(n.max(1)) + 1;
    let height = task_rows(n, cols.saturating_mul(2 * reads * size_of::<T>()));
    for_blocks(cx.par, n.div_ceil(height), RowBlocks(out, height), |block, out| {
        let kernel = SumByRow {
            rays,
            offsets,
            members,
            bends: bends.get(),
            ignored: pairing.ignored,
            first: block * height,
            out,
        };
        T::dispatch(cx.isa, kernel);
    });
    Ok(())
}
compiled!(indexed_hvp_with::<T>);
