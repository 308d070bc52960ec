//! Convolution of images in channel, row, column order, as products of weights with patches.
//!
//! With K = channels x kernel height x kernel width taps and P output pixels, and X the K x P matrix
//! of patches of one image,
//!
//! ```text
//! Y = W X + bias        dW = dY X'        dX = W' dY, scattered back to the pixels of each tap
//! ```
//!
//! X is never built as a whole. Where rows of the output are long, patches of stride 1 are read from
//! the image itself, whose rows are contiguous; else bands of output rows are gathered. The weight
//! gradient broadcasts pixels of the image and reads dY' in vectors of output channels. Padding is a
//! copy of the image in a frame of zeros.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::dense::AddRows;
use super::pool;
use super::product::{Broadcast, Contiguous, Initial, OffsetTable, Output, Product, multiply};
use super::transpose::Transpose;
use crate::isa::Isa;
use crate::real::Real;
use crate::simd::{Kernel, Simd};

/// Patch elements that are gathered at once: a quarter of a megabyte of f32, which an L2 holds.
const BAND: usize = 64 << 10;

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
    /// Offsets of the taps within a padded image.
    taps: OffsetTable,
    /// Offsets of the first tap of each output pixel within a padded image.
    pixels: OffsetTable,
    /// Rows of the weights, and their columns.
    weight_rows: OffsetTable,
    weight_columns: OffsetTable,
    /// Rows of dY', and of a gathered band.
    transposed_rows: OffsetTable,
    band_rows: OffsetTable,
    /// Rows of dY.
    map_rows: OffsetTable,
}

impl Plan {
    /// The sizes must be consistent: the caller has checked them.
    pub(crate) fn new(
        input: [usize; 3],
        output: [usize; 3],
        kernel: [usize; 2],
        stride: usize,
        padding: usize,
    ) -> Self {
        let mut plan = Plan { input, output, kernel, stride, padding, ..Plan::default() };
        let (taps, pixels) = (plan.tap_count(), plan.pixel_count());
        let [_, height, width] = plan.padded();
        let [rows, columns] = kernel;
        plan.taps = (0..taps)
            .map(|tap| {
                let (channel, y, x) = (tap / (rows * columns), tap / columns % rows, tap % columns);
                (channel * height + y) * width + x
            })
            .collect();
        let out_width = output[2];
        plan.pixels =
            (0..pixels).map(|p| (p / out_width * width + p % out_width) * stride).collect();
        plan.weight_rows = OffsetTable::linear(output[0], taps);
        plan.weight_columns = OffsetTable::linear(taps, 1);
        plan.transposed_rows = OffsetTable::linear(pixels, output[0]);
        plan.band_rows = OffsetTable::linear(taps, plan.band_pixels());
        plan.map_rows = OffsetTable::linear(output[0], pixels);
        plan
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

    pub(crate) fn output_len(&self) -> usize {
        self.output.iter().product()
    }

    fn padded(&self) -> [usize; 3] {
        let [channels, height, width] = self.input;
        [channels, height + 2 * self.padding, width + 2 * self.padding]
    }

    /// Output rows that are gathered at once, at least one.
    fn band_height(&self) -> usize {
        (BAND / (self.tap_count() * self.output[2])).clamp(1, self.output[1])
    }

    fn band_pixels(&self) -> usize {
        self.band_height() * self.output[2]
    }

    /// Elements of an image with its frame, or none where images are used as they are.
    fn frame_len(&self) -> usize {
        if self.padding > 0 { self.padded().iter().product() } else { 0 }
    }

    /// Elements of scratch for a forward pass over one image at a time.
    pub(crate) fn forward_scratch(&self) -> usize {
        self.frame_len() + self.tap_count() * self.band_pixels()
    }

    /// Elements of scratch for an input gradient of one image at a time.
    pub(crate) fn input_scratch(&self) -> usize {
        self.frame_len() + self.kernel[0] * self.kernel[1] * self.pixel_count()
    }

    /// Elements of scratch for a weight gradient over some images.
    pub(crate) fn weight_scratch(&self) -> usize {
        self.frame_len() + self.output_len() + self.partial_len()
    }

    /// Elements of a partial weight gradient: K rows of output channels, and one of biases.
    pub(crate) fn partial_len(&self) -> usize {
        (self.tap_count() + 1) * self.output[0]
    }

    /// The image in its frame of zeros. The frame has been zeroed before the first image.
    fn framed<'a, T: Real>(&self, image: &'a [T], frame: &'a mut [T]) -> &'a [T] {
        if self.padding == 0 {
            return image;
        }
        for (from, to) in self.frame_rows() {
            frame[to..][..self.input[2]].copy_from_slice(&image[from..][..self.input[2]]);
        }
        frame
    }

    /// Where each row of an image starts, in the image and in its frame.
    fn frame_rows(&self) -> impl Iterator<Item = (usize, usize)> {
        let [_, height, width] = self.input;
        let [_, frame_height, frame_width] = self.padded();
        let (rows, padding) = (self.input[0] * height, self.padding);
        (0..rows).map(move |row| {
            let (channel, y) = (row / height, row % height);
            (row * width, (channel * frame_height + y + padding) * frame_width + padding)
        })
    }

    /// Whether output rows fill vectors well enough to read patches from the image itself.
    fn reads_rows_in_place(&self, lanes: usize) -> bool {
        let width = self.output[2];
        self.stride == 1 && 4 * width >= 3 * width.next_multiple_of(lanes)
    }

    /// The weights as the broadcast operand, a row for each output channel.
    fn weights<'a, T: Real>(&'a self, weight: &'a [T]) -> Broadcast<'a, T> {
        let (rows, depth) = (self.weight_rows.all(), self.weight_columns.all());
        Broadcast { data: weight, rows, depth }
    }
}

/// y = W * x + bias for each of some images.
pub(crate) fn forward<T: Real>(
    isa: Isa,
    plan: &Plan,
    [weight, bias]: [&[T]; 2],
    x: &[T],
    y: &mut [T],
    scratch: &mut [T],
) {
    let (frame, band) = scratch.split_at_mut(plan.frame_len());
    frame.fill(T::ZERO);
    let in_place = plan.reads_rows_in_place(isa.lanes::<T>());
    let images = x.chunks_exact(plan.input_len());
    for (image, y) in images.zip(y.chunks_exact_mut(plan.output_len())) {
        let image = plan.framed(image, frame);
        if in_place {
            forward_in_place(isa, plan, [weight, bias], image, y);
        } else {
            forward_by_bands(isa, plan, [weight, bias], image, band, y);
        }
    }
}

fn forward_in_place<T: Real>(
    isa: Isa,
    plan: &Plan,
    [weight, bias]: [&[T]; 2],
    image: &[T],
    y: &mut [T],
) {
    let [_, height, width] = plan.output;
    let frame_width = plan.padded()[2];
    for row in 0..height {
        let product = Product {
            a: plan.weights(weight),
            b: Contiguous { data: &image[row * frame_width..], from: plan.taps.all() },
            initial: Initial::PerRow(bias),
            c: Output { data: &mut y[row * width..], stride: height * width, width },
        };
        multiply(isa, product);
    }
}

fn forward_by_bands<T: Real>(
    isa: Isa,
    plan: &Plan,
    [weight, bias]: [&[T]; 2],
    image: &[T],
    band: &mut [T],
    y: &mut [T],
) {
    let (pixels, at_once) = (plan.pixel_count(), plan.band_pixels());
    for from in (0..pixels).step_by(at_once) {
        let to = (from + at_once).min(pixels);
        T::dispatch(isa, GatherBand { plan, pixels: from..to, image, band: &mut *band });
        let product = Product {
            a: plan.weights(weight),
            b: Contiguous { data: band, from: plan.band_rows.all() },
            initial: Initial::PerRow(bias),
            c: Output { data: &mut y[from..], stride: pixels, width: to - from },
        };
        multiply(isa, product);
    }
}

/// Whole rows of output pixels, as a row of the band for each tap.
struct GatherBand<'a, T> {
    plan: &'a Plan,
    pixels: Range<usize>,
    image: &'a [T],
    band: &'a mut [T],
}

impl<T: Real> Kernel<T> for GatherBand<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let (plan, width) = (self.plan, self.plan.output[2]);
        let rows = plan.pixels.range(self.pixels).as_slice();
        let taps = plan.taps.all().as_slice();
        for (&tap, band) in taps.iter().zip(self.band.chunks_exact_mut(plan.band_pixels())) {
            for (&pixel, run) in rows.iter().step_by(width).zip(band.chunks_exact_mut(width)) {
                let from = &self.image[tap + pixel..];
                if plan.stride == 1 {
                    let chunks = from[..width].chunks(S::LANES).zip(run.chunks_mut(S::LANES));
                    for (from, to) in chunks {
                        s.store(s.load(from), to);
                    }
                } else {
                    for (to, from) in run.iter_mut().zip(from.iter().step_by(plan.stride)) {
                        *to = *from;
                    }
                }
            }
        }
    }
}

/// The weight and bias gradients summed over some images, as K rows of output channels and one row
/// of biases, left at the start of `scratch`.
pub(crate) fn weight_gradient<T: Real>(
    isa: Isa,
    plan: &Plan,
    x: &[T],
    dy: &[T],
    scratch: &mut [T],
) {
    let (channels, pixels) = (plan.output[0], plan.pixel_count());
    let (partial, rest) = scratch.split_at_mut(plan.partial_len());
    let (frame, transposed) = rest.split_at_mut(plan.frame_len());
    let transposed = &mut transposed[..plan.output_len()];
    let (weights, biases) = partial.split_at_mut(plan.tap_count() * channels);
    weights.fill(T::ZERO);
    biases.fill(T::ZERO);
    frame.fill(T::ZERO);
    let images = x.chunks_exact(plan.input_len());
    for (image, dy) in images.zip(dy.chunks_exact(plan.output_len())) {
        let data = plan.framed(image, frame);
        T::dispatch(isa, Transpose { from: dy, cols: pixels, to: &mut *transposed });
        T::dispatch(isa, AddRows { rows: transposed, sum: &mut *biases });
        let product = Product {
            a: Broadcast { data, rows: plan.taps.all(), depth: plan.pixels.all() },
            b: Contiguous { data: transposed, from: plan.transposed_rows.all() },
            initial: Initial::Output,
            c: Output { data: &mut *weights, stride: channels, width: channels },
        };
        multiply(isa, product);
    }
}

/// dx for each of some images: the products of each channel's taps with dY, scattered.
pub(crate) fn input_gradient<T: Real>(
    isa: Isa,
    plan: &Plan,
    weight: &[T],
    dy: &[T],
    dx: &mut [T],
    scratch: &mut [T],
) {
    let [_, frame_height, frame_width] = plan.padded();
    let (pixels, window) = (plan.pixel_count(), plan.kernel[0] * plan.kernel[1]);
    let (frame, patches) = scratch.split_at_mut(plan.frame_len());
    let patches = &mut patches[..window * pixels];
    let images = dy.chunks_exact(plan.output_len());
    for (dy, dx) in images.zip(dx.chunks_exact_mut(plan.input_len())) {
        // Without padding the gradient is scattered in place, else into the frame.
        let framed = if plan.padding > 0 { &mut *frame } else { &mut *dx };
        framed.fill(T::ZERO);
        for channel in 0..plan.input[0] {
            let rows = plan.weight_columns.range(channel * window..(channel + 1) * window);
            let product = Product {
                a: Broadcast { data: weight, rows, depth: plan.weight_rows.all() },
                b: Contiguous { data: dy, from: plan.map_rows.all() },
                initial: Initial::Zero,
                c: Output { data: &mut *patches, stride: pixels, width: pixels },
            };
            multiply(isa, product);
            let map = &mut framed[channel * frame_height * frame_width..];
            T::dispatch(isa, ScatterPatches { plan, patches, map });
        }
        if plan.padding > 0 {
            for (to, from) in plan.frame_rows() {
                dx[to..][..plan.input[2]].copy_from_slice(&frame[from..][..plan.input[2]]);
            }
        }
    }
}

/// Adds each tap's row of patches of one channel to the pixels that the tap reads.
struct ScatterPatches<'a, T> {
    plan: &'a Plan,
    patches: &'a [T],
    map: &'a mut [T],
}

impl<T: Real> Kernel<T> for ScatterPatches<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let (plan, width) = (self.plan, self.plan.output[2]);
        let taps = plan.taps.all().as_slice();
        let rows = plan.pixels.all().as_slice();
        for (&tap, patches) in taps.iter().zip(self.patches.chunks_exact(plan.pixel_count())) {
            for (&pixel, run) in rows.iter().step_by(width).zip(patches.chunks_exact(width)) {
                let map = &mut self.map[tap + pixel..];
                if plan.stride == 1 {
                    pool::add(s, run, &mut map[..width]);
                } else {
                    for (from, to) in run.iter().zip(map.iter_mut().step_by(plan.stride)) {
                        *to += *from;
                    }
                }
            }
        }
    }
}
