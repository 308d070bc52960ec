//! The cosine distance of rows at small angles.

use drlim::batch::Distance;

use crate::distances::batch::Batch;
use crate::distances::twin::{Twin, dot};
use crate::distances::{COLS, serial};
use crate::support::element::wide;
use crate::support::{Element, Random, tiers};

/// Rows at an angle of `angle` and less, of any lengths.
fn nearly_parallel<T: Element>(cols: usize, angle: f64, random: &mut Random) -> [Vec<T>; 2] {
    let mut draw = || -> Vec<f64> { (0..cols).map(|_| random.between(-1.0, 1.0)).collect() };
    let (a, noise) = (draw(), draw());
    let share = angle * (dot(&a, &a) / dot(&noise, &noise)).sqrt();
    let b = a.iter().zip(&noise).map(|(a, noise)| T::from_f64(37.0 * (a + share * noise)));
    let b = b.collect();
    [a.into_iter().map(T::from_f64).collect(), b]
}

fn parallel_in<T: Element>() {
    let epsilon = T::EPSILON.to_f64();
    let mut random = Random::new(21);
    let twin = Twin::of::<T>(Distance::Cosine);
    for cols in COLS.into_iter().filter(|&cols| cols > 1) {
        for halvings in 1..T::EPSILON.to_f64().log2().abs() as i32 - 3 {
            let [a, b] = nearly_parallel::<T>(cols, 0.5_f64.powi(halvings), &mut random);
            let (wide_a, wide_b) = (wide(&a), wide(&b));
            let expected = twin.value(&wide_a, &wide_b);
            // That of the rows as they were rounded.
            let angle = (2.0 * expected).sqrt();
            let mut batch = Batch::of(cols, &a, &b, &[T::ONE]);
            for isa in tiers() {
                batch.run(&serial(isa), Distance::Cosine);
                let got = batch.out.row(0)[0].to_f64();
                // Half a rounding of each unit vector's elements, in the square; and norms that are
                // off by up to cols / 8 roundings, since four vectors of sums share the row.
                let norms = epsilon * (2.0 + cols as f64 / 8.0);
                let allowed = 2.0 * angle * epsilon + expected * 2.0 * norms + norms * norms;
                let error = (got - expected).abs();
                assert!(
                    error <= allowed,
                    "{} on {isa}: {cols} columns at an angle of {angle:e}: {got:e}, not {expected:e}: \
                     off by {error:e}, not {allowed:e}",
                    T::NAME
                );
                for (side, (x, y)) in
                    [(&wide_a, &wide_b), (&wide_b, &wide_a)].into_iter().enumerate()
                {
                    let length = |of: &[f64]| dot(of, of).sqrt();
                    let expected = twin.gradient(x, y);
                    let off: Vec<f64> = wide(batch.grads[side].row(0))
                        .iter()
                        .zip(&expected)
                        .map(|(got, expected)| got - expected)
                        .collect();
                    // Its own length is the angle over the row's.
                    assert!(
                        length(&off) <= (2.0 * epsilon + 2.0 * norms) / length(x),
                        "{} on {isa}: {cols} columns at an angle of {angle:e}: gradient off by {:e} \
                         of {:e}",
                        T::NAME,
                        length(&off),
                        length(&expected)
                    );
                }
            }
        }
    }
}

#[test]
fn nearly_parallel_rows_keep_their_relative_precision() {
    parallel_in::<f32>();
    parallel_in::<f64>();
    // What is promised, in one number: 1 - cos in f32 is off by 6e-8, or 0.12 of this.
    let (a, b) = ([1.0_f32, 0.0], [1.0_f32, 1e-3]);
    let expected = 1.0 - 1.0 / (1.0 + f64::from(b[1]).powi(2)).sqrt();
    for isa in tiers() {
        let mut batch = Batch::of(2, &a, &b, &[1.0]);
        batch.run(&serial(isa), Distance::Cosine);
        let relative = (f64::from(batch.out.row(0)[0]) / expected - 1.0).abs();
        assert!(relative < 3e-4, "{isa}: {relative:e}");
    }
}
