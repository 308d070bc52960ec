//! The settings of a training run, its reports to an observer, and its result.

#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use crate::loss::Sums;
use crate::optim::check_max;

/// How long to train, at what learning rates, and how gradients become steps.
///
/// ```
/// use drlim::optim::schedule;
/// use drlim::siamese::Fit;
/// let rate = schedule::warm_up(100, schedule::constant(1e-3));
/// let fit = Fit::new(50, &rate).accumulate(4)?.clip_norm(1.0)?.patience(5, 1e-4)?;
/// # Ok::<(), drlim::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Fit<'a> {
    pub(super) epochs: usize,
    pub(super) first_step: u64,
    pub(super) rate: &'a dyn Fn(u64) -> f64,
    pub(super) max_norm: Option<f64>,
    /// Batches of a step.
    pub(super) batches: usize,
    pub(super) patience: Option<usize>,
    pub(super) min_delta: f64,
}

impl<'a> Fit<'a> {
    /// Trains for `epochs` rounds of the sampler's length, at learning rates that are a function of the step,
    /// counted from 0 over all epochs.
    ///
    /// Every batch is a step, gradients are taken as they are, and training goes on to the last epoch.
    pub fn new(epochs: usize, rate: &'a dyn Fn(u64) -> f64) -> Self {
        let (first_step, batches, min_delta) = (0, 1, 0.0);
        Fit { epochs, first_step, rate, max_norm: None, batches, patience: None, min_delta }
    }

    /// Continues a run of which `first_step` steps have been done: [`Siamese::steps`](super::Siamese::steps)
    /// of a run that was loaded. They count among the steps and epochs; patience starts anew.
    pub fn first_step(self, first_step: u64) -> Self {
        Fit { first_step, ..self }
    }

    /// Scales the gradient of a step to the norm `max` where its norm is larger, by
    /// [`clip_norm`](crate::optim::clip_norm). `max` is above 0; an infinite one only measures. The observer
    /// is told the norm.
    ///
    /// Where the norm is infinite or NaN, training ends with an error before that step, and parameters and
    /// optimizer are those of the step before.
    pub fn clip_norm(self, max: f64) -> Result<Self> {
        check_max(max)?;
        Ok(Fit { max_norm: Some(max), ..self })
    }

    /// Makes each step from `batches` batches, at least 1. Its gradient is the mean of theirs: each is
    /// multiplied by 1 / `batches`. So a batch can be larger than memory.
    ///
    /// Where each batch has the mean over as many pairs, that is the gradient of the mean over all of them;
    /// with [`Sum`](crate::loss::Reduction::Sum) it is the sum over all of them divided by `batches`. Batches
    /// left over at the end of an epoch make a step, too, with the mean over their own number. Learning rates
    /// go by steps, and so does the observer. Takes memory for a second gradient.
    pub fn accumulate(self, batches: usize) -> Result<Self> {
        check_some("batches", batches)?;
        Ok(Fit { batches, ..self })
    }

    /// Ends training after `epochs` epochs, at least 1, in a row without an improvement. An epoch is an
    /// improvement if its mean value of a pair is more than `min_delta` below that of the last improvement.
    /// The first epoch is one; an epoch with a loss of NaN never is.
    ///
    /// (The observer can end training by any other criterion, such as an error on held-out samples.)
    pub fn patience(self, epochs: usize, min_delta: f64) -> Result<Self> {
        check_some("epochs", epochs)?;
        if !(0.0..f64::INFINITY).contains(&min_delta) {
            let expected = "finite and not negative";
            return Err(Error::Value { arg: "min_delta", got: min_delta, expected });
        }
        Ok(Fit { patience: Some(epochs), min_delta, ..self })
    }
}

/// Refuses a count of 0.
fn check_some(arg: &'static str, got: usize) -> Result<()> {
    match got {
        0 => Err(Error::Value { arg, got: 0.0, expected: "at least 1" }),
        _ => Ok(()),
    }
}

/// The state of a training run, told to the observer after every step and after every epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// The epoch, counted from 0.
    pub epoch: usize,
    /// Steps done in this epoch.
    pub step: usize,
    /// Steps in an epoch.
    pub steps: usize,
    /// Mean value of a pair: of the last step, or of the epoch where that has ended.
    pub loss: f64,
    /// The learning rate of the last step.
    pub rate: f64,
    /// The norm of the last step's gradient before it was clipped, where
    /// [clipping](Fit::clip_norm) was asked for.
    pub norm: Option<f64>,
    /// The sums over the pairs of the step or of the epoch. They give the value under any reduction, such as
    /// [`Reduction::Balanced`](crate::loss::Reduction::Balanced).
    pub sums: Sums,
    /// Whether this is told at the end of an epoch. Its last step has been told before, by itself.
    pub epoch_ended: bool,
}

/// The result of a training run, beside the network.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct History {
    /// Mean value of a pair, or of an anchor, in each epoch from that of [the first step](Fit::first_step) on, as far as
    /// training went.
    pub losses: Vec<f64>,
    /// The epoch, counted from 0, of the last improvement in the sense of [`Fit::patience`]; none where no
    /// epoch ended, or no loss was finite.
    pub best: Option<usize>,
    /// Why training ended.
    pub end: End,
}

/// Why a training run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// All epochs were done.
    Epochs,
    /// The loss had not improved for as many epochs as [`Fit::patience`] allows.
    Patience,
    /// The observer ended it.
    Observer,
}
