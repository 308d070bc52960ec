//! Promises of similar sets: exact neighbours with ties by index, symmetric graphs, and samplers
//! that offer every similar pair once and every dissimilar one equally often.

use std::collections::{BTreeMap, BTreeSet};

use drlim::pairs::{self, Neighbours, Sampler};
use drlim::{Cx, Error, Graph, Isa, Mat, Par, Real, Rng, Similar};
use proptest::prelude::*;

/// Serial calls on every tier of this processor.
fn contexts() -> impl Iterator<Item = Cx> {
    Isa::available().map(|isa| Cx { isa, par: Par::Serial })
}

/// Rows in memory that starts off alignment, with NaN between them that nobody may read.
struct Rows<T> {
    data: Vec<T>,
    shape: [usize; 2],
}

impl<T: Real> Rows<T> {
    const BEFORE: usize = 1;
    const GAP: usize = 3;

    fn new(rows: usize, cols: usize, mut element: impl FnMut(usize, usize) -> f64) -> Self {
        let stride = cols + Self::GAP;
        let mut data = vec![T::from_f64(f64::NAN); Self::BEFORE + rows * stride];
        for i in 0..rows {
            for c in 0..cols {
                data[Self::BEFORE + i * stride + c] = T::from_f64(element(i, c));
            }
        }
        Rows { data, shape: [rows, cols] }
    }

    /// Elements from -2 to 2: sums of their squares are exact, and many distances are equal.
    fn small_integers(rows: usize, cols: usize, rng: &mut Rng) -> Self {
        Self::new(rows, cols, |_, _| rng.below(5) as f64 - 2.0)
    }

    fn uniform(rows: usize, cols: usize, rng: &mut Rng) -> Self {
        Self::new(rows, cols, |_, _| rng.uniform() - 0.5)
    }

    fn view(&self) -> Mat<'_, T> {
        let [rows, cols] = self.shape;
        Mat::strided(&self.data[Self::BEFORE..], rows, cols, cols + Self::GAP).unwrap()
    }
}

fn squared_distance<T: Real>(a: &[T], b: &[T]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a.to_f64() - b.to_f64()).powi(2)).sum()
}

/// All references of one query but `own`, in the promised order: (squared distance, index).
fn ranked<T: Real>(query: &[T], references: Mat<T>, own: Option<usize>) -> Vec<(f64, usize)> {
    let mut list: Vec<_> = (0..references.rows())
        .filter(|&j| own != Some(j))
        .map(|j| (squared_distance(query, references.row(j)), j))
        .collect();
    list.sort_by(|a, b| {
        (a.0.is_nan(), a.0, a.1)
            .partial_cmp(&(b.0.is_nan(), b.0, b.1))
            .unwrap_or_else(|| a.1.cmp(&b.1))
    });
    list
}

fn assert_exact<T: Real>(
    found: &Neighbours<T>,
    queries: Mat<T>,
    references: Mat<T>,
    others: bool,
    what: &str,
) {
    assert_eq!(found.rows(), queries.rows());
    for i in 0..queries.rows() {
        let expected = ranked(queries.row(i), references, others.then_some(i));
        let (indices, distances) = found.row(i);
        assert_eq!(indices.len(), found.k());
        for (rank, (&index, &distance)) in indices.iter().zip(distances).enumerate() {
            let (d2, j) = expected[rank];
            assert_eq!(index as usize, j, "{what}: query {i}, neighbour {rank}");
            let root = T::from_f64(d2).sqrt();
            assert!(
                distance == root || (d2.is_nan() && distance.to_f64().is_nan()),
                "{what}: query {i}, neighbour {rank}: {distance} instead of {root}"
            );
        }
    }
}

fn nearest_is_exact<T: Real>() {
    let mut rng = Rng::new(1);
    for cx in contexts() {
        for cols in [0, 1, 2, 3, 8, 17, 31, 100] {
            for (n, m) in [(1, 1), (3, 2), (5, 9), (18, 67), (2, 1100)] {
                let mut queries = Rows::<T>::small_integers(n, cols, &mut rng);
                let mut references = Rows::<T>::small_integers(m, cols, &mut rng);
                if cols > 0 && m > 5 {
                    let stride = cols + Rows::<T>::GAP;
                    queries.data[Rows::<T>::BEFORE + stride] = T::from_f64(f64::NAN);
                    references.data[Rows::<T>::BEFORE] = T::from_f64(f64::NAN);
                    references.data[Rows::<T>::BEFORE + 4 * stride + cols - 1] =
                        T::from_f64(f64::NAN);
                }
                for k in [1, 2, 5, m / 2, m - 1, m] {
                    if !(1..=m).contains(&k) {
                        continue;
                    }
                    let what = format!("{cx}, {} {n}x{cols}, {m} references, k {k}", T::NAME);
                    let found = pairs::nearest(&cx, queries.view(), references.view(), k).unwrap();
                    assert_exact(&found, queries.view(), references.view(), false, &what);
                    if k < m && m < 100 {
                        let found = pairs::nearest_others(&cx, references.view(), k).unwrap();
                        assert_exact(&found, references.view(), references.view(), true, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn nearest_is_exact_with_ties_by_index_and_nan_last() {
    nearest_is_exact::<f32>();
    nearest_is_exact::<f64>();
}

fn distances_are_near_those_of_f64<T: Real>() {
    let mut rng = Rng::new(2);
    for cx in contexts() {
        for cols in [1, 2, 17, 100, 784] {
            let queries = Rows::<T>::uniform(9, cols, &mut rng);
            let references = Rows::<T>::uniform(70, cols, &mut rng);
            let found = pairs::nearest(&cx, queries.view(), references.view(), 6).unwrap();
            // A difference, its square and every addition may each be off by half an epsilon.
            let tolerance = (cols + 4) as f64 * T::EPSILON.to_f64();
            for i in 0..9 {
                let expected = ranked(queries.view().row(i), references.view(), None);
                let (indices, distances) = found.row(i);
                for rank in 0..6 {
                    let own = squared_distance(
                        queries.view().row(i),
                        references.view().row(indices[rank] as usize),
                    );
                    for exact in [own.sqrt(), expected[rank].0.sqrt()] {
                        let error = (distances[rank].to_f64() - exact).abs();
                        assert!(error <= tolerance * exact, "{cx}, {} x{cols}: {error}", T::NAME);
                    }
                }
            }
        }
    }
}

#[test]
fn distances_of_neighbours_are_near_those_of_f64() {
    distances_are_near_those_of_f64::<f32>();
    distances_are_near_those_of_f64::<f64>();
}

/// The distances of each query from reference 0, 1, ... as bits.
fn bits_by_index(found: &Neighbours<f32>) -> Vec<Vec<u32>> {
    let row = |i: usize| {
        let (indices, distances) = found.row(i);
        let mut row: Vec<_> =
            indices.iter().zip(distances).map(|(&j, d)| (j, d.to_bits())).collect();
        row.sort_unstable();
        row.into_iter().map(|(_, bits)| bits).collect()
    };
    (0..found.rows()).map(row).collect()
}

#[test]
fn a_distance_has_the_same_bits_wherever_it_is_measured() {
    let mut rng = Rng::new(3);
    for cx in contexts() {
        for cols in [1, 2, 17, 100] {
            let set = Rows::<f32>::uniform(45, cols, &mut rng);
            let set = set.view();
            let all = bits_by_index(&pairs::nearest(&cx, set, set, 45).unwrap());
            for i in 0..45 {
                assert_eq!(all[i][i], 0, "{cx} x{cols}: a row is at distance 0 from itself");
                for j in 0..i {
                    assert_eq!(all[i][j], all[j][i], "{cx} x{cols}: d({i}, {j}) and d({j}, {i})");
                }
                let alone = pairs::nearest(&cx, set.rows_range(i, i + 1), set, 45).unwrap();
                assert_eq!(bits_by_index(&alone)[0], all[i], "{cx} x{cols}: query {i} alone");
                let from_there =
                    pairs::nearest(&cx, set.rows_range(0, 1), set.rows_range(i, 45), 45 - i);
                assert_eq!(
                    bits_by_index(&from_there.unwrap())[0],
                    all[0][i..],
                    "{cx} x{cols}: from {i}"
                );
            }
        }
    }
}

#[test]
fn neighbours_do_not_depend_on_threads() {
    let mut rng = Rng::new(4);
    let set = Rows::<f32>::uniform(500, 17, &mut rng);
    for serial in contexts() {
        let expected = pairs::nearest_others(&serial, set.view(), 5).unwrap();
        for threads in [1, 2, 3, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let cx = Cx { par: Par::Rayon, ..serial };
            let found = pool.install(|| pairs::nearest_others(&cx, set.view(), 5).unwrap());
            assert_eq!(found.indices(), expected.indices(), "{threads} threads");
            let bits = |found: &Neighbours<f32>| -> Vec<u32> {
                found.distances().iter().map(|d| d.to_bits()).collect()
            };
            assert_eq!(bits(&found), bits(&expected), "{threads} threads");
        }
    }
}

#[test]
fn a_set_of_many_tasks_is_searched_as_a_small_one() {
    let mut rng = Rng::new(10);
    let set = Rows::<f32>::small_integers(500, 17, &mut rng);
    for cx in contexts() {
        let cx = Cx { par: Par::Rayon, ..cx };
        let found = pairs::nearest_others(&cx, set.view(), 5).unwrap();
        assert_exact(&found, set.view(), set.view(), true, "500x17");
    }
}

#[test]
fn a_search_that_makes_no_sense_is_refused() {
    let cx = Cx::default();
    let data = [0.0_f32; 12];
    let set = Mat::new(&data, 4, 3).unwrap();
    let narrow = Mat::new(&data, 6, 2).unwrap();
    let none = Mat::new(&data[..0], 0, 3).unwrap();
    assert!(matches!(
        pairs::nearest(&cx, narrow, set, 1),
        Err(Error::Shape { arg: "queries", got: [6, 2], expected: [6, 3], .. })
    ));
    let of_k = |got: f64| move |error: Error| matches!(error, Error::Value { arg: "k", got: k, .. } if k == got);
    assert!(pairs::nearest(&cx, set, set, 0).is_err_and(of_k(0.0)));
    assert!(pairs::nearest(&cx, set, set, 5).is_err_and(of_k(5.0)));
    assert!(pairs::nearest(&cx, set, set, 4).is_ok());
    assert!(pairs::nearest(&cx, set, none, 1).is_err_and(of_k(1.0)));
    assert!(pairs::nearest_others(&cx, set, 0).is_err_and(of_k(0.0)));
    assert!(pairs::nearest_others(&cx, set, 4).is_err_and(of_k(4.0)));
    assert!(pairs::nearest_others(&cx, none, 1).is_err_and(of_k(1.0)));
    assert!(pairs::nearest_others(&cx, set, 3).is_ok());
    assert_eq!(pairs::nearest(&cx, none, set, 2).unwrap().rows(), 0);
}

#[test]
fn rows_are_similar_in_the_neighbour_graph_if_either_lists_the_other() {
    let mut rng = Rng::new(5);
    let (n, k) = (60, 4);
    let set = Rows::<f32>::small_integers(n, 3, &mut rng);
    let lists: Vec<BTreeSet<usize>> = (0..n)
        .map(|i| {
            ranked(set.view().row(i), set.view(), Some(i))[..k]
                .iter()
                .map(|found| found.1)
                .collect()
        })
        .collect();
    for cx in contexts() {
        let graph = pairs::neighbour_graph(&cx, set.view(), k).unwrap();
        for i in 0..n {
            for j in 0..n {
                let either = lists[i].contains(&j) || lists[j].contains(&i);
                assert_eq!(graph.contains(i, j), either, "{i}, {j}");
            }
        }
    }
}

#[test]
fn a_row_without_neighbours_has_no_place_in_a_neighbour_graph() {
    let mut data = [0.0_f64, 1.0, 2.0, 3.0];
    data[2] = f64::NAN;
    let set = Mat::new(&data, 4, 1).unwrap();
    let refused = pairs::neighbour_graph(&Cx::default(), set, 2);
    assert!(matches!(refused, Err(Error::Pairs { reason }) if reason.contains("sample 2")));
    assert!(pairs::neighbour_graph(&Cx::default(), set.rows_range(0, 2), 1).is_ok());
}

#[test]
fn a_graph_refuses_what_is_no_pair_of_its_samples() {
    let refused = Graph::from_pairs(3, &[(0, 1), (2, 3)]);
    assert_eq!(refused, Err(Error::Index { arg: "pairs", at: 1, index: 3, len: 3 }));
    let refused = Graph::from_pairs(3, &[(0, 1), (1, 2), (2, 2)]);
    assert!(matches!(refused, Err(Error::Pairs { reason }) if reason.contains("pair 2")));
    let refused = Graph::from_pairs(0, &[(0, 0)]);
    assert_eq!(refused, Err(Error::Index { arg: "pairs", at: 0, index: 0, len: 0 }));
    if let Ok(too_many) = usize::try_from(u64::from(u32::MAX) + 1) {
        assert!(matches!(Graph::from_pairs(too_many, &[]), Err(Error::Pairs { .. })));
    }
    assert_eq!(Graph::from_pairs(0, &[]).unwrap().samples(), 0);
}

/// Samples of a graph and its pairs, of which many are repeated and turned round.
fn any_graph() -> impl Strategy<Value = (usize, Vec<(u32, u32)>)> {
    (2_usize..20).prop_flat_map(|n| {
        let sample = 0..n as u32;
        let pair = (sample.clone(), sample).prop_filter("a pair of two", |(i, j)| i != j);
        (Just(n), prop::collection::vec(pair, 0..120))
    })
}

/// Pairs and their flags.
type Batch = (Vec<(u32, u32)>, Vec<bool>);

/// The next `count` batches.
fn batches(sampler: &mut Sampler, count: usize) -> Vec<Batch> {
    let next = |_| {
        let (mut pairs, mut similar) = (vec![(9, 9)], vec![false]);
        sampler.next_batch(&mut pairs, &mut similar);
        (pairs, similar)
    };
    (0..count).map(next).collect()
}

/// Whether the batches are what the set says they must be.
fn check_batches(set: Similar, batch: usize, seed: u64) -> Result<(), TestCaseError> {
    let n = set.samples();
    let unordered = (0..n).flat_map(|i| (0..i).map(move |j| (i, j)));
    let count = |kind| unordered.clone().filter(|&(i, j)| set.of(i, j) == Some(kind)).count();
    let (similar, dissimilar) = (count(true), count(false));
    let sampler = Sampler::new(set, batch, seed);
    if similar == 0 || dissimilar == 0 {
        let refused = matches!(sampler, Err(Error::Pairs { .. }));
        prop_assert!(refused);
        return Ok(());
    }
    let mut sampler = sampler.unwrap();
    for (pairs, flags) in batches(&mut sampler, 8) {
        prop_assert_eq!(pairs.len(), batch);
        prop_assert_eq!(flags.len(), batch);
        prop_assert_eq!(flags.iter().filter(|&&similar| similar).count(), batch / 2);
        for (&(i, j), &similar) in pairs.iter().zip(&flags) {
            let (i, j) = (i as usize, j as usize);
            prop_assert!(i < n && j < n && i != j, "({}, {}) of {}", i, j, n);
            prop_assert_eq!(set.of(i, j), Some(similar), "({}, {})", i, j);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_graph_holds_the_symmetric_closure_of_its_pairs((n, pairs) in any_graph()) {
        let graph = Graph::from_pairs(n, &pairs).unwrap();
        let both: BTreeSet<_> = pairs.iter().flat_map(|&(i, j)| [(i, j), (j, i)]).collect();
        let mut directed = Vec::new();
        for i in 0..n as u32 {
            directed.extend(graph.neighbours(i as usize).iter().map(|&j| (i, j)));
            for j in 0..n as u32 {
                prop_assert_eq!(graph.contains(i as usize, j as usize), both.contains(&(i, j)));
            }
        }
        // In the order of the set: every row is sorted and without repetition.
        prop_assert_eq!(directed, both.iter().copied().collect::<Vec<_>>());
        let once: Vec<_> = both.into_iter().filter(|(i, j)| i < j).collect();
        prop_assert_eq!(graph.edges(), once.len());
        prop_assert_eq!(graph.pairs().collect::<Vec<_>>(), once);
        prop_assert_eq!(graph.samples(), n);
    }

    #[test]
    fn a_pair_of_a_batch_is_what_its_flag_says(
        (n, edges) in any_graph(),
        labels in prop::collection::vec(-2_i64..4, 0..20),
        half in 1_usize..20,
        seed: u64,
    ) {
        let graph = Graph::from_pairs(n, &edges).unwrap();
        check_batches(Similar::Graph(&graph), 2 * half, seed)?;
        check_batches(Similar::Labels(&labels), 2 * half, seed)?;
        // A pair of an ignored sample is neither similar nor dissimilar, so none may be in a batch.
        check_batches(Similar::LabelsIgnoring { labels: &labels, ignored: -1 }, 2 * half, seed)?;
    }

    #[test]
    fn a_restored_sampler_goes_on_where_the_other_stood(
        labels in prop::collection::vec(0_i64..3, 0..20),
        steps in 0_usize..12,
        seed: u64,
    ) {
        let Ok(mut first) = Sampler::new(Similar::Labels(&labels), 6, seed) else { return Ok(()) };
        batches(&mut first, steps);
        let mut second = Sampler::new(Similar::Labels(&labels), 6, 99).unwrap();
        second.restore(first.state()).unwrap();
        prop_assert_eq!(second.state(), first.state());
        prop_assert_eq!(batches(&mut second, 12), batches(&mut first, 12));
    }
}

/// A ring of `n` samples, some of which have a second neighbour.
fn ring(n: u32) -> Graph {
    let pairs: Vec<_> = (0..n).map(|i| (i, (i + 1) % n)).chain([(0, 2), (4, 7), (4, 8)]).collect();
    Graph::from_pairs(n as usize, &pairs).unwrap()
}

/// The similar pairs of so many batches, one after another.
fn similar_pairs(sampler: &mut Sampler, count: usize) -> Vec<(u32, u32)> {
    let half = sampler.batch() / 2;
    batches(sampler, count).into_iter().flat_map(|(pairs, _)| pairs[..half].to_vec()).collect()
}

#[test]
fn an_epoch_of_a_graph_offers_every_edge_once() {
    let graph = ring(12);
    assert_eq!(graph.edges(), 15);
    let edges: Vec<_> = graph.pairs().collect();
    // 15 edges are 3 batches of 5; for 7 and 40 a batch of 7 or 40 holds the end of a pass.
    for (half, steps) in [(5, 3), (7, 3), (40, 1)] {
        let mut sampler = Sampler::new(Similar::Graph(&graph), 2 * half, 6).unwrap();
        assert_eq!(sampler.steps_per_epoch(), steps);
        let offered = similar_pairs(&mut sampler, 30);
        let passes: Vec<_> = offered.chunks_exact(15).collect();
        for pass in &passes {
            let mut sorted = pass.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, edges, "half a batch is {half}");
        }
        assert_ne!(passes[0], edges, "the order is random");
        assert_ne!(passes[0], passes[1], "each pass has its own order");
    }
}

#[test]
fn a_weighted_pass_offers_each_pair_as_often_as_it_is_listed() {
    let rows = Rows::<f32>::uniform(40, 3, &mut Rng::new(6));
    let cx = Cx::default();
    let neighbours = pairs::nearest_others(&cx, rows.view(), 4).unwrap();
    let mut listed: Vec<(u32, u32)> = neighbours.pairs().collect();
    assert_eq!(listed.len(), 160);
    assert!(listed[4..8].iter().map(|pair| pair.1).eq(neighbours.row(1).0.iter().copied()));
    let graph = pairs::neighbour_graph(&cx, rows.view(), 4).unwrap();
    let mut sampler = Sampler::weighted(&graph, listed.clone(), 16, 3).unwrap();
    assert_eq!(sampler.steps_per_epoch(), 20);
    for _ in 0..2 {
        let mut offered = similar_pairs(&mut sampler, 20);
        offered.sort_unstable();
        listed.sort_unstable();
        assert_eq!(offered, listed);
    }
    let stranger = (0..40).find(|&j| j != 0 && !graph.contains(0, j as usize)).unwrap();
    for bad in [vec![(0, stranger)], vec![(40, 0)], vec![(3, 3)], vec![]] {
        assert!(Sampler::weighted(&graph, bad, 16, 3).is_err());
    }
}

#[test]
fn a_pass_of_labels_offers_every_sample_that_has_a_partner_once() {
    // Samples 3 and 6 are alone in their classes.
    let labels = [5, -1, 5, 8, -1, 5, 9, -1, 0, 0, 5];
    let anchors = [0, 1, 2, 4, 5, 7, 8, 9, 10];
    let mut sampler = Sampler::new(Similar::Labels(&labels), 4, 7).unwrap();
    // 5 passes of 9 anchors, 2 in a batch.
    assert_eq!(sampler.steps_per_epoch(), 23);
    let offered = similar_pairs(&mut sampler, 18);
    let mut orders = BTreeSet::new();
    for pass in offered.chunks_exact(9) {
        let order: Vec<_> = pass.iter().map(|pair| pair.0).collect();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, anchors);
        orders.insert(order);
    }
    assert_eq!(orders.len(), 4, "each pass has its own order");
}

#[test]
fn an_ignored_label_is_no_class() {
    let labels = [0, -1, 0, -1, 2, -1, 2, 3, 0];
    let set = Similar::LabelsIgnoring { labels: &labels, ignored: -1 };
    let mut sampler = Sampler::new(set, 50, 11).unwrap();
    // 5 passes of 5 samples that have a partner, 25 in a batch.
    assert_eq!(sampler.steps_per_epoch(), 1);
    let mut offered = BTreeSet::new();
    for (pairs, _) in batches(&mut sampler, 40) {
        offered.extend(pairs.into_iter().flat_map(|(i, j)| [i, j]));
    }
    assert_eq!(offered, BTreeSet::from([0, 2, 4, 6, 7, 8]));
    let only = |labels, ignored| Sampler::new(Similar::LabelsIgnoring { labels, ignored }, 2, 1);
    assert!(only(&[1, 1, 1, 0], 0).is_err(), "no dissimilar pair is left");
    assert!(only(&[1, 1, 0, 2], 1).is_err(), "no similar pair is left");
    assert!(only(&[7, 7, 7], 7).is_err(), "no sample is left");
}

/// Refuses counts further from an equal distribution over `cells` than chance takes them: with f
/// degrees of freedom chi-square has mean f and variance 2 f, and six deviations are allowed.
fn assert_uniform<K: Ord + std::fmt::Debug>(counts: &BTreeMap<K, u64>, cells: usize) {
    assert_eq!(counts.len(), cells);
    let total: u64 = counts.values().sum();
    let expected = total as f64 / cells as f64;
    let chi2: f64 = counts.values().map(|&n| (n as f64 - expected).powi(2) / expected).sum();
    let freedom = (cells - 1) as f64;
    assert!(chi2 < freedom + 6.0 * (2.0 * freedom).sqrt(), "{chi2} for {freedom}");
}

fn count<K: Ord>(keys: impl IntoIterator<Item = K>) -> BTreeMap<K, u64> {
    let mut counts = BTreeMap::new();
    for key in keys {
        *counts.entry(key).or_default() += 1;
    }
    counts
}

#[test]
fn all_dissimilar_pairs_are_drawn_equally_often() {
    let graph = ring(12);
    // A class of one sample among them.
    let labels = [0, 1, 0, 2, 1, 0, 3, 0, 1, 0];
    let ignoring = Similar::LabelsIgnoring { labels: &labels, ignored: 1 };
    for set in [Similar::Graph(&graph), Similar::Labels(&labels), ignoring] {
        let n = set.samples();
        let dissimilar: BTreeSet<_> = (0..n)
            .flat_map(|i| (0..n).map(move |j| (i, j)))
            .filter(|&(i, j)| i != j && set.of(i, j) == Some(false))
            .map(|(i, j)| (i as u32, j as u32))
            .collect();
        let mut sampler = Sampler::new(set, 1000, 8).unwrap();
        let drawn = count(
            batches(&mut sampler, 80).into_iter().flat_map(|(pairs, _)| pairs[500..].to_vec()),
        );
        assert!(drawn.keys().eq(&dissimilar));
        assert_uniform(&drawn, dissimilar.len());
    }
}

#[test]
fn all_partners_of_a_class_are_drawn_equally_often() {
    let labels = [0, 1, 0, 1, 0, 1, 0, 0, 1];
    let mut sampler = Sampler::new(Similar::Labels(&labels), 1000, 9).unwrap();
    let drawn = similar_pairs(&mut sampler, 80);
    for class in [0, 1] {
        let members = labels.iter().filter(|&&label| label == class).count();
        let of_class = drawn.iter().filter(|pair| labels[pair.0 as usize] == class);
        assert_uniform(&count(of_class), members * (members - 1));
    }
}

#[test]
fn a_seed_decides_the_batches() {
    let graph = ring(20);
    let of_seed = |seed| batches(&mut Sampler::new(Similar::Graph(&graph), 8, seed).unwrap(), 10);
    assert_eq!(of_seed(1), of_seed(1));
    assert_ne!(of_seed(1), of_seed(2));
}

#[test]
fn batches_after_the_first_reuse_its_memory() {
    let graph = ring(20);
    let mut sampler = Sampler::new(Similar::Graph(&graph), 50, 1).unwrap();
    let (mut pairs, mut similar) = (Vec::new(), Vec::new());
    sampler.next_batch(&mut pairs, &mut similar);
    let memory = (pairs.as_ptr(), similar.as_ptr());
    for _ in 0..5 {
        sampler.next_batch(&mut pairs, &mut similar);
        assert_eq!((pairs.as_ptr(), similar.as_ptr()), memory);
    }
}

#[test]
fn a_sampler_refuses_a_set_without_both_kinds_of_pairs() {
    let refusal = |set: Similar, batch| match Sampler::new(set, batch, 0) {
        Err(Error::Pairs { reason }) => reason,
        other => panic!("{other:?} is no refusal"),
    };
    let graph = ring(12);
    for batch in [0, 1, 7] {
        assert!(refusal(Similar::Graph(&graph), batch).contains("even"));
    }
    let empty = Graph::from_pairs(3, &[]).unwrap();
    let complete = Graph::from_pairs(3, &[(0, 1), (1, 2), (0, 2)]).unwrap();
    assert!(refusal(Similar::Graph(&empty), 2).contains("no similar"));
    assert!(refusal(Similar::Graph(&complete), 2).contains("no dissimilar"));
    assert!(refusal(Similar::Labels(&[1, 2, 3]), 2).contains("no similar"));
    assert!(refusal(Similar::Labels(&[4, 4, 4]), 2).contains("no dissimilar"));
    assert!(refusal(Similar::Labels(&[]), 2).contains("no similar"));

    let mut sampler = Sampler::new(Similar::Graph(&graph), 4, 0).unwrap();
    let state = sampler.state();
    let behind = drlim::pairs::SamplerState { position: 16, ..state };
    assert!(matches!(sampler.restore(behind), Err(Error::Pairs { .. })));
    assert_eq!(sampler.state(), state);
}
