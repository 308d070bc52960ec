//! The C interface, called as C calls it: every function refuses every argument that it can know to be wrong,
//! and gives what the call in Rust gives.

#![allow(unsafe_code, reason = "it is called as C calls it")]

/// Calls a macro with an element type and the functions for it, and then with the other type.
macro_rules! for_both_types {
    ($of_type:ident) => {
        $of_type!(
            f32,
            drlim_rows_f32,
            drlim_indexed_f32,
            drlim_all_pairs_f32,
            drlim_cross_f32,
            drlim_triplet_rows_f32,
            drlim_triplets_f32,
            drlim_row_distances_f32,
            drlim_row_distances_backward_f32,
            drlim_distance_matrix_f32,
            drlim_hard_pairs_f32,
            drlim_nearest_f32,
            drlim_nearest_others_f32,
            drlim_hardest_f32,
            drlim_graph_nearest_f32
        );
        $of_type!(
            f64,
            drlim_rows_f64,
            drlim_indexed_f64,
            drlim_all_pairs_f64,
            drlim_cross_f64,
            drlim_triplet_rows_f64,
            drlim_triplets_f64,
            drlim_row_distances_f64,
            drlim_row_distances_backward_f64,
            drlim_distance_matrix_f64,
            drlim_hard_pairs_f64,
            drlim_nearest_f64,
            drlim_nearest_others_f64,
            drlim_hardest_f64,
            drlim_graph_nearest_f64
        );
    };
}
pub(crate) use for_both_types;

mod callbacks;
mod extents;
mod forked;
mod header;
mod own_losses;
mod refusals;
mod threads;
mod values;

use std::ffi::CStr;
use std::ptr::null_mut;

use drlim::capi::{drlim_last_error, drlim_matrix, drlim_matrix_mut, drlim_status};

/// All of a slice as rows of so many elements.
fn rows_of<T>(data: &[T], cols: usize) -> drlim_matrix<T> {
    drlim_matrix { data: data.as_ptr(), rows: data.len() / cols, cols, stride: cols }
}

/// The same, to be written.
fn rows_mut<T>(data: &mut [T], cols: usize) -> drlim_matrix_mut<T> {
    drlim_matrix_mut { data: data.as_mut_ptr(), rows: data.len() / cols, cols, stride: cols }
}

/// A matrix that is not wanted.
fn nowhere<T>() -> drlim_matrix_mut<T> {
    drlim_matrix_mut { data: null_mut(), rows: 0, cols: 0, stride: 0 }
}

fn message() -> String {
    // SAFETY: the text stays until another call of this thread fails.
    unsafe { CStr::from_ptr(drlim_last_error()) }.to_str().unwrap().to_owned()
}

/// A call that must succeed.
#[track_caller]
fn done(status: drlim_status) {
    assert_eq!(status, drlim_status::OK, "{}", message());
}
