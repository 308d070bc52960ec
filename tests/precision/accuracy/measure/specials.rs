//! NaN and infinities in each position of each input: they reach what depends on them, as the formula in
//! `f64` has it, and change no bit of anything else.

use drlim::batch::{
    AllPairsScratch, CrossOut, CrossScratch, CrossSimilar, Distance, IndexedOut, IndexedScratch,
    Mining, MiningScratch, PairList, RowsOut, TripletRows, TripletRowsOut, all_pairs, cross,
    distance_matrix, indexed, row_distances, row_distances_backward, rows, triplet_rows, triplets,
};
use drlim::loss::{Objective, TripletObjective};
use drlim::nn::{
    AvgPool2d, Conv2d, Dense, L2Normalize, Layer, MaxPool2d, Network, Relu, Shape, Sigmoid, Tanh,
    Workspace,
};
use drlim::optim::{Adam, Optimizer, Sgd};
use drlim::{Isa, Mat, MatMut, Similar};

use super::formulas::{dot, squared_distance};
use super::inputs::Class;
use super::row_losses;
use super::serial;
use crate::support::Element;
use crate::support::formulas::{PairFormula, TripletFormula, over_distance};

/// A call on some inputs that gives some numbers.
type Call<T> = Box<dyn Fn(Isa, &[Vec<T>]) -> Vec<T>>;
/// The same from its formula.
type Plain = Box<dyn Fn(&[Vec<f64>]) -> Vec<f64>>;

pub struct Subject<T> {
    pub name: &'static str,
    /// Whether what does not depend on an input keeps its bits. A row that is not finite is left out of
    /// the mean that a batch is measured from, so there others may round otherwise.
    pub to_the_bit: bool,
    /// Lengths of the inputs.
    pub inputs: Vec<usize>,
    pub call: Call<T>,
    pub plain: Plain,
}

/// What became of NaN and infinities.
#[derive(Clone, Debug)]
pub struct Held {
    pub name: &'static str,
    pub element: &'static str,
    pub isa: Isa,
    /// Positions, each with NaN and both infinities.
    pub positions: usize,
    /// The first that did otherwise than promised.
    pub broken: Option<String>,
}

fn to_f64<T: Element>(inputs: &[Vec<T>]) -> Vec<Vec<f64>> {
    inputs.iter().map(|input| input.iter().map(|x| x.to_f64()).collect()).collect()
}

impl<T: Element> Subject<T> {
    fn check(&self, isa: Isa, seed: u64) -> Held {
        let mut inputs: Vec<Vec<T>> = (self.inputs.iter().zip(1..))
            .map(|(&len, salt)| Class::Ordinary.matrix([1, len], 0, seed ^ salt << 4))
            .collect();
        let (clean, plain) = ((self.call)(isa, &inputs), (self.plain)(&to_f64(&inputs)));
        assert_eq!(clean.len(), plain.len(), "{}", self.name);
        let tolerance = if size_of::<T>() == 4 { 1e-4 } else { 1e-10 };
        let (mut positions, mut broken) = (0, None);
        for input in 0..inputs.len() {
            for at in 0..inputs[input].len() {
                positions += 1;
                for special in [T::NAN, T::INFINITY, -T::INFINITY] {
                    let before = std::mem::replace(&mut inputs[input][at], special);
                    let got = (self.call)(isa, &inputs);
                    let expected = (self.plain)(&to_f64(&inputs));
                    let as_promised = |k: usize| match expected[k] {
                        x if x.is_nan() => got[k].is_nan(),
                        x if x.is_infinite() => got[k].to_f64() == x,
                        // What is the same in the formula does not depend on it.
                        x if x == plain[k] && self.to_the_bit => got[k].bits() == clean[k].bits(),
                        x => (got[k].to_f64() - x).abs() <= tolerance * (1.0 + x.abs()),
                    };
                    let wrong = (0..got.len()).find(|&k| !as_promised(k));
                    let say = |k: usize| {
                        let (got, expected) = (got[k], expected[k]);
                        format!(
                            "{special} at {at} of input {input}: output {k} is {got}, not {expected}"
                        )
                    };
                    broken = broken.or_else(|| wrong.map(say));
                    inputs[input][at] = before;
                }
            }
        }
        Held { name: self.name, element: T::NAME, isa, positions, broken }
    }
}

/// Every subject on some tiers.
pub fn check<T: Element>(isas: &[Isa], seed: u64) -> Vec<Held> {
    let mut subjects = distances::<T>();
    subjects.push(row_losses::subject());
    subjects.extend(by_rows::<T>());
    subjects.extend(of_batches::<T>());
    subjects.extend(layers::<T>());
    subjects.extend(optimizers::<T>());
    let checked = |subject: &Subject<T>| isas.iter().map(|&isa| subject.check(isa, seed)).collect();
    let checked: Vec<Vec<Held>> = subjects.iter().map(checked).collect();
    checked.into_iter().flatten().collect()
}

/// Rows of a call, and their elements: a vector of the widest tier and a tail.
const N: usize = 3;
const D: usize = 19;

fn least<T: Element>() -> f64 {
    T::MIN_POSITIVE.to_f64()
}

fn mat<T: Element>(z: &[T], d: usize) -> Mat<'_, T> {
    Mat::new(z, z.len() / d, d).unwrap()
}

fn out<T: Element>(z: &mut [T], d: usize) -> MatMut<'_, T> {
    let n = z.len() / d;
    MatMut::new(z, n, d).unwrap()
}

fn row(z: &[f64], i: usize) -> &[f64] {
    &z[i * D..][..D]
}

fn distances<T: Element>() -> Vec<Subject<T>> {
    let of = |name, distance: Distance| Subject::<T> {
        name,
        to_the_bit: true,
        inputs: vec![N * D, N * D, N],
        call: Box::new(move |isa, inputs| {
            let (a, b) = (mat(&inputs[0], D), mat(&inputs[1], D));
            let mut values = vec![T::ZERO; N];
            let mut grads = vec![T::ZERO; 2 * N * D];
            row_distances(&serial(isa), distance, a, b, &mut values).unwrap();
            let (by_a, by_b) = grads.split_at_mut(N * D);
            let (by_a, by_b) = (out(by_a, D), out(by_b, D));
            row_distances_backward(&serial(isa), distance, a, b, &inputs[2], by_a, by_b).unwrap();
            [values, grads].concat()
        }),
        plain: Box::new(move |inputs| {
            let [a, b, upstream] = inputs else { panic!("three inputs") };
            let values = (0..N).map(|i| value(distance, row(a, i), row(b, i)));
            let grads = [[a, b], [b, a]].into_iter().flat_map(|[own, other]| {
                (0..N).flat_map(move |i| {
                    let gradient = gradient::<T>(distance, row(own, i), row(other, i));
                    gradient.into_iter().map(move |g| upstream[i] * g)
                })
            });
            values.chain(grads).collect()
        }),
    };
    vec![
        of("row_distances, euclidean", Distance::Euclidean),
        of("row_distances, squared", Distance::SquaredEuclidean),
        of("row_distances, dot", Distance::Dot),
        of("row_distances, cosine", Distance::Cosine),
    ]
}

/// â and b̂.
fn units(a: &[f64], b: &[f64]) -> [Vec<f64>; 2] {
    [a, b].map(|x| {
        let norm = dot(x, x).sqrt();
        x.iter().map(|x| x / norm).collect()
    })
}

fn value(distance: Distance, a: &[f64], b: &[f64]) -> f64 {
    match distance {
        Distance::Euclidean => squared_distance(a, b).sqrt(),
        Distance::SquaredEuclidean => squared_distance(a, b),
        Distance::Dot => dot(a, b),
        _ => {
            let [a, b] = units(a, b);
            0.5 * squared_distance(&a, &b)
        }
    }
}

/// By the first of two rows.
fn gradient<T: Element>(distance: Distance, a: &[f64], b: &[f64]) -> Vec<f64> {
    let pairs = a.iter().zip(b);
    match distance {
        Distance::Euclidean => {
            let over = over_distance(1.0, squared_distance(a, b), least::<T>());
            pairs.map(|(a, b)| over * (a - b)).collect()
        }
        Distance::SquaredEuclidean => pairs.map(|(a, b)| 2.0 * (a - b)).collect(),
        Distance::Dot => b.to_vec(),
        _ => {
            let cos = 1.0 - value(distance, a, b);
            let norm = dot(a, a).sqrt();
            let [a, b] = units(a, b);
            a.iter().zip(&b).map(|(a, b)| (cos * a - b) / norm).collect()
        }
    }
}

/// A pair of rows is similar where its first index is even.
fn kind(i: usize) -> bool {
    i.is_multiple_of(2)
}

/// Adds what the slope of d²(i, j) gives both rows.
fn push(grad: &mut [f64], slope: f64, [i, j]: [usize; 2], [a, b]: [&[f64]; 2]) {
    for k in 0..D {
        grad[i * D + k] += slope * (a[k] - b[k]);
        grad[j * D + k] -= slope * (a[k] - b[k]);
    }
}

fn by_rows<T: Element>() -> Vec<Subject<T>> {
    let names = [
        "rows, contrastive",
        "rows, squared hinge",
        "rows, linear hinge",
        "rows, double margin",
        "rows, exponential",
        "rows, cosine contrastive",
    ];
    let formulas = PairFormula::all(0.5, 5.0).map(PairFormula::rounded::<T>);
    let similar: Vec<bool> = (0..N).map(kind).collect();
    let pairs = names.into_iter().zip(formulas).map(|(name, formula)| {
        let similar = similar.clone();
        Subject::<T> {
            name,
            to_the_bit: true,
            inputs: vec![N * D, N * D],
            call: Box::new(move |isa, inputs| {
                let loss = formula.loss::<T>();
                let (mut values, mut grads) = (vec![T::ZERO; N], vec![T::ZERO; 2 * N * D]);
                let (by_a, by_b) = grads.split_at_mut(N * D);
                let to = RowsOut::grads(out(by_a, D), out(by_b, D)).values(&mut values);
                let objective = Objective::sum(&*loss);
                let (a, b) = (mat(&inputs[0], D), mat(&inputs[1], D));
                rows(&serial(isa), &objective, a, b, &similar, to).unwrap();
                [values, grads].concat()
            }),
            plain: Box::new(move |inputs| {
                let (mut values, mut grads) = (Vec::new(), vec![0.0; 2 * N * D]);
                for i in 0..N {
                    let [a, b] = [row(&inputs[0], i), row(&inputs[1], i)];
                    let [value, slope] =
                        formula.value_and_slope(squared_distance(a, b), kind(i), least::<T>());
                    values.push(value);
                    push(&mut grads, slope, [i, N + i], [a, b]);
                }
                [values, grads].concat()
            }),
        }
    });
    let mut all: Vec<Subject<T>> = pairs.collect();
    all.push(list());
    let names = ["triplet_rows, margin", "triplet_rows, swapping", "triplet_rows, squared"];
    for (name, formula) in names.into_iter().zip(TripletFormula::all(4.0)) {
        all.push(triplets_by_rows(name, formula));
    }
    all
}

fn list<T: Element>() -> Subject<T> {
    let pairs = [(0, 1), (3, 1), (1, 2), (4, 0)];
    let formula = PairFormula::LinearHinge { p: 0.5, m: 5.0 };
    Subject {
        name: "indexed, linear hinge",
        to_the_bit: true,
        inputs: vec![5 * D],
        call: Box::new(move |isa, inputs| {
            let loss = formula.loss::<T>();
            let list = PairList::new(5, &pairs).unwrap();
            let (mut values, mut grad) = (vec![T::ZERO; 4], vec![T::ZERO; 5 * D]);
            let to = IndexedOut::grad(out(&mut grad, D)).values(&mut values);
            let similar: Vec<bool> = (0..4).map(kind).collect();
            let (z, objective) = (mat(&inputs[0], D), Objective::sum(&*loss));
            let scratch = &mut IndexedScratch::new();
            indexed(&serial(isa), &objective, z, &list, &similar, to, scratch).unwrap();
            [values, grad].concat()
        }),
        plain: Box::new(move |inputs| {
            let (mut values, mut grad) = (Vec::new(), vec![0.0; 5 * D]);
            for (p, (i, j)) in pairs.into_iter().enumerate() {
                let (i, j) = (i as usize, j as usize);
                let ends = [row(&inputs[0], i), row(&inputs[0], j)];
                let d2 = squared_distance(ends[0], ends[1]);
                let [value, slope] = formula.value_and_slope(d2, kind(p), least::<T>());
                values.push(value);
                push(&mut grad, slope, [i, j], ends);
            }
            [values, grad].concat()
        }),
    }
}

fn triplets_by_rows<T: Element>(name: &'static str, formula: TripletFormula) -> Subject<T> {
    Subject {
        name,
        to_the_bit: true,
        inputs: vec![N * D; 3],
        call: Box::new(move |isa, inputs| {
            let loss = formula.loss::<T>();
            let (mut values, mut grads) = (vec![T::ZERO; N], vec![T::ZERO; 3 * N * D]);
            let mut parts = grads.chunks_exact_mut(N * D).map(|part| out(part, D));
            let mut part = || parts.next().expect("three parts");
            let to = TripletRowsOut::grads(part(), part(), part()).values(&mut values);
            let [a, p, n] = [0, 1, 2].map(|k| mat(&inputs[k], D));
            let (cx, objective) = (serial(isa), TripletObjective::sum(&*loss));
            triplet_rows(&cx, &objective, TripletRows::new(a, p, n).unwrap(), to).unwrap();
            [values, grads].concat()
        }),
        plain: Box::new(move |inputs| {
            let (mut values, mut grads) = (Vec::new(), vec![0.0; 3 * N * D]);
            for i in 0..N {
                let [a, p, n] = [0, 1, 2].map(|k| row(&inputs[k], i));
                let ends = [[a, p], [a, n], [p, n]];
                let d2 = ends.map(|[x, y]| squared_distance(x, y));
                let (value, slopes) = formula.value_and_slopes(d2, least::<T>());
                values.push(value);
                let places = [[i, N + i], [i, 2 * N + i], [N + i, 2 * N + i]];
                for ((places, ends), (slope, k)) in
                    places.into_iter().zip(ends).zip(slopes.into_iter().zip(0..))
                {
                    // The third slope is that of losses that swap.
                    if k < 2 || matches!(formula, TripletFormula::Swapping { .. }) {
                        push(&mut grads, slope, places, ends);
                    }
                }
            }
            [values, grads].concat()
        }),
    }
}

/// Rows of a batch, and their classes.
const B: usize = 5;
const LABELS: [i64; B] = [0, 1, 0, 1, 1];

/// Value and gradient of some pairs of a batch. A slope of 0 contributes nothing, whatever rows hold.
fn plain_pairs<T: Element>(z: &[f64], formula: PairFormula, pairs: &[[usize; 2]]) -> Vec<f64> {
    let (mut value, mut grad) = (0.0, vec![0.0; B * D]);
    for &[i, j] in pairs {
        let ends = [row(z, i), row(z, j)];
        let d2 = squared_distance(ends[0], ends[1]);
        let [cost, slope] = formula.value_and_slope(d2, LABELS[i] == LABELS[j], least::<T>());
        value += cost;
        if slope != 0.0 {
            push(&mut grad, slope, [i, j], ends);
        }
    }
    [vec![value], grad].concat()
}

fn of_batches<T: Element>() -> Vec<Subject<T>> {
    let formula = PairFormula::LinearHinge { p: 0.5, m: 50.0 };
    let all: Vec<[usize; 2]> = (0..B).flat_map(|i| (0..i).map(move |j| [i, j])).collect();
    let across: Vec<[usize; 2]> = (0..2).flat_map(|i| (2..B).map(move |j| [i, j])).collect();
    vec![
        Subject {
            name: "all_pairs, linear hinge",
            to_the_bit: false,
            inputs: vec![B * D],
            call: Box::new(move |isa, inputs| {
                let (loss, mut grad) = (formula.loss::<T>(), vec![T::ZERO; B * D]);
                let (cx, objective) = (serial(isa), Objective::sum(&*loss));
                let (z, to) = (mat(&inputs[0], D), Some(out(&mut grad, D)));
                let similar = Similar::Labels(&LABELS);
                let mut scratch = AllPairsScratch::new();
                let outcome = all_pairs(&cx, &objective, z, similar, to, &mut scratch).unwrap();
                [vec![T::from_f64(outcome.value)], grad].concat()
            }),
            plain: Box::new(move |inputs| plain_pairs::<T>(&inputs[0], formula, &all)),
        },
        Subject {
            name: "cross, linear hinge",
            to_the_bit: false,
            inputs: vec![B * D],
            call: Box::new(move |isa, inputs| {
                let (loss, mut grad) = (formula.loss::<T>(), vec![T::ZERO; B * D]);
                let (cx, objective) = (serial(isa), Objective::sum(&*loss));
                let (of_queries, of_keys) = grad.split_at_mut(2 * D);
                let to = CrossOut::grads(out(of_queries, D), out(of_keys, D));
                let (queries, keys) = inputs[0].split_at(2 * D);
                let similar = CrossSimilar::Labels {
                    queries: &LABELS[..2],
                    keys: &LABELS[2..],
                    ignored: None,
                };
                let (queries, keys) = (mat(queries, D), mat(keys, D));
                let scratch = &mut CrossScratch::new();
                let outcome =
                    cross(&cx, &objective, queries, keys, similar, None, to, scratch).unwrap();
                [vec![T::from_f64(outcome.value)], grad].concat()
            }),
            plain: Box::new(move |inputs| plain_pairs::<T>(&inputs[0], formula, &across)),
        },
        Subject {
            name: "triplets, all, margin",
            to_the_bit: false,
            inputs: vec![B * D],
            call: Box::new(move |isa, inputs| {
                let loss = TripletFormula::Margin { m: 50.0 }.loss::<T>();
                let (cx, objective) = (serial(isa), TripletObjective::sum(&*loss));
                let mut grad = vec![T::ZERO; B * D];
                let (z, to) = (mat(&inputs[0], D), Some(out(&mut grad, D)));
                let (similar, mut scratch) = (Similar::Labels(&LABELS), MiningScratch::new());
                let outcome =
                    triplets(&cx, &objective, z, similar, Mining::All, to, &mut scratch).unwrap();
                [vec![T::from_f64(outcome.value)], grad].concat()
            }),
            plain: Box::new(move |inputs| {
                let (z, mut value, mut grad) = (&inputs[0], 0.0, vec![0.0; B * D]);
                let all = (0..B * B * B).map(|at| [at / B / B, at / B % B, at % B]);
                for [a, p, n] in all
                    .filter(|&[a, p, n]| a != p && LABELS[a] == LABELS[p] && LABELS[a] != LABELS[n])
                {
                    let ends = [[a, p], [a, n], [p, n]];
                    let d2 = ends.map(|[i, j]| squared_distance(row(z, i), row(z, j)));
                    let formula = TripletFormula::Margin { m: 50.0 };
                    let (cost, slopes) = formula.value_and_slopes(d2, least::<T>());
                    value += cost;
                    for (ends, slope) in ends.into_iter().zip(slopes).take(2) {
                        if slope != 0.0 {
                            push(&mut grad, slope, ends, ends.map(|i| row(z, i)));
                        }
                    }
                }
                [vec![value], grad].concat()
            }),
        },
        Subject {
            name: "distance_matrix",
            to_the_bit: false,
            inputs: vec![N * D, B * D],
            call: Box::new(|isa, inputs| {
                let mut d = vec![T::ZERO; N * B];
                let (a, b) = (mat(&inputs[0], D), mat(&inputs[1], D));
                distance_matrix(&serial(isa), a, b, out(&mut d, B)).unwrap();
                d
            }),
            plain: Box::new(|inputs| {
                let d = |at: usize| {
                    squared_distance(row(&inputs[0], at / B), row(&inputs[1], at % B)).sqrt()
                };
                (0..N * B).map(d).collect()
            }),
        },
    ]
}

/// A layer by itself, on three samples: parameters, samples and the gradient of the outputs in; outputs,
/// and the gradients of parameters and samples out.
fn layer<T: Element, L: Layer<T> + 'static>(
    name: &'static str,
    input: Shape,
    new: fn() -> L,
    plain: fn(&[Vec<f64>]) -> Vec<f64>,
) -> Subject<T> {
    let net = move || Network::<T>::builder(input).layer("f", new()).build(1).unwrap();
    let (params, outputs) = (net().params().len(), net().output().len());
    Subject {
        name,
        to_the_bit: true,
        inputs: vec![params, N * input.len(), N * outputs],
        call: Box::new(move |isa, inputs| {
            let (mut net, cx) = (net(), serial(isa));
            net.params_mut().copy_from_slice(&inputs[0]);
            let mut workspace = Workspace::training(&net, N).unwrap();
            let y = net.forward(&cx, mat(&inputs[1], input.len()), &mut workspace).unwrap();
            let y = y.as_slice().unwrap().to_vec();
            let (mut dw, mut dx) = (vec![T::ZERO; params], vec![T::ZERO; N * input.len()]);
            let (dy, to) = (mat(&inputs[2], outputs), Some(out(&mut dx, input.len())));
            net.backward(&cx, dy, &mut workspace, &mut dw, to).unwrap();
            [y, dw, dx].concat()
        }),
        plain: Box::new(plain),
    }
}

/// y, dW and dx of products: output, input and weight of each, and the bias of each output; without
/// weights, of a constant.
fn linear(
    inputs: &[Vec<f64>],
    sizes: [usize; 2],
    products: &[[usize; 3]],
    bias: impl Fn(usize) -> Option<usize>,
    constant: Option<f64>,
) -> Vec<f64> {
    let [params, x, dy] = inputs else { panic!("three inputs") };
    let [n_in, n_out] = sizes;
    let (mut y, mut dw, mut dx) =
        (vec![0.0; N * n_out], vec![0.0; params.len()], vec![0.0; N * n_in]);
    for sample in 0..N {
        for output in 0..n_out {
            if let Some(bias) = bias(output) {
                y[sample * n_out + output] = params[bias];
                dw[bias] += dy[sample * n_out + output];
            }
        }
        for &[output, input, weight] in products {
            let (output, input) = (sample * n_out + output, sample * n_in + input);
            let by = constant.unwrap_or_else(|| params[weight]);
            y[output] += by * x[input];
            dx[input] += by * dy[output];
            if constant.is_none() {
                dw[weight] += dy[output] * x[input];
            }
        }
    }
    [y, dw, dx].concat()
}

/// The windows of 2 x 2 pixels of an image of one channel, 5 x 6, one pixel apart.
fn windows() -> Vec<[usize; 3]> {
    let tap = |at: usize| (0..4).map(move |t| [at, (at / 5 + t / 2) * 6 + at % 5 + t % 2, t]);
    (0..20).flat_map(tap).collect()
}

const IMAGE: Shape = Shape { channels: 1, height: 5, width: 6 };

fn layers<T: Element>() -> Vec<Subject<T>> {
    vec![
        layer(
            "dense",
            Shape::flat(D),
            || Dense::new(2),
            |inputs| {
                let products: Vec<[usize; 3]> =
                    (0..2 * D).map(|weight| [weight / D, weight % D, weight]).collect();
                linear(inputs, [D, 2], &products, |output| Some(2 * D + output), None)
            },
        ),
        layer(
            "conv2d",
            IMAGE,
            || Conv2d::new(1, 2),
            |inputs| linear(inputs, [30, 20], &windows(), |_| Some(4), None),
        ),
        layer(
            "avg_pool2d",
            IMAGE,
            || AvgPool2d::new(2).stride(1),
            |inputs| linear(inputs, [30, 20], &windows(), |_| None, Some(0.25)),
        ),
        layer(
            "max_pool2d",
            IMAGE,
            || MaxPool2d::new(2).stride(1),
            |inputs| {
                let (x, dy) = (&inputs[1], &inputs[2]);
                let (mut y, mut dx) = (Vec::new(), vec![0.0; N * 30]);
                for sample in 0..N {
                    let x = &x[sample * 30..][..30];
                    let larger = |best: usize, at: usize| {
                        if x[at] > x[best] || x[at].is_nan() && !x[best].is_nan() {
                            at
                        } else {
                            best
                        }
                    };
                    for (window, output) in windows().chunks_exact(4).zip(0..) {
                        let pixel =
                            window.iter().map(|tap| tap[1]).reduce(larger).expect("a window");
                        y.push(x[pixel]);
                        dx[sample * 30 + pixel] += dy[sample * 20 + output];
                    }
                }
                [y, dx].concat()
            },
        ),
        layer("tanh", Shape::flat(D), Tanh::new, |inputs| {
            elementwise(inputs, f64::tanh, |y, dy| dy - y * dy * y)
        }),
        layer("sigmoid", Shape::flat(D), Sigmoid::new, |inputs| {
            elementwise(inputs, |x| 1.0 / (1.0 + (-x).exp()), |y, dy| y * (1.0 - y) * dy)
        }),
        layer("relu", Shape::flat(D), Relu::new, |inputs| {
            let [_, x, dy] = inputs else { panic!("three inputs") };
            let y = x.iter().map(|&x| if x < 0.0 { 0.0 } else { x });
            // A slope of 0 takes nothing of what comes back; that of a NaN is 1.
            let dx = x.iter().zip(dy).map(|(&x, &dy)| if x <= 0.0 { 0.0 } else { dy });
            y.chain(dx).collect()
        }),
        layer("l2_normalize", Shape::flat(D), L2Normalize::new, |inputs| {
            let [_, x, dy] = inputs else { panic!("three inputs") };
            let (mut all, mut dx) = (Vec::new(), Vec::new());
            for i in 0..N {
                let (x, dy) = (row(x, i), row(dy, i));
                let norm = dot(x, x).sqrt();
                let y: Vec<f64> = x.iter().map(|x| x / norm).collect();
                let along = dot(&y, dy);
                dx.extend(y.iter().zip(dy).map(|(y, dy)| (dy - y * along) / norm));
                all.extend(y);
            }
            [all, dx].concat()
        }),
    ]
}

fn elementwise(
    inputs: &[Vec<f64>],
    f: impl Fn(f64) -> f64,
    gradient: impl Fn(f64, f64) -> f64,
) -> Vec<f64> {
    let y: Vec<f64> = inputs[1].iter().map(|&x| f(x)).collect();
    let dx = y.iter().zip(&inputs[2]).map(|(&y, &dy)| gradient(y, dy)).collect();
    [y, dx].concat()
}

fn optimizers<T: Element>() -> Vec<Subject<T>> {
    let step = |optimizer: &mut dyn Optimizer<T>, isa, inputs: &[Vec<T>]| {
        let mut p = inputs[0].clone();
        optimizer.step(&serial(isa), 0.01, &mut p, &inputs[1]).unwrap();
        p
    };
    // Without decay, 0 times an infinite parameter is the NaN that it is in IEEE arithmetic.
    let each = |inputs: &[Vec<f64>], f: fn(f64) -> f64| {
        inputs[0].iter().zip(&inputs[1]).map(|(p, &g)| p - 0.01 * f(g + 0.0 * p)).collect()
    };
    vec![
        Subject {
            name: "sgd",
            to_the_bit: true,
            inputs: vec![D; 2],
            call: Box::new(move |isa, inputs| step(&mut Sgd::new(), isa, inputs)),
            plain: Box::new(move |inputs| each(inputs, |g| g)),
        },
        Subject {
            name: "adam",
            to_the_bit: true,
            inputs: vec![D; 2],
            call: Box::new(move |isa, inputs| step(&mut Adam::new(), isa, inputs)),
            plain: Box::new(move |inputs| each(inputs, |g| g / (g.abs() + 1e-8))),
        },
    ]
}
