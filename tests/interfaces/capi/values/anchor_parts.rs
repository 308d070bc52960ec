//! Keys in parts: merged sums give the value and the gradients of the whole. What is merged has the bits of Rust's
//! `+`, and the factor of totals is Rust's.

use super::anchors::sums_of;
use super::*;
use crate::capi::{rows_mut, rows_of};

const QUERIES: usize = 12;
const KEYS: usize = 30;
/// Where queries and keys are cut.
const CUTS: [[usize; 3]; 2] = [[0, 5, QUERIES], [0, 11, KEYS]];

/// Losses that look once, and one that looks twice.
fn objectives() -> Vec<drlim_anchor_objective> {
    let new = |loss| drlim_anchor_objective {
        softmax_scale: 6.0,
        beta: 7.0,
        gamma: 3.0,
        scale: 2.0,
        ..drlim_anchor_objective_new(loss, drlim_anchor_reduction::MEAN_NON_ZERO)
    };
    let softmax = new(drlim_anchor_loss::SOFTMAX);
    let student = drlim_measure::STUDENT;
    vec![
        softmax,
        drlim_anchor_objective { positives: drlim_positives::SUM, measure: student, ..softmax },
        drlim_anchor_objective { positives: drlim_positives::EACH, ..softmax },
        drlim_anchor_objective { positives: drlim_positives::EACH, decoupled: 1, ..softmax },
        new(drlim_anchor_loss::MULTI_SIMILARITY),
        new(drlim_anchor_loss::CIRCLE),
    ]
}

#[track_caller]
fn close(found: f64, expected: f64, size: f64) {
    assert!((found - expected).abs() <= size, "{found}, expected {expected} up to {size}");
}

macro_rules! of_type {
    ($T:ident, $weights:ident, $cross_anchors:ident) => {
        mod $T {
            use super::*;

            struct Batch {
                rows: [Vec<$T>; 2],
                labels: [Vec<i64>; 2],
                weights: Vec<$T>,
            }

            /// What one call writes.
            #[derive(Clone)]
            struct Found {
                outcome: drlim_anchor_outcome,
                sums: Vec<drlim_anchor_sums>,
                grads: [Vec<$T>; 2],
                grad_scale: f64,
            }

            impl Batch {
                fn new() -> Self {
                    let number = |i: usize| (i * i % 101) as $T / 130.0 - 0.375;
                    let rows =
                        [QUERIES, KEYS].map(|n| (0..n * COLS).map(|i| number(i + n)).collect());
                    let labels =
                        [QUERIES, KEYS].map(|n| (0..n as i64).map(|i| i * i % 5).collect());
                    Batch {
                        rows,
                        labels,
                        weights: (0..QUERIES).map(|i| (1 + i % 3) as $T / 2.0).collect(),
                    }
                }

                /// A call on some queries and some keys.
                fn call(
                    &self,
                    objective: drlim_anchor_objective,
                    [first, end]: [[usize; 2]; 2],
                    known: Option<&[drlim_anchor_sums]>,
                ) -> Found {
                    let part =
                        [0, 1].map(|side| &self.rows[side][first[side] * COLS..end[side] * COLS]);
                    let similar = drlim_cross_similar {
                        query_labels: self.labels[0][first[0]..].as_ptr(),
                        key_labels: self.labels[1][first[1]..].as_ptr(),
                        ..Default::default()
                    };
                    let mut grads = part.map(|rows| vec![-7.0; rows.len()]);
                    let mut sums = vec![drlim_anchor_sums::default(); end[0] - first[0]];
                    let (mut outcome, mut by_scale) = (drlim_anchor_outcome::default(), 0.0);
                    let scaled = objective.loss == drlim_anchor_loss::SOFTMAX;
                    let objective = drlim_anchor_objective {
                        $weights: self.weights[first[0]..].as_ptr(),
                        known: known.map_or(null(), <[_]>::as_ptr),
                        ..objective
                    };
                    let [of_queries, of_keys] = &mut grads;
                    // SAFETY: all is as the header asks.
                    done(unsafe {
                        $cross_anchors(
                            null(),
                            &objective,
                            rows_of(part[0], COLS),
                            rows_of(part[1], COLS),
                            &similar,
                            drlim_anchors::QUERIES,
                            rows_mut(of_queries, COLS),
                            rows_mut(of_keys, COLS),
                            null_mut(),
                            null_mut(),
                            sums.as_mut_ptr(),
                            if scaled { &mut by_scale } else { null_mut() },
                            null(),
                            &mut outcome,
                        )
                    });
                    Found { outcome, sums, grads, grad_scale: by_scale }
                }

                /// The sums over all keys of the queries of a part, in as many rounds as the loss takes.
                fn merged(
                    &self,
                    objective: drlim_anchor_objective,
                    queries: [usize; 2],
                ) -> Vec<drlim_anchor_sums> {
                    let parts = |known: Option<&[drlim_anchor_sums]>| {
                        let [first, end] = queries;
                        [0, 1].map(|part| {
                            let keys = [CUTS[1][part], CUTS[1][part + 1]];
                            self.call(objective, [[first, keys[0]], [end, keys[1]]], known).sums
                        })
                    };
                    let [mut merged, other] = parts(None);
                    // SAFETY: all is as the header asks.
                    done(unsafe {
                        drlim_anchor_sums_add(merged.as_mut_ptr(), other.as_ptr(), merged.len())
                    });
                    if objective.positives == drlim_positives::EACH {
                        let [mut looked, other] = parts(Some(&merged));
                        // SAFETY: all is as the header asks.
                        done(unsafe {
                            drlim_anchor_sums_add_each(
                                looked.as_mut_ptr(),
                                other.as_ptr(),
                                looked.len(),
                            )
                        });
                        merged = looked;
                    }
                    merged
                }
            }

            #[test]
            fn parts_give_the_whole() {
                let batch = Batch::new();
                for objective in objectives() {
                    let whole = batch.call(objective, [[0, 0], [QUERIES, KEYS]], None);
                    let queries = [[CUTS[0][0], CUTS[0][1]], [CUTS[0][1], CUTS[0][2]]];
                    let sums = queries.map(|queries| batch.merged(objective, queries));
                    let part = |objective, of: usize, keys: usize| {
                        let [first, end] = queries[of];
                        let cut = [[first, CUTS[1][keys]], [end, CUTS[1][keys + 1]]];
                        batch.call(objective, cut, Some(&sums[of]))
                    };
                    // Any part of the keys knows the totals of its queries.
                    let [one, other] = [0, 1].map(|of| part(objective, of, of).outcome.queries);
                    let totals = drlim_anchor_totals {
                        anchors: one.anchors + other.anchors,
                        with_similar: one.with_similar + other.with_similar,
                        active: one.active + other.active,
                        correct: one.correct + other.correct,
                        similar: one.similar + other.similar,
                        pairs: one.pairs + other.pairs,
                        sum: one.sum + other.sum,
                    };
                    let of_whole = whole.outcome.queries;
                    let size = 100.0 * ($T::EPSILON as f64) * of_whole.sum.abs();
                    close(totals.sum, of_whole.sum, size);
                    assert_eq!(totals, drlim_anchor_totals { sum: totals.sum, ..of_whole });
                    let (mut value, mut factor) = (0.0, 0.0);
                    let reduction = objective.reduction;
                    // SAFETY: all is as the header asks.
                    done(unsafe {
                        drlim_anchor_reduce(reduction, totals, &mut value, &mut factor)
                    });
                    close(value, whole.outcome.value, size);

                    let of_part = drlim_anchor_objective {
                        reduction: drlim_anchor_reduction::FACTOR,
                        factor,
                        ..objective
                    };
                    let mut grads = [vec![0.0; QUERIES * COLS], vec![0.0; KEYS * COLS]];
                    let mut by_scale = 0.0;
                    for (of, keys) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                        let found = part(of_part, of, keys);
                        by_scale += found.grad_scale;
                        for (side, first) in [CUTS[0][of], CUTS[1][keys]].into_iter().enumerate() {
                            let to = &mut grads[side][first * COLS..];
                            to.iter_mut().zip(&found.grads[side]).for_each(|(to, &by)| *to += by);
                        }
                    }
                    let size = 1000.0 * ($T::EPSILON as f64);
                    for (grad, expected) in grads.iter().flatten().zip(whole.grads.iter().flatten())
                    {
                        close((*grad).into(), (*expected).into(), size);
                    }
                    close(by_scale, whole.grad_scale, size);
                    assert!(whole.grads.iter().flatten().all(|grad| grad.is_finite()));
                    assert!(whole.grads.iter().flatten().any(|grad| grad.abs() > 1e-3));
                }
            }
        }
    };
}

of_type!(f32, weights_f32, drlim_cross_anchors_f32);
of_type!(f64, weights_f64, drlim_cross_anchors_f64);

fn log_sum(count: u64, largest: f64, sum: f64) -> LogSum {
    LogSum { count, largest, sum }
}

#[test]
fn sums_are_merged_as_in_rust() {
    let mut one = [AnchorSums::default(); 3];
    one[0].similar = log_sum(2, 800.0, 1.5);
    one[0].exponents = 0.1;
    one[0].each = Some([0.25, 0.5]);
    one[1].dissimilar = log_sum(3, -2.0, 2.75);
    let mut other = one;
    other[0].similar = log_sum(1, 801.0, 1.0);
    other[0].exponents = 0.2;
    // Zeros are the sums of nothing, as a call writes them or not.
    let mut sums = one.map(sums_of);
    sums[2] = drlim_anchor_sums::default();
    let part = other.map(sums_of);
    // SAFETY: all is as the header asks.
    done(unsafe { drlim_anchor_sums_add(sums.as_mut_ptr(), part.as_ptr(), 3) });
    let expected: Vec<_> =
        one.iter().zip(other).map(|(&one, other)| sums_of((one + other).without_each())).collect();
    assert_eq!(sums[..], expected);
    assert_eq!((sums[0].similar.count, sums[0].looked), (3, 0));

    let mut sums = part;
    // SAFETY: all is as the header asks.
    done(unsafe { drlim_anchor_sums_add_each(sums.as_mut_ptr(), part.as_ptr(), 1) });
    let twice = drlim_anchor_sums { each: [0.5, 1.0], ..part[0] };
    assert_eq!(sums, [twice, part[1], part[2]]);
}

#[test]
fn the_factor_of_each_reduction() {
    let totals = drlim_anchor_totals {
        anchors: 10,
        with_similar: 8,
        active: 5,
        correct: 4,
        similar: 20,
        pairs: 90,
        sum: 3.0,
    };
    for (code, expected) in [
        (drlim_anchor_reduction::SUM, 1.0),
        (drlim_anchor_reduction::MEAN, 0.1),
        (drlim_anchor_reduction::MEAN_WITH_SIMILAR, 0.125),
        (drlim_anchor_reduction::MEAN_NON_ZERO, 0.2),
        (drlim_anchor_reduction::MEAN_OF_PAIRS, 0.05),
    ] {
        let (mut value, mut factor) = (0.0, 0.0);
        // SAFETY: all is as the header asks.
        done(unsafe { drlim_anchor_reduce(code, totals, &mut value, &mut factor) });
        assert_eq!((value, factor), (3.0 * expected, expected));
        let nothing = drlim_anchor_totals::default();
        // SAFETY: all is as the header asks.
        done(unsafe { drlim_anchor_reduce(code, nothing, &mut value, &mut factor) });
        assert_eq!((value, factor), (0.0, 1.0));
    }
}
