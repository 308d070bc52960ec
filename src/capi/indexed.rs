//! Losses of pairs of the rows of one matrix, given as a list.

use super::context::drlim_context;
use super::handle::{free, make, needed};
use super::matrix::{drlim_matrix, drlim_matrix_mut};
use super::objective::drlim_objective;
use super::outcome::drlim_outcome;
use super::pairing::{PairingLists, PerPairLists, with};
use super::places::PointerArgs;
use super::run::with_scratch;
use super::scratch::drlim_scratch;
use super::similar::lend_pairs;
use super::status::{drlim_status, guard};
use crate::batch::{self, IndexedOut};

/// Pairs of rows of one matrix, checked once and used by any number of calls, also at once.
pub struct drlim_pairs(batch::PairList);

/// Makes a list of pairs of the rows of a matrix with the given number of rows.
///
/// pairs: 2 x count, the rows of the first pair, then those of the second, and so on; copied. list: where
/// its handle goes, to be given back with drlim_pairs_free(). Refused: a row that is not below rows, twice
/// count or rows above 2^32 - 1, no memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drlim_pairs_new(
    rows: usize,
    pairs: *const u32,
    count: usize,
    list: *mut *mut drlim_pairs,
) -> drlim_status {
    guard(|| {
        let mut places = PointerArgs::new();
        let to = places.needed("list", list)?;
        // SAFETY: what can be known is checked; the rest is asked of the caller.
        let pairs = unsafe { lend_pairs(&mut places, pairs, count)? };
        let made = drlim_pairs(batch::PairList::new(rows, &pairs)?);
        // SAFETY: the caller's to be written.
        unsafe { to.put(make(made)) };
        Ok(())
    })
}

/// Gives a list back. Null is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drlim_pairs_free(list: *mut drlim_pairs) {
    // SAFETY: the caller gives up a handle that it has from drlim_pairs_new().
    unsafe { free(list) };
}

/// The outputs that a call on a list of pairs writes beside its outcome; they are overwritten. Fields that
/// are zero are not wanted.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct drlim_indexed_out<T> {
    /// B x D: the gradient; 0 in rows that are in no pair.
    pub grad: drlim_matrix_mut<T>,
    /// The Euclidean distances of all pairs of the list.
    pub distances: *mut T,
    /// The values of the pairs, times their weights, before they are reduced.
    pub values: *mut T,
    /// The slopes of the pairs: the factors of z_i - z_j in the gradient of z_i.
    pub slopes: *mut T,
}

macro_rules! functions {
    ($T:ident, $indexed:ident) => {
        /// Loss and gradient of pairs (i, j) of the rows of z, in any order and with any repeats.
        ///
        /// context: may be null. z: B x D, where B is the number of rows that the list was made for. similar,
        /// weights, ignored: as for drlim_rows, an element for each pair of the list. out: overwritten as far
        /// as given; may be null. scratch: may be null. outcome: written; may be null.
        ///
        /// Refused: z or its gradient of other shapes, and what every call refuses.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $indexed(
            context: *const drlim_context,
            objective: *const drlim_objective,
            z: drlim_matrix<$T>,
            list: *const drlim_pairs,
            similar: *const bool,
            weights: *const $T,
            ignored: *const bool,
            out: *const drlim_indexed_out<$T>,
            scratch: *const drlim_scratch,
            outcome: *mut drlim_outcome,
        ) -> drlim_status {
            guard(|| {
                // SAFETY: null or a handle.
                let list = &unsafe { needed("list", list)? }.0;
                let (mut places, n) = (PointerArgs::new(), list.len());
                // SAFETY: null, or the caller's to be read.
                let objective = unsafe { places.read_needed("objective", objective)? };
                // SAFETY: null, or the caller's to be read.
                let out = unsafe { places.read_copied("out", out)? };
                let outcome = places.result("outcome", outcome)?;
                let z = z.input("z", &mut places)?;
                let pairing = PairingLists::new(&mut places, similar, weights, ignored, n)?;
                let grad = out.grad.optional("out.grad", &mut places)?;
                let lists = [out.distances, out.values, out.slopes];
                let per_pair = PerPairLists::new(&mut places, lists, n)?;
                places.check_apart()?;
                // SAFETY: what can be known has been checked; the rest is asked of the caller.
                unsafe {
                    let (z, pairing) = (z.lend(), pairing.lend()?);
                    let out = match grad {
                        Some(grad) => IndexedOut::grad(grad.lend()),
                        None => IndexedOut::none(),
                    };
                    let [distances, values, slopes] = per_pair.lend();
                    let out = with(out, distances, IndexedOut::distances);
                    let out = with(out, values, IndexedOut::values);
                    let out = with(out, slopes, IndexedOut::slopes);
                    outcome.put(with_scratch(scratch, |scratch| {
                        objective.run(context, |cx, objective| {
                            let scratch = &mut scratch.indexed;
                            batch::indexed(cx, objective, z, list, pairing, out, scratch)
                        })
                    })?);
                }
                Ok(())
            })
        }
    };
}

functions!(f32, drlim_indexed_f32);
functions!(f64, drlim_indexed_f64);
