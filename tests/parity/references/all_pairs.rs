//! `all_pairs.safetensors`: every pair of a labelled batch.
//!
//! A case holds `x` (B x D), `labels`, `margin` and `pos_margin`, and what comes out: `pairs` (their
//! number), `sum` over pairs i < j, and `grad` of the sum.

use drlim::batch::{AllPairsScratch, all_pairs};
use drlim::loss::{BlockLoss, Contrastive, LinearHinge, Objective};
use drlim::{Cx, Mat, Par, Similar};

use crate::support::{Element, Guarded, Reference, tiers};

fn compare<T: Element, L: BlockLoss<T>>(
    reference: &Reference,
    family: &str,
    loss: impl Fn(T, T) -> L,
) {
    let mut scratch = AllPairsScratch::new();
    for case in reference.cases(&format!("{family}/")) {
        let loss = loss(reference.real(case, "pos_margin"), reference.real(case, "margin"));
        let &[n, d] = reference.shape(case, "x") else { panic!("{case}/x is not a matrix") };
        let x = reference.reals::<T>(case, "x");
        let (x, similar) =
            (Mat::new(&x, n, d).unwrap(), Similar::Labels(reference.integers(case, "labels")));
        for isa in tiers() {
            let (cx, by) = (Cx { isa, par: Par::Rayon }, isa.to_string());
            let mut grad = Guarded::output(1, [n, d], d + 1);
            let to = Some(grad.mat_mut());
            let objective = Objective::sum(&loss);
            let outcome = all_pairs(&cx, &objective, x, similar, to, &mut scratch).unwrap();
            reference.compare(case, "sum", &[T::from_f64(outcome.value)], &by);
            reference.compare(case, "pairs", &[T::from_f64(outcome.pairs as f64)], &by);
            reference.compare(case, "grad", &grad.checked("grad"), &by);
        }
    }
}

fn compare_all<T: Element>(reference: &Reference) {
    compare(reference, "hadsell", |_, m: T| Contrastive::new(m).unwrap());
    compare(reference, "linear", |p, m: T| LinearHinge::new(p, m).unwrap());
}

#[test]
fn every_pair_of_a_batch_is_that_of_autograd() {
    let reference = Reference::open("all_pairs");
    compare_all::<f32>(&reference);
    compare_all::<f64>(&reference);
    reference.report("all pairs");
}
