//! The check of a loss of anchors for its properties.

#![forbid(unsafe_code)]

use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestCaseResult};

use super::evaluate::near;
use crate::loss::{AnchorSums, BlockAnchorLoss, LogSum};
use crate::parallel::cx::Cx;
use crate::rng::Rng;

/// The candidates of an anchor: their similarities to it, those of the similar ones apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidates {
    similar: Vec<f64>,
    dissimilar: Vec<f64>,
    /// That of the random choices of properties.
    seed: u64,
}

impl Candidates {
    /// Candidates of one's own. Properties make their random choices by the seed.
    pub fn new(similar: Vec<f64>, dissimilar: Vec<f64>, seed: u64) -> Self {
        Candidates { similar, dissimilar, seed }
    }

    /// The similarities of the similar ones, and of the others.
    pub fn similarities(&self) -> [&[f64]; 2] {
        [&self.similar, &self.dissimilar]
    }

    /// With other similarities, each kind changed by itself.
    fn map(&self, mut change: impl FnMut(&mut Vec<f64>)) -> Self {
        let mut other = self.clone();
        change(&mut other.similar);
        change(&mut other.dissimilar);
        other
    }
}

/// Draws so many similar and dissimilar candidates, with similarities from -1 to 1.
pub fn candidates(
    similar: RangeInclusive<usize>,
    dissimilar: RangeInclusive<usize>,
) -> impl Strategy<Value = Candidates> + Clone {
    (vec(-1.0..1.0, similar), vec(-1.0..1.0, dissimilar), any::<u64>())
        .prop_map(|(similar, dissimilar, seed)| Candidates::new(similar, dissimilar, seed))
}

/// A loss of anchors in `f64`, to check for properties that a batch relies on: what its candidates are is all that
/// counts, not their order, nor which machine holds them.
///
/// Gradients are for [`check_anchor_loss`](crate::gradcheck::check_anchor_loss). Losses that look at both ends of
/// a pair cannot be checked by one anchor alone.
///
/// ```
/// use drlim::loss::Softmax;
/// use drlim::properties::{AnchorCheck, candidates};
/// use proptest::prelude::*;
///
/// proptest! {
/// # #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..Default::default() })]
/// # /*
///     #[test]
/// # */
///     fn the_softmax_is_sound(candidates in candidates(0..=5, 0..=20)) {
///         AnchorCheck::new(&Softmax::scale(8.0).unwrap()).all(&candidates)?;
///     }
/// }
/// # the_softmax_is_sound();
/// ```
#[derive(Clone, Copy)]
pub struct AnchorCheck<'l> {
    loss: &'l dyn BlockAnchorLoss<f64>,
    cx: Cx,
}

/// Exponents of similar and of dissimilar pairs.
type Exponents<'x> = [&'x [f64]; 2];

impl<'l> AnchorCheck<'l> {
    /// A loss.
    pub fn new(loss: &'l dyn BlockAnchorLoss<f64>) -> Self {
        AnchorCheck { loss, cx: Cx::default() }
    }

    /// This check on another tier.
    pub fn on(self, cx: Cx) -> Self {
        AnchorCheck { cx, ..self }
    }

    /// All of them: [`permutation`](AnchorCheck::permutation), [`merging`](AnchorCheck::merging),
    /// [`shift`](AnchorCheck::shift) and [`rise`](AnchorCheck::rise).
    pub fn all(&self, candidates: &Candidates) -> TestCaseResult {
        self.permutation(candidates)?;
        self.merging(candidates)?;
        self.shift(candidates)?;
        self.rise(candidates)
    }

    /// Candidates of either kind can change places.
    pub fn permutation(&self, candidates: &Candidates) -> TestCaseResult {
        let mut rng = Rng::stream(candidates.seed, 0);
        let other = candidates.map(|kind| rng.shuffle(kind));
        let (value, allowed) = self.value(candidates);
        near(format_args!("the value of permuted candidates"), self.value(&other).0, value, allowed)
    }

    /// Sums over two parts of the candidates merge to those over all of them.
    pub fn merging(&self, candidates: &Candidates) -> TestCaseResult {
        let mut rng = Rng::stream(candidates.seed, 1);
        let x = self.exponents(candidates);
        let cut = x.each_ref().map(|x| x.split_at(rng.below(x.len() as u64 + 1) as usize));
        let parts = [cut.map(|(one, _)| one), cut.map(|(_, other)| other)];
        let (value, allowed) = self.value(candidates);
        near(format_args!("the value of two parts"), self.value_of(&parts), value, allowed)
    }

    /// A number added to all similarities changes nothing, where the loss
    /// [says so](crate::loss::AnchorLoss::shift_invariant).
    pub fn shift(&self, candidates: &Candidates) -> TestCaseResult {
        if !self.loss.shift_invariant_block() {
            return Ok(());
        }
        let by = 4.0 * Rng::stream(candidates.seed, 2).uniform() - 2.0;
        let other = candidates.map(|kind| kind.iter_mut().for_each(|u| *u += by));
        let ((value, allowed), (shifted, more)) = (self.value(candidates), self.value(&other));
        near(format_args!("the value after a shift by {by}"), shifted, value, allowed + more)
    }

    /// The value does not fall where a dissimilar candidate comes nearer. (That of a loss which
    /// [freezes](crate::loss::AnchorLoss::frozen) its own weights may: it has no such property.)
    pub fn rise(&self, candidates: &Candidates) -> TestCaseResult {
        let mut rng = Rng::stream(candidates.seed, 3);
        if self.loss.frozen_block() || candidates.dissimilar.is_empty() {
            return Ok(());
        }
        let mut other = candidates.clone();
        let at = rng.below(other.dissimilar.len() as u64) as usize;
        other.dissimilar[at] += rng.uniform();
        let ((value, allowed), (nearer, more)) = (self.value(candidates), self.value(&other));
        // A NaN is no rise.
        if nearer >= value - (allowed + more) {
            return Ok(());
        }
        let what = format!(
            "the value fell from {value:e} to {nearer:e} as dissimilar pair {at} came nearer"
        );
        Err(TestCaseError::fail(what))
    }

    fn exponents(&self, candidates: &Candidates) -> [Vec<f64>; 2] {
        let mut similar = true;
        candidates.similarities().map(|u| {
            let (mut x, mut rates) = (u.to_vec(), vec![0.0; u.len()]);
            self.loss.exponents_block(self.cx.isa, &mut x, &mut rates, similar);
            similar = false;
            x
        })
    }

    /// The value, and how far rounding may move it: by some eps of the largest exponent for each candidate, of
    /// losses that cost each similar pair by itself for each of these.
    fn value(&self, candidates: &Candidates) -> (f64, f64) {
        const ROUNDINGS: f64 = 16.0;
        let x = self.exponents(candidates);
        let value = self.value_of(&[x.each_ref().map(|x| &x[..])]);
        let largest = x.iter().flatten().fold(1.0_f64, |largest, x| largest.max(x.abs()));
        let [similar, dissimilar] = x.map(|x| x.len() as f64);
        let size = (1.0 + similar) * (largest + similar + dissimilar);
        (value, ROUNDINGS * f64::EPSILON * size.max(value.abs()))
    }

    /// The value of an anchor whose candidates are in several parts.
    fn value_of(&self, parts: &[Exponents]) -> f64 {
        let log = |of: &[f64]| {
            let one = |&x: &f64| LogSum { count: 1, largest: x, sum: 1.0 };
            of.iter().map(one).fold(LogSum::default(), |a, b| a + b)
        };
        let sums = |&[similar, dissimilar]: &Exponents| AnchorSums {
            similar: log(similar),
            dissimilar: log(dissimilar),
            exponents: similar.iter().sum(),
            each: None,
        };
        let all = parts.iter().map(sums).fold(AnchorSums::default(), |a, b| a + b);
        let anchor = self.loss.anchor_block(&all);
        if !self.loss.looks_twice_block() {
            return anchor.value;
        }
        let each = |&[similar, _]: &Exponents| {
            let (mut first, mut second) = (similar.to_vec(), vec![0.0; similar.len()]);
            let terms = anchor.terms.unwrap_or_default().map(|term| vec![term; similar.len()]);
            let slices = terms.each_ref().map(|of| &of[..]);
            self.loss.each_block(self.cx.isa, &mut first, &mut second, slices);
            AnchorSums { each: Some([first.iter().sum(), second.iter().sum()]), ..sums(&[&[]; 2]) }
        };
        let all = parts.iter().map(each).fold(all, |a, b| a + b);
        self.loss.anchor_block(&all).value
    }
}
