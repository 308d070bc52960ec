//! How much memory a call takes at most, and how often it asks for it.

#![allow(unsafe_code, reason = "an allocator is an unsafe interface")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, with what the calling thread has of it now and at most, and how
/// often it has asked. The test runner's other threads, and those of a pool that is going away, allocate when
/// they like.
struct Measuring;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn add(bytes: isize) {
    NOW.set(NOW.get() + bytes);
    PEAK.set(PEAK.get().max(NOW.get()));
}

// SAFETY: every call is the system allocator's own.
unsafe impl GlobalAlloc for Measuring {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is the callee's.
        let at = unsafe { System.alloc(layout) };
        // What is not given is not taken.
        if !at.is_null() {
            add(layout.size() as isize);
        }
        at
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        add(-(layout.size() as isize));
        // SAFETY: the caller's promise is the callee's.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Measuring = Measuring;

/// The most bytes that a call holds on its thread at a time, and what it gives.
pub fn peak<R>(call: impl FnOnce() -> R) -> (usize, R) {
    let before = NOW.get();
    PEAK.set(before);
    let gives = call();
    (PEAK.get().abs_diff(before), gives)
}

/// How often the calling thread has allocated so far.
pub fn count() -> usize {
    ALLOCATIONS.get()
}

/// How often `f` allocates on the calling thread.
pub fn allocations(f: impl FnOnce()) -> usize {
    let before = count();
    f();
    count() - before
}
