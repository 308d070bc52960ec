//! Queries, keys or both as anchors, against each other.

#![forbid(unsafe_code)]

use super::counts::{by_class, by_graph};
use super::passes::{AnchorScratch, Call, Outputs, reference};
use super::strips::Strips;
use crate::batch::blocking::{block_rows, serial_if_small};
use crate::batch::pairwise::CrossOut;
use crate::batch::pairwise::cross::{self, CrossRule, CrossSimilar};
use crate::batch::pairwise::packed_rows::{ALL_ROWS, center, number_classes};
use crate::error::{Error, Result};
use crate::kernel::pairwise::similarity::{Classes, SelfPairs, Similarity};
use crate::kernel::rows::planar::WIDEST;
use crate::loss::{AnchorObjective, AnchorOutcome, AnchorSums, Measure};
use crate::memory::mat::{Mat, MatMut};
use crate::parallel::cx::Cx;
use crate::simd::real::{Real, compiled};

/// The rows that are anchors of [`cross_anchors`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchors {
    /// Queries: each against all keys. InfoNCE, multiple negatives ranking, classes as keys.
    Queries,
    /// Keys: each against all queries.
    Keys,
    /// Both: the value is the mean of both directions, each reduced by itself. CLIP, symmetric ranking.
    Both,
}

/// What [`cross_anchors`] writes, each if it is given. Slices have an element for each anchor: N for queries, M
/// for keys, N and then M for both.
#[derive(Debug, Default)]
pub struct CrossAnchorsOut<'a, T> {
    /// N x D, overwritten.
    pub grad_queries: Option<MatMut<'a, T>>,
    /// M x D, overwritten.
    pub grad_keys: Option<MatMut<'a, T>>,
    /// The value of each anchor times its weight, overwritten.
    pub values: Option<&'a mut [T]>,
    /// The sums of each anchor, overwritten.
    pub sums: Option<&'a mut [AnchorSums]>,
    /// The derivative by the scale of the loss, which must have one
    /// ([`AnchorLoss::scale`](crate::loss::AnchorLoss::scale)); overwritten.
    pub grad_scale: Option<&'a mut f64>,
}

impl<'a, T: Real> CrossAnchorsOut<'a, T> {
    /// Nothing: the outcome alone.
    pub fn none() -> Self {
        let (grad_queries, grad_keys, values, sums, grad_scale) = (None, None, None, None, None);
        CrossAnchorsOut { grad_queries, grad_keys, values, sums, grad_scale }
    }

    /// The gradient of the queries alone, where the keys are a memory bank, say.
    pub fn grad_queries(grad: MatMut<'a, T>) -> Self {
        CrossAnchorsOut { grad_queries: Some(grad), ..CrossAnchorsOut::none() }
    }

    /// Both gradients.
    pub fn grads(queries: MatMut<'a, T>, keys: MatMut<'a, T>) -> Self {
        CrossAnchorsOut { grad_keys: Some(keys), ..CrossAnchorsOut::grad_queries(queries) }
    }
}

/// Loss and gradients of the rows of `queries`, N x D, and of `keys`, M x D, as anchors of each other.
///
/// The candidates of a query are all keys, those of a key all queries. `similar` says which pairs are similar:
/// [`CrossSimilar::Position`] where key i belongs to query i, as in InfoNCE and CLIP. Keys beyond the positives,
/// such as hard negatives, are more keys. Rows against class vectors are queries against keys whose labels are
/// the classes. With `own`, key `own + i` is query i itself, and the two make no pair.
///
/// ```text
/// value = f sum over anchors of v l        W_ij = scale f (v_i dl_i/du_ij + v_j dl_j/du_ij)     by anchor
///
/// (of both directions, f is half of each one's factor)
///
/// u = 1 - |q_i - k_j|²/2                   grad_queries_i = -sum over j of W_ij (q_i - k_j)
/// u = q_i·k_j                              grad_queries_i =  sum over j of W_ij k_j
/// ```
///
/// Memory and precision are those of [`all_anchors`](crate::batch::all_anchors()).
///
/// # Parts
///
/// Of a batch whose keys several machines hold, each calls this for its queries and every part of the keys, asks
/// for `sums`, and adds them up by `+` for each query. With these as
/// [`known`](AnchorObjective::known), and the reduction as a
/// [`Factor`](crate::loss::AnchorReduction::Factor), the same calls give each part's gradients. Losses that
/// [look twice](crate::loss::AnchorLoss::looks_twice) take three rounds: the second one starts from the merged
/// sums [`without_each`](AnchorSums::without_each), and its `each` are added up by
/// [`add_each`](AnchorSums::add_each).
///
/// # Errors
///
/// Refused where a shape does not match, `own` or a first sample points past the end, rows of either side do not
/// fit in a `u32`, `grad_scale` is asked of a loss without a scale, sums that are known are NaN, negative or of
/// more than 2^32 - 1 pairs, or the loss [looks at both ends](crate::loss::AnchorLoss::couples) of a pair; nothing
/// has been written then.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::batch::{Anchors, AnchorScratch, CrossAnchorsOut, CrossSimilar, cross_anchors};
/// use drlim::loss::{AnchorObjective, Softmax};
/// use drlim::{Cx, Mat, MatMut};
///
/// // InfoNCE of two queries: key i belongs to query i, the third key is a hard negative.
/// let queries = [1.0_f32, 0.0, /**/ 0.0, 1.0];
/// let keys = [0.8_f32, 0.6, /**/ 0.6, 0.8, /**/ 0.0, -1.0];
/// let loss = Softmax::scale(10.0)?;
/// let (mut grad_queries, mut grad_scale) = ([0.0; 4], 0.0);
/// let mut out = CrossAnchorsOut::grad_queries(MatMut::new(&mut grad_queries, 2, 2)?);
/// out.grad_scale = Some(&mut grad_scale);
/// let outcome = cross_anchors(
///     &Cx::default(),
///     &AnchorObjective::mean(&loss),
///     Mat::new(&queries, 2, 2)?,
///     Mat::new(&keys, 3, 2)?,
///     CrossSimilar::Position { first_key: 0 },
///     None,
///     Anchors::Queries,
///     out,
///     &mut AnchorScratch::new(),
/// )?;
/// let of_first = (8.0_f64.exp() + 6.0_f64.exp() + 1.0).ln() - 8.0;
/// let of_second = (8.0_f64.exp() + 6.0_f64.exp() + (-10.0_f64).exp()).ln() - 8.0;
/// assert!((outcome.value - (of_first + of_second) / 2.0).abs() < 1e-6);
/// assert_eq!(outcome.totals[0].correct, 2);
/// # Ok(()) }
/// ```
#[allow(clippy::too_many_arguments, reason = "each is one thing that a caller decides")]
#[inline(never)]
pub fn cross_anchors<T: Real>(
    cx: &Cx,
    objective: &AnchorObjective<T>,
    queries: Mat<T>,
    keys: Mat<T>,
    similar: CrossSimilar,
    own: Option<usize>,
    anchors: Anchors,
    out: CrossAnchorsOut<T>,
    scratch: &mut AnchorScratch<T>,
) -> Result<AnchorOutcome> {
    let call = "cross_anchors";
    let CrossAnchorsOut { grad_queries, grad_keys, values, sums, grad_scale } = out;
    let grads = CrossOut { grad_queries, grad_keys, slope_totals: None };
    cross::check(call, queries, keys, similar, own, &grads)?;
    if objective.loss.couples_block() {
        let reason = "the loss looks at both ends of a pair, expected all_anchors".into();
        return Err(Error::Pairs { reason });
    }
    let (n, m, d) = (queries.rows(), keys.rows(), queries.cols());
    let (anchors, len) = match anchors {
        Anchors::Queries => ([true, false], n),
        Anchors::Keys => ([false, true], m),
        Anchors::Both => ([true, true], n + m),
    };
    // Rows without elements have no gradient.
    let grads = [grads.grad_queries, grads.grad_keys].map(|grad| grad.filter(|_| d > 0));
    let out = Outputs { grads, values, sums, grad_scale };
    out.check(call, objective, len, "the anchors")?;
    if n == 0 && m == 0 {
        if let Some(by_scale) = out.grad_scale {
            *by_scale = 0.0;
        }
        return Ok(AnchorOutcome::default()); // of any number of columns
    }
    let cx = &serial_if_small(cx, n.saturating_mul(m), d);

    let AnchorScratch { sets: [i, j], own: own_places, states, gradients, slopes, kept } = scratch;
    let labels = similar.position_labels(n, m);
    own_places.clear();
    let rule = similar.rule(&labels);
    match rule {
        CrossRule::Labels { queries: of_i, keys: of_j, ignored } => {
            i.order_by_label(of_i, ignored);
            j.order_by_label(of_j, ignored);
            number_classes([&mut *i, &mut *j], [of_i, of_j], ignored);
            if let Some(first) = own {
                j.find_places();
                own_places.extend(i.order.iter().map(|&row| j.places[first + row as usize]));
            }
        }
        CrossRule::Graph { .. } => {
            i.keep_order(n);
            j.keep_order(m);
        }
    }
    let gradient = out.grads.iter().any(Option::is_some);
    // Sums that are known need no pass of their own, and short rows no products.
    let by_differences = objective.measure != Measure::Dot && d <= WIDEST;
    let strips = Strips::new::<T>(n, m, d)
        .filter(|_| anchors == [true, false] && objective.known.is_none() && !by_differences);
    let of_queries = strips.map_or(block_rows(n), |strips| strips.rows);
    if objective.measure == Measure::Dot {
        i.prepare_products(cx, queries, gradient, of_queries);
        j.prepare_products(cx, keys, gradient, block_rows(m));
    } else {
        let mean = center(cx, [(&*i, queries), (&*j, keys)], ALL_ROWS);
        i.prepare_pairs_in(cx, queries, &mean, gradient, of_queries);
        j.prepare_pairs(cx, keys, &mean, gradient);
    }
    let counts = match rule {
        CrossRule::Graph { graph, first: [query, key] } => {
            [by_graph(graph, [query, key], [n, m]), by_graph(graph, [key, query], [m, n])]
        }
        CrossRule::Labels { .. } => {
            let mut queries_of = vec![None; if own.is_some() { m } else { 0 }];
            for (place, &own) in own_places.iter().enumerate() {
                queries_of[own as usize] = Some(place);
            }
            let own_key = |place: usize| own_places.get(place).map(|&own| own as usize);
            let own_query = |place: usize| queries_of.get(place).copied().flatten();
            [by_class(&i.classes, &j.classes, own_key), by_class(&j.classes, &i.classes, own_query)]
        }
    };
    let products = objective.measure == Measure::Dot;
    let norms = [i.largest_norm(cx, queries, products), j.largest_norm(cx, keys, products)];
    let (reference, shift) = (reference(objective, norms), objective.shift(cx.isa));
    let mut known = objective.known;
    for (side, (state, counts)) in states.iter_mut().zip(counts).enumerate() {
        let of_side = known.filter(|_| anchors[side]).map(|all| all.split_at([n, m][side]));
        known = of_side.map_or(known, |(_, rest)| Some(rest));
        let order = if side == 0 { &i.order } else { &j.order };
        let counts = if anchors[side] { counts } else { Vec::new() };
        state.start(counts, order, of_side.map(|(of_side, _)| of_side), (reference, shift));
    }
    let classes = [&mut *i, &mut *j].map(|set| std::mem::take(&mut set.classes));
    let kinds = [(); 2].map(|()| match rule {
        CrossRule::Graph { graph, first } => Similarity::Graph { graph, first },
        CrossRule::Labels { .. } => Similarity::Classes(Classes {
            of: [&classes[0], &classes[1]],
            spheres: None,
            pulled: &[],
            own: own.map(|_| SelfPairs { places: own_places }),
        }),
    });
    let call = Call { cx, objective, z: [queries, keys], among: false, anchors, reference, strips };
    let outcome = call.run(kinds, [i, j], states, gradients, (slopes, kept), out);
    Ok(outcome)
}
compiled!(cross_anchors::<T>);
