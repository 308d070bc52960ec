//! No rows, one row, rows of no elements and of one, the largest strides: every call does there what it
//! does elsewhere.

use drlim::batch::{
    AnchorScratch, AnchorsOut, RowsOut, TripletRows, TripletRowsOut, all_anchors, rows,
    triplet_rows,
};
use drlim::loss::{AnchorObjective, Lifted, Objective, TripletObjective};
use drlim::{Cx, Mat, MatMut, Similar};

use crate::batch::{Batch, Kept, Plain, Rows};
use crate::calls::calls;
use crate::contexts;
use crate::support::anchors::AnchorFormula;
use crate::support::formulas::{PairFormula, TripletFormula};
use crate::support::{Element, tiers};

/// Numbers of rows, and of columns.
const SIZES: ([usize; 5], [usize; 6]) = ([0, 1, 2, 3, 67], [0, 1, 2, 3, 4, 19]);

fn at_their_ends<T: Element>() {
    let plain = Plain::<T>::new();
    let mut kept = Kept::new();
    for n in SIZES.0 {
        for d in SIZES.1 {
            let batches = [Rows::Gapless, Rows::Apart].map(|rows| Batch::new([n, d], rows));
            for call in calls::<T>() {
                for cx in contexts() {
                    let case = format!("{}, {n}x{d}, {cx}", call.name);
                    let [gapless, apart] = batches
                        .each_ref()
                        .map(|batch| (call.run)(&cx, batch, plain.losses(), &mut kept));
                    if n < call.least {
                        assert!(gapless.is_err() && apart.is_err(), "{case} is not refused");
                        continue;
                    }
                    let (gapless, apart) = (gapless.expect(&case), apart.expect(&case));
                    // Rows of up to three elements without gaps have kernels of their own.
                    assert!(gapless.is_near(&apart), "{case}: strides matter");
                    assert!(!gapless.has_nan(), "{case}: not written, or NaN");
                }
            }
        }
    }
}

#[test]
fn every_call_takes_no_rows_one_row_no_columns_and_any_stride() {
    at_their_ends::<f32>();
    at_their_ends::<f64>();
}

/// No rows at all may be of any width: nothing is made of it.
fn of_any_width<T: Element>() {
    let plain = Plain::<T>::new();
    let mut kept = Kept::new();
    for width in [1 << 20, usize::MAX / 8, usize::MAX] {
        let batch = Batch::<T>::new([0, width], Rows::Gapless);
        for call in calls::<T>().into_iter().filter(|call| call.least == 0) {
            for cx in contexts() {
                let got = (call.run)(&cx, &batch, plain.losses(), &mut kept);
                let got = got.unwrap_or_else(|e| panic!("{}, 0x{width}: {e}", call.name));
                assert!(got.into_numbers().iter().all(|&x| x == 0.0), "{}, 0x{width}", call.name);
            }
        }
    }
}

#[test]
fn no_rows_may_be_of_any_width() {
    of_any_width::<f32>();
    of_any_width::<f64>();
}

#[test]
fn rows_without_elements_are_filled_in_no_time() {
    let mut nothing: [f32; 0] = [];
    MatMut::new(&mut nothing, usize::MAX, 0).unwrap().fill(1.0);
    MatMut::strided(&mut nothing, usize::MAX, 0, 0).unwrap().fill(1.0);
}

/// Of each loss, the value of `n` equal pairs and triplets, and of `n` equal rows as anchors.
fn every_loss<T: Element>() {
    let one = T::ONE.to_f64();
    let data = [T::ZERO; 3];
    for n in [0, 1, 3] {
        let z = Mat::new(&data[..n], n, 1).unwrap();
        for isa in tiers() {
            let cx = Cx { isa, ..Cx::default() };
            let sigmoid = PairFormula::Sigmoid { a: 2.0, b: -6.0 };
            for formula in PairFormula::all(0.25, one).into_iter().chain([sigmoid]) {
                let loss = formula.loss::<T>();
                let (objective, similar) = (Objective::sum(&*loss), vec![false; n]);
                let got = rows(&cx, &objective, z, z, &similar, RowsOut::none()).unwrap();
                let expected = n as f64 * formula.value(0.0, false);
                assert!((got.value - expected).abs() < 1e-6, "{formula:?} of {n}: {got:?}");
            }
            for formula in TripletFormula::all(one) {
                let loss = formula.loss::<T>();
                let objective = TripletObjective::sum(&*loss);
                let triplets = TripletRows::new(z, z, z).unwrap();
                let got = triplet_rows(&cx, &objective, triplets, TripletRowsOut::none()).unwrap();
                assert!((got.value - n as f64).abs() < 1e-6, "{formula:?} of {n}: {got:?}");
            }
            for labels in [vec![7; n], (0..n as i64).collect()] {
                let similar = labels.get(1) == Some(&7);
                let value = |objective: &AnchorObjective<T>| {
                    let (of, scratch) = (Similar::Labels(&labels), &mut AnchorScratch::new());
                    all_anchors(&cx, objective, z, of, AnchorsOut::none(), scratch).unwrap().value
                };
                for formula in AnchorFormula::all(4.0) {
                    let got = value(&AnchorObjective::sum(&*formula.loss::<T>()));
                    let others = vec![(1.0, similar); n.saturating_sub(1)];
                    let expected = n as f64 * formula.cost(&others).value;
                    assert!((got - expected).abs() < 1e-5, "{formula:?} of {n}: {got}");
                }
                // No pair has its other kind to be held against.
                let lifted = Lifted::new(T::ZERO, T::ONE).unwrap();
                assert_eq!(value(&AnchorObjective::sum(&lifted)), 0.0, "{n} rows");
            }
        }
    }
}

#[test]
fn every_loss_takes_no_pairs_and_one() {
    every_loss::<f32>();
    every_loss::<f64>();
}
