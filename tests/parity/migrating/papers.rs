//! The papers.

#![forbid(unsafe_code)]

use drlim::loss::{Contrastive, Exponential, Objective, SquaredTriplet, TripletObjective};

use crate::migrating::calls::{by_rows, by_thirds, on_unit_rows};
use crate::migrating::compare::compare;
use crate::migrating::formulas::{
    COLS, SIMILAR, TRIPLETS, costs, distance, labels, normalized, sum, triplet_costs,
};
use crate::support::Element;

fn hadsell_2006<T: Element>() {
    let loss = Contrastive::new(T::ONE).unwrap();
    compare::<T>(
        "Hadsell 2006, eq. 4",
        [2 * SIMILAR.len(), COLS],
        0.6,
        |cx, x| by_rows(cx, &Objective::sum(&loss), x, &SIMILAR),
        |x, kinks| {
            let (m, y) = (1.0, labels(0.0, 1.0));
            sum(&costs(x, &y, |a, b, y| {
                let d = distance(a, b);
                (1.0 - y) * 0.5 * d.powi(2) + y * 0.5 * kinks.relu(m - d).powi(2)
            }))
        },
    );
}

/// The paper's distance is the sum of absolute differences, which is Euclidean in one dimension.
fn chopra_2005<T: Element>() {
    let q = 1.5;
    let loss = Exponential::new(T::from_f64(q)).unwrap();
    let formula =
        |d: f64, y: f64| (1.0 - y) * 2.0 / q * d.powi(2) + y * 2.0 * q * (-2.77 / q * d).exp();
    let absolute = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>();
    for cols in [1, COLS] {
        compare::<T>(
            "Chopra 2005",
            [2 * SIMILAR.len(), cols],
            1.0,
            |cx, x| by_rows(cx, &Objective::sum(&loss), x, &SIMILAR),
            |x, kinks| {
                sum(&costs(x, &labels(0.0, 1.0), |a, b, y| {
                    let d = if cols == 1 { absolute(a, b) } else { distance(a, b) };
                    kinks.less(0.0, d); // In one dimension there is a kink at 0.
                    formula(d, y)
                }))
            },
        );
    }
}

fn facenet_2015<T: Element>() {
    let loss = SquaredTriplet::new(T::from_f64(0.2)).unwrap();
    compare::<T>(
        "FaceNet",
        [3 * TRIPLETS, COLS],
        1.0,
        |cx, x| on_unit_rows(cx, x, |z| by_thirds(cx, &TripletObjective::sum(&loss), z)),
        |x, kinks| {
            sum(&triplet_costs(&normalized(x), |[a, p, n]| {
                kinks.relu(distance(a, p).powi(2) - distance(a, n).powi(2) + 0.2)
            }))
        },
    );
}

in_both_precisions! { hadsell_2006 chopra_2005 facenet_2015 }
