//! The batches that properties are checked on: pairs or triplets of rows, in memory of their own.

#![forbid(unsafe_code)]

use std::array;

use crate::error::{Result, check_len, check_shape};
use crate::memory::mat::{Mat, MatMut};
use crate::rng::Rng;
use crate::simd::real::Real;

/// Rows of numbers without gaps: embeddings, or gradients with respect to them.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings<T> {
    data: Vec<T>,
    rows: usize,
    cols: usize,
}

impl<T: Real> Embeddings<T> {
    /// Refused where `data` does not hold rows x cols elements.
    pub fn new(data: Vec<T>, rows: usize, cols: usize) -> Result<Self> {
        Mat::new(&data, rows, cols)?;
        Ok(Embeddings { data, rows, cols })
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.cols]
    }

    /// The matrix, to hand to a call.
    pub fn view(&self) -> Mat<'_, T> {
        Mat::new(&self.data, self.rows, self.cols).expect("checked when it was made")
    }

    /// NaN everywhere, so that an element nobody writes is noticed.
    pub(super) fn unwritten([rows, cols]: [usize; 2]) -> Self {
        Embeddings { data: vec![T::from_f64(f64::NAN); rows * cols], rows, cols }
    }

    pub(super) fn view_mut(&mut self) -> MatMut<'_, T> {
        MatMut::new(&mut self.data, self.rows, self.cols).expect("checked when it was made")
    }

    pub(super) fn data(&self) -> &[T] {
        &self.data
    }

    /// Row i in `f64`.
    pub(super) fn wide_row(&self, i: usize) -> Vec<f64> {
        self.data[i * self.cols..][..self.cols].iter().map(|x| x.to_f64()).collect()
    }

    /// Every row, computed in `f64` and rounded once.
    pub(super) fn map_rows<U: Real>(
        &self,
        mut change: impl FnMut(usize, &mut [f64]),
    ) -> Embeddings<U> {
        let mut data = Vec::with_capacity(self.data.len());
        for i in 0..self.rows {
            let mut row = self.wide_row(i);
            change(i, &mut row);
            data.extend(row.into_iter().map(U::from_f64));
        }
        Embeddings { data, rows: self.rows, cols: self.cols }
    }

    /// The rows at these places, in this order.
    pub(super) fn pick(&self, places: &[usize]) -> Self {
        let row = |&i: &usize| &self.data[i * self.cols..][..self.cols];
        let data = places.iter().flat_map(row).copied().collect();
        Embeddings { data, rows: places.len(), cols: self.cols }
    }
}

/// Tuples of rows, row i of each of `N` matrices of one shape: [pairs](PairBatch) or
/// [triplets](TripletBatch).
#[derive(Clone, Debug, PartialEq)]
pub struct Batch<T, const N: usize> {
    pub(super) inputs: [Embeddings<T>; N],
    pub(super) similar: Vec<bool>,
    /// The seed of permutations, rotations and the like.
    seed: u64,
}

/// Pairs (a_i, b_i), similar or not.
pub type PairBatch<T> = Batch<T, 2>;

/// Triplets of anchor, positive and negative.
pub type TripletBatch<T> = Batch<T, 3>;

impl<T: Real> Batch<T, 2> {
    /// A batch of the given pairs; properties draw their permutations, rotations, ... from the seed.
    ///
    /// Refused where shapes or lengths differ.
    pub fn new(inputs: [Embeddings<T>; 2], similar: Vec<bool>, seed: u64) -> Result<Self> {
        check_len("Batch", "similar", similar.len(), inputs[0].rows, "the rows of a")?;
        Batch { inputs, similar, seed }.checked()
    }

    /// Whether each pair is similar.
    pub fn similar(&self) -> &[bool] {
        &self.similar
    }
}

impl<T: Real> Batch<T, 3> {
    /// A batch of the given triplets: anchors, positives, negatives; with a seed as for pairs.
    ///
    /// Refused where shapes differ.
    pub fn new(inputs: [Embeddings<T>; 3], seed: u64) -> Result<Self> {
        // A triplet is neither similar nor dissimilar; calls count it as dissimilar.
        let similar = vec![false; inputs[0].rows];
        Batch { inputs, similar, seed }.checked()
    }
}

impl<T: Real, const N: usize> Batch<T, N> {
    fn checked(self) -> Result<Self> {
        for other in &self.inputs {
            check_shape("Batch", "inputs", other.shape(), self.inputs[0].shape(), "as the first")?;
        }
        Ok(self)
    }

    /// The matrices.
    pub fn inputs(&self) -> &[Embeddings<T>; N] {
        &self.inputs
    }

    /// The number of tuples.
    pub fn len(&self) -> usize {
        self.similar.len()
    }

    /// Whether there are no tuples.
    pub fn is_empty(&self) -> bool {
        self.similar.is_empty()
    }

    /// This batch, rounded to another precision.
    pub fn rounded<U: Real>(&self) -> Batch<U, N> {
        self.map_rows(|_, _, _| {})
    }

    pub(super) fn cols(&self) -> usize {
        self.inputs[0].cols
    }

    /// The n-th sequence of random numbers of this batch.
    pub(super) fn rng(&self, n: u64) -> Rng {
        Rng::stream(self.seed, n)
    }

    /// Every row, by matrix and number, computed in `f64` and rounded once.
    pub(super) fn map_rows<U: Real>(
        &self,
        mut change: impl FnMut(usize, usize, &mut [f64]),
    ) -> Batch<U, N> {
        let inputs = array::from_fn(|m| self.inputs[m].map_rows(|i, row| change(m, i, row)));
        Batch { inputs, similar: self.similar.clone(), seed: self.seed }
    }

    /// The tuples at these places, in this order.
    pub(super) fn pick(&self, places: &[usize]) -> Self {
        let inputs = self.inputs.each_ref().map(|input| input.pick(places));
        let similar = places.iter().map(|&i| self.similar[i]).collect();
        Batch { inputs, similar, seed: self.seed }
    }

    /// This batch with two of its matrices exchanged.
    pub(super) fn swapped(&self, one: usize, other: usize) -> Self {
        let mut batch = self.clone();
        batch.inputs.swap(one, other);
        batch
    }

    /// The distance of row i of two of the matrices.
    pub(super) fn distance(&self, i: usize, (one, other): (usize, usize)) -> f64 {
        let (a, b) = (self.inputs[one].wide_row(i), self.inputs[other].wide_row(i));
        a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
    }

    /// The largest size of an element.
    pub(super) fn size(&self) -> f64 {
        let elements = self.inputs.iter().flat_map(|input| &input.data);
        elements.fold(0.0, |largest: f64, x| largest.max(x.to_f64().abs()))
    }
}
