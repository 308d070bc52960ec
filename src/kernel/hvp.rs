//! Hessian-vector products of a batch: the change of its gradient as all rows move along given directions.
//!
//! Row z moves along v. For a pair let δ = z_a - z_b, d = |δ| and η = v_a - v_b. Its gradient is s δ, with
//! the slope s. With the curvature c = d ds/dd, the gradient changes by
//!
//! ```text
//! h_a = s η + c (δ̂·η) δ̂        h_b = -h_a        δ̂ = δ/d
//! ```
//!
//! Two numbers of a pair, d² and δ·η, are measured in one sweep over its rows. A loss turns d² into slope
//! and curvature. Every row adds up its own pairs, so no two tasks write to one place. All differences are
//! formed directly: second derivatives are asked for rarely, and products of rows would lose the digits of
//! close pairs, which bend the most.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::blocking::GROUP_PAIRS;
use super::reduce::scale_slopes;
use super::rows::list::Member;
use super::shown::{bend_pairs, bend_triplets, eval_pairs, eval_triplets};
use crate::loss::{BlockLoss, BlockTripletLoss, Pairing};
use crate::memory::mat::{Mat, MatMut};
use crate::parallel::stop::look;
use crate::simd::isa::Isa;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};
use crate::similar::graph::Graph;

/// Rows and the directions that they move along, both N x D.
#[derive(Clone, Copy)]
pub(crate) struct Rays<'a, T> {
    pub z: Mat<'a, T>,
    pub v: Mat<'a, T>,
}

impl<'a, T: Real> Rays<'a, T> {
    #[inline(always)]
    fn row(&self, i: usize) -> [&'a [T]; 2] {
        [self.z.row(i), self.v.row(i)]
    }

    pub(crate) fn range(&self, start: usize, end: usize) -> Self {
        Rays { z: self.z.rows_range(start, end), v: self.v.rows_range(start, end) }
    }
}

/// Three numbers for each of N pairs, from which its product follows: h_a = slope η + stretch (inverse δ).
pub(crate) struct Bends<'a, T> {
    /// s. All three slices have N elements.
    pub slopes: &'a mut [T],
    /// c δ̂·η
    pub stretches: &'a mut [T],
    /// 1/d, or 0 by the rule for zero distance.
    pub inverses: &'a mut [T],
}

/// The pairs of a call.
#[derive(Clone, Copy)]
pub(crate) enum Pairs<'a, T> {
    /// Row i of one matrix with row i of another.
    Rows([Rays<'a, T>; 2]),
    /// Rows i and j of one matrix.
    List(Rays<'a, T>, &'a [(u32, u32)]),
}

/// Measures some pairs: see [`Bends`].
pub(crate) struct MeasureBends<'a, T> {
    pub isa: Isa,
    pub loss: &'a dyn BlockLoss<T>,
    pub pairs: Pairs<'a, T>,
    /// Similarity, weight and exclusion of each of these pairs.
    pub pairing: Pairing<'a, T>,
    /// Factors of the slopes of similar and of dissimilar pairs.
    pub factors: [T; 2],
    /// To be overwritten.
    pub bends: Bends<'a, T>,
    /// If wanted, the change s δ·η of each pair's value; to be overwritten.
    pub derivatives: Option<&'a mut [T]>,
}

impl<T: Real> Kernel<T> for MeasureBends<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) {
        let mut block = Block::new();
        let pairs = self.pairing.len();
        for start in (0..pairs).step_by(GROUP_PAIRS) {
            look();
            let some = start..(start + GROUP_PAIRS).min(pairs);
            for (k, p) in some.clone().enumerate() {
                let [a, b] = match self.pairs {
                    Pairs::Rows([a, b]) => [a.row(p), b.row(p)],
                    Pairs::List(z, list) => {
                        let (i, j) = list[p];
                        [z.row(i as usize), z.row(j as usize)]
                    }
                };
                [block.d2[k], block.products[k]] = measure(s, a, b);
            }
            let Bends { slopes, stretches, inverses } = &mut self.bends;
            let bends = Bends {
                slopes: &mut slopes[some.clone()],
                stretches: &mut stretches[some.clone()],
                inverses: &mut inverses[some.clone()],
            };
            let pairing = self.pairing.range(some.clone());
            block.bend(s, self.isa, self.loss, pairing, self.factors, bends);
            if let Some(derivatives) = &mut self.derivatives {
                for (k, p) in some.enumerate() {
                    let slope = self.bends.slopes[p];
                    let ignored = pairing.ignored.is_some_and(|ignored| ignored[k]);
                    derivatives[p] = if ignored { T::ZERO } else { slope * block.products[k] };
                }
            }
        }
    }
}

/// Scratch for the pairs of one call of a loss.
struct Block<T> {
    /// d², and δ·η.
    d2: [T; GROUP_PAIRS],
    products: [T; GROUP_PAIRS],
    values: [T; GROUP_PAIRS],
}

impl<T: Real> Block<T> {
    #[inline(always)]
    fn new() -> Self {
        let zeros = [T::ZERO; GROUP_PAIRS];
        Block { d2: zeros, products: zeros, values: zeros }
    }

    /// Turns the d² and δ·η of measured pairs into their [`Bends`].
    #[inline(always)]
    fn bend<S: Simd<T>>(
        &mut self,
        s: S,
        isa: Isa,
        loss: &dyn BlockLoss<T>,
        pairing: Pairing<T>,
        factors: [T; 2],
        bends: Bends<T>,
    ) {
        let len = pairing.len();
        let Bends { slopes, stretches, inverses } = bends;
        let (d2, products) = (&self.d2[..len], &self.products[..len]);
        slopes.copy_from_slice(d2);
        let Pairing { similar, ignored, .. } = pairing;
        eval_pairs(loss, isa, slopes, similar, ignored, &mut self.values[..len]);
        scale_slopes(s, pairing, factors, slopes);
        stretches.copy_from_slice(d2);
        bend_pairs(loss, isa, stretches, similar, ignored);
        scale_slopes(s, pairing, factors, stretches);
        invert(s, d2, inverses);
        stretch(s, products, inverses, stretches);
    }
}

/// 1/d from d².
#[inline(always)]
fn invert<T: Real, S: Simd<T>>(s: S, d2: &[T], inverses: &mut [T]) {
    for (d2, inverse) in d2.chunks(S::LANES).zip(inverses.chunks_mut(S::LANES)) {
        let d2 = s.load(d2);
        s.store(s.over_distance(s.splat(T::ONE), s.sqrt(d2), d2), inverse);
    }
}

/// c δ̂·η from curvatures c, in place. A curvature of 0 gives 0, even where the rows are not finite.
#[inline(always)]
fn stretch<T: Real, S: Simd<T>>(s: S, products: &[T], inverses: &[T], curvatures: &mut [T]) {
    let lanes = products.chunks(S::LANES).zip(inverses.chunks(S::LANES));
    for ((product, inverse), curvature) in lanes.zip(curvatures.chunks_mut(S::LANES)) {
        let of_pair = s.load(curvature);
        let stretch = of_pair * (s.load(product) * s.load(inverse));
        let straight = s.eq(of_pair, s.splat(T::ZERO));
        s.store(s.select(straight, of_pair, stretch), curvature);
    }
}

/// |a - b|² and (a - b)·(va - vb) of two rows and their directions, in one sweep. The first has the bits of
/// [`squared_distance`](super::rows::pairs::squared_distance).
#[inline(always)]
fn measure<T: Real, S: Simd<T>>(s: S, [a, va]: [&[T]; 2], [b, vb]: [&[T]; 2]) -> [T; 2] {
    let cols = a.len();
    let (va, b, vb) = (&va[..cols], &b[..cols], &vb[..cols]);
    let zero = s.splat(T::ZERO);
    let (mut squares, mut products) = ([zero; 4], [zero; 4]);
    for (k, at) in (0..cols).step_by(S::LANES).enumerate() {
        let to = (at + S::LANES).min(cols);
        let t = s.load(&a[at..to]) - s.load(&b[at..to]);
        let u = s.load(&va[at..to]) - s.load(&vb[at..to]);
        squares[k & 3] = s.fma(t, t, squares[k & 3]);
        products[k & 3] = s.fma(t, u, products[k & 3]);
    }
    [
        s.sum((squares[0] + squares[1]) + (squares[2] + squares[3])),
        s.sum((products[0] + products[1]) + (products[2] + products[3])),
    ]
}

/// sum += slope_p (v - v_o) + stretch_p (inverse_p (z - z_o)) over the members of a row: pairs p with other
/// rows o. `own` is [z, v] of the row, each (d); `bends` are slopes, stretches and inverses, by pair.
#[inline(always)]
fn add_products<T: Real, S: Simd<T>>(
    s: S,
    own: [&[T]; 2],
    others: Rays<T>,
    members: &[Member],
    bends: [&[T]; 3],
    sum: &mut [T],
) {
    let (cols, mut at) = (sum.len(), 0);
    while at + 4 * S::LANES <= cols {
        add_vectors::<T, S, 4>(s, own, others, members, bends, at, sum);
        at += 4 * S::LANES;
    }
    while at < cols {
        add_vectors::<T, S, 1>(s, own, others, members, bends, at, sum);
        at += S::LANES;
    }
}

/// Adds `N` vectors of that sum from element `at` on; the last vector may reach past the end of the row.
/// Sums stay in registers.
#[inline(always)]
fn add_vectors<T: Real, S: Simd<T>, const N: usize>(
    s: S,
    [z, v]: [&[T]; 2],
    others: Rays<T>,
    members: &[Member],
    [slopes, stretches, inverses]: [&[T]; 3],
    at: usize,
    sum: &mut [T],
) {
    let end = (at + N * S::LANES).min(sum.len());
    let mut sums = [s.splat(T::ZERO); N];
    for member in members {
        let pair = member.pair as usize;
        let [slope, stretch, inverse] =
            [s.splat(slopes[pair]), s.splat(stretches[pair]), s.splat(inverses[pair])];
        let [other_z, other_v] = others.row(member.other as usize);
        for (k, sum) in sums.iter_mut().enumerate() {
            let lanes = at + k * S::LANES..(at + (k + 1) * S::LANES).min(end);
            let by_v = s.load(&v[lanes.clone()]) - s.load(&other_v[lanes.clone()]);
            let by_z = s.load(&z[lanes.clone()]) - s.load(&other_z[lanes]);
            *sum = s.fma(slope, by_v, *sum);
            *sum = s.fma(stretch, inverse * by_z, *sum);
        }
    }
    for (sums, sum) in sums.into_iter().zip(sum[at..end].chunks_mut(S::LANES)) {
        s.store(s.load(sum) + sums, sum);
    }
}

/// h_i of some rows, from the bends of a list of pairs: the sum over the pairs of row i.
pub(crate) struct SumByRow<'a, T> {
    pub rays: Rays<'a, T>,
    /// The members of row i are `members[offsets[i]..offsets[i + 1]]`.
    pub offsets: &'a [u32],
    pub members: &'a [Member],
    /// Slopes, stretches and inverses of every pair.
    pub bends: [&'a [T]; 3],
    pub ignored: Option<&'a [bool]>,
    /// The number of the first of these rows.
    pub first: usize,
    /// To be overwritten.
    pub out: MatMut<'a, T>,
}

impl<T: Real> Kernel<T> for SumByRow<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) {
        let mut counted = Vec::new();
        for k in 0..self.out.rows() {
            let row = self.first + k;
            let members = &self.members[self.offsets[row] as usize..self.offsets[row + 1] as usize];
            counted.clear();
            let left_out = |pair: u32| self.ignored.is_some_and(|ignored| ignored[pair as usize]);
            counted.extend(members.iter().filter(|member| !left_out(member.pair)));
            let sum = self.out.row_mut(k);
            sum.fill(T::ZERO);
            add_products(s, self.rays.row(row), self.rays, &counted, self.bends, sum);
        }
    }
}

/// h_i of some rows that are paired with the rows of the same number in one or two other matrices.
pub(crate) struct WriteByRow<'a, T> {
    pub own: Rays<'a, T>,
    /// Row i is paired with row i of each of these; beside them slopes, stretches and inverses of the
    /// pairs.
    pub others: &'a [(Rays<'a, T>, [&'a [T]; 3])],
    pub ignored: Option<&'a [bool]>,
    /// To be overwritten.
    pub out: MatMut<'a, T>,
}

impl<T: Real> Kernel<T> for WriteByRow<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) {
        for i in 0..self.out.rows() {
            let sum = self.out.row_mut(i);
            sum.fill(T::ZERO);
            if self.ignored.is_some_and(|ignored| ignored[i]) {
                continue;
            }
            let member = [Member { pair: i as u32, other: i as u32 }];
            for &(others, bends) in self.others {
                add_products(s, self.own.row(i), others, &member, bends, sum);
            }
        }
    }
}

/// The rule by which two rows, given by their numbers, are similar.
#[derive(Clone, Copy)]
pub(crate) enum Likeness<'a> {
    /// Equal labels; rows of the label `ignored` are in no pair.
    Labels { own: &'a [i64], others: &'a [i64], ignored: Option<i64> },
    /// Neighbours in a graph: row i is sample `first[0] + i`, other row j is sample `first[1] + j`.
    Graph { graph: &'a Graph, first: [usize; 2] },
}

impl Likeness<'_> {
    /// Writes which pairs of a row with some others are `similar`, and which are left out (`ignored`).
    #[inline(always)]
    fn fill(&self, row: usize, others: Range<usize>, similar: &mut [bool], ignored: &mut [bool]) {
        match *self {
            Likeness::Labels { own, others: labels, ignored: none } => {
                let label = own[row];
                let labels = &labels[others];
                for ((similar, left_out), &other) in similar.iter_mut().zip(ignored).zip(labels) {
                    *similar = other == label;
                    *left_out = none.is_some_and(|none| none == label || none == other);
                }
            }
            Likeness::Graph { graph, first } => {
                similar.fill(false);
                ignored.fill(false);
                let samples = first[1] + others.start..first[1] + others.end;
                let neighbours = graph.neighbours(first[0] + row);
                let from = neighbours.partition_point(|&j| (j as usize) < samples.start);
                let those = neighbours[from..].iter().map(|&j| j as usize);
                for j in those.take_while(|&j| j < samples.end) {
                    similar[j - samples.start] = true;
                }
            }
        }
    }
}

/// h_i of some rows, over all rows of the other side.
///
/// ```text
/// for each block of other rows              which stays in L2
///   for each row i of the task
///     measure its pairs with the block      d², δ·η
///     bend them                             slopes, stretches, inverses
///     add the pairs that are active         out_i
/// ```
pub(crate) struct SumOverAll<'a, T> {
    pub isa: Isa,
    pub loss: &'a dyn BlockLoss<T>,
    pub own: Rays<'a, T>,
    pub others: Rays<'a, T>,
    pub likeness: Likeness<'a>,
    /// Where both sides have rows in common, row i is other row i + `same`; a row with itself is no pair.
    pub same: Option<isize>,
    pub factors: [T; 2],
    /// The number of the first of these rows.
    pub first: usize,
    /// To be overwritten.
    pub out: MatMut<'a, T>,
}

impl<T: Real> Kernel<T> for SumOverAll<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) {
        let mut block = Block::new();
        let (mut similar, mut ignored) = ([false; GROUP_PAIRS], [false; GROUP_PAIRS]);
        let zeros = [T::ZERO; GROUP_PAIRS];
        let (mut slopes, mut stretches, mut inverses) = (zeros, zeros, zeros);
        let mut active = Vec::with_capacity(GROUP_PAIRS);
        (0..self.out.rows()).for_each(|k| self.out.row_mut(k).fill(T::ZERO));
        let count = self.others.z.rows();
        for start in (0..count).step_by(GROUP_PAIRS) {
            look();
            let others = start..(start + GROUP_PAIRS).min(count);
            for k in 0..self.out.rows() {
                let row = self.first + k;
                let (similar, ignored) =
                    (&mut similar[..others.len()], &mut ignored[..others.len()]);
                self.likeness.fill(row, others.clone(), similar, ignored);
                let itself = self.same.and_then(|same| row.checked_add_signed(same));
                if let Some(itself) = itself.filter(|itself| others.contains(itself)) {
                    ignored[itself - start] = true;
                }
                // The loss is shown pairs alone, so they are moved together.
                active.clear();
                let (own, mut pairs) = (self.own.row(row), 0);
                for (c, other) in others.clone().enumerate() {
                    if !ignored[c] {
                        [block.d2[pairs], block.products[pairs]] =
                            measure(s, own, self.others.row(other));
                        similar[pairs] = similar[c];
                        active.push(Member { pair: pairs as u32, other: other as u32 });
                        pairs += 1;
                    }
                }
                if pairs == 0 {
                    continue;
                }
                let bends = Bends {
                    slopes: &mut slopes[..pairs],
                    stretches: &mut stretches[..pairs],
                    inverses: &mut inverses[..pairs],
                };
                let pairing = Pairing::new(&similar[..pairs]);
                block.bend(s, self.isa, self.loss, pairing, self.factors, bends);
                active.retain(|member| {
                    let pair = member.pair as usize;
                    slopes[pair] != T::ZERO || stretches[pair] != T::ZERO
                });
                let bends = [&slopes[..pairs], &stretches[..pairs], &inverses[..pairs]];
                add_products(s, own, self.others, &active, bends, self.out.row_mut(k));
            }
        }
    }
}

/// Measures some triplets: the bends of their pairs (a,p), (a,n) and (p,n).
pub(crate) struct MeasureTripletBends<'a, T> {
    pub isa: Isa,
    pub loss: &'a dyn BlockTripletLoss<T>,
    /// Anchors, positives, negatives.
    pub rays: [Rays<'a, T>; 3],
    pub weights: Option<&'a [T]>,
    pub ignored: Option<&'a [bool]>,
    /// Factor of all slopes.
    pub factor: T,
    /// To be overwritten.
    pub bends: [Bends<'a, T>; 3],
    /// If wanted, the change of each triplet's value; to be overwritten.
    pub derivatives: Option<&'a mut [T]>,
}

/// The two ends of each pair of a triplet: 0 is the anchor, 1 the positive, 2 the negative.
const ENDS: [[usize; 2]; 3] = [[0, 1], [0, 2], [1, 2]];

/// The index of the curvature C_kl among the six of
/// [`TripletLoss::curvatures`](crate::loss::TripletLoss::curvatures).
const COUPLINGS: [[usize; 3]; 3] = [[0, 3, 4], [3, 1, 5], [4, 5, 2]];

impl<T: Real> Kernel<T> for MeasureTripletBends<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) {
        let swaps = self.loss.swaps_block();
        let zeros = [T::ZERO; GROUP_PAIRS];
        let (mut d2, mut products, mut values) = ([zeros; 3], [zeros; 3], zeros);
        let mut curvatures = [zeros; 6];
        let count = self.rays[0].z.rows();
        for start in (0..count).step_by(GROUP_PAIRS) {
            look();
            let some = start..(start + GROUP_PAIRS).min(count);
            let len = some.len();
            for (pair, [one, other]) in ENDS.into_iter().enumerate() {
                if pair == 2 && !swaps {
                    continue; // d(p,n) stays 0
                }
                for (k, i) in some.clone().enumerate() {
                    let [one, other] = [self.rays[one].row(i), self.rays[other].row(i)];
                    [d2[pair][k], products[pair][k]] = measure(s, one, other);
                }
            }
            let pairing = Pairing {
                similar: &[false; GROUP_PAIRS][..len],
                weights: self.weights.map(|weights| &weights[some.clone()]),
                ignored: self.ignored.map(|ignored| &ignored[some.clone()]),
            };
            let mut slopes = d2;
            let three = slopes.each_mut().map(|of| &mut of[..len]);
            eval_triplets(self.loss, self.isa, three, pairing.ignored, &mut values[..len]);
            for (pair, curvatures) in curvatures.iter_mut().enumerate().take(3) {
                curvatures[..len].copy_from_slice(&d2[pair][..len]);
            }
            let six = curvatures.each_mut().map(|of| &mut of[..len]);
            bend_triplets(self.loss, self.isa, six, pairing.ignored);
            if !swaps {
                for of in [2, 4, 5] {
                    curvatures[of][..len].fill(T::ZERO);
                }
                slopes[2][..len].fill(T::ZERO);
            }
            let factors = [self.factor; 2];
            for of in slopes.iter_mut().chain(&mut curvatures) {
                scale_slopes(s, pairing, factors, &mut of[..len]);
            }
            for (pair, bends) in self.bends.iter_mut().enumerate() {
                bends.slopes[some.clone()].copy_from_slice(&slopes[pair][..len]);
                invert(s, &d2[pair][..len], &mut bends.inverses[some.clone()]);
            }
            // The stretch along pair l: the sum over k of C_kl δ̂_k·η_k.
            for l in 0..3 {
                self.bends[l].stretches[some.clone()].fill(T::ZERO);
                for k in 0..3 {
                    let mut part = curvatures[COUPLINGS[k][l]];
                    let inverses = &self.bends[k].inverses[some.clone()];
                    stretch(s, &products[k][..len], inverses, &mut part[..len]);
                    let sum = &mut self.bends[l].stretches[some.clone()];
                    for (sum, part) in sum.chunks_mut(S::LANES).zip(part[..len].chunks(S::LANES)) {
                        s.store(s.load(sum) + s.load(part), sum);
                    }
                }
            }
            if let Some(derivatives) = &mut self.derivatives {
                for (k, i) in some.enumerate() {
                    let ignored = pairing.ignored.is_some_and(|ignored| ignored[k]);
                    let pairs = if ignored { 0 } else { 2 + usize::from(swaps) };
                    derivatives[i] = (0..pairs)
                        .fold(T::ZERO, |sum, pair| sum + slopes[pair][k] * products[pair][k]);
                }
            }
        }
    }
}
