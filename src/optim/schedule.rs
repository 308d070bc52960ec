//! Learning rates as functions of the step, counted from 0.

#![forbid(unsafe_code)]

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

/// `rate` in the first `every` steps, and `factor` times as much after each `every` more. An `every` of 0
/// counts as 1.
///
/// ```
/// let rate = drlim::optim::schedule::step(0.4, 30, 0.5);
/// assert_eq!([rate(0), rate(29), rate(30), rate(60)], [0.4, 0.4, 0.2, 0.1]);
/// ```
pub fn step(rate: f64, every: u64, factor: f64) -> impl Fn(u64) -> f64 {
    move |step| rate * factor.powf((step / every.max(1)) as f64)
}

/// Another schedule, which grows evenly in the first `steps` steps: its rate for a step is multiplied by
/// (step + 1) / (steps + 1) there.
///
/// ```
/// use drlim::optim::schedule::{constant, warm_up};
/// let rate = warm_up(3, constant(0.4));
/// assert_eq!([rate(0), rate(1), rate(3), rate(4)], [0.1, 0.2, 0.4, 0.4]);
/// ```
pub fn warm_up(steps: u64, schedule: impl Fn(u64) -> f64) -> impl Fn(u64) -> f64 {
    move |step| {
        let rate = schedule(step);
        if step >= steps { rate } else { rate * (step as f64 + 1.0) / (steps as f64 + 1.0) }
    }
}
