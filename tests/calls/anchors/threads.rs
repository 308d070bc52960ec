//! Results have the same bits for any number of threads, in anybody's pool, and with a scratch that another call
//! has used.

use drlim::batch::{AnchorScratch, Anchors};
use drlim::loss::{AnchorReduction, Measure, Positives};
use drlim::{Cx, Par, Similar};

use super::batch::{Batch, Called};
use super::case::{Case, Set, graph};
use crate::support::anchors::AnchorFormula;
use crate::support::cases::in_both_precisions;
use crate::support::element::bits;
use crate::support::{Element, labels, serial, tiers};

/// Looks at similar pairs twice.
const EACH: AnchorFormula =
    AnchorFormula::Softmax { scale: 8.0, positives: Positives::Each, decoupled: false };

/// The bits of all numbers that a call has given.
fn all_bits<T: Element>(of: &Called<T>) -> Vec<u64> {
    let sums = of.sums.iter().flat_map(|sums| {
        let [similar, dissimilar] = [sums.similar, sums.dissimilar];
        let each = sums.each.unwrap_or([f64::NAN; 2]);
        [
            similar.largest,
            similar.sum,
            dissimilar.largest,
            dissimilar.sum,
            sums.exponents,
            each[0],
            each[1],
        ]
    });
    let totals = of.outcome.totals.map(|totals| totals.sum);
    let wide = sums.chain(totals).chain([of.outcome.value, of.by_scale]);
    let wide: Vec<f64> = wide.collect();
    [bits(&wide), bits(&of.values), bits(&of.grads.concat())].concat()
}

fn results_do_not_depend_on_threads<T: Element>() {
    let [of_one, of_n, of_m] = [labels(700, 60), labels(517, 40), labels(260, 40)];
    let pools = [1, 2, 3]
        .map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    for (set, rows, d, measure) in [
        (Set::One(Similar::Labels(&of_n)), [517, 517], 40, Measure::Cosine),
        (Set::One(Similar::Labels(&of_one)), [700, 700], 2, Measure::Distance),
        (Set::by_labels(&of_n, &of_m, Anchors::Queries), [517, 260], 17, Measure::Cosine),
        (Set::by_labels(&of_n, &of_m, Anchors::Keys), [517, 260], 17, Measure::Dot),
        (Set::by_labels(&of_n, &of_m, Anchors::Both), [517, 260], 17, Measure::Cosine),
    ] {
        let batch = Batch::<T>::for_set(set, rows, d, 41);
        let reduction = AnchorReduction::MeanNonZero;
        let case = Case { measure, reduction, ..Case::new(EACH, set) };
        for isa in tiers() {
            let expected = all_bits(&batch.run(&serial(isa), &case));
            let cx = Cx { isa, par: Par::Rayon };
            let run = || all_bits(&batch.run(&cx, &case));
            for (pool, threads) in pools.iter().zip(1..) {
                assert!(pool.install(run) == expected, "{case} on {threads} threads, {isa}");
            }
            assert!(run() == expected, "{case} in the global pool, {isa}");
        }
    }
}

/// The scratch has been used for batches that are larger, smaller, of more elements, of other kinds.
fn a_used_scratch_gives_the_same_bits<T: Element>() {
    let graph = graph(160);
    let [many, few, of_m] = [labels(150, 12), labels(30, 4), labels(70, 4)];
    let mut calls = Vec::new();
    for formula in AnchorFormula::all(8.0) {
        for (set, rows, d, measure) in [
            (Set::One(Similar::Labels(&many)), [150, 150], 20, Measure::Cosine),
            (Set::by_labels(&few, &of_m, Anchors::Keys), [30, 70], 5, Measure::Dot),
            (Set::One(Similar::Graph(&graph)), [160, 160], 6, Measure::Cosine),
            (Set::by_labels(&few, &of_m, Anchors::Queries), [30, 70], 33, Measure::Cosine),
            (Set::One(Similar::Labels(&few)), [30, 30], 9, Measure::Dot),
            (Set::by_position(Anchors::Both), [12, 40], 7, Measure::Cosine),
            (Set::by_labels(&few, &many, Anchors::Queries), [30, 150], 4, Measure::Dot),
        ] {
            calls.push((Case { measure, ..Case::new(formula, set) }, rows, d));
        }
    }
    for isa in tiers() {
        let mut used = AnchorScratch::new();
        for (case, rows, d) in &calls {
            let batch = Batch::<T>::for_set(case.set, *rows, *d, 42);
            let (cx, loss) = (serial(isa), case.formula.loss());
            let expected = all_bits(&batch.run(&cx, case));
            let got = batch.run_with(&cx, case, &*loss, None, &mut used);
            assert!(all_bits(&got) == expected, "{case} x{d} on {isa}");
            // Not with what the call before has left, either.
            let known = batch.run_with(&cx, case, &*loss, Some(&got.sums), &mut used);
            let fresh = &mut AnchorScratch::new();
            let of_fresh = batch.run_with(&cx, case, &*loss, Some(&got.sums), fresh);
            assert!(all_bits(&known) == all_bits(&of_fresh), "{case} x{d}, known, on {isa}");
        }
    }
}

in_both_precisions! {
    results_do_not_depend_on_threads
    a_used_scratch_gives_the_same_bits
}
