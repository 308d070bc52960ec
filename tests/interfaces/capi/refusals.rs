//! Each argument of each function null, misaligned, of another size, over another one or out of its domain: a
//! status, a message that names it, and nothing written. A function or parameter of the header that is not
//! tried here fails.

use std::collections::BTreeSet;
use std::ptr::{null, null_mut};

use drlim::capi::*;

use crate::capi::header::declared;
use crate::capi::{message, nowhere, rows_mut, rows_of};

/// Which parameters of which functions have been tried.
#[derive(Default)]
struct Tried(BTreeSet<(String, String)>);

impl Tried {
    /// Notes that a call with the parameter wrong was refused as it should be.
    #[track_caller]
    fn refused(
        &mut self,
        function: &str,
        parameter: &str,
        status: drlim_status,
        expected: drlim_status,
    ) {
        let told = message();
        assert_eq!(status, expected, "{function}, {parameter}: {told}");
        // What is wrong is what a message about addresses is about: "a" alone is in almost every sentence.
        let named =
            told.split(" and ").any(|part| part.split([' ', '.']).next() == Some(parameter));
        // A size that does not fit, and an index, may be told by what they do not fit.
        let about_addresses =
            [drlim_status::NULL_POINTER, drlim_status::MISALIGNED, drlim_status::OVERLAP];
        assert!(named || !about_addresses.contains(&expected), "{function}, {parameter}: {told}");
        assert!(!told.is_empty());
        self.0.insert((function.to_owned(), parameter.to_owned()));
    }

    /// Notes that a parameter may be null.
    #[track_caller]
    fn optional(&mut self, function: &str, parameter: &str, status: drlim_status) {
        assert_eq!(status, drlim_status::OK, "{function}, {parameter}: {}", message());
        self.0.insert((function.to_owned(), parameter.to_owned()));
    }
}

/// The arguments of a function by their names, and a call with them.
macro_rules! arguments {
    ($Arguments:ident = $function:ident($($parameter:ident: $type:ty),* $(,)?)) => {
        #[derive(Clone, Copy)]
        struct $Arguments {
            $($parameter: $type),*
        }

        impl $Arguments {
            const NAME: &str = stringify!($function);

            fn call(self) -> drlim_status {
                // SAFETY: what is wrong with the arguments is to be found out.
                unsafe { $function($(self.$parameter),*) }
            }
        }
    };
}

/// Calls with one parameter after another replaced, each of which is to be refused.
macro_rules! refuse {
    ($tried:expr, $valid:expr, $($parameter:ident: [$($wrong:expr => $status:ident),* $(,)?]),* $(,)?) => {
        // Of a match, since what it looks at lives as long.
        $($(match $wrong {
            wrong => {
                let mut arguments = $valid;
                arguments.$parameter = wrong;
                let status = arguments.call();
                let (function, parameter) = (name_of(&arguments), stringify!($parameter));
                $tried.refused(function, parameter, status, drlim_status::$status);
            }
        })*)*
    };
}

/// Calls with one parameter after another null, each of which is to be done.
macro_rules! optional {
    ($tried:expr, $valid:expr, $($parameter:ident: $null:expr),* $(,)?) => {
        $({
            let mut arguments = $valid;
            arguments.$parameter = $null;
            let status = arguments.call();
            $tried.optional(name_of(&arguments), stringify!($parameter), status);
        })*
    };
}

trait Named {
    fn name(&self) -> &'static str;
}

fn name_of(arguments: &impl Named) -> &'static str {
    arguments.name()
}

macro_rules! named {
    ($($Arguments:ident),*) => {
        $(impl Named for $Arguments {
            fn name(&self) -> &'static str {
                Self::NAME
            }
        })*
    };
}

mod anchor_sums;
mod anchors;
mod handles;

fn misaligned<P>(pointer: *const P) -> *const P {
    pointer.wrapping_byte_add(1)
}

fn misaligned_mut<P>(pointer: *mut P) -> *mut P {
    pointer.wrapping_byte_add(1)
}

const ROWS: usize = 6;
const COLS: usize = 5;

/// What no function may leave changed when it refuses.
const UNTOUCHED: u64 = 77;

fn outcome() -> drlim_outcome {
    drlim_outcome { pairs: UNTOUCHED, ..drlim_outcome::default() }
}

const FLAGS: [bool; ROWS] = [true, false, true, false, true, false];

/// Flags of which one is none.
const NO_FLAGS: [u8; ROWS] = [1, 0, 2, 0, 1, 0];

const LABELS: [i64; ROWS] = [1, 1, 2, 2, 3, 3];

const PAIRS: [u32; ROWS] = [0, 1, 2, 3, 4, 5];

macro_rules! of_type {
    (
        $T:ident, $rows:ident, $indexed:ident, $all_pairs:ident, $cross:ident, $triplet_rows:ident, $triplets:ident,
        $distances:ident, $backward:ident, $matrix:ident, $hard:ident, $nearest:ident, $others:ident, $hardest:ident,
        $graph_nearest:ident
    ) => {
        mod $T {
            use super::*;

            type In = drlim_matrix<$T>;
            type Out = drlim_matrix_mut<$T>;
            type Cx = *const drlim_context;
            type Outcome = *mut drlim_outcome;

            arguments!(Rows = $rows(context: Cx, objective: *const drlim_objective, a: In, b: In,
                similar: *const bool, weights: *const $T, ignored: *const bool, out: *const drlim_rows_out<$T>,
                outcome: Outcome));
            arguments!(Indexed = $indexed(context: Cx, objective: *const drlim_objective, z: In,
                list: *const drlim_pairs, similar: *const bool, weights: *const $T, ignored: *const bool,
                out: *const drlim_indexed_out<$T>, scratch: *const drlim_scratch, outcome: Outcome));
            arguments!(AllPairs = $all_pairs(context: Cx, objective: *const drlim_objective, z: In,
                similar: *const drlim_similar, grad: Out, scratch: *const drlim_scratch, outcome: Outcome));
            arguments!(Cross = $cross(context: Cx, objective: *const drlim_objective, queries: In, keys: In,
                similar: *const drlim_cross_similar, grad_queries: Out, grad_keys: Out,
                scratch: *const drlim_scratch, outcome: Outcome));
            arguments!(TripletRows = $triplet_rows(context: Cx, objective: *const drlim_triplet_objective,
                anchor: In, positive: In, negative: In, weights: *const $T, ignored: *const bool,
                out: *const drlim_triplet_rows_out<$T>, outcome: Outcome));
            arguments!(Triplets = $triplets(context: Cx, objective: *const drlim_triplet_objective, z: In,
                similar: *const drlim_similar, mining: drlim_mining, grad: Out, scratch: *const drlim_scratch,
                outcome: Outcome));
            arguments!(Distances = $distances(context: Cx, distance: drlim_distance, a: In, b: In,
                distances: *mut $T));
            arguments!(Backward = $backward(context: Cx, distance: drlim_distance, a: In, b: In,
                upstream: *const $T, grad_a: Out, grad_b: Out));
            arguments!(Matrix = $matrix(context: Cx, a: In, b: In, distances: Out));
            arguments!(Hard = $hard(distances: *const $T, similar: *const bool, ignored: *const bool, n: usize,
                places: *mut u32, count: *mut usize));
            arguments!(Nearest = $nearest(context: Cx, queries: In, references: In, k: usize,
                found: drlim_found<$T>));
            arguments!(Others = $others(context: Cx, z: In, k: usize, found: drlim_found<$T>));
            arguments!(Hardest = $hardest(context: Cx, z: In, similar: *const drlim_similar, k: usize,
                of_similar: drlim_found<$T>, of_dissimilar: drlim_found<$T>));
            arguments!(GraphNearest = $graph_nearest(context: Cx, z: In, k: usize,
                graph: *mut *mut drlim_graph));
            named!(Rows, Indexed, AllPairs, Cross, TripletRows, Triplets, Distances, Backward, Matrix, Hard,
                Nearest, Others, Hardest, GraphNearest);

            /// Inputs of distinct numbers, and outputs that hold a number of their own.
            struct World {
                inputs: Vec<$T>,
                outputs: Vec<$T>,
                outcome: drlim_outcome,
            }

            const OF_OUTPUTS: $T = -7.0;

            impl World {
                fn new() -> Self {
                    let inputs = (0..4 * ROWS * COLS).map(|i| (i * i % 23) as $T / 8.0).collect();
                    World { inputs, outputs: vec![OF_OUTPUTS; 8 * ROWS * COLS], outcome: outcome() }
                }

                fn input(&self, at: usize) -> In {
                    rows_of(&self.inputs[at * ROWS * COLS..][..ROWS * COLS], COLS)
                }

                fn output(&mut self, at: usize) -> Out {
                    rows_mut(&mut self.outputs[at * ROWS * COLS..][..ROWS * COLS], COLS)
                }

                fn list(&mut self, at: usize) -> *mut $T {
                    self.output(at).data
                }

                /// After calls that were refused.
                #[track_caller]
                fn check_untouched(&self) {
                    assert!(self.outputs.iter().all(|&x| x == OF_OUTPUTS));
                    assert_eq!(self.outcome, outcome());
                }
            }

            /// The matrix at null, misaligned, with overlapping rows, and longer than there are addresses.
            fn wrong(matrix: In) -> [In; 4] {
                let data = matrix.data;
                [
                    In { data: null(), ..matrix },
                    In { data: misaligned(data), ..matrix },
                    In { stride: COLS - 1, ..matrix },
                    In { rows: usize::MAX / 2, ..matrix },
                ]
            }

            fn wrong_out(matrix: Out) -> [Out; 3] {
                let data = matrix.data;
                [
                    Out { data: misaligned_mut(data), ..matrix },
                    Out { stride: COLS - 1, ..matrix },
                    Out { rows: usize::MAX / 2, ..matrix },
                ]
            }

            fn narrower(matrix: In) -> In {
                In { cols: COLS - 1, ..matrix }
            }

            fn shorter(matrix: Out) -> Out {
                Out { rows: ROWS - 1, ..matrix }
            }

            fn over(matrix: In) -> Out {
                Out { data: matrix.data.cast_mut(), rows: matrix.rows, cols: matrix.cols, stride: matrix.stride }
            }

            fn bad_objectives() -> [drlim_objective; 9] {
                let sum = drlim_objective_new(drlim_loss::CONTRASTIVE, 1.0, drlim_reduction::SUM);
                [
                    drlim_objective { size: 0, ..sum },
                    drlim_objective { loss: drlim_loss(99), ..sum },
                    drlim_objective { reduction: drlim_reduction(99), ..sum },
                    drlim_objective { margin: f64::NAN, ..sum },
                    drlim_objective { margin: -1.0, ..sum },
                    drlim_objective { loss: drlim_loss::LINEAR_HINGE, positive_margin: -1.0, ..sum },
                    drlim_objective { loss: drlim_loss::EXPONENTIAL, margin: f64::INFINITY, ..sum },
                    drlim_objective { loss: drlim_loss::SIGMOID, sigmoid_scale: 0.0, ..sum },
                    drlim_objective { loss: drlim_loss::SIGMOID, sigmoid_bias: f64::INFINITY, ..sum },
                ]
            }

            fn rows(tried: &mut Tried) {
                let mut world = World::new();
                let objective = drlim_objective_new(drlim_loss::CONTRASTIVE, 1.0, drlim_reduction::SUM);
                let (a, b) = (world.input(0), world.input(1));
                let out = drlim_rows_out {
                    grad_a: world.output(0),
                    grad_b: world.output(1),
                    distances: world.list(2),
                    values: world.list(3),
                    slopes: world.list(4),
                };
                let similar = FLAGS.as_ptr();
                let weights = world.inputs.as_ptr();
                let outcome = &raw mut world.outcome;
                let valid = Rows {
                    context: null(), objective: &objective, a, b, similar, weights, ignored: similar, out: &out, outcome,
                };
                let no_callback = drlim_objective { loss: drlim_loss::CALLBACK, ..objective };
                let [a0, a1, a2, a3] = wrong(a);
                let [b0, b1, b2, b3] = wrong(b);
                refuse!(tried, valid,
                    context: [misaligned(&raw const objective).cast() => MISALIGNED],
                    objective: [null() => NULL_POINTER, misaligned(&objective) => MISALIGNED,
                        &no_callback => NULL_POINTER],
                    a: [a0 => NULL_POINTER, a1 => MISALIGNED, a2 => SHAPE, a3 => MEMORY, narrower(a) => SHAPE],
                    b: [b0 => NULL_POINTER, b1 => MISALIGNED, b2 => SHAPE, b3 => MEMORY, narrower(b) => SHAPE],
                    similar: [null() => NULL_POINTER, NO_FLAGS.as_ptr().cast() => VALUE],
                    weights: [misaligned(weights) => MISALIGNED],
                    ignored: [NO_FLAGS.as_ptr().cast() => VALUE],
                    out: [misaligned(&out) => MISALIGNED],
                    outcome: [misaligned_mut(outcome) => MISALIGNED, out.values.cast() => OVERLAP,
                        (&raw const out).cast_mut().cast() => OVERLAP],
                );
                for objective in bad_objectives() {
                    refuse!(tried, valid, objective: [&objective => VALUE]);
                }
                let [g0, g1, g2] = wrong_out(out.grad_a);
                type Results = drlim_rows_out<$T>;
                for (results, status) in [
                    (Results { grad_a: nowhere(), ..out }, drlim_status::NULL_POINTER),
                    (Results { grad_b: nowhere(), ..out }, drlim_status::NULL_POINTER),
                    (Results { grad_a: g0, ..out }, drlim_status::MISALIGNED),
                    (Results { grad_a: g1, ..out }, drlim_status::SHAPE),
                    (Results { grad_a: g2, ..out }, drlim_status::MEMORY),
                    (Results { grad_b: shorter(out.grad_b), ..out }, drlim_status::SHAPE),
                    (Results { grad_a: over(a), ..out }, drlim_status::OVERLAP),
                    (Results { grad_b: out.grad_a, ..out }, drlim_status::OVERLAP),
                    (Results { distances: misaligned_mut(out.distances), ..out }, drlim_status::MISALIGNED),
                    (Results { values: misaligned_mut(out.values), ..out }, drlim_status::MISALIGNED),
                    (Results { slopes: misaligned_mut(out.slopes), ..out }, drlim_status::MISALIGNED),
                    (Results { slopes: out.values, ..out }, drlim_status::OVERLAP),
                    (Results { values: weights.cast_mut(), ..out }, drlim_status::OVERLAP),
                ] {
                    tried.refused(Rows::NAME, "out", Rows { out: &results, ..valid }.call(), status);
                }
                world.check_untouched();
                optional!(tried, valid,
                    context: null(), weights: null(), ignored: null(), out: null(), outcome: null_mut());
            }

            fn indexed(tried: &mut Tried) {
                let mut world = World::new();
                let objective = drlim_objective_new(drlim_loss::CONTRASTIVE, 1.0, drlim_reduction::SUM);
                let [mut list, mut other_list] = [null_mut(); 2];
                let mut scratch = null_mut();
                // SAFETY: all is as the header asks.
                unsafe {
                    crate::capi::done(drlim_pairs_new(ROWS, PAIRS.as_ptr(), 3, &mut list));
                    crate::capi::done(drlim_pairs_new(ROWS + 1, PAIRS.as_ptr(), 3, &mut other_list));
                    crate::capi::done(drlim_scratch_new(&mut scratch));
                }
                let z = world.input(0);
                let out = drlim_indexed_out {
                    grad: world.output(0),
                    distances: world.list(1),
                    values: world.list(2),
                    slopes: world.list(3),
                };
                let (similar, weights) = (FLAGS.as_ptr(), world.inputs.as_ptr());
                let outcome = &raw mut world.outcome;
                let valid = Indexed {
                    context: null(), objective: &objective, z, list, similar, weights, ignored: similar, out: &out,
                    scratch, outcome,
                };
                let [z0, z1, z2, z3] = wrong(z);
                refuse!(tried, valid,
                    context: [misaligned(&raw const objective).cast() => MISALIGNED],
                    objective: [null() => NULL_POINTER, misaligned(&objective) => MISALIGNED],
                    z: [z0 => NULL_POINTER, z1 => MISALIGNED, z2 => SHAPE, z3 => MEMORY, narrower(z) => SHAPE],
                    list: [null() => NULL_POINTER, misaligned(list) => MISALIGNED, other_list => SHAPE],
                    similar: [null() => NULL_POINTER, NO_FLAGS.as_ptr().cast() => VALUE],
                    weights: [misaligned(weights) => MISALIGNED],
                    ignored: [NO_FLAGS.as_ptr().cast() => VALUE],
                    out: [misaligned(&out) => MISALIGNED,
                        &drlim_indexed_out { grad: over(z), ..out } => OVERLAP,
                        &drlim_indexed_out { grad: shorter(out.grad), ..out } => SHAPE,
                        &drlim_indexed_out { slopes: out.values, ..out } => OVERLAP,
                        &drlim_indexed_out { distances: misaligned_mut(out.distances), ..out } => MISALIGNED],
                    scratch: [misaligned(scratch) => MISALIGNED],
                    outcome: [misaligned_mut(outcome) => MISALIGNED, out.values.cast() => OVERLAP],
                );
                world.check_untouched();
                optional!(tried, valid, context: null(), weights: null(), ignored: null(), out: null(),
                    scratch: null(), outcome: null_mut());
                // SAFETY: handles of this test, not used any more.
                unsafe {
                    drlim_pairs_free(list);
                    drlim_pairs_free(other_list);
                    drlim_scratch_free(scratch);
                }
            }

            fn all_pairs_and_triplets(tried: &mut Tried) {
                let mut world = World::new();
                let objective = drlim_objective_new(drlim_loss::CONTRASTIVE, 1.0, drlim_reduction::SUM);
                let of_triplets =
                    drlim_triplet_objective_new(drlim_triplet_loss::MARGIN, 1.0, drlim_reduction::SUM);
                let [mut graph, mut other_graph] = [null_mut(); 2];
                // SAFETY: all is as the header asks.
                unsafe {
                    crate::capi::done(drlim_graph_new(ROWS, PAIRS.as_ptr(), 3, &mut graph));
                    crate::capi::done(drlim_graph_new(ROWS + 1, PAIRS.as_ptr(), 3, &mut other_graph));
                }
                let (z, grad) = (world.input(0), world.output(0));
                let labels = LABELS.as_ptr();
                let similar = drlim_similar { labels, ..Default::default() };
                let (context, scratch, outcome) = (null(), null(), &raw mut world.outcome);
                let valid =
                    AllPairs { context, objective: &objective, z, similar: &similar, grad, scratch, outcome };
                let triplets = Triplets {
                    context, objective: &of_triplets, z, similar: &similar, mining: drlim_mining::ALL, grad, scratch,
                    outcome,
                };
                let [z0, z1, z2, z3] = wrong(z);
                let [g0, g1, g2] = wrong_out(grad);
                let odd = misaligned(&raw const objective);
                let [neither, both, other, off, off_graph] = [
                    drlim_similar::default(),
                    drlim_similar { graph, ..similar },
                    drlim_similar { graph: other_graph, ..Default::default() },
                    drlim_similar { labels: misaligned(labels), ..similar },
                    drlim_similar { graph: misaligned(graph), ..Default::default() },
                ];
                let off_ignored = drlim_similar { ignored_label: misaligned(labels), ..similar };
                let over_labels = Out { data: labels.cast_mut().cast(), rows: 1, cols: 1, stride: 1 };
                macro_rules! both_calls {
                    ($valid:expr) => {
                        refuse!(tried, $valid,
                            context: [odd.cast() => MISALIGNED],
                            objective: [null() => NULL_POINTER, odd.cast() => MISALIGNED],
                            z: [z0 => NULL_POINTER, z1 => MISALIGNED, z2 => SHAPE, z3 => MEMORY,
                                narrower(z) => SHAPE],
                            similar: [null() => VALUE, odd.cast() => MISALIGNED, &neither => VALUE, &both => VALUE,
                                &other => SHAPE, &off => MISALIGNED, &off_graph => MISALIGNED,
                                &off_ignored => MISALIGNED],
                            grad: [g0 => MISALIGNED, g1 => SHAPE, g2 => MEMORY, shorter(grad) => SHAPE,
                                over(z) => OVERLAP, over_labels => OVERLAP],
                            scratch: [odd.cast() => MISALIGNED],
                            outcome: [misaligned_mut(outcome) => MISALIGNED, grad.data.cast() => OVERLAP,
                                $valid.objective.cast_mut().cast() => OVERLAP,
                                (&raw const similar).cast_mut().cast() => OVERLAP],
                        );
                        world.check_untouched();
                        optional!(tried, $valid, context: null(), scratch: null(), outcome: null_mut(),
                            grad: nowhere());
                        world.outputs.fill(OF_OUTPUTS);
                        world.outcome = super::outcome();
                    };
                }
                both_calls!(valid);
                let [size, loss, reduction, balanced, margin] = [
                    drlim_triplet_objective { size: 1, ..of_triplets },
                    drlim_triplet_objective { loss: drlim_triplet_loss(99), ..of_triplets },
                    drlim_triplet_objective { reduction: drlim_reduction(99), ..of_triplets },
                    drlim_triplet_objective { reduction: drlim_reduction::BALANCED, ..of_triplets },
                    drlim_triplet_objective { margin: f64::NAN, ..of_triplets },
                ];
                let callback = drlim_triplet_objective { loss: drlim_triplet_loss::CALLBACK, ..of_triplets };
                refuse!(tried, triplets, mining: [drlim_mining(99) => VALUE]);
                for (objective, status) in [
                    (size, drlim_status::VALUE),
                    (loss, drlim_status::VALUE),
                    (reduction, drlim_status::VALUE),
                    (margin, drlim_status::VALUE),
                    (callback, drlim_status::NULL_POINTER),
                ] {
                    let status_of = Triplets { objective: &objective, ..triplets }.call();
                    tried.refused(Triplets::NAME, "objective", status_of, status);
                }
                let of_balanced = Triplets { objective: &balanced, ..triplets }.call();
                assert_eq!(of_balanced, drlim_status::REDUCTION);
                both_calls!(triplets);
                // SAFETY: handles of this test, not used any more.
                unsafe {
                    drlim_graph_free(graph);
                    drlim_graph_free(other_graph);
                }
            }

            fn cross(tried: &mut Tried) {
                let mut world = World::new();
                let objective = drlim_objective_new(drlim_loss::CONTRASTIVE, 1.0, drlim_reduction::SUM);
                let mut graph = null_mut();
                // SAFETY: all is as the header asks.
                crate::capi::done(unsafe { drlim_graph_new(ROWS, PAIRS.as_ptr(), 3, &mut graph) });
                let (queries, keys) = (world.input(0), world.input(1));
                let (grad_queries, grad_keys) = (world.output(0), world.output(1));
                let labels = LABELS.as_ptr();
                let similar = drlim_cross_similar { query_labels: labels, key_labels: labels, ..Default::default() };
                let (scratch, outcome) = (null(), &raw mut world.outcome);
                let valid = Cross {
                    context: null(), objective: &objective, queries, keys, similar: &similar, grad_queries, grad_keys,
                    scratch, outcome,
                };
                let [q0, q1, q2, q3] = wrong(queries);
                let [k0, k1, k2, k3] = wrong(keys);
                let odd = misaligned(&raw const objective);
                let (past, none) = (1, drlim_cross_similar::default());
                let by_graph = drlim_cross_similar { graph, ..none };
                refuse!(tried, valid,
                    context: [odd.cast() => MISALIGNED],
                    objective: [null() => NULL_POINTER, odd => MISALIGNED],
                    queries: [q0 => NULL_POINTER, q1 => MISALIGNED, q2 => SHAPE, q3 => MEMORY,
                        narrower(queries) => SHAPE],
                    keys: [k0 => NULL_POINTER, k1 => MISALIGNED, k2 => SHAPE, k3 => MEMORY, narrower(keys) => SHAPE],
                    similar: [null() => VALUE, odd.cast() => MISALIGNED, &none => VALUE,
                        &drlim_cross_similar { graph, ..similar } => VALUE,
                        &drlim_cross_similar { first_key_of_queries: &past, ..similar } => VALUE,
                        &drlim_cross_similar { first_key_of_queries: &past, ..by_graph } => VALUE,
                        &drlim_cross_similar { first_key_of_queries: &past, ..none } => INDEX,
                        &drlim_cross_similar { key_labels: null(), ..similar } => NULL_POINTER,
                        &drlim_cross_similar { query_labels: null(), ..similar } => NULL_POINTER,
                        &drlim_cross_similar { query_labels: misaligned(labels), ..similar } => MISALIGNED,
                        &drlim_cross_similar { ignored_label: misaligned(labels), ..similar } => MISALIGNED,
                        &drlim_cross_similar { own: misaligned(&past), ..similar } => MISALIGNED,
                        &drlim_cross_similar { own: &past, ..similar } => INDEX,
                        &drlim_cross_similar { first_query: 1, ..by_graph } => INDEX,
                        &drlim_cross_similar { first_key: usize::MAX, ..by_graph } => INDEX],
                    grad_queries: [shorter(grad_queries) => SHAPE, over(keys) => OVERLAP, grad_keys => OVERLAP,
                        Out { data: misaligned_mut(grad_queries.data), ..grad_queries } => MISALIGNED],
                    grad_keys: [shorter(grad_keys) => SHAPE, over(keys) => OVERLAP,
                        Out { data: misaligned_mut(grad_keys.data), ..grad_keys } => MISALIGNED],
                    scratch: [odd.cast() => MISALIGNED],
                    outcome: [misaligned_mut(outcome) => MISALIGNED],
                );
                world.check_untouched();
                optional!(tried, valid, context: null(), grad_queries: nowhere(), grad_keys: nowhere(),
                    scratch: null(), outcome: null_mut());
                // SAFETY: a handle of this test, not used any more.
                unsafe { drlim_graph_free(graph) };
            }

            fn triplet_rows(tried: &mut Tried) {
                let mut world = World::new();
                let objective =
                    drlim_triplet_objective_new(drlim_triplet_loss::MARGIN_SWAP, 1.0, drlim_reduction::MEAN);
                let (anchor, positive, negative) = (world.input(0), world.input(1), world.input(2));
                let out = drlim_triplet_rows_out {
                    grad_anchor: world.output(0),
                    grad_positive: world.output(1),
                    grad_negative: world.output(2),
                    distances_ap: world.list(3),
                    distances_an: world.list(4),
                    distances_pn: world.list(5),
                    values: world.list(6),
                    slopes_ap: world.list(7),
                    slopes_an: world.list(7).wrapping_add(ROWS),
                    slopes_pn: world.list(7).wrapping_add(2 * ROWS),
                };
                let (flags, weights) = (FLAGS.as_ptr(), world.inputs.as_ptr());
                let outcome = &raw mut world.outcome;
                let valid = TripletRows {
                    context: null(), objective: &objective, anchor, positive, negative, weights, ignored: flags,
                    out: &out, outcome,
                };
                let [a0, a1, a2, a3] = wrong(anchor);
                let [p0, p1, p2, p3] = wrong(positive);
                let [n0, n1, n2, n3] = wrong(negative);
                let odd = misaligned(&raw const objective);
                type Results = drlim_triplet_rows_out<$T>;
                refuse!(tried, valid,
                    context: [odd.cast() => MISALIGNED],
                    objective: [null() => NULL_POINTER, odd => MISALIGNED],
                    anchor: [a0 => NULL_POINTER, a1 => MISALIGNED, a2 => SHAPE, a3 => MEMORY,
                        narrower(anchor) => SHAPE],
                    positive: [p0 => NULL_POINTER, p1 => MISALIGNED, p2 => SHAPE, p3 => MEMORY,
                        narrower(positive) => SHAPE],
                    negative: [n0 => NULL_POINTER, n1 => MISALIGNED, n2 => SHAPE, n3 => MEMORY,
                        narrower(negative) => SHAPE],
                    weights: [misaligned(weights) => MISALIGNED],
                    ignored: [NO_FLAGS.as_ptr().cast() => VALUE],
                    out: [odd.cast() => MISALIGNED,
                        &Results { grad_positive: nowhere(), ..out } => NULL_POINTER,
                        &Results { grad_negative: over(anchor), ..out } => OVERLAP,
                        &Results { grad_anchor: shorter(out.grad_anchor), ..out } => SHAPE,
                        &Results { distances_an: null_mut(), ..out } => NULL_POINTER,
                        &Results { distances_pn: out.values, ..out } => OVERLAP,
                        &Results { slopes_pn: null_mut(), ..out } => NULL_POINTER,
                        &Results { slopes_ap: misaligned_mut(out.slopes_ap), ..out } => MISALIGNED],
                    outcome: [misaligned_mut(outcome) => MISALIGNED, out.values.cast() => OVERLAP],
                );
                world.check_untouched();
                optional!(tried, valid,
                    context: null(), weights: null(), ignored: null(), out: null(), outcome: null_mut());
            }

            fn distances(tried: &mut Tried) {
                let mut world = World::new();
                let (a, b) = (world.input(0), world.input(1));
                let (list, upstream) = (world.list(0), world.inputs.as_ptr());
                let (grad_a, grad_b) = (world.output(1), world.output(2));
                let [a0, a1, a2, a3] = wrong(a);
                let [b0, b1, b2, b3] = wrong(b);
                let odd = misaligned(upstream);
                let valid =
                    Distances { context: null(), distance: drlim_distance::COSINE, a, b, distances: list };
                let backward = Backward {
                    context: null(), distance: drlim_distance::EUCLIDEAN, a, b, upstream, grad_a, grad_b,
                };
                let to = Out { data: grad_a.data, rows: ROWS, cols: ROWS, stride: ROWS };
                let matrix = Matrix { context: null(), a, b, distances: to };
                macro_rules! inputs {
                    ($valid:expr) => {
                        refuse!(tried, $valid,
                            context: [odd.cast() => MISALIGNED],
                            a: [a0 => NULL_POINTER, a1 => MISALIGNED, a2 => SHAPE, a3 => MEMORY,
                                narrower(a) => SHAPE],
                            b: [b0 => NULL_POINTER, b1 => MISALIGNED, b2 => SHAPE, b3 => MEMORY,
                                narrower(b) => SHAPE],
                        );
                    };
                }
                inputs!(valid);
                inputs!(backward);
                inputs!(matrix);
                refuse!(tried, valid,
                    distance: [drlim_distance(99) => VALUE],
                    distances: [null_mut() => NULL_POINTER, misaligned_mut(list) => MISALIGNED,
                        a.data.cast_mut() => OVERLAP],
                );
                refuse!(tried, backward,
                    distance: [drlim_distance(99) => VALUE],
                    upstream: [null() => NULL_POINTER, odd => MISALIGNED, grad_b.data => OVERLAP],
                    grad_a: [Out { data: null_mut(), ..grad_a } => NULL_POINTER, over(a) => OVERLAP,
                        grad_b => OVERLAP, shorter(grad_a) => SHAPE],
                    grad_b: [Out { data: null_mut(), ..grad_b } => NULL_POINTER, over(b) => OVERLAP,
                        shorter(grad_b) => SHAPE],
                );
                refuse!(tried, matrix,
                    distances: [Out { data: null_mut(), ..to } => NULL_POINTER, shorter(to) => SHAPE,
                        Out { data: a.data.cast_mut(), ..to } => OVERLAP],
                );

                let (mut places, mut count) = ([77_u32; ROWS], 77_usize);
                let hard = Hard {
                    distances: upstream, similar: FLAGS.as_ptr(), ignored: null(), n: ROWS,
                    places: places.as_mut_ptr(), count: &mut count,
                };
                refuse!(tried, hard,
                    distances: [null() => NULL_POINTER, odd => MISALIGNED],
                    similar: [null() => NULL_POINTER, NO_FLAGS.as_ptr().cast() => VALUE],
                    ignored: [NO_FLAGS.as_ptr().cast() => VALUE],
                    n: [usize::MAX => MEMORY],
                    places: [null_mut() => NULL_POINTER, misaligned_mut(hard.places) => MISALIGNED,
                        upstream.cast_mut().cast() => OVERLAP],
                    count: [null_mut() => NULL_POINTER, misaligned_mut(hard.count) => MISALIGNED],
                );
                assert_eq!((places, count), ([77; ROWS], 77));
                world.check_untouched();
                optional!(tried, valid, context: null());
                optional!(tried, backward, context: null());
                optional!(tried, matrix, context: null());
                optional!(tried, hard, ignored: null());
            }

            fn nearest(tried: &mut Tried) {
                let mut world = World::new();
                let (queries, references) = (world.input(0), world.input(1));
                let [q0, q1, q2, q3] = wrong(queries);
                let [r0, r1, r2, r3] = wrong(references);
                let mut indices = [[77_u32; ROWS * ROWS]; 2];
                let found = drlim_found { indices: indices[0].as_mut_ptr(), distances: world.list(0) };
                let other = drlim_found { indices: indices[1].as_mut_ptr(), distances: world.list(2) };
                let similar = drlim_similar { labels: LABELS.as_ptr(), ..Default::default() };
                let odd = misaligned(queries.data);
                let mut graph = null_mut();
                let valid = Nearest { context: null(), queries, references, k: 2, found };
                let others = Others { context: null(), z: queries, k: 2, found };
                let hardest = Hardest {
                    context: null(), z: queries, similar: &similar, k: 2, of_similar: found, of_dissimilar: other,
                };
                let of_graph = GraphNearest { context: null(), z: queries, k: 2, graph: &mut graph };
                macro_rules! of_z {
                    ($valid:expr) => {
                        refuse!(tried, $valid,
                            context: [odd.cast() => MISALIGNED],
                            z: [q0 => NULL_POINTER, q1 => MISALIGNED, q2 => SHAPE, q3 => MEMORY],
                            k: [0 => VALUE, ROWS => VALUE, usize::MAX => MEMORY],
                        );
                    };
                }
                let [null_found, odd_found, over_found] = [
                    drlim_found { indices: null_mut(), ..found },
                    drlim_found { distances: misaligned_mut(found.distances), ..found },
                    drlim_found { distances: queries.data.cast_mut(), ..found },
                ];
                refuse!(tried, valid,
                    context: [odd.cast() => MISALIGNED],
                    queries: [q0 => NULL_POINTER, q1 => MISALIGNED, q2 => SHAPE, q3 => MEMORY,
                        narrower(queries) => SHAPE],
                    references: [r0 => NULL_POINTER, r1 => MISALIGNED, r2 => SHAPE, r3 => MEMORY,
                        narrower(references) => SHAPE],
                    k: [0 => VALUE, ROWS + 1 => VALUE, usize::MAX => MEMORY],
                    found: [null_found => NULL_POINTER, odd_found => MISALIGNED, over_found => OVERLAP],
                );
                of_z!(others);
                refuse!(tried, others,
                    found: [null_found => NULL_POINTER, odd_found => MISALIGNED, over_found => OVERLAP]);
                of_z!(hardest);
                refuse!(tried, hardest,
                    similar: [null() => VALUE, odd.cast() => MISALIGNED],
                    of_similar: [null_found => NULL_POINTER, odd_found => MISALIGNED, other => OVERLAP],
                    of_dissimilar: [null_found => NULL_POINTER, odd_found => MISALIGNED, over_found => OVERLAP],
                );
                refuse!(tried, of_graph,
                    context: [odd.cast() => MISALIGNED],
                    z: [q0 => NULL_POINTER, q1 => MISALIGNED, q2 => SHAPE, q3 => MEMORY],
                    k: [0 => VALUE, ROWS => VALUE],
                    graph: [null_mut() => NULL_POINTER, misaligned_mut(of_graph.graph) => MISALIGNED],
                );
                assert!(graph.is_null() && indices.iter().flatten().all(|&index| index == 77));
                world.check_untouched();
                optional!(tried, valid, context: null(),
                    found: drlim_found { distances: null_mut(), ..found });
                optional!(tried, others, context: null());
                optional!(tried, hardest, context: null());
                optional!(tried, of_graph, context: null());
                // SAFETY: a handle of this test, not used any more.
                unsafe { drlim_graph_free(graph) };
            }

            pub(super) fn all(tried: &mut Tried) {
                for function in
                    [rows, indexed, all_pairs_and_triplets, cross, triplet_rows, distances, nearest]
                {
                    function(tried);
                }
            }
        }
    };
}

crate::capi::for_both_types!(of_type);

#[test]
fn every_argument_of_every_function_is_refused_by_name() {
    let mut tried = Tried::default();
    handles::all(&mut tried);
    anchor_sums::all(&mut tried);
    f32::all(&mut tried);
    f64::all(&mut tried);
    anchors::f32::all(&mut tried);
    anchors::f64::all(&mut tried);
    let missing: Vec<String> = declared()
        .into_iter()
        .flat_map(|of| {
            of.parameters.into_iter().map(move |parameter| (of.function.clone(), parameter))
        })
        .filter(|tried_one| !tried.0.contains(tried_one))
        .map(|(function, parameter)| format!("{function}: {parameter}"))
        .collect();
    assert!(missing.is_empty(), "not tried: {missing:#?}");
}
