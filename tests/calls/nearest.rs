//! Searches by products are exact: `nearest`, `nearest_others` and `hardest` against brute force, on
//! both sides of the number of queries from which on products are taken, in blocks of all sizes, and
//! where products cannot tell rows apart.
//!
//! (What neighbours are for, graphs and samplers, is in `pairs.rs`.)

#![forbid(unsafe_code)]

use crate::support::element::{bits, wide};
use crate::support::oracle::squared_distance;
use crate::support::{Element, Random, serial, tiers};
use drlim::pairs::{self, Neighbours};
use drlim::{Cx, Error, Graph, Mat, Par, Similar};
use proptest::prelude::*;

/// A set of rows.
struct Rows<T> {
    z: Vec<T>,
    shape: [usize; 2],
}

impl<T: Element> Rows<T> {
    fn new(shape: [usize; 2], mut value: impl FnMut(usize, usize) -> f64) -> Self {
        let value = |at| T::from_f64(value(at / shape[1], at % shape[1]));
        Rows { z: (0..shape[0] * shape[1]).map(value).collect(), shape }
    }

    /// Sums of squares of their differences are exact, and many distances are equal.
    fn small_integers(shape: [usize; 2], seed: u64) -> Self {
        let mut random = Random::new(seed);
        Rows::new(shape, |_, _| (5.0 * random.unit()).floor() - 2.0)
    }

    fn view(&self) -> Mat<'_, T> {
        Mat::new(&self.z, self.shape[0], self.shape[1]).unwrap()
    }

    fn wide(&self) -> Vec<Vec<f64>> {
        self.view().iter().map(wide).collect()
    }
}

/// The squared distances of a query from some rows, best first: nearest, or farthest; equal ones by
/// index, NaN last.
fn ranked(
    query: &[f64],
    rows: &[Vec<f64>],
    farthest: bool,
    wanted: impl Fn(usize) -> bool,
) -> Vec<(f64, u32)> {
    let mut list: Vec<(f64, u32)> = (0..rows.len())
        .filter(|&j| wanted(j))
        .map(|j| (squared_distance(query, &rows[j]), j as u32))
        .collect();
    list.sort_by(|a, b| {
        let by_distance = if farthest { b.0.total_cmp(&a.0) } else { a.0.total_cmp(&b.0) };
        a.0.is_nan()
            .cmp(&b.0.is_nan())
            .then(if a.0.is_nan() { a.1.cmp(&b.1) } else { by_distance })
            .then(a.1.cmp(&b.1))
    });
    list
}

/// What a list of one query must be.
struct Check<'a> {
    expected: &'a [(f64, u32)],
    /// What a squared distance may be off by, relative to itself; 0 where they are exact.
    error: f64,
}

impl Check<'_> {
    fn check<T: Element>(&self, (indices, distances): (&[u32], &[T]), k: usize, case: &str) {
        let expected = &self.expected[..k.min(self.expected.len())];
        assert_eq!(indices.len(), expected.len(), "{case}");
        let of_index = |index: u32| {
            let found = self.expected.iter().find(|(_, j)| *j == index);
            found.unwrap_or_else(|| panic!("{case}: {index} is no candidate")).0
        };
        let mut seen = indices.to_vec();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), indices.len(), "{case}: a row twice");
        for (rank, (&(d2, j), (&index, &distance))) in
            expected.iter().zip(indices.iter().zip(distances)).enumerate()
        {
            let got = of_index(index);
            // In place of a row another one may stand whose distance cannot be told from its own.
            let near = |a: f64, b: f64| {
                a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= self.error * a.max(b)
            };
            let right = if self.error == 0.0 { index == j } else { near(got, d2) };
            assert!(right, "{case}: rank {rank} is {index}, {got:e}, and not {j}, {d2:e}");
            // Squares beyond the type's range are infinite.
            let exact = T::from_f64(got).to_f64().sqrt();
            let got = distance.to_f64();
            let off = self.error * exact + 2.0 * T::EPSILON.to_f64() * exact;
            let right =
                got == exact || got.is_nan() && exact.is_nan() || (got - exact).abs() <= off;
            assert!(right, "{case}: rank {rank} is at {got:e} and not {exact:e}");
        }
    }
}

/// How far squared distances by differences may be off.
fn error<T: Element>(d: usize) -> f64 {
    2.0 * (d as f64 + 4.0) * T::EPSILON.to_f64()
}

fn check_nearest<T: Element>(queries: &Rows<T>, references: &Rows<T>, k: usize, error: f64) {
    let (from, to) = (queries.wide(), references.wide());
    let expected: Vec<_> = from.iter().map(|query| ranked(query, &to, false, |_| true)).collect();
    for isa in tiers() {
        let found = pairs::nearest(&serial(isa), queries.view(), references.view(), k).unwrap();
        for (i, expected) in expected.iter().enumerate() {
            let [m, d] = references.shape;
            let case = format!("query {i} of {} among {m} x{d}, k {k}, {isa}", queries.shape[0]);
            Check { expected, error }.check(found.row(i), k, &case);
        }
    }
}

fn check_others<T: Element>(set: &Rows<T>, k: usize, error: f64) {
    let rows = set.wide();
    let expected: Vec<_> =
        (0..rows.len()).map(|i| ranked(&rows[i], &rows, false, |j| j != i)).collect();
    for isa in tiers() {
        let found = pairs::nearest_others(&serial(isa), set.view(), k).unwrap();
        for (i, expected) in expected.iter().enumerate() {
            let case = format!("row {i} of {:?}, k {k}, {} on {isa}", set.shape, T::NAME);
            Check { expected, error }.check(found.row(i), k, &case);
        }
    }
}

fn exact_in_order<T: Element>() {
    // On both sides of the 48 queries from which on products are taken, and of blocks.
    for (n, m) in [(47, 40), (48, 1), (49, 33), (130, 300), (300, 130)] {
        for d in [1, 2, 17, 130] {
            let mut queries = Rows::<T>::small_integers([n, d], 1);
            let mut references = Rows::<T>::small_integers([m, d], 2);
            for k in [1, 5, m] {
                check_nearest(&queries, &references, k.min(m), 0.0);
            }
            queries.z[3 * d] = T::NAN;
            references.z[m / 2 * d] = T::NAN;
            references.z[m / 3 * d + d - 1] = T::INFINITY;
            for k in [2, m] {
                check_nearest(&queries, &references, k.min(m), 0.0);
            }
        }
    }
    for (n, d) in [(2, 3), (33, 1), (47, 9), (64, 2), (65, 130), (257, 17), (1100, 4)] {
        let mut set = Rows::<T>::small_integers([n, d], 3);
        for k in [1, 7, n - 1].into_iter().filter(|&k| k < n && (k < 8 || n < 300)) {
            check_others(&set, k, 0.0);
        }
        set.z[n / 2 * d] = T::NAN;
        set.z[n / 3 * d] = -T::INFINITY;
        check_others(&set, 1.max(n / 50), 0.0);
        if n < 300 {
            check_others(&set, n - 1, 0.0);
        }
    }
}

#[test]
fn neighbours_are_those_of_brute_force_in_its_order() {
    exact_in_order::<f32>();
    exact_in_order::<f64>();
}

/// Lists of so many rows that they are not kept sorted, at the edges of what their rooms hold.
fn long_lists<T: Element>() {
    for (n, m, d) in [(3, 2500, 2), (49, 1300, 3), (130, 700, 20), (200, 400, 150)] {
        let mut queries = Rows::<T>::small_integers([n, d], 9);
        let mut references = Rows::<T>::small_integers([m, d], 10);
        for special in [false, true] {
            for k in [31, 32, 33, 100, m / 2, m - 33, m - 1, m] {
                check_nearest(&queries, &references, k, 0.0);
            }
            queries.z[d] = T::NAN;
            for at in (0..m * d).step_by(m * d / 7) {
                references.z[at] = if at % 2 == 0 { T::NAN } else { T::INFINITY };
            }
            // All are equal but for one row in ten.
            if special {
                let value = |i: usize, _| if i.is_multiple_of(10) { i as f64 } else { 1.0 };
                references = Rows::new([m, d], value);
                for k in [40, m / 3, m - 1] {
                    check_nearest(&queries, &references, k, 0.0);
                }
            }
        }
    }
    for (n, d) in [(34, 2), (257, 3), (600, 40)] {
        let mut set = Rows::<T>::small_integers([n, d], 11);
        for _ in 0..2 {
            for k in [32, 33, 90, n / 2, n - 2, n - 1].into_iter().filter(|&k| k < n) {
                check_others(&set, k, 0.0);
            }
            set.z[n / 2 * d] = T::NAN;
            set.z[n / 3 * d] = T::INFINITY;
        }
        check_others(&Rows::<T>::new([n, d], |_, _| 0.5), n / 2, 0.0);
        check_others(&Rows::<T>::new([n, d], |_, _| f64::NAN), n / 2, 0.0);
        // The nearest come last, and first.
        check_others(&Rows::<T>::new([n, d], |i, _| 1.5_f64.powi(-(i as i32) / 8)), 32, 1e-4);
        check_others(&Rows::<T>::new([n, d], |i, _| ((i * i) as f64).min(2e3)), n / 2, 1e-4);
    }
    for (n, d) in [(130, 3), (300, 17)] {
        let set = Rows::<T>::small_integers([n, d], 12);
        let labels: Vec<i64> = (0..n as i64).map(|i| (i * i) % 3).collect();
        let edges: Vec<(u32, u32)> =
            (1..n as u32).flat_map(|i| (1..4).map(move |j| (i / (j + 1), i))).collect();
        let graph = Graph::from_pairs(n, &edges).unwrap();
        for similar in [
            Similar::Labels(&labels),
            Similar::LabelsIgnoring { labels: &labels, ignored: 1 },
            Similar::Graph(&graph),
        ] {
            for k in [32, 60, n - 1] {
                check_hardest(&set, similar, k, 0.0);
            }
        }
    }
}

#[test]
fn long_lists_are_those_of_brute_force() {
    long_lists::<f32>();
    long_lists::<f64>();
}

/// A row whose norm is far beyond all others, rows farther apart than a number can say, and clusters.
fn long_lists_of_awkward_rows<T: Element>() {
    let (n, d, k) = (400, 12, 50);
    let mut random = Random::new(13);
    let far = T::MAX.to_f64().sqrt();
    for stranger in [1e5, 1e15, far, -2.0 * far, T::MAX.to_f64()] {
        let value = |i, k| if (i % 97, k) == (5, 0) { stranger } else { 0.0 };
        let set = Rows::<T>::new([n, d], |i, k| value(i, k) + random.unit());
        check_others(&set, k, error::<T>(d));
        check_nearest(&set, &set, 380, error::<T>(d));
    }
    for (spread, origin) in [(1e-1, 0.0), (1e-4, 1e4), (1e-6, 0.0)] {
        let set = Rows::<T>::new([n, d], |i, k| {
            origin + ((i % 7 * 31 + k * 17) % 13) as f64 + spread * (random.unit() - 0.5)
        });
        check_others(&set, k, error::<T>(d));
        check_nearest(&set, &set, k, error::<T>(d));
        let labels: Vec<i64> = (0..n as i64).map(|i| i % 7).collect();
        check_hardest(&set, Similar::Labels(&labels), k, error::<T>(d));
    }
}

#[test]
fn long_lists_are_exact_where_products_of_rows_are_not() {
    long_lists_of_awkward_rows::<f32>();
    long_lists_of_awkward_rows::<f64>();
}

/// Far more equal rows than a list holds, so that it is full of rows at one distance before all are seen; by
/// class they come in another order than that of their numbers.
fn long_lists_of_equal_rows<T: Element>() {
    let (n, d, k) = (500, 37, 40);
    let labels: Vec<i64> = (0..n as i64).map(|i| 2 - i % 3).collect();
    for points in [1, 2, 3, 7] {
        let mut set = Rows::<T>::new([n, d], |i, c| ((i * i % points * 31 + c * 17) % 13) as f64);
        for _ in 0..2 {
            check_others(&set, k, 0.0);
            check_nearest(&set, &set, k, 0.0);
            check_hardest(&set, Similar::Labels(&labels), k, 0.0);
            set.z[0] = T::NAN;
            set.z[n / 3 * d] = T::from_f64(1e3);
        }
    }
}

#[test]
fn long_lists_of_equal_rows_hold_the_lowest_numbers() {
    long_lists_of_equal_rows::<f32>();
    long_lists_of_equal_rows::<f64>();
}

/// Rows that products cannot tell apart, or are no help with.
fn exact_where_products_fail<T: Element>() {
    let (n, k) = (150, 6);
    for d in [1, 5, 128, 300] {
        let mut random = Random::new(4);
        for spread in [1e-1, 1e-3, 1e-6] {
            for origin in [0.0, 1e4] {
                let set = Rows::<T>::new([n, d], |i, k| {
                    let center = ((i / 10 * 31 + k * 17) % 13) as f64;
                    origin + center + spread * (random.unit() - 0.5)
                });
                check_others(&set, k, error::<T>(d));
                check_nearest(&set, &set, k, error::<T>(d));
            }
        }
        for scale in [1e-18, 1e18] {
            let set = Rows::<T>::new([n, d], |_, _| scale * (random.unit() + 0.5));
            check_others(&set, k, error::<T>(d).max(1e-5));
        }
        for stranger in [1e5, 1e15, 1e30] {
            let value = |i, k| if (i, k) == (77, 0) { stranger } else { 0.0 };
            let set = Rows::<T>::new([n, d], |i, k| value(i, k) + random.unit());
            check_others(&set, k, error::<T>(d));
            check_nearest(&set, &set, n, error::<T>(d));
        }
    }
    // pytorch#42479: integers whose squares are rounded by more than they differ, in shuffled order.
    let far = |n: usize, step: usize| {
        Rows::<T>::new([n, 3], |i, k| 512695.0 + (i * step % n * (k + 1)) as f64)
    };
    check_others(&far(150, 37), 9, 0.0);
    check_nearest(&far(60, 7), &far(150, 37), 9, 0.0);
    let collapsed = Rows::<T>::new([n, 20], |_, _| 0.1);
    check_others(&collapsed, n - 1, 0.0);
    check_nearest(&collapsed, &collapsed, n, 0.0);
}

#[test]
fn neighbours_are_exact_where_products_of_rows_are_not() {
    exact_where_products_fail::<f32>();
    exact_where_products_fail::<f64>();
}

fn check_hardest<T: Element>(set: &Rows<T>, similar: Similar, k: usize, error: f64) {
    let rows = set.wide();
    let of = |kind: bool, i: usize| {
        let wanted = |j: usize| i != j && similar.of(i, j) == Some(kind);
        ranked(&rows[i], &rows, kind, wanted)
    };
    let expected: Vec<_> = (0..rows.len()).map(|i| [of(true, i), of(false, i)]).collect();
    for isa in tiers() {
        let found = pairs::hardest(&serial(isa), set.view(), similar, k).unwrap();
        for (i, [similar, dissimilar]) in expected.iter().enumerate() {
            let case = format!("row {i} of {:?}, k {k}, {} on {isa}", set.shape, T::NAME);
            for (found, expected) in [(&found.similar, similar), (&found.dissimilar, dissimilar)] {
                let (indices, distances) = found.row(i);
                Check { expected, error }.check((indices, distances), k, &case);
                let rest = i * k + indices.len()..(i + 1) * k;
                assert!(found.indices()[rest.clone()].iter().all(|&j| j == u32::MAX), "{case}");
                assert!(found.distances()[rest].iter().all(|d| d.is_nan()), "{case}");
            }
        }
        let pairs: usize = expected.iter().map(|[similar, _]| similar.len().min(k)).sum();
        assert_eq!(found.similar.pairs().count(), pairs);
    }
}

fn hardest_is_exact<T: Element>() {
    for (n, d) in [(3, 2), (60, 1), (130, 17), (300, 5)] {
        let mut set = Rows::<T>::small_integers([n, d], 5);
        let mut random = Random::new(6);
        // Classes of one row and of many.
        let labels: Vec<i64> =
            (0..n).map(|_| (9.0 * random.unit() * random.unit()) as i64).collect();
        let own: Vec<i64> = (0..n as i64).collect();
        let one = vec![4; n];
        let edges: Vec<(u32, u32)> = (1..n as u32).map(|i| (i / 3, i)).collect();
        let graph = Graph::from_pairs(n, &edges).unwrap();
        for _ in 0..2 {
            for similar in [
                Similar::Labels(&labels),
                Similar::LabelsIgnoring { labels: &labels, ignored: 0 },
                Similar::Labels(&own),
                Similar::Labels(&one),
                Similar::Graph(&graph),
            ] {
                for k in [1, 2, 20].into_iter().filter(|&k| k < n) {
                    check_hardest(&set, similar, k, 0.0);
                }
            }
            set.z[n / 2 * d] = T::NAN;
            set.z[n / 3 * d] = T::INFINITY;
        }
        let mut random = Random::new(7);
        let clusters = Rows::<T>::new([n, d], |i, _| 1e3 + labels[i] as f64 + 1e-3 * random.unit());
        check_hardest(&clusters, Similar::Labels(&labels), 2, error::<T>(d));
    }
}

#[test]
fn hardest_pairs_are_those_of_brute_force() {
    hardest_is_exact::<f32>();
    hardest_is_exact::<f64>();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_search_is_that_of_brute_force(
        labels in prop::collection::vec(0_i64..4, 2..200),
        ignored in prop::option::of(0_i64..4),
        queries in 1_usize..100,
        d in 1_usize..20,
        k in any::<prop::sample::Index>(),
        special in prop::collection::vec(
            (
                any::<prop::sample::Index>(),
                prop::sample::select(vec![f32::NAN, f32::INFINITY, -f32::INFINITY, 0.5, 1e3]),
            ),
            0..4,
        ),
        seed: u64,
    ) {
        let n = labels.len();
        let mut set = Rows::<f32>::small_integers([n, d], seed);
        for (at, value) in special {
            set.z[at.index(n * d)] = value;
        }
        let k = 1 + k.index(n - 1);
        check_others(&set, k, 0.0);
        check_nearest(&Rows::small_integers([queries, d], !seed), &set, k, 0.0);
        let ignored = ignored.unwrap_or(i64::MAX);
        check_hardest(&set, Similar::LabelsIgnoring { labels: &labels, ignored }, k, 0.0);
    }
}

fn independent_of_threads<T: Element>() {
    let mut random = Random::new(8);
    let set = Rows::<T>::new([517, 17], |_, _| random.unit());
    let many = Rows::<T>::new([4000, 17], |_, _| random.unit());
    let labels: Vec<i64> = (0..517).map(|i| i % 23).collect();
    for isa in tiers() {
        let search = |cx: Cx| -> [Neighbours<T>; 9] {
            let set = set.view();
            let hardest = pairs::hardest(&cx, set, Similar::Labels(&labels), 3).unwrap();
            let many = many.view();
            let long = pairs::hardest(&cx, set, Similar::Labels(&labels), 40).unwrap();
            [
                pairs::nearest(&cx, many.rows_range(0, 40), many, 100).unwrap(),
                pairs::nearest(&cx, set.rows_range(0, 300), set, 100).unwrap(),
                pairs::nearest_others(&cx, set, 200).unwrap(),
                long.similar,
                long.dissimilar,
                pairs::nearest(&cx, set.rows_range(0, 300), set, 5).unwrap(),
                pairs::nearest_others(&cx, set, 5).unwrap(),
                hardest.similar,
                hardest.dissimilar,
            ]
        };
        let cx = Cx { isa, par: Par::Rayon };
        let expected = search(serial(isa));
        let pooled = [1, 2, 3, 7].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| search(cx))
        });
        for found in pooled.into_iter().chain([search(cx)]) {
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found.indices(), expected.indices(), "{isa}");
                assert_eq!(bits(found.distances()), bits(expected.distances()), "{isa}");
            }
        }
    }
}

#[test]
fn searches_do_not_depend_on_threads() {
    independent_of_threads::<f32>();
    independent_of_threads::<f64>();
}

#[test]
fn a_search_for_the_hardest_that_makes_no_sense_is_refused() {
    let cx = Cx::default();
    let data = [0.0_f32; 12];
    let set = Mat::new(&data, 4, 3).unwrap();
    let of = |labels: &[i64], k| pairs::hardest(&cx, set, Similar::Labels(labels), k);
    let error = of(&[1; 3], 1).unwrap_err();
    let message = "hardest: similar has 3 elements, expected 4 (the rows of set)";
    assert_eq!(error.to_string(), message);
    for k in [0, 4] {
        assert!(matches!(of(&[1; 4], k), Err(Error::Value { arg: "k", .. })));
    }
    assert!(of(&[1; 4], 3).is_ok());
    // Rows without elements are all at distance 0.
    let empty = Mat::<f32>::new(&[], 60, 0).unwrap();
    let found = pairs::nearest_others(&cx, empty, 2).unwrap();
    assert_eq!(found.row(1), ([0, 2].as_slice(), [0.0; 2].as_slice()));
    let found = pairs::nearest(&cx, empty, empty, 2).unwrap();
    assert_eq!(found.row(9), ([0, 1].as_slice(), [0.0; 2].as_slice()));
}

#[test]
fn lists_larger_than_memory_are_refused() {
    // Rows without elements cost the caller nothing.
    let many = Mat::new(&[0.0_f32; 0], 3_000_000, 0).unwrap();
    let refused = drlim::pairs::nearest_others(&Cx::default(), many, 2_999_999);
    assert!(matches!(refused, Err(drlim::Error::Overflow { .. })), "{refused:?}");
}

/// Lists that are kept sorted, and those that are not, are of one measure.
fn short_lists_begin_long_ones<T: Element>() {
    let mut rng = drlim::Rng::new(5);
    let z: Vec<T> = (0..300 * 100).map(|_| T::from_f64(rng.uniform())).collect();
    let z = Mat::new(&z, 300, 100).unwrap();
    for isa in tiers() {
        let cx = Cx { isa, par: Par::Serial };
        let [short, long] = [31, 33].map(|k| pairs::nearest_others(&cx, z, k).unwrap());
        for row in 0..300 {
            let ((indices, distances), (of_long, long)) = (short.row(row), long.row(row));
            assert_eq!(indices, &of_long[..31], "row {row} on {isa}");
            assert_eq!(distances, &long[..31], "row {row} on {isa}");
        }
    }
}

#[test]
fn short_lists_are_to_the_bit_what_long_ones_begin_with() {
    short_lists_begin_long_ones::<f32>();
    short_lists_begin_long_ones::<f64>();
}
