//! `optimizers.safetensors`: six steps of each optimizer from `start`, with gradients `grads` (steps
//! x parameters); `params` are the parameters after each.
//!
//! The files do not hold the settings. They are: `sgd` rate 0.1; `sgd_momentum` rate 0.1, momentum
//! 0.9; `adam` rate 0.01 with its defaults.

use drlim::optim::{Adam, Optimizer, Sgd};
use drlim::{Cx, Par};

use crate::support::{Element, Reference, tiers};

fn compare<T: Element, O: Optimizer<T>>(
    reference: &Reference,
    case: &str,
    rate: f64,
    optimizer: impl Fn() -> O,
) {
    for isa in tiers() {
        let cx = Cx { isa, par: Par::Rayon };
        let mut optimizer = optimizer();
        let mut params = reference.reals::<T>(case, "start");
        let mut history = Vec::new();
        for grad in reference.reals::<T>(case, "grads").chunks(params.len()) {
            optimizer.step(&cx, rate, &mut params, grad).unwrap();
            history.extend_from_slice(&params);
        }
        reference.compare(case, "params", &history, &isa.to_string());
    }
}

fn all<T: Element>(reference: &Reference) {
    compare::<T, _>(reference, "sgd", 0.1, Sgd::new);
    compare::<T, _>(reference, "sgd_momentum", 0.1, || Sgd::new().momentum(0.9).unwrap());
    compare::<T, _>(reference, "adam", 0.01, Adam::new);
}

#[test]
fn optimizers_agree() {
    let reference = Reference::open("optimizers");
    all::<f64>(&reference);
    all::<f32>(&reference);
    reference.report("optimizers_agree");
}
