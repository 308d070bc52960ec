//! Samples that are made as they are drawn: transformed versions of images, and random transformations.
//!
//! Training takes its samples from anything that is [`Samples`]: the rows of a matrix, which are read in place,
//! or a source that makes a sample when a batch asks for it. So training on 5 versions of 6000 images holds the
//! 6000 images and one batch.
//!
//! ```
//! use drlim::samples::{Samples, Shift, Versions};
//! use drlim::{Graph, Mat};
//!
//! // Two images of 1 x 4 pixels, each as it is and moved to the right by one.
//! let pixels = [1.0_f32, 2.0, 0.0, 0.0, 5.0, 6.0, 0.0, 0.0];
//! let shifts = [Shift { down: 0, right: 0 }, Shift { down: 0, right: 1 }];
//! let images = Versions::shifted(Mat::new(&pixels, 2, 4)?, [1, 4], &shifts, 0.0)?;
//! assert_eq!(images.count(), 4);
//! let mut image = [0.0; 4];
//! images.write(3, 0, &mut image); // version 1 of image 1
//! assert_eq!(image, [0.0, 5.0, 6.0, 0.0]);
//!
//! // Versions of an image are similar, and so are versions of images that are neighbours.
//! let similar = Graph::from_pairs(2, &[])?.versions(2)?;
//! assert_eq!(similar.samples(), images.count());
//! # Ok::<(), drlim::Error>(())
//! ```

#![forbid(unsafe_code)]

mod augmented;
mod images;
mod made;
mod versions;

pub use augmented::Augmented;
pub use images::{Jitter, Shift};
pub(crate) use made::Made;
pub use versions::Versions;

use crate::memory::mat::Mat;

/// Where training takes its samples from.
///
/// Implemented by [`Mat`], whose rows are the samples, by [`Versions`] and [`Augmented`], and by a user's own
/// source. Batches are made on the threads of the call that needs them, several samples at a time, before the
/// network sees any of them; the result does not depend on the number of threads as long as
/// [`write`](Samples::write) depends on its arguments alone.
///
/// ```
/// use drlim::samples::Samples;
///
/// /// Sine waves of every frequency, none of which is stored.
/// struct Waves;
///
/// impl Samples<f32> for Waves {
///     fn count(&self) -> usize {
///         1000
///     }
///     fn len(&self) -> usize {
///         64
///     }
///     fn write(&self, sample: usize, _: u64, to: &mut [f32]) {
///         for (t, value) in to.iter_mut().enumerate() {
///             *value = (0.001 * (sample * t) as f32).sin();
///         }
///     }
/// }
/// ```
#[allow(clippy::len_without_is_empty, reason = "the length of each sample, not of the set")]
pub trait Samples<T>: Sync {
    /// The number of samples.
    fn count(&self) -> usize;

    /// Elements of a sample.
    fn len(&self) -> usize;

    /// Writes a sample, a number below [`count`](Samples::count), to `to`, which has [`len`](Samples::len)
    /// elements of any value.
    ///
    /// `draw` numbers the batches of a training run from 0, those of a run that this one goes on with included:
    /// a source with random transformations makes another sample for each draw, and the same one for the same
    /// draw.
    fn write(&self, sample: usize, draw: u64, to: &mut [T]);

    /// The samples as rows of a matrix, where they are stored as such: they are then read in place and
    /// [`write`](Samples::write) is not called.
    fn stored(&self) -> Option<Mat<'_, T>> {
        None
    }
}

/// The rows.
impl<T: Copy + Sync> Samples<T> for Mat<'_, T> {
    fn count(&self) -> usize {
        self.rows()
    }
    fn len(&self) -> usize {
        self.cols()
    }
    fn write(&self, sample: usize, _: u64, to: &mut [T]) {
        to.copy_from_slice(self.row(sample));
    }
    fn stored(&self) -> Option<Mat<'_, T>> {
        Some(*self)
    }
}

impl<T, S: Samples<T> + ?Sized> Samples<T> for &S {
    fn count(&self) -> usize {
        (**self).count()
    }
    fn len(&self) -> usize {
        (**self).len()
    }
    fn write(&self, sample: usize, draw: u64, to: &mut [T]) {
        (**self).write(sample, draw, to);
    }
    fn stored(&self) -> Option<Mat<'_, T>> {
        (**self).stored()
    }
}
