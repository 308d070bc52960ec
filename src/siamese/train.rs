//! The loop of training: batches become gradients, gradients steps, steps epochs.

#![forbid(unsafe_code)]

use std::ops::ControlFlow;

use super::{BatchObjective, End, Fit, History, Progress, Siamese, check_at_most};
use crate::error::Result;
use crate::loss::{Objective, Reduction, Sums};
use crate::optim::{Optimizer, accumulate, clip_norm};
use crate::pairs::{BatchSampler, Sampler};
use crate::parallel::cx::Cx;
use crate::samples::Samples;
use crate::simd::real::Real;

impl<T: Real, O: Optimizer<T>> Siamese<T, O> {
    /// Trains on batches of the sampler, whose indices are samples of `data`: the rows of a matrix, or those of
    /// another source of [`Samples`].
    ///
    /// `observe` is called after every step and after every epoch; it can show progress, keep a
    /// log, or end the training by [`ControlFlow::Break`]. Returns the mean value of a pair in each
    /// epoch, as far as training went, and why it ended.
    pub fn fit(
        &mut self,
        cx: &Cx,
        objective: &Objective<T>,
        data: impl Samples<T>,
        sampler: &mut Sampler,
        fit: Fit,
        observe: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<History> {
        self.check_room("fit", "a batch of the sampler", sampler.batch())?;
        let (mut pairs, mut similar) = (Vec::new(), Vec::new());
        self.train(cx, sampler.steps_per_epoch(), fit, observe, |siamese, draw| {
            sampler.next_batch(&mut pairs, &mut similar);
            let similar = (&similar).into();
            Ok(siamese.backward_pairs(cx, objective, &data, draw, &pairs, similar)?.sums)
        })
    }

    /// Trains on all pairs of batches of the sampler, or on all its samples as anchors, as [`fit`](Siamese::fit)
    /// on listed pairs. With an objective of anchors, `Progress::sums` counts anchors as similar pairs, and no
    /// dissimilar ones.
    ///
    /// The samples are the rows of `data`, or those of another source of [`Samples`].
    ///
    /// ```
    /// use drlim::loss::{Contrastive, Objective, Reduction};
    /// use drlim::nn::{Dense, Network, Shape};
    /// use drlim::optim::{Sgd, schedule};
    /// use drlim::pairs::BatchSampler;
    /// use drlim::siamese::{Fit, Siamese};
    /// use drlim::{Cx, Mat, Similar};
    /// use std::ops::ControlFlow;
    ///
    /// let points = [0.0, 0.1, 1.0, 1.1];
    /// let labels = [0, 0, 1, 1];
    /// let net = Network::builder(Shape::flat(1)).layer("map", Dense::new(2)).build(1)?;
    /// let mut siamese = Siamese::new(net, Sgd::new(), 2)?; // two pairs, or four samples
    /// let mut sampler = BatchSampler::new(Similar::Labels(&labels), 4, 1)?;
    /// let loss = Contrastive::new(1.0)?;
    /// let rate = schedule::constant(0.1);
    /// let history = siamese.fit_batches(
    ///     &Cx::default(),
    ///     &Objective::sum(&loss).reduced(Reduction::Balanced),
    ///     Mat::new(&points, 4, 1)?,
    ///     &mut sampler,
    ///     Fit::new(40, &rate),
    ///     |_| ControlFlow::Continue(()),
    /// )?;
    /// assert!(history.losses[39] < history.losses[0]);
    /// # Ok::<(), drlim::Error>(())
    /// ```
    pub fn fit_batches<B: BatchObjective<T>>(
        &mut self,
        cx: &Cx,
        objective: &B,
        data: impl Samples<T>,
        sampler: &mut BatchSampler,
        fit: Fit,
        observe: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<History> {
        let samples = sampler.batch();
        check_at_most("fit_batches", "a batch of the sampler", samples, 2 * self.max_pairs)?;
        let mut samples = Vec::new();
        self.train(cx, sampler.steps_per_epoch(), fit, observe, |siamese, draw| {
            sampler.next_batch(&mut samples);
            let similar = sampler.similar();
            let outcome = siamese.backward_batch(cx, objective, &data, draw, &samples, similar)?;
            Ok(B::sums(&outcome))
        })
    }

    /// Trains in epochs of `batches` batches. Each call of `batch` is given the number of the next batch of the
    /// run, and leaves its gradient in `self.gradient`.
    fn train(
        &mut self,
        cx: &Cx,
        batches: usize,
        fit: Fit,
        mut observe: impl FnMut(&Progress) -> ControlFlow<()>,
        mut batch: impl FnMut(&mut Self, u64) -> Result<Sums>,
    ) -> Result<History> {
        let steps = batches.div_ceil(fit.batches);
        if fit.batches > 1 {
            self.accumulated.resize(self.gradient.len(), T::ZERO);
        }
        let mut history = History { losses: Vec::new(), best: None, end: End::Epochs };
        let mut patience = Patience::default();
        let mut done = fit.first_step;
        while done / (steps as u64) < fit.epochs as u64 {
            let epoch = (done / steps as u64) as usize;
            let mut total = Sums::default();
            let mut flow = ControlFlow::Continue(());
            let (mut rate, mut norm) = (0.0, None);
            let tell = |step, sums: Sums, rate, norm, epoch_ended| {
                let loss = Reduction::Mean.value(&sums);
                Progress { epoch, step, steps, loss, rate, norm, sums, epoch_ended }
            };
            for at in (done % steps as u64) as usize..steps {
                let rest = batches - at * fit.batches;
                let draws = done.saturating_mul(fit.batches as u64);
                let sums = self.backward_mean(cx, draws, fit.batches.min(rest), &mut batch)?;
                let clip = |max| clip_norm(cx, &mut self.gradient, max);
                norm = fit.max_norm.map(clip).transpose()?;
                rate = (fit.rate)(done);
                done = done.saturating_add(1);
                self.descend(cx, rate)?;
                total = total + sums;
                flow = observe(&tell(at + 1, sums, rate, norm, false));
                if flow.is_break() {
                    break;
                }
            }
            let loss = Reduction::Mean.value(&total);
            history.losses.push(loss);
            if flow.is_continue() {
                if patience.improves(loss, fit.min_delta) {
                    history.best = Some(epoch);
                }
                flow = observe(&tell(steps, total, rate, norm, true));
            }
            if flow.is_break() {
                history.end = End::Observer;
                break;
            }
            if fit.patience.is_some_and(|most| patience.epochs >= most) {
                history.end = End::Patience;
                break;
            }
        }
        Ok(history)
    }

    /// Leaves the mean of the gradients of the next `batches` batches, numbered from `draw` on, in
    /// `self.gradient`.
    fn backward_mean(
        &mut self,
        cx: &Cx,
        draw: u64,
        batches: usize,
        batch: &mut impl FnMut(&mut Self, u64) -> Result<Sums>,
    ) -> Result<Sums> {
        if batches == 1 {
            return batch(self, draw);
        }
        self.accumulated.fill(T::ZERO);
        let mut sums = Sums::default();
        for k in 0..batches as u64 {
            sums = sums + batch(self, draw.saturating_add(k))?;
            accumulate(cx, 1.0 / batches as f64, &self.gradient, &mut self.accumulated);
        }
        std::mem::swap(&mut self.gradient, &mut self.accumulated);
        Ok(sums)
    }
}

/// Counts the epochs since the last improvement.
struct Patience {
    /// The loss at the last improvement.
    best: f64,
    /// Epochs since then.
    epochs: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Patience { best: f64::INFINITY, epochs: 0 }
    }
}

impl Patience {
    /// Takes an epoch's loss, and says whether it is below that of the last improvement, by more than
    /// `min_delta`.
    fn improves(&mut self, loss: f64, min_delta: f64) -> bool {
        let improves = loss < self.best - min_delta;
        if improves {
            *self = Patience { best: loss, epochs: 0 };
        } else {
            self.epochs += 1;
        }
        improves
    }
}
