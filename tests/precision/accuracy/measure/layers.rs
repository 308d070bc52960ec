//! Layers that add up: dense, convolution, pooling, and samples of unit length.

use drlim::nn::{
    AvgPool2d, Conv2d, Dense, L2Normalize, Layer, MaxPool2d, Network, Shape, Workspace,
};
use drlim::{Isa, Mat, MatMut};

use super::bounds::{self, Bound, Sizes};
use super::distances::HEAD;
use super::formulas::{Wide, dot, lost, wide};
use super::inputs::Class;
use super::pairs::f64s;
use super::record::{Case, Exact, Record};
use super::{Plan, serial};
use crate::support::Element;

/// What an output adds up: elements of the input, each times a weight or a constant.
#[derive(Debug, Default)]
struct Taps {
    inputs: usize,
    outputs: usize,
    /// Output, input, and the weight of each product.
    products: Vec<[usize; 3]>,
    /// In place of weights.
    constant: Option<f64>,
    /// The bias of each output.
    biases: Vec<usize>,
    params: usize,
}

/// A batch through a layer.
struct Pass<T> {
    samples: usize,
    params: Vec<T>,
    x: Vec<T>,
    dy: Vec<T>,
}

impl<T: Element> Pass<T> {
    /// Sums of stagnating products go along inputs, outputs and samples.
    fn new(class: Class, taps: &Taps, samples: usize, seed: u64) -> Self {
        let draw = |len: usize, rows: usize, salt: u64| {
            let mut drawn: Vec<T> = class.matrix([rows, len / rows.max(1)], 1, seed ^ salt << 8);
            if class == Class::Stagnating {
                drawn.fill(T::from_f64((0.49 * T::EPSILON.to_f64()).sqrt()));
                drawn.first_mut().into_iter().for_each(|first| *first = T::ONE);
            }
            drawn
        };
        let mut params = draw(taps.params, 1, 1);
        if class == Class::Stagnating {
            taps.biases.iter().for_each(|&bias| params[bias] = T::ZERO);
        }
        let x = draw(samples * taps.inputs, samples, 2);
        Pass { samples, params, x, dy: draw(samples * taps.outputs, samples, 3) }
    }

    /// y, dW and dx.
    fn run(&self, net: &mut Network<T>, isa: Isa, [inputs, outputs]: [usize; 2]) -> [Vec<T>; 3] {
        net.params_mut().copy_from_slice(&self.params);
        let mut workspace = Workspace::training(net, self.samples).unwrap();
        let x = Mat::new(&self.x, self.samples, inputs).unwrap();
        let y = net.forward(&serial(isa), x, &mut workspace).unwrap();
        let y = y.as_slice().unwrap().to_vec();
        let (mut dw, mut dx) = (vec![T::NAN; self.params.len()], vec![T::NAN; self.x.len()]);
        let dy = Mat::new(&self.dy, self.samples, outputs).unwrap();
        let to = Some(MatMut::new(&mut dx, self.samples, inputs).unwrap());
        net.backward(&serial(isa), dy, &mut workspace, &mut dw, to).unwrap();
        [y, dw, dx]
    }
}

impl Taps {
    fn dense(inputs: usize, outputs: usize) -> Self {
        let weight = |o: usize| (0..inputs).map(move |i| [o, i, o * inputs + i]);
        let products = (0..outputs).flat_map(weight).collect();
        let biases = (0..outputs).map(|o| inputs * outputs + o).collect();
        Taps { inputs, outputs, products, constant: None, biases, params: (inputs + 1) * outputs }
    }

    /// Windows of `kernel` x `kernel` pixels: into maps of their own, or of each map by itself.
    fn windows(input: Shape, maps: Option<usize>, kernel: usize, stride: usize) -> Self {
        let [height, width] = [input.height, input.width].map(|side| (side - kernel) / stride + 1);
        let channels = input.channels;
        let area = kernel * kernel;
        let mut products = Vec::new();
        for map in 0..maps.unwrap_or(channels) {
            let seen = if maps.is_some() { 0..channels } else { map..map + 1 };
            for (r, c) in (0..height).flat_map(|r| (0..width).map(move |c| (r, c))) {
                for (channel, tap) in seen.clone().flat_map(|ch| (0..area).map(move |t| (ch, t))) {
                    let (row, col) = (r * stride + tap / kernel, c * stride + tap % kernel);
                    let pixel = (channel * input.height + row) * input.width + col;
                    let weight = (map * channels + channel) * area + tap;
                    products.push([(map * height + r) * width + c, pixel, weight]);
                }
            }
        }
        let (inputs, outputs) = (input.len(), maps.unwrap_or(channels) * height * width);
        match maps {
            Some(maps) => {
                let weights = maps * channels * area;
                let biases = (0..outputs).map(|o| weights + o / (height * width)).collect();
                Taps { inputs, outputs, products, constant: None, biases, params: weights + maps }
            }
            None => {
                let constant = Some(1.0 / area as f64);
                Taps { inputs, outputs, products, constant, biases: Vec::new(), params: 0 }
            }
        }
    }

    /// y, dW and dx, and how many terms each of them adds up at most.
    fn exact<T: Element>(&self, pass: &Pass<T>) -> [(Vec<Exact>, usize); 3] {
        let none = |len: usize| (vec![Exact::default(); len], vec![0_usize; len]);
        let mut y = none(self.outputs * pass.samples);
        let mut dw = none(self.params);
        let mut dx = none(self.inputs * pass.samples);
        let add = |(sums, counts): &mut (Vec<Exact>, Vec<usize>), at: usize, term: Wide| {
            sums[at] = sums[at].plus(Exact::term(term).losing(lost::<T>(0)));
            counts[at] += 1;
        };
        let (params, xs, dys) = (wide(&pass.params), wide(&pass.x), wide(&pass.dy));
        for sample in 0..pass.samples {
            let (x_at, y_at) = (sample * self.inputs, sample * self.outputs);
            for (output, &bias) in self.biases.iter().enumerate() {
                add(&mut y, y_at + output, params[bias]);
                add(&mut dw, bias, dys[y_at + output]);
            }
            for &[output, input, weight] in &self.products {
                let by = self.constant.map_or_else(|| params[weight], Wide::new);
                let (x, dy) = (xs[x_at + input], dys[y_at + output]);
                add(&mut y, y_at + output, x * by);
                add(&mut dx, x_at + input, dy * by);
                if self.constant.is_none() {
                    add(&mut dw, weight, dy * x);
                }
            }
        }
        [y, dw, dx].map(|(sums, counts)| (sums, counts.into_iter().max().unwrap_or(0)))
    }

    /// Every class through a layer, held against bounds of y, dW and dx.
    fn measure<T: Element>(
        &self,
        plan: &Plan,
        record: &mut Record,
        net: &mut Network<T>,
        samples: usize,
        bounds: [Option<&'static Bound>; 3],
    ) {
        for class in Class::ALL {
            let pass = Pass::<T>::new(class, self, samples, plan.seed);
            let exact = self.exact(&pass);
            for isa in record.isas() {
                let got = pass.run(net, isa, [self.inputs, self.outputs]);
                for ((got, (exact, n)), bound) in got.iter().zip(&exact).zip(bounds) {
                    let Some(bound) = bound else { continue };
                    let case = Case { class, sizes: Sizes { d: self.inputs, n: *n } };
                    record.compare::<T>(bound, isa, case, f64s(got), exact.iter().copied());
                }
            }
        }
    }
}

fn network<T: Element>(input: Shape, layer: impl Layer<T> + 'static) -> Network<T> {
    Network::builder(input).layer("f", layer).build(1).unwrap()
}

/// Few samples and many go different ways.
pub fn dense<T: Element>(plan: &Plan, record: &mut Record) {
    let bounds = [&bounds::DENSE, &bounds::DENSE_DW, &bounds::DENSE_DX].map(Some);
    for &inputs in plan.dims {
        for (outputs, samples) in [(5, 3), (35, 9), (3, 300)] {
            // A row of few inputs need not be measured with many samples.
            if inputs * samples > 40_000 {
                continue;
            }
            let mut net = network(Shape::flat(inputs), Dense::new(outputs));
            Taps::dense(inputs, outputs).measure::<T>(plan, record, &mut net, samples, bounds);
        }
    }
}

pub fn convolutions<T: Element>(plan: &Plan, record: &mut Record) {
    let bounds = [&bounds::CONV, &bounds::CONV_DW, &bounds::CONV_DX].map(Some);
    for (input, maps, kernel, stride) in [
        (Shape::image(1, 9, 11), 3, 3, 1),
        (Shape::image(3, 8, 8), 5, 5, 1),
        (Shape::image(8, 7, 6), 18, 3, 2),
        (Shape::image(6, 1, 40), 2, 1, 1),
        (Shape::image(40, 5, 5), 4, 5, 1),
    ] {
        for samples in [1, 17] {
            let mut net = network(input, Conv2d::new(maps, kernel).stride(stride));
            let taps = Taps::windows(input, Some(maps), kernel, stride);
            taps.measure::<T>(plan, record, &mut net, samples, bounds);
        }
    }
}

pub fn pooling<T: Element>(plan: &Plan, record: &mut Record) {
    for (side, kernel, stride) in [(8, 2, 2), (11, 3, 2), (13, 5, 1)] {
        let input = Shape::image(2, side, side);
        for samples in [1, 17] {
            let taps = Taps::windows(input, None, kernel, stride);
            let mut net = network(input, AvgPool2d::new(kernel).stride(stride));
            let bounds = [Some(&bounds::AVG), None, Some(&bounds::AVG_DX)];
            taps.measure::<T>(plan, record, &mut net, samples, bounds);
            largest::<T>(plan, record, (input, kernel, stride), samples);
        }
    }
}

/// The largest pixel of each window, and what goes back to it.
fn largest<T: Element>(
    plan: &Plan,
    record: &mut Record,
    (input, kernel, stride): (Shape, usize, usize),
    samples: usize,
) {
    let taps = Taps::windows(input, None, kernel, stride);
    let mut net = network(input, MaxPool2d::new(kernel).stride(stride));
    for class in Class::ALL {
        let pass = Pass::<T>::new(class, &taps, samples, plan.seed);
        let mut y = Vec::new();
        let mut dx = vec![Exact::default(); pass.x.len()];
        let mut counts = vec![0; pass.x.len()];
        for sample in 0..samples {
            let x = &pass.x[sample * taps.inputs..][..taps.inputs];
            for window in taps.products.chunk_by(|a, b| a[0] == b[0]) {
                let first = |best: usize, at: usize| if x[at] > x[best] { at } else { best };
                let pixel = window.iter().map(|tap| tap[1]).reduce(first).expect("a window");
                let dy = pass.dy[sample * taps.outputs + window[0][0]];
                y.push(Exact::term(Wide::new(x[pixel].to_f64())));
                let at = sample * taps.inputs + pixel;
                dx[at] = dx[at].plus(Exact::term(Wide::new(dy.to_f64())));
                counts[at] += 1;
            }
        }
        let n = counts.into_iter().max().unwrap_or(0);
        let case = Case { class, sizes: Sizes { d: taps.inputs, n } };
        for isa in record.isas() {
            let [got, _, got_dx] = pass.run(&mut net, isa, [taps.inputs, taps.outputs]);
            record.compare::<T>(&bounds::MAX, isa, case, f64s(&got), y.iter().copied());
            record.compare::<T>(&bounds::MAX_DX, isa, case, f64s(&got_dx), dx.iter().copied());
        }
    }
}

pub fn normalize<T: Element>(plan: &Plan, record: &mut Record) {
    let n = plan.rows;
    for (class, &d) in Class::ALL.iter().flat_map(|&c| plan.dims.iter().map(move |d| (c, d))) {
        let x: Vec<T> = class.matrix([n, d], HEAD, plan.seed);
        let dy: Vec<T> = Class::Ordinary.matrix([n, d], HEAD, plan.seed);
        let case = Case { class, sizes: Sizes { d, n } };
        // Squares of f64 leave its range where those of twice its precision do.
        let up = match class {
            Class::Denormal | Class::Tiny => {
                2.0_f64.powi(if size_of::<T>() == 8 { 600 } else { 0 })
            }
            _ => 1.0,
        };
        let (mut y, mut dx) = (Vec::new(), Vec::new());
        for (x, dy) in x.chunks_exact(d).zip(dy.chunks_exact(d)) {
            let x: Vec<Wide> = wide(x).into_iter().map(|x| x * Wide::new(up)).collect();
            let (dy, norm) = (wide(dy), dot(&x, &x).sqrt());
            let none = norm.high < T::MIN_POSITIVE.to_f64() * up;
            let unit: Vec<Wide> =
                x.iter().map(|&x| if none { Wide::default() } else { x / norm }).collect();
            let along = dot(&unit, &dy);
            let sizes = unit.iter().zip(&dy).map(|(&y, &dy)| (y * dy).abs().high);
            let along_size: f64 = sizes.sum();
            for (&unit, &dy) in unit.iter().zip(&dy) {
                let tiny = lost::<T>(0);
                y.push(Exact { value: unit, size: unit.abs().high, lost: tiny });
                let over = |of: Wide| of / norm * Wide::new(up);
                let value = if none { Wide::default() } else { over(dy - unit * along) };
                let terms = Wide::new(dy.abs().high + unit.abs().high * along_size);
                let size = if none { 0.0 } else { over(terms).high };
                // y is rounded before it is multiplied.
                let lost = if none { 0.0 } else { over(Wide::new(along_size * tiny)).high };
                dx.push(Exact { value, size, lost: tiny + lost });
            }
        }
        let mut net = network(Shape::flat(d), L2Normalize::new());
        let pass = Pass { samples: n, params: Vec::new(), x, dy };
        for isa in record.isas() {
            let [got, _, got_dx] = pass.run(&mut net, isa, [d, d]);
            record.compare::<T>(&bounds::NORMALIZE, isa, case, f64s(&got), y.iter().copied());
            record.compare::<T>(
                &bounds::NORMALIZE_DX,
                isa,
                case,
                f64s(&got_dx),
                dx.iter().copied(),
            );
        }
    }
}
