//! Average pooling of one image map, forward and backward, with the affine map of a subsampling
//! layer folded in.

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

/// y = coefficient mean + bias over each window of a map.
pub(crate) struct PoolForward<'a, T> {
    pub sizes: Pooling,
    pub coefficient: T,
    pub bias: T,
    pub x: &'a [T],
    pub y: &'a mut [T],
    /// One row of the input map.
    pub row: &'a mut [T],
}

impl<T: Real> Kernel<T> for PoolForward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Pooling { input: [_, width], output: [_, out_width], kernel, stride } = self.sizes;
        let scale = self.coefficient / T::from_f64((kernel * kernel) as f64);
        for (oy, y) in self.y.chunks_exact_mut(out_width).enumerate() {
            let window = &self.x[oy * stride * width..];
            column_sums(s, window, width, kernel, self.row);
            for (ox, y) in y.iter_mut().enumerate() {
                let sum = self.row[ox * stride..][..kernel].iter().fold(T::ZERO, |a, &b| a + b);
                *y = sum * scale + self.bias;
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
    /// One row of the input map.
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
            column_sums(s, &self.x[oy * stride * width..], width, kernel, self.row);
            for (ox, &dy) in dy.iter().enumerate() {
                let sum = self.row[ox * stride..][..kernel].iter().fold(T::ZERO, |a, &b| a + b);
                d_coefficient += dy * sum;
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
                add(s, self.row, dx);
            }
        }
        [d_coefficient * mean, d_bias]
    }
}

/// The sums of `kernel` rows of `width` elements, column by column.
#[inline(always)]
fn column_sums<T: Real, S: Simd<T>>(s: S, x: &[T], width: usize, kernel: usize, sums: &mut [T]) {
    sums.copy_from_slice(&x[..width]);
    for row in x.chunks_exact(width).take(kernel).skip(1) {
        add(s, row, sums);
    }
}

/// to += from
#[inline(always)]
pub(crate) fn add<T: Real, S: Simd<T>>(s: S, from: &[T], to: &mut [T]) {
    for (from, to) in from.chunks(S::LANES).zip(to.chunks_mut(S::LANES)) {
        s.store(s.load(from) + s.load(to), to);
    }
}
