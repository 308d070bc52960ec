//! The examples of Keras, and TensorFlow Addons.

#![forbid(unsafe_code)]

use drlim::loss::{Contrastive, Objective, SquaredTriplet, TripletMargin, TripletObjective};

use crate::migrating::calls::{by_rows, by_thirds};
use crate::migrating::compare::compare;
use crate::migrating::formulas::{
    COLS, SIMILAR, TRIPLETS, costs, distance, labels, mean, sum, triplet_costs,
};
use crate::migrating::labelled::{HARDEST, SEMI_HARD, compare_mined};
use crate::support::Element;

/// `mnist_siamese.py`, the example `siamese_contrastive` (whose labels are the other way round),
/// and `tfa.losses.ContrastiveLoss`.
fn contrastive<T: Element>() {
    let loss = Contrastive::new(T::ONE).unwrap();
    for similar_is_0 in [false, true] {
        compare::<T>(
            "Keras",
            [2 * SIMILAR.len(), COLS],
            0.6,
            |cx, x| by_rows(cx, &Objective::mean(&loss).scaled(T::from_f64(2.0)), x, &SIMILAR),
            |x, kinks| {
                let y = if similar_is_0 { labels(0.0, 1.0) } else { labels(1.0, 0.0) };
                mean(&costs(x, &y, |a, b, y| {
                    let d = distance(a, b).powi(2).max(1e-7).sqrt();
                    let (pull, push) = (d.powi(2), kinks.relu(1.0 - d).powi(2));
                    match similar_is_0 {
                        true => (1.0 - y) * pull + y * push,
                        false => y * pull + (1.0 - y) * push,
                    }
                }))
            },
        );
    }
}

/// The example `siamese_network`: a vector of losses, whose gradient is that of its sum.
fn keras_triplet<T: Element>() {
    let loss = SquaredTriplet::new(T::from_f64(0.5)).unwrap();
    compare::<T>(
        "Keras triplet",
        [3 * TRIPLETS, COLS],
        0.6,
        |cx, x| by_thirds(cx, &TripletObjective::sum(&loss), x),
        |x, kinks| {
            let squared = |a: &[f64], b: &[f64]| distance(a, b).powi(2);
            sum(&triplet_costs(x, |[a, p, n]| kinks.relu(squared(a, p) - squared(a, n) + 0.5)))
        },
    );
}

fn addons_triplet_hard<T: Element>() {
    let loss = TripletMargin::new(T::ONE).unwrap();
    compare_mined("TripletHardLoss", 1.0, HARDEST, &loss, 1, 1.0);
    let squared = SquaredTriplet::new(T::ONE).unwrap();
    compare_mined("TripletHardLoss, squared-L2", 0.8, HARDEST, &squared, 2, 1.0);
}

fn addons_triplet_semi_hard<T: Element>() {
    let loss = TripletMargin::new(T::ONE).unwrap();
    compare_mined("TripletSemiHardLoss", 1.0, SEMI_HARD, &loss, 1, 1.0);
    let squared = SquaredTriplet::new(T::ONE).unwrap();
    compare_mined("TripletSemiHardLoss, squared-L2", 0.8, SEMI_HARD, &squared, 2, 1.0);
}

in_both_precisions! { contrastive keras_triplet addons_triplet_hard addons_triplet_semi_hard }
