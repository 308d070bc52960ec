//! A case of pairs by rows.

use arbitrary::Arbitrary;
use drlim::batch::{RowsOut, rows};
use drlim::loss::Objective;
use drlim::{Cx, Isa, Par, Real};

use crate::oracle::{Expected, Pair, Squared};
use crate::support::formulas::PairFormula;
use crate::{CANARY, MOST_ELEMENTS, Placed, Plain, Special, flag, same_bits};

/// One call on two matrices, the bytes of which the fuzzer chooses.
#[derive(Arbitrary, Debug)]
pub struct RowsCase {
    /// Modulo what the columns leave of the elements; each bit of the first byte halves those.
    rows: u32,
    cols: u8,
    margin: Plain,
    /// In eighths.
    scale: i8,
    mean: bool,
    /// Its bits, repeated.
    similar: u16,
    /// Repeated to fill both matrices, in the second from `shift` on.
    values: [Plain; 7],
    shift: u8,
    /// Elements in front of each matrix and, if there are any, between its rows.
    offsets: [u8; 4],
    gaps: Option<[u8; 4]>,
    /// Whether in the second matrix, and where.
    specials: Vec<(bool, u16, Special)>,
}

impl RowsCase {
    /// Runs the case for one element type.
    ///
    /// # Panics
    /// Where a result is not what it should be.
    pub(crate) fn check_type<T: Real>(&self) {
        let cols = usize::from(self.cols);
        let most = (MOST_ELEMENTS >> (self.rows as u8).count_ones()) / cols.max(1);
        let n = (self.rows >> 8) as usize % (most + 1);
        let gaps = self.gaps.unwrap_or_default();
        let place = |m: usize, surroundings| {
            Placed::<T>::new([n, cols], self.offsets[m], gaps[m], surroundings)
        };
        let (mut a, mut b) = (place(0, f64::NAN), place(1, f64::NAN));
        self.fill(&mut a, &mut b);
        let (mut grad_a, mut grad_b) = (place(2, CANARY), place(3, CANARY));
        let similar: Vec<bool> = (0..n).map(|i| flag(self.similar, i)).collect();

        let formula = PairFormula::Contrastive { m: self.margin.positive() }.rounded::<T>();
        let loss = formula.loss::<T>();
        let scale = T::from_f64(f64::from(self.scale) / 8.0);
        let whole = if self.mean { Objective::mean(&*loss) } else { Objective::sum(&*loss) };
        let objective = whole.scaled(scale);
        let pairs = a.mat().iter().zip(b.mat().iter()).zip(&similar);
        let pairs = pairs
            .map(|((a, b), &similar)| Pair::new::<T>(formula, Squared::new(a, b), similar))
            .collect();
        let mut expected = Expected::new(pairs, objective.reduction);

        for isa in Isa::available() {
            let call = |par, out: RowsOut<T>| {
                rows(&Cx { isa, par }, &objective, a.mat(), b.mat(), &similar, out).unwrap()
            };
            let mut with_grads = |par| {
                let outcome = call(par, RowsOut::grads(grad_a.mat_mut(), grad_b.mat_mut()));
                (outcome, [grad_a.take(), grad_b.take()])
            };
            let (outcome, grads) = with_grads(Par::Serial);
            expected.check_outcome::<T>(&outcome, isa);
            expected.weigh::<T>(&outcome.sums, scale);
            for i in 0..n {
                let [grad_a, grad_b] = grads.each_ref().map(|grad| &grad[i * cols..][..cols]);
                expected.check_row(i, [grad_a, grad_b], isa);
            }

            let (shared, shared_grads) = with_grads(Par::Rayon);
            let alone = [Par::Serial, Par::Rayon].map(|par| call(par, RowsOut::none()));
            for other in [shared].into_iter().chain(alone) {
                let values = [outcome.value.to_bits(), other.value.to_bits()];
                assert_eq!(values[0], values[1], "{isa}: the value depends on threads or outputs");
                assert_eq!(outcome.active, other.active);
            }
            let mut elements = grads.iter().flatten().zip(shared_grads.iter().flatten());
            assert!(elements.all(same_bits), "{isa}: gradients depend on threads");
        }
    }

    fn fill<T: Real>(&self, a: &mut Placed<T>, b: &mut Placed<T>) {
        let values = self.values.map(|plain| T::from_f64(plain.value()));
        for i in 0..a.rows {
            for (k, (a, b)) in a.row(i).iter_mut().zip(b.row(i)).enumerate() {
                let at = i * usize::from(self.cols) + k;
                *a = values[at % values.len()];
                *b = values[(at + usize::from(self.shift)) % values.len()];
            }
        }
        let elements = a.rows * a.cols;
        for &(second, at, special) in self.specials.iter().filter(|_| elements > 0) {
            let matrix = if second { &mut *b } else { &mut *a };
            let (i, k) = (usize::from(at) % elements / matrix.cols, usize::from(at) % matrix.cols);
            let element = &mut matrix.row(i)[k];
            *element = special.apply(*element);
        }
    }
}
