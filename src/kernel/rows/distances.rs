//! Distances of row i of one matrix to row i of another, and their gradients.
//!
//! Rows are read twice, in blocks that stay in L1 meanwhile: once for the numbers that all elements of a
//! row share (norms, slopes), once more for the results. Square roots and divisions are done for the rows
//! of a block together, one row in each lane. A row's results depend on that row alone, so blocks may be of
//! any height.

#![forbid(unsafe_code)]

use crate::kernel::vector::{Term, dot, row_sum, squared_distance};
use crate::memory::mat::{Mat, MatMut};
use crate::parallel::stop::look;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// The most rows of a block: a vector of them on the widest tier.
pub(crate) const ROWS_IN_L1: usize = 16;

/// Bytes of both matrices that a block takes: half of an L1 cache, so that the gradients have the other
/// half.
pub(crate) const BLOCK_BYTES: usize = 16 << 10;

/// A distance of two rows, and its gradients.
pub(crate) trait RowDistance: Copy + Send + Sync {
    /// out_i = distance of a_i and b_i, for a block of rows.
    fn values<T: Real, S: Simd<T>>(self, s: S, a: Mat<T>, b: Mat<T>, out: &mut [T]);

    /// upstream_i times the gradients of distance i by a_i and by b_i, for a block of rows.
    fn gradients<T: Real, S: Simd<T>>(
        self,
        s: S,
        inputs: [Mat<T>; 2],
        upstream: &[T],
        grads: [MatMut<T>; 2],
    );
}

/// The distance of each row of `a` to its row of `b`.
pub(crate) struct RowDistances<'a, T, D> {
    pub distance: D,
    pub a: Mat<'a, T>,
    pub b: Mat<'a, T>,
    pub out: &'a mut [T],
}

impl<T: Real, D: RowDistance> Kernel<T> for RowDistances<'_, T, D> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let height = block_height::<T>(self.a.cols());
        for (block, out) in self.out.chunks_mut(height).enumerate() {
            if block % 16 == 0 {
                look();
            }
            let (start, end) = (block * height, block * height + out.len());
            let (a, b) = (self.a.rows_range(start, end), self.b.rows_range(start, end));
            self.distance.values(s, a, b, out);
        }
    }
}

/// The gradients of [`RowDistances`], each row times its element of `upstream`.
pub(crate) struct RowDistancesBackward<'a, T, D> {
    pub distance: D,
    pub a: Mat<'a, T>,
    pub b: Mat<'a, T>,
    pub upstream: &'a [T],
    pub grads: [MatMut<'a, T>; 2],
}

impl<T: Real, D: RowDistance> Kernel<T> for RowDistancesBackward<'_, T, D> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let height = block_height::<T>(self.a.cols());
        let [mut grad_a, mut grad_b] = self.grads;
        for (block, upstream) in self.upstream.chunks(height).enumerate() {
            if block % 16 == 0 {
                look();
            }
            let (start, end) = (block * height, block * height + upstream.len());
            let inputs = [self.a.rows_range(start, end), self.b.rows_range(start, end)];
            let grads = [rows_mut(&mut grad_a, start, end), rows_mut(&mut grad_b, start, end)];
            self.distance.gradients(s, inputs, upstream, grads);
        }
    }
}

pub(crate) fn block_height<T>(cols: usize) -> usize {
    (BLOCK_BYTES / cols.saturating_mul(2 * size_of::<T>()).max(1)).clamp(1, ROWS_IN_L1)
}

pub(crate) fn rows_mut<'a, T>(of: &'a mut MatMut<T>, start: usize, end: usize) -> MatMut<'a, T> {
    of.rb_mut().split_rows_at(end).0.split_rows_at(start).1
}

/// |a - b|²: the gradient by a is 2 (a - b), that by b its negative.
#[derive(Clone, Copy)]
pub(crate) struct SquaredEuclidean;

impl RowDistance for SquaredEuclidean {
    #[inline(always)]
    fn values<T: Real, S: Simd<T>>(self, s: S, a: Mat<T>, b: Mat<T>, out: &mut [T]) {
        for (i, out) in out.iter_mut().enumerate() {
            *out = squared_distance(s, a.row(i), b.row(i));
        }
    }

    #[inline(always)]
    fn gradients<T: Real, S: Simd<T>>(
        self,
        s: S,
        [a, b]: [Mat<T>; 2],
        upstream: &[T],
        [mut grad_a, mut grad_b]: [MatMut<T>; 2],
    ) {
        for (i, &upstream) in upstream.iter().enumerate() {
            let gradient = ScaledDifference { slope: upstream + upstream };
            let grads = [grad_a.row_mut(i), grad_b.row_mut(i)];
            write_gradients(s, gradient, [a.row(i), b.row(i)], grads);
        }
    }
}

/// d = |a - b|: the gradient by a is (a - b) / d, that by b its negative, both 0 where d² is zero
/// or subnormal.
#[derive(Clone, Copy)]
pub(crate) struct Euclidean;

impl RowDistance for Euclidean {
    #[inline(always)]
    fn values<T: Real, S: Simd<T>>(self, s: S, a: Mat<T>, b: Mat<T>, out: &mut [T]) {
        SquaredEuclidean.values(s, a, b, out);
        for chunk in out.chunks_mut(S::LANES) {
            s.store(s.sqrt(s.load(chunk)), chunk);
        }
    }

    #[inline(always)]
    fn gradients<T: Real, S: Simd<T>>(
        self,
        s: S,
        [a, b]: [Mat<T>; 2],
        upstream: &[T],
        [mut grad_a, mut grad_b]: [MatMut<T>; 2],
    ) {
        let mut slopes = [T::ZERO; ROWS_IN_L1];
        SquaredEuclidean.values(s, a, b, &mut slopes[..upstream.len()]);
        inverse_roots(s, &mut slopes, upstream.len());
        for (i, &upstream) in upstream.iter().enumerate() {
            // A product rather than over_distance(upstream, ..): a NaN in `upstream` stays one.
            let gradient = ScaledDifference { slope: upstream * slopes[i] };
            let grads = [grad_a.row_mut(i), grad_b.row_mut(i)];
            write_gradients(s, gradient, [a.row(i), b.row(i)], grads);
        }
    }
}

/// a·b: the gradient by a is b, that by b is a.
#[derive(Clone, Copy)]
pub(crate) struct Dot;

impl RowDistance for Dot {
    #[inline(always)]
    fn values<T: Real, S: Simd<T>>(self, s: S, a: Mat<T>, b: Mat<T>, out: &mut [T]) {
        for (i, out) in out.iter_mut().enumerate() {
            *out = dot(s, a.row(i), b.row(i));
        }
    }

    #[inline(always)]
    fn gradients<T: Real, S: Simd<T>>(
        self,
        s: S,
        [a, b]: [Mat<T>; 2],
        upstream: &[T],
        [mut grad_a, mut grad_b]: [MatMut<T>; 2],
    ) {
        for (i, &upstream) in upstream.iter().enumerate() {
            let grads = [grad_a.row_mut(i), grad_b.row_mut(i)];
            write_gradients(s, Swapped { upstream }, [a.row(i), b.row(i)], grads);
        }
    }
}

/// c = 1 - cos(a, b) = |e|²/2 with e = â - b̂, where â = a/|a| and b̂ = b/|b|.
///
/// 1 - a·b / (|a||b|) would lose nearly parallel rows: its error is that of the 1. The error of e is that
/// of â, so c keeps its relative precision down to angles near the rounding error. The error of the norms
/// hardly matters: with â and b̂ off by factors 1 + s and 1 + t, c is off by (s + t) c + (s - t)²/2.
///
/// The derivative of a·b / (|a||b|) by a is (b̂ - cos â)/|a|, and cos = 1 - c, so
///
/// ```text
/// dc/da = (cos â - b̂)/|a| = (e - c â)/|a|        dc/db = (cos b̂ - â)/|b| = (-e - c b̂)/|b|
/// ```
///
/// The right-hand sides do not cancel between nearly parallel rows.
///
/// Where |a|² or |b|² is zero or subnormal there is no direction: c is 1 and both gradients are 0, unless
/// the other row has a NaN.
#[derive(Clone, Copy)]
pub(crate) struct Cosine;

impl RowDistance for Cosine {
    #[inline(always)]
    fn values<T: Real, S: Simd<T>>(self, s: S, a: Mat<T>, b: Mat<T>, out: &mut [T]) {
        let directions = Directions::of(s, [a, b]);
        for (i, out) in out.iter_mut().enumerate() {
            *out = match directions.of_row(i) {
                Some(units) => units.cosine_distance(s, a.row(i), b.row(i)),
                None => T::ONE,
            };
        }
    }

    #[inline(always)]
    fn gradients<T: Real, S: Simd<T>>(
        self,
        s: S,
        [a, b]: [Mat<T>; 2],
        upstream: &[T],
        [mut grad_a, mut grad_b]: [MatMut<T>; 2],
    ) {
        let directions = Directions::of(s, [a, b]);
        for (i, &upstream) in upstream.iter().enumerate() {
            let (inputs, grads) = ([a.row(i), b.row(i)], [grad_a.row_mut(i), grad_b.row_mut(i)]);
            match directions.of_row(i) {
                Some(units) => {
                    let distance = units.cosine_distance(s, a.row(i), b.row(i));
                    write_gradients(s, CosineGradient { units, distance, upstream }, inputs, grads);
                }
                // As everywhere, a NaN in `upstream` stays one.
                None => grads.into_iter().for_each(|grad| grad.fill(upstream * T::ZERO)),
            }
        }
    }
}

/// The squared lengths of the rows of a block, and 1 over the lengths: of `a`, then of `b`.
pub(crate) struct Directions<T> {
    squares: [[T; ROWS_IN_L1]; 2],
    inverses: [[T; ROWS_IN_L1]; 2],
}

impl<T: Real> Directions<T> {
    #[inline(always)]
    fn of<S: Simd<T>>(s: S, inputs: [Mat<T>; 2]) -> Self {
        let mut squares = [[T::ZERO; ROWS_IN_L1]; 2];
        for (squares, rows) in squares.iter_mut().zip(inputs) {
            for i in 0..rows.rows() {
                squares[i] = dot(s, rows.row(i), rows.row(i));
            }
        }
        let mut inverses = squares;
        for inverses in &mut inverses {
            inverse_roots(s, inverses, inputs[0].rows());
        }
        Directions { squares, inverses }
    }

    /// The factors that make unit vectors of the rows i; `None` where one of them has no direction.
    #[inline(always)]
    fn of_row(&self, i: usize) -> Option<Units<T>> {
        let [a2, b2] = [self.squares[0][i], self.squares[1][i]];
        // A comparison with 0 is false for a NaN, which is to reach the results.
        let none =
            (a2 < T::MIN_POSITIVE && b2 >= T::ZERO) || (b2 < T::MIN_POSITIVE && a2 >= T::ZERO);
        (!none).then_some(Units { a: self.inverses[0][i], b: self.inverses[1][i] })
    }
}

/// 1/|a| and 1/|b|.
#[derive(Clone, Copy)]
pub(crate) struct Units<T> {
    a: T,
    b: T,
}

impl<T: Real> Units<T> {
    /// â, b̂ and â - b̂. Not fused, so that equal rows differ by exactly 0, and both sides can change
    /// places.
    #[inline(always)]
    fn lanes<S: Simd<T>>(self, s: S, a: S::F, b: S::F) -> [S::F; 3] {
        let (a, b) = (a * s.splat(self.a), b * s.splat(self.b));
        [a, b, a - b]
    }

    /// |â - b̂|²/2
    #[inline(always)]
    fn cosine_distance<S: Simd<T>>(self, s: S, a: &[T], b: &[T]) -> T {
        T::from_f64(0.5) * row_sum(s, self, a, b)
    }
}

/// x_i = 1/√x_i for the first `n`, but 0 where x_i is zero or subnormal: a reciprocal distance by
/// the rule for zero distance. The rest of their last vector is overwritten.
#[inline(always)]
pub(crate) fn inverse_roots<T: Real, S: Simd<T>>(s: S, x: &mut [T; ROWS_IN_L1], n: usize) {
    // Whole vectors, because reading single elements of a masked store would wait for it.
    for x in x.chunks_exact_mut(S::LANES).take(n.div_ceil(S::LANES)) {
        let square = s.load(x);
        s.store(s.over_distance(s.splat(T::ONE), s.sqrt(square), square), x);
    }
}

/// (â - b̂)²
impl<T: Real> Term<T> for Units<T> {
    #[inline(always)]
    fn add<S: Simd<T>>(self, s: S, sum: S::F, a: S::F, b: S::F) -> S::F {
        let [.., e] = self.lanes(s, a, b);
        s.fma(e, e, sum)
    }
}

/// The squared length of a row times a power of two.
#[inline(always)]
pub(crate) fn scaled_square<T: Real, S: Simd<T>>(s: S, a: &[T], power: T) -> T {
    let power = s.splat(power);
    let mut sum = s.splat(T::ZERO);
    for a in a.chunks(S::LANES) {
        let a = s.load(a) * power;
        sum = s.fma(a, a, sum);
    }
    s.sum(sum)
}

/// Elements of both gradients from a pair of elements of the rows.
pub(crate) trait PairGradient<T: Real>: Copy {
    fn lanes<S: Simd<T>>(self, s: S, a: S::F, b: S::F) -> [S::F; 2];
}

/// slope (a - b) and its negative.
#[derive(Clone, Copy)]
pub(crate) struct ScaledDifference<T> {
    slope: T,
}

impl<T: Real> PairGradient<T> for ScaledDifference<T> {
    #[inline(always)]
    fn lanes<S: Simd<T>>(self, s: S, a: S::F, b: S::F) -> [S::F; 2] {
        let g = s.splat(self.slope) * (a - b);
        [g, -g]
    }
}

/// upstream b and upstream a.
#[derive(Clone, Copy)]
pub(crate) struct Swapped<T> {
    upstream: T,
}

impl<T: Real> PairGradient<T> for Swapped<T> {
    #[inline(always)]
    fn lanes<S: Simd<T>>(self, s: S, a: S::F, b: S::F) -> [S::F; 2] {
        let upstream = s.splat(self.upstream);
        [upstream * b, upstream * a]
    }
}

/// upstream (e - c â)/|a| and upstream (-e - c b̂)/|b|: see [`Cosine`].
#[derive(Clone, Copy)]
pub(crate) struct CosineGradient<T> {
    units: Units<T>,
    distance: T,
    upstream: T,
}

impl<T: Real> PairGradient<T> for CosineGradient<T> {
    #[inline(always)]
    fn lanes<S: Simd<T>>(self, s: S, a: S::F, b: S::F) -> [S::F; 2] {
        let [a, b, e] = self.units.lanes(s, a, b);
        let c = s.splat(self.distance);
        let by_a = s.splat(self.upstream * self.units.a);
        let by_b = s.splat(self.upstream * self.units.b);
        [by_a * s.fma(-c, a, e), by_b * s.fma(-c, b, -e)]
    }
}

/// Both gradients of a pair of rows; all four slices are equally long.
#[inline(always)]
pub(crate) fn write_gradients<T: Real, S: Simd<T>>(
    s: S,
    gradient: impl PairGradient<T>,
    [a, b]: [&[T]; 2],
    [grad_a, grad_b]: [&mut [T]; 2],
) {
    let whole = a.len() - a.len() % S::LANES;
    let ((a, a_end), (b, b_end)) = (a.split_at(whole), b.split_at(whole));
    let (grad_a, grad_a_end) = grad_a.split_at_mut(whole);
    let (grad_b, grad_b_end) = grad_b.split_at_mut(whole);
    let inputs = a.chunks_exact(S::LANES).zip(b.chunks_exact(S::LANES));
    let grads = grad_a.chunks_exact_mut(S::LANES).zip(grad_b.chunks_exact_mut(S::LANES));
    for ((a, b), (grad_a, grad_b)) in inputs.zip(grads) {
        let [by_a, by_b] = gradient.lanes(s, s.load(a), s.load(b));
        s.store(by_a, grad_a);
        s.store(by_b, grad_b);
    }
    let [by_a, by_b] = gradient.lanes(s, s.load(a_end), s.load(b_end));
    s.store(by_a, grad_a_end);
    s.store(by_b, grad_b_end);
}
