//! Arbitrary bytes as a checkpoint: no panic, no memory beyond what is there, and all or nothing.

#![no_main]

use drlim::checkpoint::{Load, from_bytes, to_bytes};
use drlim::nn::{Dense, Network, Shape};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let network = |seed| {
        Network::<f32>::builder(Shape::flat(3)).layer("out", Dense::new(2)).build(seed).unwrap()
    };
    let mut net = network(1);
    // Whatever is taken as it is, is taken as well where more is allowed.
    let mut allowed = network(1);
    let taken = Load::new().widened().network_from_bytes(&mut allowed, bytes);
    let mut part = network(1);
    if Load::new().prefix("o").widened().network_from_bytes(&mut part, bytes).is_err() {
        assert_eq!(part.params(), network(1).params());
    }
    if from_bytes(&mut net, bytes).is_err() {
        assert_eq!(net.params(), network(1).params());
        return;
    }
    assert_eq!(taken, Ok(()));
    let bits = |of: &Network<f32>| of.params().iter().map(|p| p.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&allowed), bits(&net));
    let saved = to_bytes(&net).unwrap();
    let tensors = 4 * net.params().len();
    assert!(bytes.len() >= 8 + tensors && saved.len() >= 8 + tensors);
    let mut again = network(2);
    from_bytes(&mut again, &saved).unwrap();
    assert_eq!(to_bytes(&again).unwrap(), saved);
});
