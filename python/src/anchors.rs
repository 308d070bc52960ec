//! Losses of rows as anchors: of a batch, of two batches.

use drlim::batch::{self, Anchors, AnchorsOut, CrossAnchorsOut};
use drlim::loss::AnchorSums;
use numpy::{PyReadonlyArray1, PyReadwriteArray1, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::anchor_objective::{AnchorParts, AnchorTask, WantedAnchors, anchor_parts};
use crate::anchor_sums::{read_sums, write_sums};
use crate::arrays::{
    Any, Element, by_element, list, list_mut, mat, mat_mut, optional, read, read_list, write,
    write_list,
};
use crate::objective::unknown;
use crate::pairs::{GraphAcross, LabelsAcross, SimilarAcross};
use crate::scratch::with_scratch;
use crate::similar::{Given, Graph};
use crate::state::{run, times};
use crate::unit::with_unit_rows;

/// With an element for each anchor, weights and known sums, and room for values, for log-sums and for sums; whether
/// the derivative by the loss's scale is wanted.
type PerAnchor<'py> = (
    Option<Any<'py>>,
    Option<Any<'py>>,
    Option<Any<'py>>,
    Option<Any<'py>>,
    Option<Any<'py>>,
    bool,
);

/// [`PerAnchor`], borrowed.
struct PerAnchorArrays<'py, T: Element> {
    weights: Option<PyReadonlyArray1<'py, T>>,
    known: Option<Vec<AnchorSums>>,
    values: Option<PyReadwriteArray1<'py, T>>,
    log_sums: Option<PyReadwriteArray1<'py, f64>>,
    sums: Option<PyReadwriteArray1<'py, u64>>,
    /// What both are made of.
    found: Option<Vec<AnchorSums>>,
    grad_scale: Option<f64>,
}

impl<'py, T: Element> PerAnchorArrays<'py, T> {
    /// Of calls with so many anchors.
    fn new(
        (weights, known, values, log_sums, sums, by_scale): PerAnchor<'py>,
        anchors: usize,
    ) -> PyResult<Self> {
        let wanted = log_sums.is_some() || sums.is_some();
        Ok(PerAnchorArrays {
            weights: optional(&weights, read_list)?,
            known: optional(&known, read_sums)?,
            values: optional(&values, write_list)?,
            log_sums: optional(&log_sums, write_list)?,
            sums: optional(&sums, write_list)?,
            found: wanted.then(|| vec![AnchorSums::default(); anchors]),
            grad_scale: by_scale.then_some(0.0),
        })
    }

    /// Writes sums where they are wanted. Returns the derivative by the scale.
    fn finish(self) -> PyResult<Option<f64>> {
        let found = self.found.unwrap_or_default();
        if let Some(mut to) = self.log_sums {
            for (to, sums) in list_mut(&mut to)?.iter_mut().zip(&found) {
                *to = (sums.similar + sums.dissimilar).log();
            }
        }
        if let Some(mut to) = self.sums {
            write_sums(&mut to, &found)?;
        }
        Ok(self.grad_scale)
    }
}

#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "as many as the crate's")]
pub fn all_anchors(
    py: Python<'_>,
    task: AnchorTask,
    z: &Any,
    labels: Option<Any>,
    ignored: Option<i64>,
    graph: Option<Bound<Graph>>,
    unit: bool,
    per_anchor: PerAnchor,
    grad: Option<Any>,
    whole: bool,
) -> PyResult<AnchorParts> {
    let given = Given::new(&labels, ignored, &graph)?;
    by_element!(z, all_anchors_of(py, task, z, given, unit, per_anchor, (grad, whole)))
}

fn all_anchors_of<T: Element>(
    py: Python<'_>,
    task: AnchorTask,
    z: &Any,
    given: Given,
    unit: bool,
    per_anchor: PerAnchor,
    (grad, whole): (Option<Any>, bool),
) -> PyResult<AnchorParts> {
    let wanted = WantedAnchors::<T>::new(task)?;
    let z = read::<T>(z)?;
    let mut grad = optional(&grad, write::<T>)?;
    let grad = grad.as_mut().map(mat_mut).transpose()?;
    let mut arrays = PerAnchorArrays::<T>::new(per_anchor, z.shape()[0])?;
    let weights = arrays.weights.as_ref().map(list).transpose()?;
    let objective = wanted.objective(weights, arrays.known.as_deref());
    let values = arrays.values.as_mut().map(list_mut).transpose()?;
    let (sums, grad_scale) = (arrays.found.as_deref_mut(), arrays.grad_scale.as_mut());
    let (elements, z, similar) = (z.len(), mat(&z)?, given.similar()?);
    let work = if whole { 0 } else { times([z.rows(), z.rows(), z.cols()]) };
    let outcome = with_scratch(T::SCRATCH, elements, |scratch| {
        let scratch = &mut scratch.anchors;
        run(py, work, |cx| {
            with_unit_rows(unit, cx, z, grad, |z, grad| {
                let out = AnchorsOut { grad, values, sums, grad_scale };
                batch::all_anchors(cx, &objective, z, similar, out, scratch)
            })
        })
    })?;
    Ok(anchor_parts(outcome, arrays.finish()?))
}

fn sides(name: &str) -> PyResult<Anchors> {
    match name {
        "queries" => Ok(Anchors::Queries),
        "keys" => Ok(Anchors::Keys),
        "both" => Ok(Anchors::Both),
        other => Err(unknown("anchors", other)),
    }
}

#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "as many as the crate's")]
pub fn cross_anchors(
    py: Python<'_>,
    task: AnchorTask,
    queries: &Any,
    keys: &Any,
    labels: Option<LabelsAcross>,
    graph: Option<GraphAcross>,
    position: Option<usize>,
    own: Option<usize>,
    anchors: &str,
    unit: bool,
    per_anchor: PerAnchor,
    grads: (Option<Any>, Option<Any>),
) -> PyResult<AnchorParts> {
    let similar = SimilarAcross::new(labels, graph, position)?;
    let how = (own, sides(anchors)?, unit);
    by_element!(
        queries,
        cross_anchors_of(py, task, [queries, keys], similar, how, per_anchor, grads)
    )
}

fn cross_anchors_of<T: Element>(
    py: Python<'_>,
    task: AnchorTask,
    [queries, keys]: [&Any; 2],
    similar: SimilarAcross,
    (own, anchors, unit): (Option<usize>, Anchors, bool),
    per_anchor: PerAnchor,
    (grad_queries, grad_keys): (Option<Any>, Option<Any>),
) -> PyResult<AnchorParts> {
    let wanted = WantedAnchors::<T>::new(task)?;
    let (queries, keys) = (read::<T>(queries)?, read::<T>(keys)?);
    let mut grad_queries = optional(&grad_queries, write::<T>)?;
    let mut grad_keys = optional(&grad_keys, write::<T>)?;
    let grad_queries = grad_queries.as_mut().map(mat_mut).transpose()?;
    let grad_keys = grad_keys.as_mut().map(mat_mut).transpose()?;
    let count = match anchors {
        Anchors::Queries => queries.shape()[0],
        Anchors::Keys => keys.shape()[0],
        Anchors::Both => queries.shape()[0] + keys.shape()[0],
    };
    let mut arrays = PerAnchorArrays::<T>::new(per_anchor, count)?;
    let weights = arrays.weights.as_ref().map(list).transpose()?;
    let objective = wanted.objective(weights, arrays.known.as_deref());
    let values = arrays.values.as_mut().map(list_mut).transpose()?;
    let (sums, grad_scale) = (arrays.found.as_deref_mut(), arrays.grad_scale.as_mut());
    let elements = queries.len() + keys.len();
    let (queries, keys, similar) = (mat(&queries)?, mat(&keys)?, similar.lend()?);
    let work = times([queries.rows(), keys.rows(), keys.cols()]).max(elements);
    let outcome = with_scratch(T::SCRATCH, elements, |scratch| {
        let scratch = &mut scratch.anchors;
        run(py, work, |cx| {
            with_unit_rows(unit, cx, queries, grad_queries, |queries, grad_queries| {
                with_unit_rows(unit, cx, keys, grad_keys, |keys, grad_keys| {
                    let out = CrossAnchorsOut { grad_queries, grad_keys, values, sums, grad_scale };
                    batch::cross_anchors(
                        cx, &objective, queries, keys, similar, own, anchors, out, scratch,
                    )
                })
            })
        })
    })?;
    Ok(anchor_parts(outcome, arrays.finish()?))
}
