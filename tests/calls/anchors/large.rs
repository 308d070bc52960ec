//! Batches of many blocks: tasks of several blocks, strips in several rounds.

use drlim::batch::{AnchorScratch, Anchors};
use drlim::loss::{Measure, Positives};
use drlim::{Isa, Similar};

use super::batch::{Batch, Called, assert_close};
use super::case::{Case, Set};
use crate::support::anchors::{AnchorFormula, add_gradient, similarity};
use crate::support::{serial, tiers};

const FORMULA: AnchorFormula =
    AnchorFormula::Softmax { scale: 8.0, positives: Positives::Mean, decoupled: false };

/// Of so many rows the oracle looks at a few anchors: all others have the weight 0.
#[test]
fn one_set_of_many_blocks_agrees_for_some_of_its_anchors() {
    let (n, d, every) = (8300, 2, 389);
    let labels: Vec<i64> = (0..n as i64).map(|i| i % 2000).collect();
    let batch = Batch::<f32>::random_one(n, d, 31);
    let rows = batch.wide(0);
    let weights: Vec<f64> = (0..n).map(|i| f64::from(u8::from(i % every == 0))).collect();
    let set = Set::One(Similar::Labels(&labels));
    let case = Case { weights: Some(&weights), ..Case::new(FORMULA, set) };
    let (mut values, mut grads) = (vec![0.0; n], [vec![0.0; n * d], vec![0.0; n * d]]);
    let mut largest: f64 = 0.0;
    for i in (0..n).step_by(every) {
        let others: Vec<usize> = (0..n).filter(|&j| j != i).collect();
        let pair =
            |&j: &usize| (similarity(Measure::Cosine, &rows[i], &rows[j]), labels[i] == labels[j]);
        let cost = FORMULA.cost(&others.iter().map(pair).collect::<Vec<_>>());
        values[i] = cost.value;
        for (&j, &w) in others.iter().zip(&cost.by_u) {
            let [of_i, of_j] = &mut grads;
            let to = [&mut of_i[i * d..(i + 1) * d], &mut of_j[j * d..(j + 1) * d]];
            let term = add_gradient(Measure::Cosine, w, [&rows[i], &rows[j]], to);
            largest = largest.max(term);
        }
    }
    let [of_i, of_j] = &grads;
    let grad: Vec<f64> = of_i.iter().zip(of_j).map(|(i, j)| i + j).collect();
    let got = batch.run(&serial(Isa::best()), &case);
    assert_close(&got.values, &values, 2e-5, 0.0, "values");
    assert_close(&got.grads[0], &grad, 2e-5, largest, "gradient");
}

/// Keys so many that only a few strips are kept at a time.
#[test]
fn queries_in_several_rounds_of_strips_agree() {
    let ([n, m], d) = ([1100, 3300], 4);
    let batch = Batch::<f64>::random([n, m], d, 32);
    let case = Case::new(FORMULA, Set::by_position(Anchors::Queries));
    let expected = case.expected(&batch);
    for isa in tiers() {
        let got: Called<f64> =
            batch.run_with(&serial(isa), &case, &*FORMULA.loss(), None, &mut AnchorScratch::new());
        case.compare(&got, &expected, 1e-10, &format!("{n} and {m} x{d} on {isa}"));
    }
}

/// A task of one side that has several blocks meets one of the other that has one.
#[test]
fn many_queries_and_few_keys_agree_in_both_directions() {
    let [n, m] = [8300, 40];
    let [of_n, of_m] = [n, m].map(|rows| (0..rows as i64).map(|i| i % 40).collect::<Vec<_>>());
    let formula =
        AnchorFormula::Softmax { scale: 8.0, positives: Positives::Sum, decoupled: false };
    for (d, measure) in [(2, Measure::Cosine), (5, Measure::Dot)] {
        let batch = Batch::<f32>::random([n, m], d, 33);
        let set = Set::by_labels(&of_n, &of_m, Anchors::Both);
        let case = Case { measure, ..Case::new(formula, set) };
        let expected = case.expected(&batch);
        let got = batch.run(&serial(Isa::best()), &case);
        case.compare(&got, &expected, 2e-5, &format!("{n} and {m} x{d}, {measure:?}"));
    }
}
