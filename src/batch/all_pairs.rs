//! Loss and gradient of every pair of a batch, in memory proportional to the batch.

#![forbid(unsafe_code)]

use std::ops::Add;

use super::{MOST_TASKS, task_rows};
use crate::cx::{Cx, Par};
use crate::error::{Result, check_len, check_shape};
use crate::graph::{Similar, check_samples};
use crate::kernel::all_pairs::{
    BLOCK_OF_SLOPES, Batch, BlockOffsets, BlockOut, BlockPair, Kinds, MOST_ROWS, tile_cols,
};
use crate::kernel::all_pairs_planar::PlanarBlockPair;
use crate::kernel::classes::{CenterRows, NO_CLASS, Radius, Rows, Spheres, SumRows};
use crate::kernel::planar::WIDEST;
use crate::loss::{Kind, Objective, Outcome, Reduction, Sums};
use crate::mat::{Mat, MatMut};
use crate::par::{Chunks, RowBlocks, for_blocks, sum_blocks};
use crate::real::Real;
use crate::simd::Kernel;

/// Memory that [`all_pairs`] uses on the way: it grows to what the largest batch needs and is then used
/// again. That is 3 B D elements, up to an eighth of them more for the centres of classes, some 24 bytes
/// a row, and a block of 128 x 128 slopes for each task of a round: 256 bytes a row in `f32`, 512 in
/// `f64`, for batches of 1024 rows and more (four blocks at most for smaller ones).
#[derive(Clone, Debug, Default)]
pub struct AllPairsScratch<T> {
    /// Rows by place, and places by row: in a call, rows of a class are neighbours.
    order: Vec<u32>,
    places: Vec<u32>,
    /// By place.
    classes: Vec<u32>,
    panels: Vec<T>,
    centered: Vec<T>,
    norms: Vec<T>,
    /// By class.
    centers: Vec<T>,
    radii: Vec<T>,
    slope_sums: Vec<T>,
    slopes: Vec<T>,
    grad: Vec<T>,
}

impl<T: Real> AllPairsScratch<T> {
    /// Empty.
    pub fn new() -> Self {
        AllPairsScratch::default()
    }
}

/// Loss and gradient of all B (B - 1) / 2 pairs of the rows of `z`, B x D, each once.
///
/// `similar` says which pairs are similar, by labels or by a graph; all others are dissimilar. With
/// slopes and factors as for [`rows`](super::rows()):
///
/// ```text
/// value = reduction of l_ij over i < j         grad_i = sum over j of f_ij slope_ij (z_i - z_j)
/// ```
///
/// Nothing of size B x B exists at any time. Distances are formed by subtraction, so close pairs keep
/// their relative precision. The gradient comes from products of rows and slopes, whose rounding is
/// relative to the rows' distances r from the batch's mean: a pair at distance d gets its part to
/// within some eps r/d. Pairs closer than about r/1000 are added by their differences instead, and lose
/// nothing.
///
/// A pair whose slope is 0 contributes nothing to the gradient, also where a row is infinite (by rows
/// and lists, 0 times infinity is the NaN that it is in IEEE arithmetic). What lies beyond the
/// [`reach`](crate::loss::PairLoss::reach) of the loss may be skipped, which changes no bit.
///
/// `grad` is B x D and overwritten, where it is given. Refused where a shape does not match or B
/// does not fit in a `u32`; nothing has been written then.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::batch::{AllPairsScratch, all_pairs};
/// use drlim::loss::{Contrastive, Objective};
/// use drlim::{Cx, Mat, MatMut, Similar};
///
/// let z = [0.0_f32, 0.0, /**/ 3.0, 4.0, /**/ 0.3, 0.4];
/// let labels = [7, 7, 3];
/// let loss = Contrastive::new(1.0)?;
/// let mut grad = [0.0; 6];
/// let outcome = all_pairs(
///     &Cx::default(),
///     &Objective::sum(&loss),
///     Mat::new(&z, 3, 2)?,
///     Similar::Labels(&labels),
///     Some(MatMut::new(&mut grad, 3, 2)?),
///     &mut AllPairsScratch::new(),
/// )?;
/// assert!((outcome.value - 12.625).abs() < 1e-6); // 5²/2 and (1 - 0.5)²/2; the third is far apart
/// assert_eq!((outcome.pairs, outcome.similar), (3, 1));
/// # Ok(()) }
/// ```
pub fn all_pairs<T: Real>(
    cx: &Cx,
    objective: &Objective<T>,
    z: Mat<T>,
    similar: Similar,
    grad: Option<MatMut<T>>,
    scratch: &mut AllPairsScratch<T>,
) -> Result<Outcome> {
    check_samples(z.rows())?;
    check_len("all_pairs", "similar", similar.samples(), z.rows(), "the rows of z")?;
    if let Some(grad) = &grad {
        check_shape("all_pairs", "grad", grad.shape(), z.shape(), "as z")?;
    }
    let grad = grad.filter(|_| z.cols() > 0); // rows without elements have none
    let cx = &Cx { par: if is_small(z) { Par::Serial } else { cx.par }, ..*cx };
    order_rows(similar, scratch);
    let rows = Rows { z, order: &scratch.order };
    pack_panels(cx, rows, &mut scratch.panels);
    let reach = objective.loss.reach_block().filter(|_| !matches!(similar, Similar::Graph(_)));
    let call = Call { cx, objective, z, similar, reach };
    if reach.is_some() {
        call.find_spheres(scratch);
    }
    let reduction = objective.reduction;
    let Some(grad) = grad else {
        return Ok(Outcome::new(reduction, call.run([T::ONE; 2], false, scratch)));
    };
    let counted = match reduction {
        Reduction::Sum | Reduction::Factors { .. } => Sums::default(),
        Reduction::Mean | Reduction::Balanced => count(similar, &scratch.classes),
        Reduction::MeanNonZero | Reduction::BalancedNonZero => {
            call.run([T::ONE; 2], false, scratch)
        }
    };
    call.center(scratch);
    let sums = call.run(objective.factors(&counted), true, scratch);
    call.write(scratch, grad);
    Ok(Outcome::new(reduction, sums))
}

/// Whether all pairs are so little work that the calling thread does it sooner alone.
fn is_small<T>(z: Mat<T>) -> bool {
    const LEAST_WORK: usize = 1 << 21;
    let pairs = z.rows().saturating_mul(z.rows());
    pairs.saturating_mul(z.cols().max(8)) < LEAST_WORK
}

/// A call whose arguments have been checked.
struct Call<'c, 'o, T> {
    cx: &'c Cx,
    objective: &'c Objective<'o, T>,
    z: Mat<'c, T>,
    similar: Similar<'c>,
    /// Of the loss, where rows are known by classes.
    reach: Option<T>,
}

impl<T: Real> Call<'_, '_, T> {
    /// Each pair of blocks once, in rounds whose tasks touch disjoint rows: a round-robin tournament.
    /// Rounds come one after another, so the order of addition does not depend on threads.
    ///
    /// With `gradient`, leaves in the scratch the sums that [`write`](Call::write) completes.
    fn run(&self, factors: [T; 2], gradient: bool, scratch: &mut AllPairsScratch<T>) -> Sums {
        let [n, d] = self.z.shape();
        let height = block_rows(n);
        let blocks = n.div_ceil(height);
        let rows = |block: usize| block * height..((block + 1) * height).min(n);
        if gradient {
            resize_to_zero(&mut scratch.grad, n * d);
            resize_to_zero(&mut scratch.slope_sums, n);
            let len = if d > WIDEST { blocks.div_ceil(2) * BLOCK_OF_SLOPES } else { 0 };
            scratch.slopes.resize(scratch.slopes.len().max(len), T::ZERO);
        }
        let AllPairsScratch {
            order,
            classes,
            panels,
            centered,
            norms,
            centers,
            radii,
            slope_sums,
            slopes,
            grad,
            ..
        } = scratch;
        // A factor that is not finite makes something of a slope of 0.
        let skips = !radii.is_empty() && factors[1].is_finite();
        let spheres = self.reach.filter(|_| skips).map(|reach| {
            let centers = Mat::new(centers, radii.len(), d).expect("a center for each radius");
            Spheres { centers, radii, reach }
        });
        let batch = Batch {
            isa: self.cx.isa,
            loss: self.objective.loss,
            rows: Rows { z: self.z, order },
            spheres,
            kinds: match self.similar {
                Similar::Graph(graph) => Kinds::Graph(graph),
                _ => Kinds::Classes(classes),
            },
            factors,
            panels,
            centered,
            norms,
            offsets: &BlockOffsets::new(n, d),
        };
        let run = |_: usize, task: Chunks<Option<BlockPair<T>>>| match task.0 {
            [task] => task.take().map_or(Sums::default(), run),
            _ => unreachable!("one pair of blocks a task"),
        };
        let mut sums = Sums::default();
        for round in 0..rounds(blocks) {
            let mut parts: Vec<Option<BlockOut<T>>> = match gradient {
                false => (0..blocks).map(|_| None).collect(),
                true => (grad.chunks_mut(height * d).zip(slope_sums.chunks_mut(height)))
                    .map(|(grad, slope_sums)| Some(BlockOut { grad, slope_sums }))
                    .collect(),
            };
            let mut slopes = slopes.chunks_mut(BLOCK_OF_SLOPES);
            let mut tasks: Vec<Option<BlockPair<T>>> = matches(round, blocks)
                .map(|(i, j)| {
                    let out = parts[i].take().map(|out_i| (out_i, parts[j].take()));
                    let slopes = out.as_ref().and_then(|_| slopes.next()).unwrap_or_default();
                    Some(BlockPair { batch: &batch, i: rows(i), j: rows(j), out, slopes })
                })
                .collect();
            let count = tasks.len();
            sums = sums + sum_blocks(self.cx.par, count, Chunks(&mut tasks, 1), run, Sums::add);
        }
        sums
    }

    /// The rows without their mean: see [`Batch::centered`]. (Any point near the rows would do.)
    fn center(&self, scratch: &mut AllPairsScratch<T>) {
        let [n, d] = self.z.shape();
        if d <= WIDEST {
            return;
        }
        let AllPairsScratch { order, classes, centered, norms, .. } = scratch;
        let rows = Rows { z: self.z, order };
        let height = task_rows(n, d.saturating_mul(2 * size_of::<T>()));
        let places = |block: usize| block * height..((block + 1) * height).min(n);
        let blocks = n.div_ceil(height);
        let sum = |block: usize, ()| {
            let mut sum = vec![T::ZERO; d];
            let count = self.dispatch(SumRows { rows, places: places(block), sum: &mut sum });
            (sum, count)
        };
        let add = |(mut one, count): (Vec<T>, u64), (other, more): (Vec<T>, u64)| {
            one.iter_mut().zip(&other).for_each(|(one, &other)| *one += other);
            (one, count + more)
        };
        let (mut mean, count) = sum_blocks(self.cx.par, blocks, (), sum, add);
        divide(&mut mean, count);
        resize_to_zero(centered, n * d);
        resize_to_zero(norms, n);
        let output = (Chunks(centered, height * d), Chunks(norms, height));
        for_blocks(self.cx.par, blocks, output, |block, (centered, norms)| {
            let (centered, norms): (Chunks<T>, Chunks<T>) = (centered, norms);
            self.dispatch(CenterRows {
                rows,
                first: block * height,
                classes,
                mean: &mean,
                centered: centered.0,
                norms: norms.0,
            });
        });
    }

    /// A sphere around the mean of each class, where classes are few enough to be worth it.
    fn find_spheres(&self, scratch: &mut AllPairsScratch<T>) {
        const LEAST_ROWS: usize = 8;
        let AllPairsScratch { order, classes, centers, radii, .. } = scratch;
        let (rows, d) = (Rows { z: self.z, order }, self.z.cols());
        let known = classes.partition_point(|&class| class != NO_CLASS);
        let count = known.checked_sub(1).map_or(0, |last| classes[last] as usize + 1);
        resize_to_zero(radii, if count * LEAST_ROWS <= known { count } else { 0 });
        resize_to_zero(centers, radii.len() * d);
        let start = |class: usize| classes.partition_point(|&other| (other as usize) < class);
        let at_once = radii.len().div_ceil(MOST_TASKS).max(1);
        let blocks = radii.len().div_ceil(at_once);
        let output = (Chunks(radii, at_once), Chunks(centers, at_once * d));
        for_blocks(self.cx.par, blocks, output, |block, (radii, centers)| {
            let (radii, centers): (Chunks<T>, Chunks<T>) = (radii, centers);
            let spheres = radii.0.iter_mut().zip(centers.0.chunks_exact_mut(d.max(1)));
            for (class, (radius, center)) in (block * at_once..).zip(spheres) {
                let places = start(class)..start(class + 1);
                let sum = SumRows { rows, places: places.clone(), sum: &mut *center };
                let count = self.dispatch(sum);
                divide(center, count);
                *radius = self.dispatch(Radius { rows, places, center });
            }
        });
    }

    fn dispatch<K: Kernel<T>>(&self, kernel: K) -> K::Output {
        T::dispatch(self.cx.isa, kernel)
    }

    /// grad_i = (C 1)_i z_i - (C Z)_i, each row to its place.
    fn write(&self, scratch: &mut AllPairsScratch<T>, grad: MatMut<T>) {
        let AllPairsScratch { order, places, centered, slope_sums, grad: sums, .. } = scratch;
        let [n, d] = self.z.shape();
        places.resize(n, 0);
        for (place, &row) in order.iter().enumerate() {
            places[row as usize] = place as u32;
        }
        let height = task_rows(n, d.saturating_mul(3 * size_of::<T>()));
        let grad = RowBlocks(grad, height);
        for_blocks(self.cx.par, n.div_ceil(height), grad, |block, mut grad: RowBlocks<T>| {
            for i in 0..grad.0.rows() {
                let place = places[block * height + i] as usize;
                let of = place * d..(place + 1) * d;
                let (to, sums) = (grad.0.row_mut(i), &sums[of.clone()]);
                if d <= WIDEST {
                    to.copy_from_slice(sums);
                    continue;
                }
                let slopes = slope_sums[place];
                for ((to, &sum), &own) in to.iter_mut().zip(sums).zip(&centered[of]) {
                    *to = sum + slopes * own;
                }
            }
        });
    }
}

/// Picks the kernel of two blocks. (Compiled where it is called, unlike the kernels of rows and lists:
/// inside the crate it would add eight seconds to a clean build.)
fn run<T: Real>(pair: BlockPair<T>) -> Sums {
    let Batch { isa, rows, .. } = *pair.batch;
    match rows.z.cols() {
        1 => T::dispatch(isa, PlanarBlockPair::<T, 1>(pair)),
        2 => T::dispatch(isa, PlanarBlockPair::<T, 2>(pair)),
        WIDEST => T::dispatch(isa, PlanarBlockPair::<T, WIDEST>(pair)),
        _ => T::dispatch(isa, pair),
    }
}

fn resize_to_zero<T: Real>(buffer: &mut Vec<T>, len: usize) {
    buffer.clear();
    buffer.reserve_exact(len);
    buffer.resize(len, T::ZERO);
}

/// From a sum of rows to their mean.
fn divide<T: Real>(sum: &mut [T], count: u64) {
    let share = T::from_f64(1.0 / count.max(1) as f64);
    sum.iter_mut().for_each(|x| *x = *x * share);
}

/// Rows of a block: a function of the batch alone, since it decides the order of addition. Eight
/// blocks or more where the batch allows, so that rounds have work for several threads.
fn block_rows(rows: usize) -> usize {
    rows.div_ceil(8).max(1).next_multiple_of(32).min(MOST_ROWS)
}

/// Two rounds pair blocks with themselves, half of them each; the others are those of a tournament.
fn rounds(blocks: usize) -> usize {
    blocks.next_multiple_of(2) + 1
}

/// The pairs of a round. An odd number of players gets one who does not play.
fn matches(round: usize, blocks: usize) -> impl Iterator<Item = (usize, usize)> {
    let half = blocks.div_ceil(2);
    let circle = (2 * half).max(2) - 1;
    let pair = move |k: usize| match (round, k) {
        (0, _) => (k, k),
        (1, _) => (half + k, half + k),
        (_, 0) => (round - 2, circle),
        _ => ((round - 2 + k) % circle, (round - 2 + circle - k) % circle),
    };
    (0..half).map(pair).map(|(i, j)| (i.min(j), i.max(j))).filter(move |&(_, j)| j < blocks)
}

/// Puts the rows in the order of their labels and numbers the classes in that order; rows that are left
/// out come last, as [`NO_CLASS`]. Samples of a graph keep their order.
fn order_rows<T>(similar: Similar, scratch: &mut AllPairsScratch<T>) {
    let AllPairsScratch { order, classes, .. } = scratch;
    order.clear();
    order.extend(0..similar.samples() as u32);
    classes.clear();
    let (labels, ignored) = match similar {
        Similar::Labels(labels) => (labels, None),
        Similar::LabelsIgnoring { labels, ignored } => (labels, Some(ignored)),
        Similar::Graph(_) => return,
    };
    let label = |row: u32| Some(labels[row as usize]).filter(|&label| Some(label) != ignored);
    order.sort_unstable_by_key(|&row| (label(row).is_none(), label(row), row));
    let mut class = 0;
    for (place, &row) in order.iter().enumerate() {
        let Some(label) = label(row) else {
            classes.push(NO_CLASS);
            continue;
        };
        let new = place > 0 && labels[order[place - 1] as usize] != label;
        class += u32::from(new);
        classes.push(class);
    }
}

/// How many pairs there are of each kind.
fn count(similar: Similar, classes: &[u32]) -> Sums {
    let pairs = |n: u64| n * n.saturating_sub(1) / 2;
    let (all, alike) = match similar {
        Similar::Graph(graph) => (graph.samples() as u64, graph.edges() as u64),
        _ => {
            let known = || classes.iter().filter(|&&class| class != NO_CLASS);
            let mut sizes = vec![0_u64; known().max().map_or(0, |&class| class as usize + 1)];
            known().for_each(|&class| sizes[class as usize] += 1);
            (sizes.iter().sum(), sizes.iter().map(|&size| pairs(size)).sum())
        }
    };
    let of = |pairs| Kind { pairs, ..Kind::default() };
    Sums { similar: of(alike), dissimilar: of(pairs(all) - alike) }
}

/// The rows in panels of a tile's columns, the last one filled up with zeros.
fn pack_panels<T: Real>(cx: &Cx, rows: Rows<T>, panels: &mut Vec<T>) {
    let (n, depth, cols) = (rows.order.len(), rows.z.cols(), tile_cols::<T>(cx.isa));
    let size = cols * depth;
    resize_to_zero(panels, n.div_ceil(cols) * size);
    let at_once = task_rows(n, depth.saturating_mul(2 * size_of::<T>())).div_ceil(cols);
    let blocks = n.div_ceil(at_once * cols);
    for_blocks(cx.par, blocks, Chunks(panels, at_once * size), |block, panels: Chunks<T>| {
        let first = block * at_once * cols;
        for place in first..n.min(first + at_once * cols) {
            let panel = &mut panels.0[(place - first) / cols * size..][..size];
            let c = (place - first) % cols;
            for (k, &x) in rows.row(place).iter().enumerate() {
                panel[k * cols + c] = x;
            }
        }
    });
}
