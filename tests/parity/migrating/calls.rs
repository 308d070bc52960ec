//! The calls of the guide. A factor is the objective's scale, and multiplies the value too.

#![forbid(unsafe_code)]

use drlim::batch::{
    AllPairsScratch, Distance, Mining, MiningScratch, RowsOut, TripletRows, TripletRowsOut,
    all_pairs, row_distances, row_distances_backward, rows, triplet_rows, triplets,
};
use drlim::loss::{Objective, Pairing, TripletObjective};
use drlim::nn::{L2Normalize, Network, Shape, Workspace};
use drlim::{Cx, Mat, MatMut, Similar};

use crate::migrating::compare::Got;
use crate::migrating::labelled::LABELS;
use crate::support::Element;

/// The first half of the rows with the second.
pub fn by_rows<'p, T: Element>(
    cx: &Cx,
    objective: &Objective<T>,
    x: Mat<T>,
    pairing: impl Into<Pairing<'p, T>>,
) -> Got<T> {
    let (n, cols) = (x.rows() / 2, x.cols());
    let mut grad = vec![T::NAN; 2 * n * cols];
    let (grad_a, grad_b) = MatMut::new(&mut grad, 2 * n, cols).unwrap().split_rows_at(n);
    let (a, b) = (x.rows_range(0, n), x.rows_range(n, 2 * n));
    let out = RowsOut::grads(grad_a, grad_b);
    let outcome = rows(cx, objective, a, b, pairing, out).unwrap();
    Got { value: objective.scale.to_f64() * outcome.value, grad }
}

/// Every pair of a labelled batch once.
pub fn by_labels<T: Element>(cx: &Cx, objective: &Objective<T>, z: Mat<T>) -> Got<T> {
    let mut grad = vec![T::NAN; z.rows() * z.cols()];
    let to = Some(MatMut::new(&mut grad, z.rows(), z.cols()).unwrap());
    let (similar, mut scratch) = (Similar::Labels(&LABELS), AllPairsScratch::new());
    let outcome = all_pairs(cx, objective, z, similar, to, &mut scratch).unwrap();
    Got { value: objective.scale.to_f64() * outcome.value, grad }
}

/// The triplets of the first rows of the labelled batch.
pub fn by_mining<T: Element>(
    cx: &Cx,
    objective: &TripletObjective<T>,
    z: Mat<T>,
    mining: Mining,
) -> Got<T> {
    let mut grad = vec![T::NAN; z.rows() * z.cols()];
    let to = Some(MatMut::new(&mut grad, z.rows(), z.cols()).unwrap());
    let similar = Similar::Labels(&LABELS[..z.rows()]);
    let scratch = &mut MiningScratch::new();
    let outcome = triplets(cx, objective, z, similar, mining, to, scratch).unwrap();
    Got { value: objective.scale.to_f64() * outcome.value, grad }
}

/// Triplets of the rows of `z`, written out.
pub fn by_triplets<T: Element>(
    cx: &Cx,
    objective: &TripletObjective<T>,
    z: Mat<T>,
    triplets: &[[usize; 3]],
) -> Got<T> {
    let (n, cols) = (triplets.len(), z.cols());
    let inputs = [0, 1, 2].map(|member| -> Vec<T> {
        triplets.iter().flat_map(|triplet| z.row(triplet[member])).copied().collect()
    });
    let mut grads = [const { Vec::new() }; 3].map(|_: Vec<T>| vec![T::NAN; n * cols]);
    let [a, p, i] = inputs.each_ref().map(|input| Mat::new(input, n, cols).unwrap());
    let [ga, gp, gi] = grads.each_mut().map(|grad| MatMut::new(grad, n, cols).unwrap());
    let (batch, out) = (TripletRows::new(a, p, i).unwrap(), TripletRowsOut::grads(ga, gp, gi));
    let outcome = triplet_rows(cx, objective, batch, out).unwrap();
    let rows = triplets.iter().map(|triplet| triplet.as_slice());
    Got {
        value: objective.scale.to_f64() * outcome.value,
        grad: scattered(z.shape(), rows, &grads.each_ref().map(Vec::as_slice)),
    }
}

/// Gradients of rows that were written out, added up at the rows that they came from.
fn scattered<'r, T: Element>(
    [n, cols]: [usize; 2],
    rows: impl Iterator<Item = &'r [usize]>,
    grads: &[&[T]],
) -> Vec<T> {
    let mut sums = vec![0.0; n * cols];
    for (at, rows) in rows.enumerate() {
        for (row, grad) in rows.iter().zip(grads) {
            for k in 0..cols {
                sums[row * cols + k] += grad[at * cols + k].to_f64();
            }
        }
    }
    sums.into_iter().map(T::from_f64).collect()
}

/// The first third of the rows as anchors, then positives, then negatives.
pub fn by_thirds<T: Element>(cx: &Cx, objective: &TripletObjective<T>, x: Mat<T>) -> Got<T> {
    let n = x.rows() / 3;
    let triplets: Vec<_> = (0..n).map(|i| [i, n + i, 2 * n + i]).collect();
    by_triplets(cx, objective, x, &triplets)
}

/// A function of each distance: `cost` gives the value, and the derivative by the distance.
pub fn by_distances<T: Element>(
    cx: &Cx,
    distance: Distance,
    z: Mat<T>,
    pairs: &[[usize; 2]],
    cost: impl Fn(usize, f64) -> [f64; 2],
) -> Got<T> {
    let (n, cols) = (pairs.len(), z.cols());
    let [a, b] = [0, 1].map(|member| -> Vec<T> {
        pairs.iter().flat_map(|pair| z.row(pair[member])).copied().collect()
    });
    let (a, b) = (Mat::new(&a, n, cols).unwrap(), Mat::new(&b, n, cols).unwrap());
    let mut distances = vec![T::NAN; n];
    row_distances(cx, distance, a, b, &mut distances).unwrap();
    let costs: Vec<[f64; 2]> =
        distances.iter().enumerate().map(|(i, d)| cost(i, d.to_f64())).collect();
    let upstream: Vec<T> = costs.iter().map(|cost| T::from_f64(cost[1])).collect();
    let mut grads = [vec![T::NAN; n * cols], vec![T::NAN; n * cols]];
    let [by_a, by_b] = grads.each_mut().map(|grad| MatMut::new(grad, n, cols).unwrap());
    row_distances_backward(cx, distance, a, b, &upstream, by_a, by_b).unwrap();
    let rows = pairs.iter().map(|pair| pair.as_slice());
    Got {
        value: costs.iter().map(|cost| cost[0]).sum(),
        grad: scattered(z.shape(), rows, &grads.each_ref().map(Vec::as_slice)),
    }
}

/// A call on rows of unit length, with the gradient by the rows before.
pub fn on_unit_rows<T: Element>(cx: &Cx, x: Mat<T>, call: impl Fn(Mat<T>) -> Got<T>) -> Got<T> {
    let [n, cols] = x.shape();
    let builder = Network::builder(Shape::flat(cols)).layer("unit", L2Normalize::new());
    let net = builder.build(1).unwrap();
    let mut workspace = Workspace::training(&net, n).unwrap();
    let Got { value, grad } = call(net.forward(cx, x, &mut workspace).unwrap());
    let dz = Mat::new(&grad, n, cols).unwrap();
    let mut dx = vec![T::NAN; n * cols];
    let to = MatMut::new(&mut dx, n, cols).unwrap();
    net.backward(cx, dz, &mut workspace, &mut [], Some(to)).unwrap();
    Got { value, grad: dx }
}

/// Row i with row N + i.
pub fn row_pairs(n: usize) -> Vec<[usize; 2]> {
    (0..n).map(|i| [i, n + i]).collect()
}
