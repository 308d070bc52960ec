//! Similar sets: the rules that tell which samples belong together.
//!
//! A neighbour graph is a sparse similar set, everything outside it is dissimilar: the definition
//! of Hadsell, Chopra and LeCun (2006). Class labels are the other source. Batches and samplers
//! take either, as [`Similar`].

#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use crate::memory::reserve::{try_filled, try_with_capacity};

/// The name of this memory in errors.
pub(super) const GRAPH: &str = "a graph";

/// A symmetric set of similar pairs of samples; no sample is paired with itself.
///
/// Kept in compressed rows: the neighbours of a sample are one sorted slice. Memory is 8 bytes a
/// sample and 8 bytes a pair.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::Graph;
/// let graph = Graph::from_pairs(4, &[(2, 0), (0, 1), (1, 0)])?;
/// assert_eq!(graph.neighbours(0), [1, 2]);
/// assert!(graph.neighbours(3).is_empty());
/// assert_eq!(graph.edges(), 2);
/// assert!(graph.contains(1, 0) && !graph.contains(1, 2));
/// assert_eq!(graph.pairs().collect::<Vec<_>>(), [(0, 1), (0, 2)]);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    /// The neighbours of sample i are `neighbours[offsets[i]..offsets[i + 1]]`.
    pub(super) offsets: Vec<usize>,
    pub(super) neighbours: Vec<u32>,
}

/// The graph of no samples.
impl Default for Graph {
    fn default() -> Self {
        Graph { offsets: vec![0], neighbours: Vec::new() }
    }
}

impl Graph {
    /// The graph in which the given pairs, in either order and any number of times, are similar.
    ///
    /// Takes time and memory proportional to samples plus pairs.
    ///
    /// Refused where an index is not below `samples`, a sample is paired with itself, `samples` does
    /// not fit in a `u32`, or there is no memory for so many.
    pub fn from_pairs(samples: usize, pairs: &[(u32, u32)]) -> Result<Self> {
        check_samples(samples)?;
        for (at, &(i, j)) in pairs.iter().enumerate() {
            if let Some(&index) = [i, j].iter().find(|&&index| index as usize >= samples) {
                let index = index as usize;
                return Err(Error::Index { arg: "pairs", at, index, len: samples });
            }
            if i == j {
                let reason = format!("pair {at} is sample {i} with itself");
                return Err(Error::Pairs { reason });
            }
        }
        let mut graph = Graph { offsets: offsets(samples, pairs)?, neighbours: Vec::new() };
        graph.neighbours = sorted_by_both(&graph.offsets, pairs)?;
        graph.merge_duplicates();
        Ok(graph)
    }

    /// The number of samples, with neighbours or without.
    pub fn samples(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The number of similar pairs, each counted once.
    pub fn edges(&self) -> usize {
        self.neighbours.len() / 2
    }

    /// The samples that are similar to sample `i`, ascending.
    ///
    /// # Panics
    /// Where `i` is not below the number of samples.
    #[inline]
    pub fn neighbours(&self, i: usize) -> &[u32] {
        assert!(i < self.samples(), "sample {i} of a graph with {} samples", self.samples());
        &self.neighbours[self.offsets[i]..self.offsets[i + 1]]
    }

    /// Whether samples `i` and `j` are similar.
    ///
    /// # Panics
    /// Where `i` is not below the number of samples.
    #[inline]
    pub fn contains(&self, i: usize, j: usize) -> bool {
        self.neighbours(i).binary_search_by(|&neighbour| (neighbour as usize).cmp(&j)).is_ok()
    }

    /// Each similar pair (i, j) once, with i < j, in ascending order.
    pub fn pairs(&self) -> impl Iterator<Item = (u32, u32)> {
        (0..self.samples()).flat_map(move |i| {
            let neighbours = self.neighbours(i);
            let above = neighbours.partition_point(|&j| (j as usize) < i);
            neighbours[above..].iter().map(move |&j| (i as u32, j))
        })
    }

    /// Drops repeated neighbours; rows are sorted, so they stand side by side.
    fn merge_duplicates(&mut self) {
        let mut end = 0;
        let mut from = 0;
        for row in 0..self.samples() {
            let (start, to) = (end, self.offsets[row + 1]);
            for at in from..to {
                let neighbour = self.neighbours[at];
                if end == start || self.neighbours[end - 1] != neighbour {
                    self.neighbours[end] = neighbour;
                    end += 1;
                }
            }
            from = to;
            self.offsets[row + 1] = end;
        }
        self.neighbours.truncate(end);
        self.neighbours.shrink_to_fit();
    }
}

/// Refuses more samples than a `u32` can number.
pub(crate) fn check_samples(samples: usize) -> Result<()> {
    if u32::try_from(samples).is_ok() {
        Ok(())
    } else {
        Err(Error::Pairs { reason: format!("{samples} samples do not fit in a u32") })
    }
}

/// Where each sample's neighbours start, repeated ones counted too.
fn offsets(samples: usize, pairs: &[(u32, u32)]) -> Result<Vec<usize>> {
    let rows = samples.checked_add(1).ok_or(Error::Overflow { what: GRAPH })?;
    let mut offsets = try_filled(GRAPH, rows, 0)?;
    for &(i, j) in pairs {
        offsets[i as usize + 1] += 1;
        offsets[j as usize + 1] += 1;
    }
    for row in 0..samples {
        offsets[row + 1] += offsets[row];
    }
    Ok(offsets)
}

/// The neighbours of each sample, ascending, by two passes of a counting sort: the first gathers
/// for each sample those that have it as a neighbour, the second walks these in order and hands
/// each sample to its neighbours. The pairs are symmetric, so both passes have the same offsets.
fn sorted_by_both(offsets: &[usize], pairs: &[(u32, u32)]) -> Result<Vec<u32>> {
    let samples = offsets.len() - 1;
    let mut next = try_with_capacity(GRAPH, samples)?;
    next.extend_from_slice(&offsets[..samples]);
    let mut unsorted = try_filled(GRAPH, offsets[samples], 0)?;
    for &(i, j) in pairs {
        for (row, neighbour) in [(i, j), (j, i)] {
            unsorted[next[row as usize]] = neighbour;
            next[row as usize] += 1;
        }
    }
    next.copy_from_slice(&offsets[..samples]);
    let mut sorted = try_filled(GRAPH, unsorted.len(), 0)?;
    for j in 0..samples {
        for &i in &unsorted[offsets[j]..offsets[j + 1]] {
            sorted[next[i as usize]] = j as u32;
            next[i as usize] += 1;
        }
    }
    Ok(sorted)
}

/// Which pairs of samples are similar; all others are dissimilar.
#[derive(Clone, Copy, Debug)]
pub enum Similar<'a> {
    /// Samples of the same class are similar: sample i has label i, and any value is a class.
    Labels(&'a [i64]),
    /// Samples of the same class are similar; a sample with the label `ignored` is in no pair at all.
    LabelsIgnoring {
        /// Sample i has label i.
        labels: &'a [i64],
        /// The label that is no class, often -1.
        ignored: i64,
    },
    /// Neighbours in a graph are similar.
    Graph(&'a Graph),
}

impl Similar<'_> {
    /// The number of samples.
    pub fn samples(&self) -> usize {
        match self {
            Similar::Labels(labels) | Similar::LabelsIgnoring { labels, .. } => labels.len(),
            Similar::Graph(graph) => graph.samples(),
        }
    }

    /// Whether two different samples `i` and `j` are similar; `None` where the pair is to be left out.
    ///
    /// # Panics
    /// Where `i` is not below the number of samples, or among labels `j` is not.
    #[inline]
    pub fn of(&self, i: usize, j: usize) -> Option<bool> {
        match self {
            Similar::Labels(labels) => Some(labels[i] == labels[j]),
            Similar::LabelsIgnoring { labels, ignored } => {
                let known = labels[i] != *ignored && labels[j] != *ignored;
                known.then_some(labels[i] == labels[j])
            }
            Similar::Graph(graph) => Some(graph.contains(i, j)),
        }
    }
}
