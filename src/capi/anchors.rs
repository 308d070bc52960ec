//! Losses of rows as anchors, each against all its candidates at once.

use super::anchor_objective::drlim_anchor_objective;
use super::anchor_outcome::drlim_anchor_outcome;
use super::anchor_sums::{drlim_anchor_sums, known, room};
use super::context::drlim_context;
use super::cross::drlim_cross_similar;
use super::element::Element;
use super::matrix::{drlim_matrix, drlim_matrix_mut};
use super::places::{List, ListMut, PointerArgs};
use super::run::with_scratch;
use super::scratch::{Scratches, drlim_scratch};
use super::similar::drlim_similar;
use super::status::{Refusal, drlim_status, guard};
use crate::batch::{self, Anchors, AnchorsOut, CrossAnchorsOut};
use crate::loss::AnchorSums;

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

/// What a call reads and writes beside matrices, checked.
struct AnchorLists<T> {
    weights: Option<List<T>>,
    known: Option<List<drlim_anchor_sums>>,
    values: Option<ListMut<T>>,
    log_sums: Option<ListMut<f64>>,
    sums: Option<ListMut<drlim_anchor_sums>>,
    grad_scale: Option<ListMut<f64>>,
}

/// The same, lent.
struct AnchorSlices<'a, T> {
    weights: Option<&'a [T]>,
    known: Option<&'a [drlim_anchor_sums]>,
    values: Option<&'a mut [T]>,
    sums: SumsWanted<'a>,
    grad_scale: Option<&'a mut f64>,
}

impl<T: Element> AnchorLists<T> {
    fn new(
        places: &mut PointerArgs,
        objective: &drlim_anchor_objective,
        values: *mut T,
        (log_sums, sums): (*mut f64, *mut drlim_anchor_sums),
        grad_scale: *mut f64,
        anchors: usize,
    ) -> Result<Self, Refusal> {
        Ok(AnchorLists {
            weights: objective.weights(places, anchors)?,
            known: objective.known(places, anchors)?,
            values: places.optional("values", values, anchors)?,
            log_sums: places.optional("log_sums", log_sums, anchors)?,
            sums: places.optional("sums", sums, anchors)?,
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
                known: self.known.map(|known| known.lend()),
                values: self.values.map(|values| values.lend()),
                sums: SumsWanted {
                    logs: self.log_sums.map(|logs| logs.lend()),
                    whole: self.sums.map(|sums| sums.lend()),
                },
                grad_scale: self.grad_scale.map(|by_scale| &mut by_scale.lend()[0]),
            }
        }
    }
}

/// Where sums of anchors go: their logarithms, and all of them.
struct SumsWanted<'a> {
    logs: Option<&'a mut [f64]>,
    whole: Option<&'a mut [drlim_anchor_sums]>,
}

impl SumsWanted<'_> {
    /// Room for the sums of so many anchors, if they are wanted.
    fn room<'k>(
        &self,
        kept: &'k mut Vec<AnchorSums>,
        anchors: usize,
    ) -> Result<Option<&'k mut [AnchorSums]>, Refusal> {
        let wanted = self.logs.is_some() || self.whole.is_some();
        wanted.then(|| room(kept, anchors)).transpose()
    }

    /// Writes what is wanted.
    fn put(self, found: Option<&mut [AnchorSums]>) {
        let found = found.unwrap_or_default();
        for (to, sums) in self.logs.into_iter().flatten().zip(&*found) {
            *to = (sums.similar + sums.dissimilar).log();
        }
        for (to, sums) in self.whole.into_iter().flatten().zip(found) {
            *to = (*sums).into();
        }
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
        /// candidates of each; sums: B, what these are made of, see drlim_anchor_sums; grad_scale: the
        /// derivative by the objective's softmax_scale; each overwritten, and null where it is not wanted.
        /// scratch: may be null. outcome: written; may be null.
        ///
        /// Refused: a gradient or a graph of another size, both or neither of labels and graph, B above
        /// 2^32 - 1, parameters of the loss out of their domains, grad_scale with a loss that has no
        /// softmax_scale, weights of the other type alone, known sums that are none, and what every call refuses.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $all_anchors(
            context: *const drlim_context,
            objective: *const drlim_anchor_objective,
            z: drlim_matrix<$T>,
            similar: *const drlim_similar,
            grad: drlim_matrix_mut<$T>,
            values: *mut $T,
            log_sums: *mut f64,
            sums: *mut drlim_anchor_sums,
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
                    let sums = (log_sums, sums);
                    let lists =
                        AnchorLists::new(&mut places, objective, values, sums, grad_scale, rows)?;
                    let similar = places.read_copied("similar", similar)?;
                    let similar = similar.lend(rows, &mut places)?;
                    places.check_apart()?;
                    let (z, grad) = (z.lend(), grad.map(|grad| grad.lend()));
                    let AnchorSlices { weights, known: given, values, sums: wanted, grad_scale } =
                        lists.lend();
                    outcome.put(with_scratch(scratch, |scratch| {
                        let Scratches { anchors, sums, known: kept, .. } = scratch;
                        let known = given.map(|given| known(kept, given)).transpose()?;
                        let mut found = wanted.room(sums, rows)?;
                        let to = found.as_deref_mut();
                        let out = AnchorsOut { grad, values, sums: to, grad_scale };
                        let outcome = objective.run(context, weights, known, |cx, objective| {
                            batch::all_anchors(cx, objective, z, similar, out, anchors)
                        })?;
                        wanted.put(found);
                        Ok(outcome)
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
        /// overwritten, each of null data where it is not wanted. values, log_sums, sums, grad_scale: as for
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
            sums: *mut drlim_anchor_sums,
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
                    let sums = (log_sums, sums);
                    let lists =
                        AnchorLists::new(&mut places, objective, values, sums, grad_scale, count)?;
                    let similar = places.read_copied("similar", similar)?;
                    let (similar, own) = similar.lend(rows, &mut places)?;
                    places.check_apart()?;
                    let (q, k) = (queries.lend(), keys.lend());
                    let grad_queries = grad_queries.map(|grad| grad.lend());
                    let grad_keys = grad_keys.map(|grad| grad.lend());
                    let AnchorSlices { weights, known: given, values, sums: wanted, grad_scale } =
                        lists.lend();
                    outcome.put(with_scratch(scratch, |scratch| {
                        let Scratches { anchors: scratch, sums, known: kept, .. } = scratch;
                        let known = given.map(|given| known(kept, given)).transpose()?;
                        let mut found = wanted.room(sums, count)?;
                        let to = found.as_deref_mut();
                        let out = CrossAnchorsOut {
                            grad_queries,
                            grad_keys,
                            values,
                            sums: to,
                            grad_scale,
                        };
                        let outcome = objective.run(context, weights, known, |cx, objective| {
                            batch::cross_anchors(
                                cx, objective, q, k, similar, own, anchors, out, scratch,
                            )
                        })?;
                        wanted.put(found);
                        Ok(outcome)
                    })?);
                }
                Ok(())
            })
        }
    };
}

functions!(f32, drlim_all_anchors_f32, drlim_cross_anchors_f32);
functions!(f64, drlim_all_anchors_f64, drlim_cross_anchors_f64);
