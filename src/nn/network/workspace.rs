//! The memory that a batch passes through, made once and used for every batch up to its size.

#![forbid(unsafe_code)]

use super::Network;
use super::parts::Part;
use crate::error::{Error, Result};
use crate::memory::aligned::Aligned;
use crate::simd::real::{Real, compiled};

/// Activations, gradients and scratch of a network for batches of up to `max_samples` samples.
///
/// A workspace for training holds every layer's output; one for inference holds what two layers need at a
/// time. After it has been made, passes allocate nothing, but for dense layers of 2^21 weights or more and
/// 512 samples or more on AVX-512, whose weight gradients are packed into buffers of their own.
///
/// One pass uses it at a time; several passes of one network at once take a workspace each. Inside tasks of
/// rayon, hold no lock on it over a pass: see [`Par`](crate::Par#from-within-tasks-of-rayon).
///
/// A network runs in *parts*. Convolutions and poolings that come one after another are one part *of images*.
/// Every other layer is a part by itself, and so is a convolution whose kernel covers its whole image. An
/// activation belongs to the layer that it follows. For n samples at most, a workspace holds the following
/// numbers of elements, where a length is the number of elements of one sample:
///
/// | what | training | inference |
/// |---|---|---|
/// | before the first part, unless it is of images, and after each part | n times each length | n times the largest length at even places and the largest at odd ones, counted from before the first part |
/// | within each part of images | n times the length of its input and of each layer's output | 0 |
/// | gradients between parts, and of the input | 2 n times the largest length | 0 |
/// | scratch, as much as the neediest part takes: of images | B (G P + S) + B times its parameters | B (G P + S) |
/// | of a dense layer, or a convolution that covers the image | its weights | the same |
/// | of a user's layer | what its `scratch` says | the same |
///
/// * G is the number of images that lie interleaved: a quarter of n, rounded up to a power of two, and at
///   most L, the lanes of a vector.
/// * B is the number of blocks: the least of n, 32, and the larger of n / L and 4 (in a part of more than
///   2^20 parameters, 8 takes the place of 32).
/// * P is, for training, twice the largest gradient within the part; where a pooling whose windows do not
///   overlap follows a convolution, the maps in between do not count. For inference it is the largest length
///   at the even places of the part plus the largest at the odd ones.
/// * S is, for training, the most that a layer and the one before it need together, and for inference the
///   most that one layer needs. A pooling of means needs a row of its input, in multiples of 16 elements; max
///   pooling needs nothing. A convolution with padding or a stride needs two copies of each padded image of a
///   group, with columns in multiples of the stride. Every convolution needs the output of a group or, if
///   that is more, the patches of a group's output, in rows of 20 elements at most, but of no more rows than
///   2^16 elements hold, or of one row. For inference a convolution needs one copy, and of the rest the
///   patches alone.
///
/// Both terms of a block are rounded up to whole cache lines. On a machine of several tiers, the tier counts
/// that takes most.
#[derive(Clone, Debug)]
pub struct Workspace<T> {
    pub(crate) max_samples: usize,
    /// Samples of the last forward pass that a backward pass can follow.
    pub(crate) samples: usize,
    pub(crate) keeps_all: bool,
    /// The samples before each part and after the last; for inference two buffers, used in turn.
    pub(crate) between: Vec<Aligned<T>>,
    /// The values that each part keeps for its backward pass.
    pub(crate) kept: Vec<Aligned<T>>,
    /// The gradients of a part's output and of its input, in turn.
    pub(crate) gradients: [Aligned<T>; 2],
    pub(crate) scratch: Aligned<T>,
    /// The [`id`](Network::id) of the network that the workspace was made for.
    pub(crate) network: u64,
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

    #[inline(never)]
    fn new(net: &Network<T>, max_samples: usize, keeps_all: bool) -> Result<Self> {
        let what = "a workspace";
        let buffer = |len: usize| {
            Aligned::zeros(what, len.checked_mul(max_samples).ok_or(Error::Overflow { what })?)
        };
        // A part of images reads the network's input as it comes.
        let first = match net.parts().next() {
            Some(Part::ImageRun(_)) => 0,
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
    pub(crate) fn slot(&self, part: usize) -> usize {
        if self.keeps_all { part } else { part % 2 }
    }
}

compiled!(Workspace::<T>::new);
