//! Rows of integers, whose squared distances are exact: which pairs are active, at a margin to the digit,
//! and what they cost, in all pairs, across two sets and in the matrix of distances.

use drlim::batch::{
    AllPairsScratch, CrossOut, CrossScratch, CrossSimilar, all_pairs, cross, distance_matrix,
};
use drlim::loss::{BlockLoss, Objective, Outcome};
use drlim::{Graph, Isa, Mat, MatMut, Similar};

use super::serial;
use crate::support::formulas::PairFormula;
use crate::support::{Element, Random, tiers};

/// A draw between two integers, both included.
type Level<'a> = dyn FnMut(i64, i64) -> i64 + 'a;

/// An element of a batch, from its row, its column and draws.
type Value<'a> = &'a mut dyn FnMut(usize, usize, &mut Level) -> i64;

/// Batches of integers, with what they are; and whether a sum of squares of their rows is exact in `f32`,
/// beside their squared distances.
fn batches(n: usize, d: usize) -> Vec<(&'static str, Vec<i64>, bool)> {
    let mut random = Random::new((n * 1000 + d) as u64);
    let mut level = |low: i64, high: i64| low + (random.unit() * (high - low + 1) as f64) as i64;
    let mut batch = |value: Value| -> Vec<i64> {
        (0..n * d).map(|at| value(at / d, at % d, &mut level)).collect()
    };
    let mut batches = vec![
        ("signs", batch(&mut |_, _, level| 2 * level(0, 1) - 1), true),
        ("bits", batch(&mut |_, _, level| level(0, 1)), true),
        ("levels", batch(&mut |_, _, level| level(-3, 3)), true),
        ("levels far from 0", batch(&mut |_, _, level| 100_000 + level(-3, 3)), true),
        (
            "levels in two places",
            { batch(&mut |i, _, level| (i % 2) as i64 * 4096 + level(-3, 3)) },
            false,
        ),
        // Norms that products round, and distances that they are trusted with.
        (
            "levels in two rings",
            {
                batch(&mut |i, k, level| {
                    let at = if k == 0 { 4000 } else { 0 };
                    if i % 2 == 0 { at + 400 * level(-1, 1) } else { 3 - at + 400 * level(-1, 1) }
                })
            },
            false,
        ),
        (
            "signs and an outlier",
            { batch(&mut |i, _, level| if i == 3 { 30_000 } else { 2 * level(0, 1) - 1 }) },
            false,
        ),
    ];
    if d < 10 {
        batches.push(("bytes", batch(&mut |_, _, level| level(-127, 127)), true));
    }
    batches
}

/// What the pairs of a batch are: squared distance and kind of each.
struct Pairs(Vec<(i64, bool)>);

impl Pairs {
    fn new(z: &[i64], [n, d]: [usize; 2], similar: Similar) -> Self {
        let mut pairs = Vec::new();
        for i in 0..n {
            for j in i + 1..n {
                let both = z[i * d..][..d].iter().zip(&z[j * d..][..d]);
                let d2 = both.map(|(a, b)| (a - b) * (a - b)).sum();
                pairs.extend(similar.of(i, j).map(|similar| (d2, similar)));
            }
        }
        Pairs(pairs)
    }

    /// A squared distance that a share of the pairs is below; of those of which `f32` can tell neighbours.
    fn quantile(&self, share: f64) -> i64 {
        let mut all: Vec<i64> = self.0.iter().map(|pair| pair.0).collect();
        all.retain(|&d2| d2 > 0 && d2 < 1 << 20);
        all.sort_unstable();
        all.get((share * all.len() as f64) as usize).copied().unwrap_or(1)
    }

    /// Active pairs, similar and dissimilar, of a loss whose margins are at squared distances p and m.
    fn active(&self, p: i64, m: i64) -> [u64; 2] {
        let count = |kind, active: &dyn Fn(i64) -> bool| {
            self.0.iter().filter(|&&(d2, similar)| similar == kind && active(d2)).count() as u64
        };
        [count(true, &|d2| d2 > p), count(false, &|d2| d2 < m)]
    }
}

fn check(
    formula: PairFormula,
    pairs: &Pairs,
    active: [u64; 2],
    times: u64,
    got: &Outcome,
    what: &str,
) {
    let counted = [got.sums.similar.active, got.sums.dissimilar.active];
    assert_eq!(counted, active.map(|count| times * count), "{formula:?}, {what}: active pairs");
    let largest = pairs.0.iter().map(|pair| pair.0).max().unwrap_or(0);
    if let PairFormula::SquaredHinge { .. } = formula
        && largest < 1 << 12
    {
        // Sums of halves of integers.
        let dissimilar = pairs.0.iter().filter(|pair| !pair.1);
        let sum: f64 = dissimilar.map(|&(d2, _)| formula.value(d2 as f64, false)).sum();
        assert_eq!(got.sums.dissimilar.sum, times as f64 * sum, "{formula:?}, {what}: value");
    }
}

fn counts_are_right<T: Element>() {
    for (n, d) in [(5, 4), (50, 32), (64, 6), (100, 16), (128, 130), (200, 5), (256, 32), (100, 2)]
    {
        let shape = [n, d];
        let labels: Vec<i64> = (0..n).map(|i| (i * 7919 % 7) as i64).collect();
        let ring: Vec<_> = (0..n as u32).map(|i| (i, (i + 1) % n as u32)).collect();
        let graph = Graph::from_pairs(n, &ring).unwrap();
        for (what, z, exact) in batches(n, d) {
            let values: Vec<T> = z.iter().map(|&x| T::from_f64(x as f64)).collect();
            let mat = Mat::new(&values, n, d).unwrap();
            for similar in [Similar::Labels(&labels), Similar::Graph(&graph)] {
                let pairs = Pairs::new(&z, shape, similar);
                let (p, m) = (pairs.quantile(0.3), pairs.quantile(0.6));
                let length = |d2: i64| T::from_f64(d2 as f64).sqrt().to_f64();
                let cases = [
                    (PairFormula::Contrastive { m: length(m) }, 0),
                    (PairFormula::SquaredHinge { m: m as f64 }, 0),
                    (PairFormula::LinearHinge { p: length(p), m: length(m) }, p),
                    (PairFormula::DoubleMargin { p: length(p), m: length(m) }, p),
                    (PairFormula::CosineContrastive { m: m as f64 / 2.0 }, 0),
                ];
                for (formula, isa) in
                    cases.iter().flat_map(|c| tiers().into_iter().map(move |t| (c, t)))
                {
                    let &(formula, p) = formula;
                    let case = format!("{what}, {n}x{d}, {} on {isa}", T::NAME);
                    let loss = formula.loss::<T>();
                    let (cx, objective) = (&serial(isa), Objective::sum(&*loss));
                    let active = pairs.active(p, m);
                    let mut grad = vec![T::ZERO; n * d];
                    let to = Some(MatMut::new(&mut grad, n, d).unwrap());
                    let scratch = &mut AllPairsScratch::new();
                    let got = all_pairs(cx, &objective, mat, similar, to, scratch).unwrap();
                    check(formula, &pairs, active, 1, &got, &case);
                    let both = match similar {
                        Similar::Graph(graph) => {
                            CrossSimilar::Graph { graph, first_query: 0, first_key: 0 }
                        }
                        _ => {
                            CrossSimilar::Labels { queries: &labels, keys: &labels, ignored: None }
                        }
                    };
                    let (out, scratch) = (CrossOut::none(), &mut CrossScratch::new());
                    let got = cross(cx, &objective, mat, mat, both, Some(0), out, scratch).unwrap();
                    check(formula, &pairs, active, 2, &got, &format!("{case}, twice the same"));
                }
            }
            for isa in tiers().into_iter().filter(|_| exact) {
                let mut distances = vec![T::ZERO; n * n];
                let to = MatMut::new(&mut distances, n, n).unwrap();
                distance_matrix(&serial(isa), mat, mat, to).unwrap();
                for (at, &distance) in distances.iter().enumerate() {
                    let [i, j] = [at / n, at % n].map(|i| &z[i * d..][..d]);
                    let d2: i64 = i.iter().zip(j).map(|(a, b)| (a - b) * (a - b)).sum();
                    assert_eq!(distance, T::from_f64(d2 as f64).sqrt(), "{what} on {isa}, {at}");
                }
            }
        }
    }
}

#[test]
fn pairs_at_the_margin_are_counted_by_their_exact_distance() {
    counts_are_right::<f32>();
    counts_are_right::<f64>();
}

/// Somebody's hinge on the distance, which says how far it reaches and nothing else.
struct Hinge<T> {
    margin: T,
}

macro_rules! hinge {
    ($t:ident) => {
        impl BlockLoss<$t> for Hinge<$t> {
            fn eval_block(&self, _: Isa, d2: &mut [$t], similar: &[bool], values: &mut [$t]) {
                for ((d2, &similar), value) in d2.iter_mut().zip(similar).zip(values) {
                    let gap = self.margin - d2.sqrt();
                    *value = if similar || gap <= 0.0 { 0.0 } else { gap };
                    *d2 = if similar || gap <= 0.0 { 0.0 } else { -1.0 / (self.margin - gap) };
                }
            }
            fn reach_block(&self) -> Option<$t> {
                Some(self.margin)
            }
        }
    };
}
hinge!(f32);
hinge!(f64);

fn a_reach_is_a_margin<T: Element>()
where
    Hinge<T>: BlockLoss<T>,
{
    let (n, d) = (100, 32);
    let labels: Vec<i64> = (0..n as i64).map(|i| i % 7).collect();
    for (what, z, _) in batches(n, d) {
        let values: Vec<T> = z.iter().map(|&x| T::from_f64(x as f64)).collect();
        let similar = Similar::Labels(&labels);
        let pairs = Pairs::new(&z, [n, d], similar);
        let m = pairs.quantile(0.6);
        let expected = pairs.0.iter().filter(|&&(d2, alike)| !alike && d2 < m).count() as u64;
        let loss = Hinge { margin: T::from_f64(m as f64).sqrt() };
        for isa in tiers() {
            let (objective, mat) = (Objective::sum(&loss), Mat::new(&values, n, d).unwrap());
            let scratch = &mut AllPairsScratch::new();
            let got = all_pairs(&serial(isa), &objective, mat, similar, None, scratch).unwrap();
            assert_eq!(got.sums.dissimilar.active, expected, "{what}, {} on {isa}", T::NAME);
        }
    }
}

#[test]
fn pairs_at_the_reach_of_a_callers_loss_are_counted_by_their_exact_distance() {
    a_reach_is_a_margin::<f32>();
    a_reach_is_a_margin::<f64>();
}
