//! A small network is trained by drlim's losses and by the same formulas in burn: steps and gradients agree.

use burn_tensor::{Device, Int, Tensor, TensorData};
use drlim::batch::{
    AllPairsScratch, AnchorScratch, Anchors, CrossAnchorsOut, CrossSimilar, all_pairs,
    cross_anchors,
};
use drlim::loss::{AnchorObjective, Contrastive, Measure, Objective, Softmax};
use drlim::{Cx, Similar};

const ROWS: usize = 24;
const INPUTS: usize = 10;
const OUTPUTS: usize = 3;

fn device() -> Device {
    Device::flex().autodiff()
}

/// Rows of numbers that no two calls share.
fn noise(rows: usize, cols: usize, seed: usize) -> Tensor<2> {
    let at = |i: usize| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0;
    Tensor::from_data(TensorData::new((0..rows * cols).map(at).collect(), [rows, cols]), &device())
}

fn labels() -> Vec<i64> {
    (0..ROWS as i64).map(|row| row % 3).collect()
}

/// The mean over all pairs of d²/2 of one label, max(0, 1 - d)²/2 of others, in burn.
fn contrastive(z: Tensor<2>) -> Tensor<1> {
    let labels = labels();
    let (mut first, mut second, mut similar) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..ROWS {
        for j in 0..i {
            first.push(i as i64);
            second.push(j as i64);
            similar.push(if labels[i] == labels[j] { 1.0_f32 } else { 0.0 });
        }
    }
    let rows = |places: Vec<i64>| {
        let places = Tensor::<1, Int>::from_data(TensorData::from(places.as_slice()), &device());
        z.clone().select(0, places)
    };
    let similar = Tensor::<1>::from_data(TensorData::from(similar.as_slice()), &device());
    let squares: Tensor<1> = (rows(first) - rows(second)).powi_scalar(2).sum_dim(1).squeeze_dim(1);
    let within = (-squares.clone().sqrt() + 1.0).clamp_min(0.0).powi_scalar(2);
    let both = similar.clone() * squares + (-similar + 1.0) * within;
    both.mean() * 0.5
}

fn numbers(tensor: &Tensor<2>) -> Vec<f32> {
    tensor.to_data().try_to_vec().expect("numbers of f32")
}

fn close(a: &Tensor<2>, b: &Tensor<2>) {
    let (a, b) = (numbers(a), numbers(b));
    let most = b.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    for (a, b) in a.iter().zip(&b) {
        assert!((a - b).abs() <= 2e-5 * most, "{a} is not {b}, of {most}");
    }
}

#[test]
fn steps_of_a_network_are_those_of_the_formula_in_burn() {
    let (x, labels) = (noise(ROWS, INPUTS, 1), labels());
    let (cx, loss) = (Cx::default(), Contrastive::new(1.0_f32).expect("a margin"));
    let objective = Objective::mean(&loss);
    let mut scratch = AllPairsScratch::new();
    let mut ours = |z: Tensor<2>| {
        let call = drlim_burn::loss([z], |[z], [grad]| {
            Ok(all_pairs(&cx, &objective, z, Similar::Labels(&labels), grad, &mut scratch)?.value)
        });
        call.expect("a value")
    };
    let train = |loss: &mut dyn FnMut(Tensor<2>) -> Tensor<1>| {
        let mut weights = noise(INPUTS, OUTPUTS, 2);
        let mut values = Vec::new();
        for _ in 0..20 {
            let leaf = weights.detach().require_grad();
            let value = loss(x.clone().matmul(leaf.clone()).tanh());
            values.push(value.clone().into_scalar::<f32>());
            let grads = value.backward();
            weights =
                leaf.clone().detach() - leaf.grad(&grads).expect("a gradient").autodiff() * 0.3;
        }
        (values, weights)
    };
    let (values, weights) = train(&mut ours);
    let (expected, of_formula) = train(&mut contrastive);
    for (value, expected) in values.iter().zip(&expected) {
        assert!((value - expected).abs() < 1e-5 * expected, "{value} is not {expected}");
    }
    assert!(values[19] < 0.8 * values[0], "it learns: {values:?}");
    close(&weights, &of_formula);
}

#[test]
fn gradients_of_two_inputs_are_those_of_the_formula_in_burn() {
    let cx = Cx::default();
    let [a, b] = [1, 2].map(|seed| noise(ROWS, OUTPUTS, seed).require_grad());
    let softmax = Softmax::scale(2.0_f32).expect("a scale");
    let objective = AnchorObjective::mean(&softmax).measured(Measure::Dot);
    let value =
        drlim_burn::loss([a.clone(), b.clone()], |[queries, keys], [grad_queries, grad_keys]| {
            let out = CrossAnchorsOut { grad_queries, grad_keys, ..CrossAnchorsOut::none() };
            let (similar, scratch) =
                (CrossSimilar::Position { first_key: 0 }, &mut AnchorScratch::new());
            Ok(cross_anchors(
                &cx,
                &objective,
                queries,
                keys,
                similar,
                None,
                Anchors::Queries,
                out,
                scratch,
            )?
            .value)
        });
    // A factor after the loss reaches the gradients.
    let value = value.expect("a value") * 3.0;
    let logits = a.clone().matmul(b.clone().transpose()) * 2.0;
    let own = (a.clone() * b.clone()).sum_dim(1) * 2.0;
    let expected = (logits.exp().sum_dim(1).log() - own).mean() * 3.0;
    let (found, of_formula) =
        (value.clone().into_scalar::<f32>(), expected.clone().into_scalar::<f32>());
    assert!((found - of_formula).abs() < 1e-5 * of_formula, "{found} is not {of_formula}");
    let (grads, expected) = (value.backward(), expected.backward());
    for of in [&a, &b] {
        close(&of.grad(&grads).expect("a gradient"), &of.grad(&expected).expect("a gradient"));
    }
}

#[test]
fn what_cannot_be_taken_is_refused() {
    let call = drlim_burn::loss([noise(4, 2, 1)], |[_]: [drlim::Mat<f64>; 1], _| Ok(0.0));
    let error = call.expect_err("refused").to_string();
    assert!(error.contains("F32") && error.contains("F64"), "{error}");

    let plain = Tensor::<2>::zeros([4, 2], &Device::flex());
    let call = drlim_burn::loss([plain], |[_]: [drlim::Mat<f32>; 1], _| Ok(0.0));
    let error = call.expect_err("refused").to_string();
    assert!(error.contains("autodiff"), "{error}");

    // An error of the call comes out as it is.
    let (cx, loss) = (Cx::default(), Contrastive::new(1.0_f32).expect("a margin"));
    let call = drlim_burn::loss([noise(4, 2, 1)], |[z], [grad]| {
        let (similar, scratch) = (Similar::Labels(&[0, 1]), &mut AllPairsScratch::new());
        Ok(all_pairs(&cx, &Objective::mean(&loss), z, similar, grad, scratch)?.value)
    });
    assert!(matches!(call, Err(drlim_burn::Error::Call(_))));
}
