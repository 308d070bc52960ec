//! `cargo bench --bench indexed`: index pairs into one matrix, by tier and size, and the list that
//! they are checked into.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use drlim::batch::{IndexedOut, IndexedScratch, PairList, hard_pairs, indexed};
use drlim::loss::{Contrastive, Objective};
use drlim::{Cx, Isa, Mat, MatMut, Par, Real, Rng};

/// Random pairs, each row in sixteen of them.
fn random_pairs(rows: usize) -> Vec<(u32, u32)> {
    let mut rng = Rng::new(1);
    let mut draw = || rng.below(rows as u64) as u32;
    (0..8 * rows).map(|_| (draw(), draw())).collect()
}

fn by_tier_and_size<T: Real>(criterion: &mut Criterion) {
    let loss = Contrastive::new(T::ONE).expect("a margin of 1");
    let mut group = criterion.benchmark_group(format!("indexed/{}", T::NAME));
    for (rows, d) in [(256, 2), (8192, 2), (256, 128), (8192, 128), (8192, 100), (2048, 768)] {
        let mut rng = Rng::new(2);
        let z: Vec<T> = (0..rows * d).map(|_| T::from_f64(rng.uniform())).collect();
        let pairs = random_pairs(rows);
        let list = PairList::new(rows, &pairs).expect("pairs of the rows");
        let similar: Vec<bool> = (0..pairs.len()).map(|i| i % 2 == 0).collect();
        let (mut grad, mut scratch) = (vec![T::ZERO; rows * d], IndexedScratch::new());
        group.throughput(Throughput::Elements(pairs.len() as u64));
        for isa in Isa::available() {
            let cx = Cx { isa, par: Par::Rayon };
            let id = BenchmarkId::new(isa.to_string(), format!("{}of{rows}x{d}", pairs.len()));
            group.bench_function(id, |b| {
                let z = Mat::new(&z, rows, d).expect("rows x d elements");
                b.iter(|| {
                    let to = MatMut::new(&mut grad, rows, d).expect("rows x d elements");
                    let (out, objective) = (IndexedOut::grad(to), Objective::sum(&loss));
                    indexed(&cx, &objective, z, &list, &similar, out, &mut scratch).expect("pairs")
                });
            });
        }
    }
    group.finish();
}

fn lists(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("indexed/list");
    let pairs = random_pairs(8192);
    group.throughput(Throughput::Elements(pairs.len() as u64));
    let mut list = PairList::new(8192, &pairs).expect("pairs of the rows");
    group.bench_function("set", |b| b.iter(|| list.set(8192, &pairs).expect("pairs of the rows")));
    let mut rng = Rng::new(3);
    let distances: Vec<f32> = pairs.iter().map(|_| rng.uniform() as f32).collect();
    let similar: Vec<bool> = (0..pairs.len()).map(|i| i % 8 == 0).collect();
    group.bench_function("hard_pairs", |b| {
        b.iter(|| hard_pairs(&distances, &similar).expect("as many of both"));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_millis(700))
        .sample_size(20);
    targets = by_tier_and_size::<f32>, by_tier_and_size::<f64>, lists
}
criterion_main!(benches);
