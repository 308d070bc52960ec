//! The nearest or farthest rows of each row of a block, among the rows of another block.
//!
//! Products in register tiles give distances up to a known error. By that error most pairs cannot enter a
//! list; the few that are left are measured by subtraction and ranked by the result. So lists are exact.

#![forbid(unsafe_code)]

use std::array::from_fn;
use std::ops::Range;

use super::top_k::Lists;
use crate::kernel::blocking::{BLOCK_ROWS, GROUP_PAIRS, PANEL_COLS, STRIP_PAIRS, rows_at_once};
use crate::kernel::pairwise::pack::Rows;
use crate::kernel::pairwise::similarity::{BlockSimilarity, Similarity};
use crate::kernel::pairwise::tile::{TileOperand, Trust, by_products};
use crate::kernel::rows::pairs::squared_distances;
use crate::kernel::vector::squared_distance;
use crate::parallel::stop::look;
use crate::simd::real::Real;
use crate::simd::{Kernel, Simd};

/// The rows that a search looks for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a, T> {
    /// The farthest rows rather than the nearest.
    pub farthest: bool,
    /// If set, only similar pairs (`true`) or only dissimilar ones (`false`) are looked at.
    pub kind: Option<(Similarity<'a, T>, bool)>,
}

/// All pairs of rows `i` of one side with rows `j` of the other, both from the start of a panel.
pub(crate) struct SearchBlock<'a, T> {
    pub sides: [TileOperand<'a, T>; 2],
    pub i: Range<usize>,
    /// At most [`BLOCK_ROWS`] rows where these have lists.
    pub j: Range<usize>,
    /// Whether both are the same rows: a row and itself are no pair then.
    pub among: bool,
    /// Lists of rows i, and of rows j where these are other rows and have lists. Keys are squared
    /// distances, negative where the farthest are wanted.
    pub lists: [Option<Lists<'a, T>>; 2],
    pub wanted: Wanted<'a, T>,
}

/// The pairs of a few rows with a panel of columns.
struct Group<T> {
    keys: [T; GROUP_PAIRS],
    similar: [bool; GROUP_PAIRS],
    ignored: [bool; GROUP_PAIRS],
    /// The last keys of the columns' lists.
    worst: [T; BLOCK_ROWS],
}

impl<T: Real> Kernel<T> for SearchBlock<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(mut self, s: S) {
        self.block(s)
    }
}

impl<T: Real> SearchBlock<'_, T> {
    #[inline(always)]
    fn block<S: Simd<T>>(&mut self, s: S) {
        let cols = 2 * S::LANES;
        let mut group = Group {
            keys: [T::ZERO; GROUP_PAIRS],
            similar: [false; GROUP_PAIRS],
            ignored: [false; GROUP_PAIRS],
            worst: [T::ZERO - T::INFINITY; BLOCK_ROWS],
        };
        let mut strip = [T::ZERO; STRIP_PAIRS];
        let (height, groups) =
            (rows_at_once::<S, T>(self.sides[0].rows.z.cols()), GROUP_PAIRS / cols);
        for col in self.j.clone().step_by(cols) {
            look();
            // Among the same rows, rows below the panel hold the same pairs again.
            let end = if self.among { self.i.end.min(col + cols) } else { self.i.end };
            for row in (self.i.start..end).step_by(height) {
                let rows = row..(row + height).min(end);
                let mut measured = false;
                for row in rows.clone().step_by(groups) {
                    let some = row..(row + groups).min(rows.end);
                    if !self.fill(s, &some, col, &mut group) {
                        continue;
                    }
                    if !measured {
                        let sides = [&self.sides[0], &self.sides[1]];
                        by_products::<T, S>(s, sides, rows.clone(), col, &mut strip);
                        measured = true;
                    }
                    let from = &strip[(row - rows.start) * cols..][..some.len() * cols];
                    group.keys[..from.len()].copy_from_slice(from);
                    self.offer_group(s, some, col, &mut group);
                }
            }
        }
    }

    /// Fills in which pairs are similar and which are ignored; returns whether any pair may be wanted.
    #[inline(always)]
    fn fill<S: Simd<T>>(
        &self,
        s: S,
        rows: &Range<usize>,
        col: usize,
        group: &mut Group<T>,
    ) -> bool {
        let Some((kinds, similar)) = &self.wanted.kind else { return true };
        let cols = col..self.j.end.min(col + 2 * S::LANES);
        match kinds.block_similarity(s, rows, &cols, 4, None) {
            BlockSimilarity::Known(_) => return false,
            BlockSimilarity::Uniform(kind) if kind != *similar => return false,
            _ => {}
        }
        let len = rows.len() * 2 * S::LANES;
        let (to, ignored) = (&mut group.similar[..len], &mut group.ignored[..len]);
        kinds.fill(rows.clone(), cols, self.among, to, ignored);
        true
    }

    /// Offers the pairs that may enter a list to it.
    #[inline(always)]
    fn offer_group<S: Simd<T>>(
        &mut self,
        s: S,
        rows: Range<usize>,
        col: usize,
        group: &mut Group<T>,
    ) {
        let cols = 2 * S::LANES;
        let present = col..self.j.end.min(col + cols);
        let trust = Trust::<T>::new(self.sides[0].rows.z.cols(), S::LANES);
        let sign = if self.wanted.farthest { T::from_f64(-1.0) } else { T::ONE };
        let (sign, error) = (s.splat(sign), s.splat(T::ZERO - trust.error));
        let least = s.splat(trust.least);
        let norms = &self.sides[1].norms[present.clone()];
        let norms = [s.load(norms), s.load(&norms[norms.len().min(S::LANES)..])];
        let valid = [s.first(present.len()), s.first(present.len().saturating_sub(S::LANES))];
        let both = self.among || self.lists[1].is_some();
        self.find_worst(&present, group);
        let mut worst = [s.load(&group.worst), s.load(&group.worst[S::LANES..])];
        for (r, row) in rows.enumerate() {
            let Some(lists) = &self.lists[0] else { return };
            let own_worst = s.splat(lists.worst(row - self.i.start));
            let own = s.splat(self.sides[0].norms[row]);
            let keys = &mut group.keys[r * cols..][..cols];
            let mut candidates = 0;
            for v in 0..2 {
                let key = &mut keys[v * S::LANES..][..S::LANES];
                let lowest = s.fma(error, own + norms[v], sign * s.load(key)) - least;
                let mut enters = !s.lt(own_worst, lowest);
                if both {
                    enters = enters | !s.lt(worst[v], lowest);
                }
                candidates += s.count(enters & valid[v]);
                s.store(lowest, key);
            }
            if candidates > 0 && self.offer_row(s, r, row, present.clone(), candidates, group) {
                self.find_worst(&present, group);
                worst = [s.load(&group.worst), s.load(&group.worst[S::LANES..])];
            }
        }
    }

    /// Finds the last keys of the lists of a panel's columns, where these have lists.
    #[inline(always)]
    fn find_worst(&self, cols: &Range<usize>, group: &mut Group<T>) {
        let lists = if self.among { &self.lists[0] } else { &self.lists[1] };
        if let Some(lists) = lists {
            for (worst, col) in group.worst.iter_mut().zip(cols.clone()) {
                *worst = lists.worst(col - self.j.start);
            }
        }
    }

    /// Measures the candidates of a row; returns whether any may have entered a list.
    #[inline(always)]
    fn offer_row<S: Simd<T>>(
        &mut self,
        s: S,
        r: usize,
        row: usize,
        cols: Range<usize>,
        candidates: u32,
        group: &Group<T>,
    ) -> bool {
        // From so many candidates on, all columns are measured at once. Rows that lie close together, or on
        // one another, have so many.
        const MANY: u32 = 6;
        let [x, y] = self.sides.map(|side| side.rows);
        let at = r * 2 * S::LANES;
        let mut many = [T::ZERO; PANEL_COLS];
        let all = candidates >= MANY;
        let mut enter = [true; PANEL_COLS];
        if all {
            match const { S::REGISTERS } {
                32 => measure_row::<T, S, 4>(s, [&x, &y], row, cols.clone(), &mut many),
                _ => measure_row::<T, S, 2>(s, [&x, &y], row, cols.clone(), &mut many),
            }
            if self.wanted.farthest {
                for key in &mut many {
                    *key = T::ZERO - *key;
                }
            }
            self.find_entering(row, cols.clone(), &many, group, &mut enter);
        }
        let mut any = false;
        for (c, col) in cols.enumerate() {
            if !enter[c] {
                continue;
            }
            let wanted = match &self.wanted.kind {
                Some((_, similar)) => group.similar[at + c] == *similar && !group.ignored[at + c],
                None => true,
            };
            if !wanted || (self.among && col <= row) {
                continue;
            }
            let lowest = group.keys[at + c];
            let (own, other) = (row - self.i.start, col - self.j.start);
            let enters = |lists: &Option<Lists<T>>, list: usize| {
                // A NaN passes this test; `Lists::offer` decides.
                let beaten = |lists: &Lists<T>| lists.worst(list) < lowest;
                lists.as_ref().is_some_and(|lists| !beaten(lists))
            };
            let of_j = usize::from(!self.among);
            if !enters(&self.lists[0], own) && !enters(&self.lists[of_j], other) {
                continue;
            }
            any = true;
            let key = match all {
                true => many[c],
                false => {
                    let d2 = squared_distance(s, x.row(row), y.row(col));
                    if self.wanted.farthest { T::ZERO - d2 } else { d2 }
                }
            };
            if let Some(lists) = &mut self.lists[0] {
                lists.offer(own, key, y.order[col]);
            }
            if let Some(lists) = &mut self.lists[of_j] {
                lists.offer(other, key, x.order[row]);
            }
        }
        any
    }

    /// Marks the keys of a row's pairs with some columns that may enter a list: those below its last key,
    /// those equal to it with a lower row number, and those where either of the two is NaN.
    #[inline(always)]
    fn find_entering(
        &self,
        row: usize,
        cols: Range<usize>,
        keys: &[T; PANEL_COLS],
        group: &Group<T>,
        enter: &mut [bool; PANEL_COLS],
    ) {
        let [x, y] = self.sides.map(|side| side.rows);
        // Where there is no list, no key enters.
        let nothing = (T::ZERO - T::INFINITY, 0);
        let at = row - self.i.start;
        let (worst, last) =
            self.lists[0].as_ref().map_or(nothing, |lists| (lists.worst(at), lists.last(at)));
        let row = x.order[row];
        let mut lasts = [0; PANEL_COLS];
        if let Some(lists) = &self.lists[usize::from(!self.among)] {
            for (last, col) in lasts.iter_mut().zip(cols.clone()) {
                *last = lists.last(col - self.j.start);
            }
        }
        let order = &y.order[cols];
        for (c, &index) in order.iter().enumerate().take(PANEL_COLS) {
            let (key, others_worst, others_last) = (keys[c], group.worst[c], lasts[c]);
            let by_own = (worst < key) | ((worst == key) & (last <= index));
            let by_other = (others_worst < key) | ((others_worst == key) & (others_last <= row));
            enter[c] = !(by_own & by_other);
        }
    }
}

/// |x - y|² of a row with some columns, `R` at a time.
#[inline(always)]
fn measure_row<T: Real, S: Simd<T>, const R: usize>(
    s: S,
    [x, y]: [&Rows<T>; 2],
    row: usize,
    cols: Range<usize>,
    d2: &mut [T; PANEL_COLS],
) {
    let last = cols.end - 1;
    for (col, d2) in cols.step_by(R).zip(d2.chunks_exact_mut(R)) {
        let others = from_fn::<_, R, _>(|c| y.row((col + c).min(last)));
        d2.copy_from_slice(&squared_distances(s, x.row(row), others));
    }
}
