//! Values, gradients, sums and counts against the oracle: every loss on every layout, every measure, reductions,
//! weights, and every shape.

use drlim::Similar;
use drlim::batch::{Anchors, CrossSimilar};
use drlim::loss::{Measure, Positives};

use super::batch::{Batch, DIRECTIONS};
use super::case::{ANCHOR_REDUCTIONS, Case, MEASURES, Set, graph};
use crate::support::anchors::AnchorFormula;
use crate::support::cases::in_both_precisions;
use crate::support::{Element, Random, labels};

/// Element counts: short rows, less than a vector, whole and split ones, more than a chunk.
const COLS: [usize; 6] = [1, 2, 3, 5, 17, 130];

/// Weights that both precisions hold exactly, none of them 0.
fn weights(len: usize, random: &mut Random) -> Vec<f64> {
    let weight = |_| (random.bits() % 15) as f64 / 8.0 - 0.9375;
    (0..len).map(weight).collect()
}

/// A length of rows for which the loss has no place where its derivative is infinite.
fn cols(formula: AnchorFormula, measure: Measure, random: &mut Random) -> usize {
    let d = COLS[random.bits() as usize % COLS.len()];
    match (formula, measure) {
        // Short rows come so close that rounding decides the angle between them.
        (AnchorFormula::ArcFace { .. }, Measure::Cosine) => d.max(5),
        _ => d,
    }
}

/// A call on each layout, with a length of rows, a reduction, a factor and weights that chance picks.
fn agrees_on<T: Element>(sets: &[Set], rows: [usize; 2], seed: u64) {
    let mut random = Random::new(seed);
    for formula in AnchorFormula::all(8.0) {
        for measure in MEASURES.into_iter().filter(|&measure| formula.takes(measure)) {
            for &set in sets {
                let d = cols(formula, measure, &mut random);
                let batch = Batch::<T>::for_set(set, rows, d, random.bits());
                let weights = weights(set.anchors(batch.rows), &mut random);
                let case = Case {
                    measure,
                    reduction: ANCHOR_REDUCTIONS[random.bits() as usize % 6],
                    scale: [1.0, -0.5][random.bits() as usize % 2],
                    weights: random.flag(0.3).then_some(&weights[..]),
                    ..Case::new(formula, set)
                };
                case.check(&batch);
            }
        }
    }
}

fn every_loss_agrees_among_the_rows_of_one_set<T: Element>() {
    let (of, graph) = (labels(41, 6), graph(41));
    let sets = [
        Set::One(Similar::Labels(&of)),
        Set::One(Similar::LabelsIgnoring { labels: &of, ignored: -2 }),
        Set::One(Similar::Graph(&graph)),
    ];
    agrees_on::<T>(&sets, [41; 2], 1);
}

fn every_loss_agrees_between_queries_and_keys<T: Element>() {
    let rows = [37, 52];
    let ([of_n, of_m], graph) = (rows.map(|n| labels(n, 7)), graph(150));
    let by_labels = |ignored| CrossSimilar::Labels { queries: &of_n, keys: &of_m, ignored };
    let by_graph =
        |first_query, first_key| CrossSimilar::Graph { graph: &graph, first_query, first_key };
    let of = [
        (by_labels(None), None),
        (by_labels(None), Some(3)),
        (by_labels(Some(-1)), Some(15)),
        (CrossSimilar::Position { first_key: 0 }, None),
        (CrossSimilar::Position { first_key: 9 }, None),
        // The positive key is one thing, the query among the keys another.
        (CrossSimilar::Position { first_key: 2 }, Some(14)),
        // Samples apart, and the queries among the keys.
        (by_graph(0, 90), None),
        (by_graph(40, 30), None),
        (by_graph(40, 30), Some(10)),
    ];
    let directions = DIRECTIONS.into_iter();
    let sets: Vec<Set> = directions
        .flat_map(|anchors| of.map(|(similar, own)| Set::Cross { similar, own, anchors }))
        .collect();
    agrees_on::<T>(&sets, rows, 2);
}

/// Rows of a batch: one, less than a panel, blocks and strips that end amid a panel.
const ROWS: [usize; 6] = [1, 2, 7, 67, 200, 300];

fn agrees_at_every_shape<T: Element>() {
    let positives = [Positives::Mean, Positives::Sum, Positives::Each];
    let mut number = 0;
    for (r, n) in ROWS.into_iter().enumerate() {
        for (c, d) in COLS.into_iter().enumerate() {
            number += 1;
            let formula = AnchorFormula::Softmax {
                scale: 10.0,
                positives: positives[number % 3],
                decoupled: number % 5 == 0,
            };
            let (measure, m) = (MEASURES[(r + c) % MEASURES.len()], ROWS[(r + 2 * c + 5) % 6]);
            // Few classes, whose rows fill blocks, and many, which leave most blocks without a similar pair.
            let [of_n, of_m] =
                [n, m].map(|rows| labels(rows, if c % 2 == 0 { 5 } else { rows / 4 + 1 }));
            let anchors = DIRECTIONS[(r + c) / 2 % 3];
            for set in [Set::One(Similar::Labels(&of_n)), Set::by_labels(&of_n, &of_m, anchors)] {
                let batch = Batch::<T>::for_set(set, [n, m], d, number as u64);
                Case { measure, ..Case::new(formula, set) }.check(&batch);
            }
        }
    }
}

fn agrees_for_many_keys_and_for_long_rows<T: Element>() {
    let formula = AnchorFormula::all(8.0)[0];
    for ([n, m], d) in [([70, 900], 5), ([33, 2100], 4), ([150, 260], 260)] {
        let [of_n, of_m] = [labels(n, 90), labels(m, 90)];
        let set = Set::by_labels(&of_n, &of_m, Anchors::Queries);
        Case::new(formula, set).check(&Batch::<T>::random([n, m], d, 5));
    }
}

in_both_precisions! {
    every_loss_agrees_among_the_rows_of_one_set
    every_loss_agrees_between_queries_and_keys
    agrees_at_every_shape
    agrees_for_many_keys_and_for_long_rows
}
