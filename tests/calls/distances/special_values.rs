//! Zeros, numbers whose squares are subnormal, NaN and infinities.

use drlim::batch::Distance;

use crate::distances::batch::{Batch, Layout, all_nan};
use crate::distances::{COLS, DISTANCES, serial};
use crate::support::element::wide;
use crate::support::{Element, Guarded, tiers};

fn equal_rows_in<T: Element>() {
    for cols in COLS.into_iter().filter(|&cols| cols > 0) {
        for isa in tiers() {
            for distance in [Distance::Euclidean, Distance::SquaredEuclidean, Distance::Cosine] {
                let mut batch = Batch::<T>::new([20, cols], Layout::DENSE, 13);
                batch.b = Guarded::new(3, [20, cols], cols, |i, k| batch.a.row(i)[k]);
                batch.run(&serial(isa), distance);
                for written in [&batch.out, &batch.grads[0], &batch.grads[1]] {
                    let zero = written.wide().iter().all(|&x| x == 0.0);
                    assert!(zero, "{isa}: {distance:?}, {cols} columns: {:?}", written.wide());
                }
            }
        }
    }
}

#[test]
fn equal_rows_have_distance_and_gradient_zero() {
    equal_rows_in::<f32>();
    equal_rows_in::<f64>();
}

fn subnormal_squares_in<T: Element>() {
    // Numbers whose squares are 0, subnormal, the smallest normal number and above it.
    let root = T::MIN_POSITIVE.sqrt();
    let two = T::from_f64(2.0);
    let numbers = [T::ZERO, T::tiny(), T::MIN_POSITIVE, root / two, root, -(root * two)];
    let sign = |x: T| if x * x < T::MIN_POSITIVE { 0.0 } else { x.to_f64().signum() };
    for cols in COLS.into_iter().filter(|&cols| cols > 1) {
        let (at, beside) = (cols / 2, cols / 2 - 1);
        for isa in tiers() {
            for x in numbers {
                let (mut a, mut b) = (vec![T::ZERO; cols], vec![T::ZERO; cols]);
                a[at] = x;
                let mut batch = Batch::of(cols, &a, &b, &[two]);
                batch.run(&serial(isa), Distance::Euclidean);
                let which = format!("{x:e}, {cols} columns on {isa}");
                for (side, sign) in [sign(x), -sign(x)].into_iter().enumerate() {
                    let grad = wide(batch.grads[side].row(0));
                    let off = (grad[at] - 2.0 * sign).abs();
                    assert!(off <= 4.0 * T::EPSILON.to_f64(), "{which}: {grad:?}");
                    assert!(grad.iter().enumerate().all(|(k, &g)| k == at || g == 0.0), "{which}");
                }

                // A right angle either way, but gradients only where both have a direction.
                b[beside] = T::ONE;
                for (a, b) in [(&a, &b), (&b, &a)] {
                    let mut batch = Batch::of(cols, a, b, &[two]);
                    batch.run(&serial(isa), Distance::Cosine);
                    let value = batch.out.row(0)[0].to_f64();
                    assert!((value - 1.0).abs() <= 4.0 * T::EPSILON.to_f64(), "{which}: {value}");
                    let moves = |grad: &Guarded<T>| grad.wide().iter().any(|&g| g != 0.0);
                    assert_eq!(batch.grads.each_ref().map(moves), [sign(x) != 0.0; 2], "{which}");
                    assert!(sign(x) != 0.0 || value == 1.0, "{which}: {value}");
                }
            }
        }
    }
}

#[test]
fn squares_below_the_normal_numbers_count_as_zero() {
    subnormal_squares_in::<f32>();
    subnormal_squares_in::<f64>();
}

fn no_direction_in<T: Element>() {
    for cols in COLS {
        for isa in tiers() {
            let zero = vec![T::ZERO; cols];
            let mut other = vec![T::ONE; cols];
            for last in [T::ONE, T::INFINITY, T::NAN] {
                if let Some(x) = other.last_mut() {
                    *x = last;
                }
                let nan = cols > 0 && last.is_nan();
                for (a, b) in [(&zero, &other), (&other, &zero), (&zero, &zero)] {
                    let nan = nan && a != b;
                    let mut batch = Batch::of(cols, a, b, &[T::from_f64(-3.0)]);
                    batch.run(&serial(isa), Distance::Cosine);
                    let which = format!("{isa}: {last}, {cols} columns");
                    let value = batch.out.row(0)[0];
                    assert!(if nan { value.is_nan() } else { value == T::ONE }, "{which}: {value}");
                    for grad in &batch.grads {
                        let grad = grad.row(0);
                        let zero = grad.iter().all(|&g| g == T::ZERO);
                        assert!(if nan { all_nan(grad) } else { zero }, "{which}: {grad:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn rows_without_a_direction_are_at_a_right_angle_to_everything_but_nan() {
    no_direction_in::<f32>();
    no_direction_in::<f64>();
}

fn nan_in<T: Element>() {
    let n = 40;
    for cols in COLS.into_iter().filter(|&cols| cols > 0) {
        for (isa, distance) in tiers().into_iter().flat_map(|isa| DISTANCES.map(|d| (isa, d))) {
            let mut batch = Batch::<T>::new([n, cols], Layout::DENSE, 15);
            batch.run(&serial(isa), distance);
            let clean = batch.bits();
            for (poisoned, k) in [(0, 0), (17, cols / 2), (n - 1, cols - 1)] {
                for side in 0..2 {
                    let mut batch = Batch::<T>::new([n, cols], Layout::DENSE, 15);
                    let target = if side == 0 { &mut batch.a } else { &mut batch.b };
                    target.mat_mut().row_mut(poisoned)[k] = T::NAN;
                    batch.run(&serial(isa), distance);
                    let which = format!("{isa}: {distance:?}, {cols} columns, ({poisoned}, {k})");
                    for i in 0..n {
                        assert_eq!(batch.out.row(0)[i].is_nan(), i == poisoned, "{which}, {i}");
                    }
                    for (grad, own_side) in [(0, side == 0), (1, side == 1)] {
                        let clean = &clean[1 + grad];
                        for i in 0..n {
                            let row = batch.grads[grad].row(i);
                            let depends = |j: usize| match distance {
                                _ if i != poisoned => false,
                                Distance::SquaredEuclidean => j == k,
                                Distance::Dot => j == k && !own_side,
                                _ => true,
                            };
                            for j in 0..cols {
                                let expected = clean[i * cols + j];
                                let same = row[j].bits() == expected;
                                // The elements beside the NaN of a dot product are as they were.
                                let as_promised = if depends(j) { row[j].is_nan() } else { same };
                                assert!(
                                    as_promised,
                                    "{which}: grad {grad}[{i}][{j}] is {}",
                                    row[j]
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn nan_reaches_what_depends_on_it_and_no_more() {
    nan_in::<f32>();
    nan_in::<f64>();
}

fn nan_upstream_in<T: Element>() {
    let zero = [T::ZERO; 6];
    let (x, upstream) = ([1.0, 2.0, 3.0, 1.0, 2.0, 3.0].map(T::from_f64), [T::NAN, T::ONE]);
    for (isa, distance) in tiers().into_iter().flat_map(|isa| DISTANCES.map(|d| (isa, d))) {
        // Distinct rows, equal rows, and rows without a direction.
        for (a, b) in [(x, zero), (x, x), (zero, zero)] {
            let mut batch = Batch::of(3, &a, &b, &upstream);
            batch.run(&serial(isa), distance);
            for grad in &batch.grads {
                assert!(all_nan(grad.row(0)), "{isa}: {distance:?}: {:?}", grad.row(0));
                assert!(grad.row(1).iter().all(|g| g.is_finite()), "{isa}: {distance:?}");
            }
            assert!(batch.out.row(0).iter().all(|d| d.is_finite()), "{isa}: {distance:?}");
        }
    }
}

#[test]
fn a_nan_in_upstream_reaches_its_row_even_where_the_distance_is_zero() {
    nan_upstream_in::<f32>();
    nan_upstream_in::<f64>();
}

fn infinities_in<T: Element>() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let expected = |distance| match distance {
        // The other coordinate's difference is 1, over an infinite distance.
        Distance::Euclidean => (inf, [nan, 0.0]),
        Distance::SquaredEuclidean => (inf, [inf, 2.0]),
        Distance::Dot => (inf, [1.0, 1.0]),
        _ => (nan, [nan, nan]),
    };
    for (isa, distance) in tiers().into_iter().flat_map(|isa| DISTANCES.map(|d| (isa, d))) {
        let (a, b) = ([T::INFINITY, T::from_f64(2.0)], [T::ONE, T::ONE]);
        let mut batch = Batch::of(2, &a, &b, &[T::ONE]);
        batch.run(&serial(isa), distance);
        let (value, grad_a) = expected(distance);
        let same = |x: f64, y: f64| x == y || (x.is_nan() && y.is_nan());
        assert!(same(batch.out.row(0)[0].to_f64(), value), "{isa}: {distance:?}");
        for (got, expected) in wide(batch.grads[0].row(0)).into_iter().zip(grad_a) {
            assert!(same(got, expected), "{isa}: {distance:?}: {got}, expected {expected}");
        }
    }
}

#[test]
fn infinities_follow_the_formula() {
    infinities_in::<f32>();
    infinities_in::<f64>();
}
