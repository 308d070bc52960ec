//! Losses of pairs by rows.

use super::context::drlim_context;
use super::matrix::{drlim_matrix, drlim_matrix_mut, together};
use super::objective::drlim_objective;
use super::outcome::drlim_outcome;
use super::pairing::{PairingLists, PerPairLists, with};
use super::places::PointerArgs;
use super::status::{drlim_status, guard};
use crate::batch::{self, RowsOut};

/// The outputs that a call on pairs by rows writes beside its outcome; they are overwritten. Fields that are
/// zero are not wanted.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct drlim_rows_out<T> {
    /// N x D: the gradient by a. Only together with grad_b.
    pub grad_a: drlim_matrix_mut<T>,
    /// N x D: the gradient by b. Only together with grad_a.
    pub grad_b: drlim_matrix_mut<T>,
    /// N: the Euclidean distances.
    pub distances: *mut T,
    /// N: the values, times their weights, before they are reduced.
    pub values: *mut T,
    /// N: the slopes, the factors of a_i - b_i in the gradient of a_i.
    pub slopes: *mut T,
}

macro_rules! functions {
    ($T:ident, $rows:ident) => {
        /// Loss and gradients of N pairs, row i of a with row i of b, in one pass over memory.
        ///
        /// context: may be null. a, b: N x D. similar: N, whether a pair is similar. weights: N, factors of
        /// the pairs' values; may be null. ignored: N, pairs to leave out; may be null. out: overwritten as
        /// far as given; may be null. outcome: written; may be null.
        ///
        /// Refused: shapes that differ from that of a, and what every call refuses.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $rows(
            context: *const drlim_context,
            objective: *const drlim_objective,
            a: drlim_matrix<$T>,
            b: drlim_matrix<$T>,
            similar: *const bool,
            weights: *const $T,
            ignored: *const bool,
            out: *const drlim_rows_out<$T>,
            outcome: *mut drlim_outcome,
        ) -> drlim_status {
            guard(|| {
                let (mut places, n) = (PointerArgs::new(), a.rows);
                // SAFETY: null, or the caller's to be read.
                let objective = unsafe { places.read_needed("objective", objective)? };
                // SAFETY: null, or the caller's to be read.
                let out = unsafe { places.read_copied("out", out)? };
                let outcome = places.result("outcome", outcome)?;
                let (a, b) = (a.input("a", &mut places)?, b.input("b", &mut places)?);
                let pairing = PairingLists::new(&mut places, similar, weights, ignored, n)?;
                let args = ["out.grad_a", "out.grad_b"];
                let grad_a = out.grad_a.optional(args[0], &mut places)?;
                let grad_b = out.grad_b.optional(args[1], &mut places)?;
                let grads = together(args, [grad_a, grad_b])?;
                let lists = [out.distances, out.values, out.slopes];
                let per_pair = PerPairLists::new(&mut places, lists, n)?;
                places.check_apart()?;
                // SAFETY: what can be known has been checked; the rest is asked of the caller.
                unsafe {
                    let (a, b, pairing) = (a.lend(), b.lend(), pairing.lend()?);
                    let out = match grads {
                        Some([grad_a, grad_b]) => RowsOut::grads(grad_a.lend(), grad_b.lend()),
                        None => RowsOut::none(),
                    };
                    let [distances, values, slopes] = per_pair.lend();
                    let out = with(out, distances, RowsOut::distances);
                    let out = with(with(out, values, RowsOut::values), slopes, RowsOut::slopes);
                    outcome.put(objective.run(context, |cx, objective| {
                        batch::rows(cx, objective, a, b, pairing, out)
                    })?);
                }
                Ok(())
            })
        }
    };
}

functions!(f32, drlim_rows_f32);
functions!(f64, drlim_rows_f64);
