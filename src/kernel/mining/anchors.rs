//! The triplets of each anchor of a strip of rows, from its distances to all rows of the batch.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::positives::{Candidates, Positives};
use crate::kernel::blocking::GROUP_PAIRS;
use crate::kernel::neighbours::top_k::NONE;
use crate::kernel::pairwise::pack::Rows;
use crate::kernel::reduce::{reduce_values, scale_slopes};
use crate::kernel::vector::{add, squared_distance, sum};
use crate::loss::{BlockTripletLoss, Pairing, Sums};
use crate::parallel::stop::look;
use crate::simd::isa::{Isa, MOST_LANES};
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// The slope of d²(p,n), of a positive and a negative: it lies outside of the anchor's own row of slopes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extra<T> {
    pub rows: [u32; 2],
    pub slope: T,
}

/// Sums over some anchors, and their slopes of d²(p,n).
#[derive(Clone, Debug, Default)]
pub(crate) struct AnchorSums<T> {
    pub sums: Sums,
    pub extras: Vec<Extra<T>>,
}

/// The triplets of some anchors of a strip.
pub(crate) struct Anchors<'a, T> {
    pub isa: Isa,
    pub loss: &'a dyn BlockTripletLoss<T>,
    pub rows: Rows<'a, T>,
    /// The place of each row, by its number.
    pub places: &'a [u32],
    pub positives: Positives<'a>,
    /// `true`: all triplets. `false`: the semi-hard ones, each positive with the nearest negative that is
    /// farther than it, or else with the farthest negative.
    pub all: bool,
    pub anchors: Range<usize>,
    /// The first row of the strip.
    pub first: usize,
    /// Squared distances of all rows of the strip, in rows of `stride`.
    pub d2: &'a [T],
    pub stride: usize,
    /// Factor of all slopes.
    pub factor: T,
    /// Slopes of these anchors, in rows of `stride`, to be overwritten.
    pub slopes: Option<&'a mut [T]>,
}

/// Scratch for the triplets of one anchor.
pub(crate) struct Buffers<T> {
    /// d²(a,p), d²(a,n), d²(p,n), then their slopes.
    three: [[T; GROUP_PAIRS]; 3],
    values: [T; GROUP_PAIRS],
    of_anchor: Vec<T>,
    of_positive: Vec<T>,
    slopes: Vec<T>,
    chosen: Vec<[u32; 2]>,
}

impl<T: Real> Kernel<T> for Anchors<'_, T> {
    type Output = AnchorSums<T>;

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) -> AnchorSums<T> {
        let mut buffers = Buffers {
            three: [[T::ZERO; GROUP_PAIRS]; 3],
            values: [T::ZERO; GROUP_PAIRS],
            of_anchor: Vec::new(),
            of_positive: Vec::new(),
            slopes: Vec::new(),
            chosen: Vec::new(),
        };
        let (mut others, mut out) = (Candidates::default(), AnchorSums::default());
        for anchor in self.anchors.clone() {
            look();
            let mut row = self.slopes.take();
            let at = (anchor - self.anchors.start) * self.stride;
            if let Some(row) = &mut row {
                row[at..at + self.stride].fill(T::ZERO);
            }
            self.positives.find(anchor, self.rows.order.len(), &mut others);
            let to = row.as_mut().map(|row| &mut row[at..at + self.stride]);
            if self.all {
                out.sums = out.sums + self.all_of(s, anchor, &others, &mut buffers, to);
            } else {
                self.choose(s, anchor, &others, &mut buffers);
                self.semi_hard(s, anchor, &mut buffers, to, &mut out);
            }
            self.slopes = row;
        }
        out
    }
}

impl<T: Real> Anchors<'_, T> {
    fn row(&self, place: usize) -> &[T] {
        &self.d2[(place - self.first) * self.stride..][..self.stride]
    }

    /// Evaluates every positive with every negative.
    #[inline(always)]
    fn all_of<S: Simd<T>>(
        &self,
        s: S,
        anchor: usize,
        others: &Candidates,
        buffers: &mut Buffers<T>,
        mut slopes: Option<&mut [T]>,
    ) -> Sums {
        let swaps = self.loss.swaps_block();
        let mut sums = Sums::default();
        others.gather(self.row(anchor), &mut buffers.of_anchor);
        let count = buffers.of_anchor.len();
        buffers.slopes.clear();
        buffers.slopes.resize(count, T::ZERO);
        for &positive in &others.positives {
            if swaps {
                others.gather(self.row(positive as usize), &mut buffers.of_positive);
            }
            let ap = self.row(anchor)[positive as usize];
            let mut slope = T::ZERO;
            for from in (0..count).step_by(GROUP_PAIRS) {
                let some = from..(from + GROUP_PAIRS).min(count);
                sums = sums + self.eval(s, ap, some.clone(), buffers);
                if slopes.is_some() {
                    slope += sum(s, &buffers.three[0][..some.len()]);
                    add(s, &buffers.three[1][..some.len()], &mut buffers.slopes[some]);
                }
            }
            if let Some(slopes) = &mut slopes {
                slopes[positive as usize] += slope;
            }
        }
        let Some(slopes) = slopes else { return sums };
        others.scatter(&buffers.slopes, slopes);
        if swaps {
            self.swapped(s, anchor, others, buffers, slopes);
        }
        sums
    }

    /// Adds the slopes of d²(p,n) of the triplets in which this row is the positive. They belong to row p
    /// rather than to the anchor's, so these triplets are evaluated a second time.
    #[inline(always)]
    fn swapped<S: Simd<T>>(
        &self,
        s: S,
        positive: usize,
        of_positive: &Candidates,
        buffers: &mut Buffers<T>,
        slopes: &mut [T],
    ) {
        let mut others = Candidates::default();
        for &anchor in &of_positive.positives {
            let anchor = anchor as usize;
            self.positives.find(anchor, self.rows.order.len(), &mut others);
            others.gather(self.row(anchor), &mut buffers.of_anchor);
            others.gather(self.row(positive), &mut buffers.of_positive);
            let count = buffers.of_anchor.len();
            buffers.slopes.clear();
            buffers.slopes.resize(count, T::ZERO);
            let ap = self.row(anchor)[positive];
            for from in (0..count).step_by(GROUP_PAIRS) {
                let some = from..(from + GROUP_PAIRS).min(count);
                self.eval(s, ap, some.clone(), buffers);
                add(s, &buffers.three[2][..some.len()], &mut buffers.slopes[some]);
            }
            others.scatter(&buffers.slopes, slopes);
        }
    }

    /// Evaluates one positive, at squared distance `ap`, with some of the negatives.
    #[inline(always)]
    fn eval<S: Simd<T>>(&self, s: S, ap: T, some: Range<usize>, buffers: &mut Buffers<T>) -> Sums {
        let len = some.len();
        buffers.three[0][..len].fill(ap);
        buffers.three[1][..len].copy_from_slice(&buffers.of_anchor[some.clone()]);
        if self.loss.swaps_block() {
            buffers.three[2][..len].copy_from_slice(&buffers.of_positive[some]);
        } else {
            buffers.three[2][..len].fill(T::ZERO);
        }
        self.eval_three(s, len, buffers)
    }

    #[inline(always)]
    fn eval_three<S: Simd<T>>(&self, s: S, len: usize, buffers: &mut Buffers<T>) -> Sums {
        let [ap, an, pn] = &mut buffers.three;
        let values = &mut buffers.values[..len];
        self.loss.eval_block(self.isa, [&mut ap[..len], &mut an[..len], &mut pn[..len]], values);
        let pairing = Pairing::new(&[false; GROUP_PAIRS][..len]);
        for slopes in [ap, an, pn] {
            scale_slopes(s, pairing, [self.factor; 2], &mut slopes[..len]);
        }
        reduce_values(s, pairing, values)
    }

    /// Chooses for each positive the nearest negative that is farther from the anchor, or else the farthest
    /// negative; among equally far ones the one of the lowest number. Where the positive or all negatives
    /// are at distance NaN, the negative of the lowest number.
    #[inline(always)]
    fn choose<S: Simd<T>>(
        &self,
        s: S,
        anchor: usize,
        others: &Candidates,
        buffers: &mut Buffers<T>,
    ) {
        buffers.chosen.clear();
        if others.positives.is_empty() || others.negatives.is_empty() {
            return;
        }
        // Rows that are no negatives get -inf, which is neither above nor equal to any distance.
        let (row, of_anchor) = (self.row(anchor), &mut buffers.of_anchor);
        of_anchor.clear();
        of_anchor.resize(self.stride, T::ZERO - T::INFINITY);
        for run in &others.negatives {
            of_anchor[run.clone()].copy_from_slice(&row[run.clone()]);
        }
        // Several positives at a time hide each other's latency.
        if const { S::REGISTERS == 32 } {
            self.choose_some::<S, 8>(s, anchor, others, buffers);
        } else {
            self.choose_some::<S, 4>(s, anchor, others, buffers);
        }
    }

    #[inline(always)]
    fn choose_some<S: Simd<T>, const Q: usize>(
        &self,
        s: S,
        anchor: usize,
        others: &Candidates,
        buffers: &mut Buffers<T>,
    ) {
        let Buffers { of_anchor, chosen, .. } = buffers;
        let row = self.row(anchor);
        let mut farthest = None;
        for (chunk, positives) in others.positives.chunks(Q).enumerate() {
            if chunk % 16 == 0 {
                look();
            }
            let mut from = [T::INFINITY; Q];
            for (from, &positive) in from.iter_mut().zip(positives) {
                *from = row[positive as usize];
            }
            let nearest = nearest_beyond::<T, S, Q>(s, from, of_anchor);
            for ((&positive, from), nearest) in positives.iter().zip(from).zip(nearest) {
                let wanted = match nearest < T::INFINITY {
                    true => nearest,
                    false => *farthest.get_or_insert_with(|| farthest_of::<T, S>(s, of_anchor)),
                };
                let found = match from.is_nan() {
                    true => NONE,
                    false => first_at(wanted, of_anchor, self.rows.order),
                };
                let negative = match found {
                    NONE => others.negatives().min_by_key(|&place| self.rows.order[place]),
                    row => Some(self.places[row as usize] as usize),
                };
                chosen.extend(negative.map(|negative| [positive, negative as u32]));
            }
        }
    }

    /// Evaluates the triplets that have been chosen.
    #[inline(always)]
    fn semi_hard<S: Simd<T>>(
        &self,
        s: S,
        anchor: usize,
        buffers: &mut Buffers<T>,
        mut slopes: Option<&mut [T]>,
        out: &mut AnchorSums<T>,
    ) {
        let swaps = self.loss.swaps_block();
        let chosen = std::mem::take(&mut buffers.chosen);
        for some in chosen.chunks(GROUP_PAIRS) {
            for (i, &[positive, negative]) in some.iter().enumerate() {
                let [p, n] = [positive, negative].map(|place| place as usize);
                buffers.three[0][i] = self.row(anchor)[p];
                buffers.three[1][i] = self.row(anchor)[n];
                buffers.three[2][i] = match swaps {
                    true => squared_distance(s, self.rows.row(p), self.rows.row(n)),
                    false => T::ZERO,
                };
            }
            out.sums = out.sums + self.eval_three(s, some.len(), buffers);
            let Some(slopes) = &mut slopes else { continue };
            for (i, &rows) in some.iter().enumerate() {
                let [ap, an, pn] = [0, 1, 2].map(|k| buffers.three[k][i]);
                slopes[rows[0] as usize] += ap;
                slopes[rows[1] as usize] += an;
                if swaps && pn != T::ZERO {
                    out.extras.push(Extra { rows, slope: pn });
                }
            }
        }
        buffers.chosen = chosen;
    }
}

/// For each q the least of the numbers `of` that is above `from[q]`; infinity where there is none.
#[inline(always)]
pub(crate) fn nearest_beyond<T: Real, S: Simd<T>, const Q: usize>(
    s: S,
    from: [T; Q],
    of: &[T],
) -> [T; Q] {
    let mut nearest = [s.splat(T::INFINITY); Q];
    let from = from.map(|from| s.splat(from));
    for of in of.chunks_exact(S::LANES) {
        let v = s.load(of);
        for q in 0..Q {
            let nearer = s.lt(from[q], v) & s.lt(v, nearest[q]);
            nearest[q] = s.select(nearer, v, nearest[q]);
        }
    }
    nearest.map(|nearest| {
        let mut lanes = [T::INFINITY; MOST_LANES];
        s.store(nearest, &mut lanes);
        lanes.into_iter().fold(T::INFINITY, |a, b| if b < a { b } else { a })
    })
}

/// The largest of the numbers `of`, or 0.
#[inline(always)]
pub(crate) fn farthest_of<T: Real, S: Simd<T>>(s: S, of: &[T]) -> T {
    let mut farthest = s.splat(T::ZERO);
    for of in of.chunks_exact(S::LANES) {
        let v = s.load(of);
        farthest = s.select(s.lt(farthest, v), v, farthest);
    }
    let mut lanes = [T::ZERO; MOST_LANES];
    s.store(farthest, &mut lanes);
    lanes.into_iter().fold(T::ZERO, |a, b| if b > a { b } else { a })
}

/// The lowest number among the rows at squared distance `d2`, or [`NONE`]. `of` has the squared distances
/// by place, `order` the numbers. Without a branch, since where some distances are equal, many are. (The
/// compiler turns this loop into lanes of the tier, but not a fold.)
#[inline(always)]
pub(crate) fn first_at<T: Real>(d2: T, of: &[T], order: &[u32]) -> u32 {
    let mut first = NONE;
    for (&x, &row) in of.iter().zip(order) {
        let row = if x == d2 { row } else { NONE };
        first = if row < first { row } else { first };
    }
    first
}
