//! Similar samples, by graphs or labels, and lists of pairs.

use drlim::{Similar, pairs};
use numpy::{PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::{Any, Element, by_element, checked, index_pairs, list, mat, read, read_list};
use crate::errors::raised;
use crate::state::{run, times};

/// A graph of similar samples: Graph(samples, pairs), with P x 2 indices in either order and any number of
/// times. IndexError: indices outside of 0 to samples - 1; ValueError: a sample that is paired with itself.
///
///     >>> graph = drlim.Graph(4, [(0, 1), (2, 1)])
///     >>> graph, graph.samples, graph.edges
///     (Graph(samples=4, edges=2), 4, 2)
#[pyclass(frozen, module = "drlim")]
pub struct Graph(pub drlim::Graph);

#[pymethods]
impl Graph {
    #[new]
    fn new(py: Python<'_>, samples: &Any, pairs: &Any) -> PyResult<Self> {
        let samples = checked("size", "samples", samples)?.extract()?;
        let pairs = index_pairs(pairs)?;
        let graph = py.detach(|| drlim::Graph::from_pairs(samples, &pairs));
        graph.map(Graph).map_err(raised)
    }

    /// The graph in which two rows of z, N x D, are similar if either is among the k nearest of the other (Hadsell,
    /// Chopra, LeCun 2006).
    ///
    ///     >>> drlim.Graph.nearest(np.float32([[0, 0], [3, 4], [0, 1]]), k=1).pairs().tolist()
    ///     [[0, 2], [1, 2]]
    #[staticmethod]
    fn nearest(py: Python<'_>, z: &Any, k: &Any) -> PyResult<Self> {
        let z = checked("matrix", "z", z)?;
        let k = checked("neighbours", "k", k)?.extract()?;
        by_element!(&z, graph_of(py, &z, k))
    }

    /// The number of samples.
    #[getter]
    fn samples(&self) -> usize {
        self.0.samples()
    }

    /// The number of similar pairs, each counted once.
    #[getter]
    fn edges(&self) -> usize {
        self.0.edges()
    }

    /// The similar pairs, each once, ascending: edges x 2.
    fn pairs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<u32>>> {
        let numbers: Vec<u32> = self.0.pairs().flat_map(|(i, j)| [i, j]).collect();
        numpy::PyArray1::from_vec(py, numbers).reshape([self.0.edges(), 2])
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// Pickles the object as the arguments that make it.
    fn __getnewargs__<'py>(&self, py: Python<'py>) -> PyResult<(usize, Bound<'py, PyArray2<u32>>)> {
        Ok((self.samples(), self.pairs(py)?))
    }

    fn __repr__(&self) -> String {
        format!("Graph(samples={}, edges={})", self.0.samples(), self.0.edges())
    }
}

fn graph_of<T: Element>(py: Python<'_>, z: &Any, k: usize) -> PyResult<Graph> {
    let z = read::<T>(z)?;
    let z = mat(&z)?;
    let work = times([z.rows(), z.rows(), z.cols().max(k)]);
    run(py, work, |cx| pairs::neighbour_graph(cx, z, k)).map(Graph)
}

/// Pairs of the rows of a matrix, checked and sorted once: PairList(rows, pairs), with the number of rows and
/// P x 2 indices, in any order and with any repeats. IndexError: indices outside of 0 to rows - 1.
///
///     >>> pairs = drlim.PairList(4, [(2, 1), (0, 3)])
///     >>> pairs, len(pairs), pairs.rows, pairs.pairs().tolist()
///     (PairList(rows=4, pairs=2), 2, 4, [[2, 1], [0, 3]])
#[pyclass(frozen, module = "drlim")]
pub struct PairList(pub drlim::batch::PairList);

#[pymethods]
impl PairList {
    #[new]
    fn new(py: Python<'_>, rows: &Any, pairs: &Any) -> PyResult<Self> {
        let rows = checked("size", "rows", rows)?.extract()?;
        let pairs = index_pairs(pairs)?;
        let list = py.detach(|| drlim::batch::PairList::new(rows, &pairs));
        list.map(PairList).map_err(raised)
    }

    /// The number of rows of the matrix.
    #[getter]
    fn rows(&self) -> usize {
        self.0.rows()
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __eq__(&self, other: &Self) -> bool {
        (self.0.rows(), self.0.pairs()) == (other.0.rows(), other.0.pairs())
    }

    /// The pairs, as they were given: P x 2.
    fn pairs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<u32>>> {
        let numbers: Vec<u32> = self.0.pairs().iter().flat_map(|&(i, j)| [i, j]).collect();
        numpy::PyArray1::from_vec(py, numbers).reshape([self.0.len(), 2])
    }

    /// Pickles the object as the arguments that make it.
    fn __getnewargs__<'py>(&self, py: Python<'py>) -> PyResult<(usize, Bound<'py, PyArray2<u32>>)> {
        Ok((self.rows(), self.pairs(py)?))
    }

    fn __repr__(&self) -> String {
        format!("PairList(rows={}, pairs={})", self.0.rows(), self.0.len())
    }
}

/// Labels or a graph, borrowed from Python.
pub enum Given<'a, 'py> {
    Labels { labels: PyReadonlyArray1<'py, i64>, ignored: Option<i64> },
    Graph(&'a drlim::Graph),
}

impl<'a, 'py> Given<'a, 'py> {
    pub fn new(
        labels: &Option<Any<'py>>,
        ignored: Option<i64>,
        graph: &'a Option<Bound<'py, Graph>>,
    ) -> PyResult<Self> {
        match (labels, graph) {
            (Some(labels), None) => Ok(Given::Labels { labels: read_list(labels)?, ignored }),
            (None, Some(graph)) => Ok(Given::Graph(&graph.get().0)),
            _ => Err(PyValueError::new_err("expected either labels or a graph")),
        }
    }

    pub fn similar(&self) -> PyResult<Similar<'_>> {
        Ok(match self {
            Given::Labels { labels, ignored: None } => Similar::Labels(list(labels)?),
            Given::Labels { labels, ignored: Some(ignored) } => {
                Similar::LabelsIgnoring { labels: list(labels)?, ignored: *ignored }
            }
            Given::Graph(graph) => Similar::Graph(graph),
        })
    }
}
