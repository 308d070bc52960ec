//! What kernels ask of a loss of anchors, a group of pairs at a time: fused loops over the pairs of a few rows
//! with a few columns, in which rows, columns or both are anchors.
//!
//! ```text
//! Sums       x = exponent(u)      (m, l) of the anchor's kind: l = sum of e^(x - m), m the largest x
//! Pairs      first, second = each(x), added up for each anchor                             similar pairs alone
//! Group      u -> dL/du = sum over the pair's anchors of c weight(x) dx/du
//! ```
//!
//! Sums stay in lanes: an anchor that is a row has a vector of them, one that is a column has a lane. So no
//! vector is added up across its lanes before its block is done.

#![forbid(unsafe_code)]

use super::anchor_loss::AnchorLoss;
use super::sum_group::{sum_dissimilar, sum_each, sum_mixed};
use super::weigh_group::{weigh_dissimilar, weigh_mixed};
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// The pairs of a few rows with two vectors of columns.
pub struct Group<'a, T> {
    /// Similarities: the pair of row r and column c is at `r * cols + c`.
    pub u: &'a mut [T],
    /// `None` where all pairs are dissimilar.
    pub kinds: Option<Kinds<'a>>,
}

/// The kind of each place of a group.
#[derive(Clone, Copy)]
pub struct Kinds<'a> {
    /// Whether the pair is similar.
    pub similar: &'a [bool],
    /// Whether the place holds no pair.
    pub ignored: &'a [bool],
}

impl Kinds<'static> {
    /// Those of pairs that are all dissimilar. (Where columns alone are anchors, which is rare, groups have no loops
    /// of their own: they would be a third of the code.)
    fn dissimilar(len: usize) -> Self {
        static NONE: [bool; GROUP_PAIRS] = [false; GROUP_PAIRS];
        Kinds { similar: &NONE[..len], ignored: &NONE[..len] }
    }
}

/// The most pairs of a group.
const GROUP_PAIRS: usize = 256;

/// Running sums of anchors, in lanes: a vector for each row, or a lane for each column. Before the first pair
/// the largest exponent is the lowest number (any exponent is larger but negative infinity, of which the power
/// is 0), and the sums are 0.
pub struct Running<'a, T> {
    /// The largest exponent and the sum of e^(x - largest), of similar and of dissimilar pairs.
    pub similar: [&'a mut [T]; 2],
    pub dissimilar: [&'a mut [T]; 2],
    /// The sum of the exponents of similar pairs.
    pub exponents: &'a mut [T],
}

/// What the weights of a group's anchors are made of: an element of each slice for each row, or column.
#[derive(Clone, Copy)]
pub struct Terms<'a, T> {
    /// The place of the first of these anchors.
    pub first: usize,
    pub terms: [&'a [T]; 4],
    /// c: what the anchor's weights are multiplied by. Where it is 0, they are 0 whatever the terms.
    pub factors: &'a [T],
    /// c e^(reference - terms[0]), where there is a reference.
    pub powers: &'a [T],
}

/// Anchors whose similar pairs are looked at again.
pub struct EachAnchor<'a, T> {
    pub terms: Terms<'a, T>,
    /// Sums in lanes, as [`Running`] ones are; `None` where the anchors only are the other ends of pairs.
    pub sums: Option<[&'a mut [T]; 2]>,
}

/// What a loss is asked.
pub enum Work<'a, T> {
    /// See [`BlockAnchorLoss::exponents_block`](super::BlockAnchorLoss::exponents_block).
    Exponents { u: &'a mut [T], rates: &'a mut [T], similar: bool },
    /// See [`BlockAnchorLoss::weights_block`](super::BlockAnchorLoss::weights_block).
    Weights { x: &'a mut [T], similar: bool, terms: [&'a [T]; 4] },
    /// See [`BlockAnchorLoss::each_block`](super::BlockAnchorLoss::each_block).
    Each { x: &'a mut [T], second: &'a mut [T], terms: [&'a [T]; 4] },
    /// Adds the pairs of a group to the running sums of its rows and of its columns, where these are anchors.
    /// Leaves anything in place of the similarities.
    ///
    /// With a `reference`, sums over dissimilar pairs are of e^(x - reference).
    SumGroup { group: Group<'a, T>, anchors: [Option<Running<'a, T>>; 2], reference: Option<T> },
    /// Adds both numbers of the similar pairs to sums in lanes of rows and of columns, where these are anchors.
    /// Leaves anything in place of the similarities.
    SumEach { group: Group<'a, T>, anchors: [Option<EachAnchor<'a, T>>; 2] },
    /// Turns similarities into dL/du, and adds w x to `by_scale`, a vector, where wanted; of the rows alone where
    /// `once`.
    Weigh {
        group: Group<'a, T>,
        anchors: [Option<Terms<'a, T>>; 2],
        by_scale: Option<&'a mut [T]>,
        once: bool,
        reference: Option<T>,
    },
}

/// Asks a loss in lanes.
pub struct Evaluate<'a, T, L> {
    pub loss: &'a L,
    pub work: Work<'a, T>,
}

impl<T: Real, L: AnchorLoss<T>> Kernel<T> for Evaluate<'_, T, L> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let loss = self.loss;
        match self.work {
            Work::Exponents { u, rates, similar } => exponents(s, loss, u, rates, similar),
            Work::Weights { x, similar, terms } => weights(s, loss, x, similar, terms),
            Work::Each { x, second, terms } => each(s, loss, x, second, terms),
            Work::SumGroup { group: Group { u, kinds }, anchors, reference } => {
                let reference = reference.map(|reference| s.splat(reference));
                match (kinds, anchors) {
                    (None, [Some(rows), Some(cols)]) => {
                        let cols = Some(cols.dissimilar);
                        sum_dissimilar::<T, S, L, true>(
                            s,
                            loss,
                            u,
                            rows.dissimilar,
                            cols,
                            reference,
                        );
                    }
                    (None, [Some(rows), None]) => {
                        let rows = rows.dissimilar;
                        sum_dissimilar::<T, S, L, false>(s, loss, u, rows, None, reference);
                    }
                    (kinds, anchors) => {
                        let kinds = kinds.unwrap_or(Kinds::dissimilar(u.len()));
                        sum_mixed(s, loss, u, kinds, anchors, reference);
                    }
                }
            }
            Work::SumEach { group, anchors } => sum_each(s, loss, group, anchors),
            Work::Weigh { group: Group { u, kinds }, anchors, by_scale, once, reference } => {
                let how = Weighing {
                    once,
                    wants_scale: by_scale.is_some(),
                    reference: reference.map(|reference| s.splat(reference)),
                };
                let sum = match (kinds, anchors) {
                    (None, [Some(rows), Some(cols)]) => {
                        weigh_dissimilar::<T, S, L, true>(s, loss, u, [rows, cols], how)
                    }
                    (None, [Some(rows), None]) => {
                        weigh_dissimilar::<T, S, L, false>(s, loss, u, [rows; 2], how)
                    }
                    (kinds, anchors) => {
                        let kinds = kinds.unwrap_or(Kinds::dissimilar(u.len()));
                        weigh_mixed(s, loss, u, kinds, anchors, how)
                    }
                };
                if let Some(by_scale) = by_scale {
                    s.store(s.load(by_scale) + sum, by_scale);
                }
            }
        }
    }
}

/// How weights are made.
#[derive(Clone, Copy)]
pub(super) struct Weighing<F> {
    pub once: bool,
    pub wants_scale: bool,
    pub reference: Option<F>,
}

#[inline(always)]
fn exponents<T: Real, S: Simd<T>, L: AnchorLoss<T>>(
    s: S,
    loss: &L,
    u: &mut [T],
    rates: &mut [T],
    similar: bool,
) {
    assert!(u.len() == rates.len(), "slices of a block differ in length");
    for (u, rates) in u.chunks_mut(S::LANES).zip(rates.chunks_mut(S::LANES)) {
        let (x, rate) = loss.exponent(s, s.load(u), similar);
        s.store(x, u);
        s.store(rate, rates);
    }
}

/// The terms of some lanes of pairs.
#[inline(always)]
fn terms_at<T: Real, S: Simd<T>>(s: S, terms: &[&[T]; 4], at: usize) -> [S::F; 4] {
    // Lanes in a closure of `map` would be compiled without the tier's features.
    let mut of = [s.splat(T::ZERO); 4];
    for k in 0..4 {
        of[k] = s.load(from(terms[k], at));
    }
    of
}

/// The elements from `at` on, if there are any.
#[inline(always)]
pub(super) fn from<T>(of: &[T], at: usize) -> &[T] {
    &of[at.min(of.len())..]
}

#[inline(always)]
fn weights<T: Real, S: Simd<T>, L: AnchorLoss<T>>(
    s: S,
    loss: &L,
    x: &mut [T],
    similar: bool,
    terms: [&[T]; 4],
) {
    for (i, x) in x.chunks_mut(S::LANES).enumerate() {
        let weight = loss.weight(s, s.load(x), similar, terms_at(s, &terms, i * S::LANES));
        s.store(weight, x);
    }
}

#[inline(always)]
fn each<T: Real, S: Simd<T>, L: AnchorLoss<T>>(
    s: S,
    loss: &L,
    x: &mut [T],
    second: &mut [T],
    terms: [&[T]; 4],
) {
    for (i, (x, second)) in x.chunks_mut(S::LANES).zip(second.chunks_mut(S::LANES)).enumerate() {
        let both = loss.each(s, s.load(x), terms_at(s, &terms, i * S::LANES));
        s.store(both[0], x);
        s.store(both[1], second);
    }
}

impl<'a, T: Real> Terms<'a, T> {
    /// The terms of the anchors at these places; past the last one there are fewer.
    #[inline(always)]
    pub(crate) fn at(&self, places: std::ops::Range<usize>) -> Terms<'a, T> {
        let (start, end) = (places.start - self.first, places.end - self.first);
        let at = start..end.min(self.factors.len());
        let terms = self.terms.map(|terms| &terms[at.clone()]);
        let powers = if self.powers.is_empty() { &[] } else { &self.powers[at.clone()] };
        Terms { first: places.start, terms, factors: &self.factors[at], powers }
    }

    /// Factor and terms of the anchors of row `r` and vector `v` of the columns: of the row where `side` is 0,
    /// of the columns where it is 1.
    #[inline(always)]
    pub(super) fn of<S: Simd<T>>(
        &self,
        s: S,
        side: usize,
        r: usize,
        v: usize,
    ) -> (S::F, [S::F; 4]) {
        if side == 0 {
            let mut terms = [s.splat(T::ZERO); 4];
            for k in 0..4 {
                terms[k] = s.splat(self.terms[k][r]);
            }
            (s.splat(self.factors[r]), terms)
        } else {
            let at = v * S::LANES;
            (s.load(from(self.factors, at)), terms_at(s, &self.terms, at))
        }
    }
}
