//! Candidates in parts, as several machines hold them: sums merged by `+` give the value and the gradients of the
//! whole.

use std::ops::Range;

use drlim::batch::{AnchorScratch, Anchors};
use drlim::loss::{AnchorReduction, AnchorSums, LogSum};

use super::batch::{Batch, Called, assert_close};
use super::case::{ANCHOR_REDUCTIONS, Case, MEASURES, Set};
use crate::support::anchors::AnchorFormula;
use crate::support::cases::in_both_precisions;
use crate::support::element::wide;
use crate::support::{Element, labels, serial, tiers};

/// The part of a batch with some rows of one side, all of the other.
fn part<T: Element>(batch: &Batch<T>, side: usize, rows: Range<usize>) -> Batch<T> {
    let mut part = batch.clone();
    part.z[side] = batch.z[side][rows.start * batch.d..rows.end * batch.d].to_vec();
    part.rows[side] = rows.len();
    part
}

/// Sums of similar pairs, each by itself, alone.
fn of_each(each: Option<[f64; 2]>) -> AnchorSums {
    let mut sums = AnchorSums::default();
    sums.each = each;
    sums
}

/// What a call gives for each of two parts of the candidates, with what is known of the anchors.
struct Parts<'a, T> {
    batch: &'a Batch<T>,
    labels: [&'a [i64]; 2],
    /// The side of the candidates, and where it is cut.
    side: usize,
    cut: usize,
    case: Case<'a>,
    isa: drlim::Isa,
}

impl<T: Element> Parts<'_, T> {
    fn anchors(&self) -> Anchors {
        if self.side == 1 { Anchors::Queries } else { Anchors::Keys }
    }

    fn call(&self, reduction: AnchorReduction, known: Option<&[AnchorSums]>) -> [Called<T>; 2] {
        let count = self.batch.rows[self.side];
        [0..self.cut, self.cut..count].map(|rows| {
            let mut of = self.labels;
            of[self.side] = &of[self.side][rows.clone()];
            let set = Set::by_labels(of[0], of[1], self.anchors());
            let case = Case { reduction, set, ..self.case };
            let (cx, loss) = (serial(self.isa), case.formula.loss());
            let mut scratch = AnchorScratch::new();
            part(self.batch, self.side, rows).run_with(&cx, &case, &*loss, known, &mut scratch)
        })
    }

    /// The sums over the candidates of both parts, in as many rounds as the loss takes.
    fn merged(&self) -> Vec<AnchorSums> {
        type Merge = fn(AnchorSums, AnchorSums) -> AnchorSums;
        let add = |of: [Called<T>; 2], merge: Merge| {
            let [one, other] = of.map(|called| called.sums);
            one.into_iter().zip(other).map(|(one, other)| merge(one, other)).collect::<Vec<_>>()
        };
        let merged = add(self.call(AnchorReduction::Sum, None), |one, other| one + other);
        if !self.case.formula.loss::<T>().looks_twice_block() {
            return merged;
        }
        let merged: Vec<_> = merged.into_iter().map(AnchorSums::without_each).collect();
        // The log-sums are already those of the whole: only what is new is added up.
        let add_each: Merge = |one, other| one.add_each(other).unwrap();
        add(self.call(AnchorReduction::Sum, Some(&merged)), add_each)
    }

    fn check(&self) {
        let set = Set::by_labels(self.labels[0], self.labels[1], self.anchors());
        let case = Case { set, ..self.case };
        let whole = self.batch.run(&serial(self.isa), &case);
        let tolerance = case.tolerance::<T>();
        let what = format!("{case}, cut at {} on {}", self.cut, self.isa);

        let merged = self.merged();
        for (merged, whole) in merged.iter().zip(&whole.sums) {
            for (merged, whole) in
                [(merged.similar, whole.similar), (merged.dissimilar, whole.dissimilar)]
            {
                assert_eq!(merged.count, whole.count, "{what}");
                let [merged, whole] = [merged, whole].map(|of| of.log().max(-1e3));
                assert_close(&[merged], &[whole], tolerance, 1.0, &what);
            }
            let size = whole.exponents.abs().max(whole.similar.count as f64);
            assert_close(&[merged.exponents], &[whole.exponents], tolerance, size, &what);
            if let (Some(merged), Some(whole)) = (merged.each, whole.each) {
                assert_close(&merged, &whole, tolerance, 1.0, &what);
            }
        }

        // Any part knows the totals of the whole, and so its factor.
        let totals = self.call(AnchorReduction::Sum, Some(&merged))[0].outcome.totals;
        let anchors = 1 - self.side;
        assert_eq!(totals[anchors].pairs, whole.outcome.totals[anchors].pairs, "{what}");
        assert_eq!(totals[anchors].with_similar, whole.outcome.totals[anchors].with_similar);
        let factor = case.reduction.factor(&totals[anchors]);
        let parts = self.call(AnchorReduction::Factor(factor), Some(&merged));

        let size = wide(&whole.values).iter().map(|x| x.abs()).sum::<f64>() * factor.abs();
        let largest =
            whole.grads.iter().flatten().fold(1e-2, |most: f64, g| most.max(g.to_f64().abs()));
        for part in &parts {
            let (got, value) = ([part.outcome.value], [whole.outcome.value]);
            assert_close(&got, &value, tolerance, size.max(1e-2), &what);
            assert_close(&part.values, &wide(&whole.values), tolerance, 1e-2, &what);
            assert_eq!(part.sums.len(), merged.len(), "{what}");
        }
        let [one, other] = parts.each_ref().map(|part| &part.grads);
        let of_anchors: Vec<f64> = wide(&one[anchors])
            .into_iter()
            .zip(wide(&other[anchors]))
            .map(|(one, other)| one + other)
            .collect();
        let grad = &whole.grads[anchors];
        let what_of = |name: &str| format!("{what}: gradient of {name}");
        assert_close(grad, &of_anchors, tolerance, largest, &what_of("anchors"));
        let of_candidates = wide(&[&one[self.side][..], &other[self.side]].concat());
        let grad = &whole.grads[self.side];
        assert_close(grad, &of_candidates, tolerance, largest, &what_of("candidates"));
        if case.formula.scale().is_some() {
            let [one, other] = [&parts[0], &parts[1]].map(|part| part.by_scale);
            // Both parts may be larger than their sum.
            let size = one.abs().max(other.abs()).max(size);
            assert_close(&[one + other], &[whole.by_scale], tolerance, size, &what_of("the scale"));
        }
    }
}

fn merged_sums_give_the_value_and_the_gradients_of_the_whole<T: Element>() {
    let rows = [40, 57];
    let [of_n, of_m] = [labels(rows[0], 6), labels(rows[1], 5)];
    let mut number = 0;
    for formula in AnchorFormula::all(8.0) {
        for measure in MEASURES.into_iter().filter(|&measure| formula.takes(measure)) {
            for (side, cut) in [(1, 0), (1, 1), (1, 41), (0, 27)] {
                number += 1;
                let reduction = ANCHOR_REDUCTIONS[number % 6];
                let d = if number % 4 == 0 { 3 } else { 9 };
                if d == 3 && matches!(formula, AnchorFormula::ArcFace { .. }) {
                    continue;
                }
                let batch = &Batch::<T>::random(rows, d, 61);
                let set = Set::by_position(Anchors::Queries);
                let case = Case { measure, reduction, ..Case::new(formula, set) };
                for isa in tiers() {
                    let labels = [&of_n[..], &of_m[..]];
                    Parts { batch, labels, side, cut, case, isa }.check();
                }
            }
        }
    }
}

in_both_precisions! {
    merged_sums_give_the_value_and_the_gradients_of_the_whole
}

fn log_sum(exponents: &[f64]) -> LogSum {
    let one = |&x: &f64| LogSum { count: 1, largest: x, sum: 1.0 };
    exponents.iter().map(one).fold(LogSum::default(), |sum, one| sum + one)
}

#[test]
fn a_sum_of_nothing_changes_no_other() {
    let nothing = LogSum::default();
    assert_eq!(nothing + nothing, nothing);
    assert_eq!(nothing.log(), f64::NEG_INFINITY);
    // Of pairs whose power is 0: they count, and add nothing.
    let far = LogSum { count: 3, ..nothing };
    assert_eq!(nothing + far, far);
    for exponents in [&[-3.0][..], &[1e4, 1e4], &[-1e5, 7.0, 7.5]] {
        let some = log_sum(exponents);
        assert_eq!(some + nothing, some);
        assert_eq!(nothing + some, some);
        let both = some + far;
        assert_eq!((both.count, both.log()), (some.count + 3, some.log()));
        assert_eq!(both, far + some);
    }
    let sums = AnchorSums::default();
    assert_eq!(sums + sums, sums);
    assert_eq!(sums.similar.log(), f64::NEG_INFINITY);
}

#[test]
fn log_sums_merge_in_any_grouping_without_overflow() {
    let exponents = [800.0, -800.0, 799.0, 0.5, 1e6, 1e6 - 1.0, -1e6];
    let expected = 1e6 + (-1.0_f64).exp().ln_1p();
    for cut in 0..=exponents.len() {
        let (one, other) = exponents.split_at(cut);
        let merged = log_sum(one) + log_sum(other);
        assert_eq!(merged.count, 7);
        assert!((merged.log() - expected).abs() <= 1e-9, "cut at {cut}: {}", merged.log());
    }
    let [one, other] = [[1.0, 2.0], [0.5, 4.0]].map(|each| of_each(Some(each)));
    assert_eq!((one + other).each, Some([1.5, 6.0]));
    assert_eq!((of_each(None) + other).each, other.each);
    assert_eq!(one.without_each().each, None);
    assert_eq!(one.add_each(other).unwrap().each, Some([1.5, 6.0]));
    let mut of_more = other;
    of_more.dissimilar = log_sum(&[1.0]);
    assert_eq!(one.add_each(of_more), None, "of another whole");
    assert_eq!([one.add_each(of_each(None)), of_each(None).add_each(one)], [None; 2]);
}
