//! The rows of the file as calls take them, and gradients by the rows as they are in the file.
//!
//! Most losses of the libraries scale rows to unit length inside, x to y = x/|x|. The calls of this crate take
//! unit rows, so what a network has in a layer is done here, in `f64`: with the gradient g by y, that by x is
//! (g - (g·y) y)/|x|.

use drlim::Mat;

use crate::support::{Element, Guarded};

/// A matrix of the file.
#[derive(Clone)]
pub struct Matrix {
    pub shape: [usize; 2],
    pub values: Vec<f64>,
}

impl Matrix {
    pub fn transposed(self) -> Matrix {
        let [rows, cols] = self.shape;
        let at = |at: usize| self.values[at % rows * cols + at / rows];
        Matrix { shape: [cols, rows], values: (0..rows * cols).map(at).collect() }
    }

    /// The rows of several matrices, one after another.
    pub fn stacked(parts: &[Matrix]) -> Matrix {
        let rows = parts.iter().map(|part| part.shape[0]).sum();
        let values = parts.iter().flat_map(|part| part.values.iter().copied()).collect();
        Matrix { shape: [rows, parts[0].shape[1]], values }
    }

    /// The mean of two matrices. Rows that the other one lacks count as 0.
    pub fn mean_with(&self, other: &Matrix) -> Matrix {
        let others = other.values.iter().copied().chain(std::iter::repeat(0.0));
        let values = self.values.iter().zip(others).map(|(a, b)| (a + b) / 2.0).collect();
        Matrix { shape: self.shape, values }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Rows as a call takes them.
pub struct Rows<T> {
    shape: [usize; 2],
    taken: Vec<T>,
    /// Of rows that are scaled to unit length: what they are then, and the length of each before.
    unit: Option<(Vec<f64>, Vec<f64>)>,
}

impl<T: Element> Rows<T> {
    /// Rows as they are in the file.
    pub fn given(matrix: Matrix) -> Self {
        let taken = matrix.values.iter().map(|&x| T::from_f64(x)).collect();
        Rows { shape: matrix.shape, taken, unit: None }
    }

    /// Rows scaled to unit length.
    pub fn unit(matrix: Matrix) -> Self {
        let Matrix { shape, mut values } = matrix;
        let mut lengths = Vec::with_capacity(shape[0]);
        for row in values.chunks_mut(shape[1]) {
            let length = dot(row, row).sqrt();
            row.iter_mut().for_each(|x| *x /= length);
            lengths.push(length);
        }
        let rows = Rows::given(Matrix { shape, values: values.clone() });
        Rows { unit: Some((values, lengths)), ..rows }
    }

    pub fn count(&self) -> usize {
        self.shape[0]
    }

    pub fn mat(&self) -> Mat<'_, T> {
        Mat::new(&self.taken, self.shape[0], self.shape[1]).unwrap()
    }

    /// Where a call writes a gradient by these rows.
    pub fn output(&self) -> Guarded<T> {
        Guarded::output(1, self.shape, self.shape[1] + 1)
    }

    /// The gradient by the rows of the file, given what a call wrote.
    pub fn pull(&self, grad: Guarded<T>) -> Matrix {
        grad.check("grad");
        let mut values = grad.wide();
        if let Some((unit, lengths)) = &self.unit {
            let cols = self.shape[1];
            let rows = values.chunks_mut(cols).zip(unit.chunks(cols)).zip(lengths);
            for ((g, y), length) in rows {
                let radial = dot(g, y);
                g.iter_mut().zip(y).for_each(|(g, y)| *g = (*g - radial * y) / length);
            }
        }
        Matrix { shape: self.shape, values }
    }
}
