//! Principal components: the plane that keeps most of the variance.
//!
//! ```text
//! mean = E[x]      C = E[x xᵀ] - mean meanᵀ      C v = λ v for the two largest λ
//! ```
//!
//! The eigenvectors come from orthogonal iteration, (v, w) <- orthonormalised (C v, C w), whose
//! error shrinks by λ3/λ2 a step: ample for one matrix of a few hundred columns.

use drlim::{Mat, Rng};
use rayon::prelude::*;

/// Rows of the covariance that are added up together, so that a sample is read once for all.
const PANEL: usize = 16;

/// More steps than the gap between eigenvalues of images asks for.
const STEPS: usize = 300;

/// A mean and two orthonormal directions.
pub struct Pca {
    mean: Vec<f64>,
    axes: [Vec<f64>; 2],
}

impl Pca {
    /// The two directions of most variance among the rows of `x`.
    pub fn fit(x: Mat<f32>) -> Self {
        let mut mean = vec![0.0; x.cols()];
        for row in x.iter() {
            add_scaled(&mut mean, 1.0 / x.rows() as f64, row);
        }
        let covariance = covariance(x, &mean);
        let mut rng = Rng::new(1);
        let mut axes = [(); 2].map(|()| {
            let mut axis: Vec<f64> = (0..x.cols()).map(|_| rng.uniform() - 0.5).collect();
            normalise(&mut axis);
            axis
        });
        for _ in 0..STEPS {
            axes =
                axes.map(|axis| covariance.chunks(x.cols()).map(|row| dot(row, &axis)).collect());
            let [first, second] = &mut axes;
            normalise(first);
            let along = dot(first, second);
            second.iter_mut().zip(&*first).for_each(|(s, f)| *s -= along * f);
            normalise(second);
        }
        Pca { mean, axes }
    }

    /// The coordinates of each row of `x` along both directions.
    pub fn project(&self, x: Mat<f32>) -> Vec<[f32; 2]> {
        let coordinate = |row: &[f32], axis: &[f64]| {
            let terms = row.iter().zip(&self.mean).zip(axis);
            terms.map(|((&x, mean), a)| (f64::from(x) - mean) * a).sum::<f64>() as f32
        };
        x.iter().map(|row| [0, 1].map(|i| coordinate(row, &self.axes[i]))).collect()
    }
}

/// D x D, for the N x D samples `x`.
fn covariance(x: Mat<f32>, mean: &[f64]) -> Vec<f64> {
    let width = x.cols();
    let mut covariance = vec![0.0; width * width];
    covariance.par_chunks_mut(PANEL * width).enumerate().for_each(|(panel, rows)| {
        for sample in x.iter() {
            let values = &sample[panel * PANEL..];
            for (row, &value) in rows.chunks_mut(width).zip(values) {
                // Most pixels of a digit are background.
                if value != 0.0 {
                    add_scaled(row, f64::from(value) / x.rows() as f64, sample);
                }
            }
        }
        for (row, value) in rows.chunks_mut(width).zip(&mean[panel * PANEL..]) {
            row.iter_mut().zip(mean).for_each(|(c, m)| *c -= value * m);
        }
    });
    covariance
}

fn add_scaled(sum: &mut [f64], factor: f64, row: &[f32]) {
    sum.iter_mut().zip(row).for_each(|(s, &x)| *s += factor * f64::from(x));
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A direction in which there is no variance stays 0.
fn normalise(axis: &mut [f64]) {
    let length = dot(axis, axis).sqrt();
    if length > 0.0 {
        axis.iter_mut().for_each(|a| *a /= length);
    }
}
