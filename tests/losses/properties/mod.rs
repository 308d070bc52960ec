//! Properties that every loss must have on any draw, through the kit that is there for users' own:
//! `drlim::properties`. Every loss of the crate goes through it, on every tier and in both
//! precisions; and the kit itself is held to catching what it is for, in `faults`.
//!
//! A loss's own differences cannot see a formula that is wrong in value and slope alike, so gradients
//! are also compared with central differences of the scalar formulas. Draws that once failed lie in
//! `main.proptest-regressions`.

#![forbid(unsafe_code)]

mod anchors;
mod faults;

use crate::support::formulas::{PairFormula, TripletFormula};
use crate::support::{Element, serial, tiers};
use drlim::MatMut;
use drlim::batch::{RowsOut, rows};
use drlim::loss::Objective;
use drlim::properties::{
    Batch, Embeddings, PairBatch, PairCheck, Properties, TripletBatch, TripletCheck, embeddings,
    labels, margins, pair_batches, triplet_batches,
};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{
    FileFailurePersistence, RngAlgorithm, TestCaseResult, TestRng, TestRunner,
};

const PAIRS: std::ops::RangeInclusive<usize> = 1..=20;
const COLS: std::ops::RangeInclusive<usize> = 1..=40;

/// A loss, and pairs off its kinks.
fn pairs() -> impl Strategy<Value = (PairFormula, PairBatch<f64>)> {
    (margins::<f64>(), margins::<f64>())
        .prop_flat_map(|(p, m)| {
            let sigmoid = PairFormula::Sigmoid { a: p, b: -m };
            select([&PairFormula::all(p, m)[..], &[sigmoid]].concat())
        })
        .prop_flat_map(|formula| (Just(formula), pair_batches(&formula.kinks(), PAIRS, COLS)))
}

/// The same of triplets.
fn triplets() -> impl Strategy<Value = (TripletFormula, TripletBatch<f64>)> {
    margins::<f64>().prop_flat_map(|m| select(TripletFormula::all(m).to_vec())).prop_flat_map(
        |formula| {
            let kink = move |positive| formula.kink(positive);
            (Just(formula), triplet_batches(kink, PAIRS, COLS))
        },
    )
}

/// A property of pairs under the crate's loss, on every tier.
fn of_pairs<T: Element>(
    (formula, batch): &(PairFormula, PairBatch<f64>),
    property: impl Fn(PairCheck<T>, &PairBatch<T>) -> TestCaseResult,
) -> TestCaseResult {
    let (loss, exact) = (formula.loss::<T>(), formula.rounded::<T>().loss::<f64>());
    let check = PairCheck::with_exact(&*loss, &*exact);
    tiers().into_iter().try_for_each(|isa| property(check.on(serial(isa)), &batch.rounded()))
}

/// The same of triplets.
fn of_triplets<T: Element>(
    (formula, batch): &(TripletFormula, TripletBatch<f64>),
    property: impl Fn(TripletCheck<T>, &TripletBatch<T>) -> TestCaseResult,
) -> TestCaseResult {
    let (loss, exact) = (formula.loss::<T>(), formula.rounded::<T>().loss::<f64>());
    let check = TripletCheck::with_exact(&*loss, &*exact);
    tiers().into_iter().try_for_each(|isa| property(check.on(serial(isa)), &batch.rounded()))
}

/// A test of one property in both precisions.
macro_rules! check_in_both_precisions {
    ($of:ident($draw:expr), $property:ident) => {{
        $of::<f32>(&$draw, |check, batch| check.$property(batch))?;
        $of::<f64>(&$draw, |check, batch| check.$property(batch))?;
    }};
}

fn pairs_scale<T: Element>(draw: &(PairFormula, PairBatch<f64>), factor: f64) -> TestCaseResult {
    if let PairFormula::Sigmoid { .. } = draw.0 {
        // A scale and a bias that nearly cancel would be lost to rounding.
        return Ok(());
    }
    let scaled = draw.0.rounded::<T>().scaled(factor);
    let (loss, exact) = (scaled.loss::<T>(), scaled.loss::<f64>());
    of_pairs::<T>(draw, |check, batch| {
        let scaled = PairCheck::with_exact(&*loss, &*exact);
        check.scaling(batch, factor, &scaled, draw.0.degree())
    })
}

fn triplets_scale<T: Element>(
    draw: &(TripletFormula, TripletBatch<f64>),
    factor: f64,
) -> TestCaseResult {
    let scaled = draw.0.rounded::<T>().scaled(factor);
    let (loss, exact) = (scaled.loss::<T>(), scaled.loss::<f64>());
    of_triplets::<T>(draw, |check, batch| {
        let scaled = TripletCheck::with_exact(&*loss, &*exact);
        check.scaling(batch, factor, &scaled, draw.0.degree())
    })
}

/// Gradients against the central differences of the scalar formula, which knows nothing of the
/// crate.
fn gradients_are_those_of_the_formula<T: Element>(
    (formula, batch): &(PairFormula, PairBatch<f64>),
) -> TestCaseResult {
    let (loss, formula) = (formula.loss::<T>(), formula.rounded::<T>());
    let batch = batch.rounded::<T>();
    let [a, b] = batch.inputs().each_ref().map(Embeddings::view);
    let [n, cols] = a.shape();
    for isa in tiers() {
        let mut grads = [vec![T::NAN; n * cols], vec![T::NAN; n * cols]];
        let [grad_a, grad_b] = grads.each_mut().map(|grad| MatMut::new(grad, n, cols).unwrap());
        let out = RowsOut::grads(grad_a, grad_b);
        rows(&serial(isa), &Objective::sum(&*loss), a, b, batch.similar(), out).unwrap();
        for i in 0..n {
            let similar = batch.similar()[i];
            let [a, b] = [a, b].map(|of| crate::support::element::wide(of.row(i)));
            let d2 = crate::support::oracle::squared_distance(&a, &b);
            let step = 1e-5 * d2.sqrt();
            // The largest slope nearby that rounding of d could give instead.
            let slopes = [0.9, 1.0, 1.1].map(|x| formula.slope(x * d2, similar, 0.0).abs());
            let largest =
                slopes.into_iter().fold(0.0, f64::max).max(formula.value(d2, similar) / d2);
            let rounding = 8.0 * (cols as f64 + 8.0) * T::EPSILON.to_f64();
            let allowed = (rounding + 1e-7) * largest * d2.sqrt();
            for k in 0..cols {
                let value = |step: f64| {
                    let mut moved = a.clone();
                    moved[k] += step;
                    formula.value(crate::support::oracle::squared_distance(&moved, &b), similar)
                };
                let numeric = (value(step) - value(-step)) / (2.0 * step);
                for (grad, sign) in grads.iter().zip([1.0, -1.0]) {
                    let got = sign * grad[i * cols + k].to_f64();
                    prop_assert!(
                        (got - numeric).abs() <= allowed,
                        "{} on {isa}: row {i}, element {k} is {got}, not {numeric} +- {allowed:e}",
                        T::NAME
                    );
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource(
            "proptest-regressions",
        ))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn gradients_of_pairs_are_the_derivatives_of_the_scalar_formula(draw in pairs()) {
        gradients_are_those_of_the_formula::<f32>(&draw)?;
        gradients_are_those_of_the_formula::<f64>(&draw)?;
    }

    #[test]
    fn gradients_of_pairs_are_the_derivatives_of_values(draw in pairs()) {
        check_in_both_precisions!(of_pairs(draw), gradient);
    }

    #[test]
    fn swapping_both_sides_of_pairs_swaps_their_gradients(draw in pairs()) {
        check_in_both_precisions!(of_pairs(draw), swap);
    }

    #[test]
    fn pairs_in_another_order_have_the_same_results(draw in pairs()) {
        check_in_both_precisions!(of_pairs(draw), permutation);
    }

    #[test]
    fn moving_all_pairs_alike_changes_nothing(draw in pairs()) {
        check_in_both_precisions!(of_pairs(draw), translation);
    }

    #[test]
    fn rotating_all_pairs_rotates_their_gradients(draw in pairs()) {
        check_in_both_precisions!(of_pairs(draw), rotation);
    }

    #[test]
    fn pairs_of_any_size_have_values_of_that_size(draw in pairs(), factor in margins::<f64>()) {
        pairs_scale::<f32>(&draw, factor)?;
        pairs_scale::<f64>(&draw, factor)?;
    }

    #[test]
    fn a_batch_of_pairs_is_the_sum_of_any_two_parts(draw in pairs()) {
        check_in_both_precisions!(of_pairs(draw), additivity);
    }

    #[test]
    fn no_pair_has_a_value_below_zero(draw in pairs()) {
        check_in_both_precisions!(of_pairs(draw), not_negative);
    }

    #[test]
    fn a_step_against_the_gradient_lowers_the_loss_of_pairs(draw in pairs()) {
        check_in_both_precisions!(of_pairs(draw), descent);
    }

    #[test]
    fn pairs_as_a_list_have_the_results_of_pairs_by_rows(draw in pairs()) {
        check_in_both_precisions!(of_pairs(draw), list);
    }

    #[test]
    fn gradients_of_triplets_are_the_derivatives_of_values(draw in triplets()) {
        check_in_both_precisions!(of_triplets(draw), gradient);
    }

    #[test]
    fn anchor_and_positive_can_change_places_where_the_loss_swaps(draw in triplets()) {
        if let (TripletFormula::Swapping { .. }, _) = draw {
            check_in_both_precisions!(of_triplets(draw), swap);
        }
    }

    #[test]
    fn triplets_have_what_pairs_have(draw in triplets(), factor in margins::<f64>()) {
        check_in_both_precisions!(of_triplets(draw), all);
        check_in_both_precisions!(of_triplets(draw), not_negative);
        triplets_scale::<f32>(&draw, factor)?;
        triplets_scale::<f64>(&draw, factor)?;
    }

    #[test]
    fn batches_of_pairs_keep_off_kinks(
        p in margins::<f64>(),
        m in margins::<f64>(),
        seed in any::<u64>(),
    ) {
        let kinks = [m, f64::NAN, p, -1.0];
        let runner = &mut seeded(seed);
        let batch = pair_batches::<f64>(&kinks, PAIRS, 0..=5).new_tree(runner).unwrap().current();
        for d in distances(&batch, [0, 1]) {
            prop_assert!(d >= 0.0499 * p.min(m) && d <= 3.01 * p.max(m), "{d} of {p} and {m}");
            prop_assert!((d - p).abs() >= 0.0499 * p && (d - m).abs() >= 0.0499 * m);
        }
    }

    #[test]
    fn batches_of_triplets_keep_off_kinks(draw in triplets()) {
        let (formula, batch) = draw;
        let [ap, an, pn] = [[0, 1], [0, 2], [1, 2]].map(|between| distances(&batch, between));
        for ((ap, an), pn) in ap.into_iter().zip(an).zip(pn) {
            let kink = formula.kink(ap);
            prop_assert!(ap > 0.0 && an > 0.0 && pn > 0.0);
            prop_assert!((an - kink).abs() > 0.0499 * kink, "{an} near {kink}");
            prop_assert!((an - pn).abs() > 0.0199 * an, "{an} near {pn}");
            prop_assert!(pn > an || (pn - kink).abs() > 0.0199 * kink, "{pn} near {kink}");
        }
    }

    #[test]
    fn labels_and_embeddings_are_of_the_shape_that_was_asked_for(
        labels in labels(3..=9, 4),
        z in embeddings::<f32>(2..=5, 1..=7),
    ) {
        prop_assert!((3..=9).contains(&labels.len()) && labels.iter().all(|l| (0..4).contains(l)));
        let [rows, cols] = z.shape();
        prop_assert!((2..=5).contains(&rows) && (1..=7).contains(&cols));
        prop_assert!(z.view().iter().flatten().all(|x| x.abs() <= 2.0));
    }
}

/// The distances of two of the matrices.
fn distances<const N: usize>(batch: &Batch<f64, N>, [one, other]: [usize; 2]) -> Vec<f64> {
    let [a, b] = [one, other].map(|m| batch.inputs()[m].view());
    let d2 = a.iter().zip(b.iter()).map(|(a, b)| crate::support::oracle::squared_distance(a, b));
    d2.map(f64::sqrt).collect()
}

/// A runner that draws the same each time and keeps nothing.
fn seeded(seed: u64) -> TestRunner {
    let (cases, max_shrink_iters) = (50, 0);
    let config =
        ProptestConfig { cases, max_shrink_iters, failure_persistence: None, ..Default::default() };
    let seed = [seed.to_le_bytes(); 4].concat();
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}
