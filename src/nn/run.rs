//! A run of blockwise layers: each block of the batch goes through all of them on one thread.
//!
//! Samples come and go as rows. On the way they lie interleaved: a workspace for training keeps, group
//! by group, the input and each layer's output; one for inference, and the gradients, need two places
//! that the layers use in turn.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::blockwise::{Blocks, Blockwise, Samples, add_up};
use super::layer::{Backward, Forward};
use super::network::Stage;
use crate::cx::Cx;
use crate::isa::Isa;
use crate::kernel::transpose::{Interleave, Transpose};
use crate::par::{Chunks, for_blocks};
use crate::real::Real;

/// The most samples that lie interleaved: the lanes of any tier.
const MOST_LANES: usize = 16;

/// Rows of samples, by their number in the batch.
pub(crate) type RowsOf<'a, T> = &'a (dyn Fn(usize) -> &'a [T] + Sync);

/// The layers, which are all blockwise and of which there is at least one.
pub(super) struct Run<'a, T> {
    pub stages: &'a [Stage<T>],
    /// Parameters of the network.
    pub params: &'a [T],
}

/// Where the elements before each layer and after the last lie, for a group.
#[derive(Clone, Copy)]
enum Place {
    /// One after another.
    Each,
    /// In turn.
    Two,
}

impl<'a, T: Real> Run<'a, T> {
    pub(super) fn input(&self) -> usize {
        self.stages[0].input.len()
    }

    pub(super) fn output(&self) -> usize {
        self.stages[self.stages.len() - 1].output.len()
    }

    /// Elements of a sample before each layer and after the last.
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

    fn layers(
        &self,
    ) -> impl DoubleEndedIterator<Item = (usize, &'a Stage<T>, &'a dyn Blockwise<T>)> {
        let stages = self.stages.iter().enumerate();
        stages.map(|(i, stage)| {
            (i, stage, stage.layer.blockwise().expect("a run is of blockwise layers"))
        })
    }

    /// Elements of a sample in all places.
    fn width(&self, place: Place) -> usize {
        match place {
            Place::Each => self.lens().sum(),
            Place::Two => self.largest(0) + self.largest(1),
        }
    }

    /// The largest length of the even or odd ones.
    fn largest(&self, parity: usize) -> usize {
        self.lens().skip(parity).step_by(2).max().unwrap_or(0)
    }

    /// The elements before layer `i`, or after the last, of a group.
    fn place(&self, place: Place, i: usize, group: usize) -> Range<usize> {
        let len = self.lens().nth(i).unwrap_or(0);
        let start = match place {
            Place::Each => self.lens().take(i).sum(),
            Place::Two => i % 2 * self.largest(0),
        };
        start * group..(start + len) * group
    }

    /// Elements of what a training workspace keeps of each sample.
    pub(super) fn kept(&self) -> usize {
        self.width(Place::Each)
    }

    fn blocks(&self, samples: usize, lanes: usize) -> Blocks {
        Blocks::new(samples, lanes, self.params_len())
    }

    /// Elements of a block's scratch: a gradient of the parameters where a backward pass is to come, two
    /// places, and what the layers need.
    fn block_scratch(&self, lanes: usize, backward: bool) -> usize {
        let needs =
            |layer: &dyn Blockwise<T>| layer.group_scratch(1).max(layer.group_scratch(lanes));
        let layers = self.layers().map(|(_, _, layer)| needs(layer)).max().unwrap_or(0);
        let params = if backward { self.params_len() } else { 0 };
        (self.width(Place::Two).saturating_mul(lanes)).saturating_add(layers).saturating_add(params)
    }

    /// Elements of scratch for batches of up to so many samples, on any tier.
    pub(super) fn scratch(&self, samples: usize, backward: bool) -> usize {
        let needs = |isa: Isa| {
            let lanes = isa.lanes::<T>();
            let blocks = Blocks::most(samples, lanes, self.params_len());
            self.block_scratch(lanes, backward).saturating_mul(blocks)
        };
        Isa::available().map(needs).max().unwrap_or(0)
    }

    /// The outputs of samples given as rows, as rows; `kept` is where a training workspace has room for a
    /// backward pass.
    pub(super) fn forward(
        &self,
        cx: &Cx,
        samples: usize,
        rows: RowsOf<T>,
        kept: Option<&mut [T]>,
        scratch: &mut [T],
        out: &mut [T],
    ) {
        let lanes = cx.isa.lanes::<T>();
        let blocks = self.blocks(samples, lanes);
        let each = self.block_scratch(lanes, kept.is_some());
        let kept = kept.map(|kept| Samples::new(kept, self.kept(), blocks));
        let parts = ((kept, Samples::new(out, self.output(), blocks)), Chunks(scratch, each));
        type Part<'a, T> = ((Option<Samples<'a, T>>, Samples<'a, T>), Chunks<'a, T>);
        for_blocks(
            cx.par,
            blocks.count(),
            parts,
            |block, ((mut kept, mut out), scratch): Part<T>| {
                let (two, scratch) = scratch.0.split_at_mut(self.width(Place::Two) * lanes);
                for samples in blocks.of(block) {
                    let group = samples.len();
                    let (place, data) = match &mut kept {
                        Some(kept) => (Place::Each, kept.of(&samples)),
                        None => (Place::Two, &mut *two),
                    };
                    interleave(
                        cx.isa,
                        samples.clone(),
                        rows,
                        &mut data[self.place(place, 0, group)],
                    );
                    for (i, stage, layer) in self.layers() {
                        let places = [i, i + 1].map(|i| self.place(place, i, group));
                        let [x, y] = data.get_disjoint_mut(places).expect("places of their own");
                        let params = &self.params[stage.params.clone()];
                        layer.forward_group(cx.isa, group, Forward { params, x, y, scratch });
                    }
                    let from = &data[self.place(place, self.stages.len(), group)];
                    T::dispatch(cx.isa, Transpose { from, cols: group, to: out.of(&samples) });
                }
            },
        );
    }

    /// The gradient of the parameters, and of the samples where asked for, from that of the outputs.
    #[expect(clippy::too_many_arguments, reason = "what a backward pass reads and writes")]
    pub(super) fn backward(
        &self,
        cx: &Cx,
        samples: usize,
        kept: &[T],
        dz: &[T],
        dx: Option<&mut [T]>,
        gradient: &mut [T],
        scratch: &mut [T],
    ) {
        let (lanes, output) = (cx.isa.lanes::<T>(), self.output());
        let blocks = self.blocks(samples, lanes);
        let each = self.block_scratch(lanes, true);
        let dx = dx.map(|dx| Samples::new(dx, self.input(), blocks));
        let parts = (dx, Chunks(&mut *scratch, each));
        let first = self.params_range().start;
        type Part<'a, T> = (Option<Samples<'a, T>>, Chunks<'a, T>);
        for_blocks(cx.par, blocks.count(), parts, |block, (mut dx, scratch): Part<T>| {
            let (d_params, scratch) = scratch.0.split_at_mut(self.params_len());
            let (two, scratch) = scratch.split_at_mut(self.width(Place::Two) * lanes);
            d_params.fill(T::ZERO);
            for samples in blocks.of(block) {
                let group = samples.len();
                let kept = &kept[samples.start * self.kept()..][..group * self.kept()];
                let last = self.place(Place::Two, self.stages.len(), group);
                let row = |i: usize| &dz[i * output..][..output];
                interleave(cx.isa, samples.clone(), &row, &mut two[last]);
                for (i, stage, layer) in self.layers().rev() {
                    let [x, y] = [i, i + 1].map(|i| &kept[self.place(Place::Each, i, group)]);
                    let places = [i, i + 1].map(|i| self.place(Place::Two, i, group));
                    let [below, dy] = two.get_disjoint_mut(places).expect("places of their own");
                    let own = stage.params.start - first..stage.params.end - first;
                    let pass = Backward {
                        params: &self.params[stage.params.clone()],
                        x,
                        y,
                        dy,
                        dx: (i > 0 || dx.is_some()).then_some(below),
                        d_params: &mut d_params[own],
                        scratch,
                    };
                    layer.backward_group(cx.isa, group, pass);
                }
                if let Some(dx) = &mut dx {
                    let from = &two[self.place(Place::Two, 0, group)];
                    T::dispatch(cx.isa, Transpose { from, cols: group, to: dx.of(&samples) });
                }
            }
        });
        add_up(cx, scratch, each, blocks.count(), &mut gradient[self.params_range()]);
    }
}

/// Lays the rows of a group next to each other.
fn interleave<T: Real>(isa: Isa, samples: Range<usize>, rows: RowsOf<T>, to: &mut [T]) {
    let mut group: [&[T]; MOST_LANES] = [&[]; MOST_LANES];
    for (row, sample) in group.iter_mut().zip(samples.clone()) {
        *row = rows(sample);
    }
    T::dispatch(isa, Interleave { rows: &group[..samples.len()], to });
}
