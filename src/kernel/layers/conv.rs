//! Convolution of images, forward and backward, as products of weights with pixels.
//!
//! With taps k = (channel, row u, column v) of a window and output pixels p,
//!
//! ```text
//! y[o][p] = bias[o] + sum over k of w[o][k] x[p at k]
//! dw[o][k] = sum over p of dy[o][p] x[p at k]        dx[p at k] += sum over o of w[o][k] dy[o][p]
//! ```
//!
//! Images come in groups that lie interleaved: element e of image n of a group of g is at `e g + n`. With
//! as many images as a vector has lanes every vector is full, whatever the sizes; a group of one is an
//! image by itself. Either way pixels that are neighbours in a row lie next to each other, so a window's
//! tap reads a whole row of output pixels as one run, and nothing is gathered. One copy of the image in a
//! *frame* takes care of padding and strides: zeros surround it, and the columns that one tap reads with a
//! stride are moved next to each other.
//!
//! Rows of small groups that are too short for vectors are the exception: there, patches of several
//! rows are gathered into bands.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::activation::{Activate, Activation};
use crate::error::Result;
use crate::kernel::gemm::dots::{Dots, Rows, add_dots};
use crate::kernel::gemm::product::{
    Broadcast, Contiguous, Initial, OffsetTable, Output, Product, multiply,
};
use crate::simd::isa::{Isa, MOST_LANES};
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// Patch elements that are gathered at once: a quarter of a megabyte of f32, which an L2 holds.
const BAND: usize = 64 << 10;

/// Elements of the longest row that [`gathers`](Plan::gathers) takes: less than five eighths of two
/// vectors.
const LONGEST_GATHERED: usize = MOST_LANES * 5 / 4;

/// Sizes of a convolution and the offsets that follow from them, planned once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// Channels, height and width of the input.
    pub input: [usize; 3],
    /// Channels, height and width of the output.
    pub output: [usize; 3],
    pub kernel: [usize; 2],
    pub stride: usize,
    pub padding: usize,
    /// Pixels of a row of the frame that one column of a kernel can see.
    columns: usize,
    /// Offsets of the taps within a frame.
    taps: OffsetTable,
    /// Rows of the weights, their columns, and the columns of each channel's first tap.
    weight_rows: OffsetTable,
    weight_columns: OffsetTable,
    weight_channels: OffsetTable,
    /// 0, 1, 2, ... for each map of the output.
    maps: OffsetTable,
}

impl Plan {
    /// The sizes must be consistent: the caller has checked them. Refused where there is no memory for
    /// the offsets.
    pub(crate) fn new(
        input: [usize; 3],
        output: [usize; 3],
        kernel: [usize; 2],
        stride: usize,
        padding: usize,
    ) -> Result<Self> {
        // With one window along a side its stride does not matter, and may be any number.
        let stride = stride.min(input[1].max(input[2]) + 2 * padding);
        let mut plan = Plan { input, output, kernel, stride, padding, ..Plan::default() };
        plan.columns = (input[2] + 2 * padding).div_ceil(plan.column_stride());
        let maps = output[0];
        let [rows, columns] = kernel;
        let window = rows * columns;
        plan.taps = OffsetTable::new((0..plan.tap_count()).map(|tap| {
            let (channel, u, v) = (tap / window, tap / columns % rows, tap % columns);
            (channel * plan.frame_height() + u) * plan.frame_width() + plan.column(v)
        }))?;
        plan.weight_rows = OffsetTable::linear(maps, plan.tap_count())?;
        plan.weight_columns = OffsetTable::linear(plan.tap_count(), 1)?;
        plan.weight_channels = OffsetTable::linear(input[0], window)?;
        plan.maps = OffsetTable::linear(maps, 1)?;
        Ok(plan)
    }

    /// Weights of one output channel.
    pub(crate) fn tap_count(&self) -> usize {
        self.input[0] * self.kernel[0] * self.kernel[1]
    }

    /// Pixels of one output map.
    pub(crate) fn pixel_count(&self) -> usize {
        self.output[1] * self.output[2]
    }

    pub(crate) fn input_len(&self) -> usize {
        self.input.iter().product()
    }

    /// The stride of columns; any will do where there is but one.
    fn column_stride(&self) -> usize {
        if self.output[2] == 1 { 1 } else { self.stride }
    }

    fn frame_height(&self) -> usize {
        self.input[1] + 2 * self.padding
    }

    /// Pixels of a row of the frame.
    fn frame_width(&self) -> usize {
        self.columns * self.column_stride()
    }

    /// The place of a column of the padded image in a row of the frame: columns that are a multiple of the
    /// stride apart lie next to each other.
    fn column(&self, padded: usize) -> usize {
        let stride = self.column_stride();
        padded % stride * self.columns + padded / stride
    }

    /// Where the windows of a row of output pixels start in the frame.
    fn row(&self, row: usize) -> usize {
        row * self.stride * self.frame_width()
    }

    fn has_frame(&self) -> bool {
        self.padding > 0 || self.column_stride() > 1
    }

    /// Elements of an image's frame; 0 where images are used as they are.
    fn frame_len(&self) -> usize {
        if self.has_frame() { self.input[0] * self.frame_height() * self.frame_width() } else { 0 }
    }

    /// Output rows that are gathered at once, at least one.
    fn band_height(&self, group: usize) -> usize {
        (BAND / (self.tap_count() * self.output[2] * group)).clamp(1, self.output[1])
    }

    /// Elements of scratch of either pass over a group of images.
    pub(crate) fn scratch(&self, group: usize) -> usize {
        // A pooling whose stride is that large takes the whole gradient of the output as one band.
        let gradients = self.output.iter().product::<usize>().saturating_mul(group);
        let frames = self.frame_len().saturating_mul(2 * group);
        frames.saturating_add(self.patches(group).max(gradients))
    }

    /// Elements of scratch of a forward pass alone.
    pub(crate) fn forward_scratch(&self, group: usize) -> usize {
        self.frame_len().saturating_mul(group).saturating_add(self.patches(group))
    }

    /// Elements of a gathered band of a group, or of any smaller group. Only short rows are gathered.
    fn patches(&self, group: usize) -> usize {
        let run = self.output[2].saturating_mul(group).min(LONGEST_GATHERED);
        let row = self.tap_count().saturating_mul(run);
        row.saturating_mul(self.output[1]).min(row.max(BAND))
    }

    /// Rows of the output's gradient that a backward pass takes at once, for all maps: as many as an L2
    /// holds beside the images, a multiple of `step` or all that are left.
    fn gradient_rows(&self, step: usize, group: usize) -> usize {
        let rows = BAND / 2 / (self.output[0] * self.output[2] * group);
        (rows / step * step).max(step).min(self.output[1])
    }

    /// Where each row of an image starts, in the image and in its frame.
    fn rows_in_frame(&self) -> impl Iterator<Item = (usize, usize)> {
        let [channels, height, width] = self.input;
        let (frame_height, frame_width) = (self.frame_height(), self.frame_width());
        (0..channels * height).map(move |row| {
            let (channel, y) = (row / height, row % height);
            (row * width, (channel * frame_height + y + self.padding) * frame_width)
        })
    }

    /// Runs of an image's pixels that lie next to each other in the frame too: where each starts in
    /// the image and in the frame, and its length.
    fn runs(&self) -> impl Iterator<Item = [usize; 3]> {
        let width = self.input[2];
        self.rows_in_frame().flat_map(move |(from, to)| {
            let len = if self.column_stride() == 1 { width } else { 1 };
            (0..width)
                .step_by(len)
                .map(move |x| [from + x, to + self.column(x + self.padding), len])
        })
    }

    /// Copies the images into their frame of zeros, or returns them as they are where they need none.
    fn framed<'a, T: Real>(&self, group: usize, images: &'a [T], frame: &'a mut [T]) -> &'a [T] {
        if !self.has_frame() {
            return images;
        }
        frame.fill(T::ZERO);
        for [from, to, len] in self.runs() {
            let pixels = &images[from * group..][..len * group];
            frame[to * group..][..len * group].copy_from_slice(pixels);
        }
        frame
    }

    /// Whether to gather patches of several rows of output pixels and multiply those, rather than a row at
    /// a time as it lies: where rows fill less than five eighths of their vectors, by the table in the
    /// documentation of [`Conv2d`](crate::nn::Conv2d). Groups of as many images as there are lanes fill
    /// every vector, so they are never gathered.
    fn gathers(&self, lanes: usize, group: usize) -> bool {
        let run = self.output[2] * group;
        8 * run < 5 * run.next_multiple_of(lanes)
    }

    /// The weights as the broadcast operand, a row for each output channel.
    fn weights<'a, T: Real>(&'a self, weight: &'a [T]) -> Broadcast<'a, T> {
        Broadcast::new(weight, self.weight_rows.all(), self.weight_columns.all())
    }
}

/// y = f(w * x + bias) for a group of images. `weight` is (maps, taps), `bias` (maps), `x` (channels,
/// height, width, group), and `y` (maps, height, width, group).
#[expect(clippy::too_many_arguments, reason = "what a forward pass reads and writes")]
pub(crate) fn forward<T: Real>(
    isa: Isa,
    plan: &Plan,
    group: usize,
    [weight, bias]: [&[T]; 2],
    f: Option<Activation>,
    x: &[T],
    y: &mut [T],
    scratch: &mut [T],
) {
    let (frame, band) = scratch.split_at_mut(group * plan.frame_len());
    let x = plan.framed(group, x, frame);
    if plan.gathers(isa.lanes::<T>(), group) {
        return forward_by_bands(isa, plan, group, [weight, bias], f, x, band, y);
    }
    let [maps, height, width] = plan.output;
    let (run, stride) = (width * group, height * width * group);
    for row in 0..height {
        let pixels = Contiguous::new(&x[plan.row(row) * group..], plan.taps.all());
        let product = Product {
            a: plan.weights(weight),
            b: pixels.scaled(group),
            turns: 1,
            initial: Initial::PerRow(bias),
            c: Output { data: &mut y[row * run..], stride, width: run },
        };
        multiply(isa, product);
        if let Some(f) = f {
            // The row is still in L1.
            let y = &mut y[row * run..];
            T::dispatch(isa, Activate { f, y, rows: maps, stride, width: run });
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "what a forward pass reads and writes")]
fn forward_by_bands<T: Real>(
    isa: Isa,
    plan: &Plan,
    group: usize,
    [weight, bias]: [&[T]; 2],
    f: Option<Activation>,
    frame: &[T],
    band: &mut [T],
    y: &mut [T],
) {
    let [maps, height, width] = plan.output;
    let (stride, at_once) = (height * width * group, plan.band_height(group));
    for from in (0..height).step_by(at_once) {
        let rows = from..(from + at_once).min(height);
        let (from, run) = (from * width * group, rows.len() * width * group);
        T::dispatch(isa, GatherBand { plan, group, rows, frame, band: &mut *band });
        let product = Product {
            a: plan.weights(weight),
            b: Contiguous::new(band, plan.weight_columns.all()).scaled(run),
            turns: 1,
            initial: Initial::PerRow(bias),
            c: Output { data: &mut y[from..], stride, width: run },
        };
        multiply(isa, product);
        if let Some(f) = f {
            T::dispatch(isa, Activate { f, y: &mut y[from..], rows: maps, stride, width: run });
        }
    }
}

/// Gathers the patches of whole rows of output pixels: the band has a row for each tap.
struct GatherBand<'a, T> {
    plan: &'a Plan,
    group: usize,
    rows: Range<usize>,
    frame: &'a [T],
    band: &'a mut [T],
}

impl<T: Real> Kernel<T> for GatherBand<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let GatherBand { plan, group, rows, frame, band } = self;
        let (taps, width) = (plan.taps.all().as_slice(), plan.output[2] * group);
        let bands = band.chunks_exact_mut(rows.len() * width);
        for (&tap, band) in taps.iter().zip(bands) {
            for (row, run) in rows.clone().zip(band.chunks_exact_mut(width)) {
                let from = &frame[(plan.row(row) + tap) * group..][..width];
                for (from, to) in from.chunks(S::LANES).zip(run.chunks_mut(S::LANES)) {
                    s.store(s.load(from), to);
                }
            }
        }
    }
}

/// Writes the gradient of rows `.1` of map `.0` of the output to `.2`.
pub(crate) type GradientRows<'a, T> = &'a mut dyn FnMut(usize, Range<usize>, &mut [T]);

/// The outputs of a backward pass: gradients of weights and biases, which are added to, and, where asked
/// for, the gradient of the images, which is overwritten.
pub(crate) struct Gradients<'a, T> {
    pub weight: &'a mut [T],
    pub bias: &'a mut [T],
    pub x: Option<&'a mut [T]>,
}

/// The backward pass of a group of images. It takes a band of rows of all maps at a time, a multiple of
/// `step` rows or all that are left, so the gradient of the output need never exist as a whole. Shapes are
/// those of [`forward`].
#[expect(clippy::too_many_arguments, reason = "what a backward pass reads and writes")]
pub(crate) fn backward<T: Real>(
    isa: Isa,
    plan: &Plan,
    group: usize,
    weight: &[T],
    [x, y]: [&[T]; 2],
    gradients: Gradients<T>,
    scratch: &mut [T],
    step: usize,
    dy: GradientRows<T>,
) {
    let [maps, height, width] = plan.output;
    let run = width * group;
    let (frame, rest) = scratch.split_at_mut(group * plan.frame_len());
    let (dx_frame, band) = rest.split_at_mut(group * plan.frame_len());
    let x = plan.framed(group, x, frame);
    let mut dx = gradients.x;
    if let Some(dx) = &mut dx {
        let dx = if plan.has_frame() { &mut *dx_frame } else { &mut **dx };
        dx.fill(T::ZERO);
    }
    let at_once = plan.gradient_rows(step, group);
    for first in (0..height).step_by(at_once) {
        let rows = first..(first + at_once).min(height);
        let stride = rows.len() * run;
        let band = &mut band[..maps * stride];
        for (map, band) in band.chunks_exact_mut(stride).enumerate() {
            dy(map, rows.clone(), band);
        }
        let band = &*band;
        T::dispatch(isa, AddRowSums { rows: band, sums: &mut *gradients.bias });
        let dots = Dots {
            a: Rows { data: band, count: maps, stride, step: run },
            b: Contiguous::new(&x[plan.row(first) * group..], plan.taps.all()).scaled(group),
            step: plan.row(1) * group,
            runs: rows.len(),
            width: run,
            next: (rows.end < height).then(|| Rows {
                data: &y[rows.end * run..],
                count: maps,
                stride: height * run,
                step: run,
            }),
            c: &mut *gradients.weight,
        };
        add_dots(isa, dots);
        if let Some(dx) = &mut dx {
            let dx = if plan.has_frame() { &mut *dx_frame } else { &mut **dx };
            add_input_gradient(isa, plan, group, weight, rows, band, dx);
        }
    }
    if let (Some(dx), true) = (dx, plan.has_frame()) {
        for [to, from, len] in plan.runs() {
            let pixels = &dx_frame[from * group..][..len * group];
            dx[to * group..][..len * group].copy_from_slice(pixels);
        }
    }
}

/// Adds to dx, in its frame, the gradient of the pixels that some rows of all maps have read.
///
/// A row of pixels takes a turn of the product for each row of the band whose windows contain it.
fn add_input_gradient<T: Real>(
    isa: Isa,
    plan: &Plan,
    group: usize,
    weight: &[T],
    rows: Range<usize>,
    band: &[T],
    dx: &mut [T],
) {
    let ([height, width], stride) = (plan.kernel, plan.stride);
    let (run, map) = (plan.output[2] * group, plan.frame_height() * plan.frame_width() * group);
    for y in rows.start * stride..(rows.end - 1) * stride + height {
        let first = rows.start.max((y + 1).saturating_sub(height).div_ceil(stride));
        let end = rows.end.min(y / stride + 1);
        for v in 0..width {
            if end <= first {
                continue;
            }
            let tap = (y - first * stride) * width + v;
            let weights =
                Broadcast::new(weight, plan.weight_channels.all(), plan.weight_rows.all());
            let gradients = Contiguous::new(&band[(first - rows.start) * run..], plan.maps.all());
            let at = (y * plan.frame_width() + plan.column(v)) * group;
            let product = Product {
                a: weights.turning(tap, -((stride * width) as isize)),
                b: gradients.scaled(rows.len() * run).turning(run),
                turns: end - first,
                initial: Initial::Output,
                c: Output { data: &mut dx[at..], stride: map, width: run },
            };
            multiply(isa, product);
        }
    }
}

/// sums[i] += the sum of row i
struct AddRowSums<'a, T> {
    rows: &'a [T],
    sums: &'a mut [T],
}

impl<T: Real> Kernel<T> for AddRowSums<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let rows = self.rows.chunks_exact(self.rows.len() / self.sums.len());
        for (sum, row) in self.sums.iter_mut().zip(rows) {
            let mut sums = [s.splat(T::ZERO); 4];
            for (k, vector) in row.chunks(S::LANES).enumerate() {
                sums[k & 3] = sums[k & 3] + s.load(vector);
            }
            *sum += s.sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
        }
    }
}
