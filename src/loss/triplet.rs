//! Losses of triplets: the trait that a loss is written in, and the object-safe trait that kernels see.

#![forbid(unsafe_code)]

use super::pair::load_filled;
use crate::simd::isa::Isa;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// The cost of a triplet of anchor a, positive p and negative n, for lanes of triplets.
///
/// Every lane holds a triplet of the batch. Where there are fewer than lanes, those left over hold the last
/// triplet again, and their results are dropped.
///
/// With the slopes 2 dl/d(d²) of the three squared distances its gradients are
///
/// ```text
/// dl/dz_a =  slope_ap (z_a - z_p) + slope_an (z_a - z_n)
/// dl/dz_p = -slope_ap (z_a - z_p) + slope_pn (z_p - z_n)
/// dl/dz_n = -slope_an (z_a - z_n) - slope_pn (z_p - z_n)
/// ```
///
/// Inlining and contract are those of [`PairLoss`](super::PairLoss).
///
/// ```
/// use drlim::loss::TripletLoss;
/// use drlim::simd::Simd;
/// use drlim::Real;
///
/// /// max(0, d²(a,p) - d²(a,n) + m)²/2
/// struct SmoothTriplet<T> { margin: T }
///
/// impl<T: Real> TripletLoss<T> for SmoothTriplet<T> {
///     #[inline(always)]
///     fn eval<S: Simd<T>>(&self, s: S, [ap, an, _]: [S::F; 3]) -> (S::F, [S::F; 3]) {
///         let gap = s.hinge(ap - an + s.splat(self.margin));
///         let slope = gap + gap;
///         (s.splat(T::from_f64(0.5)) * gap * gap, [slope, -slope, s.splat(T::ZERO)])
///     }
/// }
/// let worst = drlim::gradcheck::check_triplet_loss(&SmoothTriplet { margin: 0.5 }, 7)?;
/// assert!(worst.error < 1e-7, "{worst}");
/// # Ok::<(), drlim::Error>(())
/// ```
pub trait TripletLoss<T: Real>: Sync {
    /// Values, and the slopes of the squared distances d²(a,p), d²(a,n) and d²(p,n) in this order.
    ///
    /// The third distance is measured only where [`swaps`](TripletLoss::swaps) says so, and is 0
    /// otherwise; its slope is not used then.
    fn eval<S: Simd<T>>(&self, s: S, d2: [S::F; 3]) -> (S::F, [S::F; 3]);

    /// Whether the loss looks at the distance of positive and negative.
    fn swaps(&self) -> bool {
        false
    }

    /// The curvatures C_kl = d_k ds_k/dd_l with the distances d_0 = d(a,p), d_1 = d(a,n), d_2 = d(p,n) and
    /// their slopes s_k: in the order C_00, C_11, C_22, C_01, C_02, C_12. `None` where the loss has no
    /// second derivative: calls that need one refuse the loss then. To find out, they first ask for the
    /// curvatures at distances of 1.
    ///
    /// Curvatures of the third distance matter only where the loss [`swaps`](TripletLoss::swaps).
    #[inline(always)]
    fn curvatures<S: Simd<T>>(&self, s: S, d2: [S::F; 3]) -> Option<[S::F; 6]> {
        let _ = (s, d2);
        None
    }

    /// See [`BlockLoss::takes_any_block`](super::BlockLoss::takes_any_block).
    #[doc(hidden)]
    fn takes_any(&self) -> bool {
        false
    }

    /// The body of [`BlockTripletLoss::eval_block`]: see [`PairLoss`](super::PairLoss).
    #[doc(hidden)]
    fn block(&self, isa: Isa, d2: [&mut [T]; 3], values: &mut [T])
    where
        Self: Sized,
    {
        T::dispatch(isa, EvalTriplets { loss: self, d2, values })
    }

    /// The body of [`BlockTripletLoss::curvatures_block`]: see [`PairLoss`](super::PairLoss).
    #[doc(hidden)]
    fn bend_block(&self, isa: Isa, curvatures: [&mut [T]; 6]) -> bool
    where
        Self: Sized,
    {
        T::dispatch(isa, BendTriplets { loss: self, curvatures })
    }
}

/// The object-safe form of every [`TripletLoss`].
///
/// It is shown the triplets of the batch and nothing else: none that is left out, no padding. Each is shown
/// once, in an order and in blocks that are not promised. Only these calls show each triplet twice:
///
/// - [`triplet_rows`](crate::batch::triplet_rows()) with
///   [`MeanNonZero`](super::Reduction::MeanNonZero), where gradients or slopes are asked for;
/// - [`triplets`](crate::batch::triplets()) with [`Mining::All`](crate::batch::Mining::All), where a
///   gradient is asked for and the loss [looks at the third distance](BlockTripletLoss::swaps_block).
pub trait BlockTripletLoss<T: Real>: Sync {
    /// Takes the squared distances d²(a,p), d²(a,n), d²(p,n) and leaves slopes in their place;
    /// overwrites `values`. The results of a triplet depend on that triplet alone.
    ///
    /// # Panics
    /// May panic where the slices differ in length.
    fn eval_block(&self, isa: Isa, d2: [&mut [T]; 3], values: &mut [T]);

    /// Takes the squared distances d²(a,p), d²(a,n), d²(p,n) in the first three slices and leaves all six
    /// [curvatures](TripletLoss::curvatures). Where the loss has none, returns false and leaves everything
    /// as it is. Called without triplets, it tells which of the two.
    ///
    /// # Panics
    /// May panic where the slices differ in length.
    fn curvatures_block(&self, isa: Isa, curvatures: [&mut [T]; 6]) -> bool {
        let _ = (isa, curvatures);
        false
    }

    /// Whether the loss looks at the distance of positive and negative. Where it does not, the third slice
    /// holds zeros, and its slopes are not used.
    fn swaps_block(&self) -> bool;

    /// See [`BlockLoss::takes_any_block`](super::BlockLoss::takes_any_block).
    #[doc(hidden)]
    fn takes_any_block(&self) -> bool {
        false
    }
}

impl<T: Real, L: TripletLoss<T>> BlockTripletLoss<T> for L {
    fn eval_block(&self, isa: Isa, d2: [&mut [T]; 3], values: &mut [T]) {
        let same = d2.iter().all(|d2| d2.len() == values.len());
        assert!(same, "slices of a block differ in length");
        self.block(isa, d2, values);
    }

    fn curvatures_block(&self, isa: Isa, curvatures: [&mut [T]; 6]) -> bool {
        let len = curvatures[0].len();
        assert!(curvatures.iter().all(|of| of.len() == len), "slices of a block differ in length");
        self.bend_block(isa, curvatures)
    }

    fn swaps_block(&self) -> bool {
        self.swaps()
    }

    fn takes_any_block(&self) -> bool {
        self.takes_any()
    }
}

/// Evaluates a loss for a block of triplets.
pub(super) struct EvalTriplets<'a, T, L> {
    pub loss: &'a L,
    pub d2: [&'a mut [T]; 3],
    pub values: &'a mut [T],
}

impl<T: Real, L: TripletLoss<T>> Kernel<T> for EvalTriplets<'_, T, L> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let [ap, an, pn] = self.d2.map(|d2| d2.chunks_mut(S::LANES));
        for (((ap, an), pn), values) in ap.zip(an).zip(pn).zip(self.values.chunks_mut(S::LANES)) {
            let d2 = [load_filled(s, ap), load_filled(s, an), load_filled(s, pn)];
            let (value, slopes) = self.loss.eval(s, d2);
            s.store(slopes[0], ap);
            s.store(slopes[1], an);
            s.store(slopes[2], pn);
            s.store(value, values);
        }
    }
}

/// Evaluates the curvatures of a block of triplets, if the loss has any.
pub(super) struct BendTriplets<'a, T, L> {
    pub loss: &'a L,
    pub curvatures: [&'a mut [T]; 6],
}

impl<T: Real, L: TripletLoss<T>> Kernel<T> for BendTriplets<'_, T, L> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) -> bool {
        if self.loss.curvatures(s, [s.splat(T::ONE); 3]).is_none() {
            return false;
        }
        let len = self.curvatures[0].len();
        for at in (0..len).step_by(S::LANES) {
            let end = (at + S::LANES).min(len);
            let d2 = [
                load_filled(s, &self.curvatures[0][at..end]),
                load_filled(s, &self.curvatures[1][at..end]),
                load_filled(s, &self.curvatures[2][at..end]),
            ];
            if let Some(curvatures) = self.loss.curvatures(s, d2) {
                for (of, to) in curvatures.into_iter().zip(&mut self.curvatures) {
                    s.store(of, &mut to[at..]);
                }
            }
        }
        true
    }
}

/// `compiled_here` for triplets: for a loss that has an inherent `formula` and `bends` and says whether it
/// `swaps`.
macro_rules! triplets_compiled_here {
    ($loss:ident, $swaps:expr) => {
        impl<T: $crate::Real> $crate::loss::TripletLoss<T> for $loss<T> {
            #[inline(always)]
            fn eval<S: $crate::simd::Simd<T>>(&self, s: S, d2: [S::F; 3]) -> (S::F, [S::F; 3]) {
                self.formula(s, d2)
            }

            #[inline(always)]
            fn curvatures<S: $crate::simd::Simd<T>>(
                &self,
                s: S,
                d2: [S::F; 3],
            ) -> Option<[S::F; 6]> {
                Some(self.bends(s, d2))
            }

            fn swaps(&self) -> bool {
                let swaps: fn(&Self) -> bool = $swaps;
                swaps(self)
            }

            fn takes_any(&self) -> bool {
                true
            }

            #[inline(never)]
            fn block(&self, isa: $crate::Isa, d2: [&mut [T]; 3], values: &mut [T]) {
                let loss = self;
                T::dispatch(isa, $crate::loss::triplet::EvalTriplets { loss, d2, values })
            }

            #[inline(never)]
            fn bend_block(&self, isa: $crate::Isa, curvatures: [&mut [T]; 6]) -> bool {
                T::dispatch(isa, $crate::loss::triplet::BendTriplets { loss: self, curvatures })
            }
        }

        $crate::simd::real::compiled!(
            <$loss<T> as $crate::loss::TripletLoss<T>>::block,
            <$loss<T> as $crate::loss::TripletLoss<T>>::bend_block
        );
    };
}
pub(super) use triplets_compiled_here;
