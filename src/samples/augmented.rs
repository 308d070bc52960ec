//! A random version of each row of a matrix, another one in each batch.

#![forbid(unsafe_code)]

use super::Samples;
use super::images::{Jitter, check_planes};
use crate::error::Result;
use crate::memory::mat::Mat;
use crate::rng::Rng;
use crate::simd::real::Real;

/// The rows of a matrix, each transformed at random when it is drawn.
///
/// The random numbers of a sample follow from the seed, the number of the batch and the sample: a run repeats to
/// the bit, with any number of threads, and goes on after a checkpoint as if it had never stopped.
pub struct Augmented<'a, T, F> {
    originals: Mat<'a, T>,
    seed: u64,
    write: F,
}

impl<'a, T, F> Augmented<'a, T, F>
where
    F: Fn(&[T], &mut Rng, &mut [T]) + Sync,
{
    /// Samples by a function of an original, random numbers, and where to write the sample: as many elements as
    /// the original has, of any value.
    ///
    /// ```
    /// use drlim::Mat;
    /// use drlim::samples::{Augmented, Samples};
    /// let rows = [0.0, 1.0, 2.0, 3.0];
    /// let noisy = Augmented::new(Mat::new(&rows, 2, 2)?, 1, |row: &[f64], rng, to: &mut [f64]| {
    ///     for (to, x) in to.iter_mut().zip(row) {
    ///         *to = x + 0.1 * (rng.uniform() - 0.5);
    ///     }
    /// });
    /// let [mut first, mut again, mut later] = [[0.0; 2]; 3];
    /// noisy.write(1, 0, &mut first);
    /// noisy.write(1, 0, &mut again);
    /// noisy.write(1, 1, &mut later);
    /// assert!(first == again && first != later);
    /// # Ok::<(), drlim::Error>(())
    /// ```
    pub fn new(originals: Mat<'a, T>, seed: u64, write: F) -> Self {
        Augmented { originals, seed, write }
    }
}

impl<'a, T: Real> Augmented<'a, T, ()> {
    /// Images moved and turned a little, as `jitter` says, within a frame of (height, width). Pixels that come in
    /// from outside are `fill`.
    ///
    /// Refused where the columns are no multiple of height times width.
    ///
    /// ```
    /// use drlim::Mat;
    /// use drlim::samples::{Augmented, Jitter};
    /// let pixels = vec![0.5_f32; 3 * 32 * 32];
    /// let jitter = Jitter::new(2, 10.0)?; // by up to 2 pixels, and up to 10 degrees
    /// let images = Augmented::jittered(Mat::new(&pixels, 3, 1024)?, [32, 32], jitter, 0.0, 1)?;
    /// # Ok::<(), drlim::Error>(())
    /// ```
    pub fn jittered(
        originals: Mat<'a, T>,
        frame: [usize; 2],
        jitter: Jitter,
        fill: T,
        seed: u64,
    ) -> Result<impl Samples<T> + use<'a, T>> {
        check_planes(originals.cols(), frame)?;
        let write = move |image: &[T], rng: &mut Rng, to: &mut [T]| {
            jitter.write(image, frame, fill, rng, to);
        };
        Ok(Augmented::new(originals, seed, write))
    }
}

impl<T: Copy + Sync, F> Samples<T> for Augmented<'_, T, F>
where
    F: Fn(&[T], &mut Rng, &mut [T]) + Sync,
{
    fn count(&self) -> usize {
        self.originals.rows()
    }
    fn len(&self) -> usize {
        self.originals.cols()
    }
    fn write(&self, sample: usize, draw: u64, to: &mut [T]) {
        // A stream for each batch, and in it one for each sample.
        let batch = Rng::stream(self.seed, draw).next_u64();
        let mut rng = Rng::stream(batch, sample as u64);
        (self.write)(self.originals.row(sample), &mut rng, to);
    }
}
