//! Losses of pairs: by rows, of a list, of a batch, of two batches.

use drlim::batch::{self, CrossOut, CrossSimilar, IndexedOut, RowsOut};
use drlim::loss::{Pairing, SlopeTotals};
use drlim::{Mat, MatMut};
use numpy::{PyReadonlyArray1, PyReadwriteArray1, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::{
    Any, Element, by_element, flags, list, list_mut, mat, mat_mut, optional, read, read_list,
    write, write_list,
};
use crate::objective::{LossParts, Parts, ReductionParts, Wanted, parts};
use crate::scratch::with_scratch;
use crate::similar::{Given, Graph, PairList};
use crate::state::{run, times};
use crate::unit::with_unit_rows;

/// A loss, a reduction, and the factor of gradients.
pub type Task = (LossParts, ReductionParts, f64);

/// For each pair whether it is similar, its weight, and whether it is left out.
pub type PairingParts<'py> = (Any<'py>, Option<Any<'py>>, Option<Any<'py>>);

/// Outputs with an element for each pair: distances, values, slopes.
type Lists<'py> = (Option<Any<'py>>, Option<Any<'py>>, Option<Any<'py>>);

/// [`PairingParts`], borrowed.
pub struct PairingArrays<'py, T: Element> {
    similar: Vec<bool>,
    weights: Option<PyReadonlyArray1<'py, T>>,
    ignored: Option<Vec<bool>>,
}

impl<'py, T: Element> PairingArrays<'py, T> {
    pub fn new((similar, weights, ignored): PairingParts<'py>) -> PyResult<Self> {
        let (similar, ignored) = (flags(&similar)?, optional(&ignored, flags)?);
        Ok(PairingArrays { similar, weights: optional(&weights, read_list)?, ignored })
    }

    pub fn lend(&self) -> PyResult<Pairing<'_, T>> {
        let mut pairing = Pairing::new(&self.similar);
        if let Some(weights) = &self.weights {
            pairing = pairing.weighted(list(weights)?);
        }
        if let Some(ignored) = &self.ignored {
            pairing = pairing.ignoring(ignored);
        }
        Ok(pairing)
    }
}

/// [`Lists`], borrowed.
struct PerPairArrays<'py, T: Element>([Option<PyReadwriteArray1<'py, T>>; 3]);

impl<'py, T: Element> PerPairArrays<'py, T> {
    fn new((distances, values, slopes): Lists<'py>) -> PyResult<Self> {
        let borrow = |of: &Option<Any<'py>>| optional(of, write_list);
        Ok(PerPairArrays([borrow(&distances)?, borrow(&values)?, borrow(&slopes)?]))
    }

    fn lend(&mut self) -> PyResult<[Option<&mut [T]>; 3]> {
        let [distances, values, slopes] = &mut self.0;
        let lend = |of| Option::map(of, list_mut).transpose();
        Ok([lend(distances.as_mut())?, lend(values.as_mut())?, lend(slopes.as_mut())?])
    }
}

#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "as many as there are results")]
pub fn rows(
    py: Python<'_>,
    task: Task,
    a: &Any,
    b: &Any,
    pairing: PairingParts,
    grads: Option<(Any, Any)>,
    out: Lists,
    whole: bool,
) -> PyResult<Parts> {
    by_element!(a, rows_of(py, task, [a, b], pairing, grads, out, whole))
}

fn rows_of<T: Element>(
    py: Python<'_>,
    (loss, reduction, scale): Task,
    [a, b]: [&Any; 2],
    pairing: PairingParts,
    grads: Option<(Any, Any)>,
    lists: Lists,
    whole: bool,
) -> PyResult<Parts> {
    let wanted = Wanted::pairs(&loss, &reduction, scale)?;
    let (a, b) = (read::<T>(a)?, read::<T>(b)?);
    let pairing = PairingArrays::<T>::new(pairing)?;
    let mut grads = match &grads {
        Some((grad_a, grad_b)) => Some((write::<T>(grad_a)?, write::<T>(grad_b)?)),
        None => None,
    };
    let mut lists = PerPairArrays::<T>::new(lists)?;
    let [distances, values, slopes] = lists.lend()?;
    let mut out = match &mut grads {
        Some((grad_a, grad_b)) => RowsOut::grads(mat_mut(grad_a)?, mat_mut(grad_b)?),
        None => RowsOut::none(),
    };
    if let Some(distances) = distances {
        out = out.distances(distances);
    }
    if let Some(values) = values {
        out = out.values(values);
    }
    if let Some(slopes) = slopes {
        out = out.slopes(slopes);
    }
    let (a, b, pairing) = (mat(&a)?, mat(&b)?, pairing.lend()?);
    let work = if whole { 0 } else { times([a.rows(), a.cols(), 1]) };
    run(py, work, |cx| batch::rows(cx, &wanted.of_pairs(), a, b, pairing, out)).map(parts)
}

#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "as many as there are results")]
pub fn indexed(
    py: Python<'_>,
    task: Task,
    z: &Any,
    pairs: &Bound<PairList>,
    pairing: PairingParts,
    grad: Option<Any>,
    out: Lists,
    whole: bool,
) -> PyResult<Parts> {
    by_element!(z, indexed_of(py, task, z, pairs, pairing, (grad, whole), out))
}

fn indexed_of<T: Element>(
    py: Python<'_>,
    (loss, reduction, scale): Task,
    z: &Any,
    pairs: &Bound<PairList>,
    pairing: PairingParts,
    (grad, whole): (Option<Any>, bool),
    lists: Lists,
) -> PyResult<Parts> {
    let wanted = Wanted::pairs(&loss, &reduction, scale)?;
    let z = read::<T>(z)?;
    let pairing = PairingArrays::<T>::new(pairing)?;
    let mut grad = optional(&grad, write::<T>)?;
    let mut lists = PerPairArrays::<T>::new(lists)?;
    let [distances, values, slopes] = lists.lend()?;
    let mut out = match &mut grad {
        Some(grad) => IndexedOut::grad(mat_mut(grad)?),
        None => IndexedOut::none(),
    };
    if let Some(distances) = distances {
        out = out.distances(distances);
    }
    if let Some(values) = values {
        out = out.values(values);
    }
    if let Some(slopes) = slopes {
        out = out.slopes(slopes);
    }
    let (elements, z, pairs) = (z.len(), mat(&z)?, &pairs.get().0);
    let pairing = pairing.lend()?;
    let work = if whole { 0 } else { times([pairs.len(), z.cols(), 1]).max(elements) };
    with_scratch(T::SCRATCH, elements, |scratch| {
        let (scratch, objective) = (&mut scratch.indexed, wanted.of_pairs());
        run(py, work, |cx| batch::indexed(cx, &objective, z, pairs, pairing, out, scratch))
    })
    .map(parts)
}

#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "as many as the crate's")]
pub fn all_pairs(
    py: Python<'_>,
    task: Task,
    z: &Any,
    labels: Option<Any>,
    ignored: Option<i64>,
    graph: Option<Bound<Graph>>,
    unit: bool,
    grad: Option<Any>,
    whole: bool,
) -> PyResult<Parts> {
    let given = Given::new(&labels, ignored, &graph)?;
    by_element!(z, all_pairs_of(py, task, z, given, unit, (grad, whole)))
}

fn all_pairs_of<T: Element>(
    py: Python<'_>,
    (loss, reduction, scale): Task,
    z: &Any,
    given: Given,
    unit: bool,
    (grad, whole): (Option<Any>, bool),
) -> PyResult<Parts> {
    let wanted = Wanted::pairs(&loss, &reduction, scale)?;
    let z = read::<T>(z)?;
    let mut grad = optional(&grad, write::<T>)?;
    let grad = grad.as_mut().map(mat_mut).transpose()?;
    let (elements, z, similar) = (z.len(), mat(&z)?, given.similar()?);
    let work = if whole { 0 } else { times([z.rows(), z.rows(), z.cols()]) };
    with_scratch(T::SCRATCH, elements, |scratch| {
        let (scratch, objective) = (&mut scratch.all_pairs, wanted.of_pairs());
        run(py, work, |cx| {
            with_unit_rows(unit, cx, z, grad, |z: Mat<T>, grad: Option<MatMut<T>>| {
                batch::all_pairs(cx, &objective, z, similar, grad, scratch)
            })
        })
    })
    .map(parts)
}

/// Labels of queries and of keys, and the label that stands for no class.
pub type LabelsAcross<'py> = (Any<'py>, Any<'py>, Option<i64>);

/// A graph, and which samples the first query and the first key are.
pub type GraphAcross<'py> = (Bound<'py, Graph>, usize, usize);

/// Labels, a graph or a position, which say whether a query and a key are similar, borrowed.
pub enum SimilarAcross<'py> {
    Labels(PyReadonlyArray1<'py, i64>, PyReadonlyArray1<'py, i64>, Option<i64>),
    Graph(GraphAcross<'py>),
    Position(usize),
}

impl<'py> SimilarAcross<'py> {
    pub fn new(
        labels: Option<LabelsAcross<'py>>,
        graph: Option<GraphAcross<'py>>,
        position: Option<usize>,
    ) -> PyResult<Self> {
        match (labels, graph, position) {
            (Some((of_queries, of_keys, ignored)), None, None) => {
                let (of_queries, of_keys) = (read_list(&of_queries)?, read_list(&of_keys)?);
                Ok(SimilarAcross::Labels(of_queries, of_keys, ignored))
            }
            (None, Some(graph), None) => Ok(SimilarAcross::Graph(graph)),
            (None, None, Some(first_key)) => Ok(SimilarAcross::Position(first_key)),
            _ => Err(PyValueError::new_err("expected one of labels, a graph and a position")),
        }
    }

    pub fn lend(&self) -> PyResult<CrossSimilar<'_>> {
        Ok(match self {
            SimilarAcross::Labels(queries, keys, ignored) => CrossSimilar::Labels {
                queries: list(queries)?,
                keys: list(keys)?,
                ignored: *ignored,
            },
            &SimilarAcross::Graph((ref graph, first_query, first_key)) => {
                CrossSimilar::Graph { graph: &graph.get().0, first_query, first_key }
            }
            &SimilarAcross::Position(first_key) => CrossSimilar::Position { first_key },
        })
    }
}

#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "as many as the crate's")]
pub fn cross(
    py: Python<'_>,
    task: Task,
    queries: &Any,
    keys: &Any,
    labels: Option<LabelsAcross>,
    graph: Option<GraphAcross>,
    position: Option<usize>,
    own: Option<usize>,
    grads: (Option<Any>, Option<Any>),
    by_parameters: bool,
) -> PyResult<(Parts, Option<[f64; 2]>)> {
    let similar = SimilarAcross::new(labels, graph, position)?;
    by_element!(queries, cross_of(py, task, [queries, keys], similar, own, grads, by_parameters))
}

fn cross_of<T: Element>(
    py: Python<'_>,
    (loss, reduction, scale): Task,
    [queries, keys]: [&Any; 2],
    similar: SimilarAcross,
    own: Option<usize>,
    (grad_queries, grad_keys): (Option<Any>, Option<Any>),
    by_parameters: bool,
) -> PyResult<(Parts, Option<[f64; 2]>)> {
    let wanted = Wanted::pairs(&loss, &reduction, scale)?;
    let (queries, keys) = (read::<T>(queries)?, read::<T>(keys)?);
    let mut totals = by_parameters.then(SlopeTotals::default);
    let mut grad_queries = optional(&grad_queries, write::<T>)?;
    let mut grad_keys = optional(&grad_keys, write::<T>)?;
    let out = CrossOut {
        grad_queries: grad_queries.as_mut().map(mat_mut).transpose()?,
        grad_keys: grad_keys.as_mut().map(mat_mut).transpose()?,
        slope_totals: totals.as_mut(),
    };
    let elements = queries.len() + keys.len();
    let (queries, keys, similar) = (mat(&queries)?, mat(&keys)?, similar.lend()?);
    let work = times([queries.rows(), keys.rows(), keys.cols()]).max(elements);
    let outcome = with_scratch(T::SCRATCH, elements, |scratch| {
        let (scratch, objective) = (&mut scratch.cross, wanted.of_pairs());
        run(py, work, |cx| batch::cross(cx, &objective, queries, keys, similar, own, out, scratch))
    })?;
    let by = totals.map(|totals| loss.by_parameters::<T>(&totals)).transpose()?;
    Ok((parts(outcome), by))
}
