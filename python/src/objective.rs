//! Losses and reductions by name.

use drlim::loss::{
    BlockLoss, BlockTripletLoss, Contrastive, CosineContrastive, DoubleMargin, Exponential,
    LinearHinge, Objective, Outcome, Reduction, Sigmoid, SlopeTotals, SquaredHinge, SquaredTriplet,
    TripletMargin, TripletObjective,
};
use drlim::{Error, Real};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors::raised;

/// A loss: its name, its margin, and the other number of losses that have two; of the sigmoid loss, scale and bias.
#[derive(FromPyObject)]
pub struct LossParts(String, f64, f64);

/// A reduction: its name, and two factors that matter to one of them.
#[derive(FromPyObject)]
pub struct ReductionParts(String, f64, f64);

/// The result of a call: its value, the numbers of pairs and of active pairs, and then for similar and for
/// dissimilar pairs both numbers and the sum of values.
pub type Parts = (f64, u64, u64, (u64, u64, f64), (u64, u64, f64));

pub fn parts(outcome: Outcome) -> Parts {
    let Outcome { value, pairs, active, sums, .. } = outcome;
    let (s, d) = (sums.similar, sums.dissimilar);
    (value, pairs, active, (s.pairs, s.active, s.sum), (d.pairs, d.active, d.sum))
}

impl ReductionParts {
    fn reduction(&self) -> PyResult<Reduction> {
        Ok(match self.0.as_str() {
            "sum" => Reduction::Sum,
            "mean" => Reduction::Mean,
            "mean-nonzero" => Reduction::MeanNonZero,
            "balanced" => Reduction::Balanced,
            "balanced-nonzero" => Reduction::BalancedNonZero,
            "factors" => Reduction::Factors { similar: self.1, dissimilar: self.2 },
            other => return Err(unknown("reduction", other)),
        })
    }
}

pub fn unknown(what: &str, name: &str) -> PyErr {
    PyValueError::new_err(format!("{what}: {name:?} is unknown"))
}

impl LossParts {
    /// The derivatives by the scale and the bias of the sigmoid loss, from the totals of its slopes.
    pub fn by_parameters<T: Real>(&self, totals: &SlopeTotals) -> PyResult<[f64; 2]> {
        let LossParts(name, scale, bias) = self;
        if name != "sigmoid" {
            return Err(unknown("loss with parameters", name));
        }
        let loss = Sigmoid::new(T::from_f64(*scale), T::from_f64(*bias)).map_err(raised)?;
        Ok(loss.scale_and_bias(totals))
    }
}

type Made<L> = Result<Box<L>, Error>;

fn pair_loss<T: Real>(LossParts(name, m, p): &LossParts) -> PyResult<Box<dyn BlockLoss<T>>> {
    fn boxed<T: Real, L: BlockLoss<T> + 'static>(loss: drlim::Result<L>) -> Made<dyn BlockLoss<T>> {
        loss.map(|loss| Box::new(loss) as Box<dyn BlockLoss<T>>)
    }
    let (m, p) = (T::from_f64(*m), T::from_f64(*p));
    let loss = match name.as_str() {
        "contrastive" => boxed(Contrastive::new(m)),
        "squared-hinge" => boxed(SquaredHinge::new(m)),
        "linear-hinge" => boxed(LinearHinge::new(p, m)),
        "double-margin" => boxed(DoubleMargin::new(p, m)),
        "exponential" => boxed(Exponential::new(m)),
        "cosine-contrastive" => boxed(CosineContrastive::new(m)),
        "sigmoid" => boxed(Sigmoid::new(m, p)),
        other => return Err(unknown("loss", other)),
    };
    loss.map_err(raised)
}

fn triplet_loss<T: Real>(
    LossParts(name, m, _): &LossParts,
) -> PyResult<Box<dyn BlockTripletLoss<T>>> {
    fn boxed<T: Real, L: BlockTripletLoss<T> + 'static>(
        loss: drlim::Result<L>,
    ) -> Made<dyn BlockTripletLoss<T>> {
        loss.map(|loss| Box::new(loss) as Box<dyn BlockTripletLoss<T>>)
    }
    let m = T::from_f64(*m);
    let loss = match name.as_str() {
        "triplet-margin" => boxed(TripletMargin::new(m)),
        "triplet-margin-swap" => boxed(TripletMargin::new(m).map(TripletMargin::swapping)),
        "squared-triplet" => boxed(SquaredTriplet::new(m)),
        other => return Err(unknown("triplet loss", other)),
    };
    loss.map_err(raised)
}

/// An objective's parts; [`of_pairs`](Wanted::of_pairs) puts them together.
pub struct Wanted<L: ?Sized> {
    loss: Box<L>,
    reduction: Reduction,
    scale: f64,
}

impl<T: Real> Wanted<dyn BlockLoss<T>> {
    pub fn pairs(loss: &LossParts, reduction: &ReductionParts, scale: f64) -> PyResult<Self> {
        Ok(Wanted { loss: pair_loss(loss)?, reduction: reduction.reduction()?, scale })
    }

    pub fn of_pairs(&self) -> Objective<'_, T> {
        let objective = Objective::sum(&*self.loss).reduced(self.reduction);
        objective.scaled(T::from_f64(self.scale))
    }
}

impl<T: Real> Wanted<dyn BlockTripletLoss<T>> {
    pub fn triplets(loss: &LossParts, reduction: &ReductionParts, scale: f64) -> PyResult<Self> {
        Ok(Wanted { loss: triplet_loss(loss)?, reduction: reduction.reduction()?, scale })
    }

    pub fn of_triplets(&self) -> PyResult<TripletObjective<'_, T>> {
        let objective = TripletObjective::sum(&*self.loss).reduced(self.reduction);
        Ok(objective.map_err(raised)?.scaled(T::from_f64(self.scale)))
    }
}

/// Refuses a loss of pairs whose numbers are out of their domain.
#[pyfunction]
pub fn check_loss(loss: LossParts) -> PyResult<()> {
    pair_loss::<f64>(&loss).map(|_| ())
}

/// Refuses a loss of triplets whose numbers are out of their domain.
#[pyfunction]
pub fn check_triplet_loss(loss: LossParts) -> PyResult<()> {
    triplet_loss::<f64>(&loss).map(|_| ())
}
