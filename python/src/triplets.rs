//! Losses of triplets: by rows, of a batch.

use drlim::batch::{self, Mining, TripletRows, TripletRowsOut};
use drlim::{Mat, MatMut};
use numpy::PyUntypedArrayMethods;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::{
    Any, Element, by_element, flags, list, list_mut, mat, mat_mut, optional, read, read_list,
    write, write_list,
};
use crate::errors::raised;
use crate::objective::{Parts, Wanted, parts};
use crate::pairs::Task;
use crate::scratch::with_scratch;
use crate::similar::{Given, Graph};
use crate::state::{run, times};
use crate::unit::with_unit_rows;

/// An array for the anchor, the positive and the negative each, or for the three pairs of these.
pub type Three<'py> = (Any<'py>, Any<'py>, Any<'py>);

#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "as many as there are results")]
pub fn triplet_rows(
    py: Python<'_>,
    task: Task,
    inputs: Three,
    weights: Option<Any>,
    ignored: Option<Any>,
    grads: Option<Three>,
    distances: Option<Three>,
    values: Option<Any>,
    slopes: Option<Three>,
) -> PyResult<Parts> {
    let lists = (distances, values, slopes);
    by_element!(&inputs.0, triplet_rows_of(py, task, &inputs, weights, ignored, grads, lists))
}

pub fn three<'a, 'py, B>(
    of: &'a Three<'py>,
    borrow: impl Fn(&'a Any<'py>) -> PyResult<B>,
) -> PyResult<[B; 3]> {
    Ok([borrow(&of.0)?, borrow(&of.1)?, borrow(&of.2)?])
}

fn triplet_rows_of<T: Element>(
    py: Python<'_>,
    (loss, reduction, scale): Task,
    inputs: &Three,
    weights: Option<Any>,
    ignored: Option<Any>,
    grads: Option<Three>,
    (distances, values, slopes): (Option<Three>, Option<Any>, Option<Three>),
) -> PyResult<Parts> {
    let wanted = Wanted::triplets(&loss, &reduction, scale)?;
    let objective = wanted.of_triplets()?;
    let inputs = three(inputs, read::<T>)?;
    let [anchor, positive, negative] = &inputs;
    let triplets = TripletRows::new(mat(anchor)?, mat(positive)?, mat(negative)?);
    let mut triplets = triplets.map_err(raised)?;
    let (weights, ignored) = (optional(&weights, read_list::<T>)?, optional(&ignored, flags)?);
    if let Some(weights) = &weights {
        triplets = triplets.weighted(list(weights)?).map_err(raised)?;
    }
    if let Some(ignored) = &ignored {
        triplets = triplets.ignoring(ignored).map_err(raised)?;
    }
    let mut grads = grads.as_ref().map(|grads| three(grads, write::<T>)).transpose()?;
    let mut distances = distances.as_ref().map(|of| three(of, write_list::<T>)).transpose()?;
    let mut values = optional(&values, write_list::<T>)?;
    let mut slopes = slopes.as_ref().map(|of| three(of, write_list::<T>)).transpose()?;
    let mut out = match &mut grads {
        Some([a, p, n]) => TripletRowsOut::grads(mat_mut(a)?, mat_mut(p)?, mat_mut(n)?),
        None => TripletRowsOut::none(),
    };
    if let Some([ap, an, pn]) = &mut distances {
        out = out.distances(list_mut(ap)?, list_mut(an)?).third_distances(list_mut(pn)?);
    }
    if let Some(values) = &mut values {
        out = out.values(list_mut(values)?);
    }
    if let Some([ap, an, pn]) = &mut slopes {
        out = out.slopes(list_mut(ap)?, list_mut(an)?, list_mut(pn)?);
    }
    let work = times([inputs[0].len(), 1, 1]);
    run(py, work, |cx| batch::triplet_rows(cx, &objective, triplets, out)).map(parts)
}

fn mining(name: &str) -> PyResult<Mining> {
    match name {
        "all" => Ok(Mining::All),
        "hardest" => Ok(Mining::Hardest),
        "semi-hard" => Ok(Mining::SemiHard),
        _ => Err(PyValueError::new_err(format!(
            "mining is {name:?}, expected 'all', 'hardest' or 'semi-hard'"
        ))),
    }
}

#[pyfunction]
#[pyo3(name = "triplets")]
#[allow(clippy::too_many_arguments, reason = "as many as the crate's")]
pub fn triplets(
    py: Python<'_>,
    task: Task,
    z: &Any,
    labels: Option<Any>,
    ignored: Option<i64>,
    graph: Option<Bound<Graph>>,
    mining: &str,
    unit: bool,
    grad: Option<Any>,
    whole: bool,
) -> PyResult<Parts> {
    let given = Given::new(&labels, ignored, &graph)?;
    by_element!(z, triplets_of(py, task, z, given, (mining, unit), (grad, whole)))
}

fn triplets_of<T: Element>(
    py: Python<'_>,
    (loss, reduction, scale): Task,
    z: &Any,
    given: Given,
    (name, unit): (&str, bool),
    (grad, whole): (Option<Any>, bool),
) -> PyResult<Parts> {
    let wanted = Wanted::triplets(&loss, &reduction, scale)?;
    let (objective, mining) = (wanted.of_triplets()?, mining(name)?);
    let z = read::<T>(z)?;
    let mut grad = optional(&grad, write::<T>)?;
    let grad = grad.as_mut().map(mat_mut).transpose()?;
    let (elements, z, similar) = (z.len(), mat(&z)?, given.similar()?);
    // Semi-hard mining, and all triplets, look at three rows at a time.
    let third = z.cols().max(if name == "hardest" { 0 } else { z.rows() });
    let work = if whole { 0 } else { times([z.rows(), z.rows(), third]) };
    with_scratch(T::SCRATCH, elements, |scratch| {
        let scratch = &mut scratch.mined;
        run(py, work, |cx| {
            with_unit_rows(unit, cx, z, grad, |z: Mat<T>, grad: Option<MatMut<T>>| {
                batch::triplets(cx, &objective, z, similar, mining, grad, scratch)
            })
        })
    })
    .map(parts)
}
