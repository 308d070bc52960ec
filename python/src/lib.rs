//! The compiled part of the Python package `drlim`: the crate's calls on NumPy arrays.
//!
//! Its functions take what the package in `drlim/` has checked and allocated: arrays of one element type
//! whose rows are contiguous, lists that are, and room for every result. They make views, let go of the
//! interpreter and call the crate. What would still be wrong is refused here as well.

mod anchor_objective;
mod anchor_sums;
mod anchors;
mod arrays;
mod distances;
mod errors;
mod hvp;
mod objective;
mod pairs;
mod scratch;
mod signals;
mod similar;
mod state;
mod triplets;
mod unit;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _drlim {
    #[pymodule_export]
    use crate::anchor_objective::{anchor_factor, check_anchor_loss};
    #[pymodule_export]
    use crate::anchor_sums::merge_sums;
    #[pymodule_export]
    use crate::anchors::{all_anchors, cross_anchors};
    #[pymodule_export]
    use crate::distances::{
        distance_matrix, hard_pairs, hardest, nearest, nearest_others, row_distances,
        row_distances_backward,
    };
    #[pymodule_export]
    use crate::hvp::{all_pairs_hvp, cross_hvp, indexed_hvp, rows_hvp, triplet_rows_hvp};
    #[pymodule_export]
    use crate::objective::{check_loss, check_triplet_loss};
    #[pymodule_export]
    use crate::pairs::{all_pairs, cross, indexed, rows};
    #[pymodule_export]
    use crate::similar::{Graph, PairList};
    #[pymodule_export]
    use crate::state::{set_threads, set_tier, threads, tier, tiers};
    #[pymodule_export]
    use crate::triplets::{triplet_rows, triplets};

    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
