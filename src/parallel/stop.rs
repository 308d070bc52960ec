//! Ends a call before it is done, between two blocks of its work, where its caller wants that.
//!
//! Python hears of Ctrl-C only when its main thread asks. So a call that is [`watched`] has a question: the
//! thread that made the call asks it every so often, between two of its blocks, or while it waits for the
//! threads of a pool. If the answer is yes, the next block of each thread unwinds instead of being run, and
//! [`watched`] catches that: nothing reads what blocks have left undone.
//!
//! Calls that nobody watches pay for a look at a thread-local value before each block.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(feature = "rayon")]
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Whether a call is to end.
pub(crate) type Question = fn() -> bool;

/// Time between two questions.
const EVERY: Duration = Duration::from_millis(50);

/// A bit for each watched call that runs, and a bit for each of these that is to end.
static WATCHED: AtomicU64 = AtomicU64::new(0);
static TO_END: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The bit of the watched call that this thread works for.
    static CALL: Cell<Option<u64>> = const { Cell::new(None) };
    /// The question of the watched call that this thread has made, and when it was last asked.
    static ASKS: Cell<Option<(Question, Option<Instant>)>> = const { Cell::new(None) };
}

/// The payload of the unwinding.
struct Ended;

/// Puts the thread's values back when it is dropped: a question may lead to another call, which sets them.
struct Before(Option<u64>, Option<(Question, Option<Instant>)>);

impl Before {
    fn set(call: Option<u64>, asks: Option<Question>) -> Self {
        Before(CALL.replace(call), ASKS.replace(asks.map(|question| (question, None))))
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        CALL.set(self.0);
        ASKS.set(self.1);
    }
}

/// A bit that belongs to one call.
struct Bit(u64);

impl Bit {
    /// A free bit, if there is one.
    fn take() -> Option<Self> {
        let lowest = |taken: u64| !taken & taken.wrapping_add(1);
        let free = |taken: u64| (taken != u64::MAX).then(|| taken | lowest(taken));
        let before = WATCHED.fetch_update(Ordering::Acquire, Ordering::Relaxed, free).ok()?;
        Some(Bit(lowest(before)))
    }
}

impl Drop for Bit {
    fn drop(&mut self) {
        TO_END.fetch_and(!self.0, Ordering::Relaxed);
        WATCHED.fetch_and(!self.0, Ordering::Release);
    }
}

/// Runs a call. `None` where the answer to `question` has ended it: then its outputs are in no known state.
/// Of more than 64 such calls at once, those that find no bit cannot be ended.
pub(crate) fn watched<R>(question: Question, call: impl FnOnce() -> R) -> Option<R> {
    let Some(bit) = Bit::take() else { return Some(call()) };
    let _before = Before::set(Some(bit.0), Some(question));
    // Nobody looks at the outputs of a call that unwinds.
    match catch_unwind(AssertUnwindSafe(call)) {
        // The answer may have come when no block was left to unwind. The call is ended all the same: its
        // caller has been told so.
        Ok(result) => (TO_END.load(Ordering::Relaxed) & bit.0 == 0).then_some(result),
        Err(payload) if payload.is::<Ended>() => None,
        Err(payload) => resume_unwind(payload),
    }
}

/// Runs a call that nobody watches. A thread of a pool may come to it in the middle of a call that is
/// watched.
pub(crate) fn unwatched<R>(call: impl FnOnce() -> R) -> R {
    let _before = Before::set(None, None);
    call()
}

/// Whether this thread has made a watched call that is not done. If so, it is answering that call's
/// question.
pub(crate) fn is_asking() -> bool {
    ASKS.get().is_some()
}

/// The watched call of a pass over blocks, for the threads that share them.
#[derive(Clone, Copy)]
pub(crate) struct Passed(Option<u64>);

impl Passed {
    /// The call that this thread works for.
    pub fn here() -> Self {
        Passed(CALL.get())
    }

    /// Runs a block for that call. A block that is shared may run on any thread of a pool, also in the
    /// middle of a block of another call.
    pub fn run<R>(self, shared: bool, block: impl FnOnce() -> R) -> R {
        let _before = shared.then(|| Before::set(self.0, None));
        look();
        block()
    }
}

/// Unwinds where the call that this thread works for is to end. Before each block, and within those that may
/// take long.
pub(crate) fn look() {
    if let Some(call) = CALL.get() {
        ask_and_look(call);
    }
}

fn ask_and_look(call: u64) {
    if let Some((question, last)) = ASKS.get() {
        let now = Instant::now();
        if last.is_none_or(|last| now - last >= EVERY) {
            ASKS.set(Some((question, Some(now))));
            // Not at the first look: most calls are shorter.
            if last.is_some() && question() {
                TO_END.fetch_or(call, Ordering::Relaxed);
            }
        }
    }
    if TO_END.load(Ordering::Relaxed) & call != 0 {
        // This is no panic: the panic hook is not called.
        resume_unwind(Box::new(Ended));
    }
}

/// Runs work that is shared among the threads of the current pool. Where the thread that asks is not one of
/// them, it waits and asks meanwhile.
#[cfg(feature = "rayon")]
pub(crate) fn shared<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    match ASKS.get() {
        Some(_) => in_pool(None, work),
        None => work(),
    }
}

#[cfg(not(feature = "rayon"))]
pub(crate) fn shared<R>(work: impl FnOnce() -> R) -> R {
    work()
}

/// Runs work in a pool, or the global one, for the call that this thread has made and watches.
#[cfg(feature = "rayon")]
pub(crate) fn in_pool<R: Send>(
    pool: Option<&rayon::ThreadPool>,
    work: impl FnOnce() -> R + Send,
) -> R {
    let (mut work, mut result) = (Some(work), None);
    ask_meanwhile(pool, &mut || result = work.take().map(|work| work()));
    result.expect("the work is done")
}

/// [`in_pool`] for work without a result. It is not generic, so that it is compiled once.
#[cfg(feature = "rayon")]
fn ask_meanwhile(pool: Option<&rayon::ThreadPool>, work: &mut (dyn FnMut() + Send)) {
    match pool {
        Some(pool) => pool.in_place_scope(|scope| ask_during(scope, work)),
        None => rayon::in_place_scope(|scope| ask_during(scope, work)),
    }
}

/// Hands work to the pool of a scope, and asks until it is done.
#[cfg(feature = "rayon")]
fn ask_during<'scope>(scope: &rayon::Scope<'scope>, work: &'scope mut (dyn FnMut() + Send)) {
    let (call, asks) = (CALL.get(), ASKS.get());
    let done = Arc::new((Mutex::new(false), Condvar::new()));
    fn lock(done: &(Mutex<bool>, Condvar)) -> MutexGuard<'_, bool> {
        done.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    let of_task = Arc::clone(&done);
    scope.spawn(move |_| {
        let before = Before::set(call, None);
        let result = catch_unwind(AssertUnwindSafe(work));
        drop(before);
        *lock(&of_task) = true;
        of_task.1.notify_one();
        if let Err(payload) = result {
            resume_unwind(payload); // to whom the scope belongs
        }
    });
    let mut is_done = lock(&done);
    while !*is_done {
        let again = done.1.wait_timeout(is_done, EVERY).unwrap_or_else(PoisonError::into_inner);
        if *again.0 || !again.1.timed_out() {
            is_done = again.0;
            continue;
        }
        drop(again);
        if asks.is_some_and(|(question, _)| question()) {
            TO_END.fetch_or(call.unwrap_or(0), Ordering::Relaxed);
        }
        is_done = lock(&done);
    }
}
