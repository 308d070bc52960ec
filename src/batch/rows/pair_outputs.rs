//! Outputs with an element for each pair: checked, and cut into a part for each task.

#![forbid(unsafe_code)]

use crate::error::{Result, check_len};
use crate::kernel::rows::pair_blocks::PerPair;
use crate::parallel::split::Chunks;

/// Distances, values and slopes of a task, as far as there are any.
pub(crate) type Parts<'a, T> = [Option<Chunks<'a, T>>; 3];

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

/// Parts of `height` pairs.
pub(crate) fn split<T>(per_pair: PerPair<'_, T>, height: usize) -> Parts<'_, T> {
    let PerPair { distances, values, slopes } = per_pair;
    [distances, values, slopes].map(|out| out.map(|out| Chunks(out, height)))
}

/// One task's part.
pub(crate) fn join<T>(parts: Parts<'_, T>) -> PerPair<'_, T> {
    let [distances, values, slopes] = parts.map(|part| part.map(|part| part.0));
    PerPair { distances, values, slopes }
}
