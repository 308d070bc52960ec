//! The works, done with `ndarray`: its products are those of `matrixmultiply`, here on as many threads
//! and as wide vectors as that has.

use ndarray::linalg::general_mat_mul;
use ndarray::parallel::prelude::*;
use ndarray::{ArrayView1, ArrayView2, ArrayViewMut2, Axis, Zip};

use crate::contest::{Entrant, entrant};
use crate::gram::{square_norms, to_distances, to_slopes};
use crate::work::{AllPairs, DistanceMatrix, Distances, LossAndGrads, PairRows};

fn view(elements: &[f32], [n, d]: [usize; 2]) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((n, d), elements).expect("n x d elements")
}

fn view_mut(elements: &mut [f32], [n, d]: [usize; 2]) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((n, d), elements).expect("n x d elements")
}

pub fn all_pairs(work: &AllPairs) -> Box<dyn Entrant + '_> {
    let [n, d] = work.shape;
    let labels: Vec<i32> = work.labels.iter().map(|&label| label as i32).collect();
    let (mut gram, mut slope_sums) = (vec![0.0; n * n], vec![0.0; n]);
    entrant("ndarray", "", LossAndGrads::<1>::new(work.shape), move |out| {
        let z = view(&work.z, work.shape);
        general_mat_mul(1.0, &z, &z.t(), 0.0, &mut view_mut(&mut gram, [n, n]));
        let norms = square_norms(&work.z, d);
        out.value = to_slopes(&mut gram, &norms, &labels, work.margin, &mut slope_sums);
        let [grad] = &mut out.grads;
        let mut grad = view_mut(grad, work.shape);
        let slope_sums = ArrayView1::from(&slope_sums).insert_axis(Axis(1));
        Zip::from(&mut grad)
            .and(&z)
            .and_broadcast(&slope_sums)
            .par_for_each(|grad, z, slope_sum| *grad = slope_sum * z);
        general_mat_mul(-1.0, &view(&gram, [n, n]), &z, 1.0, &mut grad);
    })
}

pub fn distances(work: &Distances) -> Box<dyn Entrant + '_> {
    let [n, d] = work.shape;
    entrant("ndarray", "", DistanceMatrix::new(n), move |out| {
        let z = view(&work.z, work.shape);
        general_mat_mul(1.0, &z, &z.t(), 0.0, &mut view_mut(&mut out.elements, [n, n]));
        to_distances(&mut out.elements, &square_norms(&work.z, d));
    })
}

/// One pass: each row's difference is written as its gradient, measured, and scaled in place.
pub fn rows(work: &PairRows) -> Box<dyn Entrant + '_> {
    entrant("ndarray", "", LossAndGrads::<2>::new(work.shape), move |out| {
        let [mut grad_a, mut grad_b] = out.grads.each_mut().map(|grad| view_mut(grad, work.shape));
        let (a, b) = (view(&work.a, work.shape), view(&work.b, work.shape));
        let rows = Zip::from(a.rows()).and(b.rows()).and(&work.similar);
        let rows = rows.and(grad_a.rows_mut()).and(grad_b.rows_mut());
        let values = rows.into_par_iter().map(|(a, b, &similar, mut grad_a, mut grad_b)| {
            Zip::from(&mut grad_a).and(&a).and(&b).for_each(|grad, a, b| *grad = a - b);
            let d2 = grad_a.dot(&grad_a);
            let gap = (1.0_f32 - d2.sqrt()).max(0.0);
            let (value, slope) = match similar {
                true => (d2, 1.0),
                false => (gap * gap, if d2 > 0.0 { -gap / d2.sqrt() } else { 0.0 }),
            };
            Zip::from(&mut grad_a).and(&mut grad_b).for_each(|grad_a, grad_b| {
                *grad_a *= slope;
                *grad_b = -*grad_a;
            });
            f64::from(value)
        });
        out.value = 0.5 * values.sum::<f64>();
    })
}
