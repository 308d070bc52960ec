//! Pairs by rows: row i of one matrix with row i of another.
//!
//! A block of pairs, small enough for its rows to stay cached between the two times they are read,
//! goes through three steps: squared distances, one call of the loss that turns them into slopes,
//! differences times slopes into both gradients. Memory is read once and written once.

#![forbid(unsafe_code)]

use std::marker::PhantomData;

use super::gradients::{scaled_difference, scaled_differences};
use crate::isa::Isa;
use crate::loss::{BlockLoss, BlockSum};
use crate::mat::{Mat, MatMut};
use crate::real::Real;
use crate::simd::{Kernel, Simd};

/// The most pairs that go through the loss in one call.
pub(crate) const BLOCK_PAIRS: usize = 256;

/// Bytes of both matrices that a block of pairs takes, where that is at least a vector of pairs: they
/// stay in L1, or nearly so. (65536 x 128 on two threads: 1.8 ms; with 16 KiB 2.1 ms, because
/// reading and writing take turns more often.)
const BLOCK_BYTES: usize = 32 << 10;

/// Both gradients, to be overwritten.
pub(crate) type Gradients<'a, T> = Option<(MatMut<'a, T>, MatMut<'a, T>)>;

/// Sum of the values of the pairs (a_i, b_i) and, if asked for, both gradients times `factor`.
pub(crate) struct PairRows<'a, T> {
    pub isa: Isa,
    pub loss: &'a dyn BlockLoss<T>,
    pub a: Mat<'a, T>,
    pub b: Mat<'a, T>,
    pub similar: &'a [bool],
    pub factor: T,
    pub grads: Gradients<'a, T>,
    /// Whether gradients are too large for the caches; those of gapless rows go past them then.
    pub past_caches: bool,
}

impl<T: Real> Kernel<T> for PairRows<'_, T> {
    type Output = BlockSum;

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> BlockSum {
        let (rows, cols) = (self.a.rows(), self.a.cols());
        let height = block_height::<T>(cols);
        let mut grads = self.grads;
        let _fence = self.past_caches.then(|| FenceAtEnd(s, PhantomData));
        let mut buffer = [T::ZERO; BLOCK_PAIRS];
        let mut sum = BlockSum::default();
        for start in (0..rows).step_by(height) {
            let end = (start + height).min(rows);
            let (a, b) = (self.a.rows_range(start, end), self.b.rows_range(start, end));
            let d2 = &mut buffer[..end - start];
            squared_distances(s, a, b, d2);
            sum = sum.add(self.loss.eval_block(self.isa, d2, &self.similar[start..end]));
            let Some((grad_a, grad_b)) = &mut grads else { continue };
            let slopes = d2;
            slopes.iter_mut().for_each(|slope| *slope = *slope * self.factor);
            let gapless =
                (a.as_slice(), b.as_slice(), grad_a.as_mut_slice(), grad_b.as_mut_slice());
            match gapless {
                (Some(a), Some(b), Some(grad_a), Some(grad_b)) if cols >= S::LANES => {
                    let block = start * cols..end * cols;
                    let grads = [&mut grad_a[block.clone()], &mut grad_b[block]];
                    if self.past_caches {
                        scaled_differences::<T, S, true>(s, slopes, [a, b], grads);
                    } else {
                        scaled_differences::<T, S, false>(s, slopes, [a, b], grads);
                    }
                }
                _ => {
                    for (i, &slope) in slopes.iter().enumerate() {
                        let grads = [grad_a.row_mut(start + i), grad_b.row_mut(start + i)];
                        scaled_difference(s, slope, [a.row(i), b.row(i)], grads);
                    }
                }
            }
        }
        sum
    }
}

/// Fences when it goes, also when a loss panics between two blocks.
struct FenceAtEnd<T: Real, S: Simd<T>>(S, PhantomData<T>);

impl<T: Real, S: Simd<T>> Drop for FenceAtEnd<T, S> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.fence();
    }
}

/// Pairs in a block: a function of the shape alone, since it decides the order of addition.
fn block_height<T>(cols: usize) -> usize {
    (BLOCK_BYTES / cols.saturating_mul(2 * size_of::<T>()).max(1)).clamp(16, BLOCK_PAIRS)
}

/// d2_i = |a_i - b_i|²
#[inline(always)]
fn squared_distances<T: Real, S: Simd<T>>(s: S, a: Mat<T>, b: Mat<T>, d2: &mut [T]) {
    for (i, d2) in d2.iter_mut().enumerate() {
        *d2 = squared_distance(s, a.row(i), b.row(i));
    }
}

/// |a - b|² with four independent sums.
///
/// Did not help: adding up the lanes of sixteen rows together, by a tree of sums of neighbouring
/// lanes (2048 x 128 on one thread: 0.051 ms instead of 0.043).
#[inline(always)]
pub(crate) fn squared_distance<T: Real, S: Simd<T>>(s: S, a: &[T], b: &[T]) -> T {
    let b = &b[..a.len()];
    let zero = s.splat(T::ZERO);
    let mut sums = [zero; 4];
    let mut a4 = a.chunks_exact(4 * S::LANES);
    let mut b4 = b.chunks_exact(4 * S::LANES);
    for (a, b) in a4.by_ref().zip(b4.by_ref()) {
        for k in 0..4 {
            let t = s.load(&a[k * S::LANES..][..S::LANES]) - s.load(&b[k * S::LANES..][..S::LANES]);
            sums[k] = s.fma(t, t, sums[k]);
        }
    }
    let rest = a4.remainder().chunks(S::LANES).zip(b4.remainder().chunks(S::LANES));
    for (k, (a, b)) in rest.enumerate() {
        let t = s.load(a) - s.load(b);
        sums[k & 3] = s.fma(t, t, sums[k & 3]);
    }
    s.sum((sums[0] + sums[1]) + (sums[2] + sums[3]))
}
