//! The FMA peak of each tier, with one thread and all of them.

use std::hint::black_box;

use drlim::{Cx, Real, Tier};

use super::chains::{self, CHAINS, LENGTH};
use super::report::Line;
use super::{Runner, Times};

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
    let flops = (chains::flops::<T>(cx.isa) * threads) as f64;
    let times = runner.time(|| {
        black_box(rayon::broadcast(|_| chains::run::<T>(cx.isa)));
    });
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
