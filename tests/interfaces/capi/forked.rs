//! A process that forks leaves its threads behind: calls in the child run on the thread that makes them.

#![cfg(unix)]

use std::panic::AssertUnwindSafe;
use std::ptr::{null, null_mut};

use drlim::capi::*;

use crate::capi::done;
use crate::capi::threads::{all_pairs, ring};

unsafe extern "C" {
    fn fork() -> i32;
    fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
    fn alarm(seconds: u32) -> u32;
    fn _exit(code: i32) -> !;
}

fn threads_of(context: *const drlim_context) -> usize {
    let mut threads = 0;
    // SAFETY: all is as the header asks.
    done(unsafe { drlim_context_describe(context, null_mut(), &mut threads) });
    threads
}

#[test]
fn calls_work_in_a_forked_child() {
    let (mut own, graph) = (null_mut(), ring());
    // SAFETY: all is as the header asks.
    done(unsafe { drlim_context_new(drlim_tier::DEFAULT, 3, &mut own) });
    let expected = [null(), own.cast_const()].map(|context| all_pairs(context, graph));
    assert_eq!(threads_of(own), if cfg!(feature = "rayon") { 3 } else { 1 });
    // SAFETY: the child does nothing but these calls, and ends by itself or by the alarm.
    let child = unsafe { fork() };
    assert!(child >= 0);
    if child == 0 {
        // SAFETY: as above.
        unsafe { alarm(60) };
        let same = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let found = [null(), own.cast_const()].map(|context| all_pairs(context, graph));
            // SAFETY: a handle of this test, not used any more in the child.
            unsafe { drlim_context_free(own) };
            found == expected && threads_of(null()) == 1
        }));
        // SAFETY: nothing is to be done any more.
        unsafe { _exit(if same.is_ok_and(|same| same) { 0 } else { 1 }) };
    }
    let mut status = -1;
    // SAFETY: a child of this process.
    assert_eq!(unsafe { waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0, "the child was ended, or found something else");
    // SAFETY: handles of this test, not used any more.
    unsafe {
        drlim_context_free(own);
        drlim_graph_free(graph);
    }
}
