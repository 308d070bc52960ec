//! NaN and infinity reach what depends on them, by the windows that see them, and nothing else: no other
//! image of the group, and no neighbour in a vector.

use drlim::nn::{Network, Shape};
use drlim::{Cx, Isa};

use super::formulas::{Formula, Sum};
use super::images::{assert_close, convolutions, poolings};
use super::stack::{ACTIVATIONS, Spec, network};
use super::{around_a_group, batch, passes, serial};
use crate::support::element::{same, wide};
use crate::support::{Element, tiers};

/// A few of `len` places, both ends among them.
fn places(len: usize) -> impl Iterator<Item = usize> {
    let step = (len / 5).max(1);
    (0..len).step_by(step).chain([len - 1])
}

/// What is not dirty is in `got` as it is in `clean`, to the bit.
#[track_caller]
fn assert_others_clean<T: Element>(
    [got, clean]: [&[T]; 2],
    dirty: impl Fn(usize) -> bool,
    which: &str,
) {
    for (at, (&got, &clean)) in got.iter().zip(clean).enumerate() {
        assert!(dirty(at) || same(got, clean), "{which}: {got} at {at}, {clean} without");
    }
}

fn pixels_of<T: Element>(formula: Formula) {
    let net = network::<T>(formula.input, &[formula.spec]);
    let params = wide(net.params());
    let (inputs, outputs) = (formula.input.len(), formula.output.len());
    for isa in tiers() {
        for samples in around_a_group::<T>(isa) {
            let [x, dy] = batch::<T>(&net, samples);
            let [clean, ..] = passes(&net, &serial(isa), [&x, &dy], samples);
            // The first image of the batch, and the last: in the group, or left over.
            for (image, pixel) in
                [0, samples - 1].into_iter().flat_map(|i| places(inputs).map(move |p| (i, p)))
            {
                for special in [T::NAN, T::INFINITY, -T::INFINITY] {
                    let mut x = x.clone();
                    x[image * inputs + pixel] = special;
                    let [y, _, dx] = passes(&net, &serial(isa), [&x, &dy], samples);
                    let which = format!(
                        "{special} at {pixel} of image {image} of {samples} of {}, {:?} on {isa}",
                        formula.input, formula.spec
                    );
                    let seeing = formula.outputs_of(pixel);
                    let sees =
                        |at: usize| at / outputs == image && seeing.contains(&(at % outputs));
                    assert_others_clean([&y, &clean], sees, &which);
                    // Where it is seen, what the formula says.
                    let own = wide(&x[image * inputs..][..inputs]);
                    let expected = formula.forward(&params, &own);
                    assert_close(&y[image * outputs..][..outputs], &expected, &which);
                    let nan_is_kept = seeing.iter().all(|&at| y[image * outputs + at].is_nan());
                    assert!(nan_is_kept || !special.is_nan(), "{which}");
                    let own_dy = wide(&dy[image * outputs..][..outputs]);
                    let mut sums = vec![Sum::default(); params.len()];
                    let expected = formula.backward(&params, &own, &own_dy, &mut sums);
                    assert_close(
                        &dx[image * inputs..][..inputs],
                        &expected,
                        &format!("dx, {which}"),
                    );
                }
            }
        }
    }
}

#[test]
fn a_special_pixel_reaches_the_outputs_whose_windows_see_it() {
    for formula in convolutions().into_iter().chain(poolings()) {
        if formula.input.len() <= 400 {
            pixels_of::<f32>(formula);
            pixels_of::<f64>(formula);
        }
    }
}

fn gradients_of<T: Element>(formula: Formula) {
    let net = network::<T>(formula.input, &[formula.spec]);
    let params = wide(net.params());
    let (inputs, outputs) = (formula.input.len(), formula.output.len());
    for isa in tiers() {
        for samples in around_a_group::<T>(isa) {
            let [x, dy] = batch::<T>(&net, samples);
            let [_, _, clean] = passes(&net, &serial(isa), [&x, &dy], samples);
            for (image, output) in
                [0, samples - 1].into_iter().flat_map(|i| places(outputs).map(move |p| (i, p)))
            {
                let mut dy = dy.clone();
                dy[image * outputs + output] = T::NAN;
                let [_, gradient, dx] = passes(&net, &serial(isa), [&x, &dy], samples);
                let which = format!(
                    "NaN at {output} of image {image} of {samples} of {}, {:?} on {isa}",
                    formula.input, formula.spec
                );
                assert_others_clean([&dx, &clean], |at| at / inputs == image, &which);
                let own = |of: &[T], len: usize| wide(&of[image * len..][..len]);
                let mut sums = vec![Sum::default(); params.len()];
                let expected =
                    formula.backward(&params, &own(&x, inputs), &own(&dy, outputs), &mut sums);
                assert_close(&dx[image * inputs..][..inputs], &expected, &format!("dx, {which}"));
                // Parameters of other maps are not touched; of its own, those that a pixel is seen by.
                for (at, (sum, d)) in sums.iter().zip(&gradient).enumerate() {
                    assert!(!sum.value.is_nan() || d.is_nan(), "{which}: {d} for parameter {at}");
                }
                let per_map = outputs / formula.output.channels;
                let shapes: Vec<usize> = net.parameters().map(|p| p.values.len()).collect();
                let mut first = 0;
                for len in shapes {
                    let each = len / formula.output.channels;
                    for (at, d) in gradient[first..][..len].iter().enumerate() {
                        let own = at / each == output / per_map;
                        assert!(own || d.is_finite(), "{which}: {d} for parameter {}", first + at);
                    }
                    first += len;
                }
            }
        }
    }
}

#[test]
fn a_nan_in_the_gradient_reaches_its_own_image_and_the_parameters_of_its_map() {
    for formula in convolutions().into_iter().chain(poolings()) {
        if formula.input.len() <= 400 {
            gradients_of::<f32>(formula);
            gradients_of::<f64>(formula);
        }
    }
}

/// The outputs that elements of an image reach, through layers of windows and functions of each element.
fn reached(specs: &[Spec], input: Shape, pixel: usize) -> Vec<usize> {
    let (mut shape, mut reached) = (input, vec![pixel]);
    for &spec in specs {
        if !ACTIVATIONS.contains(&spec) {
            let formula = Formula::new(spec, shape);
            reached = reached.iter().flat_map(|&at| formula.outputs_of(at)).collect();
            reached.sort_unstable();
            reached.dedup();
            shape = formula.output;
        }
    }
    reached
}

fn through<T: Element>(specs: &[Spec]) {
    let input = Shape::image(2, 7, 9);
    let net = network::<T>(input, specs);
    let (inputs, outputs) = (input.len(), net.output().len());
    let run =
        |isa: Isa, [x, dz]: [&[T]; 2], samples: usize| passes(&net, &serial(isa), [x, dz], samples);
    for isa in tiers() {
        for samples in around_a_group::<T>(isa) {
            let [x, dz] = batch::<T>(&net, samples);
            let [clean, _, clean_dx] = run(isa, [&x, &dz], samples);
            for image in [0, samples - 1] {
                let which = format!("image {image} of {samples} through {specs:?} on {isa}");
                let of_image = |len: usize| move |at: usize| at / len == image;
                for pixel in places(inputs) {
                    let mut x = x.clone();
                    x[image * inputs + pixel] = T::NAN;
                    let [z, _, dx] = run(isa, [&x, &dz], samples);
                    let nan: Vec<usize> = (0..z.len()).filter(|&at| z[at].is_nan()).collect();
                    let reached = reached(specs, input, pixel);
                    let expected: Vec<usize> =
                        reached.iter().map(|at| image * outputs + at).collect();
                    assert_eq!(nan, expected, "NaN at {pixel} of {which}");
                    assert_others_clean([&z, &clean], |at| nan.contains(&at), &which);
                    assert_others_clean([&dx, &clean_dx], of_image(inputs), &which);
                }
                let mut dz = dz.clone();
                dz[image * outputs + outputs / 2] = T::NAN;
                let [_, _, dx] = run(isa, [&x, &dz], samples);
                assert_others_clean([&dx, &clean_dx], of_image(inputs), &which);
            }
        }
    }
}

#[test]
fn a_nan_goes_through_every_activation_and_pooling_after_a_convolution() {
    let conv = Spec::Conv { maps: 3, kernel: [2, 3], stride: 1, padding: 1 };
    for f in ACTIVATIONS {
        for pooling in [
            Spec::Avg { kernel: 2, stride: 2 },
            Spec::Avg { kernel: 3, stride: 2 },
            Spec::Max { kernel: 2, stride: 3 },
            Spec::Max { kernel: 2, stride: 1 },
            Spec::Subsample(2),
        ] {
            through::<f32>(&[conv, f, pooling, f]);
            through::<f64>(&[conv, f, pooling, f]);
        }
    }
}

/// A NaN at each place of samples of every length stays there, in both passes.
#[test]
fn a_nan_stays_at_its_place_in_an_activation() {
    fn stays<T: Element>(spec: Spec) {
        for len in [1, 3, 8, 19, 33] {
            let net: Network<T> = network(Shape::flat(len), &[spec]);
            for isa in tiers() {
                let cx: Cx = serial(isa);
                let [x, dy] = batch::<T>(&net, 2);
                let clean = passes(&net, &cx, [&x, &dy], 2);
                for at in 0..2 * len {
                    let which = format!("{spec:?} of {len} on {isa}");
                    let mut poisoned = x.clone();
                    poisoned[at] = T::NAN;
                    let [y, _, dx] = passes(&net, &cx, [&poisoned, &dy], 2);
                    assert!(y[at].is_nan(), "{which}");
                    assert_others_clean([&y, &clean[0]], |other| other == at, &which);
                    assert_others_clean([&dx, &clean[2]], |other| other == at, &which);
                    let mut poisoned = dy.clone();
                    poisoned[at] = T::NAN;
                    let [_, _, dx] = passes(&net, &cx, [&x, &poisoned], 2);
                    // The rectifier's slope below 0 is 0, whatever comes.
                    let cut = spec == Spec::Relu && x[at] < T::ZERO;
                    assert!(if cut { dx[at] == T::ZERO } else { dx[at].is_nan() }, "{which}");
                    assert_others_clean([&dx, &clean[2]], |other| other == at, &which);
                }
            }
        }
    }
    for spec in ACTIVATIONS {
        stays::<f32>(spec);
        stays::<f64>(spec);
    }
}
