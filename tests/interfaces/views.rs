//! Views of matrices: what their constructors refuse, what they give, and that halves are disjoint.

#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use drlim::{Error, Mat, MatMut};

/// The message of a panic.
#[track_caller]
fn panic_of<R>(f: impl FnOnce() -> R) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).err().expect("it should have panicked");
    *payload.downcast::<String>().expect("the message of a panic")
}

/// Both constructors of both views on a slice of `len` numbers: they agree, so one answer each.
fn new(len: usize, rows: usize, cols: usize) -> Result<[usize; 2], String> {
    let mut data = vec![0.0_f32; len];
    let shared = Mat::new(&data, rows, cols).map(|view| view.shape()).map_err(message);
    let exclusive = MatMut::new(&mut data, rows, cols).map(|view| view.shape()).map_err(message);
    assert_eq!(shared.is_ok(), exclusive.is_ok());
    if let (Err(shared), Err(exclusive)) = (&shared, &exclusive) {
        assert_eq!(shared, &exclusive.replace("MatMut", "Mat"));
    }
    shared
}

fn strided(len: usize, rows: usize, cols: usize, stride: usize) -> Result<[usize; 2], String> {
    let mut data = vec![0.0_f32; len];
    let shared = Mat::strided(&data, rows, cols, stride).map(|v| v.shape()).map_err(message);
    let exclusive =
        MatMut::strided(&mut data, rows, cols, stride).map(|v| v.shape()).map_err(message);
    assert_eq!(shared.is_ok(), exclusive.is_ok());
    shared
}

fn message(error: Error) -> String {
    error.to_string()
}

#[test]
fn dense_views_take_exactly_their_elements() {
    assert_eq!(new(12, 3, 4), Ok([3, 4]));
    assert_eq!(new(0, 0, 4), Ok([0, 4]));
    assert_eq!(new(0, 3, 0), Ok([3, 0]));
    assert_eq!(new(0, usize::MAX, 0), Ok([usize::MAX, 0]));
    assert_eq!(new(11, 3, 4), Err("Mat: data has 11 elements, expected 12 (rows x cols)".into()));
    assert_eq!(new(13, 3, 4), Err("Mat: data has 13 elements, expected 12 (rows x cols)".into()));
    assert!(new(1, 0, 4).is_err());
    assert!(new(4, 0, 0).is_err());
}

#[test]
fn sizes_that_overflow_are_refused() {
    let overflow = || Err("the size of a matrix overflows".to_owned());
    assert_eq!(new(12, usize::MAX, 2), overflow());
    assert_eq!(new(0, 1 << 40, 1 << 40), overflow());
    assert_eq!(strided(12, usize::MAX, 2, 2), overflow());
    assert_eq!(strided(12, 3, 2, usize::MAX), overflow());
    assert_eq!(strided(12, 2, 2, usize::MAX), overflow());
    // 1 * (MAX - 1) + 1 just fits into a size, though not into the data.
    assert!(strided(12, 2, 1, usize::MAX - 1).unwrap_err().contains("data has 12 elements"));
}

#[test]
fn strided_views_may_end_with_their_last_row() {
    assert_eq!(strided(12, 3, 2, 5), Ok([3, 2]));
    assert_eq!(strided(13, 3, 2, 5), Ok([3, 2]));
    assert_eq!(strided(0, 0, 2, 5), Ok([0, 2]));
    assert_eq!(strided(2, 1, 2, usize::MAX), Ok([1, 2]));
    assert_eq!(strided(0, 1, 0, 0), Ok([1, 0]));
    assert_eq!(
        strided(11, 3, 2, 5),
        Err("Mat: data has 11 elements, expected 12 (at least up to the last row's end)".into())
    );
}

#[test]
fn strides_below_the_columns_are_refused() {
    let refused = "Mat: stride has 3 elements, expected 4 (at least the columns)";
    assert_eq!(strided(12, 3, 4, 3), Err(refused.into()));
    assert_eq!(strided(12, 0, 4, 3), Err(refused.into()));
    assert_eq!(strided(12, 1, 4, 3), Err(refused.into()));
}

#[test]
fn rows_are_where_the_stride_says() {
    let mut data: Vec<i32> = (0..14).collect();
    let view = Mat::strided(&data[1..], 3, 3, 5).unwrap();
    assert_eq!((view.rows(), view.cols(), view.shape(), view.stride()), (3, 3, [3, 3], 5));
    let expected = [[1, 2, 3], [6, 7, 8], [11, 12, 13]];
    assert_eq!(view.iter().collect::<Vec<_>>(), expected);
    let part = view.rows_range(1, 3);
    assert_eq!(
        (part.shape(), part.row(0), part.row(1)),
        ([2, 3], &[6, 7, 8][..], &[11, 12, 13][..])
    );
    assert_eq!(view.rows_range(3, 3).shape(), [0, 3]);

    let mut view = MatMut::strided(&mut data[1..], 3, 3, 5).unwrap();
    assert_eq!((view.rows(), view.cols(), view.shape(), view.stride()), (3, 3, [3, 3], 5));
    view.row_mut(1).fill(-1);
    view.rb_mut().row_mut(2)[0] = -2;
    assert_eq!(view.rb().iter().collect::<Vec<_>>(), [[1, 2, 3], [-1, -1, -1], [-2, 12, 13]]);
    view.fill(7);
    assert_eq!(data, [0, 7, 7, 7, 4, 5, 7, 7, 7, 9, 10, 7, 7, 7]);
}

#[test]
fn rows_past_the_end_panic_with_both_numbers() {
    let mut data = [0.0_f64; 6];
    let view = Mat::new(&data, 3, 2).unwrap();
    assert_eq!(panic_of(|| view.row(3).len()), "row 3 of a matrix with 3 rows");
    assert_eq!(panic_of(|| view.rows_range(2, 4)), "rows 2..4 of 3");
    assert_eq!(panic_of(|| view.rows_range(2, 1)), "rows 2..1 of 3");
    let mut view = MatMut::new(&mut data, 3, 2).unwrap();
    assert_eq!(panic_of(|| view.row_mut(3).len()), "row 3 of a matrix with 3 rows");
    assert_eq!(panic_of(|| view.rb_mut().split_rows_at(4)), "split of 3 rows at 4");
    assert_eq!(panic_of(|| view.rb_mut().split_cols_at(3)), "split of 2 columns at 3");

    let empty = Mat::<f64>::new(&[], 0, 2).unwrap();
    assert_eq!(panic_of(|| empty.row(0).len()), "row 0 of a matrix with 0 rows");
    assert_eq!(empty.iter().count(), 0);
}

#[test]
fn slices_are_given_where_no_gaps_are() {
    let mut data: Vec<i32> = (0..12).collect();
    assert_eq!(Mat::new(&data, 3, 4).unwrap().as_slice(), Some(&data[..]));
    assert_eq!(Mat::strided(&data, 3, 2, 4).unwrap().as_slice(), None);
    // A single row has no gaps, whatever its stride; what lies behind it is not part of it.
    assert_eq!(Mat::strided(&data, 1, 2, 4).unwrap().as_slice(), Some(&data[..2]));
    assert_eq!(Mat::strided(&data, 0, 2, 4).unwrap().as_slice(), Some(&data[..0]));
    assert_eq!(Mat::strided(&data, 3, 0, 4).unwrap().as_slice(), None);
    let whole = data.clone();
    assert_eq!(MatMut::new(&mut data, 3, 4).unwrap().as_mut_slice().unwrap(), whole);
    assert_eq!(MatMut::strided(&mut data, 3, 2, 4).unwrap().as_mut_slice(), None);
    assert_eq!(MatMut::strided(&mut data, 1, 2, 4).unwrap().as_mut_slice().unwrap(), [0, 1]);
}

#[test]
fn halves_by_rows_are_written_at_once_and_do_not_meet() {
    for at in 0..=4 {
        let mut data = vec![0; 4 * 5];
        let (mut top, mut bottom) = MatMut::strided(&mut data, 4, 3, 5).unwrap().split_rows_at(at);
        assert_eq!((top.shape(), bottom.shape()), ([at, 3], [4 - at, 3]));
        std::thread::scope(|scope| {
            scope.spawn(|| top.fill(1));
            scope.spawn(|| bottom.fill(2));
        });
        let expected: Vec<i32> = (0..20)
            .map(|i| {
                if i % 5 >= 3 {
                    0
                } else if i / 5 < at {
                    1
                } else {
                    2
                }
            })
            .collect();
        assert_eq!(data, expected, "split at {at}");
    }
}

#[test]
fn halves_by_columns_are_written_at_once_and_do_not_meet() {
    for at in 0..=3 {
        let mut data = vec![0; 4 * 5];
        let (mut left, mut right) = MatMut::strided(&mut data, 4, 3, 5).unwrap().split_cols_at(at);
        assert_eq!((left.shape(), right.shape()), ([4, at], [4, 3 - at]));
        std::thread::scope(|scope| {
            scope.spawn(|| left.fill(1));
            scope.spawn(|| right.fill(2));
        });
        let expected: Vec<i32> = (0..20)
            .map(|i| {
                if i % 5 >= 3 {
                    0
                } else if i % 5 < at {
                    1
                } else {
                    2
                }
            })
            .collect();
        assert_eq!(data, expected, "split at {at}");
    }
}

#[test]
fn empty_views_can_be_split_anywhere_they_are_long() {
    let mut nothing: [f32; 0] = [];
    let (left, right) = MatMut::new(&mut nothing, 0, 5).unwrap().split_cols_at(4);
    assert_eq!((left.shape(), right.shape()), ([0, 4], [0, 1]));
    let (top, bottom) = MatMut::new(&mut nothing, 7, 0).unwrap().split_rows_at(3);
    assert_eq!((top.shape(), bottom.shape()), ([3, 0], [4, 0]));
}
