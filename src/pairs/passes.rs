//! Endless passes over the same items, each in a new random order, whose position can be saved and restored.

#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use crate::rng::Rng;

/// The position of a sampler: three words, from which another sampler over the same set goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplerState {
    /// [`Rng::state`] at the start of the current pass.
    pub pass: u64,
    /// The number of items of the current pass that have been offered: similar pairs of a
    /// [`Sampler`](super::Sampler), samples of a [`BatchSampler`](super::BatchSampler).
    pub position: u64,
    /// [`Rng::state`] now.
    pub rng: u64,
}

/// The current pass. The `arrange` function of the caller, the same in all calls, overwrites its order. It
/// depends on random numbers alone, so that a state need not hold the order.
#[derive(Clone, Debug)]
pub(super) struct Passes {
    pub(super) rng: Rng,
    /// The items of the pass, in its order.
    order: Vec<u32>,
    /// The number of items that have been offered.
    position: usize,
    /// The random numbers from which the order was drawn.
    start: Rng,
}

impl Passes {
    pub(super) fn new(seed: u64, arrange: impl FnOnce(&mut Rng, &mut Vec<u32>)) -> Self {
        let rng = Rng::new(seed);
        let mut passes = Passes { start: rng.clone(), rng, order: Vec::new(), position: 0 };
        passes.start(arrange);
        passes
    }

    /// The next item; where the pass has ended, the first one of the next pass. A pass must have an item.
    pub(super) fn next(&mut self, arrange: impl FnOnce(&mut Rng, &mut Vec<u32>)) -> u32 {
        if self.position == self.order.len() {
            self.start(arrange);
        }
        self.position += 1;
        self.order[self.position - 1]
    }

    pub(super) fn state(&self) -> SamplerState {
        SamplerState {
            pass: self.start.state(),
            position: self.position as u64,
            rng: self.rng.state(),
        }
    }

    /// Refused where the position lies behind the end of a pass; nothing has changed then.
    pub(super) fn restore(
        &mut self,
        state: SamplerState,
        arrange: impl FnOnce(&mut Rng, &mut Vec<u32>),
    ) -> Result<()> {
        let len = self.order.len();
        let position = usize::try_from(state.position).ok().filter(|&position| position <= len);
        let Some(position) = position else {
            let reason = format!("position {} in a pass of {len}", state.position);
            return Err(Error::Pairs { reason });
        };
        self.rng = Rng::from_state(state.pass);
        self.start(arrange);
        self.position = position;
        self.rng = Rng::from_state(state.rng);
        Ok(())
    }

    fn start(&mut self, arrange: impl FnOnce(&mut Rng, &mut Vec<u32>)) {
        self.start = self.rng.clone();
        self.position = 0;
        arrange(&mut self.rng, &mut self.order);
    }
}
