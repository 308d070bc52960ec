//! Losses of triplets, by rows and of a batch.

use super::context::drlim_context;
use super::matrix::{drlim_matrix, drlim_matrix_mut, together};
use super::outcome::drlim_outcome;
use super::pairing::with;
use super::places::PointerArgs;
use super::run::with_scratch;
use super::scratch::drlim_scratch;
use super::similar::drlim_similar;
use super::status::{Refusal, drlim_status, guard};
use super::triplet_objective::drlim_triplet_objective;
use crate::batch::{self, Mining, TripletRows, TripletRowsOut};

/// The outputs that a call on triplets by rows writes beside its outcome; they are overwritten. Fields that
/// are zero are not wanted; a is the anchor, p the positive, n the negative.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct drlim_triplet_rows_out<T> {
    /// N x D: the gradient by the anchors. The three gradients only together.
    pub grad_anchor: drlim_matrix_mut<T>,
    /// N x D: the gradient by the positives.
    pub grad_positive: drlim_matrix_mut<T>,
    /// N x D: the gradient by the negatives.
    pub grad_negative: drlim_matrix_mut<T>,
    /// N: the distances of a and p. Only together with distances_an.
    pub distances_ap: *mut T,
    /// N: the distances of a and n.
    pub distances_an: *mut T,
    /// N: the distances of p and n.
    pub distances_pn: *mut T,
    /// N: the values, times their weights, before they are reduced.
    pub values: *mut T,
    /// N: the slopes of a and p. The three only together.
    pub slopes_ap: *mut T,
    /// N: the slopes of a and n.
    pub slopes_an: *mut T,
    /// N: the slopes of p and n.
    pub slopes_pn: *mut T,
}

/// The triplets of a batch that enter the loss.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct drlim_mining(pub u32);

impl drlim_mining {
    /// every anchor with each of its positives and each of its negatives
    pub const ALL: drlim_mining = drlim_mining(0);
    /// every anchor with its farthest positive and its nearest negative
    pub const HARDEST: drlim_mining = drlim_mining(1);
    /// every anchor and positive with the nearest negative that is farther, or else the farthest
    pub const SEMI_HARD: drlim_mining = drlim_mining(2);

    fn mining(self) -> Result<Mining, Refusal> {
        match self {
            drlim_mining::ALL => Ok(Mining::All),
            drlim_mining::HARDEST => Ok(Mining::Hardest),
            drlim_mining::SEMI_HARD => Ok(Mining::SemiHard),
            drlim_mining(got) => Err(Refusal::Code { arg: "mining", got }),
        }
    }
}

macro_rules! functions {
    ($T:ident, $triplet_rows:ident, $triplets:ident) => {
        /// Loss and gradients of N triplets by rows, in one pass over memory.
        ///
        /// context: may be null. anchor, positive, negative: N x D. weights: N, factors of the triplets'
        /// values; may be null. ignored: N, triplets to leave out; may be null. out: overwritten as far as
        /// given; may be null. outcome: written, triplets counted as pairs; may be null.
        ///
        /// Refused: shapes that differ from that of anchor, N above 2^32 - 1, and what every call refuses.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $triplet_rows(
            context: *const drlim_context,
            objective: *const drlim_triplet_objective,
            anchor: drlim_matrix<$T>,
            positive: drlim_matrix<$T>,
            negative: drlim_matrix<$T>,
            weights: *const $T,
            ignored: *const bool,
            out: *const drlim_triplet_rows_out<$T>,
            outcome: *mut drlim_outcome,
        ) -> drlim_status {
            guard(|| {
                let (mut places, n) = (PointerArgs::new(), anchor.rows);
                let places = &mut places;
                // SAFETY: null, or the caller's to be read.
                let objective = unsafe { places.read_needed("objective", objective)? };
                // SAFETY: null, or the caller's to be read.
                let out = unsafe { places.read_copied("out", out)? };
                let outcome = places.result("outcome", outcome)?;
                let anchor = anchor.input("anchor", places)?;
                let positive = positive.input("positive", places)?;
                let negative = negative.input("negative", places)?;
                let weights = places.optional_input("weights", weights, n)?;
                let ignored = places.optional_input("ignored", ignored, n)?;

                let args = ["out.grad_anchor", "out.grad_positive", "out.grad_negative"];
                let [of_a, of_p, of_n] = [out.grad_anchor, out.grad_positive, out.grad_negative];
                let of_a = of_a.optional(args[0], places)?;
                let of_p = of_p.optional(args[1], places)?;
                let of_n = of_n.optional(args[2], places)?;
                let grads = together(args, [of_a, of_p, of_n])?;

                let args = ["out.distances_ap", "out.distances_an"];
                let of_ap = places.optional(args[0], out.distances_ap, n)?;
                let of_an = places.optional(args[1], out.distances_an, n)?;
                let distances = together(args, [of_ap, of_an])?;
                let third = places.optional("out.distances_pn", out.distances_pn, n)?;
                let values = places.optional("out.values", out.values, n)?;

                let args = ["out.slopes_ap", "out.slopes_an", "out.slopes_pn"];
                let of_ap = places.optional(args[0], out.slopes_ap, n)?;
                let of_an = places.optional(args[1], out.slopes_an, n)?;
                let of_pn = places.optional(args[2], out.slopes_pn, n)?;
                let slopes = together(args, [of_ap, of_an, of_pn])?;
                places.check_apart()?;

                // SAFETY: what can be known has been checked; the rest is asked of the caller.
                unsafe {
                    let mut triplets =
                        TripletRows::new(anchor.lend(), positive.lend(), negative.lend())?;
                    if let Some(weights) = weights {
                        triplets = triplets.weighted(weights.lend())?;
                    }
                    if let Some(ignored) = ignored {
                        triplets = triplets.ignoring(ignored.lend_flags("ignored")?)?;
                    }
                    let out = match grads {
                        Some([a, p, n]) => TripletRowsOut::grads(a.lend(), p.lend(), n.lend()),
                        None => TripletRowsOut::none(),
                    };
                    let out =
                        with(out, distances, |out, [ap, an]| out.distances(ap.lend(), an.lend()));
                    let out = with(out, third, |out, pn| out.third_distances(pn.lend()));
                    let out = with(out, values, |out, values| out.values(values.lend()));
                    let out = with(out, slopes, |out, [ap, an, pn]| {
                        out.slopes(ap.lend(), an.lend(), pn.lend())
                    });
                    outcome.put(objective.run(context, |cx, objective| {
                        batch::triplet_rows(cx, objective, triplets, out)
                    })?);
                }
                Ok(())
            })
        }

        /// Loss and gradient of triplets of the rows of z.
        ///
        /// context: may be null. z: B x D. similar: which rows are similar, all others are dissimilar; with
        /// labels, B of them. mining: the triplets that enter the loss. grad: B x D, overwritten; of null
        /// data where it is not wanted. scratch: may be null. outcome: written, triplets counted as pairs;
        /// may be null.
        ///
        /// Refused: as by drlim_all_pairs, an unknown mining, and all triplets of more rows than 1448 of
        /// float or 1024 of double.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $triplets(
            context: *const drlim_context,
            objective: *const drlim_triplet_objective,
            z: drlim_matrix<$T>,
            similar: *const drlim_similar,
            mining: drlim_mining,
            grad: drlim_matrix_mut<$T>,
            scratch: *const drlim_scratch,
            outcome: *mut drlim_outcome,
        ) -> drlim_status {
            guard(|| {
                let (mut places, rows) = (PointerArgs::new(), z.rows);
                let outcome = places.result("outcome", outcome)?;
                let z = z.input("z", &mut places)?;
                let grad = grad.optional("grad", &mut places)?;
                let mining = mining.mining()?;
                // SAFETY: what can be known is checked; the rest is asked of the caller.
                unsafe {
                    let objective = places.read_needed("objective", objective)?;
                    let similar = places.read_copied("similar", similar)?;
                    let similar = similar.lend(rows, &mut places)?;
                    places.check_apart()?;
                    let (z, grad) = (z.lend(), grad.map(|grad| grad.lend()));
                    outcome.put(with_scratch(scratch, |scratch| {
                        objective.run(context, |cx, objective| {
                            let scratch = &mut scratch.mined;
                            batch::triplets(cx, objective, z, similar, mining, grad, scratch)
                        })
                    })?);
                }
                Ok(())
            })
        }
    };
}

functions!(f32, drlim_triplet_rows_f32, drlim_triplets_f32);
functions!(f64, drlim_triplet_rows_f64, drlim_triplets_f64);
