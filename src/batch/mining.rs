//! Loss and gradient of the triplets of a labelled batch: all of them, the hardest, or the semi-hard ones.

#![forbid(unsafe_code)]

use std::ops::{Add, BitOr, Range};

use super::blocking::{block_rows, serial_if_small, task_rows};
use super::neighbours::{Found, among};
use super::pairwise::gradient::Gradient;
use super::pairwise::packed_rows::{ALL_ROWS, PackedRows, center};
use crate::error::{Error, Result, check_len, check_shape};
use crate::kernel::blocking::{BLOCK_ROWS, PANEL_COLS};
use crate::kernel::mining::anchors::{AnchorSums, Anchors};
use crate::kernel::mining::gradient::{
    AddExtras, OtherRows, OwnRows, Strip, StripDistances, TakeClose,
};
use crate::kernel::mining::hardest::{MinedTriplets, ScatterTriplets};
use crate::kernel::mining::positives::Positives;
use crate::kernel::neighbours::top_k::NONE;
use crate::kernel::pairwise::gradient::{BlockOffsets, BlockOut};
use crate::loss::{Outcome, Sums, TripletObjective};
use crate::memory::aligned::Aligned;
use crate::memory::mat::{Mat, MatMut};
use crate::parallel::cx::Cx;
use crate::parallel::split::{Chunks, for_blocks, rows_of_block, sum_blocks};
use crate::simd::real::{Real, compiled};
use crate::similar::graph::{Similar, check_samples};

/// The triplets of a batch that enter the loss. The positives of an anchor are the rows similar to it, its
/// negatives all other rows but itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mining {
    /// Every anchor with each of its positives and each of its negatives. Their number grows with B³.
    All,
    /// Every anchor with its farthest positive and its nearest negative; ties go to the lowest index
    /// (Hermans, Beyer, Leibe 2017, "batch hard"). Anchors without a positive or without a negative are left
    /// out.
    Hardest,
    /// Every anchor and positive with the nearest negative that is farther than the positive (Schroff,
    /// Kalenichenko, Philbin 2015, FaceNet), or with the farthest negative where there is none; ties go to
    /// the lowest index. Distances are computed from differences and compared to the last digit: rows of
    /// integers, levels or signs, whose squared distances are exact, are told apart exactly, in any order of
    /// rows.
    SemiHard,
}

/// Working memory of [`triplets`], kept for the next call: 3 B D elements and up to 8 MiB, with
/// [`Mining::All`] 16 MiB. (Batches of more than a hundred thousand rows take up to 256 bytes a row. Losses
/// that swap take 12 bytes more for each semi-hard triplet of some anchors. The search for
/// [`Mining::Hardest`] takes B D elements of its own.)
///
/// One call uses it at a time. Inside tasks of rayon, hold no lock on it over a call: see
/// [`Par`](crate::Par#from-within-tasks-of-rayon).
#[derive(Clone, Debug, Default)]
pub struct MiningScratch<T> {
    set: PackedRows<T>,
    gradient: Gradient<T>,
    d2: Aligned<T>,
    slopes: Aligned<T>,
    triplets: Vec<[u32; 3]>,
    of_triplets: Vec<[T; 3]>,
}

impl<T: Real> MiningScratch<T> {
    /// An empty scratch, which calls make as large as they need.
    pub fn new() -> Self {
        MiningScratch::default()
    }
}

/// Loss and gradient of triplets of the rows of `z`, B x D.
///
/// The outcome counts triplets as pairs. Distances are computed from differences of rows. Gradients are as
/// precise as those of [`all_pairs`](super::all_pairs()); with [`Mining::Hardest`] they are sums of
/// differences of rows, too.
///
/// `grad` is B x D and overwritten, where it is given.
///
/// # Accuracy
///
/// The bounds are those of [`all_pairs`](super::all_pairs()), but with (B + 8) eps for the gradient, since
/// slopes are added up first.
///
/// # Errors
///
/// Refused where a shape does not match, B does not fit in a `u32`, or [`Mining::All`] is asked for more than
/// 1448 rows in `f32`, 1024 in `f64`: two matrices of B x B elements have to fit in 16 MiB. Nothing has been
/// written then.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::batch::{MiningScratch, Mining, triplets};
/// use drlim::loss::{TripletMargin, TripletObjective};
/// use drlim::{Cx, Mat, MatMut, Similar};
///
/// let z = [0.0_f32, 1.0, 3.0, 3.5];
/// let labels = Similar::Labels(&[7, 7, 7, 8]);
/// let loss = TripletMargin::new(1.0)?;
/// let (objective, view) = (TripletObjective::sum(&loss), Mat::new(&z, 4, 1)?);
/// let mut grad = [0.0; 4];
/// let to = Some(MatMut::new(&mut grad, 4, 1)?);
/// let scratch = &mut MiningScratch::new();
/// let outcome = triplets(&Cx::default(), &objective, view, labels, Mining::Hardest, to, scratch)?;
/// // (0, 3, 3.5), (1, 3, 3.5) and (3, 0, 3.5): the last row has no positive.
/// assert_eq!(outcome.pairs, 3);
/// assert_eq!(outcome.value, 0.5 + 0.5 + 3.5);
/// # Ok(()) }
/// ```
#[inline(never)]
pub fn triplets<T: Real>(
    cx: &Cx,
    objective: &TripletObjective<T>,
    z: Mat<T>,
    similar: Similar,
    mining: Mining,
    grad: Option<MatMut<T>>,
    scratch: &mut MiningScratch<T>,
) -> Result<Outcome> {
    check_samples(z.rows())?;
    check_len("triplets", "similar", similar.samples(), z.rows(), "the rows of z")?;
    if let Some(grad) = &grad {
        check_shape("triplets", "grad", grad.shape(), z.shape(), "as z")?;
    }
    if mining == Mining::All && strip_rows::<T>(z.rows(), ALL_BYTES) < z.rows() {
        let (arg, got) = ("rows of z", z.rows() as f64);
        let expected = "at most 1448 in f32, 1024 in f64, to look at all triplets: mine the hardest \
                        or the semi-hard ones";
        return Err(Error::Value { arg, got, expected });
    }
    if z.rows() == 0 {
        return Ok(Outcome::new(objective.reduction(), Sums::default())); // of any number of columns
    }
    let grad = grad.filter(|_| z.cols() > 0); // rows without elements have none
    let cx = &serial_if_small(cx, z.rows().saturating_mul(z.rows()), z.cols());
    let call = Call { cx, objective, z, similar };
    let sums = match mining {
        Mining::Hardest => call.hardest(grad, scratch)?,
        Mining::All => call.strips(true, ALL_BYTES, grad, scratch),
        Mining::SemiHard => call.strips(false, SOME_BYTES, grad, scratch),
    };
    Ok(Outcome::new(objective.reduction(), sums))
}
compiled!(triplets::<T>);

/// Bytes of a strip of distances and a strip of slopes, where each must hold the whole batch.
const ALL_BYTES: usize = 16 << 20;

/// Bytes of both strips where they hold a few rows at a time.
const SOME_BYTES: usize = 8 << 20;

/// Rows of a block of gradients, and of a task: whole panels of every tier.
const BLOCK: usize = PANEL_COLS;

/// Elements from one row of a strip to the next: not a power of two, which would put a column into a few sets
/// of the cache.
fn strip_stride(rows: usize) -> usize {
    rows.next_multiple_of(16) + 16
}

/// Rows of a strip.
fn strip_rows<T>(rows: usize, bytes: usize) -> usize {
    let of_row = rows.saturating_mul(2 * size_of::<T>()).max(1);
    (bytes / of_row).min(rows)
}

/// A call whose arguments have been checked.
struct Call<'c, 'o, T> {
    cx: &'c Cx,
    objective: &'c TripletObjective<'o, T>,
    z: Mat<'c, T>,
    similar: Similar<'c>,
}

impl<T: Real> Call<'_, '_, T> {
    /// The hardest triplet of each anchor.
    fn hardest(&self, grad: Option<MatMut<T>>, scratch: &mut MiningScratch<T>) -> Result<Sums> {
        let MiningScratch { triplets, of_triplets, .. } = scratch;
        triplets.clear();
        let find = |kind| among(self.cx, self.z, 1, Some((self.similar, kind)));
        let Found { indices: positives, .. } = find(true)?;
        let Found { indices: negatives, .. } = find(false)?;
        let both = positives.into_iter().zip(negatives);
        let both = (0..).zip(both).map(|(a, (p, n))| [a, p, n]);
        triplets.extend(both.filter(|&[_, p, n]| p != NONE && n != NONE));
        of_triplets.resize(triplets.len(), [T::ZERO; 3]);
        let (cx, z) = (self.cx, self.z);
        let at_once = task_rows(triplets.len(), z.cols().saturating_mul(3 * size_of::<T>()));
        let blocks = triplets.len().div_ceil(at_once);
        let slopes = Chunks(of_triplets.as_mut_slice(), at_once);
        let sums = sum_blocks(cx.par, blocks, slopes, Sums::add, |block, slopes| {
            let triplets = &triplets[block * at_once..][..slopes.len()];
            let (isa, loss) = (cx.isa, self.objective.loss);
            T::dispatch(isa, MinedTriplets { isa, loss, z, triplets, slopes })
        });
        if let Some(mut grad) = grad {
            (0..z.rows()).for_each(|i| grad.row_mut(i).fill(T::ZERO));
            let (slopes, factor) = (&*of_triplets, self.objective.factor(&sums));
            T::dispatch(cx.isa, ScatterTriplets { z, triplets, slopes, factor, grad });
        }
        Ok(sums)
    }

    /// Triplets of a strip of anchors at a time, from their distances to all rows.
    fn strips(
        &self,
        all: bool,
        bytes: usize,
        grad: Option<MatMut<T>>,
        scratch: &mut MiningScratch<T>,
    ) -> Sums {
        let MiningScratch { set, gradient, d2, slopes, .. } = scratch;
        let (cx, z, [n, d]) = (self.cx, self.z, self.z.shape());
        set.order_of(&self.similar);
        set.find_places();
        // Rows of a block that products read, and of a strip.
        let at_once = strip_rows::<T>(n, bytes) / BLOCK * BLOCK;
        let block = block_rows(n).min(at_once).max(BLOCK);
        let height = if all { n } else { (at_once / block).max(1) * block };
        let stride = strip_stride(n);
        let mean = grad.is_some().then(|| center(cx, [(&*set, z)], ALL_ROWS));
        set.prepare_differences(cx, z, mean.as_deref(), block);
        d2.resize(height.min(n) * stride);
        slopes.resize(if grad.is_some() { height.min(n) * stride } else { 0 });
        if grad.is_some() {
            gradient.clear([n, d]);
        }
        let offsets = BlockOffsets::new::<T>(cx.isa, BLOCK_ROWS, stride, d);
        let positives = match self.similar {
            Similar::Graph(graph) => Positives::Graph(graph),
            _ => Positives::Classes(&set.classes),
        };
        let most = positives.count(all, n);
        let factor = self.objective.factor_of_pass(most);
        let strips =
            Strips { call: self, all, set, positives, factor, stride, block, offsets: &offsets };
        let mut sums = Sums::default();
        for start in (0..n).step_by(height.max(1)) {
            let rows = start..(start + height).min(n);
            let gradient = grad.is_some().then_some((&mut **slopes, &mut *gradient));
            sums = sums + strips.strip(rows, d2, gradient);
        }
        if let Some(grad) = grad {
            let scale = self.objective.scale_after_pass(most, &sums);
            gradient.finish(cx, set, BLOCK, scale, grad);
        }
        sums
    }
}

/// The inputs that all strips share.
struct Strips<'s, 'c, 'o, T> {
    call: &'s Call<'c, 'o, T>,
    all: bool,
    set: &'s PackedRows<T>,
    positives: Positives<'s>,
    factor: T,
    stride: usize,
    /// Rows of a block of the set.
    block: usize,
    offsets: &'s BlockOffsets,
}

impl<T: Real> Strips<'_, '_, '_, T> {
    /// The sums of the triplets whose anchors are `rows`; adds their part to all gradients.
    fn strip(
        &self,
        rows: Range<usize>,
        d2: &mut [T],
        gradient: Option<(&mut [T], &mut Gradient<T>)>,
    ) -> Sums {
        let Call { cx, objective, z, .. } = *self.call;
        let (n, stride) = (z.rows(), self.stride);
        let side = self.set.side(z);
        let d2 = &mut d2[..rows.len() * stride];
        let tasks = rows.len().div_ceil(BLOCK);
        let some =
            |task: usize| rows.start + task * BLOCK..rows.end.min(rows.start + (task + 1) * BLOCK);
        for_blocks(cx.par, tasks, Chunks(d2, BLOCK * stride), |task, d2| {
            let (points, rows) = (side.points, some(task));
            T::dispatch(cx.isa, StripDistances { points, rows, stride, d2 });
        });
        let mut gradient =
            gradient.map(|(slopes, sums)| (&mut slopes[..rows.len() * stride], sums));
        let out = gradient.as_mut().map(|(slopes, _)| Chunks(slopes, BLOCK * stride));
        let add = |mut one: AnchorSums<T>, mut other: AnchorSums<T>| {
            one.sums = one.sums + other.sums;
            one.extras.append(&mut other.extras);
            one
        };
        let AnchorSums { sums, extras } = sum_blocks(cx.par, tasks, out, add, |task, slopes| {
            let anchors = Anchors {
                isa: cx.isa,
                loss: objective.loss,
                rows: side.points.rows,
                places: &self.set.places,
                positives: self.positives,
                factor: self.factor,
                all: self.all,
                anchors: some(task),
                first: rows.start,
                d2,
                stride,
                slopes,
            };
            T::dispatch(cx.isa, anchors)
        });
        let Some((slopes, gradient)) = gradient else { return sums };
        let both = (Chunks(&mut *d2, BLOCK * stride), Chunks(&mut *slopes, BLOCK * stride));
        let any_close = sum_blocks(cx.par, tasks, both, bool::bitor, |task, (d2, slopes)| {
            let (norms, rows) = (side.points.norms, some(task));
            T::dispatch(cx.isa, TakeClose { norms, rows, stride, d2, slopes })
        });
        let strip = Strip {
            isa: cx.isa,
            side,
            rows: &rows,
            block: self.block,
            stride,
            slopes,
            close: any_close.then_some(&*d2),
            offsets: self.offsets,
        };
        let d = z.cols();
        let own = gradient.part(&rows, d);
        for_blocks(cx.par, tasks, own, |task, (grad, slope_sums)| {
            let out = BlockOut { grad, slope_sums };
            T::dispatch(cx.isa, OwnRows { strip, rows: some(task), out });
        });
        let others = gradient.part(&(0..n), d);
        for_blocks(cx.par, n.div_ceil(BLOCK), others, |task, (grad, slope_sums)| {
            let out = BlockOut { grad, slope_sums };
            let cols = rows_of_block(task, BLOCK, n);
            T::dispatch(cx.isa, OtherRows { strip, cols, out });
        });
        if !extras.is_empty() {
            let grad = &mut gradient.sums;
            T::dispatch(cx.isa, AddExtras { side, extras: &extras, block: BLOCK, grad });
        }
        sums
    }
}

impl<T: Real> Gradient<T> {
    /// The sums and slopes of `rows`, cut into blocks.
    fn part(&mut self, rows: &Range<usize>, d: usize) -> (Chunks<'_, T>, Chunks<'_, T>) {
        let sums = &mut self.sums[rows.start * d..rows.end * d];
        (Chunks(sums, BLOCK * d), Chunks(&mut self.slopes[rows.clone()], BLOCK))
    }
}
