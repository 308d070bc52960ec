//! Runs the kernel on every pair of blocks of two sets of rows, in an order that does not depend on threads.

#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::gradient::SideOut;
use super::tournament::rounds;
use crate::batch::blocking::rows_of_a_task;
use crate::kernel::blocking::{BLOCK_ROWS, SLOPE_BLOCK, SLOPE_STRIDE};
use crate::kernel::pairwise::block::{Batch, BlockPair};
use crate::kernel::pairwise::block_planar::PlanarBlockPair;
use crate::kernel::pairwise::gradient::{BlockOffsets, BlockOut};
use crate::kernel::pairwise::gradients::{Among, Gradients};
use crate::kernel::rows::planar::WIDEST;
use crate::loss::{BlockLoss, SlopeTotals, Sums};
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

/// Runs each pair of blocks once. Adds up the slopes where the batch wants their totals.
///
/// Where pairs are `among` the rows of one set, the first output serves both sides.
pub(crate) fn run_blocks<T: Real>(
    cx: &Cx,
    batch: &Batch<T>,
    among: bool,
    out: [SideOut<T>; 2],
    slopes: &mut Aligned<T>,
) -> (Sums, SlopeTotals) {
    let d = batch.sides[0].points.rows.z.cols();
    let counts = batch.sides.map(|side| side.points.rows.order.len());
    let products = out.iter().any(Option::is_some) && d > WIDEST;
    let slopes = SlopeBlocks::new(cx, products, slopes);
    let sums = meet(cx, among, counts, gradients(out, counts, d), |task| {
        let (mut sums, mut totals) = (Sums::default(), SlopeTotals::default());
        slopes.lend(|slopes| {
            task.each_block(|Meeting { i, j, among, out }| {
                let among = if among { Among::Upper } else { Among::No };
                let Batch { isa, sides, offsets, .. } = *batch;
                let out = out.map(|out| out.map(BlockOut::lend));
                let to = Gradients { isa, sides, offsets, i, j, among, out, slopes };
                let totals = &mut totals;
                sums = sums + run(BlockPair { batch, to, marks: None, totals });
            });
        });
        (sums, totals)
    });
    let add = |(a, b): (Sums, SlopeTotals), (c, d)| (a + c, b + d);
    sums.into_iter().fold(Default::default(), add)
}

/// Rows i of one side and rows j of another, which meet: each with each.
pub(crate) struct Meeting<O> {
    pub i: Range<usize>,
    pub j: Range<usize>,
    /// Whether they are the same rows of one set. The first output serves both then.
    pub among: bool,
    pub out: [Option<O>; 2],
}

/// Lets all tasks of rows meet. In each round every task of one side meets one of the other, and takes its
/// rounds in order, so the order of addition does not depend on threads. `out` has the output of each block of
/// [`BLOCK_ROWS`] rows of a task, where one is wanted: see [`cut`]. Returns the results in a fixed order.
pub(crate) fn meet<O: Send, R: Send + Sync>(
    cx: &Cx,
    among: bool,
    counts: [usize; 2],
    out: [Vec<Vec<O>>; 2],
    f: impl Fn(Meeting<&mut [O]>) -> R + Sync,
) -> Vec<R> {
    let heights = counts.map(rows_of_a_task);
    let blocks = [0, 1].map(|side| counts[side].div_ceil(heights[side]));
    let rows = |side: usize, block: usize| rows_of_block(block, heights[side], counts[side]);
    let pairs: Vec<(usize, usize)> = rounds(among, blocks).flatten().collect();
    // The blocks of the second side are locks of their own.
    let second = if among { 0 } else { blocks[0] };
    let locks: Vec<[usize; 2]> = pairs.iter().map(|&(i, j)| [i, second + j]).collect();
    let out = out.map(|side| side.into_iter().map(Mutex::new).collect::<Vec<_>>());
    run_in_order(cx.par, &locks, |task| {
        let (i, j) = pairs[task];
        let of_j = if among { &out[0] } else { &out[1] };
        // This never waits: blocks take turns.
        let mut first = out[0].get(i).map(lock);
        let mut second = of_j.get(j).filter(|_| !among || i != j).map(lock);
        let out = [&mut first, &mut second].map(|out| out.as_mut().map(|out| &mut out[..]));
        f(Meeting { i: rows(0, i), j: rows(1, j), among: among && i == j, out })
    })
}

pub(crate) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // A lock is poisoned only by a task that panicked, which ends the whole call.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<O> Meeting<&mut [O]> {
    /// Runs `f` on each block of rows i with each block of rows j.
    pub(crate) fn each_block(mut self, mut f: impl FnMut(Meeting<&mut O>)) {
        let blocks = [&self.i, &self.j].map(|rows| (rows.len().div_ceil(BLOCK_ROWS), rows.clone()));
        let part = |side: usize, block: usize| {
            let rows = &blocks[side].1;
            rows.start + block * BLOCK_ROWS..rows.end.min(rows.start + (block + 1) * BLOCK_ROWS)
        };
        for b in 0..blocks[1].0 {
            for a in 0..if self.among { b + 1 } else { blocks[0].0 } {
                look();
                let among = self.among && a == b;
                let [of_i, of_j] = &mut self.out;
                let out = match (self.among, among) {
                    (true, false) => match of_i {
                        Some(out) => {
                            let (before, after) = out.split_at_mut(b);
                            [Some(&mut before[a]), Some(&mut after[0])]
                        }
                        None => [None, None],
                    },
                    (true, true) => [of_i.as_mut().map(|out| &mut out[a]), None],
                    (false, _) => {
                        [of_i.as_mut().map(|out| &mut out[a]), of_j.as_mut().map(|out| &mut out[b])]
                    }
                };
                f(Meeting { i: part(0, a), j: part(1, b), among, out });
            }
        }
    }
}

/// The outputs of `rows` rows by task and block: see [`meet`]. `next` is given how many rows the next block has.
pub(crate) fn cut<O>(rows: usize, mut next: impl FnMut(usize) -> O) -> Vec<Vec<O>> {
    let height = rows_of_a_task(rows);
    let task = |task| {
        let rows = rows_of_block(task, height, rows).len();
        let blocks = 0..rows.div_ceil(BLOCK_ROWS);
        blocks.map(|block| next(rows_of_block(block, BLOCK_ROWS, rows).len())).collect()
    };
    (0..rows.div_ceil(height)).map(task).collect()
}

/// Scratch of tasks: as much as there are tasks at a time.
pub(crate) struct Pool<X>(Mutex<Vec<X>>);

impl<X> Pool<X> {
    pub(crate) fn new() -> Self {
        Pool(Mutex::new(Vec::new()))
    }

    /// Runs `f` with some scratch, made where none is left.
    pub(crate) fn lend<R>(&self, make: impl FnOnce() -> X, f: impl FnOnce(&mut X) -> R) -> R {
        let left = lock(&self.0).pop();
        let mut scratch = left.unwrap_or_else(make);
        let result = f(&mut scratch);
        lock(&self.0).push(scratch);
        result
    }
}

/// Blocks of slopes, one for each thread.
pub(crate) struct SlopeBlocks<'a, T> {
    blocks: Mutex<Vec<&'a mut [T]>>,
    wanted: bool,
}

impl<'a, T: Real> SlopeBlocks<'a, T> {
    /// As many as there are threads, where they are wanted.
    pub(crate) fn new(cx: &Cx, wanted: bool, memory: &'a mut Aligned<T>) -> Self {
        memory.resize(if wanted { cx.par.threads() * SLOPE_BLOCK } else { 0 });
        let blocks = Mutex::new(memory.chunks_mut(SLOPE_BLOCK).collect());
        SlopeBlocks { blocks, wanted }
    }

    /// Runs `f` with a block of slopes, of no elements where none are wanted.
    pub(crate) fn lend(&self, f: impl FnOnce(&mut [T])) {
        let mut some = if self.wanted { lock(&self.blocks).pop() } else { None };
        // While a loss waits for other threads, its thread may take another task, for which no block is left.
        let mut more = Aligned::default();
        if self.wanted && some.is_none() {
            more.resize(SLOPE_BLOCK);
        }
        f(some.as_deref_mut().unwrap_or(&mut more));
        lock(&self.blocks).extend(some);
    }
}

/// The outputs of both sides by task and block. Rows have `d` elements.
pub(crate) fn gradients<'a, T>(
    out: [SideOut<'a, T>; 2],
    counts: [usize; 2],
    d: usize,
) -> [Vec<Vec<BlockOut<'a, T>>>; 2] {
    let mut counts = counts.into_iter();
    out.map(|side| {
        let rows = counts.next().expect("one for each side");
        let Some((mut grad, mut slope_sums)) = side else { return Vec::new() };
        cut(rows, |height| BlockOut {
            grad: grad.split_off_mut(..height * d).expect("a row of each gradient"),
            slope_sums: slope_sums.split_off_mut(..height).expect("a sum for each row"),
        })
    })
}

impl<T> BlockOut<'_, T> {
    /// The same output, for as long as a kernel runs.
    pub(crate) fn lend(&mut self) -> BlockOut<'_, T> {
        BlockOut { grad: self.grad, slope_sums: self.slope_sums }
    }
}

/// The offsets of the operands of a batch's products.
pub(crate) fn offsets<T>(cx: &Cx, d: usize) -> BlockOffsets {
    BlockOffsets::new::<T>(cx.isa, BLOCK_ROWS, SLOPE_STRIDE, d)
}

/// Runs the kernel of two blocks: rows of up to three elements have their own.
fn run<T: Real>(pair: BlockPair<T>) -> Sums {
    let Batch { isa, sides, .. } = pair.batch;
    match sides[0].points.rows.z.cols() {
        1 => T::dispatch(*isa, PlanarBlockPair::<T, 1>(pair)),
        2 => T::dispatch(*isa, PlanarBlockPair::<T, 2>(pair)),
        WIDEST => T::dispatch(*isa, PlanarBlockPair::<T, WIDEST>(pair)),
        _ => T::dispatch(*isa, pair),
    }
}
