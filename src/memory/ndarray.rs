//! Conversions between views of ndarray and of this crate, without copies. Arrays with another layout are
//! refused.
//!
//! The strides of ndarray may be any numbers, 0 and negative ones included; here the elements of a row are
//! neighbours, and rows come one after another. Along an axis of length 1, and in an array without
//! elements, no step is taken, so there any stride will do.

#![allow(unsafe_code, reason = "the views of both crates are pointers and lifetimes")]

use std::ptr::NonNull;

use ndarray_0_17::{ArrayView2, ArrayViewMut2, ShapeBuilder};

use super::mat::{Mat, MatMut};
use crate::error::{Error, Result};

/// Elements from one row to the next in an array that has some.
fn row_stride(call: &'static str, shape: [usize; 2], strides: [isize; 2]) -> Result<usize> {
    let refuse = |expected| Err(Error::Layout { call, shape, strides, expected });
    let [rows, cols] = shape;
    if cols > 1 && strides[1] != 1 {
        return refuse("a column stride of 1");
    }
    if rows == 1 {
        return Ok(cols);
    }
    match usize::try_from(strides[0]) {
        Err(_) => refuse("rows in ascending order"),
        Ok(stride) if stride < cols => refuse("rows that do not overlap"),
        Ok(stride) => Ok(stride),
    }
}

fn pair<T: Copy>(of_axes: &[T]) -> [T; 2] {
    [of_axes[0], of_axes[1]]
}

/// Refused where elements of a row are not next to each other, or rows are not in ascending order or
/// overlap, as in a transposed, reversed or broadcast view. A copy by `as_standard_layout` can be viewed.
///
/// ```
/// # use ndarray_0_17 as ndarray;
/// use drlim::Mat;
/// use ndarray::{Array2, s};
/// let pixels = Array2::from_shape_fn((3, 4), |(i, j)| (4 * i + j) as f32);
/// let right_half = Mat::try_from(pixels.slice(s![.., 2..]))?;
/// assert_eq!(right_half.row(1), [6.0, 7.0]);
/// let error = Mat::try_from(pixels.t()).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "Mat: an array of shape 4x3 has strides 1 and 4, expected a column stride of 1"
/// );
/// # Ok::<(), drlim::Error>(())
/// ```
impl<'a, T> TryFrom<ArrayView2<'a, T>> for Mat<'a, T> {
    type Error = Error;

    fn try_from(array: ArrayView2<'a, T>) -> Result<Self> {
        let shape = pair(array.shape());
        let Some(first) = NonNull::new(array.as_ptr().cast_mut()).filter(|_| !array.is_empty())
        else {
            return Mat::new(&[], shape[0], shape[1]);
        };
        let stride = row_stride("Mat", shape, pair(array.strides()))?;
        // SAFETY: the array lends its elements for 'a. By its strides, which have been checked wherever
        // there is a step to take, element j of row i lies i * stride + j behind the first.
        Ok(unsafe { Mat::from_raw(first, shape, stride) })
    }
}

/// Refused as for [`Mat`]. Column halves of one array can be written at once:
///
/// ```
/// # use ndarray_0_17 as ndarray;
/// use drlim::batch::{RowsOut, rows};
/// use drlim::loss::{Contrastive, Objective};
/// use drlim::{Cx, Mat, MatMut};
/// use ndarray::{Array2, Axis, array};
///
/// // Two pairs of rows, side by side, and their gradients in the same places.
/// let pairs = array![[0.0, 0.0, 0.0, 2.0], [1.0, 0.0, 0.5, 0.0]];
/// let mut gradients = Array2::zeros((2, 4));
/// let (a, b) = pairs.view().split_at(Axis(1), 2);
/// let (grad_a, grad_b) = gradients.view_mut().split_at(Axis(1), 2);
/// let out = RowsOut::grads(MatMut::try_from(grad_a)?, MatMut::try_from(grad_b)?);
/// let (a, b) = (Mat::try_from(a)?, Mat::try_from(b)?);
/// let loss = Contrastive::new(1.0)?;
/// rows(&Cx::default(), &Objective::sum(&loss), a, b, &[true, false], out)?;
/// assert_eq!(gradients, array![[0.0, -2.0, 0.0, 2.0], [-0.5, 0.0, 0.5, 0.0]]);
/// # Ok::<(), drlim::Error>(())
/// ```
impl<'a, T> TryFrom<ArrayViewMut2<'a, T>> for MatMut<'a, T> {
    type Error = Error;

    fn try_from(mut array: ArrayViewMut2<'a, T>) -> Result<Self> {
        let shape = pair(array.shape());
        let Some(first) = NonNull::new(array.as_mut_ptr()).filter(|_| !array.is_empty()) else {
            return MatMut::new(&mut [], shape[0], shape[1]);
        };
        let stride = row_stride("MatMut", shape, pair(array.strides()))?;
        // SAFETY: as above, and the array, which is used up, lends its elements to nobody else.
        Ok(unsafe { MatMut::from_raw(first, shape, stride) })
    }
}

/// Shape and row stride for ndarray, of a matrix that has elements.
///
/// ndarray counts in `isize`. No more elements fit into memory, unless elements take no bytes.
fn shape_of(
    [rows, cols]: [usize; 2],
    stride: usize,
) -> ndarray_0_17::StrideShape<ndarray_0_17::Ix2> {
    // A single row may have any stride.
    let stride = if rows == 1 { cols } else { stride };
    let extent = (rows - 1) * stride + cols;
    assert!(isize::try_from(extent).is_ok(), "{rows}x{cols} elements without a size");
    (rows, cols).strides((stride, 1))
}

/// # Panics
/// Where a view of no bytes has more than `isize::MAX` rows or columns.
impl<'a, T> From<Mat<'a, T>> for ArrayView2<'a, T> {
    fn from(mat: Mat<'a, T>) -> Self {
        let [rows, cols] = mat.shape();
        if rows == 0 || cols == 0 {
            return ArrayView2::from_shape((rows, cols), &[]).expect("a shape of ndarray's");
        }
        let shape = shape_of([rows, cols], mat.stride());
        // SAFETY: a view has all its rows, readable for 'a, at these strides.
        unsafe { ArrayView2::from_shape_ptr(shape, mat.as_ptr().as_ptr()) }
    }
}

/// # Panics
/// Where a view of no bytes has more than `isize::MAX` rows or columns.
impl<'a, T> From<MatMut<'a, T>> for ArrayViewMut2<'a, T> {
    fn from(mut mat: MatMut<'a, T>) -> Self {
        let [rows, cols] = mat.shape();
        if rows == 0 || cols == 0 {
            return ArrayViewMut2::from_shape((rows, cols), &mut []).expect("a shape of ndarray's");
        }
        let shape = shape_of([rows, cols], mat.stride());
        // SAFETY: a view has all its rows, writable for 'a by it alone, at these strides; it is used
        // up.
        unsafe { ArrayViewMut2::from_shape_ptr(shape, mat.as_mut_ptr().as_ptr()) }
    }
}
