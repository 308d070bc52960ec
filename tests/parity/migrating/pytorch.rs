//! PyTorch.

#![forbid(unsafe_code)]

use drlim::Mat;
use drlim::batch::{Distance, IndexedOut, IndexedScratch, PairList, indexed};
use drlim::loss::{
    Contrastive, LinearHinge, Objective, SquaredHinge, SquaredTriplet, TripletMargin,
    TripletObjective,
};

use crate::migrating::calls::{by_distances, by_rows, by_thirds, on_unit_rows, row_pairs};
use crate::migrating::compare::compare;
use crate::migrating::formulas::{
    COLS, SIMILAR, TRIPLETS, cosine, costs, distance, labels, mean, triplet_costs,
};
use crate::support::Element;

/// PyTorch's `pairwise_distance` adds 1e-6 to every difference.
fn distance_with_eps(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b + 1e-6).powi(2)).sum::<f64>().sqrt()
}

/// `TripletMarginLoss` and, by default, `TripletMarginWithDistanceLoss`, as documented: without
/// the 1e-6.
fn triplet_margin<T: Element>() {
    for swap in [false, true] {
        let loss = TripletMargin::new(T::ONE).unwrap();
        let loss = if swap { loss.swapping() } else { loss };
        compare::<T>(
            "TripletMarginLoss",
            [3 * TRIPLETS, COLS],
            1.0,
            |cx, x| by_thirds(cx, &TripletObjective::mean(&loss), x),
            |x, kinks| {
                mean(&triplet_costs(x, |[a, p, n]| {
                    let (positive, negative) = (distance(a, p), distance(a, n));
                    let swapped = [negative, distance(p, n)];
                    let negative = if swap { kinks.smallest(swapped) } else { negative };
                    kinks.relu(1.0 + positive - negative)
                }))
            },
        );
    }
}

/// Their 1e-6 too: it is the same as 1e-6 more in every element of the anchor.
fn triplet_margin_with_eps<T: Element>() {
    let loss = TripletMargin::new(T::ONE).unwrap();
    compare::<T>(
        "TripletMarginLoss with eps",
        [3 * TRIPLETS, COLS],
        1.0,
        |cx, x| {
            let shifted = first_rows_shifted(x, TRIPLETS);
            let x = Mat::new(&shifted, x.rows(), x.cols()).unwrap();
            by_thirds(cx, &TripletObjective::mean(&loss), x)
        },
        |x, kinks| {
            mean(&triplet_costs(x, |[a, p, n]| {
                kinks.relu(1.0 + distance_with_eps(a, p) - distance_with_eps(a, n))
            }))
        },
    );
}

/// The rows, with 1e-6 more in every element of the first few.
fn first_rows_shifted<T: Element>(x: Mat<T>, count: usize) -> Vec<T> {
    let mut shifted: Vec<T> = x.iter().flatten().copied().collect();
    for element in &mut shifted[..count * x.cols()] {
        *element += T::from_f64(1e-6);
    }
    shifted
}

/// `TripletMarginWithDistanceLoss(distance_function=lambda a, b: 1 - cosine_similarity(a, b))`, and
/// `TripletLoss` of sentence-transformers by cosines.
fn cosine_triplet<T: Element>() {
    let margin = 0.4;
    let loss = SquaredTriplet::new(T::from_f64(2.0 * margin)).unwrap();
    let objective = TripletObjective::mean(&loss).scaled(T::from_f64(0.5));
    compare::<T>(
        "TripletMarginWithDistanceLoss",
        [3 * TRIPLETS, COLS],
        1.0,
        |cx, x| on_unit_rows(cx, x, |z| by_thirds(cx, &objective, z)),
        |x, kinks| {
            mean(&triplet_costs(x, |[a, p, n]| {
                kinks.relu(margin + (1.0 - cosine(a, p)) - (1.0 - cosine(a, n)))
            }))
        },
    );
}

fn cosine_embedding<T: Element>() {
    for margin in [0.0, 0.3, -0.2] {
        let loss = SquaredHinge::new(T::from_f64(2.0 * (1.0 - margin))).unwrap();
        compare::<T>(
            "CosineEmbeddingLoss",
            [2 * SIMILAR.len(), COLS],
            1.0,
            |cx, x| on_unit_rows(cx, x, |z| by_rows(cx, &Objective::mean(&loss), z, &SIMILAR)),
            |x, kinks| {
                mean(&costs(x, &labels(1.0, -1.0), |a, b, y| match y == 1.0 {
                    true => 1.0 - cosine(a, b),
                    false => kinks.relu(cosine(a, b) - margin),
                }))
            },
        );
    }
}

/// `HingeEmbeddingLoss` of distances.
fn hinge_embedding<T: Element>() {
    let loss = LinearHinge::new(T::ZERO, T::ONE).unwrap();
    compare::<T>(
        "HingeEmbeddingLoss",
        [2 * SIMILAR.len(), COLS],
        0.6,
        |cx, x| by_rows(cx, &Objective::mean(&loss), x, &SIMILAR),
        |x, kinks| {
            mean(&costs(x, &labels(1.0, -1.0), |a, b, y| match y == 1.0 {
                true => distance(a, b),
                false => kinks.relu(1.0 - distance(a, b)),
            }))
        },
    );
}

/// Something to multiply distance i by, so that none of them is forgotten.
fn weight(i: usize) -> f64 {
    1.0 + (i % 7) as f64
}

fn pairwise_distance<T: Element>() {
    let n = SIMILAR.len();
    let weighted = |i: usize, d: f64| [weight(i) * d, weight(i)];
    compare::<T>(
        "PairwiseDistance",
        [2 * n, COLS],
        1.0,
        |cx, x| {
            let shifted = first_rows_shifted(x, n);
            let x = Mat::new(&shifted, x.rows(), x.cols()).unwrap();
            by_distances(cx, Distance::Euclidean, x, &row_pairs(n), weighted)
        },
        |x, _| (0..n).map(|i| weight(i) * distance_with_eps(x[i], x[n + i])).sum(),
    );
}

/// `cdist` of the first three rows with the others: its elements by list, and by rows written out.
fn cdist<T: Element>() {
    let (m, n) = (3, 8);
    let pairs: Vec<_> = (0..m).flat_map(|i| (m..n).map(move |j| [i, j])).collect();
    let list: Vec<_> = pairs.iter().map(|&[i, j]| (i as u32, j as u32)).collect();
    let list = PairList::new(n, &list).unwrap();
    compare::<T>(
        "cdist",
        [n, COLS],
        1.0,
        |cx, x| {
            let loss = Contrastive::new(T::ONE).unwrap();
            let (objective, similar) = (Objective::sum(&loss), vec![true; list.len()]);
            let mut distances = vec![T::NAN; list.len()];
            let out = IndexedOut::none().distances(&mut distances);
            indexed(cx, &objective, x, &list, &similar, out, &mut IndexedScratch::new()).unwrap();
            let mut got =
                by_distances(cx, Distance::Euclidean, x, &pairs, |i, d| [weight(i) * d, weight(i)]);
            got.value = distances.iter().enumerate().map(|(i, d)| weight(i) * d.to_f64()).sum();
            got
        },
        |x, _| {
            pairs.iter().enumerate().map(|(at, &[i, j])| weight(at) * distance(x[i], x[j])).sum()
        },
    );
}

fn cosine_similarity<T: Element>() {
    let n = SIMILAR.len();
    compare::<T>(
        "cosine_similarity",
        [2 * n, COLS],
        1.0,
        |cx, x| {
            by_distances(cx, Distance::Cosine, x, &row_pairs(n), |i, d| {
                [weight(i) * (1.0 - d) + 1.0, -weight(i)]
            })
        },
        |x, _| (0..n).map(|i| weight(i) * cosine(x[i], x[n + i]) + 1.0).sum(),
    );
}

in_both_precisions! {
    triplet_margin triplet_margin_with_eps cosine_triplet cosine_embedding hinge_embedding
    pairwise_distance cdist cosine_similarity
}
