//! `cargo bench --bench layers`: each kind of layer by itself, forward and backward, by shape, tier and
//! batch.
//!
//! Layers of products are counted in flops of these (taps in the padding included), which criterion
//! prints as Gelem/s: hold them against the `layers/limit` of the same tier, which is the FMA peak of all
//! threads. Other layers are counted in elements of their input. `backward` gives the gradient of the
//! parameters, `backward_dx` that of the input as well. Each layer is a network of its own, so images
//! also pass from rows into lanes and back, which within a network they need not.

#[path = "../common/chains.rs"]
mod chains;
mod oracle;

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use drlim::nn::{
    AvgPool2d, Conv2d, Dense, L2Normalize, Layer, MaxPool2d, Network, Relu, ScaledTanh, Shape,
    Sigmoid, Subsample2d, Tanh, Workspace,
};
use drlim::{Cx, Isa, Mat, MatMut, Par, Rng};

use oracle::{Batch, Oracle, Weight, Windowed};

const BATCHES: [usize; 3] = [1, 17, 256];
/// Where all tiers are measured, and not the best one alone.
const ALL_TIERS: usize = 256;

/// A layer under its name in the results.
struct Case {
    name: String,
    net: Network<f32>,
    oracle: Oracle,
}

/// A network of one layer with random parameters.
fn alone(input: Shape, layer: impl Layer<f32> + 'static) -> Network<f32> {
    let mut net = Network::builder(input).layer("layer", layer).build(1).expect("one layer");
    let len = net.params().len();
    net.params_mut().copy_from_slice(&random(&mut Rng::new(2), len));
    net
}

/// Between -1 and 1.
fn random(rng: &mut Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| 2.0 * rng.uniform() as f32 - 1.0).collect()
}

fn conv(input: [usize; 3], maps: usize, kernel: [usize; 2], stride: usize, padding: usize) -> Case {
    let ([channels, height, width], [rows, cols]) = (input, kernel);
    let layer = Conv2d::rectangular(maps, kernel).stride(stride).padding(padding);
    let net = alone(Shape::image(channels, height, width), layer);
    let (input, output, weight) = (net.input(), net.output(), Weight::Own);
    let mut name = format!("conv_{maps}@{rows}x{cols}_of_{channels}x{height}x{width}");
    if stride > 1 {
        name += &format!("_stride_{stride}");
    }
    if padding > 0 {
        name += &format!("_padding_{padding}");
    }
    let oracle = Oracle::Windowed(Windowed { input, output, kernel, stride, padding, weight });
    Case { name, net, oracle }
}

fn dense(inputs: usize, outputs: usize) -> Case {
    let net = alone(Shape::flat(inputs), Dense::new(outputs));
    let (input, output, weight) = (net.input(), net.output(), Weight::Own);
    let kernel = [1, 1];
    let windowed = Windowed { input, output, kernel, stride: 1, padding: 0, weight };
    Case { name: format!("dense_{inputs}_to_{outputs}"), net, oracle: Oracle::Windowed(windowed) }
}

/// Windows of `size` x `size` that do not overlap.
fn pool(
    name: &str,
    [channels, height, width]: [usize; 3],
    layer: impl Layer<f32> + 'static,
    size: usize,
    weight: Weight,
) -> Case {
    let net = alone(Shape::image(channels, height, width), layer);
    let (input, output, kernel) = (net.input(), net.output(), [size, size]);
    let name = format!("{name}_{size}_of_{channels}x{height}x{width}");
    let windowed = Windowed { input, output, kernel, stride: size, padding: 0, weight };
    Case { name, net, oracle: Oracle::Windowed(windowed) }
}

/// Maps of c1 of the paper's network.
fn each(name: &str, layer: impl Layer<f32> + 'static, f: fn(f64) -> [f64; 2]) -> Case {
    let net = alone(Shape::image(15, 27, 27), layer);
    Case { name: name.to_owned(), net, oracle: Oracle::Each(f) }
}

fn cases() -> Vec<Case> {
    let unit = alone(Shape::flat(128), L2Normalize::new());
    let (mean, scaled) = (Weight::Mean { coefficient: false }, Weight::Mean { coefficient: true });
    vec![
        conv([1, 32, 32], 15, [6, 6], 1, 0),
        conv([15, 9, 9], 30, [9, 9], 1, 0),
        conv([1, 28, 28], 20, [5, 5], 1, 0),
        conv([20, 12, 12], 50, [5, 5], 1, 0),
        conv([32, 16, 16], 32, [3, 3], 1, 1),
        conv([64, 8, 8], 64, [3, 3], 1, 1),
        conv([16, 16, 16], 32, [3, 3], 2, 0),
        conv([32, 16, 16], 64, [1, 1], 1, 0),
        conv([17, 13, 11], 17, [3, 3], 1, 0),
        conv([8, 19, 23], 16, [2, 7], 1, 0),
        dense(1215, 30),
        dense(800, 500),
        dense(784, 512),
        dense(512, 128),
        dense(1024, 1024),
        dense(30, 2),
        pool("avg_pool", [20, 24, 24], AvgPool2d::new(2), 2, mean),
        pool("subsample", [15, 27, 27], Subsample2d::new(3), 3, scaled),
        pool("max_pool", [20, 24, 24], MaxPool2d::new(2), 2, Weight::Largest),
        each("tanh", Tanh::new(), |x| [x.tanh(), 1.0 - x.tanh().powi(2)]),
        each("scaled_tanh", ScaledTanh::new(), |x| {
            let y = (2.0 / 3.0 * x).tanh();
            [1.7159 * y, 1.7159 * 2.0 / 3.0 * (1.0 - y * y)]
        }),
        each("sigmoid", Sigmoid::new(), |x| {
            let y = 1.0 / (1.0 + (-x).exp());
            [y, y * (1.0 - y)]
        }),
        each("relu", Relu::new(), |x| [x.max(0.0), f64::from(u8::from(x > 0.0))]),
        Case { name: "l2_normalize_128".to_owned(), net: unit, oracle: Oracle::Unit },
    ]
}

type Group<'a> = BenchmarkGroup<'a, WallTime>;

impl Case {
    fn measure(&self, group: &mut Group, samples: usize, isa: Isa) {
        let Case { net, oracle, .. } = self;
        let cx = Cx { isa, par: Par::Rayon };
        let (inputs, outputs, params) = (net.input().len(), net.output().len(), net.params().len());
        let mut rng = Rng::new(1);
        let (x, dy) = (random(&mut rng, samples * inputs), random(&mut rng, samples * outputs));
        let batch = Batch { params: net.params(), x: &x, dy: &dy, samples };
        let rows = Mat::new(&x, samples, inputs).expect("a row a sample");
        let d_rows = Mat::new(&dy, samples, outputs).expect("a row a sample");
        let (mut dx, mut d_params) = (vec![f32::NAN; x.len()], vec![f32::NAN; params]);
        let mut workspace = Workspace::training(net, samples).expect("a workspace");
        let id = |pass: &str| BenchmarkId::new(format!("{pass}/{isa}"), samples);
        let what = |pass: &str| format!("{}, {pass} on {isa}, batch {samples}", self.name);

        let y = net.forward(&cx, rows, &mut workspace).expect("a pass");
        for sample in spread(samples) {
            for at in spread(outputs) {
                oracle.output(&batch, sample, at).check(y.row(sample)[at], &what("forward"));
            }
        }
        group.throughput(self.throughput(samples, 1));
        group.bench_function(id("forward"), |b| {
            b.iter(|| net.forward(&cx, rows, &mut workspace).expect("a pass").rows());
        });

        // Without parameters there is nothing else to find.
        for with_dx in if params > 0 { &[false, true][..] } else { &[true] } {
            let pass = if *with_dx { "backward_dx" } else { "backward" };
            let mut backward = |dx: &mut [f32], d_params: &mut [f32]| {
                let to = MatMut::new(dx, samples, inputs).expect("a row a sample");
                let to = with_dx.then_some(to);
                net.backward(&cx, d_rows, &mut workspace, d_params, to).expect("a pass");
            };
            backward(&mut dx, &mut d_params);
            for at in spread(params) {
                oracle.gradient(&batch, at).check(d_params[at], &what(pass));
            }
            for sample in spread(if *with_dx { samples } else { 0 }) {
                for at in spread(inputs) {
                    let exact = oracle.input_gradient(&batch, sample, at);
                    exact.check(dx[sample * inputs + at], &what(pass));
                }
            }
            group.throughput(self.throughput(samples, if *with_dx { 2 } else { 1 }));
            group.bench_function(id(pass), |b| b.iter(|| backward(&mut dx, &mut d_params)));
        }
    }

    /// Of so many products, each as large as that of the forward pass.
    fn throughput(&self, samples: usize, products: usize) -> Throughput {
        let elements = match self.oracle.products() {
            0 => samples * self.net.input().len(),
            multiply_adds => 2 * samples * multiply_adds * products,
        };
        Throughput::Elements(elements as u64)
    }
}

/// A few of so many places, first and last among them.
fn spread(len: usize) -> impl Iterator<Item = usize> {
    const PLACES: usize = 7;
    (0..PLACES.min(len)).map(move |i| i * len.saturating_sub(1) / (PLACES.min(len) - 1).max(1))
}

fn layers(criterion: &mut Criterion) {
    for case in cases() {
        let mut group = criterion.benchmark_group(format!("layers/{}", case.name));
        for samples in BATCHES {
            for isa in Isa::available().filter(|&isa| samples == ALL_TIERS || isa == Isa::best()) {
                case.measure(&mut group, samples, isa);
            }
        }
        group.finish();
    }
}

/// The FMA peak of all threads.
fn limit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("layers/limit");
    for isa in Isa::available() {
        let flops = chains::flops::<f32>(isa) * Par::Rayon.threads();
        group.throughput(Throughput::Elements(flops as u64));
        group.bench_function(BenchmarkId::from_parameter(isa), |b| {
            b.iter(|| black_box(rayon::broadcast(|_| chains::run::<f32>(isa))));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    // The shortest that gives a rate: there are hundreds.
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(200))
        .nresamples(10_000)
        .sample_size(10);
    targets = limit, layers
}
criterion_main!(benches);
