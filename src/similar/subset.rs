//! The samples of a batch as a subset of all samples, and the similar pairs within it.

#![forbid(unsafe_code)]

use super::graph::{Graph, Similar};
use crate::error::{Error, Result};
use crate::memory::reserve::try_with_capacity;

impl Graph {
    /// The graph among some of the samples, such as those of a batch: sample p of it is `samples[p]`.
    ///
    /// Takes time in proportion to the neighbours of the samples, or to the square of their number
    /// where that is less, times a logarithm.
    ///
    /// ```
    /// # fn main() -> drlim::Result<()> {
    /// use drlim::Graph;
    /// let graph = Graph::from_pairs(5, &[(0, 1), (1, 2), (2, 3), (3, 4)])?;
    /// let part = graph.induced(&[3, 1, 2])?;
    /// assert_eq!(part.pairs().collect::<Vec<_>>(), [(0, 2), (1, 2)]); // 3 with 2, 1 with 2
    /// # Ok(()) }
    /// ```
    ///
    /// Refused where an index is not below the number of samples, or comes twice.
    pub fn induced(&self, samples: &[u32]) -> Result<Self> {
        Subset::of_graph(self, samples)
    }
}

/// The samples of a batch, each of them once, and which of them are similar. Sample p of the subset
/// is the p-th of those that were chosen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subset {
    /// The chosen samples, ascending, each with its place among them.
    places: Vec<(u32, u32)>,
    labels: Vec<i64>,
    graph: Graph,
}

impl Subset {
    /// An empty subset that can hold the labels of `samples` samples without allocating.
    pub(crate) fn try_with_capacity(samples: usize) -> Result<Self> {
        let what = "a batch of samples";
        let (places, labels) =
            (try_with_capacity(what, samples)?, try_with_capacity(what, samples)?);
        Ok(Subset { places, labels, graph: Graph::default() })
    }

    /// Chooses samples; the same pairs are similar among them as among all samples. Allocates nothing once
    /// it has held as many samples and similar pairs of a graph.
    ///
    /// Refused where an index is not below the number of samples, or comes twice.
    pub(crate) fn choose<'s>(
        &'s mut self,
        similar: Similar,
        samples: &[u32],
    ) -> Result<Similar<'s>> {
        self.find_places(similar.samples(), samples)?;
        match similar {
            Similar::Labels(labels) => {
                self.gather(labels, samples);
                Ok(Similar::Labels(&self.labels))
            }
            Similar::LabelsIgnoring { labels, ignored } => {
                self.gather(labels, samples);
                Ok(Similar::LabelsIgnoring { labels: &self.labels, ignored })
            }
            Similar::Graph(graph) => {
                self.induce(graph, samples);
                Ok(Similar::Graph(&self.graph))
            }
        }
    }

    /// The part of a graph that lies among the chosen samples.
    pub(crate) fn of_graph(graph: &Graph, samples: &[u32]) -> Result<Graph> {
        let mut subset = Subset::default();
        subset.find_places(graph.samples(), samples)?;
        subset.induce(graph, samples);
        Ok(subset.graph)
    }

    fn find_places(&mut self, len: usize, samples: &[u32]) -> Result<()> {
        if let Some(at) = samples.iter().position(|&sample| sample as usize >= len) {
            return Err(Error::Index { arg: "samples", at, index: samples[at] as usize, len });
        }
        // Indices below `len` that are all different are no more than a u32 can number.
        self.places.clear();
        self.places.extend(samples.iter().zip(0_u32..).map(|(&sample, place)| (sample, place)));
        self.places.sort_unstable();
        match self.places.windows(2).find(|two| two[0].0 == two[1].0) {
            None => Ok(()),
            Some(two) => {
                let ((sample, first), (_, second)) = (two[0], two[1]);
                let reason =
                    format!("samples[{first}] and samples[{second}] are both sample {sample}");
                Err(Error::Pairs { reason })
            }
        }
    }

    fn gather(&mut self, labels: &[i64], samples: &[u32]) {
        self.labels.clear();
        self.labels.extend(samples.iter().map(|&sample| labels[sample as usize]));
    }

    fn induce(&mut self, graph: &Graph, samples: &[u32]) {
        let Graph { offsets, neighbours } = &mut self.graph;
        offsets.clear();
        offsets.push(0);
        neighbours.clear();
        for &sample in samples {
            let start = neighbours.len();
            let of_all = graph.neighbours(sample as usize);
            // Both lists are sorted; the shorter one is walked.
            if of_all.len() <= self.places.len() {
                let find = |j: &u32| self.places.binary_search_by_key(j, |&(sample, _)| sample);
                let found = of_all.iter().filter_map(|j| find(j).ok());
                neighbours.extend(found.map(|at| self.places[at].1));
            } else {
                let near = |(sample, _): &&(u32, u32)| of_all.binary_search(sample).is_ok();
                neighbours.extend(self.places.iter().filter(near).map(|&(_, place)| place));
            }
            neighbours[start..].sort_unstable();
            offsets.push(neighbours.len());
        }
    }
}
