//! Losses of anchors, and the sigmoid loss of queries and keys.

use super::*;

const REDUCTIONS: [(drlim_anchor_reduction, AnchorReduction); 6] = [
    (drlim_anchor_reduction::SUM, AnchorReduction::Sum),
    (drlim_anchor_reduction::MEAN, AnchorReduction::Mean),
    (drlim_anchor_reduction::MEAN_WITH_SIMILAR, AnchorReduction::MeanWithSimilar),
    (drlim_anchor_reduction::MEAN_NON_ZERO, AnchorReduction::MeanNonZero),
    (drlim_anchor_reduction::MEAN_OF_PAIRS, AnchorReduction::MeanOfPairs),
    (drlim_anchor_reduction::FACTOR, AnchorReduction::Factor(0.5)),
];

const POSITIVES: [(drlim_positives, Positives); 3] = [
    (drlim_positives::MEAN, Positives::Mean),
    (drlim_positives::SUM, Positives::Sum),
    (drlim_positives::EACH, Positives::Each),
];

const ANCHORS: [(drlim_anchors, Anchors, usize); 3] = [
    (drlim_anchors::QUERIES, Anchors::Queries, QUERIES),
    (drlim_anchors::KEYS, Anchors::Keys, ROWS),
    (drlim_anchors::BOTH, Anchors::Both, QUERIES + ROWS),
];

const QUERIES: usize = 30;
/// The first of the keys that belong to queries by position.
const FIRST: usize = 4;

/// An objective of which no parameter is as it was at first.
fn of_anchors(loss: drlim_anchor_loss, at: usize) -> drlim_anchor_objective {
    let measures = [
        drlim_measure::COSINE,
        drlim_measure::DOT,
        drlim_measure::DISTANCE,
        drlim_measure::STUDENT,
    ];
    drlim_anchor_objective {
        measure: measures[at % 4],
        factor: 0.5,
        softmax_scale: 6.0,
        margin: 0.25,
        positive_margin: 0.125,
        alpha: 1.5,
        beta: 7.0,
        base: 0.25,
        gamma: 3.0,
        scale: 2.0,
        ..drlim_anchor_objective_new(loss, REDUCTIONS[at % 6].0)
    }
}

fn measure_of(code: drlim_measure) -> Measure {
    match code {
        drlim_measure::COSINE => Measure::Cosine,
        drlim_measure::DOT => Measure::Dot,
        drlim_measure::STUDENT => Measure::Student,
        _ => Measure::Distance,
    }
}

pub(super) fn sums_of(sums: AnchorSums) -> drlim_anchor_sums {
    let of = |LogSum { count, largest, sum }| drlim_log_sum { count, largest, sum };
    drlim_anchor_sums {
        similar: of(sums.similar),
        dissimilar: of(sums.dissimilar),
        exponents: sums.exponents,
        looked: sums.each.is_some().into(),
        each: sums.each.unwrap_or_default(),
    }
}

#[track_caller]
fn same_anchors(found: drlim_anchor_outcome, expected: AnchorOutcome) {
    let of = |totals: AnchorTotals| drlim_anchor_totals {
        anchors: totals.anchors,
        with_similar: totals.with_similar,
        active: totals.active,
        correct: totals.correct,
        similar: totals.similar,
        pairs: totals.pairs,
        sum: totals.sum,
    };
    let [queries, keys] = expected.totals.map(of);
    assert_eq!(found, drlim_anchor_outcome { value: expected.value, queries, keys });
    assert!(found.value != 0.0 && found.queries.anchors + found.keys.anchors > 0);
}

#[test]
fn parameters_at_first() {
    let new = |loss| drlim_anchor_objective_new(loss, drlim_anchor_reduction::MEAN);
    let softmax = new(drlim_anchor_loss::SOFTMAX);
    assert_eq!((softmax.softmax_scale, softmax.decoupled, softmax.scale), (10.0, 0, 1.0));
    assert_eq!(
        (softmax.positives, softmax.measure),
        (drlim_positives::MEAN, drlim_measure::COSINE)
    );
    assert!(softmax.weights_f32.is_null() && softmax.weights_f64.is_null());
    assert!(softmax.known.is_null());
    for (loss, margin) in [(drlim_anchor_loss::COS_FACE, 0.35), (drlim_anchor_loss::ARC_FACE, 0.5)]
    {
        assert_eq!((new(loss).softmax_scale, new(loss).margin), (64.0, margin));
    }
    let multi = new(drlim_anchor_loss::MULTI_SIMILARITY);
    assert_eq!([multi.alpha, multi.beta, multi.base], [2.0, 50.0, 0.5]);
    let circle = new(drlim_anchor_loss::CIRCLE);
    assert_eq!([circle.margin, circle.gamma], [0.4, 80.0]);
    for loss in [drlim_anchor_loss::LIFTED, drlim_anchor_loss::GENERALIZED_LIFTED] {
        assert_eq!([new(loss).positive_margin, new(loss).margin], [0.0, 1.0]);
        assert_eq!(new(loss).measure, drlim_measure::DISTANCE);
    }
    let pairs = drlim_objective_new(drlim_loss::SIGMOID, 1.0, drlim_reduction::SUM);
    assert_eq!([pairs.sigmoid_scale, pairs.sigmoid_bias], [10.0, -10.0]);
}

macro_rules! of_type {
    ($T:ident, $weights:ident, $all_anchors:ident, $cross_anchors:ident, $cross:ident, $cross_sigmoid:ident) => {
        mod $T {
            use super::*;

            /// Rows of a wider array; what lies between them is not a number.
            fn embeddings(rows: usize, seed: usize) -> Vec<$T> {
                let number = |i: usize| ((i * 37 + seed * 11) % 101) as $T / 130.0 - 0.375;
                (0..rows * STRIDE)
                    .map(|i| if i % STRIDE < COLS { number(i) } else { $T::NAN })
                    .collect()
            }

            fn view(data: &[$T]) -> Mat<'_, $T> {
                Mat::strided(data, data.len() / STRIDE, COLS, STRIDE).unwrap()
            }

            fn given(data: &[$T]) -> drlim_matrix<$T> {
                let rows = data.len() / STRIDE;
                drlim_matrix { data: data.as_ptr(), rows, cols: COLS, stride: STRIDE }
            }

            fn lend(data: &mut [$T]) -> MatMut<'_, $T> {
                let rows = data.len() / STRIDE;
                MatMut::strided(data, rows, COLS, STRIDE).unwrap()
            }

            fn to(data: &mut [$T]) -> drlim_matrix_mut<$T> {
                let rows = data.len() / STRIDE;
                drlim_matrix_mut { data: data.as_mut_ptr(), rows, cols: COLS, stride: STRIDE }
            }

            /// Each loss in both forms, with another measure and reduction each.
            fn losses() -> Vec<(drlim_anchor_objective, Box<dyn BlockAnchorLoss<$T>>)> {
                let mut losses: Vec<(_, Box<dyn BlockAnchorLoss<$T>>)> = Vec::new();
                for (at, (code, positives)) in POSITIVES.into_iter().enumerate() {
                    let softmax = Softmax::scale(6.0).unwrap().positives(positives);
                    let of = drlim_anchor_objective {
                        positives: code,
                        ..of_anchors(drlim_anchor_loss::SOFTMAX, at)
                    };
                    losses.push((of, Box::new(softmax)));
                    let of = drlim_anchor_objective { decoupled: 1, ..of };
                    losses.push((of, Box::new(softmax.decoupled())));
                }
                let multi_similarity = MultiSimilarity::new(1.5, 7.0, 0.25).unwrap();
                let lifted = GeneralizedLifted::new(0.125, 0.25).unwrap();
                let others: [(_, Box<dyn BlockAnchorLoss<$T>>); 6] = [
                    (drlim_anchor_loss::COS_FACE, Box::new(CosFace::new(6.0, 0.25).unwrap())),
                    (drlim_anchor_loss::ARC_FACE, Box::new(ArcFace::new(6.0, 0.25).unwrap())),
                    (drlim_anchor_loss::MULTI_SIMILARITY, Box::new(multi_similarity)),
                    (drlim_anchor_loss::CIRCLE, Box::new(Circle::new(0.25, 3.0).unwrap())),
                    (drlim_anchor_loss::LIFTED, Box::new(Lifted::new(0.125, 0.25).unwrap())),
                    (drlim_anchor_loss::GENERALIZED_LIFTED, Box::new(lifted)),
                ];
                for (at, (code, loss)) in others.into_iter().enumerate() {
                    losses.push((of_anchors(code, at + 3), loss));
                }
                losses
            }

            fn weights() -> Vec<$T> {
                (0..QUERIES + ROWS).map(|i| (i % 7) as $T / 4.0).collect()
            }

            /// What one call gives: two gradients, values, log-sums and what they are of, the derivative by the scale.
            #[derive(Debug, PartialEq)]
            struct Found {
                grads: [Vec<$T>; 2],
                values: Vec<$T>,
                log_sums: Vec<f64>,
                sums: Vec<drlim_anchor_sums>,
                grad_scale: f64,
            }

            impl Found {
                fn new(rows: [usize; 2], anchors: usize) -> Self {
                    let grads = rows.map(|rows| vec![-7.0; rows * STRIDE]);
                    let (values, log_sums) = (vec![0.0; anchors], vec![0.0; anchors]);
                    let sums = vec![drlim_anchor_sums::default(); anchors];
                    Found { grads, values, log_sums, sums, grad_scale: -7.0 }
                }

                fn put_sums(&mut self, sums: &[AnchorSums]) {
                    self.sums = sums.iter().map(|&sums| sums_of(sums)).collect();
                    for (to, sums) in self.log_sums.iter_mut().zip(sums) {
                        *to = (sums.similar + sums.dissimilar).log();
                    }
                }
            }

            /// Calls with each loss, in both forms, everywhere.
            fn with_losses(
                mut call: impl FnMut(&Cx, *const drlim_context, drlim_anchor_objective, AnchorObjective<$T>),
            ) {
                for (given, loss) in &losses() {
                    let at = REDUCTIONS.iter().position(|(code, _)| *code == given.reduction);
                    let expected = AnchorObjective::sum(&**loss)
                        .measured(measure_of(given.measure))
                        .reduced(REDUCTIONS[at.unwrap()].1)
                        .scaled(2.0);
                    everywhere(|cx, context| call(&cx, context, *given, expected));
                }
            }

            #[test]
            fn rows_of_a_batch() {
                let (z, labels, weights) = (embeddings(ROWS, 1), labels(), weights());
                let mut scratch = null_mut();
                // SAFETY: all is as the header asks.
                done(unsafe { drlim_scratch_new(&mut scratch) });
                let ignored = -1_i64;
                let by_label = drlim_similar {
                    labels: labels.as_ptr(),
                    ignored_label: &ignored,
                    ..Default::default()
                };
                let similar = Similar::LabelsIgnoring { labels: &labels, ignored };
                with_losses(|cx, context, given_objective, expected_of| {
                    let (mut exact, mut found) =
                        (Found::new([ROWS, 0], ROWS), Found::new([ROWS, 0], ROWS));
                    let mut sums = vec![AnchorSums::default(); ROWS];
                    let scaled = expected_of.loss.scale_block().is_some();
                    let out = AnchorsOut {
                        grad: Some(lend(&mut exact.grads[0])),
                        values: Some(&mut exact.values),
                        sums: Some(&mut sums),
                        grad_scale: scaled.then_some(&mut exact.grad_scale),
                    };
                    // A loss that looks at both ends of a pair takes no weights.
                    let couples = given_objective.loss == drlim_anchor_loss::LIFTED;
                    let expected_of = match couples {
                        true => expected_of,
                        false => expected_of.weighted(&weights[..ROWS]),
                    };
                    let own = &mut AnchorScratch::new();
                    let expected =
                        all_anchors(cx, &expected_of, view(&z), similar, out, own).unwrap();
                    exact.put_sums(&sums);

                    let weights = if couples { null() } else { weights.as_ptr() };
                    let objective =
                        drlim_anchor_objective { $weights: weights, ..given_objective };
                    let mut outcome = drlim_anchor_outcome::default();
                    // SAFETY: all is as the header asks.
                    done(unsafe {
                        $all_anchors(
                            context,
                            &objective,
                            given(&z),
                            &by_label,
                            to(&mut found.grads[0]),
                            found.values.as_mut_ptr(),
                            found.log_sums.as_mut_ptr(),
                            found.sums.as_mut_ptr(),
                            if scaled { &mut found.grad_scale } else { null_mut() },
                            scratch,
                            &mut outcome,
                        )
                    });
                    same_anchors(outcome, expected);
                    assert_eq!(found, exact);
                    // Rows that are left out have no candidates.
                    let none = found.log_sums.iter().filter(|sum| **sum == f64::NEG_INFINITY);
                    assert_eq!(none.count(), labels.iter().filter(|&&label| label == -1).count());
                });
                // SAFETY: a handle of this test, not used any more.
                unsafe { drlim_scratch_free(scratch) };
            }

            #[test]
            fn queries_and_keys() {
                let (queries, keys) = (embeddings(QUERIES, 1), embeddings(ROWS, 2));
                let (labels, weights) = (labels(), weights());
                let by_label = drlim_cross_similar {
                    query_labels: labels.as_ptr(),
                    key_labels: labels.as_ptr(),
                    ..Default::default()
                };
                let of_labels = CrossSimilar::Labels {
                    queries: &labels[..QUERIES],
                    keys: &labels,
                    ignored: None,
                };
                let by_position =
                    drlim_cross_similar { first_key_of_queries: &FIRST, ..Default::default() };
                let similars = [
                    (by_label, of_labels),
                    (by_position, CrossSimilar::Position { first_key: FIRST }),
                ];
                with_losses(|cx, context, given_objective, expected_of| {
                    if given_objective.loss == drlim_anchor_loss::LIFTED {
                        return;
                    }
                    for (code, anchors, count) in ANCHORS {
                        for (given_similar, similar) in similars {
                            let mut exact = Found::new([QUERIES, ROWS], count);
                            let mut found = Found::new([QUERIES, ROWS], count);
                            let mut sums = vec![AnchorSums::default(); count];
                            let scaled = expected_of.loss.scale_block().is_some();
                            let [grad_queries, grad_keys] = &mut exact.grads;
                            let out = CrossAnchorsOut {
                                grad_queries: Some(lend(grad_queries)),
                                grad_keys: Some(lend(grad_keys)),
                                values: Some(&mut exact.values),
                                sums: Some(&mut sums),
                                grad_scale: scaled.then_some(&mut exact.grad_scale),
                            };
                            let expected = cross_anchors(
                                cx,
                                &expected_of.weighted(&weights[..count]),
                                view(&queries),
                                view(&keys),
                                similar,
                                None,
                                anchors,
                                out,
                                &mut AnchorScratch::new(),
                            )
                            .unwrap();
                            exact.put_sums(&sums);

                            let objective = drlim_anchor_objective {
                                $weights: weights.as_ptr(),
                                ..given_objective
                            };
                            let mut outcome = drlim_anchor_outcome::default();
                            let [grad_queries, grad_keys] = &mut found.grads;
                            // SAFETY: all is as the header asks.
                            done(unsafe {
                                $cross_anchors(
                                    context,
                                    &objective,
                                    given(&queries),
                                    given(&keys),
                                    &given_similar,
                                    code,
                                    to(grad_queries),
                                    to(grad_keys),
                                    found.values.as_mut_ptr(),
                                    found.log_sums.as_mut_ptr(),
                                    found.sums.as_mut_ptr(),
                                    if scaled { &mut found.grad_scale } else { null_mut() },
                                    null(),
                                    &mut outcome,
                                )
                            });
                            same_anchors(outcome, expected);
                            assert_eq!(found, exact);
                        }
                    }
                });
            }

            #[test]
            fn pairs_by_position_and_the_sigmoid_loss() {
                let (queries, keys) = (embeddings(QUERIES, 1), embeddings(ROWS, 2));
                let similar =
                    drlim_cross_similar { first_key_of_queries: &FIRST, ..Default::default() };
                let loss = Sigmoid::new(6.0, -3.0).unwrap();
                let reduction = Reduction::Factors { similar: 0.5, dissimilar: 3.0 };
                let expected_of = Objective::sum(&loss).reduced(reduction).scaled(2.0);
                let objective = of_pairs(drlim_loss::SIGMOID, drlim_reduction::FACTORS);
                everywhere(|cx, context| {
                    let [mut exact, mut plain, mut found] =
                        [(); 3].map(|()| [QUERIES, ROWS].map(|rows| vec![-7.0; rows * STRIDE]));
                    let (mut totals, mut by) = (SlopeTotals::default(), [-7.0; 2]);
                    let [grad_queries, grad_keys] = &mut exact;
                    let mut out = CrossOut::grads(lend(grad_queries), lend(grad_keys));
                    out.slope_totals = Some(&mut totals);
                    let expected = cross(
                        &cx,
                        &expected_of,
                        view(&queries),
                        view(&keys),
                        CrossSimilar::Position { first_key: FIRST },
                        None,
                        out,
                        &mut CrossScratch::new(),
                    )
                    .unwrap();
                    let mut outcome = drlim_outcome::default();
                    let [grad_queries, grad_keys] = &mut plain;
                    // SAFETY: all is as the header asks.
                    done(unsafe {
                        $cross(
                            context,
                            &objective,
                            given(&queries),
                            given(&keys),
                            &similar,
                            to(grad_queries),
                            to(grad_keys),
                            null(),
                            &mut outcome,
                        )
                    });
                    same(outcome, expected);
                    let [grad_queries, grad_keys] = &mut found;
                    let [by_scale, by_bias] = &mut by;
                    // SAFETY: all is as the header asks.
                    done(unsafe {
                        $cross_sigmoid(
                            context,
                            &objective,
                            given(&queries),
                            given(&keys),
                            &similar,
                            to(grad_queries),
                            to(grad_keys),
                            by_scale,
                            by_bias,
                            null(),
                            &mut outcome,
                        )
                    });
                    same(outcome, expected);
                    assert_eq!([&plain, &found], [&exact; 2]);
                    assert_eq!(by, loss.scale_and_bias(&totals));
                    assert!(by.iter().all(|&by| by != 0.0));
                });
            }
        }
    };
}

of_type!(
    f32,
    weights_f32,
    drlim_all_anchors_f32,
    drlim_cross_anchors_f32,
    drlim_cross_f32,
    drlim_cross_sigmoid_f32
);
of_type!(
    f64,
    weights_f64,
    drlim_all_anchors_f64,
    drlim_cross_anchors_f64,
    drlim_cross_f64,
    drlim_cross_sigmoid_f64
);
