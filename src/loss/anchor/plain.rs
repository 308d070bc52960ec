//! Losses of anchors that are not written in lanes: their blocks are filled with pairs alone, and added up one
//! by one.

#![forbid(unsafe_code)]

use super::anchor_loss::BlockAnchorLoss;
use super::work::{EachAnchor, Group, Running, Terms, Work};
use crate::simd::isa::Isa;
use crate::simd::real::Real;

/// Does what kernels ask of a loss, through its functions of blocks.
pub(super) fn evaluate<T: Real, L: BlockAnchorLoss<T> + ?Sized>(loss: &L, isa: Isa, work: Work<T>) {
    let lanes = isa.lanes::<T>();
    match work {
        Work::Exponents { u, rates, similar } => loss.exponents_block(isa, u, rates, similar),
        Work::Weights { x, similar, terms } => loss.weights_block(isa, x, similar, terms),
        Work::Each { x, second, terms } => loss.each_block(isa, x, second, terms),
        Work::SumGroup { group, mut anchors, reference } => {
            for similar in [true, false] {
                let Shown { at, x, .. } = Shown::new(loss, isa, &group, similar);
                for (&at, x) in at.iter().zip(x) {
                    let [r, c] = [at / (2 * lanes), at % (2 * lanes)];
                    // Any lane of a row's vector will do.
                    for (anchor, at) in anchors.iter_mut().zip([r * lanes, c]) {
                        let Some(Running { similar: of_p, dissimilar: of_g, exponents }) = anchor
                        else {
                            continue;
                        };
                        let [largest, sums] = if similar { of_p } else { of_g };
                        let reference = reference.filter(|_| !similar);
                        add_power([&mut largest[at], &mut sums[at]], x, reference);
                        if similar {
                            exponents[at] += x;
                        }
                    }
                }
            }
        }
        Work::SumEach { group, mut anchors } => {
            let Shown { at, x, .. } = Shown::new(loss, isa, &group, true);
            for (side, anchor) in anchors.iter_mut().enumerate() {
                let Some(EachAnchor { terms, sums: Some(sums) }) = anchor else { continue };
                let (mut first, mut second) = (x.clone(), vec![T::ZERO; x.len()]);
                let of_pairs = of_pairs(terms, side, &at, 2 * lanes);
                loss.each_block(
                    isa,
                    &mut first,
                    &mut second,
                    of_pairs.each_ref().map(|of| &of[..]),
                );
                for ((&at, first), second) in at.iter().zip(first).zip(second) {
                    let at = if side == 0 { at / (2 * lanes) * lanes } else { at % (2 * lanes) };
                    sums[0][at] += first;
                    sums[1][at] += second;
                }
            }
        }
        Work::Weigh { group, anchors, mut by_scale, once, .. } => {
            let shown = [true, false].map(|similar| Shown::new(loss, isa, &group, similar));
            group.u.fill(T::ZERO);
            for (similar, Shown { at, x, rates }) in [true, false].into_iter().zip(shown) {
                for (side, terms) in anchors.iter().enumerate() {
                    let Some(terms) = terms else { continue };
                    let of_pairs = of_pairs(terms, side, &at, 2 * lanes);
                    let mut weights = x.clone();
                    let slices = of_pairs.each_ref().map(|of| &of[..]);
                    loss.weights_block(isa, &mut weights, similar, slices);
                    for (p, &at) in at.iter().enumerate() {
                        let [r, c] = [at / (2 * lanes), at % (2 * lanes)];
                        let factor = terms.factors[if side == 0 { r } else { c }];
                        if factor == T::ZERO || weights[p] == T::ZERO {
                            continue;
                        }
                        let weight = factor * weights[p];
                        group.u[at] += weight * rates[p];
                        if let Some(sum) = by_scale.as_mut().filter(|_| side == 0 || !once) {
                            sum[0] += weight * x[p];
                        }
                    }
                }
            }
        }
    }
}

/// The pairs of one kind in a group: where they are, and their exponents.
struct Shown<T> {
    at: Vec<usize>,
    x: Vec<T>,
    rates: Vec<T>,
}

impl<T: Real> Shown<T> {
    fn new<L>(loss: &L, isa: Isa, group: &Group<T>, similar: bool) -> Self
    where
        L: BlockAnchorLoss<T> + ?Sized,
    {
        let is_shown = |at: &usize| match group.kinds {
            Some(kinds) => !kinds.ignored[*at] && kinds.similar[*at] == similar,
            None => !similar,
        };
        let at: Vec<usize> = (0..group.u.len()).filter(is_shown).collect();
        let mut x: Vec<T> = at.iter().map(|&at| group.u[at]).collect();
        let mut rates = vec![T::ZERO; x.len()];
        if !x.is_empty() {
            loss.exponents_block(isa, &mut x, &mut rates, similar);
        }
        Shown { at, x, rates }
    }
}

/// The terms of the anchor of each pair.
fn of_pairs<T: Real>(terms: &Terms<T>, side: usize, at: &[usize], width: usize) -> [Vec<T>; 4] {
    let index = |at: usize| if side == 0 { at / width } else { at % width };
    terms.terms.map(|terms| at.iter().map(|&at| terms[index(at)]).collect())
}

/// Adds e^x to l, the sum of e^(x - m) over the exponents before, of which m is the largest; with a `reference`, of
/// e^(x - reference).
fn add_power<T: Real>([m, l]: [&mut T; 2], x: T, reference: Option<T>) {
    let power = |x: T| T::from_f64(x.to_f64().exp());
    let grows = *m < x;
    match reference {
        Some(reference) => *l += power(x - reference),
        None if grows => *l = *l * power(*m - x) + T::ONE,
        None => *l += power(x - *m),
    }
    if grows {
        *m = x;
    }
}
