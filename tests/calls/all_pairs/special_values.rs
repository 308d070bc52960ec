//! NaN, infinities, rows that coincide, and rows without elements.

use drlim::batch::{AllPairsScratch, all_pairs};
use drlim::loss::{Objective, Reduction};
use drlim::{Mat, MatMut, Similar};

use super::batch::Batch;
use super::{MARGIN, serial};
use crate::support::oracle::squared_distance;
use crate::support::{Element, labels, tiers};

fn collapsed<T: Element>() {
    for at in [0.0, 0.1, -1e6] {
        let batch = Batch::<T>::new([150, 20], |_| at);
        let classes = labels(150, 2);
        for isa in tiers() {
            let similar = Similar::Labels(&classes);
            let (outcome, grad) = batch.run(&serial(isa), Reduction::Sum, similar);
            let dissimilar = (outcome.pairs - outcome.similar) as f64;
            assert_eq!(outcome.value, dissimilar * MARGIN * MARGIN / 2.0, "at {at} on {isa}");
            assert!(grad.iter().all(|&g| g == T::ZERO), "at {at} on {isa}");
        }
    }
}

#[test]
fn a_collapsed_batch_costs_the_margin_and_has_no_gradient() {
    collapsed::<f32>();
    collapsed::<f64>();
}

/// With `poison` at one coordinate of a row every output depends on it through a dissimilar pair; the
/// rows of a class that has only similar pairs with it depend on it in that coordinate alone.
fn poisoned<T: Element>(d: usize) {
    let (n, row, k) = (70, 37, d / 2);
    for isa in tiers() {
        let mut batch = Batch::<T>::random([n, d], 5);
        batch.z[row * d + k] = T::NAN;
        let one_class = vec![0; n];
        let (outcome, grad) = batch.run(&serial(isa), Reduction::Sum, Similar::Labels(&one_class));
        assert!(outcome.value.is_nan());
        for (at, g) in grad.iter().enumerate() {
            assert_eq!(g.is_nan(), at % d == k, "similar pairs: gradient {at} is {g} on {isa}");
        }

        // Left out, it leaves nothing behind.
        let mut left_out = labels(n, 5);
        left_out[row] = 100;
        let similar = Similar::LabelsIgnoring { labels: &left_out, ignored: 100 };
        let (outcome, grad) = batch.run(&serial(isa), Reduction::BalancedNonZero, similar);
        assert!(outcome.value.is_finite(), "{outcome:?} on {isa}");
        assert!(grad[row * d..][..d].iter().all(|&g| g == T::ZERO), "the row left out on {isa}");
        assert!(grad.iter().all(|g| g.is_finite()), "a row left out is found in others on {isa}");
        let mut without = batch.z.clone();
        without[row * d + k] = T::ZERO;
        let (same_value, same_grad) = Batch { z: without, shape: [n, d] }.run(
            &serial(isa),
            Reduction::BalancedNonZero,
            similar,
        );
        assert_eq!(outcome, same_value);
        let close = |(a, b): (&T, &T)| (*a - *b).abs() <= T::from_f64(1e-5);
        assert!(grad.iter().zip(&same_grad).all(close));

        // A dissimilar pair's slope is NaN, and every row is in one.
        let classes = labels(n, 5);
        let (_, grad) = batch.run(&serial(isa), Reduction::Sum, Similar::Labels(&classes));
        let of_others = (0..n).filter(|&i| classes[i] != classes[row]);
        assert!(of_others.flat_map(|i| &grad[i * d..][..d]).all(|g| g.is_nan()), "on {isa}");

        // At infinity a dissimilar pair is far apart, and a similar one pulls without end.
        batch.z[row * d + k] = T::INFINITY;
        let (_, grad) = batch.run(&serial(isa), Reduction::Sum, Similar::Labels(&one_class));
        for (at, &g) in grad.iter().enumerate() {
            let expected = match (at / d == row, at % d == k) {
                (true, true) => g == T::INFINITY,
                (false, true) => g == -T::INFINITY,
                _ => g.is_finite(),
            };
            assert!(expected, "gradient {at} is {g} on {isa}");
        }
        let apart: Vec<i64> = (0..n as i64).collect();
        let (_, grad) = batch.run(&serial(isa), Reduction::Sum, Similar::Labels(&apart));
        assert!(grad[row * d..][..d].iter().all(|&g| g == T::ZERO), "the row far away on {isa}");
        assert!(grad.iter().all(|g| g.is_finite()), "a slope of 0 times infinity on {isa}");
    }
}

#[test]
fn nan_and_infinity_reach_what_depends_on_them_and_nothing_else() {
    // Up to three elements a row take another course, to the same end.
    for d in [1, 2, 3, 20] {
        poisoned::<f32>(d);
        poisoned::<f64>(d);
    }
}

#[test]
fn rows_without_elements_are_coincident() {
    let loss = f32::contrastive(MARGIN);
    let objective = Objective::sum(&*loss);
    let z = Mat::new(&[], 5, 0).unwrap();
    let similar = Similar::Labels(&[0, 1, 2, 3, 3]);
    for isa in tiers() {
        let grad = Some(MatMut::new(&mut [], 5, 0).unwrap());
        let mut scratch = AllPairsScratch::new();
        let outcome = all_pairs(&serial(isa), &objective, z, similar, grad, &mut scratch).unwrap();
        assert_eq!(outcome.value, 9.0 / 2.0);
    }
    assert_eq!(squared_distance(&[], &[]), 0.0);
}

/// A factor that is not finite turns slopes of 0 into NaN, so nothing may be skipped then.
#[test]
fn factors_that_are_not_finite_reach_every_pair() {
    let (n, d) = (64, 20);
    let batch = Batch::<f32>::new([n, d], |at| if at / d < n / 2 { 0.0 } else { 100.0 });
    let labels: Vec<i64> = (0..n as i64).map(|i| i / (n as i64 / 2)).collect();
    for isa in tiers() {
        let reduction = Reduction::Factors { similar: 1.0, dissimilar: f64::NAN };
        let (_, grad) = batch.run(&serial(isa), reduction, Similar::Labels(&labels));
        assert!(grad.iter().all(|g| g.is_nan()), "{isa}");
    }
}

/// A loss whose slope is 1 for every pair, at no cost but 1.
struct Constant;

impl drlim::loss::BlockLoss<f32> for Constant {
    fn eval_block(&self, _: drlim::Isa, d2: &mut [f32], _: &[bool], values: &mut [f32]) {
        d2.fill(1.0);
        values.fill(1.0);
    }
}

#[test]
fn a_mean_over_non_zero_pairs_overflows_no_sooner_than_the_mean() {
    // The sum over 255 pairs overflows, their mean does not.
    let mut batch = Batch::<f32>::new([256, 4], |_| 0.0);
    batch.z[0] = 1e37;
    let labels = vec![0; 256];
    for isa in tiers() {
        let run = |reduction| {
            batch.run_with(&Constant, &serial(isa), reduction, Similar::Labels(&labels)).1
        };
        let (mean, non_zero) = (run(Reduction::Mean), run(Reduction::MeanNonZero));
        assert!(mean[0].is_finite() && mean[0] > 1e34);
        assert!((non_zero[0] - mean[0]).abs() <= 1e-5 * mean[0], "{} on {isa}", non_zero[0]);
    }
}
