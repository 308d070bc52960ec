//! Weights of anchors are the upstream gradients of their values.

use drlim::Similar;
use drlim::batch::Anchors;
use drlim::loss::{AnchorReduction, Measure};

use super::batch::{Batch, Called, DIRECTIONS, assert_close};
use super::case::{Case, MEASURES, Set};
use crate::support::anchors::AnchorFormula;
use crate::support::cases::in_both_precisions;
use crate::support::element::wide;
use crate::support::{Element, labels, serial, tiers};

fn a_weight_multiplies_the_gradient_of_its_anchor_alone<T: Element>() {
    let [of_n, of_m] = [labels(7, 3), labels(11, 3)];
    for formula in AnchorFormula::all(6.0) {
        for measure in MEASURES.into_iter().filter(|&measure| formula.takes(measure)) {
            let two = DIRECTIONS.map(|anchors| Set::by_labels(&of_n, &of_m, anchors));
            for set in [Set::One(Similar::Labels(&of_n))].into_iter().chain(two) {
                let batch = Batch::<T>::for_set(set, [7, 11], 6, 71);
                let count = set.anchors(batch.rows);
                let weights: Vec<f64> = (0..count).map(|i| (i % 5) as f64 - 1.5).collect();
                let reduction = AnchorReduction::Mean;
                let case = Case { measure, reduction, ..Case::new(formula, set) };
                for isa in tiers() {
                    let run = |weights: &[f64]| {
                        let case = Case { weights: Some(weights), ..case };
                        batch.run(&serial(isa), &case)
                    };
                    let (mut value, mut values, mut by_scale) = (0.0, Vec::new(), [0.0; 2]);
                    let mut grads: Vec<Vec<f64>> = Vec::new();
                    for (anchor, weight) in weights.iter().enumerate() {
                        let mut alone = vec![0.0; count];
                        alone[anchor] = 1.0;
                        let Called {
                            outcome, grads: of_anchor, values: of_all, by_scale: by, ..
                        } = run(&alone);
                        value += weight * outcome.value;
                        values.push(weight * of_all[anchor].to_f64());
                        by_scale[0] += weight * by;
                        by_scale[1] += (weight * by).abs();
                        grads.resize(of_anchor.len(), Vec::new());
                        for (sum, grad) in grads.iter_mut().zip(&of_anchor) {
                            sum.resize(grad.len(), 0.0);
                            for (sum, grad) in sum.iter_mut().zip(wide(grad)) {
                                *sum += weight * grad;
                            }
                        }
                        let others =
                            of_all.iter().enumerate().filter(|(other, _)| *other != anchor);
                        let mut others = others.map(|(_, value)| *value);
                        assert!(others.all(|value| value == T::ZERO), "{case}: values of others");
                    }
                    let got = run(&weights);
                    let (what, tolerance) = (format!("{case} on {isa}"), case.tolerance::<T>());
                    let size = values.iter().map(|value: &f64| value.abs()).sum::<f64>();
                    assert_close(&[got.outcome.value], &[value], tolerance, size, &what);
                    assert_close(&got.values, &values, tolerance, 1e-2, &what);
                    for (got, grad) in got.grads.iter().zip(&grads) {
                        assert_close(got, grad, tolerance, 1e-2, &what);
                    }
                    if formula.scale().is_some() {
                        let size = by_scale[1].max(size);
                        assert_close(&[got.by_scale], &by_scale[..1], tolerance, size, &what);
                    }
                }
            }
        }
    }
}

fn weights_leave_counts_as_they_are<T: Element>() {
    let of = labels(20, 4);
    let set = Set::One(Similar::Labels(&of));
    let weights: Vec<f64> = (0..20).map(|i| f64::from(i % 2)).collect();
    let batch = Batch::<T>::random_one(20, 5, 72);
    for formula in AnchorFormula::all(6.0) {
        let case = Case { reduction: AnchorReduction::MeanNonZero, ..Case::new(formula, set) };
        for isa in tiers() {
            let run = |weights| batch.run(&serial(isa), &Case { weights, ..case }).outcome;
            let (plain, weighted) = (run(None).totals[0], run(Some(&weights[..])).totals[0]);
            let counts = |of: &drlim::loss::AnchorTotals| {
                [of.anchors, of.with_similar, of.active, of.correct, of.similar, of.pairs]
            };
            assert_eq!(counts(&weighted), counts(&plain), "{case} on {isa}");
        }
    }
}

/// The calls of the tests below: queries of which one is NaN and has the weight 0. Keys of a class of their own
/// fill whole groups in which all pairs are dissimilar.
fn for_nan_of_weight_0<T: Element>(
    measures: &[Measure],
    check: impl Fn(&str, &Called<T>, &Called<T>),
) {
    let ([n, m], row) = ([40, 150], 17);
    let of_n = labels(n, 5);
    let of_m: Vec<i64> = (0..m as i64).map(|j| if j < 50 { j % 5 - 3 } else { 1000 }).collect();
    let weights: Vec<f64> = (0..n).map(|i| if i == row { 0.0 } else { 0.5 }).collect();
    let set = Set::by_labels(&of_n, &of_m, Anchors::Queries);
    for formula in AnchorFormula::all(8.0) {
        for measure in measures.iter().copied().filter(|&measure| formula.takes(measure)) {
            for d in [2, 20] {
                if d == 2 && matches!(formula, AnchorFormula::ArcFace { .. }) {
                    continue;
                }
                let clean = Batch::<T>::random([n, m], d, 73);
                let batch = clean.with_row(0, row, &vec![T::NAN; d], false);
                let case = Case { measure, weights: Some(&weights), ..Case::new(formula, set) };
                for isa in tiers() {
                    let what = format!("{case} x{d}, {} on {isa}", T::NAME);
                    let expected = clean.run(&serial(isa), &case);
                    check(&what, &batch.run(&serial(isa), &case), &expected);
                }
            }
        }
    }
}

fn a_weight_of_0_keeps_nan_out_of_values<T: Element>() {
    for_nan_of_weight_0::<T>(&MEASURES, |what, got, expected| {
        let (value, sum) = (expected.outcome.value, expected.outcome.totals[0].sum);
        assert_close(&[got.outcome.value], &[value], 1e-3, 1e-2, what);
        assert_close(&[got.outcome.totals[0].sum], &[sum], 1e-3, 1e-2, what);
        assert_close(&got.values, &wide(&expected.values), 1e-3, 1e-2, what);
    });
}

/// Gradients of keys, and that of the query itself.
fn a_weight_of_0_keeps_nan_out_of_gradients<T: Element>() {
    for_nan_of_weight_0::<T>(&[Measure::Cosine, Measure::Distance], compare_gradients);
}

fn a_weight_of_0_keeps_nan_out_of_gradients_of_products<T: Element>() {
    for_nan_of_weight_0::<T>(&[Measure::Dot], compare_gradients);
}

fn compare_gradients<T: Element>(what: &str, got: &Called<T>, expected: &Called<T>) {
    for (side, (got, grad)) in got.grads.iter().zip(&expected.grads).enumerate() {
        assert_close(got, &wide(grad), 1e-3, 1e-2, &format!("{what}: gradient {side}"));
    }
    if !expected.by_scale.is_nan() {
        let (got, by_scale) = ([got.by_scale], [expected.by_scale]);
        assert_close(&got, &by_scale, 1e-3, expected.outcome.value.abs(), what);
    }
}

in_both_precisions! {
    a_weight_multiplies_the_gradient_of_its_anchor_alone
    weights_leave_counts_as_they_are
    a_weight_of_0_keeps_nan_out_of_values
    a_weight_of_0_keeps_nan_out_of_gradients
    a_weight_of_0_keeps_nan_out_of_gradients_of_products
}
