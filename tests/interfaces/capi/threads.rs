//! Calls from many threads: contexts, lists and graphs are shared, messages are not.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::{null, null_mut};

use drlim::capi::*;

use crate::capi::{done, message, nowhere, rows_mut, rows_of};

const ROWS: usize = 500;
const COLS: usize = 12;

fn embeddings() -> Vec<f32> {
    (0..ROWS * COLS).map(|i| (i * i % 89) as f32 / 89.0).collect()
}

/// By a graph, on the threads of a context: the value and the gradient.
pub fn all_pairs(context: *const drlim_context, graph: *const drlim_graph) -> (f64, Vec<f32>) {
    let (z, mut grad) = (embeddings(), vec![0.0; ROWS * COLS]);
    let objective =
        drlim_objective_new(drlim_loss::LINEAR_HINGE, 1.0, drlim_reduction::BALANCED_NON_ZERO);
    let similar = drlim_similar { graph, ..Default::default() };
    let mut outcome = drlim_outcome::default();
    let (z, to) = (rows_of(&z, COLS), rows_mut(&mut grad, COLS));
    // SAFETY: all is as the header asks.
    done(unsafe {
        drlim_all_pairs_f32(context, &objective, z, &similar, to, null(), &mut outcome)
    });
    (outcome.value, grad)
}

/// Neighbours on a ring.
pub fn ring() -> *mut drlim_graph {
    let pairs: Vec<u32> = (0..ROWS as u32).flat_map(|i| [i, (i + 1) % ROWS as u32]).collect();
    let mut graph = null_mut();
    // SAFETY: all is as the header asks.
    done(unsafe { drlim_graph_new(ROWS, pairs.as_ptr(), ROWS, &mut graph) });
    graph
}

#[test]
fn contexts_and_graphs_are_shared() {
    let (mut context, graph) = (null_mut(), ring());
    // SAFETY: all is as the header asks.
    done(unsafe { drlim_context_new(drlim_tier::DEFAULT, 3, &mut context) });
    let expected = all_pairs(null(), graph);
    // Pointers are not for other threads, unless they go as numbers.
    let handles = [context as usize, graph as usize];
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let found = all_pairs(
                        handles[0] as *const drlim_context,
                        handles[1] as *const drlim_graph,
                    );
                    assert_eq!(found, expected);
                }
            });
        }
    });
    // SAFETY: handles of this test, not used any more.
    unsafe {
        drlim_context_free(context);
        drlim_graph_free(graph);
    }
}

thread_local! {
    /// The scratch of a thread.
    static SCRATCH: Cell<*mut drlim_scratch> = const { Cell::new(null_mut()) };
}

/// The scratch of this thread, made when it is first asked for. (It ends with the process.)
fn scratch_of_the_thread() -> *const drlim_scratch {
    if SCRATCH.get().is_null() {
        let mut scratch = null_mut();
        // SAFETY: all is as the header asks.
        done(unsafe { drlim_scratch_new(&mut scratch) });
        SCRATCH.set(scratch);
    }
    SCRATCH.get()
}

/// The squared distance, which a call on all pairs finds for its data, a context of one thread, to be right.
unsafe extern "C" fn squares_by_a_call(
    context: *mut c_void,
    d2: *mut f32,
    _: *const bool,
    values: *mut f32,
    n: usize,
) -> i32 {
    // SAFETY: what the header promises: n elements each.
    let (d2, values) = unsafe {
        (std::slice::from_raw_parts_mut(d2, n), std::slice::from_raw_parts_mut(values, n))
    };
    values.copy_from_slice(d2);
    d2.fill(2.0);
    let objective = drlim_objective_new(drlim_loss::CONTRASTIVE, 1.0, drlim_reduction::SUM);
    let similar = drlim_similar { labels: [1; ROWS].as_ptr(), ..Default::default() };
    let (z, mut outcome) = (embeddings(), drlim_outcome::default());
    // SAFETY: all is as the header asks.
    let status = unsafe {
        drlim_all_pairs_f32(
            context.cast(),
            &objective,
            rows_of(&z[..40 * COLS], COLS),
            &similar,
            nowhere(),
            scratch_of_the_thread(),
            &mut outcome,
        )
    };
    if outcome.pairs == 780 { status.0 } else { 99 }
}

#[test]
fn a_callback_makes_calls_with_the_scratch_of_its_thread_and_a_context_of_one_thread() {
    let [mut one, mut many] = [null_mut(); 2];
    // SAFETY: all is as the header asks.
    done(unsafe { drlim_context_new(drlim_tier::DEFAULT, 1, &mut one) });
    // SAFETY: all is as the header asks.
    done(unsafe { drlim_context_new(drlim_tier::DEFAULT, 4, &mut many) });
    let objective = drlim_objective {
        callback_f32: Some(squares_by_a_call),
        callback_data: one.cast(),
        ..drlim_objective_new(drlim_loss::CALLBACK, 1.0, drlim_reduction::SUM)
    };
    let (z, similar) = (embeddings(), vec![true; ROWS / 2]);
    let (a, b) = z.split_at(ROWS / 2 * COLS);
    let labels: Vec<i64> = (0..ROWS as i64).collect();
    let by_labels = drlim_similar { labels: labels.as_ptr(), ..Default::default() };
    for context in [null(), many.cast_const()] {
        let (mut outcome, mut of_all) = (drlim_outcome::default(), drlim_outcome::default());
        // SAFETY: all is as the header asks.
        done(unsafe {
            drlim_rows_f32(
                context,
                &objective,
                rows_of(a, COLS),
                rows_of(b, COLS),
                similar.as_ptr(),
                null(),
                null(),
                null(),
                &mut outcome,
            )
        });
        assert_eq!(outcome.pairs, (ROWS / 2) as u64);
        let z = rows_of(&z, COLS);
        // SAFETY: all is as the header asks.
        done(unsafe {
            drlim_all_pairs_f32(context, &objective, z, &by_labels, nowhere(), null(), &mut of_all)
        });
        assert_eq!(of_all.pairs, (ROWS * (ROWS - 1) / 2) as u64);
    }
    // SAFETY: handles of this test, not used any more.
    unsafe {
        drlim_context_free(one);
        drlim_context_free(many);
    }
}

/// A call that is refused, with a number in its message.
fn refused(k: usize) {
    let z = embeddings();
    let found = drlim_found { indices: null_mut(), ..Default::default() };
    // SAFETY: what is wrong is refused.
    let status = unsafe { drlim_nearest_others_f32(null(), rows_of(&z, COLS), 0, found) };
    assert_eq!(status, drlim_status::VALUE);
    let objective = drlim_objective_new(drlim_loss(k as u32), 1.0, drlim_reduction::SUM);
    let similar = drlim_similar { labels: [0; ROWS].as_ptr(), ..Default::default() };
    // SAFETY: what is wrong is refused.
    let status = unsafe {
        drlim_all_pairs_f32(
            null(),
            &objective,
            rows_of(&z, COLS),
            &similar,
            nowhere(),
            null(),
            null_mut(),
        )
    };
    assert_eq!(status, drlim_status::VALUE);
}

#[test]
fn each_thread_has_its_message() {
    refused(1000);
    let before = message();
    assert!(before.contains("1000"), "{before}");
    std::thread::scope(|scope| {
        for thread in 1..5 {
            scope.spawn(move || {
                assert_eq!(message(), "");
                for k in 0..50 {
                    let k = 2000 + 100 * thread + k;
                    refused(k);
                    assert!(message().contains(&k.to_string()), "{}", message());
                }
            });
        }
    });
    assert_eq!(message(), before);
}
