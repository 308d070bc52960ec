//! Working memory of calls, kept from one call to the next.

use std::sync::Mutex;

use super::handle::{free, make};
use super::places::Written;
use super::status::{drlim_status, guard};
use crate::batch::{AllPairsScratch, AnchorScratch, CrossScratch, MiningScratch};
use crate::loss::AnchorSums;

/// Working memory of calls: it grows to what the largest of them needs and is then used again, so that a
/// training step allocates nothing. It serves calls of every kind, in float and double, one at a time: a
/// second one at the same time does not wait, but is refused with DRLIM_STATUS_BUSY. See "Locks" above.
pub struct drlim_scratch {
    pub(super) f32: Mutex<Scratches<f32>>,
    pub(super) f64: Mutex<Scratches<f64>>,
}

/// The working memory of each kind of call.
#[derive(Default)]
pub(super) struct Scratches<T> {
    pub indexed: crate::batch::IndexedScratch<T>,
    pub all_pairs: AllPairsScratch<T>,
    pub cross: CrossScratch<T>,
    pub mined: MiningScratch<T>,
    pub anchors: AnchorScratch<T>,
    pub sums: Vec<AnchorSums>,
    pub known: Vec<AnchorSums>,
}

/// Makes an empty scratch.
///
/// scratch: where its handle goes, to be given back with drlim_scratch_free(). Refused: null or misaligned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drlim_scratch_new(scratch: *mut *mut drlim_scratch) -> drlim_status {
    guard(|| {
        let to = Written::needed("scratch", scratch)?;
        let made = drlim_scratch { f32: Mutex::default(), f64: Mutex::default() };
        // SAFETY: the caller's to be written.
        unsafe { to.put(make(made)) };
        Ok(())
    })
}

/// Gives a scratch and its memory back. Null is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drlim_scratch_free(scratch: *mut drlim_scratch) {
    // SAFETY: the caller gives up a handle that it has from drlim_scratch_new().
    unsafe { free(scratch) };
}
