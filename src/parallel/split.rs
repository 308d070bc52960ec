//! Splitting work over threads without making the result depend on them.
//!
//! Work is cut into blocks whose number follows from the shapes alone. Each block writes its own part of
//! the outputs. The results of the blocks are added up along a binary tree over the block numbers, which is
//! the same tree whether one thread walks it or many share it. Nothing is allocated for that: a task of
//! rayon lives on the stack of the thread that made it. Where tasks share outputs instead, they take turns
//! at them in the order of a list. Between two blocks a call may be ended ([`super::stop`]).

#![forbid(unsafe_code)]

use std::ops::Range;

#[cfg(feature = "rayon")]
use std::sync::OnceLock;
#[cfg(feature = "rayon")]
use std::sync::atomic::{AtomicUsize, Ordering};

use super::cx::Par;
use super::stop::{Passed, shared};
use crate::memory::mat::MatMut;

/// The rows of a block among `n`: `height` of them, fewer at the end.
pub(crate) fn rows_of_block(block: usize, height: usize, n: usize) -> Range<usize> {
    block * height..((block + 1) * height).min(n)
}

/// The output of some blocks, which can be cut between two of them.
pub(crate) trait Split: Send + Sized {
    /// What one block writes.
    type Part;

    /// The part of the first `blocks` blocks, and the rest.
    fn split(self, blocks: usize) -> (Self, Self);

    /// What the one block that is left writes.
    fn part(self) -> Self::Part;
}

/// No output.
impl Split for () {
    type Part = ();

    fn split(self, _: usize) -> (Self, Self) {
        ((), ())
    }

    fn part(self) {}
}

impl<A: Split, B: Split> Split for (A, B) {
    type Part = (A::Part, B::Part);

    fn split(self, blocks: usize) -> (Self, Self) {
        let ((a0, a1), (b0, b1)) = (self.0.split(blocks), self.1.split(blocks));
        ((a0, b0), (a1, b1))
    }

    fn part(self) -> Self::Part {
        (self.0.part(), self.1.part())
    }
}

impl<A: Split, const N: usize> Split for [A; N] {
    type Part = [A::Part; N];

    fn split(self, blocks: usize) -> (Self, Self) {
        let mut rest = [const { None }; N];
        let mut next = rest.iter_mut();
        let first = self.map(|output| {
            let (first, second) = output.split(blocks);
            *next.next().expect("as many as there are outputs") = Some(second);
            first
        });
        (first, rest.map(|output| output.expect("each output has been split")))
    }

    fn part(self) -> Self::Part {
        self.map(A::part)
    }
}

impl<A: Split> Split for Option<A> {
    type Part = Option<A::Part>;

    fn split(self, blocks: usize) -> (Self, Self) {
        match self.map(|inner| inner.split(blocks)) {
            Some((a, b)) => (Some(a), Some(b)),
            None => (None, None),
        }
    }

    fn part(self) -> Self::Part {
        self.map(A::part)
    }
}

/// A matrix of which each block writes `.1` rows.
pub(crate) struct RowBlocks<'a, T>(pub MatMut<'a, T>, pub usize);

impl<'a, T: Send> Split for RowBlocks<'a, T> {
    type Part = MatMut<'a, T>;

    fn split(self, blocks: usize) -> (Self, Self) {
        let RowBlocks(mat, rows) = self;
        let at = (blocks * rows).min(mat.rows());
        let (a, b) = mat.split_rows_at(at);
        (RowBlocks(a, rows), RowBlocks(b, rows))
    }

    fn part(self) -> Self::Part {
        self.0
    }
}

/// A slice of which each block writes `.1` elements.
pub(crate) struct Chunks<'a, T>(pub &'a mut [T], pub usize);

impl<'a, T: Send> Split for Chunks<'a, T> {
    type Part = &'a mut [T];

    fn split(self, blocks: usize) -> (Self, Self) {
        let Chunks(data, size) = self;
        let at = (blocks * size).min(data.len());
        let (a, b) = data.split_at_mut(at);
        (Chunks(a, size), Chunks(b, size))
    }

    fn part(self) -> Self::Part {
        self.0
    }
}

/// Runs `f(block, part)` for every block below `blocks` and adds up the results by `add`, along a tree.
///
/// `part` is what the block writes of `output`.
pub(crate) fn sum_blocks<O, R, A, F>(par: Par, blocks: usize, output: O, add: A, f: F) -> R
where
    O: Split,
    R: Send + Default,
    A: Fn(R, R) -> R + Sync,
    F: Fn(usize, O::Part) -> R + Sync,
{
    if blocks == 0 {
        return R::default();
    }
    let share = blocks > 1 && par.threads() > 1;
    let call = Passed::here();
    let f = |block: usize, part: O::Part| call.run(share, || f(block, part));
    let work = || subtree(share, 0..blocks, output, (&f, &add));
    if share { shared(work) } else { work() }
}

/// Runs `f(block, part)` for every block below `blocks`.
pub(crate) fn for_blocks<O, F>(par: Par, blocks: usize, output: O, f: F)
where
    O: Split,
    F: Fn(usize, O::Part) + Sync,
{
    sum_blocks(par, blocks, output, |(), ()| (), f);
}

/// The functions of a pass: the first works on a block and its part of the output, the second adds up the
/// results of two blocks.
type Work<'f, P, R> = (&'f (dyn Fn(usize, P) -> R + Sync), &'f (dyn Fn(R, R) -> R + Sync));

/// A pass over a range of blocks. It is not generic over the functions, so that it is compiled once for
/// each kind of output.
fn subtree<O, R>(share: bool, blocks: Range<usize>, output: O, work: Work<O::Part, R>) -> R
where
    O: Split,
    R: Send,
{
    let (f, add) = work;
    if blocks.len() == 1 {
        return f(blocks.start, output.part());
    }
    let half = blocks.len() / 2;
    let middle = blocks.start + half;
    let (left, right) = output.split(half);
    let (mut left, mut right) = (Some(left), Some(right));
    let (mut a, mut b) = (None, None);
    both(
        share,
        &mut || a = left.take().map(|left| subtree(share, blocks.start..middle, left, work)),
        &mut || b = right.take().map(|right| subtree(share, middle..blocks.end, right, work)),
    );
    add(a.expect("the left half ran"), b.expect("the right half ran"))
}

/// Runs both functions, each once. They are not generic, so that rayon's code for a pair of tasks is
/// compiled once.
fn both(share: bool, a: &mut (dyn FnMut() + Send), b: &mut (dyn FnMut() + Send)) {
    #[cfg(feature = "rayon")]
    if share {
        rayon::join(a, b);
        return;
    }
    #[cfg(not(feature = "rayon"))]
    let _ = share;
    a();
    b();
}

/// Runs `f(t)` for every task and returns the results. Task t takes the locks `tasks[t]`, two or twice the
/// same one: it runs when all tasks before it in the list that take one of them are done. So tasks that
/// share a lock run in the order of the list, by any number of threads, and no thread waits for a round to
/// end.
pub(crate) fn run_in_order<R, F>(par: Par, tasks: &[[usize; 2]], f: F) -> Vec<R>
where
    R: Send + Sync,
    F: Fn(usize) -> R + Sync,
{
    let several = par.threads() > 1 && tasks.len() > 1;
    let call = Passed::here();
    let f = |task: usize| call.run(several, || f(task));
    if several { shared(|| share(tasks, f)) } else { (0..tasks.len()).map(f).collect() }
}

#[cfg(not(feature = "rayon"))]
fn share<R, F: Fn(usize) -> R>(tasks: &[[usize; 2]], f: F) -> Vec<R> {
    (0..tasks.len()).map(f).collect()
}

#[cfg(feature = "rayon")]
fn share<R: Send + Sync, F: Fn(usize) -> R + Sync>(tasks: &[[usize; 2]], f: F) -> Vec<R> {
    let queue = Queue::new(tasks, f);
    // Collected before any task runs: from then on, others become ready too.
    let ready: Vec<usize> = queue.ready_at_once().collect();
    rayon::scope(|scope| {
        for task in ready {
            let queue = &queue;
            scope.spawn(move |scope| queue.run(task, scope));
        }
    });
    queue.results.into_iter().map(|result| result.into_inner().expect("a task that ran")).collect()
}

/// Tasks that wait for others.
#[cfg(feature = "rayon")]
struct Queue<R, F> {
    f: F,
    /// How many tasks each waits for.
    waits: Vec<AtomicUsize>,
    /// The next task that waits for each of a task's two locks.
    next: Vec<[Option<usize>; 2]>,
    results: Vec<OnceLock<R>>,
}

#[cfg(feature = "rayon")]
impl<R: Send + Sync, F: Fn(usize) -> R + Sync> Queue<R, F> {
    fn new(tasks: &[[usize; 2]], f: F) -> Self {
        let locks = tasks.iter().flatten().max().map_or(0, |&last| last + 1);
        // For each lock, the last task so far that takes it, and which of the task's two locks it is.
        let mut last: Vec<Option<(usize, usize)>> = vec![None; locks];
        let mut next = vec![[None; 2]; tasks.len()];
        let mut waits = Vec::with_capacity(tasks.len());
        for (task, &[one, other]) in tasks.iter().enumerate() {
            let mut count = 0;
            for (side, lock) in
                [one, other].into_iter().enumerate().take(1 + usize::from(one != other))
            {
                if let Some((before, of)) = last[lock].replace((task, side)) {
                    next[before][of] = Some(task);
                    count += 1;
                }
            }
            waits.push(AtomicUsize::new(count));
        }
        let results = tasks.iter().map(|_| OnceLock::new()).collect();
        Queue { f, waits, next, results }
    }

    fn ready_at_once(&self) -> impl Iterator<Item = usize> {
        let waits = self.waits.iter().enumerate();
        waits.filter(|(_, waits)| waits.load(Ordering::Relaxed) == 0).map(|(task, _)| task)
    }

    fn run<'scope>(&'scope self, task: usize, scope: &rayon::Scope<'scope>) {
        let first = self.results[task].set((self.f)(task)).is_ok();
        assert!(first, "a task runs once");
        for next in self.next[task].into_iter().flatten() {
            if self.waits[next].fetch_sub(1, Ordering::AcqRel) == 1 {
                scope.spawn(move |scope| self.run(next, scope));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Add;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn the_tree_is_the_same_for_one_thread_and_for_many() {
        let sum = |par, blocks| {
            sum_blocks(par, blocks, (), f32::add, |block, ()| 1.0 / (1.0 + block as f32))
        };
        for blocks in [0, 1, 2, 3, 7, 64, 1000] {
            let [serial, shared] = [Par::Serial, Par::Rayon].map(|par| sum(par, blocks));
            assert_eq!(serial.to_bits(), shared.to_bits(), "{blocks} blocks");
        }
    }

    #[test]
    fn every_block_gets_its_own_part_of_the_output() {
        let mut out = vec![0; 23];
        for_blocks(Par::Rayon, 5, Chunks(&mut out, 5), |block, part| part.fill(block + 1));
        let expected: Vec<usize> = (0..23).map(|i| i / 5 + 1).collect();
        assert_eq!(out, expected);
    }

    #[test]
    fn a_task_that_becomes_ready_while_others_are_started_runs_once() {
        // Two tasks for each lock: the second one is ready as soon as the first is done.
        let tasks: Vec<[usize; 2]> = (0..4000).map(|task| [task % 2000; 2]).collect();
        for _ in 0..20 {
            let runs: Vec<AtomicUsize> = tasks.iter().map(|_| AtomicUsize::new(0)).collect();
            run_in_order(Par::Rayon, &tasks, |task| runs[task].fetch_add(1, Ordering::Relaxed));
            assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn tasks_take_turns_at_what_they_share() {
        let mut rng = crate::rng::Rng::new(1);
        let mut draw = || rng.below(7) as usize;
        let tasks: Vec<[usize; 2]> = (0..300).map(|_| [draw(), draw()]).collect();
        for par in [Par::Serial, Par::Rayon] {
            let seen: Vec<Mutex<Vec<usize>>> = (0..7).map(|_| Mutex::default()).collect();
            let results = run_in_order(par, &tasks, |task| {
                for (k, &lock) in tasks[task].iter().enumerate() {
                    if k == 0 || lock != tasks[task][0] {
                        seen[lock].lock().unwrap().push(task);
                    }
                }
                3 * task
            });
            assert_eq!(results, (0..300).map(|task| 3 * task).collect::<Vec<_>>());
            for (lock, seen) in seen.iter().enumerate() {
                let needing = (0..300).filter(|&task| tasks[task].contains(&lock));
                assert_eq!(*seen.lock().unwrap(), needing.collect::<Vec<_>>());
            }
        }
    }
}
