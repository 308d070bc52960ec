//! Every row of a batch as an anchor, against all other rows.

#![forbid(unsafe_code)]

use super::counts::{by_class, by_graph};
use super::passes::{AnchorScratch, Call, Outputs, reference};
use crate::batch::blocking::{block_rows, serial_if_small};
use crate::batch::pairwise::packed_rows::{ALL_ROWS, center};
use crate::error::{Result, check_len, check_shape};
use crate::kernel::pairwise::similarity::{Classes, SelfPairs, Similarity};
use crate::loss::{AnchorObjective, AnchorOutcome, AnchorSums, Measure};
use crate::memory::mat::{Mat, MatMut};
use crate::parallel::cx::Cx;
use crate::simd::real::{Real, compiled};
use crate::similar::graph::{Similar, check_samples};

/// What [`all_anchors`] writes, each if it is given.
#[derive(Debug, Default)]
pub struct AnchorsOut<'a, T> {
    /// B x D, overwritten.
    pub grad: Option<MatMut<'a, T>>,
    /// The value of each anchor times its weight, B elements, overwritten.
    pub values: Option<&'a mut [T]>,
    /// The sums of each anchor, B elements, overwritten.
    pub sums: Option<&'a mut [AnchorSums]>,
    /// The derivative by the scale of the loss, which must have one
    /// ([`AnchorLoss::scale`](crate::loss::AnchorLoss::scale)); overwritten.
    pub grad_scale: Option<&'a mut f64>,
}

impl<'a, T: Real> AnchorsOut<'a, T> {
    /// Nothing: the outcome alone.
    pub fn none() -> Self {
        AnchorsOut { grad: None, values: None, sums: None, grad_scale: None }
    }

    /// The gradient.
    pub fn grad(grad: MatMut<'a, T>) -> Self {
        AnchorsOut { grad: Some(grad), ..AnchorsOut::none() }
    }
}

/// Loss and gradient of the rows of `z`, B x D, as anchors: the candidates of each are all other rows.
///
/// `similar` says which pairs are similar, by labels or by a graph; all others are dissimilar. A row that labels
/// leave out is neither an anchor nor a candidate. With the loss l of an anchor
/// ([`AnchorLoss`](crate::loss::AnchorLoss)), the factor f of the reduction and the weight v_i of each anchor:
///
/// ```text
/// value = f sum over i of v_i l_i        W_ij = scale f (v_i dl_i/du_ij + v_j dl_j/du_ij)
///
/// u = 1 - |z_i - z_j|²/2                 grad_i = -sum over j of W_ij (z_i - z_j)
/// u = z_i·z_j                            grad_i =  sum over j of W_ij z_j
/// u = -d                                 grad_i = -sum over j of W_ij (z_i - z_j)/d_ij
/// u = -ln(1 + d²)                        grad_i = -sum over j of 2 W_ij (z_i - z_j)/(1 + d²_ij)
/// ```
///
/// SupCon is [`Softmax`](crate::loss::Softmax) by labels; NT-Xent of two views is the same with a label for
/// each image. Nothing of size B x B exists at any time: similarities are computed once for the log-sums and
/// again for the weights, each pair once, in tiles that serve both rows as anchors.
///
/// # Accuracy
///
/// With the largest error e of an exponent, which is the scale times that of u (for [`Measure::Cosine`] half of
/// the error of d², as for [`all_pairs`](crate::batch::all_pairs()); for [`Measure::Dot`]
/// ((min(D, 128) + D/128)/2 + 2) eps sum_k |z_ik z_jk|): a value l is within 2e + 40 eps (1 + |l|) of the exact
/// one, and each weight within 2e + 50 eps, relative: sums of powers are in lanes within a block of 128 rows.
///
/// # Errors
///
/// Refused where a shape does not match, B does not fit in a `u32`, `grad_scale` is asked of a loss without a
/// scale, sums that are known are NaN, negative or of more than 2^32 - 1 pairs, or weights are given to a loss that
/// [looks at both ends](crate::loss::AnchorLoss::couples) of a pair; nothing has been written then.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::batch::{AnchorScratch, AnchorsOut, all_anchors};
/// use drlim::loss::{AnchorObjective, Softmax};
/// use drlim::{Cx, Mat, MatMut, Similar};
///
/// // Two classes of two rows of unit length.
/// let z = [1.0_f32, 0.0, /**/ 0.8, 0.6, /**/ 0.0, 1.0, /**/ -0.6, 0.8];
/// let labels = [3, 3, 7, 7];
/// let supcon = Softmax::temperature(0.1)?;
/// let mut grad = [0.0; 8];
/// let outcome = all_anchors(
///     &Cx::default(),
///     &AnchorObjective::mean(&supcon),
///     Mat::new(&z, 4, 2)?,
///     Similar::Labels(&labels),
///     AnchorsOut::grad(MatMut::new(&mut grad, 4, 2)?),
///     &mut AnchorScratch::new(),
/// )?;
/// // The first row: cosines 0.8, 0 and -0.6, of which the first is similar.
/// let first = (8.0_f64.exp() + 1.0 + (-6.0_f64).exp()).ln() - 8.0;
/// let second = (8.0_f64.exp() + 6.0_f64.exp() + 1.0).ln() - 8.0;
/// let third = (8.0_f64.exp() + 6.0_f64.exp() + 1.0).ln() - 8.0;
/// let fourth = (8.0_f64.exp() + 1.0 + (-6.0_f64).exp()).ln() - 8.0;
/// assert!((outcome.value - (first + second + third + fourth) / 4.0).abs() < 1e-6);
/// assert_eq!(outcome.totals[0].correct, 4); // each is closest to its own kind
/// # Ok(()) }
/// ```
#[inline(never)]
pub fn all_anchors<T: Real>(
    cx: &Cx,
    objective: &AnchorObjective<T>,
    z: Mat<T>,
    similar: Similar,
    out: AnchorsOut<T>,
    scratch: &mut AnchorScratch<T>,
) -> Result<AnchorOutcome> {
    let (call, n) = ("all_anchors", z.rows());
    check_samples(n)?;
    check_len(call, "similar", similar.samples(), n, "the rows of z")?;
    if let Some(grad) = &out.grad {
        check_shape(call, "grad", grad.shape(), z.shape(), "as z")?;
    }
    let AnchorsOut { grad, values, sums, grad_scale } = out;
    let grads = [grad.filter(|_| z.cols() > 0), None];
    let out = Outputs { grads, values, sums, grad_scale };
    out.check(call, objective, n, "the rows of z")?;
    if n == 0 {
        if let Some(by_scale) = out.grad_scale {
            *by_scale = 0.0;
        }
        return Ok(AnchorOutcome::default()); // of any number of columns
    }
    let cx = &serial_if_small(cx, n.saturating_mul(n), z.cols());

    let AnchorScratch { sets: [set, none], own, states, gradients, slopes, kept } = scratch;
    set.order_of(&similar);
    if objective.measure == Measure::Dot {
        set.prepare_products(cx, z, out.grads[0].is_some(), block_rows(n));
    } else {
        let mean = center(cx, [(&*set, z)], ALL_ROWS);
        set.prepare_pairs(cx, z, &mean, out.grads[0].is_some());
    }
    own.clear();
    own.extend(0..n as u32);
    let counts = match similar {
        Similar::Graph(graph) => by_graph(graph, [0; 2], [n; 2]),
        _ => by_class(&set.classes, &set.classes, Some),
    };
    let norm = set.largest_norm(cx, z, objective.measure == Measure::Dot);
    let reference = reference(objective, [norm; 2]);
    states[0].start(counts, &set.order, objective.known, (reference, objective.shift(cx.isa)));
    states[1].start(Vec::new(), &[], None, (None, 0.0));
    let classes = std::mem::take(&mut set.classes);
    let kinds = [None, Some(SelfPairs { places: own })].map(|own| match similar {
        Similar::Graph(graph) => Similarity::Graph { graph, first: [0; 2] },
        _ => Similarity::Classes(Classes { of: [&classes; 2], spheres: None, pulled: &[], own }),
    });
    let anchors = [true, false];
    let call = Call { cx, objective, z: [z; 2], among: true, anchors, reference, strips: None };
    let outcome = call.run(kinds, [set, none], states, gradients, (slopes, kept), out);
    set.classes = classes;
    Ok(outcome)
}
compiled!(all_anchors::<T>);
