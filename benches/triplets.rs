//! `cargo bench --bench triplets`: triplets by rows, by loss, tier and size, in bytes moved a second; and
//! those of a labelled batch, in anchors a second.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use drlim::batch::{Mining, MiningScratch, TripletRows, TripletRowsOut, triplet_rows, triplets};
use drlim::loss::{BlockTripletLoss, SquaredTriplet, TripletMargin, TripletObjective};
use drlim::{Cx, Isa, Mat, MatMut, Par, Rng, Similar};

fn by_loss_tier_and_size(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("triplets/f32");
    let losses: [(&str, Box<dyn BlockTripletLoss<f32>>); 3] = [
        ("euclidean", Box::new(TripletMargin::new(0.2).expect("a margin"))),
        ("swapping", Box::new(TripletMargin::new(0.2).expect("a margin").swapping())),
        ("squared", Box::new(SquaredTriplet::new(0.2).expect("a margin"))),
    ];
    for (n, d) in [(256, 2), (65536, 2), (2048, 128), (65536, 100), (65536, 128)] {
        let mut rng = Rng::new(1);
        let mut random = || -> Vec<f32> { (0..n * d).map(|_| rng.uniform() as f32).collect() };
        let inputs = [random(), random(), random()];
        let mut grads = [vec![0.0; n * d], vec![0.0; n * d], vec![0.0; n * d]];
        group.throughput(Throughput::Bytes((6 * n * d * size_of::<f32>()) as u64));
        for (name, loss) in &losses {
            for isa in Isa::available() {
                let cx = Cx { isa, par: Par::Rayon };
                let objective = TripletObjective::sum(&**loss);
                let [a, p, i] = inputs.each_ref().map(|x| Mat::new(x, n, d).expect("n x d"));
                let triplets = TripletRows::new(a, p, i).expect("three of one shape");
                let id = BenchmarkId::new(format!("{name}/{isa}"), format!("{n}x{d}"));
                group.bench_function(id, |b| {
                    b.iter(|| {
                        let [a, p, i] =
                            grads.each_mut().map(|x| MatMut::new(x, n, d).expect("n x d"));
                        let out = TripletRowsOut::grads(a, p, i);
                        triplet_rows(&cx, &objective, triplets, out).expect("triplets")
                    });
                });
            }
        }
    }
    group.finish();
}

fn of_a_batch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("triplets/batch");
    let loss = TripletMargin::new(0.2_f32).expect("a margin");
    let objective = TripletObjective::mean(&loss);
    for (n, d, mining) in [
        (256, 128, Mining::All),
        (256, 128, Mining::Hardest),
        (256, 128, Mining::SemiHard),
        (4096, 128, Mining::Hardest),
        (4096, 128, Mining::SemiHard),
    ] {
        let mut rng = Rng::new(1);
        let z: Vec<f32> = (0..n * d).map(|_| rng.uniform() as f32).collect();
        let labels: Vec<i64> = (0..n as i64).map(|i| i % (n as i64 / 8)).collect();
        let (mut grad, mut scratch) = (vec![0.0; n * d], MiningScratch::new());
        group.throughput(Throughput::Elements(n as u64));
        // The portable tier takes long over so many pairs.
        for isa in Isa::available().skip(1) {
            let cx = Cx { isa, par: Par::Rayon };
            let id = BenchmarkId::new(format!("{mining:?}/{isa}"), format!("{n}x{d}"));
            group.bench_function(id, |b| {
                let z = Mat::new(&z, n, d).expect("n x d");
                b.iter(|| {
                    let to = Some(MatMut::new(&mut grad, n, d).expect("n x d"));
                    let similar = Similar::Labels(&labels);
                    triplets(&cx, &objective, z, similar, mining, to, &mut scratch)
                        .expect("triplets")
                });
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_millis(700))
        .sample_size(20);
    targets = by_loss_tier_and_size, of_a_batch
}
criterion_main!(benches);
