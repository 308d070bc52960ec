//! Layers and networks: gradients against finite differences over odd shapes, agreement of tiers,
//! independence of threads, and every refusal.

mod common;

use common::{Element, Random, tiers};
use drlim::init::Init;
use drlim::nn::{
    AvgPool2d, Backward, Conv2d, Dense, Forward, L2Normalize, Layer, Network, ParamSpec, Relu,
    Shape, Start, Subsample2d, Tanh, Workspace,
};
use drlim::{Cx, Error, Isa, Mat, MatMut, Par, Tier, gradcheck};
use proptest::prelude::*;

fn assert_gradient(layer: impl Layer<f64> + 'static, input: Shape, samples: usize, seed: u64) {
    let kind = layer.kind();
    let worst = gradcheck::check_layer(layer, input, samples, seed).unwrap();
    assert!(worst.error < 1e-7, "{kind} on {samples} of {input}: {worst}");
}

#[test]
fn gradients_of_convolutions_hold_at_odd_sizes() {
    let image = Shape::image;
    for (layer, input, samples) in [
        (Conv2d::new(1, 1), image(1, 1, 1), 1),
        (Conv2d::new(3, 3), image(1, 9, 8), 2),
        // One output pixel: the convolution that is a dense layer.
        (Conv2d::new(5, 4), image(3, 4, 4), 7),
        (Conv2d::rectangular(2, [3, 5]), image(2, 3, 5), 1),
        // Rows that fill a vector, and rows that do not.
        (Conv2d::new(2, 2), image(1, 4, 18), 1),
        (Conv2d::rectangular(9, [1, 2]), image(1, 3, 25), 1),
        // Strides and paddings that do not divide.
        (Conv2d::new(4, 5).stride(3).padding(2), image(3, 11, 10), 2),
        (Conv2d::new(5, 3).stride(2).padding(1), image(2, 7, 7), 3),
        (Conv2d::rectangular(2, [2, 3]).stride(2), image(1, 5, 8), 2),
        (Conv2d::new(2, 3).padding(3), image(1, 2, 2), 2),
        (Conv2d::new(17, 3), image(3, 5, 4), 1),
    ] {
        assert_gradient(layer, input, samples, 5);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn gradients_of_any_convolution_hold(
        maps in 1_usize..5,
        kernel in (1_usize..4, 1_usize..4),
        stride in 1_usize..4,
        padding in 0_usize..3,
        input in (1_usize..4, 3_usize..9, 3_usize..9),
        samples in 1_usize..4,
        seed: u64,
    ) {
        let layer = Conv2d::rectangular(maps, kernel.into()).stride(stride).padding(padding);
        assert_gradient(layer, Shape::image(input.0, input.1, input.2), samples, seed);
    }

    #[test]
    fn gradients_of_any_dense_layer_hold(
        inputs in 1_usize..40,
        outputs in 1_usize..40,
        samples in 1_usize..40,
        seed: u64,
    ) {
        assert_gradient(Dense::new(outputs), Shape::flat(inputs), samples, seed);
    }

    #[test]
    fn gradients_of_any_pooling_hold(
        kernel in 1_usize..4,
        stride in 1_usize..5,
        input in (1_usize..4, 3_usize..9, 3_usize..9),
        samples in 1_usize..4,
        seed: u64,
    ) {
        let input = Shape::image(input.0, input.1, input.2);
        assert_gradient(AvgPool2d::new(kernel).stride(stride), input, samples, seed);
        assert_gradient(Subsample2d::new(kernel), input, samples, seed);
    }
}

#[test]
fn gradients_of_activations_hold() {
    for len in [1, 7, 16, 33] {
        assert_gradient(Tanh::new(), Shape::flat(len), 2, 1);
        assert_gradient(Relu::new(), Shape::flat(len), 2, 1);
    }
}

#[test]
fn the_rectifier_has_subgradient_0_at_0_and_keeps_a_nan() {
    for isa in tiers() {
        let cx = Cx { isa, par: Par::Serial };
        let net = Network::builder(Shape::flat(4)).layer("relu", Relu::new()).build(1).unwrap();
        let mut workspace = Workspace::training(&net, 1).unwrap();
        let x = [0.0_f32, -2.0, 3.0, f32::NAN];
        let y = net.forward(&cx, Mat::new(&x, 1, 4).unwrap(), &mut workspace).unwrap().row(0);
        assert!(y[..3] == [0.0, 0.0, 3.0] && y[3].is_nan(), "{y:?} on {isa}");
        let mut dx = [9.0; 4];
        let (dz, out) = (Mat::new(&[5.0; 4], 1, 4).unwrap(), MatMut::new(&mut dx, 1, 4).unwrap());
        net.backward(&cx, dz, &mut workspace, &mut [], Some(out)).unwrap();
        assert_eq!(dx, [0.0, 0.0, 5.0, 5.0], "{isa}");
    }
}

/// Output and input gradient of `L2Normalize` on samples of `len` elements.
fn normalize<T: Element>(cx: &Cx, len: usize, x: &[T], dy: &[T]) -> [Vec<T>; 2] {
    let samples = x.len() / len;
    let net =
        Network::builder(Shape::flat(len)).layer("unit", L2Normalize::new()).build(1).unwrap();
    let mut workspace = Workspace::training(&net, samples).unwrap();
    let mat = |of| Mat::new(of, samples, len).unwrap();
    let y = net.forward(cx, mat(x), &mut workspace).unwrap().as_slice().unwrap().to_vec();
    let mut dx = vec![T::NAN; x.len()];
    let out = MatMut::new(&mut dx, samples, len).unwrap();
    net.backward(cx, mat(dy), &mut workspace, &mut [], Some(out)).unwrap();
    [y, dx]
}

fn draw<T: Element>(random: &mut Random, len: usize, size: f64) -> Vec<T> {
    (0..len).map(|_| random.between(-size, size)).collect()
}

#[test]
fn gradients_of_the_normalisation_hold() {
    for len in [1, 2, 3, 8, 31, 70] {
        for samples in [1, 5] {
            // Of one element the gradient is 0: nothing to be relative to.
            if len > 1 {
                assert_gradient(L2Normalize::new(), Shape::flat(len), samples, 1);
            }
            // An image is normalised over all its channels, rows and columns.
            assert_gradient(L2Normalize::new(), Shape::image(2, 3, len), samples, 2);
        }
    }
}

fn normalisation_in<T: Element>() {
    let mut random = Random::new(8);
    // Up to past four vectors of sums, and a tail.
    for len in (1..=83).chain([127, 128, 129, 257]) {
        let x: Vec<T> = (0..3).flat_map(|i| draw(&mut random, len, [1e-4, 1.0, 1e6][i])).collect();
        let dy: Vec<T> = draw(&mut random, 3 * len, 1.0);
        let relative = (len as f64 + 8.0) * T::EPSILON.to_f64();
        for isa in tiers() {
            let [y, dx] = normalize(&Cx { isa, par: Par::Serial }, len, &x, &dy);
            for i in 0..3 {
                let row = |of: &[T]| common::element::wide(&of[i * len..][..len]);
                let [x, dy, y, dx] = [&x, &dy, &y, &dx].map(|of| row(of));
                let length = x.iter().map(|x| x * x).sum::<f64>().sqrt();
                let along: f64 = x.iter().zip(&dy).map(|(x, dy)| x / length * dy).sum();
                let terms: f64 = x.iter().zip(&dy).map(|(x, dy)| (x / length * dy).abs()).sum();
                for k in 0..len {
                    let unit = x[k] / length;
                    let close = |name: &str, got: f64, expected: f64, allowed: f64| {
                        let error = (got - expected).abs();
                        assert!(
                            error <= allowed,
                            "{name}[{k}] of {len} on {isa} in {}: {got}, expected {expected}",
                            T::NAME
                        );
                    };
                    close("y", y[k], unit, relative * unit.abs());
                    let allowed = 2.0 * relative * (dy[k].abs() + unit.abs() * terms) / length;
                    close("dx", dx[k], (dy[k] - unit * along) / length, allowed);
                }
            }
        }
    }
}

#[test]
fn normalised_samples_and_their_gradients_are_those_of_the_formula() {
    normalisation_in::<f32>();
    normalisation_in::<f64>();
}

fn zero_and_nan_in<T: Element>() {
    // Numbers whose squares are 0, subnormal, the smallest normal number.
    let root = T::MIN_POSITIVE.sqrt();
    let numbers = [T::ZERO, T::tiny(), root / T::from_f64(2.0), root];
    for len in [1, 2, 7, 16, 33, 70] {
        let mut random = Random::new(len as u64);
        let (x, dy) = (draw::<T>(&mut random, 5 * len, 1.0), draw::<T>(&mut random, 5 * len, 1.0));
        for isa in tiers() {
            let cx = Cx { isa, par: Par::Serial };
            let clean = normalize(&cx, len, &x, &dy);
            // The middle one of five samples; the others do not notice.
            let middle = 2 * len..3 * len;
            let others_are_clean = |got: &[Vec<T>; 2]| {
                got.iter().zip(&clean).all(|(got, clean)| {
                    got[..middle.start] == clean[..middle.start]
                        && got[middle.end..] == clean[middle.end..]
                })
            };
            for number in numbers {
                let mut x = x.clone();
                x[middle.clone()].fill(T::ZERO);
                x[middle.end - 1] = number;
                let got = normalize(&cx, len, &x, &dy);
                let which = format!("{number:e} in {len} on {isa}");
                assert!(others_are_clean(&got), "{which}");
                let zero =
                    got.each_ref().map(|of| of[middle.clone()].iter().all(|&x| x == T::ZERO));
                if number * number < T::MIN_POSITIVE {
                    assert_eq!(zero, [true; 2], "{which}: {got:?}");
                } else {
                    let unit = got[0][middle.end - 1].to_f64();
                    assert!((unit - 1.0).abs() <= 2.0 * T::EPSILON.to_f64(), "{which}: {unit}");
                }
            }
            for at in [middle.start, middle.end - 1] {
                let all_nan = |of: &[T]| of[middle.clone()].iter().all(|x| x.is_nan());
                let which = format!("NaN at {at} of {len} on {isa}");
                let mut poisoned = x.clone();
                poisoned[at] = T::NAN;
                let got = normalize(&cx, len, &poisoned, &dy);
                assert!(all_nan(&got[0]) && all_nan(&got[1]), "{which}: {got:?}");
                assert!(others_are_clean(&got), "{which}");

                let mut poisoned = dy.clone();
                poisoned[at] = T::NAN;
                let got = normalize(&cx, len, &x, &poisoned);
                assert!(got[0] == clean[0] && all_nan(&got[1]), "{which}: {got:?}");
                assert!(others_are_clean(&got), "{which}");
            }
        }
    }
}

#[test]
fn a_sample_without_a_direction_is_normalised_to_zero_and_nan_stays_in_its_sample() {
    zero_and_nan_in::<f32>();
    zero_and_nan_in::<f64>();
}

#[test]
fn normalisation_does_not_depend_on_threads_or_on_other_samples() {
    // Several blocks, the last one not full; and a sample that is more than one.
    for (len, samples) in [(1, 40_000), (33, 2003), (20_001, 3)] {
        let mut random = Random::new(4);
        let (x, dy) = (
            draw::<f32>(&mut random, samples * len, 1.0),
            draw::<f32>(&mut random, samples * len, 1.0),
        );
        for isa in tiers() {
            let cx = Cx { isa, par: Par::Serial };
            let few = 7 * len;
            let parts = x.chunks(few).zip(dy.chunks(few)).map(|(x, dy)| normalize(&cx, len, x, dy));
            let (y, dx): (Vec<_>, Vec<_>) = parts.map(|[y, dx]| (y, dx)).unzip();
            let expected = [y.concat(), dx.concat()];
            for threads in [1, 2, 3, 7] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let cx = Cx { isa, par: Par::Rayon };
                let got = pool.install(|| normalize(&cx, len, &x, &dy));
                assert!(got == expected, "{samples} of {len}, {threads} threads on {isa}");
            }
        }
    }
}

/// Layers of every kind, with sizes that leave tails in rows, maps, samples and outputs.
fn mixed_network() -> Network<f64> {
    Network::builder(Shape::image(2, 21, 23))
        .layer("c1", Conv2d::new(5, 4).padding(1))
        .layer("tanh1", Tanh::new())
        .layer("p1", AvgPool2d::new(3).stride(2))
        .layer("c2", Conv2d::new(7, 3).stride(2))
        .layer("relu", Relu::new())
        .layer("s2", Subsample2d::new(2))
        .layer("c3", Conv2d::new(18, 2))
        .layer("f4", Dense::new(3))
        .build(4)
        .unwrap()
}

/// Output, parameter gradient and input gradient of a batch.
fn pass(net: &Network<f64>, cx: &Cx, samples: usize, max_samples: usize) -> [Vec<f64>; 3] {
    let (inputs, outputs) = (net.input().len(), net.output().len());
    let mut random = Random::new(3);
    let x: Vec<f64> = (0..samples * inputs).map(|_| random.between(-1.0, 1.0)).collect();
    let dz: Vec<f64> = (0..samples * outputs).map(|_| random.between(-1.0, 1.0)).collect();
    let mut workspace = Workspace::training(net, max_samples).unwrap();
    let mut gradient = vec![f64::NAN; net.params().len()];
    let mut dx = vec![f64::NAN; x.len()];
    let z = net.forward(cx, Mat::new(&x, samples, inputs).unwrap(), &mut workspace).unwrap();
    let z = z.as_slice().unwrap().to_vec();
    let dz = Mat::new(&dz, samples, outputs).unwrap();
    let out = MatMut::new(&mut dx, samples, inputs).unwrap();
    net.backward(cx, dz, &mut workspace, &mut gradient, Some(out)).unwrap();
    [z, gradient, dx]
}

#[test]
fn tiers_agree_on_a_whole_network() {
    let net = mixed_network();
    for samples in [1, 5, 33, 129] {
        let portable = Cx { isa: Isa::new(Tier::Portable).unwrap(), par: Par::Serial };
        let expected = pass(&net, &portable, samples, samples);
        for isa in tiers() {
            let got = pass(&net, &Cx { isa, par: Par::Rayon }, samples, samples);
            for (got, expected) in got.iter().zip(&expected) {
                let largest = expected.iter().fold(0.0_f64, |max, x| max.max(x.abs()));
                for (got, expected) in got.iter().zip(expected) {
                    assert!(
                        (got - expected).abs() <= 1e-12 * largest,
                        "{samples} samples on {isa}"
                    );
                }
            }
        }
    }
}

#[test]
fn large_dense_layers_agree_with_the_portable_tier_on_any_number_of_threads() {
    let net =
        Network::<f64>::builder(Shape::flat(701)).layer("f", Dense::new(603)).build(1).unwrap();
    for samples in [0, 3, 131, 260] {
        let portable = Cx { isa: Isa::new(Tier::Portable).unwrap(), par: Par::Serial };
        let expected = pass(&net, &portable, samples, samples);
        for isa in tiers() {
            let got = pass(&net, &Cx { isa, par: Par::Rayon }, samples, samples);
            assert_eq!(got, pass(&net, &Cx { isa, par: Par::Serial }, samples, samples));
            for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
                let error = (got - expected).abs();
                assert!(error <= 1e-12 * 700.0, "{samples} samples on {isa}: {got}, {expected}");
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_threads_or_on_the_size_of_the_workspace() {
    let net = mixed_network();
    for isa in tiers() {
        for samples in [0, 1, 31, 32, 33, 70] {
            let expected = pass(&net, &Cx { isa, par: Par::Serial }, samples, samples);
            for threads in [1, 2, 3, 7] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let cx = Cx { isa, par: Par::Rayon };
                let got = pool.install(|| pass(&net, &cx, samples, samples + threads));
                assert_eq!(got, expected, "{samples} samples, {threads} threads on {isa}");
            }
        }
    }
}

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

#[test]
fn the_summary_names_every_layer_with_its_shape_and_parameters() {
    let net = mixed_network();
    let text = net.to_string();
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 2 + 8 + 1);
    assert_eq!(lines[2], ["c1", "Conv2d", "5", "maps", "4x4", "padding", "1", "5x20x22", "165"]);
    assert_eq!(lines[10], ["total", &net.params().len().to_string()]);
}

#[test]
fn parameters_have_names_shapes_and_values_in_order() {
    let net = mixed_network();
    let parameters: Vec<_> = net.parameters().collect();
    let names: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
    let expected = "c1.weight c1.bias c2.weight c2.bias s2.coefficient s2.bias c3.weight c3.bias \
                    f4.weight f4.bias";
    assert_eq!(names.join(" "), expected);
    assert_eq!(parameters[2].shape, [7, 5, 3, 3]);
    let values: Vec<f64> = parameters.iter().flat_map(|p| p.values.to_vec()).collect();
    assert_eq!(values, net.params());
}

#[test]
fn initial_weights_fill_the_bounds_of_their_scheme_and_repeat_with_the_seed() {
    let build = |init, seed| {
        Network::<f64>::builder(Shape::flat(300))
            .layer("f", Dense::new(100))
            .init(init)
            .build(seed)
            .unwrap()
    };
    for (init, variance) in
        [(Init::LeCun, 1.0 / 300.0), (Init::Glorot, 2.0 / 400.0), (Init::He, 2.0 / 300.0)]
    {
        let net = build(init, 1);
        let weights = net.parameters().next().unwrap().values.to_vec();
        let measured = weights.iter().map(|w| w * w).sum::<f64>() / weights.len() as f64;
        assert!((measured / variance - 1.0).abs() < 0.02, "{init:?}: {measured} for {variance}");
        assert!((init.bound(300, 100).powi(2) / 3.0 - variance).abs() < 1e-15);
        assert_eq!(net.params(), build(init, 1).params());
        assert_ne!(net.params(), build(init, 2).params());
        assert!(net.parameters().nth(1).unwrap().values.iter().all(|&bias| bias == 0.0));
    }
}

/// A layer of a user's own: y = s x with one trainable s, and room for everything that the trait
/// offers.
struct Scale {
    len: usize,
}

impl Layer<f64> for Scale {
    fn kind(&self) -> String {
        "Scale".to_owned()
    }
    fn connect(&mut self, input: Shape) -> Result<Shape, String> {
        self.len = input.len();
        Ok(input)
    }
    fn params(&self) -> Vec<ParamSpec> {
        vec![ParamSpec { name: "factor", shape: vec![1], start: Start::Constant(2.0) }]
    }
    fn scratch(&self, samples: usize) -> usize {
        samples
    }
    fn forward(&self, _: &Cx, pass: Forward<f64>) {
        for (y, x) in pass.y.iter_mut().zip(pass.x) {
            *y = pass.params[0] * x;
        }
    }
    fn backward(&self, _: &Cx, pass: Backward<f64>) {
        let samples = pass.x.len() / self.len;
        for (i, sum) in pass.scratch[..samples].iter_mut().enumerate() {
            let row = i * self.len..(i + 1) * self.len;
            *sum = pass.x[row.clone()].iter().zip(&pass.dy[row]).map(|(x, dy)| x * dy).sum();
        }
        pass.d_params[0] = pass.scratch[..samples].iter().sum();
        let Some(dx) = pass.dx else { return };
        for (dx, dy) in dx.iter_mut().zip(&*pass.dy) {
            *dx = pass.params[0] * dy;
        }
    }
}

#[test]
fn a_users_own_layer_trains_among_the_others() {
    assert_gradient(Scale { len: 0 }, Shape::flat(4), 3, 1);
    let mut net = Network::builder(Shape::flat(3))
        .layer("before", Dense::new(4))
        .layer("scale", Scale { len: 0 })
        .layer("after", Dense::new(2))
        .build(1)
        .unwrap();
    assert!(gradcheck::check_network(&mut net, 5, 1).unwrap().error < 1e-8);
}

#[test]
fn what_does_not_fit_is_refused_by_the_layer_s_name() {
    let message = |result: drlim::Result<Network<f32>>| match result {
        Err(error) => error.to_string(),
        Ok(_) => panic!("accepted"),
    };
    let image = || Network::<f32>::builder(Shape::image(1, 8, 8));
    for (built, expected) in [
        (image().layer("c", Conv2d::new(2, 9)).build(1), "layer c: a kernel of 9 does not fit 8"),
        (image().layer("c", Conv2d::new(0, 3)).build(1), "layer c: a convolution needs"),
        (image().layer("c", Conv2d::new(1, 0)).build(1), "layer c: kernel 0 and stride 1"),
        (image().layer("c", Conv2d::new(1, 2).stride(0)).build(1), "kernel 2 and stride 0"),
        (image().layer("c", Conv2d::new(1, 2).padding(usize::MAX)).build(1), "overflow"),
        (image().layer("c", Conv2d::new(1, 2).padding(1 << 40)).build(1), "overflow"),
        (image().layer("c", Conv2d::new(usize::MAX / 8, 2)).build(1), "overflow"),
        (image().layer("p", AvgPool2d::new(9)).build(1), "layer p: a kernel of 9"),
        (image().layer("p", Subsample2d::new(0)).build(1), "layer p: kernel 0"),
        (image().layer("f", Dense::new(0)).build(1), "layer f: a dense layer needs"),
        (image().layer("f", Dense::new(usize::MAX / 2)).build(1), "overflow"),
        (image().layer("f", Dense::new(1 << 48)).build(1), "overflow"),
        (image().layer("c", Conv2d::new(1 << 46, 1)).build(1), "overflow"),
        (
            Network::builder(Shape::flat(usize::MAX)).layer("p", AvgPool2d::new(1)).build(1),
            "overflow",
        ),
        (
            Network::builder(Shape::flat(1 << 40)).layer("n", L2Normalize::new()).build(1),
            "layer n: its size overflows",
        ),
        (image().layer("a", Tanh::new()).layer("a", Tanh::new()).build(1), "empty or taken"),
        (image().layer("", Tanh::new()).build(1), "empty or taken"),
        (Network::builder(Shape::flat(0)).build(1), "layer input"),
        (Network::builder(Shape::image(usize::MAX, 2, 2)).build(1), "layer input"),
    ] {
        let message = message(built);
        assert!(message.contains(expected), "{message:?} lacks {expected:?}");
    }
}

fn narrow_enough(x: &[f64], inputs: usize) -> Mat<'_, f64> {
    Mat::new(&x[..inputs], 1, inputs).unwrap()
}

/// Panics when its first input is negative.
struct Touchy;

impl Layer<f64> for Touchy {
    fn kind(&self) -> String {
        "Touchy".to_owned()
    }
    fn connect(&mut self, input: Shape) -> Result<Shape, String> {
        Ok(input)
    }
    fn forward(&self, _: &Cx, pass: Forward<f64>) {
        assert!(pass.x[0] >= 0.0, "a negative input");
        pass.y.copy_from_slice(pass.x);
    }
    fn backward(&self, _: &Cx, _: Backward<f64>) {}
}

#[test]
fn a_layer_that_panics_leaves_the_workspace_in_order() {
    let net = Network::builder(Shape::flat(2))
        .layer("before", Tanh::new())
        .layer("touchy", Touchy)
        .layer("after", Tanh::new())
        .build(1)
        .unwrap();
    let cx = Cx { par: Par::Serial, ..Cx::default() };
    for mut workspace in
        [Workspace::training(&net, 1).unwrap(), Workspace::inference(&net, 1).unwrap()]
    {
        let mut pass = |x: [f64; 2]| {
            let x = Mat::new(&x, 1, 2).unwrap();
            net.forward(&cx, x, &mut workspace).unwrap().row(0).to_vec()
        };
        let expected = pass([0.5, -0.5]);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pass([-1.0, 0.0])));
        assert!(panicked.is_err());
        assert_eq!(pass([0.5, -0.5]), expected);
    }
}

#[test]
fn passes_refuse_what_does_not_belong_together() {
    let cx = Cx::default();
    let net = mixed_network();
    let other = Network::builder(Shape::flat(3)).layer("f", Dense::new(3)).build(1).unwrap();
    let mut workspace = Workspace::training(&net, 2).unwrap();
    let inputs = net.input().len();
    let x = vec![0.0; 3 * inputs];
    let mut gradient = vec![7.0; net.params().len()];
    let dz = [0.0; 9];

    let narrow = Mat::new(&x[..2 * inputs - 2], 2, inputs - 1).unwrap();
    let error = net.forward(&cx, narrow, &mut workspace).unwrap_err();
    let expected = [2, inputs];
    assert!(
        matches!(error, Error::Shape { arg: "x", expected: e, .. } if e == expected),
        "{error}"
    );
    let many = Mat::new(&x, 3, inputs).unwrap();
    let error = net.forward(&cx, many, &mut workspace).unwrap_err();
    assert!(matches!(error, Error::Length { arg: "samples", got: 3, expected: 2, .. }), "{error}");
    let three = Mat::new(&x[..3], 1, 3).unwrap();
    let error = other.forward(&cx, three, &mut workspace).unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");
    // Not even a workspace of a network of the same shapes.
    let error = mixed_network().forward(&cx, narrow_enough(&x, inputs), &mut workspace);
    assert!(matches!(error.unwrap_err(), Error::Network { .. }));

    let two = Mat::new(&x[..2 * inputs], 2, inputs).unwrap();
    net.forward(&cx, two, &mut workspace).unwrap();
    let dz_of = |rows| Mat::new(&dz[..rows * 3], rows, 3).unwrap();
    let error = net.backward(&cx, dz_of(1), &mut workspace, &mut gradient, None).unwrap_err();
    assert!(matches!(error, Error::Shape { arg: "dz", got: [1, 3], .. }), "{error}");
    let short = &mut gradient[1..];
    let error = net.backward(&cx, dz_of(2), &mut workspace, short, None).unwrap_err();
    assert!(matches!(error, Error::Length { arg: "gradient", .. }), "{error}");
    let mut dx = vec![7.0; inputs];
    let out = MatMut::new(&mut dx, 1, inputs).unwrap();
    let error = net.backward(&cx, dz_of(2), &mut workspace, &mut gradient, Some(out)).unwrap_err();
    assert!(matches!(error, Error::Shape { arg: "dx", .. }), "{error}");
    assert!(gradient.iter().chain(&dx).all(|&g| g == 7.0), "nothing was written");

    let mut inference = Workspace::inference(&net, 2).unwrap();
    net.forward(&cx, two, &mut inference).unwrap();
    let error = net.backward(&cx, dz_of(2), &mut inference, &mut gradient, None).unwrap_err();
    assert!(matches!(error, Error::Shape { arg: "dz", .. }), "{error}");
    assert!(Workspace::training(&net, usize::MAX / 4).is_err());
}
