//! The classes of a batch: a sphere around each, by which pairs out of reach are skipped, and the cost of
//! each as a whole.

#![forbid(unsafe_code)]

use std::ops::{Add, Range};

use crate::batch::blocking::MOST_TASKS;
use crate::kernel::pairwise::classes::{MeasureClass, Spheres};
use crate::kernel::pairwise::pack::Rows;
use crate::loss::{KindSums, Sums};
use crate::memory::mat::Mat;
use crate::parallel::cx::Cx;
use crate::parallel::split::{Chunks, sum_blocks};
use crate::simd::real::Real;

/// The means, residuals and radii of the classes of one set, and which of them are pulled as a whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClassMeans<T> {
    pub centers: Vec<T>,
    pub residuals: Vec<T>,
    pub radii: Vec<T>,
    pub pulled: Vec<bool>,
}

impl<T: Real> ClassMeans<T> {
    pub(crate) fn clear(&mut self) {
        self.centers.clear();
        self.residuals.clear();
        self.radii.clear();
        self.pulled.clear();
    }

    /// Computes a sphere around the mean of each class. Where similar pairs are pulled by a constant, returns
    /// the sums of the similar pairs of whole classes. Does nothing where classes are so small, or so many,
    /// that it does not pay.
    pub(crate) fn measure(
        &mut self,
        cx: &Cx,
        rows: Rows<T>,
        classes: &[u32],
        count: usize,
        pull: Option<T>,
    ) -> Sums {
        /// The least rows of a class on average, and the most memory for all means and residuals.
        const LEAST_ROWS: usize = 16;
        const MOST_BYTES: usize = 8 << 20;
        let d = rows.z.cols();
        self.clear();
        let bytes = count.saturating_mul(d).saturating_mul(2 * size_of::<T>());
        if count * LEAST_ROWS > classes.len() || d == 0 || bytes > MOST_BYTES {
            return Sums::default();
        }
        resize_to_zero(&mut self.centers, count * d);
        resize_to_zero(&mut self.residuals, count * d);
        resize_to_zero(&mut self.radii, count);
        self.pulled.resize(count, false);
        let ClassMeans { centers, residuals, radii, pulled } = self;
        let at_once = count.div_ceil(MOST_TASKS).max(1);
        let means = (Chunks(centers, at_once * d), Chunks(residuals, at_once * d));
        let known = (Chunks(radii, at_once), Chunks(pulled, at_once));
        let blocks = count.div_ceil(at_once);
        sum_blocks(cx.par, blocks, (means, known), Sums::add, |block, (means, known)| {
            let ((centers, residuals), (radii, pulled)) = (means, known);
            let (mut part, mut scratch) = (vec![T::ZERO; d], Vec::new());
            let means = centers.chunks_exact_mut(d).zip(residuals.chunks_exact_mut(d));
            let known = radii.iter_mut().zip(pulled);
            let mut sums = Sums::default();
            for (class, ((center, residual), (radius, pulled))) in
                (block * at_once..).zip(means.zip(known))
            {
                let places = places_of(classes, class);
                if places.is_empty() {
                    continue;
                }
                let found = T::dispatch(
                    cx.isa,
                    MeasureClass {
                        rows,
                        places,
                        center,
                        residual,
                        part: &mut part,
                        pull,
                        radii: &mut scratch,
                    },
                );
                *radius = found.radius;
                *pulled = found.pulled.is_some();
                let similar = found.pulled.unwrap_or_default();
                sums = sums + Sums { similar, dissimilar: KindSums::default() };
            }
            sums
        })
    }

    /// The spheres of the classes, or none where these have not been measured.
    pub(crate) fn spheres(&self, d: usize) -> Option<Spheres<'_, T>> {
        let centers =
            Mat::new(&self.centers, self.radii.len(), d).expect("a center for each radius");
        (!self.radii.is_empty()).then_some(Spheres { centers, radii: &self.radii })
    }
}

/// The places of a class.
pub(crate) fn places_of(classes: &[u32], class: usize) -> Range<usize> {
    let before = |class: usize| classes.partition_point(|&other| (other as usize) < class);
    before(class)..before(class + 1)
}

pub(crate) fn resize_to_zero<T: Real>(buffer: &mut Vec<T>, len: usize) {
    buffer.clear();
    buffer.reserve_exact(len);
    buffer.resize(len, T::ZERO);
}
