//! Every pair of a batch against the FMA peak.
//!
//! Work is counted as the naive algorithm's, 4 B² D flops for a value and a gradient, so a share above
//! 1 is possible: each pair is computed once, and what is inactive can be skipped.

use std::hint::black_box;

use drlim::batch::{AllPairsScratch, all_pairs};
use drlim::loss::{Contrastive, Objective};
use drlim::{Cx, Graph, Real, Rng, Similar, Tier, pairs};

use super::Runner;
use super::pairs::{random, view, view_mut};
use super::peak::Peaks;
use super::report::{Line, Report};

/// Rows, columns and the share of the peak that is aimed at, with every pair active.
const LABELS: [((usize, usize), Option<f64>); 5] = [
    ((512, 128), Some(0.85)),
    ((1000, 100), Some(0.9)),
    ((4096, 128), Some(1.05)),
    ((4096, 768), Some(1.0)),
    ((16384, 128), Some(1.05)),
];

/// Batches of many close-knit classes, in random order.
const CLUSTERS: [(usize, usize); 1] = [(4096, 128)];
const CLASSES: usize = 100;

/// What they may take at most of the time of a batch without classes close together, every pair of which
/// is active: where their centres are within the margin, so that all their pairs are active too and those
/// of a class are close; and where they are so far apart that no dissimilar pair is active.
const CLUSTERED: f64 = 1.25;
const SPARSE: f64 = 0.15;

/// The paper's similar set, in its dimensions; 3 D + 10 flops a pair.
const GRAPH: [((usize, usize), Option<f64>); 1] = [((6000, 2), Some(0.12))];

pub fn measure(runner: &Runner, peaks: &Peaks, report: &mut Report) {
    let mut rng = Rng::new(1);
    let margin = |d: usize| (d as f64).sqrt();
    if runner.wants("all_pairs_labels") {
        for (n, d) in runner.shapes(&LABELS.map(|(shape, _)| shape)) {
            let batch = Dense::<f32>::new(&mut rng, n, d);
            let case =
                Case { kernel: "all_pairs_labels", shape: [n, d], z: &batch.z, margin: margin(d) };
            let goal =
                LABELS.iter().find(|(shape, _)| *shape == (n, d)).and_then(|(_, goal)| *goal);
            case.measure(runner, peaks, report, Similar::Labels(&batch.labels), Goal::of(goal));
            // As many lanes as half of those of f32: half of its rate, and twice its time.
            if runner.shape.is_some() || (n, d) == CLUSTERS[0] {
                let batch = Dense::<f64>::new(&mut rng, n, d);
                let (kernel, z) = ("all_pairs_labels", &*batch.z);
                let case = Case { kernel, shape: [n, d], z, margin: margin(d) };
                case.measure(runner, peaks, report, Similar::Labels(&batch.labels), Goal::of(None));
            }
        }
    }
    for (kernel, part) in [("all_pairs_clustered", CLUSTERED), ("all_pairs_sparse", SPARSE)] {
        if !runner.wants(kernel) {
            continue;
        }
        for (n, d) in runner.shapes(&CLUSTERS) {
            let dense = Dense::<f32>::new(&mut rng, n, d);
            let centers = random::<f32>(&mut rng, CLASSES * d);
            let mut labels: Vec<i64> = (0..n as i64).map(|i| i % CLASSES as i64).collect();
            rng.shuffle(&mut labels);
            let mut z = random::<f32>(&mut rng, n * d);
            for (row, &label) in z.chunks_exact_mut(d).zip(&labels) {
                for (x, center) in row.iter_mut().zip(&centers[label as usize * d..][..d]) {
                    *x = 0.01 * *x + center;
                }
            }
            // Centres are about 0.4 sqrt(d) apart.
            let margin = if kernel == "all_pairs_sparse" { 1.0 } else { margin(d) };
            let case = Case { kernel, shape: [n, d], z: &z, margin };
            let goal = (CLUSTERS.contains(&(n, d))).then_some((&dense, part));
            case.measure(runner, peaks, report, Similar::Labels(&labels), Goal::PartOf(goal));
        }
    }
    if runner.wants("all_pairs_graph") {
        for (n, d) in runner.shapes(&GRAPH.map(|(shape, _)| shape)) {
            let z = random::<f32>(&mut rng, n * d);
            let graph: Graph =
                pairs::neighbour_graph(&Cx::default(), view(&z, n, d), 5).expect("neighbours");
            let case = Case { kernel: "all_pairs_graph", shape: [n, d], z: &z, margin: 1.0 };
            let goal = GRAPH.iter().find(|(shape, _)| *shape == (n, d)).and_then(|(_, goal)| *goal);
            case.measure(runner, peaks, report, Similar::Graph(&graph), Goal::of(goal));
        }
    }
}

/// A batch of eight classes whose rows lie anywhere, every pair of it active.
struct Dense<T> {
    z: Vec<T>,
    labels: Vec<i64>,
}

impl<T: Real> Dense<T> {
    fn new(rng: &mut Rng, n: usize, d: usize) -> Self {
        let labels = (0..n as i64).map(|i| i % 8).collect();
        Dense { z: random::<T>(rng, n * d), labels }
    }
}

/// What a measurement is held against.
enum Goal<'a, T> {
    /// A share of the peak, if any.
    Share(Option<f64>),
    /// At most so much of the time that a dense batch of the same shape takes in the same run.
    PartOf(Option<(&'a Dense<T>, f64)>),
}

impl<T> Goal<'_, T> {
    fn of(share: Option<f64>) -> Self {
        Goal::Share(share)
    }
}

struct Case<'a, T> {
    kernel: &'static str,
    shape: [usize; 2],
    z: &'a [T],
    margin: f64,
}

impl<T: Real> Case<'_, T> {
    fn measure(
        &self,
        runner: &Runner,
        peaks: &Peaks,
        report: &mut Report,
        similar: Similar,
        goal: Goal<T>,
    ) {
        let [n, d] = self.shape;
        let loss = Contrastive::new(T::from_f64(self.margin)).expect("a margin");
        let objective = Objective::sum(&loss);
        let mut scratch = AllPairsScratch::new();
        let mut grad = vec![T::ZERO; n * d];
        let pairs = (n * (n - 1) / 2) as f64;
        let flops = match self.kernel {
            "all_pairs_graph" => pairs * (3 * d + 10) as f64,
            _ => 4.0 * (n * n * d) as f64,
        };
        let mut lines = Vec::new();
        runner.contexts(|cx, threads| {
            // The portable tier takes long, and one thread for the largest batches too.
            let large = n * n * d > 1 << 32 && threads == 1 && runner.threads.len() > 1;
            if cx.isa.tier() == Tier::Portable && n * n * d > 1 << 24 || large {
                return;
            }
            let mut run = || {
                let to = Some(view_mut(&mut grad, n, d));
                all_pairs(&cx, &objective, view(self.z, n, d), similar, to, &mut scratch)
                    .expect("all pairs")
            };
            run();
            let mut dense_scratch = AllPairsScratch::new();
            let mut dense_grad = vec![T::ZERO; n * d];
            let [dense, times] = runner.time_in_turn(
                || {
                    if let Goal::PartOf(Some((dense, _))) = &goal {
                        let margin = T::from_f64((d as f64).sqrt());
                        let loss = Contrastive::new(margin).expect("a margin");
                        let to = Some(view_mut(&mut dense_grad, n, d));
                        let (z, similar) = (view(&dense.z, n, d), Similar::Labels(&dense.labels));
                        let scratch = &mut dense_scratch;
                        all_pairs(&cx, &Objective::sum(&loss), z, similar, to, scratch)
                            .expect("all pairs");
                    }
                },
                || {
                    black_box(run());
                },
            );
            self.check(similar, &grad);
            let peak = peaks.of(T::NAME, cx, threads);
            let share = |seconds: f64| flops / seconds / peak;
            let goal = match &goal {
                Goal::Share(goal) => *goal,
                // Such a share that the time is the part of the dense time that is allowed.
                Goal::PartOf(goal) => goal.map(|(_, part)| share(dense.best) / part),
            };
            lines.push(Line {
                kernel: self.kernel,
                shape: format!("{n}x{d}"),
                element: T::NAME,
                tier: cx.isa.to_string(),
                threads,
                best_ms: times.best * 1e3,
                median_ms: times.median * 1e3,
                rate: flops / times.best / 1e9,
                unit: "GFLOP/s",
                share: share(times.best),
                goal: goal.filter(|_| runner.counts::<T>(cx, threads)),
            });
        });
        report.lines.append(&mut lines);
    }

    /// The gradients of a few rows, from all their pairs in scalar f64.
    fn check(&self, similar: Similar, grad: &[T]) {
        let [n, d] = self.shape;
        let row = |i: usize| &self.z[i * d..][..d];
        for i in (0..n).step_by(n.div_ceil(8)) {
            let mut expected = vec![0.0; d];
            let mut size = 0.0;
            for j in (0..n).filter(|&j| j != i) {
                let difference = |k: usize| row(i)[k].to_f64() - row(j)[k].to_f64();
                let distance = (0..d).map(|k| difference(k).powi(2)).sum::<f64>().sqrt();
                let gap = (self.margin - distance).max(0.0);
                let slope = if similar.of(i, j) == Some(true) { 1.0 } else { -gap / distance };
                for (k, expected) in expected.iter_mut().enumerate() {
                    *expected += slope * difference(k);
                }
                size += slope.abs() * distance;
            }
            for (k, expected) in expected.iter().enumerate() {
                let error = (grad[i * d + k].to_f64() - expected).abs();
                // Products of rows that are a hundred times as far from the mean as from each other
                // lose two digits (of a pair that is a thousand times as close, none).
                let allowed = 160.0 * T::EPSILON.to_f64() * size;
                assert!(error <= allowed, "{}: gradient of row {i}: {error:e}", self.kernel);
            }
        }
    }
}
