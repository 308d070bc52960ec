//! The trait that a loss of anchors is written in, and the object-safe trait that kernels see.

#![forbid(unsafe_code)]

use super::sums::{Anchor, AnchorSums};
use super::work::{Evaluate, Work};
use crate::simd::Simd;
use crate::simd::isa::Isa;
use crate::simd::real::Real;

/// The cost of an anchor: a row whose pairs with all its candidates are judged at once.
///
/// ```text
/// u                   similarity of the anchor and a candidate
/// x = exponent(u)     what the pair contributes to the sum of its kind
/// lse_P, lse_G        ln of the sum of e^x over the similar and over the dissimilar pairs
/// l = anchor(sums)    value of the anchor, from the log-sums
/// w = weight(x)       dl/dx of a pair, from its exponent and up to four numbers of its anchor
///
/// dl/du = w dx/du
/// ```
///
/// A loss is these three functions, written once and compiled for the lanes of each tier. Calls evaluate
/// them where the similarities are, in the kernel, and nothing of size B x B exists at any time.
///
/// # Inlining
/// Mark the functions in lanes `#[inline(always)]`, as for [`PairLoss`](crate::loss::PairLoss).
///
/// # Contract
/// A pair's weight is made of differences of exponents: subtract what the anchor's numbers hold before
/// taking a power, so that no scale overflows. `similar` is a constant where kernels are compiled: branch on
/// it freely.
///
/// ```
/// use drlim::Real;
/// use drlim::loss::{Anchor, AnchorLoss, AnchorSums};
/// use drlim::simd::{Simd, math::exp_of_small};
///
/// /// ln(1 + sum of e^(a u) over the dissimilar pairs): pushes what is near, and pulls nothing.
/// struct Repel<T> { scale: T }
///
/// impl<T: Real> AnchorLoss<T> for Repel<T> {
///     #[inline(always)]
///     fn exponent<S: Simd<T>>(&self, s: S, u: S::F, _similar: bool) -> (S::F, S::F) {
///         let scale = s.splat(self.scale);
///         (scale * u, scale)
///     }
///
///     fn anchor(&self, sums: &AnchorSums) -> Anchor {
///         let lse = sums.dissimilar.log();
///         let value = if lse > 0.0 { lse + (-lse).exp().ln_1p() } else { lse.exp().ln_1p() };
///         Anchor { value, terms: Some([value, 0.0, 0.0, 0.0]) }
///     }
///
///     #[inline(always)]
///     fn weight<S: Simd<T>>(&self, s: S, x: S::F, similar: bool, terms: [S::F; 4]) -> S::F {
///         if similar { s.splat(T::ZERO) } else { exp_of_small(s, x - terms[0]) }
///     }
/// }
/// let worst = drlim::gradcheck::check_anchor_loss(&Repel { scale: 3.0 }, 7)?;
/// assert!(worst.error < 1e-7, "{worst}");
/// # Ok::<(), drlim::Error>(())
/// ```
pub trait AnchorLoss<T: Real>: Sync {
    /// The exponent x of a pair in the sum of its kind, and dx/du. Where the derivative is to be taken as a
    /// constant, in a loss that freezes its own weights, give what is multiplied by the pair's weight.
    fn exponent<S: Simd<T>>(&self, s: S, u: S::F, similar: bool) -> (S::F, S::F);

    /// Value of an anchor, and numbers for its weights. Called once an anchor, twice where
    /// [`looks_twice`](AnchorLoss::looks_twice).
    fn anchor(&self, sums: &AnchorSums) -> Anchor;

    /// dl/dx of a pair of an anchor with these terms.
    fn weight<S: Simd<T>>(&self, s: S, x: S::F, similar: bool, terms: [S::F; 4]) -> S::F;

    /// Two numbers of each similar pair, which are added up into [`AnchorSums::each`] before `anchor` is called
    /// again: for losses that cost each similar pair by itself, against the log-sum of the others.
    #[inline(always)]
    fn each<S: Simd<T>>(&self, s: S, x: S::F, terms: [S::F; 4]) -> [S::F; 2] {
        let _ = (x, terms);
        [s.splat(T::ZERO); 2]
    }

    /// [`each`](AnchorLoss::each) of losses that look at both ends of a pair: `other` has the terms of the
    /// candidate, which is an anchor as well.
    #[inline(always)]
    fn each_of_both<S: Simd<T>>(
        &self,
        s: S,
        x: S::F,
        terms: [S::F; 4],
        other: [S::F; 4],
    ) -> [S::F; 2] {
        let _ = other;
        self.each(s, x, terms)
    }

    /// [`weight`](AnchorLoss::weight) of a similar pair, of losses that look at both ends.
    #[inline(always)]
    fn weight_of_both<S: Simd<T>>(
        &self,
        s: S,
        x: S::F,
        terms: [S::F; 4],
        other: [S::F; 4],
    ) -> S::F {
        let _ = other;
        self.weight(s, x, true, terms)
    }

    /// Whether the loss looks at both ends of similar pairs. It is for [`all_anchors`](crate::batch::all_anchors())
    /// without weights, where both ends are anchors that count the same; other calls refuse it.
    fn couples(&self) -> bool {
        false
    }

    /// Whether similar pairs are looked at again, by [`each`](AnchorLoss::each).
    fn looks_twice(&self) -> bool {
        false
    }

    /// The least and the largest exponent of a dissimilar pair whose similarity lies between `least` and `most`, of
    /// a loss whose weight of such a pair is e^(x - terms\[0\]). Where the range is small enough, calls take one
    /// power of a pair for the sums and for the weights of both its ends.
    fn dissimilar_range(&self, least: T, most: T) -> Option<[T; 2]> {
        let _ = (least, most);
        None
    }

    /// Whether a number added to all similarities changes neither values nor weights, as in a softmax. Calls
    /// then leave out the 1 of a cosine 1 - d²/2, and with it the rounding of all close pairs.
    fn shift_invariant(&self) -> bool {
        false
    }

    /// The factor that all exponents have in common, where there is one: calls give the gradient by it.
    fn scale(&self) -> Option<T> {
        None
    }

    /// Whether dx/du is not the derivative of x, but a constant that the loss gives itself.
    fn frozen(&self) -> bool {
        false
    }

    /// Whether the largest exponents of both kinds tell if the best candidate is a similar one.
    fn ranks(&self) -> bool {
        false
    }

    /// The body of everything that [`BlockAnchorLoss`] does with pairs. The crate's own losses override it by a
    /// function that is compiled inside the crate.
    #[doc(hidden)]
    fn work(&self, isa: Isa, work: Work<T>)
    where
        Self: Sized,
    {
        T::dispatch(isa, Evaluate { loss: self, work });
    }
}

/// The object-safe form of every [`AnchorLoss`].
///
/// It can also be implemented directly, for `f32` or for `f64`, by a loss that is not written in lanes: a callback
/// of another language, or a table. It is then asked of the pairs of the batch and nothing else: no row with itself, no
/// pair that is left out, no padding. A loss in lanes may be asked of such places too; the results are
/// dropped.
pub trait BlockAnchorLoss<T: Real>: Sync {
    /// Takes similarities u and leaves exponents x in their place; overwrites `rates` by dx/du. All pairs are
    /// similar, or none is. See [`AnchorLoss::exponent`].
    ///
    /// # Panics
    /// May panic where the slices differ in length; so may the next two.
    fn exponents_block(&self, isa: Isa, u: &mut [T], rates: &mut [T], similar: bool);

    /// Value of an anchor, and numbers for its weights. See [`AnchorLoss::anchor`].
    fn anchor_block(&self, sums: &AnchorSums) -> Anchor;

    /// Takes exponents x and leaves weights dl/dx in their place. `terms` are those of the anchor of each pair.
    /// See [`AnchorLoss::weight`].
    fn weights_block(&self, isa: Isa, x: &mut [T], similar: bool, terms: [&[T]; 4]);

    /// Takes exponents x of similar pairs and leaves the first number in their place; overwrites `second` by
    /// the other. See [`AnchorLoss::each`].
    fn each_block(&self, isa: Isa, x: &mut [T], second: &mut [T], terms: [&[T]; 4]) {
        let _ = (isa, terms);
        x.fill(T::ZERO);
        second.fill(T::ZERO);
    }

    /// See [`AnchorLoss::looks_twice`].
    fn looks_twice_block(&self) -> bool {
        false
    }

    /// See [`AnchorLoss::couples`]. Always false for a loss that is not written in lanes.
    #[doc(hidden)]
    fn couples_block(&self) -> bool {
        false
    }

    /// See [`AnchorLoss::dissimilar_range`].
    fn dissimilar_range_block(&self, least: T, most: T) -> Option<[T; 2]> {
        let _ = (least, most);
        None
    }

    /// See [`AnchorLoss::shift_invariant`].
    fn shift_invariant_block(&self) -> bool {
        false
    }

    /// See [`AnchorLoss::scale`].
    fn scale_block(&self) -> Option<T> {
        None
    }

    /// See [`AnchorLoss::frozen`].
    fn frozen_block(&self) -> bool {
        false
    }

    /// See [`AnchorLoss::ranks`].
    fn ranks_block(&self) -> bool {
        false
    }

    /// What kernels call, with a group of pairs at a time.
    #[doc(hidden)]
    fn work_block(&self, isa: Isa, work: Work<T>) {
        super::plain::evaluate(self, isa, work);
    }
}

impl<T: Real, L: AnchorLoss<T>> BlockAnchorLoss<T> for L {
    fn exponents_block(&self, isa: Isa, u: &mut [T], rates: &mut [T], similar: bool) {
        self.work(isa, Work::Exponents { u, rates, similar });
    }

    fn anchor_block(&self, sums: &AnchorSums) -> Anchor {
        self.anchor(sums)
    }

    fn weights_block(&self, isa: Isa, x: &mut [T], similar: bool, terms: [&[T]; 4]) {
        self.work(isa, Work::Weights { x, similar, terms });
    }

    fn each_block(&self, isa: Isa, x: &mut [T], second: &mut [T], terms: [&[T]; 4]) {
        self.work(isa, Work::Each { x, second, terms });
    }

    fn looks_twice_block(&self) -> bool {
        self.looks_twice()
    }

    fn couples_block(&self) -> bool {
        self.couples()
    }

    fn dissimilar_range_block(&self, least: T, most: T) -> Option<[T; 2]> {
        self.dissimilar_range(least, most)
    }

    fn shift_invariant_block(&self) -> bool {
        self.shift_invariant()
    }

    fn scale_block(&self) -> Option<T> {
        self.scale()
    }

    fn frozen_block(&self) -> bool {
        self.frozen()
    }

    fn ranks_block(&self) -> bool {
        self.ranks()
    }

    fn work_block(&self, isa: Isa, work: Work<T>) {
        self.work(isa, work);
    }
}

/// Within an `impl AnchorLoss` of the crate's own losses: [`AnchorLoss::work`], compiled in this crate.
macro_rules! work_here {
    () => {
        #[inline(never)]
        fn work(&self, isa: $crate::Isa, work: $crate::loss::anchor::work::Work<T>) {
            T::dispatch(isa, $crate::loss::anchor::work::Evaluate { loss: self, work });
        }
    };
}
pub(super) use work_here;
