//! Sets of rows made ready for their pairs: in the order of their classes, without their mean, in panels
//! and blocks; and the blocks of two sets against each other, round by round.

#![forbid(unsafe_code)]

use std::ops::{Add, Range};

use super::{MOST_TASKS, task_rows};
use crate::cx::{Cx, Par};
use crate::graph::Similar;
use crate::kernel::all_pairs::{
    BLOCK_OF_SLOPES, Batch, BlockOut, BlockPair, MOST_ROWS, SLOPE_STRIDE, Side,
};
use crate::kernel::all_pairs_planar::PlanarBlockPair;
use crate::kernel::classes::{Class, MeasureClass, NO_CLASS, Rows, Spheres, SumRows};
use crate::kernel::columns::{AT_ONCE, BlockOffsets, CenterRows, FinishGradient};
use crate::kernel::planar::WIDEST;
use crate::kernel::tile::{Points, tile_cols};
use crate::loss::{Kind, Sums};
use crate::mat::{Mat, MatMut};
use crate::par::{Chunks, RowBlocks, for_blocks, sum_blocks};
use crate::real::Real;

/// Memory of a call for one set of rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Set<T> {
    /// Rows by place, and places by row: in a call, rows of a class are neighbours.
    pub order: Vec<u32>,
    pub places: Vec<u32>,
    /// By place, ascending.
    pub classes: Vec<u32>,
    panels: Vec<T>,
    centered: Vec<T>,
    norms: Vec<T>,
}

/// The mean of all rows of some sets that are finite and in some pair.
pub(crate) fn mean<T: Real, const N: usize>(cx: &Cx, sets: [(&Set<T>, Mat<T>); N]) -> Vec<T> {
    let mut mean = vec![T::ZERO; sets[0].1.cols()];
    let mut count = 0;
    for (set, z) in sets {
        let (sum, more) = set.sum(cx, z);
        mean.iter_mut().zip(&sum).for_each(|(mean, &sum)| *mean += sum);
        count += more;
    }
    let share = T::from_f64(1.0 / count.max(1) as f64);
    mean.iter_mut().for_each(|x| *x = *x * share);
    mean
}

/// What a set's gradient is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gradient<T> {
    /// By place, in blocks of panels of columns.
    pub sums: Vec<T>,
    /// By place: what the row itself is multiplied by.
    pub slopes: Vec<T>,
}

impl<T: Real> Set<T> {
    /// Rows in the order in which they are.
    pub(crate) fn keep_order(&mut self, rows: usize) {
        self.order.clear();
        self.order.extend(0..rows as u32);
        self.classes.clear();
    }

    /// Puts the rows in the order of their labels; rows that are left out come last.
    pub(crate) fn order_by_label(&mut self, labels: &[i64], ignored: Option<i64>) {
        self.keep_order(labels.len());
        let label = |row: u32| Some(labels[row as usize]).filter(|&label| Some(label) != ignored);
        self.order.sort_unstable_by_key(|&row| (label(row).is_none(), label(row), row));
    }

    /// Finds for each row its place.
    pub(crate) fn find_places(&mut self) {
        self.places.resize(self.order.len(), 0);
        for (place, &row) in self.order.iter().enumerate() {
            self.places[row as usize] = place as u32;
        }
    }

    pub(crate) fn rows<'a>(&'a self, z: Mat<'a, T>) -> Rows<'a, T> {
        Rows { z, order: &self.order }
    }

    /// The sum of the rows that are finite and in some pair, and how many they are.
    fn sum(&self, cx: &Cx, z: Mat<T>) -> (Vec<T>, u64) {
        let (rows, d) = (self.rows(z), z.cols());
        let n = match self.classes.is_empty() {
            true => z.rows(),
            false => self.classes.partition_point(|&class| class != NO_CLASS),
        };
        let height = task_rows(n, d.saturating_mul(2 * size_of::<T>()));
        let sum = |block: usize, ()| {
            let places = block * height..((block + 1) * height).min(n);
            let mut sum = vec![T::ZERO; d];
            let count = T::dispatch(cx.isa, SumRows { rows, places, sum: &mut sum });
            (sum, count)
        };
        let add = |(mut one, count): (Vec<T>, u64), (other, more): (Vec<T>, u64)| {
            one.iter_mut().zip(&other).for_each(|(one, &other)| *one += other);
            (one, count + more)
        };
        sum_blocks(cx.par, n.div_ceil(height), (), sum, add)
    }

    /// For pairs and their gradients: fills panels and norms and, where a gradient is wanted, rows without
    /// the mean. Rows of few elements, which need no products, are taken as they are. (Any point near
    /// the rows would do as a mean.)
    pub(crate) fn prepare_pairs(&mut self, cx: &Cx, z: Mat<T>, mean: &[T], gradient: bool) {
        let few = z.cols() <= WIDEST;
        self.prepare(cx, z, (!few).then_some(mean), gradient && !few);
    }

    /// For distances by products: fills panels and norms.
    pub(crate) fn prepare_products(&mut self, cx: &Cx, z: Mat<T>, mean: &[T]) {
        self.prepare(cx, z, Some(mean), false);
    }

    fn prepare(&mut self, cx: &Cx, z: Mat<T>, mean: Option<&[T]>, centers: bool) {
        let Set { order, classes, panels, centered, norms, .. } = self;
        let ([n, d], cols) = (z.shape(), tile_cols::<T>(cx.isa));
        let (rows, height) = (Rows { z, order }, block_rows(n));
        resize_to_zero(panels, n.next_multiple_of(cols) * d);
        resize_to_zero(centered, if centers { n * d } else { 0 });
        resize_to_zero(norms, n);
        if d == 0 {
            return;
        }
        let centered_size = if centered.is_empty() { 0 } else { height * d };
        let output = (Chunks(panels, height * d), Chunks(centered, centered_size));
        let output = (output, Chunks(norms, height));
        for_blocks(cx.par, n.div_ceil(height), output, |block, ((panels, centered), norms)| {
            let (panels, centered, norms): (Chunks<T>, Chunks<T>, Chunks<T>) =
                (panels, centered, norms);
            T::dispatch(
                cx.isa,
                CenterRows {
                    rows,
                    places: block * height..((block + 1) * height).min(n),
                    classes,
                    mean,
                    panels: panels.0,
                    centered: centered.0,
                    norms: norms.0,
                    scratch: &mut vec![T::ZERO; AT_ONCE * d],
                },
            );
        });
    }

    pub(crate) fn side<'a>(&'a self, z: Mat<'a, T>) -> Side<'a, T> {
        let rows = self.rows(z);
        let points = Points { rows, panels: &self.panels, norms: &self.norms };
        Side { points, centered: &self.centered }
    }
}

impl<T: Real> Gradient<T> {
    /// 0 everywhere.
    pub(crate) fn clear(&mut self, [n, d]: [usize; 2]) {
        resize_to_zero(&mut self.sums, n * d);
        resize_to_zero(&mut self.slopes, n);
    }

    pub(crate) fn out(&mut self) -> SideOut<'_, T> {
        Some((&mut self.sums, &mut self.slopes))
    }

    /// grad_i = sum_i + slopes_i z_i, z without its mean, each row to its place.
    pub(crate) fn finish(&self, cx: &Cx, set: &mut Set<T>, grad: MatMut<T>) {
        set.find_places();
        let Set { places, centered, .. } = set;
        let [n, d] = grad.shape();
        let height = task_rows(n, d.saturating_mul(3 * size_of::<T>()));
        let grad = RowBlocks(grad, height);
        for_blocks(cx.par, n.div_ceil(height), grad, |block, grad: RowBlocks<T>| {
            let first = block * height;
            T::dispatch(
                cx.isa,
                FinishGradient {
                    places: &places[first..first + grad.0.rows()],
                    block: block_rows(n),
                    count: n,
                    slope_sums: &self.slopes,
                    sums: &self.sums,
                    centered,
                    grad: grad.0,
                },
            );
        });
    }
}

/// Memory of a call for the classes of one set.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClassSet<T> {
    pub centers: Vec<T>,
    pub beyond_first: Vec<T>,
    pub radii: Vec<T>,
    pub pulled: Vec<bool>,
}

impl<T: Real> ClassSet<T> {
    pub(crate) fn clear(&mut self) {
        self.centers.clear();
        self.beyond_first.clear();
        self.radii.clear();
        self.pulled.clear();
    }

    /// A sphere around the mean of each class, and where similar pairs are pulled by a constant what
    /// those of whole classes add up to. Not where classes are so many that it takes much memory.
    pub(crate) fn measure(
        &mut self,
        cx: &Cx,
        rows: Rows<T>,
        classes: &[u32],
        count: usize,
        pull: Option<T>,
    ) -> Sums {
        /// Rows of a class, on average.
        const LEAST_ROWS: usize = 16;
        type Both<'a, A, B> = (Chunks<'a, A>, Chunks<'a, B>);
        let d = rows.z.cols();
        self.clear();
        if count * LEAST_ROWS > classes.len() || d == 0 {
            return Sums::default();
        }
        resize_to_zero(&mut self.centers, count * d);
        resize_to_zero(&mut self.beyond_first, count * d);
        resize_to_zero(&mut self.radii, count);
        self.pulled.resize(count, false);
        let ClassSet { centers, beyond_first, radii, pulled } = self;
        let at_once = count.div_ceil(MOST_TASKS).max(1);
        let means = (Chunks(centers, at_once * d), Chunks(beyond_first, at_once * d));
        let known = (Chunks(radii, at_once), Chunks(pulled, at_once));
        let blocks = count.div_ceil(at_once);
        let measure = |block: usize, (means, known): (Both<T, T>, Both<T, bool>)| {
            let (mut part, mut scratch) = (vec![T::ZERO; d], Vec::new());
            let mut sums = Sums::default();
            let means = means.0.0.chunks_exact_mut(d).zip(means.1.0.chunks_exact_mut(d));
            let known = known.0.0.iter_mut().zip(known.1.0);
            for (class, ((center, beyond_first), (radius, pulled))) in
                (block * at_once..).zip(means.zip(known))
            {
                let places = places_of(classes, class);
                if places.is_empty() {
                    continue;
                }
                let kernel = MeasureClass {
                    rows,
                    places,
                    center,
                    beyond_first,
                    part: &mut part,
                    pull,
                    radii: &mut scratch,
                };
                let Class { radius: found, pulled: kind } = T::dispatch(cx.isa, kernel);
                *radius = found;
                *pulled = kind.is_some();
                let similar = kind.unwrap_or_default();
                sums = sums + Sums { similar, dissimilar: Kind::default() };
            }
            sums
        };
        sum_blocks(cx.par, blocks, (means, known), measure, Sums::add)
    }

    /// None where classes have not been measured.
    pub(crate) fn spheres(&self, d: usize) -> Option<Spheres<'_, T>> {
        let centers =
            Mat::new(&self.centers, self.radii.len(), d).expect("a center for each radius");
        (!self.radii.is_empty()).then_some(Spheres { centers, radii: &self.radii })
    }
}

/// The places of a class.
pub(crate) fn places_of(classes: &[u32], class: usize) -> Range<usize> {
    let before = |class: usize| classes.partition_point(|&other| (other as usize) < class);
    before(class)..before(class + 1)
}

/// Numbers the classes of rows in the order of their labels, the same on all sides, from 0; rows that are
/// left out are of [`NO_CLASS`]. Returns how many there are.
pub(crate) fn number_classes<T: Real, const N: usize>(
    sets: [&mut Set<T>; N],
    labels: [&[i64]; N],
    ignored: Option<i64>,
) -> usize {
    let mut last = None;
    let mut count = 0;
    let mut sets = sets.map(|set| (set, 0));
    loop {
        let label = |side: usize, set: &Set<T>, at: usize| {
            let label = labels[side][*set.order.get(at)? as usize];
            (Some(label) != ignored).then_some(label)
        };
        let heads = sets.iter().enumerate().filter_map(|(side, (set, at))| label(side, set, *at));
        let Some(next) = heads.min() else { break };
        debug_assert!(last.is_none_or(|last| last < next), "labels ascend");
        last = Some(next);
        for (side, (set, at)) in sets.iter_mut().enumerate() {
            while label(side, set, *at) == Some(next) {
                set.classes.push(count);
                *at += 1;
            }
        }
        count += 1;
    }
    for (set, _) in sets {
        set.classes.resize(set.order.len(), NO_CLASS);
    }
    count as usize
}

/// The labels of a similar set, and the one that is no class; none of a graph.
pub(crate) fn labels_of<'s>(similar: &Similar<'s>) -> Option<(&'s [i64], Option<i64>)> {
    match *similar {
        Similar::Labels(labels) => Some((labels, None)),
        Similar::LabelsIgnoring { labels, ignored } => Some((labels, Some(ignored))),
        Similar::Graph(_) => None,
    }
}

/// What a side gets: gradients in blocks, and sums of slopes.
pub(crate) type SideOut<'a, T> = Option<(&'a mut [T], &'a mut [T])>;

/// Each pair of blocks once, in rounds whose tasks touch disjoint rows. Rounds come one after another, so
/// the order of addition does not depend on threads.
///
/// Where pairs are `among` the rows of one set, the first side's output is that of both.
pub(crate) fn run_blocks<T: Real>(
    cx: &Cx,
    batch: &Batch<T>,
    among: bool,
    mut out: [SideOut<T>; 2],
    slopes: &mut Vec<T>,
) -> Sums {
    let d = batch.sides[0].points.rows.z.cols();
    let counts = batch.sides.map(|side| side.points.rows.order.len());
    let heights = counts.map(block_rows);
    let blocks = [0, 1].map(|side| counts[side].div_ceil(heights[side]));
    let rows = |side: usize, block: usize| {
        block * heights[side]..((block + 1) * heights[side]).min(counts[side])
    };
    let gradient = out.iter().any(Option::is_some);
    if gradient && d > WIDEST {
        let at_once = if among { blocks[0].div_ceil(2) } else { blocks[0].min(blocks[1]) };
        slopes.resize(slopes.len().max(at_once * BLOCK_OF_SLOPES), T::ZERO);
    }
    let run = |_: usize, task: Chunks<Option<BlockPair<T>>>| match task.0 {
        [task] => task.take().map_or(Sums::default(), run),
        _ => unreachable!("one pair of blocks a task"),
    };
    let mut sums = Sums::default();
    for pairs in rounds(among, blocks) {
        let [of_i, of_j] = &mut out;
        let mut parts = [parts(of_i, heights[0], d), parts(of_j, heights[1], d)];
        let mut slopes = slopes.chunks_mut(BLOCK_OF_SLOPES);
        let task = |(i, j): (usize, usize)| {
            let mut take = |side: usize, block: usize| {
                parts[side].get_mut(block).and_then(Option::<BlockOut<T>>::take)
            };
            let out = match among {
                true => [take(0, i), take(0, j)],
                false => [take(0, i), take(1, j)],
            };
            let slopes = if gradient { slopes.next().unwrap_or_default() } else { &mut [] };
            let among = among && i == j;
            let (i, j) = (rows(0, i), rows(1, j));
            Some(BlockPair { batch, i, j, among, out, slopes })
        };
        let mut tasks: Vec<Option<BlockPair<T>>> = pairs.into_iter().map(task).collect();
        let count = tasks.len();
        sums = sums + sum_blocks(cx.par, count, Chunks(&mut tasks, 1), run, Sums::add);
    }
    sums
}

/// What each block of a side gets.
fn parts<'a, T>(
    out: &'a mut SideOut<'_, T>,
    height: usize,
    d: usize,
) -> Vec<Option<BlockOut<'a, T>>> {
    let Some((grad, slope_sums)) = out else { return Vec::new() };
    let grads = grad.chunks_mut(height * d).zip(slope_sums.chunks_mut(height));
    grads.map(|(grad, slope_sums)| Some(BlockOut { grad, slope_sums })).collect()
}

/// Where the operands of a batch's products lie.
pub(crate) fn offsets<T>(cx: &Cx, d: usize) -> BlockOffsets {
    BlockOffsets::new::<T>(cx.isa, MOST_ROWS, SLOPE_STRIDE, d)
}

/// Picks the kernel of two blocks. (Compiled where it is called, unlike the kernels of rows and lists:
/// inside the crate it would add eight seconds to a clean build.)
fn run<T: Real>(pair: BlockPair<T>) -> Sums {
    let Batch { isa, sides, .. } = pair.batch;
    match sides[0].points.rows.z.cols() {
        1 => T::dispatch(*isa, PlanarBlockPair::<T, 1>(pair)),
        2 => T::dispatch(*isa, PlanarBlockPair::<T, 2>(pair)),
        WIDEST => T::dispatch(*isa, PlanarBlockPair::<T, WIDEST>(pair)),
        _ => T::dispatch(*isa, pair),
    }
}

/// Whether so many pairs are so little work that the calling thread does it sooner alone.
pub(crate) fn small(cx: &Cx, pairs: usize, d: usize) -> Cx {
    const LEAST_WORK: usize = 1 << 21;
    let small = pairs.saturating_mul(d.max(8)) < LEAST_WORK;
    Cx { par: if small { Par::Serial } else { cx.par }, ..*cx }
}

pub(crate) fn resize_to_zero<T: Real>(buffer: &mut Vec<T>, len: usize) {
    buffer.clear();
    buffer.reserve_exact(len);
    buffer.resize(len, T::ZERO);
}

/// Rows of a block: a function of the batch alone, since it decides the order of addition. Eight
/// blocks or more where the batch allows, so that rounds have work for several threads.
pub(crate) fn block_rows(rows: usize) -> usize {
    rows.div_ceil(8).max(1).next_multiple_of(32).min(MOST_ROWS)
}

/// Each pair of blocks once: of one set with each other and themselves, or of one set with another. In a
/// round no block is met twice.
pub(crate) fn rounds(among: bool, blocks: [usize; 2]) -> impl Iterator<Item = Vec<(usize, usize)>> {
    // Among the blocks of one set, two rounds pair them with themselves, half of them each; the others
    // are those of a tournament.
    let count = if among { blocks[0].next_multiple_of(2) + 1 } else { blocks[0].max(blocks[1]) };
    (0..count).map(move |round| match among {
        true => matches(round, blocks[0]).collect(),
        false => meetings(round, blocks).collect(),
    })
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

/// The pairs of a round between two teams: each of the smaller one meets one of the larger.
fn meetings(round: usize, [i, j]: [usize; 2]) -> impl Iterator<Item = (usize, usize)> {
    let pair = move |k: usize| match i <= j {
        true => (k, (k + round) % j),
        false => ((k + round) % i, k),
    };
    (0..i.min(j)).map(pair)
}
