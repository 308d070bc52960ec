//! Average pooling of the maps of a group of images, forward and backward, with the affine map of a
//! subsampling layer folded in.
//!
//! Images of a group lie interleaved, as [`conv`](super::conv) says, so that each pixel is a vector, or
//! part of one; an image by itself is pooled along rows.

#![forbid(unsafe_code)]

use std::ops::Range;

use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// Sizes of a pooling: maps of `input` (height, width) to maps of `output`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pooling {
    pub channels: usize,
    pub input: [usize; 2],
    pub output: [usize; 2],
    pub kernel: usize,
    pub stride: usize,
}

impl Pooling {
    /// Elements of a row of scratch: a row of the input, rounded up to whole vectors of any tier,
    /// so that none of them is stored in part. (Reading back what a masked store has written
    /// stalls.)
    pub(crate) fn row_len(&self) -> usize {
        self.input[1].div_ceil(16).saturating_mul(16)
    }

    pub(crate) fn input_map(&self) -> usize {
        self.input[0] * self.input[1]
    }

    pub(crate) fn output_map(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Whether no pixel is in two windows.
    pub(crate) fn is_disjoint(&self) -> bool {
        self.stride >= self.kernel
    }

    /// Element ranges of some rows of a map's input, and of the rows of its output whose windows start in
    /// them. The rows go from the start of a window to the end of one, or of the map.
    pub(crate) fn parts(&self, rows: &Range<usize>, group: usize) -> [Range<usize>; 2] {
        let windows = rows.start / self.stride..rows.end.div_ceil(self.stride).min(self.output[0]);
        let part = |rows: Range<usize>, width: usize| {
            let start = rows.start.min(rows.end);
            start * width * group..rows.end * width * group
        };
        [part(rows.clone(), self.input[1]), part(windows, self.output[1])]
    }

    /// Whether each pixel of the input is in exactly one window.
    pub(crate) fn tiles(&self) -> bool {
        let covered = [self.output[0] * self.kernel, self.output[1] * self.kernel];
        self.stride == self.kernel && covered == self.input
    }

    /// Starts of the windows of a map in its input, row by row.
    #[inline(always)]
    pub(crate) fn windows(&self) -> impl Iterator<Item = usize> {
        let Pooling { input: [_, width], output: [rows, columns], stride, .. } = *self;
        (0..rows).flat_map(move |y| (0..columns).map(move |x| y * stride * width + x * stride))
    }

    /// The pixels of the window that starts at one, row by row.
    #[inline(always)]
    pub(crate) fn window(&self, start: usize) -> impl Iterator<Item = usize> {
        let (kernel, width) = (self.kernel, self.input[1]);
        (0..kernel).flat_map(move |y| (0..kernel).map(move |x| start + y * width + x))
    }
}

/// Coefficient and bias of each map, by which its mean is scaled and shifted; `None` for the plain mean.
pub(crate) type Affine<'a, T> = Option<[&'a [T]; 2]>;

/// y = coefficient mean + bias over each window of each map. `x` is (channels, height, width, group) of the
/// input, `y` of the output.
pub(crate) struct PoolForward<'a, T> {
    pub sizes: Pooling,
    /// Images that lie interleaved.
    pub group: usize,
    pub affine: Affine<'a, T>,
    pub x: &'a [T],
    pub y: &'a mut [T],
    /// [`Pooling::row_len`] elements.
    pub row: &'a mut [T],
}

impl<T: Real> Kernel<T> for PoolForward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let PoolForward { sizes, group, affine, x, y, row } = self;
        let area = T::from_f64((sizes.kernel * sizes.kernel) as f64);
        let maps = x.chunks_exact(sizes.input_map() * group);
        let maps = maps.zip(y.chunks_exact_mut(sizes.output_map() * group));
        for (map, (x, y)) in maps.enumerate() {
            let [coefficient, bias] = match affine {
                Some([coefficients, biases]) => [coefficients[map], biases[map]],
                None => [T::ONE, T::ZERO],
            };
            let scale = coefficient / area;
            if group == 1 {
                for (oy, y) in y.chunks_exact_mut(sizes.output[1]).enumerate() {
                    column_sums(s, &sizes, x, oy, row);
                    for (ox, y) in y.iter_mut().enumerate() {
                        *y = window_sum(&sizes, row, ox) * scale + bias;
                    }
                }
            } else {
                let (scale, bias) = (s.splat(scale), s.splat(bias));
                for (from, y) in sizes.windows().zip(y.chunks_exact_mut(group)) {
                    let sums = pixel_sums(s, &sizes, group, &x[from * group..]);
                    s.store(s.fma(sums, scale, bias), y);
                }
            }
        }
    }
}

/// dx for some rows of windows of one map; returns the part that these windows have in the gradients of its
/// coefficient and bias.
///
/// `x`, `dy` and `dx` start at the first of the rows. Pixels that no window reaches get 0.
pub(crate) struct PoolBackward<'a, T> {
    pub sizes: Pooling,
    pub group: usize,
    pub coefficient: T,
    pub x: &'a [T],
    pub dy: &'a [T],
    pub dx: Option<&'a mut [T]>,
    /// Whether the gradients of coefficient and bias are wanted; they are 0 otherwise.
    pub affine: bool,
    /// [`Pooling::row_len`] elements.
    pub row: &'a mut [T],
}

impl<T: Real> Kernel<T> for PoolBackward<'_, T> {
    type Output = [T; 2];

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> [T; 2] {
        let PoolBackward { sizes, group, coefficient, x, dy, dx, affine, row } = self;
        let mean = T::ONE / T::from_f64((sizes.kernel * sizes.kernel) as f64);
        let scale = coefficient * mean;
        if let Some(dx) = dx {
            if !sizes.tiles() {
                dx.fill(T::ZERO);
            }
            if group == 1 {
                spread_by_rows(s, &sizes, scale, dy, dx, row);
            } else {
                spread(s, &sizes, group, s.splat(scale), dy, dx);
            }
        }
        if !affine {
            return [T::ZERO; 2];
        }
        let [d_coefficient, d_bias] = if group == 1 {
            affine_gradient_by_rows(s, &sizes, x, dy, row)
        } else {
            affine_gradient(s, &sizes, group, x, dy)
        };
        [d_coefficient * mean, d_bias]
    }
}

/// The sum over a window's pixels, each of them a vector.
#[inline(always)]
fn pixel_sums<T: Real, S: Simd<T>>(s: S, sizes: &Pooling, group: usize, x: &[T]) -> S::F {
    let mut sum = s.splat(T::ZERO);
    for row in 0..sizes.kernel {
        let row = &x[row * sizes.input[1] * group..][..sizes.kernel * group];
        for pixel in row.chunks_exact(group) {
            sum = sum + s.load(pixel);
        }
    }
    sum
}

/// The sum of dy times its window's sum, and the sum of dy, over all windows.
#[inline(always)]
fn affine_gradient<T: Real, S: Simd<T>>(
    s: S,
    sizes: &Pooling,
    group: usize,
    x: &[T],
    dy: &[T],
) -> [T; 2] {
    let (mut d_coefficient, mut d_bias) = (s.splat(T::ZERO), s.splat(T::ZERO));
    for (from, dy) in sizes.windows().zip(dy.chunks_exact(group)) {
        let dy = s.load(dy);
        let sums = pixel_sums(s, sizes, group, &x[from * group..]);
        d_coefficient = s.fma(dy, sums, d_coefficient);
        d_bias = d_bias + dy;
    }
    [s.sum(d_coefficient), s.sum(d_bias)]
}

#[inline(always)]
fn affine_gradient_by_rows<T: Real, S: Simd<T>>(
    s: S,
    sizes: &Pooling,
    x: &[T],
    dy: &[T],
    row: &mut [T],
) -> [T; 2] {
    let (mut d_coefficient, mut d_bias) = (T::ZERO, T::ZERO);
    for (oy, dy) in dy.chunks_exact(sizes.output[1]).enumerate() {
        column_sums(s, sizes, x, oy, row);
        for (ox, &dy) in dy.iter().enumerate() {
            d_coefficient += dy * window_sum(sizes, row, ox);
            d_bias += dy;
        }
    }
    [d_coefficient, d_bias]
}

/// Gives each pixel of a window its share of the window's gradient.
#[inline(always)]
fn spread<T: Real, S: Simd<T>>(
    s: S,
    sizes: &Pooling,
    group: usize,
    scale: S::F,
    dy: &[T],
    dx: &mut [T],
) {
    let overlap = !sizes.is_disjoint();
    for (from, dy) in sizes.windows().zip(dy.chunks_exact(group)) {
        let share = s.load(dy) * scale;
        for row in 0..sizes.kernel {
            let from = (from + row * sizes.input[1]) * group;
            for pixel in dx[from..][..sizes.kernel * group].chunks_exact_mut(group) {
                s.store(if overlap { s.load(pixel) + share } else { share }, pixel);
            }
        }
    }
}

#[inline(always)]
fn spread_by_rows<T: Real, S: Simd<T>>(
    s: S,
    sizes: &Pooling,
    scale: T,
    dy: &[T],
    dx: &mut [T],
    row: &mut [T],
) {
    let Pooling { input: [_, width], output: [_, columns], kernel, stride, .. } = *sizes;
    for (oy, dy) in dy.chunks_exact(columns).enumerate() {
        // `row` is the gradient that one row of the output adds to each row of its windows.
        row.fill(T::ZERO);
        for (ox, &dy) in dy.iter().enumerate() {
            for slot in &mut row[ox * stride..][..kernel] {
                *slot += dy * scale;
            }
        }
        for dx in dx[oy * stride * width..].chunks_exact_mut(width).take(kernel) {
            if sizes.is_disjoint() {
                // Windows do not overlap: nothing is there yet.
                dx.copy_from_slice(&row[..width]);
            } else {
                add(s, &row[..width], dx);
            }
        }
    }
}

/// The sums of the rows of the windows of an output row, column by column.
#[inline(always)]
fn column_sums<T: Real, S: Simd<T>>(s: S, sizes: &Pooling, x: &[T], oy: usize, sums: &mut [T]) {
    let width = sizes.input[1];
    let x = &x[oy * sizes.stride * width..][..sizes.kernel * width];
    for (at, sums) in sums.chunks_exact_mut(S::LANES).enumerate() {
        let from = (at * S::LANES).min(width);
        let to = (from + S::LANES).min(width);
        let mut sum = s.load(&x[from..to]);
        for row in x.chunks_exact(width).skip(1) {
            sum = sum + s.load(&row[from..to]);
        }
        s.store(sum, sums);
    }
}

/// The sum over a window from the column sums.
#[inline(always)]
fn window_sum<T: Real>(sizes: &Pooling, row: &[T], ox: usize) -> T {
    row[ox * sizes.stride..][..sizes.kernel].iter().fold(T::ZERO, |sum, &x| sum + x)
}

/// to += from
#[inline(always)]
fn add<T: Real, S: Simd<T>>(s: S, from: &[T], to: &mut [T]) {
    for (from, to) in from.chunks(S::LANES).zip(to.chunks_mut(S::LANES)) {
        s.store(s.load(from) + s.load(to), to);
    }
}
