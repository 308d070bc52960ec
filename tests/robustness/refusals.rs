//! Each argument of each call wrong in turn: the call is refused, and every output is as it was, bit for
//! bit.

use drlim::batch::{
    AllPairsScratch, AnchorScratch, Anchors, AnchorsOut, CrossAnchorsOut, CrossEntropy, CrossOut,
    CrossScratch, CrossSimilar, Distance, IndexedHvpOut, IndexedOut, IndexedScratch, Mining,
    MiningScratch, PairList, RowsHvpOut, RowsOut, TripletRows, TripletRowsHvpOut, TripletRowsOut,
    all_anchors, all_pairs, all_pairs_hvp, cross, cross_anchors, cross_entropy, cross_hvp,
    distance_matrix, indexed, indexed_hvp, row_distances, row_distances_backward, rows, rows_hvp,
    triplet_rows, triplet_rows_hvp, triplets,
};
use drlim::loss::{
    AnchorObjective, AnchorSums, BlockAnchorLoss, Contrastive, Lifted, MultiSimilarity, Objective,
    Pairing, SlopeTotals, Softmax, TripletMargin, TripletObjective,
};
use drlim::nn::{Dense, Network, Shape, Workspace};
use drlim::optim::{Adam, AdamW, Optimizer, Sgd, clip_norm};
use drlim::siamese::{Siamese, Towers};
use drlim::{Cx, Graph, Mat, Result, Similar};

use crate::batch::{Rows, slice};
use crate::support::{Element, Guarded};

const N: usize = 5;
const D: usize = 3;

/// Hands out arguments, of which one is wrong: that whose turn it is.
struct Arguments {
    wrong: usize,
    handed_out: usize,
}

impl Arguments {
    fn is_wrong(&mut self) -> bool {
        self.handed_out += 1;
        self.handed_out == self.wrong + 1
    }

    /// One less, or one more.
    fn len(&mut self, len: usize) -> usize {
        len - usize::from(self.is_wrong()) + usize::from(self.is_wrong())
    }

    fn shape(&mut self, [rows, cols]: [usize; 2]) -> [usize; 2] {
        [self.len(rows), self.len(cols)]
    }

    fn input(&mut self, shape: [usize; 2]) -> Guarded<f32> {
        Rows::Apart.draw(self.shape(shape), 1)
    }

    fn output(&mut self, shape: [usize; 2]) -> Guarded<f32> {
        Rows::Apart.output(self.shape(shape))
    }

    fn slice(&mut self, len: usize) -> Guarded<f32> {
        slice(self.len(len))
    }

    fn flags(&mut self, len: usize) -> Vec<bool> {
        vec![true; self.len(len)]
    }

    fn labels(&mut self) -> Vec<i64> {
        (0..self.len(N) as i64).map(|i| i % 2).collect()
    }

    fn graph(&mut self) -> Graph {
        Graph::from_pairs(self.len(N), &[(0, 1), (1, 2)]).unwrap()
    }

    fn list(&mut self) -> PairList {
        PairList::new(self.len(N), &[(0, 1), (1, 2), (3, 0)]).unwrap()
    }
}

/// Runs a call, each of its arguments wrong in turn, then none. The call returns what it did and all of its
/// outputs, which start as NaN.
#[track_caller]
fn each_wrong(least: usize, run: impl Fn(&mut Arguments) -> (Result<()>, Vec<Guarded<f32>>)) {
    for wrong in 0.. {
        let mut arguments = Arguments { wrong, handed_out: 0 };
        let (result, outputs) = run(&mut arguments);
        outputs.iter().for_each(|output| output.check("an output"));
        if wrong >= arguments.handed_out {
            assert!(wrong >= least, "only {wrong} wrong arguments");
            return result.expect("with right arguments");
        }
        let error = result.err().unwrap_or_else(|| panic!("wrong argument {wrong} is taken"));
        let untouched = f32::NAN.bits();
        let written = outputs.iter().flat_map(Guarded::bits).any(|bits| bits != untouched);
        assert!(!written, "argument {wrong} wrote though refused: {error}");
    }
}

#[test]
fn pairs_by_rows() {
    let loss = Contrastive::new(1.0_f32).unwrap();
    each_wrong(20, |arguments| {
        let (a, b) = (Rows::Apart.draw([N, D], 2), arguments.input([N, D]));
        let mut grads = [(); 2].map(|()| arguments.output([N, D]));
        let mut others = [(); 3].map(|()| arguments.slice(N));
        let (similar, ignored) = (arguments.flags(N), arguments.flags(N));
        let weights = vec![1.0; arguments.len(N)];
        let [ga, gb] = grads.each_mut().map(Guarded::mat_mut);
        let [distances, values, slopes] = others.each_mut().map(Guarded::slice_mut);
        let out = RowsOut::grads(ga, gb).distances(distances).values(values).slopes(slopes);
        let pairing = Pairing::new(&similar).weighted(&weights).ignoring(&ignored);
        let objective = Objective::sum(&loss);
        let got = rows(&Cx::default(), &objective, a.mat(), b.mat(), pairing, out).map(drop);
        (got, grads.into_iter().chain(others).collect())
    });
}

#[test]
fn pairs_by_a_list() {
    let loss = Contrastive::new(1.0_f32).unwrap();
    each_wrong(16, |arguments| {
        let (z, list) = (Rows::Apart.draw([N, D], 2), arguments.list());
        let mut grad = arguments.output([N, D]);
        let mut others = [(); 3].map(|()| arguments.slice(3));
        let (similar, ignored) = (arguments.flags(3), arguments.flags(3));
        let weights = vec![1.0; arguments.len(3)];
        let [distances, values, slopes] = others.each_mut().map(Guarded::slice_mut);
        let out = IndexedOut::grad(grad.mat_mut());
        let out = out.distances(distances).values(values).slopes(slopes);
        let pairing = Pairing::new(&similar).weighted(&weights).ignoring(&ignored);
        let (cx, objective) = (Cx::default(), Objective::sum(&loss));
        let got =
            indexed(&cx, &objective, z.mat(), &list, pairing, out, &mut IndexedScratch::new());
        (got.map(drop), others.into_iter().chain([grad]).collect())
    });
}

#[test]
fn all_pairs_and_triplets_of_a_batch() {
    let (loss, of_triplets) = (Contrastive::new(1.0).unwrap(), TripletMargin::new(1.0).unwrap());
    let (cx, z) = (Cx::default(), Rows::Apart.draw::<f32>([N, D], 2));
    for graph in [false, true] {
        for mining in [None, Some(Mining::All), Some(Mining::Hardest), Some(Mining::SemiHard)] {
            each_wrong(6, |arguments| {
                let mut grad = arguments.output([N, D]);
                let (labels, edges);
                let similar = if graph {
                    edges = arguments.graph();
                    Similar::Graph(&edges)
                } else {
                    labels = arguments.labels();
                    Similar::Labels(&labels)
                };
                let to = Some(grad.mat_mut());
                let got = match mining {
                    None => {
                        let objective = Objective::sum(&loss);
                        let scratch = &mut AllPairsScratch::new();
                        all_pairs(&cx, &objective, z.mat(), similar, to, scratch)
                    }
                    Some(mining) => {
                        let objective = TripletObjective::sum(&of_triplets);
                        let scratch = &mut MiningScratch::new();
                        triplets(&cx, &objective, z.mat(), similar, mining, to, scratch)
                    }
                };
                (got.map(drop), vec![grad])
            });
        }
    }
}

#[test]
fn rows_of_two_batches() {
    let loss = Contrastive::new(1.0).unwrap();
    let (cx, objective) = (Cx::default(), Objective::sum(&loss));
    let queries = Rows::Apart.draw::<f32>([N, D], 2);
    for graph in [None, Some(Graph::from_pairs(2 * N, &[(0, 7)]).unwrap())] {
        each_wrong(12, |arguments| {
            // With fewer keys the last query would have none of its own.
            let keys = Rows::Apart.draw([N + 1, arguments.len(D)], 1);
            let mut grads = [N, N + 1].map(|rows| arguments.output([rows, D]));
            let labels = [N, N + 1].map(|rows| vec![0; arguments.len(rows)]);
            let own = if arguments.is_wrong() { 2 } else { 1 };
            let similar = match &graph {
                Some(graph) => {
                    // Lengths of labels do not matter here.
                    let right = arguments.wrong < 10 || arguments.wrong > 13;
                    let first_query = if right { 1 } else { N + 1 };
                    CrossSimilar::Graph { graph, first_query, first_key: 0 }
                }
                None => {
                    let [queries, keys] = &labels;
                    CrossSimilar::Labels { queries, keys, ignored: None }
                }
            };
            let [to_queries, to_keys] = grads.each_mut().map(Guarded::mat_mut);
            let mut out = CrossOut::grads(to_queries, to_keys);
            let mut totals = SlopeTotals::default();
            out.slope_totals = Some(&mut totals);
            let scratch = &mut CrossScratch::new();
            let (q, k) = (queries.mat(), keys.mat());
            let got = cross(&cx, &objective, q, k, similar, Some(own), out, scratch);
            assert!(got.is_ok() || totals == SlopeTotals::default(), "totals were written");
            (got.map(drop), grads.into())
        });
    }
}

/// What is written for each anchor beside elements, and the derivative by the scale: that nothing of it is,
/// where a call is refused.
struct OfAnchors {
    sums: Vec<AnchorSums>,
    by_scale: f64,
}

impl OfAnchors {
    fn new(len: usize) -> Self {
        let mut unwritten = AnchorSums::default();
        unwritten.exponents = 7.0;
        OfAnchors { sums: vec![unwritten; len], by_scale: 7.0 }
    }

    fn check<R>(&self, got: &Result<R>) {
        let untouched = self.sums.iter().all(|sums| *sums == OfAnchors::new(1).sums[0]);
        assert!(got.is_ok() || untouched && self.by_scale == 7.0, "a refused call wrote");
    }
}

#[test]
fn anchors_of_one_batch() {
    let (softmax, without) =
        (Softmax::scale(8.0).unwrap(), MultiSimilarity::new(2.0, 8.0, 0.5).unwrap());
    let (cx, z) = (Cx::default(), Rows::Apart.draw::<f32>([N, D], 2));
    for graph in [false, true] {
        each_wrong(15, |arguments| {
            let (mut grad, mut values) = (arguments.output([N, D]), arguments.slice(N));
            let (labels, edges);
            let similar = if graph {
                edges = arguments.graph();
                Similar::Graph(&edges)
            } else {
                labels = arguments.labels();
                Similar::Labels(&labels)
            };
            let weights = vec![1.0; arguments.len(N)];
            let known = vec![AnchorSums::default(); arguments.len(N)];
            let mut others = OfAnchors::new(arguments.len(N));
            let loss: &dyn BlockAnchorLoss<f32> =
                if arguments.is_wrong() { &without } else { &softmax };
            let objective = AnchorObjective::mean(loss).weighted(&weights).known(&known);
            let mut out = AnchorsOut::grad(grad.mat_mut());
            out.values = Some(values.slice_mut());
            out.sums = Some(&mut others.sums);
            out.grad_scale = Some(&mut others.by_scale);
            let got =
                all_anchors(&cx, &objective, z.mat(), similar, out, &mut AnchorScratch::new());
            others.check(&got);
            (got.map(drop), vec![grad, values])
        });
    }
}

#[test]
fn anchors_of_two_batches() {
    let softmax = Softmax::scale(8.0).unwrap();
    let without = MultiSimilarity::new(2.0, 8.0, 0.5).unwrap();
    let both_ends = Lifted::new(0.0, 1.0).unwrap();
    let (cx, queries) = (Cx::default(), Rows::Apart.draw::<f32>([N, D], 2));
    for (of, count) in [(Anchors::Queries, N), (Anchors::Keys, N + 1), (Anchors::Both, 2 * N + 1)] {
        for by_position in [false, true] {
            each_wrong(21, |arguments| {
                let keys = Rows::Apart.draw([N + 1, arguments.len(D)], 1);
                let mut grads = [N, N + 1].map(|rows| arguments.output([rows, D]));
                let mut values = arguments.slice(count);
                let weights = vec![1.0; arguments.len(count)];
                let known = vec![AnchorSums::default(); arguments.len(count)];
                let mut others = OfAnchors::new(arguments.len(count));
                let own = if arguments.is_wrong() { 2 } else { 1 };
                let loss: &dyn BlockAnchorLoss<f32> =
                    if arguments.is_wrong() { &without } else { &softmax };
                let labels;
                let similar = if by_position {
                    let first_key = if arguments.is_wrong() { 2 } else { 0 };
                    CrossSimilar::Position { first_key }
                } else {
                    labels = [N, N + 1].map(|rows| vec![0; arguments.len(rows)]);
                    let [queries, keys] = &labels;
                    CrossSimilar::Labels { queries, keys, ignored: None }
                };
                let objective = AnchorObjective::mean(loss).weighted(&weights).known(&known);
                let [to_queries, to_keys] = grads.each_mut().map(Guarded::mat_mut);
                let mut out = CrossAnchorsOut::grads(to_queries, to_keys);
                out.values = Some(values.slice_mut());
                out.sums = Some(&mut others.sums);
                out.grad_scale = Some(&mut others.by_scale);
                let (q, k, scratch) = (queries.mat(), keys.mat(), &mut AnchorScratch::new());
                let got =
                    cross_anchors(&cx, &objective, q, k, similar, Some(own), of, out, scratch);
                others.check(&got);
                (got.map(drop), grads.into_iter().chain([values]).collect())
            });
        }
        // A loss of both ends of a pair asks that all rows count the same.
        let mut grads = [(); 2].map(|()| Rows::Apart.output::<f32>([N, D]));
        let [to_queries, to_keys] = grads.each_mut().map(Guarded::mat_mut);
        let out = CrossAnchorsOut::grads(to_queries, to_keys);
        let (objective, scratch) = (AnchorObjective::mean(&both_ends), &mut AnchorScratch::new());
        let (q, similar) = (queries.mat(), CrossSimilar::Position { first_key: 0 });
        assert!(cross_anchors(&cx, &objective, q, q, similar, None, of, out, scratch).is_err());
        assert!(grads.iter().flat_map(Guarded::wide).all(f64::is_nan), "{of:?}");
    }
    let (weights, mut grad) = ([1.0; N], Rows::Apart.output::<f32>([N, D]));
    let (objective, out) =
        (AnchorObjective::mean(&both_ends).weighted(&weights), AnchorsOut::grad(grad.mat_mut()));
    let (similar, scratch) = (Similar::Labels(&[1; N]), &mut AnchorScratch::new());
    assert!(all_anchors(&cx, &objective, queries.mat(), similar, out, scratch).is_err());
    assert!(grad.wide().into_iter().all(f64::is_nan));
}

#[test]
fn triplets_given_by_rows() {
    let loss = TripletMargin::new(1.0_f32).unwrap();
    each_wrong(36, |arguments| {
        let a = Rows::Apart.draw([N, D], 2);
        let [p, n] = [(); 2].map(|()| arguments.input([N, D]));
        let mut grads = [(); 3].map(|()| arguments.output([N, D]));
        let mut others = [(); 7].map(|()| arguments.slice(N));
        let (weights, ignored) = (vec![1.0; arguments.len(N)], arguments.flags(N));
        let [ga, gp, gn] = grads.each_mut().map(Guarded::mat_mut);
        let [dp, dn, third, values, ap, an, pn] = others.each_mut().map(Guarded::slice_mut);
        let out = TripletRowsOut::grads(ga, gp, gn).distances(dp, dn).third_distances(third);
        let out = out.values(values).slopes(ap, an, pn);
        let got = TripletRows::new(a.mat(), p.mat(), n.mat())
            .and_then(|triplets| triplets.weighted(&weights))
            .and_then(|triplets| triplets.ignoring(&ignored))
            .and_then(|t| triplet_rows(&Cx::default(), &TripletObjective::sum(&loss), t, out));
        (got.map(drop), grads.into_iter().chain(others).collect())
    });
}

#[test]
fn hessian_vector_products() {
    let (loss, of_triplets) = (Contrastive::new(1.0).unwrap(), TripletMargin::new(1.0).unwrap());
    let (cx, objective) = (Cx::default(), Objective::sum(&loss));
    let z = Rows::Apart.draw::<f32>([N, D], 2);
    each_wrong(26, |arguments| {
        let [b, va, vb] = [(); 3].map(|()| arguments.input([N, D]));
        let mut products = [(); 2].map(|()| arguments.output([N, D]));
        let mut derivatives = arguments.slice(N);
        let (similar, ignored) = (arguments.flags(N), arguments.flags(N));
        let weights = vec![1.0; arguments.len(N)];
        let [h_a, h_b] = products.each_mut().map(Guarded::mat_mut);
        let out = RowsHvpOut::products(h_a, h_b).derivatives(derivatives.slice_mut());
        let pairing = Pairing::new(&similar).weighted(&weights).ignoring(&ignored);
        let inputs = [z.mat(), b.mat()];
        let got = rows_hvp(&cx, &objective, inputs, pairing, [va.mat(), vb.mat()], out);
        (got, products.into_iter().chain([derivatives]).collect())
    });
    each_wrong(16, |arguments| {
        let (list, v) = (arguments.list(), arguments.input([N, D]));
        let (mut product, mut derivatives) = (arguments.output([N, D]), arguments.slice(3));
        let (similar, ignored) = (arguments.flags(3), arguments.flags(3));
        let out = IndexedHvpOut::product(product.mat_mut()).derivatives(derivatives.slice_mut());
        let pairing = Pairing::new(&similar).ignoring(&ignored);
        let got = indexed_hvp(&cx, &objective, z.mat(), &list, pairing, v.mat(), out);
        (got, vec![product, derivatives])
    });
    each_wrong(10, |arguments| {
        let (v, mut product) = (arguments.input([N, D]), arguments.output([N, D]));
        let labels = arguments.labels();
        let (to, similar) = (product.mat_mut(), Similar::Labels(&labels));
        (all_pairs_hvp(&cx, &objective, z.mat(), similar, v.mat(), to), vec![product])
    });
    each_wrong(22, |arguments| {
        let keys = Rows::Apart.draw([N + 1, arguments.len(D)], 1);
        let along = [arguments.input([N, D]), arguments.input([N + 1, D])];
        let mut products = [N, N + 1].map(|rows| arguments.output([rows, D]));
        let [queries, of_keys] = [N, N + 1].map(|rows| vec![0; arguments.len(rows)]);
        let own = if arguments.is_wrong() { 2 } else { 1 };
        let similar = CrossSimilar::Labels { queries: &queries, keys: &of_keys, ignored: None };
        let [h_q, h_k] = products.each_mut().map(Guarded::mat_mut);
        let (inputs, out) = ([z.mat(), keys.mat()], CrossOut::grads(h_q, h_k));
        let along = along.each_ref().map(Guarded::mat);
        let got = cross_hvp(&cx, &objective, inputs, similar, Some(own), along, out);
        (got, products.into())
    });
    let objective = TripletObjective::sum(&of_triplets);
    each_wrong(26, |arguments| {
        let along = [(); 3].map(|()| arguments.input([N, D]));
        let mut products = [(); 3].map(|()| arguments.output([N, D]));
        let mut derivatives = arguments.slice(N);
        let [h_a, h_p, h_n] = products.each_mut().map(Guarded::mat_mut);
        let out = TripletRowsHvpOut::products(h_a, h_p, h_n).derivatives(derivatives.slice_mut());
        let triplets = TripletRows::new(z.mat(), z.mat(), z.mat()).unwrap();
        let along = along.each_ref().map(Guarded::mat);
        let got = triplet_rows_hvp(&cx, &objective, triplets, along, out);
        (got, products.into_iter().chain([derivatives]).collect())
    });
}

#[test]
fn logits_with_labels() {
    let x = Rows::Apart.draw::<f32>([N, D], 2);
    each_wrong(10, |arguments| {
        let (mut labels, weights) = (vec![2; arguments.len(N)], vec![1.0; arguments.len(N)]);
        labels[1] = if arguments.is_wrong() { D as i64 } else { 0 };
        labels[3] = if arguments.is_wrong() { -1 } else { -2 };
        let mut grad = arguments.output([N, D]);
        let how = CrossEntropy::mean().weighted(&weights).ignoring(-2);
        let got = cross_entropy(&Cx::default(), x.mat(), &labels, how, Some(grad.mat_mut()));
        (got.map(drop), vec![grad])
    });
}

#[test]
fn distances() {
    let (cx, a) = (Cx::default(), Rows::Apart.draw::<f32>([N, D], 2));
    each_wrong(6, |arguments| {
        // A matrix of distances takes any number of rows on either side.
        let b = Rows::Apart.draw([N, arguments.len(D)], 1);
        let mut out = arguments.output([N, N]);
        (distance_matrix(&cx, a.mat(), b.mat(), out.mat_mut()), vec![out])
    });
    use Distance::{Cosine, Dot, Euclidean, SquaredEuclidean};
    for distance in [Euclidean, SquaredEuclidean, Dot, Cosine] {
        each_wrong(6, |arguments| {
            let (b, mut out) = (arguments.input([N, D]), arguments.slice(N));
            let got = row_distances(&cx, distance, a.mat(), b.mat(), out.slice_mut());
            (got, vec![out])
        });
        each_wrong(14, |arguments| {
            let (b, upstream) = (arguments.input([N, D]), vec![1.0; arguments.len(N)]);
            let mut grads = [(); 2].map(|()| arguments.output([N, D]));
            let [by_a, by_b] = grads.each_mut().map(Guarded::mat_mut);
            let (a, b) = (a.mat(), b.mat());
            let got = row_distances_backward(&cx, distance, a, b, &upstream, by_a, by_b);
            (got, grads.into())
        });
    }
}

fn network() -> Network<f32> {
    Network::builder(Shape::flat(D)).layer("map", Dense::new(2)).build(1).unwrap()
}

#[test]
fn passes_of_a_network() {
    let (cx, net, other) = (Cx::default(), network(), network());
    each_wrong(10, |arguments| {
        let mut workspace = Workspace::training(&net, N).unwrap();
        let x = Rows::Apart.draw([N, D], 1);
        net.forward(&cx, x.mat(), &mut workspace).unwrap();
        let dz = arguments.input([N, 2]);
        let (mut gradient, mut dx) =
            (arguments.slice(net.params().len()), arguments.output([N, D]));
        let to = Some(dx.mat_mut());
        let net = if arguments.is_wrong() { &other } else { &net };
        let got = net.backward(&cx, dz.mat(), &mut workspace, gradient.slice_mut(), to);
        (got, vec![gradient, dx])
    });
    // A refused pass leaves what the pass before has left.
    let mut workspace = Workspace::training(&net, N).unwrap();
    let (x, wide) = (Rows::Apart.draw([N, D], 1), Rows::Apart.draw([N, D + 1], 1));
    let more = Rows::Apart.draw([N + 1, D], 1);
    let z = net.forward(&cx, x.mat(), &mut workspace).unwrap();
    let z: Vec<f32> = z.iter().flatten().copied().collect();
    assert!(net.forward(&cx, wide.mat(), &mut workspace).is_err());
    assert!(net.forward(&cx, more.mat(), &mut workspace).is_err());
    assert!(other.forward(&cx, x.mat(), &mut workspace).is_err());
    let (dz, mut gradient) = (Mat::new(&z, N, 2).unwrap(), slice(net.params().len()));
    net.backward(&cx, dz, &mut workspace, gradient.slice_mut(), None).unwrap();
}

#[test]
fn steps_of_optimizers() {
    let cx = Cx::default();
    type Make = fn() -> Box<dyn Optimizer<f32>>;
    let optimizers: [Make; 3] =
        [|| Box::new(Sgd::new()), || Box::new(Adam::new()), || Box::new(AdamW::new())];
    for optimizer in optimizers {
        each_wrong(3, |arguments| {
            let (mut params, grad) = (slice(9), vec![1.0; arguments.len(9)]);
            let rate = if arguments.is_wrong() { -1.0 } else { 0.1 };
            (optimizer().step(&cx, rate, params.slice_mut(), &grad), vec![params])
        });
        // The first step decides how many there are, a refused one nothing.
        let mut optimizer = optimizer();
        assert!(optimizer.step(&cx, 0.1, &mut [0.0; 2], &[1.0; 3]).is_err());
        optimizer.step(&cx, 0.1, &mut [0.0; 4], &[1.0; 4]).unwrap();
        let mut params = [7.0; 3];
        assert!(optimizer.step(&cx, 0.1, &mut params, &[1.0; 3]).is_err());
        assert_eq!(params, [7.0; 3]);
    }
    for max in [0.0, -1.0, f64::NAN] {
        let mut grad = [3.0_f32, 4.0];
        assert!(clip_norm(&cx, &mut grad, max).is_err());
        assert_eq!(grad, [3.0, 4.0]);
    }
    let mut grad = [3.0_f32, f32::INFINITY];
    assert!(clip_norm(&cx, &mut grad, 1.0).is_err());
    assert_eq!(grad, [3.0, f32::INFINITY]);
}

#[test]
fn steps_of_training() {
    let (cx, loss) = (Cx::default(), Contrastive::new(1.0).unwrap());
    let objective = Objective::sum(&loss);
    let parameters = |siamese: Siamese<f32, Sgd<f32>>| {
        let mut params = slice(siamese.net().params().len());
        if siamese.net().params() != network().params() {
            params.slice_mut().copy_from_slice(siamese.net().params());
        }
        vec![params]
    };
    each_wrong(11, |arguments| {
        let mut siamese = Siamese::new(network(), Sgd::new(), N).unwrap();
        let [x1, x2] = [(); 2].map(|()| arguments.input([N, D]));
        let (similar, ignored) = (vec![true; N], arguments.flags(N));
        let rate = if arguments.is_wrong() { f64::NAN } else { 0.1 };
        let pairing = Pairing::new(&similar).ignoring(&ignored);
        let got = siamese.step(&cx, &objective, rate, x1.mat(), x2.mat(), pairing).map(drop);
        (got, parameters(siamese))
    });
    each_wrong(6, |arguments| {
        let mut siamese = Siamese::new(network(), Sgd::new(), N).unwrap();
        let data = Rows::Apart.draw([N, arguments.len(D)], 1);
        let similar = arguments.flags(2);
        let end = if arguments.is_wrong() { N as u32 } else { 1 };
        let rate = if arguments.is_wrong() { -1.0 } else { 0.1 };
        let pairs = [(0, 1), (2, end)];
        let got = siamese.step_pairs(&cx, &objective, rate, data.mat(), &pairs, &similar);
        (got.map(drop), parameters(siamese))
    });
    each_wrong(7, |arguments| {
        let mut siamese = Siamese::new(network(), Sgd::new(), N).unwrap();
        let data = Rows::Apart.draw([N, arguments.len(D)], 1);
        let labels = arguments.labels();
        let last = if arguments.is_wrong() { N as u32 } else { 2 };
        let twice = if arguments.is_wrong() { 0 } else { 1 };
        let rate = if arguments.is_wrong() { -1.0 } else { 0.1 };
        let (samples, similar) = ([0, twice, last], Similar::Labels(&labels));
        let got = siamese.step_batch(&cx, &objective, rate, data.mat(), &samples, similar);
        (got.map(drop), parameters(siamese))
    });
    let softmax = Softmax::scale(8.0).unwrap();
    let of_anchors = AnchorObjective::mean(&softmax);
    each_wrong(7, |arguments| {
        let mut siamese = Siamese::new(network(), Sgd::new(), N).unwrap();
        let data = Rows::Apart.draw([N, arguments.len(D)], 1);
        let labels = arguments.labels();
        let last = if arguments.is_wrong() { N as u32 } else { 2 };
        let twice = if arguments.is_wrong() { 0 } else { 1 };
        let rate = if arguments.is_wrong() { -1.0 } else { 0.1 };
        let (samples, similar) = ([0, twice, last], Similar::Labels(&labels));
        let got = siamese.step_batch(&cx, &of_anchors, rate, data.mat(), &samples, similar);
        (got.map(drop), parameters(siamese))
    });
    each_wrong(8, |arguments| {
        let mut towers =
            Towers::new([network(), network()], [Sgd::new(), Sgd::new()], N + 1).unwrap();
        let queries = Rows::Apart.draw([N, arguments.len(D)], 1);
        let keys = Rows::Apart.draw([N + 1, arguments.len(D)], 2);
        let first_key = if arguments.is_wrong() { 2 } else { 1 };
        let similar = CrossSimilar::Position { first_key };
        let rate = if arguments.is_wrong() { f64::NAN } else { 0.1 };
        let weights = vec![1.0; arguments.len(2 * N + 1)];
        let objective = of_anchors.weighted(&weights);
        let x = [queries.mat(), keys.mat()];
        let got = towers.step(&cx, &objective, rate, x, similar, Anchors::Both).map(drop);
        let params = towers.nets().each_ref().map(|net| {
            let mut params = slice(net.params().len());
            if net.params() != network().params() {
                params.slice_mut().copy_from_slice(net.params());
            }
            params
        });
        (got, params.into())
    });
    each_wrong(6, |arguments| {
        let mut siamese = Siamese::new(network(), Sgd::new(), N).unwrap();
        let x = Rows::Apart.draw([N, arguments.len(D)], 1);
        let mut z = arguments.output([N, 2]);
        (siamese.embed(&cx, x.mat(), z.mat_mut()), vec![z])
    });
}
