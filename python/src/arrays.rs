//! Arrays of NumPy as views of the crate, in either element type.

use std::cell::RefCell;
use std::thread::LocalKey;

use drlim::{Mat, MatMut, Real};
use numpy::{
    Element as OfArrays, PyArrayDescrMethods, PyReadonlyArray1, PyReadonlyArray2,
    PyReadwriteArray1, PyReadwriteArray2, PyUntypedArray, PyUntypedArrayMethods, dtype,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::errors::raised;
use crate::scratch::{OF_F32, OF_F64, Scratches};

pub type Any<'py> = Bound<'py, PyAny>;

/// The element types of arrays that calls take.
pub trait Element: Real + OfArrays {
    const SCRATCH: &'static LocalKey<RefCell<Scratches<Self>>>;
}

impl Element for f32 {
    const SCRATCH: &'static LocalKey<RefCell<Scratches<f32>>> = &OF_F32;
}

impl Element for f64 {
    const SCRATCH: &'static LocalKey<RefCell<Scratches<f64>>> = &OF_F64;
}

/// Whether an array is of `float32` rather than `float64`. Refused if it is of neither.
pub fn is_f32(array: &Any) -> PyResult<bool> {
    let array = array.cast::<PyUntypedArray>()?;
    let (py, of_array) = (array.py(), array.dtype());
    if of_array.is_equiv_to(&dtype::<f32>(py)) {
        Ok(true)
    } else if of_array.is_equiv_to(&dtype::<f64>(py)) {
        Ok(false)
    } else {
        Err(PyTypeError::new_err(format!("expected float32 or float64, got {of_array}")))
    }
}

/// Calls a generic function with the element type of an array.
macro_rules! by_element {
    ($array:expr, $function:ident($($argument:expr),* $(,)?)) => {
        if $crate::arrays::is_f32($array)? {
            $function::<f32>($($argument),*)
        } else {
            $function::<f64>($($argument),*)
        }
    };
}
pub(crate) use by_element;

/// A borrow that ends with the value: others may read meanwhile, and nobody may write through this package.
pub fn read<'py, T: Element>(array: &Any<'py>) -> PyResult<PyReadonlyArray2<'py, T>> {
    array.extract()
}

pub fn read_list<'py, T: OfArrays>(array: &Any<'py>) -> PyResult<PyReadonlyArray1<'py, T>> {
    array.extract()
}

/// A borrow that is refused where another one overlaps it.
pub fn write<'py, T: Element>(array: &Any<'py>) -> PyResult<PyReadwriteArray2<'py, T>> {
    array.extract()
}

pub fn write_list<'py, T: OfArrays>(array: &Any<'py>) -> PyResult<PyReadwriteArray1<'py, T>> {
    array.extract()
}

pub fn optional<'a, 'py, B>(
    array: &'a Option<Any<'py>>,
    borrow: impl Fn(&'a Any<'py>) -> PyResult<B>,
) -> PyResult<Option<B>> {
    array.as_ref().map(borrow).transpose()
}

pub fn mat<'a, T: Element>(array: &'a PyReadonlyArray2<'_, T>) -> PyResult<Mat<'a, T>> {
    array.as_array().try_into().map_err(raised)
}

pub fn mat_mut<'a, T: Element>(array: &'a mut PyReadwriteArray2<'_, T>) -> PyResult<MatMut<'a, T>> {
    array.as_array_mut().try_into().map_err(raised)
}

pub fn list<'a, T: OfArrays>(array: &'a PyReadonlyArray1<'_, T>) -> PyResult<&'a [T]> {
    Ok(array.as_slice()?)
}

pub fn list_mut<'a, T: OfArrays>(array: &'a mut PyReadwriteArray1<'_, T>) -> PyResult<&'a mut [T]> {
    Ok(array.as_slice_mut()?)
}

/// Flags from the bytes of NumPy, of which any but 0 is true: Rust's may only be 0 or 1.
pub fn flags(array: &Any) -> PyResult<Vec<bool>> {
    let bytes = read_list::<u8>(array)?;
    Ok(list(&bytes)?.iter().map(|&byte| byte != 0).collect())
}

/// Runs a check of the Python part on an argument; returns what it has made of that.
pub fn checked<'py>(check: &str, name: &str, value: &Any<'py>) -> PyResult<Any<'py>> {
    value.py().import("drlim._arrays")?.getattr(check)?.call1((name, value))
}

/// Pairs of indices, from anything that NumPy takes as an array of them.
pub fn index_pairs(pairs: &Any) -> PyResult<Vec<(u32, u32)>> {
    let array: PyReadonlyArray2<u32> = checked("index_pairs", "pairs", pairs)?.extract()?;
    let pairs = array.as_slice()?.chunks_exact(2);
    Ok(pairs.map(|pair| (pair[0], pair[1])).collect())
}
