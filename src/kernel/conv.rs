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

use super::pool;
use super::product::{Broadcast, Contiguous, Initial, OffsetTable, Output, product};
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
    #[inline(always)]
    fn framed<'a, T: Real>(&self, image: &'a [T], frame: &'a mut [T]) -> &'a [T] {
        if self.padding == 0 {
            return image;
        }
        let [channels, height, width] = self.input;
        let [_, frame_height, frame_width] = self.padded();
        for channel in 0..channels {
            for y in 0..height {
                let to = (channel * frame_height + y + self.padding) * frame_width + self.padding;
                let from = (channel * height + y) * width;
                frame[to..][..width].copy_from_slice(&image[from..][..width]);
            }
        }
        frame
    }

    /// Whether output rows fill vectors well enough to read patches from the image itself.
    fn reads_rows_in_place(&self, lanes: usize) -> bool {
        let width = self.output[2];
        self.stride == 1 && 4 * width >= 3 * width.next_multiple_of(lanes)
    }
}

/// y = W * x + bias for each of some images.
pub(crate) struct ConvForward<'a, T> {
    pub plan: &'a Plan,
    pub weight: &'a [T],
    pub bias: &'a [T],
    pub x: &'a [T],
    pub y: &'a mut [T],
    pub scratch: &'a mut [T],
}

impl<T: Real> Kernel<T> for ConvForward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let plan = self.plan;
        let (frame, band) = self.scratch.split_at_mut(plan.frame_len());
        frame.fill(T::ZERO);
        let images = self.x.chunks_exact(plan.input_len());
        for (image, y) in images.zip(self.y.chunks_exact_mut(plan.output_len())) {
            let image = plan.framed(image, frame);
            let weight = Broadcast {
                data: self.weight,
                rows: plan.weight_rows.all(),
                depth: plan.weight_columns.all(),
            };
            if plan.reads_rows_in_place(S::LANES) {
                forward_in_place(s, plan, weight, self.bias, image, y);
            } else {
                forward_by_bands(s, plan, weight, self.bias, image, band, y);
            }
        }
    }
}

#[inline(always)]
fn forward_in_place<T: Real, S: Simd<T>>(
    s: S,
    plan: &Plan,
    weight: Broadcast<T>,
    bias: &[T],
    image: &[T],
    y: &mut [T],
) {
    let [_, height, width] = plan.output;
    let frame_width = plan.padded()[2];
    for row in 0..height {
        let patches = Contiguous { data: &image[row * frame_width..], from: plan.taps.all() };
        let c = Output { data: &mut y[row * width..], stride: height * width, width };
        product(s, weight, patches, Initial::PerRow(bias), c);
    }
}

#[inline(always)]
fn forward_by_bands<T: Real, S: Simd<T>>(
    s: S,
    plan: &Plan,
    weight: Broadcast<T>,
    bias: &[T],
    image: &[T],
    band: &mut [T],
    y: &mut [T],
) {
    let (pixels, at_once) = (plan.pixel_count(), plan.band_pixels());
    let width = plan.output[2];
    for from in (0..pixels).step_by(at_once) {
        let to = (from + at_once).min(pixels);
        let first_taps = plan.pixels.range(from..to);
        for (&tap, band) in plan.taps.all().as_slice().iter().zip(band.chunks_exact_mut(at_once)) {
            for (&pixel, run) in
                first_taps.as_slice().iter().step_by(width).zip(band.chunks_exact_mut(width))
            {
                gather(s, &image[tap + pixel..], plan.stride, run);
            }
        }
        let patches = Contiguous { data: band, from: plan.band_rows.all() };
        let c = Output { data: &mut y[from..], stride: pixels, width: to - from };
        product(s, weight, patches, Initial::PerRow(bias), c);
    }
}

/// Every `stride`-th element.
#[inline(always)]
fn gather<T: Real, S: Simd<T>>(s: S, from: &[T], stride: usize, to: &mut [T]) {
    if stride == 1 {
        let n = to.len();
        for (from, to) in from[..n].chunks(S::LANES).zip(to.chunks_mut(S::LANES)) {
            s.store(s.load(from), to);
        }
    } else {
        for (to, from) in to.iter_mut().zip(from.iter().step_by(stride)) {
            *to = *from;
        }
    }
}

/// The weight and bias gradients summed over some images, as K rows of output channels and one row
/// of biases, left at the start of `scratch`.
pub(crate) struct ConvWeightGradient<'a, T> {
    pub plan: &'a Plan,
    pub x: &'a [T],
    pub dy: &'a [T],
    pub scratch: &'a mut [T],
}

impl<T: Real> Kernel<T> for ConvWeightGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let plan = self.plan;
        let (channels, pixels, taps) = (plan.output[0], plan.pixel_count(), plan.tap_count());
        let (partial, rest) = self.scratch.split_at_mut(plan.partial_len());
        let (frame, transposed) = rest.split_at_mut(plan.frame_len());
        let transposed = &mut transposed[..plan.output_len()];
        partial.fill(T::ZERO);
        frame.fill(T::ZERO);
        let images = self.x.chunks_exact(plan.input_len());
        for (image, dy) in images.zip(self.dy.chunks_exact(plan.output_len())) {
            let image = plan.framed(image, frame);
            transpose(dy, pixels, transposed);
            let (weights, biases) = partial.split_at_mut(taps * channels);
            for dy in transposed.chunks_exact(channels) {
                pool::add(s, dy, biases);
            }
            product(
                s,
                Broadcast { data: image, rows: plan.taps.all(), depth: plan.pixels.all() },
                Contiguous { data: transposed, from: plan.transposed_rows.all() },
                Initial::Output,
                Output { data: weights, stride: channels, width: channels },
            );
        }
    }
}

/// The transpose of rows of `cols` elements.
#[inline(always)]
pub(crate) fn transpose<T: Real>(from: &[T], cols: usize, to: &mut [T]) {
    let rows = from.len() / cols;
    for (i, row) in from.chunks_exact(cols).enumerate() {
        for (&from, to) in row.iter().zip(to[i..].iter_mut().step_by(rows)) {
            *to = from;
        }
    }
}

/// dx for each of some images: the products of each channel's taps with dY, scattered.
pub(crate) struct ConvInputGradient<'a, T> {
    pub plan: &'a Plan,
    pub weight: &'a [T],
    pub dy: &'a [T],
    pub dx: &'a mut [T],
    pub scratch: &'a mut [T],
}

impl<T: Real> Kernel<T> for ConvInputGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let plan = self.plan;
        let [channels, height, width] = plan.input;
        let [_, frame_height, frame_width] = plan.padded();
        let (pixels, window) = (plan.pixel_count(), plan.kernel[0] * plan.kernel[1]);
        let (frame, patches) = self.scratch.split_at_mut(plan.frame_len());
        let patches = &mut patches[..window * pixels];
        let images = self.dy.chunks_exact(plan.output_len());
        for (dy, dx) in images.zip(self.dx.chunks_exact_mut(plan.input_len())) {
            // Without padding the gradient is scattered in place, else into the frame.
            let framed = if plan.padding > 0 { &mut *frame } else { &mut *dx };
            framed.fill(T::ZERO);
            for channel in 0..channels {
                let taps = channel * window..(channel + 1) * window;
                product(
                    s,
                    Broadcast {
                        data: self.weight,
                        rows: plan.weight_columns.range(taps),
                        depth: plan.weight_rows.all(),
                    },
                    Contiguous { data: dy, from: plan.map_rows.all() },
                    Initial::Zero,
                    Output { data: patches, stride: pixels, width: pixels },
                );
                let map = &mut framed[channel * frame_height * frame_width..];
                scatter(s, plan, patches, map);
            }
            if plan.padding > 0 {
                for channel in 0..channels {
                    for y in 0..height {
                        let from = (channel * frame_height + y + plan.padding) * frame_width;
                        let from = &frame[from + plan.padding..][..width];
                        dx[(channel * height + y) * width..][..width].copy_from_slice(from);
                    }
                }
            }
        }
    }
}

/// Adds each tap's row of patches to the pixels that the tap reads.
#[inline(always)]
fn scatter<T: Real, S: Simd<T>>(s: S, plan: &Plan, patches: &[T], map: &mut [T]) {
    let width = plan.output[2];
    let taps = plan.taps.all().as_slice();
    for (&tap, patches) in taps.iter().zip(patches.chunks_exact(plan.pixel_count())) {
        let first_taps = plan.pixels.all().as_slice().iter().step_by(width);
        for (&pixel, run) in first_taps.zip(patches.chunks_exact(width)) {
            let map = &mut map[tap + pixel..];
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
