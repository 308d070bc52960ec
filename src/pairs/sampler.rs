//! Balanced batches of pairs, from a seed: half similar, half dissimilar.
//!
//! Among all pairs the dissimilar outnumber the similar by hundreds to one, so a batch takes as many of each.
//! Both kinds are drawn in constant or logarithmic time and without rejection, however few there are of one
//! of them.

#![forbid(unsafe_code)]

use super::classes::{Classes, cumulative, segment};
use super::passes::{Passes, SamplerState};
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::similar::graph::{Graph, Similar, check_samples};

/// Passes over the samples in an epoch of labels: as many partners for each sample as neighbours
/// in Hadsell, Chopra and LeCun (2006).
const PASSES_OF_LABELS: usize = 5;

/// An endless sequence of batches of pairs, the same for the same seed on every machine.
///
/// The first half of a batch is similar pairs, taken from *passes*, each in a new random order. A
/// pass offers
///
/// * of a [`Graph`]: every similar pair once, or [as often as listed](Sampler::weighted);
/// * of labels: every sample once whose class has another one, with a random partner from its
///   class.
///
/// A batch in which a pass ends goes on with the next pass. So no pair is left out, sets smaller than half a
/// batch are no special case, and at any time the numbers of times that two pairs of a graph (two samples of
/// labels) have been offered differ by at most one. An epoch is the number of batches that covers one pass of
/// a graph, or five passes of labels: [`steps_per_epoch`](Sampler::steps_per_epoch).
///
/// The second half is dissimilar pairs, each drawn from all of them with the same probability.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::Similar;
/// use drlim::pairs::Sampler;
/// let classes = [0, 0, 1, 1, 1];
/// let mut sampler = Sampler::new(Similar::Labels(&classes), 4, 1)?;
/// let (mut pairs, mut similar) = (Vec::new(), Vec::new());
/// for _ in 0..sampler.steps_per_epoch() {
///     sampler.next_batch(&mut pairs, &mut similar);
///     assert_eq!(similar, [true, true, false, false]);
///     for (&(i, j), &similar) in pairs.iter().zip(&similar) {
///         assert_eq!(classes[i as usize] == classes[j as usize], similar);
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Sampler<'a> {
    source: Source<'a>,
    batch: usize,
    passes: Passes,
}

impl<'a> Sampler<'a> {
    /// A sampler of batches of `batch` pairs.
    ///
    /// Refused where `batch` is odd or 0, no two samples are similar, no two are dissimilar, or
    /// samples, similar pairs of a graph or the samples of a batch do not fit in a `u32`.
    pub fn new(similar: Similar<'a>, batch: usize, seed: u64) -> Result<Self> {
        check_samples(similar.samples())?;
        let source = match similar {
            Similar::Graph(graph) => Source::Graph(Edges::new(graph, graph.pairs().collect())?),
            Similar::Labels(labels) => Source::Labels(Classes::new(labels, None)),
            Similar::LabelsIgnoring { labels, ignored } => {
                Source::Labels(Classes::new(labels, Some(ignored)))
            }
        };
        Sampler::from_source(source, batch, seed)
    }

    /// A sampler whose passes offer the given pairs of a graph, each as often as it is listed,
    /// rather than every pair once.
    ///
    /// The paper pairs each sample with each of its nearest neighbours
    /// ([`Neighbours::pairs`](super::Neighbours::pairs)), so that two samples which are neighbours
    /// of each other count twice.
    ///
    /// Refused as by [`new`](Sampler::new), or where a pair is not of the graph.
    pub fn weighted(
        graph: &'a Graph,
        pairs: Vec<(u32, u32)>,
        batch: usize,
        seed: u64,
    ) -> Result<Self> {
        check_samples(graph.samples())?;
        check_listed(graph, &pairs)?;
        Sampler::from_source(Source::Graph(Edges::new(graph, pairs)?), batch, seed)
    }

    fn from_source(source: Source<'a>, batch: usize, seed: u64) -> Result<Self> {
        if batch == 0 || !batch.is_multiple_of(2) {
            let reason = format!("a batch of {batch} pairs, expected an even number of 2 or more");
            return Err(Error::Pairs { reason });
        }
        check_samples(batch.saturating_mul(2))?;
        let missing = match (source.items(), source.dissimilar()) {
            (0, _) => "similar",
            (_, 0) => "dissimilar",
            (items, _) => {
                let passes = Passes::new(seed, in_any_order(items));
                return Ok(Sampler { source, batch, passes });
            }
        };
        Err(Error::Pairs { reason: format!("the set has no {missing} pair to sample") })
    }

    /// Pairs in a batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Batches in an epoch, at least 1.
    pub fn steps_per_epoch(&self) -> usize {
        (self.source.items() * self.source.passes_per_epoch()).div_ceil(self.batch / 2)
    }

    /// Overwrites `pairs` and `similar` with the next batch. Once they have room for one, nothing
    /// is allocated.
    pub fn next_batch(&mut self, pairs: &mut Vec<(u32, u32)>, similar: &mut Vec<bool>) {
        let half = self.batch / 2;
        pairs.clear();
        similar.clear();
        let Sampler { source, passes, .. } = self;
        for _ in 0..half {
            let item = passes.next(in_any_order(source.items()));
            pairs.push(source.draw_similar(item as usize, &mut passes.rng));
        }
        for _ in 0..half {
            pairs.push(source.draw_dissimilar(&mut passes.rng));
        }
        similar.resize(half, true);
        similar.resize(2 * half, false);
    }

    /// The position of the sampler: see [`restore`](Sampler::restore).
    pub fn state(&self) -> SamplerState {
        self.passes.state()
    }

    /// Goes on where another sampler over the same set stood, whatever its seed and batch.
    ///
    /// Refused where the position lies behind the end of a pass; the sampler is unchanged then.
    pub fn restore(&mut self, state: SamplerState) -> Result<()> {
        self.passes.restore(state, in_any_order(self.source.items()))
    }
}

/// Refuses pairs that are not of the graph.
pub(super) fn check_listed(graph: &Graph, pairs: &[(u32, u32)]) -> Result<()> {
    let known = |&(i, j): &(u32, u32)| {
        (i.max(j) as usize) < graph.samples() && graph.contains(i as usize, j as usize)
    };
    match pairs.iter().find(|pair| !known(pair)) {
        None => Ok(()),
        Some((i, j)) => {
            let reason = format!("({i}, {j}) is not a pair of the graph");
            Err(Error::Pairs { reason })
        }
    }
}

/// Arranges a pass of `items` items in random order.
fn in_any_order(items: usize) -> impl FnOnce(&mut Rng, &mut Vec<u32>) {
    move |rng, order| {
        order.clear();
        order.extend(0..items as u32);
        rng.shuffle(order);
    }
}

/// The pairs to draw from. A pass offers each item once.
#[derive(Clone, Debug)]
enum Source<'a> {
    Graph(Edges<'a>),
    Labels(Classes),
}

impl Source<'_> {
    fn items(&self) -> usize {
        match self {
            Source::Graph(edges) => edges.pairs.len(),
            Source::Labels(classes) => classes.paired,
        }
    }

    fn passes_per_epoch(&self) -> usize {
        match self {
            Source::Graph(_) => 1,
            Source::Labels(_) => PASSES_OF_LABELS,
        }
    }

    /// The number of ordered dissimilar pairs.
    fn dissimilar(&self) -> u64 {
        let before = match self {
            Source::Graph(edges) => &edges.before,
            Source::Labels(classes) => &classes.before,
        };
        before[before.len() - 1]
    }

    fn draw_similar(&self, item: usize, rng: &mut Rng) -> (u32, u32) {
        match self {
            Source::Graph(edges) => edges.pairs[item],
            Source::Labels(classes) => classes.draw_similar(item, rng),
        }
    }

    fn draw_dissimilar(&self, rng: &mut Rng) -> (u32, u32) {
        let number = rng.below(self.dissimilar());
        match self {
            Source::Graph(edges) => edges.dissimilar_pair(number),
            Source::Labels(classes) => classes.dissimilar_pair(number),
        }
    }
}

/// The pairs of a graph. An item is one of the similar pairs that are offered.
#[derive(Clone, Debug)]
struct Edges<'a> {
    graph: &'a Graph,
    pairs: Vec<(u32, u32)>,
    /// At i, the number of ordered dissimilar pairs that start at a sample below i; at the end, that of all.
    before: Vec<u64>,
}

impl<'a> Edges<'a> {
    fn new(graph: &'a Graph, pairs: Vec<(u32, u32)>) -> Result<Self> {
        let samples = graph.samples();
        if u32::try_from(pairs.len()).is_err() {
            let reason = format!("{} similar pairs do not fit in a u32", pairs.len());
            return Err(Error::Pairs { reason });
        }
        let partners = (0..samples).map(|i| (samples - 1 - graph.neighbours(i).len()) as u64);
        Ok(Edges { graph, pairs, before: cumulative(partners) })
    }

    /// The `number`-th of all ordered dissimilar pairs, sorted by anchor, then partner.
    ///
    /// With the samples renumbered without the anchor, neighbour t (from 0) is e_t, and e_t - t dissimilar
    /// samples lie below it. The partner lies behind all neighbours that have at most `rank` dissimilar
    /// samples below.
    fn dissimilar_pair(&self, number: u64) -> (u32, u32) {
        let anchor = segment(&self.before, number);
        let rank = (number - self.before[anchor]) as usize;
        let neighbours = self.graph.neighbours(anchor);
        let dissimilar_below = |t: usize| {
            let e = neighbours[t] as usize;
            e - usize::from(e > anchor) - t
        };
        let (mut passed, mut end) = (0, neighbours.len());
        while passed < end {
            let middle = passed + (end - passed) / 2;
            if dissimilar_below(middle) <= rank { passed = middle + 1 } else { end = middle }
        }
        let partner = rank + passed;
        (anchor as u32, (partner + usize::from(partner >= anchor)) as u32)
    }
}
