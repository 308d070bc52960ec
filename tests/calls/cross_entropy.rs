//! `batch::cross_entropy` against its formula in scalar `f64`: every tier and precision, columns at which a
//! loop changes its course, any alignment and stride, labels to ignore, weights, NaN and infinities, threads,
//! what is refused; the gradient also against central differences of the formula.

#![forbid(unsafe_code)]

use drlim::batch::{CrossEntropy, CrossEntropyOutcome, cross_entropy};
use drlim::{Cx, Error, Isa, Mat, MatMut, Par};

use crate::support::element::{bits, wide};
use crate::support::{Element, Guarded, Random, serial, tiers};

/// Columns around the numbers of lanes and of elements that a loop takes at once.
fn columns() -> impl Iterator<Item = usize> {
    (1..=40).chain([63, 64, 65, 127, 128, 129, 130, 1000])
}

/// -ln(p_y) of a row, and p - [k = y], from sums that leave the label out.
fn formula(x: &[f64], y: usize) -> (f64, Vec<f64>) {
    let largest = x.iter().fold(f64::NEG_INFINITY, |most, &x| most.max(x));
    let powers: Vec<f64> = x.iter().map(|x| (x - largest).exp()).collect();
    let others: f64 = (0..x.len()).filter(|&k| k != y).map(|k| powers[k]).sum();
    let total = others + powers[y];
    let value = if x[y] == largest { others.ln_1p() } else { total.ln() + (largest - x[y]) };
    let grad = |(k, power): (usize, &f64)| if k == y { -others } else { *power } / total;
    (value, powers.iter().enumerate().map(grad).collect())
}

/// How much of itself a result of a row may be off by: the documented bound, and what this formula is.
fn allowed<T: Element>(x: &[f64]) -> f64 {
    let most = x.iter().fold(f64::NEG_INFINITY, |most, &x| most.max(x));
    let least = x.iter().fold(f64::INFINITY, |least, &x| least.min(x));
    let of_type = if size_of::<T>() == 4 { 104.0 } else { 746.0 };
    let bound = x.len() as f64 / 32.0 + 12.0 + (most - least).min(of_type);
    bound * (T::EPSILON.to_f64() + f64::EPSILON)
}

#[track_caller]
fn close<T: Element>(got: f64, expected: f64, relative: f64, which: &str) {
    let error = (got - expected).abs();
    let allowed = relative * expected.abs() + 4.0 * T::MIN_POSITIVE.to_f64();
    // Written such that a NaN fails.
    assert!(
        error <= allowed,
        "{which}: {got}, expected {expected}, off by {error:e} of {allowed:e}"
    );
}

/// Rows of logits that are in turn ordinary, nearly certain, nearly certain of another class, all but
/// equal, and large.
fn logits<T: Element>(layout: [usize; 2], shape: [usize; 2], seed: u64) -> Guarded<T> {
    let mut random = Random::new(seed);
    Guarded::new(layout[0], shape, shape[1] + layout[1], |i, k| {
        let x: f64 = random.between::<f64>(-4.0, 4.0);
        T::from_f64(match i % 5 {
            0 => x,
            1 | 2 if k == (7 * i) % shape[1] => x + 30.0,
            1 => x,
            2 => 0.5 * x,
            3 => 100.0 + 1e-3 * x,
            _ => 1000.0 * x,
        })
    })
}

/// Labels among which those of every fifth row are those of its largest logit.
fn labels(n: usize, classes: usize, seed: u64) -> Vec<i64> {
    let mut random = Random::new(seed ^ 0xABCD);
    let mut label =
        |i: usize| if i % 5 == 1 { 7 * i % classes } else { random.bits() as usize % classes };
    (0..n).map(|i| label(i) as i64).collect()
}

fn weights<T: Element>(n: usize) -> Vec<T> {
    (0..n).map(|i| T::from_f64(0.25 * (i % 6) as f64)).collect()
}

fn each_row_is_that_of_the_formula_in<T: Element>() {
    for (seed, cols) in columns().enumerate() {
        for n in [1, 7, 65] {
            let layout = [(3 * seed + n) % 16, (seed + n / 2) % 4];
            let (x, y) =
                (logits::<T>(layout, [n, cols], seed as u64), labels(n, cols, seed as u64));
            let weights = weights::<T>(n);
            let scale = T::from_f64(-0.5);
            for isa in tiers() {
                let which = format!("{isa}: {n} x {cols} {}", T::NAME);
                let mut grad = Guarded::output(seed % 7, [n, cols], cols + seed % 3);
                let how = CrossEntropy::sum().weighted(&weights).scaled(scale);
                let out = Some(grad.mat_mut());
                let outcome = cross_entropy(&serial(isa), x.mat(), &y, how, out).unwrap();
                grad.check("grad");
                x.check("logits");
                let (mut value, mut size, mut correct) = (0.0, 0.0, 0);
                for i in 0..n {
                    let (row, label) = (wide(x.row(i)), y[i] as usize);
                    let (l, g) = formula(&row, label);
                    let weight = weights[i].to_f64();
                    value += weight * l;
                    size += weight * l * allowed::<T>(&row);
                    correct += u64::from((0..cols).all(|k| k == label || row[k] < row[label]));
                    for (k, g) in g.iter().enumerate() {
                        let expected = -0.5 * weight * g;
                        let which = format!("{which}, grad[{i}][{k}], label {label}");
                        close::<T>(grad.row(i)[k].to_f64(), expected, allowed::<T>(&row), &which);
                    }
                    // The row by itself, without a gradient.
                    let view = Mat::new(x.row(i), 1, cols).unwrap();
                    let how = CrossEntropy::<T>::mean();
                    let alone = cross_entropy(&serial(isa), view, &y[i..=i], how, None).unwrap();
                    close::<T>(alone.value, l, allowed::<T>(&row), &format!("{which}, l_{i}"));
                }
                assert!((outcome.value - value).abs() <= size + 1e-300, "{which}: {outcome:?}");
                assert_eq!((outcome.rows, outcome.correct), (n as u64, correct), "{which}");
                let without = cross_entropy(&serial(isa), x.mat(), &y, how, None).unwrap();
                assert_eq!(without, outcome, "{which}: without a gradient");
            }
        }
    }
}

#[test]
fn each_row_is_that_of_the_formula() {
    each_row_is_that_of_the_formula_in::<f32>();
    each_row_is_that_of_the_formula_in::<f64>();
}

/// A mean is the sum over rows that are not ignored, divided by their weights, and so is its gradient.
fn means_are_divided_by_the_weights_in<T: Element>() {
    let (n, cols) = (90, 11);
    let x = logits::<T>([0, 2], [n, cols], 5);
    let mut y = labels(n, cols, 5);
    for i in (0..n).step_by(4) {
        y[i] = if i % 8 == 0 { -100 } else { 3 };
    }
    let weights = weights::<T>(n);
    for isa in tiers() {
        for (ignored, weighted) in [(-100, false), (-100, true), (3, false), (3, true)] {
            // Where -100 is not ignored, it is no class.
            let y: Vec<i64> =
                y.iter().map(|&y| if ignored == 3 && y == -100 { 3 } else { y }).collect();
            let kept: Vec<usize> = (0..n).filter(|&i| y[i] != ignored).collect();
            let divisor: f64 =
                kept.iter().map(|&i| if weighted { weights[i].to_f64() } else { 1.0 }).sum();
            let with = |how: CrossEntropy<'static, T>| how.ignoring(ignored);
            let how = |how| if weighted { with(how).weighted(&weights) } else { with(how) };
            let run = |how| {
                let mut grad = Guarded::output(0, [n, cols], cols + 1);
                let out = Some(grad.mat_mut());
                let outcome = cross_entropy(&serial(isa), x.mat(), &y, how, out).unwrap();
                (outcome, grad.checked("grad"))
            };
            let (sum, of_sum) = run(how(CrossEntropy::sum()));
            let (mean, of_mean) = run(how(CrossEntropy::mean().scaled(T::from_f64(3.0))));
            let which = format!("{isa} {}: ignoring {ignored}, weighted {weighted}", T::NAME);
            assert_eq!((sum.rows, sum.correct), (mean.rows, mean.correct), "{which}");
            assert_eq!(sum.rows, kept.len() as u64, "{which}");
            close::<T>(mean.value, sum.value / divisor, 1e-14, &which);
            let few = 4.0 * T::EPSILON.to_f64();
            for (at, (sum, mean)) in of_sum.iter().zip(&of_mean).enumerate() {
                let expected = 3.0 * sum.to_f64() / divisor;
                close::<T>(mean.to_f64(), expected, few, &format!("{which}, grad[{at}]"));
                assert!(y[at / cols] != ignored || sum.bits() == 0, "{which}: ignored, {at}");
            }
        }
    }
}

#[test]
fn means_are_divided_by_the_weights_of_rows_that_count() {
    means_are_divided_by_the_weights_in::<f32>();
    means_are_divided_by_the_weights_in::<f64>();
}

/// The gradient of a nearly certain row, and its value, keep their digits, where 1 - p and -ln(p) would
/// have none.
#[test]
fn nearly_certain_rows_keep_their_digits() {
    for isa in tiers() {
        for cols in [2, 3, 17, 40] {
            let mut x = vec![0.0_f32; cols];
            x[1] = 40.0;
            let mut grad = vec![f32::NAN; cols];
            let to = Some(MatMut::new(&mut grad, 1, cols).unwrap());
            let view = Mat::new(&x, 1, cols).unwrap();
            let outcome = cross_entropy(&serial(isa), view, &[1], CrossEntropy::sum(), to).unwrap();
            let expected = (cols - 1) as f64 * (-40.0_f64).exp();
            for got in [outcome.value, -f64::from(grad[1])] {
                assert!((got / expected - 1.0).abs() < 1e-6, "{isa}, {cols}: {got:e}");
            }
        }
    }
}

/// Whether all are NaN.
fn all_nan<T: Element>(of: &[T]) -> bool {
    of.iter().all(|x| x.is_nan())
}

fn special_values_stay_in_their_row_in<T: Element>() {
    let infinity = T::INFINITY;
    for (isa, cols) in tiers().into_iter().flat_map(|isa| [2, 9, 33, 130].map(|c| (isa, c))) {
        let n = 5;
        let clean = logits::<T>([0, 0], [n, cols], 3);
        let y = labels(n, cols, 3);
        let run = |x: &Guarded<T>| {
            let mut grad = Guarded::output(0, [n, cols], cols);
            let how = CrossEntropy::sum();
            let got = cross_entropy(&serial(isa), x.mat(), &y, how, Some(grad.mat_mut())).unwrap();
            grad.check("grad");
            (got, grad)
        };
        let (_, expected) = run(&clean);
        let with = |at: &dyn Fn(usize) -> bool, special: T| {
            let stride = cols;
            Guarded::new(0, [n, cols], stride, |i, k| {
                if i == 2 && at(k) { special } else { clean.row(i)[k] }
            })
        };
        let label = y[2] as usize;
        let other = (label + cols / 2 + 1) % cols;
        let other = if other == label { (label + 1) % cols } else { other };
        let which = format!("{isa}: {cols} columns of {}", T::NAME);
        for (at, special) in
            [(label, T::NAN), (other, T::NAN), (label, infinity), (other, infinity)]
        {
            let (got, grad) = run(&with(&|k| k == at, special));
            assert!(got.value.is_nan() && all_nan(grad.row(2)), "{which}: {special} at {at}");
            for i in [0, 1, 3, 4] {
                assert_eq!(bits(grad.row(i)), bits(expected.row(i)), "{which}: row {i}");
            }
        }
        let (got, grad) = run(&with(&|_| true, -infinity));
        assert!(got.value.is_nan() && all_nan(grad.row(2)), "{which}: nothing but -inf");
        let (got, grad) = run(&with(&|_| true, T::NAN));
        assert!(got.value.is_nan() && all_nan(grad.row(2)), "{which}: nothing but NaN");
        assert!(got.correct <= 4);

        // A class that cannot be, and one that should be and cannot.
        let (got, grad) = run(&with(&|k| k == other, -infinity));
        assert!(got.value.is_finite() && grad.row(2).iter().all(|g| g.is_finite()), "{which}");
        assert_eq!(grad.row(2)[other], T::ZERO, "{which}");
        let (got, grad) = run(&with(&|k| k == label, -infinity));
        assert_eq!(got.value, f64::INFINITY, "{which}");
        let own = grad.row(2)[label].to_f64();
        assert!((own + 1.0).abs() <= 4.0 * T::EPSILON.to_f64(), "{which}: {own}");
        // Only the label can be.
        let (got, grad) = run(&with(&|k| k != label, -infinity));
        assert!(got.value.is_finite() && grad.row(2).iter().all(|g| *g == T::ZERO), "{which}");
        // The largest numbers that there are.
        let (got, grad) = run(&with(&|k| k != label, -T::MAX));
        assert!(got.value.is_finite() && grad.row(2).iter().all(|g| g.is_finite()), "{which}");

        // What is ignored may hold anything.
        let x = with(&|_| true, T::NAN);
        let mut y = y.clone();
        y[2] = i64::MIN;
        let mut grad = Guarded::output(0, [n, cols], cols);
        let how = CrossEntropy::sum().ignoring(i64::MIN);
        let got = cross_entropy(&serial(isa), x.mat(), &y, how, Some(grad.mat_mut())).unwrap();
        assert!(got.value.is_finite() && got.rows == 4, "{which}");
        assert_eq!(bits(grad.row(2)), vec![0; cols], "{which}");
    }
}

#[test]
fn special_values_stay_in_their_row() {
    special_values_stay_in_their_row_in::<f32>();
    special_values_stay_in_their_row_in::<f64>();
}

/// Rows without a choice, rows that are undecided, no rows, no columns, and no weight.
#[test]
fn edges_have_the_values_that_are_promised() {
    for isa in tiers() {
        let cx = &serial(isa);
        let mean = CrossEntropy::<f32>::mean;
        let mut grad = [f32::NAN; 4];
        let one = Mat::new(&[3.0, -2.0, 0.0, 9e9], 4, 1).unwrap();
        let to = Some(MatMut::new(&mut grad, 4, 1).unwrap());
        let got = cross_entropy(cx, one, &[0; 4], mean(), to).unwrap();
        assert_eq!((got.value, got.rows, got.correct, grad), (0.0, 4, 4, [0.0; 4]));

        let even = Mat::new(&[5.0; 4], 1, 4).unwrap();
        let to = Some(MatMut::new(&mut grad, 1, 4).unwrap());
        let got = cross_entropy(cx, even, &[2], mean(), to).unwrap();
        assert!((got.value - 4.0_f64.ln()).abs() < 1e-7 && got.correct == 0);
        assert_eq!(grad, [0.25, 0.25, -0.75, 0.25]);

        for cols in [0, 1, 16385, 1 << 20, usize::MAX] {
            let none = Mat::<f32>::new(&[], 0, cols).unwrap();
            let to = Some(MatMut::new(&mut [], 0, cols).unwrap());
            let got = cross_entropy(cx, none, &[], mean(), to).unwrap();
            assert_eq!(got, CrossEntropyOutcome::default());
        }
        // No class at all: labels can but be ignored.
        let none = Mat::<f32>::new(&[], 3, 0).unwrap();
        let got = cross_entropy(cx, none, &[7; 3], mean().ignoring(7), None).unwrap();
        assert_eq!(got, CrossEntropyOutcome::default());
        assert!(cross_entropy(cx, none, &[0; 3], mean(), None).is_err());

        // All are ignored, or count nothing.
        for (how, rows) in [(mean().ignoring(2), 0), (mean().weighted(&[0.0]), 1)] {
            grad = [f32::NAN; 4];
            let to = Some(MatMut::new(&mut grad, 1, 4).unwrap());
            let got = cross_entropy(cx, even, &[2], how, to).unwrap();
            assert_eq!((got.value, got.rows), (0.0, rows));
            assert!(grad.iter().all(|&g| g == 0.0));
        }
    }
}

fn threads_in<T: Element>() {
    let pools = [1, 2, 3, 7]
        .map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    for shape in [[40_003, 3], [5_003, 33], [301, 1000]] {
        let x = logits::<T>([1, 1], shape, 9);
        let (y, weights) = (labels(shape[0], shape[1], 9), weights::<T>(shape[0]));
        for isa in tiers() {
            let run = |par| {
                let mut grad = Guarded::output(2, shape, shape[1]);
                let how = CrossEntropy::mean().weighted(&weights).ignoring(2);
                let cx = Cx { isa, par };
                let got = cross_entropy(&cx, x.mat(), &y, how, Some(grad.mat_mut())).unwrap();
                (got, grad.bits())
            };
            let expected = run(Par::Serial);
            for pool in &pools {
                let threads = pool.current_num_threads();
                let same = pool.install(|| run(Par::Rayon)) == expected;
                assert!(same, "{isa} {}: {shape:?}, {threads} threads", T::NAME);
            }
        }
    }
}

#[test]
fn results_of_cross_entropy_do_not_depend_on_threads() {
    threads_in::<f32>();
    threads_in::<f64>();
}

/// The gradient is the derivative of the value: central differences of the call itself in `f64`.
#[test]
fn the_gradient_of_cross_entropy_is_its_derivative() {
    let mut random = Random::new(77);
    for (isa, cols) in tiers().into_iter().flat_map(|isa: Isa| [1, 2, 5, 19].map(|c| (isa, c))) {
        let n = 4;
        let mut x: Vec<f64> = (0..n * cols).map(|_| random.between::<f64>(-2.0, 2.0)).collect();
        let mut y = labels(n, cols, 1);
        y[1] = -1;
        let weights: Vec<f64> = (0..n).map(|i| 0.5 + i as f64).collect();
        let how = CrossEntropy::mean().weighted(&weights).ignoring(-1);
        let value = |x: &[f64], to: Option<&mut [f64]>| {
            let view = Mat::new(x, n, cols).unwrap();
            let to = to.map(|to| MatMut::new(to, n, cols).unwrap());
            cross_entropy(&serial(isa), view, &y, how, to).unwrap().value
        };
        let mut grad = vec![f64::NAN; n * cols];
        value(&x, Some(&mut grad));
        let step = 1e-5;
        for at in 0..n * cols {
            let before = x[at];
            x[at] = before + step;
            let above = value(&x, None);
            x[at] = before - step;
            let numeric = (above - value(&x, None)) / (2.0 * step);
            x[at] = before;
            assert!((grad[at] - numeric).abs() < 1e-9, "{isa}, {cols}: {at}, {numeric}");
        }
    }
}

#[test]
fn what_does_not_fit_cross_entropy_is_refused_and_nothing_is_written() {
    let data = [1.0_f32; 12];
    let x = Mat::new(&data, 3, 4).unwrap();
    let mut grad = [7.0_f32; 20];
    let good: &[i64] = &[0, 3, 1];
    let weights = [1.0; 4];
    let how = CrossEntropy::mean();
    let of_shape = "cross_entropy: grad has shape";
    let of_label =
        "expected 0 or more and below 4 (the columns of logits), or the label to be ignored";
    for (labels, how, shape, message) in [
        (&good[..2], how, [3, 4], "cross_entropy: labels has 2 elements, expected 3".to_owned()),
        (&[0; 4], how, [3, 4], "cross_entropy: labels has 4 elements, expected 3".into()),
        (good, how.weighted(&weights), [3, 4], "cross_entropy: weights has 4 elements".into()),
        (good, how.weighted(&weights[..2]), [3, 4], "cross_entropy: weights has 2".into()),
        (good, how, [3, 5], format!("{of_shape} 3x5, expected 3x4 (as logits)")),
        (good, how, [4, 4], format!("{of_shape} 4x4, expected 3x4 (as logits)")),
        (&[0, 4, 1], how, [3, 4], format!("cross_entropy: labels[1] is 4, {of_label}")),
        (&[0, 1, -1], how, [3, 4], format!("cross_entropy: labels[2] is -1, {of_label}")),
        (&[-100, 1, 1], how.ignoring(-101), [3, 4], format!("labels[0] is -100, {of_label}")),
        (&[0, 1, i64::MAX], how, [3, 4], format!("labels[2] is 9223372036854775807, {of_label}")),
        (&[i64::MIN, 1, 1], how, [3, 4], format!("labels[0] is -9223372036854775808, {of_label}")),
    ] {
        let to = &mut grad[..shape[0] * shape[1]];
        let to = Some(MatMut::new(to, shape[0], shape[1]).unwrap());
        let error = cross_entropy(&Cx::default(), x, labels, how, to).unwrap_err();
        assert!(error.to_string().contains(&message), "{error} lacks {message}");
        assert_eq!(grad, [7.0; 20], "{message}");
    }
    let error = cross_entropy(&Cx::default(), x, &[0, 9, 1], how, None).unwrap_err();
    assert_eq!(error, Error::Label { call: "cross_entropy", at: 1, label: 9, classes: 4 });
}
