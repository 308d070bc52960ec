//! NaN, infinities, and rows without elements.

use drlim::Mat;
use drlim::batch::{CrossOut, CrossScratch, CrossSimilar, cross};
use drlim::loss::{Objective, Reduction};

use super::sides::{Called, Sides};
use super::{MARGIN, serial};
use crate::support::{Element, tiers};

/// A NaN in a query reaches all keys that it has a pair with, and no other query.
fn poisoned<T: Element>(d: usize) {
    let (n, m, row, k) = (40, 70, 13, d / 2);
    let mut sides = Sides::<T>::random([n, m], d, 7);
    sides.z[0][row * d + k] = T::NAN;
    let [mut of_n, of_m] = [vec![0; n], vec![0; m]];
    for isa in tiers() {
        let run = |sides: &Sides<T>, queries: &[i64], ignored| {
            let similar = CrossSimilar::Labels { queries, keys: &of_m, ignored };
            sides.run(&serial(isa), Reduction::BalancedNonZero, (similar, None))
        };
        // Similar pairs have a slope of 1 whatever their distance is.
        let Called { outcome, grads } = run(&sides, &of_n, None);
        assert!(outcome.value.is_nan());
        for (at, g) in grads[0].iter().enumerate() {
            assert_eq!(g.is_nan(), at == row * d + k, "query {at} is {g} on {isa}");
        }
        for (at, g) in grads[1].iter().enumerate() {
            assert_eq!(g.is_nan(), at % d == k, "key {at} is {g} on {isa}");
        }
        // Dissimilar ones have a slope of NaN.
        of_n[row] = 1;
        let Called { grads, .. } = run(&sides, &of_n, None);
        for (at, g) in grads[0].iter().enumerate() {
            assert_eq!(g.is_nan(), at / d == row, "query {at} is {g} on {isa}");
        }
        assert!(grads[1].iter().all(|g| g.is_nan()), "{isa}");
        // Left out, it leaves nothing behind.
        let Called { outcome, grads } = run(&sides, &of_n, Some(1));
        assert!(outcome.value.is_finite());
        assert!(grads.concat().iter().all(|g| g.is_finite()), "{isa}");
        assert!(grads[0][row * d..][..d].iter().all(|&g| g == T::ZERO), "{isa}");
        // At infinity a dissimilar pair costs nothing.
        let mut far = Sides { z: sides.z.clone(), ..sides };
        far.z[0][row * d + k] = T::INFINITY;
        let Called { outcome, grads } = run(&far, &of_n, None);
        assert!(outcome.value.is_finite());
        assert!(grads.concat().iter().all(|g| g.is_finite()), "{isa}");
        of_n[row] = 0;
    }
}

#[test]
fn nan_and_infinity_reach_what_depends_on_them_and_nothing_else() {
    for d in [1, 2, 3, 20] {
        poisoned::<f32>(d);
        poisoned::<f64>(d);
    }
}

#[test]
fn rows_without_elements_are_coincident() {
    let loss = f32::contrastive(MARGIN);
    let [queries, keys] = [2, 3].map(|n| Mat::new(&[], n, 0).unwrap());
    let similar = CrossSimilar::Labels { queries: &[0, 1], keys: &[0, 0, 1], ignored: None };
    for isa in tiers() {
        let (objective, out) = (Objective::sum(&*loss), CrossOut::none());
        let mut scratch = CrossScratch::new();
        let outcome =
            cross(&serial(isa), &objective, queries, keys, similar, None, out, &mut scratch);
        assert_eq!(outcome.unwrap().value, 3.0 / 2.0);
    }
}
