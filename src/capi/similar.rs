//! Which rows of a batch are similar: labels, or a graph.

use super::context::{drlim_context, run};
use super::handle::{free, make, needed};
use super::matrix::drlim_matrix;
use super::places::PointerArgs;
use super::status::{Refusal, drlim_status, guard};
use crate::memory::reserve::try_with_capacity;
use crate::pairs;
use crate::similar::graph::{self, Similar};

/// A graph that says which rows, or samples, are similar. Made once and used by any number of calls, also at
/// once.
pub struct drlim_graph(pub(super) graph::Graph);

/// Which rows of a batch are similar: those of the same label, or neighbours in a graph. Give one of the
/// two, and leave the other null.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct drlim_similar {
    /// A label for each row; any value is a class.
    pub labels: *const i64,
    /// With labels: a label that stands for no class. Rows that have it are in no pair. May be null.
    pub ignored_label: *const i64,
    /// A graph with a sample for each row.
    pub graph: *const drlim_graph,
}

impl drlim_similar {
    /// The similar set as Rust has it, with `rows` labels.
    ///
    /// # Safety
    /// Pointers are null, misaligned, or the caller's to be read for 'a.
    pub(super) unsafe fn lend<'a>(
        self,
        rows: usize,
        places: &mut PointerArgs,
    ) -> Result<Similar<'a>, Refusal> {
        match (self.labels.is_null(), self.graph.is_null()) {
            (false, true) => {
                let labels = places.input("similar.labels", self.labels, rows)?;
                // SAFETY: as promised.
                let labels = unsafe { labels.lend() };
                // SAFETY: as promised.
                match unsafe { places.read("similar.ignored_label", self.ignored_label)? } {
                    None => Ok(Similar::Labels(labels)),
                    Some(&ignored) => Ok(Similar::LabelsIgnoring { labels, ignored }),
                }
            }
            (true, false) => {
                // SAFETY: as promised.
                Ok(Similar::Graph(&unsafe { needed("similar.graph", self.graph)? }.0))
            }
            // A batch without rows needs neither.
            (true, true) if rows == 0 => Ok(Similar::Labels(&[])),
            _ => Err(Refusal::Similar { expected: "either labels or a graph" }),
        }
    }
}

/// Makes a graph of the given number of samples and the given similar pairs. A pair may be given in either
/// order and any number of times.
///
/// pairs: 2 x count, as for drlim_pairs_new(); copied. graph: where its handle goes, to be given back with
/// drlim_graph_free(). Refused: a sample that is not below samples or is paired with itself; samples above
/// 2^32 - 1, no memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drlim_graph_new(
    samples: usize,
    pairs: *const u32,
    count: usize,
    graph: *mut *mut drlim_graph,
) -> drlim_status {
    guard(|| {
        let mut places = PointerArgs::new();
        let to = places.needed("graph", graph)?;
        // SAFETY: what can be known is checked; the rest is asked of the caller.
        let pairs = unsafe { lend_pairs(&mut places, pairs, count)? };
        let made = drlim_graph(graph::Graph::from_pairs(samples, &pairs)?);
        // SAFETY: the caller's to be written.
        unsafe { to.put(make(made)) };
        Ok(())
    })
}

/// Gives a graph back. Null is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drlim_graph_free(graph: *mut drlim_graph) {
    // SAFETY: the caller gives up a handle that it has from a function that makes graphs.
    unsafe { free(graph) };
}

/// How many samples a graph has, and how many pairs of them are similar, each counted once.
///
/// samples, edges: written; each may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drlim_graph_size(
    graph: *const drlim_graph,
    samples: *mut usize,
    edges: *mut usize,
) -> drlim_status {
    guard(|| {
        let mut places = PointerArgs::new();
        let samples = places.result("samples", samples)?;
        let edges = places.result("edges", edges)?;
        places.check_apart()?;
        // SAFETY: null or a handle; where the results go is null, or the caller's to be written.
        unsafe {
            let graph = &needed("graph", graph)?.0;
            samples.put(graph.samples());
            edges.put(graph.edges());
        }
        Ok(())
    })
}

/// The similar pairs of a graph, each once, ascending.
///
/// pairs: room for 2 x edges numbers; overwritten.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drlim_graph_pairs(
    graph: *const drlim_graph,
    pairs: *mut u32,
) -> drlim_status {
    guard(|| {
        // SAFETY: null or a handle.
        let graph = &unsafe { needed("graph", graph)? }.0;
        let mut places = PointerArgs::new();
        let pairs = places.output("pairs", pairs, 2 * graph.edges())?;
        // SAFETY: what can be known has been checked; the rest is asked of the caller.
        let pairs = unsafe { pairs.lend() };
        for (to, (i, j)) in pairs.chunks_exact_mut(2).zip(graph.pairs()) {
            to.copy_from_slice(&[i, j]);
        }
        Ok(())
    })
}

macro_rules! functions {
    ($T:ident, $nearest_graph:ident) => {
        /// Makes the graph in which two rows of z are similar if either is among the k nearest of the
        /// other (Hadsell, Chopra, LeCun 2006).
        ///
        /// context: may be null. z: N x D. graph: where its handle goes, to be given back with
        /// drlim_graph_free(). Refused: k that is 0 or not below N, a row with fewer than k rows at a
        /// distance that is a number, and what every call refuses.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $nearest_graph(
            context: *const drlim_context,
            z: drlim_matrix<$T>,
            k: usize,
            graph: *mut *mut drlim_graph,
        ) -> drlim_status {
            guard(|| {
                let mut places = PointerArgs::new();
                let to = places.needed("graph", graph)?;
                let z = z.input("z", &mut places)?;
                places.check_apart()?;
                // SAFETY: what can be known has been checked; the rest is asked of the caller.
                unsafe {
                    let z = z.lend();
                    let made = run(context, |cx| pairs::neighbour_graph(cx, z, k))??;
                    to.put(make(drlim_graph(made)));
                }
                Ok(())
            })
        }
    };
}

functions!(f32, drlim_graph_nearest_f32);
functions!(f64, drlim_graph_nearest_f64);

/// Copies pairs of numbers that lie one after another. They must be the last pointer of a call: this checks
/// that all are apart.
///
/// # Safety
/// `pairs` is null, misaligned, or `2 * count` numbers can be read there.
pub(super) unsafe fn lend_pairs(
    places: &mut PointerArgs,
    pairs: *const u32,
    count: usize,
) -> Result<Vec<(u32, u32)>, Refusal> {
    let what = "a list of pairs";
    let numbers = count.checked_mul(2).ok_or(crate::Error::Overflow { what })?;
    let numbers = places.input("pairs", pairs, numbers)?;
    places.check_apart()?;
    let mut copied = try_with_capacity(what, count)?;
    // SAFETY: as promised.
    let numbers = unsafe { numbers.lend() };
    copied.extend(numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])));
    Ok(copied)
}
