//! Working memory of calls, which each thread keeps from one call to the next.

use std::cell::RefCell;

use drlim::batch::{AllPairsScratch, AnchorScratch, CrossScratch, IndexedScratch, MiningScratch};
use pyo3::PyResult;

/// The working memory of each kind of call.
#[derive(Default)]
pub struct Scratches<T> {
    pub indexed: IndexedScratch<T>,
    pub all_pairs: AllPairsScratch<T>,
    pub cross: CrossScratch<T>,
    pub mined: MiningScratch<T>,
    pub anchors: AnchorScratch<T>,
}

/// The most elements of a batch whose memory is kept: so that training steps use it again, but one huge batch
/// does not hold on to it.
const MOST_KEPT: usize = 1 << 22;

thread_local! {
    pub static OF_F32: RefCell<Scratches<f32>> = RefCell::default();
    pub static OF_F64: RefCell<Scratches<f64>> = RefCell::default();
}

/// Runs a call on a batch of `elements` elements with the thread's scratch. A call that has ended midway
/// leaves nothing.
pub fn with_scratch<T: Default, R>(
    kept: &'static std::thread::LocalKey<RefCell<Scratches<T>>>,
    elements: usize,
    call: impl FnOnce(&mut Scratches<T>) -> PyResult<R>,
) -> PyResult<R> {
    let mut scratch = kept.take();
    let result = call(&mut scratch)?;
    if elements <= MOST_KEPT {
        kept.set(scratch);
    }
    Ok(result)
}
