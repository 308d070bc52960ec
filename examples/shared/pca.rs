//! Principal components: the plane, or the space, that keeps most of the variance.
//!
//! ```text
//! mean = E[x]      C = E[x xᵀ] - mean meanᵀ      C v = λ v for the K largest λ
//! ```
//!
//! The eigenvectors come from orthogonal iteration, (v, w, ..) <- orthonormalised (C v, C w, ..),
//! whose error shrinks by λ(K+1)/λK a step: ample for one matrix of a few hundred columns.

use drlim::{Mat, Rng};
use rayon::prelude::*;

/// Rows of the covariance that are added up together, so that a sample is read once for all.
const PANEL: usize = 16;

/// More steps than the gap between eigenvalues of images asks for.
const STEPS: usize = 300;

/// More columns than a covariance is written out for.
const WIDEST: usize = 1024;

/// A mean and K orthonormal directions.
pub struct Pca<const K: usize> {
    mean: Vec<f64>,
    axes: [Vec<f64>; K],
}

impl<const K: usize> Pca<K> {
    /// The directions of most variance among the rows of `x`.
    pub fn fit(x: Mat<f32>) -> Self {
        let mut mean = vec![0.0; x.cols()];
        for row in x.iter() {
            add_scaled(&mut mean, 1.0 / x.rows() as f64, row);
        }
        // D x D, or too large for that.
        let covariance = (x.cols() <= WIDEST).then(|| covariance(x, &mean));
        let apply = |axis: &[f64]| match &covariance {
            Some(covariance) => covariance.chunks(x.cols()).map(|row| dot(row, axis)).collect(),
            None => product(x, &mean, axis),
        };
        let mut rng = Rng::new(1);
        let mut axes = [(); K].map(|()| {
            let mut axis: Vec<f64> = (0..x.cols()).map(|_| rng.uniform() - 0.5).collect();
            normalise(&mut axis);
            axis
        });
        for _ in 0..STEPS {
            axes = axes.map(|axis| apply(&axis));
            for k in 0..K {
                let (before, rest) = axes.split_at_mut(k);
                for first in before {
                    let along = dot(first, &rest[0]);
                    rest[0].iter_mut().zip(&*first).for_each(|(s, f)| *s -= along * f);
                }
                normalise(&mut rest[0]);
            }
        }
        Pca { mean, axes }
    }

    /// The coordinates of each row of `x` along the directions.
    pub fn project(&self, x: Mat<f32>) -> Vec<[f32; K]> {
        let coordinate = |row: &[f32], axis: &[f64]| {
            let terms = row.iter().zip(&self.mean).zip(axis);
            terms.map(|((&x, mean), a)| (f64::from(x) - mean) * a).sum::<f64>() as f32
        };
        x.iter().map(|row| std::array::from_fn(|k| coordinate(row, &self.axes[k]))).collect()
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

/// C a, by way of the samples: E[(x - mean) ((x - mean) · a)].
fn product(x: Mat<f32>, mean: &[f64], axis: &[f64]) -> Vec<f64> {
    let middle = dot(mean, axis);
    let along: Vec<f64> = (0..x.rows())
        .into_par_iter()
        .map(|i| x.row(i).iter().zip(axis).map(|(&x, a)| f64::from(x) * a).sum::<f64>() - middle)
        .collect();
    let mut product = vec![0.0; x.cols()];
    product.par_chunks_mut(PANEL * PANEL).enumerate().for_each(|(panel, product)| {
        let start = panel * PANEL * PANEL;
        for (row, &along) in x.iter().zip(&along) {
            add_scaled(product, along / x.rows() as f64, &row[start..]);
        }
    });
    let sum = along.iter().sum::<f64>() / x.rows() as f64;
    product.iter_mut().zip(mean).for_each(|(p, m)| *p -= sum * m);
    product
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
