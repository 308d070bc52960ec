//! Every distance is that of its rows: within 1e-4 of itself in `f32` and 2e-13 in `f64`, wherever the
//! rows lie and whatever else is in the batch.
//!
//! Read from `distance_matrix`, which measures pairs by the same tiles as losses do, and for some pairs
//! from `all_pairs`, as the value of a batch in which they alone are similar.

use drlim::batch::{AllPairsScratch, all_pairs, distance_matrix};
use drlim::loss::{Objective, Reduction};
use drlim::{Graph, Mat, MatMut, Similar};

use super::batch::Batch;
use super::{MARGIN, serial};
use crate::support::element::{same, wide};
use crate::support::oracle::squared_distance;
use crate::support::{Element, Guarded, Random, tiers};

/// Rows of a batch: panels of every tier, and a ragged one.
const ROWS: usize = 70;

/// What |d - d_f64| may be, relative to d.
fn promised<T: Element>() -> f64 {
    if size_of::<T>() == 4 { 1e-4 } else { 2e-13 }
}

/// Batches on which faster formulas go wrong, with what they are.
fn batches<T: Element>(d: usize) -> Vec<(String, Batch<T>)> {
    let mut batches = Vec::new();
    let mut random = Random::new(30);
    let mut add = |what: String, value: &mut dyn FnMut(usize, usize, f64) -> f64| {
        let value = |at| value(at / d, at % d, 2.0 * random.unit() - 1.0);
        batches.push((what, Batch::<T>::new([ROWS, d], value)));
    };
    for origin in [0.0, 1e4, 1e6] {
        add(format!("{origin} from 0"), &mut |_, _, x| origin + x);
        // pytorch#42479: squares of such numbers differ by less than they are rounded by.
        add(format!("integers {origin} from 512695"), &mut |i, _, x| {
            512695.0 + origin + (109 * (i % 3)) as f64 + (9.0 * x).round()
        });
    }
    for spread in [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6] {
        add(format!("clusters within {spread}"), &mut |i, k, x| {
            ((i / 8 * 31 + k * 17) % 13) as f64 - 6.0 + spread * x
        });
    }
    for scale in [1e-18, 1e-12, 1e-6, 1e6, 1e12, 1e18, 1e38] {
        add(format!("of size {scale}"), &mut |_, _, x| scale * x);
        // Every distance near the share of the norms from which on products are exact enough.
        add(format!("on a thin shell of size {scale}"), &mut |i, _, x| {
            scale * (if i % 2 == 0 { 1.0 } else { -1.0 } + 0.3 * x)
        });
    }
    add("collapsed".into(), &mut |_, _, _| 0.1);
    for stranger in [f64::NAN, f64::INFINITY, 1e30, 1e15, 1e5] {
        add(format!("with a row at {stranger}"), &mut |i, k, x| match (i, k) {
            (5, 0) => stranger,
            _ => x,
        });
    }
    for (_, batch) in &mut batches {
        // Rows that are equal, next to each other and far apart.
        for (from, to) in [(0, 1), (3, 40), (20, ROWS - 1)] {
            batch.z.copy_within(from * d..(from + 1) * d, to * d);
        }
    }
    batches
}

/// Whether a distance is what it must be.
fn is_right<T: Element>(got: T, d2: f64) -> bool {
    let (got, d) = (got.to_f64(), d2.sqrt());
    match () {
        () if d2 == 0.0 => got == 0.0,
        () if d2.is_nan() => got.is_nan(),
        // Squares that underflow or overflow are not promised anything but not to be NaN.
        () if d2 < T::MIN_POSITIVE.to_f64() => (0.0..=2.0 * d).contains(&got),
        () if d2 > 0.99 * T::MAX.to_f64() => got == f64::INFINITY || (got - d).abs() <= 1e-3 * d,
        () => (got - d).abs() <= promised::<T>() * d,
    }
}

fn keeps_the_promise<T: Element>() {
    for d in [1, 2, 3, 4, 5, 17, 64, 128, 129, 257, 700] {
        for (what, batch) in batches::<T>(d) {
            let rows: Vec<Vec<f64>> = batch.z().iter().map(wide).collect();
            let exact = |i: usize, j: usize| squared_distance(&rows[i], &rows[j]);
            let d2: Vec<f64> = (0..ROWS * ROWS).map(|at| exact(at / ROWS, at % ROWS)).collect();
            for isa in tiers() {
                let mut got = Guarded::output(1, [ROWS; 2], ROWS + 1);
                distance_matrix(&serial(isa), batch.z(), batch.z(), got.mat_mut()).unwrap();
                let got: Vec<T> = got.checked("distances");
                for (at, (&d, &d2)) in got.iter().zip(&d2).enumerate() {
                    let (i, j) = (at / ROWS, at % ROWS);
                    let case = || format!("{what}: {i} and {j} in {} on {isa}", T::NAME);
                    assert!(is_right(d, d2), "{}: {d}, not {}", case(), d2.sqrt());
                    assert!(same(d, got[j * ROWS + i]), "{}: {d} one way", case());
                }
            }
        }
    }
}

#[test]
fn a_distance_is_that_of_its_rows_whatever_is_around_them() {
    keeps_the_promise::<f32>();
    keeps_the_promise::<f64>();
}

/// The pair that alone is similar costs d²/2, and pulls by its difference: to the bit where it is much
/// closer than its rows are to the center of the batch, and to some roundings of their distance r from that elsewhere.
fn keeps_the_promise_in_losses<T: Element>() {
    let (loss, mut scratch) = (T::contrastive(MARGIN), AllPairsScratch::new());
    let reduction = Reduction::Factors { similar: 1.0, dissimilar: 0.0 };
    let objective = Objective::sum(&*loss).reduced(reduction);
    for d in [1, 3, 4, 17, 128, 700] {
        // A factor of 0 leaves the dissimilar pairs of a row out unless it is NaN.
        let batches = batches::<T>(d).into_iter();
        for (what, batch) in batches.filter(|(_, batch)| !batch.z.iter().any(|x| x.is_nan())) {
            let rows: Vec<Vec<f64>> = batch.z().iter().map(wide).collect();
            let finite: Vec<&Vec<f64>> =
                rows.iter().filter(|row| row.iter().all(|x| x.is_finite())).collect();
            // The number that is nearest to the mean, of those that rows have there.
            let mean =
                |k: usize| finite.iter().map(|row| row[k]).sum::<f64>() / finite.len() as f64;
            let center: Vec<f64> = (0..d)
                .map(|k| {
                    let far = |x: &f64| (x - mean(k)).abs();
                    let all = finite.iter().map(|row| row[k]);
                    all.min_by(|x, y| far(x).total_cmp(&far(y))).unwrap()
                })
                .collect();
            for (i, j) in [(0, 1), (8, 9), (33, 32), (5, 6), (2, 68)] {
                let graph = Graph::from_pairs(ROWS, &[(i as u32, j as u32)]).unwrap();
                let similar = Similar::Graph(&graph);
                let d2 = squared_distance(&rows[i], &rows[j]);
                let norms =
                    squared_distance(&rows[i], &center) + squared_distance(&rows[j], &center);
                for isa in tiers() {
                    let case = format!("{what}: {i} and {j}, D = {d}, {} on {isa}", T::NAME);
                    let mut grad = Guarded::output(1, [ROWS, d], d + 1);
                    let (cx, to) = (serial(isa), Some(grad.mat_mut()));
                    let outcome = all_pairs(&cx, &objective, batch.z(), similar, to, &mut scratch);
                    let grad: Vec<T> = grad.checked("grad");
                    let value = outcome.unwrap().sums.similar.sum;
                    let got = T::from_f64((2.0 * value).sqrt());
                    assert!(is_right(got, d2), "{case}: {got}, not {}", d2.sqrt());
                    let close = d2 < 0.8e-6 * norms || !norms.is_finite();
                    let roundings = if close { 1.0 } else { 8.0 };
                    let size = if close { 0.0 } else { norms.sqrt() };
                    for k in 0..d {
                        let difference = rows[i][k] - rows[j][k];
                        let size = size + difference.abs();
                        let allowed = roundings * T::EPSILON.to_f64() * size;
                        for (row, expected) in [(i, difference), (j, -difference)] {
                            let got = grad[row * d + k].to_f64();
                            let right = (got - expected).abs() <= allowed;
                            let right = right || got == expected || d2.is_nan() && got.is_nan();
                            assert!(right, "{case}: gradient {got}, not {expected}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn the_gradient_of_a_pair_is_that_of_its_difference() {
    keeps_the_promise_in_losses::<f32>();
    keeps_the_promise_in_losses::<f64>();
}

/// A pair just at the share of the norms where products begin to be exact enough: it is measured the
/// same way whether others near it are or not.
#[test]
fn a_distance_depends_on_its_pair_alone() {
    let [x, y] = [0x2dc1_4190, 0x2dd8_83e7].map(f32::from_bits);
    for isa in tiers() {
        // Their mean is 0, whichever of them there are.
        let distance = |b: &[f32]| {
            let mut got = vec![f32::NAN; 2 * b.len()];
            let to = MatMut::new(&mut got, 2, b.len()).unwrap();
            let (a, b) = ([x, -x], Mat::new(b, b.len(), 1).unwrap());
            distance_matrix(&serial(isa), Mat::new(&a, 2, 1).unwrap(), b, to).unwrap();
            got[0]
        };
        let (alone, beside_close_ones) = (distance(&[y, -y]), distance(&[y, -y, x, -x]));
        assert_eq!(alone.to_bits(), beside_close_ones.to_bits(), "{isa}");
    }
}
