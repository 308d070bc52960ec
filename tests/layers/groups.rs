//! An image is the same alone, among others in lanes, and left over beside them.

use drlim::Isa;
use drlim::nn::Shape;

use super::stack::{Spec, network};
use super::{batch, lanes, passes, serial};
use crate::support::element::bits;
use crate::support::{Element, tiers};

/// Every kind of layer of images.
const STACK: [Spec; 8] = [
    Spec::Conv { maps: 4, kernel: [3, 2], stride: 1, padding: 1 },
    Spec::Tanh,
    Spec::Max { kernel: 2, stride: 2 },
    Spec::Conv { maps: 3, kernel: [2, 2], stride: 1, padding: 0 },
    Spec::ScaledTanh,
    Spec::Subsample(2),
    Spec::Sigmoid,
    Spec::Avg { kernel: 2, stride: 1 },
];

fn same_wherever_it_lies<T: Element>() {
    let net = network::<T>(Shape::image(2, 11, 13), &STACK);
    let (inputs, outputs) = (net.input().len(), net.output().len());
    for isa in tiers() {
        let samples = 2 * lanes::<T>(isa) + 3;
        let [x, dz] = batch::<T>(&net, samples);
        let [z, gradient, dx] = passes(&net, &serial(isa), [&x, &dz], samples);
        let mut sum = vec![0.0; gradient.len()];
        let close = |got: &[T], expected: &[T], which: &str| {
            let largest = expected.iter().fold(0.0_f64, |max, x| max.max(x.to_f64().abs()));
            for (got, expected) in got.iter().zip(expected) {
                let error = (got.to_f64() - expected.to_f64()).abs();
                let allowed = 100.0 * T::EPSILON.to_f64() * largest;
                assert!(error <= allowed, "{which} on {isa} in {}: {got}, {expected}", T::NAME);
            }
        };
        for i in 0..samples {
            let (own_x, own_z) = (i * inputs..(i + 1) * inputs, i * outputs..(i + 1) * outputs);
            let one = [&x[own_x.clone()], &dz[own_z.clone()]];
            let [own, d_params, d_own] = passes(&net, &serial(isa), one, 1);
            close(&z[own_z], &own, &format!("z of image {i}"));
            close(&dx[own_x], &d_own, &format!("dx of image {i}"));
            sum.iter_mut().zip(d_params).for_each(|(sum, d)| *sum += d.to_f64());
        }
        let sum: Vec<T> = sum.into_iter().map(T::from_f64).collect();
        close(&gradient, &sum, "gradient");
    }
}

#[test]
fn an_image_is_the_same_alone_in_a_group_and_left_over() {
    same_wherever_it_lies::<f32>();
    same_wherever_it_lies::<f64>();
}

/// The images of a batch change places: within a group that changes not a bit.
fn order_within_a_group<T: Element>(isa: Isa) {
    let net = network::<T>(Shape::image(2, 11, 13), &STACK);
    let samples = lanes::<T>(isa);
    let [x, dz] = batch::<T>(&net, samples);
    let reversed =
        |of: &[T], len: usize| -> Vec<T> { of.chunks(len).rev().flatten().copied().collect() };
    let [inputs, outputs] = [net.input().len(), net.output().len()];
    let [z, _, dx] = passes(&net, &serial(isa), [&x, &dz], samples);
    let turned = [reversed(&x, inputs), reversed(&dz, outputs)];
    let [turned_z, _, turned_dx] = passes(&net, &serial(isa), [&turned[0], &turned[1]], samples);
    assert_eq!(bits(&reversed(&z, outputs)), bits(&turned_z), "z on {isa}");
    assert_eq!(bits(&reversed(&dx, inputs)), bits(&turned_dx), "dx on {isa}");
}

#[test]
fn images_of_a_group_can_change_places() {
    for isa in tiers() {
        order_within_a_group::<f32>(isa);
        order_within_a_group::<f64>(isa);
    }
}
