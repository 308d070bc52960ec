//! The calls on anchors, and the sigmoid loss of queries and keys.

use super::*;

fn softmax() -> drlim_anchor_objective {
    drlim_anchor_objective_new(drlim_anchor_loss::SOFTMAX, drlim_anchor_reduction::MEAN)
}

fn untouched() -> drlim_anchor_outcome {
    drlim_anchor_outcome { value: UNTOUCHED as f64, ..drlim_anchor_outcome::default() }
}

/// Objectives of which one thing is wrong each.
fn bad_objectives() -> Vec<drlim_anchor_objective> {
    type Objective = drlim_anchor_objective;
    let of = |loss| drlim_anchor_objective_new(loss, drlim_anchor_reduction::MEAN);
    let (cos_face, arc_face) = (of(drlim_anchor_loss::COS_FACE), of(drlim_anchor_loss::ARC_FACE));
    let (multi, circle) = (of(drlim_anchor_loss::MULTI_SIMILARITY), of(drlim_anchor_loss::CIRCLE));
    let lifted = of(drlim_anchor_loss::LIFTED);
    let generalized = of(drlim_anchor_loss::GENERALIZED_LIFTED);
    vec![
        Objective { size: 0, ..softmax() },
        Objective { loss: drlim_anchor_loss(99), ..softmax() },
        Objective { positives: drlim_positives(99), ..softmax() },
        Objective { measure: drlim_measure(99), ..softmax() },
        Objective { reduction: drlim_anchor_reduction(99), ..softmax() },
        Objective { softmax_scale: 0.0, ..softmax() },
        Objective { softmax_scale: f64::NAN, ..softmax() },
        Objective { margin: -1.0, ..cos_face },
        Objective { softmax_scale: f64::INFINITY, ..cos_face },
        Objective { margin: f64::INFINITY, ..arc_face },
        Objective { alpha: 0.0, ..multi },
        Objective { beta: f64::NAN, ..multi },
        Objective { base: f64::INFINITY, ..multi },
        Objective { margin: f64::NAN, ..circle },
        Objective { gamma: -1.0, ..circle },
        Objective { positive_margin: f64::INFINITY, ..lifted },
        Objective { margin: f64::NAN, ..generalized },
    ]
}

/// Sums of anchors that no call has written.
const MARK: drlim_anchor_sums = sums_of(2, 0.5, 77.0);

/// Sums with so many similar pairs, whose powers and exponents come to this.
const fn sums_of(count: u64, sum: f64, exponents: f64) -> drlim_anchor_sums {
    let similar = drlim_log_sum { count, largest: 0.0, sum };
    let dissimilar = drlim_log_sum { count: 0, largest: 0.0, sum: 0.0 };
    drlim_anchor_sums { similar, dissimilar, exponents, looked: 0, each: [0.0; 2] }
}

/// Sums of as many anchors as there are, of which the last are wrong.
static WRONG_SUMS: [[drlim_anchor_sums; 2 * ROWS]; 4] = {
    let mut wrong = [[MARK; 2 * ROWS]; 4];
    let at = [
        sums_of(2, f64::NAN, 0.0),
        sums_of(2, -1.0, 0.0),
        sums_of(2, 1.0, f64::NAN),
        sums_of(1 << 32, 1.0, 0.0),
    ];
    let mut i = 0;
    while i < wrong.len() {
        wrong[i][ROWS - 1] = at[i];
        i += 1;
    }
    wrong
};

macro_rules! of_type {
    ($T:ident, $weights:ident, $other_weights:ident, $all_anchors:ident, $cross_anchors:ident,
        $cross_sigmoid:ident) => {
        pub(super) mod $T {
            use super::*;

            type In = drlim_matrix<$T>;
            type Out = drlim_matrix_mut<$T>;
            type Cx = *const drlim_context;
            type Scratch = *const drlim_scratch;

            arguments!(AllAnchors = $all_anchors(context: Cx, objective: *const drlim_anchor_objective, z: In,
                similar: *const drlim_similar, grad: Out, values: *mut $T, log_sums: *mut f64,
                sums: *mut drlim_anchor_sums, grad_scale: *mut f64, scratch: Scratch,
                outcome: *mut drlim_anchor_outcome));
            arguments!(CrossAnchors = $cross_anchors(context: Cx, objective: *const drlim_anchor_objective,
                queries: In, keys: In, similar: *const drlim_cross_similar, anchors: drlim_anchors,
                grad_queries: Out, grad_keys: Out, values: *mut $T, log_sums: *mut f64,
                sums: *mut drlim_anchor_sums, grad_scale: *mut f64, scratch: Scratch, outcome: *mut drlim_anchor_outcome));
            arguments!(CrossSigmoid = $cross_sigmoid(context: Cx, objective: *const drlim_objective,
                queries: In, keys: In, similar: *const drlim_cross_similar, grad_queries: Out, grad_keys: Out,
                grad_scale: *mut f64, grad_bias: *mut f64, scratch: Scratch, outcome: *mut drlim_outcome));
            named!(AllAnchors, CrossAnchors, CrossSigmoid);

            /// Inputs of distinct numbers, and outputs that hold a number of their own.
            struct World {
                inputs: Vec<$T>,
                outputs: Vec<$T>,
                doubles: [f64; 2 * ROWS + 2],
                sums: [drlim_anchor_sums; 2 * ROWS],
            }

            const OF_OUTPUTS: $T = -7.0;

            impl World {
                fn new() -> Self {
                    let inputs = (0..3 * ROWS * COLS).map(|i| (i * i % 23) as $T / 16.0).collect();
                    let outputs = vec![OF_OUTPUTS; 3 * ROWS * COLS];
                    World { inputs, outputs, doubles: [-7.0; 2 * ROWS + 2], sums: [MARK; 2 * ROWS] }
                }

                fn input(&self, at: usize) -> In {
                    rows_of(&self.inputs[at * ROWS * COLS..][..ROWS * COLS], COLS)
                }

                fn output(&mut self, at: usize) -> Out {
                    rows_mut(&mut self.outputs[at * ROWS * COLS..][..ROWS * COLS], COLS)
                }

                /// After calls that were refused.
                #[track_caller]
                fn check_untouched(&self) {
                    assert!(self.outputs.iter().all(|&x| x == OF_OUTPUTS));
                    assert_eq!(self.doubles, [-7.0; 2 * ROWS + 2]);
                    assert_eq!(self.sums, [MARK; 2 * ROWS]);
                }
            }

            /// The matrix at null, misaligned, with overlapping rows, longer than there are addresses, and narrower.
            fn wrong(matrix: In) -> [In; 4] {
                [
                    In { data: null(), ..matrix },
                    In { data: misaligned(matrix.data), ..matrix },
                    In { stride: COLS - 1, ..matrix },
                    In { rows: usize::MAX / 2, ..matrix },
                ]
            }

            fn narrower(matrix: In) -> In {
                In { cols: COLS - 1, ..matrix }
            }

            fn shorter(matrix: Out) -> Out {
                Out { rows: ROWS - 1, ..matrix }
            }

            fn odd(matrix: Out) -> Out {
                Out { data: misaligned_mut(matrix.data), ..matrix }
            }

            fn over(matrix: In) -> Out {
                let In { data, rows, cols, stride } = matrix;
                Out { data: data.cast_mut(), rows, cols, stride }
            }

            /// What is wrong with an objective for calls on anchors: which status it gives.
            fn wrong_objectives(values: *mut $T) -> Vec<(drlim_anchor_objective, drlim_status)> {
                let mut wrong: Vec<_> =
                    bad_objectives().into_iter().map(|of| (of, drlim_status::VALUE)).collect();
                let weights = drlim_anchor_objective { $weights: misaligned(values), ..softmax() };
                wrong.push((weights, drlim_status::MISALIGNED));
                // The caller gives weights of the other type alone.
                let others = drlim_anchor_objective { $other_weights: values.cast(), ..softmax() };
                wrong.push((others, drlim_status::NULL_POINTER));
                let known = drlim_anchor_objective { known: misaligned(&WRONG_SUMS[0][0]), ..softmax() };
                wrong.push((known, drlim_status::MISALIGNED));
                for sums in &WRONG_SUMS {
                    let known = drlim_anchor_objective { known: sums.as_ptr(), ..softmax() };
                    wrong.push((known, drlim_status::VALUE));
                }
                wrong
            }

            fn all_anchors(tried: &mut Tried) {
                let (mut world, objective) = (World::new(), softmax());
                let (z, grad, values) = (world.input(0), world.output(0), world.output(1).data);
                let log_sums = world.doubles.as_mut_ptr();
                let grad_scale = log_sums.wrapping_add(2 * ROWS);
                let sums = world.sums.as_mut_ptr();
                let labels = LABELS.as_ptr();
                let similar = drlim_similar { labels, ..Default::default() };
                let mut reported = untouched();
                let outcome = &raw mut reported;
                let valid = AllAnchors {
                    context: null(), objective: &objective, z, similar: &similar, grad, values, log_sums, sums,
                    grad_scale, scratch: null(), outcome,
                };
                let [z0, z1, z2, z3] = wrong(z);
                let off = misaligned(&raw const objective);
                let circle = drlim_anchor_objective_new(drlim_anchor_loss::CIRCLE, drlim_anchor_reduction::SUM);
                let weighted = drlim_anchor_objective { $weights: values, ..objective };
                let known = drlim_anchor_objective { known: sums, ..objective };
                refuse!(tried, valid,
                    context: [off.cast() => MISALIGNED],
                    objective: [null() => NULL_POINTER, off => MISALIGNED, &weighted => OVERLAP,
                        &known => OVERLAP],
                    z: [z0 => NULL_POINTER, z1 => MISALIGNED, z2 => SHAPE, z3 => MEMORY, narrower(z) => SHAPE],
                    similar: [null() => VALUE, off.cast() => MISALIGNED,
                        &drlim_similar { labels: misaligned(labels), ..similar } => MISALIGNED],
                    grad: [odd(grad) => MISALIGNED, shorter(grad) => SHAPE, over(z) => OVERLAP],
                    values: [misaligned_mut(values) => MISALIGNED, grad.data => OVERLAP],
                    log_sums: [misaligned_mut(log_sums) => MISALIGNED, outcome.cast() => OVERLAP],
                    sums: [misaligned_mut(sums) => MISALIGNED, log_sums.cast() => OVERLAP],
                    grad_scale: [misaligned_mut(grad_scale) => MISALIGNED, log_sums => OVERLAP],
                    scratch: [off.cast() => MISALIGNED],
                    outcome: [misaligned_mut(outcome) => MISALIGNED, grad.data.cast() => OVERLAP],
                );
                for (objective, status) in wrong_objectives(values) {
                    let status_of = AllAnchors { objective: &objective, ..valid }.call();
                    tried.refused(AllAnchors::NAME, "objective", status_of, status);
                }
                let no_scale = AllAnchors { objective: &circle, ..valid }.call();
                tried.refused(AllAnchors::NAME, "grad_scale", no_scale, drlim_status::VALUE);
                world.check_untouched();
                assert_eq!(reported, untouched());
                optional!(tried, valid, context: null(), grad: nowhere(), values: null_mut(), log_sums: null_mut(),
                    sums: null_mut(), grad_scale: null_mut(), scratch: null(), outcome: null_mut());
            }

            fn cross(tried: &mut Tried) {
                let (mut world, objective) = (World::new(), softmax());
                let sigmoid = drlim_objective_new(drlim_loss::SIGMOID, 1.0, drlim_reduction::SUM);
                let (queries, keys) = (world.input(0), world.input(1));
                let (grad_queries, grad_keys) = (world.output(0), world.output(1));
                let values = world.output(2).data;
                let log_sums = world.doubles.as_mut_ptr();
                let grad_scale = log_sums.wrapping_add(2 * ROWS);
                let grad_bias = grad_scale.wrapping_add(1);
                let sums = world.sums.as_mut_ptr();
                let (labels, first, past) = (LABELS.as_ptr(), 0, 1);
                let none = drlim_cross_similar::default();
                let similar = drlim_cross_similar { first_key_of_queries: &first, ..none };
                let (mut of_anchors, mut of_pairs) = (untouched(), outcome());
                let valid = CrossAnchors {
                    context: null(), objective: &objective, queries, keys, similar: &similar,
                    anchors: drlim_anchors::BOTH, grad_queries, grad_keys, values, log_sums, sums, grad_scale,
                    scratch: null(), outcome: &mut of_anchors,
                };
                let by_sigmoid = CrossSigmoid {
                    context: null(), objective: &sigmoid, queries, keys, similar: &similar, grad_queries, grad_keys,
                    grad_scale, grad_bias, scratch: null(), outcome: &mut of_pairs,
                };
                let [q0, q1, q2, q3] = wrong(queries);
                let [k0, k1, k2, k3] = wrong(keys);
                let off = misaligned(&raw const objective);
                macro_rules! both_calls {
                    ($valid:expr) => {
                        refuse!(tried, $valid,
                            context: [off.cast() => MISALIGNED],
                            objective: [null() => NULL_POINTER, off.cast() => MISALIGNED],
                            queries: [q0 => NULL_POINTER, q1 => MISALIGNED, q2 => SHAPE, q3 => MEMORY,
                                narrower(queries) => SHAPE],
                            keys: [k0 => NULL_POINTER, k1 => MISALIGNED, k2 => SHAPE, k3 => MEMORY,
                                narrower(keys) => SHAPE],
                            similar: [null() => VALUE, off.cast() => MISALIGNED, &none => VALUE,
                                &drlim_cross_similar { query_labels: labels, ..similar } => VALUE,
                                &drlim_cross_similar { first_key_of_queries: misaligned(&first), ..none }
                                    => MISALIGNED,
                                &drlim_cross_similar { first_key_of_queries: &past, ..none } => INDEX],
                            grad_queries: [odd(grad_queries) => MISALIGNED, shorter(grad_queries) => SHAPE,
                                over(keys) => OVERLAP, grad_keys => OVERLAP],
                            grad_keys: [odd(grad_keys) => MISALIGNED, shorter(grad_keys) => SHAPE,
                                over(queries) => OVERLAP],
                            grad_scale: [misaligned_mut(grad_scale) => MISALIGNED, grad_keys.data.cast() => OVERLAP],
                            scratch: [off.cast() => MISALIGNED],
                            outcome: [misaligned_mut($valid.outcome) => MISALIGNED,
                                grad_queries.data.cast() => OVERLAP],
                        );
                    };
                }
                both_calls!(valid);
                both_calls!(by_sigmoid);
                refuse!(tried, valid,
                    anchors: [drlim_anchors(99) => VALUE],
                    values: [misaligned_mut(values) => MISALIGNED, grad_keys.data => OVERLAP],
                    log_sums: [misaligned_mut(log_sums) => MISALIGNED, valid.outcome.cast() => OVERLAP],
                    sums: [misaligned_mut(sums) => MISALIGNED, values.cast() => OVERLAP],
                );
                refuse!(tried, by_sigmoid,
                    grad_bias: [misaligned_mut(grad_bias) => MISALIGNED, grad_scale => OVERLAP]);
                for (objective, status) in wrong_objectives(values) {
                    let status_of = CrossAnchors { objective: &objective, ..valid }.call();
                    tried.refused(CrossAnchors::NAME, "objective", status_of, status);
                }
                let lifted = drlim_anchor_objective_new(drlim_anchor_loss::LIFTED, drlim_anchor_reduction::SUM);
                let of_one_side = CrossAnchors {
                    objective: &lifted, anchors: drlim_anchors::QUERIES, grad_scale: null_mut(), ..valid
                };
                tried.refused(CrossAnchors::NAME, "anchors", of_one_side.call(), drlim_status::PAIRS);
                for objective in [
                    drlim_objective { size: 0, ..sigmoid },
                    drlim_objective { loss: drlim_loss::CONTRASTIVE, ..sigmoid },
                    drlim_objective { reduction: drlim_reduction(99), ..sigmoid },
                    drlim_objective { sigmoid_scale: 0.0, ..sigmoid },
                    drlim_objective { sigmoid_bias: f64::NAN, ..sigmoid },
                ] {
                    refuse!(tried, by_sigmoid, objective: [&objective => VALUE]);
                }
                world.check_untouched();
                assert_eq!((of_anchors, of_pairs), (untouched(), outcome()));
                optional!(tried, valid, context: null(), grad_queries: nowhere(), grad_keys: nowhere(),
                    values: null_mut(), log_sums: null_mut(), sums: null_mut(), grad_scale: null_mut(),
                    scratch: null(), outcome: null_mut());
                optional!(tried, by_sigmoid, context: null(), grad_queries: nowhere(), grad_keys: nowhere(),
                    grad_scale: null_mut(), grad_bias: null_mut(), scratch: null(), outcome: null_mut());
            }

            pub(in super::super) fn all(tried: &mut Tried) {
                all_anchors(tried);
                cross(tried);
            }
        }
    };
}

of_type!(
    f32,
    weights_f32,
    weights_f64,
    drlim_all_anchors_f32,
    drlim_cross_anchors_f32,
    drlim_cross_sigmoid_f32
);
of_type!(
    f64,
    weights_f64,
    weights_f32,
    drlim_all_anchors_f64,
    drlim_cross_anchors_f64,
    drlim_cross_sigmoid_f64
);
