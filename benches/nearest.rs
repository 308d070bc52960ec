//! `cargo bench --bench nearest`: exact nearest neighbours and the hardest pairs, by tier and size, in
//! pairs looked at a second; long lists beside a product and a selection.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use drlim::batch::distance_matrix;
use drlim::{Cx, Isa, Mat, MatMut, Par, Rng, Similar, pairs};

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

/// Long lists, beside what is written by hand: the distances of some rows from all by products, of which
/// the least are selected and sorted.
fn long_lists(criterion: &mut Criterion) {
    let (n, d) = (8000, 64);
    let mut group = criterion.benchmark_group(format!("nearest/long/{n}x{d}"));
    let mut rng = Rng::new(2);
    let set: Vec<f32> = (0..n * d).map(|_| rng.uniform() as f32).collect();
    let set = Mat::new(&set, n, d).expect("n x d");
    let cx = Cx { isa: Isa::best(), par: Par::Serial };
    for k in [20, 100, 500, 1000, 2000] {
        group.bench_function(BenchmarkId::new("others", k), |b| {
            b.iter(|| pairs::nearest_others(&cx, set, k).expect("neighbours"));
        });
        group.bench_function(BenchmarkId::new("by_hand", k), |b| {
            b.iter(|| by_hand(&cx, set, k));
        });
    }
    // Rows that products cannot tell apart: all equal, a few points of many rows each, tight clusters.
    for (name, points, noise) in
        [("equal", 1, 0.0), ("20_points", 20, 0.0), ("2_clusters", 2, 1e-5)]
    {
        let value = |at: usize| {
            let (row, col) = (at / d, at % d);
            set.row(row % points)[col] + noise * set.row(row)[col]
        };
        let z: Vec<f32> = (0..n * d).map(value).collect();
        let z = Mat::new(&z, n, d).expect("n x d");
        for k in [40, 1000] {
            group.bench_function(BenchmarkId::new(format!("others/{name}"), k), |b| {
                b.iter(|| pairs::nearest_others(&cx, z, k).expect("neighbours"));
            });
        }
    }
    group.finish();
}

fn by_hand(cx: &Cx, set: Mat<f32>, k: usize) -> Vec<(f32, u32)> {
    const AT_ONCE: usize = 256;
    let n = set.rows();
    let mut distances = vec![0.0; AT_ONCE * n];
    let (mut row, mut found) = (Vec::with_capacity(n), Vec::with_capacity(n * k));
    for first in (0..n).step_by(AT_ONCE) {
        let some = set.rows_range(first, n.min(first + AT_ONCE));
        let to = MatMut::new(&mut distances[..some.rows() * n], some.rows(), n).expect("rows of n");
        distance_matrix(cx, some, set, to).expect("distances");
        for (i, distances) in distances.chunks_exact(n).take(some.rows()).enumerate() {
            row.clear();
            row.extend(
                distances.iter().copied().zip(0..).filter(|&(_, j)| j as usize != first + i),
            );
            let order = |a: &(f32, u32), b: &(f32, u32)| a.0.total_cmp(&b.0);
            row.select_nth_unstable_by(k - 1, order);
            row[..k].sort_unstable_by(order);
            found.extend_from_slice(&row[..k]);
        }
    }
    found
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_millis(700))
        .sample_size(10);
    targets = neighbours, long_lists
}
criterion_main!(benches);
