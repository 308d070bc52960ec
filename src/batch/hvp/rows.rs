//! Hessian-vector products of pairs by rows.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::{Listed, check_curvature};
use crate::batch::blocking::task_rows;
use crate::batch::rows::pairs::{RowsOut, rows};
use crate::error::{Result, check_len, check_shape};
use crate::kernel::hvp::{Pairs, Rays, WriteByRow};
use crate::loss::{Objective, Pairing};
use crate::memory::mat::{Mat, MatMut};
use crate::parallel::cx::Cx;
use crate::parallel::split::{RowBlocks, for_blocks, rows_of_block};
use crate::simd::real::{Real, compiled};

/// The outputs that [`rows_hvp`] writes; those given are overwritten.
pub struct RowsHvpOut<'a, T> {
    products: Option<[MatMut<'a, T>; 2]>,
    derivatives: Option<&'a mut [T]>,
}

impl<'a, T> RowsHvpOut<'a, T> {
    /// No outputs.
    pub fn none() -> Self {
        RowsHvpOut { products: None, derivatives: None }
    }

    /// The products h_a and h_b, each of the shape of `a`.
    pub fn products(h_a: MatMut<'a, T>, h_b: MatMut<'a, T>) -> Self {
        RowsHvpOut { products: Some([h_a, h_b]), derivatives: None }
    }

    /// Also by how much the value of each pair changes along the directions, N elements: f_i w_i slope_i times
    /// (a_i - b_i)·(va_i - vb_i).
    pub fn derivatives(mut self, derivatives: &'a mut [T]) -> Self {
        self.derivatives = Some(derivatives);
        self
    }
}

/// How the gradients of [`rows`](crate::batch::rows()) change as the rows of `a` move along `va` and those of
/// `b` along `vb`: the product of the Hessian with these directions.
///
/// All four are N x D; objective and pairing are those of `rows`. With δ = a_i - b_i, d its length, δ̂ = δ/d and
/// η = va_i - vb_i:
///
/// ```text
/// h_a_i = f_i w_i (slope_i η + curvature_i (δ̂·η) δ̂)        h_b_i = -h_a_i
/// ```
///
/// (Zero distance: where d² is 0 or below the smallest normal number, δ̂ is 0.)
///
/// # Errors
///
/// Refused where a shape does not match, the loss has no
/// [`curvature`](crate::loss::PairLoss::curvature), or there is no memory for three numbers a pair; nothing has
/// been written then.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::batch::{RowsHvpOut, rows_hvp};
/// use drlim::loss::{Contrastive, Objective};
/// use drlim::{Cx, Mat, MatMut};
///
/// let (a, b) = ([0.6_f64, 0.0], [0.0, 0.0]); // a dissimilar pair at 0.6 of a margin of 1
/// let (va, vb) = ([1.0, 1.0], [0.0, 0.0]);
/// let (mut h_a, mut h_b) = ([0.0; 2], [0.0; 2]);
/// let view = |x| Mat::new(x, 1, 2);
/// rows_hvp(
///     &Cx::default(),
///     &Objective::sum(&Contrastive::new(1.0)?),
///     [view(&a)?, view(&b)?],
///     &[false],
///     [view(&va)?, view(&vb)?],
///     RowsHvpOut::products(MatMut::new(&mut h_a, 1, 2)?, MatMut::new(&mut h_b, 1, 2)?),
/// )?;
/// // (1 - d)²/2 bends by 1 along the pair, and by -(1 - 0.6)/0.6 across it.
/// assert!((h_a[0] - 1.0).abs() < 1e-12 && (h_a[1] + 0.4 / 0.6).abs() < 1e-12);
/// # Ok(()) }
/// ```
pub fn rows_hvp<'p, T: Real>(
    cx: &Cx,
    objective: &Objective<T>,
    [a, b]: [Mat<T>; 2],
    pairing: impl Into<Pairing<'p, T>>,
    [va, vb]: [Mat<T>; 2],
    out: RowsHvpOut<T>,
) -> Result<()> {
    rows_hvp_with(cx, objective, [a, b], pairing.into(), [va, vb], out)
}

#[inline(never)]
fn rows_hvp_with<T: Real>(
    cx: &Cx,
    objective: &Objective<T>,
    [a, b]: [Mat<T>; 2],
    pairing: Pairing<T>,
    [va, vb]: [Mat<T>; 2],
    out: RowsHvpOut<T>,
) -> Result<()> {
    let RowsHvpOut { mut products, derivatives } = out;
    check_curvature("rows_hvp", cx, objective.loss)?;
    for (arg, mat) in [("b", b), ("va", va), ("vb", vb)] {
        check_shape("rows_hvp", arg, mat.shape(), a.shape(), "as a")?;
    }
    pairing.check("rows_hvp", a.rows(), "the rows of a")?;
    for (arg, out) in ["h_a", "h_b"].iter().zip(products.iter().flatten()) {
        check_shape("rows_hvp", arg, out.shape(), a.shape(), "as a")?;
    }
    if let Some(derivatives) = &derivatives {
        check_len("rows_hvp", "derivatives", derivatives.len(), a.rows(), "the rows of a")?;
    }
    let sums = match objective.reduction.needs_values() {
        true => rows(cx, objective, a, b, pairing, RowsOut::none())?.sums,
        false => pairing.counts(objective.reduction),
    };
    let sides = [Rays { z: a, v: va }, Rays { z: b, v: vb }];
    let (pairs, factors) = (Pairs::Rows(sides), objective.factors(&sums));
    let bends = Listed { cx, objective, pairs, pairing, factors }.measure(derivatives)?;
    for (side, out) in products.iter_mut().flatten().enumerate() {
        let (own, others) = (sides[side], [(sides[1 - side], bends.get())]);
        write_by_row(cx, own, &others, pairing.ignored, out.rb_mut());
    }
    Ok(())
}
compiled!(rows_hvp_with::<T>);

/// Products by rows, each row by one task.
pub(super) fn write_by_row<T: Real>(
    cx: &Cx,
    own: Rays<T>,
    others: &[(Rays<T>, [&[T]; 3])],
    ignored: Option<&[bool]>,
    out: MatMut<T>,
) {
    let [n, cols] = out.shape();
    let height = task_rows(n, cols.saturating_mul(5 * size_of::<T>()));
    for_blocks(cx.par, n.div_ceil(height), RowBlocks(out, height), |block, out| {
        let Range { start, end } = rows_of_block(block, height, n);
        let others: Vec<_> = (others.iter())
            .map(|&(rays, bends)| (rays.range(start, end), bends.map(|of| &of[start..end])))
            .collect();
        let ignored = ignored.map(|ignored| &ignored[start..end]);
        let own = own.range(start, end);
        T::dispatch(cx.isa, WriteByRow { own, others: &others, ignored, out });
    });
}
