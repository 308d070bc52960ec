//! Nothing is allocated where the documentation says so: by a call on pairs, and by a training step
//! after the first.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use drlim::batch::{RowsOut, rows};
use drlim::loss::{Contrastive, Objective};
use drlim::nn::{Conv2d, Dense, Network, Shape, Subsample2d, Tanh};
use drlim::optim::Adam;
use drlim::siamese::Siamese;
use drlim::{Cx, Mat, MatMut, Par};

/// The system's allocator, counted.
struct Counting;

thread_local! {
    /// Of this thread alone: the test runner's other threads, and those of a pool that is going
    /// away, allocate when they like.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

#[allow(unsafe_code, reason = "an allocator is an unsafe interface")]
// SAFETY: every call is the system allocator's own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is the callee's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the callee's.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `f` allocates on the calling thread.
fn allocations(f: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    f();
    ALLOCATIONS.get() - before
}

#[test]
fn calls_on_pairs_and_training_steps_allocate_nothing() {
    for isa in common::tiers() {
        pairs_by_rows(Cx { isa, par: Par::Serial }, 256, 2);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        pool.install(|| pairs_by_rows(Cx { isa, par: Par::Rayon }, 256, 2));
        pairs_by_rows(Cx { isa, par: Par::Serial }, 5000, 128);
        training_step(Cx { isa, par: Par::Serial });
    }
    // The counter counts.
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1_u8; 10]))), 1);
}

fn pairs_by_rows(cx: Cx, n: usize, d: usize) {
    let (a, b) = (vec![0.5_f32; n * d], vec![0.25_f32; n * d]);
    let similar = vec![false; n];
    let (mut grad_a, mut grad_b) = (vec![0.0; n * d], vec![0.0; n * d]);
    let loss = Contrastive::new(1.0).unwrap();
    let mut call = || {
        let (a, b) = (Mat::new(&a, n, d).unwrap(), Mat::new(&b, n, d).unwrap());
        let grads = RowsOut::grads(
            MatMut::new(&mut grad_a, n, d).unwrap(),
            MatMut::new(&mut grad_b, n, d).unwrap(),
        );
        rows(&cx, &Objective::sum(&loss), a, b, &similar, grads).unwrap();
    };
    call();
    assert_eq!(allocations(call), 0, "{n}x{d}, {cx}");
}

fn training_step(cx: Cx) {
    let net = Network::<f32>::builder(Shape::image(1, 32, 32))
        .layer("c1", Conv2d::new(15, 6))
        .layer("tanh1", Tanh::new())
        .layer("s2", Subsample2d::new(3))
        .layer("c3", Conv2d::new(30, 9))
        .layer("f4", Dense::new(2))
        .build(1)
        .unwrap();
    let mut siamese = Siamese::new(net, Adam::new(), 5).unwrap();
    let x = vec![0.5; 5 * 1024];
    let x = Mat::new(&x, 5, 1024).unwrap();
    let similar = [true, false, true, false, true];
    let loss = Contrastive::new(1.0).unwrap();
    let mut step = || {
        siamese.step(&cx, &Objective::mean(&loss), 1e-3, x, x, &similar).unwrap();
    };
    step();
    assert_eq!(allocations(step), 0, "a step, {cx}");
}
