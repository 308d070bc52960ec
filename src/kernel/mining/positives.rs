//! The positives of an anchor, and its other rows: where they stand in the order of the classes.

#![forbid(unsafe_code)]

use std::ops::Range;

use crate::kernel::pairwise::pack::NO_CLASS;
use crate::simd::real::Real;
use crate::similar::graph::Graph;

/// Which rows are an anchor's positives; all others but itself are its negatives.
#[derive(Clone, Copy)]
pub(crate) enum Positives<'a> {
    /// Rows of the same class, by place, ascending; those of class [`NO_CLASS`] are in no triplet.
    Classes(&'a [u32]),
    /// Neighbours in a graph.
    Graph(&'a Graph),
}

/// The rows that an anchor is compared with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidates {
    /// Places of the positives.
    pub(super) positives: Vec<u32>,
    /// Runs of places of the negatives, ascending.
    pub(super) negatives: Vec<Range<usize>>,
}

impl Positives<'_> {
    /// The most triplets that there can be: all of them (`all`), or one for each anchor and positive.
    pub(crate) fn count(&self, all: bool, rows: usize) -> u64 {
        let of = |anchors: u64, positives: u64, negatives: u64| {
            anchors * positives * if all { negatives } else { 1 }
        };
        match self {
            Positives::Classes(classes) => {
                let known = classes.partition_point(|&class| class != NO_CLASS);
                let sizes =
                    classes[..known].chunk_by(|a, b| a == b).map(|class| class.len() as u64);
                sizes.map(|size| of(size, size - 1, known as u64 - size)).sum()
            }
            Positives::Graph(graph) => {
                let degrees = (0..rows).map(|row| graph.neighbours(row).len() as u64);
                degrees.map(|degree| of(1, degree, rows as u64 - 1 - degree)).sum()
            }
        }
    }

    /// Finds the positives and negatives of an anchor. An anchor that is left out has neither.
    pub(super) fn find(&self, anchor: usize, rows: usize, others: &mut Candidates) {
        let Candidates { positives, negatives } = others;
        positives.clear();
        negatives.clear();
        match self {
            Positives::Classes(classes) => {
                let class = classes[anchor];
                if class == NO_CLASS {
                    return;
                }
                let before = |end: u32| classes.partition_point(|&class| class < end);
                let (own, known) = (before(class)..before(class + 1), before(NO_CLASS));
                positives.extend(own.clone().filter(|&p| p != anchor).map(|p| p as u32));
                negatives.extend([0..own.start, own.end..known]);
            }
            Positives::Graph(graph) => {
                positives.extend_from_slice(graph.neighbours(anchor));
                // The anchor itself is not a negative either.
                let mut from = 0;
                let own = positives.partition_point(|&p| (p as usize) < anchor);
                let (before, after) = positives.split_at(own);
                for p in before.iter().map(|&p| p as usize).chain([anchor]) {
                    negatives.push(from..p);
                    from = p + 1;
                }
                for p in after.iter().map(|&p| p as usize) {
                    negatives.push(from..p);
                    from = p + 1;
                }
                negatives.push(from..rows);
            }
        }
        negatives.retain(|run| !run.is_empty());
    }
}

impl Candidates {
    pub(super) fn negatives(&self) -> impl Iterator<Item = usize> + '_ {
        self.negatives.iter().cloned().flatten()
    }

    /// The elements of a row that belong to negatives, one after another.
    pub(super) fn gather<T: Real>(&self, row: &[T], to: &mut Vec<T>) {
        to.clear();
        self.negatives.iter().for_each(|run| to.extend_from_slice(&row[run.clone()]));
    }

    /// row += from at the places of the negatives; `from` has one element for each of them.
    pub(super) fn scatter<T: Real>(&self, mut from: &[T], row: &mut [T]) {
        for run in &self.negatives {
            let (some, rest) = from.split_at(run.len());
            row[run.clone()].iter_mut().zip(some).for_each(|(to, &x)| *to += x);
            from = rest;
        }
    }
}
