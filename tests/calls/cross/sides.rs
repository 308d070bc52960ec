//! Queries and keys, and what their pairs cost: from every pair in scalar f64.

use drlim::batch::{CrossOut, CrossScratch, CrossSimilar, cross};
use drlim::loss::{Objective, Outcome, Reduction, Sums};
use drlim::{Cx, Graph, Mat};

use super::{MARGIN, serial};
use crate::support::element::{bits, wide};
use crate::support::oracle::Contrastive;
use crate::support::{Element, Guarded, Random, tiers};

/// Queries and keys, and of which samples.
pub struct Sides<T> {
    pub z: [Vec<T>; 2],
    pub rows: [usize; 2],
    pub d: usize,
}

impl<T: Element> Sides<T> {
    /// Rows at distances around the margin, some of the keys the same as queries.
    pub fn random(rows: [usize; 2], d: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let reach = (1.5 / d.max(1) as f64).sqrt();
        let mut z = rows.map(|n| (0..n * d).map(|_| random.between(-reach, reach)).collect());
        let [queries, keys]: &mut [Vec<T>; 2] = &mut z;
        for row in (0..rows[0].min(rows[1])).step_by(5) {
            keys[row * d..(row + 1) * d].copy_from_slice(&queries[row * d..(row + 1) * d]);
        }
        Sides { z, rows, d }
    }

    pub fn mat(&self, side: usize) -> Mat<'_, T> {
        Mat::new(&self.z[side], self.rows[side], self.d).unwrap()
    }

    /// A call for both gradients. Each alone, and the value alone, are the same.
    pub fn run(
        &self,
        cx: &Cx,
        reduction: Reduction,
        of: (CrossSimilar, Option<usize>),
    ) -> Called<T> {
        let loss = T::contrastive(MARGIN);
        let objective = Objective::sum(&*loss).reduced(reduction);
        let mut scratch = CrossScratch::new();
        let mut call = |wanted: [bool; 2]| {
            let mut grads = self.rows.map(|n| Guarded::output(1, [n, self.d], self.d + 1));
            let [queries, keys] = &mut grads;
            let out = CrossOut {
                grad_queries: wanted[0].then(|| queries.mat_mut()),
                grad_keys: wanted[1].then(|| keys.mat_mut()),
                slope_totals: None,
            };
            let [queries, keys] = [self.mat(0), self.mat(1)];
            let (similar, own) = of;
            let outcome =
                cross(cx, &objective, queries, keys, similar, own, out, &mut scratch).unwrap();
            Called { outcome, grads: grads.map(|grad| grad.checked("a gradient")) }
        };
        let both = call([true; 2]);
        for (wanted, side) in [([true, false], 0), ([false, true], 1)] {
            let one = call(wanted);
            assert_eq!(bits(&one.grads[side]), bits(&both.grads[side]), "the gradient alone");
            assert!(one.grads[1 - side].iter().all(|g| g.is_nan()), "not asked for");
            assert_eq!(one.outcome.value.to_bits(), both.outcome.value.to_bits());
        }
        let none = call([false; 2]).outcome;
        assert_eq!(none.value.to_bits(), both.outcome.value.to_bits(), "the value alone");
        both
    }

    /// What each pair of samples costs, in scalar f64.
    pub fn expected(
        &self,
        reduction: Reduction,
        kind: &dyn Fn(usize, usize) -> Option<bool>,
    ) -> Expected {
        let (twin, d) = (Contrastive::of::<T>(MARGIN), self.d);
        let [queries, keys] =
            [0, 1].map(|side| self.mat(side).iter().map(wide).collect::<Vec<Vec<f64>>>());
        let (mut sums, mut pairs) = (Sums::default(), Vec::new());
        for (i, query) in queries.iter().enumerate() {
            for (j, key) in keys.iter().enumerate() {
                let Some(similar) = kind(i, j) else { continue };
                let pair = twin.pair(query, key, similar);
                let of = if similar { &mut sums.similar } else { &mut sums.dissimilar };
                of.pairs += 1;
                of.active += u64::from(pair.value != 0.0);
                of.sum += pair.value;
                pairs.push((i, j, similar, pair));
            }
        }
        let (factors, epsilon) = (reduction.factors(&sums), T::EPSILON.to_f64());
        let mut grads = self.rows.map(|n| vec![0.0; n * d]);
        let mut sizes = self.rows.map(|n| vec![0.0; n * d]);
        for (i, j, similar, pair) in pairs {
            let slope = pair.slope * factors[usize::from(!similar)];
            // How far the slope may be off, as many times the rounding.
            let shaky = twin.tolerance(&pair, d, similar, epsilon).slope / epsilon;
            let shaky = shaky * factors[0].abs().max(factors[1].abs());
            for k in 0..d {
                let difference = queries[i][k] - keys[j][k];
                for (side, at, sign) in [(0, i * d + k, 1.0), (1, j * d + k, -1.0)] {
                    grads[side][at] += sign * slope * difference;
                    sizes[side][at] += (slope.abs() + shaky) * difference.abs();
                }
            }
        }
        let largest = sizes.iter().flatten().fold(0.0_f64, |max, size| max.max(*size));
        Expected { sums, value: reduction.value(&sums), grads, largest }
    }

    /// Compares a call on every tier with the oracle.
    pub fn check(
        &self,
        reduction: Reduction,
        of: (CrossSimilar, Option<usize>),
        kind: &dyn Fn(usize, usize) -> Option<bool>,
    ) {
        self.check_within(60.0, reduction, of, kind);
    }

    /// As [`check`](Sides::check), gradients within so many roundings of the largest sum of terms.
    pub fn check_within(
        &self,
        rounding: f64,
        reduction: Reduction,
        of: (CrossSimilar, Option<usize>),
        kind: &dyn Fn(usize, usize) -> Option<bool>,
    ) {
        let expected = self.expected(reduction, kind);
        let [n, m] = self.rows;
        for isa in tiers() {
            let case = format!("{n} and {m} x{}, {}, {isa}, {reduction:?}", self.d, T::NAME);
            let called = self.run(&serial(isa), reduction, of);
            called.check(&expected, (self.d, rounding), &case);
        }
    }
}

pub struct Called<T> {
    pub outcome: Outcome,
    pub grads: [Vec<T>; 2],
}

pub struct Expected {
    pub sums: Sums,
    pub value: f64,
    pub grads: [Vec<f64>; 2],
    /// Of all elements of gradients, the most that the sizes of their terms add up to.
    pub largest: f64,
}

impl<T: Element> Called<T> {
    pub fn check(&self, expected: &Expected, (d, rounding): (usize, f64), case: &str) {
        let (got, sums) = (&self.outcome.sums, &expected.sums);
        assert_eq!(got.similar.pairs, sums.similar.pairs, "{case}");
        assert_eq!(got.dissimilar.pairs, sums.dissimilar.pairs, "{case}");
        assert_eq!(got.similar.active, sums.similar.active, "{case}");
        let epsilon = T::EPSILON.to_f64();
        let allowed = 8.0 * (d as f64 + 80.0) * epsilon * (1.0 + expected.value.abs());
        let error = (self.outcome.value - expected.value).abs();
        assert!(error <= allowed, "{case}: value {}, {error:e} off", self.outcome.value);
        for (side, (got, expected_grad)) in self.grads.iter().zip(&expected.grads).enumerate() {
            for (at, (got, expected_here)) in got.iter().zip(expected_grad).enumerate() {
                let error = (got.to_f64() - expected_here).abs();
                let allowed = rounding * epsilon * expected.largest;
                assert!(error <= allowed, "{case}: side {side}, {at}: {got}, not {expected_here}");
            }
        }
    }
}

/// What two samples are by their labels.
pub fn by_labels<'l>(
    of: [&'l [i64]; 2],
    ignored: Option<i64>,
    own: Option<usize>,
) -> impl Fn(usize, usize) -> Option<bool> + 'l {
    move |i, j| {
        let [a, b] = [of[0][i], of[1][j]];
        let none = Some(a) == ignored || Some(b) == ignored || own.is_some_and(|own| own + i == j);
        (!none).then_some(a == b)
    }
}

/// What samples are in a graph, from a first one on each side.
pub fn by_graph(graph: &Graph, first: [usize; 2]) -> impl Fn(usize, usize) -> Option<bool> {
    move |i, j| {
        let (a, b) = (first[0] + i, first[1] + j);
        (a != b).then(|| graph.contains(a, b))
    }
}

/// A ring with chords.
pub fn ring(n: usize) -> Graph {
    let chords = (0..n as u32).map(|i| (i, (i * 31 + 1) % n as u32));
    let pairs: Vec<_> = chords.chain((1..n as u32).map(|i| (i - 1, i))).collect();
    let pairs: Vec<_> = pairs.into_iter().filter(|(i, j)| i != j).collect();
    Graph::from_pairs(n, &pairs).unwrap()
}
