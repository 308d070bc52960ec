//! The C interface, called as C calls it: every function refuses every argument that it can know to be wrong,
//! and gives what the call in Rust gives.

#![allow(unsafe_code, reason = "it is called as C calls it")]

#[path = "../common/mod.rs"]
mod common;

mod callbacks;
mod forked;
mod header;
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
