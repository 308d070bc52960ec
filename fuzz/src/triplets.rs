//! A case of triplets: by rows, or of a batch.

use arbitrary::Arbitrary;
use drlim::batch::{Mining, MiningScratch, TripletRows, TripletRowsOut, triplet_rows, triplets};
use drlim::loss::{Reduction, TripletObjective};
use drlim::{Cx, Isa, Mat, Par, Real};

use crate::all_pairs::{Weighed, late};
use crate::goal::{Kinds, Known, Reduce};
use crate::oracle::{Approx, Expected, Pair, Squared, Total};
use crate::points::{Centered, Gradients, Points};
use crate::support::formulas::TripletFormula;
use crate::{
    CANARY, MOST_ELEMENTS, Placed, Plain, batch_rows, check_elements, check_same,
    check_same_elements, flag,
};

/// One call, the bytes of which the fuzzer chooses.
#[derive(Arbitrary, Debug)]
pub struct TripletsCase {
    goal: Goal,
    /// See `batch_rows`.
    rows: u32,
    cols: u8,
    points: Points,
    of: Of,
    /// Elements in front of inputs and gradients, and between their rows.
    offsets: [u8; 6],
    gaps: [u8; 6],
}

#[derive(Arbitrary, Debug)]
enum Of {
    /// Their bits, and weights, repeated. `outputs`: which a second call asks for.
    Rows {
        ignored: Option<u16>,
        weights: Option<[Plain; 5]>,
        outputs: u8,
    },
    Batch {
        kinds: Kinds,
        mining: Mined,
    },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Mined {
    All,
    Hardest,
    SemiHard,
}

/// A loss of triplets with its way of being added up.
#[derive(Arbitrary, Debug)]
struct Goal {
    /// Which loss, and its margin.
    loss: u8,
    margin: Plain,
    reduction: Reduce,
    /// In eighths.
    scale: i8,
}

impl TripletsCase {
    /// Runs the case for one element type.
    ///
    /// # Panics
    /// Where a result is not what it should be.
    pub(crate) fn check_type<T: Real>(&self) {
        let margin = self.goal.margin.positive();
        let all = TripletFormula::all(margin);
        let formula = all[usize::from(self.goal.loss) % 3].rounded::<T>();
        let loss = formula.loss::<T>();
        let scale = T::from_f64(f64::from(self.goal.scale) / 8.0);
        let reduction = self.goal.reduction.reduction();
        let reduced = TripletObjective::sum(&*loss).scaled(scale).reduced(reduction);
        let fits = matches!(reduction, Reduction::Sum | Reduction::Mean | Reduction::MeanNonZero);
        assert_eq!(reduced.is_ok(), fits, "{reduction:?}");
        let Ok(objective) = reduced else { return };
        match &self.of {
            Of::Rows { ignored, weights, outputs } => {
                self.check_rows(formula, &objective, (*ignored, *weights), *outputs);
            }
            Of::Batch { kinds, mining } => {
                let mining = match mining {
                    Mined::All => Mining::All,
                    Mined::Hardest => Mining::Hardest,
                    Mined::SemiHard => Mining::SemiHard,
                };
                self.check_batch(formula, &objective, kinds, mining);
            }
        }
    }

    fn place<T: Real>(&self, at: usize, shape: [usize; 2], around: f64) -> Placed<T> {
        Placed::new(shape, self.offsets[at], self.gaps[at], around)
    }

    fn check_rows<T: Real>(
        &self,
        formula: TripletFormula,
        objective: &TripletObjective<T>,
        (ignored, weights): (Option<u16>, Option<[Plain; 5]>),
        outputs: u8,
    ) {
        let cols = usize::from(self.cols);
        let most = (MOST_ELEMENTS >> (self.rows as u8).count_ones()) / cols.max(1);
        let n = (self.rows >> 8) as usize % (most + 1);
        let mut inputs = [0, 1, 2].map(|at| self.place::<T>(at, [n, cols], f64::NAN));
        for (at, input) in inputs.iter_mut().enumerate() {
            // A prime apart, so that rows meet others of the same few.
            self.points.fill(input, 1009 * at);
        }
        let ignored = ignored.map(|bits| (0..n).map(|i| flag(bits, i)).collect::<Vec<_>>());
        let weights = weights.map(|weights| {
            let weights = weights.map(|plain| T::from_f64(plain.value()));
            weights.into_iter().cycle().take(n).collect::<Vec<_>>()
        });
        let [a, p, q] = inputs.each_ref().map(Placed::mat);
        let mut triplets = TripletRows::new(a, p, q).unwrap();
        if let Some(weights) = &weights {
            triplets = triplets.weighted(weights).unwrap();
        }
        if let Some(ignored) = &ignored {
            triplets = triplets.ignoring(ignored).unwrap();
        }
        let sides = (0..n).map(|i| {
            let squared = [(a, p), (a, q), (p, q)].map(|(x, y)| Squared::new(x.row(i), y.row(i)));
            Pair::sides::<T>(formula, squared).map(|pair| {
                let pair = pair.ignoring(ignored.as_ref().is_some_and(|ignored| ignored[i]));
                match &weights {
                    Some(weights) => pair.weighted(weights[i]),
                    None => pair,
                }
            })
        });
        let mut expected = by_side(sides, objective.reduction());

        let grads = [3, 4, 5].map(|at| self.place::<T>(at, [n, cols], CANARY));
        let per_triplet = [0, 1, 2, 3, 4, 5, 6]
            .map(|at| Placed::<T>::new([1, n], self.offsets[at % 6] / 2, 0, CANARY));
        let mut out = Outputs { grads, per_triplet };
        for isa in Isa::available() {
            let mut call = |par, bits| {
                let asked = out.ask(bits);
                let outcome = triplet_rows(&Cx { isa, par }, objective, triplets, asked).unwrap();
                (outcome, out.take())
            };
            let (outcome, written) = call(Par::Serial, 0b11111);
            expected[0].check_outcome::<T>(&outcome, isa);
            expected.iter_mut().for_each(|side| side.weigh::<T>(&outcome.sums, objective.scale));
            let per_triplet = |of: &dyn Fn(usize) -> Approx| (0..n).map(of).collect::<Vec<_>>();
            for (side, what) in ["ap", "an", "pn"].into_iter().enumerate() {
                let expected = &expected[side];
                let distances = per_triplet(&|i| expected.pairs[i].distance);
                check_elements(&distances, &written[3 + side], isa, what);
                // What is left there is not said, where a loss does not look at it.
                if side < 2 || formula == (TripletFormula::Swapping { m: formula.margin() }) {
                    let slopes = per_triplet(&|i| expected.slope(i));
                    check_elements(&slopes, &written[7 + side], isa, what);
                }
            }
            let values = per_triplet(&|i| expected[0].value::<T>(i));
            check_elements(&values, &written[6], isa, "values");
            check_row_gradients(&expected, n, &written, isa);
            for (par, bits) in [(Par::Rayon, 0b11111), (Par::Serial, outputs), (Par::Rayon, 0)] {
                let (other, others) = call(par, bits);
                check_same(&outcome, &other, isa);
                for (at, (one, other)) in written.iter().zip(&others).enumerate() {
                    match bits >> GROUPS[at] & 1 {
                        1 => check_same_elements(one, other, isa, "an output"),
                        _ => assert!(other.iter().all(|&x| x == T::from_f64(CANARY))),
                    }
                }
            }
        }
    }

    fn check_batch<T: Real>(
        &self,
        formula: TripletFormula,
        objective: &TripletObjective<T>,
        kinds: &Kinds,
        mining: Mining,
    ) {
        let cols = usize::from(self.cols);
        // As many triplets as other calls have pairs.
        let most = if mining == Mining::All { 40 } else { 150 };
        let n = batch_rows(self.rows, cols) % most;
        let mut z = self.place::<T>(0, [n, cols], f64::NAN);
        self.points.fill(&mut z, 0);
        let known = kinds.of(n);
        let similar = known.similar();
        let Looked { triplets: all, doubtful, doubted } = Looked::at(z.mat(), &known, mining);
        let squared = |i: usize, j: usize| {
            let [a, b] = [i, j].map(|i| z.mat().row(i));
            if mining == Mining::Hardest { Squared::new(a, b) } else { Squared::by_products(a, b) }
        };
        let sides = all.iter().map(|&[a, p, q]| {
            let squared = [squared(a, p), squared(a, q), squared(p, q)];
            Pair::sides::<T>(formula, squared).map(Pair::without_differences)
        });
        let mut expected = by_side(sides, objective.reduction());
        let rows = (0..n).map(|i| (z.mat().row(i), known.is_known(i)));
        let centered = Centered::new(rows);
        let mut weighed = Weighed::default();
        let mut grad = self.place::<T>(3, [n, cols], CANARY);
        let mut scratch = MiningScratch::new();
        for isa in Isa::available() {
            let mut call = |par, with_grad: bool| {
                let (cx, to) = (Cx { isa, par }, with_grad.then(|| grad.mat_mut()));
                let z = z.mat();
                let outcome = triplets(&cx, objective, z, similar, mining, to, &mut scratch);
                (outcome.unwrap(), grad.take())
            };
            let (outcome, got) = call(Par::Serial, true);
            let (shared, shared_got) = call(Par::Rayon, true);
            check_same(&outcome, &shared, isa);
            check_same_elements(&got, &shared_got, isa, "grad");
            check_same(&outcome, &call(Par::Rayon, false).0, isa);
            assert_eq!(outcome.pairs, all.len() as u64, "{isa}: {mining:?}");
            if !doubtful {
                expected[0].check_outcome::<T>(&outcome, isa);
            }
            let wanted = weighed.of(&outcome, || {
                expected.iter_mut().for_each(|side| {
                    side.weigh::<T>(&outcome.sums, objective.scale);
                });
                let late = late(objective.reduction(), &outcome);
                let mut gradients = match mining {
                    Mining::Hardest => Gradients::by_differences(&centered),
                    _ => Gradients::new(&centered),
                };
                for (t, &[a, p, q]) in all.iter().enumerate() {
                    for (side, pair) in [[a, p], [a, q], [p, q]].into_iter().enumerate() {
                        gradients.add::<T>(&expected[side], t, pair, late);
                    }
                }
                gradients.doubt(&doubted);
                gradients.finish::<T>()
            });
            check_elements(wanted, &got, isa, "grad");
        }
    }
}

/// The triplets of a batch that a call looks at, as far as that is certain.
struct Looked {
    triplets: Vec<[usize; 3]>,
    /// Whether for some of them others may be taken as well, and the rows of those.
    doubtful: bool,
    doubted: Vec<usize>,
}

impl Looked {
    fn at<T: Real>(z: Mat<T>, known: &Known, mining: Mining) -> Self {
        let mut looked = Looked { triplets: Vec::new(), doubtful: false, doubted: Vec::new() };
        let n = z.rows();
        for a in 0..n {
            let measure = |j: usize| match mining {
                Mining::Hardest => Squared::new(z.row(a), z.row(j)),
                _ => Squared::by_products(z.row(a), z.row(j)),
            };
            let of = |kind| (0..n).filter(move |&j| j != a && known.kind(a, j) == Some(kind));
            let measured = |kind| of(kind).map(|j| (j, measure(j))).collect::<Vec<_>>();
            let [positives, negatives] = [true, false].map(measured);
            if positives.is_empty() || negatives.is_empty() {
                continue;
            }
            let mut doubt = false;
            let mut chosen = |from: &[&(usize, Squared)], farthest: bool| {
                let found = extreme(from, farthest);
                let others = from.iter().filter(|other| other.0 != found.0);
                doubt |= others.into_iter().any(|other| {
                    !surely_beats(found, other, farthest) && z.row(other.0) != z.row(found.0)
                });
                found.0
            };
            let all_negatives: Vec<_> = negatives.iter().collect();
            match mining {
                Mining::All => {
                    let both =
                        |&(p, _): &(usize, Squared)| negatives.iter().map(move |&(q, _)| [a, p, q]);
                    looked.triplets.extend(positives.iter().flat_map(both));
                }
                Mining::Hardest => {
                    let all_positives: Vec<_> = positives.iter().collect();
                    let p = chosen(&all_positives, true);
                    looked.triplets.push([a, p, chosen(&all_negatives, false)]);
                }
                Mining::SemiHard => {
                    for positive in &positives {
                        let p = positive.0;
                        let is_farther = |other: &&(usize, Squared)| other.1.d2 > positive.1.d2;
                        let farther: Vec<_> = negatives.iter().filter(is_farther).collect();
                        let q = match farther.is_empty() {
                            true => chosen(&all_negatives, true),
                            false => chosen(&farther, false),
                        };
                        looked.triplets.push([a, p, q]);
                    }
                    doubt |= positives.iter().any(|p| {
                        negatives.iter().any(|q| {
                            let apart = surely_beats(p, q, true) || surely_beats(q, p, true);
                            !apart && z.row(p.0) != z.row(q.0)
                        })
                    });
                }
            }
            if doubt {
                looked.doubtful = true;
                looked.doubted.push(a);
                looked.doubted.extend(positives.iter().chain(&negatives).map(|(j, _)| *j));
            }
        }
        looked
    }
}

/// The first of the farthest or nearest; those that are NaN come last.
fn extreme<'a>(from: &[&'a (usize, Squared)], farthest: bool) -> &'a (usize, Squared) {
    let before = |x: f64, y: f64| match (x.is_nan(), y.is_nan()) {
        (false, false) => {
            if farthest {
                x > y
            } else {
                x < y
            }
        }
        (x, y) => !x && y,
    };
    let better = |best: &'a (usize, Squared), other: &'a (usize, Squared)| {
        if before(other.1.d2, best.1.d2) { other } else { best }
    };
    from.iter().copied().reduce(better).expect("there are some")
}

/// Whether one is farther, or nearer, than another by more than what either may be off.
fn surely_beats(one: &(usize, Squared), other: &(usize, Squared), farthest: bool) -> bool {
    let (one, other) = (&one.1, &other.1);
    let doubtful = [one, other].iter().any(|of| of.doubtful);
    let apart = match farthest {
        true => one.nearby[0] > other.nearby[1],
        false => one.nearby[1] < other.nearby[0],
    };
    apart && !doubtful
}

fn by_side(sides: impl Iterator<Item = [Pair; 3]>, reduction: Reduction) -> [Expected; 3] {
    let mut pairs = [Vec::new(), Vec::new(), Vec::new()];
    for sides in sides {
        pairs.iter_mut().zip(sides).for_each(|(pairs, side)| pairs.push(side));
    }
    pairs.map(|pairs| Expected::new(pairs, reduction))
}

/// What a call by rows has written: three gradients, three distances, values, three slopes.
type Written<T> = [Vec<T>; 10];

/// Which of the bits asks for each of them.
const GROUPS: [usize; 10] = [0, 0, 0, 1, 1, 2, 3, 4, 4, 4];

/// What a call by rows writes.
struct Outputs<T> {
    grads: [Placed<T>; 3],
    per_triplet: [Placed<T>; 7],
}

impl<T: Real> Outputs<T> {
    /// Those of which the bit is set.
    fn ask(&mut self, bits: u8) -> TripletRowsOut<'_, T> {
        let asked = |bit: u8| bits >> bit & 1 == 1;
        let mut out = TripletRowsOut::none();
        if asked(0) {
            let [a, p, n] = self.grads.each_mut().map(Placed::mat_mut);
            out = TripletRowsOut::grads(a, p, n);
        }
        let slices = self.per_triplet.each_mut().map(Placed::only_row);
        let [ap, an, pn, values, slope_ap, slope_an, slope_pn] = slices;
        if asked(1) {
            out = out.distances(ap, an);
        }
        if asked(2) {
            out = out.third_distances(pn);
        }
        if asked(3) {
            out = out.values(values);
        }
        if asked(4) {
            out = out.slopes(slope_ap, slope_an, slope_pn);
        }
        out
    }

    fn take(&mut self) -> Written<T> {
        let [a, p, n] = self.grads.each_mut().map(Placed::take);
        let [ap, an, pn, values, x, y, z] = self.per_triplet.each_mut().map(Placed::take);
        [a, p, n, ap, an, pn, values, x, y, z]
    }
}

/// Of each row the terms of two sides.
fn check_row_gradients<T: Real>(
    expected: &[Expected; 3],
    n: usize,
    written: &Written<T>,
    isa: Isa,
) {
    let cols = written[0].len() / n.max(1);
    let sum = |at: usize, sides: [(usize, f64); 2]| {
        let mut total = Total::default();
        for (side, sign) in sides {
            let Approx { x, error } = expected[side].term::<T>(at / cols, at % cols);
            total.add(Approx { x: sign * x, error });
        }
        total.rounded::<T>(usize::MAX)
    };
    for (row, sides) in [[(0, 1.0), (1, 1.0)], [(0, -1.0), (2, 1.0)], [(1, -1.0), (2, -1.0)]]
        .into_iter()
        .enumerate()
    {
        let wanted: Vec<Approx> = (0..n * cols).map(|at| sum(at, sides)).collect();
        check_elements(&wanted, &written[row], isa, ["grad_a", "grad_p", "grad_n"][row]);
    }
}
