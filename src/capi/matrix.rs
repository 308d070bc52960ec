//! Matrices of a caller, their checks, and views of them.

use std::ptr::NonNull;

use super::extent::Extent;
use super::places::{PointerArg, PointerArgs};
use super::status::Refusal;
use crate::error::Error;
use crate::memory::mat::{Mat, MatMut};

/// A matrix that is read: rows of cols elements, the starts of two rows stride elements apart.
///
/// data is aligned for its elements and may be null where there are none; stride is at least cols. Memory
/// between two rows is not touched, so columns of a wider array can be given. The memory is the caller's, and
/// nobody may write it during a call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct drlim_matrix<T> {
    /// Where the first row starts.
    pub data: *const T,
    /// How many rows there are.
    pub rows: usize,
    /// How many elements a row has.
    pub cols: usize,
    /// Elements from the start of a row to the start of the next, at least cols.
    pub stride: usize,
}

/// A matrix that is written: as one that is read, but nobody else may read or write it during a call. An
/// optional one is not wanted where data is null; the other fields do not matter then.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct drlim_matrix_mut<T> {
    /// Where the first row starts.
    pub data: *mut T,
    /// How many rows there are.
    pub rows: usize,
    /// How many elements a row has.
    pub cols: usize,
    /// Elements from the start of a row to the start of the next, at least cols.
    pub stride: usize,
}

/// A checked matrix: data is aligned and not null, and the size is in range. `lend` makes a view of it.
pub(super) struct Input<T>(drlim_matrix<T>);

/// A checked matrix to be written.
pub(super) struct Output<T>(drlim_matrix_mut<T>);

impl<T> Input<T> {
    /// # Safety
    /// The C caller has promised that the elements can be read for 'a, and nobody writes them.
    pub unsafe fn lend<'a>(self) -> Mat<'a, T> {
        let drlim_matrix { data, rows, cols, stride } = self.0;
        let data = NonNull::new(data.cast_mut()).unwrap_or(NonNull::dangling());
        // SAFETY: the stride has been checked, and the elements are promised; without elements none is read.
        unsafe { Mat::from_raw(data, [rows, cols], stride) }
    }
}

impl<T> Output<T> {
    /// # Safety
    /// The C caller has promised that the elements can be read and written for 'a, and nobody else does; that
    /// nothing else of this call overlaps them has been checked.
    pub unsafe fn lend<'a>(self) -> MatMut<'a, T> {
        let drlim_matrix_mut { data, rows, cols, stride } = self.0;
        let data = NonNull::new(data).unwrap_or(NonNull::dangling());
        // SAFETY: as for what is read.
        unsafe { MatMut::from_raw(data, [rows, cols], stride) }
    }
}

impl<T> drlim_matrix<T> {
    pub(super) fn input(
        self,
        arg: &'static str,
        places: &mut PointerArgs,
    ) -> Result<Input<T>, Refusal> {
        let drlim_matrix { data, rows, cols, stride } = self;
        places.add(PointerArg {
            arg,
            written: false,
            extent: extent(arg, data, [rows, cols], stride)?,
        });
        Ok(Input(self))
    }
}

impl<T> drlim_matrix_mut<T> {
    pub(super) fn output(
        self,
        arg: &'static str,
        places: &mut PointerArgs,
    ) -> Result<Output<T>, Refusal> {
        let drlim_matrix_mut { data, rows, cols, stride } = self;
        places.add(PointerArg {
            arg,
            written: true,
            extent: extent(arg, data, [rows, cols], stride)?,
        });
        Ok(Output(self))
    }

    /// An output, or none where data is null.
    pub(super) fn optional(
        self,
        arg: &'static str,
        places: &mut PointerArgs,
    ) -> Result<Option<Output<T>>, Refusal> {
        if self.data.is_null() { Ok(None) } else { self.output(arg, places).map(Some) }
    }
}

/// Outputs that go together: all of them, or none. Refused where only some are null.
pub(super) fn together<X, const N: usize>(
    args: [&'static str; N],
    given: [Option<X>; N],
) -> Result<Option<[X; N]>, Refusal> {
    let missing = given.iter().position(Option::is_none);
    match missing {
        None => Ok(Some(given.map(|given| given.expect("none is missing")))),
        Some(_) if given.iter().all(Option::is_none) => Ok(None),
        Some(at) => Err(Refusal::Null { arg: args[at] }),
    }
}

/// The memory that a matrix covers. Refused where its stride, pointer or size is impossible.
fn extent<T>(
    arg: &'static str,
    data: *const T,
    [rows, cols]: [usize; 2],
    stride: usize,
) -> Result<Extent, Refusal> {
    if stride < cols {
        let like = "the stride, at least the columns";
        let [call, got] = ["Mat", arg];
        let error = Error::Length { call, arg: got, got: stride, expected: cols, like };
        return Err(error.into());
    }
    Extent::new(arg, data, rows, cols, stride)
}
