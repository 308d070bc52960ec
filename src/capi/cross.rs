//! Losses of every row of one batch with every row of another.

use std::ptr::null_mut;

use super::context::drlim_context;
use super::element::Element;
use super::handle::lend;
use super::matrix::{drlim_matrix, drlim_matrix_mut};
use super::objective::drlim_objective;
use super::outcome::drlim_outcome;
use super::places::PointerArgs;
use super::run::with_scratch;
use super::scratch::drlim_scratch;
use super::similar::drlim_graph;
use super::status::{Refusal, drlim_status, guard};
use crate::batch::{self, CrossOut, CrossSimilar};
use crate::loss::SlopeTotals;

/// Which pairs of a query and a key are similar: those of the same label, neighbours in a graph that holds
/// both, or each query and the key at its position. Give labels of both sides, a graph, or a position.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct drlim_cross_similar {
    /// A label for each query.
    pub query_labels: *const i64,
    /// A label for each key.
    pub key_labels: *const i64,
    /// With labels: a label that stands for no class. Rows that have it are in no pair. May be null.
    pub ignored_label: *const i64,
    /// A graph of samples that holds both queries and keys.
    pub graph: *const drlim_graph,
    /// With a graph: query i is sample first_query + i.
    pub first_query: usize,
    /// With a graph: key j is sample first_key + j.
    pub first_key: usize,
    /// Where the queries are keys too: key *own + i is query i itself, and the two make no pair. May be null.
    pub own: *const usize,
    /// By position: key *first_key_of_queries + i alone is similar to query i. Null with labels or a graph.
    pub first_key_of_queries: *const usize,
}

impl drlim_cross_similar {
    /// The similar pairs as Rust has them, and the place of the queries among the keys.
    ///
    /// # Safety
    /// Pointers are null, misaligned, or the caller's to be read for 'a.
    pub(super) unsafe fn lend<'a>(
        self,
        [queries, keys]: [usize; 2],
        places: &mut PointerArgs,
    ) -> Result<(CrossSimilar<'a>, Option<usize>), Refusal> {
        let labelled = !self.query_labels.is_null() || !self.key_labels.is_null();
        let given = [labelled, !self.graph.is_null(), !self.first_key_of_queries.is_null()];
        if given.iter().filter(|&&given| given).count() != 1 && queries.max(keys) > 0 {
            return Err(Refusal::Similar { expected: "one of labels, a graph and a position" });
        }
        // SAFETY: as promised.
        unsafe {
            let own = places.read("similar.own", self.own)?.copied();
            if let Some(graph) = lend("similar.graph", self.graph)? {
                let drlim_cross_similar { first_query, first_key, .. } = self;
                let graph = &graph.0;
                return Ok((CrossSimilar::Graph { graph, first_query, first_key }, own));
            }
            let position = self.first_key_of_queries;
            if let Some(&first_key) = places.read("similar.first_key_of_queries", position)? {
                return Ok((CrossSimilar::Position { first_key }, own));
            }
            let of_queries = places.input("similar.query_labels", self.query_labels, queries)?;
            let of_keys = places.input("similar.key_labels", self.key_labels, keys)?;
            let ignored = places.read("similar.ignored_label", self.ignored_label)?.copied();
            let (queries, keys) = (of_queries.lend(), of_keys.lend());
            Ok((CrossSimilar::Labels { queries, keys, ignored }, own))
        }
    }
}

/// The arguments of a call on queries and keys.
struct Call<T> {
    context: *const drlim_context,
    objective: *const drlim_objective,
    queries: drlim_matrix<T>,
    keys: drlim_matrix<T>,
    similar: *const drlim_cross_similar,
    grad_queries: drlim_matrix_mut<T>,
    grad_keys: drlim_matrix_mut<T>,
    scratch: *const drlim_scratch,
    outcome: *mut drlim_outcome,
}

impl<T: Element> Call<T> {
    /// Runs the call; with `by_sigmoid`, of the sigmoid loss alone, whose derivatives by scale and bias go there.
    ///
    /// # Safety
    /// What the header asks.
    unsafe fn run(self, by_sigmoid: Option<[*mut f64; 2]>) -> Result<(), Refusal> {
        let Call { context, objective, queries, keys, .. } = self;
        let (mut places, rows) = (PointerArgs::new(), [queries.rows, keys.rows]);
        let outcome = places.result("outcome", self.outcome)?;
        let queries = queries.input("queries", &mut places)?;
        let keys = keys.input("keys", &mut places)?;
        let grad_queries = self.grad_queries.optional("grad_queries", &mut places)?;
        let grad_keys = self.grad_keys.optional("grad_keys", &mut places)?;
        let [by_scale, by_bias] = by_sigmoid.unwrap_or([null_mut(); 2]);
        let by_scale = places.result("grad_scale", by_scale)?;
        let by_bias = places.result("grad_bias", by_bias)?;
        // SAFETY: what can be known is checked; the rest is asked of the caller.
        unsafe {
            let objective = places.read_needed("objective", objective)?;
            let similar = places.read_copied("similar", self.similar)?;
            let (similar, own) = similar.lend(rows, &mut places)?;
            places.check_apart()?;
            let (queries, keys) = (queries.lend(), keys.lend());
            let grad_queries = grad_queries.map(|grad| grad.lend());
            let grad_keys = grad_keys.map(|grad| grad.lend());
            let mut totals = by_sigmoid.map(|_| SlopeTotals::default());
            let out = CrossOut { grad_queries, grad_keys, slope_totals: totals.as_mut() };
            let found = with_scratch(self.scratch, |scratch| {
                if by_sigmoid.is_some() {
                    objective.check_sigmoid()?;
                }
                objective.run(context, |cx, objective| {
                    let scratch = &mut scratch.cross;
                    batch::cross(cx, objective, queries, keys, similar, own, out, scratch)
                })
            })?;
            if let Some(totals) = totals {
                let [of_scale, of_bias] = objective.sigmoid::<T>()?.scale_and_bias(&totals);
                by_scale.put(of_scale);
                by_bias.put(of_bias);
            }
            outcome.put(found);
        }
        Ok(())
    }
}

macro_rules! functions {
    ($T:ident, $cross:ident, $cross_sigmoid:ident) => {
        /// Loss and gradients of all N M pairs of a row of queries with a row of keys.
        ///
        /// context: may be null. queries: N x D. keys: M x D. similar: which pairs are similar, all others
        /// are dissimilar. grad_queries: N x D, grad_keys: M x D; overwritten, each of null data where it is
        /// not wanted. scratch: may be null. outcome: written; may be null.
        ///
        /// Refused: shapes that do not go together, none or several of labels, graph and position, samples or
        /// keys that are not there, and what every call refuses.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $cross(
            context: *const drlim_context,
            objective: *const drlim_objective,
            queries: drlim_matrix<$T>,
            keys: drlim_matrix<$T>,
            similar: *const drlim_cross_similar,
            grad_queries: drlim_matrix_mut<$T>,
            grad_keys: drlim_matrix_mut<$T>,
            scratch: *const drlim_scratch,
            outcome: *mut drlim_outcome,
        ) -> drlim_status {
            let call = Call {
                context,
                objective,
                queries,
                keys,
                similar,
                grad_queries,
                grad_keys,
                scratch,
                outcome,
            };
            // SAFETY: asked of the caller.
            guard(|| unsafe { call.run(None) })
        }

        /// As drlim_cross, of DRLIM_LOSS_SIGMOID, with the derivatives by its parameters. SigLIP is this by
        /// position, with DRLIM_REDUCTION_FACTORS of 1/N.
        ///
        /// grad_scale, grad_bias: the derivatives by sigmoid_scale and sigmoid_bias, times the objective's
        /// scale; overwritten, each null where it is not wanted.
        ///
        /// Refused: another loss, and what drlim_cross refuses.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $cross_sigmoid(
            context: *const drlim_context,
            objective: *const drlim_objective,
            queries: drlim_matrix<$T>,
            keys: drlim_matrix<$T>,
            similar: *const drlim_cross_similar,
            grad_queries: drlim_matrix_mut<$T>,
            grad_keys: drlim_matrix_mut<$T>,
            grad_scale: *mut f64,
            grad_bias: *mut f64,
            scratch: *const drlim_scratch,
            outcome: *mut drlim_outcome,
        ) -> drlim_status {
            let call = Call {
                context,
                objective,
                queries,
                keys,
                similar,
                grad_queries,
                grad_keys,
                scratch,
                outcome,
            };
            // SAFETY: asked of the caller.
            guard(|| unsafe { call.run(Some([grad_scale, grad_bias])) })
        }
    };
}

functions!(f32, drlim_cross_f32, drlim_cross_sigmoid_f32);
functions!(f64, drlim_cross_f64, drlim_cross_sigmoid_f64);
