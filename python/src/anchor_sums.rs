//! Sums of anchors as arrays: ten numbers of eight bytes for each anchor, as `drlim.ANCHOR_SUMS` names them.

use drlim::loss::{AnchorSums, LogSum};
use numpy::{PyReadonlyArray1, PyReadwriteArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::{Any, list, list_mut, read_list, write_list};

/// The bits of an anchor's numbers.
type Bits = [u64; 10];

fn bits(sums: AnchorSums) -> Bits {
    let log = |of: LogSum| [of.count, of.largest.to_bits(), of.sum.to_bits()];
    let ([p, largest_p, sum_p], [g, largest_g, sum_g]) = (log(sums.similar), log(sums.dissimilar));
    let [first, second] = sums.each.unwrap_or_default().map(f64::to_bits);
    let looked = sums.each.is_some().into();
    let exponents = sums.exponents.to_bits();
    [p, largest_p, sum_p, g, largest_g, sum_g, exponents, looked, first, second]
}

/// Zeros are the sums of no candidate.
fn sums(bits: &Bits) -> AnchorSums {
    let &[p, largest_p, sum_p, g, largest_g, sum_g, exponents, looked, first, second] = bits;
    let log = |count: u64, largest: u64, sum: u64| {
        let (largest, sum) = (f64::from_bits(largest), f64::from_bits(sum));
        LogSum { count, largest: if sum == 0.0 { f64::NEG_INFINITY } else { largest }, sum }
    };
    let mut sums = AnchorSums::default();
    sums.similar = log(p, largest_p, sum_p);
    sums.dissimilar = log(g, largest_g, sum_g);
    sums.exponents = f64::from_bits(exponents);
    sums.each = (looked != 0).then(|| [first, second].map(f64::from_bits));
    sums
}

/// The numbers of each anchor.
fn anchors(all: &[u64]) -> PyResult<&[Bits]> {
    match all.as_chunks() {
        (anchors, []) => Ok(anchors),
        _ => Err(PyValueError::new_err("sums: expected ten numbers for each anchor")),
    }
}

fn anchors_mut(all: &mut [u64]) -> PyResult<&mut [Bits]> {
    match all.as_chunks_mut() {
        (anchors, []) => Ok(anchors),
        _ => Err(PyValueError::new_err("sums: expected ten numbers for each anchor")),
    }
}

pub fn read_sums(array: &Any) -> PyResult<Vec<AnchorSums>> {
    let array: PyReadonlyArray1<u64> = read_list(array)?;
    Ok(anchors(list(&array)?)?.iter().map(sums).collect())
}

pub fn write_sums(to: &mut PyReadwriteArray1<u64>, found: &[AnchorSums]) -> PyResult<()> {
    for (to, &found) in anchors_mut(list_mut(to)?)?.iter_mut().zip(found) {
        *to = bits(found);
    }
    Ok(())
}

/// Adds the sums of a part of the candidates, or where `each` is given those of the similar pairs that were looked at
/// again. Returns the first anchor where that cannot be; nothing has been written then.
#[pyfunction]
pub fn merge_sums(to: &Any, part: &Any, each: bool) -> PyResult<Option<usize>> {
    let part = read_sums(part)?;
    let mut to = write_list::<u64>(to)?;
    let to = anchors_mut(list_mut(&mut to)?)?;
    let merged = to.iter().zip(part).map(|(to, part)| match each {
        false => Some((sums(to) + part).without_each()),
        true => sums(to).add_each(part),
    });
    let merged: Vec<_> = merged.collect();
    if let Some(at) = merged.iter().position(Option::is_none) {
        return Ok(Some(at));
    }
    for (to, merged) in to.iter_mut().zip(merged.into_iter().flatten()) {
        *to = bits(merged);
    }
    Ok(None)
}
