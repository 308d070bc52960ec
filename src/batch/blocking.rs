//! Sizes of the tasks that calls are cut into: functions of the shape alone, so that results do not depend on
//! threads.

#![forbid(unsafe_code)]

use crate::kernel::blocking::{BLOCK_ROWS, PANEL_COLS};
use crate::parallel::cx::{Cx, Par};

/// Bytes of memory traffic that are worth handing to another thread.
pub(crate) const TASK_BYTES: usize = 256 << 10;

/// The most tasks that a call is cut into.
pub(crate) const MOST_TASKS: usize = 64;

/// Rows of a task: a function of the shape alone, since it decides the order of addition.
pub(crate) fn task_rows(rows: usize, bytes_per_row: usize) -> usize {
    let rows = (TASK_BYTES / bytes_per_row.max(1)).max(rows.div_ceil(MOST_TASKS));
    rows.max(1).next_multiple_of(16)
}

/// `cx`, made serial where so few pairs of rows of `d` elements are done sooner by the calling thread alone.
pub(crate) fn serial_if_small(cx: &Cx, pairs: usize, d: usize) -> Cx {
    const LEAST_WORK: usize = 1 << 21;
    let small = pairs.saturating_mul(d.max(8)) < LEAST_WORK;
    Cx { par: if small { Par::Serial } else { cx.par }, ..*cx }
}

/// Rows of a block: a function of the batch alone, since it decides the order of addition. Eight
/// blocks or more where the batch allows, so that rounds have work for several threads.
pub(crate) fn block_rows(rows: usize) -> usize {
    rows.div_ceil(8).max(1).next_multiple_of(PANEL_COLS).min(BLOCK_ROWS)
}

/// Rows of one side of a task: a function of the batch alone, since it decides the order of addition. A task
/// is one block. In large batches it is up to `FEW` blocks, which meet the blocks of the other side while
/// these are in L2, or as many as keep the list of tasks short.
pub(crate) fn rows_of_a_task(rows: usize) -> usize {
    const LEAST: usize = 32;
    const FEW: usize = 4;
    const MOST: usize = 128;
    let block = block_rows(rows);
    let blocks = (rows / (LEAST * block)).clamp(1, FEW);
    block * blocks.max(rows.div_ceil(MOST * block))
}
