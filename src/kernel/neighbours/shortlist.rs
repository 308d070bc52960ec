//! The best k of many, where k is so large that a list which is kept sorted would take too long.
//!
//! A sorted list moves up to k entries for each that enters. Here what may be among the best is put at the
//! end of a room of some 2 k places; when that is full, the best k are selected, and what is not below the
//! last of them does not enter from then on. That is a constant number of steps for each entry; the order
//! is made once, at the end.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::by_tiles::Wanted;
use super::top_k::{Lists, NONE};
use crate::kernel::blocking::{BLOCK_ROWS, GROUP_PAIRS, PANEL_COLS, STRIP_PAIRS};
use crate::kernel::pairwise::pack::Rows;
use crate::kernel::pairwise::similarity::Content;
use crate::kernel::pairwise::tile::{TileOperand, Trust, by_products};
use crate::kernel::rows::pairs::squared_distances;
use crate::kernel::vector::squared_distance;
use crate::parallel::stop::look;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// Places of the room for the best `k` of so many.
pub(crate) fn places(k: usize, candidates: usize) -> usize {
    let twice = k.saturating_mul(2).saturating_add(2 * PANEL_COLS);
    // Never full where it can hold all of them.
    twice.min(candidates.saturating_add(PANEL_COLS))
}

/// How much of a room is taken, and by what.
#[derive(Clone, Copy)]
pub(crate) struct Shortlist<T: Real> {
    len: usize,
    /// Keys above it do not enter; NaN while all keys do.
    pub bound: T,
    /// Once entries are exact keys with the numbers of rows, and there are k: the last of the best k then.
    /// What does not come before it does not enter.
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

    /// Whether fewer than a panel's entries find room.
    #[inline(always)]
    pub(crate) fn is_full(&self, room: &[T::Ranked]) -> bool {
        self.len + PANEL_COLS > room.len()
    }

    /// Keeps the best `k` of entries that are all exact.
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

    /// Whether no key of at least `least` enters with a number of at least `first`.
    #[inline(always)]
    fn is_closed(&self, least: T, first: u32) -> bool {
        self.last.is_some_and(|last| last <= least.ranked(first))
    }

    /// Writes the best k of entries that are all exact, in their order.
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

/// Long lists of a few queries, of what is measured as it comes and by ascending number.
pub(crate) struct LongLists<'a, T: Real> {
    lists: Lists<'a, T>,
    /// [`places`] for each query.
    room: &'a mut [T::Ranked],
    taken: [Shortlist<T>; MOST_QUERIES],
}

impl<'a, T: Real> LongLists<'a, T> {
    /// Nothing yet. `lists` are those that are to be written; `room` may hold anything.
    pub(crate) fn new(lists: Lists<'a, T>, room: &'a mut [T::Ranked]) -> Self {
        LongLists { lists, room, taken: [Shortlist::new(); MOST_QUERIES] }
    }

    /// What a key must be below to enter a list; NaN while all do.
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

/// As [`SearchBlock`](super::by_tiles::SearchBlock), for lists of many rows: all pairs of rows `i` of one side,
/// from the start of a panel, with all rows of the other.
///
/// Products tell each distance but for their rounding. So entries have the least that their key may be, and
/// what may be above the k-th one is left out; only those that are left in the end are measured. Where they
/// are too many, since products cannot tell rows apart, they are measured, and from then on what comes is
/// measured before it enters: a panel's rows are in L1 then. A list of k rows at distance 0 takes no later
/// one, so that equal rows are hardly looked at.
pub(crate) struct LongSearch<'a, T: Real> {
    pub sides: [TileOperand<'a, T>; 2],
    /// At most [`BLOCK_ROWS`].
    pub i: Range<usize>,
    /// Whether both are the same rows: a row and itself are no pair then.
    pub among: bool,
    /// Of rows i; empty. Keys are as those of a [`SearchBlock`](super::by_tiles::SearchBlock).
    pub lists: Lists<'a, T>,
    pub wanted: Wanted<'a, T>,
    /// [`places`] for each of rows i, of any content.
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
    /// What no key is below.
    #[inline(always)]
    fn least(&self) -> T {
        if self.farthest { T::ZERO - T::INFINITY } else { T::ZERO }
    }

    /// The lowest number of the rows at some places of the other side.
    #[inline(always)]
    fn first_number(&self, places: &Range<usize>) -> u32 {
        self.sides[1].rows.order[places.clone()].iter().copied().min().unwrap_or(NONE)
    }

    /// The least that the key of a pair may be, of which one row's length is not finite: such a row has no
    /// product. Where it is the other one, the key itself, since otherwise each list would be full of it.
    #[inline(always)]
    fn lowest<S: Simd<T>>(&self, s: S, row: usize, col: usize) -> T {
        let [x, y] = self.sides;
        match y.norms[col].is_nan() && !x.norms[row].is_nan() {
            true => self.key(s, row, col),
            false => T::ZERO - T::INFINITY,
        }
    }

    /// The key of a pair, as it is ranked by.
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

    /// Measures the candidates of a row in a panel from a column, and puts those into its room that come
    /// before `last`, of a list of exact keys.
    ///
    /// All are measured before any is looked at, since which of them enter is a guess for the processor.
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
    /// Finds out which of the pairs are looked at; whether there may be any.
    #[inline(always)]
    fn find_wanted<S: Simd<T>>(
        &self,
        s: S,
        rows: &Range<usize>,
        cols: &Range<usize>,
        wanted: &mut [bool; GROUP_PAIRS],
    ) -> bool {
        let Some((kinds, kind)) = &self.wanted.kind else { return true };
        match kinds.content(s, rows, cols, 4, None) {
            Content::Known(_) => return false,
            Content::Uniform(similar) if similar != *kind => return false,
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

    /// Puts what may be among the best of each row into its room.
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

    /// Leaves out what cannot be among the best k; at least half of what is beyond k finds room then.
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

    /// By how far each distance may be off. Not where there is no bound: where fewer than k distances are
    /// finite.
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
        // Keys of the best k are at most so much, so that of the k-th best is.
        let mut bound = T::ZERO - T::INFINITY;
        let mut finite = !own.is_nan();
        for &entry in &room[..k] {
            let (lowest, col) = T::unranked(entry);
            let norm = y.norms[col as usize];
            // The least that it may be is off by one error; another is for the rounding of this.
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

    /// From what keys may be, of places, to what they are, of rows.
    #[inline(always)]
    fn measure<S: Simd<T>>(&mut self, s: S, row: usize, list: &Shortlist<T>) {
        match const { S::REGISTERS } {
            32 => self.measure_some::<S, 4>(s, row, list.len),
            _ => self.measure_some::<S, 2>(s, row, list.len),
        }
    }

    /// As [`measure`](Self::measure), of the first entries, `R` at a time.
    #[inline(always)]
    fn measure_some<S: Simd<T>, const R: usize>(&mut self, s: S, row: usize, len: usize) {
        /// Entries ahead of which rows are asked for: these are anywhere in memory.
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

    /// The list of a row.
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

/// Asks for the first lines of a row; the processor finds out about more of them by itself.
#[inline(always)]
fn prefetch<T: Real, S: Simd<T>>(s: S, row: &[T]) {
    const LINES: usize = 8;
    for line in row.chunks(64 / size_of::<T>()).take(LINES) {
        s.prefetch(line.as_ptr());
    }
}
