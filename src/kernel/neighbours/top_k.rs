//! Sorted lists of the best few, one for each row of a set.

#![forbid(unsafe_code)]

use std::ops::Range;

use crate::simd::real::Real;

/// The number of no row: it stands in the empty places of a list, with a key of NaN.
pub(crate) const NONE: u32 = u32::MAX;

/// Lists of `k` rows each, lowest key first, equal keys by number, NaN after everything.
pub(crate) struct Lists<'a, T> {
    pub k: usize,
    pub indices: &'a mut [u32],
    pub keys: &'a mut [T],
}

impl<'a, T: Real> Lists<'a, T> {
    /// Some of the lists.
    pub(crate) fn into_some(self, some: Range<usize>) -> Lists<'a, T> {
        let places = some.start * self.k..some.end * self.k;
        let (indices, keys) = (&mut self.indices[places.clone()], &mut self.keys[places]);
        Lists { k: self.k, indices, keys }
    }

    /// Some of the lists, borrowed.
    pub(crate) fn some(&mut self, some: Range<usize>) -> Lists<'_, T> {
        Lists { k: self.k, indices: self.indices, keys: self.keys }.into_some(some)
    }

    /// The lists before `at`, and the others.
    pub(crate) fn split(&mut self, at: usize) -> [Lists<'_, T>; 2] {
        let (indices, keys) =
            (self.indices.split_at_mut(at * self.k), self.keys.split_at_mut(at * self.k));
        [(indices.0, keys.0), (indices.1, keys.1)].map(|(indices, keys)| Lists {
            k: self.k,
            indices,
            keys,
        })
    }

    /// The last key of a list: keys above it do not enter.
    #[inline(always)]
    pub(crate) fn worst(&self, list: usize) -> T {
        self.keys[(list + 1) * self.k - 1]
    }

    /// The last row of a list: rows with the same key and a higher number do not enter.
    #[inline(always)]
    pub(crate) fn last(&self, list: usize) -> u32 {
        self.indices[(list + 1) * self.k - 1]
    }

    /// Puts a row into a list where it belongs, if it does; the last of the list drops out.
    pub(crate) fn offer(&mut self, list: usize, key: T, index: u32) {
        let list = list * self.k..(list + 1) * self.k;
        let (indices, keys) = (&mut self.indices[list.clone()], &mut self.keys[list]);
        let before = |at: usize| match keys[at].partial_cmp(&key) {
            Some(order) => order.then(indices[at].cmp(&index)).is_le(),
            // One of the two is NaN: the one that is not comes first, then the lower number.
            None if key.is_nan() => !keys[at].is_nan() || indices[at] < index,
            None => false,
        };
        let last = indices.len() - 1;
        if before(last) {
            return;
        }
        let (mut at, mut end) = (0, last);
        while at < end {
            let middle = at + (end - at) / 2;
            if before(middle) { at = middle + 1 } else { end = middle }
        }
        indices.copy_within(at..last, at + 1);
        keys.copy_within(at..last, at + 1);
        indices[at] = index;
        keys[at] = key;
    }
}
