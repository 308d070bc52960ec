//! Promises of the nearest-neighbour error, on cases that can be counted by hand.

use drlim::metrics::{knn_error, knn_error_leave_one_out};
use drlim::{Cx, Error, Isa, Mat, Par};

fn contexts() -> impl Iterator<Item = Cx> {
    Isa::available().flat_map(|isa| [Par::Serial, Par::Rayon].map(|par| Cx { isa, par }))
}

#[test]
fn the_majority_of_the_nearest_decides() {
    let train = Mat::new(&[0.0_f32, 1.0, 2.0, 10.0, 11.0, 12.0], 6, 1).unwrap();
    let labels = [7, -3, -3, 7, 7, 7];
    let test = Mat::new(&[0.1_f32, 0.2, 11.5], 3, 1).unwrap();
    for cx in contexts() {
        let error = |test_labels: &[i64], k| knn_error(&cx, train, &labels, test, test_labels, k);
        // The nearest of the first two is sample 0, of class 7; two of their nearest three are -3;
        // all six have a majority of 7.
        assert_eq!(error(&[7, 7, 7], 1), Ok(0.0));
        assert_eq!(error(&[7, 7, 7], 3), Ok(2.0 / 3.0));
        assert_eq!(error(&[-3, -3, 7], 3), Ok(0.0));
        assert_eq!(error(&[-3, -3, -3], 6), Ok(1.0));
    }
}

#[test]
fn of_equally_frequent_classes_the_one_that_comes_first_wins() {
    let train = Mat::new(&[1.0_f64, 2.0, 3.0, 4.0, 5.0], 5, 1).unwrap();
    let test = Mat::new(&[0.0_f64], 1, 1).unwrap();
    for cx in contexts() {
        let is = |labels: &[i64], k, class| {
            assert_eq!(
                knn_error(&cx, train, labels, test, &[class], k),
                Ok(0.0),
                "{labels:?}, k {k}"
            );
        };
        is(&[4, 1, 1, 4, 9], 4, 4);
        is(&[1, 4, 4, 1, 9], 4, 1);
        is(&[9, 4, 1, 4, 1], 5, 4);
        is(&[3, 2, 1, 0, 0], 4, 3);
    }
}

#[test]
fn a_sample_does_not_vote_for_itself() {
    // Alone in its class, each would be right if it were its own neighbour.
    let set = Mat::new(&[0.0_f32, 0.0, 5.0, 5.0, 5.0, 6.0], 3, 2).unwrap();
    for cx in contexts() {
        assert_eq!(knn_error_leave_one_out(&cx, set, &[1, 2, 3], 1), Ok(1.0));
        assert_eq!(knn_error_leave_one_out(&cx, set, &[1, 2, 2], 1), Ok(1.0 / 3.0));
        assert_eq!(knn_error_leave_one_out(&cx, set, &[2, 2, 2], 2), Ok(0.0));
    }
}

#[test]
fn nothing_to_classify_is_no_error() {
    let train = Mat::new(&[0.0_f32, 1.0], 2, 1).unwrap();
    let test = Mat::new(&[], 0, 1).unwrap();
    assert_eq!(knn_error(&Cx::default(), train, &[0, 1], test, &[], 1), Ok(0.0));
}

#[test]
fn labels_and_shapes_that_do_not_match_are_refused() {
    let cx = Cx::default();
    let data = [0.0_f32; 6];
    let (set, narrow) = (Mat::new(&data, 3, 2).unwrap(), Mat::new(&data, 6, 1).unwrap());
    let (three, two) = ([0; 3], [0; 2]);
    assert!(matches!(
        knn_error(&cx, set, &two, set, &three, 1),
        Err(Error::Length { arg: "train_labels", got: 2, expected: 3, .. })
    ));
    assert!(matches!(
        knn_error(&cx, set, &three, set, &two, 1),
        Err(Error::Length { arg: "test_labels", got: 2, expected: 3, .. })
    ));
    assert!(matches!(knn_error(&cx, set, &three, narrow, &[0; 6], 1), Err(Error::Shape { .. })));
    assert!(matches!(knn_error(&cx, set, &three, set, &three, 4), Err(Error::Value { .. })));
    assert!(matches!(
        knn_error_leave_one_out(&cx, set, &two, 1),
        Err(Error::Length { arg: "labels", got: 2, expected: 3, .. })
    ));
    assert!(matches!(knn_error_leave_one_out(&cx, set, &three, 3), Err(Error::Value { .. })));
}
