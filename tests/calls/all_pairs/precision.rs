//! Distances are those of the rows, however close these are and wherever they lie; and so are the
//! gradients of close pairs.

use drlim::loss::Reduction;
use drlim::{Graph, Similar};

use super::batch::Batch;
use super::serial;
use crate::support::{Element, Random, tiers};

/// The gradient of close pairs is as good as that of differences, however far they are from the
/// origin and from the other rows.
fn close_pairs_keep_their_precision<T: Element>() {
    let (n, d) = (96, 33);
    for spread in [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6] {
        for origin in [0.0, 1.0, 1000.0] {
            let mut random = Random::new(4);
            let center: Vec<f64> = (0..n / 8 * d).map(|_| random.between(-3.0, 3.0)).collect();
            let batch = Batch::<T>::new([n, d], |at| {
                let (row, k) = (at / d, at % d);
                origin + center[row / 8 * d + k] + random.between::<f64>(-spread, spread)
            });
            // Eight rows a cluster, all of one class: only the pull within clusters is there, and
            // each of its elements must be right relative to the terms of its own cluster.
            let classes: Vec<i64> = (0..n as i64).map(|i| i / 8).collect();
            let expected = batch.expected(Reduction::Sum, Similar::Labels(&classes));
            let epsilon = T::EPSILON.to_f64();
            for isa in tiers() {
                let similar = Similar::Labels(&classes);
                let (_, grad) = batch.run(&serial(isa), Reduction::Sum, similar);
                for (cluster, expected) in grad.chunks(8 * d).zip(expected.grad.chunks(8 * d)) {
                    let largest = expected.iter().fold(0.0_f64, |max, (_, size)| max.max(*size));
                    for (got, (expected, _)) in cluster.iter().zip(expected) {
                        let error = (got.to_f64() - expected).abs();
                        // Products of rows as far from the mean as a thousand times a distance
                        // lose three digits, closer pairs none.
                        let allowed = 4000.0 * epsilon * largest;
                        assert!(
                            error <= allowed,
                            "spread {spread} at {origin} on {isa}: {got}, expected {expected}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn close_pairs_of_far_clusters_keep_the_precision_of_their_gradient() {
    close_pairs_keep_their_precision::<f32>();
    close_pairs_keep_their_precision::<f64>();
}

/// The value of two rows is their squared distance, exactly where that can be formed exactly.
#[test]
fn distances_that_cancel_in_products_are_exact() {
    let similar = Similar::Labels(&[1, 1]);
    let value = |x: f32, y: f32, isa| {
        let batch = Batch::<f32> { z: vec![x, 0.0, y, 0.0], shape: [2, 2] };
        let (outcome, grad) = batch.run(&serial(isa), Reduction::Sum, similar);
        assert_eq!(grad, [x - y, 0.0, y - x, 0.0], "{x} and {y} on {isa}");
        outcome.value
    };
    for isa in tiers() {
        assert_eq!(value(512695.0, 512804.0, isa), 109.0 * 109.0 / 2.0);
        assert_eq!(value(1e18, 1e18, isa), 0.0);
        assert_eq!(value(3.0, 3.0, isa), 0.0);
        let tiny = value(3e-18, 5e-18, isa);
        assert!((tiny / 2e-36 - 1.0).abs() < 1e-5, "{tiny:e}");
        let huge = value(1e18, 3e18, isa);
        assert!((huge / 2e36 - 1.0).abs() < 1e-5, "{huge:e}");
    }
}

/// Gradients are off by roundings of their rows' distances from the mean: rows near it, which are rare, gain
/// nothing from the others.
fn rows_near_the_mean_keep_their_precision<T: Element>() {
    let (n, d) = (300, 33);
    let near = [1, 2];
    let mut random = Random::new(5);
    let batch = Batch::<T>::new([n, d], |at| match at / d {
        row if near.contains(&row) => random.between(-1e-2, 1e-2),
        row if row % 2 == 0 => 1.0,
        _ => -1.0,
    });
    let graph = Graph::from_pairs(n, &[(1, 2)]).unwrap();
    let similar = Similar::Graph(&graph);
    let expected = batch.expected(Reduction::Sum, similar);
    for isa in tiers() {
        let (_, grad) = batch.run(&serial(isa), Reduction::Sum, similar);
        for row in near {
            for at in row * d..(row + 1) * d {
                let error = (grad[at].to_f64() - expected.grad[at].0).abs();
                let from_mean = near.map(|row| batch.z[row * d + at % d].to_f64().abs());
                let allowed = 8.0 * T::EPSILON.to_f64() * (from_mean[0] + from_mean[1] + 1e-2);
                assert!(error <= allowed, "{at} on {isa}: {error:e} off, allowed {allowed:e}");
            }
        }
    }
}

#[test]
fn gradients_of_rows_near_the_mean_keep_their_precision() {
    rows_near_the_mean_keep_their_precision::<f32>();
    rows_near_the_mean_keep_their_precision::<f64>();
}
