//! `cargo bench --bench train_step`: one whole step of siamese training of the paper's network, by
//! tier and number of pairs, in pairs a second.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use drlim::loss::{Contrastive, Objective};
use drlim::nn::{Conv2d, Dense, Network, Shape, Subsample2d, Tanh};
use drlim::optim::Adam;
use drlim::siamese::Siamese;
use drlim::{Cx, Isa, Mat, Par, Rng};

fn network() -> Network<f32> {
    Network::builder(Shape::image(1, 32, 32))
        .layer("c1", Conv2d::new(15, 6))
        .layer("tanh1", Tanh::new())
        .layer("s2", Subsample2d::new(3))
        .layer("tanh2", Tanh::new())
        .layer("c3", Conv2d::new(30, 9))
        .layer("tanh3", Tanh::new())
        .layer("f4", Dense::new(2))
        .build(1)
        .expect("the paper's network")
}

fn train_step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("train_step");
    let loss = Contrastive::new(1.0_f32).expect("a margin of 1");
    let objective = Objective::mean(&loss);
    for pairs in [1, 32, 128, 1024] {
        let mut siamese = Siamese::new(network(), Adam::new(), pairs).expect("a siamese pair");
        let mut rng = Rng::new(1);
        let x: Vec<f32> = (0..2 * pairs * 1024).map(|_| rng.uniform() as f32).collect();
        let (x1, x2) = x.split_at(pairs * 1024);
        let view = |x| Mat::new(x, pairs, 1024).expect("a row an image");
        let similar: Vec<bool> = (0..pairs).map(|i| i % 2 == 0).collect();
        group.throughput(Throughput::Elements(pairs as u64));
        for isa in Isa::available() {
            let cx = Cx { isa, par: Par::Rayon };
            group.bench_function(BenchmarkId::new(isa.to_string(), pairs), |b| {
                b.iter(|| {
                    let (x1, x2) = (view(x1), view(x2));
                    siamese.step(&cx, &objective, 1e-4, x1, x2, &similar).expect("a step")
                });
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(2))
        .sample_size(15);
    targets = train_step
}
criterion_main!(benches);
