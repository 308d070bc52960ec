//! Cases of calls, drawn from arbitrary bytes, and what they are held to.
//!
//! Every tier, serial and shared, with all outputs and without, is compared with the loss written out
//! in scalar f64; the outputs lie among canaries, the inputs among NaNs.

#![forbid(unsafe_code)]

use std::mem;

use arbitrary::Arbitrary;
use drlim::{Mat, MatMut, Real};

/// The formulas that the crate's own tests compare with.
#[path = "../../tests/common/formulas.rs"]
#[allow(dead_code, reason = "of which a part is used here")]
mod formulas;
mod indexed;
mod oracle;
mod rows;

pub use indexed::IndexedCase;
pub use rows::RowsCase;

/// Elements of a matrix at most, or of the rows of all pairs: enough for several tasks of a call.
const MOST_ELEMENTS: usize = 40_000;

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
