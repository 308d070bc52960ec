//! The k nearest references of each query, by direct subtraction.
//!
//! A tile of a few queries and a few references is measured at once: lanes run along the
//! dimension, each pair has one vector of sums in a register, and each loaded vector serves a whole
//! row or column of the tile. A distance has the same bits in whichever place of a tile it is
//! measured and whichever of its ends is the query.

#![allow(unsafe_code, reason = "tests of bounds are taken out of the innermost loop")]

use std::array::from_fn;

use crate::mat::Mat;
use crate::real::Real;
use crate::simd::{Kernel, Simd};

/// Bytes of references that all queries are measured against before the next ones: they stay in L2.
const BLOCK_BYTES: usize = 128 << 10;

/// References of a tile.
const REFERENCES: usize = 4;

/// The most pairs of a tile.
const MOST_PAIRS: usize = 16;

/// The number of no reference: what stands in a list's places that are still empty, at distance
/// NaN, so that everything comes before it.
const NONE: u32 = u32::MAX;

/// For each query its `k` nearest references, nearest first.
///
/// Ranked by squared distance, equal ones by number, NaN after everything.
pub(crate) struct Nearest<'a, T> {
    pub queries: Mat<'a, T>,
    /// At least `k`, one more where the queries are among them; at most [`u32::MAX`].
    pub references: Mat<'a, T>,
    /// Where query i is reference `own + i`, which is not its own neighbour.
    pub own: Option<usize>,
    pub k: usize,
    /// `k` numbers a query.
    pub indices: &'a mut [u32],
    /// `k` Euclidean distances a query.
    pub distances: &'a mut [T],
}

impl<T: Real> Kernel<T> for Nearest<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) {
        // Sums take half of the registers: AVX-512 has 32 of 64 bytes, the other tiers have 16.
        if S::LANES * size_of::<T>() >= 64 {
            self.search::<S, 4>(s)
        } else {
            self.search::<S, 2>(s)
        }
    }
}

impl<T: Real> Nearest<'_, T> {
    #[inline(always)]
    fn search<S: Simd<T>, const QUERIES: usize>(&mut self, s: S) {
        self.indices.fill(NONE);
        self.distances.fill(T::from_f64(f64::NAN));
        let row_bytes = self.references.cols() * size_of::<T>();
        let height = (BLOCK_BYTES / row_bytes.max(1)).clamp(16, 1024).next_multiple_of(REFERENCES);
        let count = self.references.rows();
        for from in (0..count).step_by(height) {
            let to = (from + height).min(count);
            for query in (0..self.queries.rows()).step_by(QUERIES) {
                self.search_block::<S, QUERIES>(s, query, from, to);
            }
        }
        for chunk in self.distances.chunks_mut(S::LANES) {
            s.store(s.sqrt(s.load(chunk)), chunk);
        }
    }

    /// Offers references `from..to` to the lists of `QUERIES` queries.
    #[inline(always)]
    fn search_block<S: Simd<T>, const QUERIES: usize>(
        &mut self,
        s: S,
        first: usize,
        from: usize,
        to: usize,
    ) {
        // A tile over the edge measures the last row again and its distances are not looked at.
        let last = self.queries.rows() - 1;
        let queries = from_fn::<_, QUERIES, _>(|q| self.queries.row((first + q).min(last)));
        let mut worst = self.worst::<QUERIES>(first);
        let mut d2 = [T::ZERO; MOST_PAIRS];
        for tile in (from..to).step_by(REFERENCES) {
            let references =
                from_fn::<_, REFERENCES, _>(|r| self.references.row((tile + r).min(to - 1)));
            let sums = squared_distances(s, &queries, &references);
            let mut nearer = 0;
            for (v, sum) in sums.into_iter().enumerate().take(QUERIES * REFERENCES / S::LANES) {
                let worst = s.load(&worst[v * S::LANES..][..S::LANES]);
                nearer += s.count(!(s.lt(worst, sum) | s.eq(worst, sum)));
                s.store(sum, &mut d2[v * S::LANES..][..S::LANES]);
            }
            if nearer > 0 {
                let valid = [(last + 1 - first).min(QUERIES), (to - tile).min(REFERENCES)];
                self.offer_tile(first, tile, valid, &d2);
                worst = self.worst::<QUERIES>(first);
            }
        }
    }

    /// The distance that a reference must be below to enter the list of its pair's query.
    #[inline(always)]
    fn worst<const QUERIES: usize>(&self, first: usize) -> [T; MOST_PAIRS] {
        let last = self.queries.rows() - 1;
        from_fn(|pair| {
            let query = (first + pair / REFERENCES).min(last);
            self.distances[(query + 1) * self.k - 1]
        })
    }

    /// Offers the references of a tile to the lists of its queries. Rare once the lists have
    /// settled, so it stays out of the loop.
    #[inline(never)]
    fn offer_tile(
        &mut self,
        first: usize,
        tile: usize,
        [queries, references]: [usize; 2],
        d2: &[T; MOST_PAIRS],
    ) {
        for q in 0..queries {
            let list = (first + q) * self.k..(first + q + 1) * self.k;
            let (indices, distances) = (&mut self.indices[list.clone()], &mut self.distances[list]);
            for r in 0..references {
                if self.own.is_none_or(|own| own + first + q != tile + r) {
                    offer(indices, distances, d2[q * REFERENCES + r], (tile + r) as u32);
                }
            }
        }
    }
}

/// Puts a reference into a list where it belongs, if it does; the last of the list drops out.
///
/// References are offered in ascending order, so among equal distances the new one comes last.
fn offer<T: Real>(indices: &mut [u32], distances: &mut [T], d2: T, index: u32) {
    let before = |at: usize| match distances[at].partial_cmp(&d2) {
        Some(order) => order.is_le(),
        // One of the two is NaN: the one that is not comes first, then the lower number.
        None if d2.is_nan() => !distances[at].is_nan() || indices[at] < index,
        None => false,
    };
    let last = indices.len() - 1;
    if before(last) {
        return;
    }
    let (mut at, mut end) = (0, last);
    while at < end {
        let middle = at + (end - at) / 2;
        if before(middle) { at = middle + 1 } else { end = middle }
    }
    indices.copy_within(at..last, at + 1);
    distances.copy_within(at..last, at + 1);
    indices[at] = index;
    distances[at] = d2;
}

/// |q - r|² of every query with every reference of a tile: pair (q, r) is lane `q * R + r`, counted
/// through the vectors.
#[inline(always)]
fn squared_distances<T: Real, S: Simd<T>, const Q: usize, const R: usize>(
    s: S,
    queries: &[&[T]; Q],
    references: &[&[T]; R],
) -> [S::F; MOST_PAIRS] {
    let cols = queries[0].len();
    assert!(queries.iter().chain(references).all(|row| row.len() == cols));
    let mut sums = [s.splat(T::ZERO); MOST_PAIRS];
    for v in 0..cols / S::LANES {
        // SAFETY: all rows hold `cols` elements, so `v` counts vectors that all of them hold.
        let q = from_fn::<_, Q, _>(|i| unsafe { vector(s, queries[i], v) });
        for j in 0..R {
            // SAFETY: as above.
            let r = unsafe { vector(s, references[j], v) };
            for i in 0..Q {
                let t = q[i] - r;
                sums[i * R + j] = s.fma(t, t, sums[i * R + j]);
            }
        }
    }
    let rest = cols - cols % S::LANES;
    if rest < cols {
        let q = from_fn::<_, Q, _>(|i| s.load(&queries[i][rest..]));
        for j in 0..R {
            let r = s.load(&references[j][rest..]);
            for i in 0..Q {
                let t = q[i] - r;
                sums[i * R + j] = s.fma(t, t, sums[i * R + j]);
            }
        }
    }
    sum_lanes(s, sums, Q * R)
}

/// Vector `v` of a row. Without a test of bounds, since that of eight rows takes a tenth of the time
/// of the loop.
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
