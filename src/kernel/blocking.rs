//! Block sizes of the work on pairs: the loop that each one cuts, the cache it is chosen for, and what it
//! must divide.
//!
//! Every row with every row, from the outside in:
//!
//! ```text
//! LOOP 1: pairs of blocks of BLOCK_ROWS rows          slopes of a block, its rows: L2
//! LOOP 2:   panels of up to PANEL_COLS columns        a panel of CHUNK elements: L1
//! LOOP 3:     strips: rows_at_once() rows x a panel   distances of a strip: L1
//! LOOP 4:       chunks of CHUNK elements along the depth
//! LOOP 5:         register tiles: 4, 5, 6 or 8 rows x 2 vectors
//!               groups of GROUP_PAIRS pairs: one call of the loss, one partial sum
//! ```
//!
//! GROUP_PAIRS, CHUNK and BLOCK_ROWS fix the last bits of values and gradients: sums are formed within a
//! group, a chunk or a block first. The other sizes change speed alone.

#![forbid(unsafe_code)]

use crate::simd::Simd;
use crate::simd::isa::{Isa, MOST_LANES};
use crate::simd::real::Real;

/// The most rows of a block: its slopes and the rows of both sides share L2.
pub(crate) const BLOCK_ROWS: usize = 128;

/// The most columns of a panel: two vectors of the widest tier.
pub(crate) const PANEL_COLS: usize = 2 * MOST_LANES;

/// Pairs of a group. The loss is called once for a group, and its values are added up in lanes before they
/// are added to the sum of the call. One call of the loss reads and writes 2.3 KiB in `f32`.
pub(crate) const GROUP_PAIRS: usize = 256;

/// Elements of a chunk along the depth. The products of a chunk are added up first, then the sums of the
/// chunks: this rounds less than one long sum does. The panel of one chunk stays in L1 (16 KiB).
pub(crate) const CHUNK: usize = 128;

/// The most pairs of a strip: a block of rows x a panel.
pub(crate) const STRIP_PAIRS: usize = BLOCK_ROWS * PANEL_COLS;

/// Elements from a row of slopes to the next: a block takes 72 KiB in `f32`. (A power of two would put a
/// column of them into a few sets of the cache.)
pub(crate) const SLOPE_STRIDE: usize = BLOCK_ROWS + 16;

/// Elements of a block of slopes.
pub(crate) const SLOPE_BLOCK: usize = BLOCK_ROWS * SLOPE_STRIDE;

// A block starts at a panel of every tier, and so at a group of rows.
const _: () = assert!(BLOCK_ROWS.is_multiple_of(PANEL_COLS));
// A strip is whole groups, one bit of a u32 for each.
const _: () = assert!(STRIP_PAIRS.is_multiple_of(GROUP_PAIRS) && STRIP_PAIRS / GROUP_PAIRS <= 32);
// A group is whole rows of a panel of every tier, and at least one register tile of 8 rows.
const _: () = assert!(GROUP_PAIRS.is_multiple_of(PANEL_COLS) && GROUP_PAIRS / PANEL_COLS >= 8);
// A graph's mask has a bit of a u32 for each panel of a block, of 4 or more columns.
const _: () = assert!(BLOCK_ROWS / 4 <= 32);
// A row of slopes ends at a whole vector.
const _: () = assert!(SLOPE_STRIDE.is_multiple_of(MOST_LANES) && SLOPE_STRIDE > BLOCK_ROWS);

/// Columns of a panel: two vectors. Their number depends on the tier, and so do packed rows.
pub(crate) fn tile_cols<T>(isa: Isa) -> usize {
    2 * isa.lanes::<T>()
}

/// Rows of a strip: one group of pairs. Where a panel is too deep for L1, all rows of a block, so that each
/// chunk of the panel serves all of them while it is in L1.
#[inline(always)]
pub(crate) fn rows_at_once<S: Simd<T>, T: Real>(depth: usize) -> usize {
    if depth > CHUNK { BLOCK_ROWS } else { GROUP_PAIRS / (2 * S::LANES) }
}
