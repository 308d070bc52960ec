//! Softmaxes of anchors over their candidates, of rows of unit length, at scales from which exponents are small or
//! large.

use drlim::batch::{
    AnchorScratch, Anchors, AnchorsOut, CrossAnchorsOut, CrossSimilar, all_anchors, cross_anchors,
};
use drlim::loss::{AnchorObjective, Measure, Softmax};
use drlim::{Mat, MatMut, Similar};

use super::bounds::{self, Bound, SQUARED_DISTANCE, Sizes};
use super::distances::HEAD;
use super::formulas::{Wide, dot, lost, squared_distance, wide};
use super::inputs::Class;
use super::pairs::f64s;
use super::record::{Case, Exact, Record};
use super::row_losses::ln_1p;
use super::{Plan, serial};
use crate::support::Element;
use crate::support::number::{Number, sum};

const SCALES: [f64; 3] = [1.0, 20.0, 100.0];

/// Roundings of a sum of powers, which is in lanes within a block of 128.
const OF_SUMS: f64 = 40.0;

/// Bounds of the values by cosines, of those by dot products, of gradients.
type Bounds = [&'static Bound; 3];

const ALL: Bounds =
    [&bounds::ANCHORS_BY_COSINES, &bounds::ANCHORS_BY_PRODUCTS, &bounds::ANCHORS_GRAD];
const CROSS: Bounds = [
    &bounds::CROSS_ANCHORS_BY_COSINES,
    &bounds::CROSS_ANCHORS_BY_PRODUCTS,
    &bounds::CROSS_ANCHORS_GRADS,
];

/// Rows of one class, brought to unit length.
struct Batch<T> {
    z: Vec<T>,
    rows: Vec<Vec<Wide>>,
    /// What each row is beyond the mean of all, by magnitude.
    sizes: Vec<Vec<f64>>,
    n: usize,
    d: usize,
}

impl<T: Element> Batch<T> {
    fn new(class: Class, [n, d]: [usize; 2], seed: u64) -> Self {
        let mut z: Vec<T> = class.matrix([n, d], HEAD, seed);
        for row in z.chunks_exact_mut(d) {
            // Squares of elements as they are may overflow, or underflow.
            let largest = row.iter().fold(0.0_f64, |largest, x| largest.max(x.to_f64().abs()));
            let scaled: Vec<f64> = match largest {
                0.0 => (0..d).map(|k| if k == 0 { 1.0 } else { 0.0 }).collect(),
                largest => row.iter().map(|x| x.to_f64() / largest).collect(),
            };
            let length = scaled.iter().map(|x| x * x).sum::<f64>().sqrt();
            row.iter_mut().zip(scaled).for_each(|(x, scaled)| *x = T::from_f64(scaled / length));
        }
        Batch::of(z, [n, d])
    }

    /// Every product of a row with another is large in its first element, and all others are lost beside it.
    fn of_stagnating_products([n, d]: [usize; 2]) -> Self {
        let small = (0.45 * T::EPSILON.to_f64()).sqrt();
        let element = |i: usize, k: usize| {
            let size = T::from_f64(if k == 0 { 1.0 } else { small });
            if i.is_multiple_of(3) { -size } else { size }
        };
        Batch::of((0..n * d).map(|at| element(at / d, at % d)).collect(), [n, d])
    }

    fn of(z: Vec<T>, [n, d]: [usize; 2]) -> Self {
        let rows: Vec<Vec<Wide>> = z.chunks_exact(d).map(wide).collect();
        let mean = |k: usize| rows.iter().map(|row| row[k].high / n as f64).sum::<f64>();
        let mean: Vec<f64> = (0..d).map(mean).collect();
        let size = |row: &Vec<Wide>| {
            row.iter().zip(&mean).map(|(x, mean)| (x.high - mean).abs()).collect()
        };
        let sizes = rows.iter().map(size).collect();
        Batch { z, rows, sizes, n, d }
    }

    fn sizes(&self) -> Sizes {
        Sizes { d: self.d, n: self.n }
    }

    fn view(&self, from: usize, to: usize) -> Mat<'_, T> {
        Mat::new(&self.z, self.n, self.d).unwrap().rows_range(from, to)
    }
}

/// All similarities of a batch, less the 1 of cosines, which no softmax sees.
struct Similarities {
    measure: Measure,
    u: Vec<Vec<Wide>>,
    /// How far one of them may be off.
    off: f64,
}

impl Similarities {
    fn new<T: Element>(batch: &Batch<T>, measure: Measure) -> Self {
        let pairs = |of: &dyn Fn(&[Wide], &[Wide]) -> Wide| -> Vec<Vec<Wide>> {
            let row = |a: &Vec<Wide>| batch.rows.iter().map(|b| of(a, b)).collect();
            batch.rows.iter().map(row).collect()
        };
        let largest = |of: &[Vec<Wide>]| {
            of.iter().flatten().fold(0.0_f64, |largest, x| largest.max(x.high.abs()))
        };
        if measure == Measure::Cosine {
            let u = pairs(&|a, b| -(squared_distance(a, b) / Wide::of(2.0)));
            let share = SQUARED_DISTANCE[usize::from(size_of::<T>() == 8)];
            let off = share * largest(&u);
            return Similarities { measure, u, off };
        }
        let sizes = pairs(&|a, b| sum(a.iter().zip(b).map(|(a, b)| (*a * *b).abs())));
        let allowed = (bounds::ANCHORS_BY_PRODUCTS.allowed)(batch.sizes());
        let off = allowed * T::EPSILON.to_f64() * largest(&sizes);
        Similarities { measure, u: pairs(&|a, b| dot(a, b)), off }
    }
}

/// What a call should give.
struct Answer {
    values: Vec<Exact>,
    grad: Vec<Exact>,
}

/// The softmax of some rows as anchors over those that they make pairs with. What it costs is multiplied by
/// `factor`.
fn answer<T: Element>(
    batch: &Batch<T>,
    Similarities { measure, u, off }: &Similarities,
    [scale, factor]: [f64; 2],
    [of_cosines, of_products, of_grad]: Bounds,
    anchors: impl Iterator<Item = usize>,
    kind: impl Fn(usize, usize) -> Option<bool>,
) -> Answer {
    let (n, d, eps, least) = (batch.n, batch.d, T::EPSILON.to_f64(), T::MIN_POSITIVE.to_f64());
    // The error of an exponent, and that of a value in the unit of its bound, beside what is lost to sums.
    let of_exponent = scale * off;
    let size = match measure {
        Measure::Cosine => {
            2.0 * of_exponent
                / SQUARED_DISTANCE[usize::from(size_of::<T>() == 8)]
                / (of_cosines.allowed)(batch.sizes())
        }
        _ => 1.0 + 2.0 * of_exponent / eps / (of_products.allowed)(batch.sizes()),
    };
    let mut values = Vec::new();
    let mut weights = vec![Exact::default(); n * n];
    for i in anchors {
        let pairs: Vec<(usize, bool)> =
            (0..n).filter_map(|j| kind(i, j).map(|similar| (j, similar))).collect();
        let similar = pairs.iter().filter(|(_, similar)| *similar).count();
        if similar == 0 {
            values.push(Exact::default());
            continue;
        }
        let s = |j: usize| Wide::of(scale) * u[i][j];
        let nearer = |a: usize, b: usize| if u[i][a] < u[i][b] { b } else { a };
        let most = pairs.iter().map(|pair| pair.0).reduce(nearer).expect("a similar one");
        let powers: Vec<Wide> = pairs.iter().map(|&(j, _)| (s(j) - s(most)).exp()).collect();
        let others = pairs.iter().zip(&powers).filter(|((j, _), _)| *j != most);
        let others = sum(others.map(|(_, &power)| power));
        let share = Wide::of(1.0) / Wide::of(similar as f64);
        let of_similar = sum(pairs.iter().filter(|(_, similar)| *similar).map(|&(j, _)| s(j)));
        let value = ln_1p(others) + (s(most) - share * of_similar);
        values.push(Exact { value, size, lost: OF_SUMS * eps * (1.0 + value.abs().high) });
        for (&(j, similar), power) in pairs.iter().zip(powers) {
            let (of_all, c) = (power / (others + Wide::of(1.0)), Wide::of(factor * scale));
            let weight = match similar {
                true => Exact::term(of_all).plus(Exact::term(-share)),
                false => Exact::term(of_all),
            };
            let weight = weight.losing(least).times(c);
            for at in [i * n + j, j * n + i] {
                weights[at] = weights[at].plus(weight);
            }
        }
    }
    // What a weight is off by comes on top of what products round by, in the same unit.
    let spread =
        (2.0 * of_exponent + (OF_SUMS + 10.0) * eps) / ((of_grad.allowed)(batch.sizes()) * eps);
    let mut grad = vec![Exact::default(); n * d];
    for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
        let weight = weights[i * n + j];
        if weight.size == 0.0 {
            continue;
        }
        for k in 0..d {
            let (by, length) = match measure {
                Measure::Dot => (batch.rows[j][k], batch.rows[j][k].abs().high),
                _ => {
                    let by = batch.rows[j][k] - batch.rows[i][k];
                    (by, batch.sizes[i][k] + batch.sizes[j][k])
                }
            };
            let size = by.abs().high;
            let term = Exact {
                value: weight.value * by,
                size: weight.size * (length + spread * size),
                lost: weight.lost * size + lost::<T>(0) * (1.0 + weight.size),
            };
            grad[i * d + k] = grad[i * d + k].plus(term);
        }
    }
    Answer { values, grad }
}

/// All classes, sizes and ways of comparing rows.
fn each<T: Element>(plan: &Plan, mut f: impl FnMut(Class, &Batch<T>, &Similarities, f64)) {
    for (class, &d) in Class::ALL.iter().flat_map(|&c| plan.batch_dims.iter().map(move |d| (c, d)))
    {
        let mut batches = vec![Batch::new(class, [plan.batch, d], plan.seed)];
        if class == Class::Stagnating {
            batches.push(Batch::of_stagnating_products([plan.batch, d]));
        }
        for batch in batches {
            for measure in [Measure::Cosine, Measure::Dot] {
                let similarities = Similarities::new(&batch, measure);
                SCALES.into_iter().for_each(|scale| f(class, &batch, &similarities, scale));
            }
        }
    }
}

/// The bound of values.
fn of_values(bounds: Bounds, measure: Measure) -> &'static Bound {
    bounds[usize::from(measure != Measure::Cosine)]
}

/// Labels of a few classes, and of two rows each: those that near duplicates share.
fn labels(n: usize) -> [Vec<i64>; 2] {
    [(0..n as i64).map(|i| i * 7919 % 5).collect(), (0..n as i64).map(|i| i / 2).collect()]
}

pub fn of_one_batch<T: Element>(plan: &Plan, record: &mut Record) {
    each::<T>(plan, |class, batch, similarities, scale| {
        let (n, d) = (batch.n, batch.d);
        let case = Case { class, sizes: batch.sizes() };
        let loss = Softmax::scale(T::from_f64(scale)).unwrap();
        let objective = AnchorObjective::sum(&loss).measured(similarities.measure);
        for labels in labels(n) {
            let kind = |i: usize, j: usize| (i != j).then_some(labels[i] == labels[j]);
            let Answer { values, grad } =
                answer(batch, similarities, [scale, 1.0], ALL, 0..n, kind);
            let all = values.iter().copied().fold(Exact::default(), Exact::plus);
            for isa in record.isas() {
                let (mut of_each, mut got) = (vec![T::NAN; n], vec![T::NAN; n * d]);
                let mut out = AnchorsOut::grad(MatMut::new(&mut got, n, d).unwrap());
                out.values = Some(&mut of_each);
                let (z, similar) = (batch.view(0, n), Similar::Labels(&labels));
                let scratch = &mut AnchorScratch::new();
                let outcome =
                    all_anchors(&serial(isa), &objective, z, similar, out, scratch).unwrap();
                let bound = of_values(ALL, similarities.measure);
                record.compare::<T>(bound, isa, case, f64s(&of_each), values.iter().copied());
                record.compare::<T>(bound, isa, case, [outcome.value], [all]);
                record.compare::<T>(ALL[2], isa, case, f64s(&got), grad.iter().copied());
            }
        }
    });
}

pub fn of_two_batches<T: Element>(plan: &Plan, record: &mut Record) {
    each::<T>(plan, |class, batch, similarities, scale| {
        let (n, d) = (batch.n, batch.d);
        // The first rows are queries, the others keys.
        let first = 2 * n / 5;
        let case = Case { class, sizes: batch.sizes() };
        let loss = Softmax::scale(T::from_f64(scale)).unwrap();
        let objective = AnchorObjective::sum(&loss).measured(similarities.measure);
        let [labels, _] = labels(n);
        let kind =
            |i: usize, j: usize| ((i < first) != (j < first)).then_some(labels[i] == labels[j]);
        for (anchors, rows, factor) in [
            (Anchors::Queries, 0..first, 1.0),
            (Anchors::Keys, first..n, 1.0),
            (Anchors::Both, 0..n, 0.5),
        ] {
            let Answer { values, grad } =
                answer(batch, similarities, [scale, factor], CROSS, rows, kind);
            for isa in record.isas() {
                let (mut of_each, mut got) = (vec![T::NAN; values.len()], vec![T::NAN; n * d]);
                let (of_queries, of_keys) = got.split_at_mut(first * d);
                let mut out = CrossAnchorsOut::grads(
                    MatMut::new(of_queries, first, d).unwrap(),
                    MatMut::new(of_keys, n - first, d).unwrap(),
                );
                out.values = Some(&mut of_each);
                let [queries, keys] = [batch.view(0, first), batch.view(first, n)];
                let similar = CrossSimilar::Labels {
                    queries: &labels[..first],
                    keys: &labels[first..],
                    ignored: None,
                };
                let (cx, scratch) = (serial(isa), &mut AnchorScratch::new());
                cross_anchors(&cx, &objective, queries, keys, similar, None, anchors, out, scratch)
                    .unwrap();
                let bound = of_values(CROSS, similarities.measure);
                record.compare::<T>(bound, isa, case, f64s(&of_each), values.iter().copied());
                record.compare::<T>(CROSS[2], isa, case, f64s(&got), grad.iter().copied());
            }
        }
    });
}
