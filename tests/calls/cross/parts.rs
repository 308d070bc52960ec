//! What parts of a batch give, and what is between them, is what the whole gives.

use drlim::batch::{AllPairsScratch, CrossSimilar, all_pairs};
use drlim::loss::{Objective, Reduction};
use drlim::{Graph, Mat, MatMut, Similar};

use super::sides::{Sides, ring};
use super::{MARGIN, REDUCTIONS, serial};
use crate::support::{Element, labels, tiers};

/// All pairs of a batch are those of its parts and those between them.
fn adds_up_to_all_pairs<T: Element>() {
    let (n, m, d) = (70, 130, 21);
    let sides = Sides::<T>::random([n, m], d, 6);
    let classes = labels(n + m, 7);
    let graph = ring(n + m);
    let whole = sides.z.concat();
    let loss = T::contrastive(MARGIN);
    for (isa, reduction) in tiers().into_iter().flat_map(|isa| REDUCTIONS.map(|r| (isa, r))) {
        let cx = serial(isa);
        let all = |objective: &Objective<T>, z: Mat<T>, similar: Similar| {
            let mut grad = vec![T::NAN; z.rows() * d];
            let to = Some(MatMut::new(&mut grad, z.rows(), d).unwrap());
            let mut scratch = AllPairsScratch::new();
            (all_pairs(&cx, objective, z, similar, to, &mut scratch).unwrap(), grad)
        };
        let edges = |of: std::ops::Range<usize>| {
            let within = |i: &u32| of.contains(&(*i as usize));
            let pairs = graph.pairs().filter(|(i, j)| within(i) && within(j));
            let first = of.start as u32;
            let pairs: Vec<_> = pairs.map(|(i, j)| (i - first, j - first)).collect();
            Graph::from_pairs(of.len(), &pairs).unwrap()
        };
        let parts = [edges(0..n), edges(n..n + m)];
        let (of_a, of_b) = classes.split_at(n);
        for by_graph in [false, true] {
            let of = |labels, graph| match by_graph {
                false => Similar::Labels(labels),
                true => Similar::Graph(graph),
            };
            let between = match by_graph {
                false => CrossSimilar::Labels { queries: of_a, keys: of_b, ignored: None },
                true => CrossSimilar::Graph { graph: &graph, first_query: 0, first_key: n },
            };
            let objective = Objective::sum(&*loss).reduced(reduction);
            let z = Mat::new(&whole, n + m, d).unwrap();
            let (expected, expected_grad) = all(&objective, z, of(&classes, &graph));
            // The sums of all parts give the factors that each part's gradient takes.
            let a = all(&objective, sides.mat(0), of(of_a, &parts[0])).0;
            let b = all(&objective, sides.mat(1), of(of_b, &parts[1])).0;
            let ab = sides.run(&cx, reduction, (between, None)).outcome;
            let sums = a.sums + b.sums + ab.sums;
            let case = format!("{reduction:?}, graph: {by_graph}, {} on {isa}", T::NAME);
            for (got, expected) in
                [(sums.similar, expected.sums.similar), (sums.dissimilar, expected.sums.dissimilar)]
            {
                assert_eq!((got.pairs, got.active), (expected.pairs, expected.active), "{case}");
            }
            let epsilon = T::EPSILON.to_f64();
            let error = (reduction.value(&sums) - expected.value).abs();
            assert!(error <= 100.0 * epsilon * expected.value.abs(), "{case}: {error:e}");
            let [similar, dissimilar] = reduction.factors(&sums);
            let factors = Reduction::Factors { similar, dissimilar };
            let part = Objective::sum(&*loss).reduced(factors);
            let a = all(&part, sides.mat(0), of(of_a, &parts[0])).1;
            let b = all(&part, sides.mat(1), of(of_b, &parts[1])).1;
            let ab = sides.run(&cx, factors, (between, None)).grads;
            let largest = expected_grad.iter().fold(0.0_f64, |max, g| max.max(g.to_f64().abs()));
            let got = a.into_iter().chain(b).zip(ab.concat()).map(|(one, other)| one + other);
            for (at, (got, expected)) in got.zip(expected_grad).enumerate() {
                let error = (got.to_f64() - expected.to_f64()).abs();
                let allowed = 1000.0 * epsilon * largest;
                assert!(error <= allowed, "{case}: gradient {at} is {got}, not {expected}");
            }
        }
    }
}

#[test]
fn parts_and_what_is_between_them_add_up_to_the_whole() {
    adds_up_to_all_pairs::<f32>();
    adds_up_to_all_pairs::<f64>();
}
