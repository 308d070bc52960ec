//! `cargo bench --bench rows`: loss and gradients of pairs by rows, by tier and size, in bytes moved
//! a second; each loss and each kind of reduction; what a loss of a user's own costs beside the
//! built-in one; distances and their gradients.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use drlim::batch::{Distance, RowsOut, row_distances, row_distances_backward, rows};
use drlim::loss::{
    BlockLoss, Contrastive, CosineContrastive, DoubleMargin, Exponential, LinearHinge, Objective,
    PairLoss, Reduction, SquaredHinge,
};
use drlim::simd::Simd;
use drlim::{Cx, Isa, Mat, MatMut, Par, Real, Rng};

/// The contrastive loss, as a user would write it: through lanes, inlined.
struct Inlined<T>(T);

/// The same, without the attribute that makes it fast.
struct NotInlined<T>(T);

#[inline(always)]
fn contrastive<T: Real, S: Simd<T>>(s: S, margin: T, d2: S::F, similar: S::M) -> (S::F, S::F) {
    let d = s.sqrt(d2);
    let gap = s.hinge(s.splat(margin) - d);
    let value = s.splat(T::from_f64(0.5)) * s.select(similar, d2, gap * gap);
    (value, s.select(similar, s.splat(T::ONE), -s.over_distance(gap, d, d2)))
}

impl<T: Real> PairLoss<T> for Inlined<T> {
    #[inline(always)]
    fn eval<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
        contrastive(s, self.0, d2, similar)
    }
}

impl<T: Real> PairLoss<T> for NotInlined<T> {
    #[inline(never)]
    fn eval<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
        contrastive(s, self.0, d2, similar)
    }
}

struct Batch<T> {
    n: usize,
    d: usize,
    a: Vec<T>,
    b: Vec<T>,
    similar: Vec<bool>,
    grads: [Vec<T>; 2],
}

impl<T: Real> Batch<T> {
    fn new(n: usize, d: usize) -> Self {
        let mut rng = Rng::new(1);
        let mut random = || (0..n * d).map(|_| T::from_f64(rng.uniform())).collect();
        let (a, b) = (random(), random());
        let similar = (0..n).map(|i| i % 2 == 0).collect();
        Batch { n, d, a, b, similar, grads: [vec![T::ZERO; n * d], vec![T::ZERO; n * d]] }
    }

    fn view<'a>(&self, data: &'a [T]) -> Mat<'a, T> {
        Mat::new(data, self.n, self.d).expect("n x d elements")
    }

    fn value(&self, cx: &Cx, loss: &dyn BlockLoss<T>) -> f64 {
        let (a, b) = (self.view(&self.a), self.view(&self.b));
        rows(cx, &Objective::sum(loss), a, b, &self.similar, RowsOut::none()).expect("rows").value
    }

    fn value_and_gradients(&mut self, cx: &Cx, loss: &dyn BlockLoss<T>) -> f64 {
        self.reduced_with_gradients(cx, &Objective::sum(loss))
    }

    fn reduced_with_gradients(&mut self, cx: &Cx, objective: &Objective<T>) -> f64 {
        let (n, d) = (self.n, self.d);
        let [grad_a, grad_b] = &mut self.grads;
        let view = |data| MatMut::new(data, n, d).expect("n x d elements");
        let grads = RowsOut::grads(view(grad_a), view(grad_b));
        let view = |data| Mat::new(data, n, d).expect("n x d elements");
        let (a, b) = (view(&self.a), view(&self.b));
        rows(cx, objective, a, b, &self.similar, grads).expect("rows").value
    }
}

fn by_tier_and_size<T: Real>(criterion: &mut Criterion)
where
    Contrastive<T>: BlockLoss<T>,
{
    let loss = Contrastive::new(T::ONE).expect("a margin of 1");
    let mut group = criterion.benchmark_group(format!("rows/{}", T::NAME));
    for (n, d) in [(256, 2), (65536, 2), (65536, 3), (2048, 128), (65536, 100), (65536, 128)] {
        let mut batch = Batch::<T>::new(n, d);
        let bytes = (n * d * size_of::<T>()) as u64;
        for isa in Isa::available() {
            let cx = Cx { isa, par: Par::Rayon };
            group.throughput(Throughput::Bytes(2 * bytes));
            group.bench_function(
                BenchmarkId::new(format!("value/{isa}"), format!("{n}x{d}")),
                |b| {
                    b.iter(|| batch.value(&cx, &loss));
                },
            );
            group.throughput(Throughput::Bytes(4 * bytes));
            let id = BenchmarkId::new(format!("gradients/{isa}"), format!("{n}x{d}"));
            group.bench_function(id, |b| b.iter(|| batch.value_and_gradients(&cx, &loss)));
        }
    }
    group.finish();
}

fn user_loss(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rows/user_loss");
    let mut batch = Batch::<f32>::new(65536, 2);
    group.throughput(Throughput::Elements(batch.n as u64));
    let built_in = Contrastive::new(1.0).expect("a margin of 1");
    let losses: [(&str, &dyn BlockLoss<f32>); 3] =
        [("built_in", &built_in), ("inlined", &Inlined(1.0)), ("not_inlined", &NotInlined(1.0))];
    for (name, loss) in losses {
        let cx = Cx { par: Par::Serial, ..Cx::default() };
        let expected = batch.value(&cx, &built_in);
        let value = batch.value(&cx, loss);
        assert!((value - expected).abs() <= 1e-6 * expected, "{name}: {value}, not {expected}");
        group.bench_function(name, |b| b.iter(|| batch.value_and_gradients(&cx, loss)));
    }
    group.finish();
}

/// What the formulas cost: two dimensions, where a pair is little else.
fn losses(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rows/losses");
    let mut batch = Batch::<f32>::new(65536, 2);
    group.throughput(Throughput::Elements(batch.n as u64));
    let losses: [(&str, Box<dyn BlockLoss<f32>>); 6] = [
        ("contrastive", Box::new(Contrastive::new(1.0).expect("a margin"))),
        ("squared_hinge", Box::new(SquaredHinge::new(1.0).expect("a margin"))),
        ("linear_hinge", Box::new(LinearHinge::new(0.1, 1.0).expect("margins"))),
        ("double_margin", Box::new(DoubleMargin::new(0.1, 1.0).expect("margins"))),
        ("exponential", Box::new(Exponential::new(1.0).expect("a bound"))),
        ("cosine", Box::new(CosineContrastive::new(0.5).expect("a margin"))),
    ];
    for (name, loss) in losses {
        let cx = Cx { par: Par::Serial, ..Cx::default() };
        group.bench_function(name, |b| b.iter(|| batch.value_and_gradients(&cx, &*loss)));
    }
    group.finish();
}

/// A reduction over pairs that are not zero measures the batch twice.
fn reductions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rows/reductions");
    let mut batch = Batch::<f32>::new(65536, 128);
    group.throughput(Throughput::Elements(batch.n as u64));
    let loss = Contrastive::new(1.0).expect("a margin of 1");
    for (name, reduction) in [
        ("sum", Reduction::Sum),
        ("balanced", Reduction::Balanced),
        ("balanced_non_zero", Reduction::BalancedNonZero),
    ] {
        let objective = Objective::sum(&loss).reduced(reduction);
        let cx = Cx::default();
        group.bench_function(name, |b| b.iter(|| batch.reduced_with_gradients(&cx, &objective)));
    }
    group.finish();
}

fn distances(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rows/distances");
    let (n, d) = (65536, 128);
    let mut batch = Batch::<f32>::new(n, d);
    let (mut out, upstream) = (vec![0.0; n], vec![1.0; n]);
    let cx = Cx::default();
    let bytes = (n * d * size_of::<f32>()) as u64;
    for (name, distance) in [
        ("euclidean", Distance::Euclidean),
        ("squared", Distance::SquaredEuclidean),
        ("dot", Distance::Dot),
        ("cosine", Distance::Cosine),
    ] {
        group.throughput(Throughput::Bytes(2 * bytes));
        group.bench_function(format!("{name}/forward"), |b| {
            let (x, y) = (batch.view(&batch.a), batch.view(&batch.b));
            b.iter(|| row_distances(&cx, distance, x, y, &mut out).expect("distances"));
        });
        group.throughput(Throughput::Bytes(4 * bytes));
        group.bench_function(format!("{name}/backward"), |b| {
            let Batch { a, b: other, grads: [grad_a, grad_b], .. } = &mut batch;
            let view = |data| Mat::new(data, n, d).expect("n x d elements");
            b.iter(|| {
                let to = |data| MatMut::new(data, n, d).expect("n x d elements");
                let (to_a, to_b) = (to(&mut *grad_a), to(&mut *grad_b));
                row_distances_backward(&cx, distance, view(a), view(other), &upstream, to_a, to_b)
                    .expect("gradients");
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_millis(700))
        .sample_size(20);
    targets = by_tier_and_size::<f32>, by_tier_and_size::<f64>, losses, reductions, user_loss,
        distances
}
criterion_main!(benches);
