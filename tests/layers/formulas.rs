//! Layers of images in plain scalar f64 loops, straight from their formulas: the twins that kernels are
//! compared with, one image at a time.

use drlim::nn::Shape;

use super::stack::Spec;

/// A sum, with what bounds the rounding of it in any order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    pub value: f64,
    /// The sum of the terms' magnitudes.
    magnitude: f64,
    terms: f64,
}

impl Sum {
    /// A number that is not computed.
    fn exactly(value: f64) -> Self {
        Sum { value, ..Sum::default() }
    }

    pub fn add(&mut self, term: f64) {
        self.value += term;
        self.magnitude += term.abs();
        self.terms += 1.0;
    }

    /// The difference that is allowed where rounding is `epsilon`: half of it for each operation on a
    /// term, the few beside the addition included, for the twin and for what is compared with it.
    pub fn allowed(&self, epsilon: f64) -> f64 {
        if self.terms == 0.0 { 0.0 } else { (self.terms + 4.0) * epsilon * self.magnitude }
    }
}

/// A layer of windows: a convolution or a pooling.
#[derive(Clone, Copy, Debug)]
pub struct Formula {
    pub spec: Spec,
    pub input: Shape,
    pub output: Shape,
    kernel: [usize; 2],
    stride: usize,
    padding: usize,
}

impl Formula {
    pub fn new(spec: Spec, input: Shape) -> Self {
        let (maps, kernel, stride, padding) = match spec {
            Spec::Conv { maps, kernel, stride, padding } => (maps, kernel, stride, padding),
            Spec::Avg { kernel, stride } | Spec::Max { kernel, stride } => {
                (input.channels, [kernel; 2], stride, 0)
            }
            Spec::Subsample(kernel) => (input.channels, [kernel; 2], kernel, 0),
            other => panic!("{other:?} has no windows"),
        };
        let windows = |side: usize, kernel: usize| (side + 2 * padding - kernel) / stride + 1;
        let (height, width) = (windows(input.height, kernel[0]), windows(input.width, kernel[1]));
        let output = Shape::image(maps, height, width);
        Formula { spec, input, output, kernel, stride, padding }
    }

    /// The pixels of a map that the window of an output pixel sees, each with its place in the window, row
    /// by row.
    pub fn window(&self, output: usize) -> impl Iterator<Item = (usize, usize)> {
        let Formula { input: Shape { height, width, .. }, kernel, stride, padding, .. } = *self;
        let [r, c] = [output / self.output.width, output % self.output.width];
        (0..kernel[0] * kernel[1]).filter_map(move |tap| {
            let row = (stride * r + tap / kernel[1]).checked_sub(padding)?;
            let column = (stride * c + tap % kernel[1]).checked_sub(padding)?;
            (row < height && column < width).then_some((tap, row * width + column))
        })
    }

    /// The outputs of an image whose windows see a pixel.
    pub fn outputs_of(&self, pixel: usize) -> Vec<usize> {
        let [map, out] = self.maps();
        let all = 0..self.output.len();
        let sees = |&at: &usize| {
            let seen = self.window(at % out).any(|(_, seen)| seen == pixel % map);
            seen && (self.is_conv() || at / out == pixel / map)
        };
        all.filter(sees).collect()
    }

    fn is_conv(&self) -> bool {
        matches!(self.spec, Spec::Conv { .. })
    }

    /// Pixels of a map of the input, and of the output.
    fn maps(&self) -> [usize; 2] {
        [self.input, self.output].map(|shape| shape.height * shape.width)
    }

    /// Where the weights of an output map for an input map start.
    fn weights(&self, map: usize, channel: usize) -> usize {
        (map * self.input.channels + channel) * self.kernel[0] * self.kernel[1]
    }

    /// Where the biases start.
    pub fn biases(&self) -> usize {
        match self.spec {
            Spec::Conv { .. } => self.weights(self.output.channels, 0),
            _ => self.input.channels,
        }
    }

    /// The first of the window's largest pixels; a NaN is larger than any number.
    fn largest(&self, x: &[f64], output: usize) -> usize {
        let pixels = self.window(output).map(|(_, pixel)| pixel);
        let larger = |best: usize, other: usize| {
            let other_is = x[other] > x[best] || (x[other].is_nan() && !x[best].is_nan());
            if other_is { other } else { best }
        };
        pixels.reduce(larger).expect("a window sees a pixel")
    }

    pub fn forward(&self, params: &[f64], x: &[f64]) -> Vec<Sum> {
        let [map_len, out_len] = self.maps();
        let area = (self.kernel[0] * self.kernel[1]) as f64;
        let output = |at: usize| {
            let (map, at) = (at / out_len, at % out_len);
            let own = &x[map % self.input.channels * map_len..][..map_len];
            let mut sum = Sum::default();
            match self.spec {
                Spec::Max { .. } => return Sum::exactly(own[self.largest(own, at)]),
                Spec::Avg { .. } => {
                    self.window(at).for_each(|(_, pixel)| sum.add(own[pixel] / area));
                }
                Spec::Subsample(_) => {
                    let pixels = self.window(at);
                    pixels.for_each(|(_, pixel)| sum.add(params[map] * own[pixel] / area));
                    sum.add(params[self.biases() + map]);
                }
                _ => {
                    sum.add(params[self.biases() + map]);
                    for channel in 0..self.input.channels {
                        let x = &x[channel * map_len..][..map_len];
                        let weights = &params[self.weights(map, channel)..];
                        self.window(at).for_each(|(tap, pixel)| sum.add(weights[tap] * x[pixel]));
                    }
                }
            }
            sum
        };
        (0..self.output.len()).map(output).collect()
    }

    /// dx of one image; what it adds to the gradient of the parameters goes to `gradient`.
    pub fn backward(
        &self,
        params: &[f64],
        x: &[f64],
        dy: &[f64],
        gradient: &mut [Sum],
    ) -> Vec<Sum> {
        let [map_len, out_len] = self.maps();
        let area = (self.kernel[0] * self.kernel[1]) as f64;
        let mut dx = vec![Sum::default(); x.len()];
        for (at, &dy) in dy.iter().enumerate() {
            let (map, at) = (at / out_len, at % out_len);
            let first = map % self.input.channels * map_len;
            match self.spec {
                Spec::Max { .. } => dx[first + self.largest(&x[first..][..map_len], at)].add(dy),
                Spec::Avg { .. } => {
                    self.window(at).for_each(|(_, pixel)| dx[first + pixel].add(dy / area));
                }
                Spec::Subsample(_) => {
                    for (_, pixel) in self.window(at) {
                        dx[first + pixel].add(params[map] * dy / area);
                        gradient[map].add(dy * x[first + pixel] / area);
                    }
                    gradient[self.biases() + map].add(dy);
                }
                _ => {
                    gradient[self.biases() + map].add(dy);
                    for channel in 0..self.input.channels {
                        let weights = self.weights(map, channel);
                        for (tap, pixel) in self.window(at) {
                            let pixel = channel * map_len + pixel;
                            dx[pixel].add(params[weights + tap] * dy);
                            gradient[weights + tap].add(dy * x[pixel]);
                        }
                    }
                }
            }
        }
        dx
    }
}
