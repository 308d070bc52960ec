//! One batch: each row against all others.

use drlim::batch::{
    AllPairsScratch, AnchorScratch, AnchorsOut, Mining, MiningScratch, all_anchors, all_pairs,
    triplets,
};
use drlim::loss::{
    AnchorObjective, AnchorReduction, BlockAnchorLoss, BlockLoss, BlockTripletLoss, Circle,
    GeneralizedLifted, Lifted, LinearHinge, Measure, MultiSimilarity, Objective, Positives,
    Reduction, Softmax, SquaredHinge, SquaredTriplet, TripletObjective,
};
use drlim::{Mat, MatMut, Similar};

use super::case::{Case, at_scale, for_each};
use super::own_losses::{SmoothTriplet, SquaredDistances};
use super::rows::{Matrix, Rows};
use crate::support::{Element, Reference};

/// What PyTorch's softplus leaves out of an argument above 20, e^-20, relative to the gradient: in `f64` it is
/// more than our errors.
const LINEAR_SOFTPLUS: f64 = 3e-9;

/// A loss of anchors as pytorch-metric-learning has it.
pub struct Family<T> {
    pub name: &'static str,
    pub tolerance: f64,
    loss: Box<dyn BlockAnchorLoss<T>>,
    measure: Measure,
    reduction: AnchorReduction,
}

impl<T: Element> Family<T> {
    pub fn objective(&self) -> AnchorObjective<'_, T> {
        AnchorObjective::mean(&*self.loss).measured(self.measure).reduced(self.reduction)
    }

    /// Rows as its distance takes them.
    pub fn rows(&self, matrix: Matrix) -> Rows<T> {
        match self.measure {
            Measure::Dot => Rows::given(matrix),
            _ => Rows::unit(matrix),
        }
    }
}

/// The losses of anchors of pytorch-metric-learning, with its defaults. (It gives 0 for a batch without
/// similar or without dissimilar pairs, which the file has not.)
pub fn families<T: Element>() -> Vec<Family<T>> {
    let t = T::from_f64;
    let softmax = |temperature| Softmax::temperature(t(temperature)).unwrap();
    let each = |temperature| Box::new(softmax(temperature).positives(Positives::Each));
    let family = |name, scale, loss, reduction| {
        let (tolerance, measure) = (at_scale::<T>(scale), Measure::Cosine);
        Family { name, tolerance, loss, measure, reduction }
    };
    let multi_similarity = MultiSimilarity::new(t(2.0), t(50.0), t(0.5)).unwrap();
    let circle = Circle::new(t(0.4), t(80.0)).unwrap();
    let circle = family("pml_circle", 80.0, Box::new(circle), AnchorReduction::MeanNonZero);
    let generalized = Box::new(GeneralizedLifted::new(t(0.0), t(1.0)).unwrap());
    let lifted = Box::new(Lifted::new(t(0.0), t(1.0)).unwrap());
    let dot = family("pml_ntxent_dot", 1.0 / 0.5, each(0.5), AnchorReduction::MeanOfPairs);
    vec![
        family("pml_ntxent", 1.0 / 0.07, each(0.07), AnchorReduction::MeanOfPairs),
        family("pml_ntxent_t05", 1.0 / 0.5, each(0.5), AnchorReduction::MeanOfPairs),
        Family { measure: Measure::Dot, ..dot },
        family("pml_supcon", 10.0, Box::new(softmax(0.1)), AnchorReduction::MeanNonZero),
        family("pml_supcon_mean", 10.0, Box::new(softmax(0.1)), AnchorReduction::Mean),
        family("pml_multi_similarity", 50.0, Box::new(multi_similarity), AnchorReduction::Mean),
        Family { tolerance: circle.tolerance.max(LINEAR_SOFTPLUS), ..circle },
        Family {
            measure: Measure::Distance,
            ..family("pml_generalized_lifted", 1.0, generalized, AnchorReduction::Mean)
        },
        Family {
            measure: Measure::Distance,
            ..family("pml_lifted", 1.0, lifted, AnchorReduction::MeanOfPairs)
        },
    ]
}

/// Compares value and gradient of every case of a family with those of a call, which is given the rows, and
/// where to write the gradient.
fn compare<T: Element>(
    reference: &Reference,
    family: &str,
    rows: impl Fn(Matrix) -> Rows<T>,
    tolerance: impl Fn(&Case) -> f64,
    mut call: impl FnMut(&Case, Mat<T>, MatMut<T>) -> f64,
) {
    for_each(reference, family, |case| {
        let x = rows(case.matrix("x"));
        let mut grad = x.output();
        let value = call(case, x.mat(), grad.mat_mut());
        case.compare::<T>("value", &[value], tolerance(case));
        case.compare::<T>("grad", &x.pull(grad).values, tolerance(case));
    });
}

fn compare_anchors<T: Element>(reference: &Reference) {
    let mut scratch = AnchorScratch::new();
    for family in families::<T>() {
        let (rows, tolerance) = (|matrix| family.rows(matrix), |_: &Case| family.tolerance);
        compare(reference, family.name, rows, tolerance, |case, z, grad| {
            let similar = Similar::Labels(case.labels("labels"));
            let (objective, out) = (family.objective(), AnchorsOut::grad(grad));
            all_anchors(&case.cx, &objective, z, similar, out, &mut scratch).unwrap().value
        });
    }
}

/// Cases that have a temperature of their own.
fn compare_softmaxes<T: Element>(reference: &Reference) {
    let mut scratch = AnchorScratch::new();
    let mut softmax =
        |case: &Case, z: Mat<T>, grad: MatMut<T>, labels: &[i64], positives, reduction| {
            let loss = Softmax::temperature(case.real("temperature")).unwrap().positives(positives);
            let objective = AnchorObjective::mean(&loss).reduced(reduction);
            let (similar, out) = (Similar::Labels(labels), AnchorsOut::grad(grad));
            all_anchors(&case.cx, &objective, z, similar, out, &mut scratch).unwrap().value
        };
    let tolerance = |case: &Case| at_scale::<T>(1.0 / case.real::<f64>("temperature"));
    // Rows i and i + B are two views of an image.
    compare(reference, "simclr", Rows::unit, tolerance, |case, z, grad| {
        let images = (z.rows() / 2) as i64;
        let labels: Vec<i64> = (0..images).chain(0..images).collect();
        softmax(case, z, grad, &labels, Positives::Mean, AnchorReduction::Mean)
    });
    compare(reference, "supcon_in", Rows::unit, tolerance, |case, z, grad| {
        let labels = case.labels("labels");
        let reduction = AnchorReduction::MeanWithSimilar;
        softmax(case, z, grad, labels, Positives::Sum, reduction) + mean_log_similar(labels)
    });
}

/// The mean of ln n over rows that have n > 0 similar ones. The sum inside of SupCon's logarithm is divided by
/// n, that of [`Positives::Sum`] is not; gradients are the same.
fn mean_log_similar(labels: &[i64]) -> f64 {
    let similar = |label| labels.iter().filter(|&other| other == label).count() - 1;
    let counts: Vec<usize> = labels.iter().map(similar).filter(|&n| n > 0).collect();
    counts.iter().map(|&n| (n as f64).ln()).sum::<f64>() / counts.len() as f64
}

fn compare_pairs<T: Element>(reference: &Reference) {
    let t = T::from_f64;
    let linear = LinearHinge::new(t(0.0), t(1.0)).unwrap();
    // max(0, 1 - cos) is d²/2, and max(0, cos) is max(0, 2 - d²)/2.
    let cosine = SquaredHinge::new(t(2.0)).unwrap();
    let power2 = SquaredDistances { positive_margin: t(0.1), margin: t(1.2) };
    let table: [(&str, &dyn BlockLoss<T>, Reduction); 4] = [
        ("pml_contrastive", &linear, Reduction::BalancedNonZero),
        ("pml_contrastive_mean", &linear, Reduction::Balanced),
        ("pml_contrastive_cosine", &cosine, Reduction::BalancedNonZero),
        ("pml_contrastive_power2", &power2, Reduction::BalancedNonZero),
    ];
    let mut scratch = AllPairsScratch::new();
    for (family, loss, reduction) in table {
        let objective = Objective::sum(loss).reduced(reduction);
        compare(reference, family, Rows::unit, at_one::<T>, |case, z, grad| {
            let similar = Similar::Labels(case.labels("labels"));
            all_pairs(&case.cx, &objective, z, similar, Some(grad), &mut scratch).unwrap().value
        });
    }
}

fn compare_triplets<T: Element>(reference: &Reference) {
    let t = T::from_f64;
    // max(0, cos(a,n) - cos(a,p) + m) is max(0, d²(a,p) - d²(a,n) + 2m)/2.
    let cosine = SquaredTriplet::new(t(0.2)).unwrap();
    let smooth = SmoothTriplet { margin: t(0.1) };
    let table: [(&str, &dyn BlockTripletLoss<T>, f64); 2] =
        [("pml_triplet_cosine", &cosine, 0.5), ("pml_triplet_smooth", &smooth, 1.0)];
    let mut scratch = MiningScratch::new();
    for (family, loss, factor) in table {
        let objective = TripletObjective::sum(loss).reduced(Reduction::MeanNonZero).unwrap();
        let objective = objective.scaled(t(factor));
        compare(reference, family, Rows::unit, at_one::<T>, |case, z, grad| {
            let similar = Similar::Labels(case.labels("labels"));
            let (all, to) = (Mining::All, Some(grad));
            let outcome = triplets(&case.cx, &objective, z, similar, all, to, &mut scratch);
            factor * outcome.unwrap().value
        });
    }
}

/// The tolerance of losses without a scale.
fn at_one<T: Element>(_: &Case) -> f64 {
    at_scale::<T>(1.0)
}

pub fn compare_all<T: Element>(reference: &Reference) {
    compare_anchors::<T>(reference);
    compare_softmaxes::<T>(reference);
    compare_pairs::<T>(reference);
    compare_triplets::<T>(reference);
}
