//! The documented error bounds, over inputs that are hard on them, on every tier.

#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;
mod measure;

use common::{Element, tiers};
use measure::record::Record;
use measure::{KERNELS, Plan};

/// # Panics
/// Where a bound is exceeded.
fn check<T: Element>(name: &str) {
    let kernel = KERNELS.iter().find(|kernel| kernel.name == name).expect("a kernel");
    let mut record = Record::new::<T>(&tiers());
    (kernel.measure[usize::from(size_of::<T>() == 8)])(&Plan::small(1), &mut record);
    assert!(!record.lines.is_empty(), "{name} measured nothing");
    for line in &record.lines {
        let (bound, (isa, worst)) = (line.bound, line.worst());
        let (kernel, result, element) = (bound.kernel, bound.result, line.element);
        println!(
            "{kernel:16} {result:28} {element} {isa:8} {:9.3} of {:8.2} {:5.1}% {:9.3e} ULP {:?}",
            worst.error,
            worst.allowed,
            100.0 * worst.share(),
            worst.ulps,
            worst.case
        );
    }
    for line in &record.lines {
        let (bound, (isa, worst)) = (line.bound, line.worst());
        assert!(
            worst.share() <= 1.0,
            "{} {} of {} on {isa}: {worst:?} is above {}",
            bound.kernel,
            bound.result,
            line.element,
            bound.text
        );
    }
}

macro_rules! tests {
    ($($test:ident: $name:literal;)*) => {
        $(#[test]
        fn $test() {
            check::<f32>($name);
            check::<f64>($name);
        })*
    };
}

tests! {
    functions_keep_their_bounds: "functions";
    activations_keep_their_bounds: "activations";
    row_distances_keep_their_bounds: "row_distances";
    losses_by_rows_keep_their_bounds: "rows";
    sums_of_values_keep_their_bound: "sums";
    losses_of_lists_keep_their_bounds: "indexed";
    triplets_by_rows_keep_their_bounds: "triplet_rows";
    all_pairs_keep_their_bounds: "all_pairs";
    pairs_across_keep_their_bounds: "cross";
    mined_triplets_keep_their_bounds: "triplets";
    matrices_keep_their_bound: "distance_matrix";
    neighbours_keep_their_bound: "nearest";
    dense_layers_keep_their_bounds: "dense";
    convolutions_keep_their_bounds: "conv2d";
    poolings_keep_their_bounds: "pooling";
    normalisation_keeps_its_bounds: "l2_normalize";
    optimizers_keep_their_bounds: "optimizers";
    norms_keep_their_bounds: "clip_norm";
}

/// # Panics
/// Where a NaN or an infinity does not reach what depends on it, or reaches more.
fn check_specials<T: Element>() {
    for held in measure::specials::check::<T>(&tiers(), 1) {
        let (name, element, isa) = (held.name, held.element, held.isa);
        assert!(held.broken.is_none(), "{name} of {element} on {isa}: {}", held.broken.unwrap());
        assert!(held.positions > 0, "{name} of {element} on {isa}");
    }
}

#[test]
fn nan_and_infinities_reach_what_depends_on_them_and_no_more() {
    check_specials::<f32>();
    check_specials::<f64>();
}
