//! What is out of a loss's reach is not measured, and nobody can tell.

use drlim::MatMut;
use drlim::Similar;
use drlim::batch::{AllPairsScratch, all_pairs};
use drlim::loss::{BlockLoss, Objective, Reduction};

use super::batch::Batch;
use super::quiet::Quiet;
use super::serial;
use crate::support::element::same;
use crate::support::{Element, Random, labels, tiers};

/// Classes on a line, each within 1e-3.
fn on_a_line<T: Element>(labels: &[i64], d: usize, apart: f64) -> Batch<T> {
    let mut random = Random::new(9);
    Batch::new([labels.len(), d], |at| {
        let center = if at % d == 0 { labels[at / d] as f64 * apart } else { 0.0 };
        center + random.between::<f64>(-1e-3, 1e-3)
    })
}

fn skipping_changes_nothing<T: Element>()
where
    Quiet<T>: BlockLoss<T>,
{
    let labels = labels(400, 16);
    let similar = Similar::Labels(&labels);
    let [telling, quiet] = [true, false].map(|tells| Quiet::<T>::new().telling_reach(tells));
    for d in [2, 3, 20] {
        // Neighbouring classes lie just within reach, just out of it, or far away.
        for apart in [0.5, 0.999, 1.0, 1.001, 1.5, 10.0] {
            for poison in [T::ZERO, T::NAN, T::INFINITY] {
                let mut batch = on_a_line::<T>(&labels, d, apart);
                batch.z[50 * d] += poison;
                for isa in tiers() {
                    let run =
                        |loss| batch.run_with(loss, &serial(isa), Reduction::Balanced, similar);
                    let (skipped, grad) = run(&telling);
                    let (whole, expected) = run(&quiet);
                    let case = format!("{apart} apart, {poison}, D = {d} on {isa}");
                    assert!(same(skipped.value, whole.value), "{case}");
                    assert_eq!(skipped.pairs, whole.pairs, "{case}");
                    assert_eq!(skipped.active, whole.active, "{case}");
                    assert!(grad.iter().zip(&expected).all(|(&g, &e)| same(g, e)), "{case}");
                }
            }
        }
    }
}

#[test]
fn skipping_what_is_out_of_reach_changes_no_bit() {
    skipping_changes_nothing::<f32>();
    skipping_changes_nothing::<f64>();
}

#[test]
fn far_from_the_origin_nothing_active_is_skipped() {
    // Means of the classes are rounded by more than the classes are wide.
    let far = f64::from(1 << 20);
    let offsets = [0.0, 0.125, 1.125, 1.25];
    let labels: Vec<i64> = (0..64).map(|i| i / 32).collect();
    let similar = Similar::Labels(&labels);
    for d in [1, 2, 5] {
        let batch = Batch::<f32>::new([64, d], |at| far + offsets[at / d / 16]);
        let margin = 1.1 * (d as f64).sqrt();
        let [telling, quiet] = [true, false]
            .map(|tells| Quiet::<f32>::of(f32::contrastive(margin)).telling_reach(tells));
        for isa in tiers() {
            let run = |loss| batch.run_with(loss, &serial(isa), Reduction::Sum, similar);
            let ((skipped, grad), (whole, expected)) = (run(&telling), run(&quiet));
            assert!(whole.sums.dissimilar.active > 0);
            assert_eq!(skipped, whole, "D = {d} on {isa}");
            assert_eq!(grad, expected, "D = {d} on {isa}");
        }
    }
}

#[test]
fn where_squares_underflow_nothing_active_is_skipped() {
    // Two classes of 128 rows, each at two places, whose distances are so small that their squares are not.
    let labels: Vec<i64> = (0..256).map(|i| i / 128).collect();
    let batch = Batch::<f32>::new([256, 4], |at| match (at / 4, at % 4) {
        (i, 0) if i < 128 => 2.5e-23 * (1 - i % 2) as f64,
        (i, 0) => 1.6e-22 - 2.5e-23 * (1 - i % 2) as f64,
        _ => 0.0,
    });
    let loss = || Box::new(drlim::loss::LinearHinge::new(0.0, 1.2e-22_f32).unwrap());
    let [telling, quiet] = [true, false].map(|tells| Quiet::<f32>::of(loss()).telling_reach(tells));
    for isa in tiers() {
        let similar = Similar::Labels(&labels);
        let run = |loss| batch.run_with(loss, &serial(isa), Reduction::Sum, similar);
        let ((skipped, _), (whole, _)) = (run(&telling), run(&quiet));
        assert!(whole.sums.dissimilar.active > 0);
        assert_eq!(skipped, whole, "on {isa}");
    }
}

fn skips_by_distance<T: Element>(d: usize)
where
    Quiet<T>: BlockLoss<T>,
{
    let n = 400;
    let all = (n * (n - 1) / 2) as u64;
    let labels = labels(n, 16);
    let similar = Similar::Labels(&labels);
    for (isa, gradient) in tiers().into_iter().flat_map(|isa| [(isa, false), (isa, true)]) {
        let case = format!("{d} columns in {} on {isa}, gradient {gradient}", T::NAME);
        let seen = |apart: f64, tells: bool| {
            let batch = on_a_line::<T>(&labels, d, apart);
            let loss = Quiet::<T>::new().telling_reach(tells);
            let objective = Objective::sum(&loss);
            let mut grad = vec![T::NAN; n * d];
            let to = gradient.then(|| MatMut::new(&mut grad, n, d).unwrap());
            let mut scratch = AllPairsScratch::new();
            let outcome = all_pairs(&serial(isa), &objective, batch.z(), similar, to, &mut scratch);
            assert_eq!(outcome.unwrap().pairs, all, "{case}");
            loss.seen()
        };
        // What fills tiles up is seen as well.
        let whole = seen(0.01, false);
        assert!(whole >= all, "{case}: only {whole} of {all} pairs are seen");
        assert_eq!(seen(0.01, true), whole, "{case}: near classes");
        assert_eq!(seen(10.0, false), whole, "{case}: no reach is known");
        let far = seen(10.0, true);
        assert!(
            far < all / 2,
            "{case}: {far} of {all} pairs are seen, though most are out of reach"
        );
    }
}

#[test]
fn pairs_out_of_reach_are_not_even_measured() {
    skips_by_distance::<f32>(20);
    skips_by_distance::<f64>(20);
}

#[test]
fn planar_pairs_out_of_reach_are_not_even_measured() {
    for d in 1..=3 {
        skips_by_distance::<f32>(d);
        skips_by_distance::<f64>(d);
    }
}
