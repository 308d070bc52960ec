//! Views of ndarray's arrays: the same elements in the same places, or a refusal that says why.

use crate::support::tiers;
use drlim::batch::{RowsOut, rows};
use drlim::loss::{Contrastive, Objective};
use drlim::{Cx, Mat, MatMut, Par};
use ndarray_0_17::{Array2, ArrayView2, ArrayViewMut2, Axis, Slice, s};
use proptest::prelude::*;

/// A step from one view of an array to another.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Elements from a share of an axis up to another, every so many, backwards where negative.
    Slice {
        axis: usize,
        from: f64,
        to: f64,
        every: isize,
    },
    Transpose,
    /// The first row or column again and again.
    Repeat {
        axis: usize,
        times: usize,
    },
}

fn slice() -> impl Strategy<Value = Step> {
    let every = prop::sample::select(vec![1, 1, 1, 2, 3, -1, -2]);
    (0..2_usize, 0.0..1.0, 0.0..1.0, every).prop_map(|(axis, from, to, every)| Step::Slice {
        axis,
        from,
        to,
        every,
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let repeat = (0..2_usize, 0..3_usize).prop_map(|(axis, times)| Step::Repeat { axis, times });
    let step = prop_oneof![8 => slice(), 1 => Just(Step::Transpose), 1 => repeat];
    prop::collection::vec(step, 0..5)
}

fn range(len: usize, from: f64, to: f64, every: isize) -> Slice {
    let at = |share: f64| (share * (len + 1) as f64) as isize;
    Slice::new(at(from.min(to)), Some(at(from.max(to))), every)
}

/// Whether rows of neighbours come one after another, told from where the elements lie.
fn lies_in_rows(view: ArrayView2<i32>) -> bool {
    let address = |i, j| &raw const view[[i, j]] as isize / 4;
    let (rows, cols) = view.dim();
    let in_a_row = |i| (1..cols).all(|j| address(i, j) == address(i, 0) + j as isize);
    let apart = |i| address(i, 0) - address(i - 1, 0);
    view.is_empty() || (0..rows).all(in_a_row) && (1..rows).all(|i| apart(i) >= cols as isize)
}

/// Compares a view and what is made of it, then all views that the steps lead to.
fn walk(view: ArrayView2<i32>, steps: &[Step]) {
    let lies_in_rows = lies_in_rows(view);
    match Mat::try_from(view) {
        Err(error) => {
            assert!(!lies_in_rows, "{error}");
            let text = error.to_string();
            let [rows, cols] = [view.nrows(), view.ncols()];
            let [down, right] = [view.strides()[0], view.strides()[1]];
            let start =
                format!("Mat: an array of shape {rows}x{cols} has strides {down} and {right}");
            assert!(text.starts_with(&start), "{text}");
        }
        Ok(mat) => {
            assert!(lies_in_rows, "{mat:?} of {view:?}");
            assert_eq!(mat.shape(), view.shape());
            let back = ArrayView2::from(mat);
            assert_eq!(back, view);
            for ((i, j), element) in view.indexed_iter() {
                assert!(std::ptr::eq(&mat.row(i)[j], element), "a copy of [{i}, {j}]");
                assert!(std::ptr::eq(&back[[i, j]], element), "a copy of [{i}, {j}]");
            }
        }
    }
    let Some((&step, steps)) = steps.split_first() else { return };
    match step {
        Step::Slice { axis, from, to, every } => {
            let range = range(view.len_of(Axis(axis)), from, to, every);
            walk(view.slice_axis(Axis(axis), range), steps);
        }
        Step::Transpose => walk(view.t(), steps),
        Step::Repeat { axis, .. } if view.len_of(Axis(axis)) == 0 => {}
        Step::Repeat { axis, times } => {
            let line = view.index_axis(Axis(axis), 0).insert_axis(Axis(axis));
            let mut shape = line.raw_dim();
            shape[axis] = times;
            walk(line.broadcast(shape).unwrap(), steps);
        }
    }
}

/// A part of an array, to be written.
fn cut<'a>(
    mut view: ArrayViewMut2<'a, i32>,
    steps: &[Step],
    transposed: bool,
) -> ArrayViewMut2<'a, i32> {
    for step in steps {
        if let &Step::Slice { axis, from, to, every } = step {
            let range = range(view.len_of(Axis(axis)), from, to, every);
            view.slice_axis_inplace(Axis(axis), range);
        }
    }
    if transposed { view.reversed_axes() } else { view }
}

fn counted(rows: usize, cols: usize) -> Array2<i32> {
    Array2::from_shape_fn((rows, cols), |(i, j)| (i * cols + j) as i32)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_view_has_the_arrays_elements_where_they_are_or_is_refused(
        rows in 0_usize..7,
        cols in 0_usize..7,
        steps in steps(),
    ) {
        let array = counted(rows, cols);
        walk(array.view(), &steps);
    }

    #[test]
    fn what_is_written_through_a_view_lies_in_the_array_and_nothing_else_changes(
        rows in 0_usize..7,
        cols in 0_usize..7,
        steps in prop::collection::vec(slice(), 0..4),
        transposed: bool,
        back_and_forth: bool,
    ) {
        let mut array = counted(rows, cols);
        let mut expected = array.clone();
        let view = cut(array.view_mut(), &steps, transposed);
        let lies_in_rows = lies_in_rows(view.view());
        match MatMut::try_from(view) {
            Err(_) => prop_assert!(!lies_in_rows),
            Ok(mut mat) => {
                prop_assert!(lies_in_rows);
                if back_and_forth {
                    mat = MatMut::try_from(ArrayViewMut2::from(mat))?;
                }
                let [rows, cols] = mat.shape();
                for i in 0..rows {
                    for (j, value) in mat.row_mut(i).iter_mut().enumerate() {
                        *value = -1 - (i * cols + j) as i32;
                    }
                }
                for (i, value) in cut(expected.view_mut(), &steps, transposed).iter_mut().enumerate() {
                    *value = -1 - i as i32;
                }
            }
        }
        prop_assert_eq!(array, expected);
    }
}

/// Why an array cannot be viewed.
#[track_caller]
fn reason(view: ArrayView2<i32>) -> String {
    let text = Mat::try_from(view).unwrap_err().to_string();
    assert!(Mat::try_from(view.as_standard_layout().view()).is_ok(), "a copy can be viewed");
    text
}

#[test]
fn what_cannot_be_viewed_says_why() {
    let array = counted(3, 4);
    assert_eq!(
        reason(array.t()),
        "Mat: an array of shape 4x3 has strides 1 and 4, expected a column stride of 1"
    );
    assert_eq!(
        reason(array.slice(s![.., ..;2])),
        "Mat: an array of shape 3x2 has strides 4 and 2, expected a column stride of 1"
    );
    assert_eq!(
        reason(array.slice(s![.., ..;-1])),
        "Mat: an array of shape 3x4 has strides 4 and -1, expected a column stride of 1"
    );
    assert_eq!(
        reason(array.slice(s![..;-1, ..])),
        "Mat: an array of shape 3x4 has strides -4 and 1, expected rows in ascending order"
    );
    let row = array.row(0);
    assert_eq!(
        reason(row.broadcast((3, 4)).unwrap()),
        "Mat: an array of shape 3x4 has strides 0 and 1, expected rows that do not overlap"
    );
    let mut array = counted(3, 4);
    let error = MatMut::try_from(array.view_mut().reversed_axes()).unwrap_err().to_string();
    let expected =
        "MatMut: an array of shape 4x3 has strides 1 and 4, expected a column stride of 1";
    assert_eq!(error, expected);
}

#[test]
fn an_axis_of_one_element_may_have_any_stride() {
    let array = counted(5, 6);
    for view in [
        array.slice(s![1..2;-1, 2..5]), // a row, stepped to backwards
        array.slice(s![..;7, 1..]),
        array.slice(s![.., 3..4;-1]), // a column
        array.slice(s![..;2, 3..;9]),
        array.slice(s![4..;-1, 5..;-1]), // an element
        array.slice(s![2..3, ..]),
    ] {
        let mat = Mat::try_from(view).unwrap();
        for (i, row) in mat.iter().enumerate() {
            assert_eq!(row, view.row(i).to_vec());
        }
        assert_eq!(ArrayView2::from(mat), view);
        assert!(mat.stride() >= mat.cols());
    }
    let element = array.slice(s![..1, ..1]);
    let repeated = element.broadcast((1, 1)).unwrap();
    assert_eq!(Mat::try_from(repeated).unwrap().row(0), [0]);
    // A row whose stride here is larger than any in ndarray.
    let row = Mat::strided(&[1, 2], 1, 2, usize::MAX).unwrap();
    assert_eq!(ArrayView2::from(row), ArrayView2::from(&[[1, 2]]));
}

#[test]
fn arrays_without_elements_keep_their_shape() {
    for shape in [(0, 0), (0, 5), (5, 0)] {
        let mut array = Array2::<f32>::zeros(shape);
        let mat = Mat::try_from(array.view()).unwrap();
        assert_eq!((mat.shape(), ArrayView2::from(mat).dim()), ([shape.0, shape.1], shape));
        let mat = MatMut::try_from(array.view_mut().reversed_axes()).unwrap();
        assert_eq!(mat.shape(), [shape.1, shape.0]);
        assert_eq!(ArrayViewMut2::from(mat).dim(), (shape.1, shape.0));
    }
    let array = counted(4, 5);
    for view in [array.slice(s![2..2;-1, ..;-1]), array.slice(s![..;-2, 3..3])] {
        assert_eq!(Mat::try_from(view).unwrap().shape(), view.shape());
    }
}

#[test]
#[should_panic(expected = "elements without a size")]
fn more_elements_than_ndarray_counts_are_refused_though_they_take_no_room() {
    let nothing = vec![(); usize::MAX];
    let _ = ArrayView2::from(
        Mat::new(&nothing, 1 << 63, 1)
            .unwrap_or_else(|_| Mat::strided(&nothing, 1 << 63, 1, 1).unwrap()),
    );
}

#[test]
fn both_halves_of_one_array_take_gradients_at_once() {
    let pairs = 37;
    let width = 19;
    let value = |(i, j): (usize, usize)| ((7 * i + 3 * j) as f32 * 0.7).sin();
    let x = Array2::from_shape_fn((pairs, 2 * width), value);
    let similar: Vec<bool> = (0..pairs).map(|i| i % 3 == 0).collect();
    let loss = Contrastive::new(5.0).unwrap();
    let objective = Objective::sum(&loss);
    let (a, b) = x.view().split_at(Axis(1), width);
    let [dense_a, dense_b] = [a, b].map(|half| half.iter().copied().collect::<Vec<_>>());
    for isa in tiers() {
        let cx = Cx { isa, par: Par::Serial };
        let mut expected = [vec![0.0; pairs * width], vec![0.0; pairs * width]];
        let [da, db] = &mut expected;
        let dense = |data| Mat::new(data, pairs, width).unwrap();
        let out = RowsOut::grads(
            MatMut::new(da, pairs, width).unwrap(),
            MatMut::new(db, pairs, width).unwrap(),
        );
        let (dense_a, dense_b) = (dense(&dense_a), dense(&dense_b));
        let value = rows(&cx, &objective, dense_a, dense_b, &similar, out).unwrap().value;

        // A column on either side, and one between the halves, are nobody's.
        let mut gradients = Array2::from_elem((pairs, 2 * width + 3), f32::NAN);
        let (left, right) = gradients.view_mut().split_at(Axis(1), width + 1);
        let da = MatMut::try_from(left.slice_move(s![.., 1..])).unwrap();
        let db = MatMut::try_from(right.slice_move(s![.., 1..=width])).unwrap();
        let (a, b) = (Mat::try_from(a).unwrap(), Mat::try_from(b).unwrap());
        let outcome = rows(&cx, &objective, a, b, &similar, RowsOut::grads(da, db)).unwrap();
        assert_eq!(outcome.value, value, "{isa}");
        for ((i, j), gradient) in gradients.indexed_iter() {
            match j {
                j if (1..=width).contains(&j) => {
                    assert_eq!(*gradient, expected[0][i * width + j - 1], "{isa} [{i}, {j}]");
                }
                j if (width + 2..2 * width + 2).contains(&j) => {
                    let j = j - width - 2;
                    assert_eq!(*gradient, expected[1][i * width + j], "{isa} [{i}, {j}]");
                }
                _ => assert!(gradient.is_nan(), "{isa} [{i}, {j}] is nobody's"),
            }
        }
    }
}
