//! The memory that a batch passes through, made once and used for every batch up to its size.

#![forbid(unsafe_code)]

use super::network::Network;
use super::part::Part;
use crate::aligned::Aligned;
use crate::error::{Error, Result};
use crate::real::Real;

/// Activations, gradients and scratch of a network for batches of up to so many samples.
///
/// A workspace for training holds every layer's output; one for inference what two layers need at a
/// time. After it has been made, passes allocate nothing but what
/// [the crate](crate#memory) says.
///
/// With n samples at most, L of them lying interleaved (as many as a vector has lanes), and lengths of
/// samples in elements, it has
///
/// | what | training | inference |
/// |---|---|---|
/// | between parts: convolutions and poolings that follow each other are one part, every other layer is one, with the activation that follows | n times each length | n times the two largest, of the even and of the odd ones |
/// | within a part of images | n times each length | 0 |
/// | gradients between parts | 2 n times the largest length | 0 |
/// | scratch of a part of images, for up to 32 blocks | L times its two largest lengths, and its parameters | L times its two largest lengths |
/// | scratch of a dense layer | its weights | its weights |
///
/// Of the scratch only what the neediest part takes is held.
#[derive(Clone, Debug)]
pub struct Workspace<T> {
    pub(super) max_samples: usize,
    /// Samples of the last forward pass that a backward pass can follow.
    pub(super) samples: usize,
    pub(super) keeps_all: bool,
    /// Rows before each part and after the last; two that are used in turn for inference.
    pub(super) between: Vec<Aligned<T>>,
    /// What each part keeps for its backward pass.
    pub(super) kept: Vec<Aligned<T>>,
    /// The gradients of a part's output and of its input, in turn.
    pub(super) gradients: [Aligned<T>; 2],
    pub(super) scratch: Aligned<T>,
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
        let buffers = self.between.iter().chain(&self.kept).chain(&self.gradients);
        buffers.chain([&self.scratch]).map(|buffer| buffer.len() * size_of::<T>()).sum()
    }

    fn new(net: &Network<T>, max_samples: usize, keeps_all: bool) -> Result<Self> {
        let what = "a workspace";
        let buffer = |len: usize| {
            Aligned::zeros(what, len.checked_mul(max_samples).ok_or(Error::Overflow { what })?)
        };
        // A part of images reads the network's input as it comes.
        let first = match net.parts().next() {
            Some(Part::Run(_)) => 0,
            _ => net.input().len(),
        };
        let lens = || [first].into_iter().chain(net.parts().map(|part| part.lens()[1]));
        let largest = |from: usize, step: usize| lens().skip(from).step_by(step).max().unwrap_or(0);
        let between = match keeps_all {
            true => lens().map(buffer).collect::<Result<_>>()?,
            false => vec![buffer(largest(0, 2))?, buffer(largest(1, 2))?],
        };
        let (kept, gradients) = match keeps_all {
            true => {
                let kept = net.parts().map(|part| buffer(part.kept())).collect::<Result<_>>()?;
                let largest = largest(0, 1).max(net.input().len());
                (kept, [buffer(largest)?, buffer(largest)?])
            }
            false => (Vec::new(), [Aligned::default(), Aligned::default()]),
        };
        let scratch = net.parts().map(|part| part.scratch(max_samples, keeps_all)).max();
        Ok(Workspace {
            max_samples,
            samples: 0,
            keeps_all,
            between,
            kept,
            gradients,
            scratch: Aligned::zeros(what, scratch.unwrap_or(0))?,
            network: net.id(),
        })
    }

    /// Which buffer holds the rows before a part, or after the last.
    pub(super) fn slot(&self, part: usize) -> usize {
        if self.keeps_all { part } else { part % 2 }
    }
}
