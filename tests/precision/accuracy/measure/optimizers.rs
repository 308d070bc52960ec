//! One step of an optimizer, and the norm of a gradient.

use drlim::optim::{Adam, Optimizer, Sgd, clip_norm};

use super::bounds::{self, Sizes};
use super::formulas::{Wide, wide};
use super::inputs::Class;
use super::pairs::f64s;
use super::record::{Case, Exact, Record};
use super::{Plan, serial};
use crate::support::Element;
use crate::support::number::sum;

pub fn steps<T: Element>(plan: &Plan, record: &mut Record) {
    let (rate, decay, least) = (0.01, 0.1, T::MIN_POSITIVE.to_f64());
    for (class, &d) in Class::ALL.iter().flat_map(|&c| plan.dims.iter().map(move |d| (c, d))) {
        // Of many parameters only the step is left.
        let p: Vec<T> = Class::SignedZeros.matrix([1, d], 1, plan.seed);
        let grad: Vec<T> = class.matrix([1, d], 1, plan.seed);
        let case = Case { class, sizes: Sizes { d, n: 1 } };
        let of = Wide::new;
        let pairs = || wide(&p).into_iter().zip(wide(&grad));
        let sgd = pairs().map(|(p, g)| {
            let terms = [p, of(-rate) * g, of(-rate) * of(decay) * p].map(Exact::term);
            terms.into_iter().fold(Exact::default(), Exact::plus).losing(4.0 * least)
        });
        let sgd: Vec<Exact> = sgd.collect();
        // In the first step both corrections cancel the moments' own factors.
        let adam = pairs().map(|(p, g)| {
            let step = of(rate) * g / (g.abs() + of(1e-8));
            // A gradient that would change a moment by less than the smallest normal number is 0.
            let lost = least * (4.0 + 10.0 * rate / 1e-8);
            Exact::term(p).plus(Exact::term(-step)).losing(lost)
        });
        let adam: Vec<Exact> = adam.collect();
        for isa in record.isas() {
            let step = |optimizer: &mut dyn Optimizer<T>| {
                let mut p = p.clone();
                optimizer.step(&serial(isa), rate, &mut p, &grad).unwrap();
                p
            };
            let mut by_sgd = Sgd::new().momentum(0.9).unwrap().weight_decay(decay).unwrap();
            let got = step(&mut by_sgd);
            record.compare::<T>(&bounds::SGD, isa, case, f64s(&got), sgd.iter().copied());
            let got = step(&mut Adam::new());
            record.compare::<T>(&bounds::ADAM, isa, case, f64s(&got), adam.iter().copied());
        }
    }
}

pub fn norms<T: Element>(plan: &Plan, record: &mut Record) {
    for (class, &d) in Class::ALL.iter().flat_map(|&c| plan.dims.iter().map(move |d| (c, d))) {
        let grad: Vec<T> = class.matrix([1, d], HEAD, plan.seed);
        let case = Case { class, sizes: Sizes { d, n: 1 } };
        // Squares of f64 leave its range where those of twice its precision do.
        let up = match class {
            Class::Denormal | Class::Tiny => {
                2.0_f64.powi(if size_of::<T>() == 8 { 600 } else { 0 })
            }
            _ => 1.0,
        };
        let squares = wide(&grad).into_iter().map(|g| (g * Wide::new(up)) * (g * Wide::new(up)));
        let norm = sum(squares).sqrt() * Wide::new(1.0 / up);
        let max = norm.high / 3.0;
        let tiny = T::tiny().to_f64();
        let clipped = wide(&grad).into_iter().map(|g| {
            let by = if norm.high == 0.0 { Wide::new(1.0) } else { Wide::new(max) / norm };
            Exact::term(g * by).losing(tiny)
        });
        let clipped: Vec<Exact> = clipped.collect();
        for isa in record.isas() {
            let mut got = grad.clone();
            let max = if max > 0.0 { max } else { 1.0 };
            let of_norm = clip_norm(&serial(isa), &mut got, max).unwrap();
            record.compare::<f64>(&bounds::NORM, isa, case, [of_norm], [Exact::term(norm)]);
            let exact = clipped.iter().copied();
            record.compare::<T>(&bounds::CLIPPED, isa, case, f64s(&got), exact);
        }
    }
}

/// Where the first elements of a stagnating gradient end: one for each sum.
const HEAD: usize = 16;
