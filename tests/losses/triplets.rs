//! Triplets by rows against their formulas.

use drlim::batch::{TripletRows, TripletRowsOut, triplet_rows};
use drlim::loss::{Reduction, TripletObjective};

use crate::counted::{Counted, factors};
use crate::support::element::wide;
use crate::support::formulas::TripletFormula;
use crate::support::oracle::squared_distance;
use crate::support::{Element, Guarded, Random};
use crate::{COLS, assert_near, on_tiers, serial};

crate::support::cases::in_both_precisions! {
    triplets_are_those_of_the_formula
}

fn triplets_are_those_of_the_formula<T: Element>() {
    for (cols, formula) in
        COLS.into_iter().flat_map(|c| TripletFormula::all(0.75).map(move |f| (c, f)))
    {
        let loss = formula.loss::<T>();
        let n = 300;
        let gap = cols % 2;
        let mut random = Random::new(cols as u64);
        let mut inputs = [2, 0, 1].map(|offset| {
            let size = 0.7 * (3.0 / cols as f64).sqrt();
            Guarded::<T>::new(offset, [n, cols], cols + gap, |_, _| {
                random.between::<T>(-size, size)
            })
        });
        let weights: Vec<T> =
            (0..n).map(|i| if i % 5 == 0 { T::ZERO } else { random.between(0.1, 2.0) }).collect();
        let ignored: Vec<bool> = (0..n).map(|_| random.flag(0.2)).collect();
        // Coincident points, and what is left out is NaN.
        for i in 0..n {
            let from = inputs[0].row(i).to_vec();
            if ignored[i] {
                inputs[i % 3].mat_mut().row_mut(i)[cols - 1] = T::NAN;
            } else if i % 11 == 0 {
                inputs[1].mat_mut().row_mut(i).copy_from_slice(&from);
            } else if i % 11 == 1 {
                inputs[2].mat_mut().row_mut(i).copy_from_slice(&from);
            }
        }
        let [a, p, q] = inputs.each_ref().map(Guarded::mat);
        let triplets = TripletRows::new(a, p, q).unwrap();
        let triplets = triplets.weighted(&weights).unwrap().ignoring(&ignored).unwrap();
        for (reduction, isa) in on_tiers([Reduction::Sum, Reduction::Mean, Reduction::MeanNonZero])
        {
            let mut grads =
                [1, 2, 0].map(|offset| Guarded::<T>::output(offset, [n, cols], cols + gap));
            let mut per_triplet = [(); 7].map(|()| Guarded::slice(n));
            let [values, dp, dn, third, s_ap, s_an, s_pn] =
                per_triplet.each_mut().map(Guarded::slice_mut);
            let [grad_a, grad_p, grad_n] = grads.each_mut().map(Guarded::mat_mut);
            let out = TripletRowsOut::grads(grad_a, grad_p, grad_n)
                .values(values)
                .distances(dp, dn)
                .third_distances(third)
                .slopes(s_ap, s_an, s_pn);
            let scale = T::from_f64(-1.5);
            let objective = TripletObjective::sum(&*loss).reduced(reduction).unwrap().scaled(scale);
            let outcome = triplet_rows(&serial(isa), &objective, triplets, out).unwrap();
            let per_triplet: [Vec<T>; 7] = per_triplet.map(|output| output.checked("per triplet"));
            let what = format!("{formula:?}, {cols} columns, {reduction:?}, {isa}");
            let relative = (cols as f64 + 8.0) * T::EPSILON.to_f64();
            let least = T::MIN_POSITIVE.to_f64();
            let [mut sum, mut errors] = [0.0; 2];
            let [mut pairs, mut active] = [0_u64; 2];
            let rows_of = |i: usize| inputs.each_ref().map(|input| wide(input.row(i)));
            let squares = |i: usize| {
                let [a, p, q] = rows_of(i);
                [squared_distance(&a, &p), squared_distance(&a, &q), squared_distance(&p, &q)]
            };
            for i in (0..n).filter(|&i| !ignored[i]) {
                let (d2, weight) = (squares(i), weights[i].to_f64());
                let value = weight * formula.value(d2);
                let size: f64 = d2.iter().map(|d2| d2 + d2.sqrt()).sum::<f64>() + 0.75;
                let error = weight * relative * size;
                pairs += 1;
                active += u64::from(value != 0.0);
                sum += value;
                errors += error + 72.0 * T::EPSILON.to_f64() * value;
                assert_near(per_triplet[0][i], value, error, format_args!("{what}: value {i}"));
            }
            assert_eq!([outcome.pairs, outcome.active], [pairs, active], "{what}");
            let counted = Counted { pairs, active, sum };
            let [_, factor] = factors(reduction, [Counted::default(), counted]);
            assert!((outcome.value - factor * sum).abs() <= factor * errors, "{what}");
            for i in 0..n {
                let d2 = squares(i);
                for (of, d2) in per_triplet[1..4].iter().zip(d2) {
                    assert_near(
                        of[i],
                        d2.sqrt(),
                        relative * d2.sqrt(),
                        format_args!("{what}: distance {i}"),
                    );
                }
                let weight = if ignored[i] { 0.0 } else { -1.5 * factor * weights[i].to_f64() };
                let slopes = if ignored[i] {
                    [0.0; 3]
                } else {
                    formula.slopes(d2, least).map(|s| weight * s)
                };
                for (of, slope) in per_triplet[4..].iter().zip(slopes) {
                    assert_near(
                        of[i],
                        slope,
                        2.0 * relative * slope.abs(),
                        format_args!("{what}: slope {i}"),
                    );
                }
                let [a, p, q] = rows_of(i);
                for k in 0..cols {
                    let terms = [
                        slopes[0] * (a[k] - p[k]),
                        slopes[1] * (a[k] - q[k]),
                        slopes[2] * (p[k] - q[k]),
                    ];
                    let terms = if ignored[i] { [0.0; 3] } else { terms };
                    let size: f64 = terms.iter().map(|term| term.abs()).sum();
                    let expected = [terms[0] + terms[1], terms[2] - terms[0], -terms[1] - terms[2]];
                    for (grad, expected) in grads.iter().zip(expected) {
                        let error = 4.0 * relative * size + least;
                        assert_near(
                            grad.row(i)[k],
                            expected,
                            error,
                            format_args!("{what}: gradient {i}, {k}"),
                        );
                    }
                }
            }
            grads.iter().for_each(|grad| grad.check("gradient"));
        }
    }
}
