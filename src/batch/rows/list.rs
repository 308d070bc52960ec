//! Loss and gradient of pairs of the rows of one matrix, given as a list.

#![forbid(unsafe_code)]

use std::ops::Add;

use super::pair_list::PairList;
use super::pair_outputs::{self, check_per_pair};
use crate::batch::blocking::task_rows;
use crate::error::{Result, check_len, check_shape};
use crate::kernel::reduce::WeighSlopes;
use crate::kernel::rows::list::{IndexedGradient, IndexedPairs, IndexedPlanar};
use crate::kernel::rows::pair_blocks::{PairBlocks, PerPair};
use crate::kernel::rows::planar::WIDEST;
use crate::loss::{Objective, Outcome, Pairing, Sums};
use crate::memory::mat::{Mat, MatMut};
use crate::memory::reserve::try_filled;
use crate::parallel::cx::Cx;
use crate::parallel::split::{Chunks, RowBlocks, for_blocks, rows_of_block, sum_blocks};
use crate::simd::real::{Real, compiled};

/// The outputs that [`indexed`] writes beside the outcome that it returns; those given are overwritten.
pub struct IndexedOut<'a, T> {
    grad: Option<MatMut<'a, T>>,
    per_pair: PerPair<'a, T>,
}

impl<'a, T> IndexedOut<'a, T> {
    /// No outputs: the call returns the outcome alone.
    pub fn none() -> Self {
        IndexedOut { grad: None, per_pair: PerPair::default() }
    }

    /// The gradient with respect to the matrix, of its shape. Rows that are in no pair get 0.
    pub fn grad(grad: MatMut<'a, T>) -> Self {
        IndexedOut { grad: Some(grad), ..IndexedOut::none() }
    }

    /// Also the Euclidean distances of the pairs, P elements.
    pub fn distances(mut self, distances: &'a mut [T]) -> Self {
        self.per_pair.distances = Some(distances);
        self
    }

    /// Also the values of the pairs, P elements, weights included, before they are reduced.
    pub fn values(mut self, values: &'a mut [T]) -> Self {
        self.per_pair.values = Some(values);
        self
    }

    /// Also the slopes of the pairs, P elements: the factors of z_i - z_j in the gradient of z_i.
    pub fn slopes(mut self, slopes: &'a mut [T]) -> Self {
        self.per_pair.slopes = Some(slopes);
        self
    }
}

/// Working memory of [`indexed`]: it grows to one element for each pair of the longest list and is then used
/// again.
///
/// One call uses it at a time. Inside tasks of rayon, hold no lock on it over a call: see
/// [`Par`](crate::Par#from-within-tasks-of-rayon).
#[derive(Clone, Debug, Default)]
pub struct IndexedScratch<T> {
    slopes: Vec<T>,
}

impl<T: Real> IndexedScratch<T> {
    /// An empty scratch, which calls make as large as they need.
    pub fn new() -> Self {
        IndexedScratch::default()
    }

    /// A scratch with room for `pairs` pairs, so that no call on as many allocates.
    pub(crate) fn try_with_capacity(pairs: usize) -> Result<Self> {
        Ok(IndexedScratch { slopes: try_filled("the slopes of pairs", pairs, T::ZERO)? })
    }
}

/// Loss and gradient of pairs (i, j) of the rows of `z`, B x D, in any order and with any repeats.
///
/// `list` holds the pairs, `pairing` says of each of them whether it is similar, and may hold
/// weights w_p (else 1) and pairs to leave out. With slopes and factors as for
/// [`rows`](crate::batch::rows()):
///
/// ```text
/// value = reduction of w_p l_p     grad_i = sum over the pairs p of row i: f_p w_p slope_p (z_i - z_other)
/// ```
///
/// The gradient of a row is added up in the list's order, whatever the number of threads. Under a
/// reduction over non-zero values the slopes are scaled when all are known; nothing is measured twice.
///
/// # Accuracy
///
/// Values are as those of [`rows`](crate::batch::rows()). The gradient of a row that is in P pairs is off by at most
/// (P/2 + D/32 + 4) eps of the sum of its terms' magnitudes, beside what an error of d² makes of them.
///
/// # Errors
///
/// Refused where a shape does not match; nothing has been written then.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::batch::{IndexedOut, PairList, IndexedScratch, indexed};
/// use drlim::loss::{Contrastive, Objective};
/// use drlim::{Cx, Mat, MatMut};
///
/// let z = [0.0_f32, 0.0, /**/ 3.0, 4.0, /**/ 0.3, 0.4];
/// let list = PairList::new(3, &[(0, 1), (0, 2)])?;
/// let loss = Contrastive::new(1.0)?;
/// let mut grad = [0.0; 6];
/// let outcome = indexed(
///     &Cx::default(),
///     &Objective::sum(&loss),
///     Mat::new(&z, 3, 2)?,
///     &list,
///     &[true, false],
///     IndexedOut::grad(MatMut::new(&mut grad, 3, 2)?),
///     &mut IndexedScratch::new(),
/// )?;
/// assert!((outcome.value - 12.625).abs() < 1e-6);
/// assert_eq!(grad[2..4], [3.0, 4.0]);
/// # Ok(()) }
/// ```
pub fn indexed<'p, T: Real>(
    cx: &Cx,
    objective: &Objective<T>,
    z: Mat<T>,
    list: &PairList,
    pairing: impl Into<Pairing<'p, T>>,
    out: IndexedOut<T>,
    scratch: &mut IndexedScratch<T>,
) -> Result<Outcome> {
    indexed_with(cx, objective, z, list, pairing.into(), out, scratch)
}

#[inline(never)]
fn indexed_with<T: Real>(
    cx: &Cx,
    objective: &Objective<T>,
    z: Mat<T>,
    list: &PairList,
    pairing: Pairing<T>,
    out: IndexedOut<T>,
    scratch: &mut IndexedScratch<T>,
) -> Result<Outcome> {
    check_len("indexed", "list", list.rows(), z.rows(), "the rows of z")?;
    pairing.check("indexed", list.len(), "the pairs of the list")?;
    check_per_pair("indexed", &out.per_pair, list.len(), "the pairs of the list")?;
    if let Some(grad) = &out.grad {
        check_shape("indexed", "grad", grad.shape(), z.shape(), "as z")?;
    }
    let call = Call { cx, objective, z, list, pairing };
    let IndexedOut { grad, per_pair } = out;
    let PerPair { distances, values, slopes } = per_pair;
    let slopes = match (slopes, &grad) {
        (Some(slopes), _) => Some(slopes),
        (None, Some(_)) => {
            scratch.slopes.resize(scratch.slopes.len().max(list.len()), T::ZERO);
            Some(&mut scratch.slopes[..list.len()])
        }
        (None, None) => None,
    };
    let Some(slopes) = slopes else {
        let sums = call.measure(None, PerPair { distances, values, slopes: None });
        return Ok(Outcome::new(objective.reduction, sums));
    };
    let late = objective.reduction.needs_values();
    let factors = (!late).then(|| objective.factors(&pairing.counts(objective.reduction)));
    let sums = call.measure(factors, PerPair { distances, values, slopes: Some(&mut *slopes) });
    if late {
        call.multiply(objective.factors(&sums), slopes);
    }
    if let Some(grad) = grad {
        call.gradient(slopes, grad);
    }
    Ok(Outcome::new(objective.reduction, sums))
}
compiled!(indexed_with::<T>);

/// A call whose arguments have been checked.
struct Call<'c, 'o, 'p, T> {
    cx: &'c Cx,
    objective: &'c Objective<'o, T>,
    z: Mat<'c, T>,
    list: &'c PairList,
    pairing: Pairing<'p, T>,
}

impl<T: Real> Call<'_, '_, '_, T> {
    /// Pairs of a task: as many as [`rows`](crate::batch::rows()) takes, so that sums are the same.
    fn height(&self) -> usize {
        task_rows(self.list.len(), self.z.cols().saturating_mul(4 * size_of::<T>()))
    }

    /// The sums over all pairs; writes the distances, values and slopes that are wanted.
    fn measure(&self, factors: Option<[T; 2]>, per_pair: PerPair<T>) -> Sums {
        let (n, height) = (self.list.len(), self.height());
        let output = pair_outputs::split(per_pair, height);
        sum_blocks(self.cx.par, n.div_ceil(height), output, Sums::add, |block, per_pair| {
            let [distances, values, slopes] = per_pair;
            let some = rows_of_block(block, height, n);
            let pairs = PairBlocks {
                isa: self.cx.isa,
                loss: self.objective.loss,
                pairing: self.pairing.range(some.clone()),
                factors,
                per_pair: PerPair { distances, values, slopes },
                layout: IndexedPairs { z: self.z, pairs: &self.list.pairs()[some] },
                step: None,
            };
            measure(pairs)
        })
    }

    /// Multiplies slopes by factors that are known only now, and by their weights.
    fn multiply(&self, factors: [T; 2], slopes: &mut [T]) {
        let height = self.height();
        let blocks = slopes.len().div_ceil(height);
        for_blocks(self.cx.par, blocks, Chunks(slopes, height), |block, slopes| {
            let pairing = self.pairing.range(block * height..block * height + slopes.len());
            T::dispatch(self.cx.isa, WeighSlopes { pairing, factors, slopes });
        });
    }

    /// The gradient from the slopes of all pairs, each row by one task.
    fn gradient(&self, slopes: &[T], grad: MatMut<T>) {
        let (rows, cols) = (self.z.rows(), self.z.cols());
        let (offsets, members) = self.list.by_row();
        let reads = members.len().div_ceil(rows.max(1)) + 1;
        let height = task_rows(rows, cols.saturating_mul(reads * size_of::<T>()));
        for_blocks(self.cx.par, rows.div_ceil(height), RowBlocks(grad, height), |block, grad| {
            let kernel = IndexedGradient {
                isa: self.cx.isa,
                z: self.z,
                offsets,
                members,
                slopes,
                ignored: self.pairing.ignored,
                first: block * height,
                grad,
            };
            T::dispatch(kernel.isa, kernel);
        });
    }
}

type Pairs<'a, T> = PairBlocks<'a, T, IndexedPairs<'a, T>>;

/// Picks the kernel: rows of up to three elements have their own.
fn measure<T: Real>(pairs: Pairs<T>) -> Sums {
    match pairs.layout.z.cols() {
        1 => measure_planar::<T, 1>(pairs),
        2 => measure_planar::<T, 2>(pairs),
        WIDEST => measure_planar::<T, WIDEST>(pairs),
        _ => T::dispatch(pairs.isa, pairs),
    }
}

fn measure_planar<T: Real, const D: usize>(pairs: Pairs<T>) -> Sums {
    let PairBlocks { isa, loss, pairing, factors, per_pair, layout, step } = pairs;
    let layout = IndexedPlanar::<T, D> { z: layout.z, pairs: layout.pairs };
    T::dispatch(isa, PairBlocks { isa, loss, pairing, factors, per_pair, layout, step })
}
