//! `layers.safetensors`: one layer at a time.
//!
//! A case `kind/sizes` holds `x`, `y`, `dy`, `dx`, the layer's sizes (`kernel`, `stride`, `padding`)
//! and for each parameter its values and, under `d` and its name, its gradient.

use drlim::nn::{
    AvgPool2d, Conv2d, Dense, L2Normalize, Layer, MaxPool2d, Network, Relu, ScaledTanh, Shape,
    Sigmoid, Subsample2d, Tanh, Workspace,
};
use drlim::{Cx, Mat, Par};

use crate::support::{Element, Guarded, Reference, tiers};

/// Every case of a kind, under the layer that `layer` makes of it; returns how many there are.
fn compare<T: Element, L: Layer<T> + 'static>(
    reference: &Reference,
    kind: &str,
    layer: impl Fn(&str) -> L,
) -> usize {
    let cases = reference.cases(&format!("{kind}/"));
    for case in &cases {
        for isa in tiers() {
            compare_case(reference, case, layer(case), Cx { isa, par: Par::Rayon });
        }
    }
    cases.len()
}

fn compare_case<T: Element>(
    reference: &Reference,
    case: &str,
    layer: impl Layer<T> + 'static,
    cx: Cx,
) {
    let by = cx.isa.to_string();
    let (samples, shape) = match *reference.shape(case, "x") {
        [samples, channels, height, width] => (samples, Shape::image(channels, height, width)),
        [samples, len] => (samples, Shape::flat(len)),
        ref other => panic!("{case}/x has shape {other:?}"),
    };
    let mut net = Network::<T>::builder(shape).layer("layer", layer).build(1).unwrap();
    let names: Vec<(String, usize)> = net
        .parameters()
        .map(|p| (p.name.strip_prefix("layer.").unwrap().to_owned(), p.values.len()))
        .collect();
    let params: Vec<T> =
        names.iter().flat_map(|(name, _)| reference.reals::<T>(case, name)).collect();
    net.params_mut().copy_from_slice(&params);

    let (inputs, outputs) = (shape.len(), net.output().len());
    let x = reference.reals::<T>(case, "x");
    let dy = reference.reals::<T>(case, "dy");
    let mut workspace = Workspace::training(&net, samples).unwrap();
    let y = net.forward(&cx, Mat::new(&x, samples, inputs).unwrap(), &mut workspace).unwrap();
    reference.compare(case, "y", y.as_slice().unwrap(), &by);

    let mut gradient = Guarded::slice(params.len());
    let mut dx = Guarded::output(1, [samples, inputs], inputs + 1);
    let dy = Mat::new(&dy, samples, outputs).unwrap();
    let out = Some(dx.mat_mut());
    net.backward(&cx, dy, &mut workspace, gradient.slice_mut(), out).unwrap();
    reference.compare(case, "dx", &dx.checked("dx"), &by);
    let gradient = gradient.checked("gradient");
    let mut rest = &gradient[..];
    for (name, len) in names {
        let (own, after) = rest.split_at(len);
        reference.compare(case, &format!("d{name}"), own, &by);
        rest = after;
    }
}

/// Compares the layers of every kind, and says how many cases that were.
fn all_kinds<T: Element>(reference: &Reference) -> usize {
    let compared = [
        compare::<T, _>(reference, "dense", |case| Dense::new(reference.shape(case, "weight")[0])),
        compare::<T, _>(reference, "conv2d", |case| {
            let &[maps, _, height, width] = reference.shape(case, "weight") else {
                panic!("{case}/weight is not of a convolution")
            };
            Conv2d::rectangular(maps, [height, width])
                .stride(reference.size(case, "stride"))
                .padding(reference.size(case, "padding"))
        }),
        compare::<T, _>(reference, "avg_pool2d", |case| {
            AvgPool2d::new(reference.size(case, "kernel")).stride(reference.size(case, "stride"))
        }),
        compare::<T, _>(reference, "max_pool2d", |case| {
            MaxPool2d::new(reference.size(case, "kernel")).stride(reference.size(case, "stride"))
        }),
        compare::<T, _>(reference, "subsample2d", |case| {
            Subsample2d::new(reference.size(case, "kernel"))
        }),
        compare::<T, _>(reference, "tanh", |_| Tanh::new()),
        compare::<T, _>(reference, "scaled_tanh", |_| ScaledTanh::new()),
        compare::<T, _>(reference, "sigmoid", |_| Sigmoid::new()),
        compare::<T, _>(reference, "relu", |_| Relu::new()),
        compare::<T, _>(reference, "l2_normalize", |_| L2Normalize::new()),
    ];
    compared.iter().sum()
}

#[test]
fn layers_agree() {
    let reference = Reference::open("layers");
    let cases = reference.cases("").len();
    assert_eq!(all_kinds::<f64>(&reference), cases, "a kind that nothing is compared with");
    assert_eq!(all_kinds::<f32>(&reference), cases, "a kind that nothing is compared with");
    reference.report("layers_agree");
}
