//! A case of every pair of a batch.

use arbitrary::Arbitrary;
use drlim::batch::{AllPairsScratch, all_pairs};
use drlim::loss::{Outcome, Reduction};
use drlim::{Cx, Isa, Par, Real};

use crate::goal::{Goal, Kinds};
use crate::oracle::{Approx, Expected, Pair, Squared};
use crate::points::{Centered, Gradients, Points};
use crate::{CANARY, Placed, batch_rows, check_elements, check_same, check_same_elements};

/// One call on a matrix, the bytes of which the fuzzer chooses.
#[derive(Arbitrary, Debug)]
pub struct AllPairsCase {
    /// See `batch_rows`.
    rows: u32,
    cols: u8,
    goal: Goal,
    kinds: Kinds,
    points: Points,
    /// Elements in front of matrix and gradient, and between their rows.
    offsets: [u8; 2],
    gaps: [u8; 2],
}

impl AllPairsCase {
    /// Runs the case for one element type.
    ///
    /// # Panics
    /// Where a result is not what it should be.
    pub(crate) fn check_type<T: Real>(&self) {
        let cols = usize::from(self.cols);
        let n = batch_rows(self.rows, cols);
        let mut z = Placed::<T>::new([n, cols], self.offsets[0], self.gaps[0], f64::NAN);
        self.points.fill(&mut z, 0);
        let known = self.kinds.of(n);
        let similar = known.similar();
        let formula = self.goal.formula::<T>();
        let loss = formula.loss::<T>();
        let objective = self.goal.objective(&*loss);

        let pairs: Vec<[usize; 2]> = (0..n).flat_map(|i| (i + 1..n).map(move |j| [i, j])).collect();
        let pair = |&[i, j]: &[usize; 2]| {
            let squared = Squared::by_products(z.mat().row(i), z.mat().row(j));
            let kind = known.kind(i, j);
            let pair = Pair::new::<T>(formula, squared, kind == Some(true));
            pair.without_differences().ignoring(kind.is_none())
        };
        let mut expected = Expected::new(pairs.iter().map(pair).collect(), objective.reduction);
        let rows = (0..n).map(|i| (z.mat().row(i), known.is_known(i)));
        let centered = Centered::new(rows);
        let mut gradients = Weighed::default();

        let mut grad = Placed::<T>::new([n, cols], self.offsets[1], self.gaps[1], CANARY);
        let mut scratch = AllPairsScratch::new();
        for isa in Isa::available() {
            let mut call = |par, with_grad: bool| {
                let (cx, to) = (Cx { isa, par }, with_grad.then(|| grad.mat_mut()));
                let outcome = all_pairs(&cx, &objective, z.mat(), similar, to, &mut scratch);
                (outcome.unwrap(), grad.take())
            };
            let (outcome, got) = call(Par::Serial, true);
            let (shared, shared_got) = call(Par::Rayon, true);
            check_same(&outcome, &shared, isa);
            check_same_elements(&got, &shared_got, isa, "grad");
            for par in [Par::Serial, Par::Rayon] {
                check_same(&outcome, &call(par, false).0, isa);
            }
            expected.check_outcome::<T>(&outcome, isa);
            let wanted = gradients.of(&outcome, || {
                expected.weigh::<T>(&outcome.sums, objective.scale);
                let late = late(objective.reduction, &outcome);
                let mut gradients = Gradients::new(&centered);
                for (p, &pair) in pairs.iter().enumerate() {
                    gradients.add::<T>(&expected, p, pair, late);
                }
                gradients.finish::<T>()
            });
            check_elements(wanted, &got, isa, "grad");
        }
    }
}

/// What gradients of a mean over non-zero pairs are multiplied by at the end.
pub fn late(reduction: Reduction, outcome: &Outcome) -> f64 {
    match reduction {
        Reduction::MeanNonZero => outcome.pairs as f64 / outcome.active.max(1) as f64,
        _ => 0.0,
    }
}

/// Expected gradients, which depend on what a tier counts as active.
#[derive(Default)]
pub struct Weighed(Option<([u64; 2], Vec<Approx>)>);

impl Weighed {
    pub fn of(&mut self, outcome: &Outcome, find: impl FnOnce() -> Vec<Approx>) -> &[Approx] {
        let active = [outcome.sums.similar.active, outcome.sums.dissimilar.active];
        if self.0.as_ref().is_none_or(|(before, _)| *before != active) {
            self.0 = Some((active, find()));
        }
        &self.0.as_ref().expect("found").1
    }
}
