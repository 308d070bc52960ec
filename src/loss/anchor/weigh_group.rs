//! Weights of the pairs of a group: see [`Work::Weigh`](super::work::Work::Weigh).

#![forbid(unsafe_code)]

use super::anchor_loss::AnchorLoss;
use super::work::{Kinds, Terms, Weighing, from};
use crate::simd::Simd;
use crate::simd::math::exp_of_small;
use crate::simd::real::Real;

/// c w, but 0 where c is 0.
#[inline(always)]
fn times<T: Real, S: Simd<T>>(s: S, factor: S::F, weight: S::F) -> S::F {
    s.select(s.nonzero(factor), factor * weight, s.splat(T::ZERO))
}

/// The weights of a group where all pairs are dissimilar, of rows and with `COLS` of columns too. Returns the sum of w x, where wanted.
#[inline(always)]
pub(super) fn weigh_dissimilar<T: Real, S: Simd<T>, L: AnchorLoss<T>, const COLS: bool>(
    s: S,
    loss: &L,
    u: &mut [T],
    anchors: [Terms<T>; 2],
    how: Weighing<S::F>,
) -> S::F {
    match how.reference {
        Some(reference) => weigh_by_reference::<T, S, L, COLS>(s, loss, u, anchors, how, reference),
        None => weigh_each::<T, S, L, COLS>(s, loss, u, anchors, how),
    }
}

/// c e^(x - terms[0]) of the row and of the column of each pair: one power, e^(x - reference), serves both.
#[inline(always)]
fn weigh_by_reference<T: Real, S: Simd<T>, L: AnchorLoss<T>, const COLS: bool>(
    s: S,
    loss: &L,
    u: &mut [T],
    [rows, cols]: [Terms<T>; 2],
    how: Weighing<S::F>,
    reference: S::F,
) -> S::F {
    let (lanes, width, zero) = (S::LANES, 2 * S::LANES, s.splat(T::ZERO));
    let mut of_cols = [zero; 2];
    if COLS {
        for v in 0..2 {
            of_cols[v] = s.load(from(cols.powers, v * lanes));
        }
    }
    let mut sum = zero;
    for (r, u) in u.chunks_exact_mut(width).enumerate() {
        let of_row = s.splat(rows.powers[r]);
        for v in 0..2 {
            let u = &mut u[v * lanes..][..lanes];
            let (x, rate) = loss.exponent(s, s.load(u), false);
            let power = exp_of_small(s, x - reference);
            let both = if COLS { of_row + of_cols[v] } else { of_row };
            if how.wants_scale {
                let counted = power * if how.once { of_row } else { both };
                sum = sum + s.select(s.nonzero(counted), counted * x, zero);
            }
            s.store(power * both * rate, u);
        }
    }
    sum
}

/// The weights of any loss: one is computed for each end of each pair.
#[inline(always)]
fn weigh_each<T: Real, S: Simd<T>, L: AnchorLoss<T>, const COLS: bool>(
    s: S,
    loss: &L,
    u: &mut [T],
    [rows, cols]: [Terms<T>; 2],
    how: Weighing<S::F>,
) -> S::F {
    let (lanes, width) = (S::LANES, 2 * S::LANES);
    let zero = s.splat(T::ZERO);
    let mut sum = zero;
    for v in 0..2 {
        let mut of_cols = (zero, [zero; 4]);
        if COLS {
            of_cols = cols.of(s, 1, 0, v);
        }
        for (r, u) in u.chunks_exact_mut(width).enumerate() {
            let u = &mut u[v * lanes..][..lanes];
            let (x, rate) = loss.exponent(s, s.load(u), false);
            let (factor, terms) = rows.of(s, 0, r, v);
            let mut weight = times(s, factor, loss.weight(s, x, false, terms));
            let mut counted = weight;
            if COLS {
                let of_col = loss.weight(s, x, false, of_cols.1);
                weight = weight + times(s, of_cols.0, of_col);
                counted = if how.once { counted } else { weight };
            }
            if how.wants_scale {
                // A weight of 0 contributes nothing, whatever the exponent.
                sum = sum + s.select(s.nonzero(counted), counted * x, zero);
            }
            s.store(s.select(s.nonzero(weight), weight * rate, zero), u);
        }
    }
    sum
}

/// The weights of a group where pairs are of both kinds, or places hold none.
#[inline(always)]
pub(super) fn weigh_mixed<T: Real, S: Simd<T>, L: AnchorLoss<T>>(
    s: S,
    loss: &L,
    u: &mut [T],
    kinds: Kinds,
    anchors: [Option<Terms<T>>; 2],
    how: Weighing<S::F>,
) -> S::F {
    let (lanes, width, zero) = (S::LANES, 2 * S::LANES, s.splat(T::ZERO));
    let mut tally = zero;
    for (r, u) in u.chunks_exact_mut(width).enumerate() {
        for v in 0..2 {
            let at = r * width + v * lanes..r * width + (v + 1) * lanes;
            let similar = s.mask(&kinds.similar[at.clone()]);
            let ignored = s.mask(&kinds.ignored[at]);
            let u = &mut u[v * lanes..][..lanes];
            let alike = loss.exponent(s, s.load(u), true);
            let other = loss.exponent(s, s.load(u), false);
            let x = s.select(similar, alike.0, other.0);
            let rate = s.select(similar, alike.1, other.1);
            let mut sum = zero;
            let mut counted = zero;
            let mut ends = [(zero, [zero; 4]); 2];
            for side in 0..2 {
                if let Some(terms) = &anchors[side] {
                    ends[side] = terms.of(s, side, r, v);
                }
            }
            for side in 0..2 {
                if anchors[side].is_none() {
                    continue;
                }
                let (factor, terms) = ends[side];
                let alike = loss.weight_of_both(s, x, terms, ends[1 - side].1);
                let weight = s.select(similar, alike, loss.weight(s, x, false, terms));
                sum = sum + s.select(ignored, zero, times(s, factor, weight));
                if side == 0 || !how.once {
                    counted = sum;
                }
            }
            tally = tally + s.select(s.nonzero(counted), counted * x, zero);
            s.store(s.select(s.nonzero(sum), sum * rate, zero), u);
        }
    }
    tally
}
