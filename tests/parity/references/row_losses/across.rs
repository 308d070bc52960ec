//! Two batches: each row of one against all rows of the other.

use drlim::Cx;
use drlim::batch::{AnchorScratch, Anchors, CrossAnchorsOut, CrossSimilar, cross_anchors};
use drlim::loss::{AnchorObjective, Measure, Softmax};

use super::among::families;
use super::case::{at_scale, for_each};
use super::rows::{Matrix, Rows};
use crate::support::{Element, Reference};

/// What a call computes.
pub struct Got {
    pub value: f64,
    /// By the queries and by the keys of the file.
    pub grads: [Matrix; 2],
    /// By the scale of the loss, if it has one.
    by_scale: f64,
}

/// Calls `cross_anchors` for all that it computes.
pub fn cross<T: Element>(
    cx: &Cx,
    objective: &AnchorObjective<T>,
    [queries, keys]: [&Rows<T>; 2],
    similar: CrossSimilar,
    anchors: Anchors,
) -> Got {
    let [mut of_queries, mut of_keys] = [queries, keys].map(Rows::output);
    let mut by_scale = 0.0;
    let mut out = CrossAnchorsOut::grads(of_queries.mat_mut(), of_keys.mat_mut());
    out.grad_scale = objective.loss.scale_block().is_some().then_some(&mut by_scale);
    let (q, k, scratch) = (queries.mat(), keys.mat(), &mut AnchorScratch::new());
    let outcome = cross_anchors(cx, objective, q, k, similar, None, anchors, out, scratch).unwrap();
    let grads = [queries.pull(of_queries), keys.pull(of_keys)];
    Got { value: outcome.value, grads, by_scale }
}

/// The losses of pytorch-metric-learning with `ref_emb`: a row's own copy among the keys is like any other key.
fn compare_labelled<T: Element>(reference: &Reference) {
    const WITH_KEYS: [&str; 4] = ["pml_ntxent", "pml_supcon", "pml_multi_similarity", "pml_circle"];
    for family in families::<T>().iter().filter(|family| WITH_KEYS.contains(&family.name)) {
        for_each(reference, &format!("{}_ref", family.name), |case| {
            let [queries, keys] = ["queries", "keys"].map(|name| family.rows(case.matrix(name)));
            let labels = ["query_labels", "key_labels"].map(|name| case.labels(name));
            let similar =
                CrossSimilar::Labels { queries: labels[0], keys: labels[1], ignored: None };
            let (objective, rows) = (family.objective(), [&queries, &keys]);
            let got = cross(&case.cx, &objective, rows, similar, Anchors::Queries);
            case.compare::<T>("value", &[got.value], family.tolerance);
            case.compare::<T>("grad_queries", &got.grads[0].values, family.tolerance);
            case.compare::<T>("grad_keys", &got.grads[1].values, family.tolerance);
        });
    }
}

/// Softmaxes of dot products, whose scale has a gradient. Cases have a `target`, the key of each query, or
/// key i belongs to query i.
fn compare_dots<T: Element>(
    reference: &Reference,
    family: &str,
    names: [&str; 3],
    anchors: Anchors,
    change: impl Fn(Softmax<T>) -> Softmax<T>,
) {
    for_each(reference, family, |case| {
        let [queries, keys, scale] = names;
        let loss = change(Softmax::scale(case.real(scale)).unwrap());
        let objective = AnchorObjective::mean(&loss).measured(Measure::Dot);
        let [q, k] = [queries, keys].map(|name| Rows::given(case.matrix(name)));
        let of_keys: Vec<i64> = (0..k.count() as i64).collect();
        let similar = if case.has("target") {
            let of_queries = case.labels("target");
            CrossSimilar::Labels { queries: of_queries, keys: &of_keys, ignored: None }
        } else {
            CrossSimilar::Position { first_key: 0 }
        };
        let got = cross(&case.cx, &objective, [&q, &k], similar, anchors);
        let tolerance = at_scale::<T>(case.real(scale));
        case.compare::<T>("value", &[got.value], tolerance);
        case.compare::<T>(&format!("grad_{scale}"), &[got.by_scale], tolerance);
        for (name, grad) in [queries, keys].iter().zip(&got.grads) {
            case.compare::<T>(&format!("grad_{name}"), &grad.values, tolerance);
        }
    });
}

/// `MultipleNegativesRankingLoss`: of columns of anchors, positives and hard negatives, the keys are all but
/// the anchors. `MultipleNegativesSymmetricRankingLoss` is the mean of that and of the way back, from positives
/// to anchors alone.
fn compare_ranking<T: Element>(reference: &Reference, family: &str, symmetric: bool) {
    for_each(reference, family, |case| {
        let loss = Softmax::scale(case.real("scale")).unwrap();
        let objective = AnchorObjective::mean(&loss);
        let names = (0..).map(|column| format!("column{column}"));
        let columns: Vec<Matrix> =
            names.take_while(|name| case.has(name)).map(|name| case.matrix(&name)).collect();
        let [anchors, positives] = [0, 1].map(|column| Rows::unit(columns[column].clone()));
        let keys = Rows::unit(Matrix::stacked(&columns[1..]));
        let rank = |rows: [&Rows<T>; 2]| {
            let similar = CrossSimilar::Position { first_key: 0 };
            cross(&case.cx, &objective, rows, similar, Anchors::Queries)
        };
        let mut got = rank([&anchors, &keys]);
        if symmetric {
            let back = rank([&positives, &anchors]);
            got.value = (got.value + back.value) / 2.0;
            let [of_anchors, of_keys] = &got.grads;
            got.grads = [of_anchors.mean_with(&back.grads[1]), of_keys.mean_with(&back.grads[0])];
        }
        let tolerance = at_scale::<T>(case.real("scale"));
        case.compare::<T>("value", &[got.value], tolerance);
        let of_columns =
            got.grads.iter().flat_map(|grad| grad.values.chunks(columns[0].values.len()));
        for (column, grad) in of_columns.enumerate() {
            case.compare::<T>(&format!("grad{column}"), grad, tolerance);
        }
    });
}

pub fn compare_all<T: Element>(reference: &Reference) {
    compare_labelled::<T>(reference);
    let (clip, dots) = (["image", "text", "logit_scale"], ["queries", "keys", "scale"]);
    compare_dots::<T>(reference, "clip", clip, Anchors::Both, |loss| loss);
    compare_dots::<T>(reference, "infonce_dot", dots, Anchors::Queries, |loss| loss);
    compare_dots::<T>(reference, "decoupled_dot", dots, Anchors::Queries, Softmax::decoupled);
    compare_ranking::<T>(reference, "st_mnrl", false);
    compare_ranking::<T>(reference, "st_mnrl_symmetric", true);
}
