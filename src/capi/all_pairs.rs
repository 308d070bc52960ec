//! Losses of every pair of a batch.

use super::context::drlim_context;
use super::matrix::{drlim_matrix, drlim_matrix_mut};
use super::objective::drlim_objective;
use super::outcome::drlim_outcome;
use super::places::PointerArgs;
use super::run::with_scratch;
use super::scratch::drlim_scratch;
use super::similar::drlim_similar;
use super::status::{drlim_status, guard};
use crate::batch;

macro_rules! functions {
    ($T:ident, $all_pairs:ident) => {
        /// Loss and gradient of all B (B - 1) / 2 pairs of the rows of z, in memory proportional to z.
        ///
        /// context: may be null. z: B x D. similar: which rows are similar, all others are dissimilar; with
        /// labels, B of them. grad: B x D, overwritten; of null data where it is not wanted. scratch: may
        /// be null. outcome: written; may be null.
        ///
        /// Refused: a gradient or a graph of another size, both or neither of labels and graph, B above
        /// 2^32 - 1, and what every call refuses.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $all_pairs(
            context: *const drlim_context,
            objective: *const drlim_objective,
            z: drlim_matrix<$T>,
            similar: *const drlim_similar,
            grad: drlim_matrix_mut<$T>,
            scratch: *const drlim_scratch,
            outcome: *mut drlim_outcome,
        ) -> drlim_status {
            guard(|| {
                let (mut places, rows) = (PointerArgs::new(), z.rows);
                let outcome = places.result("outcome", outcome)?;
                let z = z.input("z", &mut places)?;
                let grad = grad.optional("grad", &mut places)?;
                // SAFETY: what can be known is checked; the rest is asked of the caller.
                unsafe {
                    let objective = places.read_needed("objective", objective)?;
                    let similar = places.read_copied("similar", similar)?;
                    let similar = similar.lend(rows, &mut places)?;
                    places.check_apart()?;
                    let (z, grad) = (z.lend(), grad.map(|grad| grad.lend()));
                    outcome.put(with_scratch(scratch, |scratch| {
                        objective.run(context, |cx, objective| {
                            let scratch = &mut scratch.all_pairs;
                            batch::all_pairs(cx, objective, z, similar, grad, scratch)
                        })
                    })?);
                }
                Ok(())
            })
        }
    };
}

functions!(f32, drlim_all_pairs_f32);
functions!(f64, drlim_all_pairs_f64);
