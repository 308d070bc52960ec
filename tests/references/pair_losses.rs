//! `pair_losses.safetensors`: pairs by rows under each Euclidean pair loss.
//!
//! A case holds `a` and `b` (N x D), `similar`, `margin`, and what comes out: `per_pair` (N), `sum`,
//! `grad_a` and `grad_b` of the sum.

use drlim::batch::{RowsOut, rows};
use drlim::loss::{BlockLoss, Contrastive, Objective};
use drlim::{Cx, Mat, MatMut, Par};

use crate::common::{Element, Reference, tiers};

/// Every case whose name starts with `family/`, under the loss that `loss` makes of it.
fn compare<T: Element>(
    reference: &Reference,
    family: &str,
    loss: impl Fn(&str) -> Box<dyn BlockLoss<T>>,
) {
    for case in reference.cases(&format!("{family}/")) {
        let loss = loss(case);
        for isa in tiers() {
            compare_case(reference, case, &*loss, Cx { isa, par: Par::Rayon });
        }
    }
}

fn compare_case<T: Element>(reference: &Reference, case: &str, loss: &dyn BlockLoss<T>, cx: Cx) {
    let by = cx.isa.to_string();
    let &[n, d] = reference.shape(case, "a") else { panic!("{case}/a is not a matrix") };
    let (a, b) = (reference.reals::<T>(case, "a"), reference.reals::<T>(case, "b"));
    let (a, b) = (Mat::new(&a, n, d).unwrap(), Mat::new(&b, n, d).unwrap());
    let similar = reference.flags(case, "similar");
    let objective = Objective::sum(loss);

    let (mut grad_a, mut grad_b) = (vec![T::NAN; n * d], vec![T::NAN; n * d]);
    let grads = RowsOut::grads(
        MatMut::new(&mut grad_a, n, d).unwrap(),
        MatMut::new(&mut grad_b, n, d).unwrap(),
    );
    let outcome = rows(&cx, &objective, a, b, &similar, grads).unwrap();
    reference.compare(case, "sum", &[T::from_f64(outcome.value)], &by);
    reference.compare(case, "grad_a", &grad_a, &by);
    reference.compare(case, "grad_b", &grad_b, &by);

    let per_pair: Vec<T> = (0..n)
        .map(|i| {
            let (a, b) = (a.rows_range(i, i + 1), b.rows_range(i, i + 1));
            let one = rows(&cx, &objective, a, b, &similar[i..i + 1], RowsOut::none()).unwrap();
            T::from_f64(one.value)
        })
        .collect();
    reference.compare(case, "per_pair", &per_pair, &by);
}

fn contrastive<T: Element>(reference: &Reference)
where
    Contrastive<T>: BlockLoss<T>,
{
    compare::<T>(reference, "hadsell", |case| {
        let margin = reference.real(case, "margin");
        Box::new(Contrastive::<T>::new(margin).unwrap())
    });
}

#[test]
fn contrastive_is_that_of_autograd() {
    let reference = Reference::open("pair_losses");
    contrastive::<f32>(&reference);
    contrastive::<f64>(&reference);
    reference.report("contrastive");
}
