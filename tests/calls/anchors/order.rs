//! The order of rows means nothing: values and gradients follow the rows.

use drlim::Similar;
use drlim::batch::{AnchorScratch, Anchors};

use super::batch::{Batch, DIRECTIONS, assert_close};
use super::case::{Case, MEASURES, Set};
use crate::support::anchors::AnchorFormula;
use crate::support::cases::in_both_precisions;
use crate::support::element::wide;
use crate::support::{Element, labels, serial, tiers};

/// Another order of so many rows.
fn order(n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|i| (i * 7919 + 13) % 1009);
    order
}

/// Rows of `d` elements in another order.
fn in_order<X: Copy>(of: &[X], order: &[usize], d: usize) -> Vec<X> {
    order.iter().flat_map(|&i| &of[i * d..(i + 1) * d]).copied().collect()
}

/// A call on rows in order and one on rows in another, on sets that say the same of them.
fn follows<T: Element>(case: &Case, other: &Case, batch: &Batch<T>, orders: [&[usize]; 2]) {
    let d = batch.d;
    let z = [0, 1].map(|side| in_order(&batch.z[side], orders[side], d));
    let moved = Batch { z, ..*batch };
    let (loss, tolerance) = (case.formula.loss(), case.tolerance::<T>());
    for isa in tiers() {
        let (cx, what) = (serial(isa), format!("{case} x{d} on {isa}"));
        let mut scratch = AnchorScratch::new();
        let one = batch.run_with(&cx, case, &*loss, None, &mut scratch);
        let got = moved.run_with(&cx, other, &*loss, None, &mut scratch);
        assert_close(&[got.outcome.value], &[one.outcome.value], tolerance, 1e-2, &what);
        let sides = case.set.sides();
        let mut first = 0;
        for side in (0..2).filter(|&side| sides[side]) {
            let of_side = first..first + batch.rows[side];
            first = of_side.end;
            let values = wide(&in_order(&one.values[of_side.clone()], orders[side], 1));
            assert_close(&got.values[of_side], &values, tolerance, 1e-2, &what);
        }
        for (side, grad) in one.grads.iter().enumerate() {
            let grad = wide(&in_order(grad, orders[side], d));
            assert_close(&got.grads[side], &grad, tolerance, 1e-2, &what);
        }
    }
}

fn results_follow_the_rows_of_one_set<T: Element>() {
    let n = 77;
    let (of, order) = (labels(n, 9), order(n));
    let moved = in_order(&of, &order, 1);
    for formula in AnchorFormula::all(10.0) {
        for measure in MEASURES.into_iter().filter(|&measure| formula.takes(measure)) {
            let case = |of| Case { measure, ..Case::new(formula, Set::One(Similar::Labels(of))) };
            let batch = Batch::<T>::random_one(n, 13, 21);
            follows(&case(&of), &case(&moved), &batch, [&order, &order]);
        }
    }
}

fn results_follow_queries_and_keys<T: Element>() {
    let rows = [40, 67];
    let ([of_n, of_m], orders) = (rows.map(|n| labels(n, 9)), rows.map(order));
    let moved = [in_order(&of_n, &orders[0], 1), in_order(&of_m, &orders[1], 1)];
    for formula in AnchorFormula::all(10.0) {
        for anchors in DIRECTIONS {
            let case = Case::new(formula, Set::by_labels(&of_n, &of_m, anchors));
            let other = Case::new(formula, Set::by_labels(&moved[0], &moved[1], anchors));
            let batch = Batch::<T>::random(rows, 13, 22);
            follows(&case, &other, &batch, [&orders[0], &orders[1]]);
        }
    }
}

/// Queries and keys change places: what were queries' anchors are keys'.
fn both_directions_are_the_same_from_either_side<T: Element>() {
    let rows = [33, 58];
    let [of_n, of_m] = rows.map(|n| labels(n, 7));
    for (formula, measure) in AnchorFormula::all(10.0)
        .into_iter()
        .flat_map(|formula| MEASURES.map(|measure| (formula, measure)))
        .filter(|(formula, measure)| formula.takes(*measure))
    {
        let batch = Batch::<T>::random(rows, 13, 23);
        let turned = Batch {
            z: [batch.z[1].clone(), batch.z[0].clone()],
            rows: [rows[1], rows[0]],
            d: batch.d,
        };
        for (here, there) in [
            (Anchors::Queries, Anchors::Keys),
            (Anchors::Keys, Anchors::Queries),
            (Anchors::Both, Anchors::Both),
        ] {
            let case = Case { measure, ..Case::new(formula, Set::by_labels(&of_n, &of_m, here)) };
            let other = Case { measure, ..Case::new(formula, Set::by_labels(&of_m, &of_n, there)) };
            let tolerance = case.tolerance::<T>();
            for isa in tiers() {
                let what = format!("{case} on {isa}");
                let one = batch.run(&serial(isa), &case);
                let got = turned.run(&serial(isa), &other);
                assert_close(&[got.outcome.value], &[one.outcome.value], tolerance, 1e-2, &what);
                for side in 0..2 {
                    let grad = wide(&one.grads[1 - side]);
                    assert_close(&got.grads[side], &grad, tolerance, 1e-2, &what);
                }
            }
        }
    }
}

in_both_precisions! {
    results_follow_the_rows_of_one_set
    results_follow_queries_and_keys
    both_directions_are_the_same_from_either_side
}
