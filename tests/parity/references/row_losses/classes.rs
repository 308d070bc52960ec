//! Rows against a learned vector of each class, all scaled to unit length.

use std::collections::BTreeSet;

use drlim::batch::{Anchors, CrossSimilar};
use drlim::loss::{AnchorObjective, ArcFace, BlockAnchorLoss, CosFace, Softmax};

use super::across::cross;
use super::case::{at_scale, for_each};
use super::own_losses::ProxyAnchor;
use super::rows::{Matrix, Rows};
use crate::support::{Element, Reference};

/// Compares a loss whose anchors are the rows (queries) or the classes (keys). `turn` takes weights from the
/// file's layout to a row for each class, and back. The loss is told the labels and the number of classes.
fn compare<T: Element, L: BlockAnchorLoss<T>>(
    reference: &Reference,
    family: &str,
    scale: f64,
    anchors: Anchors,
    turn: fn(Matrix) -> Matrix,
    loss: impl Fn(&[i64], usize) -> L,
) {
    for_each(reference, family, |case| {
        let rows = Rows::<T>::unit(case.matrix("x"));
        let classes = Rows::unit(turn(case.matrix("weights")));
        let labels = case.labels("labels");
        let loss = loss(labels, classes.count());
        let of_classes: Vec<i64> = (0..classes.count() as i64).collect();
        let similar = CrossSimilar::Labels { queries: labels, keys: &of_classes, ignored: None };
        let objective = AnchorObjective::mean(&loss);
        let got = cross(&case.cx, &objective, [&rows, &classes], similar, anchors);
        let [of_rows, of_classes] = got.grads;
        case.compare::<T>("value", &[got.value], at_scale::<T>(scale));
        case.compare::<T>("grad", &of_rows.values, at_scale::<T>(scale));
        case.compare::<T>("grad_weights", &turn(of_classes).values, at_scale::<T>(scale));
    });
}

/// All classes by those that have a row.
fn share_with_rows(labels: &[i64], classes: usize) -> f64 {
    classes as f64 / BTreeSet::from_iter(labels).len() as f64
}

pub fn compare_all<T: Element>(reference: &Reference) {
    let t = T::from_f64;
    // Weights are a column for each class, proxies a row.
    let (rows, columns) = (Anchors::Queries, Matrix::transposed);
    compare(reference, "pml_normalized_softmax", 1.0 / 0.05, rows, columns, |_, _| {
        Softmax::temperature(t(0.05)).unwrap()
    });
    compare(reference, "pml_cosface", 64.0, rows, columns, |_, _| {
        CosFace::new(t(64.0), t(0.35)).unwrap()
    });
    compare(reference, "pml_arcface", 64.0, rows, columns, |_, _| {
        ArcFace::new(t(64.0), t(28.6_f64.to_radians())).unwrap()
    });
    let as_they_are = |proxies| proxies;
    compare(reference, "pml_proxy_anchor", 32.0, Anchors::Keys, as_they_are, |labels, classes| {
        let factor = t(share_with_rows(labels, classes));
        ProxyAnchor { alpha: t(32.0), margin: t(0.1), factor }
    });
}
