//! The check of a loss of anchors, through its functions of blocks.

#![forbid(unsafe_code)]

use super::gradcheck::{Worst, check};
use crate::error::{Error, Result};
use crate::loss::{Anchor, AnchorSums, BlockAnchorLoss, LogSum};
use crate::parallel::cx::Cx;
use crate::rng::Rng;
use crate::simd::isa::Isa;

/// Similar and dissimilar pairs of the anchors that are checked.
const ANCHORS: [[usize; 2]; 6] = [[1, 5], [3, 6], [4, 1], [2, 0], [0, 4], [1, 1]];

/// Checks a loss of anchors: its weights against differences of its value by the exponents, and the derivatives
/// dx/du of the exponents, unless they are [frozen](crate::loss::AnchorLoss::frozen), against differences of these.
///
/// Anchors have several similar pairs, one, or none, and several dissimilar pairs, one, or none. Similarities are
/// drawn from -1 to 1. Refused for a loss that [looks at both ends](crate::loss::AnchorLoss::couples) of a pair,
/// which an anchor by itself does not show.
///
/// ```
/// use drlim::gradcheck::check_anchor_loss;
/// use drlim::loss::Softmax;
/// let worst = check_anchor_loss(&Softmax::scale(5.0)?, 7)?;
/// assert!(worst.error < 1e-7, "{worst}");
/// # Ok::<(), drlim::Error>(())
/// ```
pub fn check_anchor_loss(loss: &dyn BlockAnchorLoss<f64>, seed: u64) -> Result<Worst> {
    if loss.couples_block() {
        let reason = "check_anchor_loss: the loss looks at both ends of a pair".into();
        return Err(Error::Pairs { reason });
    }
    let (isa, mut rng) = (Cx::default().isa, Rng::new(seed));
    let mut all = Vec::new();
    for counts in ANCHORS {
        let u =
            counts.map(|count| (0..count).map(|_| 2.0 * rng.uniform() - 1.0).collect::<Vec<_>>());
        let mut pairs = Pairs { loss, isa, counts };
        let (x, rates) = pairs.exponents(&u);
        let weights = pairs.weights(&x);
        all.push(check(|x| pairs.value(x), &x, &weights)?);
        if !loss.frozen_block() {
            let flat = u.concat();
            for at in 0..flat.len() {
                let exponent = |of: &[f64]| {
                    let mut u = flat.clone();
                    u[at] = of[0];
                    let (similar, dissimilar) = u.split_at(counts[0]);
                    pairs.exponents(&[similar.to_vec(), dissimilar.to_vec()]).0[at]
                };
                all.push(check(exponent, &flat[at..=at], &rates[at..=at])?);
            }
        }
    }
    Ok(all.into_iter().fold(Worst::default(), |a, b| if b.error > a.error { b } else { a }))
}

/// The pairs of one anchor: the similar ones first.
struct Pairs<'l> {
    loss: &'l dyn BlockAnchorLoss<f64>,
    isa: Isa,
    counts: [usize; 2],
}

impl Pairs<'_> {
    /// Exponents, and their derivatives.
    fn exponents(&self, u: &[Vec<f64>; 2]) -> (Vec<f64>, Vec<f64>) {
        let (mut all, mut rates) = (Vec::new(), Vec::new());
        for (kind, u) in u.iter().enumerate() {
            let (mut x, mut of_kind) = (u.clone(), vec![0.0; u.len()]);
            self.loss.exponents_block(self.isa, &mut x, &mut of_kind, kind == 0);
            all.extend(x);
            rates.extend(of_kind);
        }
        (all, rates)
    }

    fn anchor(&self, x: &[f64]) -> Anchor {
        let (similar, dissimilar) = x.split_at(self.counts[0]);
        let log = |of: &[f64]| {
            let one = |&x: &f64| LogSum { count: 1, largest: x, sum: 1.0 };
            of.iter().map(one).fold(LogSum::default(), |a, b| a + b)
        };
        let exponents = similar.iter().sum();
        let mut sums = AnchorSums::default();
        (sums.similar, sums.dissimilar, sums.exponents) =
            (log(similar), log(dissimilar), exponents);
        let anchor = self.loss.anchor_block(&sums);
        if !self.loss.looks_twice_block() {
            return anchor;
        }
        let (mut first, mut second) = (similar.to_vec(), vec![0.0; similar.len()]);
        let terms = anchor.terms.unwrap_or_default().map(|term| vec![term; similar.len()]);
        let slices = terms.each_ref().map(|of| &of[..]);
        self.loss.each_block(self.isa, &mut first, &mut second, slices);
        sums.each = Some([first.iter().sum(), second.iter().sum()]);
        self.loss.anchor_block(&sums)
    }

    fn value(&mut self, x: &[f64]) -> f64 {
        self.anchor(x).value
    }

    fn weights(&self, x: &[f64]) -> Vec<f64> {
        let Some(terms) = self.anchor(x).terms else { return vec![0.0; x.len()] };
        let (similar, dissimilar) = x.split_at(self.counts[0]);
        let mut all = Vec::new();
        for (kind, x) in [similar, dissimilar].into_iter().enumerate() {
            let mut weights = x.to_vec();
            let terms = terms.map(|term| vec![term; x.len()]);
            let slices = terms.each_ref().map(|of| &of[..]);
            self.loss.weights_block(self.isa, &mut weights, kind == 0, slices);
            all.extend(weights);
        }
        all
    }
}
