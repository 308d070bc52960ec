//! A loss of the caller's is shown the pairs, or triplets, of the batch and nothing else: as often as is
//! documented, by every call, on every tier, in both precisions. What a loss might be shown by mistake is
//! a row with itself, padding, and what is left out; here these are at distance 0 or hold a NaN.

#![forbid(unsafe_code)]

use std::sync::Mutex;

use crate::support::element::wide;
use crate::support::oracle::squared_distance;
use crate::support::{Element, Random, tiers};
use drlim::batch::{
    AllPairsScratch, CrossOut, CrossScratch, CrossSimilar, IndexedOut, IndexedScratch, Mining,
    MiningScratch, PairList, RowsOut, TripletRows, TripletRowsOut, all_pairs, cross, indexed, rows,
    triplet_rows, triplets,
};
use drlim::loss::{
    BlockLoss, BlockTripletLoss, Contrastive, Objective, PairLoss, Pairing, Reduction,
    SquaredTriplet, TripletLoss, TripletObjective,
};
use drlim::simd::Simd;
use drlim::{Cx, Graph, Isa, Mat, MatMut, Par, Real, Similar};

/// Planar kernels, less than a vector, whole and split ones, more than a chunk of products.
const COLS: [usize; 7] = [1, 2, 3, 5, 16, 40, 150];

/// Less than a vector, about a panel, about a block, and several of them.
const ROWS: [usize; 8] = [1, 2, 3, 31, 33, 65, 130, 300];

const MARGIN: f64 = 0.75;

/// Contrastive, by scalars; it remembers what it is shown.
struct Pairs<T>(Mutex<Vec<(bool, T)>>);

impl<T: Element> Pairs<T> {
    fn formula(d2: T, similar: bool) -> (T, T) {
        let d = d2.sqrt();
        let (margin, half) = (T::from_f64(MARGIN), T::from_f64(0.5));
        match similar {
            true => (half * d2, T::ONE),
            false if d < margin => (half * (margin - d) * (margin - d), (d - margin) / d),
            false => (T::ZERO, T::ZERO),
        }
    }

    /// What has been shown: similar pairs and others, by distance.
    fn take(&self) -> [Vec<f64>; 2] {
        let seen = std::mem::take(&mut *self.0.lock().unwrap());
        [true, false].map(|kind| {
            let of = seen.iter().filter(|(similar, _)| *similar == kind);
            sorted(of.map(|(_, d2)| d2.to_f64()).collect())
        })
    }
}

macro_rules! pairs_in_blocks {
    ($($t:ident)*) => {
        $(impl BlockLoss<$t> for Pairs<$t> {
            fn eval_block(&self, _: Isa, d2: &mut [$t], similar: &[bool], values: &mut [$t]) {
                assert!(!d2.is_empty() && d2.len() == similar.len() && d2.len() == values.len());
                let mut seen = self.0.lock().unwrap();
                seen.extend(similar.iter().copied().zip(d2.iter().copied()));
                for ((d2, &similar), value) in d2.iter_mut().zip(similar).zip(values) {
                    (*value, *d2) = Self::formula(*d2, similar);
                }
            }
        })*
    };
}
pairs_in_blocks!(f32 f64);

/// Contrastive in lanes; it remembers what is in them.
struct Lanes<T> {
    exact: Contrastive<T>,
    seen: Mutex<Vec<(bool, T)>>,
}

impl<T: Element> PairLoss<T> for Lanes<T> {
    fn eval<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
        let (mut each, mut kinds) = ([T::ZERO; 16], [T::ZERO; 16]);
        s.store(d2, &mut each);
        s.store(s.select(similar, s.splat(T::ONE), s.splat(T::ZERO)), &mut kinds);
        let lanes = kinds.map(|kind| kind == T::ONE).into_iter().zip(each).take(S::LANES);
        self.seen.lock().unwrap().extend(lanes);
        self.exact.eval(s, d2, similar)
    }
}

fn sorted(mut of: Vec<f64>) -> Vec<f64> {
    of.sort_by(f64::total_cmp);
    of
}

/// That `seen` is each of `expected` so many times.
#[track_caller]
fn check(seen: &[Vec<f64>; 2], expected: &[Vec<f64>; 2], times: usize, case: &str) {
    for (seen, expected) in seen.iter().zip(expected) {
        assert_eq!(seen.len(), times * expected.len(), "{case}");
        let each = expected.iter().flat_map(|d2| std::iter::repeat_n(*d2, times));
        for (&seen, d2) in seen.iter().zip(each) {
            assert!((seen - d2).abs() <= 1e-3 * d2, "{case}: {seen:e}, not {d2:e}");
        }
    }
}

/// Distinct rows.
fn points<T: Element>([n, d]: [usize; 2], seed: u64) -> Vec<T> {
    let mut random = Random::new(seed);
    (0..n * d).map(|_| T::from_f64(random.between::<f64>(-1.0, 1.0))).collect()
}

/// The squared distances of pairs of either kind, ascending.
fn expected<T: Element>(
    [a, b]: [Mat<T>; 2],
    pairs: impl Iterator<Item = (usize, usize, bool)>,
) -> [Vec<f64>; 2] {
    let mut kinds = [Vec::new(), Vec::new()];
    for (i, j, similar) in pairs {
        kinds[usize::from(!similar)].push(squared_distance(&wide(a.row(i)), &wide(b.row(j))));
    }
    kinds.map(sorted)
}

fn all_pairs_of<T: Element>()
where
    Pairs<T>: BlockLoss<T>,
{
    for (n, d) in ROWS.into_iter().flat_map(|n| COLS.map(|d| (n, d))) {
        let mut z = points::<T>([n, d], 1);
        let labels: Vec<i64> = (0..n as i64).map(|i| i * 7 % 5).collect();
        let edges: Vec<(u32, u32)> = (1..n as u32).map(|i| (i / 3, i)).collect();
        let graph = Graph::from_pairs(n, &edges).unwrap();
        for ignoring in [false, true] {
            let mut similars = vec![Similar::LabelsIgnoring { labels: &labels, ignored: 2 }];
            if ignoring {
                // Rows that are left out hold anything.
                for i in (0..n).filter(|&i| labels[i] == 2) {
                    z[i * d..(i + 1) * d].fill(T::NAN);
                }
            } else {
                similars = vec![Similar::Labels(&labels), Similar::Graph(&graph)];
            }
            let z = Mat::new(&z, n, d).unwrap();
            for (similar, isa) in on_tiers(similars) {
                let of = |(i, j)| similar.of(i, j).map(|kind| (i, j, kind));
                let all = (0..n).flat_map(|j| (0..j).map(move |i| (i, j))).filter_map(of);
                let expected = expected([z, z], all);
                let (cx, loss) = (Cx { isa, par: Par::Serial }, Pairs::<T>(Mutex::default()));
                let mut scratch = AllPairsScratch::new();
                let mut grad = vec![T::ZERO; n * d];
                for (reduction, gradient) in reductions() {
                    let case = format!("{n} x {d}, {reduction:?}, {gradient}, {isa}");
                    let objective = Objective::sum(&loss).reduced(reduction);
                    let to = gradient.then(|| MatMut::new(&mut grad, n, d).unwrap());
                    let outcome = all_pairs(&cx, &objective, z, similar, to, &mut scratch).unwrap();
                    let seen = loss.take();
                    check_whole(&seen, &expected, (reduction, gradient), &case);
                    let pairs = expected.each_ref().map(|of| of.len() as u64);
                    let counted = [outcome.similar, outcome.pairs - outcome.similar];
                    assert_eq!(counted, pairs, "{case}");
                    let exact = T::contrastive(MARGIN);
                    let objective = Objective::sum(&*exact).reduced(reduction);
                    let exact = all_pairs(&cx, &objective, z, similar, None, &mut scratch).unwrap();
                    let off = (outcome.value - exact.value).abs();
                    assert!(off <= 1e-3 * exact.value, "{case}: {} {}", outcome.value, exact.value);
                }
            }
        }
    }
}

fn on_tiers<X: Copy>(of: Vec<X>) -> impl Iterator<Item = (X, Isa)> {
    of.into_iter().flat_map(|x| tiers().into_iter().map(move |isa| (x, isa)))
}

fn reductions() -> impl Iterator<Item = (Reduction, bool)> {
    [Reduction::Sum, Reduction::MeanNonZero, Reduction::BalancedNonZero]
        .into_iter()
        .flat_map(|reduction| [(reduction, false), (reduction, true)])
}

/// By a call on whole batches.
#[track_caller]
fn check_whole(
    seen: &[Vec<f64>; 2],
    expected: &[Vec<f64>; 2],
    pass: (Reduction, bool),
    case: &str,
) {
    if pass != (Reduction::BalancedNonZero, true) {
        return check(seen, expected, 1, case);
    }
    let [similar, dissimilar] = seen;
    check(&[similar.clone(), Vec::new()], &[expected[0].clone(), Vec::new()], 2, case);
    let all = expected[1].len();
    assert!((all..=2 * all).contains(&dissimilar.len()), "{case}");
    let (least, most) = (expected[1].first(), expected[1].last());
    assert!(dissimilar.iter().all(|d2| *d2 > 0.99 * least.unwrap()), "{case}");
    assert!(dissimilar.iter().all(|d2| *d2 < 1.01 * most.unwrap()), "{case}");
}

fn cross_of<T: Element>()
where
    Pairs<T>: BlockLoss<T>,
{
    for ([n, m], d) in [[1, 1], [2, 33], [31, 65], [70, 70], [130, 300]]
        .into_iter()
        .flat_map(|shape| COLS.map(|d| (shape, d)))
    {
        let keys = points::<T>([m, d], 2);
        // Queries are some of the keys, where they are fewer.
        let first = (m - n) / 2;
        let queries = keys[first * d..(first + n) * d].to_vec();
        let labels: Vec<i64> = (0..m as i64).map(|i| i * 7 % 5).collect();
        let edges: Vec<(u32, u32)> = (1..m as u32).map(|i| (i / 3, i)).collect();
        let graph = Graph::from_pairs(m, &edges).unwrap();
        let of_queries = &labels[first..first + n];
        let by_label =
            |ignored| CrossSimilar::Labels { queries: of_queries, keys: &labels, ignored };
        let by_graph = CrossSimilar::Graph { graph: &graph, first_query: first, first_key: 0 };
        let (a, b) = (Mat::new(&queries, n, d).unwrap(), Mat::new(&keys, m, d).unwrap());
        let by_position = CrossSimilar::Position { first_key: 0 };
        let rules = vec![by_label(None), by_label(Some(2)), by_graph, by_position];
        for (similar, isa) in on_tiers(rules) {
            let of = |(i, j): (usize, usize)| {
                let kind = match similar {
                    CrossSimilar::Labels { ignored, .. } => {
                        let known = |label: i64| Some(label) != ignored;
                        (known(of_queries[i]) && known(labels[j]))
                            .then_some(of_queries[i] == labels[j])
                    }
                    CrossSimilar::Position { first_key } => Some(first_key + i == j),
                    CrossSimilar::Graph { .. } => {
                        Some(graph.neighbours(first + i).contains(&(j as u32)))
                    }
                };
                kind.filter(|_| first + i != j).map(|kind| (i, j, kind))
            };
            let all = (0..n).flat_map(|i| (0..m).map(move |j| (i, j))).filter_map(of);
            let expected = expected([a, b], all);
            let (cx, loss) = (Cx { isa, par: Par::Serial }, Pairs::<T>(Mutex::default()));
            let (mut grad_a, mut grad_b) = (vec![T::ZERO; n * d], vec![T::ZERO; m * d]);
            for (reduction, gradient) in reductions() {
                let case = format!("{n}, {m} x {d}, {reduction:?}, {gradient}, {isa}");
                let objective = Objective::sum(&loss).reduced(reduction);
                let out = match gradient {
                    true => CrossOut::grads(
                        MatMut::new(&mut grad_a, n, d).unwrap(),
                        MatMut::new(&mut grad_b, m, d).unwrap(),
                    ),
                    false => CrossOut::none(),
                };
                let mut scratch = CrossScratch::new();
                let outcome =
                    cross(&cx, &objective, a, b, similar, Some(first), out, &mut scratch).unwrap();
                check_whole(&loss.take(), &expected, (reduction, gradient), &case);
                assert_eq!(outcome.pairs as usize, expected[0].len() + expected[1].len());
            }
        }
    }
}

/// Every third pair is left out, and its rows are equal or hold a NaN.
fn by_rows_of<T: Element>()
where
    Pairs<T>: BlockLoss<T>,
{
    for ((n, d), isa) in
        ROWS.into_iter().flat_map(|n| COLS.map(|d| (n, d))).flat_map(|x| on_tiers(vec![x]))
    {
        let (a, mut b) = (points::<T>([n, d], 3), points::<T>([n, d], 4));
        let ignored: Vec<bool> = (0..n).map(|i| i % 3 == 1).collect();
        let similar: Vec<bool> = (0..n).map(|i| i % 2 == 0).collect();
        for i in (0..n).filter(|&i| ignored[i]) {
            let row = i * d..(i + 1) * d;
            b[row.clone()].copy_from_slice(&a[row.clone()]);
            if i % 2 == 0 {
                b[row].fill(T::NAN);
            }
        }
        let both = [a.clone(), b.clone()].concat();
        let [a, b] = [&a, &b].map(|z| Mat::new(z, n, d).unwrap());
        let kept = |leave_out: bool| {
            let kept = (0..n).filter(move |&i| !(leave_out && i % 3 == 1));
            expected([a, b], kept.map(|i| (i, i, i % 2 == 0)))
        };
        let (cx, loss) = (Cx { isa, par: Par::Serial }, Pairs::<T>(Mutex::default()));
        let pairing = Pairing::new(&similar).ignoring(&ignored);
        let [mut grad_a, mut grad_b] = [const { Vec::new() }; 2];
        for (reduction, gradient) in reductions() {
            let case = format!("{n} x {d}, {reduction:?}, {gradient}, {isa}");
            let objective = Objective::sum(&loss).reduced(reduction);
            grad_a.resize(n * d, T::ZERO);
            grad_b.resize(n * d, T::ZERO);
            let out = match gradient {
                true => RowsOut::grads(
                    MatMut::new(&mut grad_a, n, d).unwrap(),
                    MatMut::new(&mut grad_b, n, d).unwrap(),
                ),
                false => RowsOut::none(),
            };
            rows(&cx, &objective, a, b, pairing, out).unwrap();
            let times = if gradient && reduction != Reduction::Sum { 2 } else { 1 };
            check(&loss.take(), &kept(true), times, &case);

            let z = Mat::new(&both, 2 * n, d).unwrap();
            let pairs: Vec<(u32, u32)> = (0..n as u32).map(|i| (i, i + n as u32)).collect();
            let list = PairList::new(2 * n, &pairs).unwrap();
            let mut grad = vec![T::ZERO; 2 * n * d];
            let out = match gradient {
                true => IndexedOut::grad(MatMut::new(&mut grad, 2 * n, d).unwrap()),
                false => IndexedOut::none(),
            };
            indexed(&cx, &objective, z, &list, pairing, out, &mut IndexedScratch::new()).unwrap();
            check(&loss.take(), &kept(true), 1, &case);
        }
    }
}

fn lanes_of<T: Element>() {
    for (n, d) in [1, 5, 33, 130].into_iter().flat_map(|n| [2, 5, 150].map(|d| (n, d))) {
        let (a, b) = (points::<T>([n, d], 5), points::<T>([n, d], 6));
        let labels: Vec<i64> = (0..n as i64).map(|i| i * 7 % 5).collect();
        let similar: Vec<bool> = (0..n).map(|i| i % 2 == 0).collect();
        let ignored: Vec<bool> = (0..n).map(|i| i % 3 == 1).collect();
        let [a, b] = [&a, &b].map(|z| Mat::new(z, n, d).unwrap());
        for isa in tiers() {
            let exact = Contrastive::new(T::from_f64(MARGIN)).unwrap();
            let loss = Lanes { exact, seen: Mutex::default() };
            let (cx, objective) = (Cx { isa, par: Par::Serial }, Objective::sum(&loss));
            // Every lane is a pair; those left over are a pair again.
            let check = |expected: [Vec<f64>; 2], case: &str| {
                let seen = std::mem::take(&mut *loss.seen.lock().unwrap());
                let near = |a: f64, b: f64| (a - b).abs() <= 1e-3 * b;
                for (similar, d2) in &seen {
                    let of = &expected[usize::from(!similar)];
                    let known = of.iter().any(|&pair| near(d2.to_f64(), pair));
                    assert!(known, "{case}, {n} x {d}, {isa}: {d2:e}");
                }
                for (of, kind) in expected.iter().zip([true, false]) {
                    for &pair in of {
                        let shown =
                            |&(similar, d2): &(bool, T)| similar == kind && near(d2.to_f64(), pair);
                        assert!(seen.iter().any(shown), "{case}, {n} x {d}, {isa}: {pair:e}");
                    }
                }
            };
            let pairing = Pairing::new(&similar).ignoring(&ignored);
            rows(&cx, &objective, a, b, pairing, RowsOut::none()).unwrap();
            let kept = (0..n).filter(|&i| !ignored[i]).map(|i| (i, i, similar[i]));
            check(expected([a, b], kept), "rows");
            let mut scratch = AllPairsScratch::new();
            let of = Similar::Labels(&labels);
            all_pairs(&cx, &objective, a, of, None, &mut scratch).unwrap();
            let all = (0..n).flat_map(|j| (0..j).map(move |i| (i, j)));
            let all = all.map(|(i, j)| (i, j, labels[i] == labels[j]));
            check(expected([a, a], all), "all_pairs");
        }
    }
}

/// The squared triplet loss, by scalars; it remembers what it is shown.
struct Threes<T> {
    swaps: bool,
    seen: Mutex<Vec<[T; 3]>>,
}

macro_rules! triplets_in_blocks {
    ($($t:ident)*) => {
        $(impl BlockTripletLoss<$t> for Threes<$t> {
            fn eval_block(&self, isa: Isa, [ap, an, pn]: [&mut [$t]; 3], values: &mut [$t]) {
                assert!(!values.is_empty());
                let three = ap.iter().zip(&*an).zip(&*pn).map(|((&ap, &an), &pn)| [ap, an, pn]);
                self.seen.lock().unwrap().extend(three);
                let loss = SquaredTriplet::new(MARGIN as $t).unwrap();
                loss.eval_block(isa, [ap, an, pn], values);
            }

            fn swaps_block(&self) -> bool {
                self.swaps
            }
        })*
    };
}
triplets_in_blocks!(f32 f64);

/// What is in the lanes of a loss of triplets.
struct TripletLanes<T>(Mutex<Vec<[T; 3]>>);

impl<T: Element> TripletLoss<T> for TripletLanes<T> {
    fn eval<S: Simd<T>>(&self, s: S, d2: [S::F; 3]) -> (S::F, [S::F; 3]) {
        let mut each = [[T::ZERO; 16]; 3];
        for (d2, each) in d2.into_iter().zip(&mut each) {
            s.store(d2, each);
        }
        let lanes = (0..S::LANES).map(|lane| each.map(|each| each[lane]));
        self.0.lock().unwrap().extend(lanes);
        let zero = s.splat(T::ZERO);
        (zero, [zero; 3])
    }

    fn swaps(&self) -> bool {
        true
    }
}

fn triplets_by_rows_of<T: Element>()
where
    Threes<T>: BlockTripletLoss<T>,
{
    for ((n, d), isa) in
        ROWS.into_iter().flat_map(|n| COLS.map(|d| (n, d))).flat_map(|x| on_tiers(vec![x]))
    {
        let mut inputs = [7, 8, 9].map(|seed| points::<T>([n, d], seed));
        let ignored: Vec<bool> = (0..n).map(|i| i % 3 == 1).collect();
        for i in (0..n).filter(|&i| ignored[i]) {
            inputs[i % 3][i * d..(i + 1) * d].fill(T::NAN);
        }
        let [a, p, n_] = inputs.each_ref().map(|z| Mat::new(z, n, d).unwrap());
        let batch = TripletRows::new(a, p, n_).unwrap().ignoring(&ignored).unwrap();
        let d2 =
            |x: Mat<T>, y: Mat<T>, i: usize| squared_distance(&wide(x.row(i)), &wide(y.row(i)));
        let kept = |swaps: bool| {
            let of = |i| [d2(a, p, i), d2(a, n_, i), if swaps { d2(p, n_, i) } else { 0.0 }];
            (0..n).filter(|&i| !ignored[i]).map(of).collect::<Vec<_>>()
        };
        let cx = Cx { isa, par: Par::Serial };
        for (swaps, reduction) in [false, true]
            .into_iter()
            .flat_map(|swaps| [(swaps, Reduction::Sum), (swaps, Reduction::MeanNonZero)])
        {
            let case = format!("{n} x {d}, swaps {swaps}, {reduction:?}, {isa}");
            let loss = Threes::<T> { swaps, seen: Mutex::default() };
            let objective = TripletObjective::sum(&loss).reduced(reduction).unwrap();
            let mut grads = [const { Vec::new() }; 3];
            grads.iter_mut().for_each(|grad| grad.resize(n * d, T::ZERO));
            let [ga, gp, gn] = grads.each_mut().map(|grad| MatMut::new(grad, n, d).unwrap());
            triplet_rows(&cx, &objective, batch, TripletRowsOut::grads(ga, gp, gn)).unwrap();
            let times = if reduction == Reduction::Sum { 1 } else { 2 };
            check_threes(&loss.seen, kept(swaps), times, &case);
        }
        let loss = TripletLanes(Mutex::default());
        triplet_rows(&cx, &TripletObjective::sum(&loss), batch, TripletRowsOut::none()).unwrap();
        let kept = kept(true);
        for seen in loss.0.into_inner().unwrap() {
            let near = |kept: &&[f64; 3]| {
                kept.iter().zip(&seen).all(|(&d2, seen)| (seen.to_f64() - d2).abs() <= 1e-3 * d2)
            };
            assert!(kept.iter().any(|kept| near(&kept)), "{n} x {d}, {isa}: {seen:?}");
        }
    }
}

#[track_caller]
fn check_threes<T: Element>(
    seen: &Mutex<Vec<[T; 3]>>,
    mut expected: Vec<[f64; 3]>,
    times: usize,
    case: &str,
) {
    let mut seen: Vec<[f64; 3]> = std::mem::take(&mut *seen.lock().unwrap())
        .into_iter()
        .map(|three| three.map(Real::to_f64))
        .collect();
    assert_eq!(seen.len(), times * expected.len(), "{case}");
    // By the first distance alone: those that are about equal are of one pair.
    for k in 0..3 {
        seen.sort_by(|a, b| a[k].total_cmp(&b[k]));
        expected.sort_by(|a, b| a[k].total_cmp(&b[k]));
        let each = expected.iter().flat_map(|three| std::iter::repeat_n(three[k], times));
        for (seen, d2) in seen.iter().zip(each) {
            assert!((seen[k] - d2).abs() <= 1e-3 * d2, "{case}: {seen:?}, not {d2:e}");
        }
    }
}

fn mined_of<T: Element>()
where
    Threes<T>: BlockTripletLoss<T>,
{
    for ((n, d), isa) in [2, 3, 7, 33, 66]
        .into_iter()
        .flat_map(|n| [2, 5, 150].map(|d| (n, d)))
        .flat_map(|x| on_tiers(vec![x]))
    {
        let z = points::<T>([n, d], 10);
        let labels: Vec<i64> = (0..n as i64).map(|i| i * 7 % 5).collect();
        let similar = Similar::LabelsIgnoring { labels: &labels, ignored: 2 };
        let rows: Vec<Vec<f64>> = z.chunks(d).map(wide).collect();
        let z = Mat::new(&z, n, d).unwrap();
        let of = |a: usize, kind: bool| {
            (0..n).filter(move |&j| j != a && similar.of(a, j) == Some(kind))
        };
        let d2 = |i: usize, j: usize| squared_distance(&rows[i], &rows[j]);
        let cx = Cx { isa, par: Par::Serial };
        for (mining, swaps) in [Mining::All, Mining::Hardest, Mining::SemiHard]
            .into_iter()
            .flat_map(|mining| [(mining, false), (mining, true)])
        {
            let mut expected = Vec::new();
            for a in 0..n {
                let third = |p: usize, q: usize| if swaps { d2(p, q) } else { 0.0 };
                let by = |&p: &usize, &q: &usize| d2(a, p).total_cmp(&d2(a, q));
                let mut triplet = |p: usize, q: usize| {
                    expected.push([d2(a, p), d2(a, q), third(p, q)]);
                };
                match mining {
                    Mining::All => {
                        of(a, true).for_each(|p| of(a, false).for_each(|q| triplet(p, q)))
                    }
                    Mining::Hardest => {
                        let both = of(a, true).max_by(by).zip(of(a, false).min_by(by));
                        both.into_iter().for_each(|(p, q)| triplet(p, q));
                    }
                    _ => of(a, true).for_each(|p| {
                        let farther = of(a, false).filter(|&q| d2(a, q) > d2(a, p)).min_by(by);
                        let chosen = farther.or_else(|| of(a, false).max_by(by));
                        chosen.into_iter().for_each(|q| triplet(p, q));
                    }),
                }
            }
            for gradient in [false, true] {
                let case = format!("{n} x {d}, {mining:?}, swaps {swaps}, {gradient}, {isa}");
                let loss = Threes::<T> { swaps, seen: Mutex::default() };
                let objective = TripletObjective::sum(&loss);
                let mut grad = vec![T::ZERO; n * d];
                let to = gradient.then(|| MatMut::new(&mut grad, n, d).unwrap());
                let mut scratch = MiningScratch::new();
                let outcome =
                    triplets(&cx, &objective, z, similar, mining, to, &mut scratch).unwrap();
                assert_eq!(outcome.pairs as usize, expected.len(), "{case}");
                let times = if gradient && swaps && mining == Mining::All { 2 } else { 1 };
                check_threes(&loss.seen, expected.clone(), times, &case);
            }
        }
    }
}

macro_rules! in_both_precisions {
    ($($test:ident: $check:ident)*) => {
        $(#[test]
        fn $test() {
            $check::<f32>();
            $check::<f64>();
        })*
    };
}
in_both_precisions! {
    all_pairs_shows_the_pairs_of_the_batch: all_pairs_of
    cross_shows_the_pairs_of_queries_and_keys: cross_of
    calls_by_rows_and_by_index_do_not_show_what_is_left_out: by_rows_of
    every_lane_holds_a_pair: lanes_of
    triplets_that_are_left_out_are_not_shown: triplets_by_rows_of
    mined_triplets_are_shown_as_they_are_chosen: mined_of
}
