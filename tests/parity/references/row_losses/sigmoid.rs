//! `SigLipLoss`: each pair of an image and a text by itself.

use drlim::batch::{CrossOut, CrossScratch, CrossSimilar, cross};
use drlim::loss::{Objective, Reduction, Sigmoid, SlopeTotals};

use super::case::{at_scale, for_each};
use super::rows::{Matrix, Rows};
use crate::support::{Element, Reference};

/// What the gradient by products of rows has beyond that by distances: (sum over j of dL/du_ij) x_i, along the row
/// itself, which lies on the unit sphere. By the plain formula.
fn radial(x: &Matrix, y: &Matrix, [scale, bias]: [f64; 2]) -> Vec<f64> {
    let [n, d] = x.shape;
    let rows = |of: &Matrix| of.values.chunks(d).map(<[f64]>::to_vec).collect::<Vec<_>>();
    let (x, y) = (rows(x), rows(y));
    let slope = |i: usize, j: usize| {
        let logit = scale * x[i].iter().zip(&y[j]).map(|(a, b)| a * b).sum::<f64>() + bias;
        let sign = if i == j { -1.0 } else { 1.0 };
        scale * sign / (1.0 + (-sign * logit).exp()) / n as f64
    };
    let row = |i: usize| {
        let sum: f64 = (0..y.len()).map(|j| slope(i, j)).sum();
        x[i].iter().map(move |x| sum * x).collect::<Vec<_>>()
    };
    (0..n).flat_map(row).collect()
}

pub fn compare_all<T: Element>(reference: &Reference) {
    for_each(reference, "siglip", |case| {
        let parameters: [f64; 2] = [case.real("logit_scale"), case.real("logit_bias")];
        let [scale, bias] = parameters.map(T::from_f64);
        let loss = Sigmoid::new(scale, bias).unwrap();
        let matrices = ["image", "text"].map(|name| case.matrix(name));
        let [images, texts] = matrices.each_ref().map(|matrix| Rows::<T>::given(matrix.clone()));
        let each = 1.0 / images.count() as f64;
        let reduction = Reduction::Factors { similar: each, dissimilar: each };
        let objective = Objective::sum(&loss).reduced(reduction);
        let [mut of_images, mut of_texts] = [&images, &texts].map(Rows::output);
        let mut totals = SlopeTotals::default();
        let mut out = CrossOut::grads(of_images.mat_mut(), of_texts.mat_mut());
        out.slope_totals = Some(&mut totals);
        let similar = CrossSimilar::Position { first_key: 0 };
        let (x, y, scratch) = (images.mat(), texts.mat(), &mut CrossScratch::new());
        let outcome = cross(&case.cx, &objective, x, y, similar, None, out, scratch).unwrap();

        let tolerance = at_scale::<T>(parameters[0]);
        case.compare::<T>("value", &[outcome.value], tolerance);
        let [by_scale, by_bias] = loss.scale_and_bias(&totals);
        case.compare::<T>("grad_logit_scale", &[by_scale], tolerance);
        case.compare::<T>("grad_logit_bias", &[by_bias], tolerance);
        let [of_images, of_texts] = [images.pull(of_images), texts.pull(of_texts)];
        for (name, grad, [own, others]) in
            [("image", of_images, [0, 1]), ("text", of_texts, [1, 0])]
        {
            let radial = radial(&matrices[own], &matrices[others], parameters);
            let whole: Vec<f64> = grad.values.iter().zip(radial).map(|(a, b)| a + b).collect();
            case.compare::<T>(&format!("grad_{name}"), &whole, tolerance);
        }
    });
}
