//! What a batch of samples can be trained by: all its pairs, or all its samples as anchors.

#![forbid(unsafe_code)]

use crate::batch::{AllPairsScratch, AnchorScratch, AnchorsOut, all_anchors, all_pairs};
use crate::error::Result;
use crate::loss::{AnchorObjective, AnchorOutcome, KindSums, Objective, Outcome, Sums};
use crate::memory::mat::{Mat, MatMut};
use crate::parallel::cx::Cx;
use crate::simd::real::Real;
use crate::similar::graph::Similar;

/// An objective of a whole batch: [`Objective`] by [`all_pairs`], [`AnchorObjective`] by [`all_anchors`]. Sealed.
pub trait BatchObjective<T: Real>: sealed::Sealed {
    /// What a step reports.
    type Outcome;

    /// Value and gradient of the embeddings of a batch.
    #[doc(hidden)]
    fn run(
        &self,
        cx: &Cx,
        z: Mat<T>,
        similar: Similar,
        grad: MatMut<T>,
        scratch: &mut BatchScratch<T>,
    ) -> Result<Self::Outcome>;

    /// The sums that training goes by: over pairs, or over anchors in place of similar pairs.
    #[doc(hidden)]
    fn sums(outcome: &Self::Outcome) -> Sums;
}

mod sealed {
    use crate::loss::{AnchorObjective, Objective};

    pub trait Sealed {}
    impl<T> Sealed for Objective<'_, T> {}
    impl<T> Sealed for AnchorObjective<'_, T> {}
}

/// Working memory of either call.
#[doc(hidden)]
#[derive(Default)]
pub struct BatchScratch<T> {
    pairs: AllPairsScratch<T>,
    anchors: AnchorScratch<T>,
}

impl<T: Real> BatchObjective<T> for Objective<'_, T> {
    type Outcome = Outcome;

    fn run(
        &self,
        cx: &Cx,
        z: Mat<T>,
        similar: Similar,
        grad: MatMut<T>,
        scratch: &mut BatchScratch<T>,
    ) -> Result<Outcome> {
        all_pairs(cx, self, z, similar, Some(grad), &mut scratch.pairs)
    }

    fn sums(outcome: &Outcome) -> Sums {
        outcome.sums
    }
}

impl<T: Real> BatchObjective<T> for AnchorObjective<'_, T> {
    type Outcome = AnchorOutcome;

    fn run(
        &self,
        cx: &Cx,
        z: Mat<T>,
        similar: Similar,
        grad: MatMut<T>,
        scratch: &mut BatchScratch<T>,
    ) -> Result<AnchorOutcome> {
        all_anchors(cx, self, z, similar, AnchorsOut::grad(grad), &mut scratch.anchors)
    }

    fn sums(outcome: &AnchorOutcome) -> Sums {
        let [totals, _] = outcome.totals;
        let anchors = KindSums { pairs: totals.anchors, active: totals.active, sum: totals.sum };
        Sums { similar: anchors, dissimilar: KindSums::default() }
    }
}
