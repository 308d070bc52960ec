//! `cargo bench --bench nearest`: exact nearest neighbours and the hardest pairs, by tier and size, in
//! pairs looked at a second.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use drlim::{Cx, Isa, Mat, Par, Rng, Similar, pairs};

fn neighbours(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("nearest/f32");
    for (n, d, k) in [(1000, 2, 5), (1000, 128, 5), (4096, 128, 5), (4096, 128, 100)] {
        let mut rng = Rng::new(1);
        let set: Vec<f32> = (0..n * d).map(|_| rng.uniform() as f32).collect();
        let set = Mat::new(&set, n, d).expect("n x d");
        let labels: Vec<i64> = (0..n as i64).map(|i| i % 50).collect();
        // The portable tier takes long over so many pairs.
        for isa in Isa::available().skip(1) {
            let cx = Cx { isa, par: Par::Rayon };
            let size = format!("{n}x{d}/{k}");
            group.throughput(Throughput::Elements((n * (n - 1) / 2) as u64));
            group.bench_function(BenchmarkId::new(format!("others/{isa}"), &size), |b| {
                b.iter(|| pairs::nearest_others(&cx, set, k).expect("neighbours"));
            });
            group.bench_function(BenchmarkId::new(format!("hardest/{isa}"), &size), |b| {
                b.iter(|| pairs::hardest(&cx, set, Similar::Labels(&labels), k).expect("pairs"));
            });
            for queries in [1, 16, 64] {
                group.throughput(Throughput::Elements((queries * n) as u64));
                let id = BenchmarkId::new(format!("{queries}_queries/{isa}"), &size);
                let some = set.rows_range(0, queries);
                group.bench_function(id, |b| {
                    b.iter(|| pairs::nearest(&cx, some, set, k).expect("neighbours"));
                });
            }
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
    targets = neighbours
}
criterion_main!(benches);
