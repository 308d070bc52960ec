//! `L2Normalize`: the formula, samples without a direction, NaN, and independence of threads.

use drlim::nn::{L2Normalize, Network, Shape, Workspace};
use drlim::{Cx, Mat, Par};

use super::gradients::assert_gradient;
use super::{draw, serial};
use crate::support::{Element, Guarded, Random, tiers};

/// Output and input gradient of `L2Normalize` on samples of `len` elements.
fn normalize<T: Element>(cx: &Cx, len: usize, x: &[T], dy: &[T]) -> [Vec<T>; 2] {
    let samples = x.len() / len;
    let net =
        Network::builder(Shape::flat(len)).layer("unit", L2Normalize::new()).build(1).unwrap();
    let mut workspace = Workspace::training(&net, samples).unwrap();
    let mat = |of| Mat::new(of, samples, len).unwrap();
    let y = net.forward(cx, mat(x), &mut workspace).unwrap().as_slice().unwrap().to_vec();
    let mut dx = Guarded::output(1, [samples, len], len + 1);
    net.backward(cx, mat(dy), &mut workspace, &mut [], Some(dx.mat_mut())).unwrap();
    [y, dx.checked("dx")]
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
            let [y, dx] = normalize(&serial(isa), len, &x, &dy);
            for i in 0..3 {
                let row = |of: &[T]| crate::support::element::wide(&of[i * len..][..len]);
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

/// Samples whose squares no number of the type holds, or not all of them.
fn lengths_beyond_squares<T: Element>(exponents: &[i32]) {
    let mut random = Random::new(9);
    for (len, &exponent) in
        [1, 2, 7, 33, 300].iter().flat_map(|n| exponents.iter().map(move |e| (*n, e)))
    {
        let power = f64::powi(2.0, exponent);
        let plain: Vec<T> = draw(&mut random, len, 0.5);
        let x: Vec<T> = plain.iter().map(|x| T::from_f64(x.to_f64() * power)).collect();
        // So that no quotient leaves the range.
        let dy: Vec<T> = draw(&mut random, len, if exponent < 0 { 2.0 * power } else { 1.0 });
        let (x, wide_dy) = (crate::support::element::wide(&x), crate::support::element::wide(&dy));
        let scaled: Vec<f64> = x.iter().map(|x| x / power).collect();
        let length = scaled.iter().map(|x| x * x).sum::<f64>().sqrt();
        let along: f64 = scaled.iter().zip(&wide_dy).map(|(x, dy)| x / length * dy).sum();
        let relative = (len as f64 + 8.0) * T::EPSILON.to_f64();
        let x: Vec<T> = x.into_iter().map(T::from_f64).collect();
        for isa in tiers() {
            let [y, dx] = normalize(&serial(isa), len, &x, &dy);
            for k in 0..len {
                let which = format!("{k} of {len} times 2^{exponent} on {isa} in {}", T::NAME);
                let unit = scaled[k] / length;
                let error = (y[k].to_f64() - unit).abs();
                assert!(error <= relative * unit.abs(), "y {which}: {}, not {unit}", y[k]);
                let expected = (wide_dy[k] - unit * along) / length / power;
                let most = 2.0 * if exponent < 0 { 2.0 } else { power.recip() } / length;
                let error = (dx[k].to_f64() - expected).abs();
                let allowed = (len as f64).sqrt() * relative * most + T::MIN_POSITIVE.to_f64();
                assert!(error <= allowed, "dx {which}: {}, not {expected}", dx[k]);
            }
        }
    }
}

#[test]
fn samples_of_any_length_are_normalised() {
    lengths_beyond_squares::<f32>(&[-120, -100, -70, -64, -52, -50, 62, 64, 66, 100, 127]);
    lengths_beyond_squares::<f64>(&[-1000, -600, -512, -490, -480, 510, 512, 514, 800, 1000]);
}

fn zero_and_nan_in<T: Element>() {
    // 0, the largest subnormal number, the smallest normal one, and those whose squares are these.
    let (root, least) = (T::MIN_POSITIVE.sqrt(), T::MIN_POSITIVE);
    let below = T::from_bits(least.bits() - 1);
    let numbers = [T::ZERO, T::tiny(), below, least, root / T::from_f64(2.0), root];
    for len in [1, 2, 7, 16, 33, 70] {
        let mut random = Random::new(len as u64);
        let (x, dy) = (draw::<T>(&mut random, 5 * len, 1.0), draw::<T>(&mut random, 5 * len, 1.0));
        for isa in tiers() {
            let cx = serial(isa);
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
                if number < T::MIN_POSITIVE {
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
            let cx = serial(isa);
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
