//! Adam, and AdamW: the same with a weight decay of its own.

#![forbid(unsafe_code)]

use super::{BLOCK, Optimizer, Resume, check, check_moments, check_not_negative, check_share};
use crate::error::Result;
use crate::kernel::optim::update;
use crate::parallel::cx::Cx;
use crate::parallel::split::{Chunks, for_blocks};
use crate::simd::real::{Real, compiled};

/// Adam (Kingma, Ba 2015), with weight decay added to the gradient:
///
/// ```text
/// g = gradient + decay p        m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g²
/// p = p - rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon)
/// ```
///
/// Any epsilon will do, also 0: gradients cannot make v overflow or underflow. Where v is too large or too
/// small for the element type, or nearly so, its negative root is stored in its place: there `second`, among
/// the [`moments`](Resume::moments) and so in checkpoints, has an element below 0. (Where v is below 1e-30,
/// that is the root times 2^100; in `f64` below 1e-290, and times 2^816.)
///
/// ```
/// use drlim::optim::{Adam, Optimizer};
/// // The squares are 1e-60 and 1e60, which no f32 holds; the first step is as long as the rate.
/// let mut p = [1.0_f32, 1.0];
/// Adam::new().epsilon(0.0)?.step(&drlim::Cx::default(), 0.25, &mut p, &[1e-30, -1e30])?;
/// assert!((p[0] - 0.75).abs() < 1e-6 && (p[1] - 1.25).abs() < 1e-6);
/// # Ok::<(), drlim::Error>(())
/// ```
///
/// # Accuracy
///
/// The first step is off by at most 6 eps of |p| and of the step.
#[derive(Clone, Debug, PartialEq)]
pub struct Adam<T> {
    betas: [f64; 2],
    epsilon: f64,
    decay: f64,
    steps: u64,
    first: Vec<T>,
    second: Vec<T>,
}

impl<T: Real> Default for Adam<T> {
    fn default() -> Self {
        Adam::new()
    }
}

impl<T: Real> Adam<T> {
    /// b1 = 0.9, b2 = 0.999, epsilon = 1e-8, no decay.
    pub fn new() -> Self {
        Adam {
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            decay: 0.0,
            steps: 0,
            first: Vec::new(),
            second: Vec::new(),
        }
    }

    /// b1 and b2: at least 0, below 1.
    pub fn betas(self, b1: f64, b2: f64) -> Result<Self> {
        check_share::<T>("b1", b1)?;
        check_share::<T>("b2", b2)?;
        Ok(Adam { betas: [b1, b2], ..self })
    }

    /// The epsilon that is added to the root: finite and not negative. A parameter does not move where the
    /// divisor is zero, which it is until a gradient comes that counts.
    pub fn epsilon(self, epsilon: f64) -> Result<Self> {
        check_not_negative::<T>("epsilon", epsilon)?;
        Ok(Adam { epsilon, ..self })
    }

    /// The weight decay: finite and not negative.
    pub fn weight_decay(self, decay: f64) -> Result<Self> {
        check_not_negative::<T>("decay", decay)?;
        Ok(Adam { decay, ..self })
    }

    /// One step, after each parameter p has become p - `shrink` p.
    #[inline(never)]
    fn step_shrinking(
        &mut self,
        cx: &Cx,
        rate: f64,
        shrink: f64,
        params: &mut [T],
        grad: &[T],
    ) -> Result<()> {
        check::<T>(rate, params.len(), grad.len(), self.steps, self.first.len())?;
        self.first.resize(params.len(), T::ZERO);
        self.second.resize(params.len(), T::ZERO);
        self.steps = self.steps.saturating_add(1);
        let bias = self.betas.map(|beta| 1.0 - beta.powf(self.steps as f64));
        let rate = T::from_f64(rate / bias[0]);
        let root = T::from_f64(1.0 / bias[1].sqrt());
        let scales = [T::SQUARED_UP, T::SQUARED_DOWN].map(T::to_f64);
        let least = T::MIN_POSITIVE.to_f64();
        let normal = |x: f64| T::from_f64(if x < least { 0.0 } else { x });
        let [up, down] = scales.map(|scale| normal(self.epsilon * scale));
        let epsilons = [T::from_f64(self.epsilon), up, down];
        let betas = self.betas.map(normal);
        let rest = self.betas.map(|beta| 1.0 - beta);
        let floors = [least / rest[0], (least / rest[1]).sqrt()].map(T::from_f64);
        let rest = rest.map(T::from_f64);
        let [decay, shrink] = [self.decay, shrink].map(T::from_f64);
        let blocks = params.len().div_ceil(BLOCK);
        let moments = (Chunks(&mut self.first, BLOCK), Chunks(&mut self.second, BLOCK));
        let out = (Chunks(params, BLOCK), moments);
        for_blocks(cx.par, blocks, out, |block, (params, (first, second))| {
            let grad = &grad[block * BLOCK..][..params.len()];
            let adam = update::Adam {
                rate,
                betas,
                rest,
                floors,
                epsilons,
                decay,
                shrink,
                root,
                params,
                grad,
                first,
                second,
            };
            T::dispatch(cx.isa, adam);
        });
        Ok(())
    }
}

compiled!(Adam::<T>::step_shrinking);

impl<T: Real> Optimizer<T> for Adam<T> {
    fn step(&mut self, cx: &Cx, rate: f64, params: &mut [T], grad: &[T]) -> Result<()> {
        self.step_shrinking(cx, rate, 0.0, params, grad)
    }
}

/// AdamW (Loshchilov, Hutter 2019): [`Adam`] with a weight decay that stays out of the moments, so
/// that it pulls every parameter alike, whatever its gradients were. First
///
/// ```text
/// p = p (1 - rate decay)
/// ```
///
/// then Adam's step without decay.
///
/// ```
/// use drlim::optim::{AdamW, Optimizer};
/// let mut p = [1.0_f64, 1.0];
/// let mut adam = AdamW::new().weight_decay(0.5)?;
/// adam.step(&drlim::Cx::default(), 0.1, &mut p, &[0.0, 3.0])?;
/// assert_eq!(p[0], 1.0 - 0.1 * 0.5);
/// assert!((p[1] - (0.95 - 0.1)).abs() < 1e-8, "Adam's first step is as long as the rate");
/// # Ok::<(), drlim::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct AdamW<T> {
    adam: Adam<T>,
    decay: f64,
}

impl<T: Real> Default for AdamW<T> {
    fn default() -> Self {
        AdamW::new()
    }
}

impl<T: Real> AdamW<T> {
    /// As [`Adam::new`], with a decay of 0.01.
    pub fn new() -> Self {
        AdamW { adam: Adam::new(), decay: 0.01 }
    }

    /// See [`Adam::betas`].
    pub fn betas(self, b1: f64, b2: f64) -> Result<Self> {
        Ok(AdamW { adam: self.adam.betas(b1, b2)?, ..self })
    }

    /// See [`Adam::epsilon`].
    pub fn epsilon(self, epsilon: f64) -> Result<Self> {
        Ok(AdamW { adam: self.adam.epsilon(epsilon)?, ..self })
    }

    /// The weight decay: finite and not negative.
    pub fn weight_decay(self, decay: f64) -> Result<Self> {
        check_not_negative::<T>("decay", decay)?;
        Ok(AdamW { decay, ..self })
    }
}

impl<T: Real> Optimizer<T> for AdamW<T> {
    fn step(&mut self, cx: &Cx, rate: f64, params: &mut [T], grad: &[T]) -> Result<()> {
        self.adam.step_shrinking(cx, rate, rate * self.decay, params, grad)
    }
}

impl<T: Real> Resume<T> for Adam<T> {
    fn steps(&self) -> u64 {
        self.steps
    }

    fn moments(&self) -> Vec<(&'static str, &[T])> {
        vec![("first", &self.first), ("second", &self.second)]
    }

    fn restore(&mut self, steps: u64, moments: Vec<Vec<T>>) -> Result<()> {
        [self.first, self.second] = check_moments(moments)?;
        self.steps = steps;
        Ok(())
    }
}

impl<T: Real> Resume<T> for AdamW<T> {
    fn steps(&self) -> u64 {
        self.adam.steps()
    }

    fn moments(&self) -> Vec<(&'static str, &[T])> {
        self.adam.moments()
    }

    fn restore(&mut self, steps: u64, moments: Vec<Vec<T>>) -> Result<()> {
        self.adam.restore(steps, moments)
    }
}
