//! Losses of pairs: the trait that a loss is written in, and the object-safe trait that kernels see.

#![forbid(unsafe_code)]

use crate::simd::isa::Isa;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// The cost of a pair, for lanes of pairs.
///
/// Every lane holds a pair of the batch. Where there are fewer pairs than lanes, those left over hold the
/// last pair again, and their results are dropped.
///
/// # Inlining
/// Mark `eval` `#[inline(always)]`. Without it the function is compiled for the baseline processor,
/// every lane operation in it becomes a call, and a whole call of `rows` takes several times as long;
/// the bench `rows/user_loss` shows it. For the same reason it is only fast where the crate that it is in
/// is optimised: see [debug builds](crate#debug-builds).
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
    fn similar_slope(&self) -> Option<T> {
        None
    }

    /// The curvature d ds/dd of each pair, with its slope s; it is 2 d² ds/d(d²). `None` where the loss has
    /// no second derivative: calls that need one refuse the loss then. To find out, they first ask for the
    /// curvature of a pair at distance 1.
    ///
    /// The second derivative of the value along the pair's own direction is s + d ds/dd, and across it s.
    /// Hessians are made of these two (see [`rows_hvp`](crate::batch::rows_hvp)).
    ///
    /// ```
    /// use drlim::loss::PairLoss;
    /// use drlim::simd::Simd;
    /// use drlim::Real;
    ///
    /// /// d⁴/4 for similar pairs, nothing for others.
    /// struct Quartic;
    ///
    /// impl<T: Real> PairLoss<T> for Quartic {
    ///     #[inline(always)]
    ///     fn eval<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> (S::F, S::F) {
    ///         let d2 = s.select(similar, d2, s.splat(T::ZERO));
    ///         (s.splat(T::from_f64(0.25)) * d2 * d2, d2)
    ///     }
    ///
    ///     #[inline(always)]
    ///     fn curvature<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> Option<S::F> {
    ///         Some(s.select(similar, d2 + d2, s.splat(T::ZERO)))
    ///     }
    /// }
    /// let worst = drlim::gradcheck::check_curvature(&Quartic, &[], 7)?;
    /// assert!(worst.error < 1e-8, "{worst}");
    /// # Ok::<(), drlim::Error>(())
    /// ```
    #[inline(always)]
    fn curvature<S: Simd<T>>(&self, s: S, d2: S::F, similar: S::M) -> Option<S::F> {
        let _ = (s, d2, similar);
        None
    }

    /// See [`BlockLoss::takes_any_block`].
    #[doc(hidden)]
    fn takes_any(&self) -> bool {
        false
    }

    /// The distances at which the loss changes its formula, such as its margins, up to two: its
    /// [`reach`](PairLoss::reach), unless it says otherwise. Distances that come from products are off by
    /// some roundings; pairs that may be on either side of a kink are measured by differences, so that
    /// pairs exactly at a kink count as such.
    fn kinks(&self) -> [Option<T>; 2] {
        [self.reach(), None]
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

    /// The body of [`BlockLoss::curvature_block`], which the crate's own losses override too.
    #[doc(hidden)]
    fn bend_block(&self, isa: Isa, d2: &mut [T], similar: &[bool]) -> bool
    where
        Self: Sized,
    {
        T::dispatch(isa, BendBlock { loss: self, d2, similar })
    }
}

/// The object-safe form of every [`PairLoss`].
///
/// It is shown the pairs of the batch and nothing else: no row with itself, no pair that is left out, no
/// padding. Each pair is shown once, in an order and in blocks that are not promised, but
///
/// - pairs farther apart than [`reach_block`](BlockLoss::reach_block), and those that
///   [`similar_slope_block`](BlockLoss::similar_slope_block) adds up as one, need not be shown;
/// - calls that must know the values before they know the gradient show pairs twice:
///   [`rows`](crate::batch::rows()) with [`MeanNonZero`](super::Reduction::MeanNonZero) or
///   [`BalancedNonZero`](super::Reduction::BalancedNonZero),
///   [`all_pairs`](crate::batch::all_pairs()) and [`cross`](crate::batch::cross()) with `BalancedNonZero`,
///   which show similar pairs twice and dissimilar ones once or twice. Where no gradient and no slope is
///   asked for, each pair is shown once.
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

    /// Takes squared distances and leaves [curvatures](PairLoss::curvature) in their place. Where the loss
    /// has none, returns false and leaves everything as it is. Called without pairs, it tells which of the
    /// two.
    ///
    /// # Panics
    /// May panic where `d2` and `similar` differ in length.
    fn curvature_block(&self, isa: Isa, d2: &mut [T], similar: &[bool]) -> bool {
        let _ = (isa, d2, similar);
        false
    }

    /// See [`PairLoss::reach`].
    fn reach_block(&self) -> Option<T> {
        None
    }

    /// Whether the loss may also be asked of places that hold no pair, where that is faster than telling
    /// them apart. That is so of the crate's own losses, which do not look at their arguments.
    #[doc(hidden)]
    fn takes_any_block(&self) -> bool {
        false
    }

    /// See [`PairLoss::similar_slope`].
    fn similar_slope_block(&self) -> Option<T> {
        None
    }

    /// See [`PairLoss::kinks`].
    fn kinks_block(&self) -> [Option<T>; 2] {
        [self.reach_block(), None]
    }
}

impl<T: Real, L: PairLoss<T>> BlockLoss<T> for L {
    fn eval_block(&self, isa: Isa, d2: &mut [T], similar: &[bool], values: &mut [T]) {
        let len = d2.len();
        assert!(similar.len() == len && values.len() == len, "slices of a block differ in length");
        self.block(isa, d2, similar, values);
    }

    fn curvature_block(&self, isa: Isa, d2: &mut [T], similar: &[bool]) -> bool {
        assert!(similar.len() == d2.len(), "slices of a block differ in length");
        self.bend_block(isa, d2, similar)
    }

    fn reach_block(&self) -> Option<T> {
        self.reach()
    }

    fn similar_slope_block(&self) -> Option<T> {
        self.similar_slope()
    }

    fn takes_any_block(&self) -> bool {
        self.takes_any()
    }

    fn kinks_block(&self) -> [Option<T>; 2] {
        self.kinks()
    }
}

/// Evaluates a loss for a block of pairs.
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
            let (value, slope) = self.loss.eval(s, s.load(d2), s.mask(similar));
            s.store(slope, d2);
            s.store(value, values);
        }
        let d2 = d2.into_remainder();
        if !d2.is_empty() {
            eval_rest(s, self.loss, d2, similar.remainder(), values.into_remainder());
        }
    }
}

/// Evaluates fewer pairs than a vector has lanes. Lanes past the end hold the last pair again.
#[inline(always)]
fn eval_rest<T: Real, S: Simd<T>, L: PairLoss<T>>(
    s: S,
    loss: &L,
    d2: &mut [T],
    similar: &[bool],
    values: &mut [T],
) {
    let (value, slope) = loss.eval(s, load_filled(s, d2), kinds_filled(s, similar));
    s.store(slope, d2);
    s.store(value, values);
}

/// Loads up to a vector of kinds. Lanes past the end hold the last one again.
#[inline(always)]
fn kinds_filled<T: Real, S: Simd<T>>(s: S, similar: &[bool]) -> S::M {
    match similar.last() {
        Some(true) => s.mask(similar) | !s.first(similar.len()),
        _ => s.mask(similar),
    }
}

/// Loads up to a vector of elements. Lanes past the end hold the last one again.
#[inline(always)]
pub(super) fn load_filled<T: Real, S: Simd<T>>(s: S, from: &[T]) -> S::F {
    match from.last() {
        Some(&last) if from.len() < S::LANES => {
            s.select(s.first(from.len()), s.load(from), s.splat(last))
        }
        _ => s.load(from),
    }
}

/// Evaluates the curvatures of a block of pairs, if the loss has any.
pub(super) struct BendBlock<'a, T, L> {
    pub loss: &'a L,
    pub d2: &'a mut [T],
    pub similar: &'a [bool],
}

impl<T: Real, L: PairLoss<T>> Kernel<T> for BendBlock<'_, T, L> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> bool {
        if self.loss.curvature(s, s.splat(T::ONE), s.first(0)).is_none() {
            return false;
        }
        for (d2, similar) in self.d2.chunks_mut(S::LANES).zip(self.similar.chunks(S::LANES)) {
            let kinds = kinds_filled(s, similar);
            if let Some(curvature) = self.loss.curvature(s, load_filled(s, d2), kinds) {
                s.store(curvature, d2);
            }
        }
        true
    }
}

/// Implements [`PairLoss`] for a loss that has an inherent `formula` and `bend` (its curvature), such that
/// its block functions are compiled in this crate. Given the loss, the closures return its reach, the
/// constant slope of similar pairs, and a distance below the reach at which it changes its formula, each if
/// there is one.
macro_rules! compiled_here {
    ($loss:ident, $reach:expr, $similar_slope:expr) => {
        $crate::loss::pair::compiled_here!($loss, $reach, $similar_slope, |_| None);
    };
    ($loss:ident, $reach:expr, $similar_slope:expr, $kink:expr) => {
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

            #[inline(always)]
            fn curvature<S: $crate::simd::Simd<T>>(
                &self,
                s: S,
                d2: S::F,
                similar: S::M,
            ) -> Option<S::F> {
                Some(self.bend(s, d2, similar))
            }

            fn reach(&self) -> Option<T> {
                let reach: fn(&Self) -> Option<T> = $reach;
                reach(self)
            }

            fn similar_slope(&self) -> Option<T> {
                let similar_slope: fn(&Self) -> Option<T> = $similar_slope;
                similar_slope(self)
            }

            fn takes_any(&self) -> bool {
                true
            }

            fn kinks(&self) -> [Option<T>; 2] {
                let slack: fn(&Self) -> Option<T> = $kink;
                [$crate::loss::PairLoss::reach(self), slack(self)]
            }

            #[inline(never)]
            fn block(&self, isa: $crate::Isa, d2: &mut [T], similar: &[bool], values: &mut [T]) {
                let loss = self;
                T::dispatch(isa, $crate::loss::pair::EvalBlock { loss, d2, similar, values })
            }

            #[inline(never)]
            fn bend_block(&self, isa: $crate::Isa, d2: &mut [T], similar: &[bool]) -> bool {
                T::dispatch(isa, $crate::loss::pair::BendBlock { loss: self, d2, similar })
            }
        }

        $crate::simd::real::compiled!(
            <$loss<T> as $crate::loss::PairLoss<T>>::block,
            <$loss<T> as $crate::loss::PairLoss<T>>::bend_block
        );
    };
}
pub(super) use compiled_here;
