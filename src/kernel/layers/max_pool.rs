//! Max pooling of the maps of a group of images, forward and backward.
//!
//! The gradient of a window goes to its largest pixel, the first one of several. A NaN counts as larger
//! than any number.

#![forbid(unsafe_code)]

use super::avg_pool::Pooling;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// y = the largest pixel of each window of each map.
pub(crate) struct MaxForward<'a, T> {
    pub sizes: Pooling,
    /// Images that lie interleaved.
    pub group: usize,
    pub x: &'a [T],
    pub y: &'a mut [T],
}

impl<T: Real> Kernel<T> for MaxForward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let MaxForward { sizes, group, x, y } = self;
        let maps = x.chunks_exact(sizes.input_map() * group);
        for (x, y) in maps.zip(y.chunks_exact_mut(sizes.output_map() * group)) {
            for (start, y) in sizes.windows().zip(y.chunks_exact_mut(group)) {
                s.store(largest(s, &sizes, group, x, start), y);
            }
        }
    }
}

/// dx of some rows of windows of one map; `x`, `dy` and `dx` start at the first of them.
pub(crate) struct MaxBackward<'a, T> {
    pub sizes: Pooling,
    pub group: usize,
    pub x: &'a [T],
    pub dy: &'a [T],
    pub dx: &'a mut [T],
}

impl<T: Real> Kernel<T> for MaxBackward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let MaxBackward { sizes, group, x, dy, dx } = self;
        let zero = s.splat(T::ZERO);
        dx.fill(T::ZERO);
        for (start, dy) in sizes.windows().zip(dy.chunks_exact(group)) {
            let (largest, dy) = (largest(s, &sizes, group, x, start), s.load(dy));
            let mut open = s.splat_mask(true);
            for at in sizes.window(start) {
                let pixel = s.load(&x[at * group..][..group]);
                let takes = open & (s.eq(pixel, largest) | !s.eq(pixel, pixel));
                open = open & !takes;
                let dx = &mut dx[at * group..][..group];
                s.store(s.load(dx) + s.select(takes, dy, zero), dx);
            }
        }
    }
}

/// The largest pixel of the window that starts at `start`, in each lane.
#[inline(always)]
fn largest<T: Real, S: Simd<T>>(
    s: S,
    sizes: &Pooling,
    group: usize,
    x: &[T],
    start: usize,
) -> S::F {
    let mut largest = s.load(&x[start * group..][..group]);
    for at in sizes.window(start) {
        let pixel = s.load(&x[at * group..][..group]);
        let larger = s.lt(largest, pixel) | !s.eq(pixel, pixel);
        largest = s.select(larger, pixel, largest);
    }
    largest
}
