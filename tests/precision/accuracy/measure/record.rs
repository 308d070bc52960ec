//! The worst errors seen, by bound and tier.

use drlim::Isa;

use super::bounds::{Bound, Sizes, Unit};
use super::inputs::Class;
use crate::support::Element;
use crate::support::double_double::DoubleDouble;

/// What a kernel should give.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exact {
    pub value: DoubleDouble,
    /// The sum of the magnitudes of its terms.
    pub size: f64,
    /// What underflow on the way may take away.
    pub lost: f64,
}

/// One call on one input.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub class: Class,
    pub sizes: Sizes,
}

/// The worst that was seen on a tier.
#[derive(Clone, Copy, Debug)]
pub struct Worst {
    /// The most ULP of a result that is not 0.
    pub ulps: f64,
    /// The error that comes nearest to what is allowed, in the unit of the bound.
    pub error: f64,
    pub allowed: f64,
    pub case: Option<Case>,
    /// Results compared.
    pub results: u64,
}

impl Worst {
    /// How much of the bound is used: above 1, it is broken.
    pub fn share(&self) -> f64 {
        if self.error == 0.0 { 0.0 } else { self.error / self.allowed }
    }
}

/// The worst errors of one result, on each tier.
#[derive(Debug)]
pub struct Line {
    pub bound: &'static Bound,
    pub element: &'static str,
    pub tiers: Vec<(Isa, Worst)>,
}

impl Line {
    /// The tier that comes nearest to the bound.
    pub fn worst(&self) -> (Isa, Worst) {
        let nearer =
            |a: (Isa, Worst), b: (Isa, Worst)| if b.1.share() > a.1.share() { b } else { a };
        self.tiers.iter().copied().reduce(nearer).expect("a tier at least")
    }
}

/// All lines of one element type.
#[derive(Debug)]
pub struct Record {
    element: &'static str,
    isas: Vec<Isa>,
    pub lines: Vec<Line>,
}

impl Record {
    pub fn new<T: Element>(isas: &[Isa]) -> Self {
        Record { element: T::NAME, isas: isas.to_vec(), lines: Vec::new() }
    }

    pub fn isas(&self) -> Vec<Isa> {
        self.isas.clone()
    }

    /// Compares results, rounded to `T`, with what they should be. An exact result beyond the largest
    /// number is left out.
    pub fn compare<T: Element>(
        &mut self,
        bound: &'static Bound,
        isa: Isa,
        case: Case,
        got: impl IntoIterator<Item = f64>,
        exact: impl IntoIterator<Item = Exact>,
    ) {
        let worst = self.worst(bound, isa);
        let mut exact = exact.into_iter();
        for got in got {
            let exact = exact.next().expect("as many exact results as results");
            if !exact.size.is_finite() || exact.value.high.abs() > T::MAX.to_f64() / 4.0 {
                continue;
            }
            assert!(exact.lost.is_finite(), "{}: nothing is known of a result", bound.kernel);
            let distance = ((got - exact.value.high) - exact.value.low).abs();
            let error = if distance <= exact.lost { 0.0 } else { distance - exact.lost };
            let ulps = error / ulp::<T>(exact.value.high);
            let (eps, wide) = (T::EPSILON.to_f64(), size_of::<T>() == 8);
            let in_unit = match bound.unit {
                Unit::Ulp => ulps,
                Unit::Terms => over(error, eps * exact.size),
                Unit::Share(shares) => over(error, shares[usize::from(wide)] * exact.size),
            };
            let in_unit = if distance.is_nan() { f64::INFINITY } else { in_unit };
            if exact.value.high != 0.0 && (ulps > worst.ulps || ulps.is_nan()) {
                worst.ulps = ulps;
            }
            let allowed = (bound.allowed)(case.sizes);
            let next = Worst { error: in_unit, allowed, case: Some(case), ..*worst };
            if worst.case.is_none() || next.share() > worst.share() {
                *worst = next;
            }
            worst.results += 1;
        }
        assert!(exact.next().is_none(), "as many results as exact results");
    }

    fn worst(&mut self, bound: &'static Bound, isa: Isa) -> &mut Worst {
        let at = self.lines.iter().position(|line| std::ptr::eq(line.bound, bound));
        let at = at.unwrap_or_else(|| {
            let none = Worst { ulps: 0.0, error: 0.0, allowed: 0.0, case: None, results: 0 };
            let tiers = self.isas.iter().map(|&isa| (isa, none)).collect();
            self.lines.push(Line { bound, element: self.element, tiers });
            self.lines.len() - 1
        });
        let tiers = &mut self.lines[at].tiers;
        &mut tiers.iter_mut().find(|(of, _)| *of == isa).expect("a tier of the record").1
    }
}

/// 0 where there is no error, whatever it is held against.
fn over(error: f64, by: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error / by }
}

/// The spacing of numbers of a type at one of them.
pub fn ulp<T: Element>(x: f64) -> f64 {
    let within = x.abs().clamp(T::MIN_POSITIVE.to_f64(), T::MAX.to_f64());
    let mantissa = (1_u64 << if size_of::<T>() == 4 { 23 } else { 52 }) - 1;
    T::from_bits(T::from_f64(within).bits() & !mantissa).to_f64() * T::EPSILON.to_f64()
}
