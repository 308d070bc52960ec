//! Workspaces: how much they hold, and what they can be used for.

use drlim::nn::{Network, Shape, Workspace};
use drlim::{Cx, Isa, Mat};

use super::stack::{ACTIVATIONS, Spec, network};
use super::{batch, lanes, mixed_network, pass, serial};
use crate::support::{Element, Random, tiers};

#[test]
fn inference_gives_the_same_outputs_as_training() {
    let net = mixed_network();
    let cx = Cx::default();
    let [expected, ..] = pass(&net, &cx, 6, 6);
    let mut random = Random::new(3);
    // Every second row of a wider matrix: the input may have gaps.
    let inputs = net.input().len();
    let x: Vec<f64> = (0..6 * inputs).map(|_| random.between(-1.0, 1.0)).collect();
    let mut spaced = vec![f64::NAN; 6 * (inputs + 3)];
    for (row, to) in x.chunks(inputs).zip(spaced.chunks_mut(inputs + 3)) {
        to[..inputs].copy_from_slice(row);
    }
    let mut workspace = Workspace::inference(&net, 6).unwrap();
    let view = Mat::strided(&spaced, 6, inputs, inputs + 3).unwrap();
    let z = net.forward(&cx, view, &mut workspace).unwrap();
    assert_eq!(z.as_slice().unwrap(), expected);
    assert!(workspace.bytes() < Workspace::training(&net, 6).unwrap().bytes());
}

/// A layer with the activation that follows, as the documentation of [`Workspace`] counts it.
#[derive(Clone, Copy)]
struct Counted {
    spec: Spec,
    input: Shape,
    output: Shape,
    params: usize,
}

impl Counted {
    fn all(input: Shape, specs: &[Spec]) -> Vec<Self> {
        let mut layers: Vec<Counted> = Vec::new();
        for (i, &spec) in specs.iter().enumerate() {
            if ACTIVATIONS.contains(&spec) && i > 0 && !ACTIVATIONS.contains(&specs[i - 1]) {
                continue;
            }
            let input = layers.last().map_or(input, |layer| layer.output);
            let alone = network::<f32>(input, &[spec]);
            layers.push(Counted {
                spec,
                input,
                output: alone.output(),
                params: alone.params().len(),
            });
        }
        layers
    }

    /// A convolution that covers the image, or a dense layer.
    fn is_dense(&self) -> bool {
        match self.spec {
            Spec::Conv { kernel, padding, .. } => {
                padding == 0 && kernel == [self.input.height, self.input.width]
            }
            spec => matches!(spec, Spec::Dense(_)),
        }
    }

    fn is_of_images(&self) -> bool {
        !self.is_dense() && !ACTIVATIONS.contains(&self.spec)
    }

    /// Scratch within a part of images, for a group of so many.
    fn scratch(&self, group: usize, training: bool) -> usize {
        match self.spec {
            Spec::Conv { kernel, stride, padding, .. } => {
                let columns_apart = if self.output.width == 1 { 1 } else { stride };
                let width = (self.input.width + 2 * padding).next_multiple_of(columns_apart);
                let frame = self.input.channels * (self.input.height + 2 * padding) * width;
                let frame = if padding > 0 || columns_apart > 1 { group * frame } else { 0 };
                let taps = self.input.channels * kernel[0] * kernel[1];
                let row = taps * (group * self.output.width).min(20);
                let patches = (row * self.output.height).min(row.max(1 << 16));
                match training {
                    true => 2 * frame + patches.max(group * self.output.len()),
                    false => frame + patches,
                }
            }
            Spec::Avg { .. } | Spec::Subsample(_) => self.input.width.next_multiple_of(16),
            _ => 0,
        }
    }
}

/// Layers of images that follow each other, or one other layer.
fn parts(layers: &[Counted]) -> Vec<Vec<Counted>> {
    let runs = layers.chunk_by(|a, b| a.is_of_images() && b.is_of_images());
    runs.map(<[Counted]>::to_vec).collect()
}

/// The largest of those at even places, and of those at odd ones.
fn two_largest(lens: &[usize]) -> [usize; 2] {
    [0, 1].map(|from| lens.iter().skip(from).step_by(2).copied().max().unwrap_or(0))
}

/// Bytes of a workspace for `n` samples, by the table of its documentation.
fn documented<T: Element>(input: Shape, specs: &[Spec], n: usize, training: bool) -> usize {
    let layers = Counted::all(input, specs);
    let parts = parts(&layers);
    let whole_lines = |elements: usize| elements.next_multiple_of(64 / size_of::<T>());
    let lens = |layers: &[Counted]| -> Vec<usize> {
        let outputs = layers.iter().map(|layer| layer.output.len());
        [layers[0].input.len()].into_iter().chain(outputs).collect()
    };
    let mut between = vec![if layers[0].is_of_images() { 0 } else { input.len() }];
    between.extend(parts.iter().map(|part| part[part.len() - 1].output.len()));
    let scratch = |part: &[Counted]| {
        if part[0].is_dense() {
            let layer = part[0];
            return layer.input.len() * layer.output.channels;
        }
        if !part[0].is_of_images() {
            return 0;
        }
        let params: usize = part.iter().map(|layer| layer.params).sum();
        let of_tier = |isa: Isa| {
            let lanes = lanes::<T>(isa);
            let most = if params > 1 << 20 { 8 } else { 32 };
            let blocks = n.min(n.div_ceil(lanes).max(4)).min(most);
            let group = n.div_ceil(4).next_power_of_two().min(lanes);
            let needs = |i: usize| part[i].scratch(group, training);
            let two = (0..part.len())
                .map(|i| needs(i) + if training && i > 0 { needs(i - 1) } else { 0 });
            // Of a convolution and a pooling after it, the gradient in between is not held.
            let disjoint = |spec: Spec| match spec {
                Spec::Avg { kernel, stride } | Spec::Max { kernel, stride } => kernel <= stride,
                spec => matches!(spec, Spec::Subsample(_)),
            };
            let joined = |i: usize| {
                matches!(part[i].spec, Spec::Conv { .. })
                    && part.get(i + 1).is_some_and(|next| disjoint(next.spec))
            };
            let outputs = (0..part.len()).filter(|&i| !joined(i)).map(|i| part[i].output.len());
            let gradient = outputs.chain([part[0].input.len()]).max().unwrap();
            let places = match training {
                true => 2 * gradient,
                false => two_largest(&lens(part)).iter().sum(),
            };
            let for_layers = two.max().unwrap();
            let gradients = if training { whole_lines(params) } else { 0 };
            blocks * (whole_lines(group * places + for_layers) + gradients)
        };
        tiers().into_iter().map(of_tier).max().unwrap()
    };
    let scratch = parts.iter().map(|part| scratch(part)).max().unwrap_or(0);
    let rows = match training {
        true => {
            let kept = parts.iter().filter(|part| part[0].is_of_images());
            let kept: usize = kept.map(|part| lens(part).iter().sum::<usize>()).sum();
            let gradient = between.iter().copied().max().unwrap().max(input.len());
            between.iter().sum::<usize>() + kept + 2 * gradient
        }
        false => two_largest(&between).iter().sum(),
    };
    size_of::<T>() * (n * rows + scratch)
}

const TANH: Spec = Spec::Tanh;

const fn conv(maps: usize, side: usize) -> Spec {
    Spec::Conv { maps, kernel: [side; 2], stride: 1, padding: 0 }
}

/// The paper's network.
const PAPER: [Spec; 7] =
    [conv(15, 6), TANH, Spec::Subsample(3), TANH, conv(30, 9), TANH, Spec::Dense(2)];

fn networks() -> Vec<(Shape, Vec<Spec>)> {
    let image = Shape::image;
    let max = Spec::Max { kernel: 2, stride: 2 };
    let padded = Spec::Conv { maps: 8, kernel: [3, 3], stride: 2, padding: 1 };
    let lenet = [
        &[conv(6, 5), Spec::ScaledTanh, Spec::Subsample(2), Spec::ScaledTanh][..],
        &[conv(16, 5), Spec::ScaledTanh, Spec::Subsample(2), Spec::ScaledTanh],
        &[conv(120, 5), Spec::ScaledTanh, Spec::Dense(84), Spec::ScaledTanh, Spec::Dense(10)],
    ];
    vec![
        (image(1, 32, 32), PAPER.to_vec()),
        (image(1, 32, 32), lenet.concat()),
        (
            Shape::flat(100),
            vec![Spec::Dense(60), TANH, Spec::Dense(70), Spec::Relu, Spec::Dense(3)],
        ),
        (image(3, 17, 18), vec![padded, Spec::Relu, Spec::Avg { kernel: 3, stride: 2 }, padded]),
        (image(3, 17, 18), vec![TANH, padded, max, Spec::Dense(5), TANH, TANH]),
        // More than 2^20 parameters.
        (image(1025, 2, 1), vec![conv(1024, 1), Spec::Max { kernel: 1, stride: 1 }]),
    ]
}

#[test]
fn a_workspace_holds_as_many_bytes_as_its_documentation_says() {
    fn holds<T: Element>() {
        for (input, specs) in networks() {
            let net = network::<T>(input, &specs);
            for n in [0, 1, 4, 5, 15, 16, 17, 129] {
                // Of the large one, one small batch is enough.
                if net.params().len() > 1 << 20 && n != 17 {
                    continue;
                }
                let which = format!("{n} of {input} through {specs:?} in {}", T::NAME);
                let training = Workspace::training(&net, n).unwrap().bytes();
                assert_eq!(training, documented::<T>(input, &specs, n, true), "training, {which}");
                let inference = Workspace::inference(&net, n).unwrap().bytes();
                assert_eq!(inference, documented::<T>(input, &specs, n, false), "{which}");
                // Of a few samples it holds about as much: room for whole groups.
                assert!(inference < training || n < 16, "{which}: {inference}, {training}");
            }
        }
    }
    holds::<f32>();
    holds::<f64>();
}

#[test]
fn inference_with_the_paper_s_network_grows_by_two_outputs_a_sample() {
    let net: Network<f32> = network(Shape::image(1, 32, 32), &PAPER);
    let bytes = |n| Workspace::inference(&net, n).unwrap().bytes();
    // From the batch on that has all blocks, by what comes out of s2 and of c3.
    assert_eq!(bytes(1100) - bytes(1000), 100 * 4 * (15 * 9 * 9 + 30));
}

#[test]
fn inference_gives_the_bits_of_training_for_every_smaller_batch() {
    fn same<T: Element>() {
        let net = network::<T>(
            Shape::image(1, 14, 12),
            &[conv(4, 3), TANH, Spec::Subsample(2), conv(3, 3), Spec::Dense(2)],
        );
        let inputs = net.input().len();
        for isa in tiers() {
            let most = 2 * lanes::<T>(isa) + 3;
            let mut workspace = Workspace::inference(&net, most).unwrap();
            for n in (0..=most).rev() {
                let [x, _] = batch::<T>(&net, n);
                let [expected, ..] = pass(&net, &serial(isa), n, n);
                let x = Mat::new(&x, n, inputs).unwrap();
                let z = net.forward(&serial(isa), x, &mut workspace).unwrap();
                assert!(z.as_slice().unwrap() == expected, "{n} of {most} samples on {isa}");
            }
        }
    }
    same::<f32>();
    same::<f64>();
}
