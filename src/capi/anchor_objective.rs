//! Losses of anchors, how their rows are compared, and how they are added up.

use super::anchor_outcome::drlim_anchor_outcome;
use super::anchor_sums::drlim_anchor_sums;
use super::context::{drlim_context, run};
use super::element::Element;
use super::objective::check_size;
use super::places::{List, PointerArgs};
use super::status::Refusal;
use crate::error;
use crate::loss::{
    AnchorObjective, AnchorOutcome, AnchorReduction, AnchorSums, ArcFace, BlockAnchorLoss, Circle,
    CosFace, GeneralizedLifted, Lifted, Measure, MultiSimilarity, Positives, Softmax,
};
use crate::parallel::cx::Cx;

/// A loss of anchors: what a row costs by all its similar and dissimilar pairs at once. With the similarity u
/// of a pair, the log-sums P and G, ln of the sum of e^x, over the similar and the dissimilar pairs of an
/// anchor, the softmax scale a, the margin m and the positive margin p:
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct drlim_anchor_loss(pub u32);

impl drlim_anchor_loss {
    /// softmax cross entropy of x = a u over the candidates: InfoNCE, NT-Xent, SupCon, CLIP; see
    /// drlim_positives
    pub const SOFTMAX: drlim_anchor_loss = drlim_anchor_loss(0);
    /// a softmax with x = a (u - m) of similar pairs
    pub const COS_FACE: drlim_anchor_loss = drlim_anchor_loss(1);
    /// a softmax with x = a cos(t + m) of similar pairs at the angle t, in radians
    pub const ARC_FACE: drlim_anchor_loss = drlim_anchor_loss(2);
    /// ln(1 + e^P)/alpha + ln(1 + e^G)/beta, x = -alpha (u - base), beta (u - base)
    pub const MULTI_SIMILARITY: drlim_anchor_loss = drlim_anchor_loss(3);
    /// ln(1 + e^(P + G)), x = -gamma max(1 + m - u, 0) (u - 1 + m), gamma max(u + m, 0) (u - m), where the
    /// factors before the last are constants in the gradient
    pub const CIRCLE: drlim_anchor_loss = drlim_anchor_loss(4);
    /// half the sum over similar pairs of max(J - u - p, 0)^2, J the log-sum of x = u + m over the dissimilar
    /// pairs of both ends; for all rows as anchors, or DRLIM_ANCHORS_BOTH
    pub const LIFTED: drlim_anchor_loss = drlim_anchor_loss(5);
    /// max(P + G, 0), x = -u - p, u + m
    pub const GENERALIZED_LIFTED: drlim_anchor_loss = drlim_anchor_loss(6);
}

/// How the similar pairs of an anchor share its softmax:
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct drlim_positives(pub u32);

impl drlim_positives {
    /// the mean of their losses, each against all candidates: SupCon, and InfoNCE where there is one
    pub const MEAN: drlim_positives = drlim_positives(0);
    /// their powers are added up, the sum is against all candidates: MIL-NCE
    pub const SUM: drlim_positives = drlim_positives(1);
    /// each by itself against the dissimilar pairs, added up: NT-Xent of pytorch-metric-learning
    pub const EACH: drlim_positives = drlim_positives(2);

    fn positives(self) -> Result<Positives, Refusal> {
        match self {
            drlim_positives::MEAN => Ok(Positives::Mean),
            drlim_positives::SUM => Ok(Positives::Sum),
            drlim_positives::EACH => Ok(Positives::Each),
            drlim_positives(got) => Err(Refusal::Code { arg: "objective.positives", got }),
        }
    }
}

/// The similarity u of two rows q and k at the distance d:
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct drlim_measure(pub u32);

impl drlim_measure {
    /// 1 - d^2/2, the cosine of rows of length 1; rows are taken as they are
    pub const COSINE: drlim_measure = drlim_measure(0);
    /// the dot product of rows as they are
    pub const DOT: drlim_measure = drlim_measure(1);
    /// -d
    pub const DISTANCE: drlim_measure = drlim_measure(2);
    /// -ln(1 + d^2), the logarithm of the Student kernel: a softmax of scale 1 is over 1/(1 + d^2)
    pub const STUDENT: drlim_measure = drlim_measure(3);

    fn measure(self) -> Result<Measure, Refusal> {
        match self {
            drlim_measure::COSINE => Ok(Measure::Cosine),
            drlim_measure::DOT => Ok(Measure::Dot),
            drlim_measure::DISTANCE => Ok(Measure::Distance),
            drlim_measure::STUDENT => Ok(Measure::Student),
            drlim_measure(got) => Err(Refusal::Code { arg: "objective.measure", got }),
        }
    }
}

/// How the values of anchors become one number: their sum S by what follows. 0/0 is 0:
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct drlim_anchor_reduction(pub u32);

impl drlim_anchor_reduction {
    /// S
    pub const SUM: drlim_anchor_reduction = drlim_anchor_reduction(0);
    /// S / number of anchors
    pub const MEAN: drlim_anchor_reduction = drlim_anchor_reduction(1);
    /// S / number of anchors that have a similar pair
    pub const MEAN_WITH_SIMILAR: drlim_anchor_reduction = drlim_anchor_reduction(2);
    /// S / number of anchors whose value is not zero, as for SupCon in pytorch-metric-learning
    pub const MEAN_NON_ZERO: drlim_anchor_reduction = drlim_anchor_reduction(3);
    /// S / number of similar pairs of all anchors, as for NT-Xent in pytorch-metric-learning
    pub const MEAN_OF_PAIRS: drlim_anchor_reduction = drlim_anchor_reduction(4);
    /// factor S
    pub const FACTOR: drlim_anchor_reduction = drlim_anchor_reduction(5);

    /// The reduction as Rust has it; `factor` is that of `FACTOR`, and `arg` what it is called.
    pub(super) fn with_factor(
        self,
        arg: &'static str,
        factor: f64,
    ) -> Result<AnchorReduction, Refusal> {
        match self {
            drlim_anchor_reduction::SUM => Ok(AnchorReduction::Sum),
            drlim_anchor_reduction::MEAN => Ok(AnchorReduction::Mean),
            drlim_anchor_reduction::MEAN_WITH_SIMILAR => Ok(AnchorReduction::MeanWithSimilar),
            drlim_anchor_reduction::MEAN_NON_ZERO => Ok(AnchorReduction::MeanNonZero),
            drlim_anchor_reduction::MEAN_OF_PAIRS => Ok(AnchorReduction::MeanOfPairs),
            drlim_anchor_reduction::FACTOR => Ok(AnchorReduction::Factor(factor)),
            drlim_anchor_reduction(got) => Err(Refusal::Code { arg, got }),
        }
    }
}

/// An objective on anchors: a loss, how rows are compared, how anchors are added up, and a factor of gradients.
/// drlim_anchor_objective_new() fills it; then change the fields that are to be different.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct drlim_anchor_objective {
    /// sizeof of this struct: a struct that was not filled by drlim_anchor_objective_new() is refused.
    pub size: usize,
    /// The loss.
    pub loss: drlim_anchor_loss,
    /// With DRLIM_ANCHOR_LOSS_SOFTMAX, how similar pairs share it; DRLIM_POSITIVES_MEAN at first.
    pub positives: drlim_positives,
    /// With DRLIM_ANCHOR_LOSS_SOFTMAX, other than 0 to leave similar pairs out of the denominator.
    pub decoupled: u32,
    /// How rows are compared: at first DRLIM_MEASURE_DISTANCE for the two lifted losses, else
    /// DRLIM_MEASURE_COSINE.
    pub measure: drlim_measure,
    /// How anchors are added up.
    pub reduction: drlim_anchor_reduction,
    /// With DRLIM_ANCHOR_REDUCTION_FACTOR, the factor; 1 at first.
    pub factor: f64,
    /// a, of DRLIM_ANCHOR_LOSS_SOFTMAX, COS_FACE and ARC_FACE: finite and positive. At first 10 for the first,
    /// a temperature of 0.1, and 64 for the others.
    pub softmax_scale: f64,
    /// m: finite, and not negative with COS_FACE and ARC_FACE. At first 0.35 for COS_FACE, 0.5 for ARC_FACE,
    /// 0.4 for CIRCLE, else 1.
    pub margin: f64,
    /// p, of the two lifted losses: finite; 0 at first.
    pub positive_margin: f64,
    /// With DRLIM_ANCHOR_LOSS_MULTI_SIMILARITY, finite and positive; 2 at first.
    pub alpha: f64,
    /// With DRLIM_ANCHOR_LOSS_MULTI_SIMILARITY, finite and positive; 50 at first.
    pub beta: f64,
    /// With DRLIM_ANCHOR_LOSS_MULTI_SIMILARITY, finite; 0.5 at first.
    pub base: f64,
    /// With DRLIM_ANCHOR_LOSS_CIRCLE, finite and positive; 80 at first.
    pub gamma: f64,
    /// The factor of gradients, and of those alone: the derivative of the caller's own objective by the value
    /// of this one; 1 at first.
    pub scale: f64,
    /// Of calls for float, a factor of the value of each anchor; null, as at first, where all are 1.
    pub weights_f32: *const f32,
    /// As weights_f32, of calls for double.
    pub weights_f64: *const f64,
    /// The sums of each anchor over all its candidates, where the call has a part of them; null, as at first,
    /// where they are added up. See drlim_anchor_sums. Refused: sums that are NaN or negative, or of more than
    /// 2^32 - 1 pairs.
    pub known: *const drlim_anchor_sums,
}

/// An objective of anchors with scale 1, no weights, no sums that are known, and the parameters that
/// pytorch-metric-learning has at first, or the paper where they are not said there. Never fails: calls refuse an
/// objective that is wrong.
#[unsafe(no_mangle)]
pub extern "C" fn drlim_anchor_objective_new(
    loss: drlim_anchor_loss,
    reduction: drlim_anchor_reduction,
) -> drlim_anchor_objective {
    let measure = match loss {
        drlim_anchor_loss::LIFTED | drlim_anchor_loss::GENERALIZED_LIFTED => {
            drlim_measure::DISTANCE
        }
        _ => drlim_measure::COSINE,
    };
    let margin = match loss {
        drlim_anchor_loss::COS_FACE => 0.35,
        drlim_anchor_loss::ARC_FACE => 0.5,
        drlim_anchor_loss::CIRCLE => 0.4,
        _ => 1.0,
    };
    drlim_anchor_objective {
        size: size_of::<drlim_anchor_objective>(),
        loss,
        positives: drlim_positives::MEAN,
        decoupled: 0,
        measure,
        reduction,
        factor: 1.0,
        softmax_scale: if loss == drlim_anchor_loss::SOFTMAX { 10.0 } else { 64.0 },
        margin,
        positive_margin: 0.0,
        alpha: 2.0,
        beta: 50.0,
        base: 0.5,
        gamma: 80.0,
        scale: 1.0,
        weights_f32: std::ptr::null(),
        weights_f64: std::ptr::null(),
        known: std::ptr::null(),
    }
}

impl drlim_anchor_objective {
    /// The weights of so many anchors, if there are some. Refuses a struct that has not been filled.
    pub(super) fn weights<T: Element>(
        &self,
        places: &mut PointerArgs,
        anchors: usize,
    ) -> Result<Option<List<T>>, Refusal> {
        check_size(self.size, size_of::<drlim_anchor_objective>())?;
        places.optional_input("objective.weights", T::anchor_weights(self)?, anchors)
    }

    /// The sums that are known of so many anchors, if they are.
    pub(super) fn known(
        &self,
        places: &mut PointerArgs,
        anchors: usize,
    ) -> Result<Option<List<drlim_anchor_sums>>, Refusal> {
        places.optional_input("objective.known", self.known, anchors)
    }

    /// Runs a call with the objective as Rust has it, on the tier and threads of a context.
    ///
    /// # Safety
    /// `context` is null or a handle.
    pub(super) unsafe fn run<T: Element>(
        &self,
        context: *const drlim_context,
        weights: Option<&[T]>,
        known: Option<&[AnchorSums]>,
        call: impl FnOnce(&Cx, &AnchorObjective<T>) -> error::Result<AnchorOutcome> + Send,
    ) -> Result<drlim_anchor_outcome, Refusal> {
        let (measure, positives) = (self.measure.measure()?, self.positives.positives()?);
        let reduction = self.reduction.with_factor("objective.reduction", self.factor)?;
        let t = T::from_f64;
        let (margin, positive_margin) = (t(self.margin), t(self.positive_margin));
        let softmax_scale = t(self.softmax_scale);
        let call = |loss: &dyn BlockAnchorLoss<T>| {
            let objective = AnchorObjective::sum(loss).measured(measure).reduced(reduction);
            let objective = AnchorObjective { weights, known, ..objective.scaled(t(self.scale)) };
            // SAFETY: as promised.
            let outcome = unsafe { run(context, |cx| call(cx, &objective)) }?;
            Ok(drlim_anchor_outcome::from(outcome?))
        };
        match self.loss {
            drlim_anchor_loss::SOFTMAX => {
                let softmax = Softmax::scale(softmax_scale)?.positives(positives);
                call(&if self.decoupled == 0 { softmax } else { softmax.decoupled() })
            }
            drlim_anchor_loss::COS_FACE => call(&CosFace::new(softmax_scale, margin)?),
            drlim_anchor_loss::ARC_FACE => call(&ArcFace::new(softmax_scale, margin)?),
            drlim_anchor_loss::MULTI_SIMILARITY => {
                call(&MultiSimilarity::new(t(self.alpha), t(self.beta), t(self.base))?)
            }
            drlim_anchor_loss::CIRCLE => call(&Circle::new(margin, t(self.gamma))?),
            drlim_anchor_loss::LIFTED => call(&Lifted::new(positive_margin, margin)?),
            drlim_anchor_loss::GENERALIZED_LIFTED => {
                call(&GeneralizedLifted::new(positive_margin, margin)?)
            }
            drlim_anchor_loss(got) => Err(Refusal::Code { arg: "objective.loss", got }),
        }
    }
}
