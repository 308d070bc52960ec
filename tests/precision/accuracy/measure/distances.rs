//! Distances of rows, and their gradients.

use drlim::batch::{Distance, row_distances as row_distances_of, row_distances_backward};
use drlim::{Mat, MatMut};

use super::bounds::{self, Bound, Sizes};
use super::formulas::{Off, Wide, dot, lost, squared_distance, through, wide};
use super::inputs::Class;
use super::record::{Case, Exact, Record};
use super::{Plan, serial};
use crate::support::Element;
use crate::support::formulas::over_distance;
use crate::support::number::{Number, sum};

/// Rows 2i of a matrix, and rows 2i + 1.
pub fn halves<T: Copy>(z: &[T], d: usize) -> [Vec<T>; 2] {
    [0, 1].map(|half| z.chunks_exact(d).skip(half).step_by(2).flatten().copied().collect())
}

/// Where the first elements of a stagnating row end: one in each lane of four sums of four.
pub const HEAD: usize = 16;

fn bounds_of(distance: Distance) -> [&'static Bound; 2] {
    match distance {
        Distance::Euclidean => [&bounds::EUCLIDEAN, &bounds::EUCLIDEAN_GRADS],
        Distance::SquaredEuclidean => [&bounds::SQUARED, &bounds::SQUARED_GRADS],
        Distance::Dot => [&bounds::DOT, &bounds::DOT_GRADS],
        Distance::Cosine => [&bounds::COSINE, &bounds::COSINE_GRADS],
        other => panic!("{other:?} has no bound"),
    }
}

pub fn row_distances<T: Element>(plan: &Plan, record: &mut Record) {
    let n = plan.rows;
    for (class, &d) in Class::ALL.iter().flat_map(|&c| plan.dims.iter().map(move |d| (c, d))) {
        let [a, b] = halves(&class.matrix::<T>([2 * n, d], HEAD, plan.seed), d);
        let upstream: Vec<T> = Class::Ordinary.matrix([1, n], 0, plan.seed);
        let case = Case { class, sizes: Sizes { d, n } };
        for distance in
            [Distance::Euclidean, Distance::SquaredEuclidean, Distance::Dot, Distance::Cosine]
        {
            let [of_values, of_grads] = bounds_of(distance);
            let relative = (of_values.allowed)(case.sizes) * T::EPSILON.to_f64();
            let (mut values, mut grads) = (Vec::new(), [Vec::new(), Vec::new()]);
            for i in 0..n {
                let [a, b] = [&a, &b].map(|z| wide(&z[i * d..][..d]));
                let off = Off::new::<T>(relative, d);
                values.push(value::<T>(distance, &a, &b, off));
                let upstream = Wide::new(upstream[i].to_f64());
                for (grads, [own, other]) in grads.iter_mut().zip([[&a, &b], [&b, &a]]) {
                    let gradient = gradient::<T>(distance, own, other, off);
                    let tiny = lost::<T>(0);
                    grads.extend(gradient.into_iter().map(|g| g.times(upstream).losing(tiny)));
                }
            }
            for isa in record.isas() {
                let (cx, view) = (serial(isa), |z| Mat::new(z, n, d).unwrap());
                let mut got = vec![T::NAN; n];
                row_distances_of(&cx, distance, view(&a), view(&b), &mut got).unwrap();
                let got = got.iter().map(|x| x.to_f64());
                record.compare::<T>(of_values, isa, case, got, values.iter().copied());
                let [mut by_a, mut by_b] = [(); 2].map(|()| vec![T::NAN; n * d]);
                let to = [&mut by_a, &mut by_b].map(|g| MatMut::new(g, n, d).unwrap());
                let [to_a, to_b] = to;
                row_distances_backward(&cx, distance, view(&a), view(&b), &upstream, to_a, to_b)
                    .unwrap();
                for (got, exact) in [by_a, by_b].iter().zip(&grads) {
                    let got = got.iter().map(|x| x.to_f64());
                    record.compare::<T>(of_grads, isa, case, got, exact.iter().copied());
                }
            }
        }
    }
}

/// Rows have an angle, or surely none; what underflows between is of no size that can be told.
fn directions<T: Element>(a: &[Wide], b: &[Wide], off: Off) -> Option<bool> {
    let least = T::MIN_POSITIVE.to_f64();
    let squares = [dot(a, a).high, dot(b, b).high];
    if squares.iter().any(|&square| square + off.lost < least) {
        return Some(false);
    }
    squares.iter().all(|&square| square * T::EPSILON.to_f64() > off.lost).then_some(true)
}

fn value<T: Element>(distance: Distance, a: &[Wide], b: &[Wide], off: Off) -> Exact {
    let d2 = squared_distance(a, b);
    match distance {
        Distance::SquaredEuclidean => through(d2, Off { relative: 1.0, ..off }, |d2| d2).once(),
        Distance::Euclidean => through(d2, off, Number::sqrt).once(),
        Distance::Dot => {
            let terms = a.iter().zip(b).map(|(&a, &b)| Exact::term(a * b));
            terms.fold(Exact::default(), Exact::plus).losing(off.lost)
        }
        _ => match directions::<T>(a, b, off) {
            Some(true) => {
                let c = one_minus_cosine(a, b);
                let size = c.high + (2.0 * c.high).sqrt() + off.relative;
                Exact { value: c, size, lost: off.lost }
            }
            Some(false) => Exact::term(Wide::new(1.0)),
            None => Exact { size: f64::INFINITY, ..Exact::default() },
        },
    }
}

impl Exact {
    /// A number whose only term is itself.
    fn once(self) -> Self {
        Exact { size: self.value.abs().high, ..self }
    }
}

/// |â - b̂|²/2
fn one_minus_cosine(a: &[Wide], b: &[Wide]) -> Wide {
    let [norm_a, norm_b] = [a, b].map(|x| dot(x, x).sqrt());
    let square = |(&a, &b): (&Wide, &Wide)| {
        let e = a / norm_a - b / norm_b;
        e * e
    };
    Wide::new(0.5) * sum(a.iter().zip(b).map(square))
}

/// By the first of two rows.
fn gradient<T: Element>(distance: Distance, a: &[Wide], b: &[Wide], off: Off) -> Vec<Exact> {
    let d2 = squared_distance(a, b);
    let least = T::MIN_POSITIVE.to_f64();
    let pairs = a.iter().zip(b);
    match distance {
        Distance::SquaredEuclidean => {
            pairs.map(|(&a, &b)| Exact::term(Wide::new(2.0) * (a - b))).collect()
        }
        Distance::Euclidean => {
            let slope = through(d2, off, |d2| over_distance(Wide::new(1.0), d2, least));
            pairs.map(|(&a, &b)| slope.times(a - b)).collect()
        }
        Distance::Dot => b.iter().map(|&b| Exact::term(b)).collect(),
        _ => match directions::<T>(a, b, off) {
            Some(true) => {
                let [norm_a, norm_b] = [a, b].map(|x| dot(x, x).sqrt());
                let cos = Wide::new(1.0) - one_minus_cosine(a, b);
                let element = |(&a, &b): (&Wide, &Wide)| {
                    let (a, b) = (a / norm_a, b / norm_b);
                    let size = (a.abs().high + b.abs().high) / norm_a.high;
                    let lost = off.lost / norm_a.high;
                    Exact { value: (cos * a - b) / norm_a, size, lost }
                };
                pairs.map(element).collect()
            }
            Some(false) => vec![Exact::default(); a.len()],
            None => vec![Exact { size: f64::INFINITY, ..Exact::default() }; a.len()],
        },
    }
}
