//! Gradients of every layer against finite differences, over odd shapes.

use drlim::nn::{
    AvgPool2d, Conv2d, Dense, Layer, Relu, ScaledTanh, Shape, Sigmoid, Subsample2d, Tanh,
};
use drlim::{Isa, gradcheck};
use proptest::prelude::*;

use super::images::{convolutions, poolings};
use super::stack::network;
use super::{around_a_group, lanes};

pub fn assert_gradient(layer: impl Layer<f64> + 'static, input: Shape, samples: usize, seed: u64) {
    let kind = layer.describe();
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
        // One window, whatever the stride.
        (Conv2d::new(2, 2).stride(usize::MAX), image(1, 3, 3), 2),
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
fn gradients_of_layers_of_images_hold_around_the_size_of_a_group() {
    for formula in convolutions().into_iter().chain(poolings()) {
        // Of larger ones, finite differences take too long.
        if formula.input.len() > 150 {
            continue;
        }
        let mut net = network(formula.input, &[formula.spec]);
        for samples in around_a_group::<f64>(Isa::default()) {
            let worst = gradcheck::check_network(&mut net, samples, 3).unwrap();
            let which = format!("{:?} on {samples} of {}", formula.spec, formula.input);
            assert!(worst.error < 1e-7, "{which}: {worst}");
        }
    }
}

#[test]
fn gradients_of_layers_of_images_hold_in_a_large_batch() {
    let image = Shape::image(1, 3, 3);
    assert_gradient(Conv2d::new(2, 2), image, 129, 1);
    assert_gradient(AvgPool2d::new(2).stride(1), image, 129, 1);
    assert_gradient(Subsample2d::new(2), image, 129, 1);
}

#[test]
fn gradients_of_activations_hold() {
    for len in [1, 7, 16, 33] {
        for samples in [1, 2, lanes::<f64>(Isa::default()) + 1] {
            assert_gradient(Tanh::new(), Shape::flat(len), samples, 1);
            assert_gradient(ScaledTanh::new(), Shape::flat(len), samples, 1);
            assert_gradient(Sigmoid::new(), Shape::flat(len), samples, 1);
            assert_gradient(Relu::new(), Shape::flat(len), samples, 1);
        }
    }
}
