//! Each output alone is what it is among all of them; calls write into matrices of any stride, from rows of
//! any stride.

use drlim::Similar;
use drlim::batch::{
    AnchorScratch, AnchorsOut, CrossAnchorsOut, CrossSimilar, all_anchors, cross_anchors,
};
use drlim::loss::{AnchorObjective, AnchorSums, Measure};

use super::batch::{Batch, DIRECTIONS, Wanted, assert_close};
use super::case::{Case, MEASURES, Set};
use crate::support::anchors::AnchorFormula;
use crate::support::cases::in_both_precisions;
use crate::support::element::{bits, wide};
use crate::support::{Element, Guarded, labels, serial, tiers};

const NOTHING: Wanted = Wanted { grads: [false; 2], values: false, sums: false, grad_scale: false };

fn each_output_alone_is_as_among_all<T: Element>() {
    let [of_n, of_m] = [labels(70, 8), labels(150, 8)];
    let two = DIRECTIONS.map(|anchors| Set::by_labels(&of_n, &of_m, anchors));
    for (formula, measure) in
        AnchorFormula::all(8.0).into_iter().flat_map(|f| MEASURES.map(|m| (f, m)))
    {
        if formula.scale().is_none() || !formula.takes(measure) {
            continue;
        }
        for set in [Set::One(Similar::Labels(&of_n))].into_iter().chain(two) {
            let batch = Batch::<T>::for_set(set, [70, 150], 9, 51);
            let case = Case { measure, scale: 3.0, ..Case::new(formula, set) };
            let (loss, tolerance) = (formula.loss(), case.tolerance::<T>());
            for isa in tiers() {
                let (cx, mut scratch) = (serial(isa), AnchorScratch::new());
                let all = batch.run_with(&cx, &case, &*loss, None, &mut scratch);
                let [grad_size, value_size] = [&all.grads.concat(), &all.values]
                    .map(|of| wide(of).iter().fold(1e-2, |largest: f64, x| largest.max(x.abs())));
                for (wanted, name) in [
                    (NOTHING, "nothing"),
                    (Wanted { grads: [true, false], ..NOTHING }, "the first gradient"),
                    (Wanted { grads: [false, true], ..NOTHING }, "the second gradient"),
                    (Wanted { values: true, ..NOTHING }, "values"),
                    (Wanted { sums: true, ..NOTHING }, "sums"),
                    (Wanted { grad_scale: true, ..NOTHING }, "grad_scale"),
                ] {
                    let what = format!("{case}: {name} alone on {isa}");
                    let one = batch.run_for(wanted, &cx, &case, &*loss, None, &mut scratch);
                    let (got, value) = ([one.outcome.value], [all.outcome.value]);
                    assert_close(&got, &value, tolerance, value_size, &what);
                    for (side, (got, grad)) in one.grads.iter().zip(&all.grads).enumerate() {
                        if wanted.grads[side] {
                            assert_close(got, &wide(grad), tolerance, grad_size, &what);
                        } else {
                            assert!(got.iter().all(|g| g.is_nan()), "{what}: not asked for");
                        }
                    }
                    if wanted.values {
                        assert_close(&one.values, &wide(&all.values), tolerance, 1e-2, &what);
                    } else {
                        assert!(one.values.iter().all(|value| value.is_nan()), "{what}");
                    }
                    for (got, sums) in one.sums.iter().zip(&all.sums) {
                        let sums = if wanted.sums { *sums } else { AnchorSums::default() };
                        let logs = |of: &AnchorSums| [of.similar.log(), of.dissimilar.log()];
                        let finite = |of: [f64; 2]| of.map(|x| x.max(-1e3));
                        let (got, sums) = (finite(logs(got)), finite(logs(&sums)));
                        assert_close(&got, &sums, tolerance, 1.0, &what);
                    }
                    if wanted.grad_scale {
                        let size = value_size.max(all.by_scale.abs());
                        assert_close(&[one.by_scale], &[all.by_scale], tolerance, size, &what);
                    }
                }
            }
        }
    }
}

fn rows_may_be_strided_and_misaligned<T: Element>() {
    let ([n, m], d) = ([45, 75], 21);
    let [of_n, of_m] = [labels(n, 6), labels(m, 6)];
    let formula = AnchorFormula::all(8.0)[0];
    let loss = formula.loss::<T>();
    for (anchors, measure) in DIRECTIONS.into_iter().zip([0, 1, 0].map(|at| MEASURES[at])) {
        let two = Batch::<T>::random([n, m], d, 52);
        let case = Case { measure, ..Case::new(formula, Set::by_labels(&of_n, &of_m, anchors)) };
        let one = Batch { z: [two.z[0].clone(), two.z[0].clone()], rows: [n, n], d };
        let of_one = Case { set: Set::One(Similar::Labels(&of_n)), ..case };
        let objective = AnchorObjective::sum(&*loss).measured(measure);
        for (isa, (offset, gap)) in
            tiers().into_iter().flat_map(|isa| [(0, 1), (3, 11), (15, 0)].map(|at| (isa, at)))
        {
            let (cx, mut scratch) = (serial(isa), AnchorScratch::new());
            let [queries, keys] = [0, 1].map(|side| {
                let shape = [two.rows[side], d];
                Guarded::new(offset + side, shape, d + gap, |i, k| two.z[side][i * d + k])
            });
            let grads = || [n, m].map(|rows| Guarded::output(offset + 1, [rows, d], d + gap));
            let what = format!("{case}, gap {gap} on {isa}");

            let [mut of_queries, mut of_keys] = grads();
            let out = CrossAnchorsOut::grads(of_queries.mat_mut(), of_keys.mat_mut());
            let similar = CrossSimilar::Labels { queries: &of_n, keys: &of_m, ignored: None };
            let (q, k) = (queries.mat(), keys.mat());
            cross_anchors(&cx, &objective, q, k, similar, None, anchors, out, &mut scratch)
                .unwrap();
            let expected = two.run(&cx, &case).grads;
            assert_eq!(of_queries.bits(), bits(&expected[0]), "{what}");
            assert_eq!(of_keys.bits(), bits(&expected[1]), "{what}");
            of_queries.check("grad_queries");
            of_keys.check("grad_keys");

            let [mut grad, _] = grads();
            let out = AnchorsOut::grad(grad.mat_mut());
            let similar = Similar::Labels(&of_n);
            all_anchors(&cx, &objective, queries.mat(), similar, out, &mut scratch).unwrap();
            assert_eq!(grad.bits(), bits(&one.run(&cx, &of_one).grads[0]), "{what}");
            grad.check("grad");
        }
    }
}

fn the_scale_of_an_objective_multiplies_gradients_alone<T: Element>() {
    let [of_n, of_m] = [labels(30, 4), labels(50, 4)];
    let two = DIRECTIONS.map(|anchors| Set::by_labels(&of_n, &of_m, anchors));
    for set in [Set::One(Similar::Labels(&of_n))].into_iter().chain(two) {
        let batch = Batch::<T>::for_set(set, [30, 50], 11, 53);
        let case = Case { measure: Measure::Dot, ..Case::new(AnchorFormula::all(8.0)[0], set) };
        for isa in tiers() {
            let one = batch.run(&serial(isa), &case);
            // A power of two rounds nothing.
            let half = batch.run(&serial(isa), &Case { scale: -0.5, ..case });
            assert_eq!(one.outcome, half.outcome, "{case} on {isa}");
            assert_eq!(bits(&one.values), bits(&half.values), "{case} on {isa}");
            assert_eq!(half.by_scale, -0.5 * one.by_scale, "{case} on {isa}");
            let minus_half = T::from_f64(-0.5);
            for (one, half) in one.grads.concat().into_iter().zip(half.grads.concat()) {
                assert_eq!(half, minus_half * one, "{case} on {isa}");
            }
        }
    }
}

in_both_precisions! {
    each_output_alone_is_as_among_all
    rows_may_be_strided_and_misaligned
    the_scale_of_an_objective_multiplies_gradients_alone
}
