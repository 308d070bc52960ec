//! The works, done with this crate.

use drlim::batch::{AllPairsScratch, RowsOut};
use drlim::loss::{Contrastive, Objective};
use drlim::nn::{Dense, Network, Shape, Workspace};
use drlim::{Cx, Mat, MatMut, Similar, batch, pairs};

use crate::contest::{Entrant, Output, Work, entrant};
use crate::dense::{Gradients, Grads, Layer, Outputs};
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

/// A network of the layer alone.
fn network(layer: &Layer) -> Network<f32> {
    let [_, inputs, outputs] = layer.shape;
    let net = Network::builder(Shape::flat(inputs)).layer("dense", Dense::new(outputs)).build(1);
    let mut net = net.expect("a network of one layer");
    let (weight, bias) = net.params_mut().split_at_mut(layer.weight.len());
    weight.copy_from_slice(&layer.weight);
    bias.copy_from_slice(&layer.bias);
    net
}

/// Outputs stay in a workspace: the few that are checked are taken out of it.
struct Few(Vec<(usize, Vec<f32>)>);

impl Output for Few {
    fn row(&self, i: usize) -> Vec<f64> {
        let (_, row) = self.0.iter().find(|(at, _)| *at == i).expect("a row that is checked");
        row.iter().map(|&x| x.into()).collect()
    }
}

pub fn outputs<'w>(work: &'w Outputs) -> Box<dyn Entrant + 'w> {
    let (net, [samples, inputs, outputs]) = (network(work.0), work.0.shape);
    let mut workspace = Workspace::inference(&net, samples).expect("a workspace");
    let few = work.rows_to_check().into_iter().map(|i| (i, vec![f32::NAN; outputs])).collect();
    entrant("drlim", "", Few(few), move |out| {
        let x = view(&work.0.x, [samples, inputs]);
        let y = net.forward(&Cx::default(), x, &mut workspace).expect("a forward pass");
        out.0.iter_mut().for_each(|(i, row)| row.copy_from_slice(y.row(*i)));
    })
}

pub fn gradients<'w>(work: &'w Gradients) -> Box<dyn Entrant + 'w> {
    let (net, [samples, inputs, outputs]) = (network(work.layer), work.layer.shape);
    let mut workspace = Workspace::training(&net, samples).expect("a workspace");
    // The backward passes follow one forward pass.
    let x = view(&work.layer.x, [samples, inputs]);
    net.forward(&Cx::default(), x, &mut workspace).expect("a forward pass");
    entrant("drlim", "", Grads::new(work), move |out| {
        let dy = view(&work.layer.dy, [samples, outputs]);
        let dx = work.dx.then(|| view_mut(&mut out.dx, [samples, inputs]));
        let pass = net.backward(&Cx::default(), dy, &mut workspace, &mut out.params, dx);
        pass.expect("a backward pass");
    })
}
