//! Values and gradients are those of the formula, at any length, alignment and stride.

use crate::distances::batch::{Batch, Layout};
use crate::distances::{COLS, DISTANCES, serial};
use crate::support::{Element, tiers};

fn formula_in<T: Element>() {
    for (seed, cols) in COLS.into_iter().enumerate() {
        let most: &[usize] =
            if cols <= 17 { &[0, 1, 2, 15, 16, 17, 33, 300] } else { &[1, 17, 33] };
        for &n in most {
            let mut layout = Layout::DENSE;
            if n % 2 == 1 {
                layout.offsets = std::array::from_fn(|m| (seed + 5 * m + n) % 16);
                layout.gaps = std::array::from_fn(|m| (seed + n / 2 + m) % 4);
            }
            let mut batch = Batch::<T>::new([n, cols], layout, seed as u64);
            for distance in DISTANCES {
                let expected = batch.expected(distance);
                for isa in tiers() {
                    batch.run(&serial(isa), distance);
                    let which =
                        format!("{isa}: {distance:?} of {n} x {cols} {}, {layout:?}", T::NAME);
                    batch.check(&expected, &which);
                }
            }
        }
    }
}

#[test]
fn values_and_gradients_are_those_of_the_formula() {
    formula_in::<f32>();
    formula_in::<f64>();
}
