//! Distances of a few rows with a few others, by direct subtraction.
//!
//! Lanes run along the dimension, each pair has one vector of sums in a register, and each loaded vector
//! serves a whole row or column of the tile. A distance has the same bits in whichever place of a tile
//! it is measured and whichever of its ends comes first.

#![allow(unsafe_code, reason = "tests of bounds are taken out of the innermost loop")]

use std::array::from_fn;

use crate::simd::Simd;
use crate::simd::real::Real;

/// The most pairs of a tile.
pub(crate) const MOST_PAIRS: usize = 16;

/// |x - y|² of each of `Q` rows with each of `R` others: pair (q, r) is lane `q * R + r`, counted through
/// the vectors.
#[inline(always)]
pub(crate) fn squared_distances<T: Real, S: Simd<T>, const Q: usize, const R: usize>(
    s: S,
    xs: &[&[T]; Q],
    ys: &[&[T]; R],
) -> [S::F; MOST_PAIRS] {
    let cols = xs[0].len();
    assert!(xs.iter().chain(ys).all(|row| row.len() == cols));
    let mut sums = [s.splat(T::ZERO); MOST_PAIRS];
    for v in 0..cols / S::LANES {
        // SAFETY: all rows hold `cols` elements, so `v` counts vectors that all of them hold.
        let x = from_fn::<_, Q, _>(|i| unsafe { vector(s, xs[i], v) });
        for j in 0..R {
            // SAFETY: as above.
            let y = unsafe { vector(s, ys[j], v) };
            for i in 0..Q {
                let t = x[i] - y;
                sums[i * R + j] = s.fma(t, t, sums[i * R + j]);
            }
        }
    }
    let rest = cols - cols % S::LANES;
    if rest < cols {
        let x = from_fn::<_, Q, _>(|i| s.load(&xs[i][rest..]));
        for j in 0..R {
            let y = s.load(&ys[j][rest..]);
            for i in 0..Q {
                let t = x[i] - y;
                sums[i * R + j] = s.fma(t, t, sums[i * R + j]);
            }
        }
    }
    sum_lanes(s, sums, Q * R)
}

/// Vector `v` of a row. Without a bounds check: the checks of eight rows take a tenth of the time of the
/// loop.
///
/// # Safety
/// The row holds `v + 1` whole vectors.
#[inline(always)]
unsafe fn vector<T: Real, S: Simd<T>>(s: S, row: &[T], v: usize) -> S::F {
    // SAFETY: what the caller promises.
    s.load(unsafe { row.get_unchecked(v * S::LANES..(v + 1) * S::LANES) })
}

/// The first `count` vectors, each summed up: vector i into lane i, counted through the vectors.
///
/// A round of sums of neighbouring lanes halves the lanes that belong to one vector.
#[inline(always)]
fn sum_lanes<T: Real, S: Simd<T>>(
    s: S,
    mut sums: [S::F; MOST_PAIRS],
    mut count: usize,
) -> [S::F; MOST_PAIRS] {
    let mut lanes = S::LANES;
    while lanes > 1 {
        count /= 2;
        for i in 0..count {
            sums[i] = s.pair_sums([sums[2 * i], sums[2 * i + 1]]);
        }
        lanes /= 2;
    }
    sums
}
