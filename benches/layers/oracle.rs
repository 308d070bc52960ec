//! What layers compute, one element at a time in scalar f64.

use std::ops::Range;

use drlim::nn::Shape;

/// A number, and the sum of the sizes of its terms, which rounding errors are relative to.
#[derive(Clone, Copy, Default)]
pub struct Exact {
    value: f64,
    size: f64,
}

impl Exact {
    fn add(&mut self, term: f64) {
        self.value += term;
        self.size += term.abs();
    }

    /// # Panics
    /// Where a result is further off than sums of `f32` in any order are here.
    pub fn check(self, got: f32, what: &str) {
        let error = (f64::from(got) - self.value).abs();
        assert!(error <= 4e-6 * self.size, "{what}: {got}, expected {}", self.value);
    }
}

/// Random numbers that a layer has passed over: all samples, one after another.
pub struct Batch<'a> {
    pub params: &'a [f32],
    pub x: &'a [f32],
    pub dy: &'a [f32],
    pub samples: usize,
}

/// What a layer is.
pub enum Oracle {
    /// Each output sums over a window of the input.
    Windowed(Windowed),
    /// Value and slope of each element by itself.
    Each(fn(f64) -> [f64; 2]),
    /// Samples of unit length.
    Unit,
}

/// y[o][r][c] = bias[o] + sum over i, u, v of weight x[i][stride r + u - padding][stride c + v - padding]
pub struct Windowed {
    pub input: Shape,
    pub output: Shape,
    pub kernel: [usize; 2],
    pub stride: usize,
    pub padding: usize,
    pub weight: Weight,
}

/// The weight of a place in a window.
#[derive(Clone, Copy, PartialEq)]
pub enum Weight {
    /// A parameter of its own: a convolution, or a dense layer as one of images of a single pixel.
    Own,
    /// One over the size of the window, times the coefficient of the map where it has one.
    Mean { coefficient: bool },
    /// 1 for the largest pixel of the window and 0 for others.
    Largest,
}

/// A place in a window: channel, row and column.
type Tap = [usize; 3];

impl Oracle {
    /// Multiply-adds of the products of a sample's forward pass, taps outside the image included.
    pub fn products(&self) -> usize {
        match self {
            Oracle::Windowed(windowed) if windowed.weight == Weight::Own => {
                windowed.output.len() * windowed.input.channels * windowed.window()
            }
            _ => 0,
        }
    }

    /// Element `at` of the output of a sample.
    pub fn output(&self, batch: &Batch, sample: usize, at: usize) -> Exact {
        let x = of_sample(batch.x, batch.samples, sample);
        match self {
            Oracle::Windowed(windowed) => windowed.output(batch.params, x, at),
            Oracle::Each(f) => one(f(x[at].into())[0]),
            Oracle::Unit => one(f64::from(x[at]) / norm(x)),
        }
    }

    /// Element `at` of the gradient of the parameters.
    pub fn gradient(&self, batch: &Batch, at: usize) -> Exact {
        match self {
            Oracle::Windowed(windowed) => windowed.gradient(batch, at),
            Oracle::Each(_) | Oracle::Unit => unreachable!("they have no parameters"),
        }
    }

    /// Element `at` of the gradient of a sample.
    pub fn input_gradient(&self, batch: &Batch, sample: usize, at: usize) -> Exact {
        let x = of_sample(batch.x, batch.samples, sample);
        let dy = of_sample(batch.dy, batch.samples, sample);
        match self {
            Oracle::Windowed(windowed) => windowed.input_gradient(batch.params, x, dy, at),
            Oracle::Each(f) => one(f(x[at].into())[1] * f64::from(dy[at])),
            Oracle::Unit => {
                let norm = norm(x);
                let mut along = Exact::default();
                x.iter().zip(dy).for_each(|(&x, &dy)| along.add(f64::from(x) * f64::from(dy)));
                let mut exact = one(f64::from(dy[at]) / norm);
                exact.value -= f64::from(x[at]) * along.value / norm.powi(3);
                exact.size += f64::from(x[at]).abs() * along.size / norm.powi(3);
                exact
            }
        }
    }
}

fn of_sample(all: &[f32], samples: usize, sample: usize) -> &[f32] {
    let len = all.len() / samples;
    &all[sample * len..][..len]
}

fn one(value: f64) -> Exact {
    Exact { value, size: value.abs() }
}

fn norm(x: &[f32]) -> f64 {
    x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

impl Windowed {
    fn window(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Input channels that an output map reads.
    fn channels(&self, map: usize) -> Range<usize> {
        if self.weight == Weight::Own { 0..self.input.channels } else { map..map + 1 }
    }

    fn taps(&self, channels: Range<usize>) -> impl Iterator<Item = Tap> {
        let [height, width] = self.kernel;
        channels
            .flat_map(move |i| (0..height).flat_map(move |u| (0..width).map(move |v| [i, u, v])))
    }

    /// Where a place in the window of an output pixel lies in the input, unless that is outside.
    fn pixel(&self, [r, c]: [usize; 2], [i, u, v]: Tap) -> Option<usize> {
        let Shape { height, width, .. } = self.input;
        let row = (self.stride * r + u).checked_sub(self.padding).filter(|&row| row < height)?;
        let col = (self.stride * c + v).checked_sub(self.padding).filter(|&col| col < width)?;
        Some((i * height + row) * width + col)
    }

    /// Map, row and column of an output.
    fn place(&self, at: usize) -> (usize, [usize; 2]) {
        let Shape { height, width, .. } = self.output;
        (at / (height * width), [at / width % height, at % width])
    }

    fn weight(&self, params: &[f32], x: &[f32], at: usize, [i, u, v]: Tap) -> f64 {
        let (map, place) = self.place(at);
        let [height, width] = self.kernel;
        match self.weight {
            Weight::Own => {
                params[((map * self.input.channels + i) * height + u) * width + v].into()
            }
            Weight::Mean { coefficient } => {
                let factor = if coefficient { params[map].into() } else { 1.0 };
                factor / self.window() as f64
            }
            Weight::Largest => {
                let at = |tap| x[self.pixel(place, tap).expect("poolings have no padding")];
                f64::from(u8::from(
                    self.taps(self.channels(map)).all(|tap| at(tap) <= at([i, u, v])),
                ))
            }
        }
    }

    /// How many parameters come before the biases, of which each map has one where there are any.
    fn weights(&self) -> usize {
        match self.weight {
            Weight::Own => self.output.channels * self.input.channels * self.window(),
            Weight::Mean { coefficient: true } => self.output.channels,
            Weight::Mean { coefficient: false } | Weight::Largest => 0,
        }
    }

    fn output(&self, params: &[f32], x: &[f32], at: usize) -> Exact {
        let (map, place) = self.place(at);
        let mut sum = one(params.get(self.weights() + map).map_or(0.0, |&bias| bias.into()));
        for tap in self.taps(self.channels(map)) {
            if let Some(pixel) = self.pixel(place, tap) {
                sum.add(self.weight(params, x, at, tap) * f64::from(x[pixel]));
            }
        }
        sum
    }

    fn gradient(&self, batch: &Batch, at: usize) -> Exact {
        let weights = self.weights();
        let of_a_map = weights / self.output.channels;
        let map = if at < weights { at / of_a_map } else { at - weights };
        // Where in the map's windows the parameter is a factor: nowhere if it is a bias.
        let taps: Vec<Tap> = match self.weight {
            _ if at >= weights => Vec::new(),
            Weight::Own => self.taps(self.channels(map)).skip(at % of_a_map).take(1).collect(),
            Weight::Mean { .. } | Weight::Largest => self.taps(self.channels(map)).collect(),
        };
        let pixels = self.output.height * self.output.width;
        let mut sum = Exact::default();
        for sample in 0..batch.samples {
            let x = of_sample(batch.x, batch.samples, sample);
            let dy = &of_sample(batch.dy, batch.samples, sample)[map * pixels..][..pixels];
            for (output, &dy) in dy.iter().enumerate() {
                let (dy, place) = (f64::from(dy), self.place(output).1);
                if taps.is_empty() {
                    sum.add(dy);
                }
                for pixel in taps.iter().filter_map(|&tap| self.pixel(place, tap)) {
                    sum.add(dy * f64::from(x[pixel]) / taps.len() as f64);
                }
            }
        }
        sum
    }

    fn input_gradient(&self, params: &[f32], x: &[f32], dy: &[f32], at: usize) -> Exact {
        let channel = at / (self.input.height * self.input.width);
        let mut sum = Exact::default();
        for (output, &dy) in dy.iter().enumerate() {
            let (map, place) = self.place(output);
            if !self.channels(map).contains(&channel) {
                continue;
            }
            for tap in self.taps(channel..channel + 1) {
                if self.pixel(place, tap) == Some(at) {
                    sum.add(self.weight(params, x, output, tap) * f64::from(dy));
                }
            }
        }
        sum
    }
}
