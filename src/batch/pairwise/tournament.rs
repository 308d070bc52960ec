//! The order of blocks: rounds in which each block meets one other, so that none is written by two at once.

#![forbid(unsafe_code)]

/// All pairs of blocks, each once, in rounds in which no block occurs twice. With `among`, the blocks of one
/// set meet each other and themselves; else the blocks of one set meet those of another.
pub(crate) fn rounds(among: bool, blocks: [usize; 2]) -> impl Iterator<Item = Vec<(usize, usize)>> {
    // Among the blocks of one set, the first two rounds pair each with itself, half of them in each round;
    // the other rounds are those of a round-robin tournament.
    let count = if among { blocks[0].next_multiple_of(2) + 1 } else { blocks[0].max(blocks[1]) };
    (0..count).map(move |round| match among {
        true => matches(round, blocks[0]).collect(),
        false => meetings(round, blocks).collect(),
    })
}

/// The pairs of a round among the blocks of one set. Where their number is odd, one sits out in each round.
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

/// The pairs of a round between two sets: each block of the smaller set meets one of the larger.
pub(crate) fn meetings(round: usize, [i, j]: [usize; 2]) -> impl Iterator<Item = (usize, usize)> {
    let pair = move |k: usize| match i <= j {
        true => (k, (k + round) % j),
        false => ((k + round) % i, k),
    };
    (0..i.min(j)).map(pair)
}
