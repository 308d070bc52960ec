//! The works, done with `gemm`: its products on rayon's threads, everything between them in loops.

use gemm::Parallelism;
use rayon::prelude::*;

use crate::contest::{Entrant, entrant};
use crate::dense::{Gradients, Outputs};
use crate::gram::{Smallest, square_norms, to_distances, to_slopes};
use crate::product::{Factor, sizes};
use crate::with_products;
use crate::work::{AllPairs, DistanceMatrix, Distances, Found, LossAndGrads, Nearest};

/// Rows of queries whose inner products with all rows stay in the last cache.
const QUERIES: usize = 512;

/// `to = keep * to + factor * a b`, on rayon's threads; `to` is not read where nothing of it is kept.
fn product(to: &mut [f32], keep: f32, factor: f32, a: Factor, b: Factor) {
    let [m, k, n] = sizes(to, a, b);
    let parallelism = match rayon::current_num_threads() {
        1 => Parallelism::None,
        _ => Parallelism::Rayon(0),
    };
    let [[a_row, a_col], [b_row, b_col]] = [a, b].map(|f| f.strides.map(|stride| stride as isize));
    // SAFETY: the lengths of all three are those of their shapes, and strides are of whole matrices.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            to.as_mut_ptr(),
            1,
            n as isize,
            keep != 0.0,
            a.elements.as_ptr(),
            a_col,
            a_row,
            b.elements.as_ptr(),
            b_col,
            b_row,
            keep,
            factor,
            false,
            false,
            false,
            parallelism,
        );
    }
}

pub fn all_pairs(work: &AllPairs) -> Box<dyn Entrant + '_> {
    let [n, d] = work.shape;
    let labels: Vec<i32> = work.labels.iter().map(|&label| label as i32).collect();
    let (mut gram, mut slope_sums) = (vec![0.0; n * n], vec![0.0; n]);
    entrant("gemm", "", LossAndGrads::<1>::new(work.shape), move |out| {
        let [grad] = &mut out.grads;
        let z = Factor::new(&work.z, work.shape);
        product(&mut gram, 0.0, 1.0, z, z.transposed());
        let norms = square_norms(&work.z, d);
        out.value = to_slopes(&mut gram, &norms, &labels, work.margin, &mut slope_sums);
        let rows = grad.par_chunks_exact_mut(d).zip(work.z.par_chunks_exact(d)).zip(&slope_sums);
        rows.for_each(|((grad, z), slope_sum)| {
            grad.iter_mut().zip(z).for_each(|(grad, z)| *grad = slope_sum * z);
        });
        product(grad, 1.0, -1.0, Factor::new(&gram, [n, n]), z);
    })
}

pub fn distances(work: &Distances) -> Box<dyn Entrant + '_> {
    let [n, d] = work.shape;
    entrant("gemm", "", DistanceMatrix::new(n), move |out| {
        let z = Factor::new(&work.z, work.shape);
        product(&mut out.elements, 0.0, 1.0, z, z.transposed());
        to_distances(&mut out.elements, &square_norms(&work.z, d));
    })
}

/// Ranks by |y|² - 2 x·y, a block of queries at a time.
pub fn nearest(work: &Nearest) -> Box<dyn Entrant + '_> {
    let [n, d] = work.shape;
    let mut gram = vec![0.0; QUERIES * n];
    entrant("gemm", "", Found::new(n), move |found| {
        let norms = square_norms(&work.z, d);
        let references = Factor::new(&work.z, work.shape).transposed();
        for first in (0..n).step_by(QUERIES) {
            let count = QUERIES.min(n - first);
            let queries = Factor::new(&work.z[first * d..][..count * d], [count, d]);
            let gram = &mut gram[..count * n];
            product(gram, 0.0, -2.0, queries, references);
            let rows = gram.par_chunks_exact_mut(n).enumerate();
            let to = found.indices[first..].par_iter_mut().zip(&mut found.distances[first..]);
            rows.zip(to).for_each(|((i, row), (indices, distances))| {
                row.iter_mut().zip(&norms).for_each(|(x, norm)| *x += norm);
                let nearest = Smallest::of(row, first + i, f32::INFINITY);
                *indices = nearest.indices;
                let own = norms[first + i];
                *distances = nearest.scores.map(|score| (score + own).max(0.0).sqrt());
            });
        }
    })
}

pub fn outputs<'w>(work: &'w Outputs) -> Box<dyn Entrant + 'w> {
    with_products::outputs("gemm", product, work)
}

pub fn gradients<'w>(work: &'w Gradients) -> Box<dyn Entrant + 'w> {
    with_products::gradients("gemm", product, work)
}
