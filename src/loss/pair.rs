//! Losses of pairs: the trait that a loss is written in, and the face that kernels see.

#![forbid(unsafe_code)]

use crate::isa::Isa;
use crate::real::Real;
use crate::simd::{Kernel, Simd};

/// What a pair costs, for lanes of pairs.
///
/// # Inlining
/// Mark `eval` `#[inline(always)]`. Without it the function is compiled for the baseline processor,
/// every lane operation in it becomes a call, and a whole call of `rows` takes several times as long;
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
/// /// d²/2 for similar pairs, (m² - d²)²/4 inside of the margin for dissimilar ones.
/// struct Quartic<T> { margin: T }
///
/// impl<T: Real> PairLoss<T> for Quartic<T> {
///     #[inline(always)]
///     fn eval<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
///         let half = s.splat(T::from_f64(0.5));
///         let gap = s.hinge(s.splat(self.margin * self.margin) - d2);
///         let value = s.select(similar, half * d2, half * half * gap * gap);
///         (value, s.select(similar, s.splat(T::ONE), -gap))
///     }
/// }
/// let worst = drlim::gradcheck::check_loss(&Quartic { margin: 1.0 }, &[1.0], 7)?;
/// assert!(worst.error < 1e-8, "{worst}");
/// # Ok::<(), drlim::Error>(())
/// ```
pub trait PairLoss<T: Real>: Sync {
    /// Values and slopes of pairs from their squared distances. A slope is twice the derivative of
    /// the value with respect to the squared distance.
    fn eval<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F);

    /// The distance beyond which dissimilar pairs cost nothing and have slope 0, where there is one:
    /// calls on whole batches skip what is farther apart.
    fn reach(&self) -> Option<T> {
        None
    }

    /// The slope s of similar pairs, where it is a constant and their value is s d²/2: calls on whole
    /// batches add up such pairs of a class by its mean, without measuring them.
    fn pull(&self) -> Option<T> {
        None
    }

    /// The distances at which the loss changes its mind, such as its margins, up to two; none where there is
    /// none or nobody cares. Distances that come from products are off by some roundings: pairs that may
    /// be on either side of a kink are measured by differences, so that those which are exactly there count
    /// as such.
    fn kinks(&self) -> [Option<T>; 2] {
        [None; 2]
    }

    /// The body of [`BlockLoss::eval_block`]. The crate's own losses override it by a function
    /// that is compiled inside the crate, so that they are fast in a caller's debug build too.
    #[doc(hidden)]
    fn block(&self, isa: Isa, d2: &mut [T], similar: &[bool], values: &mut [T])
    where
        Self: Sized,
    {
        T::dispatch(isa, EvalBlock { loss: self, d2, similar, values })
    }
}

/// The object-safe face of every [`PairLoss`].
///
/// It can also be implemented directly, by a loss that is not written in lanes: a callback of
/// another language, or a table.
pub trait BlockLoss<T: Real>: Sync {
    /// Takes squared distances and leaves slopes in their place; overwrites `values`.
    ///
    /// The results of a pair depend on that pair alone: kernels cut batches into blocks as they
    /// like.
    ///
    /// # Panics
    /// May panic where `d2`, `similar` and `values` differ in length.
    fn eval_block(&self, isa: Isa, d2: &mut [T], similar: &[bool], values: &mut [T]);

    /// As [`PairLoss::reach`].
    fn reach_block(&self) -> Option<T> {
        None
    }

    /// As [`PairLoss::pull`].
    fn pull_block(&self) -> Option<T> {
        None
    }

    /// As [`PairLoss::kinks`].
    fn kinks_block(&self) -> [Option<T>; 2] {
        [None; 2]
    }
}

impl<T: Real, L: PairLoss<T>> BlockLoss<T> for L {
    fn eval_block(&self, isa: Isa, d2: &mut [T], similar: &[bool], values: &mut [T]) {
        let len = d2.len();
        assert!(similar.len() == len && values.len() == len, "slices of a block differ in length");
        self.block(isa, d2, similar, values);
    }

    fn reach_block(&self) -> Option<T> {
        self.reach()
    }

    fn pull_block(&self) -> Option<T> {
        self.pull()
    }

    fn kinks_block(&self) -> [Option<T>; 2] {
        self.kinks()
    }
}

/// A block of pairs through one loss.
pub(super) struct EvalBlock<'a, T, L> {
    pub loss: &'a L,
    pub d2: &'a mut [T],
    pub similar: &'a [bool],
    pub values: &'a mut [T],
}

impl<T: Real, L: PairLoss<T>> Kernel<T> for EvalBlock<'_, T, L> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let mut d2 = self.d2.chunks_exact_mut(S::LANES);
        let mut similar = self.similar.chunks_exact(S::LANES);
        let mut values = self.values.chunks_exact_mut(S::LANES);
        let pairs = d2.by_ref().zip(similar.by_ref());
        for ((d2, similar), values) in pairs.zip(values.by_ref()) {
            eval_lanes(s, self.loss, d2, similar, values);
        }
        let d2 = d2.into_remainder();
        if !d2.is_empty() {
            eval_lanes(s, self.loss, d2, similar.remainder(), values.into_remainder());
        }
    }
}

/// Up to a vector of pairs. A lane past the end is a pair at distance 0 whose results are dropped.
#[inline(always)]
fn eval_lanes<T: Real, S: Simd<T>, L: PairLoss<T>>(
    s: S,
    loss: &L,
    d2: &mut [T],
    similar: &[bool],
    values: &mut [T],
) {
    let (value, slope) = loss.eval(s, s.load(d2), s.mask(similar));
    s.store(slope, d2);
    s.store(value, values);
}

/// Implements [`PairLoss`] for a loss that has an inherent `formula`, a reach, a pull and perhaps a slack, such
/// that its block function is compiled in this crate. The loss of no element type stands for the family.
macro_rules! compiled_here {
    ($loss:ident, $reach:expr, $pull:expr) => {
        $crate::loss::pair::compiled_here!($loss, $reach, $pull, |_| None);
    };
    ($loss:ident, $reach:expr, $pull:expr, $slack:expr) => {
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

            fn reach(&self) -> Option<T> {
                let reach: fn(&Self) -> Option<T> = $reach;
                reach(self)
            }

            fn pull(&self) -> Option<T> {
                let pull: fn(&Self) -> Option<T> = $pull;
                pull(self)
            }

            fn kinks(&self) -> [Option<T>; 2] {
                let slack: fn(&Self) -> Option<T> = $slack;
                [$crate::loss::PairLoss::reach(self), slack(self)]
            }

            fn block(&self, isa: $crate::Isa, d2: &mut [T], similar: &[bool], values: &mut [T]) {
                T::compiled::<$loss<()>>((self, isa, d2, similar, values))
            }
        }

        impl $crate::real::Compiled for $loss<()> {
            type Arguments<'a, T: $crate::Real> =
                (&'a $loss<T>, $crate::Isa, &'a mut [T], &'a [bool], &'a mut [T]);
            type Output = ();

            fn f32((loss, isa, d2, similar, values): Self::Arguments<'_, f32>) {
                f32::dispatch(isa, $crate::loss::pair::EvalBlock { loss, d2, similar, values })
            }
            fn f64((loss, isa, d2, similar, values): Self::Arguments<'_, f64>) {
                f64::dispatch(isa, $crate::loss::pair::EvalBlock { loss, d2, similar, values })
            }
        }
    };
}
pub(super) use compiled_here;
