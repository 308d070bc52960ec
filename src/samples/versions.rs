//! Several versions of each of the rows of a matrix.

#![forbid(unsafe_code)]

use super::Samples;
use super::images::{Shift, check_planes, shift};
use crate::error::{Error, Result};
use crate::memory::mat::Mat;
use crate::similar::graph::check_samples;

/// `versions` versions of each original, made as they are drawn: version v of original i is sample
/// i · `versions` + v.
///
/// [`Graph::versions`](crate::Graph::versions) numbers them alike and says which are similar.
pub struct Versions<'a, T, F> {
    originals: Mat<'a, T>,
    versions: usize,
    write: F,
}

impl<'a, T: Copy + Sync, F> Versions<'a, T, F>
where
    F: Fn(&[T], usize, &mut [T]) + Sync,
{
    /// Versions by a function of an original, the number of the version, and where to write it: as many elements
    /// as the original has, of any value.
    ///
    /// Refused where `versions` is 0, or so many samples do not fit in a `u32`.
    ///
    /// ```
    /// use drlim::Mat;
    /// use drlim::samples::{Samples, Versions};
    /// let rows = [1.0, 2.0, 3.0, 4.0];
    /// // As they are, and mirrored.
    /// let both = Versions::new(Mat::new(&rows, 2, 2)?, 2, |row: &[f64], version, to: &mut [f64]| {
    ///     to.copy_from_slice(row);
    ///     if version == 1 {
    ///         to.reverse();
    ///     }
    /// })?;
    /// let mut row = [0.0; 2];
    /// both.write(1, 0, &mut row);
    /// assert_eq!(row, [2.0, 1.0]);
    /// # Ok::<(), drlim::Error>(())
    /// ```
    pub fn new(originals: Mat<'a, T>, versions: usize, write: F) -> Result<Self> {
        if versions == 0 {
            return Err(Error::Value { arg: "versions", got: 0.0, expected: "at least 1" });
        }
        let count = originals.rows().checked_mul(versions);
        check_samples(count.ok_or(Error::Overflow { what: "versions of samples" })?)?;
        Ok(Versions { originals, versions, write })
    }

    /// The number of versions of an original.
    pub fn versions(&self) -> usize {
        self.versions
    }
}

impl<'a, T: Copy + Sync> Versions<'a, T, ()> {
    /// Images moved within their frame: version v by `shifts[v]`. Pixels that come in from outside are `fill`.
    ///
    /// An original is an image of `frame` = (height, width), or several planes of that size one after the other,
    /// each moved alike. Refused where the columns are no multiple of height times width, or as by
    /// [`new`](Versions::new).
    pub fn shifted<'s>(
        originals: Mat<'a, T>,
        frame: [usize; 2],
        shifts: &'s [Shift],
        fill: T,
    ) -> Result<impl Samples<T> + use<'a, 's, T>> {
        check_planes(originals.cols(), frame)?;
        let write = move |image: &[T], version: usize, to: &mut [T]| {
            shift(image, frame, shifts[version], fill, to);
        };
        Versions::new(originals, shifts.len(), write)
    }
}

impl<T: Copy + Sync, F> Samples<T> for Versions<'_, T, F>
where
    F: Fn(&[T], usize, &mut [T]) + Sync,
{
    fn count(&self) -> usize {
        self.originals.rows() * self.versions
    }
    fn len(&self) -> usize {
        self.originals.cols()
    }
    fn write(&self, sample: usize, _: u64, to: &mut [T]) {
        let (original, version) = (sample / self.versions, sample % self.versions);
        (self.write)(self.originals.row(original), version, to);
    }
}
