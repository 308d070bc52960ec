//! Pairs by rows against a copy of the same traffic.

use drlim::batch::{RowsOut, rows};
use drlim::loss::{Contrastive, Objective};
use drlim::{Mat, MatMut, Real, Rng};

use super::report::{Line, Report};
use super::stream::against_copy;
use super::{Runner, Times};

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

pub fn measure(runner: &Runner, report: &mut Report) {
    if runner.wants("rows") || runner.wants("stream") {
        for shape in runner.shapes(&ROWS.map(|(shape, _)| shape)) {
            measure_rows::<f32>(runner, shape, report);
            if shape == ROWS[0].0 {
                measure_rows::<f64>(runner, shape, report);
            }
        }
    }
}

pub fn random<T: Real>(rng: &mut Rng, len: usize) -> Vec<T> {
    (0..len).map(|_| T::from_f64(rng.uniform())).collect()
}

fn measure_rows<T: Real>(runner: &Runner, (n, d): (usize, usize), report: &mut Report) {
    let mut rng = Rng::new(1);
    let (a, b) = (random::<T>(&mut rng, n * d), random::<T>(&mut rng, n * d));
    let similar: Vec<bool> = (0..n).map(|i| i % 2 == 0).collect();
    let mut grads = [vec![T::ZERO; n * d], vec![T::ZERO; n * d]];
    let loss = Contrastive::new(T::ONE).expect("a margin of 1");
    let objective = Objective::sum(&loss);
    let goal = ROWS.iter().find(|(shape, _)| *shape == (n, d)).and_then(|(_, goal)| *goal);
    let mut lines = Vec::new();
    runner.contexts(|cx, threads| {
        let run = |[grad_a, grad_b]: &mut [Vec<T>; 2]| {
            let grads = RowsOut::grads(view_mut(grad_a, n, d), view_mut(grad_b, n, d));
            rows(&cx, &objective, view(&a, n, d), view(&b, n, d), &similar, grads).expect("rows")
        };
        let outcome = run(&mut grads);
        check_rows(&a, &b, &similar, outcome.value, &grads[0], &grads[1], d);
        let [limit, times] = against_copy(runner, cx, [&a, &b], &mut grads, run);
        let line = |kernel, times: Times, goal| Line {
            kernel,
            shape: format!("{n}x{d}"),
            element: T::NAME,
            tier: cx.isa.to_string(),
            threads,
            best_ms: times.best * 1e3,
            median_ms: times.median * 1e3,
            rate: (4 * n * d * size_of::<T>()) as f64 / times.best / 1e9,
            unit: "GB/s",
            share: limit.best / times.best,
            goal,
        };
        if runner.wants("stream") {
            lines.push(line("stream", limit, None));
        }
        if runner.wants("rows") {
            lines.push(line("rows", times, goal.filter(|_| runner.counts::<T>(cx, threads))));
        }
    });
    report.lines.append(&mut lines);
}

pub fn view<T>(data: &[T], rows: usize, cols: usize) -> Mat<'_, T> {
    Mat::new(data, rows, cols).expect("rows x cols elements")
}

pub fn view_mut<T>(data: &mut [T], rows: usize, cols: usize) -> MatMut<'_, T> {
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
