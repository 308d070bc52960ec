//! The FMA peak of a tier: independent multiply-adds on registers, nothing else.

use std::hint::black_box;

use drlim::simd::{Kernel, Simd};
use drlim::{Isa, Real};

/// Multiply-adds of a chain.
pub const LENGTH: usize = 100_000;

/// Enough independent chains to hide the latency, few enough to stay in registers.
pub const CHAINS: usize = 12;

struct Chains<T>(T);

impl<T: Real> Kernel<T> for Chains<T> {
    type Output = (T, usize);

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> (T, usize) {
        let (factor, term) = (s.splat(self.0), s.splat(self.0));
        let mut sums = [s.splat(T::ONE); CHAINS];
        for _ in 0..LENGTH {
            for sum in &mut sums {
                *sum = s.fma(*sum, factor, term);
            }
        }
        let mut total = s.splat(T::ZERO);
        for sum in sums {
            total = total + sum;
        }
        (s.sum(total), 2 * LENGTH * CHAINS * S::LANES)
    }
}

/// Runs all chains on this thread: their sum, and their flops.
pub fn run<T: Real>(isa: Isa) -> (T, usize) {
    T::dispatch(isa, Chains(black_box(T::from_f64(0.5))))
}

/// As [`run`], once and checked: the flops alone.
///
/// # Panics
/// Where the sum is wrong.
pub fn flops<T: Real>(isa: Isa) -> usize {
    let (total, flops) = run::<T>(isa);
    // The chains settle at 1 = 1/2 + 1/2, in every lane.
    assert_eq!(total.to_f64() * (2 * LENGTH) as f64, flops as f64, "the sum of all chains");
    flops
}
