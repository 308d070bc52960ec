//! Running sums of the anchors of a group of pairs: see [`Work::SumGroup`](super::work::Work::SumGroup).

#![forbid(unsafe_code)]

use super::anchor_loss::AnchorLoss;
use super::work::{EachAnchor, Group, Kinds, Running};
use crate::simd::Simd;
use crate::simd::math::exp_of_small;
use crate::simd::real::Real;

/// Adds e^x to (m, l), with a single power for the change of m and for the new term:
///
/// ```text
/// e = exp(-|x - m|)        x > m: l = l e + 1, m = x        else: l = l + e
/// ```
///
/// Lanes of which `valid` is false stay as they are.
#[inline(always)]
fn add_power<T: Real, S: Simd<T>>(s: S, [m, l]: [S::F; 2], x: S::F, valid: S::M) -> [S::F; 2] {
    let power = exp_of_small(s, -s.abs(x - m));
    let grows = s.lt(m, x) & valid;
    let more = s.select(valid, l + power, l);
    [s.select(grows, x, m), s.select(grows, s.fma(l, power, s.splat(T::ONE)), more)]
}

/// The sums of a group where all pairs are dissimilar: of rows, and with `COLS` of columns too.
#[inline(always)]
pub(super) fn sum_dissimilar<T: Real, S: Simd<T>, L: AnchorLoss<T>, const COLS: bool>(
    s: S,
    loss: &L,
    u: &mut [T],
    rows: [&mut [T]; 2],
    cols: Option<[&mut [T]; 2]>,
    reference: Option<S::F>,
) {
    match reference {
        Some(reference) => sum_by_reference::<T, S, L, COLS>(s, loss, u, rows, cols, reference),
        None => sum_by_largest::<T, S, L, COLS>(s, loss, u, rows, cols),
    }
}

/// The larger of both; `a` where either is NaN.
#[inline(always)]
fn larger<T: Real, S: Simd<T>>(s: S, a: S::F, b: S::F) -> S::F {
    s.select(s.lt(a, b), b, a)
}

/// l += e^(x - reference) for the row and for the column of each pair: one power serves both.
#[inline(always)]
fn sum_by_reference<T: Real, S: Simd<T>, L: AnchorLoss<T>, const COLS: bool>(
    s: S,
    loss: &L,
    u: &mut [T],
    [of_largest, of_sums]: [&mut [T]; 2],
    cols: Option<[&mut [T]; 2]>,
    reference: S::F,
) {
    let (lanes, width, zero) = (S::LANES, 2 * S::LANES, s.splat(T::ZERO));
    let (mut largest, mut sums) = ([zero; 2], [zero; 2]);
    if COLS && let Some([of_largest, of_sums]) = &cols {
        for v in 0..2 {
            largest[v] = s.load(&of_largest[v * lanes..][..lanes]);
            sums[v] = s.load(&of_sums[v * lanes..][..lanes]);
        }
    }
    for (r, u) in u.chunks_exact(width).enumerate() {
        let (mut x, mut power) = ([zero; 2], [zero; 2]);
        for v in 0..2 {
            x[v] = loss.exponent(s, s.load(&u[v * lanes..][..lanes]), false).0;
            power[v] = exp_of_small(s, x[v] - reference);
            if COLS {
                largest[v] = larger(s, largest[v], x[v]);
                sums[v] = sums[v] + power[v];
            }
        }
        let of_largest = &mut of_largest[r * lanes..][..lanes];
        let of_sums = &mut of_sums[r * lanes..][..lanes];
        s.store(larger(s, s.load(of_largest), larger(s, x[0], x[1])), of_largest);
        s.store(s.load(of_sums) + (power[0] + power[1]), of_sums);
    }
    if COLS && let Some([of_largest, of_sums]) = cols {
        for v in 0..2 {
            s.store(largest[v], &mut of_largest[v * lanes..][..lanes]);
            s.store(sums[v], &mut of_sums[v * lanes..][..lanes]);
        }
    }
}

/// Adds e^x to the sums of each pair's ends where no reference will do for all exponents: each anchor's is its
/// largest exponent so far.
///
/// ```text
/// for each row
///   x = exponent(u)
///   (m, l) of the row += e^x                                                      `add_power`
///   largest of each column
/// for each column: l = l exp(m - largest) + sum over rows of exp(x - largest)
/// ```
///
/// The powers of a column do not wait for one another, as they would in `add_power`, since all rows follow
/// one another in the same lanes.
#[inline(always)]
fn sum_by_largest<T: Real, S: Simd<T>, L: AnchorLoss<T>, const COLS: bool>(
    s: S,
    loss: &L,
    u: &mut [T],
    [of_largest, of_sums]: [&mut [T]; 2],
    cols: Option<[&mut [T]; 2]>,
) {
    let (lanes, width, all) = (S::LANES, 2 * S::LANES, s.first(S::LANES));
    let zero = s.splat(T::ZERO);
    let mut before = [zero; 2];
    if COLS && let Some([of_largest, _]) = &cols {
        for v in 0..2 {
            before[v] = s.load(&of_largest[v * lanes..][..lanes]);
        }
    }
    let mut largest = before;
    for (r, u) in u.chunks_exact_mut(width).enumerate() {
        let of_largest = &mut of_largest[r * lanes..][..lanes];
        let of_sums = &mut of_sums[r * lanes..][..lanes];
        let mut state = [s.load(of_largest), s.load(of_sums)];
        for v in 0..2 {
            let u = &mut u[v * lanes..][..lanes];
            let (x, _) = loss.exponent(s, s.load(u), false);
            state = add_power(s, state, x, all);
            if COLS {
                s.store(x, u);
                largest[v] = larger(s, largest[v], x);
            }
        }
        s.store(state[0], of_largest);
        s.store(state[1], of_sums);
    }
    if COLS && let Some([of_largest, of_sums]) = cols {
        for v in 0..2 {
            let at = v * lanes..(v + 1) * lanes;
            let old = s.load(&of_sums[at.clone()]);
            let mut sum = [old * exp_of_small(s, before[v] - largest[v]), zero];
            for (r, u) in u.chunks_exact(width).enumerate() {
                let power = exp_of_small(s, s.load(&u[at.clone()]) - largest[v]);
                sum[r % 2] = sum[r % 2] + power;
            }
            s.store(largest[v], &mut of_largest[at.clone()]);
            s.store(sum[0] + sum[1], &mut of_sums[at]);
        }
    }
}

/// The sums of a group where pairs are of both kinds, or places hold none.
#[inline(always)]
pub(super) fn sum_mixed<T: Real, S: Simd<T>, L: AnchorLoss<T>>(
    s: S,
    loss: &L,
    u: &mut [T],
    kinds: Kinds,
    mut anchors: [Option<Running<T>>; 2],
    reference: Option<S::F>,
) {
    let (lanes, width) = (S::LANES, 2 * S::LANES);
    for (r, u) in u.chunks_exact(width).enumerate() {
        for v in 0..2 {
            let at = r * width + v * lanes..r * width + (v + 1) * lanes;
            let similar = s.mask(&kinds.similar[at.clone()]);
            let pair = !s.mask(&kinds.ignored[at]);
            let u = s.load(&u[v * lanes..][..lanes]);
            let (alike, other) = (loss.exponent(s, u, true).0, loss.exponent(s, u, false).0);
            for (anchor, first) in anchors.iter_mut().zip([r * lanes, v * lanes]) {
                let Some(Running { similar: of_p, dissimilar: of_g, exponents }) = anchor else {
                    continue;
                };
                let at = first..first + lanes;
                let kinds = [
                    (of_p, alike, similar & pair, None),
                    (of_g, other, !similar & pair, reference),
                ];
                for ([largest, sums], x, valid, reference) in kinds {
                    let (largest, sums) = (&mut largest[at.clone()], &mut sums[at.clone()]);
                    let before = [s.load(largest), s.load(sums)];
                    let [m, l] = match reference {
                        Some(reference) => {
                            let power = exp_of_small(s, x - reference);
                            let all = larger(s, before[0], x);
                            let m = s.select(valid, all, before[0]);
                            [m, s.select(valid, before[1] + power, before[1])]
                        }
                        None => add_power(s, before, x, valid),
                    };
                    s.store(m, largest);
                    s.store(l, sums);
                }
                let exponents = &mut exponents[at];
                let x = s.select(similar & pair, alike, s.splat(T::ZERO));
                s.store(s.load(exponents) + x, exponents);
            }
        }
    }
}

/// The sums over each similar pair: see [`Work::SumEach`](super::work::Work::SumEach).
#[inline(always)]
pub(super) fn sum_each<T: Real, S: Simd<T>, L: AnchorLoss<T>>(
    s: S,
    loss: &L,
    Group { u, kinds }: Group<T>,
    mut anchors: [Option<EachAnchor<T>>; 2],
) {
    let Some(kinds) = kinds else { return };
    let (lanes, width, zero) = (S::LANES, 2 * S::LANES, s.splat(T::ZERO));
    for (r, u) in u.chunks_exact(width).enumerate() {
        for v in 0..2 {
            let at = r * width + v * lanes..r * width + (v + 1) * lanes;
            let similar = s.mask(&kinds.similar[at.clone()]) & !s.mask(&kinds.ignored[at]);
            let (x, _) = loss.exponent(s, s.load(&u[v * lanes..][..lanes]), true);
            let mut ends = [[zero; 4]; 2];
            for side in 0..2 {
                if let Some(EachAnchor { terms, .. }) = &anchors[side] {
                    ends[side] = terms.of(s, side, r, v).1;
                }
            }
            for (side, anchor) in anchors.iter_mut().enumerate() {
                let Some(EachAnchor { sums: Some(sums), .. }) = anchor else { continue };
                let both = loss.each_of_both(s, x, ends[side], ends[1 - side]);
                let first = if side == 0 { r * lanes } else { v * lanes };
                for (sums, number) in sums.iter_mut().zip(both) {
                    let sums = &mut sums[first..first + lanes];
                    s.store(s.load(sums) + s.select(similar, number, zero), sums);
                }
            }
        }
    }
}
