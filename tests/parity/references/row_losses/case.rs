//! A case of the file on a tier: its arrays, and how results are compared with them.

use drlim::{Cx, Par};

use super::rows::Matrix;
use crate::support::reference::tolerance;
use crate::support::{Element, Reference, tiers};

/// The tolerance of a loss whose exponents are `scale` times a similarity: their rounding errors are as many
/// times its own, and `f32` shows it.
pub fn at_scale<T: Element>(scale: f64) -> f64 {
    let wider = if size_of::<T>() == size_of::<f64>() { 1.0 } else { (scale / 20.0).max(1.0) };
    wider * tolerance::<T>()
}

/// A case, and where it is to be computed.
pub struct Case<'a> {
    reference: &'a Reference,
    pub name: &'a str,
    pub cx: Cx,
}

/// Runs every case of a family on every tier.
///
/// # Panics
/// Where the family has no case.
pub fn for_each(reference: &Reference, family: &str, mut run: impl FnMut(&Case)) {
    for name in reference.cases(&format!("{family}/")) {
        for isa in tiers() {
            run(&Case { reference, name, cx: Cx { isa, par: Par::Rayon } });
        }
    }
}

impl<'a> Case<'a> {
    pub fn has(&self, name: &str) -> bool {
        self.reference.has(self.name, name)
    }

    pub fn real<T: Element>(&self, name: &str) -> T {
        self.reference.real(self.name, name)
    }

    pub fn labels(&self, name: &str) -> &'a [i64] {
        self.reference.integers(self.name, name)
    }

    pub fn matrix(&self, name: &str) -> Matrix {
        let &[rows, cols] = self.reference.shape(self.name, name) else {
            panic!("{}/{name} is not a matrix", self.name)
        };
        Matrix { shape: [rows, cols], values: self.reference.reals(self.name, name) }
    }

    /// Compares what a call in `T` computed with an array.
    pub fn compare<T: Element>(&self, name: &str, got: &[f64], tolerance: f64) {
        let got: Vec<T> = got.iter().map(|&x| T::from_f64(x)).collect();
        let by = self.cx.isa.to_string();
        self.reference.compare_within(self.name, name, &got, tolerance, &by);
    }
}
