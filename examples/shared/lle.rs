//! Locally linear embedding (Roweis and Saul, 2000), which the paper sets beside its own method.
//!
//! ```text
//! for each point x_i with its k nearest neighbours x_j:
//!     w_i = argmin |x_i - sum_j w_ij x_j|^2, sum_j w_ij = 1
//! M = (I - W)^T (I - W)
//! coordinates: the eigenvectors of M for its smallest eigenvalues, but for the constant one
//! ```
//!
//! The points are placed freely: there is no map for a point that was not there.

use drlim::{Cx, Error, Mat, pairs};
use nalgebra::{DMatrix, DVector};

use super::Failure;

/// The share of the trace of a local Gram matrix that is added to its diagonal: it keeps the weights bounded where there are more neighbours than
/// dimensions, or neighbours in a line.
const REGULARISATION: f64 = 1e-3;

/// The share of the largest entry of M's diagonal that is added to the diagonal: M is singular.
const RIDGE: f64 = 1e-9;

/// Steps of the inverse iteration; the wanted eigenvalues are far below the others.
const STEPS: usize = 60;

/// The coordinates of each row of `x`, K of them, by `neighbours` neighbours each.
pub fn embed<const K: usize>(
    cx: &Cx,
    x: Mat<f32>,
    neighbours: usize,
) -> Result<Vec<[f32; K]>, Failure> {
    let n = x.rows();
    let weights = weights(cx, x, neighbours)?;
    let mut m = DMatrix::<f64>::zeros(n, n);
    for (i, row) in weights.iter().enumerate() {
        // The outer product of row i of I - W.
        let entries = || row.iter().map(|&(j, w)| (j, -w)).chain([(i, 1.0)]);
        for (a, va) in entries() {
            for (b, vb) in entries() {
                m[(a, b)] += va * vb;
            }
        }
    }
    let vectors = smallest::<K>(m).ok_or("LLE: the matrix cannot be factorised")?;
    let scale = (n as f64).sqrt();
    Ok((0..n).map(|i| std::array::from_fn(|k| (scale * vectors[k][i]) as f32)).collect())
}

/// The weights of each row's neighbours.
fn weights(cx: &Cx, x: Mat<f32>, neighbours: usize) -> Result<Vec<Vec<(usize, f64)>>, Error> {
    let found = pairs::nearest_others(cx, x, neighbours)?;
    let weigh = |i: usize| {
        let (near, _) = found.row(i);
        let difference =
            |a: usize, c: usize| f64::from(x.row(near[a] as usize)[c]) - f64::from(x.row(i)[c]);
        let gram = |a: usize, b: usize| -> f64 {
            (0..x.cols()).map(|c| difference(a, c) * difference(b, c)).sum()
        };
        let mut gram =
            DMatrix::from_fn(near.len(), near.len(), |a, b| if a <= b { gram(a, b) } else { 0.0 });
        gram.fill_lower_triangle_with_upper_triangle();
        let ridge = (REGULARISATION * gram.trace()).max(f64::MIN_POSITIVE.sqrt());
        for a in 0..near.len() {
            gram[(a, a)] += ridge;
        }
        let ones = DVector::from_element(near.len(), 1.0);
        let solved = gram.cholesky().map_or(ones.clone(), |factor| factor.solve(&ones));
        let sum = solved.sum();
        near.iter().zip(solved.iter()).map(|(&j, w)| (j as usize, w / sum)).collect()
    };
    Ok((0..x.rows()).map(weigh).collect())
}

/// The eigenvectors of the K smallest eigenvalues but for the constant vector, whose eigenvalue is 0: by inverse
/// iteration on a subspace, in which the constant is taken away after each step.
fn smallest<const K: usize>(mut m: DMatrix<f64>) -> Option<Vec<DVector<f64>>> {
    let n = m.nrows();
    let largest = m.diagonal().max();
    for i in 0..n {
        m[(i, i)] += RIDGE * largest;
    }
    let factor = m.clone().cholesky()?;
    let mut rng = drlim::Rng::new(1);
    // One more than is wanted, so that the last one converges as fast as the others.
    let mut basis: Vec<DVector<f64>> =
        (0..=K).map(|_| DVector::from_fn(n, |_, _| rng.uniform() - 0.5)).collect();
    for _ in 0..STEPS {
        for k in 0..basis.len() {
            let mut next = factor.solve(&basis[k]);
            next.add_scalar_mut(-next.mean());
            for before in &basis[..k] {
                next.axpy(-before.dot(&next), before, 1.0);
            }
            basis[k] = next.normalize();
        }
    }
    basis.truncate(K);
    Some(basis)
}
