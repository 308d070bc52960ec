//! `triplets.safetensors`: triplets by rows under each triplet loss.
//!
//! A case holds `anchor`, `positive` and `negative` (N x D) and `margin`, and what comes out:
//! `per_triplet` (N), `sum`, and the three gradients of the sum.
//!
//! Cases `batch_all` and `batch_hard` hold a batch `x` (B x D) with `labels` and `margin`, and `sum` and `grad`
//! of the Euclidean loss over all its triplets or the hardest; and how many triplets there are and how
//! many are `active`, or the value `per_anchor` (B).

use drlim::batch::{Mining, MiningScratch, TripletRows, TripletRowsOut, triplet_rows, triplets};
use drlim::loss::{BlockTripletLoss, SquaredTriplet, TripletMargin, TripletObjective};
use drlim::{Cx, Mat, Par, Similar};

use crate::support::{Element, Guarded, Reference, tiers};

/// Every case whose name starts with `family/`, under the loss of its margin.
fn compare<T: Element, L: BlockTripletLoss<T>>(
    reference: &Reference,
    family: &str,
    loss: impl Fn(T) -> L,
) {
    for case in reference.cases(&format!("{family}/")) {
        let loss = loss(reference.real(case, "margin"));
        for isa in tiers() {
            compare_rows(reference, case, &loss, Cx { isa, par: Par::Rayon });
        }
    }
}

fn compare_rows<T: Element>(
    reference: &Reference,
    case: &str,
    loss: &dyn BlockTripletLoss<T>,
    cx: Cx,
) {
    let by = cx.isa.to_string();
    let &[n, d] = reference.shape(case, "anchor") else { panic!("{case}/anchor is no matrix") };
    let inputs = ["anchor", "positive", "negative"].map(|name| reference.reals::<T>(case, name));
    let [a, p, n_] = inputs.each_ref().map(|input| Mat::new(input, n, d).unwrap());
    let mut grads = [1, 2, 3].map(|offset| Guarded::output(offset, [n, d], d));
    let mut per_triplet = Guarded::slice(n);
    let [grad_a, grad_p, grad_n] = grads.each_mut().map(Guarded::mat_mut);
    let out = TripletRowsOut::grads(grad_a, grad_p, grad_n).values(per_triplet.slice_mut());
    let triplets = TripletRows::new(a, p, n_).unwrap();
    let outcome = triplet_rows(&cx, &TripletObjective::sum(loss), triplets, out).unwrap();
    reference.compare(case, "sum", &[T::from_f64(outcome.value)], &by);
    reference.compare(case, "per_triplet", &per_triplet.checked("per_triplet"), &by);
    for (name, grad) in ["grad_anchor", "grad_positive", "grad_negative"].iter().zip(grads) {
        reference.compare(case, name, &grad.checked(name), &by);
    }
}

fn compare_batches<T: Element>(reference: &Reference, family: &str, mining: Mining) {
    for case in reference.cases(&format!("{family}/")) {
        let loss = TripletMargin::new(reference.real::<T>(case, "margin")).unwrap();
        let objective = TripletObjective::sum(&loss);
        let &[n, d] = reference.shape(case, "x") else { panic!("{case}/x is no matrix") };
        let x = reference.reals::<T>(case, "x");
        let labels = Similar::Labels(reference.integers(case, "labels"));
        for isa in tiers() {
            let by = isa.to_string();
            let cx = Cx { isa, par: Par::Rayon };
            let mut grad = Guarded::output(1, [n, d], d + 1);
            let to = Some(grad.mat_mut());
            let scratch = &mut MiningScratch::new();
            let x = Mat::new(&x, n, d).unwrap();
            let outcome = triplets(&cx, &objective, x, labels, mining, to, scratch).unwrap();
            reference.compare(case, "sum", &[T::from_f64(outcome.value)], &by);
            reference.compare(case, "grad", &grad.checked("grad"), &by);
            if mining == Mining::All {
                assert_eq!(outcome.pairs, reference.real::<f64>(case, "triplets") as u64, "{case}");
                assert_eq!(outcome.active, reference.real::<f64>(case, "active") as u64, "{case}");
            } else {
                let active = reference.reals::<f64>(case, "per_anchor");
                let active = active.iter().filter(|&&value| value != 0.0).count();
                assert_eq!(outcome.active, active as u64, "{case}");
            }
        }
    }
}

fn compare_all<T: Element>(reference: &Reference) {
    compare(reference, "euclidean", |m: T| TripletMargin::new(m).unwrap());
    compare(reference, "swap", |m: T| TripletMargin::new(m).unwrap().swapping());
    compare(reference, "squared", |m: T| SquaredTriplet::new(m).unwrap());
    compare_batches::<T>(reference, "batch_all", Mining::All);
    compare_batches::<T>(reference, "batch_hard", Mining::Hardest);
}

#[test]
fn every_triplet_loss_is_that_of_autograd() {
    let reference = Reference::open("triplets");
    compare_all::<f32>(&reference);
    compare_all::<f64>(&reference);
    reference.report("triplet losses");
}
