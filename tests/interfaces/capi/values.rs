//! Each call gives the bits that the call in Rust gives: every loss and reduction, with gaps between rows, on
//! every tier and any number of threads.

use std::ptr::{null, null_mut};

use drlim::batch::*;
use drlim::capi::*;
use drlim::loss::*;
use drlim::{Cx, Graph, Isa, Mat, MatMut, Par, Similar, Tier, pairs};

use crate::capi::{done, nowhere};
use crate::support::tiers;

mod anchor_parts;
mod anchors;

const ROWS: usize = 40;
const COLS: usize = 7;
/// Elements from row to row.
const STRIDE: usize = 9;

const PAIR_LOSSES: [drlim_loss; 7] = [
    drlim_loss::CONTRASTIVE,
    drlim_loss::SQUARED_HINGE,
    drlim_loss::LINEAR_HINGE,
    drlim_loss::DOUBLE_MARGIN,
    drlim_loss::EXPONENTIAL,
    drlim_loss::COSINE_CONTRASTIVE,
    drlim_loss::SIGMOID,
];

const REDUCTIONS: [(drlim_reduction, Reduction); 6] = [
    (drlim_reduction::SUM, Reduction::Sum),
    (drlim_reduction::MEAN, Reduction::Mean),
    (drlim_reduction::MEAN_NON_ZERO, Reduction::MeanNonZero),
    (drlim_reduction::BALANCED, Reduction::Balanced),
    (drlim_reduction::BALANCED_NON_ZERO, Reduction::BalancedNonZero),
    (drlim_reduction::FACTORS, Reduction::Factors { similar: 0.5, dissimilar: 3.0 }),
];

const MARGIN: f64 = 1.5;
const PULL: f64 = 0.25;

/// A context, given back at its end.
struct Context(*mut drlim_context);

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: a handle of its own.
        unsafe { drlim_context_free(self.0) };
    }
}

fn context(isa: Isa, threads: usize) -> Context {
    let tier = match isa.tier() {
        Tier::Portable => drlim_tier::PORTABLE,
        Tier::Avx2 => drlim_tier::AVX2,
        _ => drlim_tier::AVX512,
    };
    let (mut context, mut is) = (null_mut(), drlim_tier::DEFAULT);
    // SAFETY: all is as the header asks.
    unsafe {
        done(drlim_context_new(tier, threads, &mut context));
        done(drlim_context_describe(context, &mut is, null_mut()));
    }
    assert_eq!(is, tier);
    Context(context)
}

/// Every tier with every number of threads.
fn everywhere(mut call: impl FnMut(Cx, *const drlim_context)) {
    for isa in tiers() {
        for threads in [0, 1, 3] {
            call(Cx { isa, par: Par::Serial }, context(isa, threads).0);
        }
    }
}

#[track_caller]
fn same(found: drlim_outcome, expected: Outcome) {
    let kind =
        |kind: KindSums| drlim_sums { pairs: kind.pairs, active: kind.active, sum: kind.sum };
    let expected = drlim_outcome {
        value: expected.value,
        pairs: expected.pairs,
        active: expected.active,
        similar: kind(expected.sums.similar),
        dissimilar: kind(expected.sums.dissimilar),
    };
    assert_eq!(found, expected);
    assert!(found.pairs > 0 && found.value != 0.0);
}

fn of_pairs(loss: drlim_loss, reduction: drlim_reduction) -> drlim_objective {
    drlim_objective {
        positive_margin: PULL,
        scale: 2.0,
        similar_factor: 0.5,
        dissimilar_factor: 3.0,
        sigmoid_scale: 6.0,
        sigmoid_bias: -3.0,
        ..drlim_objective_new(loss, MARGIN, reduction)
    }
}

fn labels() -> Vec<i64> {
    (0..ROWS as i64).map(|i| i * i % 5 - 1).collect()
}

fn list() -> Vec<(u32, u32)> {
    (0..60_u32).map(|i| (i * 7 % ROWS as u32, i * i % ROWS as u32)).collect()
}

fn flags(n: usize, every: usize) -> Vec<bool> {
    (0..n).map(|i| i % every == 0).collect()
}

macro_rules! of_type {
    (
        $T:ident, $rows:ident, $indexed:ident, $all_pairs:ident, $cross:ident, $triplet_rows:ident, $triplets:ident,
        $distances:ident, $backward:ident, $matrix:ident, $hard:ident, $nearest:ident, $others:ident, $hardest:ident,
        $graph_nearest:ident
    ) => {
        mod $T {
            use super::*;

            /// Rows of a wider array; what lies between them is not a number.
            fn embeddings(seed: usize) -> Vec<$T> {
                let number = |i: usize| ((i * 37 + seed * 11) % 101) as $T / 80.0 - 0.6;
                (0..ROWS * STRIDE)
                    .map(|i| if i % STRIDE < COLS { number(i) } else { $T::NAN })
                    .collect()
            }

            fn view(data: &[$T]) -> Mat<'_, $T> {
                Mat::strided(data, ROWS, COLS, STRIDE).unwrap()
            }

            fn given(data: &[$T]) -> drlim_matrix<$T> {
                drlim_matrix { data: data.as_ptr(), rows: ROWS, cols: COLS, stride: STRIDE }
            }

            fn room() -> Vec<$T> {
                vec![-7.0; ROWS * STRIDE]
            }

            fn to(data: &mut [$T]) -> drlim_matrix_mut<$T> {
                drlim_matrix_mut { data: data.as_mut_ptr(), rows: ROWS, cols: COLS, stride: STRIDE }
            }

            fn lend(data: &mut [$T]) -> MatMut<'_, $T> {
                MatMut::strided(data, ROWS, COLS, STRIDE).unwrap()
            }

            fn loss_of(loss: drlim_loss) -> Box<dyn BlockLoss<$T>> {
                let (m, p) = (MARGIN as $T, PULL as $T);
                match loss {
                    drlim_loss::CONTRASTIVE => Box::new(Contrastive::new(m).unwrap()),
                    drlim_loss::SQUARED_HINGE => Box::new(SquaredHinge::new(m).unwrap()),
                    drlim_loss::LINEAR_HINGE => Box::new(LinearHinge::new(p, m).unwrap()),
                    drlim_loss::DOUBLE_MARGIN => Box::new(DoubleMargin::new(p, m).unwrap()),
                    drlim_loss::EXPONENTIAL => Box::new(Exponential::new(m).unwrap()),
                    drlim_loss::COSINE_CONTRASTIVE => Box::new(CosineContrastive::new(m).unwrap()),
                    drlim_loss::SIGMOID => Box::new(Sigmoid::new(6.0, -3.0).unwrap()),
                    other => panic!("{other:?}"),
                }
            }

            #[test]
            fn pairs_by_rows_and_of_lists() {
                let (a, b) = (embeddings(1), embeddings(2));
                let [similar, ignored] = [flags(60, 3), flags(60, 7)];
                let weights: Vec<$T> = (0..60).map(|i| i as $T / 16.0).collect();
                let pairs: Vec<u32> = list().iter().flat_map(|&(i, j)| [i, j]).collect();
                let (mut handle, mut scratch) = (null_mut(), null_mut());
                // SAFETY: all is as the header asks.
                unsafe {
                    done(drlim_pairs_new(ROWS, pairs.as_ptr(), 60, &mut handle));
                    done(drlim_scratch_new(&mut scratch));
                }
                let list = PairList::new(ROWS, &list()).unwrap();
                for (loss, (code, reduction)) in PAIR_LOSSES
                    .iter()
                    .flat_map(|&loss| REDUCTIONS.map(|reduction| (loss, reduction)))
                {
                    let (objective, own) = (of_pairs(loss, code), loss_of(loss));
                    let expected_of = Objective::sum(&*own).reduced(reduction).scaled(2.0);
                    everywhere(|cx, context| {
                        let pairing = |n: usize| {
                            Pairing::new(&similar[..n])
                                .weighted(&weights[..n])
                                .ignoring(&ignored[..n])
                        };
                        let mut exact =
                            [room(), room(), vec![0.0; 60], vec![0.0; 60], vec![0.0; 60]];
                        let mut found = exact.clone();
                        let mut outcome = drlim_outcome::default();
                        {
                            let [ga, gb, d, v, s] = &mut exact;
                            let out = RowsOut::grads(lend(ga), lend(gb))
                                .distances(&mut d[..ROWS])
                                .values(&mut v[..ROWS])
                                .slopes(&mut s[..ROWS]);
                            let expected =
                                rows(&cx, &expected_of, view(&a), view(&b), pairing(ROWS), out)
                                    .unwrap();
                            let [ga, gb, d, v, s] = &mut found;
                            let out = drlim_rows_out {
                                grad_a: to(ga),
                                grad_b: to(gb),
                                distances: d.as_mut_ptr(),
                                values: v.as_mut_ptr(),
                                slopes: s.as_mut_ptr(),
                            };
                            // SAFETY: all is as the header asks.
                            done(unsafe {
                                $rows(
                                    context,
                                    &objective,
                                    given(&a),
                                    given(&b),
                                    similar.as_ptr(),
                                    weights.as_ptr(),
                                    ignored.as_ptr(),
                                    &out,
                                    &mut outcome,
                                )
                            });
                            same(outcome, expected);
                        }
                        assert_eq!(found, exact);

                        let [grad, _, d, v, s] = &mut exact;
                        let out = IndexedOut::grad(lend(grad)).distances(d).values(v).slopes(s);
                        let (z, mut own) = (view(&a), IndexedScratch::new());
                        let expected =
                            indexed(&cx, &expected_of, z, &list, pairing(60), out, &mut own)
                                .unwrap();
                        let [grad, _, d, v, s] = &mut found;
                        let out = drlim_indexed_out {
                            grad: to(grad),
                            distances: d.as_mut_ptr(),
                            values: v.as_mut_ptr(),
                            slopes: s.as_mut_ptr(),
                        };
                        // SAFETY: all is as the header asks.
                        done(unsafe {
                            $indexed(
                                context,
                                &objective,
                                given(&a),
                                handle,
                                similar.as_ptr(),
                                weights.as_ptr(),
                                ignored.as_ptr(),
                                &out,
                                scratch,
                                &mut outcome,
                            )
                        });
                        same(outcome, expected);
                        assert_eq!(found, exact);
                    });
                }
                // SAFETY: handles of this test, not used any more.
                unsafe {
                    drlim_pairs_free(handle);
                    drlim_scratch_free(scratch);
                }
            }

            #[test]
            fn batches() {
                let (z, keys, labels) = (embeddings(1), embeddings(2), labels());
                let pairs: Vec<(u32, u32)> = list().into_iter().filter(|&(i, j)| i != j).collect();
                let numbers: Vec<u32> = pairs.iter().flat_map(|&(i, j)| [i, j]).collect();
                let graph = Graph::from_pairs(ROWS, &pairs).unwrap();
                let (mut handle, ignored) = (null_mut(), -1_i64);
                // SAFETY: all is as the header asks.
                done(unsafe { drlim_graph_new(ROWS, numbers.as_ptr(), pairs.len(), &mut handle) });
                let by_label = drlim_similar { labels: labels.as_ptr(), ..Default::default() };
                let similars = [
                    (by_label, Similar::Labels(&labels)),
                    (
                        drlim_similar { ignored_label: &ignored, ..by_label },
                        Similar::LabelsIgnoring { labels: &labels, ignored },
                    ),
                    (drlim_similar { graph: handle, ..Default::default() }, Similar::Graph(&graph)),
                ];
                let (first, own) = (2_usize, 5_usize);
                let across = drlim_cross_similar {
                    query_labels: labels.as_ptr(),
                    key_labels: labels.as_ptr(),
                    ..Default::default()
                };
                let of_labels = |ignored| CrossSimilar::Labels {
                    queries: &labels[..30],
                    keys: &labels,
                    ignored,
                };
                let crosses = [
                    (across, of_labels(None), None),
                    (drlim_cross_similar { own: &own, ..across }, of_labels(None), Some(own)),
                    (
                        drlim_cross_similar { ignored_label: &ignored, ..across },
                        of_labels(Some(-1)),
                        None,
                    ),
                    (
                        drlim_cross_similar {
                            graph: handle,
                            first_query: first,
                            ..Default::default()
                        },
                        CrossSimilar::Graph { graph: &graph, first_query: first, first_key: 0 },
                        None,
                    ),
                ];
                let queries = Mat::strided(&z, 30, COLS, STRIDE).unwrap();
                for (code, reduction) in REDUCTIONS {
                    let (objective, loss) =
                        (of_pairs(drlim_loss::DOUBLE_MARGIN, code), drlim_loss::DOUBLE_MARGIN);
                    let own_loss = loss_of(loss);
                    let expected_of = Objective::sum(&*own_loss).reduced(reduction).scaled(2.0);
                    everywhere(|cx, context| {
                        let mut outcome = drlim_outcome::default();
                        for (given_similar, similar) in similars {
                            let (mut exact, mut found) = (room(), room());
                            let scratch = &mut AllPairsScratch::new();
                            let grad = Some(lend(&mut exact));
                            let expected =
                                all_pairs(&cx, &expected_of, view(&z), similar, grad, scratch)
                                    .unwrap();
                            // SAFETY: all is as the header asks.
                            done(unsafe {
                                $all_pairs(
                                    context,
                                    &objective,
                                    given(&z),
                                    &given_similar,
                                    to(&mut found),
                                    null(),
                                    &mut outcome,
                                )
                            });
                            same(outcome, expected);
                            assert_eq!(found, exact);
                        }
                        for (given_similar, similar, own) in crosses {
                            let (mut exact, mut found) = ([room(), room()], [room(), room()]);
                            let [gq, gk] = &mut exact;
                            let gq = MatMut::strided(gq, 30, COLS, STRIDE).unwrap();
                            let out = CrossOut::grads(gq, lend(gk));
                            let scratch = &mut CrossScratch::new();
                            let expected = cross(
                                &cx,
                                &expected_of,
                                queries,
                                view(&keys),
                                similar,
                                own,
                                out,
                                scratch,
                            )
                            .unwrap();
                            let [gq, gk] = &mut found;
                            let (q, gq) = (
                                drlim_matrix { rows: 30, ..given(&z) },
                                drlim_matrix_mut { rows: 30, ..to(gq) },
                            );
                            // SAFETY: all is as the header asks.
                            done(unsafe {
                                $cross(
                                    context,
                                    &objective,
                                    q,
                                    given(&keys),
                                    &given_similar,
                                    gq,
                                    to(gk),
                                    null(),
                                    &mut outcome,
                                )
                            });
                            same(outcome, expected);
                            assert_eq!(found, exact);
                        }
                    });
                }
                // SAFETY: a handle of this test, not used any more.
                unsafe { drlim_graph_free(handle) };
            }

            #[test]
            fn triplets_by_rows_and_of_batches() {
                let [a, p, n] = [1, 2, 3].map(embeddings);
                let (labels, ignored) = (labels(), flags(ROWS, 5));
                let weights: Vec<$T> = (0..ROWS).map(|i| i as $T / 16.0).collect();
                let by_label = drlim_similar { labels: labels.as_ptr(), ..Default::default() };
                let m = MARGIN as $T;
                let losses: [(_, Box<dyn BlockTripletLoss<$T>>); 3] = [
                    (drlim_triplet_loss::MARGIN, Box::new(TripletMargin::new(m).unwrap())),
                    (
                        drlim_triplet_loss::MARGIN_SWAP,
                        Box::new(TripletMargin::new(m).unwrap().swapping()),
                    ),
                    (drlim_triplet_loss::SQUARED, Box::new(SquaredTriplet::new(m).unwrap())),
                ];
                let minings = [
                    (drlim_mining::ALL, Mining::All),
                    (drlim_mining::HARDEST, Mining::Hardest),
                    (drlim_mining::SEMI_HARD, Mining::SemiHard),
                ];
                for ((loss, own), (code, reduction)) in losses
                    .iter()
                    .flat_map(|loss| REDUCTIONS[..3].iter().map(move |reduction| (loss, reduction)))
                {
                    let mut objective = drlim_triplet_objective_new(*loss, MARGIN, *code);
                    objective.scale = 2.0;
                    let expected_of =
                        TripletObjective::sum(&**own).reduced(*reduction).unwrap().scaled(2.0);
                    everywhere(|cx, context| {
                        let mut outcome = drlim_outcome::default();
                        let mut exact: Vec<Vec<$T>> = (0..10).map(|_| room()).collect();
                        let mut found = exact.clone();
                        {
                            let triplets = TripletRows::new(view(&a), view(&p), view(&n)).unwrap();
                            let triplets =
                                triplets.weighted(&weights).unwrap().ignoring(&ignored).unwrap();
                            let [ga, gp, gn, dp, dn, d3, v, sp, sn, s3] = &mut exact[..] else {
                                panic!()
                            };
                            let out = TripletRowsOut::grads(lend(ga), lend(gp), lend(gn))
                                .distances(&mut dp[..ROWS], &mut dn[..ROWS])
                                .third_distances(&mut d3[..ROWS])
                                .values(&mut v[..ROWS])
                                .slopes(&mut sp[..ROWS], &mut sn[..ROWS], &mut s3[..ROWS]);
                            let expected = triplet_rows(&cx, &expected_of, triplets, out).unwrap();
                            let [ga, gp, gn, dp, dn, d3, v, sp, sn, s3] = &mut found[..] else {
                                panic!()
                            };
                            let out = drlim_triplet_rows_out {
                                grad_anchor: to(ga),
                                grad_positive: to(gp),
                                grad_negative: to(gn),
                                distances_ap: dp.as_mut_ptr(),
                                distances_an: dn.as_mut_ptr(),
                                distances_pn: d3.as_mut_ptr(),
                                values: v.as_mut_ptr(),
                                slopes_ap: sp.as_mut_ptr(),
                                slopes_an: sn.as_mut_ptr(),
                                slopes_pn: s3.as_mut_ptr(),
                            };
                            // SAFETY: all is as the header asks.
                            done(unsafe {
                                $triplet_rows(
                                    context,
                                    &objective,
                                    given(&a),
                                    given(&p),
                                    given(&n),
                                    weights.as_ptr(),
                                    ignored.as_ptr(),
                                    &out,
                                    &mut outcome,
                                )
                            });
                            same(outcome, expected);
                        }
                        assert_eq!(found, exact);
                        for (given_mining, mining) in minings {
                            let (mut exact, mut found) = (room(), room());
                            let (scratch, to_exact) =
                                (&mut MiningScratch::new(), Some(lend(&mut exact)));
                            let similar = Similar::Labels(&labels);
                            let expected = triplets(
                                &cx,
                                &expected_of,
                                view(&a),
                                similar,
                                mining,
                                to_exact,
                                scratch,
                            )
                            .unwrap();
                            // SAFETY: all is as the header asks.
                            done(unsafe {
                                $triplets(
                                    context,
                                    &objective,
                                    given(&a),
                                    &by_label,
                                    given_mining,
                                    to(&mut found),
                                    null(),
                                    &mut outcome,
                                )
                            });
                            same(outcome, expected);
                            assert_eq!(found, exact);
                        }
                    });
                }
            }

            #[test]
            fn distances_and_neighbours() {
                let (a, b, labels) = (embeddings(1), embeddings(2), labels());
                let by_label = drlim_similar { labels: labels.as_ptr(), ..Default::default() };
                let upstream: Vec<$T> = (0..ROWS).map(|i| i as $T - 8.0).collect();
                everywhere(|cx, context| {
                    for (code, distance) in [
                        (drlim_distance::EUCLIDEAN, Distance::Euclidean),
                        (drlim_distance::SQUARED_EUCLIDEAN, Distance::SquaredEuclidean),
                        (drlim_distance::DOT, Distance::Dot),
                        (drlim_distance::COSINE, Distance::Cosine),
                    ] {
                        let (mut exact, mut found) = (vec![0.0; ROWS], vec![0.0; ROWS]);
                        row_distances(&cx, distance, view(&a), view(&b), &mut exact).unwrap();
                        // SAFETY: all is as the header asks.
                        done(unsafe {
                            $distances(context, code, given(&a), given(&b), found.as_mut_ptr())
                        });
                        assert_eq!(found, exact);
                        let (mut exact, mut found) = ([room(), room()], [room(), room()]);
                        let [ga, gb] = &mut exact;
                        row_distances_backward(
                            &cx,
                            distance,
                            view(&a),
                            view(&b),
                            &upstream,
                            lend(ga),
                            lend(gb),
                        )
                        .unwrap();
                        let [ga, gb] = &mut found;
                        // SAFETY: all is as the header asks.
                        done(unsafe {
                            $backward(
                                context,
                                code,
                                given(&a),
                                given(&b),
                                upstream.as_ptr(),
                                to(ga),
                                to(gb),
                            )
                        });
                        assert_eq!(found, exact);
                    }
                    let (mut exact, mut found) = (vec![0.0; ROWS * ROWS], vec![0.0; ROWS * ROWS]);
                    let square = MatMut::new(&mut exact, ROWS, ROWS).unwrap();
                    distance_matrix(&cx, view(&a), view(&b), square).unwrap();
                    let to_square = crate::capi::rows_mut(&mut found, ROWS);
                    // SAFETY: all is as the header asks.
                    done(unsafe { $matrix(context, given(&a), given(&b), to_square) });
                    assert_eq!(found, exact);

                    const K: usize = 12;
                    let mut indices = [[0_u32; ROWS * K]; 2];
                    let mut distances = [[0.0 as $T; ROWS * K]; 2];
                    let to_found = [0, 1].map(|i| drlim_found {
                        indices: indices[i].as_mut_ptr(),
                        distances: distances[i].as_mut_ptr(),
                    });
                    let check = |i: usize, exact: &pairs::Neighbours<$T>| {
                        // SAFETY: arrays of this test, which no view borrows.
                        let (indices, distances) = unsafe {
                            (
                                std::slice::from_raw_parts(to_found[i].indices, ROWS * K),
                                std::slice::from_raw_parts(to_found[i].distances, ROWS * K),
                            )
                        };
                        assert_eq!(indices, exact.indices());
                        let bits = |x: &[$T]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                        assert_eq!(bits(distances), bits(exact.distances()));
                    };
                    // SAFETY: all is as the header asks.
                    unsafe {
                        done($nearest(context, given(&a), given(&b), K, to_found[0]));
                        check(0, &pairs::nearest(&cx, view(&a), view(&b), K).unwrap());
                        done($others(context, given(&a), K, to_found[0]));
                        check(0, &pairs::nearest_others(&cx, view(&a), K).unwrap());
                        done($hardest(context, given(&a), &by_label, K, to_found[0], to_found[1]));
                    }
                    let exact = pairs::hardest(&cx, view(&a), Similar::Labels(&labels), K).unwrap();
                    check(0, &exact.similar);
                    check(1, &exact.dissimilar);
                    assert!(exact.similar.indices().contains(&u32::MAX));

                    let graph = pairs::neighbour_graph(&cx, view(&a), 3).unwrap();
                    let mut handle = null_mut();
                    let (mut samples, mut edges) = (0, 0);
                    // SAFETY: all is as the header asks.
                    unsafe {
                        done($graph_nearest(context, given(&a), 3, &mut handle));
                        done(drlim_graph_size(handle, &mut samples, &mut edges));
                        let mut numbers = vec![0; 2 * edges];
                        done(drlim_graph_pairs(handle, numbers.as_mut_ptr()));
                        drlim_graph_free(handle);
                        let exact: Vec<u32> = graph.pairs().flat_map(|(i, j)| [i, j]).collect();
                        assert_eq!((samples, numbers), (graph.samples(), exact));
                    }
                });
                let (similar, ignored) = (flags(ROWS, 3), flags(ROWS, 4));
                let (mut places, mut count) = (vec![0_u32; ROWS], 0);
                let d: Vec<$T> = (0..ROWS).map(|i| (i * i % 17) as $T).collect();
                let exact = hard_pairs(&d, Pairing::new(&similar).ignoring(&ignored)).unwrap();
                let to_places = places.as_mut_ptr();
                // SAFETY: all is as the header asks.
                done(unsafe {
                    $hard(
                        d.as_ptr(),
                        similar.as_ptr(),
                        ignored.as_ptr(),
                        ROWS,
                        to_places,
                        &mut count,
                    )
                });
                assert_eq!(places[..count], exact);
                assert!(count > 0);
            }

            #[test]
            fn nothing_costs_nothing() {
                let empty = drlim_matrix { data: null(), rows: 0, cols: COLS, stride: COLS };
                let objective = of_pairs(drlim_loss::CONTRASTIVE, drlim_reduction::MEAN);
                let (by_label, across) = (drlim_similar::default(), drlim_cross_similar::default());
                let mut outcome = drlim_outcome { value: 7.0, ..Default::default() };
                // SAFETY: all is as the header asks: there are no elements.
                unsafe {
                    let (no_flags, no_weights) = (null(), null());
                    let rows = $rows(
                        null(),
                        &objective,
                        empty,
                        empty,
                        no_flags,
                        no_weights,
                        null(),
                        null(),
                        &mut outcome,
                    );
                    done(rows);
                    assert_eq!(outcome, drlim_outcome::default());
                    done($all_pairs(
                        null(),
                        &objective,
                        empty,
                        &by_label,
                        nowhere(),
                        null(),
                        &mut outcome,
                    ));
                    let none = nowhere();
                    done($cross(
                        null(),
                        &objective,
                        empty,
                        empty,
                        &across,
                        none,
                        none,
                        null(),
                        &mut outcome,
                    ));
                }
                assert_eq!(outcome, drlim_outcome::default());
            }

            /// Two gradients side by side in one array share no element.
            #[test]
            fn column_halves_are_apart() {
                let (a, b, similar) = (embeddings(1), embeddings(2), flags(ROWS, 3));
                let objective = of_pairs(drlim_loss::CONTRASTIVE, drlim_reduction::SUM);
                let (mut both, mut exact) = (vec![0.0; ROWS * 2 * COLS], [room(), room()]);
                let half = drlim_matrix_mut {
                    data: both.as_mut_ptr(),
                    rows: ROWS,
                    cols: COLS,
                    stride: 2 * COLS,
                };
                let other = drlim_matrix_mut { data: half.data.wrapping_add(COLS), ..half };
                let [ga, gb] = &mut exact;
                for (grad_a, grad_b) in [(half, other), (to(ga), to(gb))] {
                    let out = drlim_rows_out { grad_a, grad_b, ..Default::default() };
                    // SAFETY: all is as the header asks.
                    done(unsafe {
                        $rows(
                            null(),
                            &objective,
                            given(&a),
                            given(&b),
                            similar.as_ptr(),
                            null(),
                            null(),
                            &out,
                            null_mut(),
                        )
                    });
                }
                for i in 0..ROWS {
                    let [left, right] = exact.each_ref().map(|grad| &grad[i * STRIDE..][..COLS]);
                    assert_eq!(both[i * 2 * COLS..][..2 * COLS], [left, right].concat());
                }
            }
        }
    };
}

crate::capi::for_both_types!(of_type);

#[test]
fn parts_of_a_batch_add_up() {
    let sums = |pairs, active, sum| drlim_sums { pairs, active, sum };
    let (similar, dissimilar) = (sums(4, 2, 3.0), sums(10, 5, 7.0));
    for (code, reduction) in &REDUCTIONS[..5] {
        let (mut value, mut factors) = (0.0, [0.0; 2]);
        let [of_similar, of_dissimilar] = &mut factors;
        // SAFETY: all is as the header asks.
        done(unsafe {
            drlim_reduce(*code, similar, dissimilar, &mut value, of_similar, of_dissimilar)
        });
        let kind = |of: drlim_sums| KindSums { pairs: of.pairs, active: of.active, sum: of.sum };
        let all = Sums { similar: kind(similar), dissimilar: kind(dissimilar) };
        assert_eq!((value, factors), (reduction.value(&all), reduction.factors(&all)));
    }
}
