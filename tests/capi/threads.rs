//! Calls from many threads: contexts, lists and graphs are shared, messages are not.

use std::ptr::{null, null_mut};

use drlim::capi::*;

use crate::{done, message, nowhere, rows_mut, rows_of};

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
