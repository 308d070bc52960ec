//! The quality of an embedding: the error of a nearest-neighbour classifier on it.

#![forbid(unsafe_code)]

use std::cmp::Reverse;

use super::{Neighbours, nearest, nearest_others};
use crate::error::{Result, check_len};
use crate::memory::mat::Mat;
use crate::parallel::cx::Cx;
use crate::simd::real::{Real, compiled};

/// The error of a k-nearest-neighbour classifier: the share of the rows of `test`, N x D, whose label is not
/// that of the majority of their `k` nearest rows of `train`, M x D; 0 where `test` has no rows.
///
/// Among classes with the same number of neighbours the one whose nearest comes first wins; for
/// the order of neighbours see [`nearest`].
///
/// Refused where the number of labels or columns does not match, `k` is 0 or above M, or M does not
/// fit in a `u32`.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::{Cx, Mat, metrics};
/// let (train, test) = ([0.0_f32, 1.0, 8.0, 9.0], [2.0_f32, 3.0]);
/// let (train, test) = (Mat::new(&train, 4, 1)?, Mat::new(&test, 2, 1)?);
/// let error = metrics::knn_error(&Cx::default(), train, &[0, 0, 1, 1], test, &[0, 1], 1)?;
/// assert_eq!(error, 0.5);
/// # Ok(()) }
/// ```
#[inline(never)]
pub fn knn_error<T: Real>(
    cx: &Cx,
    train: Mat<T>,
    train_labels: &[i64],
    test: Mat<T>,
    test_labels: &[i64],
    k: usize,
) -> Result<f64> {
    check_len("knn_error", "train_labels", train_labels.len(), train.rows(), "the rows of train")?;
    check_len("knn_error", "test_labels", test_labels.len(), test.rows(), "the rows of test")?;
    Ok(error(&nearest(cx, test, train, k)?, train_labels, test_labels))
}

/// As [`knn_error`], each row of `set`, N x D, against all rows but itself.
///
/// Refused where the number of labels does not match, `k` is 0 or N or more, or N does not fit in a
/// `u32`.
#[inline(never)]
pub fn knn_error_leave_one_out<T: Real>(
    cx: &Cx,
    set: Mat<T>,
    labels: &[i64],
    k: usize,
) -> Result<f64> {
    check_len("knn_error_leave_one_out", "labels", labels.len(), set.rows(), "the rows of set")?;
    Ok(error(&nearest_others(cx, set, k)?, labels, labels))
}
compiled!(knn_error::<T>, knn_error_leave_one_out::<T>);

fn error<T: Real>(found: &Neighbours<T>, reference_labels: &[i64], labels: &[i64]) -> f64 {
    let mut votes = Vec::new();
    let wrong = |i: &usize| {
        let neighbours = found.row(*i).0;
        majority(neighbours.iter().map(|&j| reference_labels[j as usize]), &mut votes) != labels[*i]
    };
    let wrong = (0..labels.len()).filter(wrong).count();
    wrong as f64 / labels.len().max(1) as f64
}

/// The most frequent label; of several such, the one that comes first. `votes` is scratch.
fn majority(labels: impl Iterator<Item = i64>, votes: &mut Vec<(i64, usize)>) -> i64 {
    votes.clear();
    // Labels are sorted with their places: equal ones come together, the first place of each first.
    votes.extend(labels.zip(0..));
    votes.sort_unstable();
    let of_labels = votes.chunk_by(|one, other| one.0 == other.0);
    let most = of_labels.max_by_key(|votes| (votes.len(), Reverse(votes[0].1)));
    most.map_or(0, |votes| votes[0].0)
}
