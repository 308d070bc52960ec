//! `cargo bench --bench layers`: each layer forward and backward, by tier and size, in samples a
//! second.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use drlim::nn::{
    AvgPool2d, Conv2d, Dense, Layer, Network, Relu, Shape, Subsample2d, Tanh, Workspace,
};
use drlim::{Cx, Isa, Mat, MatMut, Par, Rng};

const SAMPLES: usize = 256;

/// A layer under its name in the results.
struct Case {
    name: &'static str,
    net: Network<f32>,
}

fn case(name: &'static str, input: Shape, layer: impl Layer<f32> + 'static) -> Case {
    let net = Network::builder(input).layer("layer", layer).build(1).expect("one layer");
    Case { name, net }
}

fn cases() -> Vec<Case> {
    let image = Shape::image;
    vec![
        case("conv_15@6x6", image(1, 32, 32), Conv2d::new(15, 6)),
        case("conv_30@9x9", image(15, 9, 9), Conv2d::new(30, 9)),
        case("conv_50@5x5", image(20, 12, 12), Conv2d::new(50, 5)),
        case("conv_32@3x3", image(32, 16, 16), Conv2d::new(32, 3).padding(1)),
        case("conv_32@3x3_stride_2", image(16, 16, 16), Conv2d::new(32, 3).stride(2)),
        case("dense_500", Shape::flat(800), Dense::new(500)),
        case("dense_1024", Shape::flat(1024), Dense::new(1024)),
        case("dense_2", Shape::flat(30), Dense::new(2)),
        case("avg_pool_2", image(20, 24, 24), AvgPool2d::new(2)),
        case("subsample_3", image(15, 27, 27), Subsample2d::new(3)),
        case("tanh", image(15, 27, 27), Tanh::new()),
        case("relu", image(15, 27, 27), Relu::new()),
    ]
}

fn layers(criterion: &mut Criterion) {
    for Case { name, net } in cases() {
        let mut rng = Rng::new(1);
        let mut random =
            |len: usize| -> Vec<f32> { (0..len).map(|_| rng.uniform() as f32).collect() };
        let (inputs, outputs) = (net.input().len(), net.output().len());
        let (x, dz) = (random(SAMPLES * inputs), random(SAMPLES * outputs));
        let x = Mat::new(&x, SAMPLES, inputs).expect("a row a sample");
        let dz = Mat::new(&dz, SAMPLES, outputs).expect("a row a sample");
        let mut dx = vec![0.0; SAMPLES * inputs];
        let mut gradient = vec![0.0; net.params().len()];
        let mut workspace = Workspace::training(&net, SAMPLES).expect("a workspace");
        let mut group = criterion.benchmark_group(format!("layers/{name}"));
        group.throughput(Throughput::Elements(SAMPLES as u64));
        for isa in Isa::available() {
            let cx = Cx { isa, par: Par::Rayon };
            group.bench_function(BenchmarkId::new("forward", isa), |b| {
                b.iter(|| net.forward(&cx, x, &mut workspace).expect("a pass").rows());
            });
            group.bench_function(BenchmarkId::new("backward", isa), |b| {
                b.iter(|| {
                    let out = MatMut::new(&mut dx, SAMPLES, inputs).expect("a row a sample");
                    net.backward(&cx, dz, &mut workspace, &mut gradient, Some(out))
                        .expect("a pass");
                });
            });
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
    targets = layers
}
criterion_main!(benches);
