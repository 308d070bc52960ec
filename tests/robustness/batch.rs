//! The batches that every call is run on, and what calls write to.

use drlim::batch::{
    AllPairsScratch, AnchorScratch, CrossScratch, IndexedScratch, MiningScratch, PairList,
};
use drlim::loss::{
    AnchorOutcome, AnchorSums, BlockAnchorLoss, BlockLoss, BlockTripletLoss, Contrastive,
    Positives, Softmax, TripletMargin,
};
use drlim::{Graph, Real};

use crate::support::{Element, Guarded, Random};

/// How rows lie.
#[derive(Clone, Copy, Debug)]
pub enum Rows {
    /// Without gaps.
    Gapless,
    /// With gaps; one row alone, or none, with the largest stride that there is.
    Apart,
}

impl Rows {
    fn stride(self, rows: usize, cols: usize) -> usize {
        match self {
            Rows::Gapless => cols,
            Rows::Apart if rows <= 1 => usize::MAX,
            Rows::Apart => cols + 3,
        }
    }

    /// Rows of numbers between -1 and 1.
    pub fn draw<T: Element>(self, shape: [usize; 2], seed: u64) -> Guarded<T> {
        let mut random = Random::new(seed);
        let stride = self.stride(shape[0], shape[1]);
        Guarded::new(seed as usize % 5, shape, stride, |_, _| random.between(-1.0, 1.0))
    }

    /// Rows to be overwritten.
    pub fn output<T: Element>(self, shape: [usize; 2]) -> Guarded<T> {
        Guarded::output(3, shape, self.stride(shape[0], shape[1]))
    }
}

/// Elements to be overwritten.
pub fn slice<T: Element>(len: usize) -> Guarded<T> {
    Guarded::output(1, [1, len], len)
}

/// n rows of d elements, thrice, and all that calls want to know of them.
pub struct Batch<T> {
    pub shape: [usize; 2],
    pub rows: Rows,
    pub inputs: [Guarded<T>; 3],
    pub labels: Vec<i64>,
    /// A path through the rows, and its edges.
    pub graph: Graph,
    pub pairs: Vec<(u32, u32)>,
    pub list: PairList,
    /// Of rows, as many of each as there are.
    pub similar: Vec<bool>,
    pub ignored: Vec<bool>,
    pub weights: Vec<T>,
}

impl<T: Element> Batch<T> {
    pub fn new(shape: [usize; 2], rows: Rows) -> Self {
        let n = shape[0];
        let pairs: Vec<(u32, u32)> = (1..n as u32).map(|i| (i - 1, i)).collect();
        Batch {
            shape,
            rows,
            inputs: [1, 2, 3].map(|seed| rows.draw(shape, seed)),
            labels: (0..n as i64).map(|i| i / 2 % 3).collect(),
            graph: Graph::from_pairs(n, &pairs).unwrap(),
            list: PairList::new(n, &pairs).unwrap(),
            pairs,
            similar: (0..n).map(|i| i % 2 == 0).collect(),
            ignored: (0..n).map(|i| i % 5 == 4).collect(),
            weights: (0..n).map(|i| T::from_f64(0.5 + i as f64)).collect(),
        }
    }
}

/// The losses that calls are run with.
#[derive(Clone, Copy)]
pub struct Losses<'l, T> {
    pub pairs: &'l dyn BlockLoss<T>,
    pub triplets: &'l dyn BlockTripletLoss<T>,
    pub anchors: &'l dyn BlockAnchorLoss<T>,
}

/// Losses of the crate. That of anchors looks at similar pairs twice.
pub struct Plain<T>(Contrastive<T>, TripletMargin<T>, Softmax<T>);

impl<T: Real> Plain<T> {
    pub fn new() -> Self {
        let margin = T::from_f64(0.8);
        let softmax = Softmax::scale(T::from_f64(2.0)).unwrap().positives(Positives::Each);
        let triplets = TripletMargin::new(margin).unwrap().swapping();
        Plain(Contrastive::new(margin).unwrap(), triplets, softmax)
    }

    pub fn losses(&self) -> Losses<'_, T> {
        Losses { pairs: &self.0, triplets: &self.1, anchors: &self.2 }
    }
}

/// What calls keep from one to the next.
pub struct Kept<T> {
    pub indexed: IndexedScratch<T>,
    pub all_pairs: AllPairsScratch<T>,
    pub cross: CrossScratch<T>,
    pub mined: MiningScratch<T>,
    pub anchors: AnchorScratch<T>,
}

impl<T: Real> Kept<T> {
    pub fn new() -> Self {
        Kept {
            indexed: IndexedScratch::new(),
            all_pairs: AllPairsScratch::new(),
            cross: CrossScratch::new(),
            mined: MiningScratch::new(),
            anchors: AnchorScratch::new(),
        }
    }
}

/// All numbers that a call has given, such that two runs are the same where these have the same bits.
#[derive(Default)]
pub struct Got(Vec<f64>);

impl Got {
    pub fn outcome(outcome: drlim::loss::Outcome) -> Self {
        let drlim::loss::Outcome { value, pairs, similar, active, .. } = outcome;
        Got(vec![value, pairs as f64, similar as f64, active as f64])
    }

    pub fn of_anchors(outcome: AnchorOutcome) -> Self {
        let mut got = vec![outcome.value];
        for totals in outcome.totals {
            let counts = [totals.anchors, totals.with_similar, totals.active, totals.correct];
            got.extend(counts.into_iter().chain([totals.similar, totals.pairs]).map(|n| n as f64));
            got.push(totals.sum);
        }
        Got(got)
    }

    /// The sums of each anchor. Those of nothing have no largest exponent.
    pub fn sums(self, of: &[AnchorSums]) -> Self {
        let each = |of: &AnchorSums| {
            let [p, g] = [of.similar, of.dissimilar].map(|kind| {
                let largest = if kind.sum == 0.0 { 0.0 } else { kind.largest };
                [kind.count as f64, largest, kind.sum]
            });
            [&p[..], &g, &[of.exponents], &of.each.unwrap_or([f64::NAN; 2])].concat()
        };
        self.numbers(of.iter().flat_map(each))
    }

    pub fn number(mut self, number: f64) -> Self {
        self.0.push(number);
        self
    }

    pub fn numbers(mut self, numbers: impl IntoIterator<Item = f64>) -> Self {
        self.0.extend(numbers);
        self
    }

    /// What a call wrote, and that it wrote nothing beside it.
    pub fn written<'g, T: Element + 'g>(
        mut self,
        written: impl IntoIterator<Item = &'g Guarded<T>>,
    ) -> Self {
        for output in written {
            output.check("a call's output");
            self.0.extend(output.wide());
        }
        self
    }

    pub fn into_numbers(self) -> Vec<f64> {
        self.0
    }

    pub fn bits(&self) -> Vec<u64> {
        self.0.iter().map(|number| number.to_bits()).collect()
    }

    /// Whether all numbers are those of another run but for rounding.
    pub fn is_near(&self, other: &Got) -> bool {
        let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-5 * a.abs().max(1.0);
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(near)
    }

    /// Whether an output has not been written, or is NaN though no input is.
    pub fn has_nan(&self) -> bool {
        self.0.iter().any(|number| number.is_nan())
    }
}
