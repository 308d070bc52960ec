//! Index pairs into one matrix, in turn with as many pairs by rows.

use std::hint::black_box;

use drlim::batch::{IndexedOut, IndexedScratch, PairList, RowsOut, indexed, rows};
use drlim::loss::{Contrastive, Objective};
use drlim::{Real, Rng};

use super::Runner;
use super::pairs::{random, view, view_mut};
use super::report::{Line, Report};

/// Pairs, columns, and how fast they are to be as a multiple of pairs by rows.
const PAIRS: [((usize, usize), Option<f64>); 3] =
    [((65536, 128), Some(1.0)), ((65536, 100), None), ((65536, 2), None)];

/// Rows of the matrix: an eighth of the pairs.
const PAIRS_A_ROW: usize = 8;

pub fn measure(runner: &Runner, report: &mut Report) {
    if runner.wants("indexed") {
        for shape in runner.shapes(&PAIRS.map(|(shape, _)| shape)) {
            measure_indexed::<f32>(runner, shape, report);
            if shape == PAIRS[0].0 {
                measure_indexed::<f64>(runner, shape, report);
            }
        }
    }
}

fn measure_indexed<T: Real>(runner: &Runner, (n, d): (usize, usize), report: &mut Report) {
    let count = (n / PAIRS_A_ROW).max(2);
    let mut rng = Rng::new(1);
    let z = random::<T>(&mut rng, count * d);
    let mut draw = || rng.below(count as u64) as u32;
    let pairs: Vec<(u32, u32)> = (0..n).map(|_| (draw(), draw())).collect();
    let list = PairList::new(count, &pairs).expect("pairs of the rows");
    let similar: Vec<bool> = (0..n).map(|i| i % 2 == 0).collect();
    let row = |i: u32| &z[i as usize * d..][..d];
    let a: Vec<T> = pairs.iter().flat_map(|&(i, _)| row(i).to_vec()).collect();
    let b: Vec<T> = pairs.iter().flat_map(|&(_, j)| row(j).to_vec()).collect();
    let (mut grad_a, mut grad_b) = (vec![T::ZERO; n * d], vec![T::ZERO; n * d]);
    let (mut grad, mut scratch) = (vec![T::ZERO; count * d], IndexedScratch::new());
    let loss = Contrastive::new(T::ONE).expect("a margin of 1");
    let objective = Objective::sum(&loss);
    let goal = PAIRS.iter().find(|(shape, _)| *shape == (n, d)).and_then(|(_, goal)| *goal);
    let mut lines = Vec::new();
    runner.contexts(|cx, threads| {
        let mut by_rows = || {
            let out = RowsOut::grads(view_mut(&mut grad_a, n, d), view_mut(&mut grad_b, n, d));
            rows(&cx, &objective, view(&a, n, d), view(&b, n, d), &similar, out).expect("rows")
        };
        let mut by_list = || {
            let out = IndexedOut::grad(view_mut(&mut grad, count, d));
            let z = view(&z, count, d);
            indexed(&cx, &objective, z, &list, &similar, out, &mut scratch).expect("indexed")
        };
        assert_eq!(by_rows(), by_list(), "by rows and as a list");
        let [limit, times] = runner.time_in_turn(
            || {
                black_box(by_rows());
            },
            || {
                black_box(by_list());
            },
        );
        check(&pairs, [&grad_a, &grad_b], &grad, d);
        lines.push(Line {
            kernel: "indexed",
            shape: format!("{n}x{d}"),
            element: T::NAME,
            tier: cx.isa.to_string(),
            threads,
            best_ms: times.best * 1e3,
            median_ms: times.median * 1e3,
            rate: (4 * n * d * size_of::<T>()) as f64 / times.best / 1e9,
            unit: "GB/s",
            share: limit.best / times.best,
            goal: goal.filter(|_| runner.counts::<T>(cx, threads)),
        });
    });
    report.lines.append(&mut lines);
}

/// The gradient of the list is that of the rows, which have been checked by themselves, added up.
fn check<T: Real>(pairs: &[(u32, u32)], [grad_a, grad_b]: [&[T]; 2], grad: &[T], d: usize) {
    let mut expected = vec![0.0; grad.len()];
    let mut terms = vec![0.0; grad.len()];
    for (p, &(i, j)) in pairs.iter().enumerate() {
        for (row, of) in [(i, grad_a), (j, grad_b)] {
            for k in 0..d {
                expected[row as usize * d + k] += of[p * d + k].to_f64();
                terms[row as usize * d + k] += of[p * d + k].to_f64().abs();
            }
        }
    }
    for ((got, expected), terms) in grad.iter().zip(expected).zip(terms) {
        let allowed = 100.0 * T::EPSILON.to_f64() * terms;
        assert!((got.to_f64() - expected).abs() <= allowed, "gradient of the list");
    }
}
