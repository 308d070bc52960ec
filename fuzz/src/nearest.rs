//! A case of a search: the nearest rows of another set, or of the same one, and the hardest pairs.

use arbitrary::Arbitrary;
use drlim::pairs::{Neighbours, hardest, nearest, nearest_others, neighbour_graph};
use drlim::{Cx, Isa, Mat, Par, Real, metrics};

use crate::goal::Kinds;
use crate::oracle::Squared;
use crate::points::Points;
use crate::{Placed, batch_rows, check_same_elements};

/// One search, the bytes of which the fuzzer chooses.
#[derive(Arbitrary, Debug)]
pub struct NearestCase {
    /// See `batch_rows`.
    rows: u32,
    cols: u8,
    k: Count,
    points: Points,
    search: Search,
    /// Elements in front of the matrices, and between their rows.
    offsets: [u8; 2],
    gaps: [u8; 2],
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Count {
    Few(u8),
    Any(usize),
}

#[derive(Arbitrary, Debug)]
enum Search {
    /// Of 256, how many rows are queries.
    Against(u8),
    Others,
    Hardest(Kinds),
}

/// A search and what is right of it.
struct Wanted<'a, T> {
    /// Queries, and the rows that are looked at.
    sets: [Mat<'a, T>; 2],
    farthest: bool,
    /// Whether row j is looked at for query i.
    looked_at: &'a dyn Fn(usize, usize) -> bool,
}

impl NearestCase {
    /// Runs the case for one element type.
    ///
    /// # Panics
    /// Where a result is not what it should be.
    pub(crate) fn check_type<T: Real>(&self) {
        let cols = usize::from(self.cols);
        let rows = batch_rows(self.rows, cols);
        let n = match self.search {
            Search::Against(queries) => rows * usize::from(queries) / 256,
            _ => rows,
        };
        let mut sets =
            [n, rows - n].map(|rows| [rows, cols]).into_iter().enumerate().map(|(at, shape)| {
                Placed::<T>::new(shape, self.offsets[at], self.gaps[at], f64::NAN)
            });
        let [mut set, mut others] = [sets.next().unwrap(), sets.next().unwrap()];
        self.points.fill(&mut set, 0);
        self.points.fill(&mut others, n);
        let (set, others) = (set.mat(), others.mat());
        let k = match self.k {
            Count::Few(k) => usize::from(k),
            Count::Any(k) => k,
        };
        let calls = || {
            Isa::available().flat_map(|isa| [Par::Serial, Par::Rayon].map(|par| Cx { isa, par }))
        };
        match &self.search {
            Search::Against(_) => {
                let of = |cx: Cx| nearest(&cx, set, others, k).ok();
                let wanted =
                    Wanted { sets: [set, others], farthest: false, looked_at: &|_, _| true };
                wanted.check(k, others.rows(), calls().map(|cx| (cx, of(cx))));
            }
            Search::Others => {
                let of = |cx: Cx| nearest_others(&cx, set, k).ok();
                let wanted = Wanted { sets: [set; 2], farthest: false, looked_at: &|i, j| i != j };
                wanted.check(k, n.saturating_sub(1), calls().map(|cx| (cx, of(cx))));
                calls().for_each(|cx| check_what_follows(cx, set, k));
            }
            Search::Hardest(kinds) => {
                let known = kinds.of(n);
                let of = |cx: Cx| hardest(&cx, set, known.similar(), k).ok();
                let (mut similar, mut dissimilar) = (Vec::new(), Vec::new());
                for cx in calls() {
                    let (one, other) =
                        of(cx).map(|found| (found.similar, found.dissimilar)).unzip();
                    similar.push((cx, one));
                    dissimilar.push((cx, other));
                }
                for (farthest, found) in [(true, similar), (false, dissimilar)] {
                    let looked_at =
                        &|i: usize, j: usize| i != j && known.kind(i, j) == Some(farthest);
                    let wanted = Wanted { sets: [set; 2], farthest, looked_at };
                    wanted.check(k, n.saturating_sub(1), found.into_iter());
                }
            }
        }
    }
}

impl<T: Real> Wanted<'_, T> {
    fn check(
        &self,
        k: usize,
        most: usize,
        found: impl Iterator<Item = (Cx, Option<Neighbours<T>>)>,
    ) {
        let mut by_tier: Vec<(Isa, Neighbours<T>)> = Vec::new();
        for (Cx { isa, .. }, found) in found {
            assert_eq!(found.is_some(), (1..=most).contains(&k), "{k} of {most}");
            let Some(found) = found else { continue };
            match by_tier.last() {
                Some((same, before)) if *same == isa => {
                    assert!(before.indices() == found.indices(), "{isa}: threads");
                    let distances = [before.distances(), found.distances()];
                    check_same_elements(distances[0], distances[1], isa, "distances");
                }
                _ => {
                    assert_eq!((found.rows(), found.k()), (self.sets[0].rows(), k));
                    by_tier.push((isa, found));
                }
            }
        }
        let [queries, rows] = self.sets;
        for i in 0..if by_tier.is_empty() { 0 } else { queries.rows() } {
            let measure = |j: usize| {
                (self.looked_at)(i, j).then(|| Squared::new(queries.row(i), rows.row(j)))
            };
            let measured: Vec<_> = (0..rows.rows()).map(measure).collect();
            for (isa, found) in &by_tier {
                self.check_row(i, &measured, found.row(i), k, *isa);
            }
        }
    }

    /// What is listed is measured right, in order, and nothing that is left out should be there.
    fn check_row(
        &self,
        i: usize,
        measured: &[Option<Squared>],
        (indices, distances): (&[u32], &[T]),
        k: usize,
        isa: Isa,
    ) {
        let rows = self.sets[1];
        let looked_at = measured.iter().flatten().count();
        assert_eq!(indices.len(), k.min(looked_at), "{isa}: query {i}");
        let mut listed = vec![false; rows.rows()];
        for (&j, d) in indices.iter().zip(distances) {
            let j = j as usize;
            let Some(squared) = measured[j].as_ref().filter(|_| !listed[j]) else {
                panic!("{isa}: {j} of query {i}")
            };
            listed[j] = true;
            squared.distance::<T>().check::<T>(d.to_f64(), isa, "distance", j);
        }
        let farthest = self.farthest;
        let in_order = |x: T, y: T| match farthest {
            true => x >= y || y.is_nan(),
            false => x <= y || y.is_nan(),
        };
        for (pair, of) in distances.windows(2).zip(indices.windows(2)) {
            assert!(in_order(pair[0], pair[1]), "{isa}: {pair:?} of query {i}");
            let [x, y] = [of[0], of[1]].map(|j| j as usize);
            assert!(x < y || rows.row(x) != rows.row(y), "{isa}: {x}, {y} of query {i}");
        }
        let Some(&last) = indices.last() else { return };
        let last = last as usize;
        let Some(worst) = &measured[last] else { return };
        let others = measured.iter().enumerate().filter(|&(j, _)| !listed[j]);
        for (j, other) in others.filter_map(|(j, other)| Some((j, other.as_ref()?))) {
            let better = match farthest {
                _ if worst.doubtful || other.doubtful => false,
                _ if worst.d2.is_nan() => !other.d2.is_nan(),
                true => other.nearby[0] > worst.nearby[1],
                false => other.nearby[1] < worst.nearby[0],
            };
            let before = j < last && rows.row(j) == rows.row(last);
            assert!(!better && !before, "{isa}: {j} is missing for query {i}, {last} is there");
        }
    }
}

/// The graph of neighbours, and the error of a classifier, are those of the lists.
fn check_what_follows<T: Real>(cx: Cx, set: Mat<T>, k: usize) {
    let found = nearest_others(&cx, set, k).ok();
    let graph = neighbour_graph(&cx, set, k);
    let numbers = found.as_ref().filter(|found| !found.distances().iter().any(|d| d.is_nan()));
    assert_eq!(graph.is_ok(), numbers.is_some(), "{graph:?}");
    if let (Ok(graph), Some(found)) = (&graph, numbers) {
        assert!(found.pairs().all(|(i, j)| graph.contains(i as usize, j as usize)));
        let mut pairs: Vec<_> = found.pairs().map(|(i, j)| (i.min(j), i.max(j))).collect();
        pairs.sort_unstable();
        pairs.dedup();
        assert!(graph.pairs().eq(pairs), "{}", cx.isa);
    }
    let labels: Vec<i64> = (0..set.rows() as i64).map(|i| i * i % 3).collect();
    let error = metrics::knn_error_leave_one_out(&cx, set, &labels, k);
    assert_eq!(error.is_ok(), found.is_some());
    if let (Ok(error), Some(found)) = (error, &found) {
        let wrong = (0..found.rows()).filter(|&i| {
            let votes = |label: i64| {
                let of = found.row(i).0.iter().filter(|&&j| labels[j as usize] == label);
                of.count()
            };
            let most = (0..3).map(votes).max();
            let mut chosen = found.row(i).0.iter().map(|&j| labels[j as usize]);
            chosen.find(|&label| Some(votes(label)) == most) != Some(labels[i])
        });
        assert_eq!(error, wrong.count() as f64 / found.rows() as f64, "{}", cx.isa);
    }
}
