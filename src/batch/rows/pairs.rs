//! Loss and gradients of the pairs (a_i, b_i): row i of one matrix with row i of another.

#![forbid(unsafe_code)]

use std::ops::{Add, Range};

use super::pair_outputs::{self, check_per_pair};
use crate::batch::blocking::task_rows;
use crate::error::{Result, check_shape};
use crate::kernel::rows::pair_blocks::{PairBlocks, PerPair};
use crate::kernel::rows::pairs::{Gradients, PairRows, step};
use crate::kernel::rows::planar::{PlanarRows, WIDEST};
use crate::kernel::rows::streaming::{Fenced, StreamCursor};
use crate::loss::{Objective, Outcome, Pairing, Sums};
use crate::memory::mat::{Mat, MatMut};
use crate::parallel::cx::Cx;
use crate::parallel::split::{RowBlocks, rows_of_block, sum_blocks};
use crate::simd::cache;
use crate::simd::real::{Real, compiled};

/// The outputs that [`rows`] writes beside the outcome that it returns; those given are overwritten.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::MatMut;
/// use drlim::batch::RowsOut;
/// let (mut grad_a, mut grad_b) = ([0.0_f32; 6], [0.0; 6]); // two rows of three elements
/// let (mut distances, mut values) = ([0.0; 2], [0.0; 2]);
/// let out = RowsOut::grads(MatMut::new(&mut grad_a, 2, 3)?, MatMut::new(&mut grad_b, 2, 3)?)
///     .distances(&mut distances)
///     .values(&mut values);
/// # Ok(()) }
/// ```
pub struct RowsOut<'a, T> {
    grads: Gradients<'a, T>,
    per_pair: PerPair<'a, T>,
}

impl<'a, T> RowsOut<'a, T> {
    /// No outputs: the call returns the outcome alone.
    pub fn none() -> Self {
        RowsOut { grads: None, per_pair: PerPair::default() }
    }

    /// The gradients with respect to `a` and `b`, each of their shape.
    pub fn grads(grad_a: MatMut<'a, T>, grad_b: MatMut<'a, T>) -> Self {
        RowsOut { grads: Some((grad_a, grad_b)), ..RowsOut::none() }
    }

    /// Also the Euclidean distances, N elements.
    pub fn distances(mut self, distances: &'a mut [T]) -> Self {
        self.per_pair.distances = Some(distances);
        self
    }

    /// Also the values w_i l_i, N elements, before they are reduced.
    pub fn values(mut self, values: &'a mut [T]) -> Self {
        self.per_pair.values = Some(values);
        self
    }

    /// Also the slopes, N elements: the factors of a_i - b_i in the gradient of a_i.
    pub fn slopes(mut self, slopes: &'a mut [T]) -> Self {
        self.per_pair.slopes = Some(slopes);
        self
    }
}

/// Loss and gradients of N pairs, row i of `a` with row i of `b`, in one pass over memory.
///
/// `a` and `b` are N x D; `pairing` says of each of the N pairs whether it is similar, and may hold
/// weights w_i (else 1) and pairs to leave out. With the slopes of the objective's loss (see
/// [`loss`](crate::loss)) and the factor f_i of the reduction for the kind of the pair, times the
/// objective's scale:
///
/// ```text
/// value = reduction of w_i l_i     grad_a_i = f_i w_i slope_i (a_i - b_i)     grad_b_i = -grad_a_i
/// ```
///
/// (A reduction that counts the pairs whose value is not zero takes two passes.)
///
/// # Accuracy
///
/// With B = D/32 + 4, or D/32 + 8 under `Exponential`, d² is off by at most B eps of itself. Values, slopes
/// and gradients are off by what such an error makes of them, and B eps of their own. Adding up N values costs
/// (N/512 + 36) eps of the sum of their magnitudes.
///
/// # Errors
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
pub fn rows<'p, T: Real>(
    cx: &Cx,
    objective: &Objective<T>,
    a: Mat<T>,
    b: Mat<T>,
    pairing: impl Into<Pairing<'p, T>>,
    out: RowsOut<T>,
) -> Result<Outcome> {
    rows_with(cx, objective, a, b, pairing.into(), out)
}

#[inline(never)]
fn rows_with<T: Real>(
    cx: &Cx,
    objective: &Objective<T>,
    a: Mat<T>,
    b: Mat<T>,
    pairing: Pairing<T>,
    out: RowsOut<T>,
) -> Result<Outcome> {
    check_shape("rows", "b", b.shape(), a.shape(), "as a")?;
    pairing.check("rows", a.rows(), "the rows of a")?;
    check_per_pair("rows", &out.per_pair, a.rows(), "the rows of a")?;
    if let Some((grad_a, grad_b)) = &out.grads {
        check_shape("rows", "grad_a", grad_a.shape(), a.shape(), "as a")?;
        check_shape("rows", "grad_b", grad_b.shape(), a.shape(), "as a")?;
    }
    let call = Call { cx, objective, a, b, pairing };
    let RowsOut { grads, per_pair } = out;
    let sloped = grads.is_some() || per_pair.slopes.is_some();
    let factors = if sloped && objective.reduction.needs_values() {
        let none = RowsOut::none();
        objective.factors(&call.run(None, none.grads, none.per_pair))
    } else {
        objective.factors(&pairing.counts(objective.reduction))
    };
    let sums = call.run(sloped.then_some(factors), grads, per_pair);
    Ok(Outcome::new(objective.reduction, sums))
}
compiled!(rows_with::<T>);

/// A call whose arguments have been checked.
struct Call<'c, 'o, 'p, T> {
    cx: &'c Cx,
    objective: &'c Objective<'o, T>,
    a: Mat<'c, T>,
    b: Mat<'c, T>,
    pairing: Pairing<'p, T>,
}

impl<T: Real> Call<'_, '_, '_, T> {
    /// One pass over all pairs, cut into tasks.
    fn run(&self, factors: Option<[T; 2]>, grads: Gradients<T>, per_pair: PerPair<T>) -> Sums {
        let [n, cols] = self.a.shape();
        let bytes_per_row = cols.saturating_mul(4 * size_of::<T>());
        let past_caches = n.saturating_mul(bytes_per_row) > cache::last_level_bytes();
        let height = task_rows(n, bytes_per_row);
        let step = grads.is_some().then(|| step::<T>(2, cols, past_caches));
        let grads = grads.map(|(a, b)| (RowBlocks(a, height), RowBlocks(b, height)));
        let output = (grads, pair_outputs::split(per_pair, height));
        let blocks = n.div_ceil(height);
        sum_blocks(self.cx.par, blocks, output, Sums::add, |block, (grads, per_pair)| {
            let [distances, values, slopes] = per_pair;
            let Range { start, end } = rows_of_block(block, height, n);
            let (a, b) = (self.a.rows_range(start, end), self.b.rows_range(start, end));
            let pairs = PairBlocks {
                isa: self.cx.isa,
                loss: self.objective.loss,
                pairing: self.pairing.range(start..end),
                factors,
                per_pair: PerPair { distances, values, slopes },
                layout: PairRows { a, b, grads, past_caches, cut: StreamCursor::start() },
                step,
            };
            run(pairs)
        })
    }
}

type Pairs<'a, T> = PairBlocks<'a, T, PairRows<'a, T>>;

/// Picks the kernel: rows of up to three elements without gaps have their own.
fn run<T: Real>(pairs: Pairs<T>) -> Sums {
    match pairs.layout.a.cols() {
        1 => run_planar::<T, 1>(pairs),
        2 => run_planar::<T, 2>(pairs),
        WIDEST => run_planar::<T, WIDEST>(pairs),
        _ => run_rows(pairs),
    }
}

fn run_rows<T: Real>(pairs: Pairs<T>) -> Sums {
    let past_caches = pairs.layout.past_caches;
    T::dispatch(pairs.isa, Fenced { kernel: pairs, past_caches })
}

fn run_planar<T: Real, const D: usize>(mut pairs: Pairs<T>) -> Sums {
    let (Some(a), Some(b)) = (pairs.layout.a.as_slice(), pairs.layout.b.as_slice()) else {
        return run_rows(pairs);
    };
    let grads = match &mut pairs.layout.grads {
        None => None,
        Some((grad_a, grad_b)) => match (grad_a.as_mut_slice(), grad_b.as_mut_slice()) {
            (Some(grad_a), Some(grad_b)) => Some((grad_a, grad_b)),
            _ => return run_rows(pairs),
        },
    };
    let PairBlocks { isa, loss, pairing, factors, per_pair, step, .. } = pairs;
    let layout = PlanarRows::<T, D> { a, b, grads };
    T::dispatch(isa, PairBlocks { isa, loss, pairing, factors, per_pair, layout, step })
}
