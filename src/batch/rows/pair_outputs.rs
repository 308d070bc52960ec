//! Outputs with an element for each pair: checked, and cut into a part for each task.

#![forbid(unsafe_code)]

use crate::error::{Result, check_len};
use crate::kernel::rows::pair_blocks::PerPair;
use crate::parallel::split::Chunks;

/// Refuses slices that are not of `pairs` elements.
pub(crate) fn check_per_pair<T>(
    call: &'static str,
    per_pair: &PerPair<T>,
    pairs: usize,
    like: &'static str,
) -> Result<()> {
    let PerPair { distances, values, slopes } = per_pair;
    for (arg, out) in [("distances", distances), ("values", values), ("slopes", slopes)] {
        if let Some(out) = out {
            check_len(call, arg, out.len(), pairs, like)?;
        }
    }
    Ok(())
}

/// Distances, values and slopes, as far as there are any, of tasks of `height` pairs.
pub(crate) fn split<T>(per_pair: PerPair<'_, T>, height: usize) -> [Option<Chunks<'_, T>>; 3] {
    let PerPair { distances, values, slopes } = per_pair;
    [distances, values, slopes].map(|out| out.map(|out| Chunks(out, height)))
}
