//! Exact nearest neighbours, and the hardest pairs.

use super::context::{drlim_context, run};
use super::matrix::drlim_matrix;
use super::places::{ListMut, PointerArgs};
use super::similar::drlim_similar;
use super::status::{Refusal, drlim_status, guard};
use crate::error::Error;
use crate::pairs::{self, Neighbours};
use crate::simd::real::Real;

/// The outputs for the k rows found for each query: N x k, row after row, best first.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct drlim_found<T> {
    /// N x k: the rows found; overwritten. 2^32 - 1 where there are fewer than k.
    pub indices: *mut u32,
    /// N x k: their Euclidean distances; overwritten, NaN where there are fewer. May be null.
    pub distances: *mut T,
}

impl<T: Real> drlim_found<T> {
    fn lists(
        self,
        args: [&'static str; 2],
        places: &mut PointerArgs,
        [rows, k]: [usize; 2],
    ) -> Result<FoundLists<T>, Refusal> {
        let n = rows.checked_mul(k).ok_or(Error::Overflow { what: args[0] })?;
        let indices = places.output(args[0], self.indices, n)?;
        let distances = places.optional(args[1], self.distances, n)?;
        Ok(FoundLists { indices, distances })
    }
}

/// The outputs of [`drlim_found`], checked.
struct FoundLists<T> {
    indices: ListMut<u32>,
    distances: Option<ListMut<T>>,
}

impl<T: Real> FoundLists<T> {
    /// # Safety
    /// As for [`ListMut::lend`].
    unsafe fn put(self, found: &Neighbours<T>) {
        // SAFETY: as promised.
        unsafe {
            self.indices.lend().copy_from_slice(found.indices());
            if let Some(distances) = self.distances {
                distances.lend().copy_from_slice(found.distances());
            }
        }
    }
}

macro_rules! functions {
    ($T:ident, $nearest:ident, $nearest_others:ident, $hardest:ident) => {
        /// The k nearest rows of references for each row of queries, exact. Of equally distant rows, that of
        /// the lowest index comes first; a distance that is NaN comes last.
        ///
        /// context: may be null. queries: N x D. references: M x D. found: N x k. Refused: columns that
        /// differ, k that is 0 or above M, N or M above 2^32 - 1, and what every call refuses.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $nearest(
            context: *const drlim_context,
            queries: drlim_matrix<$T>,
            references: drlim_matrix<$T>,
            k: usize,
            found: drlim_found<$T>,
        ) -> drlim_status {
            guard(|| {
                let (mut places, rows) = (PointerArgs::new(), queries.rows);
                let queries = queries.input("queries", &mut places)?;
                let references = references.input("references", &mut places)?;
                let args = ["found.indices", "found.distances"];
                let out = found.lists(args, &mut places, [rows, k])?;
                places.check_apart()?;
                // SAFETY: what can be known has been checked; the rest is asked of the caller.
                unsafe {
                    let (queries, references) = (queries.lend(), references.lend());
                    out.put(&run(context, |cx| pairs::nearest(cx, queries, references, k))??);
                }
                Ok(())
            })
        }

        /// The k nearest of the other rows for each row of z.
        ///
        /// context: may be null. z: N x D. found: N x k. Refused: k that is 0 or not below N, N above
        /// 2^32 - 1, and what every call refuses.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $nearest_others(
            context: *const drlim_context,
            z: drlim_matrix<$T>,
            k: usize,
            found: drlim_found<$T>,
        ) -> drlim_status {
            guard(|| {
                let (mut places, rows) = (PointerArgs::new(), z.rows);
                let z = z.input("z", &mut places)?;
                let args = ["found.indices", "found.distances"];
                let out = found.lists(args, &mut places, [rows, k])?;
                places.check_apart()?;
                // SAFETY: what can be known has been checked; the rest is asked of the caller.
                unsafe {
                    let z = z.lend();
                    out.put(&run(context, |cx| pairs::nearest_others(cx, z, k))??);
                }
                Ok(())
            })
        }

        /// For each row of z the k similar rows that are farthest, and the k dissimilar ones that are
        /// nearest.
        ///
        /// context: may be null. z: N x D. similar: which rows are similar; with labels, N of them.
        /// of_similar, of_dissimilar: N x k each. Refused: k that is 0 or not below N, N above 2^32 - 1,
        /// both or neither of labels and graph, and what every call refuses.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $hardest(
            context: *const drlim_context,
            z: drlim_matrix<$T>,
            similar: *const drlim_similar,
            k: usize,
            of_similar: drlim_found<$T>,
            of_dissimilar: drlim_found<$T>,
        ) -> drlim_status {
            guard(|| {
                let (mut places, shape) = (PointerArgs::new(), [z.rows, k]);
                let z = z.input("z", &mut places)?;
                let args = ["of_similar.indices", "of_similar.distances"];
                let of_similar = of_similar.lists(args, &mut places, shape)?;
                let args = ["of_dissimilar.indices", "of_dissimilar.distances"];
                let of_dissimilar = of_dissimilar.lists(args, &mut places, shape)?;
                // SAFETY: what can be known is checked; the rest is asked of the caller.
                unsafe {
                    let similar = places.read_copied("similar", similar)?;
                    let similar = similar.lend(shape[0], &mut places)?;
                    places.check_apart()?;
                    let z = z.lend();
                    let found = run(context, |cx| pairs::hardest(cx, z, similar, k))??;
                    of_similar.put(&found.similar);
                    of_dissimilar.put(&found.dissimilar);
                }
                Ok(())
            })
        }
    };
}

functions!(f32, drlim_nearest_f32, drlim_nearest_others_f32, drlim_hardest_f32);
functions!(f64, drlim_nearest_f64, drlim_nearest_others_f64, drlim_hardest_f64);
