//! Promises of batches of samples: similar ones meet in each, every sample comes once a pass, and what
//! is similar among some samples is what was among all.

use std::collections::BTreeSet;

use drlim::pairs::{BatchSampler, SamplerState};
use drlim::{Error, Graph, Similar};
use proptest::prelude::*;

/// Samples of a graph and its pairs.
fn any_graph() -> impl Strategy<Value = (usize, Vec<(u32, u32)>)> {
    (2_usize..24).prop_flat_map(|n| {
        let sample = 0..n as u32;
        let pair = (sample.clone(), sample).prop_filter("a pair of two", |(i, j)| i != j);
        (Just(n), prop::collection::vec(pair, 0..50))
    })
}

/// The next `count` batches.
fn batches(sampler: &mut BatchSampler, count: usize) -> Vec<Vec<u32>> {
    let next = |_| {
        let mut samples = vec![99];
        sampler.next_batch(&mut samples);
        samples
    };
    (0..count).map(next).collect()
}

/// Whether the set has two samples that are similar, or that are not.
fn has(set: Similar, kind: bool) -> bool {
    let n = set.samples();
    (0..n).any(|i| (0..i).any(|j| set.of(i, j) == Some(kind)))
}

/// Samples of batches: those whose label is not ignored.
fn known(set: Similar) -> BTreeSet<u32> {
    let labelled = |i: &u32| match set {
        Similar::LabelsIgnoring { labels, ignored } => labels[*i as usize] != ignored,
        _ => true,
    };
    (0..set.samples() as u32).filter(labelled).collect()
}

/// Known samples to which none is similar.
fn lone(set: Similar) -> usize {
    let n = set.samples();
    let alone = |&i: &u32| !(0..n).any(|j| j != i as usize && set.of(i as usize, j) == Some(true));
    known(set).iter().filter(|i| alone(i)).count()
}

/// Whether batches are what the set says they must be, or refused where they cannot be.
fn check(
    set: Similar,
    batch: usize,
    sampler: drlim::Result<BatchSampler>,
) -> Result<(), TestCaseError> {
    let known = known(set);
    let possible = has(set, true) && has(set, false) && (3..=known.len()).contains(&batch);
    let Ok(mut sampler) = sampler else {
        // Room for one of a group, all lone samples and two of another is always enough.
        prop_assert!(!possible || batch < 3 + lone(set), "refused without a reason");
        return Ok(());
    };
    prop_assert!(possible);
    prop_assert_eq!(sampler.batch(), batch);
    let mut seen = BTreeSet::new();
    let steps = sampler.steps_per_epoch();
    for (at, samples) in batches(&mut sampler, 3 * steps + 20).into_iter().enumerate() {
        prop_assert_eq!(samples.len(), batch);
        prop_assert_eq!(samples.iter().collect::<BTreeSet<_>>().len(), batch, "a sample twice");
        prop_assert!(samples.iter().all(|sample| known.contains(sample)));
        let meet = samples.iter().any(|&i| {
            samples.iter().any(|&j| i != j && set.of(i as usize, j as usize) == Some(true))
        });
        prop_assert!(meet, "batch {} is without a similar pair: {:?}", at, samples);
        seen.extend(samples);
        if at + 1 == steps {
            prop_assert_eq!(&seen, &known, "an epoch leaves samples out");
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_batch_is_of_different_samples_and_holds_a_similar_pair(
        (n, edges) in any_graph(),
        labels in prop::collection::vec(-2_i64..5, 0..24),
        batch in 0_usize..14,
        group in 2_usize..6,
        seed: u64,
    ) {
        let graph = Graph::from_pairs(n, &edges).unwrap();
        let ignoring = Similar::LabelsIgnoring { labels: &labels, ignored: -1 };
        for set in [Similar::Graph(&graph), Similar::Labels(&labels), ignoring] {
            check(set, batch, BatchSampler::new(set, batch, seed))?;
            if group <= batch {
                check(set, batch, BatchSampler::grouped(set, group, batch, seed))?;
            }
        }
        // Listed both ways, all neighbours are companions.
        let listed: Vec<_> = edges.iter().flat_map(|&(i, j)| [(i, j), (j, i)]).collect();
        check(Similar::Graph(&graph), batch, BatchSampler::listed(&graph, &listed, batch, seed))?;
    }

    #[test]
    fn a_restored_sampler_goes_on_where_the_other_stood(
        (n, edges) in any_graph(),
        labels in prop::collection::vec(0_i64..4, 0..24),
        steps in 0_usize..12,
        seed: u64,
    ) {
        let graph = Graph::from_pairs(n, &edges).unwrap();
        for set in [Similar::Graph(&graph), Similar::Labels(&labels)] {
            let Ok(mut first) = BatchSampler::new(set, 6, seed) else { continue };
            batches(&mut first, steps);
            let mut second = BatchSampler::new(set, 6, 99).unwrap();
            second.restore(first.state()).unwrap();
            prop_assert_eq!(second.state(), first.state());
            prop_assert_eq!(batches(&mut second, 12), batches(&mut first, 12));
        }
    }

    #[test]
    fn an_induced_graph_holds_what_lies_among_its_samples(
        (n, edges) in any_graph(),
        order in Just((0..24_u32).collect::<Vec<_>>()).prop_shuffle(),
        count in 0_usize..24,
    ) {
        let graph = Graph::from_pairs(n, &edges).unwrap();
        let samples: Vec<_> = order.into_iter().filter(|&i| (i as usize) < n).take(count).collect();
        let part = graph.induced(&samples).unwrap();
        // Built from its pairs, rows are sorted and without repetition.
        let place = |j: u32| samples.iter().position(|&sample| sample == j).map(|at| at as u32);
        let pairs: Vec<_> =
            edges.iter().filter_map(|&(i, j)| Some((place(i)?, place(j)?))).collect();
        prop_assert_eq!(part, Graph::from_pairs(samples.len(), &pairs).unwrap());
    }
}

#[test]
fn an_induced_graph_is_refused_strange_and_repeated_samples() {
    let graph = Graph::from_pairs(4, &[(0, 1), (1, 2)]).unwrap();
    let refused = graph.induced(&[0, 4, 5]);
    assert_eq!(refused, Err(Error::Index { arg: "samples", at: 1, index: 4, len: 4 }));
    let error = graph.induced(&[3, 1, 0, 1]).unwrap_err();
    assert_eq!(error.to_string(), "pairs: samples[1] and samples[3] are both sample 1");
    assert_eq!(graph.induced(&[]).unwrap(), Graph::from_pairs(0, &[]).unwrap());
}

/// Twenty samples in a ring.
fn ring() -> Graph {
    let pairs: Vec<_> = (0..20).map(|i| (i, (i + 1) % 20)).collect();
    Graph::from_pairs(20, &pairs).unwrap()
}

#[test]
fn a_pass_has_every_sample_as_a_seed_once() {
    let graph = ring();
    // Batches of one seed with its two neighbours.
    let mut sampler = BatchSampler::new(Similar::Graph(&graph), 3, 4).unwrap();
    assert_eq!(sampler.steps_per_epoch(), 20);
    let seeds: Vec<u32> = batches(&mut sampler, 60).iter().map(|samples| samples[0]).collect();
    let mut orders = BTreeSet::new();
    for pass in seeds.chunks(20) {
        assert_eq!(pass.iter().copied().collect::<BTreeSet<_>>().len(), 20, "{pass:?}");
        orders.insert(pass);
    }
    assert_eq!(orders.len(), 3, "each pass has its own order");
    for samples in batches(&mut sampler, 20) {
        let mut around = samples[1..].to_vec();
        around.sort_unstable();
        assert_eq!(around, graph.neighbours(samples[0] as usize), "it brings its neighbours");
    }
}

#[test]
fn seeds_bring_no_more_than_a_group_and_no_others_than_listed() {
    let graph = ring();
    let set = Similar::Graph(&graph);
    let mut sampler = BatchSampler::grouped(set, 2, 4, 7).unwrap();
    assert_eq!(sampler.steps_per_epoch(), 10);
    let mut partners = BTreeSet::new();
    for samples in batches(&mut sampler, 400) {
        assert!(graph.contains(samples[0] as usize, samples[1] as usize));
        partners.insert((samples[0], samples[1]));
    }
    assert_eq!(partners.len(), 40, "either neighbour, by chance");

    let onwards: Vec<_> = (0..20).map(|i| (i, (i + 1) % 20)).collect();
    let mut sampler = BatchSampler::listed(&graph, &onwards, 4, 7).unwrap();
    for samples in batches(&mut sampler, 40) {
        assert_eq!(samples[1], (samples[0] + 1) % 20);
    }
    for strange in [(0, 2), (20, 0), (3, 3)] {
        let refused = BatchSampler::listed(&graph, &[(0, 1), strange], 4, 7);
        assert!(matches!(refused, Err(Error::Pairs { .. })), "{strange:?}");
    }
}

#[test]
fn classes_come_in_groups_of_which_a_batch_has_whole_ones() {
    let labels: Vec<i64> = (0..60).map(|i| i % 5).collect();
    let mut sampler = BatchSampler::grouped(Similar::Labels(&labels), 3, 12, 5).unwrap();
    assert_eq!(sampler.steps_per_epoch(), 5);
    let mut companies = BTreeSet::new();
    for _ in 0..20 {
        let pass = batches(&mut sampler, 5);
        for group in pass.iter().flat_map(|samples| samples.chunks(3)) {
            assert!(group.iter().all(|&i| i % 5 == group[0] % 5), "{group:?}");
            companies.insert(group.iter().copied().collect::<BTreeSet<_>>());
        }
        assert_eq!(pass.concat().into_iter().collect::<BTreeSet<_>>().len(), 60);
    }
    assert!(companies.len() > 300, "each pass has its own groups");

    // Seven are cut into four and three; two, a class smaller than a group, stay together.
    let labels = [0, 0, 0, 0, 0, 0, 0, 1, 1];
    let mut sampler = BatchSampler::grouped(Similar::Labels(&labels), 3, 9, 5).unwrap();
    for samples in batches(&mut sampler, 20) {
        let run = |run: &[u32]| (labels[run[0] as usize], run.len());
        let of_one: Vec<_> =
            samples.chunk_by(|&i, &j| labels[i as usize] == labels[j as usize]).map(run).collect();
        let expected: [&[(i64, usize)]; 4] = [
            &[(0, 7), (1, 2)],
            &[(1, 2), (0, 7)],
            &[(0, 4), (1, 2), (0, 3)],
            &[(0, 3), (1, 2), (0, 4)],
        ];
        assert!(expected.contains(&of_one.as_slice()), "{of_one:?}");
    }
}

#[test]
fn lone_samples_are_spread_evenly() {
    // Four classes of two, and eight of one.
    let labels: Vec<i64> = (0..8).map(|i| i / 2).chain(10..18).collect();
    let mut sampler = BatchSampler::new(Similar::Labels(&labels), 16, 3).unwrap();
    for samples in batches(&mut sampler, 10) {
        for part in samples.chunks(4) {
            let lone = part.iter().filter(|&&i| i >= 8).count();
            assert_eq!(lone, 2, "{samples:?}");
        }
    }
    // One of a group, two lone ones and two of another group fit into five, not into four.
    assert!(BatchSampler::new(Similar::Labels(&labels), 5, 3).is_ok());
    let error = BatchSampler::new(Similar::Labels(&labels), 4, 3).unwrap_err();
    assert!(error.to_string().contains("a batch of 4 samples, expected 5 or more"), "{error}");
}

#[test]
fn a_seed_decides_the_batches_and_their_memory_is_used_again() {
    let graph = ring();
    let of_seed = |seed| BatchSampler::new(Similar::Graph(&graph), 8, seed).unwrap();
    assert_eq!(batches(&mut of_seed(1), 10), batches(&mut of_seed(1), 10));
    assert_ne!(batches(&mut of_seed(1), 10), batches(&mut of_seed(2), 10));
    let (mut sampler, mut samples) = (of_seed(1), Vec::new());
    sampler.next_batch(&mut samples);
    let memory = samples.as_ptr();
    for _ in 0..10 {
        sampler.next_batch(&mut samples);
        assert_eq!(samples.as_ptr(), memory);
    }
}

#[test]
fn a_set_that_gives_no_batches_is_refused() {
    let refusal = |set: Similar, batch| match BatchSampler::new(set, batch, 0) {
        Err(Error::Pairs { reason }) => reason,
        other => panic!("{other:?} is no refusal"),
    };
    let graph = ring();
    let empty = Graph::from_pairs(4, &[]).unwrap();
    let complete = Graph::from_pairs(3, &[(0, 1), (1, 2), (0, 2)]).unwrap();
    assert!(refusal(Similar::Graph(&empty), 3).contains("no similar"));
    assert!(refusal(Similar::Graph(&complete), 3).contains("no dissimilar"));
    assert!(refusal(Similar::Labels(&[1, 2, 3]), 3).contains("no similar"));
    assert!(refusal(Similar::Labels(&[4, 4, 4]), 3).contains("no dissimilar"));
    assert!(refusal(Similar::Labels(&[]), 3).contains("no similar"));
    let ignoring = Similar::LabelsIgnoring { labels: &[1, 1, 2, 2], ignored: 2 };
    assert!(refusal(ignoring, 3).contains("no dissimilar"));
    for batch in [0, 2] {
        assert!(refusal(Similar::Graph(&graph), batch).contains("expected 3 or more"));
    }
    assert!(refusal(Similar::Graph(&graph), 21).contains("expected at most 20"));
    for group in [0, 1, 5] {
        let refused = BatchSampler::grouped(Similar::Graph(&graph), group, 4, 0);
        assert!(matches!(refused, Err(Error::Pairs { .. })), "{group}");
    }

    let mut sampler = BatchSampler::new(Similar::Graph(&graph), 4, 0).unwrap();
    let state = sampler.state();
    let behind = SamplerState { position: 21, ..state };
    assert!(matches!(sampler.restore(behind), Err(Error::Pairs { .. })));
    assert_eq!(sampler.state(), state);
}
