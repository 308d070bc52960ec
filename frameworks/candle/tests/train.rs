//! A small network is trained by drlim's losses and by the same formulas in candle: steps and gradients agree.

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{Optimizer, SGD};
use drlim::batch::{
    AllPairsScratch, AnchorScratch, Anchors, CrossAnchorsOut, CrossSimilar, TripletRows,
    TripletRowsOut, all_pairs, cross_anchors, triplet_rows,
};
use drlim::loss::{
    AnchorObjective, Contrastive, Objective, Softmax, TripletMargin, TripletObjective,
};
use drlim::{Cx, Similar};

const ROWS: usize = 24;
const INPUTS: usize = 10;
const OUTPUTS: usize = 3;

/// Rows of numbers that no two calls share.
fn noise(rows: usize, cols: usize, seed: usize) -> Result<Tensor> {
    let at = |i: usize| ((i * 7919 + seed * 104_729) % 1009) as f64 / 504.5 - 1.0;
    Tensor::from_vec((0..rows * cols).map(at).collect(), (rows, cols), &Device::Cpu)
}

fn labels() -> Vec<i64> {
    (0..ROWS as i64).map(|row| row % 3).collect()
}

/// The mean over all pairs of d²/2 of one label, max(0, 1 - d)²/2 of others, in candle.
fn contrastive(z: &Tensor) -> Result<Tensor> {
    let labels = labels();
    let (mut first, mut second, mut similar) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..ROWS {
        for j in 0..i {
            first.push(i as u32);
            second.push(j as u32);
            similar.push(if labels[i] == labels[j] { 1.0 } else { 0.0 });
        }
    }
    let pairs = similar.len();
    let rows =
        |places: Vec<u32>| z.index_select(&Tensor::from_vec(places, pairs, &Device::Cpu)?, 0);
    let similar = Tensor::from_vec(similar, pairs, &Device::Cpu)?;
    let squares = (rows(first)? - rows(second)?)?.sqr()?.sum(1)?;
    let within = (1.0 - squares.sqrt()?)?.relu()?.sqr()?;
    let both = ((&similar * squares)? + ((1.0 - &similar)? * within)?)?;
    both.affine(0.5, 0.0)?.mean_all()
}

fn close(a: &Tensor, b: &Tensor) -> Result<()> {
    let off = (a - b)?.abs()?.max_all()?.to_scalar::<f64>()?;
    let most = b.abs()?.max_all()?.to_scalar::<f64>()?;
    assert!(off <= 1e-10 * most, "off by {off} of {most}");
    Ok(())
}

#[test]
fn steps_of_a_network_are_those_of_the_formula_in_candle() -> Result<()> {
    let (x, start, labels) = (noise(ROWS, INPUTS, 1)?, noise(INPUTS, OUTPUTS, 2)?, labels());
    let (cx, contrastive_loss) = (Cx::default(), Contrastive::new(1.0).expect("a margin"));
    let objective = Objective::mean(&contrastive_loss);
    let mut scratch = AllPairsScratch::new();
    let mut ours = |z: &Tensor| {
        drlim_candle::loss([z], |[z], [grad]| {
            Ok(all_pairs(&cx, &objective, z, Similar::Labels(&labels), grad, &mut scratch)?.value)
        })
    };
    let mut train =
        |loss: &mut dyn FnMut(&Tensor) -> Result<Tensor>| -> Result<(Vec<f64>, Tensor)> {
            let weights = Var::from_tensor(&start)?;
            let mut sgd = SGD::new(vec![weights.clone()], 0.3)?;
            let mut values = Vec::new();
            for _ in 0..20 {
                let value = loss(&x.matmul(&weights)?.tanh()?)?;
                sgd.backward_step(&value)?;
                values.push(value.to_scalar()?);
            }
            Ok((values, weights.as_tensor().copy()?))
        };
    let (values, weights) = train(&mut ours)?;
    let (expected, of_formula) = train(&mut contrastive)?;
    for (value, expected) in values.iter().zip(&expected) {
        assert!((value - expected).abs() < 1e-12, "{value} is not {expected}");
    }
    assert!(values[19] < 0.8 * values[0], "it learns: {values:?}");
    close(&weights, &of_formula)
}

#[test]
fn gradients_of_two_and_three_inputs_are_those_of_the_formula_in_candle() -> Result<()> {
    let cx = Cx::default();
    let inputs = [1, 2, 3].map(|seed| {
        Var::from_tensor(&noise(ROWS, OUTPUTS, seed).expect("rows")).expect("a variable")
    });
    let [a, b, c] = &inputs;

    let softmax = Softmax::scale(2.0).expect("a scale");
    let objective = AnchorObjective::mean(&softmax).measured(drlim::loss::Measure::Dot);
    let value = drlim_candle::loss([a, b], |[queries, keys], [grad_queries, grad_keys]| {
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
    })?;
    let logits = a.matmul(&b.t()?)?.affine(2.0, 0.0)?;
    let own = (a.as_tensor() * b.as_tensor())?.sum(1)?.affine(2.0, 0.0)?;
    let expected = (logits.exp()?.sum(1)?.log()? - own)?.mean_all()?;
    close(&value, &expected)?;
    // A factor after the loss reaches the gradients.
    let (grads, expected) =
        (value.affine(3.0, 0.0)?.backward()?, expected.affine(3.0, 0.0)?.backward()?);
    for of in [a, b] {
        close(grads.get(of).expect("a gradient"), expected.get(of).expect("a gradient"))?;
    }

    let margin = TripletMargin::new(0.4).expect("a margin");
    let objective = TripletObjective::mean(&margin);
    let value = drlim_candle::loss([a, b, c], |[anchor, positive, negative], grads| {
        let out = match grads {
            [Some(of_anchor), Some(of_positive), Some(of_negative)] => {
                TripletRowsOut::grads(of_anchor, of_positive, of_negative)
            }
            _ => TripletRowsOut::none(),
        };
        let triplets = TripletRows::new(anchor, positive, negative)?;
        Ok(triplet_rows(&cx, &objective, triplets, out)?.value)
    })?;
    let distance = |x: &Var, y: &Var| (x.as_tensor() - y.as_tensor())?.sqr()?.sum(1)?.sqrt();
    let expected = ((distance(a, b)? - distance(a, c)?)? + 0.4)?.relu()?.mean_all()?;
    close(&value, &expected)?;
    let (grads, expected) = (value.backward()?, expected.backward()?);
    for of in &inputs {
        close(grads.get(of).expect("a gradient"), expected.get(of).expect("a gradient"))?;
    }
    Ok(())
}

#[test]
fn what_cannot_be_taken_is_refused() -> Result<()> {
    let refused = |z: &Tensor| {
        let called = drlim_candle::loss([z], |[_]: [drlim::Mat<f32>; 1], _| Ok(0.0));
        called.expect_err("refused").to_string()
    };
    let z = noise(4, 2, 1)?;
    assert!(refused(&z).contains("F64"), "{}", refused(&z));
    let z = z.to_dtype(DType::F32)?.reshape((2, 2, 2))?;
    assert!(refused(&z).contains("two dimensions"), "{}", refused(&z));
    // An error of the call comes out as it is.
    let z = z.reshape((4, 2))?;
    let cx = Cx::default();
    let loss = Contrastive::new(1.0_f32).expect("a margin");
    let called = drlim_candle::loss([&z], |[z], [grad]| {
        let (similar, scratch) = (Similar::Labels(&[0, 1]), &mut AllPairsScratch::new());
        Ok(all_pairs(&cx, &Objective::mean(&loss), z, similar, grad, scratch)?.value)
    });
    let error = called.expect_err("refused").to_string();
    assert!(error.contains("similar"), "{error}");
    Ok(())
}
