//! Losses of anchors, and the pairwise sigmoid, against the FMA peak.
//!
//! Work is counted as that of two products with a matrix of logits and its gradient: 6 N M D flops for values and
//! both gradients, 4 N M D for the gradient of the queries alone. Among the rows of one set each pair is computed
//! once for both, 4 B² D are real; by strips all are; both directions of one matrix take 8.

use std::hint::black_box;

use drlim::batch::{
    AnchorScratch, Anchors, AnchorsOut, CrossAnchorsOut, CrossOut, CrossScratch, CrossSimilar,
    all_anchors, cross, cross_anchors,
};
use drlim::loss::{AnchorObjective, AnchorSums, Objective, Reduction, Sigmoid, Softmax};
use drlim::{Cx, Rng, Similar, Tier};

use super::Runner;
use super::pairs::{random, view, view_mut};
use super::peak::Peaks;
use super::report::{Line, Report};

/// Rows of either side, columns, and the share that is aimed at, if any.
type Shape = ((usize, usize), Option<f64>);

/// Each kernel, the flops of a pair and an element that are counted, and its shapes with their goals.
const KERNELS: [(&str, f64, &[Shape]); 5] = [
    (
        "softmax_one_set",
        6.0,
        &[((512, 128), Some(0.9)), ((4096, 128), Some(1.25)), ((4096, 768), Some(1.3))],
    ),
    (
        "softmax_cross",
        6.0,
        &[((512, 128), None), ((4096, 128), Some(0.88)), ((4096, 768), Some(0.88))],
    ),
    ("softmax_queries", 4.0, &[((4096, 128), Some(0.9)), ((4096, 768), Some(0.9))]),
    ("clip", 6.0, &[((512, 128), None), ((4096, 128), Some(0.65)), ((4096, 768), Some(0.65))]),
    ("siglip", 6.0, &[((512, 128), None), ((4096, 128), Some(0.88)), ((4096, 768), Some(0.88))]),
];

const TEMPERATURE: f32 = 0.07;
const CLASSES: usize = 100;

pub fn measure(runner: &Runner, peaks: &Peaks, report: &mut Report) {
    let mut rng = Rng::new(1);
    for (kernel, counted, shapes) in KERNELS {
        if !runner.wants(kernel) {
            continue;
        }
        let all: Vec<(usize, usize)> = shapes.iter().map(|(shape, _)| *shape).collect();
        for (n, d) in runner.shapes(&all) {
            let mut case = Case::new(&mut rng, kernel, [n, d]);
            let goal = shapes.iter().find(|(shape, _)| *shape == (n, d));
            let goal = goal.and_then(|(_, goal)| *goal);
            let flops = counted * (n * n * d) as f64;
            runner.contexts(|cx, threads| {
                // The portable tier takes long.
                if cx.isa.tier() == Tier::Portable && n * n * d > 1 << 24 {
                    return;
                }
                black_box(case.run(&cx));
                let times = runner.time(|| {
                    black_box(case.run(&cx));
                });
                case.check(&cx);
                report.lines.push(Line {
                    kernel,
                    shape: format!("{n}x{d}"),
                    element: "f32",
                    tier: cx.isa.to_string(),
                    threads,
                    best_ms: times.best * 1e3,
                    median_ms: times.median * 1e3,
                    rate: flops / times.best / 1e9,
                    unit: "GFLOP/s",
                    share: flops / times.best / peaks.of("f32", cx, threads),
                    goal: goal.filter(|_| runner.counts::<f32>(cx, threads)),
                });
            });
        }
    }
}

/// Rows of unit length, around centres in [`CLASSES`] classes; key i belongs to query i.
struct Case {
    kernel: &'static str,
    shape: [usize; 2],
    queries: Vec<f32>,
    keys: Vec<f32>,
    labels: Vec<i64>,
    grads: [Vec<f32>; 2],
    scratch: AnchorScratch<f32>,
    pairs: CrossScratch<f32>,
}

impl Case {
    fn new(rng: &mut Rng, kernel: &'static str, [n, d]: [usize; 2]) -> Self {
        let centers = random::<f32>(rng, CLASSES * d);
        let mut labels: Vec<i64> = (0..n).map(|i| (i % CLASSES) as i64).collect();
        rng.shuffle(&mut labels);
        let mut rows = || {
            let mut z = random::<f32>(rng, n * d);
            for (row, &label) in z.chunks_exact_mut(d).zip(&labels) {
                let center = &centers[label as usize * d..][..d];
                row.iter_mut().zip(center).for_each(|(x, center)| *x = *x + center - 1.0);
                let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
                row.iter_mut().for_each(|x| *x /= length);
            }
            z
        };
        let (queries, keys) = (rows(), rows());
        let grads = [vec![0.0; n * d], vec![0.0; n * d]];
        let (scratch, pairs) = (AnchorScratch::new(), CrossScratch::new());
        Case { kernel, shape: [n, d], queries, keys, labels, grads, scratch, pairs }
    }

    /// Computes the gradients. Returns the value.
    fn run(&mut self, cx: &Cx) -> f64 {
        let [n, d] = self.shape;
        let loss = Softmax::temperature(TEMPERATURE).expect("a temperature");
        let objective = AnchorObjective::mean(&loss);
        let (q, k) = (view(&self.queries, n, d), view(&self.keys, n, d));
        let [of_queries, of_keys] = self.grads.each_mut().map(|grad| view_mut(grad, n, d));
        let similar = CrossSimilar::Position { first_key: 0 };
        let mut across = |anchors, out| {
            let scratch = &mut self.scratch;
            let outcome = cross_anchors(cx, &objective, q, k, similar, None, anchors, out, scratch);
            outcome.expect("anchors").value
        };
        match self.kernel {
            "softmax_one_set" => {
                let (similar, out) = (Similar::Labels(&self.labels), AnchorsOut::grad(of_queries));
                let outcome = all_anchors(cx, &objective, q, similar, out, &mut self.scratch);
                outcome.expect("anchors").value
            }
            "softmax_cross" => {
                across(Anchors::Queries, CrossAnchorsOut::grads(of_queries, of_keys))
            }
            "softmax_queries" => {
                across(Anchors::Queries, CrossAnchorsOut::grad_queries(of_queries))
            }
            "clip" => across(Anchors::Both, CrossAnchorsOut::grads(of_queries, of_keys)),
            "siglip" => {
                let loss = Sigmoid::new(10.0, -10.0).expect("a scale");
                let each = 1.0 / n as f64;
                let reduction = Reduction::Factors { similar: each, dissimilar: each };
                let objective = Objective::sum(&loss).reduced(reduction);
                let out = CrossOut::grads(of_queries, of_keys);
                let outcome = cross(cx, &objective, q, k, similar, None, out, &mut self.pairs);
                outcome.expect("pairs").value
            }
            kernel => panic!("{kernel} is no kernel"),
        }
    }

    /// The gradients of a few queries, from all their pairs in scalar `f64`; and the log-sums that these take, of a
    /// few anchors.
    fn check(&mut self, cx: &Cx) {
        self.run(cx);
        let [n, _] = self.shape;
        let lse = self.log_sums(cx);
        for i in (0..n).step_by(n.div_ceil(4)) {
            self.check_row(i, &lse);
        }
    }

    /// ln of the sum of e^s over the candidates of each anchor: of queries, then of keys; none of a sigmoid.
    fn log_sums(&mut self, cx: &Cx) -> [Vec<f64>; 2] {
        let [n, d] = self.shape;
        if self.kernel == "siglip" {
            return [Vec::new(), Vec::new()];
        }
        let loss = Softmax::temperature(TEMPERATURE).expect("a temperature");
        let objective = AnchorObjective::mean(&loss);
        let (q, k) = (view(&self.queries, n, d), view(&self.keys, n, d));
        let mut sums = vec![AnchorSums::default(); 2 * n];
        if self.kernel == "softmax_one_set" {
            let mut out = AnchorsOut::none();
            out.sums = Some(&mut sums[..n]);
            let similar = Similar::Labels(&self.labels);
            all_anchors(cx, &objective, q, similar, out, &mut self.scratch).expect("anchors");
            sums.copy_within(..n, n);
        } else {
            let mut out = CrossAnchorsOut::none();
            out.sums = Some(&mut sums);
            let (similar, scratch) = (CrossSimilar::Position { first_key: 0 }, &mut self.scratch);
            cross_anchors(cx, &objective, q, k, similar, None, Anchors::Both, out, scratch)
                .expect("anchors");
        }
        let lse: Vec<f64> =
            sums.iter().map(|sums| (sums.similar + sums.dissimilar).log()).collect();
        for i in (0..n).step_by(n.div_ceil(4)) {
            let candidates = (0..n).filter(|&j| self.is_pair(i, j));
            let exact = candidates.map(|j| self.logit(i, j).exp()).sum::<f64>().ln();
            assert!(
                (lse[i] - exact).abs() < 1e-4,
                "{}: log-sum {i}: {} {exact}",
                self.kernel,
                lse[i]
            );
        }
        [lse[..n].to_vec(), lse[n..].to_vec()]
    }

    fn is_pair(&self, i: usize, j: usize) -> bool {
        self.kernel != "softmax_one_set" || i != j
    }

    fn is_similar(&self, i: usize, j: usize) -> bool {
        if self.kernel == "softmax_one_set" { self.labels[i] == self.labels[j] } else { i == j }
    }

    /// The row that query i meets at j.
    fn candidate(&self, j: usize) -> &[f32] {
        let rows = if self.kernel == "softmax_one_set" { &self.queries } else { &self.keys };
        &rows[j * self.shape[1]..][..self.shape[1]]
    }

    fn cosine(&self, i: usize, j: usize) -> f64 {
        let row = &self.queries[i * self.shape[1]..][..self.shape[1]];
        row.iter().zip(self.candidate(j)).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    }

    fn logit(&self, i: usize, j: usize) -> f64 {
        self.cosine(i, j) / f64::from(TEMPERATURE)
    }

    /// dL/du of the pair of query i with j.
    fn weight(&self, i: usize, j: usize, lse: &[Vec<f64>; 2]) -> f64 {
        let (n, similar) = (self.shape[0] as f64, self.is_similar(i, j));
        if self.kernel == "siglip" {
            let (logit, sign) = (10.0 * self.cosine(i, j) - 10.0, if similar { -1.0 } else { 1.0 });
            return 10.0 / n * sign / (1.0 + (-sign * logit).exp());
        }
        let own =
            |label: i64| self.labels.iter().filter(|&&other| other == label).count() as f64 - 1.0;
        let alike = if self.kernel == "softmax_one_set" { own(self.labels[i]) } else { 1.0 };
        let pull = if similar { 1.0 / alike } else { 0.0 };
        let share = |lse: f64| (self.logit(i, j) - lse).exp() - pull;
        let of_query = share(lse[0][i]);
        let of_both = of_query + share(lse[1][j]);
        let scale = 1.0 / f64::from(TEMPERATURE) / n;
        match self.kernel {
            "softmax_one_set" => scale * of_both,
            "clip" => 0.5 * scale * of_both,
            _ => scale * of_query,
        }
    }

    fn check_row(&self, i: usize, lse: &[Vec<f64>; 2]) {
        let [n, d] = self.shape;
        let (mut expected, mut size) = (vec![0.0; d], 0.0);
        for j in (0..n).filter(|&j| self.is_pair(i, j)) {
            let weight = self.weight(i, j, lse);
            let own = &self.queries[i * d..][..d];
            for (k, expected) in expected.iter_mut().enumerate() {
                let difference = f64::from(self.candidate(j)[k]) - f64::from(own[k]);
                *expected += weight * difference;
            }
            size += weight.abs();
        }
        for (k, expected) in expected.iter().enumerate() {
            let error = (f64::from(self.grads[0][i * d + k]) - expected).abs();
            assert!(error <= 1e-4 * size, "{}: gradient of row {i}: {error:e}", self.kernel);
        }
    }
}
