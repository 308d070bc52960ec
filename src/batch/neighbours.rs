//! Searches for the nearest or farthest rows of each row, cut into blocks.

#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::Mutex;

use super::blocking::{block_rows, rows_of_a_task, serial_if_small};
use super::pairwise::blocks::lock;
use super::pairwise::packed_rows::{PackedRows, SOME_ROWS, center};
use super::pairwise::tournament::rounds;
use crate::error::{Error, Result};
use crate::kernel::blocking::PANEL_COLS;
use crate::kernel::neighbours::by_differences::{Best, Nearest};
use crate::kernel::neighbours::by_tiles::{SearchBlock, Wanted};
use crate::kernel::neighbours::shortlist::{LongLists, LongSearch, MOST_QUERIES, places};
use crate::kernel::neighbours::top_k::{Lists, NONE};
use crate::kernel::pairwise::similarity::{Classes, Similarity};
use crate::memory::mat::Mat;
use crate::memory::reserve::try_filled;
use crate::parallel::cx::Cx;
use crate::parallel::split::{Chunks, for_blocks, rows_of_block, run_in_order};
use crate::simd::real::{Real, compiled};
use crate::similar::graph::Similar;

/// The rows found for each query, best first, and their Euclidean distances: both queries x `k`, [`NONE`] and
/// NaN where there are fewer than `k`.
pub(crate) struct Found<T> {
    pub indices: Vec<u32>,
    pub distances: Vec<T>,
}

impl<T: Real> Found<T> {
    /// Empty lists.
    fn new(queries: usize, k: usize) -> Result<Self> {
        let overflow = Error::Overflow { what: "a list of neighbours" };
        let len = queries.checked_mul(k).ok_or(overflow.clone())?;
        let (mut indices, mut distances) = (Vec::new(), Vec::new());
        indices.try_reserve_exact(len).map_err(|_| overflow.clone())?;
        distances.try_reserve_exact(len).map_err(|_| overflow)?;
        indices.resize(len, NONE);
        distances.resize(len, T::from_f64(f64::NAN));
        Ok(Found { indices, distances })
    }

    /// The lists of rows without elements: these are all equal, so each row gets the first `k` others. There
    /// may be too many of them to compare in memory.
    fn among_equal(mut self, k: usize) -> Self {
        for (i, list) in self.indices.chunks_exact_mut(k).enumerate() {
            let others = (0..).filter(|&j| j as usize != i);
            list.iter_mut().zip(others).for_each(|(index, other)| *index = other);
        }
        self.distances.fill(T::ZERO);
        self
    }

    /// Turns keys into distances: the roots of their magnitudes.
    fn finish(mut self) -> Self {
        self.distances.iter_mut().for_each(|key| *key = key.abs().sqrt());
        self
    }
}

/// Lists of this many rows or more are not kept sorted. Measured on one thread with AVX-512, unsorted and
/// sorted lists: for 20000 x 64, the 20 nearest others take 0.72 s either way, 50 take 0.81 and 1.27 s, 1000
/// take 2.8 and 17.7 s; for 6000 x 784, 20 take 0.54 and 0.49 s, 50 take 0.59 and 0.67 s; for 8000 x 64 in
/// two clusters that products cannot resolve, 40 take 0.52 and 0.47 s (0.15 s unsorted, where rows are
/// spread).
const LONG: usize = 32;

/// From this many queries on it pays to copy the references for products.
const MANY: usize = 48;

/// Queries of a task where there are fewer: so few that several threads get some.
const AT_ONCE: usize = MOST_QUERIES;

/// Memory for long lists: a part for each task that runs at the same time.
struct Room<T: Real> {
    room: Vec<T::Ranked>,
    /// Rows of a task.
    height: usize,
    /// Entries for each row.
    places: usize,
}

impl<T: Real> Room<T> {
    /// Memory for lists of the best `k` of `candidates` rows for each of `rows` rows; none where lists are so
    /// short that they are kept sorted.
    fn new(cx: &Cx, rows: usize, k: usize, candidates: usize, few: bool) -> Result<Option<Self>> {
        /// Bytes of a part, so that it stays in L2, unless the rows of one panel take more.
        const BYTES: usize = 1 << 20;
        if k < LONG {
            return Ok(None);
        }
        let places = places(k, candidates);
        let of_row = places.saturating_mul(size_of::<T::Ranked>());
        let height = match few {
            true => AT_ONCE,
            false => (BYTES / of_row / PANEL_COLS * PANEL_COLS).clamp(PANEL_COLS, block_rows(rows)),
        };
        let parts = rows.div_ceil(height).min(cx.par.threads());
        let overflow = Error::Overflow { what: "a list of neighbours" };
        let len = places.checked_mul(height * parts).ok_or(overflow)?;
        let room = try_filled("a list of neighbours", len, T::Ranked::default())?;
        Ok(Some(Room { room, height, places }))
    }

    /// Runs `f` for each task with its rows, its lists and a part of the memory.
    fn for_tasks(
        &mut self,
        cx: &Cx,
        rows: usize,
        k: usize,
        found: &mut Found<T>,
        f: impl Fn(Range<usize>, Lists<T>, &mut [T::Ranked]) + Sync,
    ) {
        let (height, places) = (self.height, self.places);
        let parts = Mutex::new(self.room.chunks_mut(height * places).collect::<Vec<_>>());
        let of_task = height * k;
        let output = (Chunks(&mut found.indices, of_task), Chunks(&mut found.distances, of_task));
        for_blocks(cx.par, rows.div_ceil(height), output, |task, (indices, keys)| {
            let some = rows_of_block(task, height, rows);
            let part = lock(&parts).pop().expect("a part for each thread");
            f(some.clone(), Lists { k, indices, keys }, &mut part[..some.len() * places]);
            lock(&parts).push(part);
        });
    }
}

/// The `k` nearest references of each query.
#[inline(never)]
pub(crate) fn against<T: Real>(
    cx: &Cx,
    queries: Mat<T>,
    references: Mat<T>,
    k: usize,
) -> Result<Found<T>> {
    let (n, m, d) = (queries.rows(), references.rows(), queries.cols());
    let cx = &serial_if_small(cx, n.saturating_mul(m), d);
    let mut found = Found::new(n, k)?;
    // Rows without elements take none of the caller's memory, but a copy would take some for each.
    let few = n < MANY || d == 0;
    let room = Room::new(cx, n, k, m, few)?;
    search_against(Against { cx, queries, references, k, few, room, found: &mut found });
    Ok(found.finish())
}
compiled!(against::<T>);

/// A search whose arguments have been checked.
struct Against<'a, T: Real> {
    cx: &'a Cx,
    queries: Mat<'a, T>,
    references: Mat<'a, T>,
    k: usize,
    /// Whether queries are so few that the references are not copied for products.
    few: bool,
    room: Option<Room<T>>,
    found: &'a mut Found<T>,
}

fn search_against<T: Real>(call: Against<T>) {
    let Against { cx, queries, references, k, few, room, found } = call;
    let (n, m) = (queries.rows(), references.rows());
    if few && let Some(mut room) = room {
        room.for_tasks(cx, n, k, found, |rows, lists, room| {
            let queries = queries.rows_range(rows.start, rows.end);
            let best = Best::Long(LongLists::new(lists, room));
            T::dispatch(cx.isa, Nearest { queries, references, best });
        });
        return;
    }
    let height = if few { AT_ONCE } else { block_rows(n) };
    let output = (Chunks(&mut found.indices, height * k), Chunks(&mut found.distances, height * k));
    let rows = |block: usize| rows_of_block(block, height, n);
    if few {
        for_blocks(cx.par, n.div_ceil(height), output, |block, (indices, keys)| {
            let queries = queries.rows_range(rows(block).start, rows(block).end);
            let best = Best::Sorted(Lists { k, indices, keys });
            T::dispatch(cx.isa, Nearest { queries, references, best });
        });
        return;
    }
    let mut sets = [PackedRows::default(), PackedRows::default()];
    let both = [queries, references];
    sets.iter_mut().zip(both).for_each(|(set, z)| set.keep_order(z.rows()));
    let mean = center(cx, [(&sets[0], queries), (&sets[1], references)], SOME_ROWS);
    sets.iter_mut().zip(both).for_each(|(set, z)| set.prepare_distances(cx, z, &mean));
    let sides = [sets[0].side(queries).points, sets[1].side(references).points];
    let wanted = Wanted { farthest: false, kind: None };
    if let Some(mut room) = room {
        room.for_tasks(cx, n, k, found, |i, lists, room| {
            T::dispatch(cx.isa, LongSearch { sides, i, among: false, lists, wanted, room });
        });
        return;
    }
    for_blocks(cx.par, n.div_ceil(height), output, |block, (indices, keys)| {
        let lists = [Some(Lists { k, indices, keys }), None];
        let (i, j) = (rows(block), 0..m);
        T::dispatch(cx.isa, SearchBlock { sides, i, j, among: false, lists, wanted });
    });
}

/// The `k` nearest other rows of each row. With `kind` (similar, true) the `k` farthest similar rows, with
/// (similar, false) the `k` nearest dissimilar ones.
#[inline(never)]
pub(crate) fn among<T: Real>(
    cx: &Cx,
    z: Mat<T>,
    k: usize,
    kind: Option<(Similar, bool)>,
) -> Result<Found<T>> {
    let mut found = Found::new(z.rows(), k)?;
    if z.cols() == 0 && kind.is_none() {
        return Ok(found.among_equal(k));
    }
    let [n, d] = z.shape();
    let cx = &serial_if_small(cx, n.saturating_mul(n), d);
    let room = Room::new(cx, n, k, n, false)?;
    let order = search_among(Among { cx, z, k, kind, room, found: &mut found });
    if order.is_empty() {
        return Ok(found.finish());
    }
    // The lists are in the order of places.
    let mut by_row = Found::new(z.rows(), k)?;
    for (place, &row) in order.iter().enumerate() {
        let (to, from) = (row as usize * k, place * k);
        by_row.indices[to..to + k].copy_from_slice(&found.indices[from..from + k]);
        by_row.distances[to..to + k].copy_from_slice(&found.distances[from..from + k]);
    }
    Ok(by_row.finish())
}
compiled!(among::<T>);

/// A search whose arguments have been checked.
struct Among<'a, T: Real> {
    cx: &'a Cx,
    z: Mat<'a, T>,
    k: usize,
    kind: Option<(Similar<'a>, bool)>,
    room: Option<Room<T>>,
    found: &'a mut Found<T>,
}

/// Writes the lists in the order of places. Returns the row at each place, or nothing where every row is at
/// its own.
fn search_among<T: Real>(Among { cx, z, k, kind, room, found }: Among<T>) -> Vec<u32> {
    let n = z.rows();
    let mut set = PackedRows::default();
    match kind {
        Some((similar, _)) => {
            set.order_of(&similar);
        }
        None => set.keep_order(n),
    }
    let mean = center(cx, [(&set, z)], SOME_ROWS);
    set.prepare_distances(cx, z, &mean);
    let classes = Classes { of: [&set.classes; 2], spheres: None, pulled: &[], own: None };
    let kind = kind.map(|(of, similar)| match of {
        Similar::Graph(graph) => (Similarity::Graph { graph, first: [0; 2] }, similar),
        _ => (Similarity::Classes(classes), similar),
    });
    let wanted = Wanted { farthest: kind.is_some_and(|(_, similar)| similar), kind };
    let sides = [set.side(z).points; 2];
    if let Some(mut room) = room {
        room.for_tasks(cx, n, k, found, |i, lists, room| {
            T::dispatch(cx.isa, LongSearch { sides, i, among: true, lists, wanted, room });
        });
        return if set.classes.is_empty() { Vec::new() } else { set.order };
    }
    let height = rows_of_a_task(n);
    let tasks = n.div_ceil(height);
    let pairs: Vec<[usize; 2]> = rounds(true, [tasks; 2]).flatten().map(|(i, j)| [i, j]).collect();
    let lists = found.indices.chunks_mut(height * k).zip(found.distances.chunks_mut(height * k));
    let lists: Vec<_> =
        lists.map(|(indices, keys)| Mutex::new(Lists { k, indices, keys })).collect();
    run_in_order(cx.par, &pairs, |task| {
        let [i, j] = pairs[task];
        // This never waits: blocks take turns.
        let mut first = lock(&lists[i]);
        let mut second = (i != j).then(|| lock(&lists[j]));
        // Each block of one side with each block of the other.
        let starts = [i * height, j * height];
        let block = block_rows(n);
        let blocks = |start: usize| {
            let end = (start + height).min(n);
            (start..end).step_by(block).map(move |from| from..(from + block).min(end))
        };
        for (i, j) in blocks(starts[1]).flat_map(|j| blocks(starts[0]).map(move |i| (i, j.clone())))
        {
            let of = |rows: &Range<usize>, start: usize| rows.start - start..rows.end - start;
            let (own, other) = (of(&i, starts[0]), of(&j, starts[1]));
            let lists = match &mut second {
                Some(second) => [Some(first.some(own)), Some(second.some(other))],
                None if i == j => [Some(first.some(own)), None],
                None if i.start > j.start => continue,
                None => {
                    let [before, after] = first.split(other.start);
                    let (own, other) = (before.into_some(own), after.into_some(0..other.len()));
                    [Some(own), Some(other)]
                }
            };
            let among = i == j;
            T::dispatch(cx.isa, SearchBlock { sides, i, j, among, lists, wanted });
        }
    });
    if set.classes.is_empty() { Vec::new() } else { set.order }
}
