//! Whole networks on every tier against the portable one.

use drlim::nn::{Dense, Network, Shape};
use drlim::{Cx, Isa, Par, Tier};

use super::common::tiers;
use super::{assert_agree, mixed_network, pass, serial};

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

#[test]
fn large_dense_layers_agree_with_the_portable_tier_on_any_number_of_threads() {
    let net =
        Network::<f64>::builder(Shape::flat(701)).layer("f", Dense::new(603)).build(1).unwrap();
    for samples in [0, 3, 131, 260] {
        let portable = serial(Isa::new(Tier::Portable).unwrap());
        let expected = pass(&net, &portable, samples, samples);
        for isa in tiers() {
            let got = pass(&net, &Cx { isa, par: Par::Rayon }, samples, samples);
            assert_eq!(got, pass(&net, &serial(isa), samples, samples));
            for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
                let error = (got - expected).abs();
                assert!(error <= 1e-12 * 700.0, "{samples} samples on {isa}: {got}, {expected}");
            }
        }
    }
}
