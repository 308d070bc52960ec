//! Samples by class, and the pairs that labels make.

#![forbid(unsafe_code)]

use crate::rng::Rng;

/// The classes that labels make. An item of a pass is a sample whose class has another sample.
#[derive(Clone, Debug)]
pub(super) struct Classes {
    /// The samples in order of class; classes of one sample come last.
    pub(super) members: Vec<u32>,
    /// Where each class starts in `members`, and the end of the last.
    pub(super) starts: Vec<usize>,
    /// The number of samples that have a partner: they come first in `members`.
    pub(super) paired: usize,
    /// At c, the number of ordered dissimilar pairs that start in the classes before class c; at the end,
    /// that of all.
    pub(super) before: Vec<u64>,
}

impl Classes {
    pub(super) fn new(labels: &[i64], ignored: Option<i64>) -> Self {
        let label = |member: &u32| labels[*member as usize];
        let known = |member: &u32| Some(label(member)) != ignored;
        let mut members: Vec<u32> = (0..labels.len() as u32).filter(known).collect();
        members.sort_by_key(|member| (label(member), *member));
        let mut classes: Vec<&[u32]> =
            members.chunk_by(|one, next| label(one) == label(next)).collect();
        classes.sort_by_key(|class| class.len() == 1);

        let paired = classes.iter().filter(|class| class.len() > 1).map(|class| class.len()).sum();
        let others = |class: &&[u32]| class.len() as u64 * (members.len() - class.len()) as u64;
        let before = cumulative(classes.iter().map(others));
        let starts = classes.iter().scan(0, |end, class| {
            *end += class.len();
            Some(*end)
        });
        let starts = std::iter::once(0).chain(starts).collect();
        Classes { members: classes.concat(), starts, paired, before }
    }

    /// The `item`-th sample of `members`, with a random other sample of its class.
    pub(super) fn draw_similar(&self, item: usize, rng: &mut Rng) -> (u32, u32) {
        let class = self.starts.partition_point(|&start| start <= item) - 1;
        let (start, end) = (self.starts[class], self.starts[class + 1]);
        let partner = start + rng.below((end - start - 1) as u64) as usize;
        let partner = partner + usize::from(partner >= item);
        (self.members[item], self.members[partner])
    }

    /// The `number`-th of all ordered dissimilar pairs, sorted by the anchor's class, then anchor, then
    /// partner, both in order of `members`.
    pub(super) fn dissimilar_pair(&self, number: u64) -> (u32, u32) {
        let class = segment(&self.before, number);
        let (start, end) = (self.starts[class], self.starts[class + 1]);
        let partners = (self.members.len() - (end - start)) as u64;
        let number = number - self.before[class];
        let (anchor, rank) = (start + (number / partners) as usize, (number % partners) as usize);
        let partner = if rank < start { rank } else { rank + end - start };
        (self.members[anchor], self.members[partner])
    }
}

/// 0, and the sums of the first one, two, ... counts.
pub(super) fn cumulative(counts: impl Iterator<Item = u64>) -> Vec<u64> {
    let sums = counts.scan(0, |sum, count| {
        *sum += count;
        Some(*sum)
    });
    std::iter::once(0).chain(sums).collect()
}

/// The segment in which `number`, which is below the last of the sums, lies; never an empty one.
pub(super) fn segment(before: &[u64], number: u64) -> usize {
    before.partition_point(|&sum| sum <= number) - 1
}
