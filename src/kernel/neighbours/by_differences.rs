//! The k nearest references of each query, by direct subtraction.
//!
//! A tile of a few queries and a few references is measured at once: lanes run along the
//! dimension, each pair has one vector of sums in a register, and each loaded vector serves a whole
//! row or column of the tile. A distance has the same bits in whichever place of a tile it is
//! measured and whichever of its ends is the query.

#![forbid(unsafe_code)]

use std::array::from_fn;

use super::shortlist::LongLists;
use super::top_k::Lists;
use crate::kernel::pairwise::tile_by_differences::{MOST_PAIRS, squared_distances};
use crate::memory::mat::Mat;
use crate::parallel::stop::look;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// Bytes of a block of references: all queries are measured against it while it stays in L2.
const BLOCK_BYTES: usize = 128 << 10;

/// References of a tile.
const REFERENCES: usize = 4;

/// The nearest references of each query, by squared distance. For queries so few that it does not pay to
/// copy the references for products, as [`SearchBlock`](super::by_tiles::SearchBlock) needs them.
pub(crate) struct Nearest<'a, T: Real> {
    pub queries: Mat<'a, T>,
    pub references: Mat<'a, T>,
    pub best: Best<'a, T>,
}

/// The best references of each query so far.
pub(crate) enum Best<'a, T: Real> {
    Sorted(Lists<'a, T>),
    Long(LongLists<'a, T>),
}

impl<T: Real> Best<'_, T> {
    #[inline(always)]
    fn bound(&self, query: usize) -> T {
        match self {
            Best::Sorted(lists) => lists.worst(query),
            Best::Long(lists) => lists.bound(query),
        }
    }

    fn offer(&mut self, query: usize, d2: T, index: u32) {
        match self {
            Best::Sorted(lists) => lists.offer(query, d2, index),
            Best::Long(lists) => lists.offer(query, d2, index),
        }
    }
}

impl<T: Real> Kernel<T> for Nearest<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) {
        // Sums take half of the registers: AVX-512 has 32 of 64 bytes, the other tiers have 16.
        if const { S::REGISTERS == 32 } {
            self.search::<S, 4>(s)
        } else {
            self.search::<S, 2>(s)
        }
        if let Best::Long(lists) = self.best {
            lists.write();
        }
    }
}

impl<T: Real> Nearest<'_, T> {
    #[inline(always)]
    fn search<S: Simd<T>, const QUERIES: usize>(&mut self, s: S) {
        let row_bytes = self.references.cols() * size_of::<T>();
        let height = (BLOCK_BYTES / row_bytes.max(1)).clamp(16, 1024).next_multiple_of(REFERENCES);
        let count = self.references.rows();
        for from in (0..count).step_by(height) {
            look();
            let to = (from + height).min(count);
            for query in (0..self.queries.rows()).step_by(QUERIES) {
                self.search_block::<S, QUERIES>(s, query, from, to);
            }
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
        // A tile over the edge measures the last row again; those distances are not used.
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
            self.best.bound(query)
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
            for r in 0..references {
                self.best.offer(first + q, d2[q * REFERENCES + r], (tile + r) as u32);
            }
        }
    }
}
