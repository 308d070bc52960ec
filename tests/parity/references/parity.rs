//! `parity.safetensors`: other libraries' losses, as they are called.
//!
//! `pml_contrastive` and `pml_triplet` are pytorch-metric-learning's `ContrastiveLoss()` and
//! `TripletMarginLoss(margin=0.2)` on a batch `x` (B x D) with `labels`: all its pairs or triplets, written out
//! here; the pairs also as one call of `all_pairs`. `cosine_contrastive` is the contrastive loss of sentence-transformers on rows `a` and `b`.
//! Each holds `value` and gradients by the rows before they are normalised.

use drlim::batch::{
    AllPairsScratch, IndexedOut, IndexedScratch, PairList, RowsOut, TripletRows, TripletRowsOut,
    all_pairs, indexed, rows, triplet_rows,
};
use drlim::loss::{
    CosineContrastive, LinearHinge, Objective, Reduction, TripletMargin, TripletObjective,
};
use drlim::nn::{L2Normalize, Network, Shape, Workspace};
use drlim::{Cx, Mat, MatMut, Par, Similar};

use crate::support::{Element, Reference, tiers};

/// Rows of unit length, and the way back to the gradient by the rows before.
struct Unit<T> {
    net: Network<T>,
    workspace: Workspace<T>,
    z: Vec<T>,
    shape: [usize; 2],
}

impl<T: Element> Unit<T> {
    fn new(cx: &Cx, x: &[T], [n, d]: [usize; 2]) -> Self {
        let builder = Network::builder(Shape::flat(d)).layer("unit", L2Normalize::new());
        let net = builder.build(1).unwrap();
        let mut workspace = Workspace::training(&net, n).unwrap();
        let x = Mat::new(x, n, d).unwrap();
        let z = net.forward(cx, x, &mut workspace).unwrap().iter().flatten().copied().collect();
        Unit { net, workspace, z, shape: [n, d] }
    }

    fn z(&self) -> Mat<'_, T> {
        Mat::new(&self.z, self.shape[0], self.shape[1]).unwrap()
    }

    fn backward(&mut self, cx: &Cx, dz: &[T]) -> Vec<T> {
        let [n, d] = self.shape;
        let mut dx = vec![T::NAN; n * d];
        let (dz, to) = (Mat::new(dz, n, d).unwrap(), MatMut::new(&mut dx, n, d).unwrap());
        self.net.backward(cx, dz, &mut self.workspace, &mut [], Some(to)).unwrap();
        dx
    }
}

/// The batch `x` of a case as rows of unit length.
fn batch<T: Element>(reference: &Reference, case: &str, cx: &Cx) -> Unit<T> {
    let &[n, d] = reference.shape(case, "x") else { panic!("{case}/x is not a matrix") };
    Unit::new(cx, &reference.reals::<T>(case, "x"), [n, d])
}

fn contrastive<T: Element>(reference: &Reference, case: &str, cx: Cx) {
    let by = cx.isa.to_string();
    let mut unit = batch::<T>(reference, case, &cx);
    let (z, [n, d]) = (unit.z(), unit.shape);
    let pairs: Vec<(u32, u32)> =
        (0..n as u32).flat_map(|i| (i + 1..n as u32).map(move |j| (i, j))).collect();
    let list = PairList::new(n, &pairs).unwrap();
    let similar = Similar::Labels(reference.integers(case, "labels"));
    let kinds = list.kinds(similar).unwrap();
    let loss = LinearHinge::new(T::ZERO, T::ONE).unwrap();
    let objective = Objective::sum(&loss).reduced(Reduction::BalancedNonZero);
    let mut dz = vec![T::NAN; n * d];
    let out = IndexedOut::grad(MatMut::new(&mut dz, n, d).unwrap());
    let pairing = kinds.pairing();
    let outcome =
        indexed(&cx, &objective, z, &list, pairing, out, &mut IndexedScratch::new()).unwrap();
    reference.compare(case, "value", &[T::from_f64(outcome.value)], &by);
    // The same pairs, without a list of them.
    let mut of_all = vec![T::NAN; n * d];
    let to = Some(MatMut::new(&mut of_all, n, d).unwrap());
    let all = all_pairs(&cx, &objective, z, similar, to, &mut AllPairsScratch::new()).unwrap();
    reference.compare(case, "value", &[T::from_f64(all.value)], &format!("{by}, all_pairs"));
    for (dz, by) in [(dz, by.clone()), (of_all, format!("{by}, all_pairs"))] {
        reference.compare(case, "grad", &unit.backward(&cx, &dz), &by);
    }
}

fn triplet<T: Element>(reference: &Reference, case: &str, cx: Cx) {
    let by = cx.isa.to_string();
    let mut unit = batch::<T>(reference, case, &cx);
    let labels = reference.integers(case, "labels");
    let (z, [n, d]) = (unit.z(), unit.shape);
    let mut triplets = Vec::new();
    for a in 0..n {
        for p in (0..n).filter(|&p| p != a && labels[p] == labels[a]) {
            triplets.extend((0..n).filter(|&i| labels[i] != labels[a]).map(|i| [a, p, i]));
        }
    }
    let count = triplets.len();
    let gather = |member: usize| -> Vec<T> {
        triplets.iter().flat_map(|triplet| z.row(triplet[member]).to_vec()).collect()
    };
    let inputs = [gather(0), gather(1), gather(2)];
    let mut grads = inputs.each_ref().map(|input| vec![T::NAN; input.len()]);
    let [a, p, i] = inputs.each_ref().map(|input| Mat::new(input, count, d).unwrap());
    let [ga, gp, gi] = grads.each_mut().map(|grad| MatMut::new(grad, count, d).unwrap());

    let loss = TripletMargin::new(T::from_f64(0.2)).unwrap();
    let objective = TripletObjective::sum(&loss).reduced(Reduction::MeanNonZero).unwrap();
    let all = TripletRows::new(a, p, i).unwrap();
    let outcome = triplet_rows(&cx, &objective, all, TripletRowsOut::grads(ga, gp, gi)).unwrap();
    let mut dz = vec![0.0; n * d];
    for (t, triplet) in triplets.iter().enumerate() {
        for (&row, grad) in triplet.iter().zip(&grads) {
            for k in 0..d {
                dz[row * d + k] += grad[t * d + k].to_f64();
            }
        }
    }
    let dz: Vec<T> = dz.into_iter().map(T::from_f64).collect();
    reference.compare(case, "value", &[T::from_f64(outcome.value)], &by);
    reference.compare(case, "grad", &unit.backward(&cx, &dz), &by);
}

fn cosine<T: Element>(reference: &Reference, case: &str, cx: Cx) {
    let by = cx.isa.to_string();
    let &[n, d] = reference.shape(case, "a") else { panic!("{case}/a is not a matrix") };
    let [mut a, mut b] =
        ["a", "b"].map(|name| Unit::new(&cx, &reference.reals::<T>(case, name), [n, d]));
    let loss = CosineContrastive::new(reference.real(case, "margin")).unwrap();
    let (mut da, mut db) = (vec![T::NAN; n * d], vec![T::NAN; n * d]);
    let grads =
        RowsOut::grads(MatMut::new(&mut da, n, d).unwrap(), MatMut::new(&mut db, n, d).unwrap());
    let similar = reference.flags(case, "similar");
    let objective = Objective::mean(&loss);
    let outcome = rows(&cx, &objective, a.z(), b.z(), &similar, grads).unwrap();
    reference.compare(case, "value", &[T::from_f64(outcome.value)], &by);
    reference.compare(case, "grad_a", &a.backward(&cx, &da), &by);
    reference.compare(case, "grad_b", &b.backward(&cx, &db), &by);
}

fn compare_all<T: Element>(reference: &Reference) {
    type Compare = fn(&Reference, &str, Cx);
    let families: [(&str, Compare); 3] = [
        ("pml_contrastive/", contrastive::<T>),
        ("pml_triplet/", triplet::<T>),
        ("cosine_contrastive/", cosine::<T>),
    ];
    for (family, compare) in families {
        for case in reference.cases(family) {
            for isa in tiers() {
                compare(reference, case, Cx { isa, par: Par::Rayon });
            }
        }
    }
}

#[test]
fn defaults_of_other_libraries_give_their_numbers() {
    let reference = Reference::open("parity");
    compare_all::<f32>(&reference);
    compare_all::<f64>(&reference);
    reference.report("parity");
}
