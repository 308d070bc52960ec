//! A case of pairs of the rows of one matrix.

use arbitrary::Arbitrary;
use drlim::batch::{IndexedOut, IndexedScratch, PairList, indexed};
use drlim::loss::{Objective, Pairing};
use drlim::{Cx, Isa, Par, Real};

use crate::goal::Reduce;
use crate::oracle::{Approx, Expected, Pair, Squared, Total};
use crate::support::formulas::PairFormula;
use crate::{CANARY, MOST_ELEMENTS, Placed, Plain, Special, check_same, flag, same_bits};

/// One call on a matrix and a list of pairs, the bytes of which the fuzzer chooses.
#[derive(Arbitrary, Debug)]
pub struct IndexedCase {
    rows: u16,
    cols: u8,
    /// Modulo what the columns leave of the elements; each bit of the first byte halves those.
    pairs: u32,
    /// The first pairs, repeated with both rows moved by `moved` each time, all modulo the rows.
    list: Vec<(u16, u16)>,
    moved: [u8; 2],
    /// Which loss, and its margins.
    loss: u8,
    margins: [Plain; 2],
    reduction: Reduce,
    /// In eighths.
    scale: i8,
    /// Their bits, repeated.
    similar: u16,
    ignored: Option<u16>,
    /// Repeated.
    weights: Option<[Plain; 5]>,
    /// Repeated to fill the matrix.
    values: [Plain; 7],
    /// Elements in front of matrix, gradient, distances, values and slopes, and between the rows of
    /// the first two.
    offsets: [u8; 5],
    gaps: [u8; 2],
    /// Its bits: which outputs a second call asks for.
    outputs: u8,
    specials: Vec<(u16, Special)>,
}

/// What a call writes.
struct Outputs<T> {
    grad: Placed<T>,
    /// Distances, values, slopes.
    per_pair: [Placed<T>; 3],
}

/// What it has written: gradient, distances, values, slopes.
type Written<T> = [Vec<T>; 4];

impl<T: Real> Outputs<T> {
    /// Those of which the bit is set.
    fn ask(&mut self, bits: u8) -> IndexedOut<'_, T> {
        let asked = |bit: u8| bits >> bit & 1 == 1;
        let mut out = IndexedOut::none();
        if asked(0) {
            out = IndexedOut::grad(self.grad.mat_mut());
        }
        let [distances, values, slopes] = self.per_pair.each_mut();
        if asked(1) && distances.cols > 0 {
            out = out.distances(distances.only_row());
        }
        if asked(2) && values.cols > 0 {
            out = out.values(values.only_row());
        }
        if asked(3) && slopes.cols > 0 {
            out = out.slopes(slopes.only_row());
        }
        out
    }

    fn take(&mut self) -> Written<T> {
        let [distances, values, slopes] = self.per_pair.each_mut().map(Placed::take);
        [self.grad.take(), distances, values, slopes]
    }
}

impl IndexedCase {
    /// Runs the case for one element type.
    ///
    /// # Panics
    /// Where a result is not what it should be.
    pub(crate) fn check_type<T: Real>(&self) {
        let cols = usize::from(self.cols);
        let rows = usize::from(self.rows) % (MOST_ELEMENTS / cols.max(1) + 1);
        let list = PairList::new(rows, &self.list(rows)).unwrap();
        let n = list.len();
        let mut z = Placed::<T>::new([rows, cols], self.offsets[0], self.gaps[0], f64::NAN);
        self.fill(&mut z);
        let similar: Vec<bool> = (0..n).map(|p| flag(self.similar, p)).collect();
        let ignored = self.ignored.map(|bits| (0..n).map(|p| flag(bits, p)).collect::<Vec<_>>());
        let weights = self.weights.map(|weights| {
            let weights = weights.map(|plain| T::from_f64(plain.value()));
            weights.into_iter().cycle().take(n).collect::<Vec<_>>()
        });
        let mut pairing = Pairing::new(&similar);
        if let Some(weights) = &weights {
            pairing = pairing.weighted(weights);
        }
        if let Some(ignored) = &ignored {
            pairing = pairing.ignoring(ignored);
        }

        let [p, m] = self.margins.map(Plain::positive);
        let formula = PairFormula::all(p, m)[usize::from(self.loss) % 6].rounded::<T>();
        let loss = formula.loss::<T>();
        let scale = T::from_f64(f64::from(self.scale) / 8.0);
        let reduction = self.reduction.reduction();
        let objective = Objective::sum(&*loss).reduced(reduction).scaled(scale);
        let pair = |(p, &(i, j)): (usize, &(u32, u32))| {
            let [a, b] = [i, j].map(|i| z.mat().row(i as usize));
            let pair = Pair::new::<T>(formula, Squared::new(a, b), similar[p]);
            let pair = pair.ignoring(ignored.as_ref().is_some_and(|ignored| ignored[p]));
            match &weights {
                Some(weights) => pair.weighted(weights[p]),
                None => pair,
            }
        };
        let pairs = list.pairs().iter().enumerate().map(pair).collect();
        let mut expected = Expected::new(pairs, reduction);

        let per_pair = |m: usize| Placed::new([1, n], self.offsets[m], 0, CANARY);
        let grad = Placed::new([rows, cols], self.offsets[1], self.gaps[1], CANARY);
        let mut out = Outputs::<T> { grad, per_pair: [2, 3, 4].map(per_pair) };
        let mut scratch = IndexedScratch::new();
        for isa in Isa::available() {
            let mut call = |par, bits| {
                let (cx, asked) = (Cx { isa, par }, out.ask(bits));
                let (z, scratch) = (z.mat(), &mut scratch);
                let outcome = indexed(&cx, &objective, z, &list, pairing, asked, scratch).unwrap();
                (outcome, out.take())
            };
            let (outcome, written) = call(Par::Serial, 0b1111);
            expected.check_outcome::<T>(&outcome, isa);
            expected.weigh::<T>(&outcome.sums, scale);
            check_pairs(&expected, &written, isa);
            check_gradient(&expected, &list, cols, &written[0], isa);
            for (par, bits) in [(Par::Rayon, 0b1111), (Par::Serial, self.outputs), (Par::Rayon, 0)]
            {
                let (other, others) = call(par, bits);
                check_same(&outcome, &other, isa);
                for (bit, (one, other)) in written.iter().zip(&others).enumerate() {
                    let asked = bits >> bit & 1 == 1;
                    let canary = T::from_f64(CANARY);
                    let untouched = other.iter().all(|&x| x == canary);
                    let same = one.iter().zip(other).all(same_bits);
                    assert!(
                        if asked { same } else { untouched },
                        "{isa}: output {bit} of {bits:b}"
                    );
                }
            }
        }
    }

    /// Pairs of `rows` rows, none where there are no rows.
    fn list(&self, rows: usize) -> Vec<(u32, u32)> {
        let most =
            (MOST_ELEMENTS >> (self.pairs as u8).count_ones()) / usize::from(self.cols).max(1);
        let n = (self.pairs >> 8) as usize % (most + 1);
        if rows == 0 || self.list.is_empty() {
            return Vec::new();
        }
        let pair = |p: usize| {
            let (round, (i, j)) = (p / self.list.len(), self.list[p % self.list.len()]);
            let row = |start: u16, moved: u8| {
                ((usize::from(start) + round * usize::from(moved)) % rows) as u32
            };
            (row(i, self.moved[0]), row(j, self.moved[1]))
        };
        (0..n).map(pair).collect()
    }

    fn fill<T: Real>(&self, z: &mut Placed<T>) {
        let values = self.values.map(|plain| T::from_f64(plain.value()));
        for i in 0..z.rows {
            let start = i * usize::from(self.cols) + i * i;
            for (k, x) in z.row(i).iter_mut().enumerate() {
                *x = values[(start + k) % values.len()];
            }
        }
        let elements = z.rows * z.cols;
        for &(at, special) in self.specials.iter().filter(|_| elements > 0) {
            let (i, k) = (usize::from(at) % elements / z.cols, usize::from(at) % z.cols);
            let element = &mut z.row(i)[k];
            *element = special.apply(*element);
        }
    }
}

fn check_pairs<T: Real>(expected: &Expected, written: &Written<T>, isa: Isa) {
    let [_, distances, values, slopes] = written;
    for (p, pair) in expected.pairs.iter().enumerate() {
        pair.distance.check::<T>(distances[p].to_f64(), isa, "distances", p);
        expected.value::<T>(p).check::<T>(values[p].to_f64(), isa, "values", p);
        expected.slope(p).check::<T>(slopes[p].to_f64(), isa, "slopes", p);
    }
}

/// The gradients of all pairs, scattered to their rows.
fn check_gradient<T: Real>(
    expected: &Expected,
    list: &PairList,
    cols: usize,
    grad: &[T],
    isa: Isa,
) {
    let mut totals = vec![Total::default(); grad.len()];
    for (p, &(i, j)) in list.pairs().iter().enumerate() {
        if expected.pairs[p].ignored {
            continue;
        }
        for k in 0..cols {
            let Approx { x, error } = expected.term::<T>(p, k);
            totals[i as usize * cols + k].add(Approx { x, error });
            totals[j as usize * cols + k].add(Approx { x: -x, error });
        }
    }
    for (at, (total, grad)) in totals.into_iter().zip(grad).enumerate() {
        total.rounded::<T>(usize::MAX).check::<T>(grad.to_f64(), isa, "grad", at);
    }
}
