//! Gradients against central differences of the twin.
//!
//! Draws that once failed lie in `derivatives.proptest-regressions`.

use drlim::Isa;
use drlim::batch::Distance;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::FileFailurePersistence;

use crate::distances::batch::Batch;
use crate::distances::twin::{Twin, dot};
use crate::distances::{DISTANCES, serial};
use crate::support::element::wide;
use crate::support::{Element, oracle, tiers};

/// Pairs of rows away from d = 0 and |a| = 0, where a distance has no derivative.
#[derive(Clone, Debug)]
struct Draw {
    isa: Isa,
    distance: Distance,
    cols: usize,
    pairs: Vec<DrawnPair>,
}

#[derive(Clone, Debug)]
struct DrawnPair {
    a: Vec<f64>,
    b: Vec<f64>,
    upstream: f64,
}

/// A row of a length between 0.5 and 4.
fn row(cols: usize) -> impl Strategy<Value = Vec<f64>> {
    (vec(-1.0..1.0, cols), 0.5..4.0).prop_map(move |(direction, length)| {
        let norm = dot(&direction, &direction).sqrt();
        if norm < 1e-3 {
            return vec![length / (cols as f64).sqrt(); cols];
        }
        direction.into_iter().map(|x| x / norm * length).collect()
    })
}

fn pair(cols: usize) -> impl Strategy<Value = DrawnPair> {
    (row(cols), row(cols), -2.0..2.0)
        .prop_filter("no derivative at d = 0", |(a, b, _)| oracle::squared_distance(a, b) > 0.01)
        .prop_map(|(a, b, upstream)| DrawnPair { a, b, upstream })
}

fn draw() -> impl Strategy<Value = Draw> {
    (select(tiers()), select(&DISTANCES[..]), 1..=40_usize).prop_flat_map(
        |(isa, distance, cols)| {
            vec(pair(cols), 1..=20).prop_map(move |pairs| Draw { isa, distance, cols, pairs })
        },
    )
}

fn gradients_are_central_differences<T: Element>(draw: &Draw) {
    let numbers = |of: fn(&DrawnPair) -> &[f64]| -> Vec<T> {
        draw.pairs.iter().flat_map(of).map(|&x| T::from_f64(x)).collect()
    };
    let (a, b) = (numbers(|pair| &pair.a), numbers(|pair| &pair.b));
    let upstream = numbers(|pair| std::slice::from_ref(&pair.upstream));
    let mut batch = Batch::of(draw.cols, &a, &b, &upstream);
    batch.run(&serial(draw.isa), draw.distance);

    let twin = Twin::of::<T>(draw.distance);
    for i in 0..upstream.len() {
        let (a, b) = (wide(batch.a.row(i)), wide(batch.b.row(i)));
        for (side, (x, y)) in [(&a, &b), (&b, &a)].into_iter().enumerate() {
            let tolerances = twin.gradient_tolerance(x, y);
            for k in 0..draw.cols {
                let numeric = central_difference(twin, x, y, k);
                let expected = upstream[i].to_f64() * numeric;
                let got = batch.grads[side].row(i)[k].to_f64();
                // Third derivatives are below 3/d² < 300 and, of a cosine, 15/|a|³ < 120, so a step
                // of 1e-5 truncates by less than 300/6 * 1e-10; values up to 16 round by 1e-15.
                let allowed = 2.0 * (tolerances[k] + 1e-8);
                assert!(
                    (got - expected).abs() <= allowed,
                    "{} {:?} on {}: side {side} [{i}][{k}] is {got}, the central difference \
                     {expected}",
                    T::NAME,
                    draw.distance,
                    draw.isa
                );
            }
        }
    }
}

/// The central difference of the twin's value along coordinate k of the first row.
fn central_difference(twin: Twin, x: &[f64], y: &[f64], k: usize) -> f64 {
    let step = 1e-5;
    let value = |step: f64| {
        let mut moved = x.to_vec();
        moved[k] += step;
        twin.value(&moved, y)
    };
    (value(step) - value(-step)) / (2.0 * step)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource(
            "proptest-regressions",
        ))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_gradient_is_the_derivative_of_the_formula(draw in draw()) {
        gradients_are_central_differences::<f32>(&draw);
        gradients_are_central_differences::<f64>(&draw);
    }
}
