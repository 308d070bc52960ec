//! Random batches of samples, for training on every pair of a batch: drawn so that similar samples meet.
//!
//! In a batch drawn at random from many samples hardly any two are similar: of 6000 images with five
//! neighbours each, two or three in a thousand pairs. So samples come in groups that belong together.

#![forbid(unsafe_code)]

use super::classes::Classes;
use super::passes::{Passes, SamplerState};
use super::sampler::check_listed;
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::similar::graph::{Graph, Similar, check_samples};

/// Samples of a class that come together by default. With three partners each, samples seldom lack a useful
/// one, and where classes are many, a batch still holds many of them.
const OF_A_CLASS: usize = 4;

/// An endless sequence of batches of different samples, the same for the same seed on every machine,
/// for [`Siamese::fit_batches`](crate::siamese::Siamese::fit_batches) and
/// [`all_pairs`](crate::batch::all_pairs()).
///
/// Samples are taken from *passes*, each in a new random order, until the batch is full:
///
/// * by a [`Graph`]: the next sample of the pass, a *seed*, then its neighbours in random order, then
///   the next seed. The last seed of a batch may be short of neighbours for want of room. A pass has
///   every sample as a seed once.
/// * by labels: the next sample of the pass, in which the samples of a class come in groups. Each pass cuts a
///   class anew into as many groups of four, or [as large as asked for](BatchSampler::grouped), as it fills;
///   these share the samples left over, and a smaller class is one group. A batch goes on with the group in
///   which the batch before it ended. A pass has every sample once whose label is not ignored.
///
/// *Lone* samples, to which no other one is similar, are spread evenly between the others. A sample that is
/// in the batch already is not taken again, so a batch always has its full number of samples, and every
/// sample is in one of the batches of each pass. Every batch holds a similar pair.
///
/// An epoch is the number of batches that covers one pass:
/// [`steps_per_epoch`](BatchSampler::steps_per_epoch).
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::pairs::BatchSampler;
/// use drlim::{Graph, Similar};
/// let chain = Graph::from_pairs(6, &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)])?;
/// let mut sampler = BatchSampler::new(Similar::Graph(&chain), 4, 1)?;
/// let mut samples = Vec::new();
/// for _ in 0..sampler.steps_per_epoch() {
///     sampler.next_batch(&mut samples);
///     assert_eq!(samples.len(), 4);
///     assert!(chain.contains(samples[0] as usize, samples[1] as usize));
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct BatchSampler<'a> {
    similar: Similar<'a>,
    /// The samples that a seed brings along.
    companions: Companions<'a>,
    groups: Groups,
    batch: usize,
    steps: usize,
    passes: Passes,
    /// For each sample, whether it is in the batch that is being filled.
    taken: Vec<bool>,
    /// The companions of a seed, in random order.
    around: Vec<u32>,
}

impl<'a> BatchSampler<'a> {
    /// A sampler of batches of `batch` samples.
    ///
    /// Refused where no two samples are similar, no two are dissimilar, there are fewer samples than
    /// a batch has, or a batch has fewer than 3, or so few that it could hold lone samples alone; and
    /// where samples do not fit in a `u32`.
    pub fn new(similar: Similar<'a>, batch: usize, seed: u64) -> Result<Self> {
        BatchSampler::of_set(similar, usize::MAX, OF_A_CLASS, batch, seed)
    }

    /// A sampler of groups of a given size. By labels, a group is `group` samples of a class (the K of P x K
    /// batches), or a few more where the class is no multiple of that. By a graph, it is a seed and up to
    /// `group` - 1 of its neighbours, drawn at random each time.
    ///
    /// Refused as by [`new`](BatchSampler::new), or where `group` is below 2 or above `batch`.
    pub fn grouped(similar: Similar<'a>, group: usize, batch: usize, seed: u64) -> Result<Self> {
        if group < 2 || group > batch {
            let reason = format!("groups of {group}, expected 2 or more, up to a batch of {batch}");
            return Err(Error::Pairs { reason });
        }
        BatchSampler::of_set(similar, group - 1, group, batch, seed)
    }

    /// A sampler by a graph in which seed i comes with all j of the given pairs (i, j), rather than with all
    /// its neighbours.
    ///
    /// With the lists of nearest neighbours ([`Neighbours::pairs`](super::Neighbours::pairs)) two samples
    /// which are neighbours of each other meet about twice as often as where one alone lists the other, as
    /// with [`Sampler::weighted`](super::Sampler::weighted).
    ///
    /// Refused as by [`new`](BatchSampler::new), or where a pair is not of the graph. A sample that is the
    /// first of no pair counts as a lone one.
    pub fn listed(graph: &'a Graph, pairs: &[(u32, u32)], batch: usize, seed: u64) -> Result<Self> {
        check_samples(graph.samples())?;
        check_listed(graph, pairs)?;
        let companions = Companions::listed(graph.samples(), pairs);
        BatchSampler::around(graph, companions, batch, seed)
    }

    /// A sampler of seeds with up to `most` of their neighbours, or of groups of a class.
    fn of_set(
        similar: Similar<'a>,
        most: usize,
        group: usize,
        batch: usize,
        seed: u64,
    ) -> Result<Self> {
        check_samples(similar.samples())?;
        let classes = match similar {
            Similar::Graph(graph) => {
                let companions = Companions::Neighbours { graph, most };
                return BatchSampler::around(graph, companions, batch, seed);
            }
            Similar::Labels(labels) => Classes::new(labels, None),
            Similar::LabelsIgnoring { labels, ignored } => Classes::new(labels, Some(ignored)),
        };
        let dissimilar = classes.before.last() > Some(&0);
        let offered = classes.members.len();
        let groups = Groups::of_classes(classes, group);
        let none = Companions::None;
        BatchSampler::start(similar, none, groups, offered, dissimilar, batch, seed)
    }

    /// A sampler of seeds and their companions.
    fn around(
        graph: &'a Graph,
        companions: Companions<'a>,
        batch: usize,
        seed: u64,
    ) -> Result<Self> {
        let samples = graph.samples();
        let sizes = || (0..samples).map(|i| 1 + companions.len_of(i)).map(|size| size.min(batch));
        let groups = Groups::of_seeds((0..samples).map(|i| companions.len_of(i) == 0));
        let offered = sizes().fold(0, usize::saturating_add);
        let all = samples.saturating_mul(samples.saturating_sub(1)) / 2;
        let dissimilar = graph.edges() < all;
        let similar = Similar::Graph(graph);
        BatchSampler::start(similar, companions, groups, offered, dissimilar, batch, seed)
    }

    /// Checks the size of a batch and draws the first pass. `offered` is the number of samples that a pass
    /// offers, with those that seeds bring along.
    fn start(
        similar: Similar<'a>,
        companions: Companions<'a>,
        mut groups: Groups,
        offered: usize,
        dissimilar: bool,
        batch: usize,
        seed: u64,
    ) -> Result<Self> {
        let refuse = |reason: String| Err(Error::Pairs { reason });
        if groups.len() == 0 {
            return refuse("the set has no similar pair to sample".to_owned());
        }
        if !dissimilar {
            return refuse("the set has no dissimilar pair to sample".to_owned());
        }
        let known = groups.members.len();
        if batch > known {
            return refuse(format!("a batch of {batch} samples, expected at most {known}"));
        }
        // A batch that starts with the last of a group and the lone ones behind it still has room for
        // two of the next group.
        let least = 3 + groups.most_lone();
        if batch < least {
            let reason = format!("a batch of {batch} samples, expected {least} or more");
            return refuse(reason + ", so that no batch is without a similar pair");
        }
        let passes = Passes::new(seed, |rng, order| groups.arrange(rng, order));
        let (taken, around) = (vec![false; similar.samples()], Vec::new());
        let steps = offered.div_ceil(batch);
        Ok(BatchSampler { similar, companions, groups, batch, steps, passes, taken, around })
    }

    /// Which samples are similar.
    pub fn similar(&self) -> Similar<'a> {
        self.similar
    }

    /// Samples in a batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Batches in an epoch: as many as the samples of a pass fill, with those that seeds of a graph bring
    /// along. An epoch covers at least a pass, since a sample that is in a batch already takes no room.
    pub fn steps_per_epoch(&self) -> usize {
        self.steps
    }

    /// Overwrites `samples` with the next batch.
    pub fn next_batch(&mut self, samples: &mut Vec<u32>) {
        let BatchSampler { companions, groups, batch, passes, taken, around, .. } = self;
        samples.clear();
        while samples.len() < *batch {
            let seed = passes.next(|rng, order| groups.arrange(rng, order));
            companions.draw(seed, &mut passes.rng, around);
            for &sample in std::iter::once(&seed).chain(&*around) {
                if samples.len() < *batch && !taken[sample as usize] {
                    taken[sample as usize] = true;
                    samples.push(sample);
                }
            }
        }
        for &sample in &*samples {
            taken[sample as usize] = false;
        }
    }

    /// The position of the sampler: see [`restore`](BatchSampler::restore).
    pub fn state(&self) -> SamplerState {
        self.passes.state()
    }

    /// Goes on where another sampler over the same set and in the same groups stood, whatever its
    /// seed and batch.
    ///
    /// Refused where the position lies behind the end of a pass; the sampler is unchanged then.
    pub fn restore(&mut self, state: SamplerState) -> Result<()> {
        self.passes.restore(state, |rng, order| self.groups.arrange(rng, order))
    }
}

/// The samples that a seed brings along into its batch.
#[derive(Clone, Debug)]
enum Companions<'a> {
    /// None: the samples of a group follow each other in the pass.
    None,
    /// Up to `most` of the seed's neighbours.
    Neighbours { graph: &'a Graph, most: usize },
    /// Sample i comes with `others[offsets[i]..offsets[i + 1]]`.
    Listed { offsets: Vec<usize>, others: Vec<u32> },
}

impl Companions<'_> {
    fn listed(samples: usize, pairs: &[(u32, u32)]) -> Self {
        let mut sorted = pairs.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let offset = |i: usize| sorted.partition_point(|pair| (pair.0 as usize) < i);
        let offsets = (0..=samples).map(offset).collect();
        Companions::Listed { offsets, others: sorted.into_iter().map(|pair| pair.1).collect() }
    }

    fn len_of(&self, i: usize) -> usize {
        match self {
            Companions::None => 0,
            Companions::Neighbours { graph, most } => graph.neighbours(i).len().min(*most),
            Companions::Listed { offsets, .. } => offsets[i + 1] - offsets[i],
        }
    }

    /// Overwrites `around` with the companions of a seed.
    fn draw(&self, seed: u32, rng: &mut Rng, around: &mut Vec<u32>) {
        let seed = seed as usize;
        around.clear();
        match self {
            Companions::None => {}
            Companions::Neighbours { graph, .. } => around.extend(graph.neighbours(seed)),
            Companions::Listed { offsets, others } => {
                around.extend(&others[offsets[seed]..offsets[seed + 1]]);
            }
        }
        rng.shuffle(around);
        around.truncate(self.len_of(seed));
    }
}

/// The samples of a pass: groups that stay together, and lone samples.
#[derive(Clone, Debug)]
struct Groups {
    /// The samples class by class, then the lone ones.
    members: Vec<u32>,
    /// Where each class starts in `members`, and the end of the last.
    classes: Vec<usize>,
    /// Where each group starts in `members`, and the end of the last: classes are cut into groups.
    cuts: Vec<usize>,
    /// The members with each class in random order.
    mixed: Vec<u32>,
    /// The groups in random order.
    turns: Vec<u32>,
}

impl Groups {
    /// A group for each seed: companions are no part of a pass.
    fn of_seeds(lone: impl Iterator<Item = bool>) -> Self {
        let (lone, seeds): (Vec<_>, Vec<_>) = (0_u32..).zip(lone).partition(|&(_, lone)| lone);
        let cuts = (0..=seeds.len()).collect();
        let members = seeds.into_iter().chain(lone).map(|(sample, _)| sample).collect();
        Groups::new(members, Vec::new(), cuts)
    }

    /// Groups of `size` or more samples of a class; within a class, sizes differ by 1 at most.
    fn of_classes(classes: Classes, size: usize) -> Self {
        let Classes { members, starts, paired, .. } = classes;
        let count = starts.partition_point(|&start| start < paired) + 1;
        let starts = starts[..count].to_vec();
        let mut cuts = vec![0];
        for class in starts.windows(2) {
            let (start, len) = (class[0], class[1] - class[0]);
            let groups = (len / size).max(1);
            cuts.extend((1..=groups).map(|group| start + len * group / groups));
        }
        Groups::new(members, starts, cuts)
    }

    fn new(members: Vec<u32>, classes: Vec<usize>, cuts: Vec<usize>) -> Self {
        let turns = (0..cuts.len() as u32 - 1).collect();
        Groups { mixed: members.clone(), members, classes, cuts, turns }
    }

    fn len(&self) -> usize {
        self.turns.len()
    }

    fn lone(&self) -> usize {
        self.members.len() - self.cuts[self.len()]
    }

    /// The most lone samples between two groups.
    fn most_lone(&self) -> usize {
        self.lone().div_ceil(self.len())
    }

    /// Draws a pass: groups of new members in a new order, each followed by its share of the lone samples.
    fn arrange(&mut self, rng: &mut Rng, order: &mut Vec<u32>) {
        let (groups, lone, paired) = (self.len(), self.lone(), self.cuts[self.len()]);
        let Groups { members, classes, cuts, mixed, turns } = self;
        mixed.copy_from_slice(members);
        for class in classes.windows(2) {
            rng.shuffle(&mut mixed[class[0]..class[1]]);
        }
        rng.shuffle(&mut mixed[paired..]);
        turns.sort_unstable();
        rng.shuffle(turns);
        order.clear();
        for (at, &group) in turns.iter().enumerate() {
            let group = group as usize;
            order.extend(&mixed[cuts[group]..cuts[group + 1]]);
            let share = |groups_before: usize| {
                paired + (lone as u64 * groups_before as u64 / groups as u64) as usize
            };
            order.extend(&mixed[share(at)..share(at + 1)]);
        }
    }
}
