//! What calls refuse, and that nothing is written then.

use drlim::batch::{
    AnchorScratch, Anchors, AnchorsOut, CrossAnchorsOut, CrossSimilar, all_anchors, cross_anchors,
};
use drlim::loss::{AnchorObjective, AnchorSums, BlockAnchorLoss, MultiSimilarity, Softmax};
use drlim::{Cx, Error, Mat, MatMut, Similar};

use super::case::graph;

/// The arguments of a call, all of which fit together until a test changes one.
#[derive(Clone, Copy)]
struct Arguments<'a> {
    loss: &'a dyn BlockAnchorLoss<f32>,
    weights: usize,
    known: usize,
    /// The sums that are known of the last anchor.
    last: AnchorSums,
    values: usize,
    sums: usize,
    grads: [[usize; 2]; 2],
    keys: [usize; 2],
    similar: Similar<'a>,
    cross: CrossSimilar<'a>,
    own: Option<usize>,
    anchors: Anchors,
}

/// Queries or rows of one set.
const ROWS: [usize; 2] = [3, 4];

fn mat_mut(of: &mut [f32], [n, d]: [usize; 2]) -> Option<MatMut<'_, f32>> {
    Some(MatMut::new(of, n, d).unwrap())
}

/// Marks what has not been written.
const UNWRITTEN: f32 = 7.0;

impl<'a> Arguments<'a> {
    /// Of three rows, or three queries and five keys, as anchors.
    fn fitting(loss: &'a dyn BlockAnchorLoss<f32>) -> Self {
        Arguments {
            loss,
            weights: 3,
            known: 3,
            last: AnchorSums::default(),
            values: 3,
            sums: 3,
            grads: [ROWS, [5, 4]],
            keys: [5, 4],
            similar: Similar::Labels(&[1, 1, 2]),
            cross: CrossSimilar::Position { first_key: 2 },
            own: None,
            anchors: Anchors::Queries,
        }
    }

    /// Lengths for so many anchors.
    fn of(self, anchors: usize) -> Self {
        let (weights, known, values, sums) = (anchors, anchors, anchors, anchors);
        Arguments { weights, known, values, sums, ..self }
    }

    /// Both calls' outcome: an error in words, once nothing has been written.
    fn call(&self, one_set: bool) -> Result<(), String> {
        let z = vec![0.25_f32; 64];
        let mat = |[n, d]: [usize; 2]| Mat::new(&z[..n * d], n, d).unwrap();
        let mut mark = AnchorSums::default();
        mark.exponents = UNWRITTEN.into();
        let weights = vec![1.0; self.weights];
        let mut known = vec![AnchorSums::default(); self.known];
        if let Some(last) = known.last_mut() {
            *last = self.last;
        }
        let mut grads = self.grads.map(|[n, d]| vec![UNWRITTEN; n * d]);
        let (mut values, mut sums) = (vec![UNWRITTEN; self.values], vec![mark; self.sums]);
        let mut by_scale = f64::from(UNWRITTEN);
        let objective = AnchorObjective::mean(self.loss).weighted(&weights).known(&known);
        let [of_queries, of_keys] = &mut grads;
        let grad_queries = mat_mut(of_queries, self.grads[0]);
        let grad_keys = mat_mut(of_keys, self.grads[1]);
        let (of_values, of_sums) = (Some(&mut values[..]), Some(&mut sums[..]));
        let (grad_scale, cx) = (Some(&mut by_scale), Cx::default());
        let mut scratch = AnchorScratch::new();
        let outcome = if one_set {
            let out =
                AnchorsOut { grad: grad_queries, values: of_values, sums: of_sums, grad_scale };
            all_anchors(&cx, &objective, mat(ROWS), self.similar, out, &mut scratch)
        } else {
            let (values, sums) = (of_values, of_sums);
            let out = CrossAnchorsOut { grad_queries, grad_keys, values, sums, grad_scale };
            let Arguments { cross, own, anchors, .. } = *self;
            let [queries, keys] = [mat(ROWS), mat(self.keys)];
            cross_anchors(&cx, &objective, queries, keys, cross, own, anchors, out, &mut scratch)
        };
        let error = match outcome {
            Ok(_) => return Ok(()),
            Err(Error::Index { arg, index, len, .. }) => format!("{arg} {index} of {len}"),
            Err(Error::Pairs { .. }) => "pairs".to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(grads.concat().iter().all(|&g| g == UNWRITTEN), "{error}: a gradient was written");
        assert!(values.iter().all(|&value| value == UNWRITTEN), "{error}: values were written");
        assert!(sums.iter().all(|&sums| sums == mark), "{error}: sums were written");
        assert_eq!(by_scale, f64::from(UNWRITTEN), "{error}: grad_scale was written");
        Err(error)
    }

    fn is_refused(&self, one_set: bool, with: &str) {
        let error = self.call(one_set).expect_err(with);
        assert!(error.starts_with(with), "{error}, not {with}");
    }
}

/// Arguments with one change, and how the refusal starts.
type Refused<'a> = (Arguments<'a>, &'static str);

#[test]
fn one_set_refuses_what_does_not_match_its_rows() {
    let (softmax, plain) =
        (Softmax::scale(8.0).unwrap(), MultiSimilarity::new(2.0, 8.0, 0.5).unwrap());
    let (fits, few, many) = (Arguments::fitting(&softmax), graph(2), graph(4));
    fits.call(true).unwrap();
    let ignored = Similar::LabelsIgnoring { labels: &[1, 2], ignored: 2 };
    let refused: [Refused; 13] = [
        (Arguments { weights: 2, ..fits }, "all_anchors: weights has 2"),
        (Arguments { weights: 4, ..fits }, "all_anchors: weights has 4"),
        (Arguments { known: 0, ..fits }, "all_anchors: known has 0"),
        (Arguments { values: 12, ..fits }, "all_anchors: values has 12"),
        (Arguments { sums: 2, ..fits }, "all_anchors: sums has 2"),
        (Arguments { grads: [[3, 3], [5, 4]], ..fits }, "all_anchors: grad has shape 3x3"),
        (Arguments { grads: [[2, 4], [5, 4]], ..fits }, "all_anchors: grad has shape 2x4"),
        (Arguments { grads: [[0, 4], [5, 4]], ..fits }, "all_anchors: grad has shape 0x4"),
        (Arguments { similar: Similar::Labels(&[1; 4]), ..fits }, "all_anchors: similar has 4"),
        (Arguments { similar: ignored, ..fits }, "all_anchors: similar has 2"),
        (Arguments { similar: Similar::Graph(&few), ..fits }, "all_anchors: similar has 2"),
        (Arguments { similar: Similar::Graph(&many), ..fits }, "all_anchors: similar has 4"),
        (Arguments { loss: &plain, ..fits }, "all_anchors: grad_scale"),
    ];
    for (arguments, with) in refused {
        arguments.is_refused(true, with);
    }
}

#[test]
fn queries_and_keys_refuse_what_does_not_match_them() {
    let (softmax, plain) =
        (Softmax::scale(8.0).unwrap(), MultiSimilarity::new(2.0, 8.0, 0.5).unwrap());
    let (fits, graph) = (Arguments::fitting(&softmax), graph(12));
    for (anchors, count) in [(Anchors::Queries, 3), (Anchors::Keys, 5), (Anchors::Both, 8)] {
        let fits = Arguments { anchors, ..fits }.of(count);
        fits.call(false).unwrap();
        let refused: [Refused; 5] = [
            (Arguments { weights: count - 1, ..fits }, "cross_anchors: weights has"),
            (Arguments { known: count + 1, ..fits }, "cross_anchors: known has"),
            (Arguments { values: 4, ..fits }, "cross_anchors: values has 4"),
            (Arguments { sums: 0, ..fits }, "cross_anchors: sums has 0"),
            (Arguments { loss: &plain, ..fits }, "cross_anchors: grad_scale"),
        ];
        for (arguments, with) in refused {
            arguments.is_refused(false, with);
        }
    }
    let by_labels = |queries, keys| CrossSimilar::Labels { queries, keys, ignored: None };
    let by_graph =
        |first_query, first_key| CrossSimilar::Graph { graph: &graph, first_query, first_key };
    let position = |first_key| CrossSimilar::Position { first_key };
    for cross in [by_labels(&[1; 3], &[1; 5]), by_graph(9, 7), position(0)] {
        Arguments { cross, ..fits }.call(false).unwrap();
    }
    Arguments { own: Some(2), ..fits }.call(false).unwrap();
    Arguments { cross: by_graph(5, 4), own: Some(1), ..fits }.call(false).unwrap();
    let refused: [Refused; 14] = [
        (Arguments { keys: [5, 3], ..fits }, "cross_anchors: keys has shape 5x3"),
        (Arguments { grads: [[3, 3], [5, 4]], ..fits }, "cross_anchors: grad_queries has"),
        (Arguments { grads: [[5, 4], [5, 4]], ..fits }, "cross_anchors: grad_queries has"),
        (Arguments { grads: [[3, 4], [3, 4]], ..fits }, "cross_anchors: grad_keys has"),
        (
            Arguments { cross: by_labels(&[1; 2], &[1; 5]), ..fits },
            "cross_anchors: queries' labels",
        ),
        (Arguments { cross: by_labels(&[1; 3], &[1; 6]), ..fits }, "cross_anchors: keys' labels"),
        (Arguments { cross: position(3), ..fits }, "first_key 3 of 3"),
        (Arguments { cross: position(usize::MAX), ..fits }, "first_key 18446744073709551615"),
        (Arguments { own: Some(3), ..fits }, "own 3 of 3"),
        (Arguments { own: Some(usize::MAX), ..fits }, "own 18446744073709551615"),
        (Arguments { cross: by_graph(10, 0), ..fits }, "first_query 10 of 10"),
        (Arguments { cross: by_graph(0, 8), ..fits }, "first_key 8 of 8"),
        (Arguments { cross: by_graph(usize::MAX, 0), ..fits }, "first_query"),
        // The graph says which keys the queries are.
        (Arguments { cross: by_graph(5, 4), own: Some(0), ..fits }, "pairs"),
    ];
    for (arguments, with) in refused {
        arguments.is_refused(false, with);
    }
}

#[test]
fn sums_that_no_call_gives_are_refused_as_known() {
    let softmax = Softmax::scale(8.0).unwrap();
    let fits = Arguments::fitting(&softmax);
    let changed = |change: fn(&mut AnchorSums)| {
        let mut last = AnchorSums::default();
        change(&mut last);
        Arguments { last, ..fits }
    };
    let refused: [Refused; 10] = [
        (changed(|of| of.similar.largest = f64::NAN), "known.similar.largest is NaN"),
        (changed(|of| of.dissimilar.largest = f64::NAN), "known.dissimilar.largest is NaN"),
        (changed(|of| of.similar.sum = f64::NAN), "known.similar.sum is NaN"),
        (changed(|of| of.dissimilar.sum = f64::NAN), "known.dissimilar.sum is NaN"),
        (changed(|of| of.dissimilar.sum = -1.0), "known.dissimilar.sum is -1"),
        (changed(|of| of.exponents = f64::NAN), "known.exponents is NaN"),
        (changed(|of| of.each = Some([f64::NAN, 0.0])), "known.each is NaN"),
        (changed(|of| of.each = Some([0.0, f64::NAN])), "known.each is NaN"),
        (changed(|of| of.similar.count = 1 << 32), "known.count is 4294967296"),
        (
            changed(|of| (of.similar.count, of.dissimilar.count) = (u64::MAX, 1)),
            "known.count is 18446744073709552000",
        ),
    ];
    for (arguments, with) in refused {
        arguments.is_refused(true, with);
        arguments.is_refused(false, with);
    }
    let most = changed(|of| (of.similar.count, of.dissimilar.count) = ((1 << 32) - 2, 1));
    most.call(true).unwrap();
    most.call(false).unwrap();
    // A count of merged sums stays one that is refused.
    let mut many = AnchorSums::default();
    many.similar.count = u64::MAX;
    assert_eq!((many + many).similar.count, u64::MAX);
}
