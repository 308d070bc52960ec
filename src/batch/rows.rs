//! Loss and gradients of the pairs (a_i, b_i).

#![forbid(unsafe_code)]

use super::task_rows;
use crate::cx::Cx;
use crate::error::{Result, check_len, check_shape};
use crate::kernel::planar::{PlanarRows, WIDEST};
use crate::kernel::rows::{Gradients, PairRows};
use crate::loss::{BlockSum, Objective, Outcome};
use crate::mat::{Mat, MatMut};
use crate::par::{RowBlocks, sum_blocks};
use crate::real::Real;
use crate::simd::cache;

/// What [`rows`] writes beside the outcome that it returns. Everything given is overwritten.
pub struct RowsOut<'a, T> {
    grads: Gradients<'a, T>,
}

impl<'a, T> RowsOut<'a, T> {
    /// Nothing: the value alone.
    pub fn none() -> Self {
        RowsOut { grads: None }
    }

    /// The gradients with respect to `a` and `b`, each of their shape.
    pub fn grads(grad_a: MatMut<'a, T>, grad_b: MatMut<'a, T>) -> Self {
        RowsOut { grads: Some((grad_a, grad_b)) }
    }
}

/// Loss and gradients of N pairs, row i of `a` with row i of `b`, in one pass over memory.
///
/// `a` and `b` are N x D, `similar` has N elements. With the slopes of the objective's loss
/// (see [`loss`](crate::loss)) and its factor f (scale, divided by N for a mean):
///
/// ```text
/// value = sum or mean of l_i       grad_a_i = f slope_i (a_i - b_i)       grad_b_i = -grad_a_i
/// ```
///
/// Refused where a shape does not match; nothing has been written then.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::batch::{RowsOut, rows};
/// use drlim::loss::{Contrastive, Objective};
/// use drlim::{Cx, Mat, MatMut};
///
/// let a = [0.0_f32, 0.0, /**/ 0.0, 0.0];
/// let b = [3.0_f32, 4.0, /**/ 0.3, 0.4];
/// let similar = [true, false];
/// let (mut grad_a, mut grad_b) = ([0.0; 4], [0.0; 4]);
///
/// let loss = Contrastive::new(1.0)?;
/// let outcome = rows(
///     &Cx::default(),
///     &Objective::sum(&loss),
///     Mat::new(&a, 2, 2)?,
///     Mat::new(&b, 2, 2)?,
///     &similar,
///     RowsOut::grads(MatMut::new(&mut grad_a, 2, 2)?, MatMut::new(&mut grad_b, 2, 2)?),
/// )?;
/// // 5²/2 for the similar pair, (1 - 0.5)²/2 for the other.
/// assert!((outcome.value - 12.625).abs() < 1e-6);
/// assert_eq!(grad_a[..2], [-3.0, -4.0]);
/// # Ok(()) }
/// ```
pub fn rows<T: Real>(
    cx: &Cx,
    objective: &Objective<T>,
    a: Mat<T>,
    b: Mat<T>,
    similar: &[bool],
    out: RowsOut<T>,
) -> Result<Outcome> {
    check_shape("rows", "b", b.shape(), a.shape(), "as a")?;
    check_len("rows", "similar", similar.len(), a.rows(), "the rows of a")?;
    if let Some((grad_a, grad_b)) = &out.grads {
        check_shape("rows", "grad_a", grad_a.shape(), a.shape(), "as a")?;
        check_shape("rows", "grad_b", grad_b.shape(), a.shape(), "as a")?;
    }
    let (n, cols) = (a.rows(), a.cols());
    let factor = objective.factor(n);
    let bytes_per_row = cols.saturating_mul(4 * size_of::<T>());
    let past_caches = n.saturating_mul(bytes_per_row) > cache::last_level_bytes();
    let height = task_rows(n, bytes_per_row);
    let grads =
        out.grads.map(|(grad_a, grad_b)| (RowBlocks(grad_a, height), RowBlocks(grad_b, height)));
    let task = |block: usize, grads: Option<(RowBlocks<T>, RowBlocks<T>)>| {
        let (start, end) = (block * height, ((block + 1) * height).min(n));
        let similar = &similar[start..end];
        let pairs = PairRows {
            isa: cx.isa,
            loss: objective.loss,
            a: a.rows_range(start, end),
            b: b.rows_range(start, end),
            similar,
            factor,
            grads: grads.map(|(grad_a, grad_b)| (grad_a.0, grad_b.0)),
            past_caches,
        };
        (run(pairs), similar.iter().filter(|&&similar| similar).count() as u64)
    };
    let add = |(sum, similar): (BlockSum, u64), (s, n)| (sum.add(s), similar + n);
    let (sum, similar) = sum_blocks(cx.par, n.div_ceil(height), grads, task, add);
    Ok(objective.outcome(n, similar, sum))
}

/// Picks the kernel: rows of up to three elements without gaps have their own.
fn run<T: Real>(pairs: PairRows<T>) -> BlockSum {
    if !(1..=WIDEST).contains(&pairs.a.cols()) {
        return T::dispatch(pairs.isa, pairs);
    }
    match pairs.a.cols() {
        1 => run_planar::<T, 1>(pairs),
        2 => run_planar::<T, 2>(pairs),
        _ => run_planar::<T, WIDEST>(pairs),
    }
}

fn run_planar<T: Real, const D: usize>(mut pairs: PairRows<T>) -> BlockSum {
    let (Some(a), Some(b)) = (pairs.a.as_slice(), pairs.b.as_slice()) else {
        return T::dispatch(pairs.isa, pairs);
    };
    let grads = match &mut pairs.grads {
        None => None,
        Some((grad_a, grad_b)) => match (grad_a.as_mut_slice(), grad_b.as_mut_slice()) {
            (Some(grad_a), Some(grad_b)) => Some((grad_a, grad_b)),
            _ => return T::dispatch(pairs.isa, pairs),
        },
    };
    let PairRows { isa, loss, similar, factor, .. } = pairs;
    let planar = PlanarRows::<T, D> { isa, loss, a, b, similar, factor, grads };
    T::dispatch(isa, planar)
}
