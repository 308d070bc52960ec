//! Triplets by rows against a copy of the same traffic.

use drlim::batch::{TripletRows, TripletRowsOut, triplet_rows};
use drlim::loss::{TripletMargin, TripletObjective};
use drlim::{Real, Rng};

use super::pairs::{random, view, view_mut};
use super::report::{Line, Report};
use super::stream::against_copy;
use super::{Runner, Times};

/// Rows, columns and the share of the copy's speed that is aimed at.
const TRIPLETS: [((usize, usize), Option<f64>); 3] =
    [((65536, 128), Some(0.95)), ((65536, 100), None), ((2048, 128), None)];

const MARGIN: f64 = 0.2;

pub fn measure(runner: &Runner, report: &mut Report) {
    if runner.wants("triplet_rows") {
        for shape in runner.shapes(&TRIPLETS.map(|(shape, _)| shape)) {
            measure_triplets::<f32>(runner, shape, report);
            if shape == TRIPLETS[0].0 {
                measure_triplets::<f64>(runner, shape, report);
            }
        }
    }
}

fn measure_triplets<T: Real>(runner: &Runner, (n, d): (usize, usize), report: &mut Report) {
    let mut rng = Rng::new(1);
    let inputs = [(); 3].map(|()| random::<T>(&mut rng, n * d));
    let mut grads = [(); 3].map(|()| vec![T::ZERO; n * d]);
    let loss = TripletMargin::new(T::from_f64(MARGIN)).expect("a margin");
    let objective = TripletObjective::sum(&loss);
    let goal = TRIPLETS.iter().find(|(shape, _)| *shape == (n, d)).and_then(|(_, goal)| *goal);
    let mut lines = Vec::new();
    runner.contexts(|cx, threads| {
        let [a, p, neg] = inputs.each_ref().map(|input| view(input, n, d));
        let triplets = TripletRows::new(a, p, neg).expect("three of one shape");
        let run = |grads: &mut [Vec<T>; 3]| {
            let [a, p, neg] = grads.each_mut().map(|grad| view_mut(grad, n, d));
            let grads = TripletRowsOut::grads(a, p, neg);
            triplet_rows(&cx, &objective, triplets, grads).expect("triplets")
        };
        let value = run(&mut grads).value;
        check(&inputs, value, &grads, d);
        let from = inputs.each_ref().map(|input| input.as_slice());
        let [limit, times]: [Times; 2] = against_copy(runner, cx, from, &mut grads, run);
        lines.push(Line {
            kernel: "triplet_rows",
            shape: format!("{n}x{d}"),
            element: T::NAME,
            tier: cx.isa.to_string(),
            threads,
            best_ms: times.best * 1e3,
            median_ms: times.median * 1e3,
            rate: (6 * n * d * size_of::<T>()) as f64 / times.best / 1e9,
            unit: "GB/s",
            share: limit.best / times.best,
            goal: goal.filter(|_| runner.counts::<T>(cx, threads)),
        });
    });
    report.lines.append(&mut lines);
}

/// The triplet margin loss in scalar f64. A triplet that rounding may take over the hinge has two
/// right gradients, and is passed over.
fn check<T: Real>(inputs: &[Vec<T>; 3], value: f64, grads: &[Vec<T>; 3], d: usize) {
    let tolerance = 8.0 * (d as f64 + 8.0) * T::EPSILON.to_f64();
    let mut sum = 0.0;
    for start in (0..inputs[0].len()).step_by(d) {
        let at = |m: usize, k: usize| inputs[m][start + k].to_f64();
        let distance = |m: usize| (0..d).map(|k| (at(0, k) - at(m, k)).powi(2)).sum::<f64>().sqrt();
        let (positive, negative) = (distance(1), distance(2));
        let gap = positive - negative + MARGIN;
        sum += gap.max(0.0);
        if gap.abs() <= tolerance * (positive + negative) {
            continue;
        }
        let active = f64::from(u8::from(gap > 0.0));
        for k in 0..d {
            let pull = active * (at(0, k) - at(1, k)) / positive;
            let push = active * (at(0, k) - at(2, k)) / negative;
            for (m, expected) in [pull - push, -pull, push].into_iter().enumerate() {
                let error = (grads[m][start + k].to_f64() - expected).abs();
                assert!(error <= tolerance, "gradient {m} at {start} + {k}");
            }
        }
    }
    assert!((value - sum).abs() <= tolerance * sum, "value {value}, expected {sum}");
}
