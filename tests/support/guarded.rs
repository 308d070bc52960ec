//! Matrices that start anywhere and notice every write beside their rows.
//!
//! Before, between and behind the rows lie canaries, NaN with a payload of their own: a read
//! beside a row turns a result into NaN, a write is found by [`Guarded::check`].

use drlim::{Mat, MatMut};

use super::Element;

/// Elements before and behind the rows.
const MARGIN: usize = 64;

/// `rows` x `cols` elements, the starts of rows `stride` apart, the first one `offset` elements
/// behind an address that is a multiple of 64 bytes.
pub struct Guarded<T> {
    data: Vec<T>,
    start: usize,
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<T: Element> Guarded<T> {
    fn canary() -> T {
        T::from_bits(T::NAN.bits() | 0x2BAD)
    }

    /// With element k of row i given by `value(i, k)`.
    pub fn new(
        offset: usize,
        [rows, cols]: [usize; 2],
        stride: usize,
        mut value: impl FnMut(usize, usize) -> T,
    ) -> Self {
        let len = Self::extent([rows, cols], stride);
        let mut data = vec![Self::canary(); 2 * MARGIN + offset + len];
        let start = MARGIN / 2 + data[MARGIN / 2..].as_ptr().align_offset(64) + offset;
        for i in 0..rows {
            for k in 0..cols {
                data[start + i * stride + k] = value(i, k);
            }
        }
        Guarded { data, start, rows, cols, stride }
    }

    /// With all elements NaN, as an output that must be overwritten.
    pub fn output(offset: usize, shape: [usize; 2], stride: usize) -> Self {
        Guarded::new(offset, shape, stride, |_, _| T::NAN)
    }

    /// So many elements, all NaN, without gaps.
    pub fn slice(len: usize) -> Self {
        Guarded::output(1, [1, len], len)
    }

    /// The elements of all rows, one after another, when nothing beside them has been written.
    pub fn checked(self, name: &str) -> Vec<T> {
        self.check(name);
        (0..self.rows).flat_map(|i| self.row(i)).copied().collect()
    }

    /// Elements up to the end of the last row.
    fn extent([rows, cols]: [usize; 2], stride: usize) -> usize {
        if rows == 0 { 0 } else { (rows - 1) * stride + cols }
    }

    fn len(&self) -> usize {
        Self::extent([self.rows, self.cols], self.stride)
    }

    pub fn mat(&self) -> Mat<'_, T> {
        let data = &self.data[self.start..][..self.len()];
        Mat::strided(data, self.rows, self.cols, self.stride).unwrap()
    }

    pub fn mat_mut(&mut self) -> MatMut<'_, T> {
        let len = self.len();
        let data = &mut self.data[self.start..][..len];
        MatMut::strided(data, self.rows, self.cols, self.stride).unwrap()
    }

    /// The only row or, of a matrix without gaps, all of them.
    pub fn slice_mut(&mut self) -> &mut [T] {
        let len = self.len();
        &mut self.data[self.start..][..len]
    }

    pub fn row(&self, i: usize) -> &[T] {
        &self.data[self.start + i * self.stride..][..self.cols]
    }

    /// All rows one after another, in f64.
    pub fn wide(&self) -> Vec<f64> {
        (0..self.rows).flat_map(|i| super::element::wide(self.row(i))).collect()
    }

    /// The bits of all rows one after another.
    pub fn bits(&self) -> Vec<u64> {
        (0..self.rows).flat_map(|i| super::element::bits(self.row(i))).collect()
    }

    /// # Panics
    /// Where something beside the rows has been written.
    pub fn check(&self, name: &str) {
        let canary = Self::canary().bits();
        for (at, x) in self.data.iter().enumerate() {
            let inside = at >= self.start
                && (at - self.start) / self.stride.max(1) < self.rows
                && (at - self.start) % self.stride.max(1) < self.cols;
            let from_start = at as isize - self.start as isize;
            assert!(
                inside || x.bits() == canary,
                "{name}: wrote {x} at element {from_start} of {}x{} rows with stride {}",
                self.rows,
                self.cols,
                self.stride
            );
        }
    }
}
