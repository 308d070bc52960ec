//! Objectives of anchors: a loss, how similarity is measured, and how anchors are added up.

#![forbid(unsafe_code)]

use std::ops::Add;

use super::anchor_loss::BlockAnchorLoss;
use super::sums::AnchorSums;
use crate::simd::isa::Isa;
use crate::simd::real::Real;

/// The similarity u of a row q and a row k.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// The cosine, of rows of unit length: u = 1 - d²/2. It is measured as a distance, so that close pairs
    /// keep their precision. Rows are taken as they are: of rows that are not of unit length it is
    /// another measure, not their cosine. Gradients are those of 1 - d²/2: where lengths are normalised, by
    /// [`L2Normalize`](crate::nn::L2Normalize), say, they give the same as those of a product.
    #[default]
    Cosine,
    /// The dot product of rows as they are: u = q·k.
    Dot,
    /// The negative distance: u = -d. At distance 0 its derivative counts as 0.
    Distance,
    /// The logarithm of the Student kernel: u = -ln(1 + d²). A [`Softmax`](super::Softmax) of scale 1 is then over
    /// 1/(1 + d²) itself: InfoNC-t-SNE (Damrich et al. 2023).
    Student,
}

/// How the values of anchors are added up.
///
/// With the value l_i of each anchor that is not left out:
///
/// | reduction | value | the default of |
/// |---|---|---|
/// | `Sum` | sum of l_i | |
/// | `Mean` | sum / number of anchors | InfoNCE, CLIP, SupCon's own code, multi-similarity, generalised lifted |
/// | `MeanWithSimilar` | sum / number of anchors with a similar pair | |
/// | `MeanNonZero` | sum / number of anchors with l_i other than 0 | SupCon and circle in pytorch-metric-learning |
/// | `MeanOfPairs` | sum / number of similar pairs | NT-Xent and lifted in pytorch-metric-learning, optax |
/// | `Factor` | factor times sum | parts of a batch |
///
/// A mean over nothing is 0. A NaN is not 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AnchorReduction {
    /// The sum over anchors.
    Sum,
    /// The mean over all anchors.
    Mean,
    /// The mean over anchors that have a similar pair.
    MeanWithSimilar,
    /// The mean over anchors whose value is not 0.
    MeanNonZero,
    /// The sum over anchors by the number of all their similar pairs.
    MeanOfPairs,
    /// The sum times a factor: that of a whole batch, say, of which this call has a part. See
    /// [`factor`](AnchorReduction::factor).
    Factor(f64),
}

impl AnchorReduction {
    /// What the value, and with it the gradient, of each anchor is multiplied by in a batch with these totals.
    pub fn factor(self, totals: &AnchorTotals) -> f64 {
        let one_over = |count: u64| 1.0 / count.max(1) as f64;
        match self {
            AnchorReduction::Sum => 1.0,
            AnchorReduction::Mean => one_over(totals.anchors),
            AnchorReduction::MeanWithSimilar => one_over(totals.with_similar),
            AnchorReduction::MeanNonZero => one_over(totals.active),
            AnchorReduction::MeanOfPairs => one_over(totals.similar),
            AnchorReduction::Factor(factor) => factor,
        }
    }
}

/// A loss of anchors with its way of being measured and added up.
///
/// ```
/// use drlim::loss::{AnchorObjective, AnchorReduction, Measure, Softmax};
/// let loss = Softmax::temperature(0.1_f32)?;
/// let supcon = AnchorObjective::mean(&loss).reduced(AnchorReduction::MeanNonZero);
/// let infonce = AnchorObjective::mean(&loss).measured(Measure::Dot);
/// # Ok::<(), drlim::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct AnchorObjective<'l, T> {
    /// What an anchor costs.
    pub loss: &'l dyn BlockAnchorLoss<T>,
    /// How rows are compared.
    pub measure: Measure,
    /// How anchors are added up.
    pub reduction: AnchorReduction,
    /// What gradients, and only they, are multiplied by: the derivative of the caller's own objective with
    /// respect to this value.
    pub scale: T,
    /// What the value of each anchor is multiplied by: an element for each anchor. Counts do not change.
    pub weights: Option<&'l [T]>,
    /// The sums of each anchor over all its candidates, where the call has a part of them: see
    /// [`known`](AnchorObjective::known).
    pub known: Option<&'l [AnchorSums]>,
}

impl<'l, T: Real> AnchorObjective<'l, T> {
    /// The mean over all anchors, with cosines of unit rows.
    pub fn mean(loss: &'l dyn BlockAnchorLoss<T>) -> Self {
        let (measure, reduction) = (Measure::Cosine, AnchorReduction::Mean);
        AnchorObjective { loss, measure, reduction, scale: T::ONE, weights: None, known: None }
    }

    /// The sum over all anchors, with cosines of unit rows.
    pub fn sum(loss: &'l dyn BlockAnchorLoss<T>) -> Self {
        AnchorObjective::mean(loss).reduced(AnchorReduction::Sum)
    }

    /// The similarity of equal rows of unit length, less what the loss does not see.
    pub(crate) fn top(&self) -> T {
        match self.measure {
            Measure::Cosine if !self.loss.shift_invariant_block() => T::ONE,
            _ => T::ZERO,
        }
    }

    /// By how much the exponents of all pairs are larger than those that are added up.
    pub(crate) fn shift(&self, isa: Isa) -> f64 {
        if self.measure != Measure::Cosine || !self.loss.shift_invariant_block() {
            return 0.0;
        }
        let (mut x, mut rates) = ([T::ZERO, T::ONE], [T::ZERO; 2]);
        self.loss.exponents_block(isa, &mut x, &mut rates, false);
        x[1].to_f64() - x[0].to_f64()
    }

    /// Another way of comparing rows.
    pub fn measured(self, measure: Measure) -> Self {
        AnchorObjective { measure, ..self }
    }

    /// Another way of adding up.
    pub fn reduced(self, reduction: AnchorReduction) -> Self {
        AnchorObjective { reduction, ..self }
    }

    /// A factor for gradients.
    pub fn scaled(self, scale: T) -> Self {
        AnchorObjective { scale, ..self }
    }

    /// A weight for each anchor: the upstream gradients of values that have not been reduced, say.
    pub fn weighted(self, weights: &'l [T]) -> Self {
        AnchorObjective { weights: Some(weights), ..self }
    }

    /// Takes the sums of each anchor from the caller, instead of adding them up: of a batch that several
    /// machines hold, each adds up the sums of its anchors over the candidates of every part, and merges them
    /// by `+`; the gradients of each part then follow from the whole.
    pub fn known(self, sums: &'l [AnchorSums]) -> Self {
        AnchorObjective { known: Some(sums), ..self }
    }
}

/// Sums over the anchors of a call. Those of the parts of a batch can be added.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AnchorTotals {
    /// How many anchors there were, without those left out.
    pub anchors: u64,
    /// How many of them had a similar pair.
    pub with_similar: u64,
    /// How many had a value other than 0. A NaN is not 0.
    pub active: u64,
    /// How many had a similar candidate whose exponent, margins included, is larger than those of all dissimilar
    /// ones; of losses that rank ([`AnchorLoss::ranks`](super::AnchorLoss::ranks)), else 0.
    pub correct: u64,
    /// Their similar pairs together.
    pub similar: u64,
    /// All their pairs.
    pub pairs: u64,
    /// The sum of their values, each times its weight where there are weights.
    pub sum: f64,
}

impl Add for AnchorTotals {
    type Output = AnchorTotals;

    fn add(self, other: AnchorTotals) -> AnchorTotals {
        AnchorTotals {
            anchors: self.anchors + other.anchors,
            with_similar: self.with_similar + other.with_similar,
            active: self.active + other.active,
            correct: self.correct + other.correct,
            similar: self.similar + other.similar,
            pairs: self.pairs + other.pairs,
            sum: self.sum + other.sum,
        }
    }
}

/// What calls on anchors report.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct AnchorOutcome {
    /// The objective's value, not multiplied by its scale.
    pub value: f64,
    /// The totals that the value was computed from: of rows or queries as anchors, and of keys as anchors.
    pub totals: [AnchorTotals; 2],
}

impl AnchorOutcome {
    pub(crate) fn new(value: f64, totals: [AnchorTotals; 2]) -> Self {
        AnchorOutcome { value, totals }
    }
}
