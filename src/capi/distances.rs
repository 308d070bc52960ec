//! Distances without a loss, and their gradients.

use super::context::{drlim_context, run};
use super::matrix::{drlim_matrix, drlim_matrix_mut};
use super::places::PointerArgs;
use super::status::{Refusal, drlim_status, guard};
use crate::batch::{self, Distance};
use crate::loss::Pairing;

/// A distance of two rows a and b.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct drlim_distance(pub u32);

impl drlim_distance {
    /// |a - b|
    pub const EUCLIDEAN: drlim_distance = drlim_distance(0);
    /// |a - b|^2
    pub const SQUARED_EUCLIDEAN: drlim_distance = drlim_distance(1);
    /// the sum of products: a similarity rather than a distance
    pub const DOT: drlim_distance = drlim_distance(2);
    /// 1 - cos of the angle between the rows; 1 where a row is 0
    pub const COSINE: drlim_distance = drlim_distance(3);

    fn distance(self) -> Result<Distance, Refusal> {
        match self {
            drlim_distance::EUCLIDEAN => Ok(Distance::Euclidean),
            drlim_distance::SQUARED_EUCLIDEAN => Ok(Distance::SquaredEuclidean),
            drlim_distance::DOT => Ok(Distance::Dot),
            drlim_distance::COSINE => Ok(Distance::Cosine),
            drlim_distance(got) => Err(Refusal::Code { arg: "distance", got }),
        }
    }
}

macro_rules! functions {
    ($T:ident, $forward:ident, $backward:ident, $matrix:ident, $hard:ident) => {
        /// The distance of row i of a to row i of b, for each of the N rows.
        ///
        /// context: may be null. a, b: N x D. distances: N, overwritten. Refused: shapes that differ, an
        /// unknown distance, and what every call refuses.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $forward(
            context: *const drlim_context,
            distance: drlim_distance,
            a: drlim_matrix<$T>,
            b: drlim_matrix<$T>,
            distances: *mut $T,
        ) -> drlim_status {
            guard(|| {
                let (mut places, n) = (PointerArgs::new(), a.rows);
                let (a, b) = (a.input("a", &mut places)?, b.input("b", &mut places)?);
                let out = places.output("distances", distances, n)?;
                places.check_apart()?;
                let distance = distance.distance()?;
                // SAFETY: what can be known has been checked; the rest is asked of the caller.
                unsafe {
                    let (a, b, out) = (a.lend(), b.lend(), out.lend());
                    run(context, |cx| batch::row_distances(cx, distance, a, b, out))??;
                }
                Ok(())
            })
        }

        /// The gradients of these distances, by the chain rule: the derivatives of distance i times upstream
        /// i, which is the derivative of the caller's objective by distance i. Where a distance has no
        /// derivative, 0 takes its place.
        ///
        /// context: may be null. a, b: N x D. upstream: N. grad_a, grad_b: N x D, overwritten. Refused:
        /// shapes that differ, an unknown distance, and what every call refuses.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $backward(
            context: *const drlim_context,
            distance: drlim_distance,
            a: drlim_matrix<$T>,
            b: drlim_matrix<$T>,
            upstream: *const $T,
            grad_a: drlim_matrix_mut<$T>,
            grad_b: drlim_matrix_mut<$T>,
        ) -> drlim_status {
            guard(|| {
                let (mut places, n) = (PointerArgs::new(), a.rows);
                let (a, b) = (a.input("a", &mut places)?, b.input("b", &mut places)?);
                let upstream = places.input("upstream", upstream, n)?;
                let grad_a = grad_a.output("grad_a", &mut places)?;
                let grad_b = grad_b.output("grad_b", &mut places)?;
                places.check_apart()?;
                let distance = distance.distance()?;
                // SAFETY: what can be known has been checked; the rest is asked of the caller.
                unsafe {
                    let (a, b, upstream) = (a.lend(), b.lend(), upstream.lend());
                    let (to_a, to_b) = (grad_a.lend(), grad_b.lend());
                    run(context, |cx| {
                        batch::row_distances_backward(cx, distance, a, b, upstream, to_a, to_b)
                    })??;
                }
                Ok(())
            })
        }

        /// The Euclidean distances of every row of a from every row of b.
        ///
        /// context: may be null. a: N x D. b: M x D. distances: N x M, overwritten. Refused: shapes that do
        /// not go together, N or M above 2^32 - 1, and what every call refuses.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $matrix(
            context: *const drlim_context,
            a: drlim_matrix<$T>,
            b: drlim_matrix<$T>,
            distances: drlim_matrix_mut<$T>,
        ) -> drlim_status {
            guard(|| {
                let mut places = PointerArgs::new();
                let (a, b) = (a.input("a", &mut places)?, b.input("b", &mut places)?);
                let out = distances.output("distances", &mut places)?;
                places.check_apart()?;
                // SAFETY: what can be known has been checked; the rest is asked of the caller.
                unsafe {
                    let (a, b, out) = (a.lend(), b.lend(), out.lend());
                    run(context, |cx| batch::distance_matrix(cx, a, b, out))??;
                }
                Ok(())
            })
        }

        /// Which of n pairs are hard: the similar ones farther apart than the nearest dissimilar pair, and
        /// the dissimilar ones closer than the farthest similar pair; none where a kind is missing.
        ///
        /// distances: n. similar: n. ignored: n; may be null. places: room for n, of which the first count
        /// are written, ascending. count: written. Refused: n above 2^32 - 1, and what every call refuses.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $hard(
            distances: *const $T,
            similar: *const bool,
            ignored: *const bool,
            n: usize,
            places: *mut u32,
            count: *mut usize,
        ) -> drlim_status {
            guard(|| {
                let mut all = PointerArgs::new();
                let count = all.needed("count", count)?;
                let distances = all.input("distances", distances, n)?;
                let similar = all.input("similar", similar, n)?;
                let ignored = all.optional_input("ignored", ignored, n)?;
                let out = all.output("places", places, n)?;
                all.check_apart()?;
                // SAFETY: what can be known has been checked; the rest is asked of the caller.
                unsafe {
                    let mut pairing = Pairing::new(similar.lend_flags("similar")?);
                    if let Some(ignored) = ignored {
                        pairing = pairing.ignoring(ignored.lend_flags("ignored")?);
                    }
                    let hard = batch::hard_pairs::<$T>(distances.lend(), pairing)?;
                    out.lend()[..hard.len()].copy_from_slice(&hard);
                    count.put(hard.len());
                }
                Ok(())
            })
        }
    };
}

functions!(
    f32,
    drlim_row_distances_f32,
    drlim_row_distances_backward_f32,
    drlim_distance_matrix_f32,
    drlim_hard_pairs_f32
);
functions!(
    f64,
    drlim_row_distances_f64,
    drlim_row_distances_backward_f64,
    drlim_distance_matrix_f64,
    drlim_hard_pairs_f64
);
