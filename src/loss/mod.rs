//! What a pair costs: from a squared distance to a value and a slope, in lanes, once.
//!
//! Every Euclidean pair loss is a function of the squared distance d² of the two embeddings and of
//! whether the pair is similar. With the *slope* 2 dl/d(d²) its gradient is
//!
//! ```text
//! dl/dz_a = slope (z_a - z_b)        dl/dz_b = -slope (z_a - z_b)
//! ```
//!
//! so a loss is one function [`PairLoss::eval`], and every batch layout on every instruction tier
//! uses it. Kernels see a loss through its object-safe face [`BlockLoss`], a block of pairs at a
//! time, and are therefore compiled once for each tier rather than once for each loss.

#![forbid(unsafe_code)]

use crate::isa::Isa;
use crate::real::Real;
use crate::simd::{Kernel, Simd};

mod contrastive;
mod objective;

pub use contrastive::Contrastive;
pub use objective::{Objective, Outcome, Reduction};

/// What a pair costs, for lanes of pairs.
///
/// # Inlining
/// Mark `eval` `#[inline(always)]`. Without it the function is compiled for the baseline processor,
/// every lane operation in it becomes a call, and a whole call of `rows` takes nine times as long;
/// the bench `rows/user_loss` shows it. For the same reason it is only fast in optimised builds.
///
/// # Contract
/// Zero distance: divide by a distance only through [`Simd::over_distance`]. NaN: clip only through
/// [`Simd::hinge`], and write comparisons such that a NaN in `d2` reaches both results.
///
/// ```
/// use drlim::loss::PairLoss;
/// use drlim::simd::Simd;
/// use drlim::Real;
///
/// /// max(0, d - pull)² / 2 for similar pairs, max(0, push - d)² / 2 for dissimilar ones.
/// struct DoubleMargin<T> { pull: T, push: T }
///
/// impl<T: Real> PairLoss<T> for DoubleMargin<T> {
///     #[inline(always)]
///     fn eval<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
///         let d = s.sqrt(d2);
///         let stretch = s.hinge(d - s.splat(self.pull));
///         let squeeze = s.hinge(s.splat(self.push) - d);
///         let gap = s.select(similar, stretch, -squeeze);
///         let half = s.splat(T::from_f64(0.5));
///         (half * gap * gap, s.over_distance(gap, d, d2))
///     }
/// }
/// ```
pub trait PairLoss<T: Real>: Sync {
    /// Values and slopes of pairs from their squared distances. A slope is twice the derivative of
    /// the value with respect to the squared distance.
    fn eval<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F);

    /// The body of [`BlockLoss::eval_block`]. The crate's own losses override it by a function
    /// that is compiled inside the crate, so that they are fast in a caller's debug build too.
    #[doc(hidden)]
    fn block(&self, isa: Isa, d2: &mut [T], similar: &[bool]) -> BlockSum
    where
        Self: Sized,
    {
        T::dispatch(isa, EvalBlock { loss: self, d2, similar })
    }
}

/// What the pairs of a block add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BlockSum {
    /// The sum of the values.
    pub value: f64,
    /// How many values are not zero. A NaN is not zero.
    pub active: u64,
}

impl BlockSum {
    pub(crate) fn add(self, other: Self) -> Self {
        BlockSum { value: self.value + other.value, active: self.active + other.active }
    }
}

/// The object-safe face of every [`PairLoss`].
///
/// It can also be implemented directly, by a loss that is not written in lanes: a callback of
/// another language, or a table.
pub trait BlockLoss<T: Real>: Sync {
    /// Takes squared distances, leaves slopes in their place, returns sums.
    ///
    /// # Panics
    /// May panic where `d2` and `similar` differ in length.
    fn eval_block(&self, isa: Isa, d2: &mut [T], similar: &[bool]) -> BlockSum;
}

impl<T: Real, L: PairLoss<T>> BlockLoss<T> for L {
    fn eval_block(&self, isa: Isa, d2: &mut [T], similar: &[bool]) -> BlockSum {
        assert_eq!(d2.len(), similar.len(), "squared distances and similarities differ in number");
        self.block(isa, d2, similar)
    }
}

/// A block of pairs through one loss.
struct EvalBlock<'a, T, L> {
    loss: &'a L,
    d2: &'a mut [T],
    similar: &'a [bool],
}

impl<T: Real, L: PairLoss<T>> Kernel<T> for EvalBlock<'_, T, L> {
    type Output = BlockSum;

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> BlockSum {
        let mut values = s.splat(T::ZERO);
        let mut active = 0;
        let mut d2 = self.d2.chunks_exact_mut(S::LANES);
        let mut similar = self.similar.chunks_exact(S::LANES);
        for (d2, similar) in d2.by_ref().zip(similar.by_ref()) {
            let (value, slope) = self.loss.eval(s, s.load(d2), s.mask(similar));
            s.store(slope, d2);
            values = values + value;
            active += s.count(s.nonzero(value));
        }
        let d2 = d2.into_remainder();
        if !d2.is_empty() {
            let (value, slope) = self.loss.eval(s, s.load(d2), s.mask(similar.remainder()));
            // A lane past the end is a pair at distance 0, which may well have a value.
            let value = s.select(s.first(d2.len()), value, s.splat(T::ZERO));
            s.store(slope, d2);
            values = values + value;
            active += s.count(s.nonzero(value));
        }
        BlockSum { value: s.sum(values).to_f64(), active: u64::from(active) }
    }
}

/// Implements [`PairLoss`] for a loss that has an inherent `formula`, such that its block function
/// is compiled in this crate. The loss of no element type stands for the family.
macro_rules! compiled_here {
    ($loss:ident) => {
        impl<T: $crate::Real> $crate::loss::PairLoss<T> for $loss<T> {
            #[inline(always)]
            fn eval<S: $crate::simd::Simd<T>>(
                &self,
                s: S,
                d2: S::F,
                similar: S::M,
            ) -> (S::F, S::F) {
                self.formula(s, d2, similar)
            }

            fn block(
                &self,
                isa: $crate::Isa,
                d2: &mut [T],
                similar: &[bool],
            ) -> $crate::loss::BlockSum {
                T::compiled::<$loss<()>>((self, isa, d2, similar))
            }
        }

        impl $crate::real::Compiled for $loss<()> {
            type Arguments<'a, T: $crate::Real> =
                (&'a $loss<T>, $crate::Isa, &'a mut [T], &'a [bool]);
            type Output = $crate::loss::BlockSum;

            fn f32((loss, isa, d2, similar): Self::Arguments<'_, f32>) -> Self::Output {
                f32::dispatch(isa, $crate::loss::EvalBlock { loss, d2, similar })
            }
            fn f64((loss, isa, d2, similar): Self::Arguments<'_, f64>) -> Self::Output {
                f64::dispatch(isa, $crate::loss::EvalBlock { loss, d2, similar })
            }
        }
    };
}
use compiled_here;
