//! Average pooling of one image map, forward and backward, with the affine map of a subsampling
//! layer folded in.

#![forbid(unsafe_code)]

use crate::real::Real;
use crate::simd::{Kernel, Simd};

/// Sizes of a pooling: maps of `input` (height, width) to maps of `output`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pooling {
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
}

/// y = coefficient mean + bias over each window of a map.
pub(crate) struct PoolForward<'a, T> {
    pub sizes: Pooling,
    pub coefficient: T,
    pub bias: T,
    pub x: &'a [T],
    pub y: &'a mut [T],
    /// [`Pooling::row_len`] elements.
    pub row: &'a mut [T],
}

impl<T: Real> Kernel<T> for PoolForward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Pooling { output: [_, out_width], kernel, .. } = self.sizes;
        let scale = self.coefficient / T::from_f64((kernel * kernel) as f64);
        for (oy, y) in self.y.chunks_exact_mut(out_width).enumerate() {
            column_sums(s, &self.sizes, self.x, oy, self.row);
            for (ox, y) in y.iter_mut().enumerate() {
                *y = window_sum(&self.sizes, self.row, ox) * scale + self.bias;
            }
        }
    }
}

/// dx of [`PoolForward`]; returns the gradients of the coefficient and of the bias.
pub(crate) struct PoolBackward<'a, T> {
    pub sizes: Pooling,
    pub coefficient: T,
    pub x: &'a [T],
    pub dy: &'a [T],
    pub dx: Option<&'a mut [T]>,
    /// [`Pooling::row_len`] elements.
    pub row: &'a mut [T],
}

impl<T: Real> Kernel<T> for PoolBackward<'_, T> {
    type Output = [T; 2];

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> [T; 2] {
        let Pooling { input: [_, width], output: [_, out_width], kernel, stride } = self.sizes;
        let mean = T::ONE / T::from_f64((kernel * kernel) as f64);
        let scale = self.coefficient * mean;
        let (mut d_coefficient, mut d_bias) = (T::ZERO, T::ZERO);
        let mut dx = self.dx;
        if let Some(dx) = &mut dx {
            dx.fill(T::ZERO);
        }
        for (oy, dy) in self.dy.chunks_exact(out_width).enumerate() {
            column_sums(s, &self.sizes, self.x, oy, self.row);
            for (ox, &dy) in dy.iter().enumerate() {
                d_coefficient += dy * window_sum(&self.sizes, self.row, ox);
                d_bias += dy;
            }
            let Some(dx) = &mut dx else { continue };
            // The row is free again: what one row of the output adds to each row of its window.
            self.row.fill(T::ZERO);
            for (ox, &dy) in dy.iter().enumerate() {
                for slot in &mut self.row[ox * stride..][..kernel] {
                    *slot += dy * scale;
                }
            }
            for dx in dx[oy * stride * width..].chunks_exact_mut(width).take(kernel) {
                if stride >= kernel {
                    // Windows do not overlap: nothing is there yet.
                    dx.copy_from_slice(&self.row[..width]);
                } else {
                    add(s, &self.row[..width], dx);
                }
            }
        }
        [d_coefficient * mean, d_bias]
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
pub(crate) fn add<T: Real, S: Simd<T>>(s: S, from: &[T], to: &mut [T]) {
    for (from, to) in from.chunks(S::LANES).zip(to.chunks_mut(S::LANES)) {
        s.store(s.load(from) + s.load(to), to);
    }
}
