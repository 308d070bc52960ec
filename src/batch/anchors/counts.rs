//! How many similar and dissimilar pairs each anchor is in.

#![forbid(unsafe_code)]

use crate::kernel::pairwise::pack::NO_CLASS;
use crate::similar::graph::Graph;

/// The numbers of an anchor's pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub similar: u32,
    pub dissimilar: u32,
    /// Whether the anchor is in the batch at all.
    pub counted: bool,
}

/// Counts by class: of places of these classes against places of those, both ascending. `own` has for each place
/// that of the same sample among the others, if there is one.
pub(super) fn by_class(
    classes: &[u32],
    others: &[u32],
    own: impl Fn(usize) -> Option<usize>,
) -> Vec<Counts> {
    let known = others.partition_point(|&class| class != NO_CLASS) as u32;
    let mut counts = Vec::with_capacity(classes.len());
    let mut last = (NO_CLASS, 0);
    for (place, &class) in classes.iter().enumerate() {
        if class == NO_CLASS {
            counts.push(Counts::default());
            continue;
        }
        if last.0 != class {
            let before = |class: u32| others.partition_point(|&other| other < class) as u32;
            last = (class, before(class + 1) - before(class));
        }
        let mut of = Counts { similar: last.1, dissimilar: known - last.1, counted: true };
        match own(place).map(|own| others[own]) {
            Some(own) if own == class => of.similar -= 1,
            Some(NO_CLASS) | None => {}
            Some(_) => of.dissimilar -= 1,
        }
        counts.push(of);
    }
    counts
}

/// Counts by graph: of samples from `first` on against `others` samples from `first_other` on.
pub(super) fn by_graph(
    graph: &Graph,
    [first, first_other]: [usize; 2],
    [rows, others]: [usize; 2],
) -> Vec<Counts> {
    let range = first_other..first_other + others;
    let of = |sample: usize| {
        let neighbours = graph.neighbours(sample);
        let before = |end: usize| neighbours.partition_point(|&j| (j as usize) < end) as u32;
        let similar = before(range.end) - before(range.start);
        let own = u32::from(range.contains(&sample));
        Counts { similar, dissimilar: others as u32 - own - similar, counted: true }
    };
    (first..first + rows).map(of).collect()
}
