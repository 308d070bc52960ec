//! Runs a call of Rust with what a caller gave for it: an objective, a context, a scratch.

use std::sync::TryLockError;

use super::callback::{Failed, Opaque, PairCallback, TripletCallback};
use super::context::{drlim_context, run};
use super::element::Element;
use super::handle::lend;
use super::objective::{check_size, drlim_loss, drlim_objective};
use super::outcome::drlim_outcome;
use super::scratch::{Scratches, drlim_scratch};
use super::status::Refusal;
use super::triplet_objective::{drlim_triplet_loss, drlim_triplet_objective};
use crate::error::{self, check_not_negative};
use crate::loss::{
    BlockLoss, BlockTripletLoss, Contrastive, CosineContrastive, DoubleMargin, Exponential,
    LinearHinge, Objective, Outcome, Sigmoid, SquaredHinge, SquaredTriplet, TripletMargin,
    TripletObjective,
};
use crate::parallel::cx::Cx;

impl drlim_objective {
    /// Runs a call with the objective as Rust has it, on the tier and threads of a context.
    ///
    /// # Safety
    /// `context` is null or a handle, and callbacks do what [`drlim_callback_f32`] says.
    pub(super) unsafe fn run<T: Element>(
        &self,
        context: *const drlim_context,
        call: impl FnOnce(&Cx, &Objective<T>) -> error::Result<Outcome> + Send,
    ) -> Result<drlim_outcome, Refusal> {
        check_size(self.size, size_of::<drlim_objective>())?;
        let factors = [self.similar_factor, self.dissimilar_factor];
        let reduction = self.reduction.with_factors(factors)?;
        let (margin, positive_margin) =
            (T::from_f64(self.margin), T::from_f64(self.positive_margin));
        let call = |loss: &dyn BlockLoss<T>| {
            let objective = Objective::sum(loss).reduced(reduction);
            let objective = objective.scaled(T::from_f64(self.scale));
            // SAFETY: as promised.
            let outcome = unsafe { run(context, |cx| call(cx, &objective)) }?;
            Ok(drlim_outcome::from(outcome?))
        };
        match self.loss {
            drlim_loss::CONTRASTIVE => call(&Contrastive::new(margin)?),
            drlim_loss::SQUARED_HINGE => call(&SquaredHinge::new(margin)?),
            drlim_loss::LINEAR_HINGE => call(&LinearHinge::new(positive_margin, margin)?),
            drlim_loss::DOUBLE_MARGIN => call(&DoubleMargin::new(positive_margin, margin)?),
            drlim_loss::EXPONENTIAL => call(&Exponential::new(margin)?),
            drlim_loss::COSINE_CONTRASTIVE => call(&CosineContrastive::new(margin)?),
            drlim_loss::CALLBACK => {
                let function = T::pair_function(self);
                let function = function.ok_or(Refusal::Null { arg: "objective.callback" })?;
                check_not_negative("objective.callback_reach", self.callback_reach)?;
                let reach = (self.callback_reach > 0.0).then(|| T::from_f64(self.callback_reach));
                let failed = Failed::default();
                let data = Opaque(self.callback_data);
                let loss = PairCallback { function, data, reach, failed: &failed };
                let outcome = call(T::pair_loss(&loss))?;
                failed.check().map(|()| outcome)
            }
            drlim_loss::SIGMOID => call(&self.sigmoid::<T>()?),
            drlim_loss(got) => Err(Refusal::Code { arg: "objective.loss", got }),
        }
    }

    /// Refuses an objective of another loss than the sigmoid one.
    pub(super) fn check_sigmoid(&self) -> Result<(), Refusal> {
        check_size(self.size, size_of::<drlim_objective>())?;
        match self.loss {
            drlim_loss::SIGMOID => Ok(()),
            drlim_loss(got) => Err(error::Error::Value {
                arg: "objective.loss",
                got: got.into(),
                expected: "DRLIM_LOSS_SIGMOID",
            }
            .into()),
        }
    }

    /// The sigmoid loss with the scale and bias of the objective.
    pub(super) fn sigmoid<T: Element>(&self) -> Result<Sigmoid<T>, Refusal> {
        Ok(Sigmoid::new(T::from_f64(self.sigmoid_scale), T::from_f64(self.sigmoid_bias))?)
    }
}

impl drlim_triplet_objective {
    /// Runs a call with the objective as Rust has it, on the tier and threads of a context.
    ///
    /// # Safety
    /// `context` is null or a handle, and callbacks do what [`drlim_triplet_callback_f32`] says.
    pub(super) unsafe fn run<T: Element>(
        &self,
        context: *const drlim_context,
        call: impl FnOnce(&Cx, &TripletObjective<T>) -> error::Result<Outcome> + Send,
    ) -> Result<drlim_outcome, Refusal> {
        check_size(self.size, size_of::<drlim_triplet_objective>())?;
        let reduction = self.reduction.with_factors([1.0; 2])?;
        let margin = T::from_f64(self.margin);
        let call = |loss: &dyn BlockTripletLoss<T>| {
            let objective = TripletObjective::sum(loss).reduced(reduction)?;
            let objective = objective.scaled(T::from_f64(self.scale));
            // SAFETY: as promised.
            let outcome = unsafe { run(context, |cx| call(cx, &objective)) }?;
            Ok(drlim_outcome::from(outcome?))
        };
        match self.loss {
            drlim_triplet_loss::MARGIN => call(&TripletMargin::new(margin)?),
            drlim_triplet_loss::MARGIN_SWAP => call(&TripletMargin::new(margin)?.swapping()),
            drlim_triplet_loss::SQUARED => call(&SquaredTriplet::new(margin)?),
            drlim_triplet_loss::CALLBACK => {
                let function = T::triplet_function(self);
                let function = function.ok_or(Refusal::Null { arg: "objective.callback" })?;
                let (data, swaps) = (Opaque(self.callback_data), self.callback_swaps != 0);
                let failed = Failed::default();
                let loss = TripletCallback { function, data, swaps, failed: &failed };
                let outcome = call(T::triplet_loss(&loss))?;
                failed.check().map(|()| outcome)
            }
            drlim_triplet_loss(got) => Err(Refusal::Code { arg: "objective.loss", got }),
        }
    }
}

/// Runs a call with the memory of a scratch, or with its own where there is none.
///
/// # Safety
/// `scratch` is null or a handle that has not been given back.
pub(super) unsafe fn with_scratch<T: Element, R>(
    scratch: *const drlim_scratch,
    call: impl FnOnce(&mut Scratches<T>) -> Result<R, Refusal>,
) -> Result<R, Refusal> {
    // SAFETY: as promised.
    let Some(scratch) = (unsafe { lend("scratch", scratch)? }) else {
        return call(&mut Scratches::default());
    };
    match T::scratches(scratch).try_lock() {
        Ok(mut scratches) => call(&mut scratches),
        Err(TryLockError::WouldBlock) => Err(Refusal::Busy),
        Err(TryLockError::Poisoned(scratches)) => {
            // A call that panicked may have left anything in it.
            let mut scratches = scratches.into_inner();
            *scratches = Scratches::default();
            T::scratches(scratch).clear_poison();
            call(&mut scratches)
        }
    }
}
