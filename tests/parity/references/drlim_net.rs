//! `drlim_net.safetensors`: the paper's network, a batch of pairs through it, the contrastive loss
//! and the gradient of every parameter.

use drlim::batch::{RowsOut, rows};
use drlim::loss::{Contrastive, Objective};
use drlim::nn::{Conv2d, Dense, Network, Shape, Subsample2d, Tanh, Workspace};
use drlim::{Cx, Mat, MatMut, Par};

use crate::support::{Element, Reference, tiers};

/// The reference's name of each parameter, in the order of the network.
const PARAMETERS: [(&str, &str); 8] = [
    ("c1.weight", "c1w"),
    ("c1.bias", "c1b"),
    ("s2.coefficient", "s2a"),
    ("s2.bias", "s2b"),
    ("c3.weight", "c3w"),
    ("c3.bias", "c3b"),
    ("f4.weight", "fw"),
    ("f4.bias", "fb"),
];

fn network<T: Element>(reference: &Reference, case: &str) -> Network<T> {
    let &[_, channels, height, width] = reference.shape(case, "x1") else {
        panic!("{case}/x1 is not a batch of images")
    };
    let sizes = |name: &str| {
        let shape = reference.shape(case, name);
        (shape[0], shape[2])
    };
    let ((c1, k1), (c3, k3)) = (sizes("c1w"), sizes("c3w"));
    let mut net = Network::<T>::builder(Shape::image(channels, height, width))
        .layer("c1", Conv2d::new(c1, k1))
        .layer("tanh1", Tanh::new())
        .layer("s2", Subsample2d::new(3))
        .layer("tanh2", Tanh::new())
        .layer("c3", Conv2d::new(c3, k3))
        .layer("tanh3", Tanh::new())
        .layer("f4", Dense::new(reference.shape(case, "fw")[0]))
        .build(1)
        .unwrap();
    let names: Vec<String> = net.parameters().map(|parameter| parameter.name).collect();
    assert_eq!(names, PARAMETERS.map(|(name, _)| name));
    let values: Vec<T> =
        PARAMETERS.iter().flat_map(|(_, name)| reference.reals::<T>(case, name)).collect();
    net.params_mut().copy_from_slice(&values);
    net
}

fn compare<T: Element>(reference: &Reference, case: &str, cx: Cx) {
    let by = cx.isa.to_string();
    let net = network::<T>(reference, case);
    let similar = reference.flags(case, "similar");
    let (pairs, inputs, outputs) = (similar.len(), net.input().len(), net.output().len());
    let mut x = reference.reals::<T>(case, "x1");
    x.extend(reference.reals::<T>(case, "x2"));
    let mut workspace = Workspace::training(&net, 2 * pairs).unwrap();
    let z = net.forward(&cx, Mat::new(&x, 2 * pairs, inputs).unwrap(), &mut workspace).unwrap();
    let (z1, z2) = (z.rows_range(0, pairs), z.rows_range(pairs, 2 * pairs));
    reference.compare(case, "z1", z1.as_slice().unwrap(), &by);
    reference.compare(case, "z2", z2.as_slice().unwrap(), &by);

    let loss = Contrastive::new(reference.real::<T>(case, "margin")).unwrap();
    let mut dz = vec![T::NAN; 2 * pairs * outputs];
    let (dz1, dz2) = MatMut::new(&mut dz, 2 * pairs, outputs).unwrap().split_rows_at(pairs);
    let out = RowsOut::grads(dz1, dz2);
    let outcome = rows(&cx, &Objective::sum(&loss), z1, z2, &similar, out).unwrap();
    reference.compare(case, "sum", &[T::from_f64(outcome.value)], &by);

    // The last bias moves both members of a pair alike, so its gradient is a sum of opposites.
    let term = dz.iter().fold(0.0, |largest: f64, x| largest.max(x.to_f64().abs()));
    let mut gradient = vec![T::NAN; net.params().len()];
    let dz = Mat::new(&dz, 2 * pairs, outputs).unwrap();
    net.backward(&cx, dz, &mut workspace, &mut gradient, None).unwrap();
    let mut rest = &gradient[..];
    for (parameter, (_, name)) in net.parameters().zip(PARAMETERS) {
        let (own, after) = rest.split_at(parameter.values.len());
        reference.compare_sums(case, &format!("d_{name}"), own, term, &by);
        rest = after;
    }
}

#[test]
fn the_network_of_the_paper_agrees() {
    let reference = Reference::open("drlim_net");
    for case in reference.cases("") {
        for isa in tiers() {
            let cx = Cx { isa, par: Par::Rayon };
            compare::<f64>(&reference, case, cx);
            compare::<f32>(&reference, case, cx);
        }
    }
    reference.report("the_network_of_the_paper_agrees");
}
