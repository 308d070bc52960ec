//! Calls that are watched end where the answer to a question says so, and leave everything else as it was. The face
//! in Python makes them, of Ctrl-C.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use drlim::batch::{
    AllPairsScratch, AnchorScratch, Anchors, AnchorsOut, CrossAnchorsOut, CrossSimilar,
    all_anchors, all_pairs, cross_anchors,
};
use drlim::loss::{AnchorObjective, Contrastive, Objective, Outcome, Softmax};
use drlim::threads::Threads;
use drlim::{Cx, Isa, Mat, MatMut, Result, Similar};

thread_local! {
    /// How many questions are answered with no.
    static LEFT: Cell<u32> = const { Cell::new(0) };
}

fn after_some() -> bool {
    LEFT.set(LEFT.get().saturating_sub(1));
    LEFT.get() == 0
}

/// Makes so many rows of 32 elements, and their labels.
fn batch(rows: usize) -> (Vec<f32>, Vec<i64>) {
    let z = (0..rows * 32).map(|k| (k * 7919 % 1000) as f32 / 100.0).collect();
    (z, (0..rows as i64).map(|row| row % 5).collect())
}

fn call(cx: &Cx, rows: usize) -> Result<Outcome> {
    let (z, labels) = batch(rows);
    let loss = Contrastive::new(100.0)?;
    let (z, similar) = (Mat::new(&z, rows, 32)?, Similar::Labels(&labels));
    all_pairs(cx, &Objective::mean(&loss), z, similar, None, &mut AllPairsScratch::new())
}

fn of_anchors(cx: &Cx, rows: usize) -> Result<f64> {
    let (z, labels) = batch(rows);
    let loss = Softmax::scale(0.1)?;
    let (z, similar) = (Mat::new(&z, rows, 32)?, Similar::Labels(&labels));
    let (objective, out) = (AnchorObjective::mean(&loss), AnchorsOut::none());
    Ok(all_anchors(cx, &objective, z, similar, out, &mut AnchorScratch::new())?.value)
}

/// The first rows are keys as well, few enough that distances of several strips are kept.
fn of_strips(cx: &Cx, rows: usize) -> Result<f64> {
    let ((z, labels), few) = (batch(rows), rows.min(1 << 14));
    let loss = Softmax::scale(0.1)?;
    let (queries, mut grad) = (Mat::new(&z, rows, 32)?, vec![0.0; rows * 32]);
    let (keys, of_keys) = (queries.rows_range(1, few), &labels[1..few]);
    let similar = CrossSimilar::Labels { queries: &labels, keys: of_keys, ignored: None };
    let out = CrossAnchorsOut::grad_queries(MatMut::new(&mut grad, rows, 32)?);
    let (objective, scratch) = (AnchorObjective::mean(&loss), &mut AnchorScratch::new());
    let anchors = Anchors::Queries;
    let outcome =
        cross_anchors(cx, &objective, queries, keys, similar, None, anchors, out, scratch)?;
    Ok(outcome.value + f64::from(grad[rows * 32 - 1]))
}

type Value = fn(&Cx, usize) -> Result<f64>;

const CALLS: [(&str, Value); 3] = [
    ("all_pairs", |cx, rows| Ok(call(cx, rows)?.value)),
    ("all_anchors", of_anchors),
    ("cross_anchors", of_strips),
];

/// Rows of which all pairs take minutes.
const MANY: usize = 1 << 18;

#[test]
fn a_call_ends_where_the_answer_says_so() {
    for (threads, (name, call)) in [1, 2, 0].into_iter().flat_map(|n| CALLS.map(|call| (n, call))) {
        let threads = Threads::new(threads).unwrap();
        let expected = threads.run(Isa::default(), |cx| call(cx, 300)).unwrap();
        for questions in [1, 3] {
            LEFT.set(questions);
            let ended = threads.run_watched(Isa::default(), after_some, |cx| call(cx, MANY));
            assert!(ended.is_none(), "{name}");
        }
        LEFT.set(u32::MAX);
        let found = threads.run_watched(Isa::default(), after_some, |cx| call(cx, 300));
        assert_eq!(found.unwrap().unwrap(), expected, "{name}");
        // What has been ended is forgotten.
        assert_eq!(threads.run(Isa::default(), |cx| call(cx, 300)).unwrap(), expected, "{name}");
    }
}

#[test]
fn a_question_may_lead_to_another_call() {
    fn asks_and_calls() -> bool {
        let threads = Threads::new(1).unwrap();
        let inner = threads.run_watched(Isa::default(), || false, |cx| call(cx, 300));
        assert!(inner.expect("nothing ends it").is_ok());
        LEFT.set(0);
        assert!(threads.run_watched(Isa::default(), after_some, |cx| call(cx, MANY)).is_none());
        true
    }
    for threads in [1, 2, 0] {
        let threads = Threads::new(threads).unwrap();
        assert!(threads.run_watched(Isa::default(), asks_and_calls, |cx| call(cx, MANY)).is_none());
    }
}

#[test]
fn one_call_ends_and_another_goes_on() {
    let threads = Threads::new(2).unwrap();
    let expected = threads.run(Isa::default(), |cx| call(cx, 6000)).unwrap();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| threads.run(Isa::default(), |cx| call(cx, 6000)));
        LEFT.set(2);
        assert!(threads.run_watched(Isa::default(), after_some, |cx| call(cx, MANY)).is_none());
        assert_eq!(other.join().unwrap().unwrap().value, expected.value);
    });
}

#[test]
fn an_answer_that_comes_with_the_last_block_is_not_forgotten() {
    static ASKED: AtomicBool = AtomicBool::new(false);
    fn yes() -> bool {
        ASKED.store(true, Ordering::SeqCst);
        true
    }
    // A call without blocks that ends once it has been asked for.
    for threads in [2, 3] {
        let threads = Threads::new(threads).unwrap();
        ASKED.store(false, Ordering::SeqCst);
        let ended = threads.run_watched(Isa::default(), yes, |_| {
            while !ASKED.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        });
        assert!(ended.is_none());
    }
}

#[test]
fn panics_stay_what_they_are() {
    for threads in [1, 2, 0] {
        let threads = Threads::new(threads).unwrap();
        let wrong = || threads.run_watched(Isa::default(), || false, |_| panic!("of the call"));
        let payload = catch_unwind(AssertUnwindSafe(wrong)).map(|_: Option<()>| ()).unwrap_err();
        assert_eq!(*payload.downcast::<&str>().unwrap(), "of the call");
        assert!(threads.run(Isa::default(), |cx| call(cx, 300)).is_ok());
    }
}
