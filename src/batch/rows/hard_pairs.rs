//! The hard pairs of a list, those that are worth training on.

#![forbid(unsafe_code)]

use crate::error::Result;
use crate::loss::Pairing;
use crate::simd::real::{Real, compiled};
use crate::similar::graph::check_samples;

/// The places of the hard pairs in a list of pairs, ascending: the similar ones that are farther
/// apart than the nearest dissimilar pair, and the dissimilar ones that are closer than the farthest
/// similar pair (the online contrastive rule, as in sentence-transformers).
///
/// `distances` and `pairing` have an element for each pair; any distance that grows with the
/// Euclidean one will do. Pairs that are left out set no bound and are never hard; weights are not
/// looked at. Where a kind is missing, no pair of the other kind is hard. A pair whose
/// distance is NaN is always hard, so that the NaN is not lost, and sets no bound for others.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::batch::{IndexedOut, PairList, IndexedScratch, hard_pairs, indexed};
/// use drlim::loss::{Contrastive, Objective};
/// use drlim::{Cx, Mat};
///
/// let z = [0.0_f32, 1.0, 1.2, 5.0];
/// let z = Mat::new(&z, 4, 1)?;
/// let list = PairList::new(4, &[(0, 1), (1, 2), (0, 3), (2, 3), (0, 2)])?;
/// let similar = [true, false, false, true, true];
/// let loss = Contrastive::new(1.0)?;
/// let (cx, objective, mut scratch) = (Cx::default(), Objective::mean(&loss), IndexedScratch::new());
///
/// let mut distances = [0.0; 5];
/// let out = IndexedOut::none().distances(&mut distances);
/// indexed(&cx, &objective, z, &list, &similar, out, &mut scratch)?;
/// let hard = hard_pairs(&distances, &similar)?;
/// assert_eq!(hard, [0, 1, 3, 4]); // all but the dissimilar pair at distance 5
///
/// let list = list.select(&hard)?;
/// let similar = hard.iter().map(|&place| similar[place as usize]).collect::<Vec<_>>();
/// indexed(&cx, &objective, z, &list, &similar, IndexedOut::none(), &mut scratch)?;
/// # Ok(()) }
/// ```
///
/// Refused where the lengths differ, or do not fit in a `u32`.
pub fn hard_pairs<'p, T: Real>(
    distances: &[T],
    pairing: impl Into<Pairing<'p, T>>,
) -> Result<Vec<u32>> {
    hard_pairs_with(distances, pairing.into())
}

#[inline(never)]
fn hard_pairs_with<T: Real>(distances: &[T], pairing: Pairing<T>) -> Result<Vec<u32>> {
    pairing.check("hard_pairs", distances.len(), "as distances")?;
    check_samples(distances.len())?;
    let left_out = |place: usize| pairing.ignored.is_some_and(|ignored| ignored[place]);
    let pairs = || {
        let all = distances.iter().zip(pairing.similar).enumerate();
        all.filter(|&(place, _)| !left_out(place)).map(|(i, (&d, &similar))| (i, d, similar))
    };
    // Comparisons with NaN are false, so a NaN is neither nearest nor farthest.
    let mut nearest_dissimilar = None;
    let mut farthest_similar = None;
    for (_, d, similar) in pairs().filter(|(_, d, _)| !d.is_nan()) {
        let bound = if similar { &mut farthest_similar } else { &mut nearest_dissimilar };
        if bound.is_none_or(|bound| if similar { d > bound } else { d < bound }) {
            *bound = Some(d);
        }
    }
    let hard = |d: T, similar: bool| match similar {
        _ if d.is_nan() => true,
        true => nearest_dissimilar.is_some_and(|bound| d > bound),
        false => farthest_similar.is_some_and(|bound| d < bound),
    };
    let hard = pairs().filter(|&(_, d, similar)| hard(d, similar));
    Ok(hard.map(|(place, _, _)| place as u32).collect())
}
compiled!(hard_pairs_with::<T>);
