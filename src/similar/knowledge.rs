//! Graphs of what is known about samples, beyond which of them are neighbours: transformed versions of a sample
//! are similar to it, and a rule on attributes says who is similar to whom.

#![forbid(unsafe_code)]

use super::graph::{GRAPH, Graph, check_samples};
use crate::error::{Error, Result};
use crate::memory::reserve::try_with_capacity;

impl Graph {
    /// The graph over `versions` versions of each sample of this one: similar are the versions of one sample to
    /// one another, and all versions of a sample to all versions of its neighbours.
    ///
    /// Version v of sample i has the number i · `versions` + v. This is prior knowledge as Hadsell, Chopra and
    /// LeCun (2006) use it for shifted digits: with 5 neighbours and 5 versions, an image is similar to its 4
    /// other versions and to the 25 of its neighbours. [`Versions`](crate::samples::Versions) makes the samples.
    ///
    /// Takes 8 bytes a sample and 8 bytes a pair of the new graph. Refused where `versions` is 0, the samples do
    /// not fit in a `u32`, or there is no memory for so many pairs.
    ///
    /// ```
    /// use drlim::Graph;
    /// let neighbours = Graph::from_pairs(3, &[(0, 2)])?;
    /// let versions = neighbours.versions(2)?; // 0 and 1 are versions of sample 0, 2 and 3 of sample 1
    /// assert_eq!(versions.neighbours(0), [1, 4, 5]);
    /// assert_eq!(versions.neighbours(2), [3]);
    /// # Ok::<(), drlim::Error>(())
    /// ```
    pub fn versions(&self, versions: usize) -> Result<Graph> {
        if versions == 0 {
            return Err(Error::Value { arg: "versions", got: 0.0, expected: "at least 1" });
        }
        let overflow = || Error::Overflow { what: GRAPH };
        let samples = self.samples().checked_mul(versions).ok_or_else(overflow)?;
        check_samples(samples)?;
        // A sample with k neighbours has (k + 1) `versions` - 1 in the new graph, in each of its versions.
        let directed = self.neighbours.len().checked_add(self.samples());
        let directed = directed.and_then(|all| all.checked_mul(versions)).ok_or_else(overflow)?;
        let directed = directed.checked_mul(versions).ok_or_else(overflow)? - samples;
        let mut graph = Graph {
            offsets: try_with_capacity(GRAPH, samples + 1)?,
            neighbours: try_with_capacity(GRAPH, directed)?,
        };
        graph.offsets.push(0);
        for i in 0..self.samples() {
            let neighbours = self.neighbours(i);
            let below = neighbours.partition_point(|&j| (j as usize) < i);
            for version in 0..versions {
                let this = i * versions + version;
                let (before, after) = neighbours.split_at(below);
                let similar = before.iter().map(|&j| j as usize).chain([i]);
                for j in similar.chain(after.iter().map(|&j| j as usize)) {
                    let all = j * versions..(j + 1) * versions;
                    graph.neighbours.extend(all.filter(|&k| k != this).map(|k| k as u32));
                }
                graph.offsets.push(graph.neighbours.len());
            }
        }
        Ok(graph)
    }

    /// The graph in which two samples are similar where a rule on their attributes says so: by pose, by time, by
    /// anything that is known of them.
    ///
    /// The rule is asked once for each pair i < j, n (n - 1) / 2 times in all, on the calling thread; a sample is
    /// never similar to itself. Refused where the samples do not fit in a `u32`, or there is no memory for the
    /// pairs.
    ///
    /// ```
    /// use drlim::Graph;
    /// // Photographs of a turntable, 18 steps around: similar where at most one step apart.
    /// let azimuths = [0_i32, 1, 9, 17];
    /// let apart = |a: i32, b: i32| (a - b).rem_euclid(18).min((b - a).rem_euclid(18));
    /// let similar = Graph::from_rule(&azimuths, |&a, &b| apart(a, b) <= 1)?;
    /// assert_eq!(similar.pairs().collect::<Vec<_>>(), [(0, 1), (0, 3)]);
    /// # Ok::<(), drlim::Error>(())
    /// ```
    pub fn from_rule<A>(
        attributes: &[A],
        mut similar: impl FnMut(&A, &A) -> bool,
    ) -> Result<Graph> {
        check_samples(attributes.len())?;
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        for (j, b) in attributes.iter().enumerate() {
            for (i, a) in attributes[..j].iter().enumerate() {
                if similar(a, b) {
                    pairs.try_reserve(1).map_err(|_| Error::Overflow { what: GRAPH })?;
                    pairs.push((i as u32, j as u32));
                }
            }
        }
        Graph::from_pairs(attributes.len(), &pairs)
    }
}
