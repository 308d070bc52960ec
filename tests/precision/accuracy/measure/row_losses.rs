//! Losses of the rows of one matrix, and their gradients.

use drlim::batch::{CrossEntropy, cross_entropy as cross_entropy_of};
use drlim::{Mat, MatMut};

use super::bounds::{self, Sizes};
use super::distances::HEAD;
use super::formulas::{Wide, lost, wide};
use super::inputs::Class;
use super::record::{Case, Exact, Record};
use super::specials::Subject;
use super::{Plan, serial};
use crate::support::Element;
use crate::support::number::{Number, sum};

/// Logits of a class of inputs. Of stagnating rows it is the powers that stagnate.
fn logits<T: Element>(class: Class, shape: [usize; 2], seed: u64) -> Vec<T> {
    let numbers: Vec<T> = class.matrix(shape, HEAD, seed);
    match class {
        Class::Stagnating => {
            numbers.iter().map(|x| T::from_f64(2.0 * x.to_f64().abs().ln())).collect()
        }
        _ => numbers,
    }
}

pub fn cross_entropy<T: Element>(plan: &Plan, record: &mut Record) {
    for (class, &d) in Class::ALL.iter().flat_map(|&c| plan.dims.iter().map(move |d| (c, d))) {
        let x: Vec<T> = logits(class, [plan.rows, d], plan.seed);
        let case = Case { class, sizes: Sizes { d, n: plan.rows } };
        for (i, x) in x.chunks_exact(d).enumerate() {
            let label = 5 * i % d;
            let (value, grad) = exact::<T>(x, label);
            for isa in record.isas() {
                let mut got = vec![T::NAN; d];
                let to = Some(MatMut::new(&mut got, 1, d).unwrap());
                let (view, how) = (Mat::new(x, 1, d).unwrap(), CrossEntropy::mean());
                let outcome =
                    cross_entropy_of(&serial(isa), view, &[label as i64], how, to).unwrap();
                let of_values = &bounds::CROSS_ENTROPY;
                record.compare::<T>(of_values, isa, case, [outcome.value], [value]);
                let got = got.iter().map(|g| g.to_f64());
                record.compare::<T>(&bounds::CROSS_ENTROPY_GRAD, isa, case, got, grad.clone());
            }
        }
    }
}

/// The value of a row and its gradient.
fn exact<T: Element>(x: &[T], label: usize) -> (Exact, Vec<Exact>) {
    let d = x.len();
    let x = wide(x);
    let largest = (1..d).fold(0, |most, k| if x[most] < x[k] { k } else { most });
    let powers: Vec<Wide> = x.iter().map(|&one| (one - x[largest]).exp()).collect();
    let without = |left_out: usize| sum((0..d).filter(|&k| k != left_out).map(|k| powers[k]));
    let total = without(largest) + Wide::of(1.0);
    let value = ln_1p(without(largest)) + (x[largest] - x[label]);

    let least = x.iter().map(|x| x.high).fold(f64::INFINITY, f64::min);
    let most = if size_of::<T>() == 4 { 104.0 } else { 746.0 };
    let range = (x[largest].high - least).min(most);
    let constant = (bounds::CROSS_ENTROPY.allowed)(Sizes { d, n: 1 });
    let held = |value: Wide| {
        let size = value.abs().high * (1.0 + range / constant);
        Exact { value, size, lost: 2.0 * lost::<T>(d) }
    };
    let grad = (0..d).map(|k| if k == label { -without(k) } else { powers[k] } / total);
    (held(value), grad.map(held).collect())
}

/// ln(1 + x) for x of 0 and above.
pub fn ln_1p(x: Wide) -> Wide {
    if x.high < 1e-8 {
        let (half, third) = (x / Wide::of(2.0), x / Wide::of(3.0));
        return x - x * (half - x * third);
    }
    // A step of Newton's.
    let first = Wide::of(x.high.ln_1p());
    first + ((Wide::of(1.0) + x) * (-first).exp() - Wide::of(1.0))
}

/// Rows of what special values are put into, and their elements: a vector of the widest tier and a tail.
const N: usize = 3;
const D: usize = 19;

/// Each row by itself: its value, then its gradient.
pub fn subject<T: Element>() -> Subject<T> {
    let label = |i: usize| 7 * i + 1;
    Subject {
        name: "cross_entropy",
        to_the_bit: true,
        inputs: vec![N * D],
        call: Box::new(move |isa, inputs| {
            let rows = inputs[0].chunks_exact(D).enumerate().map(|(i, x)| {
                let mut got = vec![T::ZERO; D];
                let to = Some(MatMut::new(&mut got, 1, D).unwrap());
                let (x, how, y) =
                    (Mat::new(x, 1, D).unwrap(), CrossEntropy::sum(), [label(i) as i64]);
                let outcome = cross_entropy_of(&serial(isa), x, &y, how, to).unwrap();
                [&[T::from_f64(outcome.value)], &got[..]].concat()
            });
            rows.flatten().collect()
        }),
        plain: Box::new(move |inputs| {
            let rows = inputs[0].chunks_exact(D).enumerate();
            rows.flat_map(|(i, x)| plain(x, label(i))).collect()
        }),
    }
}

/// -ln(p_y), then p - [k = y], as special values go through them in `f64`.
fn plain(x: &[f64], label: usize) -> Vec<f64> {
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = x.iter().map(|x| (x - largest).exp()).collect();
    let total: f64 = powers.iter().sum();
    let grad = (powers.iter().enumerate())
        .map(|(k, power)| power / total - if k == label { 1.0 } else { 0.0 });
    [total.ln() + (largest - x[label])].into_iter().chain(grad).collect()
}
