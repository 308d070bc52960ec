//! Runs the kernel on every pair of blocks of two sets of rows, in an order that does not depend on threads.

#![forbid(unsafe_code)]

use std::ops::{Add, Range};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::gradient::SideOut;
use super::tournament::rounds;
use crate::batch::blocking::rows_of_a_task;
use crate::kernel::blocking::{BLOCK_ROWS, SLOPE_BLOCK, SLOPE_STRIDE};
use crate::kernel::pairwise::block::{Batch, BlockPair};
use crate::kernel::pairwise::block_planar::PlanarBlockPair;
use crate::kernel::pairwise::gradient::{BlockOffsets, BlockOut};
use crate::kernel::rows::planar::WIDEST;
use crate::loss::{BlockLoss, Sums};
use crate::memory::aligned::Aligned;
use crate::parallel::cx::Cx;
use crate::parallel::split::{rows_of_block, run_in_order};
use crate::parallel::stop::look;
use crate::simd::real::Real;

/// The kinks of a loss, where its formula changes, as squared distances.
pub(crate) fn kinks<T: Real>(loss: &dyn BlockLoss<T>) -> Vec<T> {
    // A kink at 0 needs no care: distances near 0 are never computed from products.
    loss.kinks_block().into_iter().flatten().map(|d| d * d).filter(|&d2| d2 > T::ZERO).collect()
}

/// Runs each pair of blocks once. In each round every block meets one other block, and a block takes its
/// rounds in order, so the order of addition does not depend on threads.
///
/// Where pairs are `among` the rows of one set, the first output serves both sides.
pub(crate) fn run_blocks<T: Real>(
    cx: &Cx,
    batch: &Batch<T>,
    among: bool,
    mut out: [SideOut<T>; 2],
    slopes: &mut Aligned<T>,
) -> Sums {
    let d = batch.sides[0].points.rows.z.cols();
    let counts = batch.sides.map(|side| side.points.rows.order.len());
    let heights = counts.map(rows_of_a_task);
    let blocks = [0, 1].map(|side| counts[side].div_ceil(heights[side]));
    let rows = |side: usize, block: usize| rows_of_block(block, heights[side], counts[side]);
    let pairs: Vec<(usize, usize)> = rounds(among, blocks).flatten().collect();
    // The blocks of the second side are locks of their own.
    let second = if among { 0 } else { blocks[0] };
    let locks: Vec<[usize; 2]> = pairs.iter().map(|&(i, j)| [i, second + j]).collect();
    let products = out.iter().any(Option::is_some) && d > WIDEST;
    slopes.resize(if products { pairs.len().min(cx.par.threads()) * SLOPE_BLOCK } else { 0 });
    let slopes = Mutex::new(slopes.chunks_mut(SLOPE_BLOCK).collect::<Vec<_>>());
    let [of_i, of_j] = &mut out;
    let parts = [parts(of_i, heights[0], d), parts(of_j, heights[1], d)];
    let run = |task: usize| {
        let (i, j) = pairs[task];
        let of_j = if among { &parts[0] } else { &parts[1] };
        // This never waits: blocks take turns.
        let mut first = parts[0].get(i).map(lock);
        let mut second = of_j.get(j).filter(|_| !among || i != j).map(lock);
        let out = [first.as_deref_mut(), second.as_deref_mut()].map(|out| out.map(reborrow));
        let mut scratch = if products { lock(&slopes).pop() } else { None };
        // There is one for each thread; but while a loss waits for other threads, its thread may take another
        // task.
        let mut more = Aligned::default();
        if products && scratch.is_none() {
            more.resize(SLOPE_BLOCK);
        }
        let (i, j, among) = (rows(0, i), rows(1, j), among && i == j);
        let some = scratch.as_deref_mut().unwrap_or(&mut more);
        let task = BlockPair { batch, i, j, among, out, marks: None, slopes: some };
        let sums = run_parts(task);
        lock(&slopes).extend(scratch);
        sums
    };
    run_in_order(cx.par, &locks, run).into_iter().fold(Sums::default(), Sums::add)
}

pub(crate) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // A lock is poisoned only by a task that panicked, which ends the whole call.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs each block of the task's rows `i` with each block of its rows `j`.
pub(crate) fn run_parts<T: Real>(mut task: BlockPair<T>) -> Sums {
    let blocks = [&task.i, &task.j].map(|rows| (rows.len().div_ceil(BLOCK_ROWS), rows.clone()));
    if blocks.iter().all(|(count, _)| *count == 1) {
        return run(task);
    }
    let part = |side: usize, block: usize| {
        let rows = &blocks[side].1;
        rows.start + block * BLOCK_ROWS..rows.end.min(rows.start + (block + 1) * BLOCK_ROWS)
    };
    let d = task.batch.sides[0].points.rows.z.cols();
    let mut sums = Sums::default();
    for b in 0..blocks[1].0 {
        let j = part(1, b);
        for a in 0..if task.among { b + 1 } else { blocks[0].0 } {
            look();
            let (i, among) = (part(0, a), task.among && a == b);
            let [of_i, of_j] = task.out.each_mut().map(Option::as_mut);
            let starts = [task.i.start, task.j.start];
            let out = match (task.among, among) {
                (true, false) => match of_i {
                    Some(out) => {
                        let [before, after] = split(out, j.start - starts[0], d);
                        [
                            Some(rows_of(before, &i, starts[0], d)),
                            Some(rows_of(after, &j, j.start, d)),
                        ]
                    }
                    None => [None, None],
                },
                (true, true) => [of_i.map(|out| rows_of(reborrow(out), &i, starts[0], d)), None],
                (false, _) => [
                    of_i.map(|out| rows_of(reborrow(out), &i, starts[0], d)),
                    of_j.map(|out| rows_of(reborrow(out), &j, starts[1], d)),
                ],
            };
            let (batch, slopes, j) = (task.batch, &mut *task.slopes, j.clone());
            sums = sums + run(BlockPair { batch, i, j, among, out, marks: None, slopes });
        }
    }
    sums
}

pub(crate) fn reborrow<'a, T>(out: &'a mut BlockOut<'_, T>) -> BlockOut<'a, T> {
    BlockOut { grad: out.grad, slope_sums: out.slope_sums }
}

/// The output of the first `at` rows, and that of the rest.
pub(crate) fn split<'a, T>(
    out: &'a mut BlockOut<'_, T>,
    at: usize,
    d: usize,
) -> [BlockOut<'a, T>; 2] {
    let (grads, slope_sums) = (out.grad.split_at_mut(at * d), out.slope_sums.split_at_mut(at));
    [
        BlockOut { grad: grads.0, slope_sums: slope_sums.0 },
        BlockOut { grad: grads.1, slope_sums: slope_sums.1 },
    ]
}

/// The output of `rows`, cut out of the output of rows from `start` on.
pub(crate) fn rows_of<'a, T>(
    out: BlockOut<'a, T>,
    rows: &Range<usize>,
    start: usize,
    d: usize,
) -> BlockOut<'a, T> {
    let (from, to) = (rows.start - start, rows.end - start);
    BlockOut { grad: &mut out.grad[from * d..to * d], slope_sums: &mut out.slope_sums[from..to] }
}

/// The output of a side, cut into blocks of `height` rows of `d` elements.
pub(crate) fn parts<'a, T>(
    out: &'a mut SideOut<'_, T>,
    height: usize,
    d: usize,
) -> Vec<Mutex<BlockOut<'a, T>>> {
    let Some((grad, slope_sums)) = out else { return Vec::new() };
    let grads = grad.chunks_mut(height * d).zip(slope_sums.chunks_mut(height));
    grads.map(|(grad, slope_sums)| Mutex::new(BlockOut { grad, slope_sums })).collect()
}

/// The offsets of the operands of a batch's products.
pub(crate) fn offsets<T>(cx: &Cx, d: usize) -> BlockOffsets {
    BlockOffsets::new::<T>(cx.isa, BLOCK_ROWS, SLOPE_STRIDE, d)
}

/// Runs the kernel of two blocks: rows of up to three elements have their own.
pub(crate) fn run<T: Real>(pair: BlockPair<T>) -> Sums {
    let Batch { isa, sides, .. } = pair.batch;
    match sides[0].points.rows.z.cols() {
        1 => T::dispatch(*isa, PlanarBlockPair::<T, 1>(pair)),
        2 => T::dispatch(*isa, PlanarBlockPair::<T, 2>(pair)),
        WIDEST => T::dispatch(*isa, PlanarBlockPair::<T, WIDEST>(pair)),
        _ => T::dispatch(*isa, pair),
    }
}
