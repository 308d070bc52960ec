//! `cargo bench --bench optim`: a step of each optimizer, by tier, in parameters a second: with
//! `ordinary` gradients, with `denormal` ones, and with `vanishing` ones, whose moments and squares
//! would be denormal. The first two are to take the same time, the last, in Adam, a few times as much within
//! the caches: its second moments are roots.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use drlim::optim::{Adam, AdamW, Optimizer, Sgd};
use drlim::{Cx, Isa, Par, Rng};

/// As many as the paper's network has, within the caches.
const PARAMS: usize = 37_127;

/// One that starts anew.
type New = fn() -> Box<dyn Optimizer<f32>>;

const OPTIMIZERS: [(&str, New); 4] = [
    ("sgd", || Box::new(Sgd::new().momentum(0.9).expect("a share"))),
    ("sgd_nesterov", || Box::new(Sgd::new().momentum(0.9).expect("a share").nesterov())),
    ("adam", || Box::new(Adam::new())),
    ("adamw", || Box::new(AdamW::new().weight_decay(1e-4).expect("a decay"))),
];

/// Gradients under their names in the results.
fn gradients() -> [(&'static str, Vec<f32>); 3] {
    let mut rng = Rng::new(1);
    let mut draw = |low: f32, high: f32| -> Vec<f32> {
        let one = |i| (low + (high - low) * rng.uniform() as f32) * [1.0, -1.0][i % 2];
        (0..PARAMS).map(one).collect()
    };
    let least = f32::MIN_POSITIVE;
    let (first, second) = (draw(1.0 * least, 9.0 * least), draw(1e-22, 3e-19));
    let vanishing = (0..PARAMS).map(|i| if i % 4 < 2 { first[i] } else { second[i] }).collect();
    let denormal = draw(0.1 * least, 0.9 * least);
    [("ordinary", draw(0.1, 1.0)), ("denormal", denormal), ("vanishing", vanishing)]
}

/// Three steps move each parameter against its gradient, or leave it where that is next to nothing,
/// but for a decay of 1e-10 in all.
fn check(cx: &Cx, new: New, gradient: &[f32]) {
    let mut params = vec![1.0; PARAMS];
    let mut optimizer = new();
    for _ in 0..3 {
        optimizer.step(cx, 1e-3, &mut params, gradient).expect("a step");
    }
    for (p, g) in params.iter().zip(gradient) {
        let moved = 1.0 - p;
        let right = if g.abs() < 1e-10 { moved.abs() < 1e-6 } else { moved * g.signum() > 1e-4 };
        assert!(right, "a gradient of {g:e} moves by {moved:e} on {}", cx.isa);
    }
}

fn steps(criterion: &mut Criterion) {
    let gradients = gradients();
    for (name, new) in OPTIMIZERS {
        let mut group = criterion.benchmark_group(format!("optim/{name}"));
        group.throughput(Throughput::Elements(PARAMS as u64));
        for isa in Isa::available() {
            let cx = Cx { isa, par: Par::Serial };
            for (kind, gradient) in &gradients {
                check(&cx, new, gradient);
                let (mut optimizer, mut params) = (new(), vec![1.0; PARAMS]);
                group.bench_function(BenchmarkId::new(isa.to_string(), kind), |b| {
                    b.iter(|| optimizer.step(&cx, 1e-6, &mut params, gradient).expect("a step"));
                });
            }
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_millis(700))
        .sample_size(15);
    targets = steps
}
criterion_main!(benches);
