//! A case of pairs by rows, drawn from arbitrary bytes, and what it is held to.
//!
//! Every tier, serial and shared, with gradients and without, is compared with the loss written
//! out in scalar f64; the outputs lie among canaries, the inputs among NaNs.

#![forbid(unsafe_code)]

use std::mem;

use arbitrary::Arbitrary;
use drlim::batch::{RowsOut, rows};
use drlim::loss::{Contrastive, Objective, PairLoss};
use drlim::{Cx, Isa, Mat, MatMut, Par, Real};

mod oracle;

use oracle::Expected;

/// Elements of a matrix at most: enough for several tasks of a call.
const MOST_ELEMENTS: usize = 40_000;

/// What surrounds outputs and what they hold at first.
const CANARY: f64 = -777.25;

/// One call on two matrices, the bytes of which the fuzzer chooses.
#[derive(Arbitrary, Debug)]
pub struct Case {
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

/// A number whose squares neither overflow nor underflow: k 2^e with e from -40 to 30.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Plain {
    k: i16,
    e: i8,
}

impl Plain {
    fn value(self) -> f64 {
        f64::from(self.k) * 2_f64.powi(i32::from(self.e).rem_euclid(71) - 40)
    }
}

/// A number at the edge of the format.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Special {
    Nan,
    Infinite(bool),
    /// Finite, but neither its square nor twice itself is.
    Huge(bool),
    Subnormal(i8),
    /// A few roundings away from what was there: a close pair, where `shift` is 0.
    Nudged(i8),
    NegativeZero,
}

impl Special {
    fn apply<T: Real>(self, x: T) -> T {
        let signed = |negative, x: T| if negative { -x } else { x };
        let times = |k: i8, x: T| T::from_f64(f64::from(k)) * x;
        match self {
            Special::Nan => T::from_f64(f64::NAN),
            Special::Infinite(negative) => signed(negative, T::INFINITY),
            Special::Huge(negative) => signed(negative, times(3, T::ONE / T::MIN_POSITIVE)),
            Special::Subnormal(k) => times(k, T::MIN_POSITIVE * T::EPSILON),
            Special::Nudged(k) => x + x * times(k, T::EPSILON),
            Special::NegativeZero => -T::ZERO,
        }
    }
}

/// A matrix somewhere in a larger piece of memory.
struct Placed<T> {
    memory: Vec<T>,
    rows: usize,
    cols: usize,
    offset: usize,
    stride: usize,
}

impl<T: Real> Placed<T> {
    fn new([rows, cols]: [usize; 2], offset: u8, gap: u8, surroundings: f64) -> Self {
        let (offset, stride) = (usize::from(offset), cols + usize::from(gap % 16));
        let memory = vec![T::from_f64(surroundings); offset + rows * stride + 64];
        Placed { memory, rows, cols, offset, stride }
    }

    fn row(&mut self, i: usize) -> &mut [T] {
        &mut self.memory[self.offset + i * self.stride..][..self.cols]
    }

    fn mat(&self) -> Mat<'_, T> {
        Mat::strided(&self.memory[self.offset..], self.rows, self.cols, self.stride).unwrap()
    }

    fn mat_mut(&mut self) -> MatMut<'_, T> {
        let memory = &mut self.memory[self.offset..];
        MatMut::strided(memory, self.rows, self.cols, self.stride).unwrap()
    }

    /// The elements, with canaries in their place; nothing else may have been written.
    fn take(&mut self) -> Vec<T> {
        let canary = T::from_f64(CANARY);
        let mut taken = Vec::with_capacity(self.rows * self.cols);
        for i in 0..self.rows {
            taken.extend(self.row(i).iter_mut().map(|x| mem::replace(x, canary)));
        }
        assert!(self.memory.iter().all(|&x| x == canary), "written outside of the matrix");
        taken
    }
}

impl Case {
    /// Runs the case for one element type.
    ///
    /// # Panics
    /// Where a result is not what it should be.
    pub fn check<T: Real>(&self)
    where
        Contrastive<T>: PairLoss<T>,
    {
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
        let similar: Vec<bool> = (0..n).map(|i| self.similar >> (i % 16) & 1 == 1).collect();

        let loss = Contrastive::new(T::from_f64(self.margin.value().abs().max(1e-9))).unwrap();
        let scale = T::from_f64(f64::from(self.scale) / 8.0);
        let whole = if self.mean { Objective::mean(&loss) } else { Objective::sum(&loss) };
        let objective = whole.scaled(scale);
        let count = if self.mean { n.max(1) } else { 1 };
        let expected = Expected::new(a.mat(), b.mat(), &similar, loss.margin(), scale, count);

        for isa in Isa::available() {
            let call = |par, out: RowsOut<T>| {
                rows(&Cx { isa, par }, &objective, a.mat(), b.mat(), &similar, out).unwrap()
            };
            let mut with_grads = |par| {
                let outcome = call(par, RowsOut::grads(grad_a.mat_mut(), grad_b.mat_mut()));
                (outcome, [grad_a.take(), grad_b.take()])
            };
            let (outcome, grads) = with_grads(Par::Serial);
            expected.check(&outcome, &grads, isa);

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

/// Equal to the last bit; any two NaNs are.
fn same_bits<T: Real>((x, y): (&T, &T)) -> bool {
    let [x, y] = [x.to_f64(), y.to_f64()];
    x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan()
}
