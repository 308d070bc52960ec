//! Max pooling where several pixels are the largest: the first of them, row by row, gets all of the
//! gradient.

use drlim::nn::Shape;

use super::stack::{Spec, network};
use super::{around_a_group, passes, serial};
use crate::support::{Element, tiers};

fn first_of_several<T: Element>() {
    // Windows of 2x2: all the same, three in each order, zeros of both signs, infinities, a NaN before and
    // after others.
    let [zero, one, two] = [0.0, 1.0, 2.0].map(T::from_f64);
    let windows = [
        ([one; 4], 0),
        ([one, two, two, two], 1),
        ([one, two, one, two], 1),
        ([one, one, two, two], 2),
        ([one, one, one, two], 3),
        ([two, one, one, two], 0),
        ([-zero, zero, -zero, zero], 0),
        ([-one, zero, -zero, zero], 1),
        ([-T::INFINITY; 4], 0),
        ([one, T::INFINITY, T::INFINITY, one], 1),
        ([T::INFINITY, T::NAN, T::INFINITY, T::NAN], 1),
        ([T::NAN, T::NAN, T::INFINITY, one], 0),
        ([one, one, one, T::NAN], 3),
    ];
    let net =
        network::<T>(Shape::image(1, 2, 2 * windows.len()), &[Spec::Max { kernel: 2, stride: 2 }]);
    let mut image = vec![T::ZERO; 4 * windows.len()];
    for (i, (window, _)) in windows.iter().enumerate() {
        for (at, &pixel) in window.iter().enumerate() {
            image[at / 2 * 2 * windows.len() + 2 * i + at % 2] = pixel;
        }
    }
    for isa in tiers() {
        for samples in around_a_group::<T>(isa) {
            let x = image.repeat(samples);
            let dy: Vec<T> =
                (0..samples * windows.len()).map(|i| T::from_f64(i as f64 + 1.0)).collect();
            let [y, _, dx] = passes(&net, &serial(isa), [&x, &dy], samples);
            for (at, (y, dy)) in y.iter().zip(&dy).enumerate() {
                let (sample, i) = (at / windows.len(), at % windows.len());
                let (window, first) = windows[i];
                let which = format!("window {i} of image {sample} of {samples} on {isa}");
                let same = *y == window[first] || (y.is_nan() && window[first].is_nan());
                assert!(same, "{which}: {y}");
                for place in 0..4 {
                    let row = &dx[sample * image.len() + place / 2 * 2 * windows.len()..];
                    let expected = if place == first { *dy } else { T::ZERO };
                    assert_eq!(row[2 * i + place % 2], expected, "{which}, pixel {place}");
                }
            }
        }
    }
}

#[test]
fn the_first_of_several_largest_pixels_gets_all_of_the_gradient() {
    first_of_several::<f32>();
    first_of_several::<f64>();
}

#[test]
fn a_pixel_that_is_the_largest_of_several_windows_gets_the_sum() {
    let net = network::<f32>(Shape::image(1, 3, 3), &[Spec::Max { kernel: 2, stride: 1 }]);
    let image = [1.0, 2.0, 3.0, 4.0, 9.0, 5.0, 6.0, 7.0, 8.0];
    for isa in tiers() {
        for samples in around_a_group::<f32>(isa) {
            let dy = [1.0, 10.0, 100.0, 1000.0].repeat(samples);
            let [y, _, dx] = passes(&net, &serial(isa), [&image.repeat(samples), &dy], samples);
            assert_eq!(y, [9.0; 4].repeat(samples), "{isa}");
            let expected = [0.0, 0.0, 0.0, 0.0, 1111.0, 0.0, 0.0, 0.0, 0.0];
            assert_eq!(dx, expected.repeat(samples), "{isa}");
        }
    }
}
