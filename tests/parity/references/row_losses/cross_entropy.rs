//! Cross entropy of logits: the mean over rows.

use drlim::Mat;
use drlim::batch::{CrossEntropy, cross_entropy};

use super::case::{at_scale, for_each};
use crate::support::element::wide;
use crate::support::{Element, Guarded, Reference};

pub fn compare_all<T: Element>(reference: &Reference) {
    for_each(reference, "cross_entropy", |case| {
        let [n, classes] = case.matrix("logits").shape;
        let logits = reference.reals::<T>(case.name, "logits");
        let logits = Mat::new(&logits, n, classes).unwrap();
        let mut grad = Guarded::<T>::output(1, [n, classes], classes + 1);
        let (how, to) = (CrossEntropy::mean(), Some(grad.mat_mut()));
        let outcome = cross_entropy(&case.cx, logits, case.labels("labels"), how, to).unwrap();
        case.compare::<T>("value", &[outcome.value], at_scale::<T>(1.0));
        case.compare::<T>("grad", &wide(&grad.checked("grad")), at_scale::<T>(1.0));
    });
}
