//! A case of every row of one batch with every row of another.

use arbitrary::Arbitrary;
use drlim::batch::{CrossOut, CrossScratch, CrossSimilar, cross};
use drlim::{Cx, Isa, Par, Real};

use crate::all_pairs::{Weighed, late};
use crate::goal::{Goal, Kinds};
use crate::oracle::{Expected, Pair, Squared};
use crate::points::{Centered, Gradients, Points};
use crate::{CANARY, Placed, batch_rows, check_elements, check_same, check_same_elements};

/// One call on two matrices, the bytes of which the fuzzer chooses.
#[derive(Arbitrary, Debug)]
pub struct CrossCase {
    /// Of both together: see `batch_rows`.
    rows: u32,
    cols: u8,
    /// Of 256, how many of them are queries.
    queries: u8,
    goal: Goal,
    /// Of a batch, of which both are parts.
    kinds: Kinds,
    /// Where in it the first of each side is, if the call says so.
    first: [Index; 2],
    own: Option<Index>,
    points: Points,
    /// Elements in front of both matrices and their gradients, and between their rows.
    offsets: [u8; 4],
    gaps: [u8; 4],
    /// Which gradients a second call asks for.
    outputs: u8,
}

/// A number of a row, in the batch or far outside.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Index {
    Near(u8),
    FromEnd(u8),
    Any(usize),
}

impl Index {
    /// One that fits for most of the choices, where there are so many.
    fn of(self, count: usize) -> usize {
        match self {
            Index::Near(i) => usize::from(i) % count.max(1),
            Index::FromEnd(i) => count.saturating_sub(usize::from(i % 4)),
            Index::Any(i) => i,
        }
    }
}

impl CrossCase {
    /// Runs the case for one element type.
    ///
    /// # Panics
    /// Where a result is not what it should be.
    pub(crate) fn check_type<T: Real>(&self) {
        let cols = usize::from(self.cols);
        let both = batch_rows(self.rows, cols);
        let n = both * usize::from(self.queries) / 256;
        let m = both - n;
        let known = self.kinds.of(both);
        // Labels are those of a part of the batch; of a graph the part itself is the caller's to say.
        let places = [(0, n), (1, m)].map(|(side, rows)| {
            let first = self.first[side].of(both - rows + 1);
            if known.graph.is_some() { first } else { first.min(both - rows) }
        });
        let own = self.own.map(|own| match (&known.graph, own) {
            // Mostly what the graph says too.
            (Some(_), Index::Near(_)) => places[0].wrapping_sub(places[1]),
            _ => own.of((m + 1).saturating_sub(n)),
        });
        let [of_queries, of_keys] = [(places[0], n), (places[1], m)].map(|(first, rows)| {
            if known.graph.is_some() { &[][..] } else { &known.labels[first..first + rows] }
        });
        let similar = match &known.graph {
            Some(graph) => {
                CrossSimilar::Graph { graph, first_query: places[0], first_key: places[1] }
            }
            None => {
                CrossSimilar::Labels { queries: of_queries, keys: of_keys, ignored: known.ignored }
            }
        };

        let place = |at: usize, rows: usize, around: f64| {
            Placed::<T>::new([rows, cols], self.offsets[at], self.gaps[at], around)
        };
        let mut z = [place(0, n, f64::NAN), place(1, m, f64::NAN)];
        self.points.fill(&mut z[0], 0);
        self.points.fill(&mut z[1], n);
        let mut grads = [place(2, n, CANARY), place(3, m, CANARY)];
        let formula = self.goal.formula::<T>();
        let loss = formula.loss::<T>();
        let objective = self.goal.objective(&*loss);
        let mut scratch = CrossScratch::new();
        let mut call = |isa, par, outputs: u8| {
            let [of_queries, of_keys] = &mut grads;
            let out = CrossOut {
                grad_queries: (outputs & 1 == 1).then(|| of_queries.mat_mut()),
                grad_keys: (outputs & 2 == 2).then(|| of_keys.mat_mut()),
                slope_totals: None,
            };
            let (cx, [queries, keys]) = (Cx { isa, par }, z.each_ref().map(Placed::mat));
            let outcome = cross(&cx, &objective, queries, keys, similar, own, out, &mut scratch);
            (outcome, grads.each_mut().map(Placed::take))
        };
        let inside = |first: usize, rows: usize, of: usize| {
            first.checked_add(rows).is_some_and(|end| end <= of)
        };
        let in_graph = inside(places[0], n, both) && inside(places[1], m, both);
        let same_own = |own: usize| places[1].checked_add(own) == Some(places[0]);
        let own_fits =
            own.is_none_or(|own| inside(own, n, m) && (known.graph.is_none() || same_own(own)));
        if !in_graph || !own_fits {
            let (outcome, grads) = call(Isa::best(), Par::Serial, 3);
            assert!(outcome.is_err(), "own {own:?}, first {places:?} of {both}, {n} and {m}");
            let canary = T::from_f64(CANARY);
            return assert!(grads.iter().flatten().all(|&x| x == canary), "written, and refused");
        }

        let kind = |i: usize, j: usize| match &known.graph {
            Some(_) if places[0] + i == places[1] + j => None,
            None if own.is_some_and(|own| own + i == j) => None,
            _ => known.kind(places[0] + i, places[1] + j),
        };
        let pairs: Vec<[usize; 2]> = (0..n).flat_map(|i| (0..m).map(move |j| [i, j])).collect();
        let pair = |&[i, j]: &[usize; 2]| {
            let squared = Squared::by_products(z[0].mat().row(i), z[1].mat().row(j));
            let kind = kind(i, j);
            let pair = Pair::new::<T>(formula, squared, kind == Some(true));
            pair.without_differences().ignoring(kind.is_none())
        };
        let mut expected = Expected::new(pairs.iter().map(pair).collect(), objective.reduction);
        let [queries, keys] = z.each_ref().map(Placed::mat);
        let all = (0..n).map(|i| (queries.row(i), known.is_known(places[0] + i)));
        let all = all.chain((0..m).map(|j| (keys.row(j), known.is_known(places[1] + j))));
        let centered = Centered::new(all);
        let mut gradients = Weighed::default();
        for isa in Isa::available() {
            let (outcome, got) = call(isa, Par::Serial, 3);
            let outcome = outcome.unwrap();
            for (par, outputs) in [(Par::Rayon, 3), (Par::Serial, self.outputs), (Par::Rayon, 0)] {
                let (other, others) = call(isa, par, outputs);
                check_same(&outcome, &other.unwrap(), isa);
                for (side, (one, other)) in got.iter().zip(&others).enumerate() {
                    match outputs >> side & 1 {
                        1 => check_same_elements(one, other, isa, "grad"),
                        _ => assert!(other.iter().all(|&x| x == T::from_f64(CANARY))),
                    }
                }
            }
            expected.check_outcome::<T>(&outcome, isa);
            let wanted = gradients.of(&outcome, || {
                expected.weigh::<T>(&outcome.sums, objective.scale);
                let late = late(objective.reduction, &outcome);
                let mut gradients = Gradients::new(&centered);
                for (p, &[i, j]) in pairs.iter().enumerate() {
                    gradients.add::<T>(&expected, p, [i, n + j], late);
                }
                gradients.finish::<T>()
            });
            check_elements(&wanted[..n * cols], &got[0], isa, "grad_queries");
            check_elements(&wanted[n * cols..], &got[1], isa, "grad_keys");
        }
    }
}
