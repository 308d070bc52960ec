//! The FMA peak of each tier: independent multiply-adds on registers, nothing else.

use std::hint::black_box;

use drlim::simd::{Kernel, Simd};
use drlim::{Cx, Real, Tier};

use super::report::Line;
use super::{Runner, Times};

/// Multiply-adds of a chain.
const LENGTH: usize = 100_000;

/// Enough independent chains to hide the latency, few enough to stay in registers.
const CHAINS: usize = 12;

struct Chains<T>(T);

impl<T: Real> Kernel<T> for Chains<T> {
    type Output = (T, usize);

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> (T, usize) {
        let (factor, term) = (s.splat(self.0), s.splat(self.0));
        let mut sums = [s.splat(T::ONE); CHAINS];
        for _ in 0..LENGTH {
            for sum in &mut sums {
                *sum = s.fma(*sum, factor, term);
            }
        }
        let mut total = s.splat(T::ZERO);
        for sum in sums {
            total = total + sum;
        }
        (s.sum(total), 2 * LENGTH * CHAINS * S::LANES)
    }
}

struct Peak {
    element: &'static str,
    tier: Tier,
    threads: usize,
    times: Times,
    flops: f64,
}

/// What was measured, for every element type, tier and number of threads.
pub struct Peaks(Vec<Peak>);

/// Twice, some seconds apart: for as long as a peak takes, somebody else may have a core of a shared machine.
pub fn measure(runner: &Runner) -> Peaks {
    let mut peaks: Vec<Peak> = Vec::new();
    for _ in 0..2 {
        runner.contexts(|cx, threads| {
            for peak in
                [measure_one::<f32>(runner, cx, threads), measure_one::<f64>(runner, cx, threads)]
            {
                match peaks.iter_mut().find(|other| other.of_same(&peak)) {
                    Some(other) if other.times.best <= peak.times.best => {}
                    Some(other) => *other = peak,
                    None => peaks.push(peak),
                }
            }
        });
    }
    Peaks(peaks)
}

impl Peak {
    fn of_same(&self, other: &Peak) -> bool {
        let what = |peak: &Peak| (peak.element, peak.tier, peak.threads);
        what(self) == what(other)
    }
}

fn measure_one<T: Real>(runner: &Runner, cx: Cx, threads: usize) -> Peak {
    let run = || T::dispatch(cx.isa, Chains(black_box(T::from_f64(0.5))));
    // The chains settle at 1 = 1/2 + 1/2, in every lane.
    let (total, flops) = run();
    assert_eq!(total.to_f64() * (2 * LENGTH) as f64, flops as f64, "the sum of all chains");
    let times = runner.time(|| {
        black_box(rayon::broadcast(|_| run()));
    });
    let flops = (flops * threads) as f64;
    Peak { element: T::NAME, tier: cx.isa.tier(), threads, times, flops }
}

impl Peaks {
    /// Flops a second.
    pub fn of(&self, element: &str, cx: Cx, threads: usize) -> f64 {
        let found = self.0.iter().find(|peak| {
            peak.element == element && peak.tier == cx.isa.tier() && peak.threads == threads
        });
        let peak = found.expect("every context has its peak");
        peak.flops / peak.times.best
    }

    pub fn lines(&self) -> impl Iterator<Item = Line> {
        self.0.iter().map(|peak| Line {
            kernel: "fma_peak",
            shape: format!("{CHAINS}x{LENGTH}"),
            element: peak.element,
            tier: peak.tier.to_string(),
            threads: peak.threads,
            best_ms: peak.times.best * 1e3,
            median_ms: peak.times.median * 1e3,
            rate: peak.flops / peak.times.best / 1e9,
            unit: "GFLOP/s",
            share: 1.0,
            goal: None,
        })
    }
}
