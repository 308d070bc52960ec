//! Rows of one set, or queries and keys, and a call on them.

use drlim::batch::{
    AnchorScratch, Anchors, AnchorsOut, CrossAnchorsOut, all_anchors, cross_anchors,
};
use drlim::loss::{AnchorObjective, AnchorOutcome, AnchorSums, BlockAnchorLoss};
use drlim::{Cx, Mat};

use super::case::{Case, Set};
use crate::support::element::wide;
use crate::support::{Element, Guarded, Random};

/// Queries and keys; of one set the rows stand on both sides.
#[derive(Clone)]
pub struct Batch<T> {
    pub z: [Vec<T>; 2],
    pub rows: [usize; 2],
    pub d: usize,
}

/// Rows of lengths from 0.7 to 0.98 in any direction, so that no dot product is beyond 1, and no two rows are
/// opposite.
pub fn random_rows<T: Element>(rows: usize, d: usize, random: &mut Random) -> Vec<T> {
    let row = |_| {
        let row: Vec<f64> = (0..d).map(|_| random.between(-1.0, 1.0)).collect();
        let length = row.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-3);
        let wanted: f64 = random.between(0.7, 0.98);
        row.into_iter().map(move |x| T::from_f64(x / length * wanted)).collect::<Vec<_>>()
    };
    (0..rows).flat_map(row).collect()
}

impl<T: Element> Batch<T> {
    /// One set of rows.
    pub fn one(z: Vec<T>, rows: usize, d: usize) -> Self {
        Batch { z: [z.clone(), z], rows: [rows; 2], d }
    }

    /// One set, some of whose rows are the same.
    pub fn random_one(rows: usize, d: usize, seed: u64) -> Self {
        let mut z = random_rows(rows, d, &mut Random::new(seed));
        if rows > 30 {
            z.copy_within(0..2 * d, 20 * d);
        }
        Batch::one(z, rows, d)
    }

    /// Queries and keys, some of which are the same.
    pub fn random(rows: [usize; 2], d: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut z = rows.map(|rows| random_rows(rows, d, &mut random));
        let [queries, keys] = &mut z;
        for row in (3..rows[0].min(rows[1])).step_by(11) {
            keys[row * d..(row + 1) * d].copy_from_slice(&queries[row * d..(row + 1) * d]);
        }
        Batch { z, rows, d }
    }

    /// One set of the first number of rows, or both, as a call on `set` takes them.
    pub fn for_set(set: Set, rows: [usize; 2], d: usize, seed: u64) -> Self {
        match set {
            Set::One(_) => Batch::random_one(rows[0], d, seed),
            Set::Cross { .. } => Batch::random(rows, d, seed),
        }
    }

    /// The same with a row of one side, or of the set, replaced.
    pub fn with_row(&self, side: usize, row: usize, of_row: &[T], one_set: bool) -> Self {
        let mut other = self.clone();
        for side in if one_set { 0..2 } else { side..side + 1 } {
            other.z[side][row * self.d..(row + 1) * self.d].copy_from_slice(of_row);
        }
        other
    }

    pub fn mat(&self, side: usize) -> Mat<'_, T> {
        Mat::new(&self.z[side], self.rows[side], self.d).unwrap()
    }

    /// The rows of a side in f64.
    pub fn wide(&self, side: usize) -> Vec<Vec<f64>> {
        self.mat(side).iter().map(wide).collect()
    }

    /// A call for all outputs, with the case's loss.
    pub fn run(&self, cx: &Cx, case: &Case) -> Called<T> {
        self.run_with(cx, case, &*case.formula.loss(), None, &mut AnchorScratch::new())
    }

    pub fn run_with(
        &self,
        cx: &Cx,
        case: &Case,
        loss: &dyn BlockAnchorLoss<T>,
        known: Option<&[AnchorSums]>,
        scratch: &mut AnchorScratch<T>,
    ) -> Called<T> {
        let wanted = Wanted {
            grads: [true; 2],
            values: true,
            sums: true,
            grad_scale: loss.scale_block().is_some(),
        };
        self.run_for(wanted, cx, case, loss, known, scratch)
    }

    /// A call for some outputs.
    pub fn run_for(
        &self,
        wanted: Wanted,
        cx: &Cx,
        case: &Case,
        loss: &dyn BlockAnchorLoss<T>,
        known: Option<&[AnchorSums]>,
        scratch: &mut AnchorScratch<T>,
    ) -> Called<T> {
        let weights: Option<Vec<T>> =
            case.weights.map(|weights| weights.iter().map(|&x| T::from_f64(x)).collect());
        let objective = AnchorObjective {
            loss,
            measure: case.measure,
            reduction: case.reduction,
            scale: T::from_f64(case.scale),
            weights: weights.as_deref(),
            known,
        };
        let len = case.set.anchors(self.rows);
        let mut grads = self.rows.map(|n| Guarded::output(1, [n, self.d], self.d + 1));
        let mut values = Guarded::slice(len);
        let mut sums = vec![AnchorSums::default(); len];
        let mut by_scale = f64::NAN;
        let [of_i, of_j] = &mut grads;
        let grad_queries = wanted.grads[0].then(|| of_i.mat_mut());
        let grad_keys = wanted.grads[1].then(|| of_j.mat_mut());
        let of_values = wanted.values.then(|| values.slice_mut());
        let of_sums = wanted.sums.then_some(&mut sums[..]);
        let grad_scale = wanted.grad_scale.then_some(&mut by_scale);
        let outcome = match case.set {
            Set::One(similar) => {
                let (values, sums) = (of_values, of_sums);
                let out = AnchorsOut { grad: grad_queries, values, sums, grad_scale };
                all_anchors(cx, &objective, self.mat(0), similar, out, scratch)
            }
            Set::Cross { similar, own, anchors } => {
                let (values, sums) = (of_values, of_sums);
                let out = CrossAnchorsOut { grad_queries, grad_keys, values, sums, grad_scale };
                let [queries, keys] = [self.mat(0), self.mat(1)];
                cross_anchors(cx, &objective, queries, keys, similar, own, anchors, out, scratch)
            }
        };
        let outcome = outcome.unwrap_or_else(|error| panic!("{case}: {error}"));
        let mut grads = grads.map(|grad| grad.checked("a gradient")).to_vec();
        grads.truncate(case.set.gradients());
        Called { outcome, grads, values: values.checked("values"), sums, by_scale }
    }
}

/// Outputs that are asked for.
#[derive(Clone, Copy)]
pub struct Wanted {
    pub grads: [bool; 2],
    pub values: bool,
    pub sums: bool,
    pub grad_scale: bool,
}

/// What a call has given. What was not asked for is NaN, or nothing.
pub struct Called<T> {
    pub outcome: AnchorOutcome,
    /// The gradient of one set, or those of queries and keys.
    pub grads: Vec<Vec<T>>,
    pub values: Vec<T>,
    pub sums: Vec<AnchorSums>,
    pub by_scale: f64,
}

/// Every number within `tolerance` times the largest one expected, or `least` where that is larger.
pub fn assert_close<T: Element>(
    got: &[T],
    expected: &[f64],
    tolerance: f64,
    least: f64,
    what: &str,
) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(least, |largest, x| largest.max(x.abs()));
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        let error = (got.to_f64() - expected).abs();
        // Written such that a NaN fails.
        assert!(
            error <= tolerance * largest,
            "{what}: element {at} in {} is {got:e}, not {expected:e}: {error:e} off, allowed {:e}",
            T::NAME,
            tolerance * largest
        );
    }
}

/// The directions in which queries and keys meet.
pub const DIRECTIONS: [Anchors; 3] = [Anchors::Queries, Anchors::Keys, Anchors::Both];
