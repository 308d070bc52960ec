//! Hessian-vector products: by rows, of a list, of a batch, of two batches, of triplets by rows.

use drlim::batch::{self, CrossOut, IndexedHvpOut, RowsHvpOut, TripletRows, TripletRowsHvpOut};
use pyo3::prelude::*;

use crate::arrays::{
    Any, Element, by_element, flags, list, list_mut, mat, mat_mut, optional, read, read_list,
    write, write_list,
};
use crate::errors::raised;
use crate::objective::Wanted;
use crate::pairs::{GraphAcross, LabelsAcross, PairingArrays, PairingParts, SimilarAcross, Task};
use crate::similar::{Given, Graph, PairList};
use crate::state::{run, times};
use crate::triplets::{Three, three};

/// Matrices, and the directions that they move along.
type Rays<'py> = (Any<'py>, Any<'py>);

#[pyfunction]
pub fn rows_hvp(
    py: Python<'_>,
    task: Task,
    a: Rays,
    b: Rays,
    pairing: PairingParts,
    products: Option<(Any, Any)>,
    derivatives: Option<Any>,
) -> PyResult<()> {
    by_element!(&a.0, rows_of(py, task, &a, &b, pairing, products, derivatives))
}

fn rows_of<T: Element>(
    py: Python<'_>,
    (loss, reduction, scale): Task,
    (a, va): &Rays,
    (b, vb): &Rays,
    pairing: PairingParts,
    products: Option<(Any, Any)>,
    derivatives: Option<Any>,
) -> PyResult<()> {
    let wanted = Wanted::pairs(&loss, &reduction, scale)?;
    let [a, b, va, vb] = [read::<T>(a)?, read::<T>(b)?, read::<T>(va)?, read::<T>(vb)?];
    let pairing = PairingArrays::<T>::new(pairing)?;
    let mut products = match &products {
        Some((h_a, h_b)) => Some((write::<T>(h_a)?, write::<T>(h_b)?)),
        None => None,
    };
    let mut derivatives = optional(&derivatives, write_list::<T>)?;
    let mut out = match &mut products {
        Some((h_a, h_b)) => RowsHvpOut::products(mat_mut(h_a)?, mat_mut(h_b)?),
        None => RowsHvpOut::none(),
    };
    if let Some(derivatives) = &mut derivatives {
        out = out.derivatives(list_mut(derivatives)?);
    }
    let (inputs, along, pairing) = ([mat(&a)?, mat(&b)?], [mat(&va)?, mat(&vb)?], pairing.lend()?);
    let work = times([inputs[0].rows(), inputs[0].cols(), 1]);
    run(py, work, |cx| batch::rows_hvp(cx, &wanted.of_pairs(), inputs, pairing, along, out))
}

#[pyfunction]
pub fn indexed_hvp(
    py: Python<'_>,
    task: Task,
    z: Rays,
    pairs: &Bound<PairList>,
    pairing: PairingParts,
    product: Option<Any>,
    derivatives: Option<Any>,
) -> PyResult<()> {
    by_element!(&z.0, indexed_of(py, task, &z, pairs, pairing, product, derivatives))
}

fn indexed_of<T: Element>(
    py: Python<'_>,
    (loss, reduction, scale): Task,
    (z, v): &Rays,
    pairs: &Bound<PairList>,
    pairing: PairingParts,
    product: Option<Any>,
    derivatives: Option<Any>,
) -> PyResult<()> {
    let wanted = Wanted::pairs(&loss, &reduction, scale)?;
    let (z, v) = (read::<T>(z)?, read::<T>(v)?);
    let pairing = PairingArrays::<T>::new(pairing)?;
    let mut product = optional(&product, write::<T>)?;
    let mut derivatives = optional(&derivatives, write_list::<T>)?;
    let mut out = match &mut product {
        Some(product) => IndexedHvpOut::product(mat_mut(product)?),
        None => IndexedHvpOut::none(),
    };
    if let Some(derivatives) = &mut derivatives {
        out = out.derivatives(list_mut(derivatives)?);
    }
    let (z, v, pairs, pairing) = (mat(&z)?, mat(&v)?, &pairs.get().0, pairing.lend()?);
    let work = times([pairs.len(), z.cols(), 1]);
    run(py, work, |cx| batch::indexed_hvp(cx, &wanted.of_pairs(), z, pairs, pairing, v, out))
}

#[pyfunction]
pub fn all_pairs_hvp(
    py: Python<'_>,
    task: Task,
    z: Rays,
    labels: Option<Any>,
    ignored: Option<i64>,
    graph: Option<Bound<Graph>>,
    product: &Any,
) -> PyResult<()> {
    by_element!(&z.0, all_pairs_of(py, task, &z, Given::new(&labels, ignored, &graph)?, product))
}

fn all_pairs_of<T: Element>(
    py: Python<'_>,
    (loss, reduction, scale): Task,
    (z, v): &Rays,
    given: Given,
    product: &Any,
) -> PyResult<()> {
    let wanted = Wanted::pairs(&loss, &reduction, scale)?;
    let (z, v, mut h) = (read::<T>(z)?, read::<T>(v)?, write::<T>(product)?);
    let (z, v, h, similar) = (mat(&z)?, mat(&v)?, mat_mut(&mut h)?, given.similar()?);
    let work = times([z.rows(), z.rows(), z.cols()]);
    run(py, work, |cx| batch::all_pairs_hvp(cx, &wanted.of_pairs(), z, similar, v, h))
}

#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "as many as the crate's")]
pub fn cross_hvp(
    py: Python<'_>,
    task: Task,
    queries: Rays,
    keys: Rays,
    labels: Option<LabelsAcross>,
    graph: Option<GraphAcross>,
    position: Option<usize>,
    own: Option<usize>,
    products: (Option<Any>, Option<Any>),
) -> PyResult<()> {
    let (sides, similar) = ([&queries, &keys], SimilarAcross::new(labels, graph, position)?);
    by_element!(&queries.0, cross_of(py, task, sides, similar, own, products))
}

fn cross_of<T: Element>(
    py: Python<'_>,
    (loss, reduction, scale): Task,
    [(queries, of_queries), (keys, of_keys)]: [&Rays; 2],
    similar: SimilarAcross,
    own: Option<usize>,
    products: (Option<Any>, Option<Any>),
) -> PyResult<()> {
    let wanted = Wanted::pairs(&loss, &reduction, scale)?;
    let inputs = [read::<T>(queries)?, read::<T>(keys)?];
    let along = [read::<T>(of_queries)?, read::<T>(of_keys)?];
    let mut h_queries = optional(&products.0, write::<T>)?;
    let mut h_keys = optional(&products.1, write::<T>)?;
    let out = CrossOut {
        grad_queries: h_queries.as_mut().map(mat_mut).transpose()?,
        grad_keys: h_keys.as_mut().map(mat_mut).transpose()?,
        slope_totals: None,
    };
    let inputs = [mat(&inputs[0])?, mat(&inputs[1])?];
    let (along, similar) = ([mat(&along[0])?, mat(&along[1])?], similar.lend()?);
    let work = times([inputs[0].rows(), inputs[1].rows(), inputs[0].cols()]);
    run(py, work, |cx| batch::cross_hvp(cx, &wanted.of_pairs(), inputs, similar, own, along, out))
}

#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "as many as the crate's")]
pub fn triplet_rows_hvp(
    py: Python<'_>,
    task: Task,
    inputs: Three,
    along: Three,
    weights: Option<Any>,
    ignored: Option<Any>,
    products: Option<Three>,
    derivatives: Option<Any>,
) -> PyResult<()> {
    let rays = [&inputs, &along];
    by_element!(&inputs.0, triplets_of(py, task, rays, weights, ignored, products, derivatives))
}

fn triplets_of<T: Element>(
    py: Python<'_>,
    (loss, reduction, scale): Task,
    [inputs, along]: [&Three; 2],
    weights: Option<Any>,
    ignored: Option<Any>,
    products: Option<Three>,
    derivatives: Option<Any>,
) -> PyResult<()> {
    let wanted = Wanted::triplets(&loss, &reduction, scale)?;
    let objective = wanted.of_triplets()?;
    let [anchor, positive, negative] = &three(inputs, read::<T>)?;
    let along = &three(along, read::<T>)?;
    let triplets = TripletRows::new(mat(anchor)?, mat(positive)?, mat(negative)?);
    let mut triplets = triplets.map_err(raised)?;
    let (weights, ignored) = (optional(&weights, read_list::<T>)?, optional(&ignored, flags)?);
    if let Some(weights) = &weights {
        triplets = triplets.weighted(list(weights)?).map_err(raised)?;
    }
    if let Some(ignored) = &ignored {
        triplets = triplets.ignoring(ignored).map_err(raised)?;
    }
    let mut products = products.as_ref().map(|of| three(of, write::<T>)).transpose()?;
    let mut derivatives = optional(&derivatives, write_list::<T>)?;
    let mut out = match &mut products {
        Some([a, p, n]) => TripletRowsHvpOut::products(mat_mut(a)?, mat_mut(p)?, mat_mut(n)?),
        None => TripletRowsHvpOut::none(),
    };
    if let Some(derivatives) = &mut derivatives {
        out = out.derivatives(list_mut(derivatives)?);
    }
    let along = [mat(&along[0])?, mat(&along[1])?, mat(&along[2])?];
    let work = times([along[0].rows(), along[0].cols(), 1]);
    run(py, work, |cx| batch::triplet_rows_hvp(cx, &objective, triplets, along, out))
}
