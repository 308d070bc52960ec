//! Hessian-vector products of every pair of a batch.

#![forbid(unsafe_code)]

use super::{Side, check_curvature};
use crate::batch::blocking::serial_if_small;
use crate::batch::pairwise::all_pairs::{AllPairsScratch, all_pairs, count};
use crate::batch::pairwise::packed_rows::PackedRows;
use crate::error::{Result, check_len, check_shape};
use crate::kernel::hvp::{Likeness, Rays};
use crate::loss::{Objective, Reduction, Sums};
use crate::memory::mat::{Mat, MatMut};
use crate::parallel::cx::Cx;
use crate::simd::real::{Real, compiled};
use crate::similar::graph::{Similar, check_samples};

/// How the gradient of [`all_pairs`](crate::batch::all_pairs()) changes as the rows of `z` move along `v`, both
/// B x D: the product of the Hessian with these directions, in `h`, which is overwritten.
///
/// With δ = z_i - z_j, d its length, δ̂ = δ/d and η = v_i - v_j:
///
/// ```text
/// h_i = sum over j of f_ij (slope_ij η + curvature_ij (δ̂·η) δ̂)
/// ```
///
/// Each row adds up its pairs by itself, so every pair is measured twice, by differences: the call takes several
/// times as long as the gradient, in memory for a few rows. A pair whose slope and curvature are 0
/// contributes nothing, also where a row is infinite.
///
/// # Errors
///
/// Refused where a shape does not match, B does not fit in a `u32`, or the loss has no
/// [`curvature`](crate::loss::PairLoss::curvature); nothing has been written then.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::batch::all_pairs_hvp;
/// use drlim::loss::{Contrastive, Objective};
/// use drlim::{Cx, Mat, MatMut, Similar};
///
/// let (z, v) = ([0.0_f32, 3.0, 3.25], [1.0, 0.0, 0.0]);
/// let mut h = [0.0; 3];
/// all_pairs_hvp(
///     &Cx::default(),
///     &Objective::sum(&Contrastive::new(1.0)?),
///     Mat::new(&z, 3, 1)?,
///     Similar::Labels(&[7, 7, 3]),
///     Mat::new(&v, 3, 1)?,
///     MatMut::new(&mut h, 3, 1)?,
/// )?;
/// // Only the pair (0, 1) feels row 0 move: the third row is out of its reach.
/// assert_eq!(h, [1.0, -1.0, 0.0]);
/// # Ok(()) }
/// ```
#[inline(never)]
pub fn all_pairs_hvp<T: Real>(
    cx: &Cx,
    objective: &Objective<T>,
    z: Mat<T>,
    similar: Similar,
    v: Mat<T>,
    h: MatMut<T>,
) -> Result<()> {
    check_curvature("all_pairs_hvp", cx, objective.loss)?;
    check_samples(z.rows())?;
    check_len("all_pairs_hvp", "similar", similar.samples(), z.rows(), "the rows of z")?;
    check_shape("all_pairs_hvp", "v", v.shape(), z.shape(), "as z")?;
    check_shape("all_pairs_hvp", "h", h.shape(), z.shape(), "as z")?;
    if z.rows() == 0 || z.cols() == 0 {
        return Ok(()); // of any number of the other
    }
    let cx = &serial_if_small(cx, z.rows().saturating_mul(z.rows()), z.cols());
    let sums = match objective.reduction {
        Reduction::Sum | Reduction::Factors { .. } => Sums::default(),
        reduction if reduction.needs_values() => {
            all_pairs(cx, objective, z, similar, None, &mut AllPairsScratch::new())?.sums
        }
        _ => {
            let mut set = PackedRows::<T>::default();
            set.order_of(&similar);
            count(similar, &set.classes)
        }
    };
    let likeness = match similar {
        Similar::Labels(labels) => Likeness::Labels { own: labels, others: labels, ignored: None },
        Similar::LabelsIgnoring { labels, ignored } => {
            Likeness::Labels { own: labels, others: labels, ignored: Some(ignored) }
        }
        Similar::Graph(graph) => Likeness::Graph { graph, first: [0; 2] },
    };
    let (rays, factors) = (Rays { z, v }, objective.factors(&sums));
    let same = Some(0);
    Side { cx, objective, own: rays, others: rays, likeness, same, factors }.sum(h);
    Ok(())
}
compiled!(all_pairs_hvp::<T>);
