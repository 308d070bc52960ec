//! The documented error bounds, over inputs that are hard on them, on every tier.

#![forbid(unsafe_code)]

mod measure;

use crate::support::{Element, serial, tiers};
use drlim::Mat;
use drlim::batch::{Distance, row_distances};
use measure::bounds::{self, Sizes};
use measure::formulas::{lost, squared_distance, wide};
use measure::inputs::Class;
use measure::record::{Case, Exact, Record};
use measure::{KERNELS, Plan};
use proptest::prelude::*;

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
        let compared = line.tiers.iter().all(|(_, worst)| worst.results > 0);
        assert!(compared, "{} {}: a tier was not compared", bound.kernel, bound.result);
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
        #[test]
        fn every_kernel_is_tested() {
            let all: Vec<&str> = KERNELS.iter().map(|kernel| kernel.name).collect();
            assert_eq!(all, [$($name),*]);
        }

        $(#[test]
        fn $test() {
            check::<f32>($name);
            check::<f64>($name);
        })*
    };
}

tests! {
    functions_keep_their_bounds: "functions";
    row_distances_keep_their_bounds: "row_distances";
    cross_entropy_keeps_its_bounds: "cross_entropy";
    losses_by_rows_keep_their_bounds: "rows";
    sums_of_values_keep_their_bound: "sums";
    losses_of_lists_keep_their_bounds: "indexed";
    triplets_by_rows_keep_their_bounds: "triplet_rows";
    all_pairs_keep_their_bounds: "all_pairs";
    pairs_across_keep_their_bounds: "cross";
    anchors_of_a_batch_keep_their_bounds: "all_anchors";
    anchors_across_keep_their_bounds: "cross_anchors";
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
    let held = measure::specials::check::<T>(&tiers(), 1);
    assert!(!held.is_empty() && held.iter().all(|held| held.positions > 0));
    let broken = held.iter().filter_map(|held| {
        let broken = held.broken.as_ref()?;
        Some(format!("{} of {} on {}: {broken}", held.name, held.element, held.isa))
    });
    let broken: Vec<String> = broken.collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn nan_and_infinities_reach_what_depends_on_them_and_no_more() {
    check_specials::<f32>();
    check_specials::<f64>();
}

/// # Panics
/// Where the squared distance of two rows is further off than its bound.
fn check_rows<T: Element>(a: &[f64], b: &[f64]) {
    let [a, b] = [a, b].map(|row| row.iter().map(|&x| T::from_f64(x)).collect::<Vec<T>>());
    let d = a.len();
    let exact = Exact::term(squared_distance(&wide(&a), &wide(&b))).losing(lost::<T>(d));
    let mut record = Record::new::<T>(&tiers());
    for isa in tiers() {
        let (mut got, view) = ([T::NAN], |row| Mat::new(row, 1, d).unwrap());
        let distance = Distance::SquaredEuclidean;
        row_distances(&serial(isa), distance, view(&a), view(&b), &mut got).unwrap();
        let case = Case { class: Class::Mixed, sizes: Sizes { d, n: 1 } };
        record.compare::<T>(&bounds::SQUARED, isa, case, [got[0].to_f64()], [exact]);
    }
    for (isa, worst) in &record.lines[0].tiers {
        assert!(worst.share() <= 1.0, "{isa}: {worst:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Elements x 2^e, of which the second row has some a few ULP away.
    #[test]
    fn any_two_rows_keep_the_bound(
        elements in prop::collection::vec((-1.0..1.0_f64, -30..30, 0..4, -1.0..1.0_f64), 1..300),
    ) {
        let a: Vec<f64> = elements.iter().map(|&(x, e, ..)| x * 2.0_f64.powi(e)).collect();
        let b: Vec<f64> = elements.iter().zip(&a).map(|(&(_, e, near, y), a)| match near {
            0 => y * 2.0_f64.powi(e),
            near => a * (1.0 + f64::from(near) * f64::from(f32::EPSILON)),
        }).collect();
        check_rows::<f32>(&a, &b);
        check_rows::<f64>(&a, &b);
    }
}
