//! The check of a loss of triplets for its properties.

#![forbid(unsafe_code)]

use proptest::test_runner::{TestCaseError, TestCaseResult};

use super::batch::{Embeddings, TripletBatch};
use super::evaluate::{Evaluate, Results};
use super::property::{Properties, same_rows};
use crate::batch::{TripletRows, TripletRowsOut, triplet_rows};
use crate::error::Result;
use crate::loss::{BlockTripletLoss, TripletObjective};
use crate::parallel::cx::Cx;
use crate::simd::real::Real;

/// A loss of triplets, to check for [`Properties`].
///
/// ```
/// use drlim::loss::TripletMargin;
/// use drlim::properties::{Properties, TripletCheck, triplet_batches};
/// use proptest::prelude::*;
///
/// proptest! {
/// # #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..Default::default() })]
/// # /*
///     #[test]
/// # */
///     fn the_triplet_margin_loss_is_sound(batch in triplet_batches(|p| p + 0.5, 1..=20, 1..=40)) {
///         let loss = TripletMargin::new(0.5).unwrap().swapping();
///         TripletCheck::new(&loss).all(&batch)?;
///         TripletCheck::new(&loss).swap(&batch)?;
///     }
/// }
/// # the_triplet_margin_loss_is_sound();
/// ```
#[derive(Clone, Copy)]
pub struct TripletCheck<'l, T> {
    loss: &'l dyn BlockTripletLoss<T>,
    exact: &'l dyn BlockTripletLoss<f64>,
    cx: Cx,
}

impl<'l> TripletCheck<'l, f64> {
    /// A loss in `f64`.
    pub fn new(loss: &'l dyn BlockTripletLoss<f64>) -> Self {
        TripletCheck::with_exact(loss, loss)
    }
}

impl<'l, T: Real> TripletCheck<'l, T> {
    /// A loss in any precision, and the same loss in `f64`.
    pub fn with_exact(
        loss: &'l dyn BlockTripletLoss<T>,
        exact: &'l dyn BlockTripletLoss<f64>,
    ) -> Self {
        TripletCheck { loss, exact, cx: Cx::default() }
    }

    /// This check on another tier, or with other threads.
    pub fn on(self, cx: Cx) -> Self {
        TripletCheck { cx, ..self }
    }

    /// Anchor and positive can change places, to the bit, under a loss that holds the negative
    /// against the nearer of them: see [`TripletLoss::swaps`](crate::loss::TripletLoss::swaps). (A
    /// loss of d(a,p) and d(a,n) alone lacks this.)
    pub fn swap(&self, batch: &TripletBatch<T>) -> TestCaseResult {
        let mut swapped = self.run(&batch.swapped(0, 1))?;
        swapped.grads.swap(0, 1);
        same_rows(&swapped, &self.run(batch)?, "of swapped anchors and positives")
    }
}

impl<T: Real> Properties<T, 3> for TripletCheck<'_, T> {}

impl<T: Real> Evaluate<T, 3> for TripletCheck<'_, T> {
    const BETWEEN: &'static [(usize, usize)] = &[(0, 1), (0, 2), (1, 2)];

    fn run(&self, batch: &TripletBatch<T>) -> std::result::Result<Results<T, 3>, TestCaseError> {
        run_rows(&self.cx, self.loss, batch).map_err(refused)
    }

    fn run_exact(
        &self,
        batch: &TripletBatch<f64>,
    ) -> std::result::Result<Results<f64, 3>, TestCaseError> {
        run_rows(&self.cx, self.exact, batch).map_err(refused)
    }

    fn at(&self, distances: [f64; 3], _: bool) -> (f64, [f64; 3]) {
        let swaps = self.exact.swaps_block();
        let mut slopes = distances.map(|d| [d * d]);
        if !swaps {
            slopes[2] = [0.0];
        }
        let mut value = [0.0];
        self.exact.eval_block(self.cx.isa, slopes.each_mut().map(|d2| &mut d2[..]), &mut value);
        let [ap, an, pn] = slopes.map(|[slope]| slope);
        (value[0], [ap, an, if swaps { pn } else { 0.0 }])
    }

    fn own(&self, _: &TripletBatch<T>) -> TestCaseResult {
        Ok(())
    }
}

fn refused(error: crate::Error) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

fn run_rows<T: Real>(
    cx: &Cx,
    loss: &dyn BlockTripletLoss<T>,
    batch: &TripletBatch<T>,
) -> Result<Results<T, 3>> {
    let mut grads = batch.inputs.each_ref().map(|input| Embeddings::unwritten(input.shape()));
    let mut values = vec![T::from_f64(f64::NAN); batch.len()];
    let [grad_a, grad_p, grad_n] = grads.each_mut().map(Embeddings::view_mut);
    let out = TripletRowsOut::grads(grad_a, grad_p, grad_n).values(&mut values);
    let [a, p, n] = batch.inputs.each_ref().map(Embeddings::view);
    let triplets = TripletRows::new(a, p, n)?;
    let outcome = triplet_rows(cx, &TripletObjective::sum(loss), triplets, out)?;
    Ok(Results { outcome, values, grads })
}
