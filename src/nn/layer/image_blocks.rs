//! How a batch of images is cut into blocks of groups.
//!
//! As many images as a vector has lanes are a *group* ([`ImageLayer`]); those that are left over are a smaller
//! one. A block is one or a few groups that one thread takes through all image layers that follow each other,
//! while their maps are in its cache.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::image_layer::ImageLayer;
use super::pass::{Backward, Forward};
use crate::kernel::gemm::add_up::AddUp;
use crate::parallel::cx::Cx;
use crate::parallel::split::{Chunks, Split, for_blocks};
use crate::simd::real::Real;

/// The most blocks that a batch is cut into: enough for the threads of a large machine, and few enough that a
/// gradient for each costs little.
const MOST_BLOCKS: usize = 32;
/// The most blocks where a gradient has more than `LARGE` elements.
const MOST_LARGE_BLOCKS: usize = 8;
const LARGE: usize = 1 << 20;

fn most_blocks(params: usize) -> usize {
    if params > LARGE { MOST_LARGE_BLOCKS } else { MOST_BLOCKS }
}

/// How a batch is cut: a function of its size, the tier, and the number of parameters, since it decides
/// the order of addition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocks {
    samples: usize,
    /// Samples of a group; the last one may have fewer.
    group: usize,
    /// Groups of a block.
    depth: usize,
}

impl Blocks {
    /// Groups that a small batch is cut into, for as many threads.
    const FEWEST: usize = 4;

    /// Cuts `samples` samples for vectors of `lanes` lanes and layers of `params` parameters.
    pub(crate) fn new(samples: usize, lanes: usize, params: usize) -> Self {
        let group = samples.div_ceil(Self::FEWEST).next_power_of_two().min(lanes);
        let depth = samples.div_ceil(group).div_ceil(most_blocks(params)).max(1);
        Blocks { samples, group, depth }
    }

    /// The most blocks that a batch of up to `samples` samples is cut into.
    pub(crate) fn most(samples: usize, lanes: usize, params: usize) -> usize {
        samples.div_ceil(lanes).max(Self::FEWEST).min(samples).min(most_blocks(params))
    }

    /// The most samples of a group. No smaller batch has larger groups.
    pub(crate) fn group(&self) -> usize {
        self.group
    }

    /// The number of blocks.
    pub(crate) fn count(&self) -> usize {
        self.samples.div_ceil(self.group * self.depth)
    }

    /// The samples of each group of a block.
    pub(crate) fn of(&self, block: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let (group, end) = (self.group, self.first(block + 1));
        let starts = (self.first(block)..end).step_by(group);
        starts.map(move |start| start..(start + group).min(end))
    }

    /// The first sample of a block, or the number of samples.
    fn first(&self, block: usize) -> usize {
        (block * self.depth * self.group).min(self.samples)
    }
}

/// A buffer with `width` elements for each sample, cut into the same blocks as the batch.
pub(crate) struct Samples<'a, T> {
    data: &'a mut [T],
    width: usize,
    blocks: Blocks,
    block: usize,
}

impl<'a, T> Samples<'a, T> {
    pub(crate) fn new(data: &'a mut [T], width: usize, blocks: Blocks) -> Self {
        Samples { data, width, blocks, block: 0 }
    }

    /// The elements of some samples of the block.
    pub(crate) fn of(&mut self, samples: &Range<usize>) -> &mut [T] {
        let first = self.blocks.first(self.block);
        &mut self.data[(samples.start - first) * self.width..][..samples.len() * self.width]
    }
}

impl<T: Send> Split for Samples<'_, T> {
    type Part = Self;

    fn split(self, count: usize) -> (Self, Self) {
        let Samples { data, width, blocks, block } = self;
        let at = (blocks.first(block + count) - blocks.first(block)) * width;
        let (left, right) = data.split_at_mut(at);
        let part = |data, block| Samples { data, width, blocks, block };
        (part(left, block), part(right, block + count))
    }

    fn part(self) -> Self {
        self
    }
}

/// Elements of scratch that a layer by itself needs for a batch.
pub(crate) fn scratch<T: Real>(layer: &dyn ImageLayer<T>, params: usize, samples: usize) -> usize {
    let blocks = Blocks::most(samples, 1, params);
    layer.group_scratch(1).saturating_add(params).saturating_mul(blocks)
}

/// The forward pass of a layer by itself: images as they lie, one by one.
pub(crate) fn forward<T: Real>(
    cx: &Cx,
    layer: &dyn ImageLayer<T>,
    samples: usize,
    pass: Forward<T>,
) {
    let Forward { params, x, y, scratch } = pass;
    let blocks = Blocks::new(samples, 1, params.len());
    let [input, output] = [x.len(), y.len()].map(|len| len / samples.max(1));
    let out = (Samples::new(y, output, blocks), Chunks(scratch, layer.group_scratch(1)));
    for_blocks(cx.par, blocks.count(), out, |block, (mut y, scratch)| {
        for sample in blocks.of(block) {
            let x = &x[sample.start * input..][..input];
            let y = y.of(&sample);
            layer.forward_group(cx.isa, 1, Forward { params, x, y, scratch });
        }
    });
}

/// The backward pass of a layer by itself.
pub(crate) fn backward<T: Real>(
    cx: &Cx,
    layer: &dyn ImageLayer<T>,
    samples: usize,
    pass: Backward<T>,
) {
    let Backward { params, x, y, dy, dx, d_params, scratch } = pass;
    let blocks = Blocks::new(samples, 1, params.len());
    let [input, output] = [x.len(), y.len()].map(|len| len / samples.max(1));
    let each = layer.group_scratch(1) + params.len();
    let out = (
        (Samples::new(dy, output, blocks), dx.map(|dx| Samples::new(dx, input, blocks))),
        Chunks(&mut *scratch, each),
    );
    for_blocks(cx.par, blocks.count(), out, |block, ((mut dy, mut dx), scratch)| {
        let (d_params, scratch) = scratch.split_at_mut(params.len());
        d_params.fill(T::ZERO);
        for sample in blocks.of(block) {
            let (x, y) =
                (&x[sample.start * input..][..input], &y[sample.start * output..][..output]);
            let (dy, dx) = (dy.of(&sample), dx.as_mut().map(|dx| dx.of(&sample)));
            let pass = Backward { params, x, y, dy, dx, d_params, scratch };
            layer.backward_group(cx.isa, 1, pass);
        }
    });
    add_up(cx, scratch, each, blocks.count(), d_params);
}

/// Overwrites `sum` with the sum, in the order of the blocks, of the elements at the start of each block's
/// scratch.
pub(crate) fn add_up<T: Real>(cx: &Cx, scratch: &[T], each: usize, count: usize, sum: &mut [T]) {
    /// Elements that a task adds up.
    const PART: usize = 4 << 10;
    for_blocks(cx.par, sum.len().div_ceil(PART), Chunks(sum, PART), |part, sum| {
        let from = scratch.get(part * PART..).unwrap_or(&[]);
        T::dispatch(cx.isa, AddUp { from, stride: each, count, sum });
    });
}
