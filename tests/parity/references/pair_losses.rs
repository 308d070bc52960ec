//! `pair_losses.safetensors`: pairs by rows under each Euclidean pair loss.
//!
//! A case holds `a` and `b` (N x D), `similar`, `margin` and `pos_margin`, and what comes out:
//! `per_pair` (N), `sum`, `grad_a` and `grad_b` of the sum. The exponential loss has its bound Q in
//! `margin`.

use drlim::batch::{IndexedOut, IndexedScratch, PairList, RowsOut, indexed, rows};
use drlim::loss::{
    BlockLoss, Contrastive, DoubleMargin, Exponential, LinearHinge, Objective, SquaredHinge,
};
use drlim::{Cx, Mat, Par};

use crate::support::{Element, Guarded, Reference, tiers};

/// Every case whose name starts with `family/`, under the loss of its two margins.
fn compare<T: Element, L: BlockLoss<T>>(
    reference: &Reference,
    family: &str,
    loss: impl Fn(T, T) -> L,
) {
    for case in reference.cases(&format!("{family}/")) {
        let loss = loss(reference.real(case, "pos_margin"), reference.real(case, "margin"));
        for isa in tiers() {
            let cx = Cx { isa, par: Par::Rayon };
            compare_rows(reference, case, &loss, cx);
            compare_list(reference, case, &loss, cx);
        }
    }
}

fn compare_rows<T: Element>(reference: &Reference, case: &str, loss: &dyn BlockLoss<T>, cx: Cx) {
    let by = cx.isa.to_string();
    let &[n, d] = reference.shape(case, "a") else { panic!("{case}/a is not a matrix") };
    let (a, b) = (reference.reals::<T>(case, "a"), reference.reals::<T>(case, "b"));
    let (a, b) = (Mat::new(&a, n, d).unwrap(), Mat::new(&b, n, d).unwrap());
    let similar = reference.flags(case, "similar");

    let [mut grad_a, mut grad_b] = [1, 2].map(|offset| Guarded::output(offset, [n, d], d));
    let mut per_pair = Guarded::slice(n);
    let out = RowsOut::grads(grad_a.mat_mut(), grad_b.mat_mut()).values(per_pair.slice_mut());
    let outcome = rows(&cx, &Objective::sum(loss), a, b, &similar, out).unwrap();
    reference.compare(case, "sum", &[T::from_f64(outcome.value)], &by);
    reference.compare(case, "grad_a", &grad_a.checked("grad_a"), &by);
    reference.compare(case, "grad_b", &grad_b.checked("grad_b"), &by);
    reference.compare(case, "per_pair", &per_pair.checked("per_pair"), &by);
}

/// The same pairs as a list over both matrices, one below the other.
fn compare_list<T: Element>(reference: &Reference, case: &str, loss: &dyn BlockLoss<T>, cx: Cx) {
    let by = format!("{} as a list", cx.isa);
    let &[n, d] = reference.shape(case, "a") else { panic!("{case}/a is not a matrix") };
    let z = [reference.reals::<T>(case, "a"), reference.reals(case, "b")].concat();
    let pairs: Vec<(u32, u32)> = (0..n as u32).map(|i| (i, n as u32 + i)).collect();
    let list = PairList::new(2 * n, &pairs).unwrap();
    let similar = reference.flags(case, "similar");

    let (mut grad, mut per_pair) = (Guarded::output(1, [2 * n, d], d + 1), Guarded::slice(n));
    let out = IndexedOut::grad(grad.mat_mut()).values(per_pair.slice_mut());
    let z = Mat::new(&z, 2 * n, d).unwrap();
    let objective = Objective::sum(loss);
    let outcome =
        indexed(&cx, &objective, z, &list, &similar, out, &mut IndexedScratch::new()).unwrap();
    reference.compare(case, "sum", &[T::from_f64(outcome.value)], &by);
    let grad: Vec<T> = grad.checked("grad");
    reference.compare(case, "grad_a", &grad[..n * d], &by);
    reference.compare(case, "grad_b", &grad[n * d..], &by);
    reference.compare(case, "per_pair", &per_pair.checked("per_pair"), &by);
}

fn compare_all<T: Element>(reference: &Reference) {
    compare(reference, "hadsell", |_, m: T| Contrastive::new(m).unwrap());
    compare(reference, "caffe_legacy", |_, m: T| SquaredHinge::new(m).unwrap());
    compare(reference, "linear", |p, m: T| LinearHinge::new(p, m).unwrap());
    compare(reference, "double", |p, m: T| DoubleMargin::new(p, m).unwrap());
    compare(reference, "chopra", |_, q: T| Exponential::new(q).unwrap());
}

#[test]
fn every_pair_loss_is_that_of_autograd() {
    let reference = Reference::open("pair_losses");
    compare_all::<f32>(&reference);
    compare_all::<f64>(&reference);
    reference.report("pair losses");
}
