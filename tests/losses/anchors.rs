//! Losses of anchors against differences: their weights and rates by the checker, which catches wrong ones, and
//! gradients of whole calls, with weights and by the scale.

use drlim::batch::{
    AnchorScratch, Anchors, AnchorsOut, CrossAnchorsOut, CrossSimilar, all_anchors, cross_anchors,
};
use drlim::gradcheck::{check, check_anchor_loss};
use drlim::loss::{
    Anchor, AnchorLoss, AnchorObjective, AnchorReduction, AnchorSums, BlockAnchorLoss, Lifted,
    Measure,
};
use drlim::simd::Simd;
use drlim::simd::math::exp_of_small;
use drlim::{Error, Mat, MatMut, Similar};

use crate::support::anchors::AnchorFormula;
use crate::support::{Random, serial, tiers};

#[test]
fn weights_and_rates_of_every_loss_are_derivatives() {
    for seed in 0..5 {
        for formula in AnchorFormula::all(5.0) {
            let worst = check_anchor_loss(&*formula.loss(), seed).unwrap();
            assert!(worst.error < 1e-6, "{formula:?} with seed {seed}: {worst}");
        }
    }
    // What a loss of both ends of a pair costs, one anchor alone does not show.
    let refused = check_anchor_loss(&Lifted::new(0.0, 1.0).unwrap(), 1).unwrap_err();
    assert!(matches!(refused, Error::Pairs { .. }), "{refused}");
}

/// ln(1 + sum of e^(3u) over the dissimilar pairs), with a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// Weights of the wrong sign.
    Sign,
    /// Weights are shares of the sum without the 1.
    Share,
    /// Similar pairs pull, though the value does not know them.
    Similar,
    /// The rate lacks its factor.
    Rate,
    /// The rate lacks its factor, and the loss says that it is no derivative.
    Frozen,
}

impl AnchorLoss<f64> for Fault {
    #[inline(always)]
    fn exponent<S: Simd<f64>>(&self, s: S, u: S::F, _similar: bool) -> (S::F, S::F) {
        let rate = if matches!(self, Fault::Rate | Fault::Frozen) { 1.0 } else { 3.0 };
        (s.splat(3.0) * u, s.splat(rate))
    }

    fn anchor(&self, sums: &AnchorSums) -> Anchor {
        let lse = sums.dissimilar.log();
        let value = lse.exp().ln_1p();
        let of_all = if *self == Fault::Share { lse } else { value };
        Anchor { value, terms: Some([of_all, 0.0, 0.0, 0.0]) }
    }

    #[inline(always)]
    fn weight<S: Simd<f64>>(&self, s: S, x: S::F, similar: bool, terms: [S::F; 4]) -> S::F {
        let power = exp_of_small(s, x - terms[0]);
        match (similar, self) {
            (true, Fault::Similar) => -power,
            (true, _) => s.splat(0.0),
            (false, Fault::Sign) => -power,
            (false, _) => power,
        }
    }

    fn frozen(&self) -> bool {
        *self == Fault::Frozen
    }
}

#[test]
fn a_right_loss_of_anchors_passes_and_each_fault_is_caught() {
    for seed in 0..5 {
        let error = |fault: Fault| check_anchor_loss(&fault, seed).unwrap().error;
        for right in [Fault::None, Fault::Frozen] {
            assert!(error(right) < 1e-7, "{right:?} with seed {seed}");
        }
        for fault in [Fault::Sign, Fault::Share, Fault::Similar, Fault::Rate] {
            assert!(error(fault) > 0.01, "{fault:?} with seed {seed} passes");
        }
    }
}

const MEASURES: [Measure; 4] = [Measure::Cosine, Measure::Dot, Measure::Distance, Measure::Student];

/// Reductions that do not count values.
const REDUCTIONS: [AnchorReduction; 4] = [
    AnchorReduction::Sum,
    AnchorReduction::Mean,
    AnchorReduction::MeanOfPairs,
    AnchorReduction::Factor(-0.75),
];

/// Rows of lengths up to 1 in any direction, so that cosines and dot products are between -1 and 1.
fn rows(n: usize, d: usize, seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed);
    let row = |_| {
        let row: Vec<f64> = (0..d).map(|_| random.between(-1.0, 1.0)).collect();
        let length = row.iter().map(|x| x * x).sum::<f64>().sqrt().max(0.1);
        let wanted = random.between::<f64>(0.6, 0.95);
        row.into_iter().map(move |x| x / length * wanted).collect::<Vec<_>>()
    };
    (0..n).flat_map(row).collect()
}

/// One of them 0, one negative.
const WEIGHTS: [f64; 13] = [1.0, 0.5, -0.75, 2.0, 0.0, 1.5, 0.25, 1.0, 3.0, 0.5, -1.0, 1.0, 2.0];

/// A loss with what its gradients are checked with, and itself with another scale, if it has one.
struct Checked<'l> {
    name: String,
    loss: &'l dyn BlockAnchorLoss<f64>,
    rescaled: Option<&'l dyn Fn(f64) -> Box<dyn BlockAnchorLoss<f64>>>,
    measure: Measure,
    /// Whether anchors may have weights.
    weighted: bool,
}

const SCALE: f64 = 3.0;

/// Each loss that has derivatives with each measure that it is defined for; of one set, also the one that looks at
/// both ends of a pair.
fn each_loss(one_set: bool, mut f: impl FnMut(Checked)) {
    for measure in MEASURES {
        for (at, formula) in AnchorFormula::all(SCALE).into_iter().enumerate() {
            let loss = formula.loss();
            if loss.frozen_block() || !formula.takes(measure) {
                continue;
            }
            let rescaled = move |scale: f64| AnchorFormula::all(scale)[at].loss();
            let rescaled: Option<&dyn Fn(f64) -> Box<dyn BlockAnchorLoss<f64>>> =
                if loss.scale_block().is_some() { Some(&rescaled) } else { None };
            let name = format!("{formula:?}");
            f(Checked { name, loss: &*loss, rescaled, measure, weighted: true });
        }
    }
    if one_set {
        let lifted = Lifted::new(0.125, 1.0).unwrap();
        let (name, measure) = ("Lifted".to_owned(), Measure::Distance);
        f(Checked { name, loss: &lifted, rescaled: None, measure, weighted: false });
    }
}

/// What a call gives, with gradient and derivative by the scale if wanted.
type Call<'c> =
    dyn Fn(&AnchorObjective<f64>, &[f64], Option<(&mut [f64], Option<&mut f64>)>) -> f64 + 'c;

/// Compares what a call writes with differences of its value.
fn check_call(checked: &Checked, z: &[f64], weights: &[f64], what: &str, call: &Call) {
    let both = REDUCTIONS.into_iter().flat_map(|reduction| [(reduction, false), (reduction, true)]);
    for (reduction, weighted) in both.filter(|(_, weighted)| checked.weighted || !weighted) {
        let objective = AnchorObjective::sum(checked.loss).measured(checked.measure);
        let objective =
            AnchorObjective { reduction, weights: weighted.then_some(weights), ..objective };
        let what = format!("{}, {:?}, {reduction:?}, {what}", checked.name, checked.measure);
        let (mut grad, mut by_scale) = (vec![f64::NAN; z.len()], f64::NAN);
        let to_scale = checked.rescaled.map(|_| &mut by_scale);
        call(&objective, z, Some((&mut grad, to_scale)));
        let worst = check(|z| call(&objective, z, None), z, &grad).unwrap();
        assert!(worst.error < 1e-6, "{what}: {worst}");
        // Gradients alone are those of a multiple of the value.
        let mut scaled = vec![f64::NAN; z.len()];
        call(&objective.scaled(-0.5), z, Some((&mut scaled, None)));
        let is_near = |(x, y): (&f64, &f64)| (x + 0.5 * y).abs() <= 1e-12 * (1.0 + y.abs());
        assert!(scaled.iter().zip(&grad).all(is_near), "{what}: a gradient that is scaled");
        if let Some(rescaled) = checked.rescaled {
            let value = |scale: &[f64]| {
                let loss = rescaled(scale[0]);
                call(&AnchorObjective { loss: &*loss, ..objective }, z, None)
            };
            let worst = check(value, &[SCALE], &[by_scale]).unwrap();
            let small = worst.analytic.abs().max(worst.numeric.abs()) < 1e-8;
            assert!(worst.error < 1e-6 || small, "{what}, by the scale: {worst}");
        }
    }
}

#[test]
fn gradients_of_one_set_are_derivatives_of_its_value() {
    const N: usize = 7;
    let labels = [4, 4, 1, 1, 1, 9, -1];
    let similar =
        [Similar::Labels(&labels), Similar::LabelsIgnoring { labels: &labels, ignored: -1 }];
    for (d, isa) in [3, 5].into_iter().flat_map(|d| tiers().into_iter().map(move |isa| (d, isa))) {
        let z = rows(N, d, 7 + d as u64);
        for similar in similar {
            let what = format!("{N}x{d}, {isa}");
            each_loss(true, |checked| {
                check_call(&checked, &z, &WEIGHTS[..N], &what, &|objective, z, to| {
                    let mut out = AnchorsOut::none();
                    if let Some((grad, by_scale)) = to {
                        out.grad = Some(MatMut::new(grad, N, d).unwrap());
                        out.grad_scale = by_scale;
                    }
                    let (z, scratch) = (Mat::new(z, N, d).unwrap(), &mut AnchorScratch::new());
                    all_anchors(&serial(isa), objective, z, similar, out, scratch).unwrap().value
                });
            });
        }
    }
}

#[test]
fn gradients_of_two_sets_are_derivatives_of_their_value() {
    const N: usize = 5;
    const M: usize = 8;
    let labels = ([4, 1, 1, 2, 7], [1, 4, 4, 9, 1, 2, 3, 4]);
    let by_labels = CrossSimilar::Labels { queries: &labels.0, keys: &labels.1, ignored: Some(7) };
    let layouts =
        [(CrossSimilar::Position { first_key: 2 }, None), (by_labels, None), (by_labels, Some(3))];
    let all = layouts.into_iter().flat_map(|layout| {
        [Anchors::Queries, Anchors::Keys, Anchors::Both].map(|anchors| (layout, anchors))
    });
    for (((similar, own), anchors), isa) in
        all.flat_map(|case| tiers().into_iter().map(move |isa| (case, isa)))
    {
        let count = match anchors {
            Anchors::Queries => N,
            Anchors::Keys => M,
            Anchors::Both => N + M,
        };
        for d in [3, 5] {
            let z = rows(N + M, d, 17 + d as u64);
            let what = format!("{N} and {M} x{d}, {similar:?}, own {own:?}, {anchors:?}, {isa}");
            each_loss(false, |checked| {
                check_call(&checked, &z, &WEIGHTS[..count], &what, &|objective, z, to| {
                    let mut out = CrossAnchorsOut::none();
                    if let Some((grad, by_scale)) = to {
                        let (queries, keys) = grad.split_at_mut(N * d);
                        out.grad_queries = Some(MatMut::new(queries, N, d).unwrap());
                        out.grad_keys = Some(MatMut::new(keys, M, d).unwrap());
                        out.grad_scale = by_scale;
                    }
                    let (queries, keys) = z.split_at(N * d);
                    let [queries, keys] =
                        [(queries, N), (keys, M)].map(|(z, n)| Mat::new(z, n, d).unwrap());
                    let (cx, scratch) = (serial(isa), &mut AnchorScratch::new());
                    let got = cross_anchors(
                        &cx, objective, queries, keys, similar, own, anchors, out, scratch,
                    );
                    got.unwrap().value
                });
            });
        }
    }
}
