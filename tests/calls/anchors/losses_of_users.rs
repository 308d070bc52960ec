//! Losses that the crate does not have: one in lanes, and one of plain slices, which sees pairs alone.

use std::sync::Mutex;

use drlim::batch::{AnchorScratch, Anchors, CrossSimilar};
use drlim::loss::{Anchor, AnchorLoss, AnchorSums, BlockAnchorLoss, Measure, Positives};
use drlim::simd::Simd;
use drlim::simd::math::{exp_of_small, logistic, softplus};
use drlim::{Isa, Real, Similar, gradcheck};

use super::batch::{Batch, DIRECTIONS, assert_close};
use super::case::{Case, MEASURES, Set, graph};
use crate::support::anchors::{AnchorFormula, similarity};
use crate::support::cases::in_both_precisions;
use crate::support::element::wide;
use crate::support::{Element, labels, serial, tiers};

const SCALE: f64 = 8.0;

/// Each positive by itself against the negatives, which the crate has too: here both losses are written anew.
const EACH: AnchorFormula =
    AnchorFormula::Softmax { scale: SCALE, positives: Positives::Each, decoupled: false };

/// The value of an anchor, once its similar pairs have been looked at, and what weights are made of: lse_G, and
/// lse_G less the logarithm of what all negatives' weights come to.
fn anchor(sums: &AnchorSums) -> Anchor {
    if sums.similar.count == 0 {
        return Anchor::default();
    }
    let lse = sums.dissimilar.log();
    let [value, all] = sums.each.unwrap_or_default();
    Anchor { value, terms: Some([lse, lse - all.ln(), 0.0, 0.0]) }
}

struct InLanes;

impl<T: Real> AnchorLoss<T> for InLanes {
    #[inline(always)]
    fn exponent<S: Simd<T>>(&self, s: S, u: S::F, _similar: bool) -> (S::F, S::F) {
        let scale = s.splat(T::from_f64(SCALE));
        (scale * u, scale)
    }

    fn anchor(&self, sums: &AnchorSums) -> Anchor {
        anchor(sums)
    }

    #[inline(always)]
    fn weight<S: Simd<T>>(&self, s: S, x: S::F, similar: bool, terms: [S::F; 4]) -> S::F {
        if similar { -logistic(s, terms[0] - x) } else { exp_of_small(s, x - terms[1]) }
    }

    #[inline(always)]
    fn each<S: Simd<T>>(&self, s: S, x: S::F, terms: [S::F; 4]) -> [S::F; 2] {
        [softplus(s, terms[0] - x), logistic(s, terms[0] - x)]
    }

    fn looks_twice(&self) -> bool {
        true
    }

    fn scale(&self) -> Option<T> {
        Some(T::from_f64(SCALE))
    }

    fn ranks(&self) -> bool {
        true
    }
}

/// The loss in plain slices. It knows the similarities of all similar and of all dissimilar pairs, and counts
/// how often it is shown any.
struct OfSlices {
    similarities: [Vec<f64>; 2],
    shown: Mutex<[usize; 2]>,
}

impl OfSlices {
    /// A loss for the pairs of a case.
    fn new<T: Element>(case: &Case, batch: &Batch<T>) -> Self {
        let mut similarities = [Vec::new(), Vec::new()];
        let [queries, keys] = [batch.wide(0), batch.wide(1)];
        for (i, query) in queries.iter().enumerate() {
            for (j, key) in keys.iter().enumerate() {
                if let Some(similar) = case.set.kind(i, j) {
                    let of_kind = &mut similarities[usize::from(!similar)];
                    of_kind.push(similarity(case.measure, query, key));
                }
            }
        }
        similarities.iter_mut().for_each(|of| of.sort_by(f64::total_cmp));
        OfSlices { similarities, shown: Mutex::new([0; 2]) }
    }

    /// # Panics
    /// Where a pair of this kind with this similarity is not among those of the batch.
    fn look(&self, u: f64, similar: bool) {
        let real = &self.similarities[usize::from(!similar)];
        let at = real.partition_point(|&real| real < u);
        let nearest = real[at.saturating_sub(1)..(at + 1).min(real.len())]
            .iter()
            .fold(f64::INFINITY, |least: f64, real| least.min((real - u).abs()));
        assert!(nearest < 1e-5, "no pair has the similarity {u}, similar: {similar}");
    }
}

/// For one element type: of any, the compiler cannot tell that the loss is not in lanes, too.
macro_rules! of_slices {
    ($t:ident) => {
        impl BlockAnchorLoss<$t> for OfSlices {
            fn exponents_block(&self, _: Isa, u: &mut [$t], rates: &mut [$t], similar: bool) {
                assert_eq!(u.len(), rates.len());
                self.shown.lock().unwrap()[usize::from(!similar)] += u.len();
                for (u, rate) in u.iter_mut().zip(rates) {
                    self.look(u.to_f64(), similar);
                    *u = $t::from_f64(SCALE * u.to_f64());
                    *rate = $t::from_f64(SCALE);
                }
            }

            fn anchor_block(&self, sums: &AnchorSums) -> Anchor {
                anchor(sums)
            }

            fn weights_block(&self, _: Isa, x: &mut [$t], similar: bool, terms: [&[$t]; 4]) {
                assert!(terms.iter().all(|of| of.len() == x.len()));
                for (p, x) in x.iter_mut().enumerate() {
                    let [lse, less] = [terms[0][p], terms[1][p]].map($t::to_f64);
                    self.look(x.to_f64() / SCALE, similar);
                    *x = $t::from_f64(match similar {
                        true => -1.0 / (1.0 + (x.to_f64() - lse).exp()),
                        false => (x.to_f64() - less).exp(),
                    });
                }
            }

            fn each_block(&self, _: Isa, x: &mut [$t], second: &mut [$t], terms: [&[$t]; 4]) {
                assert!(terms.iter().all(|of| of.len() == x.len() && of.len() == second.len()));
                for (p, (x, second)) in x.iter_mut().zip(second).enumerate() {
                    self.look(x.to_f64() / SCALE, true);
                    let over = terms[0][p].to_f64() - x.to_f64();
                    *x = $t::from_f64(over.exp().ln_1p());
                    *second = $t::from_f64(1.0 / (1.0 + (-over).exp()));
                }
            }

            fn looks_twice_block(&self) -> bool {
                true
            }

            fn scale_block(&self) -> Option<$t> {
                Some($t::from_f64(SCALE))
            }

            fn ranks_block(&self) -> bool {
                true
            }
        }
    };
}
of_slices!(f32);
of_slices!(f64);

/// Layouts whose blocks have rows that are left out, places past the last column, and rows that meet
/// themselves.
fn both_agree_and_slices_see_pairs_alone<T: Element>()
where
    OfSlices: BlockAnchorLoss<T>,
{
    let (rows, graph) = ([43, 61], graph(110));
    let [of_n, of_m] = rows.map(|n| labels(n, 6));
    let ignoring = CrossSimilar::Labels { queries: &of_n, keys: &of_m, ignored: Some(-1) };
    let by_graph = CrossSimilar::Graph { graph: &graph, first_query: 30, first_key: 25 };
    let one = [Similar::Labels(&of_n), Similar::LabelsIgnoring { labels: &of_n, ignored: 1 }];
    let two = [(ignoring, None), (ignoring, Some(9)), (by_graph, None)]
        .into_iter()
        .flat_map(|of| DIRECTIONS.map(|anchors| (of, anchors)))
        .map(|((similar, own), anchors)| Set::Cross { similar, own, anchors });
    let sets: Vec<Set> = one.into_iter().map(Set::One).chain(two).collect();
    for (set, measure) in sets.iter().flat_map(|&set| MEASURES.map(|measure| (set, measure))) {
        for d in [3, 10] {
            // Rows that coincide would be as similar as a row and itself.
            let mut batch = Batch::<T>::random(rows, d, 81);
            for row in (3..rows[0]).step_by(11) {
                batch.z[1][row * d] = T::from_f64(0.3);
            }
            if matches!(set, Set::One(_)) {
                batch = Batch::one(batch.z[0].clone(), rows[0], d);
            }
            let case = Case { measure, ..Case::new(EACH, set) };
            let of_slices = OfSlices::new(&case, &batch);
            case.check_with(&InLanes, &batch, &batch);
            case.check_with(&of_slices, &batch, &batch);
            for isa in tiers() {
                let (cx, mut scratch) = (serial(isa), AnchorScratch::new());
                let one = batch.run_with(&cx, &case, &InLanes, None, &mut scratch);
                let other = batch.run_with(&cx, &case, &of_slices, None, &mut scratch);
                let (what, tolerance) = (format!("{case} on {isa}"), case.tolerance::<T>());
                let totals = [one.outcome, other.outcome].map(|of| of.totals.map(|of| of.correct));
                assert_eq!(totals[0], totals[1], "{what}");
                assert_close(&one.values, &wide(&other.values), tolerance, 1e-2, &what);
                for (one, other) in one.grads.iter().zip(&other.grads) {
                    assert_close(one, &wide(other), tolerance, 1e-2, &what);
                }
            }
            let shown = *of_slices.shown.lock().unwrap();
            assert!(shown.iter().all(|&shown| shown > 0), "{case}: {shown:?} pairs shown");
        }
    }
}

/// A loss that is never asked of a kind that the batch lacks.
fn slices_are_not_asked_of_a_kind_that_there_is_not<T: Element>()
where
    OfSlices: BlockAnchorLoss<T>,
{
    let [n, m] = [21, 40];
    let batch = Batch::<T>::random([n, m], 6, 82);
    for (queries, kind) in [(vec![5; n], 1), (vec![6; n], 0)] {
        let keys = vec![5; m];
        let set = Set::by_labels(&queries, &keys, Anchors::Both);
        let case = Case { measure: Measure::Dot, ..Case::new(EACH, set) };
        let of_slices = OfSlices::new(&case, &batch);
        case.check_with(&of_slices, &batch, &batch);
        let shown = *of_slices.shown.lock().unwrap();
        assert_eq!(shown[kind], 0, "pairs of a kind that there is not");
        assert!(shown[1 - kind] > 0);
    }
}

in_both_precisions! {
    both_agree_and_slices_see_pairs_alone
    slices_are_not_asked_of_a_kind_that_there_is_not
}

#[test]
fn a_users_loss_passes_the_check_of_its_gradient() {
    for seed in 0..5 {
        let worst = gradcheck::check_anchor_loss(&InLanes, seed).unwrap();
        assert!(worst.error < 1e-7, "{worst}");
    }
}
