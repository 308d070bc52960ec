//! A call as a test asks for it, and how its results are compared with the oracle's.

use std::fmt;

use drlim::batch::{AnchorScratch, Anchors, CrossSimilar};
use drlim::loss::{AnchorReduction, AnchorTotals, BlockAnchorLoss, LogSum, Measure};
use drlim::{Graph, Similar};

use super::batch::{Batch, Called, assert_close};
use crate::support::anchors::{AnchorAnswer, AnchorFormula, AnchorQuestion};
use crate::support::{Element, serial, tiers};

pub const MEASURES: [Measure; 4] =
    [Measure::Cosine, Measure::Dot, Measure::Distance, Measure::Student];

/// Every reduction, `Factor` with one that no count gives.
pub const ANCHOR_REDUCTIONS: [AnchorReduction; 6] = [
    AnchorReduction::Sum,
    AnchorReduction::Mean,
    AnchorReduction::MeanWithSimilar,
    AnchorReduction::MeanNonZero,
    AnchorReduction::MeanOfPairs,
    AnchorReduction::Factor(-0.375),
];

/// Which call, and which pairs are similar.
#[derive(Clone, Copy, Debug)]
pub enum Set<'s> {
    One(Similar<'s>),
    Cross { similar: CrossSimilar<'s>, own: Option<usize>, anchors: Anchors },
}

impl<'s> Set<'s> {
    pub fn cross(similar: CrossSimilar<'s>, anchors: Anchors) -> Self {
        Set::Cross { similar, own: None, anchors }
    }

    /// Key i belongs to query i.
    pub fn by_position(anchors: Anchors) -> Self {
        Set::cross(CrossSimilar::Position { first_key: 0 }, anchors)
    }

    pub fn by_labels(queries: &'s [i64], keys: &'s [i64], anchors: Anchors) -> Self {
        Set::cross(CrossSimilar::Labels { queries, keys, ignored: None }, anchors)
    }

    /// Whether rows i and j are similar; `None` where they are no pair.
    pub fn kind(&self, i: usize, j: usize) -> Option<bool> {
        match *self {
            Set::One(Similar::Labels(of)) => (i != j).then_some(of[i] == of[j]),
            Set::One(Similar::LabelsIgnoring { labels: of, ignored }) => {
                let pair = i != j && of[i] != ignored && of[j] != ignored;
                pair.then_some(of[i] == of[j])
            }
            Set::One(Similar::Graph(graph)) => (i != j).then(|| graph.contains(i, j)),
            Set::Cross { similar, own, .. } => {
                let apart = own.is_none_or(|own| own + i != j);
                let (pair, similar) = match similar {
                    CrossSimilar::Labels { queries, keys, ignored } => {
                        let [a, b] = [queries[i], keys[j]];
                        (Some(a) != ignored && Some(b) != ignored, a == b)
                    }
                    CrossSimilar::Position { first_key } => (true, first_key + i == j),
                    CrossSimilar::Graph { graph, first_query, first_key } => {
                        let [a, b] = [first_query + i, first_key + j];
                        (a != b, a != b && graph.contains(a, b))
                    }
                };
                (apart && pair).then_some(similar)
            }
        }
    }

    /// Whether a row of a side is in the batch.
    pub fn counts(&self, side: usize, row: usize) -> bool {
        match *self {
            Set::One(Similar::LabelsIgnoring { labels, ignored }) => labels[row] != ignored,
            Set::Cross {
                similar: CrossSimilar::Labels { queries, keys, ignored: Some(ignored) },
                ..
            } => [queries, keys][side][row] != ignored,
            _ => true,
        }
    }

    pub fn sides(&self) -> [bool; 2] {
        match self {
            Set::One(_) | Set::Cross { anchors: Anchors::Queries, .. } => [true, false],
            Set::Cross { anchors: Anchors::Keys, .. } => [false, true],
            Set::Cross { anchors: Anchors::Both, .. } => [true, true],
        }
    }

    /// How many anchors there are.
    pub fn anchors(&self, rows: [usize; 2]) -> usize {
        (0..2).filter(|&side| self.sides()[side]).map(|side| rows[side]).sum()
    }

    /// How many gradients there are.
    pub fn gradients(&self) -> usize {
        if matches!(self, Set::One(_)) { 1 } else { 2 }
    }
}

/// A loss, how it is measured and added up, and on which pairs.
#[derive(Clone, Copy)]
pub struct Case<'s> {
    pub formula: AnchorFormula,
    pub measure: Measure,
    pub reduction: AnchorReduction,
    pub scale: f64,
    pub weights: Option<&'s [f64]>,
    pub set: Set<'s>,
}

impl fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { formula, measure, reduction, scale, weights, set } = self;
        let layout = match set {
            Set::One(Similar::Labels(_)) => "one set by labels",
            Set::One(Similar::LabelsIgnoring { .. }) => "one set, a label ignored",
            Set::One(Similar::Graph(_)) => "one set by a graph",
            Set::Cross { similar: CrossSimilar::Labels { .. }, .. } => "two sets by labels",
            Set::Cross { similar: CrossSimilar::Position { .. }, .. } => "two sets by position",
            Set::Cross { similar: CrossSimilar::Graph { .. }, .. } => "two sets by a graph",
        };
        write!(f, "{formula:?}, {measure:?}, {reduction:?} times {scale}, {layout}")?;
        if let Set::Cross { own, anchors, .. } = set {
            write!(f, ", own {own:?}, anchors {anchors:?}")?;
        }
        write!(f, "{}", if weights.is_some() { ", weighted" } else { "" })
    }
}

impl<'s> Case<'s> {
    /// The sum over anchors, with cosines.
    pub fn new(formula: AnchorFormula, set: Set<'s>) -> Self {
        let (measure, reduction) = (Measure::Cosine, AnchorReduction::Sum);
        Case { formula, measure, reduction, scale: 1.0, weights: None, set }
    }

    pub fn expected<T: Element>(&self, batch: &Batch<T>) -> AnchorAnswer {
        let [queries, keys] = [batch.wide(0), batch.wide(1)];
        let question = AnchorQuestion {
            formula: self.formula,
            measure: self.measure,
            reduction: self.reduction,
            scale: self.scale,
            weights: self.weights,
            anchors: self.set.sides(),
            kind: &|i, j| self.set.kind(i, j),
            counted: &|side, row| self.set.counts(side, row),
        };
        question.answer([&queries, &keys])
    }

    /// 1e-10, or 2e-5 in `f32`: more where exponents change fast.
    pub fn tolerance<T: Element>(&self) -> f64 {
        if size_of::<T>() == size_of::<f64>() {
            1e-10
        } else {
            2e-5 * (self.formula.steepness() / 20.0).max(1.0)
        }
    }

    /// Compares calls on every tier with the oracle.
    pub fn check<T: Element>(&self, batch: &Batch<T>) {
        self.check_with(&*self.formula.loss(), batch, batch);
    }

    /// The same with any loss that has the case's formula. What is expected is of another batch, which differs
    /// where nothing depends on it.
    pub fn check_with<T: Element>(
        &self,
        loss: &dyn BlockAnchorLoss<T>,
        batch: &Batch<T>,
        like: &Batch<T>,
    ) {
        let expected = self.expected(like);
        for isa in tiers() {
            let got = batch.run_with(&serial(isa), self, loss, None, &mut AnchorScratch::new());
            let [n, m] = batch.rows;
            let what = format!("{self}, {n} and {m} x{} on {isa}", batch.d);
            self.compare(&got, &expected, self.tolerance::<T>(), &what);
        }
    }

    /// Compares all outputs.
    pub fn compare<T: Element>(
        &self,
        got: &Called<T>,
        expected: &AnchorAnswer,
        tolerance: f64,
        what: &str,
    ) {
        for (side, (got, expected_totals)) in
            got.outcome.totals.iter().zip(&expected.totals).enumerate()
        {
            let what = format!("{what}: totals of side {side}");
            assert_eq!(got.anchors, expected_totals.anchors, "{what}");
            assert_eq!(got.with_similar, expected_totals.with_similar, "{what}");
            assert_eq!(got.active, expected_totals.active, "{what}");
            assert_eq!(got.similar, expected_totals.similar, "{what}");
            assert_eq!(got.pairs, expected_totals.pairs, "{what}");
            let off = got.correct.abs_diff(expected_totals.correct);
            assert!(off <= expected.unsure[side], "{what}: {} correct", got.correct);
        }
        let size: f64 = expected.values.iter().map(|value| value.abs()).sum();
        let sum = |totals: &[AnchorTotals; 2]| totals.map(|of| of.sum);
        let (sums, of_sums) = (sum(&got.outcome.totals), sum(&expected.totals));
        assert_close(&sums, &of_sums, tolerance, size.max(1e-2), &format!("{what}: sums"));
        let (value, least) = ([got.outcome.value], expected.value_size.max(1e-2));
        assert_close(&value, &[expected.value], tolerance, least, &format!("{what}: value"));
        assert_close(&got.values, &expected.values, tolerance, 1e-2, &format!("{what}: values"));
        self.compare_sums(got, expected, tolerance, what);
        let least = expected.largest_term.max(1e-2);
        for (side, (got, expected)) in got.grads.iter().zip(self.gradients(expected)).enumerate() {
            assert_close(got, &expected, tolerance, least, &format!("{what}: gradient {side}"));
        }
        if self.formula.scale().is_some() {
            let [by_scale, size] = expected.grad_scale;
            let what = format!("{what}: grad_scale");
            assert_close(&[got.by_scale], &[by_scale], tolerance, size.max(1e-2), &what);
        }
    }

    /// The log-sums of each anchor are those of the exponents that the loss documents.
    fn compare_sums<T: Element>(
        &self,
        got: &Called<T>,
        expected: &AnchorAnswer,
        tolerance: f64,
        what: &str,
    ) {
        for (anchor, (sums, exponents)) in got.sums.iter().zip(&expected.exponents).enumerate() {
            let what = format!("{what}: sums of anchor {anchor}");
            for (got, x) in [sums.similar, sums.dissimilar].into_iter().zip(exponents) {
                let one = |&x: &f64| LogSum { count: 1, largest: x, sum: 1.0 };
                let all = x.iter().map(one).fold(LogSum::default(), |a, b| a + b);
                assert_eq!(got.count, all.count, "{what}");
                if x.is_empty() {
                    assert_eq!(got.log(), f64::NEG_INFINITY, "{what}");
                } else {
                    let (got, all) = ([got.log(), got.largest], [all.log(), all.largest]);
                    assert_close(&got, &all, tolerance, 1.0, &what);
                }
            }
            let size = exponents[0].iter().map(|x| x.abs()).sum::<f64>().max(1.0);
            let sum = exponents[0].iter().sum();
            assert_close(&[sums.exponents], &[sum], tolerance, size, &what);
        }
    }

    /// The gradients as calls give them: of one set, the sum of both sides.
    pub fn gradients(&self, answer: &AnchorAnswer) -> Vec<Vec<f64>> {
        let [of_i, of_j] = &answer.grads;
        match self.set {
            Set::One(_) => vec![of_i.iter().zip(of_j).map(|(i, j)| i + j).collect()],
            Set::Cross { .. } => answer.grads.to_vec(),
        }
    }
}

/// A ring with chords, in which some samples have no neighbour.
pub fn graph(n: usize) -> Graph {
    let chords = (0..n as u32).map(|i| (i, (i * 31 + 7) % n as u32));
    let ring = (1..n as u32).map(|i| (i - 1, i));
    let lonely = |i: u32| i % 13 == 4;
    let pairs = chords.chain(ring).filter(|&(i, j)| i != j && !lonely(i) && !lonely(j));
    Graph::from_pairs(n, &pairs.collect::<Vec<_>>()).unwrap()
}
