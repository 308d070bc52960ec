//! Optimizers: one pass over parameters, gradient and moments for each step; and learning rates as
//! plain functions of the step.

#![forbid(unsafe_code)]

use crate::cx::Cx;
use crate::error::{Error, Result, check_len};
use crate::kernel::update;
use crate::par::{Chunks, for_blocks};
use crate::real::Real;

/// Parameters of a block of work.
const BLOCK: usize = 16 << 10;

/// Changes parameters by their gradient.
///
/// Moments and parameters that fall below the smallest normal number become 0: arithmetic on
/// denormals would slow training down.
pub trait Optimizer<T: Real> {
    /// One step at a learning rate. The first call decides how many parameters there are.
    ///
    /// Refused, with nothing changed, where the lengths do not match or the rate is negative or not
    /// finite.
    fn step(&mut self, cx: &Cx, rate: f64, params: &mut [T], grad: &[T]) -> Result<()>;
}

/// An optimizer whose run can be left and gone on with: see `checkpoint` (feature `safetensors`).
///
/// What it was built with, such as momentum or betas, is not part of this.
///
/// ```
/// use drlim::optim::{Optimizer, Resume, Sgd};
/// let (cx, mut p) = (drlim::Cx::default(), [1.0_f64]);
/// let mut sgd = Sgd::new().momentum(0.5)?;
/// sgd.step(&cx, 0.25, &mut p, &[1.0])?;
///
/// let moments = sgd.moments().into_iter().map(|(_, moment)| moment.to_vec()).collect();
/// let mut resumed = Sgd::new().momentum(0.5)?;
/// resumed.restore(sgd.steps(), moments)?;
/// assert_eq!(resumed, sgd);
/// # Ok::<(), drlim::Error>(())
/// ```
pub trait Resume<T: Real>: Optimizer<T> {
    /// Steps done.
    fn steps(&self) -> u64;

    /// What it remembers of the gradients, under names that are always the same and all different:
    /// each as long as the parameters, or empty before the first step.
    fn moments(&self) -> Vec<(&'static str, &[T])>;

    /// Goes on where another one stood, with its moments in the order of
    /// [`moments`](Resume::moments).
    ///
    /// Refused, with nothing changed, where there are more or fewer moments, or they differ in
    /// length.
    fn restore(&mut self, steps: u64, moments: Vec<Vec<T>>) -> Result<()>;
}

/// So many moments of one length.
fn check_moments<T, const N: usize>(moments: Vec<Vec<T>>) -> Result<[Vec<T>; N]> {
    let moments: [Vec<T>; N] = moments.try_into().map_err(|moments: Vec<_>| Error::Length {
        call: "restore",
        arg: "moments",
        got: moments.len(),
        expected: N,
        like: "as the optimizer has",
    })?;
    for moment in &moments {
        check_len("restore", "a moment", moment.len(), moments[0].len(), "as the first")?;
    }
    Ok(moments)
}

fn check<T: Real>(rate: f64, params: usize, grad: usize, steps: u64, state: usize) -> Result<()> {
    check_len("step", "grad", grad, params, "the parameters")?;
    if steps > 0 {
        check_len("step", "params", params, state, "as in the first step")?;
    }
    check_not_negative::<T>("rate", rate)
}

/// Refuses what is negative, NaN, or infinite in the element type.
fn check_not_negative<T: Real>(arg: &'static str, got: f64) -> Result<()> {
    if got >= 0.0 && T::from_f64(got).is_finite() {
        Ok(())
    } else {
        Err(Error::Value { arg, got, expected: "finite and not negative" })
    }
}

/// Refuses what is not a share, or rounds to 1 in the element type.
fn check_share<T: Real>(arg: &'static str, got: f64) -> Result<()> {
    if got >= 0.0 && T::from_f64(got) < T::ONE {
        Ok(())
    } else {
        Err(Error::Value { arg, got, expected: "at least 0 and below 1" })
    }
}

/// Gradient descent with momentum and weight decay, as PyTorch writes it:
///
/// ```text
/// g = gradient + decay p        v = momentum v + g  (v = 0 at first)        p = p - rate v
/// ```
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
    decay: f64,
    steps: u64,
    velocity: Vec<T>,
}

impl<T: Real> Sgd<T> {
    /// Without momentum and decay.
    pub fn new() -> Self {
        Sgd { momentum: 0.0, decay: 0.0, steps: 0, velocity: Vec::new() }
    }

    /// The share of the velocity that is kept from step to step: at least 0, below 1.
    pub fn momentum(self, momentum: f64) -> Result<Self> {
        check_share::<T>("momentum", momentum)?;
        Ok(Sgd { momentum, ..self })
    }

    /// The weight decay: finite and not negative.
    pub fn weight_decay(self, decay: f64) -> Result<Self> {
        check_not_negative::<T>("decay", decay)?;
        Ok(Sgd { decay, ..self })
    }
}

impl<T: Real> Optimizer<T> for Sgd<T> {
    fn step(&mut self, cx: &Cx, rate: f64, params: &mut [T], grad: &[T]) -> Result<()> {
        check::<T>(rate, params.len(), grad.len(), self.steps, self.velocity.len())?;
        self.velocity.resize(params.len(), T::ZERO);
        self.steps += 1;
        let [rate, momentum, decay] = [rate, self.momentum, self.decay].map(T::from_f64);
        let blocks = params.len().div_ceil(BLOCK);
        let out = (Chunks(params, BLOCK), Chunks(&mut self.velocity, BLOCK));
        for_blocks(cx.par, blocks, out, |block, (params, velocity): (Chunks<T>, Chunks<T>)| {
            let grad = &grad[block * BLOCK..][..params.0.len()];
            let (params, velocity) = (params.0, velocity.0);
            T::dispatch(cx.isa, update::Sgd { rate, momentum, decay, params, grad, velocity });
        });
        Ok(())
    }
}

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

/// Adam (Kingma, Ba 2015), with weight decay added to the gradient:
///
/// ```text
/// g = gradient + decay p        m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g²
/// p = p - rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon)
/// ```
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

    /// What keeps the quotient finite: finite and not negative. A parameter whose moment is zero does
    /// not move, whatever it is.
    pub fn epsilon(self, epsilon: f64) -> Result<Self> {
        check_not_negative::<T>("epsilon", epsilon)?;
        Ok(Adam { epsilon, ..self })
    }

    /// The weight decay: finite and not negative.
    pub fn weight_decay(self, decay: f64) -> Result<Self> {
        check_not_negative::<T>("decay", decay)?;
        Ok(Adam { decay, ..self })
    }
}

impl<T: Real> Optimizer<T> for Adam<T> {
    fn step(&mut self, cx: &Cx, rate: f64, params: &mut [T], grad: &[T]) -> Result<()> {
        check::<T>(rate, params.len(), grad.len(), self.steps, self.first.len())?;
        self.first.resize(params.len(), T::ZERO);
        self.second.resize(params.len(), T::ZERO);
        self.steps += 1;
        let bias = self.betas.map(|beta| 1.0 - beta.powf(self.steps as f64));
        let rate = T::from_f64(rate / bias[0]);
        let root = T::from_f64(1.0 / bias[1].sqrt());
        let (betas, epsilon) = (self.betas.map(T::from_f64), T::from_f64(self.epsilon));
        let rest = self.betas.map(|beta| T::from_f64(1.0 - beta));
        let decay = T::from_f64(self.decay);
        let blocks = params.len().div_ceil(BLOCK);
        let moments = (Chunks(&mut self.first, BLOCK), Chunks(&mut self.second, BLOCK));
        let out = (Chunks(params, BLOCK), moments);
        type Part<'a, T> = (Chunks<'a, T>, (Chunks<'a, T>, Chunks<'a, T>));
        for_blocks(cx.par, blocks, out, |block, (params, (first, second)): Part<T>| {
            let grad = &grad[block * BLOCK..][..params.0.len()];
            let (params, first, second) = (params.0, first.0, second.0);
            let adam = update::Adam {
                rate,
                betas,
                rest,
                epsilon,
                decay,
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

/// Learning rates as functions of the step.
pub mod schedule {
    /// The same rate at every step.
    pub fn constant(rate: f64) -> impl Fn(u64) -> f64 {
        move |_| rate
    }

    /// From `rate` at step 0 to 0 at step `steps` along half a cosine; 0 after that.
    ///
    /// ```
    /// let rate = drlim::optim::schedule::cosine(0.1, 100);
    /// assert_eq!(rate(0), 0.1);
    /// assert!((rate(50) - 0.05).abs() < 1e-12);
    /// assert_eq!(rate(100), 0.0);
    /// ```
    pub fn cosine(rate: f64, steps: u64) -> impl Fn(u64) -> f64 {
        move |step| {
            if step >= steps {
                return 0.0;
            }
            let turn = std::f64::consts::PI * step as f64 / steps as f64;
            rate * 0.5 * (1.0 + turn.cos())
        }
    }
}
