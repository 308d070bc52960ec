//! Loss and gradients of triplets by rows.

#![forbid(unsafe_code)]

use std::ops::{Add, Range};

use crate::batch::blocking::task_rows;
use crate::error::{Result, check_len, check_shape};
use crate::kernel::rows::pairs::step;
use crate::kernel::rows::streaming::Fenced;
use crate::kernel::rows::triplets::{PerTriplet, RowTriplets};
use crate::loss::{Outcome, Sums, TripletObjective};
use crate::memory::mat::{Mat, MatMut};
use crate::parallel::cx::Cx;
use crate::parallel::split::{Chunks, RowBlocks, rows_of_block, sum_blocks};
use crate::simd::cache;
use crate::simd::real::{Real, compiled};
use crate::similar::graph::check_samples;

/// N triplets: row i of an anchor, a positive and a negative matrix, each N x D; on request with a
/// weight each, or with some left out.
#[derive(Clone, Copy, Debug)]
pub struct TripletRows<'a, T> {
    pub(crate) inputs: [Mat<'a, T>; 3],
    pub(crate) weights: Option<&'a [T]>,
    pub(crate) ignored: Option<&'a [bool]>,
}

impl<'a, T: Real> TripletRows<'a, T> {
    /// Refused where the shapes differ, or N does not fit in a `u32`.
    pub fn new(anchor: Mat<'a, T>, positive: Mat<'a, T>, negative: Mat<'a, T>) -> Result<Self> {
        check_shape("triplets", "positive", positive.shape(), anchor.shape(), "as anchor")?;
        check_shape("triplets", "negative", negative.shape(), anchor.shape(), "as anchor")?;
        check_samples(anchor.rows())?;
        Ok(TripletRows { inputs: [anchor, positive, negative], weights: None, ignored: None })
    }

    /// Factors of the triplets' values, N elements: see [`Pairing`](crate::loss::Pairing).
    ///
    /// Refused where there is not one for each triplet.
    pub fn weighted(self, weights: &'a [T]) -> Result<Self> {
        check_len("triplets", "weights", weights.len(), self.len(), "the rows of anchor")?;
        Ok(TripletRows { weights: Some(weights), ..self })
    }

    /// Flags of the triplets to leave out, N elements: see [`Pairing`](crate::loss::Pairing).
    ///
    /// Refused where there is not one for each triplet.
    pub fn ignoring(self, ignored: &'a [bool]) -> Result<Self> {
        check_len("triplets", "ignored", ignored.len(), self.len(), "the rows of anchor")?;
        Ok(TripletRows { ignored: Some(ignored), ..self })
    }

    /// The number N of triplets.
    pub fn len(&self) -> usize {
        self.inputs[0].rows()
    }

    /// Whether there are no triplets.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The outputs that [`triplet_rows`] writes beside the outcome that it returns; those given are overwritten.
pub struct TripletRowsOut<'a, T> {
    grads: Option<[MatMut<'a, T>; 3]>,
    per_triplet: PerTriplet<'a, T>,
}

impl<'a, T> TripletRowsOut<'a, T> {
    /// No outputs: the call returns the outcome alone.
    pub fn none() -> Self {
        let per_triplet = PerTriplet { distances: None, third: None, values: None, slopes: None };
        TripletRowsOut { grads: None, per_triplet }
    }

    /// The gradients with respect to anchor, positive and negative, each of their shape.
    pub fn grads(anchor: MatMut<'a, T>, positive: MatMut<'a, T>, negative: MatMut<'a, T>) -> Self {
        TripletRowsOut { grads: Some([anchor, positive, negative]), ..TripletRowsOut::none() }
    }

    /// Also the Euclidean distances of the anchor from positive and negative, N elements each.
    pub fn distances(mut self, positive: &'a mut [T], negative: &'a mut [T]) -> Self {
        self.per_triplet.distances = Some([positive, negative]);
        self
    }

    /// Also the Euclidean distances of positive and negative, N elements, which losses that swap need anyway.
    /// For other losses they are measured for this output alone.
    pub fn third_distances(mut self, distances: &'a mut [T]) -> Self {
        self.per_triplet.third = Some(distances);
        self
    }

    /// Also the values, N elements, weights included, before they are reduced.
    pub fn values(mut self, values: &'a mut [T]) -> Self {
        self.per_triplet.values = Some(values);
        self
    }

    /// Also the slopes of d²(a,p), d²(a,n) and d²(p,n), N elements each: the factors of the differences in
    /// the gradients.
    pub fn slopes(mut self, ap: &'a mut [T], an: &'a mut [T], pn: &'a mut [T]) -> Self {
        self.per_triplet.slopes = Some([ap, an, pn]);
        self
    }
}

/// Loss and gradients of N triplets by rows, in one pass over memory.
///
/// Slopes are those of [`TripletLoss`](crate::loss::TripletLoss), factors and weights as for
/// [`rows`](crate::batch::rows()). The outcome counts triplets as pairs.
///
/// # Accuracy
///
/// With B = D/32 + 4, a value is off by at most B eps of d(a,p) + d(a,n) + m (of squared distances under
/// `SquaredTriplet`), a gradient by B eps of the sum of its terms' magnitudes. This leaves out triplets so
/// close to a hinge that such an error decides on which side they are.
///
/// # Errors
///
/// Refused where a shape does not match; nothing has been written then.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::batch::{TripletRows, TripletRowsOut, triplet_rows};
/// use drlim::loss::{TripletMargin, TripletObjective};
/// use drlim::{Cx, Mat, MatMut};
///
/// let (anchor, positive, negative) = ([0.0_f32, 0.0], [3.0, 4.0], [0.0, 2.0]);
/// let view = |x| Mat::new(x, 1, 2);
/// let triplets = TripletRows::new(view(&anchor)?, view(&positive)?, view(&negative)?)?;
/// let loss = TripletMargin::new(1.0)?;
/// let [mut grad_a, mut grad_p, mut grad_n] = [[0.0; 2]; 3];
/// let grads = TripletRowsOut::grads(
///     MatMut::new(&mut grad_a, 1, 2)?,
///     MatMut::new(&mut grad_p, 1, 2)?,
///     MatMut::new(&mut grad_n, 1, 2)?,
/// );
/// let outcome = triplet_rows(&Cx::default(), &TripletObjective::sum(&loss), triplets, grads)?;
/// assert_eq!(outcome.value, 5.0 - 2.0 + 1.0);
/// assert_eq!(grad_n, [0.0, -1.0]);
/// # Ok(()) }
/// ```
#[inline(never)]
pub fn triplet_rows<T: Real>(
    cx: &Cx,
    objective: &TripletObjective<T>,
    triplets: TripletRows<T>,
    out: TripletRowsOut<T>,
) -> Result<Outcome> {
    let TripletRowsOut { grads, per_triplet } = out;
    let (n, shape) = (triplets.len(), triplets.inputs[0].shape());
    for (arg, grad) in
        ["grad_anchor", "grad_positive", "grad_negative"].iter().zip(grads.iter().flatten())
    {
        check_shape("triplet_rows", arg, grad.shape(), shape, "as anchor")?;
    }
    let PerTriplet { distances, third, values, slopes } = &per_triplet;
    let distances = distances.iter().flatten().map(|out| ("distances", out.len()));
    let third = third.iter().map(|out| ("third_distances", out.len()));
    let slopes = slopes.iter().flatten().map(|out| ("slopes", out.len()));
    let values = values.iter().map(|out| ("values", out.len()));
    for (arg, len) in distances.chain(third).chain(slopes).chain(values) {
        check_len("triplet_rows", arg, len, n, "the rows of anchor")?;
    }
    let sloped = grads.is_some() || per_triplet.slopes.is_some();
    let call = Call { cx, objective, triplets };
    let counted = if sloped && objective.reduction().needs_values() {
        let none = TripletRowsOut::none();
        call.run(T::ONE, none.grads, none.per_triplet)
    } else {
        triplets.counts()
    };
    let sums = call.run(objective.factor(&counted), grads, per_triplet);
    Ok(Outcome::new(objective.reduction(), sums))
}
compiled!(triplet_rows::<T>);

/// A call whose arguments have been checked.
struct Call<'c, 'o, 't, T> {
    cx: &'c Cx,
    objective: &'c TripletObjective<'o, T>,
    triplets: TripletRows<'t, T>,
}

impl<T: Real> Call<'_, '_, '_, T> {
    /// One pass over all triplets, cut into tasks.
    fn run(&self, factor: T, grads: Option<[MatMut<T>; 3]>, per_triplet: PerTriplet<T>) -> Sums {
        let TripletRows { inputs, weights, ignored } = self.triplets;
        let [n, cols] = inputs[0].shape();
        let bytes_per_row = cols.saturating_mul(6 * size_of::<T>());
        let past_caches = n.saturating_mul(bytes_per_row) > cache::last_level_bytes();
        let height = task_rows(n, bytes_per_row);
        let step = step::<T>(3, cols, past_caches && grads.is_some());
        let grads = grads.map(|grads| grads.map(|grad| RowBlocks(grad, height)));
        let PerTriplet { distances, third, values, slopes } = per_triplet;
        let chunks = |out| Chunks(out, height);
        let distances = distances.map(|out| out.map(chunks));
        let [third, values] = [third, values].map(|out| out.map(chunks));
        let slopes = slopes.map(|out| out.map(chunks));
        let output = (grads, ((distances, [third, values]), slopes));
        let blocks = n.div_ceil(height);
        sum_blocks(self.cx.par, blocks, output, Sums::add, |block, (grads, per_triplet)| {
            let ((distances, [third, values]), slopes) = per_triplet;
            let Range { start, end } = rows_of_block(block, height, n);
            let kernel = RowTriplets {
                isa: self.cx.isa,
                loss: self.objective.loss,
                inputs: inputs.map(|input| input.rows_range(start, end)),
                weights: weights.map(|weights| &weights[start..end]),
                ignored: ignored.map(|ignored| &ignored[start..end]),
                factor,
                per_triplet: PerTriplet { distances, third, values, slopes },
                grads,
                past_caches,
                step,
            };
            T::dispatch(kernel.isa, Fenced { kernel, past_caches })
        })
    }
}

impl<T: Real> TripletRows<'_, T> {
    /// The number of triplets, without those left out.
    pub(crate) fn counts(&self) -> Sums {
        let ignored = self.ignored.into_iter().flatten().filter(|&&ignored| ignored).count();
        let mut sums = Sums::default();
        sums.dissimilar.pairs = (self.len() - ignored) as u64;
        sums
    }
}
