//! Losses of every row of one batch with every row of another.

use super::context::drlim_context;
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

/// Which pairs of a query and a key are similar: those of the same label, or neighbours in a graph that
/// holds both. Give labels of both sides, or a graph.
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
}

impl drlim_cross_similar {
    /// The similar pairs as Rust has them, and the place of the queries among the keys.
    ///
    /// # Safety
    /// Pointers are null, misaligned, or the caller's to be read for 'a.
    unsafe fn lend<'a>(
        self,
        [queries, keys]: [usize; 2],
        places: &mut PointerArgs,
    ) -> Result<(CrossSimilar<'a>, Option<usize>), Refusal> {
        let labelled = !self.query_labels.is_null() || !self.key_labels.is_null();
        if labelled != self.graph.is_null() && queries.max(keys) > 0 {
            return Err(Refusal::Similar);
        }
        // SAFETY: as promised.
        unsafe {
            let own = places.read("similar.own", self.own)?.copied();
            if let Some(graph) = lend("similar.graph", self.graph)? {
                let drlim_cross_similar { first_query, first_key, .. } = self;
                let graph = &graph.0;
                return Ok((CrossSimilar::Graph { graph, first_query, first_key }, own));
            }
            let of_queries = places.input("similar.query_labels", self.query_labels, queries)?;
            let of_keys = places.input("similar.key_labels", self.key_labels, keys)?;
            let ignored = places.read("similar.ignored_label", self.ignored_label)?.copied();
            let (queries, keys) = (of_queries.lend(), of_keys.lend());
            Ok((CrossSimilar::Labels { queries, keys, ignored }, own))
        }
    }
}

macro_rules! functions {
    ($T:ident, $cross:ident) => {
        /// Loss and gradients of all N M pairs of a row of queries with a row of keys.
        ///
        /// context: may be null. queries: N x D. keys: M x D. similar: which pairs are similar, all others
        /// are dissimilar. grad_queries: N x D, grad_keys: M x D; overwritten, each of null data where it is
        /// not wanted. scratch: may be null. outcome: written; may be null.
        ///
        /// Refused: shapes that do not go together, both or neither of labels and graph, samples or own keys
        /// that are not there, and what every call refuses.
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
            guard(|| {
                let (mut places, rows) = (PointerArgs::new(), [queries.rows, keys.rows]);
                let outcome = places.result("outcome", outcome)?;
                let queries = queries.input("queries", &mut places)?;
                let keys = keys.input("keys", &mut places)?;
                let grad_queries = grad_queries.optional("grad_queries", &mut places)?;
                let grad_keys = grad_keys.optional("grad_keys", &mut places)?;
                // SAFETY: what can be known is checked; the rest is asked of the caller.
                unsafe {
                    let objective = places.read_needed("objective", objective)?;
                    let similar = places.read_copied("similar", similar)?;
                    let (similar, own) = similar.lend(rows, &mut places)?;
                    places.check_apart()?;
                    let (queries, keys) = (queries.lend(), keys.lend());
                    let grad_queries = grad_queries.map(|grad| grad.lend());
                    let grad_keys = grad_keys.map(|grad| grad.lend());
                    let out = CrossOut { grad_queries, grad_keys };
                    outcome.put(with_scratch(scratch, |scratch| {
                        objective.run(context, |cx, objective| {
                            let scratch = &mut scratch.cross;
                            batch::cross(cx, objective, queries, keys, similar, own, out, scratch)
                        })
                    })?);
                }
                Ok(())
            })
        }
    };
}

functions!(f32, drlim_cross_f32);
functions!(f64, drlim_cross_f64);
