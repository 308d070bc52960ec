//! What a call on anchors reports, and what parts of a batch make of it.

use super::anchor_objective::drlim_anchor_reduction;
use super::places::PointerArgs;
use super::status::{Refusal, drlim_status, guard};
use crate::loss::{AnchorOutcome, AnchorTotals};

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

impl drlim_anchor_totals {
    fn of(self) -> AnchorTotals {
        let drlim_anchor_totals { anchors, with_similar, active, correct, similar, pairs, sum } =
            self;
        AnchorTotals { anchors, with_similar, active, correct, similar, pairs, sum }
    }
}

/// The value of anchors in parts, on several machines for instance, given their totals added up, and the factor
/// for DRLIM_ANCHOR_REDUCTION_FACTOR with which each part gets its gradients of the whole.
///
/// reduction: any but DRLIM_ANCHOR_REDUCTION_FACTOR. totals: of one direction, each field the sum over parts of
/// the anchors; parts of the candidates have the same totals where sums are known, of which those of one count.
/// value, factor: written; each may be null. Refused: an unknown reduction.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drlim_anchor_reduce(
    reduction: drlim_anchor_reduction,
    totals: drlim_anchor_totals,
    value: *mut f64,
    factor: *mut f64,
) -> drlim_status {
    guard(|| {
        if reduction == drlim_anchor_reduction::FACTOR {
            return Err(Refusal::Code { arg: "reduction", got: reduction.0 });
        }
        let of_whole = reduction.with_factor("reduction", 1.0)?.factor(&totals.of());
        let mut places = PointerArgs::new();
        let value = places.result("value", value)?;
        let factor = places.result("factor", factor)?;
        places.check_apart()?;
        // SAFETY: each is null, or the caller's to be written.
        unsafe {
            value.put(of_whole * totals.sum);
            factor.put(of_whole);
        }
        Ok(())
    })
}
