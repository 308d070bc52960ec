//! NaN reaches what depends on it and nothing else; what is infinitely far costs nothing.

use drlim::Similar;
use drlim::batch::{AnchorScratch, Anchors, CrossSimilar};
use drlim::loss::{Measure, Positives};

use super::batch::{Batch, Called, DIRECTIONS, assert_close};
use super::case::{Case, MEASURES, Set};
use crate::support::anchors::AnchorFormula;
use crate::support::cases::in_both_precisions;
use crate::support::{Element, labels, serial, tiers};

const SOFTMAX: AnchorFormula =
    AnchorFormula::Softmax { scale: 8.0, positives: Positives::Mean, decoupled: false };

/// Every loss with every measure, and rows of up to three elements, which take another course, and more.
fn every_loss() -> impl Iterator<Item = (AnchorFormula, Measure, usize)> {
    let measured = |formula: AnchorFormula| MEASURES.map(|measure| (formula, measure));
    let all = AnchorFormula::all(8.0).into_iter().flat_map(measured);
    let long = |(formula, measure)| [1, 3, 20].map(|d| (formula, measure, d));
    all.flat_map(long).filter(|&(formula, measure, d)| {
        // Angles of short rows are as steep as those rows are close.
        formula.takes(measure) && (d > 3 || !matches!(formula, AnchorFormula::ArcFace { .. }))
    })
}

fn is_nan<T: Element>(of: &[T]) -> bool {
    of.iter().all(|x| x.is_nan())
}

/// All rows of so many elements but one.
fn without<X: Clone>(of: &[X], row: usize, d: usize) -> Vec<X> {
    [&of[..row * d], &of[(row + 1) * d..]].concat()
}

fn a_nan_row_reaches_every_anchor_that_has_it_as_a_candidate<T: Element>() {
    let (n, row) = (90, 37);
    // The last row has no similar one: it costs nothing, whatever its candidates are.
    let mut of = labels(n, 5);
    of[n - 1] = 1000;
    let set = Set::One(Similar::Labels(&of));
    for (measure, d) in MEASURES.into_iter().flat_map(|m| [1, 2, 3, 20].map(|d| (m, d))) {
        let clean = Batch::<T>::random_one(n, d, 11);
        let batch = clean.with_row(0, row, &vec![T::NAN; d], true);
        let case = Case { measure, ..Case::new(SOFTMAX, set) };
        for isa in tiers() {
            let Called { outcome, grads, values, by_scale, .. } = batch.run(&serial(isa), &case);
            let what = format!("{case} x{d} on {isa}");
            assert!(outcome.value.is_nan() && by_scale.is_nan(), "{what}");
            assert!(is_nan(&values[..n - 1]), "{what}: {values:?}");
            assert_eq!(values[n - 1], T::ZERO, "{what}");
            assert!(is_nan(&grads[0]), "{what}: {:?}", grads[0]);
            let totals = outcome.totals[0];
            assert_eq!((totals.anchors, totals.active), (90, 89), "{what}");
        }
    }
}

fn a_nan_row_that_labels_leave_out_reaches_nothing<T: Element>() {
    let (n, row, ignored) = (75, 40, 1000);
    let mut of = labels(n, 6);
    of[row] = ignored;
    let one = Set::One(Similar::LabelsIgnoring { labels: &of, ignored });
    for (formula, measure, d) in every_loss() {
        let two = DIRECTIONS.map(|anchors| {
            let similar =
                CrossSimilar::Labels { queries: &of, keys: &of[..60], ignored: Some(ignored) };
            Set::cross(similar, anchors)
        });
        for set in [one].into_iter().chain(two) {
            let clean = Batch::<T>::for_set(set, [n, 60], d, 12);
            let one_set = matches!(set, Set::One(_));
            // On both sides, where there are two.
            let nan = vec![T::NAN; d];
            let batch = clean.with_row(0, row, &nan, one_set).with_row(1, row, &nan, one_set);
            let case = Case { measure, ..Case::new(formula, set) };
            case.check_with(&*formula.loss(), &batch, &clean);
        }
    }
}

/// The query's own gradient, and those of all keys, are NaN; other queries have nothing to do with it.
fn a_nan_query_leaves_other_queries_untouched<T: Element>() {
    let ([n, m], row) = ([50, 80], 21);
    let [of_n, of_m] = [labels(n, 6), labels(m, 6)];
    let set = Set::by_labels(&of_n, &of_m, Anchors::Queries);
    for (formula, measure, d) in every_loss() {
        let clean = Batch::<T>::random([n, m], d, 13);
        let batch = clean.with_row(0, row, &vec![T::NAN; d], false);
        let case = Case { measure, ..Case::new(formula, set) };
        let expected = case.expected(&clean);
        for isa in tiers() {
            let what = format!("{case} x{d} on {isa}");
            let Called { outcome, grads, values, .. } = batch.run(&serial(isa), &case);
            assert!(outcome.value.is_nan() && values[row].is_nan(), "{what}");
            assert!(is_nan(&grads[0][row * d..(row + 1) * d]), "{what}: its own gradient");
            assert!(is_nan(&grads[1]), "{what}: gradients of keys");
            let (tolerance, least) = (case.tolerance::<T>(), expected.largest_term);
            let (got, values) = (without(&values, row, 1), without(&expected.values, row, 1));
            assert_close(&got, &values, tolerance, 1e-2, &what);
            let of_queries = without(&expected.grads[0], row, d);
            assert_close(&without(&grads[0], row, d), &of_queries, tolerance, least, &what);
        }
    }
}

fn a_nan_among_keys_reaches_every_query<T: Element>() {
    let [n, m] = [40, 70];
    let set = Set::by_position(Anchors::Queries);
    for (measure, d) in MEASURES.into_iter().flat_map(|m| [2, 20].map(|d| (m, d))) {
        // The last key is a negative of all queries.
        let clean = Batch::<T>::random([n, m], d, 14);
        let batch = clean.with_row(1, m - 1, &vec![T::NAN; d], false);
        let case = Case { measure, ..Case::new(SOFTMAX, set) };
        for isa in tiers() {
            let Called { outcome, grads, values, .. } = batch.run(&serial(isa), &case);
            let what = format!("{case} x{d} on {isa}");
            assert!(outcome.value.is_nan() && is_nan(&values), "{what}");
            assert!(is_nan(&grads[0]) && is_nan(&grads[1]), "{what}");
        }
    }
}

/// A negative at infinity adds e^-infinity.
fn a_dissimilar_key_at_infinity_is_as_if_it_were_not_there<T: Element>() {
    let ([n, m], far) = ([45, 66], 50);
    let of_n = labels(n, 5);
    let mut of_m = labels(m, 5);
    of_m[far] = 1000;
    let left_out = CrossSimilar::Labels { queries: &of_n, keys: &of_m, ignored: Some(of_m[far]) };
    for (formula, measure, d) in every_loss() {
        // The circle loss is of cosines; 0 times infinity is NaN.
        if measure == Measure::Dot || matches!(formula, AnchorFormula::Circle { .. }) {
            continue;
        }
        let clean = Batch::<T>::random([n, m], d, 15);
        let mut of_row = clean.z[1][far * d..(far + 1) * d].to_vec();
        of_row[d / 2] = -T::INFINITY;
        let batch = clean.with_row(1, far, &of_row, false);
        let of = |set| Case { measure, ..Case::new(formula, set) };
        let expected = of(Set::cross(left_out, Anchors::Queries)).expected(&clean);
        let case = of(Set::by_labels(&of_n, &of_m, Anchors::Queries));
        for isa in tiers() {
            let (cx, mut scratch) = (serial(isa), AnchorScratch::new());
            let got = batch.run_with(&cx, &case, &*formula.loss(), None, &mut scratch);
            let (what, tolerance) = (format!("{case} x{d} on {isa}"), case.tolerance::<T>());
            assert_close(&got.values, &expected.values, tolerance, 1e-2, &what);
            let of_far = &got.grads[1][far * d..(far + 1) * d];
            assert!(of_far.iter().all(|&g| g == T::ZERO), "{what}: {of_far:?} far away");
            for (side, of_side) in expected.grads.iter().enumerate() {
                let what = format!("{what}: gradient {side}");
                assert_close(&got.grads[side], of_side, tolerance, expected.largest_term, &what);
            }
            if formula.scale().is_some() {
                let [by_scale, size] = expected.grad_scale;
                assert_close(&[got.by_scale], &[by_scale], tolerance, size, &what);
            }
        }
    }
}

in_both_precisions! {
    a_nan_row_reaches_every_anchor_that_has_it_as_a_candidate
    a_nan_row_that_labels_leave_out_reaches_nothing
    a_nan_query_leaves_other_queries_untouched
    a_nan_among_keys_reaches_every_query
    a_dissimilar_key_at_infinity_is_as_if_it_were_not_there
}
