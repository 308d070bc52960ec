//! The comparison of a call with a scalar statement of what another library computes.
//!
//! A statement is smooth but for the hinges and choices that it makes through [`Kinks`]; batches are
//! drawn until none of them is near.

#![forbid(unsafe_code)]

use std::cell::Cell;

use drlim::{Cx, Mat, Par};

use crate::support::element::wide;
use crate::support::reference::tolerance;
use crate::support::{Element, Random, tiers};

/// The step of differences, for elements up to 1.
const STEP: f64 = 2e-4;

/// How near a batch may be to a kink, for elements up to 1: no difference reaches across.
const OFF_KINKS: f64 = 0.01;

/// The kinks of a scalar statement: how near it is to one, and on which sides of its hinges.
pub struct Kinks {
    nearest: Cell<f64>,
    sides: Cell<[bool; 2]>,
}

impl Kinks {
    pub fn new() -> Self {
        Kinks { nearest: Cell::new(f64::INFINITY), sides: Cell::default() }
    }

    /// max(0, x)
    pub fn relu(&self, x: f64) -> f64 {
        let [below, above] = self.sides.get();
        self.sides.set([below || x < 0.0, above || x > 0.0]);
        self.nearest.set(self.nearest.get().min(x.abs()));
        x.max(0.0)
    }

    /// Whether a < b.
    pub fn less(&self, a: f64, b: f64) -> bool {
        self.nearest.set(self.nearest.get().min((a - b).abs()));
        a < b
    }

    pub fn smallest(&self, of: impl IntoIterator<Item = f64>) -> f64 {
        of.into_iter().fold(f64::INFINITY, |min, x| {
            let less = if min == f64::INFINITY { x < min } else { self.less(x, min) };
            if less { x } else { min }
        })
    }

    pub fn largest(&self, of: impl IntoIterator<Item = f64>) -> f64 {
        -self.smallest(of.into_iter().map(|x| -x))
    }

    /// Whether no kink is near, and hinges, where there are any, cut off some terms and not others.
    fn fit(&self, size: f64) -> bool {
        let [below, above] = self.sides.get();
        self.nearest.get() > OFF_KINKS * size.max(1.0) && below == above
    }
}

/// Value and gradient by all rows.
pub struct Got<T> {
    pub value: f64,
    pub grad: Vec<T>,
}

/// Compares a call with another library's formula on a random batch of `shape`, with elements
/// between -size and size, on every tier. `row` names the row of the guide.
pub fn compare<T: Element>(
    row: &str,
    shape: [usize; 2],
    size: f64,
    ours: impl Fn(&Cx, Mat<T>) -> Got<T>,
    theirs: impl Fn(&[&[f64]], &Kinks) -> f64,
) {
    let [n, cols] = shape;
    let statement = |x: &[f64], kinks: &Kinks| {
        let rows: Vec<&[f64]> = x.chunks(cols).collect();
        theirs(&rows, kinks)
    };
    let draw = |seed| {
        let mut random = Random::new(seed);
        (0..n * cols).map(|_| random.between::<T>(-size, size)).collect::<Vec<_>>()
    };
    let fits = |x: &Vec<T>| {
        let kinks = Kinks::new();
        statement(&wide(x), &kinks);
        kinks.fit(size)
    };
    let x = (0..20_000).map(draw).find(fits).unwrap_or_else(|| panic!("{row}: all draws at kinks"));

    // Central differences of sixth order: their error is below that of rounding.
    let mut point = wide(&x);
    let value = statement(&point, &Kinks::new());
    let mut grad = vec![0.0; point.len()];
    for i in 0..point.len() {
        let center = point[i];
        let mut at = |steps: f64| {
            point[i] = center + steps * STEP * size;
            statement(&point, &Kinks::new())
        };
        let pairs = [1.0, 2.0, 3.0].map(|steps| at(steps) - at(-steps));
        grad[i] = (45.0 * pairs[0] - 9.0 * pairs[1] + pairs[2]) / (60.0 * STEP * size);
        point[i] = center;
    }
    let largest = grad.iter().fold(0.0_f64, |max, x| max.max(x.abs()));
    assert!(value > 0.0 && largest > 0.0, "{row}: nothing to compare");

    for isa in tiers() {
        let got = ours(&Cx { isa, par: Par::Rayon }, Mat::new(&x, n, cols).unwrap());
        let close = |what: &str, got: f64, expected: f64, of: f64| {
            let error = (got - expected).abs();
            assert!(
                error <= tolerance::<T>() * of,
                "{row} on {isa} in {}: {what} is {got}, expected {expected}, off by {error:e}",
                T::NAME
            );
        };
        close("value", got.value, value, value);
        assert_eq!(got.grad.len(), grad.len(), "{row}");
        for (i, (got, expected)) in got.grad.iter().zip(&grad).enumerate() {
            close(&format!("gradient {i}"), got.to_f64(), *expected, largest);
        }
    }
}
