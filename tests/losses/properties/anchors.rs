//! Properties of losses of anchors, and that the kit catches losses that lack them.

use drlim::Isa;
use drlim::loss::{Anchor, AnchorSums, BlockAnchorLoss, Positives, Softmax};
use drlim::properties::{AnchorCheck, Candidates, candidates, margins};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::faults::is_caught;
use crate::support::anchors::AnchorFormula;
use crate::support::{serial, tiers};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn losses_of_anchors_have_every_property(
        candidates in candidates(0..=6, 0..=40),
        scale in margins::<f64>(),
    ) {
        for formula in AnchorFormula::all(scale) {
            let loss = formula.loss();
            for isa in tiers() {
                AnchorCheck::new(&*loss).on(serial(isa)).all(&candidates)?;
            }
        }
    }
}

/// A softmax whose similar pairs each cost by themselves, with a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// Exponents depend on the place.
    Place,
    /// What similar pairs cost depends on how many there are beside.
    Crowd,
    /// Exponents are squares.
    Square,
    /// The value has the wrong sign.
    Sign,
}

fn softmax() -> Softmax<f64> {
    Softmax::scale(4.0).unwrap().positives(Positives::Each)
}

impl BlockAnchorLoss<f64> for Fault {
    fn exponents_block(&self, isa: Isa, u: &mut [f64], rates: &mut [f64], similar: bool) {
        softmax().exponents_block(isa, u, rates, similar);
        for (i, x) in u.iter_mut().enumerate() {
            match self {
                Fault::Place => *x += 1e-4 * i as f64,
                Fault::Square => *x *= *x,
                _ => {}
            }
        }
    }

    fn anchor_block(&self, sums: &AnchorSums) -> Anchor {
        let anchor = softmax().anchor_block(sums);
        let sign = if *self == Fault::Sign { -1.0 } else { 1.0 };
        Anchor { value: sign * anchor.value, ..anchor }
    }

    fn weights_block(&self, isa: Isa, x: &mut [f64], similar: bool, terms: [&[f64]; 4]) {
        softmax().weights_block(isa, x, similar, terms);
    }

    fn each_block(&self, isa: Isa, x: &mut [f64], second: &mut [f64], terms: [&[f64]; 4]) {
        softmax().each_block(isa, x, second, terms);
        let crowd = if *self == Fault::Crowd { 1e-4 * x.len() as f64 } else { 0.0 };
        x.iter_mut().for_each(|x| *x *= 1.0 + crowd);
    }

    fn looks_twice_block(&self) -> bool {
        true
    }

    fn shift_invariant_block(&self) -> bool {
        true
    }
}

type Property = fn(&AnchorCheck, &Candidates) -> TestCaseResult;

#[test]
fn a_loss_of_anchors_that_lacks_a_property_is_caught() {
    let catches = |fault: Fault, property: Property| {
        is_caught(candidates(2..=6, 2..=9), |drawn| property(&AnchorCheck::new(&fault), drawn))
    };
    let properties: [(Fault, Property); 4] = [
        (Fault::Place, |check, drawn| check.permutation(drawn)),
        (Fault::Crowd, |check, drawn| check.merging(drawn)),
        (Fault::Square, |check, drawn| check.shift(drawn)),
        (Fault::Sign, |check, drawn| check.rise(drawn)),
    ];
    let all: Property = |check, drawn| check.all(drawn);
    for (fault, property) in properties {
        assert!(catches(fault, property), "{fault:?} passes");
        assert!(catches(fault, all), "{fault:?} passes all");
        assert!(!catches(Fault::None, property), "a right loss does not pass what {fault:?} lacks");
    }
    assert!(!catches(Fault::None, all));
}
