//! Strategies: embeddings, labels, margins, and batches that keep off the kinks of a loss.
//!
//! At a kink a loss has no derivative, and near one the smallest rounding decides on which side a
//! pair lies: neither can a difference be compared with a slope there, nor two results with each
//! other. So nothing is drawn and then thrown away; each pair gets a direction and a distance that
//! lies between kinks.

#![forbid(unsafe_code)]

use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::batch::{Batch, Embeddings, PairBatch, TripletBatch};
use crate::simd::real::Real;

/// How far from a kink distances keep, relative to the kink.
const CLEAR: f64 = 0.05;

/// The largest distance and twice the largest element, over the largest kink.
const REACH: f64 = 3.0;

/// Embeddings with elements from -2 to 2.
///
/// # Panics
/// When a value is drawn and one of the ranges is empty, as for every strategy here.
pub fn embeddings<T: Real>(
    rows: RangeInclusive<usize>,
    cols: RangeInclusive<usize>,
) -> impl Strategy<Value = Embeddings<T>> {
    (rows, cols).prop_flat_map(|(rows, cols)| {
        vec(-2.0..2.0, rows * cols).prop_map(move |data| {
            let data = data.into_iter().map(T::from_f64).collect();
            Embeddings::new(data, rows, cols).expect("of this shape")
        })
    })
}

/// Labels of samples, from 0 up to `classes`, at least one class.
pub fn labels(
    samples: RangeInclusive<usize>,
    classes: i64,
) -> impl Strategy<Value = Vec<i64>> + Clone {
    vec(0..classes.max(1), samples)
}

/// Margins from 1/8 to 8, as often below 1 as above.
pub fn margins<T: Real>() -> impl Strategy<Value = T> {
    (-3.0..3.0_f64).prop_map(|exponent| T::from_f64(exponent.exp2()))
}

/// Pairs of `cols` columns, at least one, whose distances keep 5 % off every kink, d = 0 included,
/// and reach three times the largest.
///
/// `kinks` are the distances at which the loss has no derivative, such as its margin: those of
/// similar and of dissimilar pairs together. Any that is not finite and positive is passed over. A
/// loss without kinks gets distances from 0.05 to 3.
pub fn pair_batches<T: Real>(
    kinks: &[f64],
    rows: RangeInclusive<usize>,
    cols: RangeInclusive<usize>,
) -> impl Strategy<Value = PairBatch<T>> + use<T> {
    let spans = spans(kinks);
    let size = spans[spans.len() - 1].1 * (2.0 / REACH);
    (at_least_one(cols), any::<u64>()).prop_flat_map(move |(cols, seed)| {
        let pair = (point(size, cols), direction(cols), between(spans.clone()), any::<bool>());
        let pair = pair.prop_map(|(a, direction, distance, similar)| {
            ([along(&a, &direction, distance), a], similar)
        });
        vec(pair, rows.clone()).prop_map(move |pairs| {
            let (tuples, similar): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            let [b, a] = matrices(&tuples, cols);
            Batch::<T, 2>::new([a, b], similar, seed).expect("of one shape")
        })
    })
}

/// Triplets of `cols` columns, at least one, that keep 5 % off the kink of their loss, off d = 0, and
/// 2 % off d(a,n) = d(p,n).
///
/// `kink` is the distance of the negative at which the loss has no derivative, given that of the
/// positive: `|p| p + margin` for a hinge on distances, `|p| (p * p + margin).sqrt()` for one on
/// their squares. For a loss that swaps, d(p,n) keeps off its kink as d(a,n) does.
pub fn triplet_batches<T: Real>(
    kink: impl Fn(f64) -> f64 + Clone + 'static,
    rows: RangeInclusive<usize>,
    cols: RangeInclusive<usize>,
) -> impl Strategy<Value = TripletBatch<T>> {
    let margin = Some(kink(0.0)).filter(|margin| margin.is_finite() && *margin > 0.0);
    let margin = margin.unwrap_or(1.0);
    (at_least_one(cols), any::<u64>()).prop_flat_map(move |(cols, seed)| {
        let kink = kink.clone();
        let distances = (0.5 * margin..2.0 * margin, between(vec![(0.2, 0.95), (1.05, 1.5)]));
        let triplet = (point(2.0 * margin, cols), direction(cols), direction(cols), distances);
        let triplet = triplet.prop_map(move |(a, u, v, (positive, share))| {
            let p = along(&a, &u, positive);
            let n = negative(&a, &p, &v, share, kink(positive));
            [a, p, n]
        });
        vec(triplet, rows.clone()).prop_map(move |triplets| {
            Batch::<T, 3>::new(matrices(&triplets, cols), seed).expect("of one shape")
        })
    })
}

/// The point at distance `share * kink` from `a` in the given direction, or in the opposite one where it
/// would lie on `p`, as near to `p` as to `a`, or at the kink from `p`.
///
/// In each of these cases, the angle to the direction of the positive is below 90°. In the opposite
/// direction it is above 90°, and `p` is farther from the point than `a` by a distance.
fn negative(a: &[f64], p: &[f64], direction: &[f64], share: f64, kink: f64) -> Vec<f64> {
    let n = along(a, direction, share * kink);
    let (an, pn) = (share * kink, distance(p, &n));
    let off = |x: f64, from: f64| (x - from).abs() > 0.02 * from;
    let clear = pn > an || pn > CLEAR * an && off(pn, kink);
    if off(pn, an) && clear { n } else { along(a, direction, -share * kink) }
}

/// The intervals between kinks, ascending, each clear of them.
fn spans(kinks: &[f64]) -> Vec<(f64, f64)> {
    let mut kinks: Vec<f64> = kinks.iter().copied().filter(|k| *k > 0.0 && k.is_finite()).collect();
    kinks.sort_by(f64::total_cmp);
    let (Some(&first), Some(&last)) = (kinks.first(), kinks.last()) else {
        return vec![(CLEAR, REACH)];
    };
    let starts = kinks.iter().map(|kink| (1.0 + CLEAR) * kink);
    let ends = kinks.iter().map(|kink| (1.0 - CLEAR) * kink);
    let spans = std::iter::once(CLEAR * first).chain(starts).zip(ends.chain([REACH * last]));
    spans.filter(|(start, end)| start < end).collect()
}

fn between(spans: Vec<(f64, f64)>) -> impl Strategy<Value = f64> {
    (select(spans), 0.0..1.0).prop_map(|((start, end), share)| start + share * (end - start))
}

fn at_least_one(cols: RangeInclusive<usize>) -> RangeInclusive<usize> {
    (*cols.start()).max(1)..=(*cols.end()).max(1)
}

fn point(size: f64, cols: usize) -> impl Strategy<Value = Vec<f64>> {
    vec(-size..size, cols)
}

/// A vector of length 1.
fn direction(cols: usize) -> impl Strategy<Value = Vec<f64>> {
    vec(-1.0..1.0, cols).prop_map(move |vector: Vec<f64>| {
        let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
        match length < 1e-3 {
            true => vec![(cols as f64).sqrt().recip(); cols],
            false => vector.iter().map(|x| x / length).collect(),
        }
    })
}

fn along(from: &[f64], direction: &[f64], distance: f64) -> Vec<f64> {
    from.iter().zip(direction).map(|(x, u)| x + distance * u).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

/// Row i of matrix m is point m of tuple i.
fn matrices<T: Real, const N: usize>(tuples: &[[Vec<f64>; N]], cols: usize) -> [Embeddings<T>; N] {
    std::array::from_fn(|m| {
        let data = tuples.iter().flat_map(|tuple| &tuple[m]).map(|&x| T::from_f64(x)).collect();
        Embeddings::new(data, tuples.len(), cols).expect("of this shape")
    })
}
