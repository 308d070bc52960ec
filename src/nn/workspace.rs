//! The memory that a batch passes through, made once and used for every batch up to its size.

#![forbid(unsafe_code)]

use super::network::Network;
use crate::error::{Error, Result};
use crate::real::Real;

/// Activations, gradients and scratch of a network for batches of up to so many samples.
///
/// A workspace for training holds every layer's output; one for inference two buffers that the
/// layers fill in turn. After it has been made, passes allocate nothing.
#[derive(Clone, Debug)]
pub struct Workspace<T> {
    pub(super) max_samples: usize,
    /// Samples of the last forward pass that a backward pass can follow.
    pub(super) samples: usize,
    pub(super) keeps_all: bool,
    pub(super) input: Vec<T>,
    pub(super) outputs: Vec<Vec<T>>,
    /// The gradients of a layer's output and of its input, in turn.
    pub(super) gradients: [Vec<T>; 2],
    pub(super) scratch: Vec<T>,
    /// Elements of a sample before each layer and after the last.
    pub(super) lens: Vec<usize>,
    /// The network that it was made for.
    pub(super) network: u64,
}

impl<T: Real> Workspace<T> {
    /// For forward and backward passes of up to `max_samples` samples.
    pub fn training(net: &Network<T>, max_samples: usize) -> Result<Self> {
        Workspace::new(net, max_samples, true)
    }

    /// For forward passes alone.
    pub fn inference(net: &Network<T>, max_samples: usize) -> Result<Self> {
        Workspace::new(net, max_samples, false)
    }

    /// The largest batch.
    pub fn max_samples(&self) -> usize {
        self.max_samples
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let buffers =
            self.outputs.iter().chain(&self.gradients).chain([&self.input, &self.scratch]);
        buffers.map(|buffer| buffer.len() * size_of::<T>()).sum()
    }

    /// Lays samples, each as long as the network's input, where the first layer reads them.
    pub(crate) fn fill_input<'x>(&mut self, samples: impl Iterator<Item = &'x [T]>) {
        for (to, sample) in self.input.chunks_exact_mut(self.lens[0]).zip(samples) {
            to.copy_from_slice(sample);
        }
    }

    fn new(net: &Network<T>, max_samples: usize, keeps_all: bool) -> Result<Self> {
        let lens: Vec<usize> = net.lens().collect();
        let buffer = |len: usize| {
            let len =
                len.checked_mul(max_samples).ok_or(Error::Overflow { what: "a workspace" })?;
            zeros("a workspace", len)
        };
        let largest = lens.iter().copied().max().unwrap_or(0);
        let outputs = match keeps_all {
            true => lens[1..].iter().map(|&len| buffer(len)).collect::<Result<_>>()?,
            false => vec![buffer(largest)?, buffer(largest)?],
        };
        let gradients = match keeps_all {
            true => [buffer(largest)?, buffer(largest)?],
            false => [Vec::new(), Vec::new()],
        };
        Ok(Workspace {
            max_samples,
            samples: 0,
            keeps_all,
            input: buffer(lens[0])?,
            outputs,
            gradients,
            scratch: zeros("a workspace", net.scratch(max_samples))?,
            lens,
            network: net.id(),
        })
    }

    /// Which buffer holds a layer's output.
    pub(super) fn slot(&self, layer: usize) -> usize {
        if self.keeps_all { layer } else { layer % 2 }
    }
}

/// So many zeros, or an error where there is no room for them.
pub(super) fn zeros<T: Real>(what: &'static str, len: usize) -> Result<Vec<T>> {
    let mut zeros = Vec::new();
    zeros.try_reserve_exact(len).map_err(|_| Error::Overflow { what })?;
    zeros.resize(len, T::ZERO);
    Ok(zeros)
}
