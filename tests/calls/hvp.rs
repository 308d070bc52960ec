//! Hessian-vector products: those of each layout are the change of its gradient along the directions, on every
//! tier and in both precisions, for each loss, reduction, weight and pair that is left out.

#![forbid(unsafe_code)]

use crate::support::element::{bits, wide};
use crate::support::{Element, REDUCTIONS, serial, tiers};
use drlim::batch::{
    AllPairsScratch, CrossOut, CrossScratch, CrossSimilar, IndexedHvpOut, IndexedOut,
    IndexedScratch, PairList, RowsHvpOut, RowsOut, TripletRows, TripletRowsHvpOut, TripletRowsOut,
    all_pairs, all_pairs_hvp, cross, cross_hvp, indexed, indexed_hvp, rows, rows_hvp, triplet_rows,
    triplet_rows_hvp,
};
use drlim::loss::{
    BlockLoss, BlockTripletLoss, Contrastive, CosineContrastive, DoubleMargin, Exponential,
    LinearHinge, Objective, PairLoss, Pairing, Reduction, SquaredHinge, SquaredTriplet,
    TripletLoss, TripletMargin, TripletObjective,
};
use drlim::simd::Simd;
use drlim::{Cx, Error, Graph, Isa, Mat, MatMut, Par, Real, Similar, gradcheck};

/// Row lengths: less than a vector, whole ones, several in registers, split ones.
const COLS: [usize; 6] = [1, 2, 5, 16, 64, 131];

/// A loss with its name and its kinks.
type Named<T> = (&'static str, Box<dyn BlockLoss<T>>, Vec<f64>);

/// Every loss of pairs, with its kinks: the margins lie among the distances of [`draw`].
fn losses<T: Element>() -> Vec<Named<T>> {
    let x = T::from_f64;
    vec![
        ("contrastive", Box::new(Contrastive::new(x(2.0)).unwrap()), vec![2.0]),
        ("squared hinge", Box::new(SquaredHinge::new(x(3.0)).unwrap()), vec![3.0_f64.sqrt()]),
        ("linear hinge", Box::new(LinearHinge::new(x(0.5), x(2.0)).unwrap()), vec![0.5, 2.0]),
        ("double margin", Box::new(DoubleMargin::new(x(0.5), x(2.0)).unwrap()), vec![0.5, 2.0]),
        ("exponential", Box::new(Exponential::new(x(3.0)).unwrap()), vec![]),
        ("cosine", Box::new(CosineContrastive::new(x(1.5)).unwrap()), vec![3.0_f64.sqrt()]),
        ("quartic", Box::new(Quartic), vec![]),
    ]
}

/// A user's loss: d⁴/4 for similar pairs, exp(-d²/2) for others.
struct Quartic;

impl<T: Real> PairLoss<T> for Quartic {
    #[inline(always)]
    fn eval<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
        let push = drlim::simd::math::exp(s, s.splat(T::from_f64(-0.5)) * d2);
        let value = s.select(similar, s.splat(T::from_f64(0.25)) * d2 * d2, push);
        (value, s.select(similar, d2, -push))
    }

    #[inline(always)]
    fn curvature<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> Option<S::F> {
        let push = drlim::simd::math::exp(s, s.splat(T::from_f64(-0.5)) * d2);
        Some(s.select(similar, d2 + d2, d2 * push))
    }
}

/// The square of a hinge on squared distances, whose three distances all meet: u = d²(a,p) - d²(a,n)/2 - d²(p,n)/4 +
/// 3, l = u²/2 where u > 0.
struct Meeting;

impl<T: Real> TripletLoss<T> for Meeting {
    #[inline(always)]
    fn eval<S: Simd<T>>(&self, s: S, d2: [S::F; 3]) -> (S::F, [S::F; 3]) {
        let u = self.gap(s, d2);
        let c = |x: f64| s.splat(T::from_f64(x));
        (c(0.5) * u * u, [c(2.0) * u, -u, c(-0.5) * u])
    }

    #[inline(always)]
    fn curvatures<S: Simd<T>>(&self, s: S, d2: [S::F; 3]) -> Option<[S::F; 6]> {
        // C_kl = 2 d_k d_l ds_k/du_l, with s = 2 g u and du/du_l = g_l: 4 g_k g_l d_k d_l.
        let active = s.step(self.gap(s, d2));
        let g = [1.0, -0.5, -0.25].map(|g| s.splat(T::from_f64(g)));
        let [ap, an, pn] = [g[0] * s.sqrt(d2[0]), g[1] * s.sqrt(d2[1]), g[2] * s.sqrt(d2[2])];
        let four = active * s.splat(T::from_f64(4.0));
        Some([
            four * ap * ap,
            four * an * an,
            four * pn * pn,
            four * ap * an,
            four * ap * pn,
            four * an * pn,
        ])
    }

    fn swaps(&self) -> bool {
        true
    }
}

impl Meeting {
    #[inline(always)]
    fn gap<T: Real, S: Simd<T>>(&self, s: S, [ap, an, pn]: [S::F; 3]) -> S::F {
        let c = |x: f64| s.splat(T::from_f64(x));
        s.hinge(ap - c(0.5) * an - c(0.25) * pn + c(3.0))
    }
}

fn triplet_losses<T: Element>() -> Vec<(&'static str, Box<dyn BlockTripletLoss<T>>)> {
    let x = T::from_f64;
    vec![
        ("margin", Box::new(TripletMargin::new(x(1.0)).unwrap())),
        ("margin, swapping", Box::new(TripletMargin::new(x(1.0)).unwrap().swapping())),
        ("squared", Box::new(SquaredTriplet::new(x(1.0)).unwrap())),
        ("meeting", Box::new(Meeting)),
    ]
}

/// Rows whose distances are about 1.8, whatever their length; exact in `f32`.
fn draw(seed: u64, rows: usize, cols: usize) -> Vec<f64> {
    let mut rng = drlim::Rng::new(seed);
    let width = 4.5 / (cols as f64).sqrt();
    (0..rows * cols).map(|_| (((rng.uniform() - 0.5) * width) as f32).into()).collect()
}

fn narrow<T: Element>(of: &[f64]) -> Vec<T> {
    of.iter().map(|&x| T::from_f64(x)).collect()
}

/// The least distance of a point of a batch from a kink of a loss that tests of second derivatives keep.
const OFF: f64 = 2e-3;

/// The product with directions, from rows and these.
type Products<T> = fn(&Cx, &Objective<T>, &Batch, &[T], &[T]) -> Vec<T>;

/// One layout: its gradient at a point of `n` rows in all, and its product with directions.
struct Layout<T> {
    name: &'static str,
    gradient: fn(&Cx, &Objective<T>, &Batch, &[T]) -> Vec<T>,
    hvp: Products<T>,
}

/// What is known of the rows.
struct Batch {
    rows: usize,
    cols: usize,
    labels: Vec<i64>,
    graph: Graph,
    list: Vec<(u32, u32)>,
    similar: Vec<bool>,
    ignored: Vec<bool>,
    weights: Vec<f64>,
}

impl Batch {
    fn new(rows: usize, cols: usize) -> Self {
        let count = rows as u32;
        let list: Vec<_> =
            (0..3 * count).map(|k| (k % count, (k * 7 + k / count + 1) % count)).collect();
        Batch {
            rows,
            cols,
            labels: (0..rows as i64).map(|i| (i * 5) % 4 - 1).collect(),
            graph: Graph::from_pairs(
                rows,
                &(1..count).map(|i| (i - 1, i)).filter(|(i, _)| i % 3 != 0).collect::<Vec<_>>(),
            )
            .unwrap(),
            similar: (0..list.len()).map(|k| k % 3 == 0).collect(),
            ignored: (0..list.len()).map(|k| k % 5 == 0).collect(),
            weights: (0..list.len()).map(|k| 0.25 * (k % 7) as f64).collect(),
            list,
        }
    }

    fn half(&self) -> usize {
        self.rows / 2
    }
}

fn mat<T: Element>(of: &[T], cols: usize) -> Mat<'_, T> {
    Mat::new(of, of.len() / cols, cols).unwrap()
}

fn mat_mut<T: Element>(of: &mut [T], cols: usize) -> MatMut<'_, T> {
    let rows = of.len() / cols;
    MatMut::new(of, rows, cols).unwrap()
}

fn layouts<T: Element>() -> Vec<Layout<T>> {
    vec![
        Layout {
            name: "rows",
            gradient: |cx, o, b, z| {
                let (at, d) = (b.half() * b.cols, b.cols);
                let mut grad = vec![T::NAN; z.len()];
                let (ga, gb) = grad.split_at_mut(at);
                let out = RowsOut::grads(mat_mut(ga, d), mat_mut(gb, d));
                rows(cx, o, mat(&z[..at], d), mat(&z[at..], d), &b.similar[..b.half()], out)
                    .unwrap();
                grad
            },
            hvp: |cx, o, b, z, v| {
                let (at, d) = (b.half() * b.cols, b.cols);
                let mut h = vec![T::NAN; z.len()];
                let (ha, hb) = h.split_at_mut(at);
                let out = RowsHvpOut::products(mat_mut(ha, d), mat_mut(hb, d));
                let halves = |of| -> [Mat<T>; 2] {
                    let of: &[T] = of;
                    [mat(&of[..at], d), mat(&of[at..], d)]
                };
                rows_hvp(cx, o, halves(z), &b.similar[..b.half()], halves(v), out).unwrap();
                h
            },
        },
        Layout {
            name: "indexed, weighted, some left out",
            gradient: |cx, o, b, z| {
                let list = PairList::new(b.rows, &b.list).unwrap();
                let weights = narrow::<T>(&b.weights);
                let pairing = Pairing::new(&b.similar).weighted(&weights).ignoring(&b.ignored);
                let mut grad = vec![T::NAN; z.len()];
                let out = IndexedOut::grad(mat_mut(&mut grad, b.cols));
                indexed(cx, o, mat(z, b.cols), &list, pairing, out, &mut IndexedScratch::new())
                    .unwrap();
                grad
            },
            hvp: |cx, o, b, z, v| {
                let list = PairList::new(b.rows, &b.list).unwrap();
                let weights = narrow::<T>(&b.weights);
                let pairing = Pairing::new(&b.similar).weighted(&weights).ignoring(&b.ignored);
                let mut h = vec![T::NAN; z.len()];
                let out = IndexedHvpOut::product(mat_mut(&mut h, b.cols));
                indexed_hvp(cx, o, mat(z, b.cols), &list, pairing, mat(v, b.cols), out).unwrap();
                h
            },
        },
        Layout {
            name: "all pairs by labels",
            gradient: |cx, o, b, z| every_pair(cx, o, b, z, Similar::Labels(&b.labels)),
            hvp: |cx, o, b, z, v| every_pair_hvp(cx, o, b, z, v, Similar::Labels(&b.labels)),
        },
        Layout {
            name: "all pairs by labels, one ignored",
            gradient: |cx, o, b, z| {
                let similar = Similar::LabelsIgnoring { labels: &b.labels, ignored: -1 };
                every_pair(cx, o, b, z, similar)
            },
            hvp: |cx, o, b, z, v| {
                let similar = Similar::LabelsIgnoring { labels: &b.labels, ignored: -1 };
                every_pair_hvp(cx, o, b, z, v, similar)
            },
        },
        Layout {
            name: "all pairs by a graph",
            gradient: |cx, o, b, z| every_pair(cx, o, b, z, Similar::Graph(&b.graph)),
            hvp: |cx, o, b, z, v| every_pair_hvp(cx, o, b, z, v, Similar::Graph(&b.graph)),
        },
        Layout {
            name: "cross by labels",
            gradient: |cx, o, b, z| crossed(cx, o, b, z, b.half(), of_labels(b, b.half()), None),
            hvp: |cx, o, b, z, v| {
                crossed_hvp(cx, o, b, z, v, b.half(), of_labels(b, b.half()), None)
            },
        },
        Layout {
            name: "cross with own keys",
            gradient: |cx, o, b, z| crossed(cx, o, b, z, 3, of_labels(b, 3), Some(1)),
            hvp: |cx, o, b, z, v| crossed_hvp(cx, o, b, z, v, 3, of_labels(b, 3), Some(1)),
        },
        Layout {
            name: "cross by a graph that holds some of both",
            gradient: |cx, o, b, z| crossed(cx, o, b, z, 4, of_graph(b, 2), None),
            hvp: |cx, o, b, z, v| crossed_hvp(cx, o, b, z, v, 4, of_graph(b, 2), None),
        },
    ]
}

fn of_labels(b: &Batch, queries: usize) -> CrossSimilar<'_> {
    let (queries, keys) = b.labels.split_at(queries);
    CrossSimilar::Labels { queries, keys, ignored: Some(0) }
}

fn of_graph(b: &Batch, first_query: usize) -> CrossSimilar<'_> {
    CrossSimilar::Graph { graph: &b.graph, first_query, first_key: 0 }
}

fn every_pair<T: Element>(cx: &Cx, o: &Objective<T>, b: &Batch, z: &[T], of: Similar) -> Vec<T> {
    let mut grad = vec![T::NAN; z.len()];
    let (to, scratch) = (Some(mat_mut(&mut grad, b.cols)), &mut AllPairsScratch::new());
    all_pairs(cx, o, mat(z, b.cols), of, to, scratch).unwrap();
    grad
}

fn every_pair_hvp<T: Element>(
    cx: &Cx,
    o: &Objective<T>,
    b: &Batch,
    z: &[T],
    v: &[T],
    of: Similar,
) -> Vec<T> {
    let mut h = vec![T::NAN; z.len()];
    all_pairs_hvp(cx, o, mat(z, b.cols), of, mat(v, b.cols), mat_mut(&mut h, b.cols)).unwrap();
    h
}

fn crossed<T: Element>(
    cx: &Cx,
    o: &Objective<T>,
    b: &Batch,
    z: &[T],
    queries: usize,
    of: CrossSimilar,
    own: Option<usize>,
) -> Vec<T> {
    let (at, d) = (queries * b.cols, b.cols);
    let mut grad = vec![T::NAN; z.len()];
    let (gq, gk) = grad.split_at_mut(at);
    let out = CrossOut::grads(mat_mut(gq, d), mat_mut(gk, d));
    let (queries, keys) = (mat(&z[..at], d), mat(&z[at..], d));
    cross(cx, o, queries, keys, of, own, out, &mut CrossScratch::new()).unwrap();
    grad
}

#[allow(clippy::too_many_arguments, reason = "as many as the call has")]
fn crossed_hvp<T: Element>(
    cx: &Cx,
    o: &Objective<T>,
    b: &Batch,
    z: &[T],
    v: &[T],
    queries: usize,
    of: CrossSimilar,
    own: Option<usize>,
) -> Vec<T> {
    let (at, d) = (queries * b.cols, b.cols);
    let mut h = vec![T::NAN; z.len()];
    let (hq, hk) = h.split_at_mut(at);
    let out = CrossOut::grads(mat_mut(hq, d), mat_mut(hk, d));
    let parts = |of| -> [Mat<T>; 2] {
        let of: &[T] = of;
        [mat(&of[..at], d), mat(&of[at..], d)]
    };
    cross_hvp(cx, o, parts(z), of, own, parts(v), out).unwrap();
    h
}

/// Rows of which no two are as far apart as a kink.
fn off_kinks(rows: usize, cols: usize, kinks: &[f64]) -> Vec<f64> {
    for seed in 0.. {
        let z = draw(seed, rows, cols);
        let row = |i: usize| &z[i * cols..][..cols];
        let far = |i: usize, j: usize| {
            let d2: f64 = row(i).iter().zip(row(j)).map(|(x, y)| (x - y) * (x - y)).sum();
            i == j || (d2.sqrt() > 10.0 * OFF && kinks.iter().all(|k| (d2.sqrt() - k).abs() > OFF))
        };
        if (0..rows).all(|i| (0..i).all(|j| far(i, j))) {
            return z;
        }
    }
    unreachable!("seeds do not end")
}

/// (gradient(z + t v) - gradient(z - t v)) / 2t
fn differences(z: &[f64], v: &[f64], gradient: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    const T: f64 = 1e-5;
    let at = |t: f64| gradient(&z.iter().zip(v).map(|(z, v)| z + t * v).collect::<Vec<_>>());
    at(T).iter().zip(at(-T)).map(|(above, below)| (above - below) / (2.0 * T)).collect()
}

#[track_caller]
fn close(got: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    let largest = expected.iter().fold(1e-3_f64, |max, x| max.max(x.abs()));
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let error = (got - expected).abs() / largest;
        assert!(error <= tolerance, "{what}: element {i} is {got}, expected {expected}");
    }
}

#[test]
fn products_are_the_change_of_the_gradient() {
    for (name, loss, kinks) in losses::<f64>() {
        for cols in COLS {
            let b = Batch::new(10, cols);
            let (z, v) = (off_kinks(10, cols, &kinks), draw(99, 10, cols));
            for reduction in REDUCTIONS {
                let objective = Objective::sum(&*loss).reduced(reduction).scaled(0.75);
                for Layout { name: layout, gradient, hvp } in layouts::<f64>() {
                    let what = format!("{layout}, {name}, {reduction:?}, D = {cols}");
                    let cx = serial(tiers()[0]);
                    let expected = differences(&z, &v, |z| gradient(&cx, &objective, &b, z));
                    for isa in tiers() {
                        let got = hvp(&serial(isa), &objective, &b, &z, &v);
                        close(&got, &expected, 2e-6, &format!("{what}, {isa}"));
                    }
                }
            }
        }
    }
}

#[test]
fn products_in_f32_are_those_of_f64() {
    for ((name, loss, kinks), (_, wider, _)) in losses::<f32>().into_iter().zip(losses::<f64>()) {
        for cols in COLS {
            // More rows than a block of pairs holds.
            let rows = if cols == 5 { 530 } else { 40 };
            let b = Batch::new(rows, cols);
            // Pairs near a kink weigh little in a sum: 40 rows have too many pairs to keep all of them away.
            let z =
                if rows == 40 && cols > 2 { off_kinks(40, cols, &[]) } else { draw(3, rows, cols) };
            let (z, v) = (narrow::<f32>(&z), narrow::<f32>(&draw(99, rows, cols)));
            if rows == 530 && !kinks.is_empty() {
                continue;
            }
            for (Layout { name: layout, hvp, .. }, exact) in
                layouts::<f32>().into_iter().zip(layouts::<f64>())
            {
                let objective = Objective::mean(&*wider);
                let cx = serial(tiers()[0]);
                let expected = (exact.hvp)(&cx, &objective, &b, &wide(&z), &wide(&v));
                for isa in tiers() {
                    let got = hvp(&serial(isa), &Objective::mean(&*loss), &b, &z, &v);
                    let what = format!("{layout}, {name}, {rows} x {cols}, {isa}");
                    // In rows so short pairs come close, and then slope and curvature cancel along them.
                    let tolerance = if cols <= 2 { 2e-4 } else { 1e-5 };
                    close(&wide(&got), &expected, tolerance, &what);
                }
            }
        }
    }
}

#[test]
fn products_are_symmetric() {
    let (loss, b) = (Contrastive::new(2.0).unwrap(), Batch::new(20, 7));
    let (z, v, w) = (draw(1, 20, 7), draw(2, 20, 7), draw(3, 20, 7));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for isa in tiers() {
        for Layout { name, hvp, .. } in layouts::<f64>() {
            let product = |v: &[f64]| hvp(&serial(isa), &Objective::mean(&loss), &b, &z, v);
            let (one, other) = (dot(&w, &product(&v)), dot(&v, &product(&w)));
            assert!((one - other).abs() < 1e-12 * one.abs().max(1e-3), "{name}: {one}, {other}");
            assert!(one != 0.0, "{name}");
        }
    }
}

#[test]
fn triplets_have_the_change_of_their_gradients() {
    for (name, loss) in triplet_losses::<f64>() {
        for cols in COLS {
            let n = 11;
            let v: Vec<_> = (0..3).map(|k| draw(40 + k, n, cols)).collect::<Vec<_>>().concat();
            let (weights, ignored): (Vec<f64>, Vec<bool>) =
                (0..n).map(|k| (0.5 * (k % 4) as f64, k % 6 == 5)).unzip();
            let part = |of: &[f64], k: usize| of[k * n * cols..][..n * cols].to_vec();
            let view = |of: &'_ [f64]| -> [Vec<f64>; 3] { [0, 1, 2].map(|k| part(of, k)) };
            for reduction in [Reduction::Sum, Reduction::Mean, Reduction::MeanNonZero] {
                let objective = TripletObjective::sum(&*loss).reduced(reduction).unwrap();
                let gradient = |z: &[f64]| {
                    let [a, p, neg] = view(z);
                    let triplets = TripletRows::new(mat(&a, cols), mat(&p, cols), mat(&neg, cols));
                    let triplets = triplets.unwrap().weighted(&weights).unwrap();
                    let triplets = triplets.ignoring(&ignored).unwrap();
                    let mut grads = [(); 3].map(|()| vec![f64::NAN; n * cols]);
                    let [ga, gp, gn] = grads.each_mut().map(|grad| mat_mut(grad, cols));
                    let out = TripletRowsOut::grads(ga, gp, gn);
                    triplet_rows(&serial(tiers()[0]), &objective, triplets, out).unwrap();
                    grads.concat()
                };
                // Off the kinks: where differences of two steps agree.
                let mut seed = 0;
                let (z, expected) = loop {
                    let z: Vec<_> =
                        (0..3).map(|k| draw(seed + k, n, cols)).collect::<Vec<_>>().concat();
                    let expected = differences(&z, &v, gradient);
                    let doubled: Vec<_> = v.iter().map(|v| 100.0 * v).collect();
                    let wider = differences(&z, &doubled, gradient);
                    let largest = expected.iter().fold(1e-3_f64, |max, x| max.max(x.abs()));
                    let smooth = |(x, y): (&f64, &f64)| (x - y / 100.0).abs() < 1e-3 * largest;
                    if expected.iter().zip(&wider).all(smooth) {
                        break (z, expected);
                    }
                    seed += 10;
                };
                for isa in tiers() {
                    let [a, p, neg] = view(&z);
                    let [va, vp, vn] = view(&v);
                    let triplets = TripletRows::new(mat(&a, cols), mat(&p, cols), mat(&neg, cols));
                    let triplets = triplets.unwrap().weighted(&weights).unwrap();
                    let triplets = triplets.ignoring(&ignored).unwrap();
                    let mut h = [(); 3].map(|()| vec![f64::NAN; n * cols]);
                    let mut derivatives = vec![f64::NAN; n];
                    let [ha, hp, hn] = h.each_mut().map(|h| mat_mut(h, cols));
                    let out = TripletRowsHvpOut::products(ha, hp, hn).derivatives(&mut derivatives);
                    let along = [mat(&va, cols), mat(&vp, cols), mat(&vn, cols)];
                    triplet_rows_hvp(&serial(isa), &objective, triplets, along, out).unwrap();
                    let what = format!("{name}, {reduction:?}, D = {cols}, {isa}");
                    close(&h.concat(), &expected, 1e-5, &what);
                    // The value's own change is the gradient along the directions.
                    let change: f64 = gradient(&z).iter().zip(&v).map(|(g, v)| g * v).sum();
                    let sum: f64 = derivatives.iter().sum();
                    assert!((sum - change).abs() < 1e-9 * change.abs().max(1.0), "{what}");
                }
            }
        }
    }
}

#[test]
fn derivatives_are_gradients_along_the_directions() {
    for (name, loss, _) in losses::<f64>() {
        let b = Batch::new(12, 5);
        let (z, v) = (draw(5, 12, 5), draw(6, 12, 5));
        let list = PairList::new(12, &b.list).unwrap();
        let pairing = Pairing::new(&b.similar).weighted(&b.weights).ignoring(&b.ignored);
        let objective = Objective::mean(&*loss);
        for isa in tiers() {
            let cx = serial(isa);
            let (mut slopes, mut derivatives) = ([f64::NAN; 36], [f64::NAN; 36]);
            let out = IndexedOut::none().slopes(&mut slopes);
            indexed(&cx, &objective, mat(&z, 5), &list, pairing, out, &mut IndexedScratch::new())
                .unwrap();
            let out = IndexedHvpOut::none().derivatives(&mut derivatives);
            indexed_hvp(&cx, &objective, mat(&z, 5), &list, pairing, mat(&v, 5), out).unwrap();
            for (k, &(i, j)) in b.list.iter().enumerate() {
                let [i, j] = [i, j].map(|i| i as usize * 5);
                let product: f64 =
                    (0..5).map(|c| (z[i + c] - z[j + c]) * (v[i + c] - v[j + c])).sum();
                let expected = if b.ignored[k] { 0.0 } else { slopes[k] * product };
                assert!((derivatives[k] - expected).abs() < 1e-14, "{name}, pair {k}, {isa}");
            }
        }
    }
}

#[test]
fn coincident_rows_and_far_ones_give_what_the_formula_says() {
    for isa in tiers() {
        coincident::<f32>(isa);
        coincident::<f64>(isa);
    }
}

fn coincident<T: Element>(isa: Isa) {
    let x = T::from_f64;
    let (z, v) = (vec![x(0.5); 2 * 3], [1.0, 2.0, 3.0, 0.0, 0.0, 0.0].map(x));
    for (name, loss, _) in losses::<T>() {
        for similar in [true, false] {
            let labels = if similar { [1, 1] } else { [1, 2] };
            let mut h = [T::NAN; 6];
            let (objective, labels) = (Objective::sum(&*loss), Similar::Labels(&labels));
            let out = mat_mut(&mut h, 3);
            all_pairs_hvp(&serial(isa), &objective, mat(&z, 3), labels, mat(&v, 3), out).unwrap();
            // At d = 0 only slopes count: the spring's, and those that do not divide by d.
            let mut slope = [T::ZERO];
            loss.eval_block(isa, &mut slope, &[similar], &mut [T::ZERO]);
            let expected = [1.0, 2.0, 3.0, -1.0, -2.0, -3.0].map(|v| slope[0] * x(v));
            assert_eq!(h, expected, "{name}, similar: {similar}, {isa}");
        }
    }
    // A pair so close that 1/d³ overflows has the product m/d across, nothing along but 1.
    let tiny = T::MIN_POSITIVE.to_f64().sqrt() * 2.0;
    let (z, v) = ([0.0, 0.0, tiny, 0.0].map(x), [x(1.0), x(1.0), x(0.0), x(0.0)]);
    let loss = Contrastive::new(x(1.0)).unwrap();
    let mut h = [T::NAN; 4];
    let (objective, labels) = (Objective::sum(&loss), Similar::Labels(&[1, 2]));
    all_pairs_hvp(&serial(isa), &objective, mat(&z, 2), labels, mat(&v, 2), mat_mut(&mut h, 2))
        .unwrap();
    let across = 1.0 - 1.0 / tiny;
    assert!((h[1].to_f64() / across - 1.0).abs() < 1e-5, "{isa}: {} and not {across}", h[1]);
    assert!(h[0].is_finite() && h[0].abs().to_f64() < 1e-5 * across.abs(), "{isa}: {}", h[0]);
    // A row that is not finite reaches those that pull it, and no other.
    let (z, v) = ([T::INFINITY, x(0.0), x(0.25), T::NAN].map(|z| z), [x(1.0); 4]);
    let mut h = [T::ZERO; 4];
    let labels = Similar::LabelsIgnoring { labels: &[1, 2, 3, -1], ignored: -1 };
    all_pairs_hvp(&serial(isa), &objective, mat(&z, 1), labels, mat(&v, 1), mat_mut(&mut h, 1))
        .unwrap();
    assert_eq!(h, [T::ZERO; 4], "out of reach, and left out, {isa}");
}

#[test]
fn products_do_not_depend_on_threads() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let (loss, b) = (Exponential::new(3.0_f32).unwrap(), Batch::new(700, 33));
    let (z, v) = (narrow(&draw(1, 700, 33)), narrow(&draw(2, 700, 33)));
    for isa in tiers() {
        for Layout { name, hvp, .. } in layouts::<f32>() {
            let objective = Objective::mean(&loss).reduced(Reduction::BalancedNonZero);
            let alone = hvp(&serial(isa), &objective, &b, &z, &v);
            let shared = pool.install(|| hvp(&Cx { isa, par: Par::Rayon }, &objective, &b, &z, &v));
            assert_eq!(bits(&alone), bits(&shared), "{name}, {isa}");
        }
    }
}

#[test]
fn a_loss_without_curvature_is_refused() {
    /// d²/2 for all pairs, by somebody who has not thought of second derivatives.
    struct Spring;
    impl<T: Real> PairLoss<T> for Spring {
        #[inline(always)]
        fn eval<S: Simd<T>>(&self, s: S, d2: S::F, _: S::M) -> (S::F, S::F) {
            (s.splat(T::from_f64(0.5)) * d2, s.splat(T::ONE))
        }
    }
    impl<T: Real> TripletLoss<T> for Spring {
        #[inline(always)]
        fn eval<S: Simd<T>>(&self, s: S, [ap, _, _]: [S::F; 3]) -> (S::F, [S::F; 3]) {
            let zero = s.splat(T::ZERO);
            (ap, [s.splat(T::from_f64(2.0)), zero, zero])
        }
    }
    let (cx, z, mut h) = (Cx::default(), [0.0_f64, 1.0], [7.0, 7.0]);
    let objective = Objective::sum(&Spring);
    let z = Mat::new(&z, 2, 1).unwrap();
    let similar = Similar::Labels(&[1, 2]);
    let error = all_pairs_hvp(&cx, &objective, z, similar, z, mat_mut(&mut h, 1)).unwrap_err();
    assert_eq!(error, Error::NoCurvature { call: "all_pairs_hvp" });
    let list = PairList::new(2, &[(0, 1)]).unwrap();
    let out = IndexedHvpOut::product(mat_mut(&mut h, 1));
    let error = indexed_hvp(&cx, &objective, z, &list, &[true], z, out).unwrap_err();
    assert_eq!(error, Error::NoCurvature { call: "indexed_hvp" });
    let out = RowsHvpOut::none();
    let error = rows_hvp(&cx, &objective, [z, z], &[true; 2], [z, z], out).unwrap_err();
    assert_eq!(error, Error::NoCurvature { call: "rows_hvp" });
    let similar = CrossSimilar::Labels { queries: &[1, 2], keys: &[1, 2], ignored: None };
    let out = CrossOut::grad_queries(mat_mut(&mut h, 1));
    let error = cross_hvp(&cx, &objective, [z, z], similar, None, [z, z], out).unwrap_err();
    assert_eq!(error, Error::NoCurvature { call: "cross_hvp" });
    let triplets = TripletRows::new(z, z, z).unwrap();
    let (objective, out) = (TripletObjective::sum(&Spring), TripletRowsHvpOut::none());
    let error = triplet_rows_hvp(&cx, &objective, triplets, [z; 3], out).unwrap_err();
    assert_eq!(error, Error::NoCurvature { call: "triplet_rows_hvp" });
    assert_eq!(h, [7.0, 7.0]);
    let error = gradcheck::check_curvature(&Spring, &[], 1).unwrap_err();
    assert!(error.to_string().contains("no second derivatives"), "{error}");
}

#[test]
fn the_curvature_of_each_loss_is_that_of_its_slope() {
    for (name, loss, kinks) in losses::<f64>() {
        for seed in 0..5 {
            let worst = gradcheck::check_curvature(&*loss, &kinks, seed).unwrap();
            assert!(worst.error < 1e-7, "{name}: {worst}");
        }
    }
    /// Somebody forgot that d² moves twice as fast as d.
    struct Halved;
    impl PairLoss<f64> for Halved {
        #[inline(always)]
        fn eval<S: Simd<f64>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
            PairLoss::<f64>::eval(&Quartic, s, d2, similar)
        }
        #[inline(always)]
        fn curvature<S: Simd<f64>>(&self, s: S, d2: S::F, similar: S::M) -> Option<S::F> {
            let right = PairLoss::<f64>::curvature(&Quartic, s, d2, similar)?;
            Some(s.splat(0.5) * right)
        }
    }
    let worst = gradcheck::check_curvature(&Halved, &[], 1).unwrap();
    assert!(worst.error > 0.3, "{worst}");
}

#[test]
fn a_loss_is_asked_of_pairs_of_the_batch_alone() {
    /// Half of d², by somebody who takes a distance of 0 for a broken batch.
    struct Strict;
    impl BlockLoss<f64> for Strict {
        fn eval_block(&self, _: Isa, d2: &mut [f64], _: &[bool], values: &mut [f64]) {
            for (d2, value) in d2.iter_mut().zip(values) {
                assert!(*d2 > 0.0, "a pair at distance 0");
                (*value, *d2) = (*d2 / 2.0, 1.0);
            }
        }
        fn curvature_block(&self, _: Isa, d2: &mut [f64], _: &[bool]) -> bool {
            assert!(d2.iter().all(|&d2| d2 > 0.0), "a pair at distance 0");
            d2.fill(0.0);
            true
        }
    }
    let (z, cx) = (draw(1, 20, 3), Cx::default());
    let mut b = Batch::new(20, 3);
    b.ignored = b.list.iter().map(|(i, j)| i == j).collect();
    assert!(b.ignored.contains(&true));
    for Layout { name, hvp, .. } in layouts::<f64>() {
        let product = hvp(&cx, &Objective::sum(&Strict), &b, &z, &z);
        assert!(product.iter().all(|x| x.is_finite()), "{name}");
    }
    // A row with itself, left out.
    let list = PairList::new(20, &[(0, 1), (2, 2)]).unwrap();
    let pairing = Pairing::new(&[true, false]).ignoring(&[false, true]);
    let mut h = [f64::NAN; 60];
    let out = IndexedHvpOut::product(mat_mut(&mut h, 3));
    let objective = Objective::sum(&Strict);
    indexed_hvp(&cx, &objective, mat(&z, 3), &list, pairing, mat(&z, 3), out).unwrap();
    assert_eq!(h[0], z[0] - z[3]);
}
