//! Every layer, optimizer and sampler at its ends: no samples, one, images of one pixel, no parameters. That
//! none is missing is checked against the crate's source.

use drlim::loss::{Contrastive, Objective};
use drlim::nn::{
    AvgPool2d, Builder, Conv2d, Dense, L2Normalize, MaxPool2d, Network, Relu, ScaledTanh, Shape,
    Sigmoid, Subsample2d, Tanh, Workspace,
};
use drlim::optim::{Adam, AdamW, Optimizer, Sgd, clip_norm};
use drlim::pairs::{BatchSampler, Sampler};
use drlim::siamese::Siamese;
use drlim::{Cx, Graph, Mat, Similar, gradcheck};

use crate::batch::{Got, Rows, slice};
use crate::calls::public;
use crate::contexts;
use crate::support::{Element, Guarded};

type Add<T> = fn(Builder<T>) -> Builder<T>;

/// All layers, and what a layer becomes beside others.
fn layers<T: Element>() -> [(&'static str, Add<T>); 14] {
    [
        ("Dense", |net| net.layer("layer", Dense::new(3))),
        ("Conv2d", |net| net.layer("layer", Conv2d::new(2, 1).stride(2))),
        ("Conv2d, padded", |net| net.layer("layer", Conv2d::new(2, 3).padding(1))),
        ("AvgPool2d", |net| net.layer("layer", AvgPool2d::new(1).stride(2))),
        ("MaxPool2d", |net| net.layer("layer", MaxPool2d::new(1).stride(2))),
        ("Subsample2d", |net| net.layer("layer", Subsample2d::new(1))),
        ("L2Normalize", |net| net.layer("layer", L2Normalize::new())),
        ("Tanh", |net| net.layer("layer", Tanh::new())),
        ("ScaledTanh", |net| net.layer("layer", ScaledTanh::new())),
        ("Sigmoid", |net| net.layer("layer", Sigmoid::new())),
        ("Relu", |net| net.layer("layer", Relu::new())),
        ("Conv2d and activation", |net| {
            net.layer("layer", Conv2d::new(2, 1)).layer("tanh", Tanh::new())
        }),
        ("Conv2d and pooling", |net| {
            net.layer("layer", Conv2d::new(2, 1)).layer("pool", MaxPool2d::new(1))
        }),
        ("no layer", |net| net),
    ]
}

#[test]
fn the_table_has_every_public_layer() {
    let others = [
        "Backward",
        "Forward",
        "Layer",
        "ParamSpec",
        "Shape",
        "InitialValue",
        "Builder",
        "Network",
        "Parameter",
        "Workspace",
    ];
    let names = layers::<f32>().map(|(name, _)| name);
    let mut all = 0;
    for layer in public(include_str!("../../src/nn/mod.rs"), true) {
        if !others.contains(&layer) {
            assert!(names.contains(&layer), "{layer} is not in the table");
            all += 1;
        }
    }
    assert_eq!(all, 10, "layers found in the source");
    let optimizers = public(include_str!("../../src/optim/mod.rs"), true);
    assert_eq!(optimizers, ["Adam", "AdamW", "Sgd"]);
}

/// The outputs, and both gradients, of so many samples.
fn passes<T: Element>(cx: &Cx, net: &Network<T>, samples: usize, rows: Rows) -> Got {
    let (inputs, outputs) = (net.input().len(), net.output().len());
    let (x, dz) = (rows.draw([samples, inputs], 1), rows.draw([samples, outputs], 2));
    let (mut gradient, mut dx) = (slice(net.params().len()), rows.output([samples, inputs]));
    let mut workspace = Workspace::training(net, samples).unwrap();
    let z = net.forward(cx, x.mat(), &mut workspace).unwrap();
    let z: Vec<f64> = z.iter().flatten().map(|z| z.to_f64()).collect();
    let (to, dx_to) = (gradient.slice_mut(), Some(dx.mat_mut()));
    net.backward(cx, dz.mat(), &mut workspace, to, dx_to).unwrap();
    let mut inference = Workspace::inference(net, samples).unwrap();
    let again = net.forward(cx, x.mat(), &mut inference).unwrap();
    assert!(again.iter().flatten().map(|z| z.to_f64()).eq(z.iter().copied()), "inference");
    Got::default().numbers(z).written([&gradient, &dx])
}

fn at_their_ends<T: Element>() {
    for (name, add) in layers::<T>() {
        for input in [Shape::flat(1), Shape::image(1, 2, 1), Shape::image(3, 1, 5)] {
            let net = add(Network::builder(input)).build(1).unwrap();
            for samples in [0, 1, 2, 19] {
                for cx in contexts() {
                    let case = format!("{name}, {samples} samples of {input}, {cx}");
                    let gapless = passes(&cx, &net, samples, Rows::Gapless);
                    let apart = passes(&cx, &net, samples, Rows::Apart);
                    assert!(gapless.bits() == apart.bits(), "{case}: strides matter");
                    assert!(!gapless.has_nan(), "{case}: not written, or NaN");
                }
            }
        }
    }
}

#[test]
fn every_layer_takes_no_samples_one_and_any_stride() {
    at_their_ends::<f32>();
    at_their_ends::<f64>();
}

type Make<T> = fn() -> Box<dyn Optimizer<T>>;

fn optimizers<T: Element>() {
    let all: [Make<T>; 4] = [
        || Box::new(Sgd::new()),
        || Box::new(Sgd::new().momentum(0.5).unwrap().nesterov()),
        || Box::new(Adam::new()),
        || Box::new(AdamW::new()),
    ];
    for cx in contexts() {
        for len in [0, 1, 15, 33] {
            let mut steps: Vec<Guarded<T>> = Vec::new();
            for optimizer in all {
                let (mut params, grad) = (slice::<T>(len), vec![T::ONE; len]);
                params.slice_mut().fill(T::ONE);
                let mut optimizer = optimizer();
                for _ in 0..2 {
                    optimizer.step(&cx, 0.1, params.slice_mut(), &grad).unwrap();
                }
                assert!(params.wide().iter().all(|p| *p < 1.0), "{len} parameters, {cx}");
                steps.push(params);
            }
            let mut grad = slice::<T>(len);
            grad.slice_mut().fill(T::from_f64(3.0));
            let norm = clip_norm(&cx, grad.slice_mut(), 1.0).unwrap();
            assert!((norm - 3.0 * (len as f64).sqrt()).abs() < 1e-5, "{norm} of {len}");
            steps.push(grad);
            steps.iter().for_each(|written| written.check("an optimizer's step"));
        }
    }
}

#[test]
fn every_optimizer_takes_no_parameters_and_one() {
    optimizers::<f32>();
    optimizers::<f64>();
}

#[test]
fn samplers_draw_from_the_smallest_sets() {
    let (mut pairs, mut similar) = (Vec::new(), Vec::new());
    let couple = Graph::from_pairs(3, &[(0, 1)]).unwrap();
    for set in [Similar::Labels(&[4, 4, 5]), Similar::Graph(&couple)] {
        let mut sampler = Sampler::new(set, 2, 1).unwrap();
        for _ in 0..20 {
            sampler.next_batch(&mut pairs, &mut similar);
            assert!(pairs.contains(&(0, 1)) || pairs.contains(&(1, 0)), "{pairs:?}");
            assert_eq!(similar, [true, false]);
        }
    }
    let path = Graph::from_pairs(3, &[(0, 1), (1, 2)]).unwrap();
    for set in
        [Similar::LabelsIgnoring { labels: &[4, 4, 4, 5, 5], ignored: 6 }, Similar::Graph(&path)]
    {
        let all_of_them = set.samples();
        let mut all = BatchSampler::new(set, all_of_them, 1).unwrap();
        let mut samples = Vec::new();
        for _ in 0..20 {
            all.next_batch(&mut samples);
            samples.sort_unstable();
            assert!(samples.iter().map(|&i| i as usize).eq(0..all_of_them), "{samples:?}");
        }
    }
}

#[test]
fn training_steps_take_no_pairs_and_samples_that_are_their_own_pair() {
    let loss = Contrastive::new(1.0).unwrap();
    let objective = Objective::mean(&loss);
    let net = || Network::<f64>::builder(Shape::flat(1)).layer("map", Dense::new(1)).build(1);
    let data = Mat::new(&[0.5, 0.75], 2, 1).unwrap();
    let none = data.rows_range(0, 0);
    for cx in contexts() {
        let mut siamese = Siamese::new(net().unwrap(), Sgd::new(), 1).unwrap();
        let rate = 0.1;
        let labels = Similar::Labels(&[0, 1]);
        for outcome in [
            siamese.step(&cx, &objective, rate, none, none, &[]),
            siamese.step_pairs(&cx, &objective, rate, data, &[], &[]),
            siamese.step_pairs(&cx, &objective, rate, none, &[], &[]),
            siamese.step_batch(&cx, &objective, rate, data, &[], labels),
            siamese.step_batch(&cx, &objective, rate, data, &[1], labels),
            siamese.step_pairs(&cx, &objective, rate, data, &[(1, 1)], &[true]),
        ] {
            assert_eq!(outcome.unwrap().value, 0.0);
        }
        assert_eq!(siamese.net().params(), net().unwrap().params());
        assert_eq!(siamese.steps(), 6);
    }
    let worst = gradcheck::check_layer(Dense::new(1), Shape::flat(1), 1, 1).unwrap();
    assert!(worst.error < 1e-8, "{worst}");
    assert_eq!(gradcheck::check(|_| 0.0, &[], &[]).unwrap().error, 0.0);
}
