//! Sets of rows made ready for their pairs: in the order of their classes, without their mean, in panels
//! and blocks; and the gradients that blocks leave behind.

#![forbid(unsafe_code)]

use std::ops::{Add, Range};

use super::rounds::SideOut;
use super::{MOST_TASKS, task_rows};
use crate::aligned::Aligned;
use crate::cx::{Cx, Par};
use crate::graph::Similar;
use crate::kernel::all_pairs::Side;
use crate::kernel::classes::{MeasureClass, NO_CLASS, NearestToMean, Rows, Spheres, SumRows};
use crate::kernel::columns::{AT_ONCE, CenterRows, FinishGradient};
use crate::kernel::planar::WIDEST;
use crate::kernel::tile::{MOST_ROWS, Points, tile_cols};
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
    panels: Aligned<T>,
    centered: Aligned<T>,
    norms: Aligned<T>,
    /// Rows of a block of `centered`.
    block: usize,
}

/// Looks at every row for the numbers of a [`center`]. Each is then at most twice as far from a row as
/// the mean is: so the rounding of gradients is bounded by the rows' distances from their mean.
pub(crate) const ALL_ROWS: usize = usize::MAX;

/// Looks at some rows only: enough where no gradient is made of the rows' distances from the center.
pub(crate) const SOME_ROWS: usize = 64;

/// A point near the mean of the rows of some sets that are finite and in some pair: each of its numbers is
/// the one nearest to the mean in its column, among so many rows. So rows of integers, of levels or of signs
/// stay such when it is taken away, and their products are exact; and what is taken from rows that lie close
/// together is taken without rounding.
pub(crate) fn center<T: Real, const N: usize>(
    cx: &Cx,
    sets: [(&Set<T>, Mat<T>); N],
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
    let nearest = |nearest: Vec<T>, (set, z): (&Set<T>, Mat<T>)| {
        nearer(&mean, nearest, &set.nearest_to_mean(cx, z, &mean, point, step))
    };
    sets.into_iter().fold(point.to_vec(), nearest)
}

/// Of each two numbers the one nearer to the mean; the first where both are as near.
fn nearer<T: Real>(mean: &[T], mut one: Vec<T>, other: &[T]) -> Vec<T> {
    for ((one, &other), &mean) in one.iter_mut().zip(other).zip(mean) {
        if (other - mean).abs() < (*one - mean).abs() {
            *one = other;
        }
    }
    one
}

/// What a set's gradient is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gradient<T> {
    /// By place, in blocks of panels of columns.
    pub sums: Aligned<T>,
    /// By place: what the row itself is multiplied by.
    pub slopes: Aligned<T>,
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

    /// The order of a similar set: that of its labels, or as the rows are. Returns how many classes there are,
    /// none of a graph.
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

    /// How many rows are in some pair: all of them, where there are no classes.
    fn known(&self) -> usize {
        match self.classes.is_empty() {
            true => self.order.len(),
            false => self.classes.partition_point(|&class| class != NO_CLASS),
        }
    }

    /// The sum of what the rows that are finite and in some pair are beyond a point, and how many they are.
    fn sum(&self, cx: &Cx, z: Mat<T>, point: &[T]) -> (Vec<T>, u64) {
        let (rows, d, n) = (self.rows(z), z.cols(), self.known());
        let height = task_rows(n, d.saturating_mul(2 * size_of::<T>()));
        let sum = |block: usize, ()| {
            let places = block * height..((block + 1) * height).min(n);
            let mut sum = vec![T::ZERO; d];
            let count = T::dispatch(cx.isa, SumRows { rows, places, point, sum: &mut sum });
            (sum, count)
        };
        let add = |(mut one, count): (Vec<T>, u64), (other, more): (Vec<T>, u64)| {
            one.iter_mut().zip(&other).for_each(|(one, &other)| *one += other);
            (one, count + more)
        };
        sum_blocks(cx.par, n.div_ceil(height), (), sum, add)
    }

    /// The numbers nearest to a mean in each column, of `point` and of every `step`-th row.
    fn nearest_to_mean(&self, cx: &Cx, z: Mat<T>, mean: &[T], point: &[T], step: usize) -> Vec<T> {
        let (rows, n) = (self.rows(z), self.known());
        let height = task_rows(n, z.cols().saturating_mul(2 * size_of::<T>()));
        let height = height.next_multiple_of(step);
        let nearest = |block: usize, ()| {
            let places = block * height..((block + 1) * height).min(n);
            let mut nearest = point.to_vec();
            let kernel = NearestToMean { rows, places, step, mean, nearest: &mut nearest };
            T::dispatch(cx.isa, kernel);
            nearest
        };
        let both = |one: Vec<T>, other: Vec<T>| nearer(mean, one, &other);
        sum_blocks(cx.par, n.div_ceil(height), (), nearest, both)
    }

    /// For pairs and their gradients: fills panels and norms and, where a gradient is wanted, rows without
    /// the mean. Rows of few elements, which need no products, are taken as they are. (Any point near
    /// the rows would do as a mean.)
    pub(crate) fn prepare_pairs(&mut self, cx: &Cx, z: Mat<T>, mean: &[T], gradient: bool) {
        let few = z.cols() <= WIDEST;
        self.block = block_rows(z.rows());
        self.prepare(cx, z, (!few).then_some(mean), gradient && !few);
    }

    /// For distances by products: fills panels and norms.
    pub(crate) fn prepare_distances(&mut self, cx: &Cx, z: Mat<T>, mean: &[T]) {
        self.block = block_rows(z.rows());
        self.prepare(cx, z, Some(mean), false);
    }

    /// For distances by differences: fills panels with rows as they are. For gradients by products, where a
    /// mean is given, norms and rows without the mean too, in blocks of so many, a multiple of 32.
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
        let Set { order, classes, panels, centered, norms, .. } = self;
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
            let (panels, centered, norms): (Chunks<T>, Chunks<T>, Chunks<T>) =
                (panels, centered, norms);
            T::dispatch(
                cx.isa,
                CenterRows {
                    rows,
                    places: block * height..((block + 1) * height).min(n),
                    classes,
                    mean,
                    untouched,
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
        self.sums.clear(n * d);
        self.slopes.clear(n);
    }

    pub(crate) fn out(&mut self) -> SideOut<'_, T> {
        Some((&mut self.sums, &mut self.slopes))
    }

    /// grad_i = scale (sum_i + slopes_i z_i), z without its mean, each row to its place. Sums are in blocks
    /// of `block` rows.
    pub(crate) fn finish(
        &self,
        cx: &Cx,
        set: &mut Set<T>,
        block: usize,
        scale: T,
        grad: MatMut<T>,
    ) {
        set.find_places();
        let Set { places, centered, block: set_block, .. } = set;
        let [n, d] = grad.shape();
        let height = task_rows(n, d.saturating_mul(3 * size_of::<T>()));
        let grad = RowBlocks(grad, height);
        for_blocks(cx.par, n.div_ceil(height), grad, |task, grad: RowBlocks<T>| {
            let first = task * height;
            T::dispatch(
                cx.isa,
                FinishGradient {
                    places: &places[first..first + grad.0.rows()],
                    blocks: [block, *set_block],
                    scale,
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

/// Centers, residuals, radii, and whether they are pulled, of some classes.
type Parts<'a, T> = ((Chunks<'a, T>, Chunks<'a, T>), (Chunks<'a, T>, Chunks<'a, bool>));

/// Memory of a call for the classes of one set.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClassSet<T> {
    pub centers: Vec<T>,
    pub residuals: Vec<T>,
    pub radii: Vec<T>,
    pub pulled: Vec<bool>,
}

impl<T: Real> ClassSet<T> {
    pub(crate) fn clear(&mut self) {
        self.centers.clear();
        self.residuals.clear();
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
        /// Rows of a class, on average, and memory for all of them.
        const LEAST_ROWS: usize = 16;
        const MOST_BYTES: usize = 8 << 20;
        let d = rows.z.cols();
        self.clear();
        let bytes = count.saturating_mul(d).saturating_mul(2 * size_of::<T>());
        if count * LEAST_ROWS > classes.len() || d == 0 || bytes > MOST_BYTES {
            return Sums::default();
        }
        resize_to_zero(&mut self.centers, count * d);
        resize_to_zero(&mut self.residuals, count * d);
        resize_to_zero(&mut self.radii, count);
        self.pulled.resize(count, false);
        let ClassSet { centers, residuals, radii, pulled } = self;
        let at_once = count.div_ceil(MOST_TASKS).max(1);
        let means = (Chunks(centers, at_once * d), Chunks(residuals, at_once * d));
        let known = (Chunks(radii, at_once), Chunks(pulled, at_once));
        let blocks = count.div_ceil(at_once);
        let measure = |block: usize, (means, known): Parts<T>| {
            let ((centers, residuals), (radii, pulled)) = (means, known);
            let (mut part, mut scratch) = (vec![T::ZERO; d], Vec::new());
            let means = centers.0.chunks_exact_mut(d).zip(residuals.0.chunks_exact_mut(d));
            let known = radii.0.iter_mut().zip(pulled.0);
            let mut sums = Sums::default();
            for (class, ((center, residual), (radius, pulled))) in
                (block * at_once..).zip(means.zip(known))
            {
                let places = places_of(classes, class);
                if places.is_empty() {
                    continue;
                }
                let found = T::dispatch(
                    cx.isa,
                    MeasureClass {
                        rows,
                        places,
                        center,
                        residual,
                        part: &mut part,
                        pull,
                        radii: &mut scratch,
                    },
                );
                *radius = found.radius;
                *pulled = found.pulled.is_some();
                let similar = found.pulled.unwrap_or_default();
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

/// Whether so many pairs are so little work that the calling thread does it sooner alone.
pub(crate) fn small(cx: &Cx, pairs: usize, d: usize) -> Cx {
    const LEAST_WORK: usize = 1 << 21;
    let small = pairs.saturating_mul(d.max(8)) < LEAST_WORK;
    Cx { par: if small { Par::Serial } else { cx.par }, ..*cx }
}

fn resize_to_zero<T: Real>(buffer: &mut Vec<T>, len: usize) {
    buffer.clear();
    buffer.reserve_exact(len);
    buffer.resize(len, T::ZERO);
}

/// Rows of a block: a function of the batch alone, since it decides the order of addition. Eight
/// blocks or more where the batch allows, so that rounds have work for several threads.
pub(crate) fn block_rows(rows: usize) -> usize {
    rows.div_ceil(8).max(1).next_multiple_of(32).min(MOST_ROWS)
}
