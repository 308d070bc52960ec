//! Exact k nearest neighbours, and the neighbour graph of a training set.

#![forbid(unsafe_code)]

use crate::cx::Cx;
use crate::error::{Error, Result, check_shape};
use crate::graph::{Graph, check_samples};
use crate::kernel::nearest::Nearest;
use crate::mat::Mat;
use crate::par::{Chunks, for_blocks};
use crate::real::Real;

/// The most tasks that a search is cut into.
const MOST_TASKS: usize = 64;

/// Differences of elements that are worth handing to another thread.
const TASK_ELEMENTS: usize = 1 << 18;

/// The k nearest references of each query, nearest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours<T> {
    k: usize,
    indices: Vec<u32>,
    distances: Vec<T>,
}

impl<T: Real> Neighbours<T> {
    /// The number of queries.
    pub fn rows(&self) -> usize {
        self.indices.len() / self.k
    }

    /// The number of neighbours of each query.
    pub fn k(&self) -> usize {
        self.k
    }

    /// The neighbours of query `i`, and their Euclidean distances from it.
    ///
    /// # Panics
    /// Where `i` is not below the number of queries.
    pub fn row(&self, i: usize) -> (&[u32], &[T]) {
        assert!(i < self.rows(), "query {i} of {}", self.rows());
        let row = i * self.k..(i + 1) * self.k;
        (&self.indices[row.clone()], &self.distances[row])
    }

    /// The neighbours of all queries: `rows` x `k`, row after row.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Each query with each of its neighbours, query after query.
    pub fn pairs(&self) -> impl Iterator<Item = (u32, u32)> {
        self.indices.iter().enumerate().map(|(at, &j)| ((at / self.k) as u32, j))
    }

    /// The Euclidean distances of all queries from their neighbours: `rows` x `k`, row after row.
    pub fn distances(&self) -> &[T] {
        &self.distances
    }
}

/// The `k` nearest of the rows of `references`, M x D, for each row of `queries`, N x D.
///
/// Exact: every distance is measured, from differences, so that close rows keep their relative
/// precision and equal rows have distance 0. Ranked by squared distance, equal ones by lowest
/// index; a distance that is NaN comes after all others.
///
/// Refused where the columns differ, `k` is 0 or above M, or M does not fit in a `u32`.
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
pub fn nearest<T: Real>(
    cx: &Cx,
    queries: Mat<T>,
    references: Mat<T>,
    k: usize,
) -> Result<Neighbours<T>> {
    let expected = [queries.rows(), references.cols()];
    check_shape("nearest", "queries", queries.shape(), expected, "the columns of references")?;
    check_k(k, references.rows(), "from 1 to the number of references")?;
    search(cx, queries, references, false, k)
}

/// The `k` nearest of the other rows for each row of `set`, N x D: as [`nearest`], without the row
/// itself.
///
/// Refused where `k` is 0 or N or more, or N does not fit in a `u32`.
pub fn nearest_others<T: Real>(cx: &Cx, set: Mat<T>, k: usize) -> Result<Neighbours<T>> {
    check_k(k, set.rows().saturating_sub(1), "from 1 to the number of samples less one")?;
    search(cx, set, set, true, k)
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
pub fn neighbour_graph<T: Real>(cx: &Cx, data: Mat<T>, k: usize) -> Result<Graph> {
    let found = nearest_others(cx, data, k)?;
    let mut pairs = Vec::with_capacity(found.indices.len());
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

fn check_k(k: usize, most: usize, expected: &'static str) -> Result<()> {
    if (1..=most).contains(&k) {
        Ok(())
    } else {
        Err(Error::Value { arg: "k", got: k as f64, expected })
    }
}

/// Cuts the queries into tasks: each streams all references through its cache once.
fn search<T: Real>(
    cx: &Cx,
    queries: Mat<T>,
    references: Mat<T>,
    others: bool,
    k: usize,
) -> Result<Neighbours<T>> {
    check_samples(references.rows())?;
    let n = queries.rows();
    let len = n.checked_mul(k).filter(|&len| len <= isize::MAX as usize / size_of::<f64>());
    let len = len.ok_or(Error::Overflow { what: "a list of neighbours" })?;
    let (mut indices, mut distances) = (vec![0; len], vec![T::ZERO; len]);
    let elements_per_row = references.rows().saturating_mul(references.cols()).max(1);
    let height = (TASK_ELEMENTS / elements_per_row).max(n.div_ceil(MOST_TASKS));
    let height = height.min(n.max(1)).next_multiple_of(16);
    let output = (Chunks(&mut indices, height * k), Chunks(&mut distances, height * k));
    for_blocks(cx.par, n.div_ceil(height), output, |block, (indices, distances)| {
        let (start, end) = (block * height, ((block + 1) * height).min(n));
        let kernel = Nearest {
            queries: queries.rows_range(start, end),
            references,
            own: others.then_some(start),
            k,
            indices: indices.0,
            distances: distances.0,
        };
        T::dispatch(cx.isa, kernel);
    });
    Ok(Neighbours { k, indices, distances })
}
