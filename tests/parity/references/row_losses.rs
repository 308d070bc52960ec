//! `row_losses.safetensors`: losses of the rows of one matrix.
//!
//! A case `cross_entropy/...` holds `logits` (N x C) and `labels` (N), and what comes out: `value`, the mean
//! over rows, and `grad` of it.

use drlim::batch::{CrossEntropy, cross_entropy};
use drlim::{Cx, Mat, Par};

use crate::support::{Element, Guarded, Reference, tiers};

fn compare<T: Element>(reference: &Reference) {
    for case in reference.cases("cross_entropy/") {
        let &[n, classes] = reference.shape(case, "logits") else {
            panic!("{case}/logits is not a matrix")
        };
        let logits = reference.reals::<T>(case, "logits");
        let logits = Mat::new(&logits, n, classes).unwrap();
        let labels = reference.integers(case, "labels");
        for isa in tiers() {
            let (cx, by) = (Cx { isa, par: Par::Rayon }, isa.to_string());
            let mut grad = Guarded::output(1, [n, classes], classes + 1);
            let to = Some(grad.mat_mut());
            let outcome = cross_entropy(&cx, logits, labels, CrossEntropy::mean(), to).unwrap();
            reference.compare(case, "value", &[T::from_f64(outcome.value)], &by);
            reference.compare(case, "grad", &grad.checked("grad"), &by);
        }
    }
}

#[test]
fn every_loss_of_rows_is_that_of_autograd() {
    let reference = Reference::open("row_losses");
    compare::<f32>(&reference);
    compare::<f64>(&reference);
    reference.report("losses of rows");
}
