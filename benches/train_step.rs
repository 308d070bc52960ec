//! `cargo bench --bench train_step`: whole steps of siamese training by network and number of pairs, and
//! the latency of one image, in flops of their products a second (criterion's Gelem/s are GFLOP/s). The
//! limit to hold them against is `layers/limit` of the bench `layers`.

#[path = "common/nets.rs"]
mod nets;

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use drlim::loss::{Contrastive, Objective};
use drlim::nn::{Network, Workspace};
use drlim::optim::Sgd;
use drlim::siamese::Siamese;
use drlim::{Cx, Isa, Mat, Par, Real, Rng};

use nets::{Net, images};

const PAIRS: [usize; 4] = [1, 32, 128, 1024];
/// Where all tiers are measured, and not the best one alone.
const ALL_TIERS: usize = 128;

/// Builds a network.
type Build<T> = fn() -> Net<T>;

/// Each network under its name in the results, in `f32` and in `f64`.
const NETS: [(&str, Build<f32>, Build<f64>); 3] = [
    ("paper", nets::paper, nets::paper),
    ("lenet", nets::lenet, nets::lenet),
    ("dense", nets::dense, nets::dense),
];

fn train_step(criterion: &mut Criterion) {
    let loss = Contrastive::new(1.0_f32).expect("a margin of 1");
    let objective = Objective::mean(&loss);
    for (name, build, _) in NETS {
        let mut group = criterion.benchmark_group(format!("train_step/{name}"));
        for pairs in PAIRS {
            for isa in Isa::available().filter(|&isa| pairs == ALL_TIERS || isa == Isa::best()) {
                let Net { network, products } = build();
                let len = network.input().len();
                let x = images(&mut Rng::new(1), 2 * pairs, len);
                let (x1, x2) = x.split_at(pairs * len);
                let view = |x| Mat::new(x, pairs, len).expect("a row an image");
                let similar: Vec<bool> = (0..pairs).map(|i| i % 2 == 0).collect();
                let mut siamese = Siamese::new(network, Sgd::new(), pairs).expect("a siamese pair");
                let cx = Cx { isa, par: Par::Rayon };
                let mut step = || {
                    let (x1, x2) = (view(x1), view(x2));
                    siamese.step(&cx, &objective, 1e-4, x1, x2, &similar).expect("a step")
                };
                let values: Vec<f64> = (0..5).map(|_| step().value).collect();
                assert!(values[4] < values[0], "{name}: five steps lower the loss: {values:?}");
                group.throughput(Throughput::Elements(products.step_flops(2 * pairs) as u64));
                group.bench_function(BenchmarkId::new(isa.to_string(), pairs), |b| {
                    b.iter(&mut step)
                });
            }
        }
        group.finish();
    }
}

/// One image through each network, on one thread.
fn latency(criterion: &mut Criterion) {
    let cx = Cx { par: Par::Serial, ..Cx::default() };
    let mut group = criterion.benchmark_group("latency");
    for (name, build, exact) in NETS {
        let (Net { network, products }, mut exact) = (build(), exact().network);
        let x = images(&mut Rng::new(1), 1, network.input().len());
        for (exact, &param) in exact.params_mut().iter_mut().zip(network.params()) {
            *exact = param.into();
        }
        let x_exact: Vec<f64> = x.iter().map(|&x| x.into()).collect();
        let mut workspace = Workspace::inference(&network, 1).expect("a workspace");
        let z = forward(&cx, &network, &x, &mut workspace).row(0);
        let mut of_exact = Workspace::inference(&exact, 1).expect("a workspace");
        let z_exact = forward(&cx, &exact, &x_exact, &mut of_exact).row(0);
        for (&z, z_exact) in z.iter().zip(z_exact) {
            assert!((f64::from(z) - z_exact).abs() <= 1e-5, "{name}: {z} for {z_exact}");
        }
        group.throughput(Throughput::Elements(products.forward_flops(1) as u64));
        group.bench_function(BenchmarkId::new(name, cx.isa), |b| {
            b.iter(|| forward(&cx, &network, &x, &mut workspace).rows());
        });
    }
    group.finish();
}

fn forward<'w, T: Real>(
    cx: &Cx,
    network: &Network<T>,
    image: &[T],
    workspace: &'w mut Workspace<T>,
) -> Mat<'w, T> {
    let image = Mat::new(image, 1, image.len()).expect("one row");
    network.forward(cx, image, workspace).expect("a forward pass")
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .sample_size(10);
    targets = train_step, latency
}
criterion_main!(benches);
