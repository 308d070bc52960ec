//! Hessian-vector products of every row of one batch with every row of another.

#![forbid(unsafe_code)]

use super::{Side, check_curvature};
use crate::batch::blocking::serial_if_small;
use crate::batch::pairwise::cross::{
    CrossOut, CrossRule, CrossScratch, CrossSimilar, check, cross,
};
use crate::error::{Result, check_shape};
use crate::kernel::hvp::{Likeness, Rays};
use crate::loss::{Objective, Reduction, Sums};
use crate::memory::mat::Mat;
use crate::parallel::cx::Cx;
use crate::simd::real::{Real, compiled};

/// How the gradients of [`cross`](crate::batch::cross()) change as the queries move along `along[0]` and the keys
/// along `along[1]`: the product of the Hessian with these directions.
///
/// `out` takes the products in place of the gradients: N x D for the queries, M x D for the keys, or one of
/// them alone. All else is as for `cross` and [`all_pairs_hvp`](super::all_pairs_hvp).
///
/// # Errors
///
/// Refused as by `cross`, and where the loss has no [`curvature`](crate::loss::PairLoss::curvature); nothing
/// has been written then.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::batch::{CrossOut, CrossSimilar, cross_hvp};
/// use drlim::loss::{Contrastive, Objective};
/// use drlim::{Cx, Mat, MatMut};
///
/// let (query, keys) = ([0.0_f32], [3.0_f32, 9.0]);
/// let (of_query, of_keys) = ([1.0], [0.0; 2]);
/// let similar = CrossSimilar::Labels { queries: &[7], keys: &[7, 3], ignored: None };
/// let (mut h_query, mut h_keys) = ([0.0], [0.0; 2]);
/// cross_hvp(
///     &Cx::default(),
///     &Objective::sum(&Contrastive::new(1.0)?),
///     [Mat::new(&query, 1, 1)?, Mat::new(&keys, 2, 1)?],
///     similar,
///     None,
///     [Mat::new(&of_query, 1, 1)?, Mat::new(&of_keys, 2, 1)?],
///     CrossOut::grads(MatMut::new(&mut h_query, 1, 1)?, MatMut::new(&mut h_keys, 2, 1)?),
/// )?;
/// assert_eq!((h_query, h_keys), ([1.0], [-1.0, 0.0]));
/// # Ok(()) }
/// ```
#[inline(never)]
pub fn cross_hvp<T: Real>(
    cx: &Cx,
    objective: &Objective<T>,
    [queries, keys]: [Mat<T>; 2],
    similar: CrossSimilar,
    own: Option<usize>,
    [of_queries, of_keys]: [Mat<T>; 2],
    out: CrossOut<T>,
) -> Result<()> {
    check_curvature("cross_hvp", cx, objective.loss)?;
    check("cross_hvp", queries, keys, similar, own, &out)?;
    check_shape("cross_hvp", "along[0]", of_queries.shape(), queries.shape(), "as queries")?;
    check_shape("cross_hvp", "along[1]", of_keys.shape(), keys.shape(), "as keys")?;
    let (n, m, d) = (queries.rows(), keys.rows(), queries.cols());
    if d == 0 {
        return Ok(());
    }
    let cx = &serial_if_small(cx, n.saturating_mul(m), d);
    let sums = match objective.reduction {
        Reduction::Sum | Reduction::Factors { .. } => Sums::default(),
        _ => {
            let (none, scratch) = (CrossOut::none(), &mut CrossScratch::new());
            cross(cx, objective, queries, keys, similar, own, none, scratch)?.sums
        }
    };
    let factors = objective.factors(&sums);
    let sides = [Rays { z: queries, v: of_queries }, Rays { z: keys, v: of_keys }];
    let labels = similar.position_labels(n, m);
    let (likeness, same) = match similar.rule(&labels) {
        CrossRule::Labels { queries, keys, ignored } => {
            let likeness = [[queries, keys], [keys, queries]]
                .map(|[own, others]| Likeness::Labels { own, others, ignored });
            (likeness, own.map(|own| own as isize))
        }
        CrossRule::Graph { graph, first: [first_query, first_key] } => {
            let likeness = [[first_query, first_key], [first_key, first_query]]
                .map(|first| Likeness::Graph { graph, first });
            (likeness, Some(first_query as isize - first_key as isize))
        }
    };
    for (side, out) in [out.grad_queries, out.grad_keys].into_iter().enumerate() {
        let Some(out) = out else { continue };
        let (own, others, likeness) = (sides[side], sides[1 - side], likeness[side]);
        let same = same.map(|same| if side == 0 { same } else { -same });
        Side { cx, objective, own, others, likeness, same, factors }.sum(out);
    }
    Ok(())
}
compiled!(cross_hvp::<T>);
