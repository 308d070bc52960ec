//! `cargo bench --bench all_pairs`: every pair of a batch, and of two batches, by similar set, tier and
//! size, in pairs a second.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use drlim::batch::{
    AllPairsScratch, CrossOut, CrossScratch, CrossSimilar, all_pairs, all_pairs_hvp, cross,
    distance_matrix,
};
use drlim::loss::{Contrastive, Objective, Reduction};
use drlim::{Cx, Graph, Isa, Mat, MatMut, Par, Rng, Similar, pairs};

fn random(n: usize, d: usize) -> Vec<f32> {
    let mut rng = Rng::new(1);
    (0..n * d).map(|_| rng.uniform() as f32).collect()
}

fn labels(n: usize) -> Vec<i64> {
    (0..n as i64).map(|i| i % 8).collect()
}

fn vectorized() -> impl Iterator<Item = Cx> {
    // The portable tier takes long over so many pairs.
    Isa::available().skip(1).map(|isa| Cx { isa, par: Par::Rayon })
}

fn of_one_batch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("all_pairs/f32");
    for (n, d) in [(64, 2), (64, 128), (512, 128), (1000, 100), (4096, 3), (4096, 128)] {
        let (z, labels) = (random(n, d), labels(n));
        let graph: Graph =
            pairs::neighbour_graph(&Cx::default(), Mat::new(&z, n, d).expect("n x d"), 5)
                .expect("neighbours");
        let loss = Contrastive::new((d as f32).sqrt()).expect("a margin");
        let (mut grad, mut scratch) = (vec![0.0; n * d], AllPairsScratch::new());
        group.throughput(Throughput::Elements((n * (n - 1) / 2) as u64));
        let cases = [
            ("labels", Similar::Labels(&labels), Reduction::Mean),
            ("labels/balanced_nonzero", Similar::Labels(&labels), Reduction::BalancedNonZero),
            ("graph", Similar::Graph(&graph), Reduction::Mean),
        ];
        for (name, similar, reduction) in cases {
            let objective = Objective::sum(&loss).reduced(reduction);
            for cx in vectorized() {
                let id = BenchmarkId::new(format!("{name}/{}", cx.isa), format!("{n}x{d}"));
                group.bench_function(id, |b| {
                    let z = Mat::new(&z, n, d).expect("n x d");
                    b.iter(|| {
                        let to = Some(MatMut::new(&mut grad, n, d).expect("n x d"));
                        all_pairs(&cx, &objective, z, similar, to, &mut scratch).expect("pairs")
                    });
                });
            }
        }
        // Beside the gradient: what it takes to differentiate it once more.
        let along = random(n, d);
        for cx in vectorized() {
            let id = BenchmarkId::new(format!("hvp/{}", cx.isa), format!("{n}x{d}"));
            group.bench_function(id, |b| {
                let [z, v] = [&z, &along].map(|of| Mat::new(of, n, d).expect("n x d"));
                let (objective, similar) = (Objective::mean(&loss), Similar::Labels(&labels));
                b.iter(|| {
                    let to = MatMut::new(&mut grad, n, d).expect("n x d");
                    all_pairs_hvp(&cx, &objective, z, similar, v, to).expect("products")
                });
            });
        }
    }
    group.finish();
}

fn of_two_batches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cross/f32");
    for (n, m, d) in [(64, 4096, 128), (1024, 1024, 128)] {
        let (queries, keys) = (random(n, d), random(m, d));
        let (of_queries, of_keys) = (labels(n), labels(m));
        let similar = CrossSimilar::Labels { queries: &of_queries, keys: &of_keys, ignored: None };
        let loss = Contrastive::new((d as f32).sqrt()).expect("a margin");
        let [mut grad_queries, mut grad_keys] = [vec![0.0; n * d], vec![0.0; m * d]];
        let mut scratch = CrossScratch::new();
        let mut distances = vec![0.0; n * m];
        group.throughput(Throughput::Elements((n * m) as u64));
        let queries = Mat::new(&queries, n, d).expect("n x d");
        let keys = Mat::new(&keys, m, d).expect("m x d");
        for cx in vectorized() {
            let id = BenchmarkId::new(cx.isa.to_string(), format!("{n}x{m}x{d}"));
            group.bench_function(id, |b| {
                b.iter(|| {
                    let out = CrossOut::grads(
                        MatMut::new(&mut grad_queries, n, d).expect("n x d"),
                        MatMut::new(&mut grad_keys, m, d).expect("m x d"),
                    );
                    let objective = Objective::sum(&loss);
                    cross(&cx, &objective, queries, keys, similar, None, out, &mut scratch)
                        .expect("pairs")
                });
            });
            let id =
                BenchmarkId::new(format!("distance_matrix/{}", cx.isa), format!("{n}x{m}x{d}"));
            group.bench_function(id, |b| {
                b.iter(|| {
                    let to = MatMut::new(&mut distances, n, m).expect("n x m");
                    distance_matrix(&cx, queries, keys, to).expect("distances");
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
        .sample_size(10);
    targets = of_one_batch, of_two_batches
}
criterion_main!(benches);
