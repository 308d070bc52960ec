//! From a matrix of inner products to what is wanted, in place: the part that no library of products
//! does. d² = |x|² + |y|² - 2 x·y.
//!
//! Loops run over whole vectors of rows, keep `LANES` partial sums and have no branches, so that the
//! compiler can vectorise them; rows are shared out to rayon's threads.

use rayon::prelude::*;

use crate::work::K;

/// Partial sums of a loop.
const LANES: usize = 16;

/// |x|² of each row.
pub fn square_norms(z: &[f32], d: usize) -> Vec<f32> {
    z.par_chunks_exact(d).map(square_norm).collect()
}

pub fn square_norm(row: &[f32]) -> f32 {
    let (mut sums, chunks) = ([0.0; LANES], row.chunks_exact(LANES));
    let rest: f32 = chunks.remainder().iter().map(|x| x * x).sum();
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += x * x;
        }
    }
    rest + sums.iter().sum::<f32>()
}

/// Inner products of all rows to distances.
pub fn to_distances(gram: &mut [f32], norms: &[f32]) {
    let n = norms.len();
    gram.par_chunks_exact_mut(n).enumerate().for_each(|(i, row)| {
        let own = norms[i];
        for (x, norm) in row.iter_mut().zip(norms) {
            *x = (own + norm - 2.0 * *x).max(0.0).sqrt();
        }
        row[i] = 0.0;
    });
}

/// Inner products of all rows to slopes of the contrastive loss, their sums by row, and the loss.
pub fn to_slopes(
    gram: &mut [f32],
    norms: &[f32],
    labels: &[i32],
    margin: f32,
    slope_sums: &mut [f32],
) -> f64 {
    let n = norms.len();
    let rows = gram.par_chunks_exact_mut(n).zip(slope_sums);
    let values = rows.enumerate().map(|(i, (row, slope_sum))| {
        // The pair of a row with itself: at distance 0, where a slope of 1 and a value of 0 result.
        row[i] = norms[i];
        let own = (norms[i], labels[i]);
        let (mut slopes, mut values) = ([0.0; LANES], [0.0; LANES]);
        let mut chunk = |row: &mut [f32], norms: &[f32], labels: &[i32]| {
            for (lane, x) in row.iter_mut().enumerate() {
                let d2 = (own.0 + norms[lane] - 2.0 * *x).max(0.0);
                let distance = d2.sqrt();
                let gap = (margin - distance).max(0.0);
                let push = if d2 > 0.0 { -gap / distance } else { 0.0 };
                let similar = labels[lane] == own.1;
                *x = if similar { 1.0 } else { push };
                slopes[lane] += *x;
                values[lane] += if similar { d2 } else { gap * gap };
            }
        };
        let whole = n - n % LANES;
        for at in (0..whole).step_by(LANES) {
            let at = at..at + LANES;
            chunk(&mut row[at.clone()], &norms[at.clone()], &labels[at]);
        }
        chunk(&mut row[whole..], &norms[whole..], &labels[whole..]);
        row[i] = 0.0;
        *slope_sum = slopes.iter().sum::<f32>() - 1.0;
        f64::from(values.iter().sum::<f32>())
    });
    // Each pair has been seen twice, and has a factor of 1/2.
    values.sum::<f64>() / 4.0
}

/// The K smallest of a row's scores so far, smallest first.
#[derive(Clone, Copy)]
pub struct Smallest<T> {
    pub scores: [T; K],
    pub indices: [u32; K],
}

impl<T: Copy + PartialOrd> Smallest<T> {
    /// Of `scores`, all but number `own`. `infinity` is above them all.
    pub fn of(scores: &[T], own: usize, infinity: T) -> Self {
        let mut found = Smallest { scores: [infinity; K], indices: [0; K] };
        for (c, chunk) in scores.chunks(LANES).enumerate() {
            // Few chunks have anything to offer: the others pass without a branch an element.
            let worst = found.scores[K - 1];
            if !chunk.iter().fold(false, |any, &score| any | (score < worst)) {
                continue;
            }
            for (lane, &score) in chunk.iter().enumerate() {
                let j = c * LANES + lane;
                if score < found.scores[K - 1] && j != own {
                    found.insert(score, j as u32);
                }
            }
        }
        found
    }

    fn insert(&mut self, score: T, index: u32) {
        let mut at = K - 1;
        while at > 0 && score < self.scores[at - 1] {
            self.scores[at] = self.scores[at - 1];
            self.indices[at] = self.indices[at - 1];
            at -= 1;
        }
        (self.scores[at], self.indices[at]) = (score, index);
    }
}
