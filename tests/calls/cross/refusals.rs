//! What a call refuses.

use drlim::batch::{CrossOut, CrossScratch, CrossSimilar, cross};
use drlim::loss::Objective;
use drlim::{Cx, Error, Mat, MatMut};

use super::MARGIN;
use super::sides::ring;
use crate::support::Element;

#[test]
fn what_does_not_match_is_refused_and_nothing_is_written() {
    let loss = f32::contrastive(MARGIN);
    let z = [0.0_f32; 12];
    let (two, three) = (Mat::new(&z[..6], 2, 3).unwrap(), Mat::new(&z[..9], 3, 3).unwrap());
    let graph = ring(10);
    let of_labels = |queries, keys| CrossSimilar::Labels { queries, keys, ignored: None };
    let of_graph =
        |first_query, first_key| CrossSimilar::Graph { graph: &graph, first_query, first_key };
    let call = |keys: Mat<f32>, similar, own, shapes: [[usize; 2]; 2]| {
        let mut grads = shapes.map(|[n, d]| vec![7.0_f32; n * d]);
        let [of_queries, of_keys] = &mut grads;
        let out = CrossOut::grads(
            MatMut::new(of_queries, shapes[0][0], shapes[0][1]).unwrap(),
            MatMut::new(of_keys, shapes[1][0], shapes[1][1]).unwrap(),
        );
        let (cx, objective) = (Cx::default(), Objective::sum(&*loss));
        let outcome =
            cross(&cx, &objective, two, keys, similar, own, out, &mut CrossScratch::new());
        let unwritten = grads.concat().iter().all(|&g| g == 7.0);
        assert!(outcome.is_ok() || unwritten, "written, though refused: {outcome:?}");
        outcome.map_err(|error| match error {
            Error::Index { arg, index, len, .. } => format!("{arg} {index} of {len}"),
            Error::Pairs { .. } => "pairs".into(),
            error => error.to_string(),
        })
    };
    let fits = [[2, 3], [3, 3]];
    let right = of_labels(&[1, 2], &[1, 2, 3]);
    assert!(call(three, right, None, fits).is_ok());
    assert!(call(three, right, Some(1), fits).is_ok());
    assert_eq!(call(three, right, Some(2), fits).unwrap_err(), "own 2 of 2");
    assert_eq!(
        call(three, right, Some(usize::MAX), fits).unwrap_err(),
        format!("own {} of 2", usize::MAX)
    );
    let narrow = Mat::new(&z, 3, 4).unwrap();
    let starts = |error: String, with: &str| assert!(error.starts_with(with), "{error}");
    starts(call(narrow, right, None, fits).unwrap_err(), "cross: keys");
    starts(call(three, right, None, [[3, 2], [3, 3]]).unwrap_err(), "cross: grad_queries");
    starts(call(three, right, None, [[2, 3], [2, 3]]).unwrap_err(), "cross: grad_keys");
    let short = of_labels(&[1], &[1, 2, 3]);
    starts(call(three, short, None, fits).unwrap_err(), "cross: queries' labels has 1");
    let long = of_labels(&[1, 2], &[1, 2, 3, 4]);
    starts(call(three, long, None, fits).unwrap_err(), "cross: keys' labels has 4");
    assert!(call(three, of_graph(8, 7), None, fits).is_ok());
    assert_eq!(call(three, of_graph(9, 7), None, fits).unwrap_err(), "first_query 9 of 9");
    assert_eq!(call(three, of_graph(8, 8), None, fits).unwrap_err(), "first_key 8 of 8");
    assert!(call(three, of_graph(usize::MAX, 0), None, fits).is_err());
    // The graph says which keys the queries are.
    assert!(call(three, of_graph(5, 4), Some(1), fits).is_ok());
    assert_eq!(call(three, of_graph(5, 4), Some(0), fits).unwrap_err(), "pairs");
}
