//! Views of matrices: rows of embeddings, images or gradients in somebody else's memory.
//!
//! A view is a pointer, a shape and a lifetime rather than a slice, so that two column halves of
//! one array can be borrowed mutably at once. Rows are contiguous, any number of elements apart,
//! and of any alignment.

#![allow(unsafe_code, reason = "a view is a pointer and a lifetime")]

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::{fmt, slice};

use crate::error::{Error, Result, check_len};

/// `rows * cols`, refused where it overflows.
fn elements(rows: usize, cols: usize) -> Result<usize> {
    rows.checked_mul(cols).ok_or(Error::Overflow { what: "a matrix" })
}

/// Elements from the start of the first row to the end of the last one.
fn extent(rows: usize, cols: usize, stride: usize) -> Result<usize> {
    if stride < cols {
        return Err(Error::Length {
            call: "Mat",
            arg: "stride",
            got: stride,
            expected: cols,
            like: "at least the columns",
        });
    }
    match rows.checked_sub(1) {
        None => Ok(0),
        Some(gaps) => gaps
            .checked_mul(stride)
            .and_then(|n| n.checked_add(cols))
            .ok_or(Error::Overflow { what: "a matrix" }),
    }
}

fn check_extent(len: usize, needed: usize) -> Result<()> {
    if len >= needed {
        Ok(())
    } else {
        Err(Error::Length {
            call: "Mat",
            arg: "data",
            got: len,
            expected: needed,
            like: "at least up to the last row's end",
        })
    }
}

/// A matrix that is read: `rows` rows of `cols` elements, the starts of two rows `stride` apart.
///
/// ```
/// # fn main() -> drlim::Result<()> {
/// use drlim::Mat;
/// let pixels: Vec<f32> = (0..12).map(|i| i as f32).collect();
/// let all = Mat::new(&pixels, 3, 4)?;
/// assert_eq!(all.row(1), [4.0, 5.0, 6.0, 7.0]);
/// let left_half = Mat::strided(&pixels, 3, 2, 4)?;
/// assert_eq!(left_half.row(2), [8.0, 9.0]);
/// # Ok(()) }
/// ```
pub struct Mat<'a, T> {
    data: NonNull<T>,
    rows: usize,
    cols: usize,
    stride: usize,
    lifetime: PhantomData<&'a [T]>,
}

/// A matrix that is written: see [`Mat`].
pub struct MatMut<'a, T> {
    data: NonNull<T>,
    rows: usize,
    cols: usize,
    stride: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: a `Mat` gives what `&[T]` gives, and no more.
unsafe impl<T: Sync> Send for Mat<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Mat<'_, T> {}
// SAFETY: a `MatMut` gives what `&mut [T]` gives, to elements that no other view reaches.
unsafe impl<T: Send> Send for MatMut<'_, T> {}
// SAFETY: through a shared `MatMut` elements can only be read.
unsafe impl<T: Sync> Sync for MatMut<'_, T> {}

impl<T> Clone for Mat<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Mat<'_, T> {}

impl<'a, T> Mat<'a, T> {
    /// All of `data` as `rows` rows of `cols` elements, one after another.
    ///
    /// Refused where `data` does not hold exactly that many elements.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Result<Self> {
        check_len("Mat", "data", data.len(), elements(rows, cols)?, "rows x cols")?;
        Mat::strided(data, rows, cols, cols)
    }

    /// Rows that start `stride` elements apart; what lies between them is never read.
    ///
    /// Refused where `stride` is below `cols`, or `data` ends before the last row does.
    pub fn strided(data: &'a [T], rows: usize, cols: usize, stride: usize) -> Result<Self> {
        check_extent(data.len(), extent(rows, cols, stride)?)?;
        Ok(Mat { data: NonNull::from(data).cast(), rows, cols, stride, lifetime: PhantomData })
    }

    /// Rows that lie in an array of another crate or language.
    ///
    /// # Safety
    /// `stride` is at least `cols`, and for each i below `rows` the `cols` elements from `i * stride`
    /// behind `data` are of one allocation and can be read for 'a, in which nobody writes them.
    #[cfg(any(feature = "ndarray-0_17", feature = "capi"))]
    pub(crate) unsafe fn from_raw(
        data: NonNull<T>,
        [rows, cols]: [usize; 2],
        stride: usize,
    ) -> Self {
        Mat { data, rows, cols, stride, lifetime: PhantomData }
    }

    /// Where the first row starts, if there is one.
    #[cfg(feature = "ndarray-0_17")]
    pub(crate) fn as_ptr(&self) -> NonNull<T> {
        self.data
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of elements in a row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.cols]
    }

    /// Elements from the start of one row to the start of the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Row `i`.
    ///
    /// # Panics
    /// Where `i` is not below the number of rows.
    #[inline(always)]
    pub fn row(&self, i: usize) -> &'a [T] {
        assert!(i < self.rows, "row {i} of a matrix with {} rows", self.rows);
        // SAFETY: row `i` lies within the slice that the view was made from, whose borrow lasts
        // for 'a, or within a mutable view that is borrowed for as long.
        unsafe { slice::from_raw_parts(self.data.as_ptr().add(i * self.stride), self.cols) }
    }

    /// The rows in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [T]> + use<'a, T> {
        let view = *self;
        (0..view.rows).map(move |i| view.row(i))
    }

    /// Rows `from..to`.
    ///
    /// # Panics
    /// Where the range does not lie within the rows.
    pub fn rows_range(&self, from: usize, to: usize) -> Self {
        assert!(from <= to && to <= self.rows, "rows {from}..{to} of {}", self.rows);
        // SAFETY: where there are rows behind `from` its start lies within the data; where there
        // are none the offset is not taken.
        let data = if from < to { unsafe { self.data.add(from * self.stride) } } else { self.data };
        Mat { data, rows: to - from, ..*self }
    }

    /// All elements as one slice, where no gaps lie between the rows.
    pub fn as_slice(&self) -> Option<&'a [T]> {
        // SAFETY: without gaps the view covers exactly rows * cols elements of its slice.
        (self.stride == self.cols || self.rows <= 1)
            .then(|| unsafe { slice::from_raw_parts(self.data.as_ptr(), self.rows * self.cols) })
    }
}

impl<'a, T> MatMut<'a, T> {
    /// All of `data` as `rows` rows of `cols` elements, one after another.
    ///
    /// Refused where `data` does not hold exactly that many elements.
    pub fn new(data: &'a mut [T], rows: usize, cols: usize) -> Result<Self> {
        check_len("MatMut", "data", data.len(), elements(rows, cols)?, "rows x cols")?;
        MatMut::strided(data, rows, cols, cols)
    }

    /// Rows that start `stride` elements apart; what lies between them is never touched.
    ///
    /// Refused where `stride` is below `cols`, or `data` ends before the last row does.
    pub fn strided(data: &'a mut [T], rows: usize, cols: usize, stride: usize) -> Result<Self> {
        check_extent(data.len(), extent(rows, cols, stride)?)?;
        Ok(MatMut { data: NonNull::from(data).cast(), rows, cols, stride, lifetime: PhantomData })
    }

    /// Rows that lie in an array of another crate or language.
    ///
    /// # Safety
    /// `stride` is at least `cols`, and for each i below `rows` the `cols` elements from `i * stride`
    /// behind `data` are of one allocation and can be read and written for 'a, in which nobody else
    /// does.
    #[cfg(any(feature = "ndarray-0_17", feature = "capi"))]
    pub(crate) unsafe fn from_raw(
        data: NonNull<T>,
        [rows, cols]: [usize; 2],
        stride: usize,
    ) -> Self {
        MatMut { data, rows, cols, stride, lifetime: PhantomData }
    }

    /// Where the first row starts, if there is one.
    #[cfg(feature = "ndarray-0_17")]
    pub(crate) fn as_mut_ptr(&mut self) -> NonNull<T> {
        self.data
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of elements in a row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.cols]
    }

    /// Elements from the start of one row to the start of the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Row `i`, to write.
    ///
    /// # Panics
    /// Where `i` is not below the number of rows.
    #[inline(always)]
    pub fn row_mut(&mut self, i: usize) -> &mut [T] {
        assert!(i < self.rows, "row {i} of a matrix with {} rows", self.rows);
        // SAFETY: row `i` lies within what this view alone may write; the result borrows it.
        unsafe { slice::from_raw_parts_mut(self.data.as_ptr().add(i * self.stride), self.cols) }
    }

    /// All elements as one slice, where no gaps lie between the rows.
    pub fn as_mut_slice(&mut self) -> Option<&mut [T]> {
        let len = self.rows * self.cols;
        // SAFETY: without gaps the view covers exactly `len` elements, and it alone may write them.
        (self.stride == self.cols || self.rows <= 1)
            .then(|| unsafe { slice::from_raw_parts_mut(self.data.as_ptr(), len) })
    }

    /// A view of the same elements to read, while this one waits.
    pub fn rb(&self) -> Mat<'_, T> {
        Mat {
            data: self.data,
            rows: self.rows,
            cols: self.cols,
            stride: self.stride,
            lifetime: PhantomData,
        }
    }

    /// A second view of the same elements to write, while this one waits.
    pub fn rb_mut(&mut self) -> MatMut<'_, T> {
        MatMut { lifetime: PhantomData, ..*self }
    }

    /// The first `at` rows, and the others.
    ///
    /// # Panics
    /// Where `at` is above the number of rows.
    pub fn split_rows_at(self, at: usize) -> (Self, Self) {
        assert!(at <= self.rows, "split of {} rows at {at}", self.rows);
        let rest = self.rows - at;
        // SAFETY: where rows are left their start lies within the data.
        let data = if rest > 0 { unsafe { self.data.add(at * self.stride) } } else { self.data };
        (MatMut { rows: at, ..self }, MatMut { data, rows: rest, ..self })
    }

    /// The first `at` columns, and the others: both can be written at once.
    ///
    /// # Panics
    /// Where `at` is above the number of columns.
    pub fn split_cols_at(self, at: usize) -> (Self, Self) {
        assert!(at <= self.cols, "split of {} columns at {at}", self.cols);
        // SAFETY: a row that exists holds `at` elements or more; the two views share rows but no
        // element.
        let data = if self.rows > 0 { unsafe { self.data.add(at) } } else { self.data };
        (MatMut { cols: at, ..self }, MatMut { data, cols: self.cols - at, ..self })
    }
}

impl<T: Copy> MatMut<'_, T> {
    /// Writes `value` everywhere.
    pub fn fill(&mut self, value: T) {
        // There may be any number of rows without elements.
        let rows = if self.cols == 0 { 0 } else { self.rows };
        for i in 0..rows {
            self.row_mut(i).fill(value);
        }
    }
}

impl<T> fmt::Debug for Mat<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mat({}x{}, stride {})", self.rows, self.cols, self.stride)
    }
}

impl<T> fmt::Debug for MatMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MatMut({}x{}, stride {})", self.rows, self.cols, self.stride)
    }
}
