//! Which entries of a block of rows and columns are similar pairs, which are no pairs at all (a row with
//! itself, a row that is left out), and which groups need not be measured.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::classes::{Spheres, apart};
use super::pack::NO_CLASS;
use crate::loss::Sums;
use crate::simd::Simd;
use crate::simd::real::Real;
use crate::similar::graph::Graph;

/// The rule by which a row of one side and a row of the other are similar.
#[derive(Clone, Copy)]
pub(crate) enum Similarity<'a, T> {
    Classes(Classes<'a, T>),
    /// Neighbours in a graph: place p of side k is sample `first[k] + p`. A sample and itself are no pair.
    Graph {
        graph: &'a Graph,
        first: [usize; 2],
    },
}

/// Rows of the same class are similar.
#[derive(Clone, Copy)]
pub(crate) struct Classes<'a, T> {
    /// The class of each place, ascending; rows of class [`NO_CLASS`] are in no pair.
    pub of: [&'a [u32]; 2],
    /// The spheres of the classes, and the reach of the loss, if it has one.
    pub spheres: Option<([Spheres<'a, T>; 2], T)>,
    /// For each class, whether its similar pairs have been added up as a whole, and so are no pairs here.
    /// May be empty.
    pub pulled: &'a [bool],
    pub own: Option<SelfPairs<'a>>,
}

/// Rows that are the same sample on both sides, and so no pair.
#[derive(Clone, Copy)]
pub(crate) struct SelfPairs<'a> {
    /// For each place of the first side, the place of the same sample on the other.
    pub places: &'a [u32],
}

/// The pairs of some rows and columns, as far as they are known before they are measured.
pub(crate) enum BlockSimilarity {
    /// Nothing needs to be measured: these are the sums.
    Known(Sums),
    /// All pairs are similar (`true`), or none is (`false`).
    Uniform(bool),
    /// Pairs of both kinds, or places that are no pairs.
    Mixed,
}

/// A bit for each group of rows and each panel of columns of a block: set if the group holds an edge of the
/// graph or a sample with itself.
pub(crate) struct GraphMask {
    /// Bit p of element g is that of panel p and group g.
    groups: [u32; GraphMask::MOST],
    /// Rows of a group, and columns of a panel.
    size: [usize; 2],
    /// The first row and the first column of the block.
    start: [usize; 2],
}

impl GraphMask {
    const MOST: usize = 32;

    fn has(&self, rows: &Range<usize>, cols: &Range<usize>) -> bool {
        let [g, p] = [(rows, 0), (cols, 1)]
            .map(|(range, side)| (range.start - self.start[side]) / self.size[side]);
        self.groups[g] >> p & 1 == 1
    }
}

impl<T: Real> Similarity<'_, T> {
    /// The groups of a block that hold neighbours, or a sample with itself; `None` where rows have classes.
    /// Few groups hold any, and looking at each group again would take longer than a pair in the plane
    /// does.
    pub(crate) fn marks(
        &self,
        rows: &Range<usize>,
        cols: &Range<usize>,
        size: [usize; 2],
    ) -> Option<GraphMask> {
        let Similarity::Graph { graph, first } = self else { return None };
        let mut marks =
            GraphMask { groups: [0; GraphMask::MOST], size, start: [rows.start, cols.start] };
        for (r, row) in rows.clone().enumerate() {
            let samples = first[1] + cols.start..first[1] + cols.end;
            let neighbours = graph.neighbours(first[0] + row);
            let from = neighbours.partition_point(|&j| (j as usize) < samples.start);
            let those = neighbours[from..].iter().map(|&j| j as usize);
            let own = Some(first[0] + row).filter(|own| samples.contains(own));
            for j in those.take_while(|&j| j < samples.end).chain(own) {
                marks.groups[r / size[0]] |= 1 << ((j - samples.start) / size[1]);
            }
        }
        Some(marks)
    }

    /// The content of some rows and columns, where it can be told for all pairs at once. At most `few`
    /// classes on each side are looked at; of a graph, only `marks`.
    #[inline(always)]
    pub(crate) fn block_similarity<S: Simd<T>>(
        &self,
        s: S,
        rows: &Range<usize>,
        cols: &Range<usize>,
        few: u32,
        marks: Option<&GraphMask>,
    ) -> BlockSimilarity {
        let Similarity::Classes(classes) = self else {
            return match marks {
                Some(marks) if !marks.has(rows, cols) => BlockSimilarity::Uniform(false),
                _ => BlockSimilarity::Mixed,
            };
        };
        let range = |side: usize, of: &Range<usize>| {
            (classes.of[side][of.start], classes.of[side][of.end - 1])
        };
        if let Some(own) = classes.own
            && own.places[rows.clone()].iter().any(|&own| cols.contains(&(own as usize)))
        {
            return BlockSimilarity::Mixed;
        }
        let ((first, last), (low, high)) = (range(0, rows), range(1, cols));
        if last == NO_CLASS || high == NO_CLASS {
            return BlockSimilarity::Mixed;
        }
        if first <= high && low <= last {
            let one = first == last && low == high;
            return match one {
                true if classes.is_pulled(first) => BlockSimilarity::Known(Sums::default()),
                true => BlockSimilarity::Uniform(true),
                false => BlockSimilarity::Mixed,
            };
        }
        let Some((spheres, reach)) = &classes.spheres else {
            return BlockSimilarity::Uniform(false);
        };
        if last - first >= few || high - low >= few {
            return BlockSimilarity::Uniform(false);
        }
        for one in first..=last {
            for other in low..=high {
                let (one, other) = (one as usize, other as usize);
                if !apart(s, (&spheres[0], one), (&spheres[1], other), *reach) {
                    return BlockSimilarity::Uniform(false);
                }
            }
        }
        let mut sums = Sums::default();
        sums.dissimilar.pairs = (rows.len() * cols.len()) as u64;
        BlockSimilarity::Known(sums)
    }

    /// Writes which pairs of some rows with some columns are similar, and which places are no pairs
    /// (`ignored`). Pair (r, c) is at `r * stride + c`; places past the last column are no pairs, and with
    /// `upper` neither are those whose column does not come after their row. Returns whether all places are
    /// pairs.
    #[inline(always)]
    pub(crate) fn fill(
        &self,
        rows: Range<usize>,
        cols: Range<usize>,
        upper: bool,
        similar: &mut [bool],
        ignored: &mut [bool],
    ) -> bool {
        let stride = similar.len() / rows.len();
        let ragged = cols.len() < stride || (upper && cols.start < rows.end);
        ignored.fill(false);
        let mut whole = !ragged;
        for (r, row) in rows.enumerate() {
            let similar = &mut similar[r * stride..][..stride];
            let ignored = &mut ignored[r * stride..][..stride];
            match self {
                Similarity::Classes(classes) => {
                    whole &= classes.fill_row(row, cols.clone(), similar, ignored);
                }
                Similarity::Graph { graph, first } => {
                    similar.fill(false);
                    let cols = first[1] + cols.start..first[1] + cols.end;
                    let neighbours = graph.neighbours(first[0] + row);
                    let from = neighbours.partition_point(|&j| (j as usize) < cols.start);
                    let those = neighbours[from..].iter().map(|&j| j as usize);
                    for j in those.take_while(|&j| j < cols.end) {
                        similar[j - cols.start] = true;
                    }
                    if cols.contains(&(first[0] + row)) {
                        ignored[first[0] + row - cols.start] = true;
                        whole = false;
                    }
                }
            }
            similar[cols.len()..].fill(false);
            ignored[cols.len()..].fill(true);
            if upper {
                let before = (row + 1).saturating_sub(cols.start).min(stride);
                ignored[..before].fill(true);
            }
        }
        whole
    }
}

impl<T> Classes<'_, T> {
    #[inline(always)]
    fn is_pulled(&self, class: u32) -> bool {
        self.pulled.get(class as usize).is_some_and(|&pulled| pulled)
    }

    /// [`Similarity::fill`] for one row. Returns whether all its places are pairs.
    #[inline(always)]
    fn fill_row(
        &self,
        row: usize,
        cols: Range<usize>,
        similar: &mut [bool],
        ignored: &mut [bool],
    ) -> bool {
        let (class, others) = (self.of[0][row], &self.of[1][cols.clone()]);
        for (similar, &other) in similar.iter_mut().zip(others) {
            *similar = other == class;
        }
        // Classes ascend, so columns that are in no pair come last.
        let none = others.last() == Some(&NO_CLASS);
        let mut whole = !none;
        if class == NO_CLASS {
            ignored[..others.len()].fill(true);
            return false;
        }
        if none {
            for (ignored, &other) in ignored.iter_mut().zip(others) {
                *ignored = other == NO_CLASS;
            }
        }
        if self.is_pulled(class) {
            for (ignored, &similar) in ignored.iter_mut().zip(&*similar) {
                *ignored |= similar;
                whole &= !similar;
            }
        }
        if let Some(own) = self.own {
            let own = own.places[row] as usize;
            if cols.contains(&own) {
                ignored[own - cols.start] = true;
                whole = false;
            }
        }
        whole
    }
}
