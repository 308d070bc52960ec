//! What a reduction makes of counts and sums, as the scalar formulas have them.

use drlim::loss::Reduction;

/// Pairs of one kind, as the scalar formulas count them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    pub pairs: u64,
    pub active: u64,
    pub sum: f64,
}

/// What sums of similar and of dissimilar pairs are multiplied by.
pub fn factors(reduction: Reduction, [similar, dissimilar]: [Counted; 2]) -> [f64; 2] {
    let over = |count: u64| if count == 0 { 0.0 } else { 1.0 / count as f64 };
    match reduction {
        Reduction::Sum => [1.0; 2],
        Reduction::Mean => [over(similar.pairs + dissimilar.pairs); 2],
        Reduction::MeanNonZero => [over(similar.active + dissimilar.active); 2],
        Reduction::Balanced => [over(similar.pairs), over(dissimilar.pairs)],
        Reduction::BalancedNonZero => [over(similar.active), over(dissimilar.active)],
        Reduction::Factors { similar, dissimilar } => [similar, dissimilar],
        other => panic!("{other:?} is new"),
    }
}
