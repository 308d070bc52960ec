//! Layers that run together: activations within the layer before them, and a convolution that goes
//! backward with the pooling after it.

use drlim::nn::{Network, Shape};
use drlim::{Isa, Tier, gradcheck};
use proptest::prelude::*;

use super::stack::{ACTIVATIONS, Spec, build, network};
use super::{around_a_group, assert_agree, lanes, pass, serial};
use crate::support::{Element, tiers};

/// Windows that tile, overlap, and leave gaps.
const POOLINGS: [Spec; 7] = [
    Spec::Avg { kernel: 2, stride: 2 },
    Spec::Avg { kernel: 3, stride: 2 },
    Spec::Avg { kernel: 2, stride: 3 },
    Spec::Max { kernel: 2, stride: 2 },
    Spec::Max { kernel: 3, stride: 2 },
    Spec::Max { kernel: 2, stride: 3 },
    Spec::Subsample(2),
];

const CONV: Spec = Spec::Conv { maps: 3, kernel: [2, 3], stride: 1, padding: 1 };

/// A convolution, an activation or none, a pooling, an activation or none.
fn chains() -> Vec<Vec<Spec>> {
    let optional = || ACTIVATIONS.map(|f| vec![f]).into_iter().chain([vec![]]);
    let mut chains = Vec::new();
    for before in optional() {
        for pooling in POOLINGS {
            for after in optional() {
                chains.push([vec![CONV], before.clone(), vec![pooling], after].concat());
            }
        }
    }
    chains
}

/// The error of the gradients. Near a kink finite differences are wrong; other draws then tell.
fn gradient_error(net: &mut Network<f64>, specs: &[Spec], samples: usize, seed: u64) -> f64 {
    let draws = if specs.iter().any(|spec| spec.has_kinks()) { 4 } else { 1 };
    let mut errors = (0..draws)
        .map(|draw| gradcheck::check_network(net, samples, seed.wrapping_add(draw)).unwrap().error);
    let first = errors.next().unwrap_or(f64::INFINITY);
    // No more draws than are needed.
    if first < 1e-7 { first } else { errors.fold(first, f64::min) }
}

#[track_caller]
fn assert_gradient(input: Shape, specs: &[Spec], samples: usize) {
    let error = gradient_error(&mut network(input, specs), specs, samples, 1);
    assert!(error < 1e-7, "{samples} of {input} through {specs:?}: {error:e}");
}

#[test]
fn gradients_of_every_chain_hold() {
    let lanes = lanes::<f64>(Isa::default());
    for chain in chains() {
        assert_gradient(Shape::image(2, 5, 6), &chain, 1);
        assert_gradient(Shape::image(1, 4, 5), &chain, lanes + 1);
    }
}

/// Both passes of the layers together are those of each by itself, on every tier.
fn together_and_alone<T: Element>(input: Shape, specs: &[Spec], sizes: impl Fn(Isa) -> Vec<usize>) {
    let together = network::<T>(input, specs);
    let alone = build::<T>(input, specs, true).unwrap();
    assert_eq!(together.params(), alone.params());
    for isa in tiers() {
        for samples in sizes(isa) {
            let expected = pass(&alone, &serial(isa), samples, samples);
            let got = pass(&together, &serial(isa), samples, samples);
            let which = format!("{samples} of {input} through {specs:?} on {isa} in {}", T::NAME);
            assert_agree(&got, &expected, 500.0 * T::EPSILON.to_f64(), &which);
        }
    }
}

#[test]
fn layers_that_run_together_give_what_each_gives_alone() {
    for chain in chains() {
        let input = Shape::image(2, 7, 9);
        together_and_alone::<f32>(input, &chain, around_a_group::<f32>);
        together_and_alone::<f64>(input, &chain, around_a_group::<f64>);
    }
}

#[test]
fn activations_in_a_row_and_before_any_layer_of_images_are_all_computed() {
    let convolved = |rest: &[Spec]| [&[CONV][..], rest].concat();
    for chain in [
        vec![Spec::Tanh, CONV, Spec::Tanh],
        vec![Spec::Sigmoid, Spec::Avg { kernel: 2, stride: 2 }, Spec::Tanh, Spec::Sigmoid],
        convolved(&[Spec::Tanh, Spec::Sigmoid, Spec::ScaledTanh]),
        convolved(&[Spec::Sigmoid, Spec::Tanh, Spec::Max { kernel: 2, stride: 2 }]),
        convolved(&[Spec::Subsample(2), Spec::Tanh, Spec::Sigmoid, CONV, Spec::Relu]),
        convolved(&[Spec::Dense(5), Spec::Tanh, Spec::Tanh, Spec::Dense(2), Spec::Sigmoid]),
        // Poolings in a row, and a convolution of the whole image with its activation.
        convolved(&[Spec::Avg { kernel: 2, stride: 1 }, Spec::Max { kernel: 2, stride: 2 }]),
        vec![Spec::Conv { maps: 4, kernel: [7, 9], stride: 1, padding: 0 }, Spec::ScaledTanh],
    ] {
        let input = Shape::image(2, 7, 9);
        together_and_alone::<f32>(input, &chain, around_a_group::<f32>);
        together_and_alone::<f64>(input, &chain, around_a_group::<f64>);
        assert_gradient(input, &chain, 2);
    }
}

/// Gradients of maps that are taken in several bands, whose last one ends within a window, or in rows that
/// no window reaches.
#[test]
fn a_convolution_and_its_pooling_agree_with_each_alone_where_there_are_several_bands() {
    let sizes = |isa| vec![lanes::<f32>(isa) + 1];
    for (height, pooling) in [
        (32, Spec::Subsample(3)),
        (34, Spec::Max { kernel: 3, stride: 3 }),
        (33, Spec::Avg { kernel: 2, stride: 3 }),
        (34, Spec::Max { kernel: 2, stride: 3 }),
        (33, Spec::Avg { kernel: 2, stride: 5 }),
    ] {
        let conv = Spec::Conv { maps: 15, kernel: [6, 6], stride: 1, padding: 0 };
        let chain = [conv, Spec::Tanh, pooling, Spec::Tanh];
        together_and_alone::<f32>(Shape::image(1, height, 32), &chain, sizes);
        together_and_alone::<f64>(Shape::image(1, height, 32), &chain, sizes);
    }
}

/// A left-over image whose patches are gathered, and take more than all maps between a convolution and its
/// pooling for a whole group, while those maps are the largest of the part.
#[test]
fn a_workspace_has_room_for_patches_beside_maps_that_no_gradient_is_held_of() {
    let conv = Spec::Conv { maps: 5, kernel: [10, 10], stride: 1, padding: 0 };
    for pooling in [Spec::Max { kernel: 2, stride: 2 }, Spec::Subsample(3)] {
        let input = Shape::image(1, 20, 20);
        together_and_alone::<f32>(input, &[conv, pooling], around_a_group::<f32>);
        together_and_alone::<f64>(input, &[conv, pooling], around_a_group::<f64>);
    }
}

fn layer() -> impl Strategy<Value = Spec> {
    let side = || 1_usize..4;
    let conv = (1_usize..5, side(), side(), side(), 0_usize..3);
    prop_oneof![
        3 => conv.prop_map(|(maps, height, width, stride, padding)| {
            Spec::Conv { maps, kernel: [height, width], stride, padding }
        }),
        1 => (side(), side()).prop_map(|(kernel, stride)| Spec::Avg { kernel, stride }),
        1 => (side(), side()).prop_map(|(kernel, stride)| Spec::Max { kernel, stride }),
        1 => side().prop_map(Spec::Subsample),
        3 => proptest::sample::select(ACTIVATIONS.to_vec()),
        1 => (1_usize..6).prop_map(Spec::Dense),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn gradients_of_any_stack_hold_and_tiers_agree_on_it(
        stack in proptest::collection::vec(layer(), 1..6),
        input in (1_usize..4, 1_usize..10, 1_usize..10),
        samples in 1_usize..20,
        seed: u64,
    ) {
        let input = Shape::image(input.0, input.1, input.2);
        let built = build::<f64>(input, &stack, false);
        prop_assume!(built.is_ok());
        let mut net = built.unwrap();
        let portable = serial(Isa::new(Tier::Portable).unwrap());
        let expected = pass(&net, &portable, samples, samples);
        for isa in tiers() {
            let got = pass(&net, &serial(isa), samples, samples);
            assert_agree(&got, &expected, 1e-11, &format!("{isa}"));
        }
        let few = samples.min(lanes::<f64>(Isa::default()) + 1);
        let error = gradient_error(&mut net, &stack, few, seed);
        prop_assert!(error < 1e-6, "{}", error);
    }
}
