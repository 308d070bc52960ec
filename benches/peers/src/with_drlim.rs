//! The works, done with this crate.

use drlim::batch::{AllPairsScratch, RowsOut};
use drlim::loss::{Contrastive, Objective};
use drlim::{Cx, Mat, MatMut, Similar, batch, pairs};

use crate::contest::{Entrant, entrant};
use crate::work::{AllPairs, DistanceMatrix, Distances, K, LossAndGrads, Nearest, PairRows};

fn view(elements: &[f32], [n, d]: [usize; 2]) -> Mat<'_, f32> {
    Mat::new(elements, n, d).expect("n x d elements")
}

fn view_mut(elements: &mut [f32], [n, d]: [usize; 2]) -> MatMut<'_, f32> {
    MatMut::new(elements, n, d).expect("n x d elements")
}

pub fn all_pairs(work: &AllPairs) -> Box<dyn Entrant + '_> {
    let shape = work.shape;
    let loss = Contrastive::new(work.margin).expect("a margin");
    let mut scratch = AllPairsScratch::new();
    entrant("drlim", "", LossAndGrads::<1>::new(shape), move |out| {
        let [grad] = &mut out.grads;
        let (z, grad) = (view(&work.z, shape), Some(view_mut(grad, shape)));
        let (cx, objective) = (Cx::default(), Objective::sum(&loss));
        let similar = Similar::Labels(&work.labels);
        let outcome = batch::all_pairs(&cx, &objective, z, similar, grad, &mut scratch);
        out.value = outcome.expect("all pairs").value;
    })
}

pub fn distances(work: &Distances) -> Box<dyn Entrant + '_> {
    let n = work.shape[0];
    entrant("drlim", "", DistanceMatrix::new(n), move |out| {
        let (z, to) = (view(&work.z, work.shape), view_mut(&mut out.elements, [n, n]));
        batch::distance_matrix(&Cx::default(), z, z, to).expect("distances");
    })
}

pub fn rows(work: &PairRows) -> Box<dyn Entrant + '_> {
    let shape = work.shape;
    let loss = Contrastive::new(1.0).expect("a margin of 1");
    entrant("drlim", "", LossAndGrads::<2>::new(shape), move |out| {
        let [grad_a, grad_b] = out.grads.each_mut().map(|grad| view_mut(grad, shape));
        let (a, b) = (view(&work.a, shape), view(&work.b, shape));
        let (cx, objective) = (Cx::default(), Objective::sum(&loss));
        let grads = RowsOut::grads(grad_a, grad_b);
        let outcome = batch::rows(&cx, &objective, a, b, &work.similar, grads);
        out.value = outcome.expect("pairs by rows").value;
    })
}

pub fn nearest(work: &Nearest) -> Box<dyn Entrant + '_> {
    entrant("drlim", "", None, move |found| {
        let z = view(&work.z, work.shape);
        *found = Some(pairs::nearest_others(&Cx::default(), z, K).expect("neighbours"));
    })
}
