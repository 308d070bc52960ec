//! The works, done with `numkong`: its batched distances measure, in f64, what is given in f32.

use numkong::{Euclideans, PackedMatrix, Tensor};
use rayon::prelude::*;

use crate::contest::{Entrant, Output, entrant};
use crate::gram::Smallest;
use crate::work::{Distances, Found, Nearest};

/// Rows of queries that are measured at once: their distances stay in a core's second cache.
const QUERIES: usize = 16;

/// All of the matrix, in blocks of rows.
struct Full(Vec<Tensor<f64>>);

/// The matrix on and above its diagonal.
struct Upper(Tensor<f64>);

impl Output for Full {
    fn row(&self, i: usize) -> Vec<f64> {
        self.0[i / QUERIES].row(i % QUERIES).expect("row i").to_vec()
    }
}

impl Output for Upper {
    fn row(&self, i: usize) -> Vec<f64> {
        let at = |i: usize, j: usize| self.0.row(i).expect("row i")[j];
        (0..self.0.shape()[0]).map(|j| at(i.min(j), i.max(j))).collect()
    }
}

fn tensor(elements: &[f32], shape: [usize; 2]) -> Tensor<f32> {
    Tensor::try_from_slice(elements, &shape).expect("n x d elements")
}

fn zeros(shape: [usize; 2]) -> Tensor<f64> {
    Tensor::try_full(&shape, 0.0).expect("memory for distances")
}

/// Blocks of queries, which rayon shares out.
fn blocks(z: &[f32], d: usize) -> Vec<Tensor<f32>> {
    z.chunks(QUERIES * d).map(|rows| tensor(rows, [rows.len() / d, d])).collect()
}

pub fn distances(work: &Distances) -> [Box<dyn Entrant + '_>; 2] {
    let [n, d] = work.shape;
    let (z, blocks) = (tensor(&work.z, work.shape), blocks(&work.z, d));
    let matrix = blocks.iter().map(|block| zeros([block.shape()[0], n])).collect();
    let full = entrant("numkong", "full", Full(matrix), move |out| {
        let packed = PackedMatrix::try_pack(&z).expect("a packed matrix");
        blocks.par_iter().zip(&mut out.0).for_each(|(queries, to)| {
            queries.try_euclideans_packed_into(&packed, to).expect("distances");
        });
    });
    let upper = entrant("numkong", "upper triangle", Upper(zeros([n, n])), move |out| {
        let to = Shared(out.0.as_mut_slice().as_mut_ptr());
        (0..n.div_ceil(QUERIES)).into_par_iter().for_each(|block| {
            let (first, row) = (block * QUERIES, d * size_of::<f32>());
            let count = QUERIES.min(n - first);
            // SAFETY: both matrices have n whole rows, and only rows of this block are written.
            unsafe {
                let z = work.z.as_ptr();
                f32::euclideans_symmetric(z, n, d, row, to.get(), n * 8, first, count);
            }
        });
    });
    [full, upper]
}

/// A matrix that tasks write different rows of.
struct Shared(*mut f64);

// SAFETY: see where it is written.
unsafe impl Sync for Shared {}

impl Shared {
    /// Takes all of itself into a closure, where the field alone would not be shared.
    fn get(&self) -> *mut f64 {
        self.0
    }
}

/// Blocks of queries are shared out to rayon's threads, and ranked while their distances are at hand.
pub fn nearest(work: &Nearest) -> Box<dyn Entrant + '_> {
    let [n, d] = work.shape;
    let references = tensor(&work.z, work.shape);
    let blocks = blocks(&work.z, d);
    entrant("numkong", "", Found::new(n), move |found| {
        let packed = PackedMatrix::try_pack(&references).expect("a packed matrix");
        let indices = found.indices.par_chunks_mut(QUERIES);
        let to = indices.zip(found.distances.par_chunks_mut(QUERIES));
        let memory = || zeros([QUERIES, n]);
        blocks.par_iter().zip(to).enumerate().for_each_init(memory, |block, task| {
            let (b, (queries, (indices, distances))) = task;
            let mut block = block.slice_mut((0..indices.len(), ..)).expect("some of its rows");
            queries.try_euclideans_packed_into(&packed, &mut block).expect("distances");
            let rows = block.as_contiguous_slice().expect("whole rows").chunks_exact(n);
            for (i, row) in rows.enumerate() {
                let nearest = Smallest::of(row, b * QUERIES + i, f64::INFINITY);
                indices[i] = nearest.indices;
                distances[i] = nearest.scores.map(|distance| distance as f32);
            }
        });
    })
}
