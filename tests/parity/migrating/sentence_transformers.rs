//! sentence-transformers.

#![forbid(unsafe_code)]

use drlim::batch::{Distance, Mining, RowsOut, hard_pairs, rows};
use drlim::loss::{
    Contrastive, CosineContrastive, Objective, Pairing, Reduction, TripletMargin, TripletObjective,
};

use crate::migrating::calls::{
    by_distances, by_mining, by_rows, by_thirds, on_unit_rows, row_pairs,
};
use crate::migrating::compare::compare;
use crate::migrating::formulas::{
    COLS, SIMILAR, TRIPLETS, cosine, costs, distance, labels, mean, sum, triplet_costs,
};
use crate::migrating::labelled::{HARDEST, SEMI_HARD, all_triplets, compare_mined};
use crate::support::Element;

/// Rows of a batch whose triplets are all compared.
const ROWS: usize = 7;

fn contrastive<T: Element>() {
    let loss = CosineContrastive::new(T::from_f64(0.5)).unwrap();
    for size_average in [true, false] {
        let objective = if size_average { Objective::mean(&loss) } else { Objective::sum(&loss) };
        compare::<T>(
            "ContrastiveLoss",
            [2 * SIMILAR.len(), COLS],
            1.0,
            |cx, x| on_unit_rows(cx, x, |z| by_rows(cx, &objective, z, &SIMILAR)),
            |x, kinks| {
                let losses = costs(x, &labels(1.0, 0.0), |a, b, y| {
                    let c = 1.0 - cosine(a, b);
                    0.5 * (y * c.powi(2) + (1.0 - y) * kinks.relu(0.5 - c).powi(2))
                });
                if size_average { mean(&losses) } else { sum(&losses) }
            },
        );
    }
}

/// The same by Euclidean distances.
fn contrastive_euclidean<T: Element>() {
    let loss = Contrastive::new(T::from_f64(0.5)).unwrap();
    compare::<T>(
        "ContrastiveLoss, Euclidean",
        [2 * SIMILAR.len(), COLS],
        0.4,
        |cx, x| by_rows(cx, &Objective::mean(&loss), x, &SIMILAR),
        |x, kinks| {
            mean(&costs(x, &labels(1.0, 0.0), |a, b, y| {
                let d = distance(a, b);
                0.5 * (y * d.powi(2) + (1.0 - y) * kinks.relu(0.5 - d).powi(2))
            }))
        },
    );
}

/// `OnlineContrastiveLoss`, with the rule of 6.2 for kinds of a single pair.
fn online_contrastive<T: Element>() {
    let one_similar = [true, false, false, false, false, false, false, false, false, false, false];
    for similar in [SIMILAR, one_similar] {
        let loss = CosineContrastive::new(T::from_f64(0.5)).unwrap();
        let objective = Objective::sum(&loss).scaled(T::from_f64(2.0));
        let n = similar.len();
        compare::<T>(
            "OnlineContrastiveLoss",
            [2 * n, COLS],
            1.0,
            |cx, x| {
                on_unit_rows(cx, x, |z| {
                    let mut distances = vec![T::NAN; n];
                    let out = RowsOut::none().distances(&mut distances);
                    let (a, b) = (z.rows_range(0, n), z.rows_range(n, 2 * n));
                    rows(cx, &objective, a, b, &similar, out).unwrap();
                    let mut easy = vec![true; n];
                    for place in hard_pairs(&distances, &similar).unwrap() {
                        easy[place as usize] = false;
                    }
                    by_rows(cx, &objective, z, Pairing::new(&similar).ignoring(&easy))
                })
            },
            |x, kinks| {
                let (a, b) = x.split_at(n);
                let of = |kind: bool| -> Vec<f64> {
                    let pairs = a.iter().zip(b).zip(similar).filter(|&(_, flag)| flag == kind);
                    pairs.map(|((a, b), _)| 1.0 - cosine(a, b)).collect()
                };
                let (poss, negs) = (of(true), of(false));
                let (farthest, nearest) =
                    (kinks.largest(poss.clone()), kinks.smallest(negs.clone()));
                let hard_negs = negs.into_iter().filter(|&c| kinks.less(c, farthest));
                let hard_poss = poss.into_iter().filter(|&c| kinks.less(nearest, c));
                hard_poss.map(|c| c.powi(2)).sum::<f64>()
                    + hard_negs.map(|c| kinks.relu(0.5 - c).powi(2)).sum::<f64>()
            },
        );
    }
}

fn triplet<T: Element>() {
    let loss = TripletMargin::new(T::from_f64(5.0)).unwrap();
    compare::<T>(
        "TripletLoss",
        [3 * TRIPLETS, COLS],
        4.0,
        |cx, x| by_thirds(cx, &TripletObjective::mean(&loss), x),
        |x, kinks| {
            mean(&triplet_costs(x, |[a, p, n]| kinks.relu(distance(a, p) - distance(a, n) + 5.0)))
        },
    );
}

fn batch_all<T: Element>() {
    let loss = TripletMargin::new(T::from_f64(5.0)).unwrap();
    let objective = TripletObjective::sum(&loss).reduced(Reduction::MeanNonZero).unwrap();
    compare::<T>(
        "BatchAllTripletLoss",
        [ROWS, COLS],
        4.0,
        |cx, z| by_mining(cx, &objective, z, Mining::All),
        |x, kinks| {
            let cost = |[a, p, n]: [usize; 3]| {
                kinks.relu(distance(x[a], x[p]) - distance(x[a], x[n]) + 5.0)
            };
            let costs: Vec<f64> = all_triplets(ROWS).into_iter().map(cost).collect();
            let positive = costs.iter().filter(|&&cost| cost > 1e-16).count();
            sum(&costs) / (positive as f64 + 1e-16)
        },
    );
}

fn cosine_similarity<T: Element>() {
    let n = SIMILAR.len();
    let score = |i: usize| i as f64 / n as f64;
    compare::<T>(
        "CosineSimilarityLoss",
        [2 * n, COLS],
        1.0,
        |cx, x| {
            by_distances(cx, Distance::Cosine, x, &row_pairs(n), |i, c| {
                let error = (1.0 - c) - score(i);
                [error.powi(2) / n as f64, -2.0 * error / n as f64]
            })
        },
        |x, _| {
            let cost = |i: usize| (cosine(x[i], x[n + i]) - score(i)).powi(2);
            mean(&(0..n).map(cost).collect::<Vec<_>>())
        },
    );
}

fn batch_hard<T: Element>() {
    let loss = TripletMargin::new(T::from_f64(5.0)).unwrap();
    compare_mined("BatchHardTripletLoss", 4.0, HARDEST, &loss, 1, 5.0);
}

fn batch_semi_hard<T: Element>() {
    let loss = TripletMargin::new(T::from_f64(5.0)).unwrap();
    compare_mined("BatchSemiHardTripletLoss", 4.0, SEMI_HARD, &loss, 1, 5.0);
}

in_both_precisions! {
    contrastive contrastive_euclidean online_contrastive triplet batch_all batch_hard
    batch_semi_hard cosine_similarity
}
