//! pytorch-metric-learning.

#![forbid(unsafe_code)]

use std::ops::Deref;

use drlim::Real;
use drlim::batch::Mining;
use drlim::loss::{
    BlockLoss, LinearHinge, Objective, PairLoss, Reduction, SquaredHinge, SquaredTriplet,
    TripletMargin, TripletObjective,
};
use drlim::simd::Simd;

use crate::migrating::calls::{by_labels, by_mining, on_unit_rows};
use crate::migrating::compare::compare;
use crate::migrating::formulas::{COLS, cosine, distance, mean, mean_non_zero, normalized, sum};
use crate::migrating::labelled::{LABELS, all_triplets, ordered_pairs};
use crate::support::Element;

/// Rows of a batch whose triplets are all compared.
const ROWS: usize = 7;

/// `ContrastiveLoss` by distances: costs of all pairs of a class and of two, in both orders.
fn pair_costs<R: Deref<Target = [f64]>>(
    z: &[R],
    cost: impl Fn(&[f64], &[f64], bool) -> f64,
) -> [Vec<f64>; 2] {
    [true, false].map(|same| {
        ordered_pairs(same).into_iter().map(|(i, j)| cost(&z[i], &z[j], same)).collect()
    })
}

/// `ContrastiveLoss()`, with the other reducers, and with other margins.
fn contrastive<T: Element>() {
    type Reducer = fn(&[f64]) -> f64;
    let settings: [([f64; 2], Reduction, f64, Reducer); 4] = [
        ([0.0, 1.0], Reduction::BalancedNonZero, 1.0, mean_non_zero),
        ([0.0, 1.0], Reduction::Balanced, 1.0, mean),
        ([0.0, 1.0], Reduction::Sum, 2.0, sum),
        ([0.8, 1.2], Reduction::BalancedNonZero, 1.0, mean_non_zero),
    ];
    for ([pos_margin, neg_margin], reduction, factor, reducer) in settings {
        let loss = LinearHinge::new(T::from_f64(pos_margin), T::from_f64(neg_margin)).unwrap();
        let objective = Objective::sum(&loss).reduced(reduction).scaled(T::from_f64(factor));
        compare::<T>(
            "ContrastiveLoss",
            [LABELS.len(), COLS],
            1.0,
            |cx, x| on_unit_rows(cx, x, |z| by_labels(cx, &objective, z)),
            |x, kinks| {
                let z = normalized(x);
                let [positive, negative] = pair_costs(&z, |a, b, same| match same {
                    true => kinks.relu(distance(a, b) - pos_margin),
                    false => kinks.relu(neg_margin - distance(a, b)),
                });
                reducer(&positive) + reducer(&negative)
            },
        );
    }
}

/// `LpDistance(normalize_embeddings=False)`, without and with `power=2`.
fn contrastive_distances<T: Element>() {
    for power in [1, 2] {
        let linear = LinearHinge::new(T::ZERO, T::ONE).unwrap();
        let squared = SquaredHinge::new(T::ONE).unwrap();
        let (loss, factor): (&dyn BlockLoss<T>, f64) =
            if power == 1 { (&linear, 1.0) } else { (&squared, 2.0) };
        let objective =
            Objective::sum(loss).reduced(Reduction::BalancedNonZero).scaled(T::from_f64(factor));
        compare::<T>(
            "ContrastiveLoss, other distances",
            [LABELS.len(), COLS],
            0.6,
            |cx, x| by_labels(cx, &objective, x),
            |x, kinks| {
                let [positive, negative] = pair_costs(x, |a, b, same| match same {
                    true => kinks.relu(distance(a, b).powi(power)),
                    false => kinks.relu(1.0 - distance(a, b).powi(power)),
                });
                mean_non_zero(&positive) + mean_non_zero(&negative)
            },
        );
    }
}

/// The guide's own loss: max(0, p - cos) for similar pairs, max(0, cos - n) for dissimilar ones, on
/// rows of unit length.
struct CosineHinge<T> {
    p: T,
    n: T,
}

impl<T: Real> PairLoss<T> for CosineHinge<T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
        let cos = s.splat(T::ONE) - s.splat(T::from_f64(0.5)) * d2;
        let value = s.hinge(s.select(similar, s.splat(self.p) - cos, cos - s.splat(self.n)));
        let active = s.step(value); // 2 d(cos)/d(d²) = -1
        (value, s.select(similar, active, -active))
    }
}

/// `ContrastiveLoss(pos_margin, neg_margin, distance=CosineSimilarity())`.
fn contrastive_cosine<T: Element>() {
    for (pos_margin, neg_margin) in [(1.0, 0.0), (1.0, 0.3), (0.7, 0.1)] {
        let t = T::from_f64;
        let squared = SquaredHinge::new(t(2.0 * (1.0 - neg_margin))).unwrap();
        let own = CosineHinge { p: t(pos_margin), n: t(neg_margin) };
        let losses: &[&dyn BlockLoss<T>] =
            if pos_margin == 1.0 { &[&squared, &own] } else { &[&own] };
        for &loss in losses {
            let objective = Objective::sum(loss).reduced(Reduction::BalancedNonZero);
            compare::<T>(
                "ContrastiveLoss, cosines",
                [LABELS.len(), COLS],
                1.0,
                |cx, x| on_unit_rows(cx, x, |z| by_labels(cx, &objective, z)),
                |x, kinks| {
                    let [positive, negative] = pair_costs(x, |a, b, same| match same {
                        true => kinks.relu(pos_margin - cosine(a, b)),
                        false => kinks.relu(cosine(a, b) - neg_margin),
                    });
                    mean_non_zero(&positive) + mean_non_zero(&negative)
                },
            );
        }
    }
}

/// `TripletMarginLoss()`, and with `swap`.
fn triplet_margin<T: Element>() {
    for swap in [false, true] {
        let loss = TripletMargin::new(T::from_f64(0.05)).unwrap();
        let loss = if swap { loss.swapping() } else { loss };
        let objective = TripletObjective::sum(&loss).reduced(Reduction::MeanNonZero).unwrap();
        compare::<T>(
            "TripletMarginLoss",
            [ROWS, COLS],
            1.0,
            |cx, x| on_unit_rows(cx, x, |z| by_mining(cx, &objective, z, Mining::All)),
            |x, kinks| {
                let z = normalized(x);
                let cost = |[a, p, n]: [usize; 3]| {
                    let swapped = [distance(&z[a], &z[n]), distance(&z[p], &z[n])];
                    let negative = if swap { kinks.smallest(swapped) } else { swapped[0] };
                    kinks.relu(distance(&z[a], &z[p]) - negative + 0.05)
                };
                mean_non_zero(&all_triplets(ROWS).into_iter().map(cost).collect::<Vec<_>>())
            },
        );
    }
}

/// `TripletMarginLoss` by cosines, and by squared distances.
fn triplet_margin_distances<T: Element>() {
    let margin = 0.05;
    for squared in [false, true] {
        let (of, factor) = if squared { (margin, 1.0) } else { (2.0 * margin, 0.5) };
        let loss = SquaredTriplet::new(T::from_f64(of)).unwrap();
        let objective = TripletObjective::sum(&loss)
            .reduced(Reduction::MeanNonZero)
            .unwrap()
            .scaled(T::from_f64(factor));
        compare::<T>(
            "TripletMarginLoss, other distances",
            [ROWS, COLS],
            1.0,
            |cx, x| on_unit_rows(cx, x, |z| by_mining(cx, &objective, z, Mining::All)),
            |x, kinks| {
                let z = normalized(x);
                let cost = |[a, p, n]: [usize; 3]| match squared {
                    true => kinks.relu(
                        distance(&z[a], &z[p]).powi(2) - distance(&z[a], &z[n]).powi(2) + margin,
                    ),
                    false => kinks.relu(cosine(x[a], x[n]) - cosine(x[a], x[p]) + margin),
                };
                mean_non_zero(&all_triplets(ROWS).into_iter().map(cost).collect::<Vec<_>>())
            },
        );
    }
}

in_both_precisions! {
    contrastive contrastive_distances contrastive_cosine triplet_margin triplet_margin_distances
}
