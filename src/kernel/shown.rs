//! Calls of a loss: it is shown pairs and triplets of the batch, and nothing else.
//!
//! Some places of a block hold no pair: places past the last row, a row with itself, a pair that another
//! place holds, a pair that is left out. The crate's own losses are evaluated there too and the results are
//! dropped, since that is faster than sorting such places out. Any other loss may look at its arguments, so
//! it is shown the pairs alone, moved together.

#![forbid(unsafe_code)]

use super::blocking::GROUP_PAIRS;
use crate::loss::{BlockLoss, BlockTripletLoss};
use crate::simd::isa::Isa;
use crate::simd::real::Real;

/// [`BlockLoss::eval_block`] for at most [`GROUP_PAIRS`] places. Places that are `ignored` hold no pair;
/// their results must not be used.
#[inline(always)]
pub(super) fn eval_pairs<T: Real>(
    loss: &dyn BlockLoss<T>,
    isa: Isa,
    d2: &mut [T],
    similar: &[bool],
    ignored: Option<&[bool]>,
    values: &mut [T],
) {
    match ignored {
        Some(ignored) if !loss.takes_any_block() => {
            eval_some_pairs(loss, isa, d2, similar, ignored, values);
        }
        _ => loss.eval_block(isa, d2, similar, values),
    }
}

#[inline(never)]
fn eval_some_pairs<T: Real>(
    loss: &dyn BlockLoss<T>,
    isa: Isa,
    d2: &mut [T],
    similar: &[bool],
    ignored: &[bool],
    values: &mut [T],
) {
    let mut shown = ([T::ZERO; GROUP_PAIRS], [false; GROUP_PAIRS], [T::ZERO; GROUP_PAIRS]);
    let count = gather(d2, ignored, &mut shown.0);
    gather(similar, ignored, &mut shown.1);
    if count > 0 {
        let (d2, similar, values) =
            (&mut shown.0[..count], &shown.1[..count], &mut shown.2[..count]);
        loss.eval_block(isa, d2, similar, values);
    }
    scatter(&shown.0, ignored, d2);
    scatter(&shown.2, ignored, values);
}

/// [`BlockLoss::curvature_block`] for such places: see [`eval_pairs`].
pub(super) fn bend_pairs<T: Real>(
    loss: &dyn BlockLoss<T>,
    isa: Isa,
    d2: &mut [T],
    similar: &[bool],
    ignored: Option<&[bool]>,
) {
    let Some(ignored) = ignored.filter(|_| !loss.takes_any_block()) else {
        loss.curvature_block(isa, d2, similar);
        return;
    };
    let mut shown = ([T::ZERO; GROUP_PAIRS], [false; GROUP_PAIRS]);
    let count = gather(d2, ignored, &mut shown.0);
    gather(similar, ignored, &mut shown.1);
    loss.curvature_block(isa, &mut shown.0[..count], &shown.1[..count]);
    scatter(&shown.0, ignored, d2);
}

/// [`BlockTripletLoss::curvatures_block`] for places of triplets: see [`eval_pairs`]. The first three
/// slices hold squared distances.
pub(super) fn bend_triplets<T: Real>(
    loss: &dyn BlockTripletLoss<T>,
    isa: Isa,
    curvatures: [&mut [T]; 6],
    ignored: Option<&[bool]>,
) {
    let Some(ignored) = ignored.filter(|_| !loss.takes_any_block()) else {
        loss.curvatures_block(isa, curvatures);
        return;
    };
    let (mut shown, mut count) = ([[T::ZERO; GROUP_PAIRS]; 6], 0);
    for (d2, shown) in curvatures.iter().zip(&mut shown).take(3) {
        count = gather(d2, ignored, shown);
    }
    loss.curvatures_block(isa, shown.each_mut().map(|of| &mut of[..count]));
    for (of, shown) in curvatures.into_iter().zip(&shown) {
        scatter(shown, ignored, of);
    }
}

/// [`BlockTripletLoss::eval_block`] for places of triplets: see [`eval_pairs`].
#[inline(always)]
pub(super) fn eval_triplets<T: Real>(
    loss: &dyn BlockTripletLoss<T>,
    isa: Isa,
    d2: [&mut [T]; 3],
    ignored: Option<&[bool]>,
    values: &mut [T],
) {
    match ignored {
        Some(ignored) if !loss.takes_any_block() => {
            eval_some_triplets(loss, isa, d2, ignored, values);
        }
        _ => loss.eval_block(isa, d2, values),
    }
}

#[inline(never)]
fn eval_some_triplets<T: Real>(
    loss: &dyn BlockTripletLoss<T>,
    isa: Isa,
    d2: [&mut [T]; 3],
    ignored: &[bool],
    values: &mut [T],
) {
    let (mut three, mut costs) = ([[T::ZERO; GROUP_PAIRS]; 3], [T::ZERO; GROUP_PAIRS]);
    let mut count = 0;
    for (d2, shown) in d2.iter().zip(&mut three) {
        count = gather(d2, ignored, shown);
    }
    if count > 0 {
        let shown = three.each_mut().map(|shown| &mut shown[..count]);
        loss.eval_block(isa, shown, &mut costs[..count]);
    }
    for (d2, shown) in d2.into_iter().zip(&three) {
        scatter(shown, ignored, d2);
    }
    scatter(&costs, ignored, values);
}

/// Moves the elements that are not ignored together; returns their number.
fn gather<E: Copy>(from: &[E], ignored: &[bool], to: &mut [E; GROUP_PAIRS]) -> usize {
    let mut count = 0;
    for (&from, &ignored) in from.iter().zip(ignored) {
        to[count] = from;
        count += usize::from(!ignored);
    }
    count
}

/// Moves these elements back to their places; ignored places get 0.
fn scatter<T: Real>(from: &[T; GROUP_PAIRS], ignored: &[bool], to: &mut [T]) {
    let mut next = 0;
    for (to, &ignored) in to.iter_mut().zip(ignored) {
        *to = if ignored { T::ZERO } else { from[next] };
        next += usize::from(!ignored);
    }
}
