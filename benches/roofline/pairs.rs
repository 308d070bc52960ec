//! Pairs by rows against a copy of the same traffic, and nearest neighbours against the FMA peak.

use std::cell::RefCell;
use std::hint::black_box;

use drlim::batch::{RowsOut, rows};
use drlim::loss::{Contrastive, Objective};
use drlim::{Cx, Mat, MatMut, Real, Rng, Tier, limits, pairs};

use super::Runner;
use super::peak::Peaks;
use super::report::{Line, Report};

/// Rows, columns and the share of the copy's speed that is aimed at with all threads on the best
/// tier. (256 x 2 is about overhead, which no share of a bandwidth says anything of.)
const ROWS: [((usize, usize), Option<f64>); 7] = [
    ((65536, 128), Some(0.95)),
    ((16384, 768), Some(0.95)),
    ((2048, 128), Some(0.8)),
    ((65536, 2), Some(0.35)),
    ((65536, 3), Some(0.35)),
    ((65536, 100), Some(0.85)),
    ((256, 2), None),
];

/// Traffic of a call that no last cache holds.
const BEYOND_CACHES: usize = 64 << 20;

/// 2 B² D flops of the naive algorithm, each pair computed once: the goal is with a register tile,
/// which is still to come.
const NEAREST: (usize, usize) = (6000, 784);

pub fn measure(runner: &Runner, peaks: &Peaks, report: &mut Report) {
    if runner.wants("rows") || runner.wants("stream") {
        for shape in runner.shapes(&ROWS.map(|(shape, _)| shape)) {
            measure_rows::<f32>(runner, shape, report);
            if shape == ROWS[0].0 {
                measure_rows::<f64>(runner, shape, report);
            }
        }
    }
    if runner.wants("nearest") {
        for shape in runner.shapes(&[NEAREST]) {
            measure_nearest(runner, peaks, shape, report);
        }
    }
}

fn random<T: Real>(rng: &mut Rng, len: usize) -> Vec<T> {
    (0..len).map(|_| T::from_f64(rng.uniform())).collect()
}

fn measure_rows<T: Real>(runner: &Runner, (n, d): (usize, usize), report: &mut Report) {
    let mut rng = Rng::new(1);
    let (a, b) = (random::<T>(&mut rng, n * d), random::<T>(&mut rng, n * d));
    let similar: Vec<bool> = (0..n).map(|i| i % 2 == 0).collect();
    let (mut grad_a, mut grad_b) = (vec![T::ZERO; n * d], vec![T::ZERO; n * d]);
    let loss = Contrastive::new(T::ONE).expect("a margin of 1");
    let objective = Objective::sum(&loss);
    let goal = ROWS.iter().find(|(shape, _)| *shape == (n, d)).and_then(|(_, goal)| *goal);
    let best = drlim::Isa::best().tier();
    let mut lines = Vec::new();
    runner.contexts(|cx, threads| {
        let run = |grad_a: &mut [T], grad_b: &mut [T]| {
            let grads = RowsOut::grads(view_mut(grad_a, n, d), view_mut(grad_b, n, d));
            rows(&cx, &objective, view(&a, n, d), view(&b, n, d), &similar, grads).expect("rows")
        };
        let outcome = run(&mut grad_a, &mut grad_b);
        check_rows(&a, &b, &similar, outcome.value, &grad_a, &grad_b, d);

        // Whichever way of storing copies faster here is the limit. Within the caches the copy goes
        // to the gradients themselves; beyond them to buffers of its own, because whichever came
        // second would find part of its data in a cache.
        let bytes = 4 * n * d * size_of::<T>();
        let own = if bytes > BEYOND_CACHES { n * d } else { 0 };
        let mut buffers = [vec![T::ZERO; own], vec![T::ZERO; own]];
        let copy = |past_caches, to: [&mut [T]; 2]| {
            limits::copy(&cx, past_caches, [&a, &b], to);
        };
        let outputs = RefCell::new((&mut grad_a, &mut grad_b));
        let mut copy_in_place = |past_caches| {
            let (grad_a, grad_b) = &mut *outputs.borrow_mut();
            let [c, d] = &mut buffers;
            copy(past_caches, if own > 0 { [c, d] } else { [grad_a, grad_b] });
        };
        let plain = runner.time(|| copy_in_place(false)).best;
        let streamed = runner.time(|| copy_in_place(true)).best;
        let [limit, times] = runner.time_in_turn(
            || copy_in_place(streamed < plain),
            || {
                let (grad_a, grad_b) = &mut *outputs.borrow_mut();
                black_box(run(grad_a, grad_b));
            },
        );
        let bytes = bytes as f64;
        let line = |kernel, times: super::Times, goal| Line {
            kernel,
            shape: format!("{n}x{d}"),
            element: T::NAME,
            tier: cx.isa.to_string(),
            threads,
            best_ms: times.best * 1e3,
            median_ms: times.median * 1e3,
            rate: bytes / times.best / 1e9,
            unit: "GB/s",
            share: limit.best / times.best,
            goal,
        };
        let counts = threads == *runner.threads.last().expect("some") && cx.isa.tier() == best;
        if runner.wants("stream") {
            lines.push(line("stream", limit, None));
        }
        if runner.wants("rows") {
            lines.push(line("rows", times, goal.filter(|_| counts && T::NAME == "f32")));
        }
    });
    report.lines.append(&mut lines);
}

fn view<T>(data: &[T], rows: usize, cols: usize) -> Mat<'_, T> {
    Mat::new(data, rows, cols).expect("rows x cols elements")
}

fn view_mut<T>(data: &mut [T], rows: usize, cols: usize) -> MatMut<'_, T> {
    MatMut::new(data, rows, cols).expect("rows x cols elements")
}

/// The contrastive loss with margin 1, in scalar f64.
fn check_rows<T: Real>(
    a: &[T],
    b: &[T],
    similar: &[bool],
    value: f64,
    grad_a: &[T],
    grad_b: &[T],
    d: usize,
) {
    let tolerance = 4.0 * (d as f64 + 8.0) * T::EPSILON.to_f64();
    let mut sum = 0.0;
    for (i, &similar) in similar.iter().enumerate() {
        let row = i * d..(i + 1) * d;
        let difference = |k: usize| a[row.start + k].to_f64() - b[row.start + k].to_f64();
        let distance = (0..d).map(|k| difference(k).powi(2)).sum::<f64>().sqrt();
        let gap = (1.0 - distance).max(0.0);
        sum += 0.5 * if similar { distance * distance } else { gap * gap };
        let slope = if similar { 1.0 } else { -gap / distance };
        for k in 0..d {
            let expected = slope * difference(k);
            let allowed = tolerance * (1.0 + slope.abs());
            let at = row.start + k;
            assert!((grad_a[at].to_f64() - expected).abs() <= allowed, "gradient of a at {at}");
            assert!((grad_b[at].to_f64() + expected).abs() <= allowed, "gradient of b at {at}");
        }
    }
    assert!((value - sum).abs() <= tolerance * sum, "value {value}, expected {sum}");
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
            goal: None,
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
