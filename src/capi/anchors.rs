//! Losses of rows as anchors, each against all its candidates at once.

use super::anchor_objective::drlim_anchor_objective;
use super::context::drlim_context;
use super::cross::drlim_cross_similar;
use super::matrix::{drlim_matrix, drlim_matrix_mut};
use super::places::{List, ListMut, PointerArgs};
use super::run::with_scratch;
use super::scratch::{Scratches, drlim_scratch};
use super::similar::drlim_similar;
use super::status::{Refusal, drlim_status, guard};
use crate::batch::{self, Anchors, AnchorsOut, CrossAnchorsOut};
use crate::error::Error;
use crate::loss::{AnchorOutcome, AnchorSums, AnchorTotals};

/// The rows of a call on queries and keys that are anchors:
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct drlim_anchors(pub u32);

impl drlim_anchors {
    /// queries, each against all keys: InfoNCE, rows against class vectors
    pub const QUERIES: drlim_anchors = drlim_anchors(0);
    /// keys, each against all queries
    pub const KEYS: drlim_anchors = drlim_anchors(1);
    /// both: the value is the mean of both directions, each reduced by itself, as in CLIP
    pub const BOTH: drlim_anchors = drlim_anchors(2);

    /// The anchors as Rust has them, and how many there are.
    fn of(self, [queries, keys]: [usize; 2]) -> Result<(Anchors, usize), Refusal> {
        match self {
            drlim_anchors::QUERIES => Ok((Anchors::Queries, queries)),
            drlim_anchors::KEYS => Ok((Anchors::Keys, keys)),
            // More than fit in memory are refused with what has an element for each.
            drlim_anchors::BOTH => Ok((Anchors::Both, queries.saturating_add(keys))),
            drlim_anchors(got) => Err(Refusal::Code { arg: "anchors", got }),
        }
    }
}

/// Sums over the anchors of one direction.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct drlim_anchor_totals {
    /// How many anchors there were, without those left out.
    pub anchors: u64,
    /// How many of them had a similar pair.
    pub with_similar: u64,
    /// How many had a value other than zero. A NaN is not zero.
    pub active: u64,
    /// How many had a similar candidate that is nearer, by exponents, than all dissimilar ones; with
    /// DRLIM_ANCHOR_LOSS_SOFTMAX, COS_FACE and ARC_FACE, else 0.
    pub correct: u64,
    /// Their similar pairs together.
    pub similar: u64,
    /// All their pairs.
    pub pairs: u64,
    /// The sum of their values, weights included.
    pub sum: f64,
}

/// The result of a call on anchors.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct drlim_anchor_outcome {
    /// The objective's value, not multiplied by its scale.
    pub value: f64,
    /// Sums over the rows of a batch, or over queries, as anchors.
    pub queries: drlim_anchor_totals,
    /// Sums over keys as anchors.
    pub keys: drlim_anchor_totals,
}

impl From<AnchorTotals> for drlim_anchor_totals {
    fn from(totals: AnchorTotals) -> Self {
        let AnchorTotals { anchors, with_similar, active, correct, similar, pairs, sum } = totals;
        drlim_anchor_totals { anchors, with_similar, active, correct, similar, pairs, sum }
    }
}

impl From<AnchorOutcome> for drlim_anchor_outcome {
    fn from(outcome: AnchorOutcome) -> Self {
        let [queries, keys] = outcome.totals.map(drlim_anchor_totals::from);
        drlim_anchor_outcome { value: outcome.value, queries, keys }
    }
}

/// What a call reads and writes beside matrices, checked.
struct AnchorLists<T> {
    weights: Option<List<T>>,
    values: Option<ListMut<T>>,
    log_sums: Option<ListMut<f64>>,
    grad_scale: Option<ListMut<f64>>,
}

/// The same, lent.
struct AnchorSlices<'a, T> {
    weights: Option<&'a [T]>,
    values: Option<&'a mut [T]>,
    log_sums: Option<&'a mut [f64]>,
    grad_scale: Option<&'a mut f64>,
}

impl<T> AnchorLists<T> {
    fn new(
        places: &mut PointerArgs,
        weights: Option<List<T>>,
        (values, log_sums, grad_scale): (*mut T, *mut f64, *mut f64),
        anchors: usize,
    ) -> Result<Self, Refusal> {
        Ok(AnchorLists {
            weights,
            values: places.optional("values", values, anchors)?,
            log_sums: places.optional("log_sums", log_sums, anchors)?,
            grad_scale: places.optional("grad_scale", grad_scale, 1)?,
        })
    }

    /// # Safety
    /// The caller promises what [`List::lend`] and [`ListMut::lend`] ask for.
    unsafe fn lend<'a>(self) -> AnchorSlices<'a, T> {
        // SAFETY: as promised.
        unsafe {
            AnchorSlices {
                weights: self.weights.map(|weights| weights.lend()),
                values: self.values.map(|values| values.lend()),
                log_sums: self.log_sums.map(|sums| sums.lend()),
                grad_scale: self.grad_scale.map(|by_scale| &mut by_scale.lend()[0]),
            }
        }
    }
}

/// Room for the sums of so many anchors.
fn room(sums: &mut Vec<AnchorSums>, anchors: usize) -> Result<&mut [AnchorSums], Refusal> {
    sums.clear();
    sums.try_reserve(anchors).map_err(|_| Error::Overflow { what: "the sums of anchors" })?;
    sums.resize(anchors, AnchorSums::default());
    Ok(sums)
}

/// Writes the log-sums, if they are wanted.
fn put_log_sums(to: Option<&mut [f64]>, sums: Option<&mut [AnchorSums]>) {
    for (to, sums) in to.into_iter().flatten().zip(sums.into_iter().flatten()) {
        *to = (sums.similar + sums.dissimilar).log();
    }
}

macro_rules! functions {
    ($T:ident, $all_anchors:ident, $cross_anchors:ident) => {
        /// Loss and gradient of the B rows of z as anchors, each against all others, in memory proportional
        /// to z. SupCon is DRLIM_ANCHOR_LOSS_SOFTMAX by labels; NT-Xent of two views is the same with a
        /// label for each image.
        ///
        /// context: may be null. z: B x D. similar: as for drlim_all_pairs; a row that it leaves out is
        /// neither an anchor nor a candidate. grad: B x D, overwritten; of null data where it is not wanted.
        /// values: B, the value of each anchor times its weight; log_sums: B, ln of the sum of e^x over all
        /// candidates of each; grad_scale: the derivative by the objective's softmax_scale; each
        /// overwritten, and null where it is not wanted. scratch: may be null. outcome: written; may be null.
        ///
        /// Refused: a gradient or a graph of another size, both or neither of labels and graph, B above
        /// 2^32 - 1, parameters of the loss out of their domains, grad_scale with a loss that has no
        /// softmax_scale, weights of the other type alone, and what every call refuses.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $all_anchors(
            context: *const drlim_context,
            objective: *const drlim_anchor_objective,
            z: drlim_matrix<$T>,
            similar: *const drlim_similar,
            grad: drlim_matrix_mut<$T>,
            values: *mut $T,
            log_sums: *mut f64,
            grad_scale: *mut f64,
            scratch: *const drlim_scratch,
            outcome: *mut drlim_anchor_outcome,
        ) -> drlim_status {
            guard(|| {
                let (mut places, rows) = (PointerArgs::new(), z.rows);
                let outcome = places.result("outcome", outcome)?;
                let z = z.input("z", &mut places)?;
                let grad = grad.optional("grad", &mut places)?;
                // SAFETY: what can be known is checked; the rest is asked of the caller.
                unsafe {
                    let objective = places.read_needed("objective", objective)?;
                    let weights = objective.weights(&mut places, rows)?;
                    let lists = (values, log_sums, grad_scale);
                    let lists = AnchorLists::new(&mut places, weights, lists, rows)?;
                    let similar = places.read_copied("similar", similar)?;
                    let similar = similar.lend(rows, &mut places)?;
                    places.check_apart()?;
                    let (z, grad) = (z.lend(), grad.map(|grad| grad.lend()));
                    let AnchorSlices { weights, values, log_sums, grad_scale } = lists.lend();
                    outcome.put(with_scratch(scratch, |scratch| {
                        let Scratches { anchors, sums, .. } = scratch;
                        let mut sums = log_sums.is_some().then(|| room(sums, rows)).transpose()?;
                        let to = sums.as_deref_mut();
                        let out = AnchorsOut { grad, values, sums: to, grad_scale };
                        let found = objective.run(context, weights, |cx, objective| {
                            batch::all_anchors(cx, objective, z, similar, out, anchors)
                        })?;
                        put_log_sums(log_sums, sums);
                        Ok(found)
                    })?);
                }
                Ok(())
            })
        }

        /// Loss and gradients of the N rows of queries, of the M rows of keys, or of both, as anchors: the
        /// candidates of a query are all keys, those of a key all queries.
        ///
        /// context: may be null. queries: N x D. keys: M x D. similar: as for drlim_cross: by position for
        /// InfoNCE and CLIP, by labels for class vectors as keys. grad_queries: N x D, grad_keys: M x D;
        /// overwritten, each of null data where it is not wanted. values, log_sums, grad_scale: as for
        /// drlim_all_anchors, with an element for each anchor: N, M, or N and then M. scratch: may be null.
        /// outcome: written; may be null.
        ///
        /// Refused: shapes that do not go together, samples or keys that are not there,
        /// DRLIM_ANCHOR_LOSS_LIFTED of one side alone, and what drlim_cross and drlim_all_anchors refuse.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $cross_anchors(
            context: *const drlim_context,
            objective: *const drlim_anchor_objective,
            queries: drlim_matrix<$T>,
            keys: drlim_matrix<$T>,
            similar: *const drlim_cross_similar,
            anchors: drlim_anchors,
            grad_queries: drlim_matrix_mut<$T>,
            grad_keys: drlim_matrix_mut<$T>,
            values: *mut $T,
            log_sums: *mut f64,
            grad_scale: *mut f64,
            scratch: *const drlim_scratch,
            outcome: *mut drlim_anchor_outcome,
        ) -> drlim_status {
            guard(|| {
                let (mut places, rows) = (PointerArgs::new(), [queries.rows, keys.rows]);
                let (anchors, count) = anchors.of(rows)?;
                let outcome = places.result("outcome", outcome)?;
                let queries = queries.input("queries", &mut places)?;
                let keys = keys.input("keys", &mut places)?;
                let grad_queries = grad_queries.optional("grad_queries", &mut places)?;
                let grad_keys = grad_keys.optional("grad_keys", &mut places)?;
                // SAFETY: what can be known is checked; the rest is asked of the caller.
                unsafe {
                    let objective = places.read_needed("objective", objective)?;
                    let weights = objective.weights(&mut places, count)?;
                    let lists = (values, log_sums, grad_scale);
                    let lists = AnchorLists::new(&mut places, weights, lists, count)?;
                    let similar = places.read_copied("similar", similar)?;
                    let (similar, own) = similar.lend(rows, &mut places)?;
                    places.check_apart()?;
                    let (q, k) = (queries.lend(), keys.lend());
                    let grad_queries = grad_queries.map(|grad| grad.lend());
                    let grad_keys = grad_keys.map(|grad| grad.lend());
                    let AnchorSlices { weights, values, log_sums, grad_scale } = lists.lend();
                    outcome.put(with_scratch(scratch, |scratch| {
                        let Scratches { anchors: scratch, sums, .. } = scratch;
                        let mut sums = log_sums.is_some().then(|| room(sums, count)).transpose()?;
                        let to = sums.as_deref_mut();
                        let out = CrossAnchorsOut {
                            grad_queries,
                            grad_keys,
                            values,
                            sums: to,
                            grad_scale,
                        };
                        let found = objective.run(context, weights, |cx, objective| {
                            batch::cross_anchors(
                                cx, objective, q, k, similar, own, anchors, out, scratch,
                            )
                        })?;
                        put_log_sums(log_sums, sums);
                        Ok(found)
                    })?);
                }
                Ok(())
            })
        }
    };
}

functions!(f32, drlim_all_anchors_f32, drlim_cross_anchors_f32);
functions!(f64, drlim_all_anchors_f64, drlim_cross_anchors_f64);
