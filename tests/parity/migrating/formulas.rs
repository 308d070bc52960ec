//! What the scalar statements are made of.

#![forbid(unsafe_code)]

use std::ops::Deref;

/// Which pairs of a batch by rows are similar.
pub const SIMILAR: [bool; 11] =
    [true, false, true, true, false, false, true, false, false, true, false];

/// Triplets of a batch by rows.
pub const TRIPLETS: usize = 11;

/// Elements of a row.
pub const COLS: usize = 5;

pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub fn cosine(a: &[f64], b: &[f64]) -> f64 {
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

pub fn normalized(x: &[&[f64]]) -> Vec<Vec<f64>> {
    x.iter().map(|row| row.iter().map(|x| x / dot(row, row).sqrt()).collect()).collect()
}

/// The labels of [`SIMILAR`] in a library's polarity.
pub fn labels(similar: f64, dissimilar: f64) -> Vec<f64> {
    SIMILAR.map(|flag| if flag { similar } else { dissimilar }).to_vec()
}

/// The cost of each pair, from its rows and its label.
pub fn costs(x: &[&[f64]], y: &[f64], cost: impl Fn(&[f64], &[f64], f64) -> f64) -> Vec<f64> {
    let (a, b) = x.split_at(y.len());
    a.iter().zip(b).zip(y).map(|((a, b), &y)| cost(a, b, y)).collect()
}

/// The cost of each triplet by rows.
pub fn triplet_costs<R: Deref<Target = [f64]>>(
    x: &[R],
    cost: impl Fn([&[f64]; 3]) -> f64,
) -> Vec<f64> {
    let n = x.len() / 3;
    (0..n).map(|i| cost([&x[i], &x[n + i], &x[2 * n + i]])).collect()
}

pub fn sum(of: &[f64]) -> f64 {
    of.iter().sum()
}

pub fn mean(of: &[f64]) -> f64 {
    sum(of) / of.len() as f64
}

/// The mean of those above 0, or 0.
pub fn mean_non_zero(of: &[f64]) -> f64 {
    sum(of) / of.iter().filter(|&&x| x > 0.0).count().max(1) as f64
}
