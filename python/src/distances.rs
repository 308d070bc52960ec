//! Distances without a loss, neighbours, and hard pairs.

use drlim::batch::{self, Distance};
use drlim::loss::Pairing;
use drlim::pairs::{self, Neighbours};
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::{
    Any, Element, by_element, flags, list, list_mut, mat, mat_mut, optional, read, read_list,
    write, write_list,
};
use crate::errors::raised;
use crate::similar::{Given, Graph};
use crate::state::{run, times};

fn distance(name: &str) -> PyResult<Distance> {
    match name {
        "euclidean" => Ok(Distance::Euclidean),
        "squared" => Ok(Distance::SquaredEuclidean),
        "dot" => Ok(Distance::Dot),
        "cosine" => Ok(Distance::Cosine),
        _ => Err(PyValueError::new_err(format!(
            "distance is {name:?}, expected 'euclidean', 'squared', 'dot' or 'cosine'"
        ))),
    }
}

#[pyfunction]
pub fn row_distances(py: Python<'_>, name: &str, a: &Any, b: &Any, out: &Any) -> PyResult<()> {
    fn of<T: Element>(py: Python<'_>, name: &str, a: &Any, b: &Any, out: &Any) -> PyResult<()> {
        let (a, b, mut out) = (read::<T>(a)?, read::<T>(b)?, write_list::<T>(out)?);
        let (distance, a, b, out) = (distance(name)?, mat(&a)?, mat(&b)?, list_mut(&mut out)?);
        run(py, times([a.rows(), a.cols(), 1]), |cx| batch::row_distances(cx, distance, a, b, out))
    }
    by_element!(a, of(py, name, a, b, out))
}

#[pyfunction]
pub fn row_distances_backward(
    py: Python<'_>,
    name: &str,
    inputs: (Any, Any),
    upstream: &Any,
    grads: (Any, Any),
) -> PyResult<()> {
    fn of<T: Element>(
        py: Python<'_>,
        name: &str,
        (a, b): &(Any, Any),
        upstream: &Any,
        (grad_a, grad_b): &(Any, Any),
    ) -> PyResult<()> {
        let (a, b, upstream) = (read::<T>(a)?, read::<T>(b)?, read_list::<T>(upstream)?);
        let (mut grad_a, mut grad_b) = (write::<T>(grad_a)?, write::<T>(grad_b)?);
        let (to_a, to_b) = (mat_mut(&mut grad_a)?, mat_mut(&mut grad_b)?);
        let (distance, a, b, upstream) = (distance(name)?, mat(&a)?, mat(&b)?, list(&upstream)?);
        let work = times([a.rows(), a.cols(), 1]);
        run(py, work, |cx| batch::row_distances_backward(cx, distance, a, b, upstream, to_a, to_b))
    }
    by_element!(&inputs.0, of(py, name, &inputs, upstream, &grads))
}

#[pyfunction]
pub fn distance_matrix(py: Python<'_>, a: &Any, b: &Any, out: &Any) -> PyResult<()> {
    fn of<T: Element>(py: Python<'_>, a: &Any, b: &Any, out: &Any) -> PyResult<()> {
        let (a, b, mut out) = (read::<T>(a)?, read::<T>(b)?, write::<T>(out)?);
        let (a, b, out) = (mat(&a)?, mat(&b)?, mat_mut(&mut out)?);
        let work = times([a.rows(), b.rows(), a.cols().max(1)]);
        run(py, work, |cx| batch::distance_matrix(cx, a, b, out))
    }
    by_element!(a, of(py, a, b, out))
}

/// Indices and distances, a row for each query. Indices are signed, as NumPy's own are; -1 is none.
type Found<'py> = (Bound<'py, PyArray2<i64>>, Any<'py>);

fn found<'py, T: Element>(py: Python<'py>, found: &Neighbours<T>) -> PyResult<Found<'py>> {
    let signed = |&index: &u32| if index == u32::MAX { -1 } else { i64::from(index) };
    let indices: Vec<i64> = found.indices().iter().map(signed).collect();
    let shape = [found.rows(), found.k()];
    let distances = PyArray1::from_slice(py, found.distances()).reshape(shape)?;
    Ok((PyArray1::from_vec(py, indices).reshape(shape)?, distances.into_any()))
}

#[pyfunction]
pub fn nearest<'py>(
    py: Python<'py>,
    queries: &Any,
    references: &Any,
    k: usize,
) -> PyResult<Found<'py>> {
    fn of<'py, T: Element>(py: Python<'py>, q: &Any, r: &Any, k: usize) -> PyResult<Found<'py>> {
        let (q, r) = (read::<T>(q)?, read::<T>(r)?);
        let (q, r) = (mat(&q)?, mat(&r)?);
        let work = times([q.rows(), r.rows(), q.cols().max(k)]);
        found(py, &run(py, work, |cx| pairs::nearest(cx, q, r, k))?)
    }
    by_element!(queries, of(py, queries, references, k))
}

#[pyfunction]
pub fn nearest_others<'py>(py: Python<'py>, z: &Any, k: usize) -> PyResult<Found<'py>> {
    fn of<'py, T: Element>(py: Python<'py>, z: &Any, k: usize) -> PyResult<Found<'py>> {
        let z = read::<T>(z)?;
        let z = mat(&z)?;
        let work = times([z.rows(), z.rows(), z.cols().max(k)]);
        found(py, &run(py, work, |cx| pairs::nearest_others(cx, z, k))?)
    }
    by_element!(z, of(py, z, k))
}

#[pyfunction]
pub fn hardest<'py>(
    py: Python<'py>,
    z: &Any,
    labels: Option<Any<'py>>,
    ignored: Option<i64>,
    graph: Option<Bound<'py, Graph>>,
    k: usize,
) -> PyResult<(Found<'py>, Found<'py>)> {
    fn of<'py, T: Element>(
        py: Python<'py>,
        z: &Any,
        given: Given,
        k: usize,
    ) -> PyResult<(Found<'py>, Found<'py>)> {
        let z = read::<T>(z)?;
        let (z, similar) = (mat(&z)?, given.similar()?);
        let work = times([z.rows(), z.rows(), z.cols().max(k)]);
        let both = run(py, work, |cx| pairs::hardest(cx, z, similar, k))?;
        Ok((found(py, &both.similar)?, found(py, &both.dissimilar)?))
    }
    by_element!(z, of(py, z, Given::new(&labels, ignored, &graph)?, k))
}

#[pyfunction]
pub fn hard_pairs<'py>(
    py: Python<'py>,
    distances: &Any<'py>,
    similar: &Any<'py>,
    ignored: Option<Any<'py>>,
) -> PyResult<Bound<'py, PyArray1<u32>>> {
    fn of<T: Element>(
        py: Python<'_>,
        distances: &Any,
        similar: &[bool],
        ignored: Option<&[bool]>,
    ) -> PyResult<Vec<u32>> {
        let distances = read_list::<T>(distances)?;
        let distances = list(&distances)?;
        let pairing = Pairing::new(similar);
        let pairing = ignored.map_or(pairing, |ignored| pairing.ignoring(ignored));
        py.detach(|| batch::hard_pairs(distances, pairing)).map_err(raised)
    }
    let (similar, ignored) = (flags(similar)?, optional(&ignored, flags)?);
    let hard = by_element!(distances, of(py, distances, &similar, ignored.as_deref()))?;
    Ok(PyArray1::from_vec(py, hard))
}
