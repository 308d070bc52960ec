//! The order of blocks: rounds in which each block meets one other, so that none is written by two at once.

#![forbid(unsafe_code)]

/// Each pair of blocks once: of one set with each other and themselves, or of one set with another. In a
/// round no block is met twice.
pub(crate) fn rounds(among: bool, blocks: [usize; 2]) -> impl Iterator<Item = Vec<(usize, usize)>> {
    // Among the blocks of one set, two rounds pair them with themselves, half of them each; the others
    // are those of a tournament.
    let count = if among { blocks[0].next_multiple_of(2) + 1 } else { blocks[0].max(blocks[1]) };
    (0..count).map(move |round| match among {
        true => matches(round, blocks[0]).collect(),
        false => meetings(round, blocks).collect(),
    })
}

/// The pairs of a round. An odd number of players gets one who does not play.
pub(crate) fn matches(round: usize, blocks: usize) -> impl Iterator<Item = (usize, usize)> {
    let half = blocks.div_ceil(2);
    let circle = (2 * half).max(2) - 1;
    let pair = move |k: usize| match (round, k) {
        (0, _) => (k, k),
        (1, _) => (half + k, half + k),
        (_, 0) => (round - 2, circle),
        _ => ((round - 2 + k) % circle, (round - 2 + circle - k) % circle),
    };
    (0..half).map(pair).map(|(i, j)| (i.min(j), i.max(j))).filter(move |&(_, j)| j < blocks)
}

/// The pairs of a round between two teams: each of the smaller one meets one of the larger.
pub(crate) fn meetings(round: usize, [i, j]: [usize; 2]) -> impl Iterator<Item = (usize, usize)> {
    let pair = move |k: usize| match i <= j {
        true => (k, (k + round) % j),
        false => ((k + round) % i, k),
    };
    (0..i.min(j)).map(pair)
}
