//! Activations: their values and slopes at the awkward numbers, and how exact they are.

use drlim::nn::{Network, Relu, Shape, Workspace};
use drlim::{Isa, Mat, MatMut};

use super::stack::{Spec, network};
use super::{lanes, passes, serial};
use crate::support::element::same;
use crate::support::{Element, Random, tiers};

#[test]
fn the_rectifier_has_subgradient_0_at_0_and_keeps_a_nan() {
    for isa in tiers() {
        let cx = serial(isa);
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

/// Outputs and input gradient of one sample, by the activation as a layer of its own and within a pooling.
fn both_ways<T: Element>(isa: Isa, f: Spec, x: &[T], dy: &[T]) -> [[Vec<T>; 2]; 2] {
    let shape = Shape::image(1, 1, x.len());
    // The largest of one pixel is that pixel, whatever its bits.
    let pooling = Spec::Max { kernel: 1, stride: 1 };
    [vec![f], vec![pooling, f]].map(|specs| {
        let [y, _, dx] = passes(&network(shape, &specs), &serial(isa), [x, dy], 1);
        [y, dx]
    })
}

fn values_at_awkward_numbers<T: Element>() {
    let number = T::from_f64;
    let (zero, one, infinity, half) = (T::ZERO, T::ONE, T::INFINITY, number(0.5));
    let top = number(1.7159);
    // x, f(x), and the derivative there.
    let steepest = top * number(2.0 / 3.0);
    let (sigmoid, scaled) = (Spec::Sigmoid, Spec::ScaledTanh);
    for (f, x, y, slope) in [
        (Spec::Relu, T::NAN, T::NAN, one),
        (Spec::Relu, infinity, infinity, one),
        (Spec::Relu, -infinity, zero, zero),
        (Spec::Relu, zero, zero, zero),
        (Spec::Relu, -zero, -zero, zero),
        (Spec::Relu, T::tiny(), T::tiny(), one),
        (Spec::Relu, -T::tiny(), zero, zero),
        (sigmoid, T::NAN, T::NAN, T::NAN),
        (sigmoid, infinity, one, zero),
        (sigmoid, -infinity, zero, zero),
        (sigmoid, T::MAX, one, zero),
        (sigmoid, -T::MAX, zero, zero),
        (sigmoid, zero, half, number(0.25)),
        (sigmoid, -zero, half, number(0.25)),
        (scaled, T::NAN, T::NAN, T::NAN),
        (scaled, infinity, top, zero),
        (scaled, -infinity, -top, zero),
        (scaled, T::MAX, top, zero),
        (scaled, zero, zero, steepest),
        (scaled, -zero, -zero, steepest),
        (Spec::Tanh, T::NAN, T::NAN, T::NAN),
        (Spec::Tanh, infinity, one, zero),
        (Spec::Tanh, -infinity, -one, zero),
        (Spec::Tanh, zero, zero, one),
        (Spec::Tanh, -zero, -zero, one),
    ] {
        for isa in tiers() {
            for len in 1..=2 * lanes::<T>(isa) + 1 {
                let dy = vec![one; len];
                for [got, slopes] in both_ways(isa, f, &vec![x; len], &dy) {
                    for (&got, &got_slope) in got.iter().zip(&slopes) {
                        let which = format!("{f:?} of {x} on {isa} in {}", T::NAME);
                        assert!(same(got, y), "{which}: {got}");
                        // The square of 1.7159, rounded, over itself is 1 but for rounding.
                        let error = (got_slope - slope).abs();
                        let close = error <= T::EPSILON + T::EPSILON;
                        assert!(close || same(got_slope, slope), "{which}: slope {got_slope}");
                    }
                }
            }
        }
    }
}

#[test]
fn activations_have_stated_values_at_nan_infinity_and_zero() {
    values_at_awkward_numbers::<f32>();
    values_at_awkward_numbers::<f64>();
}

/// How far `got` is from `exact`, in units of the last place of the result in `T`; below the smallest normal
/// number, of that number's.
fn ulps<T: Element>(got: T, exact: f64) -> f64 {
    let smallest = T::MIN_POSITIVE.to_f64();
    if exact.abs() < smallest {
        // Below the normal numbers nothing is promised but the size.
        return (got.to_f64() - exact).abs() / smallest;
    }
    let ulp = exact.abs().log2().floor().exp2() * T::EPSILON.to_f64();
    (got.to_f64() - exact).abs() / ulp
}

fn within<T: Element>(f: Spec, xs: &[T], exact: impl Fn(f64) -> f64, bound: f64) {
    let net = network::<T>(Shape::flat(xs.len()), &[f]);
    for isa in tiers() {
        let [y, ..] = passes(&net, &serial(isa), [xs, &vec![T::ONE; xs.len()]], 1);
        let errors = xs.iter().zip(&y).map(|(x, &y)| (ulps(y, exact(x.to_f64())), x, y));
        let worst = errors.max_by(|a, b| a.0.total_cmp(&b.0)).expect("some numbers");
        println!("{f:?} in {} on {isa}: {worst:?}", T::NAME);
        assert!(worst.0 <= bound, "{f:?} in {} on {isa}: {worst:?}", T::NAME);
    }
}

/// Floats of every exponent, and a fine comb where the functions bend and where they vanish.
fn numbers<T: Element>() -> Vec<T> {
    let mut random = Random::new(2);
    let patterns = (0..200_000).map(|_| random.pattern::<T>()).filter(|x| x.is_finite());
    let mut numbers: Vec<T> = patterns.collect();
    let deepest = T::MIN_POSITIVE.to_f64().ln();
    numbers.extend((0..200_000).map(|i| T::from_f64(1.1 * deepest + i as f64 * 1e-5 * -deepest)));
    numbers
}

#[test]
fn the_logistic_function_is_exact_to_a_few_units_down_to_the_smallest_normal_number() {
    let exact = |x: f64| 1.0 / (1.0 + (-x).exp());
    within(Spec::Sigmoid, &numbers::<f32>(), exact, 3.0);
    // Here the exact value is itself off by a unit or two.
    within(Spec::Sigmoid, &numbers::<f64>(), exact, 6.0);
}

#[test]
fn the_scaled_tangent_is_exact_to_a_few_units() {
    let exact = |x: f64| 1.7159 * (2.0 * x / 3.0).tanh();
    within(Spec::ScaledTanh, &numbers::<f32>(), exact, 4.0);
    within(Spec::ScaledTanh, &numbers::<f64>(), exact, 8.0);
}
