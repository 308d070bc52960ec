//! Whole networks on every tier against the portable one.

use drlim::nn::{Dense, Network, Shape};
use drlim::{Cx, Isa, Par, Tier};

use super::{assert_agree, mixed_network, pass, serial};
use crate::support::tiers;

#[test]
fn tiers_agree_on_a_whole_network() {
    let net = mixed_network();
    for samples in [1, 5, 33, 129] {
        let portable = serial(Isa::new(Tier::Portable).unwrap());
        let expected = pass(&net, &portable, samples, samples);
        for isa in tiers() {
            let got = pass(&net, &Cx { isa, par: Par::Rayon }, samples, samples);
            assert_agree(&got, &expected, 1e-12, &format!("{samples} samples on {isa}"));
        }
    }
}

/// Weights on both sides of what a block of samples reads from an L2, and of those whose gradient
/// `matrixmultiply` computes on AVX-512 from 512 samples on (2^21).
#[test]
fn large_dense_layers_agree_with_the_portable_tier_on_any_number_of_threads() {
    for (inputs, outputs, batches) in [
        (701, 203, &[0, 3, 131, 260][..]),
        (701, 603, &[0, 3, 131, 260]),
        (1500, 1390, &[513]),
        (1500, 1400, &[511, 513]),
    ] {
        let input = Shape::flat(inputs);
        let net = Network::<f64>::builder(input).layer("f", Dense::new(outputs)).build(1).unwrap();
        for &samples in batches {
            let portable = serial(Isa::new(Tier::Portable).unwrap());
            let expected = pass(&net, &portable, samples, samples);
            for isa in tiers() {
                let got = pass(&net, &Cx { isa, par: Par::Rayon }, samples, samples);
                let which = format!("{samples} samples of {inputs} to {outputs} on {isa}");
                assert!(got == pass(&net, &serial(isa), samples, samples), "threads, {which}");
                for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
                    let error = (got - expected).abs();
                    assert!(error <= 1e-12 * inputs as f64, "{which}: {got}, {expected}");
                }
            }
        }
    }
}
