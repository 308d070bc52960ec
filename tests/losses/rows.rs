//! Pairs by rows: values and slopes at any distance, and each output with the others and without.

use drlim::Mat;
use drlim::batch::{RowsOut, rows};
use drlim::loss::Objective;

use crate::batch::Batch;
use crate::outputs::Outputs;
use crate::support::element::same;
use crate::support::formulas::PairFormula;
use crate::support::{Element, Guarded, Random, tiers};
use crate::{COLS, M, P, REDUCTIONS, assert_near, formulas, on_tiers, serial};

crate::support::cases::in_both_precisions! {
    values_and_slopes_are_those_of_the_formula_at_any_distance
    exactly_at_a_margin_nothing_is_active
    each_output_is_the_same_with_the_others_and_without
}

/// Distances where formulas change their course, exactly so, and between; NaN last.
fn distances<T: Element>() -> Vec<T> {
    let mut random = Random::new(1);
    let root = T::MIN_POSITIVE.sqrt();
    let near = |x: f64| {
        let eps = T::EPSILON.to_f64();
        [x * (1.0 - 4.0 * eps), x, x * (1.0 + 4.0 * eps)].map(T::from_f64)
    };
    let mut distances = vec![
        T::ZERO,
        T::tiny(),
        T::MIN_POSITIVE,
        root / T::from_f64(2.0),
        root,
        root * T::from_f64(2.0),
        T::from_f64(1e6),
        T::MAX,
        T::INFINITY,
    ];
    distances.extend([near(P), near(M)].concat());
    distances.extend((0..200).map(|_| random.between::<T>(0.0, 2.0 * M)));
    distances.push(T::NAN);
    distances
}

fn values_and_slopes_are_those_of_the_formula_at_any_distance<T: Element>() {
    let distances = distances::<T>();
    let pairs: Vec<(T, bool)> =
        distances.into_iter().flat_map(|d| [(d, true), (d, false)]).collect();
    let similar: Vec<bool> = pairs.iter().map(|pair| pair.1).collect();
    for cols in COLS {
        // One coordinate differs, so d² is rounded once.
        let shape = [pairs.len(), cols];
        let a =
            Guarded::new(3, shape, cols, |i, k| if k == cols / 2 { pairs[i].0 } else { T::ZERO });
        let b = Guarded::new(1, shape, cols, |_, _| T::ZERO);
        for (formula, isa) in on_tiers(formulas()) {
            let mut out = Outputs::<T>::new(shape, 1, 0);
            let loss = formula.loss::<T>();
            let objective = Objective::sum(&*loss);
            let outcome =
                rows(&serial(isa), &objective, a.mat(), b.mat(), &similar, out.all()).unwrap();
            out.check_guards();
            assert!(outcome.value.is_nan());
            for (i, &(d, similar)) in pairs.iter().enumerate() {
                let d2 = (d * d).to_f64();
                let what =
                    format!("{formula:?}, d = {d:e}, similar {similar}, {isa}, {cols} columns:");
                let cost = formula.cost::<T>(d2, similar, 4.0 * T::EPSILON.to_f64());
                let [value, slope, distance] =
                    [&out.values, &out.slopes, &out.distances].map(|of| of.row(0)[i]);
                assert_near(value, cost.value, cost.value_error, format_args!("{what} value"));
                assert_near(slope, cost.slope, cost.slope_error, format_args!("{what} slope"));
                assert!(same(distance, (d * d).sqrt()), "{what} distance {distance}");
                let expected = slope * d;
                let [grad_a, grad_b] = out.grads.each_ref().map(|grad| grad.row(i)[cols / 2]);
                assert!(same(grad_a, expected) && same(grad_b, -expected), "{what} gradient");
            }
        }
    }
}

fn exactly_at_a_margin_nothing_is_active<T: Element>() {
    let (at, origin) = ([T::from_f64(P), T::from_f64(M), T::from_f64(M)], [T::ZERO; 3]);
    let similar = [true, false, false];
    for (formula, isa) in on_tiers(formulas()) {
        let loss = formula.loss::<T>();
        let (mut values, mut slopes) = ([T::NAN; 3], [T::NAN; 3]);
        let out = RowsOut::none().values(&mut values).slopes(&mut slopes);
        let [a, b] = [&at, &origin].map(|x| Mat::new(x, 3, 1).unwrap());
        let outcome = rows(&serial(isa), &Objective::sum(&*loss), a, b, &similar, out).unwrap();
        // Pair 0 is at a kink where similar pairs have one, the others where dissimilar ones have.
        let inert = match formula {
            PairFormula::LinearHinge { .. } | PairFormula::DoubleMargin { .. } => 0..3,
            PairFormula::Exponential { .. } | PairFormula::Sigmoid { .. } => 0..0,
            _ => 1..3,
        };
        assert_eq!(outcome.active, 3 - inert.len() as u64, "{formula:?} on {isa}: {values:?}");
        for i in inert {
            assert_eq!((values[i], slopes[i]), (T::ZERO, T::ZERO), "{formula:?} on {isa}");
        }
    }
}

fn each_output_is_the_same_with_the_others_and_without<T: Element>() {
    for (f, formula) in formulas().into_iter().enumerate() {
        let loss = formula.loss::<T>();
        for cols in COLS {
            let batch = Batch::<T>::new(formula, [270, cols], 0, f as u64);
            let reduction = REDUCTIONS[f % REDUCTIONS.len()];
            let objective = Objective::sum(&*loss).reduced(reduction);
            for isa in tiers() {
                let run = |out: RowsOut<T>| {
                    batch.run(&serial(isa), &objective, batch.pairing(true, true), out)
                };
                let mut all = Outputs::<T>::new([270, cols], 0, 0);
                run(all.all());
                let all = all.bits();
                for asked in 0..16 {
                    let mut some = Outputs::<T>::new([270, cols], 0, 0);
                    let untouched = some.bits();
                    let [grad_a, grad_b] = some.grads.each_mut().map(Guarded::mat_mut);
                    let out = if asked & 1 == 0 {
                        RowsOut::none()
                    } else {
                        RowsOut::grads(grad_a, grad_b)
                    };
                    let out = if asked & 2 == 0 {
                        out
                    } else {
                        out.distances(some.distances.slice_mut())
                    };
                    let out =
                        if asked & 4 == 0 { out } else { out.values(some.values.slice_mut()) };
                    let out =
                        if asked & 8 == 0 { out } else { out.slopes(some.slopes.slice_mut()) };
                    run(out);
                    for (m, bit) in [0, 0, 1, 2, 3].into_iter().enumerate() {
                        let expected = if asked >> bit & 1 == 0 { &untouched } else { &all };
                        assert!(
                            some.bits()[m] == expected[m],
                            "{formula:?} {cols} {asked} {m} {isa}"
                        );
                    }
                }
            }
        }
    }
}
