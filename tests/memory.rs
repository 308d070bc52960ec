//! What `all_pairs` takes from the heap: memory of the batch, never of its pairs.

#![allow(unsafe_code, reason = "an allocator is an unsafe interface")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use drlim::batch::{AllPairsScratch, all_pairs};
use drlim::loss::{Contrastive, Objective};
use drlim::{Cx, Mat, MatMut, Rng, Similar};

/// The system's allocator, with what is taken from it now and at most.
struct Measuring;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is the system allocator's own.
unsafe impl GlobalAlloc for Measuring {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise is the callee's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is the callee's.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Measuring = Measuring;

/// The most bytes that one call holds beside its arguments.
fn peak(n: usize, d: usize, labels: &[i64]) -> usize {
    let mut rng = Rng::new(1);
    let z: Vec<f32> = (0..n * d).map(|_| rng.uniform() as f32).collect();
    let mut grad = vec![0.0_f32; n * d];
    let loss = Contrastive::new(1.0).unwrap();
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    all_pairs(
        &Cx::default(),
        &Objective::mean(&loss),
        Mat::new(&z, n, d).unwrap(),
        Similar::Labels(labels),
        Some(MatMut::new(&mut grad, n, d).unwrap()),
        &mut AllPairsScratch::new(),
    )
    .unwrap();
    PEAK.load(Ordering::Relaxed) - before
}

#[test]
fn a_batch_takes_three_times_its_own_memory_at_most() {
    const SMALL: usize = 16 << 20;
    for (n, d, classes) in [(16384, 128, 100), (16384, 16, 16384), (8192, 2, 10)] {
        let labels: Vec<i64> = (0..n as i64).map(|i| i % classes).collect();
        let bytes = peak(n, d, &labels);
        let allowed = 3 * n * d * size_of::<f32>() + SMALL;
        assert!(bytes <= allowed, "{n}x{d}: {bytes} bytes, at most {allowed} are promised");
        // The allocator does measure: the rows' copies are there.
        assert!(bytes >= n * d * size_of::<f32>(), "{n}x{d}: only {bytes} bytes");
    }
}
