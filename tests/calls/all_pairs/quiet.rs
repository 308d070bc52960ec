//! A loss that keeps to itself what it could tell kernels, so that nothing is skipped, and counts the
//! pairs that it is asked about.

use std::sync::atomic::{AtomicU64, Ordering};

use drlim::Isa;
use drlim::loss::BlockLoss;

use super::MARGIN;
use crate::support::Element;

/// A loss that tells its reach and its pull where it may.
pub struct Quiet<T> {
    loss: Box<dyn BlockLoss<T>>,
    tells_reach: bool,
    tells_pull: bool,
    seen: AtomicU64,
}

impl<T: Element> Quiet<T> {
    /// The contrastive loss.
    pub fn new() -> Self {
        Quiet::of(T::contrastive(MARGIN))
    }

    pub fn of(loss: Box<dyn BlockLoss<T>>) -> Self {
        Quiet { loss, tells_reach: false, tells_pull: false, seen: AtomicU64::new(0) }
    }

    pub fn telling_reach(self, tells_reach: bool) -> Self {
        Quiet { tells_reach, ..self }
    }

    pub fn telling_pull(self, tells_pull: bool) -> Self {
        Quiet { tells_pull, ..self }
    }

    /// How many pairs it has been asked about, those that only fill up a tile included.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }
}

macro_rules! block_loss {
    ($t:ident) => {
        impl BlockLoss<$t> for Quiet<$t> {
            fn eval_block(&self, isa: Isa, d2: &mut [$t], similar: &[bool], values: &mut [$t]) {
                self.seen.fetch_add(d2.len() as u64, Ordering::Relaxed);
                self.loss.eval_block(isa, d2, similar, values);
            }
            fn reach_block(&self) -> Option<$t> {
                self.loss.reach_block().filter(|_| self.tells_reach)
            }
            /// Whether it says so or not: pairs at a margin are measured otherwise than those around it.
            fn kinks_block(&self) -> [Option<$t>; 2] {
                self.loss.kinks_block()
            }
            fn similar_slope_block(&self) -> Option<$t> {
                self.loss.similar_slope_block().filter(|_| self.tells_pull)
            }
        }
    };
}
block_loss!(f32);
block_loss!(f64);
