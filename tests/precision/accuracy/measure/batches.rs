//! Every pair of a batch, two batches against each other, mined triplets, matrices and neighbours.

use drlim::batch::{
    AllPairsScratch, CrossOut, CrossScratch, CrossSimilar, Mining, MiningScratch, all_pairs, cross,
    distance_matrix, triplets,
};
use drlim::loss::{Objective, TripletObjective};
use drlim::{Graph, Mat, MatMut, Similar, pairs};

use super::bounds::{self, Bound, SQUARED_DISTANCE, Sizes};
use super::distances::HEAD;
use super::formulas::{Off, Wide, lost, pair_cost, squared_distance, through, triplet_costs, wide};
use super::inputs::Class;
use super::pairs::{f64s, typical};
use super::record::{Case, Exact, Record};
use super::{Plan, serial};
use crate::support::formulas::{PairFormula, TripletFormula};
use crate::support::number::Number;
use crate::support::{Element, Random};

/// Rows of one class, with what every pair of them shares.
struct Batch<T> {
    z: Vec<T>,
    rows: Vec<Vec<Wide>>,
    /// What each row is beyond the mean of all, by magnitude.
    sizes: Vec<Vec<f64>>,
    /// d² of each pair.
    d2: Vec<Vec<Wide>>,
    margin: f64,
    n: usize,
    d: usize,
}

impl<T: Element> Batch<T> {
    /// Products of rows stagnate: of these every product of a row with another is large in its first
    /// element alone, and distances are just large enough beside the rows to come from products.
    fn of_stagnating_products([n, d]: [usize; 2]) -> Self {
        let small = (0.2 * T::EPSILON.to_f64()).sqrt();
        let element = |i: usize, k: usize| {
            let size = if k == 0 { 1.0 - 0.02 * (i / 2 % 16) as f64 } else { small };
            T::from_f64(if i.is_multiple_of(2) { size } else { -size })
        };
        let z = (0..n * d).map(|at| element(at / d, at % d)).collect();
        Batch::of(Class::Stagnating, z, [n, d])
    }

    fn new(class: Class, [n, d]: [usize; 2], seed: u64) -> Self {
        let mut z: Vec<T> = class.matrix([n, d], HEAD, seed);
        if class == Class::Stagnating {
            // Sums go along the batch here: a large row first, its opposite last, and small ones between.
            let (first, last) = (0, n - 1);
            let mut random = Random::new(seed);
            for (at, x) in z.iter_mut().enumerate() {
                let small = random.between::<f64>(0.35, 0.49) * T::EPSILON.to_f64();
                *x = match at / d {
                    i if i == first => T::ONE,
                    i if i == last => -T::ONE,
                    _ => T::from_f64(small),
                };
            }
        }
        Batch::of(class, z, [n, d])
    }

    fn of(class: Class, z: Vec<T>, [n, d]: [usize; 2]) -> Self {
        let rows: Vec<Vec<Wide>> = z.chunks_exact(d).map(wide).collect();
        let mean = |k: usize| rows.iter().map(|row| row[k].high / n as f64).sum::<f64>();
        let mean: Vec<f64> = (0..d).map(mean).collect();
        let size = |row: &Vec<Wide>| {
            row.iter().zip(&mean).map(|(x, mean)| (x.high - mean).abs()).collect()
        };
        let sizes = rows.iter().map(size).collect();
        let d2: Vec<Vec<Wide>> =
            rows.iter().map(|a| rows.iter().map(|b| squared_distance(a, b)).collect()).collect();
        let all = d2.iter().enumerate().flat_map(|(i, d2)| d2[..i].iter().map(|d2| d2.high));
        let margin = match class {
            // No pair is out of reach.
            Class::Stagnating => 2.0 * (d as f64).sqrt(),
            _ => typical::<T>(all.collect()),
        };
        Batch { z, rows, sizes, d2, margin, n, d }
    }

    fn view(&self) -> Mat<'_, T> {
        Mat::new(&self.z, self.n, self.d).unwrap()
    }

    /// How far a squared distance of a batch may be off.
    fn off(&self) -> Off {
        Off::new::<T>(SQUARED_DISTANCE[usize::from(size_of::<T>() == 8)], self.d)
    }

    /// Adds to the gradient of row i what the slope of d²(i, j) gives it. The rows' own lengths are what
    /// products round by; what the error of d² makes of the slope comes on top, in the same unit.
    fn push(&self, grad: &mut [Exact], [i, j]: [usize; 2], slope: Exact, unit: f64) {
        let off = self.off();
        let magnitude = slope.value.abs().high;
        let spread = (slope.size - magnitude) * (off.relative / unit);
        for k in 0..self.d {
            let by = self.rows[i][k] - self.rows[j][k];
            let lengths = self.sizes[i][k] + self.sizes[j][k];
            let spread = if by.high == 0.0 { 0.0 } else { spread * by.high.abs() };
            let term = Exact {
                value: slope.value * by,
                size: magnitude * lengths + spread,
                lost: slope.lost * by.high.abs() + lost::<T>(0) * (1.0 + magnitude),
            };
            let sum = &mut grad[i * self.d + k];
            *sum = sum.plus(term);
        }
    }
}

/// All classes and sizes.
fn batches<T: Element>(plan: &Plan, n: usize, mut each: impl FnMut(Class, Batch<T>)) {
    for (class, &d) in Class::ALL.iter().flat_map(|&c| plan.batch_dims.iter().map(move |d| (c, d)))
    {
        each(class, Batch::new(class, [n, d], plan.seed));
        if class == Class::Stagnating {
            each(class, Batch::of_stagnating_products([n, d]));
        }
    }
}

/// The unit of a gradient's bound.
fn unit<T: Element>(bound: &Bound, sizes: Sizes) -> f64 {
    (bound.allowed)(sizes) * T::EPSILON.to_f64()
}

fn formulas<T: Element>(margin: f64) -> [PairFormula; 3] {
    [
        PairFormula::SquaredHinge { m: (1.1 * margin).powi(2) },
        PairFormula::Contrastive { m: 1.05 * margin },
        PairFormula::LinearHinge { p: 0.7 * margin, m: 1.05 * margin },
    ]
    .map(PairFormula::rounded::<T>)
}

pub fn pairs_of_a_batch<T: Element>(plan: &Plan, record: &mut Record) {
    let n = plan.batch;
    let few: Vec<i64> = (0..n as i64).map(|i| i * 7919 % 5).collect();
    let own: Vec<i64> = (0..n as i64).collect();
    let ring: Vec<(u32, u32)> = (0..n as u32).map(|i| (i, (i + 1) % n as u32)).collect();
    let ring = Graph::from_pairs(n, &ring).unwrap();
    batches::<T>(plan, n, |class, batch| {
        let case = Case { class, sizes: Sizes { d: batch.d, n } };
        let unit = unit::<T>(&bounds::ALL_PAIRS_GRAD, case.sizes);
        for (formula, similar) in formulas::<T>(batch.margin).into_iter().flat_map(|formula| {
            [Similar::Labels(&few), Similar::Labels(&own), Similar::Graph(&ring)]
                .map(|similar| (formula, similar))
        }) {
            let mut value = Exact::default();
            let mut grad = vec![Exact::default(); n * batch.d];
            for (i, j) in (0..n).flat_map(|i| (0..i).map(move |j| (i, j))) {
                let similar = similar.of(i, j).expect("all labels count");
                let [cost, slope] = pair_cost::<T>(formula, batch.d2[i][j], similar, batch.off());
                value = value.plus(cost);
                batch.push(&mut grad, [i, j], slope, unit);
                batch.push(&mut grad, [j, i], slope, unit);
            }
            let loss = formula.loss::<T>();
            for isa in record.isas() {
                let mut got = vec![T::NAN; n * batch.d];
                let to = Some(MatMut::new(&mut got, n, batch.d).unwrap());
                let (cx, objective) = (serial(isa), Objective::sum(&*loss));
                let mut scratch = AllPairsScratch::new();
                let outcome =
                    all_pairs(&cx, &objective, batch.view(), similar, to, &mut scratch).unwrap();
                record.compare::<T>(&bounds::ALL_PAIRS, isa, case, [outcome.value], [value]);
                let exact = grad.iter().copied();
                record.compare::<T>(&bounds::ALL_PAIRS_GRAD, isa, case, f64s(&got), exact);
            }
        }
    });
}

pub fn pairs_across<T: Element>(plan: &Plan, record: &mut Record) {
    let n = plan.batch;
    // The first rows are queries, the others keys.
    let first = 2 * n / 5;
    let labels: Vec<i64> = (0..n as i64).map(|i| i * 7919 % 5).collect();
    batches::<T>(plan, n, |class, batch| {
        let (d, case) = (batch.d, Case { class, sizes: Sizes { d: batch.d, n } });
        let unit = unit::<T>(&bounds::CROSS_GRADS, case.sizes);
        let [formula, ..] = formulas::<T>(batch.margin);
        let mut value = Exact::default();
        let mut grad = vec![Exact::default(); n * d];
        for (i, j) in (0..first).flat_map(|i| (first..n).map(move |j| (i, j))) {
            let similar = labels[i] == labels[j];
            let [cost, slope] = pair_cost::<T>(formula, batch.d2[i][j], similar, batch.off());
            value = value.plus(cost);
            batch.push(&mut grad, [i, j], slope, unit);
            batch.push(&mut grad, [j, i], slope, unit);
        }
        let loss = formula.loss::<T>();
        for isa in record.isas() {
            let mut got = vec![T::NAN; n * d];
            let (of_queries, of_keys) = got.split_at_mut(first * d);
            let out = CrossOut::grads(
                MatMut::new(of_queries, first, d).unwrap(),
                MatMut::new(of_keys, n - first, d).unwrap(),
            );
            let queries = Mat::new(&batch.z[..first * d], first, d).unwrap();
            let keys = Mat::new(&batch.z[first * d..], n - first, d).unwrap();
            let similar = CrossSimilar::Labels {
                queries: &labels[..first],
                keys: &labels[first..],
                ignored: None,
            };
            let (cx, objective) = (serial(isa), Objective::sum(&*loss));
            let mut scratch = CrossScratch::new();
            let outcome =
                cross(&cx, &objective, queries, keys, similar, None, out, &mut scratch).unwrap();
            record.compare::<T>(&bounds::CROSS, isa, case, [outcome.value], [value]);
            let exact = grad.iter().copied();
            record.compare::<T>(&bounds::CROSS_GRADS, isa, case, f64s(&got), exact);
        }
    });
}

pub fn mined<T: Element>(plan: &Plan, record: &mut Record) {
    let n = plan.batch / 4;
    let labels: Vec<i64> = (0..n as i64).map(|i| i * 7919 % 5).collect();
    batches::<T>(plan, n, |class, batch| {
        let (d, case) = (batch.d, Case { class, sizes: Sizes { d: batch.d, n } });
        let unit = unit::<T>(&bounds::MINED_GRAD, case.sizes);
        for formula in TripletFormula::all(1.0) {
            let formula = formula.scaled(batch.margin / 4.0).rounded::<T>();
            let mut value = Exact::default();
            let mut grad = vec![Exact::default(); n * d];
            let alike = |i: usize, j: usize| i != j && labels[i] == labels[j];
            for (a, p) in (0..n).flat_map(|a| (0..n).map(move |p| (a, p))) {
                for q in (0..n).filter(|&q| alike(a, p) && labels[q] != labels[a]) {
                    let d2 = [[a, p], [a, q], [p, q]].map(|[i, j]| batch.d2[i][j]);
                    let (cost, slopes) = triplet_costs::<T>(formula, d2, batch.off());
                    value = value.plus(cost);
                    for ([i, j], slope) in [[a, p], [a, q], [p, q]].into_iter().zip(slopes) {
                        if slope.value.high != 0.0 || slope.size != 0.0 {
                            batch.push(&mut grad, [i, j], slope, unit);
                            batch.push(&mut grad, [j, i], slope, unit);
                        }
                    }
                }
            }
            let loss = formula.loss::<T>();
            for isa in record.isas() {
                let mut got = vec![T::NAN; n * d];
                let to = Some(MatMut::new(&mut got, n, d).unwrap());
                let (cx, objective) = (serial(isa), TripletObjective::sum(&*loss));
                let (similar, mut scratch) = (Similar::Labels(&labels), MiningScratch::new());
                let z = batch.view();
                let outcome =
                    triplets(&cx, &objective, z, similar, Mining::All, to, &mut scratch).unwrap();
                record.compare::<T>(&bounds::MINED, isa, case, [outcome.value], [value]);
                let exact = grad.iter().copied();
                record.compare::<T>(&bounds::MINED_GRAD, isa, case, f64s(&got), exact);
            }
        }
    });
}

pub fn matrix<T: Element>(plan: &Plan, record: &mut Record) {
    let n = plan.batch;
    batches::<T>(plan, n, |class, batch| {
        let case = Case { class, sizes: Sizes { d: batch.d, n } };
        let distance = |d2: &Wide| {
            let d = through(*d2, batch.off(), Number::sqrt);
            // Rows that are equal are at distance 0, exactly.
            Exact { size: d.value.high, lost: if d2.high == 0.0 { 0.0 } else { d.lost }, ..d }
        };
        let exact: Vec<Exact> = batch.d2.iter().flatten().map(distance).collect();
        for isa in record.isas() {
            let mut got = vec![T::NAN; n * n];
            let to = MatMut::new(&mut got, n, n).unwrap();
            distance_matrix(&serial(isa), batch.view(), batch.view(), to).unwrap();
            for (i, j) in (0..n).flat_map(|i| (0..i).map(move |j| (i, j))) {
                let same = got[i * n + j].bits() == got[j * n + i].bits();
                assert!(same, "{} d({i}, {j}) differs from d({j}, {i}) on {isa}", class.name());
            }
            record.compare::<T>(&bounds::MATRIX, isa, case, f64s(&got), exact.iter().copied());
        }
    });
}

/// The distance of each rank against the exact distance of that rank: errors of ranks and of distances in
/// one.
pub fn neighbours<T: Element>(plan: &Plan, record: &mut Record) {
    let (n, k) = (plan.batch, 7);
    batches::<T>(plan, n, |class, batch| {
        let case = Case { class, sizes: Sizes { d: batch.d, n } };
        let relative = unit::<T>(&bounds::NEAREST, case.sizes);
        let off = Off { relative, ..batch.off() };
        let of_row = |i: usize| {
            let mut others: Vec<Wide> =
                (0..n).filter(|&j| j != i).map(|j| batch.d2[i][j]).collect();
            others.sort_by(|a, b| a.partial_cmp(b).expect("distances are finite"));
            others.truncate(k);
            others.into_iter().map(|d2| {
                let d = through(d2, off, Number::sqrt);
                Exact { size: d.value.high, ..d }
            })
        };
        let exact: Vec<Exact> = (0..n).flat_map(of_row).collect();
        for isa in record.isas() {
            let found = pairs::nearest_others(&serial(isa), batch.view(), k).unwrap();
            let got = f64s(found.distances());
            record.compare::<T>(&bounds::NEAREST, isa, case, got, exact.iter().copied());
        }
    });
}
