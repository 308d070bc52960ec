//! Nearest neighbours against the FMA peak.

use std::hint::black_box;

use drlim::{Cx, Rng, Tier, pairs};

use super::Runner;
use super::pairs::{random, view};
use super::peak::Peaks;
use super::report::{Line, Report};

/// 2 B² D flops of the naive algorithm, though each pair is looked at once.
const NEAREST: (usize, usize) = (6000, 784);
const GOAL: f64 = 1.2;

pub fn measure(runner: &Runner, peaks: &Peaks, report: &mut Report) {
    if runner.wants("nearest") {
        for shape in runner.shapes(&[NEAREST]) {
            measure_nearest(runner, peaks, shape, report);
        }
    }
}

fn measure_nearest(runner: &Runner, peaks: &Peaks, (n, d): (usize, usize), report: &mut Report) {
    const K: usize = 5;
    let data = random::<f32>(&mut Rng::new(1), n * d);
    runner.contexts(|cx, threads| {
        if cx.isa.tier() == Tier::Portable && !runner.test {
            return;
        }
        let run = || pairs::nearest_others(&cx, view(&data, n, d), K).expect("neighbours");
        check_nearest(cx, &data, d, &run());
        let times = runner.time(|| {
            black_box(run());
        });
        let flops = 2.0 * (n * n * d) as f64;
        report.lines.push(Line {
            kernel: "nearest",
            shape: format!("{n}x{d}"),
            element: "f32",
            tier: cx.isa.to_string(),
            threads,
            best_ms: times.best * 1e3,
            median_ms: times.median * 1e3,
            rate: flops / times.best / 1e9,
            unit: "GFLOP/s",
            share: flops / times.best / peaks.of("f32", cx, threads),
            goal: (runner.counts::<f32>(cx, threads) && (n, d) == NEAREST).then_some(GOAL),
        });
    });
}

/// The neighbours of a few rows, by sorting all distances in f64.
fn check_nearest(cx: Cx, data: &[f32], d: usize, found: &pairs::Neighbours<f32>) {
    let rows: Vec<&[f32]> = data.chunks_exact(d).collect();
    for i in (0..rows.len()).step_by(rows.len().div_ceil(10)) {
        let mut all: Vec<f64> = rows
            .iter()
            .enumerate()
            .filter(|&(j, _)| j != i)
            .map(|(_, row)| {
                let squares = row.iter().zip(rows[i]).map(|(x, y)| f64::from(x - y).powi(2));
                squares.sum::<f64>().sqrt()
            })
            .collect();
        all.sort_by(f64::total_cmp);
        for (&got, expected) in found.row(i).1.iter().zip(all) {
            let error = (f64::from(got) - expected).abs();
            assert!(error <= 1e-4 * expected, "neighbours of row {i} on {cx}");
        }
    }
}
