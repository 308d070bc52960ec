//! Convolutions and poolings on every tier, in both precisions, against scalar loops: of images that fill a
//! group, and of single ones.

use drlim::Isa;
use drlim::nn::Shape;

use super::formulas::{Formula, Sum};
use super::stack::{Spec, network};
use super::{around_a_group, draw, lanes, passes, serial};
use crate::support::element::wide;
use crate::support::{Element, Random, tiers};

/// Shapes at which something ends: strides and paddings that do not divide, rows that fill vectors and
/// rows that do not, kernels of one pixel and of the whole image, windows with gaps between them.
pub fn convolutions() -> Vec<Formula> {
    let conv = |[channels, height, width]: [usize; 3], maps, kernel, stride, padding| {
        let spec = Spec::Conv { maps, kernel, stride, padding };
        Formula::new(spec, Shape::image(channels, height, width))
    };
    vec![
        conv([1, 1, 1], 1, [1, 1], 1, 0),
        conv([1, 9, 8], 3, [3, 3], 1, 0),
        conv([3, 6, 20], 2, [1, 1], 1, 0),
        conv([2, 4, 6], 5, [4, 5], 1, 0),
        // One output pixel: a dense layer; and with a frame, which is not one.
        conv([2, 5, 4], 3, [5, 4], 1, 0),
        conv([2, 5, 4], 3, [5, 4], 1, 1),
        conv([3, 11, 10], 4, [5, 5], 3, 2),
        conv([2, 7, 7], 5, [3, 3], 2, 1),
        conv([1, 9, 13], 2, [2, 3], 4, 0),
        conv([1, 3, 7], 2, [1, 1], 5, 0),
        conv([1, 2, 2], 2, [3, 3], 1, 3),
        // A column of output pixels, with a stride that no column sees.
        conv([2, 9, 3], 3, [2, 3], 2, 0),
        conv([17, 5, 19], 3, [3, 2], 1, 0),
        conv([2, 12, 18], 17, [3, 3], 1, 1),
    ]
}

/// Maps that are gathered, and gradients that are taken, in several bands.
fn in_bands() -> Vec<Formula> {
    let conv = |[channels, height, width]: [usize; 3], maps, side| {
        let spec = Spec::Conv { maps, kernel: [side; 2], stride: 1, padding: 0 };
        Formula::new(spec, Shape::image(channels, height, width))
    };
    vec![conv([17, 36, 9], 3, 5), conv([1, 30, 29], 17, 3)]
}

pub fn poolings() -> Vec<Formula> {
    let mut poolings = Vec::new();
    let inputs = [[1, 5, 5], [2, 7, 8], [3, 9, 19], [17, 6, 33], [2, 20, 7]];
    // Disjoint windows, windows that overlap, windows with gaps, one window.
    for [kernel, stride] in [[1, 1], [2, 2], [3, 3], [3, 2], [2, 1], [2, 3], [1, 4], [5, 5]] {
        for [channels, height, width] in inputs {
            let input = Shape::image(channels, height, width);
            poolings.push(Formula::new(Spec::Avg { kernel, stride }, input));
            poolings.push(Formula::new(Spec::Max { kernel, stride }, input));
            if kernel == stride {
                poolings.push(Formula::new(Spec::Subsample(kernel), input));
            }
        }
    }
    poolings
}

#[track_caller]
pub fn assert_close<T: Element>(got: &[T], expected: &[Sum], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (at, (&got, expected)) in got.iter().zip(expected).enumerate() {
        let (x, allowed) = (got.to_f64(), expected.allowed(T::EPSILON.to_f64()));
        let close = match expected.value.is_finite() {
            true => (x - expected.value).abs() <= allowed,
            false => x == expected.value || (x.is_nan() && expected.value.is_nan()),
        };
        assert!(
            close,
            "{what}[{at}] in {}: got {x}, expected {}, allowed {allowed:e}",
            T::NAME,
            expected.value
        );
    }
}

/// Both passes over a batch, on every tier, against the formula.
fn compare<T: Element>(formula: Formula, sizes: impl Fn(Isa) -> Vec<usize>) {
    let spec = formula.spec;
    let net = network::<T>(formula.input, &[spec]);
    let params = wide(net.params());
    let (inputs, outputs) = (formula.input.len(), formula.output.len());
    assert_eq!(net.output(), formula.output);
    for isa in tiers() {
        for samples in sizes(isa) {
            let mut random = Random::new(samples as u64);
            let x: Vec<T> = draw(&mut random, samples * inputs, 1.0);
            let dy: Vec<T> = draw(&mut random, samples * outputs, 1.0);
            let [y, gradient, dx] = passes(&net, &serial(isa), [&x, &dy], samples);
            let which = format!("{samples} of {} by {spec:?} on {isa}", formula.input);
            let mut sums = vec![Sum::default(); params.len()];
            for i in 0..samples {
                let (own_x, own_y) = (i * inputs..(i + 1) * inputs, i * outputs..(i + 1) * outputs);
                let (wide_x, wide_dy) = (wide(&x[own_x.clone()]), wide(&dy[own_y.clone()]));
                let expected = formula.forward(&params, &wide_x);
                assert_close(&y[own_y], &expected, &format!("y of {i} of {which}"));
                let expected = formula.backward(&params, &wide_x, &wide_dy, &mut sums);
                assert_close(&dx[own_x], &expected, &format!("dx of {i} of {which}"));
            }
            assert_close(&gradient, &sums, &format!("gradient of {which}"));
        }
    }
}

#[test]
fn convolutions_are_those_of_the_formula() {
    for formula in convolutions() {
        compare::<f32>(formula, around_a_group::<f32>);
        compare::<f64>(formula, around_a_group::<f64>);
    }
}

#[test]
fn convolutions_in_several_bands_are_those_of_the_formula() {
    for formula in in_bands() {
        compare::<f32>(formula, |isa| vec![lanes::<f32>(isa) + 1]);
        compare::<f64>(formula, |isa| vec![lanes::<f64>(isa) + 1]);
    }
}

#[test]
fn poolings_are_those_of_the_formula() {
    for formula in poolings() {
        compare::<f32>(formula, around_a_group::<f32>);
        compare::<f64>(formula, around_a_group::<f64>);
    }
}

#[test]
fn large_batches_of_small_images_are_those_of_the_formula() {
    let input = Shape::image(2, 5, 6);
    for spec in [
        Spec::Conv { maps: 3, kernel: [3, 2], stride: 1, padding: 1 },
        Spec::Avg { kernel: 2, stride: 1 },
        Spec::Max { kernel: 2, stride: 2 },
        Spec::Subsample(2),
    ] {
        let formula = Formula::new(spec, input);
        compare::<f32>(formula, |_| vec![129]);
        compare::<f64>(formula, |_| vec![129]);
    }
}
