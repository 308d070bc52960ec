//! Sets of rows, packed for the kernels on their pairs: sorted by class, without their mean, in panels and
//! blocks.

#![forbid(unsafe_code)]

use crate::batch::blocking::{block_rows, task_rows};
use crate::kernel::blocking::tile_cols;
use crate::kernel::pairwise::center::{LargestNorm, NearestToMean, SumRows};
use crate::kernel::pairwise::gradient::Operand;
use crate::kernel::pairwise::pack::{AT_ONCE, CenterRows, NO_CLASS, Rows};
use crate::kernel::pairwise::tile::TileOperand;
use crate::kernel::rows::planar::WIDEST;
use crate::memory::aligned::Aligned;
use crate::memory::mat::Mat;
use crate::parallel::cx::Cx;
use crate::parallel::split::{Chunks, for_blocks, rows_of_block, sum_blocks};
use crate::simd::real::Real;
use crate::similar::graph::Similar;

/// One set of rows, packed.
#[derive(Clone, Debug, Default)]
pub(crate) struct PackedRows<T> {
    /// The row at each place, and the place of each row. Rows of a class are at neighbouring places.
    pub order: Vec<u32>,
    pub places: Vec<u32>,
    /// The class at each place, ascending; empty where there are no classes.
    pub classes: Vec<u32>,
    panels: Aligned<T>,
    pub(super) centered: Aligned<T>,
    norms: Aligned<T>,
    /// Rows of a block of `centered`.
    pub(crate) block: usize,
}

/// Lets [`center`] look at every row. Its coordinates are then at most twice as far from a row's as those of
/// the mean are, so the rounding of gradients is bounded by the rows' distances from their mean.
pub(crate) const ALL_ROWS: usize = usize::MAX;

/// Lets [`center`] look at this many rows only: enough where no gradient is made of the rows' distances from
/// it.
pub(crate) const SOME_ROWS: usize = 64;

/// A point near the mean of those rows of `sets` that are finite and in some pair. Each coordinate is a
/// number of its column, the one nearest to the mean among `looked_at` rows. So rows of integers, of levels
/// or of signs remain such when the point is subtracted, and their products are exact; from rows that lie
/// close together it is subtracted without rounding.
pub(crate) fn center<T: Real, const N: usize>(
    cx: &Cx,
    sets: [(&PackedRows<T>, Mat<T>); N],
    looked_at: usize,
) -> Vec<T> {
    let d = sets[0].1.cols();
    // Sums are of z_i - z_0: sums of z_i lose what rows far from the origin differ by.
    let mut all =
        sets.iter().flat_map(|(set, z)| (0..set.known()).map(|place| set.rows(*z).row(place)));
    let Some(point) = all.find(|row| row.iter().all(|x| x.is_finite())) else {
        return vec![T::ZERO; d];
    };
    let mut mean = vec![T::ZERO; d];
    let mut count = 0;
    for (set, z) in sets {
        let (sum, more) = set.sum(cx, z, point);
        mean.iter_mut().zip(&sum).for_each(|(mean, &sum)| *mean += sum);
        count += more;
    }
    let share = T::from_f64(1.0 / count.max(1) as f64);
    mean.iter_mut().zip(point).for_each(|(x, &point)| *x = point + *x * share);
    let known = sets.iter().map(|(set, _)| set.known()).sum::<usize>();
    let step = known.div_ceil(looked_at).max(1);
    let nearest = |nearest: Vec<T>, (set, z): (&PackedRows<T>, Mat<T>)| {
        nearer(&mean, nearest, &set.nearest_to_mean(cx, z, &mean, point, step))
    };
    sets.into_iter().fold(point.to_vec(), nearest)
}

/// In each column the number of `one` and `other` that is nearer to the mean; that of `one` where both are as
/// near.
pub(crate) fn nearer<T: Real>(mean: &[T], mut one: Vec<T>, other: &[T]) -> Vec<T> {
    for ((one, &other), &mean) in one.iter_mut().zip(other).zip(mean) {
        if (other - mean).abs() < (*one - mean).abs() {
            *one = other;
        }
    }
    one
}

impl<T: Real> PackedRows<T> {
    /// Keeps the rows in the caller's order, without classes.
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

    /// Puts the rows in the order of their labels; with a graph, keeps their order. Returns the number of
    /// classes, 0 with a graph.
    pub(crate) fn order_of(&mut self, similar: &Similar) -> usize {
        let (labels, ignored) = match *similar {
            Similar::Labels(labels) => (labels, None),
            Similar::LabelsIgnoring { labels, ignored } => (labels, Some(ignored)),
            Similar::Graph(graph) => {
                self.keep_order(graph.samples());
                return 0;
            }
        };
        self.order_by_label(labels, ignored);
        number_classes([self], [labels], ignored)
    }

    /// Fills `places`, the place of each row.
    pub(crate) fn find_places(&mut self) {
        self.places.resize(self.order.len(), 0);
        for (place, &row) in self.order.iter().enumerate() {
            self.places[row as usize] = place as u32;
        }
    }

    pub(crate) fn rows<'a>(&'a self, z: Mat<'a, T>) -> Rows<'a, T> {
        Rows { z, order: &self.order }
    }

    /// The number of rows that are in some pair: all of them, where there are no classes.
    fn known(&self) -> usize {
        match self.classes.is_empty() {
            true => self.order.len(),
            false => self.classes.partition_point(|&class| class != NO_CLASS),
        }
    }

    /// The sum of z_i - point, D elements, over the rows that are finite and in some pair, and the number of
    /// these rows.
    fn sum(&self, cx: &Cx, z: Mat<T>, point: &[T]) -> (Vec<T>, u64) {
        let (rows, d, n) = (self.rows(z), z.cols(), self.known());
        let height = task_rows(n, d.saturating_mul(2 * size_of::<T>()));
        let add = |(mut one, count): (Vec<T>, u64), (other, more): (Vec<T>, u64)| {
            one.iter_mut().zip(&other).for_each(|(one, &other)| *one += other);
            (one, count + more)
        };
        sum_blocks(cx.par, n.div_ceil(height), (), add, |block, ()| {
            let places = rows_of_block(block, height, n);
            let mut sum = vec![T::ZERO; d];
            let count = T::dispatch(cx.isa, SumRows { rows, places, point, sum: &mut sum });
            (sum, count)
        })
    }

    /// In each column the number nearest to the mean, among those of `point` and of every `step`-th row.
    fn nearest_to_mean(&self, cx: &Cx, z: Mat<T>, mean: &[T], point: &[T], step: usize) -> Vec<T> {
        let (rows, n) = (self.rows(z), self.known());
        let height = task_rows(n, z.cols().saturating_mul(2 * size_of::<T>()));
        let height = height.next_multiple_of(step);
        let both = |one: Vec<T>, other: Vec<T>| nearer(mean, one, &other);
        sum_blocks(cx.par, n.div_ceil(height), (), both, |block, ()| {
            let places = rows_of_block(block, height, n);
            let mut nearest = point.to_vec();
            let kernel = NearestToMean { rows, places, step, mean, nearest: &mut nearest };
            T::dispatch(cx.isa, kernel);
            nearest
        })
    }

    /// Packs for pairs and their gradients: fills panels and norms and, where a gradient is wanted, rows
    /// without the mean. Rows of few elements, which need no products, are taken as they are. (Any point near
    /// the rows would do as a mean.)
    pub(crate) fn prepare_pairs(&mut self, cx: &Cx, z: Mat<T>, mean: &[T], gradient: bool) {
        self.prepare_pairs_in(cx, z, mean, gradient, block_rows(z.rows()));
    }

    /// [`prepare_pairs`](PackedRows::prepare_pairs), with rows without the mean in blocks of so many.
    pub(crate) fn prepare_pairs_in(
        &mut self,
        cx: &Cx,
        z: Mat<T>,
        mean: &[T],
        gradient: bool,
        block: usize,
    ) {
        let few = z.cols() <= WIDEST;
        self.block = block;
        self.prepare(cx, z, (!few).then_some(mean), gradient && !few);
    }

    /// Packs for dot products and their gradients, in blocks of so many rows: rows are taken as they are, and
    /// norms are 0, so that tiles give -2 q·k.
    pub(crate) fn prepare_products(&mut self, cx: &Cx, z: Mat<T>, gradient: bool, block: usize) {
        self.block = block;
        self.prepare(cx, z, None, gradient);
    }

    /// Packs for distances by products: fills panels and norms.
    pub(crate) fn prepare_distances(&mut self, cx: &Cx, z: Mat<T>, mean: &[T]) {
        self.block = block_rows(z.rows());
        self.prepare(cx, z, Some(mean), false);
    }

    /// Packs for distances by differences: fills panels with rows as they are. Where a mean is given, fills
    /// norms and rows without the mean, too, for gradients by products, in blocks of `block` rows, a multiple
    /// of 32.
    pub(crate) fn prepare_differences(
        &mut self,
        cx: &Cx,
        z: Mat<T>,
        mean: Option<&[T]>,
        block: usize,
    ) {
        self.block = block;
        self.fill(cx, z, mean, mean.is_some(), true);
    }

    fn prepare(&mut self, cx: &Cx, z: Mat<T>, mean: Option<&[T]>, centers: bool) {
        self.fill(cx, z, mean, centers, false);
    }

    fn fill(&mut self, cx: &Cx, z: Mat<T>, mean: Option<&[T]>, centers: bool, untouched: bool) {
        let PackedRows { order, classes, panels, centered, norms, .. } = self;
        let ([n, d], cols) = (z.shape(), tile_cols::<T>(cx.isa));
        let (rows, height) = (Rows { z, order }, self.block);
        panels.resize(n.next_multiple_of(cols) * d);
        centered.resize(if centers { n * d } else { 0 });
        norms.resize(n);
        if d == 0 {
            return norms.fill(T::ZERO);
        }
        // The last panel is filled up with zeros.
        let last = panels.len().saturating_sub(cols * d);
        panels[last..].fill(T::ZERO);
        let centered_size = if centered.is_empty() { 0 } else { height * d };
        let output = (Chunks(panels, height * d), Chunks(centered, centered_size));
        let output = (output, Chunks(norms, height));
        for_blocks(cx.par, n.div_ceil(height), output, |block, ((panels, centered), norms)| {
            T::dispatch(
                cx.isa,
                CenterRows {
                    rows,
                    places: rows_of_block(block, height, n),
                    classes,
                    mean,
                    untouched,
                    panels,
                    centered,
                    norms,
                    scratch: &mut vec![T::ZERO; AT_ONCE * d],
                },
            );
        });
    }

    /// The largest squared length of a row, less the mean if there is one; NaN where one is not finite, or is not
    /// known because distances are taken by differences.
    pub(crate) fn largest_norm(&self, cx: &Cx, z: Mat<T>, products: bool) -> T {
        let n = z.rows();
        let height = task_rows(n, z.cols().saturating_mul(size_of::<T>()));
        let larger = |a: T, b: T| if a >= b || a.is_nan() { a } else { b };
        if !products {
            let nan = T::from_f64(f64::NAN);
            let known = z.cols() > WIDEST;
            return if known { self.norms.iter().copied().fold(T::ZERO, larger) } else { nan };
        }
        sum_blocks(cx.par, n.div_ceil(height), (), larger, |block, ()| {
            let rows = rows_of_block(block, height, n);
            T::dispatch(
                cx.isa,
                LargestNorm { rows: self.rows(z), classes: &self.classes, places: rows },
            )
        })
    }

    pub(crate) fn side<'a>(&'a self, z: Mat<'a, T>) -> Operand<'a, T> {
        let rows = self.rows(z);
        let points = TileOperand { rows, panels: &self.panels, norms: &self.norms };
        Operand { points, centered: &self.centered }
    }
}

/// Numbers the classes of rows in the order of their labels, the same on all sides, from 0; rows that are
/// left out are of [`NO_CLASS`]. Returns the number of classes.
pub(crate) fn number_classes<T: Real, const N: usize>(
    sets: [&mut PackedRows<T>; N],
    labels: [&[i64]; N],
    ignored: Option<i64>,
) -> usize {
    let mut last = None;
    let mut count = 0;
    let mut sets = sets.map(|set| (set, 0));
    loop {
        let label = |side: usize, set: &PackedRows<T>, at: usize| {
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
