//! A case of a network: a list of layers that its builder refuses, or a network that computes what the
//! layers' formulas say.

use arbitrary::Arbitrary;
use drlim::nn::{
    AvgPool2d, Builder, Conv2d, Dense, L2Normalize, MaxPool2d, Network, Relu, ScaledTanh, Shape,
    Sigmoid, Subsample2d, Tanh, Workspace,
};
use drlim::{Cx, Isa, Par, Real};

use crate::layers::{Activation, Reference, Stage};
use crate::oracle::Approx;
use crate::points::noise;
use crate::stack::Spec;
use crate::{CANARY, Placed, Size, Special, check_same_elements, same_bits};

/// Layers and a batch, the bytes of which the fuzzer chooses.
#[derive(Arbitrary, Debug)]
pub struct NetworkCase {
    input: [Size; 3],
    layers: Vec<Part>,
    /// A layer that has the name of the first one, or none.
    misnamed: Option<(u8, bool)>,
    samples: u8,
    /// Samples that the workspace has room for beside those of the batch.
    room: u8,
    /// Inputs are of size 2^size.
    size: i8,
    /// Which element of the batch is something else in another pass.
    special: Option<(u16, Special)>,
    /// A workspace for too many samples is refused.
    too_many: usize,
    /// Elements in front of x, dz, dx and the gradient, and between the rows of the first three.
    offsets: [u8; 4],
    gaps: [u8; 3],
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Part {
    Conv { maps: Size, kernel: [Size; 2], stride: Option<Size>, padding: Option<Size> },
    Avg { kernel: Size, stride: Option<Size> },
    Max { kernel: Size, stride: Option<Size> },
    Subsample(Size),
    Dense(Size),
    Tanh,
    ScaledTanh,
    Sigmoid,
    Relu,
    L2Normalize,
}

/// What must become of a list of layers.
enum Fate {
    Refused,
    /// It may be built, but takes more memory than a fuzzer should, or more time.
    Large,
    Runs(Vec<Stage>),
}

/// The most weights of a layer, or elements of a sample, that a builder takes.
const MOST: u128 = 1 << 28;
/// Parameters of a network that is built here.
const MOST_PARAMS: u128 = 1 << 16;
/// Elements of a sample anywhere in a network that runs here, and multiplications in a pass of a sample.
const MOST_LEN: u128 = 1 << 13;
const MOST_WORK: u128 = 1 << 17;

impl NetworkCase {
    /// Runs the case for one element type.
    ///
    /// # Panics
    /// Where a result is not what it should be.
    pub(crate) fn check_type<T: Real>(&self) {
        let layers = &self.layers[..self.layers.len().min(12)];
        let misnamed = |at: usize| {
            self.misnamed.filter(|&(of, empty)| usize::from(of) == at && (empty || at > 0))
        };
        let build = || {
            let [channels, height, width] = self.input.map(Size::value);
            let mut builder = Network::<T>::builder(Shape { channels, height, width });
            for (at, layer) in layers.iter().enumerate() {
                let name = match misnamed(at) {
                    Some((_, true)) => String::new(),
                    Some(_) => "0".to_owned(),
                    None => at.to_string(),
                };
                builder = layer.add(builder, name);
            }
            builder.build(1)
        };
        match self.fate(layers, &|at| misnamed(at).is_some()) {
            Fate::Refused => assert!(build().is_err(), "not refused"),
            Fate::Large => {}
            Fate::Runs(stages) => self.run(build().unwrap(), &stages),
        }
    }

    fn fate(&self, layers: &[Part], is_misnamed: &dyn Fn(usize) -> bool) -> Fate {
        let [channels, height, width] = self.input.map(Size::value);
        let mut shape = Shape { channels, height, width };
        if shape.is_empty() || shape.checked_len().is_none() {
            return Fate::Refused;
        }
        let (mut stages, mut params, mut large) = (Vec::new(), 0, false);
        let samples = u128::from(self.samples % 48);
        for (at, layer) in layers.iter().enumerate() {
            let sizes = layer.sizes(shape);
            let Some(Sizes { output, weights, work }) = sizes.filter(|_| !is_misnamed(at)) else {
                return if params > MOST_PARAMS { Fate::Large } else { Fate::Refused };
            };
            params += weights;
            let len = |shape: Shape| shape.len() as u128;
            large |= len(shape).max(len(output)) > MOST_LEN || work * samples.max(1) > MOST_WORK;
            if params > MOST_PARAMS {
                return Fate::Large;
            }
            // What is too large to run is too large to describe.
            if !large {
                stages.push(layer.stage(shape, output));
            }
            shape = output;
        }
        if large { Fate::Large } else { Fate::Runs(stages) }
    }

    fn run<T: Real>(&self, mut net: Network<T>, stages: &[Stage]) {
        let [inputs, outputs] = [net.input(), net.output()].map(Shape::len);
        if inputs as u128 > MOST_LEN {
            return;
        }
        let samples = usize::from(self.samples % 48);
        for (at, param) in net.params_mut().iter_mut().enumerate() {
            *param += T::from_f64(0.5 * noise(at, 1));
        }
        let too_many = self.too_many | 1 << (usize::BITS - 3);
        assert!(Workspace::training(&net, too_many).is_err(), "room for {too_many} samples");

        let size = 2_f64.powi(i32::from(self.size % 8));
        let place = |at: usize, cols: usize, around: f64| {
            Placed::<T>::new([samples, cols], self.offsets[at], self.gaps[at], around)
        };
        let (mut x, mut dz) = (place(0, inputs, f64::NAN), place(1, outputs, f64::NAN));
        for i in 0..samples {
            let fill = |row: &mut [T], of: usize| {
                let numbers = row.iter_mut().enumerate();
                numbers.for_each(|(k, x)| *x = T::from_f64(size * noise(of + i, k)));
            };
            fill(x.row(i), 100);
            fill(dz.row(i), 200);
        }
        let params: Vec<f64> = net.params().iter().map(|x| x.to_f64()).collect();
        let mut reference = Reference::new(stages, &params, T::EPSILON.to_f64());
        for i in 0..samples {
            let wide = |row: &[T]| row.iter().map(|x| x.to_f64()).collect::<Vec<_>>();
            reference.pass(&wide(x.mat().row(i)), &wide(dz.mat().row(i)));
        }
        let expected = reference.finish(T::MIN_POSITIVE.to_f64());

        let mut dx = place(2, inputs, CANARY);
        let mut gradient = Placed::<T>::new([1, net.params().len()], self.offsets[3], 0, CANARY);
        let room = samples + usize::from(self.room % 40);
        let mut training = Workspace::training(&net, room).unwrap();
        let mut inference = Workspace::inference(&net, room).unwrap();
        for isa in Isa::available() {
            let mut pass = |par, x: &Placed<T>, with_dx: bool| {
                let cx = Cx { isa, par };
                let z = net.forward(&cx, x.mat(), &mut training).unwrap();
                assert_eq!(z.shape(), [samples, outputs]);
                let z: Vec<T> = z.iter().flatten().copied().collect();
                let to = with_dx.then(|| dx.mat_mut());
                net.backward(&cx, dz.mat(), &mut training, gradient.only_row(), to).unwrap();
                [z, gradient.take(), dx.take()]
            };
            let got = pass(Par::Serial, &x, true);
            for ((wanted, got), what) in expected.iter().zip(&got).zip(["z", "gradient", "dx"]) {
                assert_eq!(wanted.len(), got.len(), "{what}");
                for (at, (&Approx { x, error }, got)) in wanted.iter().zip(got).enumerate() {
                    Approx { x, error }.check::<T>(got.to_f64(), isa, what, at);
                }
            }
            for (one, other) in got.iter().zip(&pass(Par::Rayon, &x, true)) {
                check_same_elements(one, other, isa, "a pass");
            }
            check_same_elements(&got[1], &pass(Par::Rayon, &x, false)[1], isa, "gradient");
            let z = net.forward(&Cx { isa, par: Par::Rayon }, x.mat(), &mut inference).unwrap();
            let z: Vec<T> = z.iter().flatten().copied().collect();
            check_same_elements(&got[0], &z, isa, "z");
            let Some((at, special)) = self.special.filter(|_| samples * inputs > 0) else {
                continue;
            };
            // What becomes of one sample is no concern of another one's.
            let at = usize::from(at) % (samples * inputs);
            let sample = at / inputs;
            let before = x.row(sample)[at % inputs];
            x.row(sample)[at % inputs] = special.apply(before);
            let other = {
                let cx = Cx { isa, par: Par::Serial };
                let z = net.forward(&cx, x.mat(), &mut training).unwrap();
                let z: Vec<T> = z.iter().flatten().copied().collect();
                let (gradient, dx) = (gradient.only_row(), dx.mat_mut());
                net.backward(&cx, dz.mat(), &mut training, gradient, Some(dx)).unwrap();
                z
            };
            let other = [other, dx.take()];
            gradient.take();
            x.row(sample)[at % inputs] = before;
            for (one, other, width) in [(&got[0], &other[0], outputs), (&got[2], &other[1], inputs)]
            {
                let differs = one
                    .iter()
                    .zip(other)
                    .enumerate()
                    .find(|(at, both)| at / width != sample && !same_bits(*both));
                assert_eq!(differs.map(|(at, _)| at / width), None, "{isa}: {special:?}");
            }
        }
    }
}

/// What follows from the shape of a layer's input.
struct Sizes {
    output: Shape,
    weights: u128,
    work: u128,
}

/// A product, or more than any limit.
fn product<const N: usize>(of: [usize; N]) -> u128 {
    of.into_iter().fold(1_u128, |product, n| product.saturating_mul(n as u128))
}

impl Part {
    fn add<T: Real>(self, builder: Builder<T>, name: String) -> Builder<T> {
        let stride = |stride: Option<Size>| stride.map(Size::value);
        match self {
            Part::Conv { maps, kernel, stride, padding } => {
                let mut conv = Conv2d::rectangular(maps.value(), kernel.map(Size::value));
                if let Some(stride) = stride {
                    conv = conv.stride(stride.value());
                }
                if let Some(padding) = padding {
                    conv = conv.padding(padding.value());
                }
                builder.layer(name, conv)
            }
            Part::Avg { kernel, stride: by } => {
                let pool = AvgPool2d::new(kernel.value());
                builder.layer(
                    name,
                    match stride(by) {
                        Some(stride) => pool.stride(stride),
                        None => pool,
                    },
                )
            }
            Part::Max { kernel, stride: by } => {
                let pool = MaxPool2d::new(kernel.value());
                builder.layer(
                    name,
                    match stride(by) {
                        Some(stride) => pool.stride(stride),
                        None => pool,
                    },
                )
            }
            Part::Subsample(kernel) => builder.layer(name, Subsample2d::new(kernel.value())),
            Part::Dense(outputs) => builder.layer(name, Dense::new(outputs.value())),
            Part::Tanh => builder.layer(name, Tanh::new()),
            Part::ScaledTanh => builder.layer(name, ScaledTanh::new()),
            Part::Sigmoid => builder.layer(name, Sigmoid::new()),
            Part::Relu => builder.layer(name, Relu::new()),
            Part::L2Normalize => builder.layer(name, L2Normalize::new()),
        }
    }

    /// Kernel, stride and padding of a layer of windows.
    fn windows(self) -> Option<([usize; 2], usize, usize)> {
        Some(match self {
            Part::Conv { kernel, stride, padding, .. } => (
                kernel.map(Size::value),
                stride.map_or(1, Size::value),
                padding.map_or(0, Size::value),
            ),
            Part::Avg { kernel, stride } | Part::Max { kernel, stride } => {
                ([kernel.value(); 2], stride.unwrap_or(kernel).value(), 0)
            }
            Part::Subsample(kernel) => ([kernel.value(); 2], kernel.value(), 0),
            _ => return None,
        })
    }

    /// None where the layer must be refused.
    fn sizes(self, input: Shape) -> Option<Sizes> {
        let Shape { channels, height, width } = input;
        let len = product([channels, height, width]);
        let in_windows = || {
            let (kernel, stride, padding) = self.windows()?;
            let mut output = [0; 2];
            let mut framed = [0; 2];
            for ((side, kernel), (output, framed)) in
                [height, width].into_iter().zip(kernel).zip(output.iter_mut().zip(&mut framed))
            {
                *framed = padding.checked_mul(2)?.checked_add(side)?;
                let room = framed.checked_sub(kernel).filter(|_| kernel > 0)?;
                *output = room.checked_div(stride)? + 1;
            }
            Some((kernel, framed, output))
        };
        let sizes = match self {
            Part::Conv { maps, .. } => {
                let (kernel, framed, [rows, cols]) = in_windows()?;
                let maps = maps.value();
                let weights = product([maps, channels, kernel[0], kernel[1]]);
                let framed = product([channels, framed[0], framed[1]]);
                let output = product([maps, rows, cols]);
                if maps == 0 || [weights, framed, output].iter().any(|&len| len > MOST) {
                    return None;
                }
                let work = (weights * (rows * cols) as u128).max(framed);
                let output = Shape::image(maps, rows, cols);
                Sizes { output, weights: weights + maps as u128, work }
            }
            Part::Avg { .. } | Part::Max { .. } | Part::Subsample(_) => {
                let (kernel, _, [rows, cols]) = in_windows()?;
                if len > MOST {
                    return None;
                }
                let weights = if let Part::Subsample(_) = self { 2 * channels as u128 } else { 0 };
                let work = product([channels, rows, cols, kernel[0], kernel[1]]);
                Sizes { output: Shape::image(channels, rows, cols), weights, work }
            }
            Part::Dense(outputs) => {
                let outputs = outputs.value();
                let weights = len.saturating_mul(outputs as u128);
                if outputs == 0 || weights > MOST {
                    return None;
                }
                let output = Shape::flat(outputs);
                Sizes { output, weights: weights + outputs as u128, work: weights }
            }
            Part::L2Normalize if len > MOST => return None,
            _ => Sizes { output: input, weights: 0, work: len },
        };
        Some(sizes)
    }

    fn stage(self, input: Shape, output: Shape) -> Stage {
        let of_windows = |spec: fn([usize; 2], usize, usize, Shape) -> Spec| {
            let (kernel, stride, padding) = self.windows().expect("a layer of windows");
            Stage::windows(spec(kernel, stride, padding, output), input)
        };
        match self {
            Part::Conv { .. } => of_windows(|kernel, stride, padding, output| Spec::Conv {
                maps: output.channels,
                kernel,
                stride,
                padding,
            }),
            Part::Avg { .. } => {
                of_windows(|[kernel, _], stride, _, _| Spec::Avg { kernel, stride })
            }
            Part::Max { .. } => {
                of_windows(|[kernel, _], stride, _, _| Spec::Max { kernel, stride })
            }
            Part::Subsample(_) => of_windows(|[kernel, _], _, _, _| Spec::Subsample(kernel)),
            Part::Dense(_) => Stage::Dense { inputs: input.len(), outputs: output.len() },
            Part::Tanh => Stage::Activation(Activation::Tanh),
            Part::ScaledTanh => Stage::Activation(Activation::ScaledTanh),
            Part::Sigmoid => Stage::Activation(Activation::Sigmoid),
            Part::Relu => Stage::Activation(Activation::Relu),
            Part::L2Normalize => Stage::L2Normalize,
        }
    }
}
