//! `cargo bench --bench collapsed`: batches that have collapsed to a point, to a few points or to tight
//! classes, beside a spread one: what each costs, by call. The usual failure of triplet training should not
//! be slow too.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use drlim::batch::{AllPairsScratch, Mining, MiningScratch, all_pairs, distance_matrix, triplets};
use drlim::loss::{Contrastive, Objective, TripletMargin, TripletObjective};
use drlim::{Cx, Isa, Mat, MatMut, Par, Rng, Similar, pairs};

const ROWS: usize = 4096;

/// Batches of rows of `d` numbers, with what they are.
fn batches(d: usize) -> Vec<(&'static str, Vec<f32>)> {
    let mut rng = Rng::new(1);
    let spread: Vec<f32> = (0..ROWS * d).map(|_| rng.uniform() as f32 - 0.5).collect();
    let of_point = |points: usize, noise: f32| {
        let value = |at: usize| spread[at / d % points * d + at % d] + noise * spread[at];
        (0..ROWS * d).map(value).collect::<Vec<f32>>()
    };
    let mut missing = spread.clone();
    missing[7 * d] = f32::NAN;
    let mut outliers = of_point(1, 1e-3);
    (0..10).for_each(|i| outliers[i * 400 * d] = 1000.0);
    vec![
        ("point", of_point(1, 0.0)),
        ("10_points", of_point(10, 0.0)),
        ("tight_classes", of_point(100, 1e-2)),
        ("noise_1e-6", of_point(1, 1e-6)),
        ("outliers", outliers),
        ("signs", spread.iter().map(|x| x.signum()).collect()),
        ("nan_row", missing),
        ("spread", spread),
    ]
}

fn collapsed(criterion: &mut Criterion) {
    let (contrastive, margin) = (Contrastive::new(20.0), TripletMargin::new(1.0));
    let (contrastive, margin) = (contrastive.expect("a margin"), margin.expect("a margin"));
    let labels: Vec<i64> = (0..ROWS as i64).map(|i| i % 100).collect();
    let similar = Similar::Labels(&labels);
    let cx = Cx { isa: Isa::best(), par: Par::Serial };
    for d in [32, 128] {
        let mut group = criterion.benchmark_group(format!("collapsed/{ROWS}x{d}"));
        group.throughput(Throughput::Elements((ROWS * ROWS) as u64));
        let (mut grad, mut matrix) = (vec![0.0; ROWS * d], vec![0.0; ROWS * ROWS]);
        for (name, z) in batches(d) {
            let z = Mat::new(&z, ROWS, d).expect("the batch");
            let mut scratch = AllPairsScratch::new();
            group.bench_function(BenchmarkId::new("all_pairs", name), |b| {
                let objective = Objective::mean(&contrastive);
                b.iter(|| {
                    let to = Some(MatMut::new(&mut grad, ROWS, d).expect("the gradient"));
                    all_pairs(&cx, &objective, z, similar, to, &mut scratch).expect("all pairs")
                });
            });
            let mut scratch = MiningScratch::new();
            for mining in [Mining::Hardest, Mining::SemiHard] {
                group.bench_function(BenchmarkId::new(format!("{mining:?}"), name), |b| {
                    let objective = TripletObjective::mean(&margin);
                    b.iter(|| {
                        let to = Some(MatMut::new(&mut grad, ROWS, d).expect("the gradient"));
                        triplets(&cx, &objective, z, similar, mining, to, &mut scratch)
                            .expect("triplets")
                    });
                });
            }
            group.bench_function(BenchmarkId::new("distance_matrix", name), |b| {
                b.iter(|| {
                    let to = MatMut::new(&mut matrix, ROWS, ROWS).expect("the matrix");
                    distance_matrix(&cx, z, z, to).expect("distances")
                });
            });
            group.bench_function(BenchmarkId::new("nearest_5", name), |b| {
                b.iter(|| pairs::nearest_others(&cx, z, 5).expect("neighbours"));
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
        .sample_size(10);
    targets = collapsed
}
criterion_main!(benches);
