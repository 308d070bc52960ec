//! Pairs by rows: row i of one matrix with row i of another.
//!
//! A few pairs at a time are measured and get their gradients written, while their rows are still
//! in L1: memory is read once and written once.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::pair_blocks::PairLayout;
use super::streaming::{DifferenceGradient, StreamCursor, write_row};
use crate::kernel::blocking::GROUP_PAIRS;
use crate::kernel::vector::squared_distance;
use crate::memory::mat::{Mat, MatMut};
use crate::simd::Simd;
use crate::simd::real::Real;

/// Both gradients, to be overwritten.
pub(crate) type Gradients<'a, T> = Option<(MatMut<'a, T>, MatMut<'a, T>)>;

/// Row i of `a` with row i of `b`.
pub(crate) struct PairRows<'a, T> {
    pub a: Mat<'a, T>,
    pub b: Mat<'a, T>,
    pub grads: Gradients<'a, T>,
    /// Whether gradients are too large for the caches. If so, those of rows without gaps are written past
    /// the caches.
    pub past_caches: bool,
    pub cut: StreamCursor<T, 1>,
}

/// How many rows of `inputs` matrices are measured before their gradients are written.
///
/// Measured with a sketch of this loop on one thread of a Zen 4 core, with aligned outputs. Within the
/// caches: as many as stay in L1 (2048 x 128: 56 us with 16 KiB, 69 with 32, 70 with 4). Beyond them: so
/// few that reading the next rows starts while the last gradients are still being written, all within what
/// the processor reorders (65536 x 128: 3.0 ms with 4 KiB, 3.5 with 16, 4.2 with 32).
///
/// Did not help: prefetching rows, by 1 or 4 KiB or a block; measuring a block while the gradients of the
/// one before are written, row by row.
pub(crate) fn step<T>(inputs: usize, cols: usize, past_caches: bool) -> usize {
    let bytes = if past_caches { 4 << 10 } else { 16 << 10 };
    (bytes / cols.saturating_mul(inputs * size_of::<T>()).max(1)).clamp(1, GROUP_PAIRS)
}

impl<T: Real> PairLayout<T> for PairRows<'_, T> {
    #[inline(always)]
    fn squared_distances<S: Simd<T>>(&self, s: S, pairs: Range<usize>, d2: &mut [T]) {
        for (i, d2) in pairs.zip(d2) {
            *d2 = squared_distance(s, self.a.row(i), self.b.row(i));
        }
    }

    #[inline(always)]
    fn gradients<S: Simd<T>>(
        &mut self,
        s: S,
        pairs: Range<usize>,
        slopes: &[T],
        ignored: Option<&[bool]>,
    ) {
        let Some((grad_a, grad_b)) = &mut self.grads else { return };
        let (cols, cut) = (self.a.cols(), &mut self.cut);
        let mut apart = ignored.is_some_and(|ignored| ignored.contains(&true));
        let gapless =
            (self.a.as_slice(), self.b.as_slice(), grad_a.as_mut_slice(), grad_b.as_mut_slice());
        if let (Some(a), Some(b), Some(grad_a), Some(grad_b)) = gapless
            && cols >= S::LANES
        {
            let (gradient, grads) = (DifferenceGradient { a, b }, [grad_a, grad_b]);
            if apart {
                cut.flush(s, gradient, pairs.start * cols, grads);
            } else {
                cut.rows(s, gradient, [pairs.start, cols], [slopes], grads, self.past_caches);
            }
        } else {
            apart = true;
        }
        if apart {
            for (i, (pair, &slope)) in pairs.clone().zip(slopes).enumerate() {
                let grads = [grad_a.row_mut(pair), grad_b.row_mut(pair)];
                if ignored.is_some_and(|ignored| ignored[i]) {
                    grads.into_iter().for_each(|grad| grad.fill(T::ZERO));
                } else {
                    let gradient = DifferenceGradient { a: self.a.row(pair), b: self.b.row(pair) };
                    write_row(s, gradient, [slope], grads);
                }
            }
            cut.resume(pairs.end * cols);
        }
    }
}

/// |a - b|² of a row with each of `R` others, with the bits of [`squared_distance`]. Sums of several pairs
/// hide each other's latency, and each loaded vector of `a` serves all of them.
#[inline(always)]
pub(crate) fn squared_distances<T: Real, S: Simd<T>, const R: usize>(
    s: S,
    a: &[T],
    mut others: [&[T]; R],
) -> [T; R] {
    let len = a.len();
    // Loops, since closures of `map` would be calls, compiled without the tier's features.
    for b in &mut others {
        *b = &b[..len];
    }
    let mut sums = [[s.splat(T::ZERO); 4]; R];
    let whole = len - len % (4 * S::LANES);
    for start in (0..whole).step_by(4 * S::LANES) {
        for k in 0..4 {
            let at = start + k * S::LANES..start + (k + 1) * S::LANES;
            let x = s.load(&a[at.clone()]);
            for r in 0..R {
                let t = x - s.load(&others[r][at.clone()]);
                sums[r][k] = s.fma(t, t, sums[r][k]);
            }
        }
    }
    for k in 0..4 {
        let start = whole + k * S::LANES;
        if start >= len {
            break;
        }
        let x = s.load(&a[start..]);
        for r in 0..R {
            let t = x - s.load(&others[r][start..]);
            sums[r][k] = s.fma(t, t, sums[r][k]);
        }
    }
    let mut d2 = [T::ZERO; R];
    for r in 0..R {
        d2[r] = s.sum((sums[r][0] + sums[r][1]) + (sums[r][2] + sums[r][3]));
    }
    d2
}
