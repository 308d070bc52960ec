//! The best k of many, where k is so large that keeping a sorted list would take too long.
//!
//! A sorted list moves up to k entries for each one that enters. Here a candidate for the best k is
//! appended to a room of some 2 k places. When the room is full, the best k are selected, and from then on
//! only entries below the last of them are appended. That is a constant number of steps for each entry. The
//! best k are sorted once, at the end.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::by_tiles::Wanted;
use super::top_k::{Lists, NONE};
use crate::kernel::blocking::{BLOCK_ROWS, GROUP_PAIRS, PANEL_COLS, STRIP_PAIRS};
use crate::kernel::pairwise::pack::Rows;
use crate::kernel::pairwise::similarity::BlockSimilarity;
use crate::kernel::pairwise::tile::{TileOperand, Trust, by_products};
use crate::kernel::rows::pairs::squared_distances;
use crate::kernel::vector::squared_distance;
use crate::parallel::stop::look;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// Places of the room for the best `k` of `candidates` entries.
pub(crate) fn places(k: usize, candidates: usize) -> usize {
    let twice = k.saturating_mul(2).saturating_add(2 * PANEL_COLS);
    // A room that can hold all entries is never full.
    twice.min(candidates.saturating_add(PANEL_COLS))
}

/// The state of a room: how many places are taken, and which entries may still enter.
#[derive(Clone, Copy)]
pub(crate) struct Shortlist<T: Real> {
    len: usize,
    /// Keys above it do not enter; NaN while all keys do.
    pub bound: T,
    /// The last of the best k, once there are k entries and they are exact keys with the numbers of rows.
    /// Only entries that come before it enter.
    last: Option<T::Ranked>,
}

impl<T: Real> Shortlist<T> {
    pub(crate) fn new() -> Self {
        Shortlist { len: 0, bound: T::from_f64(f64::NAN), last: None }
    }

    /// Adds an entry. There must be room.
    #[inline(always)]
    pub(crate) fn push(&mut self, room: &mut [T::Ranked], key: T, number: u32) {
        room[self.len] = key.ranked(number);
        self.len += 1;
    }

    /// Whether there is room for less than a panel's entries.
    #[inline(always)]
    pub(crate) fn is_full(&self, room: &[T::Ranked]) -> bool {
        self.len + PANEL_COLS > room.len()
    }

    /// Keeps the best `k` entries, all of which must be exact.
    pub(crate) fn keep_best(&mut self, room: &mut [T::Ranked], k: usize) {
        if self.len > k {
            room[..self.len].select_nth_unstable(k - 1);
            self.len = k;
        }
        if self.len == k {
            self.last = room[..k].iter().copied().max();
            self.bound = self.last.map_or(self.bound, |last| T::unranked(last).0);
        }
    }

    /// Whether nothing enters any more if keys are at least `least` and numbers at least `first`.
    #[inline(always)]
    fn is_closed(&self, least: T, first: u32) -> bool {
        self.last.is_some_and(|last| last <= least.ranked(first))
    }

    /// Writes the best k entries in their order; all entries must be exact.
    pub(crate) fn write(&mut self, room: &mut [T::Ranked], lists: &mut Lists<T>, list: usize) {
        let k = lists.k;
        self.keep_best(room, k);
        let best = &mut room[..self.len];
        best.sort_unstable();
        let (indices, keys) = (&mut lists.indices[list * k..], &mut lists.keys[list * k..]);
        for ((index, key), &entry) in indices.iter_mut().zip(keys).zip(&*best) {
            (*key, *index) = T::unranked(entry);
        }
    }
}

/// The most queries of [`LongLists`].
pub(crate) const MOST_QUERIES: usize = 4;

/// Long lists of a few queries, whose references are measured one by one in the order of their numbers.
pub(crate) struct LongLists<'a, T: Real> {
    lists: Lists<'a, T>,
    /// [`places`] elements for each query.
    room: &'a mut [T::Ranked],
    taken: [Shortlist<T>; MOST_QUERIES],
}

impl<'a, T: Real> LongLists<'a, T> {
    /// Empty lists. `lists` are written at the end; `room` may hold anything.
    pub(crate) fn new(lists: Lists<'a, T>, room: &'a mut [T::Ranked]) -> Self {
        LongLists { lists, room, taken: [Shortlist::new(); MOST_QUERIES] }
    }

    /// The key that another one must be below to enter a list; NaN while all keys enter.
    #[inline(always)]
    pub(crate) fn bound(&self, list: usize) -> T {
        self.taken[list].bound
    }

    /// Puts a row into a list, if it may be among its best.
    pub(crate) fn offer(&mut self, list: usize, key: T, index: u32) {
        let (k, places) = (self.lists.k, self.places());
        let (taken, room) = (&mut self.taken[list], &mut self.room[list * places..][..places]);
        if !(key < taken.bound || taken.bound.is_nan()) {
            return;
        }
        if taken.is_full(room) {
            taken.keep_best(room, k);
        }
        taken.push(room, key, index);
    }

    /// Writes all lists.
    pub(crate) fn write(mut self) {
        let places = self.places();
        let room = self.room.chunks_exact_mut(places).zip(&mut self.taken);
        for (list, (room, taken)) in room.enumerate() {
            taken.write(room, &mut self.lists, list);
        }
    }

    fn places(&self) -> usize {
        self.room.len() * self.lists.k / self.lists.keys.len()
    }
}

/// [`SearchBlock`](super::by_tiles::SearchBlock) for long lists: all pairs of rows `i` of one side, from
/// the start of a panel, with all rows of the other.
///
/// Products give distances up to their rounding. So an entry holds a lower bound of its key, and entries
/// whose bound is above an upper bound of the k-th key are dropped; only those left at the end are
/// measured. Where too many are left, since products cannot tell rows apart, these are measured
/// immediately, and from then on each candidate is measured before it enters, while its panel's rows are in
/// L1. A list of k rows at distance 0 takes no later row, so equal rows are hardly looked at.
pub(crate) struct LongSearch<'a, T: Real> {
    pub sides: [TileOperand<'a, T>; 2],
    /// At most [`BLOCK_ROWS`].
    pub i: Range<usize>,
    /// Whether both are the same rows: a row and itself are no pair then.
    pub among: bool,
    /// Lists of rows i, empty at first. Keys are those of a [`SearchBlock`](super::by_tiles::SearchBlock).
    pub lists: Lists<'a, T>,
    pub wanted: Wanted<'a, T>,
    /// [`places`] elements for each of rows i, of any content.
    pub room: &'a mut [T::Ranked],
}

impl<T: Real> Kernel<T> for LongSearch<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) {
        let (cols, height) = (2 * S::LANES, GROUP_PAIRS / (2 * S::LANES));
        let sides = self.sides;
        let count = sides[1].norms.len();
        let mut lists = [Shortlist::new(); BLOCK_ROWS];
        let mut strip = [T::ZERO; STRIP_PAIRS];
        let mut wanted = [true; GROUP_PAIRS];
        let keys = self.keys();
        for col in (0..count).step_by(cols) {
            look();
            let present = col..count.min(col + cols);
            let first = keys.first_number(&present);
            let mut measured = false;
            for (g, row) in self.i.clone().step_by(height).enumerate() {
                let rows = row..(row + height).min(self.i.end);
                let mut closed = lists[row - self.i.start..][..rows.len()].iter();
                if closed.all(|list| list.is_closed(keys.least(), first))
                    || !self.find_wanted(s, &rows, &present, &mut wanted)
                {
                    continue;
                }
                if !measured {
                    let sides = [&sides[0], &sides[1]];
                    by_products::<T, S>(s, sides, self.i.clone(), col, &mut strip);
                    measured = true;
                }
                let products = &mut strip[g * GROUP_PAIRS..][..rows.len() * cols];
                self.enter(s, rows, present.clone(), products, &wanted, &mut lists);
            }
        }
        for row in self.i.clone() {
            self.finish(s, row, &mut lists[row - self.i.start]);
        }
    }
}

/// The keys of pairs of two sides.
#[derive(Clone, Copy)]
struct Keys<'a, T> {
    sides: [TileOperand<'a, T>; 2],
    farthest: bool,
}

impl<T: Real> Keys<'_, T> {
    /// A lower bound of all keys.
    #[inline(always)]
    fn least(&self) -> T {
        if self.farthest { T::ZERO - T::INFINITY } else { T::ZERO }
    }

    /// The lowest number of the rows at some places of the other side.
    #[inline(always)]
    fn first_number(&self, places: &Range<usize>) -> u32 {
        self.sides[1].rows.order[places.clone()].iter().copied().min().unwrap_or(NONE)
    }

    /// A lower bound of the key of a pair whose product is NaN, because the length of a row is not finite.
    /// Where it is the other row's alone, the key itself: with a bound of -inf, that row would enter every
    /// list.
    #[inline(always)]
    fn lowest<S: Simd<T>>(&self, s: S, row: usize, col: usize) -> T {
        let [x, y] = self.sides;
        match y.norms[col].is_nan() && !x.norms[row].is_nan() {
            true => self.key(s, row, col),
            false => T::ZERO - T::INFINITY,
        }
    }

    /// The exact key of a pair.
    #[inline(always)]
    fn key<S: Simd<T>>(&self, s: S, row: usize, col: usize) -> T {
        let [x, y] = self.sides;
        let d2 = squared_distance(s, x.rows.row(row), y.rows.row(col));
        if self.farthest { T::ZERO - d2 } else { d2 }
    }

    /// The keys of a row with `R` others.
    #[inline(always)]
    fn of_some<S: Simd<T>, const R: usize>(&self, s: S, row: usize, cols: [usize; R]) -> [T; R] {
        let [x, y] = self.sides;
        let mut others = [y.rows.row(cols[0]); R];
        for r in 1..R {
            others[r] = y.rows.row(cols[r]);
        }
        let mut keys = squared_distances(s, x.rows.row(row), others);
        if self.farthest {
            for key in &mut keys {
                *key = T::ZERO - *key;
            }
        }
        keys
    }

    /// Measures the candidates of a row, given as bits of the panel that starts at column `start`, and
    /// appends those that come before `last` to its room, which holds exact keys.
    ///
    /// All are measured before any is compared, since the processor cannot predict which of them enter.
    #[inline(always)]
    fn enter_exact<S: Simd<T>, const R: usize>(
        &self,
        s: S,
        row: usize,
        (start, mut candidates): (usize, u32),
        (list, room): (&mut Shortlist<T>, &mut [T::Ranked]),
        last: T::Ranked,
    ) {
        let mut cols = [start; PANEL_COLS];
        let count = candidates.count_ones() as usize;
        for col in &mut cols[..count.min(PANEL_COLS)] {
            *col += candidates.trailing_zeros() as usize;
            candidates &= candidates.wrapping_sub(1);
        }
        let mut keys = [T::ZERO; PANEL_COLS];
        for (cols, keys) in
            cols.chunks_exact(R).zip(keys.chunks_exact_mut(R)).take(count.div_ceil(R))
        {
            let mut some = [start; R];
            some.copy_from_slice(cols);
            keys.copy_from_slice(&self.of_some(s, row, some));
        }
        let bound = s.splat(list.bound);
        for v in 0..2 {
            let at = v * S::LANES;
            let low = !s.lt(bound, s.load(&keys[at..])) & s.first(count.saturating_sub(at));
            let mut low = s.bits(low);
            while low != 0 {
                let c = at + low.trailing_zeros() as usize;
                low &= low - 1;
                let number = self.sides[1].rows.order[cols[c]];
                if keys[c].ranked(number) < last {
                    list.push(room, keys[c], number);
                }
            }
        }
    }
}

impl<'a, T: Real> LongSearch<'a, T> {
    /// Marks the pairs that are wanted; returns whether there may be any.
    #[inline(always)]
    fn find_wanted<S: Simd<T>>(
        &self,
        s: S,
        rows: &Range<usize>,
        cols: &Range<usize>,
        wanted: &mut [bool; GROUP_PAIRS],
    ) -> bool {
        let Some((kinds, kind)) = &self.wanted.kind else { return true };
        match kinds.block_similarity(s, rows, cols, 4, None) {
            BlockSimilarity::Known(_) => return false,
            BlockSimilarity::Uniform(similar) if similar != *kind => return false,
            _ => {}
        }
        let len = rows.len() * 2 * S::LANES;
        let mut ignored = [false; GROUP_PAIRS];
        let similar = &mut wanted[..len];
        kinds.fill(rows.clone(), cols.clone(), false, similar, &mut ignored[..len]);
        for (wanted, ignored) in similar.iter_mut().zip(ignored) {
            *wanted = (*wanted == *kind) & !ignored;
        }
        true
    }

    /// Appends to each row's room the columns that may be among its best.
    #[inline(always)]
    fn enter<S: Simd<T>>(
        &mut self,
        s: S,
        rows: Range<usize>,
        present: Range<usize>,
        products: &mut [T],
        wanted: &[bool; GROUP_PAIRS],
        lists: &mut [Shortlist<T>; BLOCK_ROWS],
    ) {
        let cols = 2 * S::LANES;
        let [x, y] = self.sides;
        let trust = Trust::<T>::new(x.rows.z.cols(), S::LANES);
        let sign = if self.wanted.farthest { T::from_f64(-1.0) } else { T::ONE };
        let (sign, error) = (s.splat(sign), s.splat(T::ZERO - trust.error));
        let least = s.splat(trust.least);
        let norms = &y.norms[present.clone()];
        let norms = [s.load(norms), s.load(&norms[norms.len().min(S::LANES)..])];
        let valid = [s.first(present.len()), s.first(present.len().saturating_sub(S::LANES))];
        let (some_wanted, among) = (self.wanted.kind.is_some(), self.among);
        let first = self.keys().first_number(&present);
        for (r, row) in rows.enumerate() {
            let list = &mut lists[row - self.i.start];
            if list.is_closed(self.keys().least(), first) {
                continue;
            }
            if list.is_full(self.room_of(row)) {
                self.narrow(s, row, list);
            }
            let (keys, room) = (self.keys(), self.room_of(row));
            let (own, bound) = (s.splat(x.norms[row]), s.splat(list.bound));
            let products = &mut products[r * cols..][..cols];
            let mut candidates = 0;
            for v in 0..2 {
                let at = v * S::LANES..(v + 1) * S::LANES;
                let key = sign * s.load(&products[at.clone()]);
                let lowest = s.fma(error, own + norms[v], key) - least;
                s.store(lowest, &mut products[at.clone()]);
                let mut enters = !s.lt(bound, lowest) & valid[v];
                if some_wanted {
                    enters = enters & s.mask(&wanted[r * cols..][at.clone()]);
                }
                candidates |= s.bits(enters) << at.start;
            }
            if among && present.contains(&row) {
                candidates &= !(1 << (row - present.start));
            }
            if let Some(last) = list.last {
                let (of, to) = ((present.start, candidates), (list, room));
                match const { S::REGISTERS } {
                    32 => keys.enter_exact::<S, 4>(s, row, of, to, last),
                    _ => keys.enter_exact::<S, 2>(s, row, of, to, last),
                }
                continue;
            }
            while candidates != 0 {
                let c = candidates.trailing_zeros() as usize;
                candidates &= candidates - 1;
                let (col, mut lowest) = (present.start + c, products[c]);
                if lowest.is_nan() {
                    lowest = keys.lowest(s, row, col);
                }
                list.push(room, lowest, col as u32);
            }
        }
    }

    fn room_of(&mut self, row: usize) -> &mut [T::Ranked] {
        let places = self.room.len() / self.i.len();
        &mut self.room[(row - self.i.start) * places..][..places]
    }

    fn keys(&self) -> Keys<'a, T> {
        Keys { sides: self.sides, farthest: self.wanted.farthest }
    }

    /// Drops entries that cannot be among the best k, such that at least half of the places beyond k are
    /// free.
    #[inline(always)]
    fn narrow<S: Simd<T>>(&mut self, s: S, row: usize, list: &mut Shortlist<T>) {
        let k = self.lists.k;
        if list.last.is_none() {
            let room = self.room_of(row).len();
            if self.narrow_by_products(s, row, list) && list.len <= k + (room - k) / 2 {
                return;
            }
            self.measure(s, row, list);
        }
        list.keep_best(self.room_of(row), k);
    }

    /// Drops entries that cannot be among the best k by the errors of their products. Returns false, and
    /// drops nothing, where fewer than k distances are finite, since there is no bound then.
    #[inline(always)]
    fn narrow_by_products<S: Simd<T>>(
        &mut self,
        _: S,
        row: usize,
        list: &mut Shortlist<T>,
    ) -> bool {
        let (k, [x, y]) = (self.lists.k, self.sides);
        let (own, trust) = (x.norms[row], Trust::<T>::new(x.rows.z.cols(), S::LANES));
        let room = self.room_of(row);
        room[..list.len].select_nth_unstable(k - 1);
        // An upper bound of k keys, and so of the k-th best one.
        let mut bound = T::ZERO - T::INFINITY;
        let mut finite = !own.is_nan();
        for &entry in &room[..k] {
            let (lowest, col) = T::unranked(entry);
            let norm = y.norms[col as usize];
            // A lower bound is the product less one error, and the key may be one error above the product;
            // the third error covers the rounding of this sum.
            let error = trust.error * (own + norm) + trust.least;
            let most = if norm.is_nan() { lowest } else { lowest + error + error + error };
            finite &= most < T::INFINITY;
            bound = if bound < most { most } else { bound };
        }
        if !finite {
            return false;
        }
        let mut len = k;
        for at in k..list.len {
            if T::unranked(room[at]).0 <= bound {
                room[len] = room[at];
                len += 1;
            }
        }
        (list.len, list.bound) = (len, bound);
        true
    }

    /// Turns entries from bounds of keys with places into exact keys with numbers of rows.
    #[inline(always)]
    fn measure<S: Simd<T>>(&mut self, s: S, row: usize, list: &Shortlist<T>) {
        match const { S::REGISTERS } {
            32 => self.measure_some::<S, 4>(s, row, list.len),
            _ => self.measure_some::<S, 2>(s, row, list.len),
        }
    }

    /// [`measure`](Self::measure) for the first `len` entries, `R` at a time.
    #[inline(always)]
    fn measure_some<S: Simd<T>, const R: usize>(&mut self, s: S, row: usize, len: usize) {
        /// How many entries ahead rows are prefetched: they may be anywhere in memory.
        const AHEAD: usize = 8;
        let Rows { z, order } = self.sides[1].rows;
        let (keys, room) = (self.keys(), &mut self.room_of(row)[..len]);
        for at in (0..len).step_by(R) {
            for next in room.iter().skip(at + AHEAD).take(R) {
                prefetch(s, z.row(order[T::unranked(*next).1 as usize] as usize));
            }
            let some = &mut room[at..(at + R).min(len)];
            let mut cols = [T::unranked(some[0]).1 as usize; R];
            for (col, entry) in cols.iter_mut().zip(&*some) {
                *col = T::unranked(*entry).1 as usize;
            }
            let found = keys.of_some(s, row, cols);
            for ((entry, key), col) in some.iter_mut().zip(found).zip(cols) {
                *entry = key.ranked(order[col]);
            }
        }
    }

    /// Measures the entries of a row and writes its list.
    #[inline(always)]
    fn finish<S: Simd<T>>(&mut self, s: S, row: usize, list: &mut Shortlist<T>) {
        if list.last.is_none() {
            if list.len > self.lists.k {
                self.narrow_by_products(s, row, list);
            }
            self.measure(s, row, list);
        }
        let (places, at) = (self.room.len() / self.i.len(), row - self.i.start);
        let room = &mut self.room[at * places..][..places];
        list.write(room, &mut self.lists, at);
    }
}

/// Prefetches the first lines of a row; the processor finds out about more of them by itself.
#[inline(always)]
fn prefetch<T: Real, S: Simd<T>>(s: S, row: &[T]) {
    const LINES: usize = 8;
    for line in row.chunks(64 / size_of::<T>()).take(LINES) {
        s.prefetch(line.as_ptr());
    }
}
