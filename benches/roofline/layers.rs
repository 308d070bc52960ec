//! Training steps and forward passes against the FMA peak, counting the flops of products only; and
//! tanh against the time of a copy.

use std::hint::black_box;

use drlim::loss::{Contrastive, Objective};
use drlim::nn::{Network, Shape, Tanh, Workspace};
use drlim::optim::Sgd;
use drlim::siamese::Siamese;
use drlim::{Cx, Isa, Mat, Rng, Tier};

use super::nets::{self, Net, images};
use super::peak::Peaks;
use super::report::{Line, Report};
use super::{Runner, Times};

/// A network's training step, and the share of the peak that is aimed at.
struct Step {
    kernel: &'static str,
    build: fn() -> Net<f32>,
    goal: Option<f64>,
}

const STEPS: [Step; 3] = [
    Step { kernel: "train_step_drlim", build: nets::paper, goal: Some(0.45) },
    Step { kernel: "train_step_lenet", build: nets::lenet, goal: Some(0.7) },
    Step { kernel: "train_step_dense", build: nets::dense, goal: None },
];

pub fn measure(runner: &Runner, peaks: &Peaks, report: &mut Report) {
    for step in STEPS {
        if runner.wants(step.kernel) {
            for pairs in runner.batches(&[128]) {
                step.measure(runner, peaks, pairs, report);
            }
        }
    }
    if runner.wants("forward_drlim") {
        for images in runner.batches(&[1]) {
            measure_forward(runner, peaks, images, report);
        }
    }
    if runner.wants("tanh") {
        for elements in runner.batches(&[16384]) {
            measure_tanh(runner, elements, report);
        }
    }
}

/// The paper's network on one image, in scalar f64.
fn paper_oracle(net: &Network<f32>, image: &[f32]) -> [f64; 2] {
    let params: Vec<Vec<f64>> =
        net.parameters().map(|p| p.values.iter().map(|&x| x.into()).collect()).collect();
    let [c1, b1, s2, t2, c3, b3, f4, b4] = &params[..] else { panic!("eight tensors") };
    let mut maps = Vec::new();
    for map in 0..15 {
        let c1_at = |y: usize, x: usize| {
            let taps = (0..36).map(|tap| {
                let pixel = image[(y + tap / 6) * 32 + x + tap % 6];
                c1[map * 36 + tap] * f64::from(pixel)
            });
            (b1[map] + taps.sum::<f64>()).tanh()
        };
        for window in 0..81 {
            let (y, x) = (window / 9 * 3, window % 9 * 3);
            let sum: f64 = (0..9).map(|i| c1_at(y + i / 3, x + i % 3)).sum();
            maps.push((s2[map] * sum / 9.0 + t2[map]).tanh());
        }
    }
    let dot = |row: &[f64], x: &[f64]| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
    let hidden: Vec<f64> =
        (0..30).map(|k| (b3[k] + dot(&c3[k * maps.len()..], &maps)).tanh()).collect();
    std::array::from_fn(|k| b4[k] + dot(&f4[k * 30..], &hidden))
}

impl Step {
    fn measure(&self, runner: &Runner, peaks: &Peaks, pairs: usize, report: &mut Report) {
        let mut rng = Rng::new(1);
        let similar: Vec<bool> = (0..pairs).map(|i| i % 2 == 0).collect();
        let loss = Contrastive::new(1.0_f32).expect("a margin of 1");
        let objective = Objective::mean(&loss);
        runner.contexts(|cx, threads| {
            let Net { network, products } = (self.build)();
            let len = network.input().len();
            let x = images(&mut rng, 2 * pairs, len);
            let (x1, x2) = x.split_at(pairs * len);
            let view = |x| Mat::new(x, pairs, len).expect("a row an image");
            let mut siamese = Siamese::new(network, Sgd::new(), pairs).expect("a siamese pair");
            let mut step = || {
                let (x1, x2) = (view(x1), view(x2));
                siamese.step(&cx, &objective, 1e-4, x1, x2, &similar).expect("a step")
            };
            let values: Vec<f64> = (0..5).map(|_| step().value).collect();
            assert!(values[4] < values[0], "five small steps lower the loss: {values:?}");
            let times = runner.time(|| {
                black_box(step());
            });
            let goal = self.goal.filter(|_| counts(runner, cx, threads));
            let flops = products.step_flops(2 * pairs) as f64;
            report.lines.push(line(self.kernel, pairs, cx, threads, times, flops, peaks, goal));
        });
    }
}

fn measure_forward(runner: &Runner, peaks: &Peaks, count: usize, report: &mut Report) {
    let Net { network: net, products } = nets::paper();
    let x = images(&mut Rng::new(1), count, net.input().len());
    let mut workspace = Workspace::inference(&net, count).expect("a workspace");
    runner.contexts(|cx, threads| {
        if threads > 1 {
            return;
        }
        let x = Mat::new(&x, count, net.input().len()).expect("a row an image");
        let z = net.forward(&cx, x, &mut workspace).expect("a forward pass");
        for (image, z) in x.iter().zip(z.iter()) {
            for (z, exact) in z.iter().zip(paper_oracle(&net, image)) {
                assert!((f64::from(*z) - exact).abs() <= 1e-5, "{z} for {exact} on {cx}");
            }
        }
        let times = runner.time(|| {
            black_box(net.forward(&cx, x, &mut workspace).expect("a forward pass"));
        });
        let goal = Some(0.25).filter(|_| cx.isa == Isa::best());
        let flops = products.forward_flops(count) as f64;
        report.lines.push(line("forward_drlim", count, cx, threads, times, flops, peaks, goal));
    });
}

/// The layer on data that stays in L2, in elements a second; the share is of the time of as many
/// elements copied there.
fn measure_tanh(runner: &Runner, elements: usize, report: &mut Report) {
    let net = Network::<f32>::builder(Shape::flat(elements)).layer("tanh", Tanh::new()).build(1);
    let net = net.expect("a network of one layer");
    let x: Vec<f32> = (0..elements).map(|i| i as f32 * 1e-3 - 8.0).collect();
    let mut workspace = Workspace::inference(&net, 1).expect("a workspace");
    let mut y = vec![0.0_f32; elements];
    runner.contexts(|cx, threads| {
        if threads > 1 || (cx.isa.tier() == Tier::Portable && !runner.test) {
            return;
        }
        let x_row = Mat::new(&x, 1, elements).expect("one row");
        let row = net.forward(&cx, x_row, &mut workspace).expect("a forward pass").row(0);
        for (&x, &y) in x.iter().zip(row) {
            let exact = f64::from(x).tanh();
            assert!((f64::from(y) - exact).abs() <= 2.4e-7 * exact.abs(), "tanh({x}) = {y}");
        }
        let [limit, times] = runner.time_in_turn(
            || black_box(&mut y).copy_from_slice(&x),
            || {
                black_box(net.forward(&cx, x_row, &mut workspace).expect("a forward pass"));
            },
        );
        report.lines.push(Line {
            kernel: "tanh",
            shape: elements.to_string(),
            element: "f32",
            tier: cx.isa.to_string(),
            threads,
            best_ms: times.best * 1e3,
            median_ms: times.median * 1e3,
            rate: elements as f64 / times.best / 1e9,
            unit: "Gelem/s",
            share: limit.best / times.best,
            goal: None,
        });
    });
}

fn counts(runner: &Runner, cx: Cx, threads: usize) -> bool {
    Some(&threads) == runner.threads.last() && cx.isa == Isa::best()
}

#[expect(clippy::too_many_arguments, reason = "the columns of the table")]
fn line(
    kernel: &'static str,
    batch: usize,
    cx: Cx,
    threads: usize,
    times: Times,
    flops: f64,
    peaks: &Peaks,
    goal: Option<f64>,
) -> Line {
    let rate = flops / times.best;
    Line {
        kernel,
        shape: batch.to_string(),
        element: "f32",
        tier: cx.isa.to_string(),
        threads,
        best_ms: times.best * 1e3,
        median_ms: times.median * 1e3,
        rate: rate / 1e9,
        unit: "GFLOP/s",
        share: rate / peaks.of("f32", cx, threads),
        goal,
    }
}
