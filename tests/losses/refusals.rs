//! What is refused: slices of a wrong length, margins outside of their domain, triplets that do not
//! fit.

use drlim::batch::{RowsOut, TripletRows, TripletRowsOut, rows, triplet_rows};
use drlim::loss::{
    ArcFace, Circle, Contrastive, CosFace, CosineContrastive, DoubleMargin, Exponential,
    GeneralizedLifted, Lifted, LinearHinge, MultiSimilarity, Objective, Pairing, Reduction,
    Sigmoid, Softmax, SquaredHinge, SquaredTriplet, TripletMargin, TripletObjective,
};
use drlim::{Cx, Mat, MatMut};

use crate::support::Element;

crate::support::cases::in_both_precisions! {
    slices_of_wrong_length_are_refused_and_nothing_is_written
    margins_outside_of_their_domain_are_refused
    parameters_of_anchors_outside_of_their_domain_are_refused
    what_does_not_fit_triplets_is_refused
}

/// The lengths of all slices of a call on three pairs; one of them wrong, and what is said then.
#[derive(Clone, Copy)]
struct Lengths {
    similar: usize,
    weights: usize,
    ignored: usize,
    distances: usize,
    values: usize,
    slopes: usize,
}

const RIGHT: Lengths =
    Lengths { similar: 3, weights: 3, ignored: 3, distances: 3, values: 3, slopes: 3 };

fn slices_of_wrong_length_are_refused_and_nothing_is_written<T: Element>() {
    let loss = Contrastive::new(T::ONE).unwrap();
    let objective = Objective::mean(&loss);
    for len in [0, 2, 4] {
        for (name, lengths) in [
            ("similar", Lengths { similar: len, ..RIGHT }),
            ("weights", Lengths { weights: len, ..RIGHT }),
            ("ignored", Lengths { ignored: len, ..RIGHT }),
            ("distances", Lengths { distances: len, ..RIGHT }),
            ("values", Lengths { values: len, ..RIGHT }),
            ("slopes", Lengths { slopes: len, ..RIGHT }),
        ] {
            let data = [T::ONE; 6];
            let mat = Mat::new(&data, 3, 2).unwrap();
            let seven = T::from_f64(7.0);
            let (flags, weights, mut grads) = ([false; 4], [T::ONE; 4], [[seven; 6]; 2]);
            let mut outputs = [[seven; 4]; 3];
            let [grad_a, grad_b] = grads.each_mut().map(|grad| MatMut::new(grad, 3, 2).unwrap());
            let [distances, values, slopes] = outputs.each_mut();
            let out = RowsOut::grads(grad_a, grad_b)
                .distances(&mut distances[..lengths.distances])
                .values(&mut values[..lengths.values])
                .slopes(&mut slopes[..lengths.slopes]);
            let pairing = Pairing::new(&flags[..lengths.similar])
                .weighted(&weights[..lengths.weights])
                .ignoring(&flags[..lengths.ignored]);
            let refused = rows(&Cx::default(), &objective, mat, mat, pairing, out).unwrap_err();
            let message = format!("rows: {name} has {len} elements, expected 3 (the rows of a)");
            assert_eq!(refused.to_string(), message);
            assert_eq!((grads, outputs), ([[seven; 6]; 2], [[seven; 4]; 3]), "{name} {len}");
        }
    }
}

fn margins_outside_of_their_domain_are_refused<T: Element>() {
    let good = T::from_f64(0.5);
    let wrong = [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -f64::MIN_POSITIVE];
    for bad in wrong.into_iter().chain([0.0]).map(T::from_f64) {
        // The smallest f64 below 0 is -0 in f32, which is 0 to all of them.
        let says = |name: &str| format!("{name} is {}, expected finite and positive", bad.to_f64());
        for (got, expected) in [
            (Contrastive::new(bad).map(drop), says("margin")),
            (SquaredHinge::new(bad).map(drop), says("margin")),
            (CosineContrastive::new(bad).map(drop), says("margin")),
            (Exponential::new(bad).map(drop), says("bound")),
            (LinearHinge::new(good, bad).map(drop), says("negative_margin")),
            (DoubleMargin::new(good, bad).map(drop), says("negative_margin")),
            (TripletMargin::new(bad).map(drop), says("margin")),
            (SquaredTriplet::new(bad).map(drop), says("margin")),
        ] {
            assert_eq!(got.unwrap_err().to_string(), expected);
        }
        if bad == T::ZERO {
            assert_eq!(LinearHinge::new(bad, good).unwrap().positive_margin(), T::ZERO);
            assert_eq!(DoubleMargin::new(bad, good).unwrap().positive_margin(), T::ZERO);
            continue;
        }
        let says = format!("positive_margin is {}, expected finite and not negative", bad.to_f64());
        assert_eq!(LinearHinge::new(bad, good).unwrap_err().to_string(), says);
        assert_eq!(DoubleMargin::new(bad, good).unwrap_err().to_string(), says);
    }
    let tiny = T::tiny();
    // A bound of which twice or a quarter's inverse overflows would give NaN at distance 0.
    for bound in [tiny, T::MAX] {
        let error = Exponential::new(bound).unwrap_err().to_string();
        assert!(error.contains("such that 2Q and 4/Q are finite"), "{error}");
    }
    let least = T::MIN_POSITIVE * T::from_f64(4.0);
    assert_eq!(Exponential::new(least).unwrap().bound(), least);
    assert_eq!(DoubleMargin::new(good, tiny).unwrap().negative_margin(), tiny);
}

fn parameters_of_anchors_outside_of_their_domain_are_refused<T: Element>() {
    let good = T::from_f64(0.5);
    let wrong = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0];
    for bad in wrong.into_iter().map(T::from_f64) {
        let says =
            |name: &str, domain: &str| format!("{name} is {}, expected {domain}", bad.to_f64());
        let positive = "finite and positive";
        for (got, expected) in [
            (Softmax::scale(bad).map(drop), says("scale", positive)),
            (Softmax::temperature(bad).map(drop), says("temperature", positive)),
            (CosFace::new(bad, good).map(drop), says("scale", positive)),
            (ArcFace::new(bad, good).map(drop), says("scale", positive)),
            (MultiSimilarity::new(bad, good, good).map(drop), says("alpha", positive)),
            (MultiSimilarity::new(good, bad, good).map(drop), says("beta", positive)),
            (Circle::new(good, bad).map(drop), says("gamma", positive)),
            (Sigmoid::new(bad, good).map(drop), says("scale", positive)),
        ] {
            assert_eq!(got.unwrap_err().to_string(), expected);
        }
        let not_negative = "finite and not negative";
        for (got, expected) in [
            (CosFace::new(good, bad).map(drop), says("margin", not_negative)),
            (ArcFace::new(good, bad).map(drop), says("margin", not_negative)),
        ] {
            let expected = (bad != T::ZERO).then_some(expected);
            assert_eq!(got.err().map(|error| error.to_string()), expected);
        }
        let number = "a finite number";
        for (got, expected) in [
            (MultiSimilarity::new(good, good, bad).map(drop), says("base", number)),
            (Circle::new(bad, good).map(drop), says("margin", number)),
            (GeneralizedLifted::new(bad, good).map(drop), says("positive_margin", number)),
            (GeneralizedLifted::new(good, bad).map(drop), says("margin", number)),
            (Lifted::new(bad, good).map(drop), says("positive_margin", number)),
            (Lifted::new(good, bad).map(drop), says("margin", number)),
            (Sigmoid::new(good, bad).map(drop), says("bias", number)),
        ] {
            let expected = (!bad.is_finite()).then_some(expected);
            assert_eq!(got.err().map(|error| error.to_string()), expected);
        }
    }
    // The scale of a temperature is a number too.
    let error = Softmax::temperature(T::tiny()).unwrap_err().to_string();
    assert!(error.contains("such that 1 / temperature is finite"), "{error}");
    assert!(Softmax::temperature(T::MIN_POSITIVE * T::from_f64(4.0)).is_ok());
}

fn what_does_not_fit_triplets_is_refused<T: Element>() {
    let loss = TripletMargin::new(T::ONE).unwrap();
    let sum = TripletObjective::sum(&loss);
    let factors = Reduction::Factors { similar: 1.0, dissimilar: 1.0 };
    for reduction in [Reduction::Balanced, Reduction::BalancedNonZero, factors] {
        let refused = sum.reduced(reduction).map(drop).unwrap_err().to_string();
        assert!(
            refused.starts_with(&format!("the reduction {reduction:?} is for pairs")),
            "{refused}"
        );
    }
    let data = [T::ONE; 6];
    let [good, bad] = [3, 2].map(|rows| Mat::new(&data[..2 * rows], rows, 2).unwrap());
    assert!(
        TripletRows::new(good, bad, good).is_err() && TripletRows::new(good, good, bad).is_err()
    );
    let triplets = TripletRows::new(good, good, good).unwrap();
    assert!(triplets.weighted(&data[..2]).is_err() && triplets.ignoring(&[true; 4]).is_err());
    let seven = T::from_f64(7.0);
    for wrong in 0..9 {
        let mut grads = [[seven; 6]; 3];
        let mut outputs = [[seven; 4]; 6];
        let rows = |m: usize| if m == wrong { 2 } else { 3 };
        let [ga, gp, gn] = grads.each_mut();
        let out = TripletRowsOut::grads(
            MatMut::new(&mut ga[..2 * rows(0)], rows(0), 2).unwrap(),
            MatMut::new(&mut gp[..2 * rows(1)], rows(1), 2).unwrap(),
            MatMut::new(&mut gn[..2 * rows(2)], rows(2), 2).unwrap(),
        );
        let [values, dp, dn, ap, an, pn] = outputs.each_mut();
        let out = out
            .values(&mut values[..rows(3)])
            .distances(&mut dp[..rows(4)], &mut dn[..rows(5)])
            .slopes(&mut ap[..rows(6)], &mut an[..rows(7)], &mut pn[..rows(8)]);
        assert!(triplet_rows(&Cx::default(), &sum, triplets, out).is_err(), "{wrong}");
        assert_eq!((grads, outputs), ([[seven; 6]; 3], [[seven; 4]; 6]), "{wrong}");
    }
}
