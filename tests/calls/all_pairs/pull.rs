//! Classes that a loss pulls by a constant are added up by their means: what comes out is what their
//! pairs would have given, and these are not measured.

use drlim::Similar;
use drlim::loss::{BlockLoss, Outcome, Reduction};

use super::batch::Batch;
use super::quiet::Quiet;
use super::{REDUCTIONS, serial};
use crate::support::element::same;
use crate::support::formulas::PairFormula;
use crate::support::{Element, Random, labels, tiers};

/// Classes in turn, each around a point of its own, 10 from that of the next one, and one row in seven
/// the same as another one of its class.
fn clusters<T: Element>([n, d]: [usize; 2], labels: &[i64], origin: f64, spread: f64) -> Batch<T> {
    let mut random = Random::new(20);
    let mut batch = Batch::new([n, d], |at| {
        let center = if at % d == 0 { 10.0 * labels[at / d] as f64 } else { 0.0 };
        origin + center + random.between::<f64>(-spread, spread)
    });
    for row in (7..n).step_by(7) {
        if let Some(twin) = (0..row).rev().find(|&other| labels[other] == labels[row]) {
            batch.z.copy_within(twin * d..(twin + 1) * d, row * d);
        }
    }
    batch
}

/// That the counts of two calls are the same, and their values up to rounding.
fn assert_alike<T: Element>(one: &Outcome, other: &Outcome, d: usize, case: &str) {
    let counts = |outcome: &Outcome| {
        let kinds = [outcome.sums.similar, outcome.sums.dissimilar];
        (outcome.similar, outcome.active, kinds.map(|kind| (kind.pairs, kind.active)))
    };
    assert_eq!(counts(one), counts(other), "{case}");
    let allowed = 8.0 * (d as f64 + 16.0) * T::EPSILON.to_f64() * other.value.abs();
    let error = (one.value - other.value).abs();
    assert!(error <= allowed, "{case}: {} and {}", one.value, other.value);
}

fn pulls_as_pairs_do<T: Element>()
where
    Quiet<T>: BlockLoss<T>,
{
    let [telling, quiet] = [true, false].map(|tells| Quiet::<T>::new().telling_pull(tells));
    let n = 165;
    let classes = labels(n, 5);
    for d in [1, 2, 3, 20, 130] {
        // Classes that push each other, and classes that do not.
        let mut mixed = Batch::<T>::random([n, d], 21);
        mixed.z.copy_within(0..d, 35 * d);
        // Products, by which the pairs are added up, lose some roundings times r/d.
        let apart = clusters([n, d], &classes, 0.0, 0.1);
        for (batch, rounding, what) in [(mixed, 100.0, "mixed"), (apart, 4000.0, "in clusters")] {
            for similar in [
                Similar::Labels(&classes),
                Similar::LabelsIgnoring { labels: &classes, ignored: -2 },
            ] {
                for (isa, reduction) in
                    tiers().into_iter().flat_map(|isa| REDUCTIONS.map(|reduction| (isa, reduction)))
                {
                    let case = format!("{what}, D = {d}, {}, {reduction:?} on {isa}", T::NAME);
                    let run = |loss| batch.run_with(loss, &serial(isa), reduction, similar);
                    let ((pulled, grad), (whole, expected)) = (run(&telling), run(&quiet));
                    assert_alike::<T>(&pulled, &whole, d, &case);
                    assert_ne!(pulled.sums.similar.active, pulled.similar, "{case}: no twins");
                    let sizes = batch.expected(reduction, similar).grad;
                    let largest = sizes.iter().fold(0.0_f64, |max, (_, size)| max.max(*size));
                    for (at, (got, expected)) in grad.iter().zip(&expected).enumerate() {
                        let error = (got.to_f64() - expected.to_f64()).abs();
                        let allowed = rounding * T::EPSILON.to_f64() * largest;
                        assert!(error <= allowed, "{case}: {at} is {got}, not {expected}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_class_pulled_as_one_gives_what_its_pairs_give() {
    pulls_as_pairs_do::<f32>();
    pulls_as_pairs_do::<f64>();
}

/// A loss whose similar pairs have the slope 4/Q = 8.
fn pulls_by_what_the_loss_says<T: Element>()
where
    Quiet<T>: BlockLoss<T>,
{
    let formula = PairFormula::Exponential { q: 0.5 };
    let [telling, quiet] =
        [true, false].map(|tells| Quiet::of(formula.loss::<T>()).telling_pull(tells));
    let (n, d) = (165, 20);
    let classes = labels(n, 5);
    let similar = Similar::Labels(&classes);
    let batch = clusters::<T>([n, d], &classes, 0.0, 0.1);
    let sizes = batch.expected(Reduction::Sum, similar).grad;
    let largest = 8.0 * sizes.iter().fold(0.0_f64, |max, (_, size)| max.max(*size));
    for isa in tiers() {
        for (reduction, factor) in
            [(Reduction::Sum, 1.0), (Reduction::Factors { similar: -3.0, dissimilar: 1.0 }, 3.0)]
        {
            let run = |loss| batch.run_with(loss, &serial(isa), reduction, similar);
            let ((pulled, grad), (whole, expected)) = (run(&telling), run(&quiet));
            let case = format!("{reduction:?}, {} on {isa}", T::NAME);
            assert_alike::<T>(&pulled, &whole, d, &case);
            for (got, expected) in grad.iter().zip(&expected) {
                let error = (got.to_f64() - expected.to_f64()).abs();
                let allowed = 4000.0 * T::EPSILON.to_f64() * factor * largest;
                assert!(error <= allowed, "{case}: {got}, not {expected}");
            }
        }
    }
    assert!(telling.seen() < quiet.seen());
}

#[test]
fn a_class_is_pulled_by_what_the_loss_says() {
    pulls_by_what_the_loss_says::<f32>();
    pulls_by_what_the_loss_says::<f64>();
}

/// Each element of the gradient is right relative to the terms of its own class, wherever that lies:
/// nothing is lost by its mean.
fn keeps_the_precision_of_differences<T: Element>()
where
    Quiet<T>: BlockLoss<T>,
{
    let loss = Quiet::<T>::new().telling_pull(true);
    let n = 96;
    let classes: Vec<i64> = (0..n as i64).map(|i| i / 32).collect();
    let similar = Similar::Labels(&classes);
    for d in [2, 20, 130] {
        for (origin, spread) in [0.0, 1.0, 1000.0, 1e6]
            .into_iter()
            .flat_map(|origin| [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6].map(|spread| (origin, spread)))
        {
            let batch = clusters::<T>([n, d], &classes, origin, spread);
            let expected = batch.expected(Reduction::Sum, similar);
            for isa in tiers() {
                let case = format!("{spread} at {origin}, D = {d}, {} on {isa}", T::NAME);
                let (outcome, grad) = batch.run_with(&loss, &serial(isa), Reduction::Sum, similar);
                assert_eq!(outcome.sums.similar.active, expected.sums.similar.active, "{case}");
                let error = (outcome.value - expected.value).abs();
                let allowed = (d as f64 + 16.0) * T::EPSILON.to_f64() * expected.value;
                assert!(error <= allowed, "{case}: {} not {}", outcome.value, expected.value);
                for (class, expected) in grad.chunks(32 * d).zip(expected.grad.chunks(32 * d)) {
                    let largest = expected.iter().fold(0.0_f64, |max, (_, size)| max.max(*size));
                    for (got, (expected, _)) in class.iter().zip(expected) {
                        let error = (got.to_f64() - expected).abs();
                        let allowed = 16.0 * T::EPSILON.to_f64() * largest;
                        assert!(error <= allowed, "{case}: {got}, expected {expected}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_class_pulled_as_one_keeps_the_precision_of_differences() {
    keeps_the_precision_of_differences::<f32>();
    keeps_the_precision_of_differences::<f64>();
}

/// Classes whose rows coincide, whose squares underflow or overflow, or of which a row is not finite:
/// whether these are pulled as one or not, what comes out is the same.
fn leaves_special_classes_alone<T: Element>()
where
    Quiet<T>: BlockLoss<T>,
{
    let [telling, quiet] = [true, false].map(|tells| Quiet::<T>::new().telling_pull(tells));
    let (n, d) = (99, 5);
    let classes = labels(n, 3);
    let least = T::MIN_POSITIVE.to_f64().sqrt();
    type Row<T> = fn(T, &mut [T]);
    let rows: [(&str, Row<T>); 6] = [
        ("coincides", |_, row| row.fill(T::from_f64(0.3))),
        ("underflows", |least, row| {
            row.iter_mut().for_each(|x| *x = *x * least * T::from_f64(0.1))
        }),
        ("is tiny", |least, row| row.iter_mut().for_each(|x| *x = *x * least * T::from_f64(100.0))),
        ("is huge", |least, row| row.iter_mut().for_each(|x| *x = *x / least)),
        ("has a NaN", |_, row| row[1] = T::NAN),
        ("is infinite", |_, row| row[2] = T::INFINITY),
    ];
    for ((what, change), at_all) in rows.into_iter().flat_map(|row| [(row, true), (row, false)]) {
        let mut batch = Batch::<T>::random([n, d], 22);
        let changed = (0..n).filter(|&i| classes[i] == classes[0] && (at_all || i == 0));
        for i in changed {
            change(T::from_f64(least), &mut batch.z[i * d..][..d]);
        }
        // Alone, and with classes that it pushes.
        let alone = Similar::LabelsIgnoring { labels: &vec![1; n], ignored: 0 };
        for similar in [Similar::Labels(&classes), alone] {
            for isa in tiers() {
                let case =
                    format!("a class that {what}, all of it: {at_all}, {} on {isa}", T::NAME);
                let run = |loss| batch.run_with(loss, &serial(isa), Reduction::Sum, similar);
                let ((pulled, grad), (whole, expected)) = (run(&telling), run(&quiet));
                assert_eq!(pulled.pairs, whole.pairs, "{case}");
                assert_eq!(pulled.active, whole.active, "{case}");
                let near = |a: f64, b: f64, size: f64| {
                    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-4 * size
                };
                assert!(near(pulled.value, whole.value, whole.value), "{case}");
                let largest = expected.iter().fold(0.0_f64, |max, x| {
                    if x.is_finite() { max.max(x.to_f64().abs()) } else { max }
                });
                for (at, (&got, &expected)) in grad.iter().zip(&expected).enumerate() {
                    let near = near(got.to_f64(), expected.to_f64(), largest);
                    assert!(near, "{case}: gradient {at} is {got}, not {expected}");
                }
            }
        }
    }
}

#[test]
fn classes_that_coincide_overflow_or_are_not_finite_are_what_their_pairs_are() {
    leaves_special_classes_alone::<f32>();
    leaves_special_classes_alone::<f64>();
}

/// A factor that is not finite makes something of what is 0, so that every pair counts.
#[test]
fn factors_that_are_not_finite_pull_pair_by_pair() {
    let [telling, quiet] = [true, false].map(|tells| Quiet::<f32>::new().telling_pull(tells));
    let batch = Batch::<f32>::random([66, 5], 23);
    let classes = labels(66, 2);
    for isa in tiers() {
        for factor in [f64::INFINITY, f64::NAN, 1e300] {
            let reduction = Reduction::Factors { similar: factor, dissimilar: 1.0 };
            let run =
                |loss| batch.run_with(loss, &serial(isa), reduction, Similar::Labels(&classes)).1;
            let both = run(&telling).into_iter().zip(run(&quiet));
            assert!(both.into_iter().all(|(one, other)| same(one, other)), "{factor} on {isa}");
        }
    }
}

fn measures_none_of_them<T: Element>(d: usize)
where
    Quiet<T>: BlockLoss<T>,
{
    let n = 1024;
    let classes: Vec<i64> = (0..n as i64).map(|i| i / 64).collect();
    let batch = clusters::<T>([n, d], &classes, 0.0, 0.1);
    let similar = Similar::Labels(&classes);
    for isa in tiers() {
        let seen = |reach: bool, pull: bool| {
            let loss = Quiet::<T>::new().telling_reach(reach).telling_pull(pull);
            let (outcome, _) = batch.run_with(&loss, &serial(isa), Reduction::Sum, similar);
            assert_eq!(outcome.pairs, (n * (n - 1) / 2) as u64);
            assert_eq!(outcome.similar, 16 * 64 * 63 / 2);
            // Once with the gradient, once without.
            loss.seen() / 2
        };
        let case = format!("D = {d}, {} on {isa}", T::NAME);
        // No tile holds two classes, and each class is out of reach of all others.
        assert_eq!(seen(true, true), 0, "{case}");
        assert!(seen(true, false) >= 16 * 64 * 63 / 2, "{case}");
        assert_eq!(seen(false, true), (n * (n - 64) / 2) as u64, "{case}");
    }
}

#[test]
fn pairs_that_are_pulled_as_one_are_not_even_measured() {
    for d in [1, 2, 3, 20] {
        measures_none_of_them::<f32>(d);
        measures_none_of_them::<f64>(d);
    }
}
