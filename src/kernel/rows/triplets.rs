//! Triplets by rows: row i of an anchor, a positive and a negative matrix.
//!
//! As pairs by rows: a few triplets at a time are measured and get their gradients written while
//! their rows are still in L1.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::streaming::{RowGradient, StreamCursor, at_row, write_row};
use crate::kernel::blocking::GROUP_PAIRS;
use crate::kernel::reduce::{reduce_values, scale_slopes};
use crate::kernel::shown::eval_triplets;
use crate::kernel::vector::{square_roots, squared_distance};
use crate::loss::{BlockTripletLoss, Pairing, Sums};
use crate::memory::mat::{Mat, MatMut};
use crate::parallel::stop::look;
use crate::simd::isa::Isa;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// The outputs for each triplet, where asked for.
pub(crate) struct PerTriplet<'a, T> {
    /// d(a,p) and d(a,n).
    pub distances: Option<[&'a mut [T]; 2]>,
    /// d(p,n).
    pub third: Option<&'a mut [T]>,
    pub values: Option<&'a mut [T]>,
    /// The slopes of d(a,p), d(a,n) and d(p,n).
    pub slopes: Option<[&'a mut [T]; 3]>,
}

/// Values, and on request gradients, of triplets by rows.
pub(crate) struct RowTriplets<'a, T> {
    pub isa: Isa,
    pub loss: &'a dyn BlockTripletLoss<T>,
    /// Anchors, positives, negatives.
    pub inputs: [Mat<'a, T>; 3],
    pub weights: Option<&'a [T]>,
    pub ignored: Option<&'a [bool]>,
    /// Factor of all slopes.
    pub factor: T,
    pub per_triplet: PerTriplet<'a, T>,
    /// In the order of the inputs, to be overwritten.
    pub grads: Option<[MatMut<'a, T>; 3]>,
    pub past_caches: bool,
    /// How many triplets are measured before their gradients are written.
    pub step: usize,
}

/// The similarities of a block: triplets are counted as pairs that are dissimilar.
const NONE_SIMILAR: [bool; GROUP_PAIRS] = [false; GROUP_PAIRS];

impl<T: Real> Kernel<T> for RowTriplets<'_, T> {
    type Output = Sums;

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) -> Sums {
        let swaps = self.loss.swaps_block();
        let mut three = [[T::ZERO; GROUP_PAIRS]; 3];
        let mut values = [T::ZERO; GROUP_PAIRS];
        let mut cut = StreamCursor::start();
        let mut sums = Sums::default();
        let triplets = self.inputs[0].rows();
        for start in (0..triplets).step_by(GROUP_PAIRS) {
            look();
            let end = (start + GROUP_PAIRS).min(triplets);
            for from in (start..end).step_by(self.step) {
                let some = from..(from + self.step).min(end);
                let values = &mut values[some.start - start..some.end - start];
                let [ap, an, pn] = &mut three;
                let len = some.len();
                let slopes = [&mut ap[..len], &mut an[..len], &mut pn[..len]];
                self.some(s, some, swaps, slopes, values, &mut cut);
            }
            let values = &mut values[..end - start];
            sums = sums + reduce_values(s, self.pairing(start..end), values);
            if let Some(out) = &mut self.per_triplet.values {
                out[start..end].copy_from_slice(values);
            }
        }
        sums
    }
}

impl<T: Real> RowTriplets<'_, T> {
    fn pairing(&self, triplets: Range<usize>) -> Pairing<'_, T> {
        Pairing {
            similar: &NONE_SIMILAR[..triplets.len()],
            weights: self.weights.map(|weights| &weights[triplets.clone()]),
            ignored: self.ignored.map(|ignored| &ignored[triplets]),
        }
    }

    /// Evaluates some triplets and writes all their outputs. `ap`, `an` and `pn` are scratch, one element
    /// for each triplet.
    #[inline(always)]
    fn some<S: Simd<T>>(
        &mut self,
        s: S,
        some: Range<usize>,
        swaps: bool,
        [ap, an, pn]: [&mut [T]; 3],
        values: &mut [T],
        cut: &mut StreamCursor<T, 3>,
    ) {
        let third = swaps || self.per_triplet.third.is_some();
        self.squared_distances(s, some.clone(), third, [&mut *ap, &mut *an, &mut *pn]);
        if let Some([p, n]) = &mut self.per_triplet.distances {
            square_roots(s, ap, &mut p[some.clone()]);
            square_roots(s, an, &mut n[some.clone()]);
        }
        if let Some(third) = &mut self.per_triplet.third {
            square_roots(s, pn, &mut third[some.clone()]);
        }
        if !swaps {
            pn.fill(T::ZERO);
        }
        let ignored = self.ignored.map(|ignored| &ignored[some.clone()]);
        let d2 = [&mut *ap, &mut *an, &mut *pn];
        eval_triplets(self.loss, self.isa, d2, ignored, values);
        if !swaps {
            pn.fill(T::ZERO);
        }
        let mut slopes = [ap, an, pn];
        for slopes in &mut slopes {
            scale_slopes(s, self.pairing(some.clone()), [self.factor; 2], slopes);
        }
        if let Some(out) = &mut self.per_triplet.slopes {
            for (out, slopes) in out.iter_mut().zip(&slopes) {
                out[some.clone()].copy_from_slice(slopes);
            }
        }
        self.gradients(s, some, swaps, slopes, cut);
    }

    #[inline(always)]
    fn rows(&self, i: usize) -> [&[T]; 3] {
        let [a, p, n] = &self.inputs;
        [a.row(i), p.row(i), n.row(i)]
    }

    #[inline(always)]
    fn squared_distances<S: Simd<T>>(
        &self,
        s: S,
        triplets: Range<usize>,
        third: bool,
        [ap, an, pn]: [&mut [T]; 3],
    ) {
        for (k, i) in triplets.enumerate() {
            let [a, p, n] = self.rows(i);
            ap[k] = squared_distance(s, a, p);
            an[k] = squared_distance(s, a, n);
            pn[k] = if third { squared_distance(s, p, n) } else { T::ZERO };
        }
    }

    #[inline(always)]
    fn gradients<S: Simd<T>>(
        &mut self,
        s: S,
        triplets: Range<usize>,
        swaps: bool,
        slopes: [&mut [T]; 3],
        cut: &mut StreamCursor<T, 3>,
    ) {
        let Some(grads) = &mut self.grads else { return };
        let [ap, an, pn] = slopes;
        let slopes = [&*ap, &*an, &*pn];
        let cols = self.inputs[0].cols();
        let ignored = self.ignored.map(|ignored| &ignored[triplets.clone()]);
        let mut apart = ignored.is_some_and(|ignored| ignored.contains(&true));
        let ([a, p, n], [grad_a, grad_p, grad_n]) = (&self.inputs, &mut *grads);
        if let (Some(a), Some(p), Some(n)) = (a.as_slice(), p.as_slice(), n.as_slice())
            && let (Some(grad_a), Some(grad_p), Some(grad_n)) =
                (grad_a.as_mut_slice(), grad_p.as_mut_slice(), grad_n.as_mut_slice())
            && cols >= S::LANES
        {
            let (gradient, grads) = (TripletGradient { a, p, n, swaps }, [grad_a, grad_p, grad_n]);
            if apart {
                cut.flush(s, gradient, triplets.start * cols, grads);
            } else {
                cut.rows(s, gradient, [triplets.start, cols], slopes, grads, self.past_caches);
            }
        } else {
            apart = true;
        }
        if apart {
            for (k, i) in triplets.clone().enumerate() {
                let [grad_a, grad_p, grad_n] = &mut *grads;
                let grads = [grad_a.row_mut(i), grad_p.row_mut(i), grad_n.row_mut(i)];
                if ignored.is_some_and(|ignored| ignored[k]) {
                    grads.into_iter().for_each(|grad| grad.fill(T::ZERO));
                } else {
                    let gradient = TripletGradient { a: a.row(i), p: p.row(i), n: n.row(i), swaps };
                    write_row(s, gradient, at_row(slopes, k), grads);
                }
            }
            cut.resume(triplets.end * cols);
        }
    }
}

/// The gradients of anchor, positive and negative: see [`TripletLoss`](crate::loss::TripletLoss).
#[derive(Clone, Copy)]
struct TripletGradient<'a, T> {
    a: &'a [T],
    p: &'a [T],
    n: &'a [T],
    swaps: bool,
}

impl<T: Real> RowGradient<T, 3, 3> for TripletGradient<'_, T> {
    #[inline(always)]
    fn len(&self) -> usize {
        assert!(self.p.len() == self.a.len() && self.n.len() == self.a.len());
        self.a.len()
    }

    #[inline(always)]
    fn at<S: Simd<T>>(&self, s: S, [ap, an, pn]: [S::F; 3], at: usize, len: usize) -> [S::F; 3] {
        let a = s.load(&self.a[at..at + len]);
        let p = s.load(&self.p[at..at + len]);
        let n = s.load(&self.n[at..at + len]);
        let pull = ap * (a - p);
        let push = an * (a - n);
        if self.swaps {
            let swapped = pn * (p - n);
            [pull + push, swapped - pull, -(push + swapped)]
        } else {
            [pull + push, -pull, -push]
        }
    }
}
