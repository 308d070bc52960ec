//! Pairs and triplets by rows, lists of pairs, and sums of values.

use drlim::batch::{
    IndexedOut, IndexedScratch, PairList, RowsOut, TripletRows, TripletRowsOut, indexed, rows,
    triplet_rows,
};
use drlim::loss::{Objective, SquaredHinge, TripletObjective};
use drlim::{Mat, MatMut};

use super::bounds::{self, Bound, Sizes};
use super::distances::{HEAD, halves};
use super::formulas::{Off, Wide, lost, pair_cost, squared_distance, triplet_costs, wide};
use super::inputs::Class;
use super::record::{Case, Exact, Record};
use super::{Plan, serial};
use crate::support::formulas::{PairFormula, TripletFormula};
use crate::support::{Element, Random};

/// Values and gradients.
fn bounds_of(formula: PairFormula) -> [&'static Bound; 2] {
    use PairFormula as P;
    match formula {
        P::Contrastive { .. } => [&bounds::CONTRASTIVE, &bounds::CONTRASTIVE_GRADS],
        P::SquaredHinge { .. } => [&bounds::SQUARED_HINGE, &bounds::SQUARED_HINGE_GRADS],
        P::LinearHinge { .. } => [&bounds::LINEAR_HINGE, &bounds::LINEAR_HINGE_GRADS],
        P::DoubleMargin { .. } => [&bounds::DOUBLE_MARGIN, &bounds::DOUBLE_MARGIN_GRADS],
        P::Exponential { .. } => [&bounds::EXPONENTIAL, &bounds::EXPONENTIAL_GRADS],
        P::CosineContrastive { .. } => {
            [&bounds::COSINE_CONTRASTIVE, &bounds::COSINE_CONTRASTIVE_GRADS]
        }
        P::Sigmoid { .. } => [&bounds::SIGMOID_LOSS, &bounds::SIGMOID_LOSS_GRADS],
    }
}

/// The median distance, or 1 where that can be no margin: what hinges are put at.
pub fn typical<T: Element>(mut d2: Vec<f64>) -> f64 {
    d2.sort_by(f64::total_cmp);
    let median = d2.get(d2.len() / 2).copied().unwrap_or(0.0);
    if median > 8.0 * T::MIN_POSITIVE.to_f64() { median.sqrt() } else { 1.0 }
}

pub fn f64s<T: Element>(of: &[T]) -> impl Iterator<Item = f64> {
    of.iter().map(|x| x.to_f64())
}

/// Which pairs are similar.
fn kinds(n: usize) -> Vec<bool> {
    (0..n).map(|i| i * 7 % 3 == 0).collect()
}

pub fn rows_of_pairs<T: Element>(plan: &Plan, record: &mut Record) {
    let n = plan.rows;
    let similar = kinds(n);
    for (class, &d) in Class::ALL.iter().flat_map(|&c| plan.dims.iter().map(move |d| (c, d))) {
        let [a, b] = halves(&class.matrix::<T>([2 * n, d], HEAD, plan.seed), d);
        let case = Case { class, sizes: Sizes { d, n } };
        let row = |z: &[T], i: usize| wide(&z[i * d..][..d]);
        let d2: Vec<Wide> = (0..n).map(|i| squared_distance(&row(&a, i), &row(&b, i))).collect();
        let margin = typical::<T>(d2.iter().map(|d2| d2.high).collect());
        // Without a margin: rows at distance 0 have the logit 0 at any scale.
        let sigmoid = PairFormula::Sigmoid { a: 4.0, b: -4.0 };
        for formula in PairFormula::all(0.7, 1.05).into_iter().chain([sigmoid]) {
            let formula = formula.scaled(margin).rounded::<T>();
            let [of_values, of_grads] = bounds_of(formula);
            let off = Off::new::<T>((of_values.allowed)(case.sizes) * T::EPSILON.to_f64(), d);
            let costs: Vec<[Exact; 2]> =
                (0..n).map(|i| pair_cost::<T>(formula, d2[i], similar[i], off)).collect();
            let gradient = |sign: f64| -> Vec<Exact> {
                let of_row = |i: usize| {
                    let slope = costs[i][1];
                    let elements = row(&a, i).into_iter().zip(row(&b, i));
                    elements.map(move |(a, b)| {
                        slope.times(Wide::new(sign) * (a - b)).losing(lost::<T>(0))
                    })
                };
                (0..n).flat_map(of_row).collect()
            };
            let grads = [1.0, -1.0].map(gradient);
            let loss = formula.loss::<T>();
            for isa in record.isas() {
                let (cx, view) = (serial(isa), |z| Mat::new(z, n, d).unwrap());
                let mut values = vec![T::NAN; n];
                let [mut by_a, mut by_b] = [(); 2].map(|()| vec![T::NAN; n * d]);
                let [to_a, to_b] = [&mut by_a, &mut by_b].map(|g| MatMut::new(g, n, d).unwrap());
                let out = RowsOut::grads(to_a, to_b).values(&mut values);
                rows(&cx, &Objective::sum(&*loss), view(&a), view(&b), &similar, out).unwrap();
                let exact = costs.iter().map(|cost| cost[0]);
                record.compare::<T>(of_values, isa, case, f64s(&values), exact);
                for (got, exact) in [by_a, by_b].into_iter().zip(&grads) {
                    let exact = exact.iter().copied();
                    record.compare::<T>(of_grads, isa, case, f64s(&got), exact);
                }
            }
        }
    }
}

/// Values whose sum is hard: d²/2 of rows of one element.
pub fn sums<T: Element>(plan: &Plan, record: &mut Record) {
    let n = 64 * plan.rows;
    for class in [Class::Ordinary, Class::Mixed, Class::Tiny, Class::Stagnating] {
        // Each block of 256 is added up by itself, in lanes of four at least.
        let mut a: Vec<T> = class.matrix([n.div_ceil(256), 256], 4, plan.seed);
        a.truncate(n);
        let b = vec![T::ZERO; n];
        let case = Case { class, sizes: Sizes { d: 1, n } };
        let half_square = |x: &T| {
            let x = Wide::new(x.to_f64());
            Exact::term(Wide::new(0.5) * x * x).losing(lost::<T>(1))
        };
        let exact = a.iter().map(half_square).fold(Exact::default(), Exact::plus);
        let (loss, similar) = (SquaredHinge::new(T::ONE).unwrap(), vec![true; n]);
        for isa in record.isas() {
            let view = |z| Mat::new(z, n, 1).unwrap();
            let objective = Objective::sum(&loss);
            let outcome =
                rows(&serial(isa), &objective, view(&a), view(&b), &similar, RowsOut::none());
            record.compare::<T>(&bounds::SUMS, isa, case, [outcome.unwrap().value], [exact]);
        }
    }
}

pub fn lists<T: Element>(plan: &Plan, record: &mut Record) {
    let (n, most) = (2 * plan.rows, 6 * plan.rows);
    for (class, &d) in Class::ALL.iter().flat_map(|&c| plan.dims.iter().map(move |d| (c, d))) {
        let mut z: Vec<T> = class.matrix([n, d], HEAD, plan.seed);
        let mut random = Random::new(plan.seed ^ d as u64);
        let mut below = |n: usize| (random.bits() % n as u64) as usize;
        // Row 0 is in every other pair.
        let mut pairs: Vec<(u32, u32)> = (0..most)
            .map(|p| {
                let i = if p % 2 == 0 { 0 } else { below(n) };
                (i as u32, ((i + 1 + below(n - 1)) % n) as u32)
            })
            .collect();
        let mut similar = kinds(most);
        if class == Class::Stagnating {
            // Sums go along the list here: a large difference first, then small ones.
            pairs = (0..most as u32)
                .map(|p| (0, if p == 0 { 1 } else { 2 + p % (n as u32 - 2) }))
                .collect();
            similar = vec![true; most];
            z.fill(T::from_f64(0.49 * T::EPSILON.to_f64()));
            z[..d].fill(T::ZERO);
            z[d..2 * d].fill(T::ONE);
        }
        let mut degrees = vec![0; n];
        pairs.iter().flat_map(|&(i, j)| [i, j]).for_each(|i| degrees[i as usize] += 1);
        let degree = degrees.into_iter().max().unwrap_or(0);
        let list = PairList::new(n, &pairs).unwrap();
        let case = Case { class, sizes: Sizes { d, n: degree } };
        let rows: Vec<Vec<Wide>> = z.chunks_exact(d).map(wide).collect();
        let ends = |p: usize| [pairs[p].0 as usize, pairs[p].1 as usize];
        let d2 = |p: usize| {
            let [i, j] = ends(p);
            squared_distance(&rows[i], &rows[j])
        };
        let d2: Vec<Wide> = (0..most).map(d2).collect();
        let margin = typical::<T>(d2.iter().map(|d2| d2.high).collect());
        let off =
            Off::new::<T>((bounds::INDEXED_VALUES.allowed)(case.sizes) * T::EPSILON.to_f64(), d);
        for formula in [
            PairFormula::Contrastive { m: 1.05 * margin },
            PairFormula::LinearHinge { p: 0.7 * margin, m: 1.05 * margin },
        ] {
            let formula = formula.rounded::<T>();
            let mut values = Vec::new();
            let mut grad = vec![Exact::default(); n * d];
            for p in 0..most {
                let [value, slope] = pair_cost::<T>(formula, d2[p], similar[p], off);
                values.push(value);
                let [i, j] = ends(p);
                for k in 0..d {
                    for (own, other) in [(i, j), (j, i)] {
                        let term = slope.times(rows[own][k] - rows[other][k]);
                        let sum = &mut grad[own * d + k];
                        *sum = sum.plus(term.losing(lost::<T>(0)));
                    }
                }
            }
            let loss = formula.loss::<T>();
            for isa in record.isas() {
                let (mut got, mut to) = (vec![T::NAN; most], vec![T::NAN; n * d]);
                let out = IndexedOut::grad(MatMut::new(&mut to, n, d).unwrap()).values(&mut got);
                let (cx, objective) = (serial(isa), Objective::sum(&*loss));
                let (z, mut scratch) = (Mat::new(&z, n, d).unwrap(), IndexedScratch::new());
                indexed(&cx, &objective, z, &list, &similar, out, &mut scratch).unwrap();
                let exact = values.iter().copied();
                record.compare::<T>(&bounds::INDEXED_VALUES, isa, case, f64s(&got), exact);
                let exact = grad.iter().copied();
                record.compare::<T>(&bounds::INDEXED_GRAD, isa, case, f64s(&to), exact);
            }
        }
    }
}

pub fn triplets_by_rows<T: Element>(plan: &Plan, record: &mut Record) {
    let n = plan.rows;
    for (class, &d) in Class::ALL.iter().flat_map(|&c| plan.dims.iter().map(move |d| (c, d))) {
        let z: Vec<T> = class.matrix([4 * n, d], HEAD, plan.seed);
        let part = |k: usize| -> Vec<T> {
            z.chunks_exact(d).skip(k).step_by(4).flatten().copied().collect()
        };
        let parts = [0, 1, 2].map(part);
        let case = Case { class, sizes: Sizes { d, n } };
        let rows = |i: usize| parts.each_ref().map(|part| wide(&part[i * d..][..d]));
        let d2: Vec<[Wide; 3]> = (0..n)
            .map(|i| {
                let [a, p, n] = rows(i);
                [[&a, &p], [&a, &n], [&p, &n]].map(|[x, y]| squared_distance(x, y))
            })
            .collect();
        let margin = typical::<T>(d2.iter().map(|d2| d2[1].high).collect()) / 4.0;
        let relative = (bounds::TRIPLET_VALUES.allowed)(case.sizes) * T::EPSILON.to_f64();
        let off = Off::new::<T>(relative, d);
        for formula in TripletFormula::all(1.0) {
            let formula = formula.scaled(margin).rounded::<T>();
            let mut values = Vec::new();
            let mut grads = [(); 3].map(|()| Vec::new());
            for i in 0..n {
                let (value, [ap, an, pn]) = triplet_costs::<T>(formula, d2[i], off);
                values.push(value);
                let [a, p, n] = rows(i);
                for k in 0..d {
                    let [of_ap, of_an, of_pn] =
                        [(ap, a[k] - p[k]), (an, a[k] - n[k]), (pn, p[k] - n[k])]
                            .map(|(slope, by)| slope.times(by).losing(lost::<T>(0)));
                    let minus = |x: Exact| Exact { value: -x.value, ..x };
                    grads[0].push(of_ap.plus(of_an));
                    grads[1].push(minus(of_ap).plus(of_pn));
                    grads[2].push(minus(of_an.plus(of_pn)));
                }
            }
            let loss = formula.loss::<T>();
            for isa in record.isas() {
                let views = parts.each_ref().map(|part| Mat::new(part, n, d).unwrap());
                let triplets = TripletRows::new(views[0], views[1], views[2]).unwrap();
                let mut got = vec![T::NAN; n];
                let mut outs = [(); 3].map(|()| vec![T::NAN; n * d]);
                let [a, p, q] = outs.each_mut().map(|g| MatMut::new(g, n, d).unwrap());
                let out = TripletRowsOut::grads(a, p, q).values(&mut got);
                let objective = TripletObjective::sum(&*loss);
                triplet_rows(&serial(isa), &objective, triplets, out).unwrap();
                let exact = values.iter().copied();
                record.compare::<T>(&bounds::TRIPLET_VALUES, isa, case, f64s(&got), exact);
                for (got, exact) in outs.iter().zip(&grads) {
                    let exact = exact.iter().copied();
                    record.compare::<T>(&bounds::TRIPLET_GRADS, isa, case, f64s(got), exact);
                }
            }
        }
    }
}
