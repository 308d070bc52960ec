//! `batch::row_distances` and `batch::row_distances_backward` against a scalar twin in f64: every
//! distance, tier and precision, rows of all lengths at which a loop changes its course, any
//! alignment and stride; what they promise about zeros, NaN and nearly parallel rows; gradients
//! against central differences of the twin.
//!
//! Draws that once failed lie in `distances.proptest-regressions`.

#![forbid(unsafe_code)]

mod common;

use common::element::{bits, wide};
use common::{Element, Guarded, Random, oracle, tiers};
use drlim::batch::{Distance, row_distances, row_distances_backward};
use drlim::{Cx, Isa, Mat, MatMut, Par};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::FileFailurePersistence;

const DISTANCES: [Distance; 4] =
    [Distance::Euclidean, Distance::SquaredEuclidean, Distance::Dot, Distance::Cosine];

/// Row lengths around those at which loops change.
const COLS: [usize; 21] =
    [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 127, 128, 129, 257];

fn serial(isa: Isa) -> Cx {
    Cx { isa, par: Par::Serial }
}

/// The scalar twin of a distance, for elements of one type.
#[derive(Clone, Copy, Debug)]
struct Twin {
    distance: Distance,
    /// The smallest normal number of the element type: a square below it counts as zero.
    smallest_normal: f64,
    epsilon: f64,
}

impl Twin {
    fn of<T: Element>(distance: Distance) -> Self {
        let (smallest_normal, epsilon) = (T::MIN_POSITIVE.to_f64(), T::EPSILON.to_f64());
        Twin { distance, smallest_normal, epsilon }
    }

    /// Whether the rows have an angle.
    fn has_directions(&self, a: &[f64], b: &[f64]) -> bool {
        dot(a, a) >= self.smallest_normal && dot(b, b) >= self.smallest_normal
    }

    fn value(&self, a: &[f64], b: &[f64]) -> f64 {
        match self.distance {
            Distance::Euclidean => oracle::squared_distance(a, b).sqrt(),
            Distance::SquaredEuclidean => oracle::squared_distance(a, b),
            Distance::Dot => dot(a, b),
            Distance::Cosine if self.has_directions(a, b) => one_minus_cosine(a, b),
            Distance::Cosine => 1.0,
            other => panic!("no twin of {other:?}"),
        }
    }

    /// How far from [`value`](Twin::value) a kernel may be: one rounding for each operation.
    fn value_tolerance(&self, a: &[f64], b: &[f64]) -> f64 {
        let relative = (a.len() as f64 + 8.0) * self.epsilon;
        let value = self.value(a, b);
        match self.distance {
            Distance::Dot => relative * a.iter().zip(b).map(|(a, b)| (a * b).abs()).sum::<f64>(),
            // The difference of the unit vectors is off by the rounding of both, |e|²/2 by |e|
            // times as much; the norms make (s + t) c + (s - t)²/2.
            Distance::Cosine => {
                relative * value + 2.0 * self.epsilon * (2.0 * value).sqrt() + relative * relative
            }
            _ => relative * value,
        }
    }

    /// The gradient by `a`; that by `b` is the one with the sides swapped.
    fn gradient(&self, a: &[f64], b: &[f64]) -> Vec<f64> {
        let elements =
            |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect();
        match self.distance {
            Distance::Euclidean => {
                let d2 = oracle::squared_distance(a, b);
                if d2 < self.smallest_normal {
                    return vec![0.0; a.len()];
                }
                elements(&|a, b| (a - b) / d2.sqrt())
            }
            Distance::SquaredEuclidean => elements(&|a, b| 2.0 * (a - b)),
            Distance::Dot => b.to_vec(),
            Distance::Cosine if self.has_directions(a, b) => {
                let (norm_a, norm_b) = (dot(a, a).sqrt(), dot(b, b).sqrt());
                let cos = dot(a, b) / (norm_a * norm_b);
                elements(&|a, b| (cos * (a / norm_a) - b / norm_b) / norm_a)
            }
            Distance::Cosine => vec![0.0; a.len()],
            other => panic!("no twin of {other:?}"),
        }
    }

    /// How far from [`gradient`](Twin::gradient) a kernel may be.
    fn gradient_tolerance(&self, a: &[f64], b: &[f64]) -> Vec<f64> {
        let relative = (a.len() as f64 + 8.0) * self.epsilon;
        match self.distance {
            Distance::Cosine if self.has_directions(a, b) => {
                let (norm_a, norm_b) = (dot(a, a).sqrt(), dot(b, b).sqrt());
                let terms = |(a, b): (&f64, &f64)| (a / norm_a).abs() + (b / norm_b).abs();
                a.iter().zip(b).map(|pair| 2.0 * relative * terms(pair) / norm_a).collect()
            }
            _ => self.gradient(a, b).into_iter().map(|g| relative * g.abs()).collect(),
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// 1 - cos, from sin² = |a ∧ b|² / (|a|²|b|²) where cos is near 1: no term of it cancels.
fn one_minus_cosine(a: &[f64], b: &[f64]) -> f64 {
    let cos = dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt());
    if cos < 0.5 {
        return 1.0 - cos;
    }
    let mut wedge = 0.0;
    for i in 0..a.len() {
        for j in 0..i {
            wedge += difference_of_products(a[i], b[j], a[j], b[i]).powi(2);
        }
    }
    wedge / dot(a, a) / dot(b, b) / (1.0 + cos)
}

/// a b - c d within 1.5 ULP (Kahan; Jeannerod, Louvet, Muller 2013).
fn difference_of_products(a: f64, b: f64, c: f64, d: f64) -> f64 {
    let cd = c * d;
    a.mul_add(b, -cd) + (-c).mul_add(d, cd)
}

/// Where the matrices of a call lie.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// Elements behind a multiple of 64 bytes: `a`, `b`, `grad_a`, `grad_b`, `upstream`, `out`.
    offsets: [usize; 6],
    /// Elements between the rows of `a`, `b`, `grad_a`, `grad_b`.
    gaps: [usize; 4],
}

impl Layout {
    const DENSE: Layout = Layout { offsets: [0; 6], gaps: [0; 4] };
}

/// Pairs of rows, and what both calls make of them.
struct Batch<T> {
    a: Guarded<T>,
    b: Guarded<T>,
    upstream: Guarded<T>,
    out: Guarded<T>,
    grads: [Guarded<T>; 2],
}

impl<T: Element> Batch<T> {
    /// Rows of many lengths; in turn unrelated, close, nearly parallel and nearly opposite.
    fn new(shape: [usize; 2], layout: Layout, seed: u64) -> Self {
        let [n, cols] = shape;
        let mut random = Random::new(seed);
        let length: Vec<f64> = (0..n).map(|_| random.between::<f64>(-6.0, 6.0).exp2()).collect();
        let a = Guarded::<T>::new(layout.offsets[0], shape, cols + layout.gaps[0], |i, _| {
            random.between(-length[i], length[i])
        });
        let b = Guarded::new(layout.offsets[1], shape, cols + layout.gaps[1], |i, k| {
            let (x, noise) = (a.row(i)[k].to_f64(), random.between::<f64>(-length[i], length[i]));
            T::from_f64(match i % 4 {
                0 => noise,
                1 => x + 0.01 * noise,
                2 => 3.0 * x + 0.003 * noise,
                _ => -0.7 * x + 0.003 * noise,
            })
        });
        let vector = |offset| Guarded::output(offset, [1, n], n);
        let upstream = Guarded::new(layout.offsets[4], [1, n], n, |_, _| random.between(-2.0, 2.0));
        let grads =
            [2, 3].map(|m| Guarded::output(layout.offsets[m], shape, cols + layout.gaps[m]));
        Batch { a, b, upstream, out: vector(layout.offsets[5]), grads }
    }

    /// Rows given one after another.
    fn of(cols: usize, a: &[T], b: &[T], upstream: &[T]) -> Self {
        let mut batch = Batch::new([upstream.len(), cols], Layout::DENSE, 0);
        batch.a.slice_mut().copy_from_slice(a);
        batch.b.slice_mut().copy_from_slice(b);
        batch.upstream.slice_mut().copy_from_slice(upstream);
        batch
    }

    fn run(&mut self, cx: &Cx, distance: Distance) {
        self.out.mat_mut().fill(T::NAN);
        self.grads.iter_mut().for_each(|grad| grad.mat_mut().fill(T::NAN));
        let (a, b) = (self.a.mat(), self.b.mat());
        row_distances(cx, distance, a, b, self.out.slice_mut()).unwrap();
        let [grad_a, grad_b] = self.grads.each_mut().map(Guarded::mat_mut);
        let upstream = self.upstream.row(0);
        row_distances_backward(cx, distance, a, b, upstream, grad_a, grad_b).unwrap();
        let [grad_a, grad_b] = &self.grads;
        for (name, guarded) in [
            ("a", &self.a),
            ("b", &self.b),
            ("upstream", &self.upstream),
            ("out", &self.out),
            ("grad_a", grad_a),
            ("grad_b", grad_b),
        ] {
            guarded.check(name);
        }
    }

    /// The bits of everything that was written.
    fn bits(&self) -> [Vec<u64>; 3] {
        [&self.out, &self.grads[0], &self.grads[1]].map(Guarded::bits)
    }

    /// What the twin says, and the tolerances: value and both gradients, already times `upstream`.
    fn expected(&self, distance: Distance) -> Vec<Expected> {
        let twin = Twin::of::<T>(distance);
        let row = |(i, upstream): (usize, &T)| {
            let (a, b) = (wide(self.a.row(i)), wide(self.b.row(i)));
            let times_upstream = |gradient: Vec<f64>| -> Vec<f64> {
                gradient.into_iter().map(|g| upstream.to_f64() * g).collect()
            };
            let grads =
                [times_upstream(twin.gradient(&a, &b)), times_upstream(twin.gradient(&b, &a))];
            let tolerances =
                [(&a, &b), (&b, &a)].map(|(a, b)| times_upstream(twin.gradient_tolerance(a, b)));
            let (value, tolerance) = (twin.value(&a, &b), twin.value_tolerance(&a, &b));
            Expected { value, tolerance, grads, tolerances }
        };
        self.upstream.row(0).iter().enumerate().map(row).collect()
    }

    fn check(&self, expected: &[Expected], which: &str) {
        for (i, expected) in expected.iter().enumerate() {
            let close = |name: &str, got: T, expected: f64, allowed: f64| {
                let error = (got.to_f64() - expected).abs();
                // Written such that a NaN fails.
                assert!(
                    error <= allowed.abs(),
                    "{name} {i} on {which} is {got}, expected {expected}: off by {error:e}, \
                     not {allowed:e}"
                );
            };
            close("distance", self.out.row(0)[i], expected.value, expected.tolerance);
            for side in 0..2 {
                let name = ["an element of grad_a", "an element of grad_b"][side];
                let (grads, tolerances) = (&expected.grads[side], &expected.tolerances[side]);
                for (k, &got) in self.grads[side].row(i).iter().enumerate() {
                    close(name, got, grads[k], tolerances[k]);
                }
            }
        }
    }
}

/// A row of what the twin says.
struct Expected {
    value: f64,
    tolerance: f64,
    grads: [Vec<f64>; 2],
    tolerances: [Vec<f64>; 2],
}

/// Whether all are NaN.
fn all_nan<T: Element>(of: &[T]) -> bool {
    of.iter().all(|x| x.is_nan())
}

fn formula_in<T: Element>() {
    for (seed, cols) in COLS.into_iter().enumerate() {
        let most: &[usize] =
            if cols <= 17 { &[0, 1, 2, 15, 16, 17, 33, 300] } else { &[1, 17, 33] };
        for &n in most {
            let mut layout = Layout::DENSE;
            if n % 2 == 1 {
                layout.offsets = std::array::from_fn(|m| (seed + 5 * m + n) % 16);
                layout.gaps = std::array::from_fn(|m| (seed + n / 2 + m) % 4);
            }
            let mut batch = Batch::<T>::new([n, cols], layout, seed as u64);
            for distance in DISTANCES {
                let expected = batch.expected(distance);
                for isa in tiers() {
                    batch.run(&serial(isa), distance);
                    let which =
                        format!("{isa}: {distance:?} of {n} x {cols} {}, {layout:?}", T::NAME);
                    batch.check(&expected, &which);
                }
            }
        }
    }
}

#[test]
fn values_and_gradients_are_those_of_the_formula() {
    formula_in::<f32>();
    formula_in::<f64>();
}

fn alignment_in<T: Element>() {
    for cols in [1, 2, 5, 15, 16, 17, 33, 65, 100] {
        for (isa, distance) in tiers().into_iter().flat_map(|isa| DISTANCES.map(|d| (isa, d))) {
            let run = |offsets, gaps| {
                let mut batch = Batch::<T>::new([37, cols], Layout { offsets, gaps }, 9);
                batch.run(&serial(isa), distance);
                batch.bits()
            };
            let aligned = run([0; 6], [0; 4]);
            for offset in 0..16 {
                let offsets = [1, 3, 5, 7, 9, 11].map(|m| offset * m % 16);
                let gaps = [0, 1, 2, 3].map(|m| (offset + m) % 4);
                let moved = run(offsets, gaps);
                assert!(
                    moved == aligned,
                    "{isa}: {distance:?}, {cols} columns, {offsets:?}, {gaps:?}"
                );
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_alignment_or_stride() {
    alignment_in::<f32>();
    alignment_in::<f64>();
}

fn threads_in<T: Element>() {
    let pools = [1, 2, 3, 7]
        .map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    // Several tasks each, and a number of rows that no block divides.
    for shape in [[40_003, 2], [5_003, 33], [1_001, 257]] {
        let layout = Layout { offsets: [0, 1, 2, 3, 4, 5], gaps: [0, 1, 0, 2] };
        let mut batch = Batch::<T>::new(shape, layout, 12);
        for (isa, distance) in tiers().into_iter().flat_map(|isa| DISTANCES.map(|d| (isa, d))) {
            batch.run(&serial(isa), distance);
            let expected = batch.bits();
            for pool in &pools {
                for run in 0..2 {
                    pool.install(|| batch.run(&Cx { isa, par: Par::Rayon }, distance));
                    let threads = pool.current_num_threads();
                    let which =
                        format!("{isa}: {distance:?}, {shape:?}, {threads} threads, run {run}");
                    assert!(batch.bits() == expected, "{which}");
                }
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_threads_or_runs() {
    threads_in::<f32>();
    threads_in::<f64>();
}

fn sides_in<T: Element>() {
    for cols in COLS {
        let mut batch = Batch::<T>::new([33, cols], Layout::DENSE, 3);
        for (isa, distance) in tiers().into_iter().flat_map(|isa| DISTANCES.map(|d| (isa, d))) {
            // As numbers: a gradient of 0 may change its sign.
            let written = |batch: &Batch<T>| {
                [&batch.out, &batch.grads[0], &batch.grads[1]].map(Guarded::wide)
            };
            batch.run(&serial(isa), distance);
            let [out, grad_a, grad_b] = written(&batch);
            std::mem::swap(&mut batch.a, &mut batch.b);
            batch.run(&serial(isa), distance);
            let swapped = [out, grad_b, grad_a];
            assert!(written(&batch) == swapped, "{isa}: {distance:?}, {cols} columns");
        }
    }
}

#[test]
fn both_sides_can_change_places() {
    sides_in::<f32>();
    sides_in::<f64>();
}

fn equal_rows_in<T: Element>() {
    for cols in COLS.into_iter().filter(|&cols| cols > 0) {
        for isa in tiers() {
            for distance in [Distance::Euclidean, Distance::SquaredEuclidean, Distance::Cosine] {
                let mut batch = Batch::<T>::new([20, cols], Layout::DENSE, 13);
                batch.b = Guarded::new(3, [20, cols], cols, |i, k| batch.a.row(i)[k]);
                batch.run(&serial(isa), distance);
                for written in [&batch.out, &batch.grads[0], &batch.grads[1]] {
                    let zero = written.wide().iter().all(|&x| x == 0.0);
                    assert!(zero, "{isa}: {distance:?}, {cols} columns: {:?}", written.wide());
                }
            }
        }
    }
}

#[test]
fn equal_rows_have_distance_and_gradient_zero() {
    equal_rows_in::<f32>();
    equal_rows_in::<f64>();
}

fn subnormal_squares_in<T: Element>() {
    // Numbers whose squares are 0, subnormal, the smallest normal number and above it.
    let root = T::MIN_POSITIVE.sqrt();
    let two = T::from_f64(2.0);
    let numbers = [T::ZERO, T::tiny(), T::MIN_POSITIVE, root / two, root, -(root * two)];
    let sign = |x: T| if x * x < T::MIN_POSITIVE { 0.0 } else { x.to_f64().signum() };
    for cols in COLS.into_iter().filter(|&cols| cols > 1) {
        let (at, beside) = (cols / 2, cols / 2 - 1);
        for isa in tiers() {
            for x in numbers {
                let (mut a, mut b) = (vec![T::ZERO; cols], vec![T::ZERO; cols]);
                a[at] = x;
                let mut batch = Batch::of(cols, &a, &b, &[two]);
                batch.run(&serial(isa), Distance::Euclidean);
                let which = format!("{x:e}, {cols} columns on {isa}");
                for (side, sign) in [sign(x), -sign(x)].into_iter().enumerate() {
                    let grad = wide(batch.grads[side].row(0));
                    let off = (grad[at] - 2.0 * sign).abs();
                    assert!(off <= 4.0 * T::EPSILON.to_f64(), "{which}: {grad:?}");
                    assert!(grad.iter().enumerate().all(|(k, &g)| k == at || g == 0.0), "{which}");
                }

                // A right angle either way, but gradients only where both have a direction.
                b[beside] = T::ONE;
                for (a, b) in [(&a, &b), (&b, &a)] {
                    let mut batch = Batch::of(cols, a, b, &[two]);
                    batch.run(&serial(isa), Distance::Cosine);
                    let value = batch.out.row(0)[0].to_f64();
                    assert!((value - 1.0).abs() <= 4.0 * T::EPSILON.to_f64(), "{which}: {value}");
                    let moves = |grad: &Guarded<T>| grad.wide().iter().any(|&g| g != 0.0);
                    assert_eq!(batch.grads.each_ref().map(moves), [sign(x) != 0.0; 2], "{which}");
                    assert!(sign(x) != 0.0 || value == 1.0, "{which}: {value}");
                }
            }
        }
    }
}

#[test]
fn squares_below_the_normal_numbers_count_as_zero() {
    subnormal_squares_in::<f32>();
    subnormal_squares_in::<f64>();
}

fn no_direction_in<T: Element>() {
    for cols in COLS {
        for isa in tiers() {
            let zero = vec![T::ZERO; cols];
            let mut other = vec![T::ONE; cols];
            for last in [T::ONE, T::INFINITY, T::NAN] {
                if let Some(x) = other.last_mut() {
                    *x = last;
                }
                let nan = cols > 0 && last.is_nan();
                for (a, b) in [(&zero, &other), (&other, &zero), (&zero, &zero)] {
                    let nan = nan && a != b;
                    let mut batch = Batch::of(cols, a, b, &[T::from_f64(-3.0)]);
                    batch.run(&serial(isa), Distance::Cosine);
                    let which = format!("{isa}: {last}, {cols} columns");
                    let value = batch.out.row(0)[0];
                    assert!(if nan { value.is_nan() } else { value == T::ONE }, "{which}: {value}");
                    for grad in &batch.grads {
                        let grad = grad.row(0);
                        let zero = grad.iter().all(|&g| g == T::ZERO);
                        assert!(if nan { all_nan(grad) } else { zero }, "{which}: {grad:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn rows_without_a_direction_are_at_a_right_angle_to_everything_but_nan() {
    no_direction_in::<f32>();
    no_direction_in::<f64>();
}

fn nan_in<T: Element>() {
    let n = 40;
    for cols in COLS.into_iter().filter(|&cols| cols > 0) {
        for (isa, distance) in tiers().into_iter().flat_map(|isa| DISTANCES.map(|d| (isa, d))) {
            let mut batch = Batch::<T>::new([n, cols], Layout::DENSE, 15);
            batch.run(&serial(isa), distance);
            let clean = batch.bits();
            for (poisoned, k) in [(0, 0), (17, cols / 2), (n - 1, cols - 1)] {
                for side in 0..2 {
                    let mut batch = Batch::<T>::new([n, cols], Layout::DENSE, 15);
                    let target = if side == 0 { &mut batch.a } else { &mut batch.b };
                    target.mat_mut().row_mut(poisoned)[k] = T::NAN;
                    batch.run(&serial(isa), distance);
                    let which = format!("{isa}: {distance:?}, {cols} columns, ({poisoned}, {k})");
                    for i in 0..n {
                        assert_eq!(batch.out.row(0)[i].is_nan(), i == poisoned, "{which}, {i}");
                    }
                    for (grad, own_side) in [(0, side == 0), (1, side == 1)] {
                        let clean = &clean[1 + grad];
                        for i in 0..n {
                            let row = batch.grads[grad].row(i);
                            let depends = |j: usize| match distance {
                                _ if i != poisoned => false,
                                Distance::SquaredEuclidean => j == k,
                                Distance::Dot => j == k && !own_side,
                                _ => true,
                            };
                            for j in 0..cols {
                                let expected = clean[i * cols + j];
                                let same = row[j].bits() == expected;
                                // The elements beside the NaN of a dot product are as they were.
                                let as_promised = if depends(j) { row[j].is_nan() } else { same };
                                assert!(
                                    as_promised,
                                    "{which}: grad {grad}[{i}][{j}] is {}",
                                    row[j]
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn nan_reaches_what_depends_on_it_and_no_more() {
    nan_in::<f32>();
    nan_in::<f64>();
}

fn nan_upstream_in<T: Element>() {
    let zero = [T::ZERO; 6];
    let (x, upstream) = ([1.0, 2.0, 3.0, 1.0, 2.0, 3.0].map(T::from_f64), [T::NAN, T::ONE]);
    for (isa, distance) in tiers().into_iter().flat_map(|isa| DISTANCES.map(|d| (isa, d))) {
        // Distinct rows, equal rows, and rows without a direction.
        for (a, b) in [(x, zero), (x, x), (zero, zero)] {
            let mut batch = Batch::of(3, &a, &b, &upstream);
            batch.run(&serial(isa), distance);
            for grad in &batch.grads {
                assert!(all_nan(grad.row(0)), "{isa}: {distance:?}: {:?}", grad.row(0));
                assert!(grad.row(1).iter().all(|g| g.is_finite()), "{isa}: {distance:?}");
            }
            assert!(batch.out.row(0).iter().all(|d| d.is_finite()), "{isa}: {distance:?}");
        }
    }
}

#[test]
fn a_nan_in_upstream_reaches_its_row_even_where_the_distance_is_zero() {
    nan_upstream_in::<f32>();
    nan_upstream_in::<f64>();
}

fn infinities_in<T: Element>() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let expected = |distance| match distance {
        // The other coordinate's difference is 1, over an infinite distance.
        Distance::Euclidean => (inf, [nan, 0.0]),
        Distance::SquaredEuclidean => (inf, [inf, 2.0]),
        Distance::Dot => (inf, [1.0, 1.0]),
        _ => (nan, [nan, nan]),
    };
    for (isa, distance) in tiers().into_iter().flat_map(|isa| DISTANCES.map(|d| (isa, d))) {
        let (a, b) = ([T::INFINITY, T::from_f64(2.0)], [T::ONE, T::ONE]);
        let mut batch = Batch::of(2, &a, &b, &[T::ONE]);
        batch.run(&serial(isa), distance);
        let (value, grad_a) = expected(distance);
        let same = |x: f64, y: f64| x == y || (x.is_nan() && y.is_nan());
        assert!(same(batch.out.row(0)[0].to_f64(), value), "{isa}: {distance:?}");
        for (got, expected) in wide(batch.grads[0].row(0)).into_iter().zip(grad_a) {
            assert!(same(got, expected), "{isa}: {distance:?}: {got}, expected {expected}");
        }
    }
}

#[test]
fn infinities_follow_the_formula() {
    infinities_in::<f32>();
    infinities_in::<f64>();
}

/// Rows at an angle of `angle` and less, of any lengths.
fn nearly_parallel<T: Element>(cols: usize, angle: f64, random: &mut Random) -> [Vec<T>; 2] {
    let mut draw = || -> Vec<f64> { (0..cols).map(|_| random.between(-1.0, 1.0)).collect() };
    let (a, noise) = (draw(), draw());
    let share = angle * (dot(&a, &a) / dot(&noise, &noise)).sqrt();
    let b = a.iter().zip(&noise).map(|(a, noise)| T::from_f64(37.0 * (a + share * noise)));
    let b = b.collect();
    [a.into_iter().map(T::from_f64).collect(), b]
}

fn parallel_in<T: Element>() {
    let epsilon = T::EPSILON.to_f64();
    let mut random = Random::new(21);
    let twin = Twin::of::<T>(Distance::Cosine);
    for cols in COLS.into_iter().filter(|&cols| cols > 1) {
        for halvings in 1..T::EPSILON.to_f64().log2().abs() as i32 - 3 {
            let [a, b] = nearly_parallel::<T>(cols, 0.5_f64.powi(halvings), &mut random);
            let (wide_a, wide_b) = (wide(&a), wide(&b));
            let expected = twin.value(&wide_a, &wide_b);
            // That of the rows as they were rounded.
            let angle = (2.0 * expected).sqrt();
            let mut batch = Batch::of(cols, &a, &b, &[T::ONE]);
            for isa in tiers() {
                batch.run(&serial(isa), Distance::Cosine);
                let got = batch.out.row(0)[0].to_f64();
                // Half a rounding of each unit vector's elements, in the square; and norms that are
                // off by up to cols / 8 roundings, since four vectors of sums share the row.
                let norms = epsilon * (2.0 + cols as f64 / 8.0);
                let allowed = 2.0 * angle * epsilon + expected * 2.0 * norms + norms * norms;
                let error = (got - expected).abs();
                assert!(
                    error <= allowed,
                    "{} on {isa}: {cols} columns at an angle of {angle:e}: {got:e}, not {expected:e}: \
                     off by {error:e}, not {allowed:e}",
                    T::NAME
                );
                for (side, (x, y)) in
                    [(&wide_a, &wide_b), (&wide_b, &wide_a)].into_iter().enumerate()
                {
                    let length = |of: &[f64]| dot(of, of).sqrt();
                    let expected = twin.gradient(x, y);
                    let off: Vec<f64> = wide(batch.grads[side].row(0))
                        .iter()
                        .zip(&expected)
                        .map(|(got, expected)| got - expected)
                        .collect();
                    // Its own length is the angle over the row's.
                    assert!(
                        length(&off) <= (2.0 * epsilon + 2.0 * norms) / length(x),
                        "{} on {isa}: {cols} columns at an angle of {angle:e}: gradient off by {:e} \
                         of {:e}",
                        T::NAME,
                        length(&off),
                        length(&expected)
                    );
                }
            }
        }
    }
}

#[test]
fn nearly_parallel_rows_keep_their_relative_precision() {
    parallel_in::<f32>();
    parallel_in::<f64>();
    // What is promised, in one number: 1 - cos in f32 is off by 6e-8, or 0.12 of this.
    let (a, b) = ([1.0_f32, 0.0], [1.0_f32, 1e-3]);
    let expected = 1.0 - 1.0 / (1.0 + f64::from(b[1]).powi(2)).sqrt();
    for isa in tiers() {
        let mut batch = Batch::of(2, &a, &b, &[1.0]);
        batch.run(&serial(isa), Distance::Cosine);
        let relative = (f64::from(batch.out.row(0)[0]) / expected - 1.0).abs();
        assert!(relative < 3e-4, "{isa}: {relative:e}");
    }
}

/// What is refused when one argument of good calls with 3 x 2 matrices is replaced.
#[derive(Clone, Copy)]
struct Refusal {
    b: [usize; 2],
    vector: usize,
    grad_a: [usize; 2],
    grad_b: [usize; 2],
    message: &'static str,
}

const GOOD: Refusal = Refusal { b: [3, 2], vector: 3, grad_a: [3, 2], grad_b: [3, 2], message: "" };

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    let data = [1.0_f32; 12];
    let mat = |[rows, cols]: [usize; 2]| Mat::new(&data[..rows * cols], rows, cols).unwrap();
    let cx = Cx::default();
    for distance in DISTANCES {
        let mut out = [7.0; 4];
        for refusal in [
            Refusal { b: [2, 3], message: "b has shape 2x3, expected 3x2 (as a)", ..GOOD },
            Refusal { b: [3, 1], message: "b has shape 3x1, expected 3x2 (as a)", ..GOOD },
            Refusal {
                vector: 2,
                message: "out has 2 elements, expected 3 (the rows of a)",
                ..GOOD
            },
            Refusal {
                vector: 4,
                message: "out has 4 elements, expected 3 (the rows of a)",
                ..GOOD
            },
        ] {
            let out = &mut out[..refusal.vector];
            let refused = row_distances(&cx, distance, mat([3, 2]), mat(refusal.b), out);
            let message = format!("row_distances: {}", refusal.message);
            assert_eq!(refused.unwrap_err().to_string(), message);
        }
        assert_eq!(out, [7.0; 4]);

        let (mut grad_a, mut grad_b) = ([7.0; 12], [7.0; 12]);
        let upstream = [1.0; 4];
        for refusal in [
            Refusal { b: [2, 3], message: "b has shape 2x3, expected 3x2 (as a)", ..GOOD },
            Refusal {
                vector: 2,
                message: "upstream has 2 elements, expected 3 (the rows of a)",
                ..GOOD
            },
            Refusal {
                vector: 4,
                message: "upstream has 4 elements, expected 3 (the rows of a)",
                ..GOOD
            },
            Refusal {
                grad_a: [2, 2],
                message: "grad_a has shape 2x2, expected 3x2 (as a)",
                ..GOOD
            },
            Refusal {
                grad_a: [2, 3],
                message: "grad_a has shape 2x3, expected 3x2 (as a)",
                ..GOOD
            },
            Refusal {
                grad_b: [4, 2],
                message: "grad_b has shape 4x2, expected 3x2 (as a)",
                ..GOOD
            },
            Refusal {
                grad_b: [3, 3],
                message: "grad_b has shape 3x3, expected 3x2 (as a)",
                ..GOOD
            },
        ] {
            let [ga, gb] = [refusal.grad_a, refusal.grad_b];
            let refused = row_distances_backward(
                &cx,
                distance,
                mat([3, 2]),
                mat(refusal.b),
                &upstream[..refusal.vector],
                MatMut::new(&mut grad_a[..ga[0] * ga[1]], ga[0], ga[1]).unwrap(),
                MatMut::new(&mut grad_b[..gb[0] * gb[1]], gb[0], gb[1]).unwrap(),
            );
            let message = format!("row_distances_backward: {}", refusal.message);
            assert_eq!(refused.unwrap_err().to_string(), message);
        }
        assert_eq!((grad_a, grad_b), ([7.0; 12], [7.0; 12]));
    }
}

/// Rows so wide that one of them is a task, none of them, and no memory at all.
#[test]
fn no_rows_of_any_width_are_no_distances() {
    for cols in [0, 1, 16385, 1 << 20, usize::MAX] {
        let none = || Mat::<f32>::new(&[], 0, cols).unwrap();
        for distance in DISTANCES {
            let cx = Cx::default();
            row_distances(&cx, distance, none(), none(), &mut []).unwrap();
            let [grad_a, grad_b] = [&mut [], &mut []].map(|g| MatMut::new(g, 0, cols).unwrap());
            row_distances_backward(&cx, distance, none(), none(), &[], grad_a, grad_b).unwrap();
        }
    }
}

/// Pairs of rows away from d = 0 and |a| = 0, where a distance has no derivative.
#[derive(Clone, Debug)]
struct Draw {
    isa: Isa,
    distance: Distance,
    cols: usize,
    pairs: Vec<DrawnPair>,
}

#[derive(Clone, Debug)]
struct DrawnPair {
    a: Vec<f64>,
    b: Vec<f64>,
    upstream: f64,
}

/// A row of a length between 0.5 and 4.
fn row(cols: usize) -> impl Strategy<Value = Vec<f64>> {
    (vec(-1.0..1.0, cols), 0.5..4.0).prop_map(move |(direction, length)| {
        let norm = dot(&direction, &direction).sqrt();
        if norm < 1e-3 {
            return vec![length / (cols as f64).sqrt(); cols];
        }
        direction.into_iter().map(|x| x / norm * length).collect()
    })
}

fn pair(cols: usize) -> impl Strategy<Value = DrawnPair> {
    (row(cols), row(cols), -2.0..2.0)
        .prop_filter("no derivative at d = 0", |(a, b, _)| oracle::squared_distance(a, b) > 0.01)
        .prop_map(|(a, b, upstream)| DrawnPair { a, b, upstream })
}

fn draw() -> impl Strategy<Value = Draw> {
    (select(tiers()), select(&DISTANCES[..]), 1..=40_usize).prop_flat_map(
        |(isa, distance, cols)| {
            vec(pair(cols), 1..=20).prop_map(move |pairs| Draw { isa, distance, cols, pairs })
        },
    )
}

fn gradients_are_central_differences<T: Element>(draw: &Draw) {
    let numbers = |of: fn(&DrawnPair) -> &[f64]| -> Vec<T> {
        draw.pairs.iter().flat_map(of).map(|&x| T::from_f64(x)).collect()
    };
    let (a, b) = (numbers(|pair| &pair.a), numbers(|pair| &pair.b));
    let upstream = numbers(|pair| std::slice::from_ref(&pair.upstream));
    let mut batch = Batch::of(draw.cols, &a, &b, &upstream);
    batch.run(&serial(draw.isa), draw.distance);

    let twin = Twin::of::<T>(draw.distance);
    for i in 0..upstream.len() {
        let (a, b) = (wide(batch.a.row(i)), wide(batch.b.row(i)));
        for (side, (x, y)) in [(&a, &b), (&b, &a)].into_iter().enumerate() {
            let tolerances = twin.gradient_tolerance(x, y);
            for k in 0..draw.cols {
                let numeric = central_difference(twin, x, y, k);
                let expected = upstream[i].to_f64() * numeric;
                let got = batch.grads[side].row(i)[k].to_f64();
                // Third derivatives are below 3/d² < 300 and, of a cosine, 15/|a|³ < 120, so a step
                // of 1e-5 truncates by less than 300/6 * 1e-10; values up to 16 round by 1e-15.
                let allowed = 2.0 * (tolerances[k] + 1e-8);
                assert!(
                    (got - expected).abs() <= allowed,
                    "{} {:?} on {}: side {side} [{i}][{k}] is {got}, the central difference \
                     {expected}",
                    T::NAME,
                    draw.distance,
                    draw.isa
                );
            }
        }
    }
}

/// The central difference of the twin's value along coordinate k of the first row.
fn central_difference(twin: Twin, x: &[f64], y: &[f64], k: usize) -> f64 {
    let step = 1e-5;
    let value = |step: f64| {
        let mut moved = x.to_vec();
        moved[k] += step;
        twin.value(&moved, y)
    };
    (value(step) - value(-step)) / (2.0 * step)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource(
            "proptest-regressions",
        ))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_gradient_is_the_derivative_of_the_formula(draw in draw()) {
        gradients_are_central_differences::<f32>(&draw);
        gradients_are_central_differences::<f64>(&draw);
    }
}

/// Rows are computed one by one: neither the batch around a row nor its place in it matters.
#[test]
fn a_row_does_not_depend_on_the_others() {
    for (cols, distance) in [2, 17, 100, 2049].into_iter().flat_map(|c| DISTANCES.map(|d| (c, d))) {
        let mut batch = Batch::<f32>::new([35, cols], Layout::DENSE, 4);
        for isa in tiers() {
            batch.run(&serial(isa), distance);
            for i in [0, 1, 15, 16, 34] {
                let upstream = [batch.upstream.row(0)[i]];
                let mut alone = Batch::of(cols, batch.a.row(i), batch.b.row(i), &upstream);
                alone.run(&serial(isa), distance);
                assert_eq!(alone.out.row(0), &batch.out.row(0)[i..i + 1], "{isa}: {distance:?}");
                for side in 0..2 {
                    let [alone, row] = [alone.grads[side].row(0), batch.grads[side].row(i)];
                    assert_eq!(bits(alone), bits(row), "{isa}: {distance:?}, row {i}, {cols}");
                }
            }
        }
    }
}
