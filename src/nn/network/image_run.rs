//! A run of image layers: each block of the batch goes through all of them on one thread.
//!
//! Samples come and go as rows. Between the layers they lie interleaved. A workspace for training keeps,
//! group by group, the input and each layer's output; inference, and the gradients, need two buffers that the
//! layers use in turn.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::stage::Stage;
use crate::kernel::gemm::transpose::{Interleave, Transpose};
use crate::memory::aligned::LINE;
use crate::nn::layer::image_blocks::{Blocks, Samples, add_up};
use crate::nn::layer::image_layer::ImageLayer;
use crate::nn::layer::{Backward, Forward};
use crate::parallel::cx::Cx;
use crate::parallel::split::{Chunks, for_blocks};
use crate::simd::isa::{Isa, MOST_LANES};
use crate::simd::real::Real;

/// Gives the row of a sample by its number in the batch.
pub(crate) type RowsOf<'a, T> = &'a (dyn Fn(usize) -> &'a [T] + Sync);

/// One or more layers in a row, all of them image layers.
pub(crate) struct ImageRun<'a, T> {
    pub stages: &'a [Stage<T>],
    /// All parameters of the network.
    pub params: &'a [T],
}

/// How the elements of a group before each layer and after the last are laid out.
#[derive(Clone, Copy)]
enum Layout {
    /// One after another.
    PerLayer,
    /// In two buffers, used in turn.
    PingPong,
}

impl<'a, T: Real> ImageRun<'a, T> {
    pub(crate) fn input(&self) -> usize {
        self.stages[0].input.len()
    }

    pub(crate) fn output(&self) -> usize {
        self.stages[self.stages.len() - 1].output.len()
    }

    /// The lengths of a sample before each layer and after the last.
    fn lens(&self) -> impl Iterator<Item = usize> {
        let outputs = self.stages.iter().map(|stage| stage.output.len());
        [self.input()].into_iter().chain(outputs)
    }

    fn params_range(&self) -> Range<usize> {
        self.stages[0].params.start..self.stages[self.stages.len() - 1].params.end
    }

    fn params_len(&self) -> usize {
        self.params_range().len()
    }

    fn layer(&self, i: usize) -> &'a dyn ImageLayer<T> {
        self.stages[i].layer.as_image_layer().expect("a run is of image layers")
    }

    /// Elements of a sample that a layout takes.
    fn width(&self, place: Layout) -> usize {
        match place {
            Layout::PerLayer => self.lens().sum(),
            Layout::PingPong => self.largest(0) + self.largest(1),
        }
    }

    /// The largest of the lengths at even places (`parity` 0) or at odd ones.
    fn largest(&self, parity: usize) -> usize {
        self.lens().skip(parity).step_by(2).max().unwrap_or(0)
    }

    /// The place of a group's elements before layer `i`, or after the last.
    fn place(&self, place: Layout, i: usize, group: usize) -> Range<usize> {
        let len = self.lens().nth(i).unwrap_or(0);
        let start = match place {
            Layout::PerLayer => self.lens().take(i).sum(),
            Layout::PingPong => i % 2 * self.largest(0),
        };
        start * group..(start + len) * group
    }

    /// Elements that a training workspace keeps of each sample.
    pub(crate) fn kept(&self) -> usize {
        self.width(Layout::PerLayer)
    }

    fn blocks(&self, samples: usize, lanes: usize) -> Blocks {
        Blocks::new(samples, lanes, self.params_len())
    }

    /// Elements of a block's scratch: the layers' own, and for inference two buffers for a group, for
    /// training two gradients of a group and the gradient of the parameters.
    fn block_scratch(&self, group: usize, training: bool) -> usize {
        let needs = |i: usize| match training {
            true => self.layer(i).group_scratch(group),
            false => self.layer(i).forward_scratch(group),
        };
        // A layer may go backward with the one before it.
        let below = |i: usize| if training { i.checked_sub(1).map_or(0, needs) } else { 0 };
        let layers = (0..self.stages.len()).map(|i| needs(i).saturating_add(below(i)));
        let (places, params) = match training {
            true => (2 * self.largest_gradient(), self.params_len()),
            false => (self.width(Layout::PingPong), 0),
        };
        let all = places.saturating_mul(group).saturating_add(layers.max().unwrap_or(0));
        whole_lines::<T>(all).saturating_add(whole_lines::<T>(params))
    }

    /// Where the gradient of the parameters starts in a block's scratch.
    fn gradient_at(&self, group: usize) -> usize {
        self.block_scratch(group, true) - whole_lines::<T>(self.params_len())
    }

    /// Elements of scratch for batches of up to `samples` samples, on any tier.
    pub(crate) fn scratch(&self, samples: usize, training: bool) -> usize {
        let needs = |isa: Isa| {
            let lanes = isa.lanes::<T>();
            let blocks = Blocks::most(samples, lanes, self.params_len());
            let group = self.blocks(samples, lanes).group();
            self.block_scratch(group, training).saturating_mul(blocks)
        };
        Isa::available().map(needs).max().unwrap_or(0)
    }

    /// Overwrites `out` with the outputs of samples, both as rows. A training workspace gives `kept`, which
    /// receives all that a backward pass needs.
    pub(crate) fn forward(
        &self,
        cx: &Cx,
        samples: usize,
        rows: RowsOf<T>,
        kept: Option<&mut [T]>,
        scratch: &mut [T],
        out: &mut [T],
    ) {
        let blocks = self.blocks(samples, cx.isa.lanes::<T>());
        let each = self.block_scratch(blocks.group(), kept.is_some());
        let two = if kept.is_some() { 0 } else { self.width(Layout::PingPong) * blocks.group() };
        let kept = kept.map(|kept| Samples::new(kept, self.kept(), blocks));
        let parts = ((kept, Samples::new(out, self.output(), blocks)), Chunks(scratch, each));
        for_blocks(cx.par, blocks.count(), parts, |block, ((mut kept, mut out), scratch)| {
            let (two, scratch) = scratch.split_at_mut(two);
            for samples in blocks.of(block) {
                let group = samples.len();
                let (place, data) = match &mut kept {
                    Some(kept) => (Layout::PerLayer, kept.of(&samples)),
                    None => (Layout::PingPong, &mut *two),
                };
                interleave(cx.isa, samples.clone(), rows, &mut data[self.place(place, 0, group)]);
                for (i, stage) in self.stages.iter().enumerate() {
                    let places = [i, i + 1].map(|i| self.place(place, i, group));
                    let [x, y] = data.get_disjoint_mut(places).expect("places of their own");
                    let params = &self.params[stage.params.clone()];
                    let pass = Forward { params, x, y, scratch };
                    self.layer(i).forward_group(cx.isa, group, pass);
                }
                let from = &data[self.place(place, self.stages.len(), group)];
                T::dispatch(cx.isa, Transpose { from, cols: group, to: out.of(&samples) });
            }
        });
    }

    /// Computes the gradient of the parameters, and of the samples if asked for, from `dz`, that of the
    /// outputs.
    #[expect(clippy::too_many_arguments, reason = "what a backward pass reads and writes")]
    pub(crate) fn backward(
        &self,
        cx: &Cx,
        samples: usize,
        kept: &[T],
        dz: &[T],
        dx: Option<&mut [T]>,
        gradient: &mut [T],
        scratch: &mut [T],
    ) {
        let (blocks, output) = (self.blocks(samples, cx.isa.lanes::<T>()), self.output());
        let (most, largest) = (blocks.group(), self.largest_gradient());
        let each = self.block_scratch(most, true);
        let dx = dx.map(|dx| Samples::new(dx, self.input(), blocks));
        let parts = (dx, Chunks(&mut *scratch, each));
        for_blocks(cx.par, blocks.count(), parts, |block, (mut dx, scratch)| {
            let (scratch, d_params) = scratch.split_at_mut(self.gradient_at(most));
            let d_params = &mut d_params[..self.params_len()];
            let (gradients, scratch) = scratch.split_at_mut(2 * largest * most);
            let (mut above, mut below) = gradients.split_at_mut(largest * most);
            d_params.fill(T::ZERO);
            for samples in blocks.of(block) {
                let group = samples.len();
                let kept = &kept[samples.start * self.kept()..][..group * self.kept()];
                let row = |i: usize| &dz[i * output..][..output];
                interleave(cx.isa, samples.clone(), &row, &mut above[..output * group]);
                for step in self.steps_back() {
                    let wanted = step.start > 0 || dx.is_some();
                    let pass = Pass { isa: cx.isa, group, kept, above, d_params, scratch };
                    self.step_back(step, pass, wanted.then_some(&mut *below));
                    std::mem::swap(&mut above, &mut below);
                }
                if let Some(dx) = &mut dx {
                    let from = &above[..self.input() * group];
                    T::dispatch(cx.isa, Transpose { from, cols: group, to: dx.of(&samples) });
                }
            }
        });
        let partial = scratch.get(self.gradient_at(most)..).unwrap_or(&[]);
        add_up(cx, partial, each, blocks.count(), &mut gradient[self.params_range()]);
    }

    /// The layers that go backward together, from the last one: a convolution with the pooling after it, every
    /// other one by itself.
    fn steps_back(&self) -> impl Iterator<Item = Range<usize>> {
        let mut end = self.stages.len();
        std::iter::from_fn(move || {
            let last = end.checked_sub(1)?;
            let joined = last > 0
                && self.layer(last).as_pooling().is_some()
                && self.layer(last - 1).by_rows().is_some();
            let start = if joined { last - 1 } else { last };
            Some(start..std::mem::replace(&mut end, start))
        })
    }

    /// Elements of a sample of the largest gradient between steps.
    fn largest_gradient(&self) -> usize {
        let outputs = self.steps_back().map(|step| self.stages[step.end - 1].output.len());
        outputs.chain([self.input()]).max().unwrap_or(0)
    }

    /// The backward pass of one layer, or of a convolution and the pooling after it.
    fn step_back(&self, step: Range<usize>, pass: Pass<T>, dx: Option<&mut [T]>) {
        let Pass { isa, group, kept, above, d_params, scratch } = pass;
        let first = self.params_range().start;
        let own = |i: usize| {
            let range = &self.stages[i].params;
            (&self.params[range.clone()], range.start - first..range.end - first)
        };
        let values = |i: usize| &kept[self.place(Layout::PerLayer, i, group)];
        let dx = dx.map(|dx| &mut dx[..self.stages[step.start].input.len() * group]);
        let dy = &mut above[..self.stages[step.end - 1].output.len() * group];
        let (i, layer) = (step.start, self.layer(step.start));
        let (params, d_own) = own(i);
        let (x, y) = (values(i), values(i + 1));
        let (Some(conv), true) = (layer.by_rows(), step.len() > 1) else {
            let d_params = &mut d_params[d_own];
            let pass = Backward { params, x, y, dy, dx, d_params, scratch };
            return layer.backward_group(isa, group, pass);
        };
        let above = self.layer(i + 1);
        let pooling = above.as_pooling().expect("a pooling goes back with a convolution");
        let ((pool_params, d_pool), z) = (own(i + 1), values(i + 2));
        pooling.times_slope(isa, z, dy);
        let (pool_scratch, scratch) = scratch.split_at_mut(above.group_scratch(group));
        let [d_conv, d_pool] =
            d_params.get_disjoint_mut([d_own, d_pool]).expect("parameters of their own");
        let mut rows = |map: usize, rows: Range<usize>, to: &mut [T]| {
            let (params, dy, dx) = (pool_params, &mut *dy, Some(to));
            let (d_params, scratch) = (&mut *d_pool, &mut *pool_scratch);
            let pass = Backward { params, x: y, y: z, dy, dx, d_params, scratch };
            pooling.backward_rows(isa, group, map, rows, pass);
        };
        let pass = Backward { params, x, y, dy: &mut [], dx, d_params: d_conv, scratch };
        conv.backward_by_rows(isa, group, pass, pooling.stride(), &mut rows);
    }
}

/// The inputs and outputs of a backward pass over a group, but for the gradient of its input.
struct Pass<'a, T> {
    isa: Isa,
    group: usize,
    kept: &'a [T],
    /// The gradient of the output.
    above: &'a mut [T],
    d_params: &'a mut [T],
    scratch: &'a mut [T],
}

/// `elements`, rounded up to whole cache lines.
fn whole_lines<T>(elements: usize) -> usize {
    elements.div_ceil(LINE / size_of::<T>()).saturating_mul(LINE / size_of::<T>())
}

/// Interleaves the rows of a group.
fn interleave<T: Real>(isa: Isa, samples: Range<usize>, rows: RowsOf<T>, to: &mut [T]) {
    let mut group: [&[T]; MOST_LANES] = [&[]; MOST_LANES];
    for (row, sample) in group.iter_mut().zip(samples.clone()) {
        *row = rows(sample);
    }
    T::dispatch(isa, Interleave { rows: &group[..samples.len()], to });
}
