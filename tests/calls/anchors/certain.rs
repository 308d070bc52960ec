//! Anchors that are nearly certain: value and weights as small as 1e-30 keep their relative precision.

use drlim::Similar;
use drlim::batch::AnchorScratch;
use drlim::loss::{Measure, Positives};

use super::batch::{Batch, DIRECTIONS, assert_close};
use super::case::{Case, Set};
use crate::support::anchors::AnchorFormula;
use crate::support::cases::in_both_precisions;
use crate::support::{Element, serial, tiers};

/// Where a positive is, beside the anchor at the first unit vector: there too, or close by.
const POSITIVES_AT: [f64; 2] = [0.0, 1.0 / 1024.0];

/// First coordinates of unit negatives.
const NEGATIVES: [f64; 3] = [0.3125, 0.25, -0.5];

/// An anchor, its positive and three negatives, all of unit length but for the positive's last element.
fn rows<T: Element>(d: usize, positive_at: f64) -> Vec<T> {
    let mut z = vec![T::ZERO; 5 * d];
    (z[0], z[d], z[2 * d - 1]) = (T::ONE, T::ONE, T::from_f64(positive_at));
    for (k, x) in NEGATIVES.into_iter().enumerate() {
        let row = &mut z[(k + 2) * d..(k + 3) * d];
        (row[0], row[1]) = (T::from_f64(x), T::from_f64((1.0 - x * x).sqrt()));
    }
    z
}

fn tolerance<T: Element>() -> f64 {
    if size_of::<T>() == size_of::<f64>() { 1e-10 } else { 1e-4 }
}

/// The closed form of the value, by hand: ln(1 + the sum of e^(s_n - s_p)), with products as similarities.
fn a_certain_anchor_has_the_value_of_its_closed_form<T: Element>() {
    let odds: f64 = NEGATIVES.iter().map(|u| (100.0 * (u - 1.0)).exp()).sum();
    assert!(odds > 1e-30 && odds < 2e-30);
    for positives in [Positives::Mean, Positives::Sum, Positives::Each] {
        let formula = AnchorFormula::Softmax { scale: 100.0, positives, decoupled: false };
        for d in [3, 4, 17] {
            let z = rows::<T>(d, 0.0);
            let (query, keys) = z.split_at(d);
            let batch = Batch { z: [query.to_vec(), keys.to_vec()], rows: [1, 4], d };
            let set = Set::by_position(DIRECTIONS[0]);
            let case = Case { measure: Measure::Dot, ..Case::new(formula, set) };
            for isa in tiers() {
                let what = format!("{case} x{d} on {isa}");
                let got = batch.run(&serial(isa), &case);
                assert_close(&[got.outcome.value], &[odds.ln_1p()], tolerance::<T>(), 0.0, &what);
                assert_close(&got.values, &[odds.ln_1p()], tolerance::<T>(), 0.0, &what);
                // dL/ds of the positive is -p(not it), and its row is moved by that times a q.
                let of_positive = got.grads[1][0];
                let expected = -100.0 * odds / (1.0 + odds);
                assert_close(&[of_positive], &[expected], tolerance::<T>(), 0.0, &what);
            }
        }
    }
}

/// Gradients of every row agree with those of the oracle, which takes the same care.
fn certain_anchors_keep_the_precision_of_their_gradients<T: Element>() {
    // A softmax that is less steep takes its powers in another way.
    let all = [100.0, 16.0].map(AnchorFormula::all);
    let certain = all.into_iter().flatten().filter(|formula| match formula {
        AnchorFormula::Softmax { decoupled, .. } => !decoupled,
        AnchorFormula::CosFace { .. } => true,
        // ArcFace has no derivative where these positives are.
        _ => false,
    });
    let labels = [0, 0, 1, 2, 3];
    for formula in certain {
        let one = Set::One(Similar::Labels(&labels));
        let two = DIRECTIONS.map(|anchors| Set::by_labels(&labels[..1], &labels[1..], anchors));
        for (set, d) in [one].into_iter().chain(two).flat_map(|set| [3, 4, 17].map(|d| (set, d))) {
            for (at, measure) in POSITIVES_AT
                .into_iter()
                .flat_map(|at| [Measure::Cosine, Measure::Dot].map(|measure| (at, measure)))
            {
                let z = rows::<T>(d, at);
                let batch = match set {
                    Set::One(_) => Batch::one(z, 5, d),
                    Set::Cross { .. } => {
                        let (query, keys) = z.split_at(d);
                        Batch { z: [query.to_vec(), keys.to_vec()], rows: [1, 4], d }
                    }
                };
                let case = Case { measure, ..Case::new(formula, set) };
                let expected = case.expected(&batch);
                for isa in tiers() {
                    let what = format!("{case}, positive at {at}, x{d} on {isa}");
                    let (cx, mut scratch) = (serial(isa), AnchorScratch::new());
                    let got = batch.run_with(&cx, &case, &*formula.loss(), None, &mut scratch);
                    let tolerance = tolerance::<T>();
                    assert_close(&got.values, &expected.values, tolerance, 0.0, &what);
                    let (by_scale, size) = (got.by_scale, expected.grad_scale[1]);
                    assert_close(&[by_scale], &expected.grad_scale[..1], tolerance, size, &what);
                    for (side, of_side) in case.gradients(&expected).iter().enumerate() {
                        let what = format!("{what}: gradient {side}");
                        assert_close(&got.grads[side], of_side, tolerance, 0.0, &what);
                    }
                }
            }
        }
    }
}

in_both_precisions! {
    a_certain_anchor_has_the_value_of_its_closed_form
    certain_anchors_keep_the_precision_of_their_gradients
}
