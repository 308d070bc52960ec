//! Properties of `batch::rows` that any draw must have: gradients are the central differences of
//! the scalar twin, the two sides can change places, values add up over parts of a batch, and only
//! differences count.
//!
//! Draws keep off the kinks d = 0 and d = m by construction: each pair gets a direction and a
//! distance. Draws that once failed lie in `rows_properties.proptest-regressions`.

#![forbid(unsafe_code)]

mod common;

use common::element::wide;
use common::{Element, oracle, tiers};
use drlim::batch::{RowsOut, rows};
use drlim::loss::{Objective, Outcome};
use drlim::{Cx, Isa, Mat, MatMut, Par};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::FileFailurePersistence;

/// A batch of pairs; b_i = a_i + distance_i m direction_i.
#[derive(Clone, Debug)]
struct Draw {
    isa: Isa,
    cols: usize,
    margin: f64,
    pairs: Vec<DrawnPair>,
}

#[derive(Clone, Debug)]
struct DrawnPair {
    a: Vec<f64>,
    b: Vec<f64>,
    similar: bool,
}

fn pair(cols: usize, margin: f64) -> impl Strategy<Value = DrawnPair> {
    let distance = prop_oneof![0.05..0.95, 1.05..3.0];
    (vec(-2.0..2.0, cols), vec(-1.0..1.0, cols), distance, any::<bool>()).prop_map(
        move |(a, mut direction, distance, similar)| {
            let norm = direction.iter().map(|x: &f64| x * x).sum::<f64>().sqrt();
            if norm < 1e-3 {
                direction = vec![(cols as f64).sqrt().recip(); cols];
            } else {
                direction.iter_mut().for_each(|x| *x /= norm);
            }
            let b = a.iter().zip(&direction).map(|(a, u)| a + distance * margin * u).collect();
            DrawnPair { a, b, similar }
        },
    )
}

fn draw(most_pairs: usize) -> impl Strategy<Value = Draw> {
    (select(tiers()), 1..=40_usize, 0.5..2.0).prop_flat_map(move |(isa, cols, margin)| {
        vec(pair(cols, margin), 1..=most_pairs).prop_map(move |pairs| Draw {
            isa,
            cols,
            margin,
            pairs,
        })
    })
}

/// The draw in the precision of `T`, and what a call makes of it.
struct Batch<T> {
    isa: Isa,
    cols: usize,
    margin: f64,
    a: Vec<T>,
    b: Vec<T>,
    similar: Vec<bool>,
}

struct Result<T> {
    outcome: Outcome,
    grad_a: Vec<T>,
    grad_b: Vec<T>,
}

impl<T: Element> Batch<T> {
    fn new(draw: &Draw) -> Self {
        let numbers = |of: fn(&DrawnPair) -> &Vec<f64>| {
            draw.pairs.iter().flat_map(of).map(|&x| T::from_f64(x)).collect()
        };
        Batch {
            isa: draw.isa,
            cols: draw.cols,
            margin: draw.margin,
            a: numbers(|pair| &pair.a),
            b: numbers(|pair| &pair.b),
            similar: draw.pairs.iter().map(|pair| pair.similar).collect(),
        }
    }

    fn run(&self, a: &[T], b: &[T], similar: &[bool]) -> Result<T> {
        let (n, cols) = (similar.len(), self.cols);
        let loss = T::contrastive(self.margin);
        let (mut grad_a, mut grad_b) = (vec![T::NAN; n * cols], vec![T::NAN; n * cols]);
        let out = RowsOut::grads(
            MatMut::new(&mut grad_a, n, cols).unwrap(),
            MatMut::new(&mut grad_b, n, cols).unwrap(),
        );
        let (a, b) = (Mat::new(a, n, cols).unwrap(), Mat::new(b, n, cols).unwrap());
        let cx = Cx { isa: self.isa, par: Par::Serial };
        let outcome = rows(&cx, &Objective::sum(&*loss), a, b, similar, out).unwrap();
        Result { outcome, grad_a, grad_b }
    }

    /// A bound on the rounding of a gradient's entry, d times the slope and more: m, or d itself.
    fn rounding(&self) -> f64 {
        4.0 * (self.cols as f64 + 8.0) * T::EPSILON.to_f64() * 3.0 * self.margin
    }
}

/// The central difference of the twin's sum along one coordinate of `a` or `b`.
fn central_difference(
    twin: oracle::Contrastive,
    [a, b]: [&[f64]; 2],
    similar: bool,
    k: usize,
) -> f64 {
    let step = 1e-5 * twin.margin;
    let value = |step: f64| {
        let mut moved = a.to_vec();
        moved[k] += step;
        twin.pair(&moved, b, similar).value
    };
    (value(step) - value(-step)) / (2.0 * step)
}

fn gradients_are_central_differences<T: Element>(draw: &Draw) {
    let batch = Batch::<T>::new(draw);
    let result = batch.run(&batch.a, &batch.b, &batch.similar);
    let twin = oracle::Contrastive {
        margin: T::from_f64(draw.margin).to_f64(),
        ..oracle::Contrastive::of::<T>(0.0)
    };
    // Along one coordinate the third derivative is below 3 m / d² < 1200 / m for d > m / 20, so
    // a step of 1e-5 m truncates by less than 1200/6 * 1e-10 m; the values round by 1e-16 m².
    let allowed = batch.rounding() + 1e-7 * draw.margin;
    for i in 0..draw.pairs.len() {
        let row = |of: &[T]| wide(&of[i * draw.cols..][..draw.cols]);
        let [a, b, grad_a, grad_b] =
            [&batch.a, &batch.b, &result.grad_a, &result.grad_b].map(|of| row(of));
        for k in 0..draw.cols {
            let similar = batch.similar[i];
            let by_a = central_difference(twin, [&a, &b], similar, k);
            let by_b = central_difference(twin, [&b, &a], similar, k);
            for (name, got, expected) in [("a", grad_a[k], by_a), ("b", grad_b[k], by_b)] {
                let error = (got - expected).abs();
                assert!(
                    error <= allowed,
                    "{} grad_{name}[{i}][{k}] is {got}, the central difference {expected}",
                    T::NAME
                );
            }
        }
    }
}

fn sides_can_change_places<T: Element>(draw: &Draw) {
    let batch = Batch::<T>::new(draw);
    let straight = batch.run(&batch.a, &batch.b, &batch.similar);
    let swapped = batch.run(&batch.b, &batch.a, &batch.similar);
    assert_eq!(straight.outcome, swapped.outcome);
    assert_eq!(straight.grad_a, swapped.grad_b);
    assert_eq!(straight.grad_b, swapped.grad_a);
}

fn parts_add_up<T: Element>(draw: &Draw, at: usize) {
    let batch = Batch::<T>::new(draw);
    let whole = batch.run(&batch.a, &batch.b, &batch.similar);
    let at = at % (draw.pairs.len() + 1);
    let (a, b) = (batch.a.split_at(at * draw.cols), batch.b.split_at(at * draw.cols));
    let similar = batch.similar.split_at(at);
    let first = batch.run(a.0, b.0, similar.0);
    let second = batch.run(a.1, b.1, similar.1);

    let parts = first.outcome.value + second.outcome.value;
    let difference = (whole.outcome.value - parts).abs();
    // Up to 16 lanes of two pairs or more: additions, each of which rounds once, of positive values.
    let allowed = draw.pairs.len() as f64 * T::EPSILON.to_f64() * parts;
    assert!(difference <= allowed, "{} instead of {parts}", whole.outcome.value);
    let counts = |outcome: Outcome| [outcome.pairs, outcome.similar, outcome.active];
    let (one, two) = (counts(first.outcome), counts(second.outcome));
    assert_eq!(counts(whole.outcome), [0, 1, 2].map(|i| one[i] + two[i]));
    if draw.cols > 3 {
        // Each row is computed by itself: to the bit.
        assert_eq!(whole.grad_a, [first.grad_a, second.grad_a].concat());
        assert_eq!(whole.grad_b, [first.grad_b, second.grad_b].concat());
    }
}

fn only_differences_count<T: Element>(draw: &Draw, shift: f64) {
    let batch = Batch::<T>::new(draw);
    let still = batch.run(&batch.a, &batch.b, &batch.similar);
    let moved = |of: &[T]| -> Vec<T> { of.iter().map(|&x| x + T::from_f64(shift)).collect() };
    let moved = batch.run(&moved(&batch.a), &moved(&batch.b), &batch.similar);

    // Coordinates, up to 2 + 3 m in size, and their sums with the shift round by half an epsilon
    // each, in both matrices; d by sqrt(D) times that at most, and the slope, up to 20 at d = m/20,
    // by 20 times its relative change.
    let rounding = T::EPSILON.to_f64() * (2.0 + 3.0 * draw.margin + shift.abs());
    let distance = (draw.cols as f64).sqrt() * rounding + batch.rounding();
    let pairs = draw.pairs.len() as f64;
    let allowed = pairs * 3.0 * draw.margin * 2.0 * distance;
    let difference = (still.outcome.value - moved.outcome.value).abs();
    assert!(difference <= allowed, "{} instead of {}", moved.outcome.value, still.outcome.value);
    for (still, moved) in still.grad_a.iter().zip(&moved.grad_a) {
        let difference = (still.to_f64() - moved.to_f64()).abs();
        assert!(difference <= 40.0 * distance, "{moved} instead of {still}");
    }
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
    fn the_gradient_is_the_derivative_of_the_formula(draw in draw(20)) {
        gradients_are_central_differences::<f32>(&draw);
        gradients_are_central_differences::<f64>(&draw);
    }

    #[test]
    fn swapping_both_sides_swaps_their_gradients(draw in draw(40)) {
        sides_can_change_places::<f32>(&draw);
        sides_can_change_places::<f64>(&draw);
    }

    #[test]
    fn the_sum_is_that_of_any_two_parts(draw in draw(60), at in any::<usize>()) {
        parts_add_up::<f32>(&draw, at);
        parts_add_up::<f64>(&draw, at);
    }

    #[test]
    fn moving_all_points_alike_changes_nothing(draw in draw(20), shift in -4.0..4.0) {
        only_differences_count::<f32>(&draw, shift);
        only_differences_count::<f64>(&draw, shift);
    }
}
