//! Triplets of rows of one batch, by index: values and slopes, then gradients.

#![forbid(unsafe_code)]

use crate::kernel::blocking::GROUP_PAIRS;
use crate::kernel::reduce::reduce_values;
use crate::kernel::vector::squared_distance;
use crate::loss::{BlockTripletLoss, Pairing, Sums};
use crate::memory::mat::{Mat, MatMut};
use crate::simd::isa::Isa;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// Values and slopes of some triplets of anchor, positive and negative.
pub(crate) struct MinedTriplets<'a, T> {
    pub isa: Isa,
    pub loss: &'a dyn BlockTripletLoss<T>,
    pub z: Mat<'a, T>,
    pub triplets: &'a [[u32; 3]],
    /// Slopes of d²(a,p), d²(a,n) and d²(p,n) of each triplet, to be overwritten.
    pub slopes: &'a mut [[T; 3]],
}

impl<T: Real> Kernel<T> for MinedTriplets<'_, T> {
    type Output = Sums;

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> Sums {
        let swaps = self.loss.swaps_block();
        let mut three = [[T::ZERO; GROUP_PAIRS]; 3];
        let mut values = [T::ZERO; GROUP_PAIRS];
        let mut sums = Sums::default();
        let blocks = self.triplets.chunks(GROUP_PAIRS).zip(self.slopes.chunks_mut(GROUP_PAIRS));
        for (triplets, slopes) in blocks {
            let len = triplets.len();
            for (i, triplet) in triplets.iter().enumerate() {
                let [a, p, n] = triplet.map(|row| self.z.row(row as usize));
                three[0][i] = squared_distance(s, a, p);
                three[1][i] = squared_distance(s, a, n);
                three[2][i] = if swaps { squared_distance(s, p, n) } else { T::ZERO };
            }
            let [ap, an, pn] = &mut three;
            let d2 = [&mut ap[..len], &mut an[..len], &mut pn[..len]];
            self.loss.eval_block(self.isa, d2, &mut values[..len]);
            if !swaps {
                pn.fill(T::ZERO);
            }
            sums = sums
                + reduce_values(s, Pairing::new(&[false; GROUP_PAIRS][..len]), &mut values[..len]);
            for (i, slopes) in slopes.iter_mut().enumerate() {
                *slopes = [three[0][i], three[1][i], three[2][i]];
            }
        }
        sums
    }
}

/// Adds the gradients of triplets to those of the batch, in the order of the triplets.
pub(crate) struct ScatterTriplets<'a, T> {
    pub z: Mat<'a, T>,
    pub triplets: &'a [[u32; 3]],
    pub slopes: &'a [[T; 3]],
    pub factor: T,
    pub grad: MatMut<'a, T>,
}

impl<T: Real> Kernel<T> for ScatterTriplets<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) {
        for (&[a, p, n], &[ap, an, pn]) in self.triplets.iter().zip(self.slopes) {
            for ([one, other], slope) in [([a, p], ap), ([a, n], an), ([p, n], pn)] {
                let slope = self.factor * slope;
                if slope == T::ZERO {
                    continue;
                }
                let [one, other] = [one, other].map(|row| row as usize);
                add_row(s, slope, [self.z.row(one), self.z.row(other)], self.grad.row_mut(one));
                add_row(s, slope, [self.z.row(other), self.z.row(one)], self.grad.row_mut(other));
            }
        }
    }
}

/// to += slope (x - y)
#[inline(always)]
fn add_row<T: Real, S: Simd<T>>(s: S, slope: T, [x, y]: [&[T]; 2], to: &mut [T]) {
    let slope = s.splat(slope);
    let inputs = x.chunks(S::LANES).zip(y.chunks(S::LANES));
    for (to, (x, y)) in to.chunks_mut(S::LANES).zip(inputs) {
        s.store(s.fma(slope, s.load(x) - s.load(y), s.load(to)), to);
    }
}
