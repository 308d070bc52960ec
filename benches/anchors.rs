//! `cargo bench --bench anchors`: losses of anchors by layout, loss, tier and size, in pairs a second.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use drlim::batch::{
    AnchorScratch, Anchors, AnchorsOut, CrossAnchorsOut, CrossSimilar, all_anchors, cross_anchors,
};
use drlim::loss::{
    AnchorObjective, AnchorReduction, BlockAnchorLoss, Circle, MultiSimilarity, Positives, Softmax,
};
use drlim::{Cx, Isa, Mat, MatMut, Par, Rng, Similar};

/// Rows of unit length.
fn rows(n: usize, d: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    let mut z: Vec<f32> = (0..n * d).map(|_| rng.uniform() as f32 - 0.5).collect();
    for row in z.chunks_exact_mut(d) {
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= length);
    }
    z
}

fn vectorized() -> impl Iterator<Item = Cx> {
    // The portable tier takes long over so many pairs.
    Isa::available().skip(1).map(|isa| Cx { isa, par: Par::Rayon })
}

fn of_one_set(criterion: &mut Criterion) {
    let softmax = Softmax::temperature(0.07).expect("a temperature");
    // Too steep for one power for both ends.
    let steep = Softmax::temperature(0.01).expect("a temperature");
    let each = softmax.positives(Positives::Each);
    let multi = MultiSimilarity::new(2.0, 50.0, 0.5).expect("factors");
    let circle = Circle::new(0.4, 80.0).expect("a margin");
    let losses: [(&str, &dyn BlockAnchorLoss<f32>); 5] = [
        ("supcon", &softmax),
        ("supcon_steep", &steep),
        ("ntxent_each", &each),
        ("multi_similarity", &multi),
        ("circle", &circle),
    ];
    let mut group = criterion.benchmark_group("all_anchors/f32");
    for (n, d) in [(64, 128), (512, 128), (1000, 100), (4096, 3), (4096, 128)] {
        let (z, labels) = (rows(n, d, 1), (0..n as i64).map(|i| i % 64).collect::<Vec<_>>());
        let (mut grad, mut scratch) = (vec![0.0; n * d], AnchorScratch::new());
        group.throughput(Throughput::Elements((n * (n - 1)) as u64));
        for (name, loss) in losses {
            let objective = AnchorObjective::mean(loss).reduced(AnchorReduction::MeanNonZero);
            for cx in vectorized() {
                let id = BenchmarkId::new(format!("{name}/{}", cx.isa), format!("{n}x{d}"));
                group.bench_function(id, |b| {
                    let z = Mat::new(&z, n, d).expect("n x d");
                    b.iter(|| {
                        let out = AnchorsOut::grad(MatMut::new(&mut grad, n, d).expect("n x d"));
                        let similar = Similar::Labels(&labels);
                        all_anchors(&cx, &objective, z, similar, out, &mut scratch)
                            .expect("anchors")
                    });
                });
            }
        }
    }
    group.finish();
}

fn of_two_sets(criterion: &mut Criterion) {
    let softmax = Softmax::scale(20.0).expect("a scale");
    let objective = AnchorObjective::mean(&softmax);
    let mut group = criterion.benchmark_group("cross_anchors/f32");
    for (n, m, d) in [(64, 128, 128), (512, 512, 128), (1000, 3000, 100), (4096, 4096, 128)] {
        let (queries, keys) = (rows(n, d, 1), rows(m, d, 2));
        let (mut of_queries, mut of_keys) = (vec![0.0; n * d], vec![0.0; m * d]);
        let mut scratch = AnchorScratch::new();
        group.throughput(Throughput::Elements((n * m) as u64));
        let cases = [
            ("infonce", Anchors::Queries, true),
            ("queries_alone", Anchors::Queries, false),
            ("clip", Anchors::Both, true),
        ];
        for (name, anchors, both) in cases {
            for cx in vectorized() {
                let id = BenchmarkId::new(format!("{name}/{}", cx.isa), format!("{n}x{m}x{d}"));
                group.bench_function(id, |b| {
                    let q = Mat::new(&queries, n, d).expect("n x d");
                    let k = Mat::new(&keys, m, d).expect("m x d");
                    b.iter(|| {
                        let grad = MatMut::new(&mut of_queries, n, d).expect("n x d");
                        let mut out = CrossAnchorsOut::grad_queries(grad);
                        let grad = MatMut::new(&mut of_keys, m, d).expect("m x d");
                        out.grad_keys = both.then_some(grad);
                        let (rule, scratch) =
                            (CrossSimilar::Position { first_key: 0 }, &mut scratch);
                        cross_anchors(&cx, &objective, q, k, rule, None, anchors, out, scratch)
                            .expect("anchors")
                    });
                });
            }
        }
    }
    group.finish();
}

criterion_group!(benches, of_one_set, of_two_sets);
criterion_main!(benches);
