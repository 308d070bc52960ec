//! Steep softmaxes, rows that are all the same, anchors that lack a kind of pair, and batches of next to nothing.

use drlim::Similar;
use drlim::batch::{AnchorScratch, CrossSimilar};
use drlim::loss::{Measure, Positives, Softmax};

use super::batch::{Batch, Called, DIRECTIONS};
use super::case::{Case, MEASURES, Set, graph};
use crate::support::anchors::AnchorFormula;
use crate::support::cases::in_both_precisions;
use crate::support::{Element, labels, serial, tiers};

/// Every loss with every measure that it takes.
fn every_loss(scale: f64) -> impl Iterator<Item = (AnchorFormula, Measure)> {
    let measured = |formula: AnchorFormula| MEASURES.map(|measure| (formula, measure));
    let all = AnchorFormula::all(scale).into_iter().flat_map(measured);
    all.filter(|(formula, measure)| formula.takes(*measure))
}

fn steep_losses_agree<T: Element>() {
    let (of, [n, m]) = (labels(60, 9), [45, 60]);
    for (formula, measure) in every_loss(100.0) {
        for set in [
            Set::One(Similar::Labels(&of)),
            Set::by_labels(&of[..n], &of, DIRECTIONS[0]),
            Set::by_labels(&of[..n], &of, DIRECTIONS[2]),
        ] {
            let rows = if matches!(set, Set::One(_)) { [m, m] } else { [n, m] };
            let batch = Batch::<T>::for_set(set, rows, 17, 3);
            Case { measure, ..Case::new(formula, set) }.check(&batch);
        }
    }
}

fn a_temperature_of_a_hundredth_agrees<T: Element>() {
    let (of, t) = (labels(40, 6), T::from_f64(0.01));
    let scale = (T::ONE / t).to_f64();
    for positives in [Positives::Mean, Positives::Sum, Positives::Each] {
        let loss = Softmax::temperature(t).unwrap().positives(positives);
        let formula = AnchorFormula::Softmax { scale, positives, decoupled: false };
        for measure in MEASURES {
            let batch = Batch::<T>::random_one(40, 20, 4);
            let set = Set::One(Similar::Labels(&of));
            let case = Case { measure, ..Case::new(formula, set) };
            case.check_with(&loss, &batch, &batch);
        }
    }
}

/// The softmax of so many candidates that are all as good.
fn equal_rows_cost_the_logarithm_of_their_candidates<T: Element>() {
    let formula =
        AnchorFormula::Softmax { scale: 20.0, positives: Positives::Mean, decoupled: false };
    for (n, d) in [2, 3, 70].into_iter().flat_map(|n| [1, 2, 3, 20].map(|d| (n, d))) {
        let one = vec![5; n];
        let halves: Vec<i64> = (0..n as i64).map(|i| i % 2).collect();
        for (at, measure) in [0.0, 0.1, -0.7].into_iter().flat_map(|at| MEASURES.map(|m| (at, m))) {
            let batch = Batch::one(vec![T::from_f64(at); n * d], n, d);
            for of in [&one, &halves] {
                let case = Case { measure, ..Case::new(formula, Set::One(Similar::Labels(of))) };
                for isa in tiers() {
                    let what = format!("{n} x{d} at {at}, {measure:?}, {} on {isa}", T::NAME);
                    let Called { values, grads, .. } = batch.run(&serial(isa), &case);
                    for (i, value) in values.iter().enumerate() {
                        let similar = of.iter().filter(|&&label| label == of[i]).count() > 1;
                        let expected = if similar { ((n - 1) as f64).ln() } else { 0.0 };
                        let error = (value.to_f64() - expected).abs();
                        // Exponents, and so what they are rounded by.
                        let x =
                            if measure == Measure::Dot { 20.0 * at * at * d as f64 } else { 0.0 };
                        let allowed = 16.0 * (1.0 + x) * T::EPSILON.to_f64();
                        assert!(error <= allowed, "{what}: {value}, not {expected}");
                    }
                    if measure != Measure::Dot {
                        assert!(grads[0].iter().all(|&g| g == T::ZERO), "{what}: a gradient");
                    }
                }
            }
        }
    }
}

/// Classes of one row: nothing is pulled.
fn softmaxes_without_similar_pairs_are_nothing<T: Element>() {
    let of: Vec<i64> = (0..45).collect();
    let batch = Batch::<T>::random_one(45, 7, 5);
    for formula in AnchorFormula::all(10.0).into_iter().filter(|of| of.scale().is_some()) {
        let case = Case::new(formula, Set::One(Similar::Labels(&of)));
        for isa in tiers() {
            let Called { outcome, grads, values, by_scale, .. } = batch.run(&serial(isa), &case);
            let totals = outcome.totals[0];
            assert_eq!((outcome.value, totals.sum, by_scale), (0.0, 0.0, 0.0), "{case} on {isa}");
            assert_eq!((totals.anchors, totals.with_similar, totals.active), (45, 0, 0));
            assert_eq!((totals.similar, totals.pairs, totals.correct), (0, 45 * 44, 0));
            assert!(values.iter().all(|&value| value == T::ZERO), "{case} on {isa}");
            assert!(grads[0].iter().all(|&g| g == T::ZERO), "{case} on {isa}");
        }
    }
}

fn anchors_that_lack_a_kind_agree<T: Element>() {
    let n = 40;
    let [one, none]: [Vec<i64>; 2] = [vec![0; n], (0..n as i64).collect()];
    // One class of a single row, one of all others.
    let all_but_one: Vec<i64> = (0..n).map(|i| i64::from(i == 11)).collect();
    let others: Vec<i64> = (100..100 + n as i64).collect();
    for (formula, measure) in every_loss(10.0) {
        let sets = [
            Set::One(Similar::Labels(&one)),
            Set::One(Similar::Labels(&none)),
            Set::One(Similar::Labels(&all_but_one)),
            Set::by_labels(&one, &one, DIRECTIONS[2]),
            Set::by_labels(&one, &all_but_one, DIRECTIONS[0]),
            Set::by_labels(&none, &others, DIRECTIONS[1]),
        ];
        for set in sets {
            let batch = Batch::<T>::for_set(set, [n, n], 9, 6);
            Case { measure, ..Case::new(formula, set) }.check(&batch);
        }
    }
}

fn batches_of_next_to_nothing_agree<T: Element>() {
    let (alike, apart, graph) = ([4, 4, 4], [1, 2, 3], graph(9));
    for (formula, measure) in every_loss(10.0) {
        let check = |set, rows, d| {
            let batch = Batch::<T>::for_set(set, rows, d, 7);
            Case { measure, ..Case::new(formula, set) }.check(&batch);
        };
        // Rows without elements are coincident, or orthogonal.
        for (n, d) in [1, 2, 3].into_iter().flat_map(|n| [0, 2, 5].map(|d| (n, d))) {
            for similar in [
                Similar::Labels(&alike[..n]),
                Similar::Labels(&apart[..n]),
                // All rows are left out.
                Similar::LabelsIgnoring { labels: &alike[..n], ignored: 4 },
            ] {
                check(Set::One(similar), [n, n], d);
            }
        }
        let of_graph = CrossSimilar::Graph { graph: &graph, first_query: 2, first_key: 3 };
        for anchors in DIRECTIONS {
            for ([n, m], d) in
                [([1, 0], 3), ([3, 0], 0), ([1, 1], 4), ([3, 1], 0), ([1, 2], 4), ([3, 2], 3)]
            {
                check(Set::cross(of_graph, anchors), [n, m], d);
                check(Set::cross(of_graph, anchors), [m, n], d);
                check(Set::by_labels(&alike[..m], &alike[..n], anchors), [m, n], d);
                check(Set::by_labels(&alike[..n], &apart[..m], anchors), [n, m], d);
            }
        }
    }
}

fn no_rows_cost_nothing_and_outputs_are_overwritten<T: Element>() {
    let no_graph = graph(0);
    let formula = AnchorFormula::all(10.0)[0];
    let layouts = [
        Set::One(Similar::Labels(&[])),
        Set::One(Similar::Graph(&no_graph)),
        Set::by_position(DIRECTIONS[0]),
        Set::by_labels(&[], &[], DIRECTIONS[2]),
    ];
    for (set, d) in layouts.into_iter().flat_map(|set| [0, 2, 9].map(|d| (set, d))) {
        for measure in MEASURES {
            let batch = Batch::<T>::for_set(set, [0, 0], d, 9);
            let case = Case { measure, ..Case::new(formula, set) };
            for isa in tiers() {
                let mut scratch = AnchorScratch::new();
                let got = batch.run_with(&serial(isa), &case, &*formula.loss(), None, &mut scratch);
                assert_eq!(got.outcome, Default::default(), "{case} x{d} on {isa}");
                assert_eq!(got.by_scale, 0.0, "{case} x{d} on {isa}: grad_scale");
            }
        }
    }
}

in_both_precisions! {
    steep_losses_agree
    a_temperature_of_a_hundredth_agrees
    equal_rows_cost_the_logarithm_of_their_candidates
    softmaxes_without_similar_pairs_are_nothing
    anchors_that_lack_a_kind_agree
    batches_of_next_to_nothing_agree
    no_rows_cost_nothing_and_outputs_are_overwritten
}
