//! The pairwise sigmoid loss: its slopes and curvatures, and the derivatives by its scale and its bias.

use drlim::Mat;
use drlim::batch::{CrossOut, CrossScratch, CrossSimilar, cross};
use drlim::gradcheck::{check, check_curvature, check_loss};
use drlim::loss::{Objective, Sigmoid, SlopeTotals};

use crate::support::{REDUCTIONS, Random, serial, tiers};

#[test]
fn slopes_and_curvatures_are_derivatives() {
    for (scale, bias) in [(10.0, -10.0), (1.0, 0.0), (0.25, 3.0), (20.0, -5.0)] {
        let loss = Sigmoid::new(scale, bias).unwrap();
        for seed in 0..3 {
            let worst = check_loss(&loss, &[], seed).unwrap();
            assert!(worst.error < 1e-6, "{loss:?}: {worst}");
            let worst = check_curvature(&loss, &[], seed).unwrap();
            assert!(worst.error < 1e-6, "{loss:?}, curvatures: {worst}");
        }
    }
}

const N: usize = 6;
const M: usize = 9;

#[test]
fn derivatives_by_scale_and_bias_follow_from_totals_of_slopes() {
    let at = [4.0, -2.5];
    for (d, isa) in [2, 5].into_iter().flat_map(|d| tiers().into_iter().map(move |isa| (d, isa))) {
        let mut random = Random::new(3);
        let z: Vec<f64> = (0..(N + M) * d).map(|_| random.between(-0.7, 0.7)).collect();
        let (queries, keys) = z.split_at(N * d);
        let [queries, keys] = [(queries, N), (keys, M)].map(|(z, n)| Mat::new(z, n, d).unwrap());
        let by_labels = CrossSimilar::Labels {
            queries: &[1, 2, 3, 1, 2, 0],
            keys: &[3, 1, 0, 1, 2, 9, 2, 5, 1],
            ignored: Some(0),
        };
        let layouts = [(by_labels, None), (by_labels, Some(2)), (position(), None)];
        for ((similar, own), reduction) in
            layouts.into_iter().flat_map(|layout| REDUCTIONS.map(|reduction| (layout, reduction)))
        {
            let value = |at: &[f64], totals: Option<&mut SlopeTotals>| {
                let loss = Sigmoid::new(at[0], at[1]).unwrap();
                let objective = Objective::sum(&loss).reduced(reduction);
                let mut out = CrossOut::none();
                out.slope_totals = totals;
                let (cx, scratch) = (serial(isa), &mut CrossScratch::new());
                let got = cross(&cx, &objective, queries, keys, similar, own, out, scratch);
                got.unwrap().value
            };
            let mut totals = SlopeTotals { slopes: f64::NAN, squares: f64::NAN };
            value(&at, Some(&mut totals));
            let derivatives = Sigmoid::new(at[0], at[1]).unwrap().scale_and_bias(&totals);
            let worst = check(|at| value(at, None), &at, &derivatives).unwrap();
            assert!(worst.error < 1e-6, "{similar:?}, {reduction:?}, x{d}, {isa}: {worst}");
        }
    }
}

fn position() -> CrossSimilar<'static> {
    CrossSimilar::Position { first_key: 1 }
}
