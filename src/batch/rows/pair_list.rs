//! A list of pairs of the rows of one matrix: checked once, used by any number of calls.

#![forbid(unsafe_code)]

use crate::error::{Error, Result, check_len};
use crate::kernel::rows::list::Member;
use crate::loss::Pairing;
use crate::simd::real::Real;
use crate::similar::graph::{Similar, check_samples};

/// A list of pairs (i, j) of the rows of a matrix, in any order and with any repeats, and for each
/// row the pairs that it is in.
///
/// A row may be paired with itself: the distance is 0, and so is the gradient. Memory is 24 bytes a
/// pair and 4 bytes a row.
///
/// ```
/// use drlim::batch::PairList;
/// let list = PairList::new(4, &[(0, 1), (3, 1), (0, 1)])?;
/// assert_eq!((list.rows(), list.len()), (4, 3));
/// assert_eq!(list.pairs_of(1).collect::<Vec<_>>(), [(0, 0), (1, 3), (2, 0)]);
///
/// let error = PairList::new(4, &[(0, 4)]).unwrap_err();
/// assert_eq!(error.to_string(), "pairs[0] is 4, expected an index below 4");
/// # Ok::<(), drlim::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairList {
    pairs: Vec<(u32, u32)>,
    /// The members of row i are `members[offsets[i]..offsets[i + 1]]`; empty before the first pairs.
    offsets: Vec<u32>,
    members: Vec<Member>,
}

impl PairList {
    /// The given pairs of a matrix of `rows` rows.
    ///
    /// Refused where an index is not below `rows`, `rows` or twice the number of pairs does not fit in
    /// a `u32`, or there is no memory for it.
    pub fn new(rows: usize, pairs: &[(u32, u32)]) -> Result<Self> {
        let mut list = PairList::default();
        list.set(rows, pairs)?;
        Ok(list)
    }

    /// Replaces the pairs by others, as [`new`](PairList::new). Allocates nothing where there is
    /// room for them already. The list is unchanged where they are refused.
    pub fn set(&mut self, rows: usize, pairs: &[(u32, u32)]) -> Result<()> {
        check_samples(rows)?;
        if u32::try_from(pairs.len().saturating_mul(2)).is_err() {
            let reason = format!("twice {} pairs do not fit in a u32", pairs.len());
            return Err(Error::Pairs { reason });
        }
        check_pairs(rows, pairs)?;
        let too_large = Error::Overflow { what: "a list of pairs" };
        let offsets = rows.checked_add(1).ok_or(too_large.clone())?;
        let overflow = |_| too_large.clone();
        let more = |len: usize, wanted: usize| wanted.saturating_sub(len);
        self.pairs.try_reserve(more(self.pairs.len(), pairs.len())).map_err(overflow)?;
        self.offsets.try_reserve(more(self.offsets.len(), offsets)).map_err(overflow)?;
        self.members.try_reserve(more(self.members.len(), 2 * pairs.len())).map_err(overflow)?;
        self.pairs.clear();
        self.pairs.extend_from_slice(pairs);
        self.find_members(rows);
        Ok(())
    }

    /// A counting sort of the members by row. They keep the order of the pairs, in which gradients
    /// are added up.
    fn find_members(&mut self, rows: usize) {
        let PairList { pairs, offsets, members } = self;
        offsets.clear();
        offsets.resize(rows + 1, 0);
        for &(i, j) in &*pairs {
            offsets[i as usize] += 1;
            offsets[j as usize] += 1;
        }
        let mut end = 0;
        for offset in &mut *offsets {
            end += *offset;
            *offset = end;
        }
        members.clear();
        members.resize(2 * pairs.len(), Member::default());
        // From the back, each row's offset moves from its end to its start.
        for (pair, &(i, j)) in pairs.iter().enumerate().rev() {
            for (row, other) in [(j, i), (i, j)] {
                let offset = &mut offsets[row as usize];
                *offset -= 1;
                members[*offset as usize] = Member { pair: pair as u32, other };
            }
        }
    }

    /// The number of rows of the matrix.
    pub fn rows(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The pairs, as they were given.
    pub fn pairs(&self) -> &[(u32, u32)] {
        &self.pairs
    }

    /// The pairs that row `i` is in, each as its place in the list and the other row, in the list's order.
    ///
    /// # Panics
    /// Where `i` is not below the number of rows.
    pub fn pairs_of(&self, i: usize) -> impl Iterator<Item = (usize, usize)> {
        let members = &self.members[self.offsets[i] as usize..self.offsets[i + 1] as usize];
        members.iter().map(|member| (member.pair as usize, member.other as usize))
    }

    /// Where the members of each row start and end, and all members.
    pub(crate) fn by_row(&self) -> (&[u32], &[Member]) {
        (&self.offsets, &self.members)
    }

    /// The pairs at the given places, in that order, such as [`hard_pairs`](crate::batch::hard_pairs) finds.
    ///
    /// Refused where a place is not below the number of pairs.
    pub fn select(&self, places: &[u32]) -> Result<Self> {
        check_places(places, self.len())?;
        let pairs: Vec<_> = places.iter().map(|&place| self.pairs[place as usize]).collect();
        PairList::new(self.rows(), &pairs)
    }

    /// Which pairs of the list are similar by labels or a graph, and which are to be left out.
    ///
    /// Refused where the number of samples is not that of the rows.
    pub fn kinds(&self, similar: Similar) -> Result<PairFlags> {
        check_len("kinds", "similar", similar.samples(), self.rows(), "the rows of the list")?;
        let kinds = self.pairs.iter().map(|&(i, j)| similar.of(i as usize, j as usize));
        let (similar, ignored) = kinds.map(|kind| (kind == Some(true), kind.is_none())).unzip();
        Ok(PairFlags { similar, ignored })
    }
}

/// Refuses indices that are not below the number of rows.
pub(crate) fn check_pairs(rows: usize, pairs: &[(u32, u32)]) -> Result<()> {
    let past = |&(_, &(i, j)): &(usize, &(u32, u32))| i.max(j) as usize >= rows;
    match pairs.iter().enumerate().find(past) {
        None => Ok(()),
        Some((at, &(i, j))) => {
            let index = i.max(j) as usize;
            Err(Error::Index { arg: "pairs", at, index, len: rows })
        }
    }
}

fn check_places(places: &[u32], len: usize) -> Result<()> {
    match places.iter().position(|&place| place as usize >= len) {
        None => Ok(()),
        Some(at) => Err(Error::Index { arg: "places", at, index: places[at] as usize, len }),
    }
}

/// Two flags for each pair of a list: whether it is similar, and whether it is left out.
///
/// ```
/// use drlim::Similar;
/// use drlim::batch::PairList;
/// use drlim::loss::Pairing;
/// let labels = [7, 7, 3, -1]; // the last one is unknown
/// let list = PairList::new(4, &[(0, 1), (1, 2), (2, 3)])?;
/// let kinds = list.kinds(Similar::LabelsIgnoring { labels: &labels, ignored: -1 })?;
/// assert_eq!(kinds.similar, [true, false, false]);
/// assert_eq!(kinds.ignored, [false, false, true]);
/// let pairing: Pairing<f32> = kinds.pairing();
/// # Ok::<(), drlim::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairFlags {
    /// Whether a pair is similar.
    pub similar: Vec<bool>,
    /// Whether a pair is left out.
    pub ignored: Vec<bool>,
}

impl PairFlags {
    /// The flags, as the `pairing` of a call.
    pub fn pairing<T: Real>(&self) -> Pairing<'_, T> {
        Pairing::new(&self.similar).ignoring(&self.ignored)
    }

    /// The flags at the given places, as [`PairList::select`] takes them.
    ///
    /// Refused where a place is not below the number of pairs.
    pub fn select(&self, places: &[u32]) -> Result<Self> {
        check_places(places, self.similar.len().min(self.ignored.len()))?;
        let pick = |flags: &[bool]| places.iter().map(|&place| flags[place as usize]).collect();
        Ok(PairFlags { similar: pick(&self.similar), ignored: pick(&self.ignored) })
    }
}
