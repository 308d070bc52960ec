//! Gradient descent with momentum.

#![forbid(unsafe_code)]

use super::{BLOCK, Optimizer, Resume, check, check_moments, check_not_negative, check_share};
use crate::error::Result;
use crate::kernel::optim::update;
use crate::parallel::cx::Cx;
use crate::parallel::split::{Chunks, for_blocks};
use crate::simd::real::{Real, compiled};

/// Gradient descent with momentum and weight decay, as PyTorch writes it:
///
/// ```text
/// g = gradient + decay p        v = momentum v + g  (v = 0 at first)        p = p - rate v
/// ```
///
/// and with [Nesterov's momentum](Sgd::nesterov) p = p - rate (g + momentum v).
///
/// # Accuracy
///
/// The first step is off by at most 3 eps of |p| + rate (|gradient| + decay |p|).
///
/// ```
/// use drlim::optim::{Optimizer, Sgd};
/// let mut p = [1.0_f64];
/// let mut sgd = Sgd::new().momentum(0.5)?;
/// sgd.step(&drlim::Cx::default(), 0.25, &mut p, &[1.0])?;
/// sgd.step(&drlim::Cx::default(), 0.25, &mut p, &[1.0])?;
/// assert_eq!(p, [1.0 - 0.25 - 0.25 * 1.5]);
/// # Ok::<(), drlim::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sgd<T> {
    momentum: f64,
    nesterov: bool,
    decay: f64,
    steps: u64,
    velocity: Vec<T>,
}

impl<T: Real> Sgd<T> {
    /// Gradient descent without momentum and decay.
    pub fn new() -> Self {
        Sgd { momentum: 0.0, nesterov: false, decay: 0.0, steps: 0, velocity: Vec::new() }
    }

    /// The share of the velocity that is kept from step to step: at least 0, below 1.
    pub fn momentum(self, momentum: f64) -> Result<Self> {
        check_share::<T>("momentum", momentum)?;
        Ok(Sgd { momentum, ..self })
    }

    /// Nesterov's momentum, which adds the velocity that the next step would keep: p = p - rate (g + momentum
    /// v).
    ///
    /// ```
    /// use drlim::optim::{Optimizer, Sgd};
    /// let mut p = [1.0_f64];
    /// let mut sgd = Sgd::new().momentum(0.5)?.nesterov();
    /// sgd.step(&drlim::Cx::default(), 0.25, &mut p, &[1.0])?;
    /// assert_eq!(p, [1.0 - 0.25 * 1.5]);
    /// # Ok::<(), drlim::Error>(())
    /// ```
    pub fn nesterov(self) -> Self {
        Sgd { nesterov: true, ..self }
    }

    /// The weight decay: finite and not negative.
    pub fn weight_decay(self, decay: f64) -> Result<Self> {
        check_not_negative::<T>("decay", decay)?;
        Ok(Sgd { decay, ..self })
    }
}

impl<T: Real> Optimizer<T> for Sgd<T> {
    #[inline(never)]
    fn step(&mut self, cx: &Cx, rate: f64, params: &mut [T], grad: &[T]) -> Result<()> {
        check::<T>(rate, params.len(), grad.len(), self.steps, self.velocity.len())?;
        self.velocity.resize(params.len(), T::ZERO);
        self.steps = self.steps.saturating_add(1);
        let least = T::MIN_POSITIVE.to_f64();
        let floor = T::from_f64((least / rate).max(least));
        let [rate, momentum, decay] = [rate, self.momentum, self.decay].map(T::from_f64);
        let nesterov = self.nesterov;
        let blocks = params.len().div_ceil(BLOCK);
        let out = (Chunks(params, BLOCK), Chunks(&mut self.velocity, BLOCK));
        for_blocks(cx.par, blocks, out, |block, (params, velocity)| {
            let grad = &grad[block * BLOCK..][..params.len()];
            let sgd =
                update::Sgd { rate, momentum, nesterov, decay, floor, params, grad, velocity };
            T::dispatch(cx.isa, sgd);
        });
        Ok(())
    }
}

compiled!(<Sgd<T> as Optimizer<T>>::step);

impl<T: Real> Resume<T> for Sgd<T> {
    fn steps(&self) -> u64 {
        self.steps
    }

    fn moments(&self) -> Vec<(&'static str, &[T])> {
        vec![("velocity", &self.velocity)]
    }

    fn restore(&mut self, steps: u64, moments: Vec<Vec<T>>) -> Result<()> {
        [self.velocity] = check_moments(moments)?;
        self.steps = steps;
        Ok(())
    }
}
