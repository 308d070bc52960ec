//! What is computed, on random data, and the right answers in scalar f64.
//!
//! Losses are the contrastive loss of Hadsell, Chopra and LeCun (2006): d²/2 for similar pairs,
//! max(0, m - d)²/2 for dissimilar ones, summed.

use drlim::Rng;
use drlim::pairs::Neighbours;

use crate::contest::{Expected, Output, Row, Work};

/// Neighbours of each row.
pub const K: usize = 5;

/// Loss and gradient of every pair of a batch, n x d, similar by label.
pub struct AllPairs {
    pub shape: [usize; 2],
    pub z: Vec<f32>,
    pub labels: Vec<i64>,
    pub margin: f32,
}

/// The matrix of all Euclidean distances between rows.
pub struct Distances {
    pub shape: [usize; 2],
    pub z: Vec<f32>,
}

/// Loss and both gradients of pairs by rows, n x d, with a margin of 1.
pub struct PairRows {
    pub shape: [usize; 2],
    pub a: Vec<f32>,
    pub b: Vec<f32>,
    pub similar: Vec<bool>,
}

/// The K nearest of the other rows of each row.
pub struct Nearest {
    pub shape: [usize; 2],
    pub z: Vec<f32>,
}

/// Between 0 and 1.
pub fn random(rng: &mut Rng, [n, d]: [usize; 2]) -> Vec<f32> {
    (0..n * d).map(|_| rng.uniform() as f32).collect()
}

impl AllPairs {
    /// Eight classes, and a margin that all pairs are within.
    pub fn random(n: usize, d: usize) -> Self {
        let labels = (0..n as i64).map(|i| i % 8).collect();
        let z = random(&mut Rng::new(1), [n, d]);
        AllPairs { shape: [n, d], z, labels, margin: (d as f32).sqrt() }
    }
}

impl Distances {
    pub fn random(n: usize, d: usize) -> Self {
        Distances { shape: [n, d], z: random(&mut Rng::new(1), [n, d]) }
    }
}

impl PairRows {
    pub fn random(n: usize, d: usize) -> Self {
        let mut rng = Rng::new(1);
        let (a, b) = (random(&mut rng, [n, d]), random(&mut rng, [n, d]));
        PairRows { shape: [n, d], a, b, similar: (0..n).map(|i| i % 2 == 0).collect() }
    }
}

impl Nearest {
    pub fn random(n: usize, d: usize) -> Self {
        Nearest { shape: [n, d], z: random(&mut Rng::new(1), [n, d]) }
    }
}

fn distance(x: &[f32], y: &[f32]) -> f64 {
    x.iter().zip(y).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum::<f64>().sqrt()
}

/// Value and slope of a pair: its gradient is the slope times the difference of its rows.
fn contrastive(distance: f64, similar: bool, margin: f64) -> (f64, f64) {
    let gap = (margin - distance).max(0.0);
    match similar {
        true => (0.5 * distance * distance, 1.0),
        false => (0.5 * gap * gap, if distance > 0.0 { -gap / distance } else { 0.0 }),
    }
}

impl Work for AllPairs {
    fn name(&self) -> &'static str {
        "all pairs by label: loss, gradient"
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn expected(&self, rows: &[usize]) -> Expected {
        let [n, d] = self.shape;
        let row = |i: usize| &self.z[i * d..][..d];
        let pair = |i: usize, j: usize| {
            let similar = self.labels[i] == self.labels[j];
            contrastive(distance(row(i), row(j)), similar, self.margin.into())
        };
        let value = (0..n).map(|i| (0..i).map(|j| pair(i, j).0).sum::<f64>()).sum();
        let gradient = |&i: &usize| {
            let (mut elements, mut size) = (vec![0.0; d], 0.0);
            for j in (0..n).filter(|&j| j != i) {
                let slope = pair(i, j).1;
                for (k, element) in elements.iter_mut().enumerate() {
                    *element += slope * (f64::from(row(i)[k]) - f64::from(row(j)[k]));
                }
                size += slope.abs() * distance(row(i), row(j));
            }
            Row { elements, size }
        };
        Expected { value: Some(value), rows: rows.iter().map(gradient).collect() }
    }
}

impl Work for Distances {
    fn name(&self) -> &'static str {
        "distance matrix"
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn expected(&self, rows: &[usize]) -> Expected {
        let d = self.shape[1];
        let distances = |&i: &usize| {
            let row = &self.z[i * d..][..d];
            let elements: Vec<f64> = self.z.chunks_exact(d).map(|z| distance(row, z)).collect();
            Row { size: elements.iter().copied().fold(0.0, f64::max), elements }
        };
        Expected { value: None, rows: rows.iter().map(distances).collect() }
    }
}

impl Work for PairRows {
    fn name(&self) -> &'static str {
        "pairs by rows: loss, both gradients"
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn expected(&self, rows: &[usize]) -> Expected {
        let [n, d] = self.shape;
        let row = |i: usize| (&self.a[i * d..][..d], &self.b[i * d..][..d]);
        let pair = |i: usize| contrastive(distance(row(i).0, row(i).1), self.similar[i], 1.0);
        let gradients = |&i: &usize| {
            let ((a, b), slope) = (row(i), pair(i).1);
            let terms = a.iter().zip(b).map(|(&a, &b)| slope * (f64::from(a) - f64::from(b)));
            let mut elements: Vec<f64> = terms.collect();
            let size = slope.abs() * distance(a, b);
            elements.extend_from_within(..);
            elements[d..].iter_mut().for_each(|x| *x = -*x);
            Row { elements, size }
        };
        let value = (0..n).map(|i| pair(i).0).sum();
        Expected { value: Some(value), rows: rows.iter().map(gradients).collect() }
    }
}

impl Work for Nearest {
    fn name(&self) -> &'static str {
        "5 nearest of the other rows"
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn expected(&self, rows: &[usize]) -> Expected {
        let [n, d] = self.shape;
        let row = |i: usize| &self.z[i * d..][..d];
        let nearest = |&i: &usize| {
            let others = (0..n).filter(|&j| j != i);
            let mut others: Vec<_> = others.map(|j| (distance(row(i), row(j)), j)).collect();
            others.sort_by(|x, y| x.0.total_cmp(&y.0));
            others.truncate(K);
            let indices = others.iter().map(|&(_, j)| j as f64);
            let elements = others.iter().map(|&(distance, _)| distance).chain(indices).collect();
            Row { elements, size: others[K - 1].0 }
        };
        Expected { value: None, rows: rows.iter().map(nearest).collect() }
    }
}

/// A loss with the gradients of one matrix or two.
pub struct LossAndGrads<const M: usize> {
    pub value: f64,
    pub grads: [Vec<f32>; M],
    cols: usize,
}

impl<const M: usize> LossAndGrads<M> {
    /// Filled with NaN: what is not written is found.
    pub fn new([n, d]: [usize; 2]) -> Self {
        let grads = [(); M].map(|()| vec![f32::NAN; n * d]);
        LossAndGrads { value: f64::NAN, grads, cols: d }
    }
}

impl<const M: usize> Output for LossAndGrads<M> {
    fn value(&self) -> Option<f64> {
        Some(self.value)
    }

    fn row(&self, i: usize) -> Vec<f64> {
        let grads = self.grads.iter().flat_map(|grad| &grad[i * self.cols..][..self.cols]);
        grads.map(|&x| x.into()).collect()
    }
}

/// A matrix of distances, n x n.
pub struct DistanceMatrix {
    pub elements: Vec<f32>,
    n: usize,
}

impl DistanceMatrix {
    pub fn new(n: usize) -> Self {
        DistanceMatrix { elements: vec![f32::NAN; n * n], n }
    }
}

impl Output for DistanceMatrix {
    fn row(&self, i: usize) -> Vec<f64> {
        self.elements[i * self.n..][..self.n].iter().map(|&x| x.into()).collect()
    }
}

/// Distances, then indices, as one row.
fn neighbours(indices: &[u32], distances: &[f32]) -> Vec<f64> {
    let indices = indices.iter().map(|&j| f64::from(j));
    distances.iter().map(|&x| x.into()).chain(indices).collect()
}

/// Indices and distances of the nearest rows, n x K, as a search by another library leaves them.
pub struct Found {
    pub indices: Vec<[u32; K]>,
    pub distances: Vec<[f32; K]>,
}

impl Found {
    pub fn new(n: usize) -> Self {
        Found { indices: vec![[0; K]; n], distances: vec![[f32::NAN; K]; n] }
    }
}

impl Output for Found {
    fn row(&self, i: usize) -> Vec<f64> {
        neighbours(&self.indices[i], &self.distances[i])
    }
}

/// What the crate's own search returns, once it has.
impl Output for Option<Neighbours<f32>> {
    fn row(&self, i: usize) -> Vec<f64> {
        let (indices, distances) = self.as_ref().expect("a search has been run").row(i);
        neighbours(indices, distances)
    }
}
