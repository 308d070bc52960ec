//! Starting values of weights, by name.

#![forbid(unsafe_code)]

use crate::rng::Rng;
use crate::simd::real::{Real, compiled};

/// How weights are drawn: uniformly from [-b, b], with b from the number of inputs that an output
/// sums over (fan-in) and of outputs that an input reaches (fan-out).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Init {
    /// b² = 3 / fan-in, so that a sum of unit-variance inputs has unit variance (LeCun, Bottou, Orr,
    /// Müller 1998). For tanh.
    #[default]
    LeCun,
    /// b² = 6 / (fan-in + fan-out), a compromise between both directions (Glorot, Bengio 2010).
    Glorot,
    /// b² = 6 / fan-in, which makes up for the half that a rectifier cuts off (He, Zhang, Ren, Sun
    /// 2015).
    He,
}

impl Init {
    /// The bound b.
    pub fn bound(self, fan_in: usize, fan_out: usize) -> f64 {
        let variance_times_three = match self {
            Init::LeCun => 3.0 / fan_in.max(1) as f64,
            Init::Glorot => 6.0 / (fan_in as f64 + fan_out as f64).max(1.0),
            Init::He => 6.0 / fan_in.max(1) as f64,
        };
        variance_times_three.sqrt()
    }

    /// Overwrites `weights` with numbers drawn from [-b, b].
    #[inline(never)]
    pub fn fill<T: Real>(self, rng: &mut Rng, fan_in: usize, fan_out: usize, weights: &mut [T]) {
        let bound = self.bound(fan_in, fan_out);
        weights.fill_with(|| T::from_f64(bound * (2.0 * rng.uniform() - 1.0)));
    }
}

compiled!(Init::fill::<T>);
