//! Caffe.

#![forbid(unsafe_code)]

use drlim::loss::{BlockLoss, Contrastive, DoubleMargin, Objective, SquaredHinge};

use crate::migrating::calls::by_rows;
use crate::migrating::compare::compare;
use crate::migrating::formulas::{COLS, SIMILAR, costs, distance, labels, sum};
use crate::support::Element;

/// The layer `ContrastiveLoss`, and with `legacy_version`.
fn contrastive<T: Element>() {
    let current = Contrastive::new(T::ONE).unwrap();
    let legacy = SquaredHinge::new(T::ONE).unwrap();
    let losses: [(bool, &dyn BlockLoss<T>); 2] = [(false, &current), (true, &legacy)];
    for (legacy_version, loss) in losses {
        compare::<T>(
            "Caffe",
            [2 * SIMILAR.len(), COLS],
            0.6,
            |cx, x| by_rows(cx, &Objective::mean(loss), x, &SIMILAR),
            |x, kinks| {
                let y = labels(1.0, 0.0);
                let total = sum(&costs(x, &y, |a, b, y| {
                    let d = distance(a, b);
                    match y == 1.0 {
                        true => d * d,
                        false if legacy_version => kinks.relu(1.0 - d * d),
                        false => kinks.relu(1.0 - d).powi(2),
                    }
                }));
                total / y.len() as f64 / 2.0
            },
        );
    }
}

/// Pull request 4476, as its description states it.
fn double_margin<T: Element>() {
    let loss = DoubleMargin::new(T::from_f64(0.4), T::ONE).unwrap();
    compare::<T>(
        "Caffe, pull request 4476",
        [2 * SIMILAR.len(), COLS],
        0.6,
        |cx, x| by_rows(cx, &Objective::sum(&loss).scaled(T::from_f64(2.0)), x, &SIMILAR),
        |x, kinks| {
            sum(&costs(x, &labels(1.0, 0.0), |a, b, y| {
                let d = distance(a, b);
                y * kinks.relu(d - 0.4).powi(2) + (1.0 - y) * kinks.relu(1.0 - d).powi(2)
            }))
        },
    );
}

in_both_precisions! { contrastive double_margin }
