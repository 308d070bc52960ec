//! Hessian-vector products of triplets by rows.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::rows::write_by_row;
use super::{BendsOfPairs, bends};
use crate::batch::blocking::task_rows;
use crate::batch::rows::triplets::{TripletRows, TripletRowsOut, triplet_rows};
use crate::error::{Error, Result, check_len, check_shape};
use crate::kernel::hvp::{MeasureTripletBends, Rays};
use crate::loss::TripletObjective;
use crate::memory::mat::{Mat, MatMut};
use crate::parallel::cx::Cx;
use crate::parallel::split::{Chunks, for_blocks, rows_of_block};
use crate::simd::real::{Real, compiled};

/// The outputs that [`triplet_rows_hvp`] writes; those given are overwritten.
pub struct TripletRowsHvpOut<'a, T> {
    products: Option<[MatMut<'a, T>; 3]>,
    derivatives: Option<&'a mut [T]>,
}

impl<'a, T> TripletRowsHvpOut<'a, T> {
    /// No outputs.
    pub fn none() -> Self {
        TripletRowsHvpOut { products: None, derivatives: None }
    }

    /// The products with respect to anchor, positive and negative, each of their shape.
    pub fn products(
        anchor: MatMut<'a, T>,
        positive: MatMut<'a, T>,
        negative: MatMut<'a, T>,
    ) -> Self {
        TripletRowsHvpOut { products: Some([anchor, positive, negative]), derivatives: None }
    }

    /// Also by how much the value of each triplet changes along the directions, N elements.
    pub fn derivatives(mut self, derivatives: &'a mut [T]) -> Self {
        self.derivatives = Some(derivatives);
        self
    }
}

/// How the gradients of [`triplet_rows`](crate::batch::triplet_rows) change as anchors, positives and negatives
/// move along `along`, three matrices of their shape: the product of the Hessian with these directions.
///
/// # Errors
///
/// Refused where a shape does not match, the loss has no
/// [`curvatures`](crate::loss::TripletLoss::curvatures), or there is no memory for nine numbers a triplet; nothing
/// has been written then.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::batch::{TripletRows, TripletRowsHvpOut, triplet_rows_hvp};
/// use drlim::loss::{SquaredTriplet, TripletObjective};
/// use drlim::{Cx, Mat, MatMut};
///
/// let [a, p, n] = [[0.0_f32], [3.0], [2.0]];
/// let (va, still) = ([1.0], [0.0]);
/// let view = |x| Mat::new(x, 1, 1);
/// let [mut h_a, mut h_p, mut h_n] = [[0.0]; 3];
/// triplet_rows_hvp(
///     &Cx::default(),
///     &TripletObjective::sum(&SquaredTriplet::new(1.0)?),
///     TripletRows::new(view(&a)?, view(&p)?, view(&n)?)?,
///     [view(&va)?, view(&still)?, view(&still)?],
///     TripletRowsHvpOut::products(
///         MatMut::new(&mut h_a, 1, 1)?,
///         MatMut::new(&mut h_p, 1, 1)?,
///         MatMut::new(&mut h_n, 1, 1)?,
///     ),
/// )?;
/// // (a - p)² - (a - n)²: squares of a cancel.
/// assert_eq!([h_a, h_p, h_n], [[0.0], [-2.0], [2.0]]);
/// # Ok(()) }
/// ```
#[inline(never)]
pub fn triplet_rows_hvp<T: Real>(
    cx: &Cx,
    objective: &TripletObjective<T>,
    triplets: TripletRows<T>,
    along: [Mat<T>; 3],
    out: TripletRowsHvpOut<T>,
) -> Result<()> {
    const CALL: &str = "triplet_rows_hvp";
    let TripletRowsHvpOut { products, derivatives } = out;
    if !objective.loss.curvatures_block(cx.isa, [(); 6].map(|()| &mut [] as &mut [T])) {
        return Err(Error::NoCurvature { call: CALL });
    }
    let TripletRows { inputs, weights, ignored } = triplets;
    let (n, shape) = (triplets.len(), inputs[0].shape());
    for (arg, mat) in ["along[0]", "along[1]", "along[2]"].iter().zip(along) {
        check_shape(CALL, arg, mat.shape(), shape, "as anchor")?;
    }
    for (arg, out) in ["anchor", "positive", "negative"].iter().zip(products.iter().flatten()) {
        check_shape(CALL, arg, out.shape(), shape, "as anchor")?;
    }
    if let Some(derivatives) = &derivatives {
        check_len(CALL, "derivatives", derivatives.len(), n, "the rows of anchor")?;
    }
    let sums = match objective.reduction().needs_values() {
        true => triplet_rows(cx, objective, triplets, TripletRowsOut::none())?.sums,
        false => triplets.counts(),
    };
    let factor = objective.factor(&sums);
    let rays = [0, 1, 2].map(|k| Rays { z: inputs[k], v: along[k] });
    let mut room = [BendsOfPairs::new(n)?, BendsOfPairs::new(n)?, BendsOfPairs::new(n)?];
    let height = task_rows(n, shape[1].saturating_mul(6 * size_of::<T>()));
    let output = (
        room.each_mut().map(|room| room.split(height)),
        derivatives.map(|derivatives| Chunks(derivatives, height)),
    );
    for_blocks(cx.par, n.div_ceil(height), output, |block, (parts, derivatives)| {
        let Range { start, end } = rows_of_block(block, height, n);
        let measure = MeasureTripletBends {
            isa: cx.isa,
            loss: objective.loss,
            rays: rays.map(|rays| rays.range(start, end)),
            weights: weights.map(|weights| &weights[start..end]),
            ignored: ignored.map(|ignored| &ignored[start..end]),
            factor,
            bends: parts.map(bends),
            derivatives,
        };
        T::dispatch(cx.isa, measure);
    });
    let Some(products) = products else { return Ok(()) };
    for (side, out) in products.into_iter().enumerate() {
        let own = rays[side];
        let meets = [0, 1, 2].into_iter().filter(|&other| other != side);
        // Anchor and positive are pair 0, anchor and negative 1, positive and negative 2.
        let others: Vec<_> = meets.map(|k| (rays[k], room[side + k - 1].get())).collect();
        write_by_row(cx, own, &others, ignored, out);
    }
    Ok(())
}
compiled!(triplet_rows_hvp::<T>);
