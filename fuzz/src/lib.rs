//! Cases of calls, drawn from arbitrary bytes, and what they are held to.
//!
//! Every tier, serial and shared, with all outputs and without, is compared with the loss written out
//! in scalar f64; the outputs lie among canaries, the inputs among NaNs.

#![forbid(unsafe_code)]

use std::mem;

use arbitrary::Arbitrary;
use drlim::loss::Outcome;
use drlim::{Isa, Mat, MatMut, Real};

mod all_pairs;
mod anchors;
mod cross;
mod distances;
/// Layers of images that the crate's own tests compare with, and how they list layers.
#[path = "../../tests/layers/formulas.rs"]
#[allow(dead_code, reason = "of which a part is used here")]
mod formulas;
mod goal;
mod indexed;
mod layers;
mod nearest;
mod network;
mod oracle;
mod points;
mod rows;
mod size;
#[path = "../../tests/layers/stack.rs"]
#[allow(dead_code, reason = "of which a part is used here")]
mod stack;
mod support;
mod training;
mod triplets;
/// The distances of rows and their gradients that the crate's own tests compare with.
#[path = "../../tests/calls/distances/twin.rs"]
mod twin;
mod views;

pub use all_pairs::AllPairsCase;
pub use anchors::AnchorsCase;
pub use cross::CrossCase;
pub use distances::DistancesCase;
pub use indexed::IndexedCase;
pub use nearest::NearestCase;
pub use network::NetworkCase;
pub use rows::RowsCase;
pub use training::TrainingCase;
pub use triplets::TripletsCase;
pub use views::ViewsCase;

use oracle::Approx;
use size::Size;

/// Cases of both element types. (Compiled here, and not once more for each target.)
macro_rules! of_both_types {
    ($($case:ident)*) => {
        $(impl $case {
            /// Runs the case in `f32` and in `f64`.
            ///
            /// # Panics
            /// Where a result is not what it should be.
            pub fn check(&self) {
                self.check_type::<f32>();
                self.check_type::<f64>();
            }
        })*
    };
}
of_both_types!(
    AllPairsCase AnchorsCase CrossCase DistancesCase IndexedCase NearestCase NetworkCase RowsCase
    TrainingCase TripletsCase ViewsCase
);

/// Elements of a matrix at most, or of the rows of all pairs: enough for several tasks of a call.
const MOST_ELEMENTS: usize = 40_000;

/// Elements of the rows of all pairs at most, where every row of a batch meets every other one: enough for
/// several threads, also where half of the rows meet the other half.
const MOST_MET: usize = 1 << 23;

/// What surrounds outputs and what they hold at first.
const CANARY: f64 = -777.25;

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

    /// One that can be a margin.
    fn positive(self) -> f64 {
        self.value().abs().max(1e-9)
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

    /// A matrix of one row.
    fn only_row(&mut self) -> &mut [T] {
        self.row(0)
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

/// Bit i of a pattern that is repeated.
fn flag(bits: u16, i: usize) -> bool {
    bits >> (i % 16) & 1 == 1
}

/// Equal to the last bit; any two NaNs are.
fn same_bits<T: Real>((x, y): (&T, &T)) -> bool {
    let [x, y] = [x.to_f64(), y.to_f64()];
    x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan()
}

/// Rows of a batch in which every one meets every other one, of pairs of so many elements. Each of the first
/// sixteen bits of `choice` halves what there may be, so that most batches are small.
fn batch_rows(choice: u32, cols: usize) -> usize {
    let met = MOST_MET >> (choice as u16).count_ones();
    let most = ((2 * met / cols.max(1)) as f64).sqrt().min(700.0);
    (choice >> 16) as usize % (most as usize + 1)
}

/// # Panics
/// Where two outcomes differ in a bit, but for that of a NaN.
fn check_same(one: &Outcome, other: &Outcome, isa: Isa) {
    let numbers =
        |outcome: &Outcome| [outcome.value, outcome.sums.similar.sum, outcome.sums.dissimilar.sum];
    let counts = |outcome: &Outcome| {
        [outcome.pairs, outcome.similar, outcome.active, outcome.sums.similar.active]
    };
    let same = numbers(one).iter().zip(&numbers(other)).all(same_bits);
    assert!(same && counts(one) == counts(other), "{isa}: {one:?} and {other:?}");
}

/// # Panics
/// Where two outputs differ in a bit, but for that of a NaN.
fn check_same_elements<T: Real>(one: &[T], other: &[T], isa: Isa, what: &str) {
    let differs = one.iter().zip(other).position(|both| !same_bits(both));
    assert_eq!(differs, None, "{isa} {}: {what} depends on threads, or on other outputs", T::NAME);
}

/// # Panics
/// Where an output is not what it should be.
fn check_elements<T: Real>(expected: &[Approx], got: &[T], isa: Isa, what: &str) {
    assert_eq!(expected.len(), got.len());
    for (at, (expected, got)) in expected.iter().zip(got).enumerate() {
        expected.check::<T>(got.to_f64(), isa, what, at);
    }
}
