//! Softmax cross entropy: what a classifier over the rows of a batch is trained with, and what a network
//! that was trained on pairs is compared with.

#![forbid(unsafe_code)]

use crate::batch::blocking::task_rows;
use crate::error::{Error, Result, check_len, check_shape};
use crate::kernel::rows::cross_entropy::{CrossEntropyRows, RowSums};
use crate::memory::mat::{Mat, MatMut};
use crate::parallel::cx::Cx;
use crate::parallel::split::{RowBlocks, sum_blocks};
use crate::simd::real::{Real, compiled};

/// How the rows of [`cross_entropy`] are added up, and what is known of them beside their labels.
///
/// With the value l_i and the weight w_i (else 1) of each row that is not left out:
///
/// | | value |
/// |---|---|
/// | [`sum`](CrossEntropy::sum) | S = sum of w_i l_i |
/// | [`mean`](CrossEntropy::mean) | S / W with W = sum of w_i, as in PyTorch; S times 0 where W is 0, as it is where there is no row |
///
/// ```
/// use drlim::batch::CrossEntropy;
/// let weights = [1.0_f32, 0.5, 2.0];
/// let how = CrossEntropy::mean().weighted(&weights).ignoring(-100);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy<'a, T> {
    mean: bool,
    scale: T,
    weights: Option<&'a [T]>,
    ignored: Option<i64>,
}

impl<'a, T: Real> CrossEntropy<'a, T> {
    /// The sum over rows.
    pub fn sum() -> Self {
        CrossEntropy { mean: false, scale: T::ONE, weights: None, ignored: None }
    }

    /// The mean over rows that are not left out, by their weights.
    pub fn mean() -> Self {
        CrossEntropy { mean: true, ..CrossEntropy::sum() }
    }

    /// What each row counts, N elements. (Weights of classes are those of the label of each row.)
    pub fn weighted(self, weights: &'a [T]) -> Self {
        CrossEntropy { weights: Some(weights), ..self }
    }

    /// Rows with this label are left out: they are not counted, and their gradients are 0 whatever their
    /// logits hold. It may be a class, or none; PyTorch has -100.
    pub fn ignoring(self, label: i64) -> Self {
        CrossEntropy { ignored: Some(label), ..self }
    }

    /// What the gradient, and only that, is multiplied by: the derivative of the caller's own objective with
    /// respect to this value.
    pub fn scaled(self, scale: T) -> Self {
        CrossEntropy { scale, ..self }
    }
}

/// What [`cross_entropy`] reports.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CrossEntropyOutcome {
    /// The sum or the mean, not multiplied by the scale.
    pub value: f64,
    /// How many rows there were, without those left out.
    pub rows: u64,
    /// How many of them had a larger logit at their label than at every other class. A row with a NaN is
    /// not among them.
    pub correct: u64,
}

/// The softmax cross entropy of N rows of logits, and its gradient, in one pass over memory.
///
/// `logits` and `grad` are N x C, one column for each class; `labels` has N elements, each the column that
/// its row should be largest in, or the label that `how` leaves out. With x = logits_i, y = labels_i, the
/// weight w_i of a row, and f the factor of the reduction (1, or 1 / W) times the scale:
///
/// ```text
/// p_k = exp(x_k) / sum over j of exp(x_j)
/// l_i = -ln(p_y)                 value = sum, or mean, of w_i l_i
/// grad_ik = f w_i (p_k - [k = y])
/// ```
///
/// Neither large logits nor nearly certain rows lose anything: the largest logit is taken away first, and
/// the small 1 - p_y of a nearly certain row is the sum of the other p_k. The result does not depend on the
/// number of threads. Without rows the value is 0.
///
/// A logit of negative infinity has probability 0. A row that has a NaN, or positive infinity, or nothing
/// but negative infinity, has NaN for its value and gradient; no other row does.
///
/// # Accuracy
///
/// With B = C/32 + 12 + R, where R is the largest logit of a row less the smallest one, though not more than
/// 104 in `f32` and 746 in `f64`: l_i and each element of the gradient are within B eps of the exact ones,
/// relative to them; powers below the smallest normal number may be lost. Values are added up in `f64`.
///
/// # Errors
///
/// Refused where a shape does not match, or where a label is no column and not the one left out; nothing
/// has been written then.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::batch::{CrossEntropy, cross_entropy};
/// use drlim::{Cx, Mat, MatMut};
///
/// // Three rows, two classes; the last row is of no class.
/// let logits = [2.0_f32, 0.0, /**/ 0.0, 0.0, /**/ 5.0, 1.0];
/// let (labels, mut grad) = ([0, 1, -100], [0.0; 6]);
/// let (x, to) = (Mat::new(&logits, 3, 2)?, MatMut::new(&mut grad, 3, 2)?);
/// let how = CrossEntropy::mean().ignoring(-100);
/// let outcome = cross_entropy(&Cx::default(), x, &labels, how, Some(to))?;
///
/// let l = [(-2.0_f64).exp().ln_1p(), 2.0_f64.ln()];
/// assert!((outcome.value - (l[0] + l[1]) / 2.0).abs() < 1e-7);
/// assert_eq!((outcome.rows, outcome.correct), (2, 1)); // the second row is undecided
/// assert_eq!(grad[2..], [0.25, -0.25, 0.0, 0.0]);
///
/// let wrong = cross_entropy(&Cx::default(), x, &[0, 1, 2], how, None).unwrap_err();
/// assert!(wrong.to_string().starts_with("cross_entropy: labels[2] is 2, expected 0 or more and below 2"));
/// # Ok(()) }
/// ```
#[inline(never)]
pub fn cross_entropy<T: Real>(
    cx: &Cx,
    logits: Mat<T>,
    labels: &[i64],
    how: CrossEntropy<T>,
    grad: Option<MatMut<T>>,
) -> Result<CrossEntropyOutcome> {
    let call = "cross_entropy";
    let [n, classes] = logits.shape();
    check_len(call, "labels", labels.len(), n, "the rows of logits")?;
    if let Some(weights) = how.weights {
        check_len(call, "weights", weights.len(), n, "the rows of logits")?;
    }
    if let Some(grad) = &grad {
        check_shape(call, "grad", grad.shape(), logits.shape(), "as logits")?;
    }
    let (rows, weight) = counted(call, labels, classes, how)?;
    let factor = match how.mean {
        false => 1.0,
        true if weight == 0.0 => 0.0,
        true => 1.0 / weight,
    };

    let CrossEntropy { weights, ignored, .. } = how;
    let height = task_rows(n, classes.saturating_mul(2 * size_of::<T>()));
    let output = grad.map(|grad| RowBlocks(grad, height));
    let task = |block: usize, grad: Option<RowBlocks<T>>| {
        let (start, end) = (block * height, ((block + 1) * height).min(n));
        let kernel = CrossEntropyRows {
            logits: logits.rows_range(start, end),
            labels: &labels[start..end],
            ignored,
            weights: weights.map(|weights| &weights[start..end]),
            factor: how.scale.to_f64() * factor,
            grad: grad.map(|grad| grad.0),
        };
        T::dispatch(cx.isa, kernel)
    };
    let sums: RowSums = sum_blocks(cx.par, n.div_ceil(height), output, task, |a, b| a + b);
    Ok(CrossEntropyOutcome { value: factor * sums.value, rows, correct: sums.correct })
}
compiled!(cross_entropy::<T>);

/// How many rows are not left out, and their weights together. Refuses labels that are no class.
fn counted<T: Real>(
    call: &'static str,
    labels: &[i64],
    classes: usize,
    how: CrossEntropy<T>,
) -> Result<(u64, f64)> {
    /// Weights that are added up by themselves, so that sums of many round no worse than those of a few.
    const OF_A_SUM: usize = 256;
    let (mut rows, mut weight) = (0, 0.0);
    for (part, labels) in labels.chunks(OF_A_SUM).enumerate() {
        let mut of_part = 0.0;
        for (i, &label) in labels.iter().enumerate() {
            if how.ignored == Some(label) {
                continue;
            }
            let at = part * OF_A_SUM + i;
            if usize::try_from(label).map_or(true, |column| column >= classes) {
                return Err(Error::Label { call, at, label, classes });
            }
            rows += 1;
            of_part += how.weights.map_or(1.0, |weights| weights[at].to_f64());
        }
        weight += of_part;
    }
    Ok((rows, weight))
}
