//! Losses of anchors, measures and reductions by name.

use drlim::Real;
use drlim::loss::{
    AnchorObjective, AnchorOutcome, AnchorReduction, AnchorSums, AnchorTotals, ArcFace,
    BlockAnchorLoss, Circle, CosFace, GeneralizedLifted, Lifted, Measure, MultiSimilarity,
    Positives, Softmax,
};
use pyo3::prelude::*;

use crate::errors::raised;
use crate::objective::unknown;

/// A loss: its name, and up to three numbers.
#[derive(FromPyObject)]
pub struct AnchorLossParts(String, f64, f64, f64);

/// A loss, a measure, a reduction with the factor that matters to one of them, and the factor of gradients.
pub type AnchorTask = (AnchorLossParts, String, (String, f64), f64);

/// Anchors, those with similar pairs, active and correct ones; similar pairs, pairs, and the sum of values.
type Totals = (u64, u64, u64, u64, u64, u64, f64);

fn reduction((name, factor): (String, f64)) -> PyResult<AnchorReduction> {
    Ok(match name.as_str() {
        "sum" => AnchorReduction::Sum,
        "mean" => AnchorReduction::Mean,
        "mean-with-similar" => AnchorReduction::MeanWithSimilar,
        "mean-nonzero" => AnchorReduction::MeanNonZero,
        "mean-of-pairs" => AnchorReduction::MeanOfPairs,
        "factor" => AnchorReduction::Factor(factor),
        other => return Err(unknown("reduction", other)),
    })
}

/// What the values of anchors with these totals are multiplied by.
#[pyfunction]
pub fn anchor_factor(name: String, factor: f64, totals: Totals) -> PyResult<f64> {
    let (anchors, with_similar, active, correct, similar, pairs, sum) = totals;
    let totals = AnchorTotals { anchors, with_similar, active, correct, similar, pairs, sum };
    Ok(reduction((name, factor))?.factor(&totals))
}

/// The result of a call: its value, the totals of both directions, and the derivative by the loss's scale.
pub type AnchorParts = (f64, Totals, Totals, Option<f64>);

pub fn anchor_parts(outcome: AnchorOutcome, by_scale: Option<f64>) -> AnchorParts {
    let [of_queries, of_keys] = outcome.totals.map(|totals| {
        let AnchorTotals { anchors, with_similar, active, correct, similar, pairs, sum } = totals;
        (anchors, with_similar, active, correct, similar, pairs, sum)
    });
    (outcome.value, of_queries, of_keys, by_scale)
}

fn boxed<T: Real, L: BlockAnchorLoss<T> + 'static>(
    loss: drlim::Result<L>,
) -> drlim::Result<Box<dyn BlockAnchorLoss<T>>> {
    loss.map(|loss| Box::new(loss) as Box<dyn BlockAnchorLoss<T>>)
}

fn softmax<T: Real>(name: &str, scale: T) -> PyResult<Box<dyn BlockAnchorLoss<T>>> {
    let decoupled = name.starts_with("decoupled-");
    let positives = match name.trim_start_matches("decoupled-") {
        "softmax-mean" => Positives::Mean,
        "softmax-sum" => Positives::Sum,
        "softmax-each" => Positives::Each,
        _ => return Err(unknown("loss of anchors", name)),
    };
    let softmax = Softmax::scale(scale).map(|softmax| softmax.positives(positives));
    let softmax = softmax.map(|of| if decoupled { of.decoupled() } else { of });
    boxed(softmax).map_err(raised)
}

fn anchor_loss<T: Real>(
    AnchorLossParts(name, a, b, c): &AnchorLossParts,
) -> PyResult<Box<dyn BlockAnchorLoss<T>>> {
    let [a, b, c] = [a, b, c].map(|&number| T::from_f64(number));
    let loss = match name.as_str() {
        "cos-face" => boxed(CosFace::new(a, b)),
        "arc-face" => boxed(ArcFace::new(a, b)),
        "multi-similarity" => boxed(MultiSimilarity::new(a, b, c)),
        "circle" => boxed(Circle::new(a, b)),
        "lifted" => boxed(Lifted::new(a, b)),
        "generalized-lifted" => boxed(GeneralizedLifted::new(a, b)),
        name => return softmax(name, a),
    };
    loss.map_err(raised)
}

/// An objective's parts; [`objective`](WantedAnchors::objective) puts them together.
pub struct WantedAnchors<T> {
    loss: Box<dyn BlockAnchorLoss<T>>,
    measure: Measure,
    reduction: AnchorReduction,
    scale: T,
}

impl<T: Real> WantedAnchors<T> {
    pub fn new((loss, measure, reduced, scale): AnchorTask) -> PyResult<Self> {
        let measure = match measure.as_str() {
            "cosine" => Measure::Cosine,
            "dot" => Measure::Dot,
            "distance" => Measure::Distance,
            "student" => Measure::Student,
            other => return Err(unknown("measure", other)),
        };
        let reduction = reduction(reduced)?;
        let (loss, scale) = (anchor_loss(&loss)?, T::from_f64(scale));
        Ok(WantedAnchors { loss, measure, reduction, scale })
    }

    pub fn objective<'a>(
        &'a self,
        weights: Option<&'a [T]>,
        known: Option<&'a [AnchorSums]>,
    ) -> AnchorObjective<'a, T> {
        let objective = AnchorObjective::sum(&*self.loss).measured(self.measure);
        let objective = objective.reduced(self.reduction).scaled(self.scale);
        AnchorObjective { weights, known, ..objective }
    }
}

/// Refuses a loss of anchors whose numbers are out of their domain.
#[pyfunction]
pub fn check_anchor_loss(loss: AnchorLossParts) -> PyResult<()> {
    anchor_loss::<f64>(&loss).map(|_| ())
}
