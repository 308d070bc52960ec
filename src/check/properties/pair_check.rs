//! The check of a loss of pairs for its properties.

#![forbid(unsafe_code)]

use proptest::test_runner::{TestCaseError, TestCaseResult};

use super::batch::{Embeddings, PairBatch};
use super::evaluate::{Evaluate, Results};
use super::property::{Properties, same_rows};
use crate::batch::{IndexedOut, IndexedScratch, PairList, RowsOut, indexed, rows};
use crate::error::Result;
use crate::loss::{BlockLoss, Objective};
use crate::parallel::cx::Cx;
use crate::simd::real::Real;

/// A loss of pairs, to check for [`Properties`].
///
/// In `f32` it takes the loss twice, since differences of values are formed in `f64`:
///
/// ```
/// use drlim::loss::Contrastive;
/// use drlim::properties::{PairCheck, Properties, margins, pair_batches};
/// use proptest::prelude::*;
///
/// proptest! {
/// # #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..Default::default() })]
/// # /*
///     #[test]
/// # */
///     fn the_contrastive_loss_is_sound_in_f32(
///         (margin, batch) in margins::<f32>()
///             .prop_flat_map(|m| (Just(m), pair_batches(&[m.into()], 1..=20, 1..=40))),
///     ) {
///         let [loss, doubled] = [margin, 2.0 * margin].map(|m| Contrastive::new(m).unwrap());
///         let [exact, doubled_exact] =
///             [margin, 2.0 * margin].map(|m| Contrastive::new(f64::from(m)).unwrap());
///         let check = PairCheck::with_exact(&loss, &exact);
///         check.all(&batch)?;
///         check.scaling(&batch, 2.0, &PairCheck::with_exact(&doubled, &doubled_exact), 2)?;
///     }
/// }
/// # the_contrastive_loss_is_sound_in_f32();
/// ```
#[derive(Clone, Copy)]
pub struct PairCheck<'l, T> {
    loss: &'l dyn BlockLoss<T>,
    exact: &'l dyn BlockLoss<f64>,
    cx: Cx,
}

impl<'l> PairCheck<'l, f64> {
    /// A loss in `f64`.
    pub fn new(loss: &'l dyn BlockLoss<f64>) -> Self {
        PairCheck::with_exact(loss, loss)
    }
}

impl<'l, T: Real> PairCheck<'l, T> {
    /// A loss in any precision, and the same loss in `f64`.
    pub fn with_exact(loss: &'l dyn BlockLoss<T>, exact: &'l dyn BlockLoss<f64>) -> Self {
        PairCheck { loss, exact, cx: Cx::default() }
    }

    /// This check on another tier, or with other threads.
    pub fn on(self, cx: Cx) -> Self {
        PairCheck { cx, ..self }
    }

    /// The rows of each pair can change places: values are the same, and gradients change places
    /// too, to the bit.
    pub fn swap(&self, batch: &PairBatch<T>) -> TestCaseResult {
        let mut swapped = self.run(&batch.swapped(0, 1))?;
        swapped.grads.swap(0, 1);
        same_rows(&swapped, &self.run(batch)?, "of swapped rows")
    }

    /// [`batch::indexed`](crate::batch::indexed()) gives the same results for the pairs as a list, to the
    /// bit.
    pub fn list(&self, batch: &PairBatch<T>) -> TestCaseResult {
        let listed = run_list(&self.cx, self.loss, batch).map_err(refused)?;
        same_rows(&listed, &self.run(batch)?, "of the pairs as a list")
    }
}

impl<T: Real> PairCheck<'_, T> {
    /// Dissimilar pairs beyond the [`reach`](crate::loss::PairLoss::reach) of the loss have value 0 and
    /// slope 0, as calls on whole batches rely on. Holds for a loss without a reach.
    pub fn reach(&self) -> TestCaseResult {
        let Some(reach) = self.loss.reach_block() else { return Ok(()) };
        for multiple in [1.001, 1.1, 1.5, 3.0, 100.0] {
            let d = reach * T::from_f64(multiple);
            let (mut slope, mut value) = ([d * d], [T::from_f64(f64::NAN)]);
            self.loss.eval_block(self.cx.isa, &mut slope, &[false], &mut value);
            if value[0] != T::ZERO || slope[0] != T::ZERO {
                let [value, slope] = [value[0], slope[0]];
                let what =
                    format!("a reach of {reach}, but value {value} and slope {slope} at {d}");
                return Err(TestCaseError::fail(what));
            }
        }
        Ok(())
    }

    /// Similar pairs have the slope s and the value s d²/2 of the loss's
    /// [`similar_slope`](crate::loss::PairLoss::similar_slope), as calls on whole batches rely on. Holds
    /// for a loss without one.
    pub fn similar_slope(&self) -> TestCaseResult {
        /// Roundings on the way from d² to a value.
        const ROUNDINGS: f64 = 8.0;
        let Some(claimed) = self.loss.similar_slope_block() else { return Ok(()) };
        let unit = self.loss.reach_block().unwrap_or(T::ONE);
        for multiple in [0.0, 1e-3, 0.1, 0.5, 1.0, 1.5, 10.0, 1000.0] {
            let d = unit * T::from_f64(multiple);
            let (mut slope, mut value) = ([d * d], [T::from_f64(f64::NAN)]);
            self.loss.eval_block(self.cx.isa, &mut slope, &[true], &mut value);
            let [slope, value, s, d] = [slope[0], value[0], claimed, d].map(T::to_f64);
            let is_near = |got: f64, expected: f64| {
                (got - expected).abs() <= ROUNDINGS * T::EPSILON.to_f64() * expected.abs()
            };
            if !is_near(slope, s) || !is_near(value, s * d * d / 2.0) {
                let what =
                    format!("a similar slope of {s}, but value {value} and slope {slope} at {d}");
                return Err(TestCaseError::fail(what));
            }
        }
        Ok(())
    }
}

impl<T: Real> Properties<T, 2> for PairCheck<'_, T> {}

impl<T: Real> Evaluate<T, 2> for PairCheck<'_, T> {
    const BETWEEN: &'static [(usize, usize)] = &[(0, 1)];

    fn run(&self, batch: &PairBatch<T>) -> std::result::Result<Results<T, 2>, TestCaseError> {
        run_rows(&self.cx, self.loss, batch).map_err(refused)
    }

    fn run_exact(
        &self,
        batch: &PairBatch<f64>,
    ) -> std::result::Result<Results<f64, 2>, TestCaseError> {
        run_rows(&self.cx, self.exact, batch).map_err(refused)
    }

    fn at(&self, [d, _, _]: [f64; 3], similar: bool) -> (f64, [f64; 3]) {
        let (mut slope, mut value) = ([d * d], [0.0]);
        self.exact.eval_block(self.cx.isa, &mut slope, &[similar], &mut value);
        (value[0], [slope[0], 0.0, 0.0])
    }

    fn own(&self, batch: &PairBatch<T>) -> TestCaseResult {
        self.swap(batch)?;
        self.list(batch)?;
        self.reach()?;
        self.similar_slope()
    }
}

fn refused(error: crate::Error) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

fn run_rows<T: Real>(
    cx: &Cx,
    loss: &dyn BlockLoss<T>,
    batch: &PairBatch<T>,
) -> Result<Results<T, 2>> {
    let mut grads = batch.inputs.each_ref().map(|input| Embeddings::unwritten(input.shape()));
    let mut values = vec![T::from_f64(f64::NAN); batch.len()];
    let [grad_a, grad_b] = grads.each_mut().map(Embeddings::view_mut);
    let out = RowsOut::grads(grad_a, grad_b).values(&mut values);
    let [a, b] = batch.inputs.each_ref().map(Embeddings::view);
    let outcome = rows(cx, &Objective::sum(loss), a, b, &batch.similar, out)?;
    Ok(Results { outcome, values, grads })
}

/// Runs the pairs as a list, with the rows of `b` below those of `a` in one matrix.
fn run_list<T: Real>(
    cx: &Cx,
    loss: &dyn BlockLoss<T>,
    batch: &PairBatch<T>,
) -> Result<Results<T, 2>> {
    let (n, cols) = (batch.len(), batch.cols());
    let [a, b] = batch.inputs.each_ref().map(Embeddings::data);
    let z = Embeddings::new([a, b].concat(), 2 * n, cols)?;
    let pairs: Vec<(u32, u32)> = (0..n as u32).map(|i| (i, n as u32 + i)).collect();
    let list = PairList::new(2 * n, &pairs)?;
    let mut grad = Embeddings::unwritten(z.shape());
    let mut values = vec![T::from_f64(f64::NAN); n];
    let out = IndexedOut::grad(grad.view_mut()).values(&mut values);
    let objective = Objective::sum(loss);
    let (pairing, mut scratch) = (&batch.similar, IndexedScratch::new());
    let outcome = indexed(cx, &objective, z.view(), &list, pairing, out, &mut scratch)?;
    let (of_a, of_b) = ((0..n).collect::<Vec<_>>(), (n..2 * n).collect::<Vec<_>>());
    Ok(Results { outcome, values, grads: [grad.pick(&of_a), grad.pick(&of_b)] })
}
