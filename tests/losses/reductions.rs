//! Reductions, weights and pairs left out: of a whole batch, of its parts, and past the caches.

use drlim::batch::{RowsOut, rows};
use drlim::loss::{Objective, Pairing, Reduction, Sums};
use drlim::{Cx, Par};

use crate::batch::{Batch, Options};
use crate::outputs::Outputs;
use crate::support::formulas::PairFormula;
use crate::support::{Element, Guarded, tiers};
use crate::{COLS, M, REDUCTIONS, formulas, on_tiers, serial};

crate::support::cases::in_both_precisions! {
    reductions_weights_and_pairs_left_out_do_what_they_say
    parts_of_a_batch_add_up_to_the_whole
    past_the_caches_weights_and_pairs_left_out_do_the_same
}

/// Every reduction, with weights and without, with pairs left out and without.
fn options() -> Vec<Options> {
    let of = |reduction, [weighted, ignoring]: [bool; 2]| {
        let scale = if weighted { -0.75 } else { 1.0 };
        Options { reduction, scale, weighted, ignoring }
    };
    let both = [[false, false], [false, true], [true, false], [true, true]];
    REDUCTIONS.into_iter().flat_map(|r| both.map(|flags| of(r, flags))).collect()
}

fn reductions_weights_and_pairs_left_out_do_what_they_say<T: Element>() {
    for (f, formula) in formulas().into_iter().enumerate() {
        let loss = formula.loss::<T>();
        for (c, cols) in COLS.into_iter().enumerate() {
            // More than a block of pairs.
            let shape = [300, cols];
            let gap = (f + c) % 2 * 3;
            let clean = Batch::<T>::new(formula, shape, gap, (f * 10 + c) as u64);
            let mut poisoned = Batch::<T>::new(formula, shape, gap, (f * 10 + c) as u64);
            poisoned.poison();
            for (options, isa) in on_tiers(options()) {
                let what = format!("{formula:?}, {cols} columns, gap {gap}, {options:?}, {isa}");
                let batch = if options.ignoring { &poisoned } else { &clean };
                let pairing = batch.pairing(options.weighted, options.ignoring);
                let scale = T::from_f64(options.scale);
                let objective = Objective::sum(&*loss).reduced(options.reduction).scaled(scale);
                let mut out = Outputs::new(shape, c, gap);
                let outcome = batch.run(&serial(isa), &objective, pairing, out.all());
                batch.check(&out, outcome, options, &what);
                let alone = batch.run(&serial(isa), &objective, pairing, RowsOut::none());
                assert_eq!(alone, outcome, "{what}");
            }
        }
    }
}

fn parts_of_a_batch_add_up_to_the_whole<T: Element>() {
    for (f, formula) in formulas().into_iter().enumerate() {
        let loss = formula.loss::<T>();
        let cols = COLS[(f + 1) % COLS.len()];
        let n = 700;
        let mut batch = Batch::<T>::new(formula, [n, cols], 0, 40 + f as u64);
        batch.poison();
        let [a, b] = batch.inputs.each_ref().map(Guarded::mat);
        for (reduction, isa) in on_tiers(REDUCTIONS) {
            let objective = Objective::sum(&*loss).reduced(reduction);
            let mut whole_out = Outputs::<T>::new([n, cols], 0, 0);
            let whole =
                batch.run(&serial(isa), &objective, batch.pairing(true, true), whole_out.all());
            let cuts = [0, 37, 300, n];
            let parts = |objective: &Objective<T>, out: &mut Outputs<T>| {
                let mut sums = Sums::default();
                let mut value = 0.0;
                for cut in cuts.windows(2) {
                    let (from, to) = (cut[0], cut[1]);
                    let pairing = Pairing::new(&batch.similar[from..to])
                        .weighted(&batch.weights[from..to])
                        .ignoring(&batch.ignored[from..to]);
                    let [grad_a, grad_b] = out.grads.each_mut().map(|grad| {
                        grad.mat_mut().split_rows_at(from).1.split_rows_at(to - from).0
                    });
                    let out = RowsOut::grads(grad_a, grad_b);
                    let (a, b) = (a.rows_range(from, to), b.rows_range(from, to));
                    let outcome = rows(&serial(isa), objective, a, b, pairing, out).unwrap();
                    sums = sums + outcome.sums;
                    value += outcome.value;
                }
                (sums, value)
            };
            let mut out = Outputs::<T>::new([n, cols], 0, 0);
            let (sums, _) = parts(&Objective::sum(&*loss), &mut out);
            let counts =
                |sums: Sums| [sums.similar, sums.dissimilar].map(|kind| (kind.pairs, kind.active));
            assert_eq!(counts(sums), counts(whole.sums), "{formula:?} {reduction:?} {isa}");
            let of = Options { reduction, scale: 1.0, weighted: true, ignoring: true };
            let (_, [_, sizes]) = batch.sums(of);
            let factors = reduction.factors(&sums);
            let largest = factors[0].abs().max(factors[1].abs());
            let allowed = 2.0 * 72.0 * T::EPSILON.to_f64() * sizes * largest;
            let near = |value: f64| (value - whole.value).abs() <= allowed;
            assert!(near(reduction.value(&sums)), "{formula:?} {reduction:?} {isa}");
            // The parts have the gradient of the whole once they know its factors.
            let [similar, dissimilar] = factors;
            let mine = objective.reduced(Reduction::Factors { similar, dissimilar });
            let (_, value) = parts(&mine, &mut out);
            assert!(near(value), "{formula:?} {reduction:?} {isa}");
            for (part, whole) in out.grads.iter().zip(&whole_out.grads) {
                assert!(part.bits() == whole.bits(), "{formula:?} {reduction:?} {isa}");
            }
        }
    }
}

fn past_the_caches_weights_and_pairs_left_out_do_the_same<T: Element>() {
    // More than the last cache of most processors holds.
    let shape = if size_of::<T>() == 4 { [40_000, 100] } else { [21_000, 100] };
    let formula = PairFormula::Contrastive { m: M };
    let loss = formula.loss::<T>();
    let mut dense = Batch::<T>::new(formula, shape, 0, 50);
    dense.poison();
    // A gap between the rows keeps plain writes.
    let mut strided = Batch::<T>::new(formula, shape, 1, 50);
    strided.poison();
    let options = Options {
        reduction: Reduction::BalancedNonZero,
        scale: -0.75,
        weighted: true,
        ignoring: true,
    };
    let scale = T::from_f64(options.scale);
    let objective = Objective::sum(&*loss).reduced(options.reduction).scaled(scale);
    for isa in tiers() {
        let cx = Cx { isa, par: Par::Rayon };
        for offset in [0, 1] {
            let run = |batch: &Batch<T>, gap: usize| {
                let mut out = Outputs::new(shape, offset, gap);
                let pairing = batch.pairing(true, true);
                let outcome = batch.run(&cx, &objective, pairing, out.all());
                batch.check(&out, outcome, options, &format!("{isa}, offset {offset}, gap {gap}"));
                (outcome, out.bits())
            };
            assert!(run(&dense, 0) == run(&strided, 1), "{isa}, offset {offset}");
        }
    }
}
