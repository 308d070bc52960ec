//! Exact k nearest neighbours, and the neighbour graph of a training set.

#![forbid(unsafe_code)]

use crate::batch::neighbours::{Found, against, among};
use crate::error::{Error, Result, check_len, check_shape};
use crate::memory::mat::Mat;
use crate::memory::reserve::try_with_capacity;
use crate::parallel::cx::Cx;
use crate::simd::real::{Real, compiled};
use crate::similar::graph::{Graph, Similar, check_samples};

/// The k rows found for each query, best first.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours<T> {
    k: usize,
    indices: Vec<u32>,
    distances: Vec<T>,
}

impl<T: Real> Neighbours<T> {
    fn new(k: usize, Found { indices, distances }: Found<T>) -> Self {
        Neighbours { k, indices, distances }
    }

    /// The number of queries.
    pub fn rows(&self) -> usize {
        self.indices.len() / self.k
    }

    /// The number of neighbours of each query.
    pub fn k(&self) -> usize {
        self.k
    }

    /// The neighbours of query `i`, and their Euclidean distances from it. There are `k`, or fewer where
    /// [`hardest`] finds fewer.
    ///
    /// # Panics
    /// Where `i` is not below the number of queries.
    pub fn row(&self, i: usize) -> (&[u32], &[T]) {
        assert!(i < self.rows(), "query {i} of {}", self.rows());
        let row = i * self.k..(i + 1) * self.k;
        let found = self.indices[row.clone()].iter().position(|&index| index == u32::MAX);
        let row = row.start..found.map_or(row.end, |found| row.start + found);
        (&self.indices[row.clone()], &self.distances[row])
    }

    /// The neighbours of all queries: `rows` x `k`, row after row; [`u32::MAX`] where there are none.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Each query with each of its neighbours, query after query.
    pub fn pairs(&self) -> impl Iterator<Item = (u32, u32)> {
        let all = self.indices.iter().enumerate().map(|(at, &j)| ((at / self.k) as u32, j));
        all.filter(|&(_, j)| j != u32::MAX)
    }

    /// The Euclidean distances of all queries from their neighbours: `rows` x `k`, row after row; NaN
    /// where there are none.
    pub fn distances(&self) -> &[T] {
        &self.distances
    }
}

/// The `k` nearest of the rows of `references`, M x D, for each row of `queries`, N x D.
///
/// The result is exact. Products of rows, with room for their rounding, only rule out rows that cannot be
/// among the nearest; the others are measured by differences, so that close rows keep their relative
/// precision and equal rows have distance 0. Neighbours are ranked by squared distance, equally distant ones
/// by lowest index; a distance that is NaN comes after all others. The call takes the memory of both sets
/// once more, or none where queries are few. With `k` of 32 or more it also takes 1 MiB for each thread, or
/// 64 `k` entries of 8 bytes (in `f64` 16) where that is more.
///
/// # Accuracy
///
/// The distance of each rank is within (D/32 + 4) eps of the exact distance of that rank.
///
/// # Errors
///
/// Refused where the columns differ, `k` is 0 or above M, N or M does not fit in a `u32`, or there is no
/// memory for N x `k` neighbours.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::{Cx, Mat, pairs};
/// let references = [0.0_f32, 10.0, 20.0, 30.0];
/// let queries = [12.0_f32, 29.0];
/// let (queries, references) = (Mat::new(&queries, 2, 1)?, Mat::new(&references, 4, 1)?);
/// let found = pairs::nearest(&Cx::default(), queries, references, 2)?;
/// assert_eq!(found.row(0), ([1, 2].as_slice(), [2.0, 8.0].as_slice()));
/// assert_eq!(found.row(1).0, [3, 2]);
/// # Ok(()) }
/// ```
#[inline(never)]
pub fn nearest<T: Real>(
    cx: &Cx,
    queries: Mat<T>,
    references: Mat<T>,
    k: usize,
) -> Result<Neighbours<T>> {
    let expected = [queries.rows(), references.cols()];
    check_shape("nearest", "queries", queries.shape(), expected, "the columns of references")?;
    check_k(k, references.rows(), "from 1 to the number of references")?;
    check_samples(references.rows())?;
    check_samples(queries.rows())?;
    Ok(Neighbours::new(k, against(cx, queries, references, k)?))
}

/// The `k` nearest of the other rows for each row of `set`, N x D: as [`nearest`], without the row itself.
/// Each pair is measured once, or with `k` of 32 or more once from each of its rows.
///
/// Refused where `k` is 0 or N or more, N does not fit in a `u32`, or there is no memory for N x `k` neighbours.
#[inline(never)]
pub fn nearest_others<T: Real>(cx: &Cx, set: Mat<T>, k: usize) -> Result<Neighbours<T>> {
    check_k(k, set.rows().saturating_sub(1), "from 1 to the number of samples less one")?;
    check_samples(set.rows())?;
    Ok(Neighbours::new(k, among(cx, set, k, None)?))
}

/// The hardest pairs of each row of a labelled batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Hardest<T> {
    /// The similar rows that are farthest, farthest first.
    pub similar: Neighbours<T>,
    /// The dissimilar rows that are nearest, nearest first.
    pub dissimilar: Neighbours<T>,
}

/// For each row of `set`, N x D, the `k` similar rows that are farthest from it and the `k` dissimilar ones
/// that are nearest: the pairs that cost most. The result is exact and ranked as that of [`nearest`]; a row
/// with fewer than `k` of a kind gets as many as it has.
///
/// Refused where `k` is 0 or N or more, `similar` is not of N samples, or N does not fit in a `u32`.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::{Cx, Mat, Similar, pairs};
/// let set = [0.0_f32, 1.0, 3.0, 4.0];
/// let found = pairs::hardest(&Cx::default(), Mat::new(&set, 4, 1)?, Similar::Labels(&[7, 7, 7, 8]), 2)?;
/// assert_eq!(found.similar.row(0), ([2, 1].as_slice(), [3.0, 1.0].as_slice()));
/// assert_eq!(found.dissimilar.row(0).0, [3]);
/// # Ok(()) }
/// ```
#[inline(never)]
pub fn hardest<T: Real>(cx: &Cx, set: Mat<T>, similar: Similar, k: usize) -> Result<Hardest<T>> {
    check_len("hardest", "similar", similar.samples(), set.rows(), "the rows of set")?;
    check_k(k, set.rows().saturating_sub(1), "from 1 to the number of samples less one")?;
    check_samples(set.rows())?;
    let find = |kind| Ok(Neighbours::new(k, among(cx, set, k, Some((similar, kind)))?));
    Ok(Hardest { similar: find(true)?, dissimilar: find(false)? })
}

/// The graph in which two rows of `data`, N x D, are similar if either is among the `k` nearest of
/// the other: the similar set of Hadsell, Chopra and LeCun (2006), there with k = 5.
///
/// Refused where `k` is 0 or N or more, N does not fit in a `u32`, or a row has fewer than `k` rows
/// at a distance that is a number.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::{Cx, Mat, pairs};
/// let data = [0.0_f32, 1.0, 3.0, 9.0];
/// let graph = pairs::neighbour_graph(&Cx::default(), Mat::new(&data, 4, 1)?, 1)?;
/// assert_eq!(graph.neighbours(2), [1, 3]);
/// # Ok(()) }
/// ```
#[inline(never)]
pub fn neighbour_graph<T: Real>(cx: &Cx, data: Mat<T>, k: usize) -> Result<Graph> {
    let found = nearest_others(cx, data, k)?;
    let mut pairs = try_with_capacity("the pairs of a neighbour graph", found.indices.len())?;
    for i in 0..found.rows() {
        let (indices, distances) = found.row(i);
        if distances.iter().any(|d| d.is_nan()) {
            let reason = format!("sample {i} has fewer than {k} neighbours: distances are NaN");
            return Err(Error::Pairs { reason });
        }
        pairs.extend(indices.iter().map(|&j| (i as u32, j)));
    }
    Graph::from_pairs(data.rows(), &pairs)
}
compiled!(nearest::<T>, nearest_others::<T>, hardest::<T>, neighbour_graph::<T>);

fn check_k(k: usize, most: usize, expected: &'static str) -> Result<()> {
    if (1..=most).contains(&k) {
        Ok(())
    } else {
        Err(Error::Value { arg: "k", got: k as f64, expected })
    }
}
