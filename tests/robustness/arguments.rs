//! Arguments that lie: sizes whose product overflows, indices equal to a length, numbers of things that no
//! machine holds. Each is refused, and what refuses says which.

use drlim::batch::{
    AnchorScratch, Anchors, AnchorsOut, CrossAnchorsOut, CrossOut, CrossScratch, CrossSimilar,
    PairFlags, PairList, all_anchors, cross, cross_anchors,
};
use drlim::loss::{AnchorObjective, Contrastive, Objective, Softmax};
use drlim::metrics::{knn_error, knn_error_leave_one_out};
use drlim::nn::{
    AvgPool2d, Backward, Conv2d, Dense, Forward, InitialValue, L2Normalize, Layer, MaxPool2d,
    Network, ParamSpec, Relu, Shape, Subsample2d, Workspace,
};
use drlim::optim::Sgd;
use drlim::pairs::{self, BatchSampler, Sampler, SamplerState};
use drlim::siamese::{Siamese, Towers};
use drlim::{Cx, Graph, Mat, MatMut, Result, Similar, gradcheck};

/// More than any machine has.
const VAST: usize = usize::MAX;

/// That a call is refused by an error that says `what`.
#[track_caller]
fn refused<R>(call: Result<R>, what: &str) {
    match call {
        Ok(_) => panic!("should be refused: {what}"),
        Err(error) => {
            let said = error.to_string();
            assert!(said.contains(what), "{said:?} lacks {what:?}");
        }
    }
}

#[test]
fn views_refuse_what_does_not_lie_in_their_data() {
    let mut data = [0.0_f32; 12];
    for (rows, cols, stride) in [
        (VAST, 2, 2),
        (2, 2, VAST),
        (VAST, VAST, VAST),
        (1 << 33, 1 << 31, 1 << 31),
        (VAST / 2 + 2, 1, 2),
        (3, 4, 3),
        (0, 4, 3),
        (4, 4, 4),
        (3, 4, 5),
        (2, 1, 12),
    ] {
        assert!(Mat::strided(&data, rows, cols, stride).is_err(), "{rows}x{cols}, {stride}");
        assert!(MatMut::strided(&mut data, rows, cols, stride).is_err(), "{rows}x{cols}");
        assert!(stride != cols || Mat::new(&data, rows, cols).is_err(), "{rows}x{cols}");
    }
    assert!(Mat::strided(&data, 2, 1, 11).is_ok() && Mat::strided(&data, 1, 12, VAST).is_ok());
}

#[test]
fn an_index_equal_to_the_length_is_refused() {
    let z = Mat::new(&[0.0_f32; 6], 3, 2).unwrap();
    let graph = Graph::from_pairs(3, &[(0, 1)]).unwrap();
    let mut list = PairList::new(3, &[(0, 1), (1, 2)]).unwrap();
    refused(PairList::new(3, &[(3, 0)]), "pairs[0] is 3, expected an index below 3");
    refused(list.set(3, &[(0, 1), (2, 3)]), "pairs[1] is 3");
    refused(list.set(0, &[(0, 0)]), "pairs[0] is 0, expected an index below 0");
    refused(list.select(&[0, 2]), "places[1] is 2");
    let kinds = PairFlags { similar: vec![true; 2], ignored: vec![false; 1] };
    refused(kinds.select(&[1]), "places[0] is 1");
    refused(Graph::from_pairs(3, &[(0, 1), (1, 3)]), "pairs[1] is 3");
    refused(graph.induced(&[0, 3]), "samples[1] is 3");
    refused(Sampler::weighted(&graph, vec![(0, 3)], 2, 1), "(0, 3) is not a pair");
    refused(BatchSampler::listed(&graph, &[(3, 0)], 3, 1), "(3, 0) is not a pair");

    let loss = Contrastive::new(1.0).unwrap();
    let meet = |own, first_query, first_key| {
        let similar = CrossSimilar::Graph { graph: &graph, first_query, first_key };
        let (cx, objective) = (Cx::default(), Objective::sum(&loss));
        cross(&cx, &objective, z, z, similar, own, CrossOut::none(), &mut CrossScratch::new())
    };
    refused(meet(None, 1, 0), "first_query[0] is 1, expected an index below 1");
    refused(meet(None, 0, VAST), "first_key[0] is");
    refused(meet(Some(1), 0, 0), "own[0] is 1");
    refused(meet(Some(VAST), 0, 0), "own[0] is");

    let softmax = Softmax::scale(8.0).unwrap();
    let anchors = |similar, own, anchors| {
        let (cx, objective) = (Cx::default(), AnchorObjective::mean(&softmax));
        let (out, scratch) = (CrossAnchorsOut::none(), &mut AnchorScratch::new());
        cross_anchors(&cx, &objective, z, z, similar, own, anchors, out, scratch)
    };
    let in_graph =
        |first_query, first_key| CrossSimilar::Graph { graph: &graph, first_query, first_key };
    let position = |first_key| CrossSimilar::Position { first_key };
    let outside = |first_key| {
        let (cx, objective, out) = (Cx::default(), Objective::sum(&loss), CrossOut::none());
        cross(&cx, &objective, z, z, position(first_key), None, out, &mut CrossScratch::new())
    };
    for first_key in [1, VAST] {
        refused(outside(first_key), "first_key[0] is");
    }
    for of in [Anchors::Queries, Anchors::Keys, Anchors::Both] {
        refused(
            anchors(in_graph(1, 0), None, of),
            "first_query[0] is 1, expected an index below 1",
        );
        refused(anchors(in_graph(0, VAST), None, of), "first_key[0] is");
        refused(anchors(in_graph(0, 0), Some(1), of), "own[0] is 1");
        refused(anchors(position(1), None, of), "first_key[0] is 1, expected an index below 1");
        refused(anchors(position(VAST), None, of), "first_key[0] is");
        refused(anchors(position(0), Some(VAST), of), "own[0] is");
        assert!(anchors(position(0), Some(0), of).is_ok());
    }

    let mut net = Siamese::new(dense(2), Sgd::new(), 2).unwrap();
    let (cx, objective, similar) = (Cx::default(), Objective::sum(&loss), Similar::Graph(&graph));
    refused(net.step_pairs(&cx, &objective, 0.1, z, &[(0, 3)], &[true]), "pairs[0] is 3");
    refused(net.step_batch(&cx, &objective, 0.1, z, &[0, 3], similar), "samples[1] is 3");
    let objective = AnchorObjective::mean(&softmax);
    refused(net.step_batch(&cx, &objective, 0.1, z, &[0, 3], similar), "samples[1] is 3");
    let mut towers = Towers::new([dense(2), dense(2)], [Sgd::new(), Sgd::new()], 3).unwrap();
    let mut step = |similar| towers.step(&cx, &objective, 0.1, [z, z], similar, Anchors::Both);
    refused(step(position(1)), "first_key[0] is 1");
    refused(step(in_graph(VAST, 0)), "first_query[0] is");
}

#[test]
fn numbers_of_neighbours_are_at_most_those_that_there_are() {
    let (cx, z) = (Cx::default(), Mat::new(&[0.0_f32, 1.0, 3.0], 3, 1).unwrap());
    let labels = [0, 0, 1];
    for k in [0, 4, VAST] {
        refused(pairs::nearest(&cx, z, z, k), "k is");
        refused(knn_error(&cx, z, &labels, z, &labels, k), "k is");
    }
    for k in [0, 3, VAST] {
        refused(pairs::nearest_others(&cx, z, k), "k is");
        refused(pairs::neighbour_graph(&cx, z, k), "k is");
        refused(pairs::hardest(&cx, z, Similar::Labels(&labels), k), "k is");
        refused(knn_error_leave_one_out(&cx, z, &labels, k), "k is");
    }
    // Rows without elements are as many as one likes, and at distance 0 of each other.
    let none = Mat::<f32>::new(&[], 100, 0).unwrap();
    let found = pairs::nearest_others(&cx, none, 3).unwrap();
    let [first, second, last] = [0, 1, 99].map(|i| found.row(i));
    assert_eq!((first.0, second.0, last.0), (&[1, 2, 3][..], &[0, 2, 3][..], &[0, 1, 2][..]));
    assert_eq!(last.1, [0.0; 3]);
    assert_eq!(pairs::nearest(&cx, none, none, 3).unwrap().row(99), last);
    let endless = Mat::<f32>::new(&[], VAST, 0).unwrap();
    refused(pairs::nearest_others(&cx, endless, 3), "samples do not fit in a u32");
    refused(pairs::nearest(&cx, endless, none, 3), "samples do not fit in a u32");
    refused(pairs::nearest(&cx, none, endless, 3), "samples do not fit in a u32");
    let softmax = Softmax::scale(8.0).unwrap();
    let (objective, mut scratch) = (AnchorObjective::mean(&softmax), AnchorScratch::new());
    let similar = Similar::Labels(&labels);
    let out = AnchorsOut::none();
    let got = all_anchors(&cx, &objective, endless, similar, out, &mut scratch);
    refused(got, "samples do not fit in a u32");
    for [queries, keys] in [[none, endless], [endless, none]] {
        let (similar, of) = (CrossSimilar::Position { first_key: 0 }, Anchors::Both);
        let (out, scratch) = (CrossAnchorsOut::none(), &mut scratch);
        let got = cross_anchors(&cx, &objective, queries, keys, similar, None, of, out, scratch);
        refused(got, "samples do not fit in a u32");
    }
}

#[test]
fn samplers_refuse_batches_that_nobody_could_hold() {
    let labels = Similar::Labels(&[0, 0, 1, 1]);
    refused(Sampler::new(labels, 0, 1), "a batch of 0 pairs");
    refused(Sampler::new(labels, VAST, 1), "expected an even number");
    refused(Sampler::new(labels, VAST - 1, 1), "do not fit in a u32");
    refused(Sampler::new(labels, 1 << 31, 1), "do not fit in a u32");
    for batch in [0, 1, 2, 5, VAST] {
        refused(BatchSampler::new(labels, batch, 1), "a batch of");
    }
    refused(BatchSampler::grouped(labels, VAST, VAST, 1), "a batch of");
    refused(BatchSampler::grouped(labels, VAST, 4, 1), "groups of");
    for set in [Similar::Labels(&[]), Similar::Graph(&Graph::default())] {
        refused(Sampler::new(set, 2, 1), "no similar pair");
        refused(BatchSampler::new(set, 3, 1), "no similar pair");
    }
    refused(Graph::from_pairs(VAST, &[]), "do not fit in a u32");
    refused(PairList::new(VAST, &[]), "do not fit in a u32");
    let behind = SamplerState { pass: 0, position: u64::MAX, rng: 0 };
    refused(Sampler::new(labels, 2, 1).unwrap().restore(behind), "position");
    refused(BatchSampler::new(labels, 3, 1).unwrap().restore(behind), "position");
}

fn dense(inputs: usize) -> Network<f32> {
    Network::builder(Shape::flat(inputs)).layer("map", Dense::new(1)).build(1).unwrap()
}

/// A layer that says of itself what it likes.
struct Boasting {
    output: Shape,
    params: Vec<usize>,
    scratch: usize,
}

impl Layer<f32> for Boasting {
    fn describe(&self) -> String {
        "Boasting".into()
    }
    fn connect(&mut self, _: Shape) -> std::result::Result<Shape, String> {
        Ok(self.output)
    }
    fn params(&self) -> Vec<ParamSpec> {
        let (shape, initial) = (self.params.clone(), InitialValue::Constant(0.0));
        vec![ParamSpec { name: "weight", shape, initial }]
    }
    fn scratch(&self, _: usize) -> usize {
        self.scratch
    }
    fn forward(&self, _: &Cx, _: Forward<f32>) {}
    fn backward(&self, _: &Cx, _: Backward<f32>) {}
}

#[test]
fn layers_refuse_sizes_that_overflow_and_those_of_nothing() {
    let build = |input: Shape, layer: Box<dyn Fn(_) -> drlim::nn::Builder<f32>>| {
        layer(Network::builder(input)).build(1).map(drop)
    };
    type Add = Box<dyn Fn(drlim::nn::Builder<f32>) -> drlim::nn::Builder<f32>>;
    fn add<L: Layer<f32> + Clone + 'static>(layer: L) -> Add {
        Box::new(move |net| net.layer("layer", layer.clone()))
    }
    let image = Shape::image(1, 4, 4);
    type Named = (&'static str, fn() -> Add);
    let everywhere: [Named; 6] = [
        ("Dense", || add(Dense::new(1))),
        ("Conv2d", || add(Conv2d::new(1, 1))),
        ("AvgPool2d", || add(AvgPool2d::new(1))),
        ("MaxPool2d", || add(MaxPool2d::new(1))),
        ("Subsample2d", || add(Subsample2d::new(1))),
        ("L2Normalize", || add(L2Normalize::new())),
    ];
    for (name, layer) in everywhere {
        for shape in [Shape::flat(VAST), Shape::image(1 << 20, 1 << 20, 1 << 20)] {
            assert!(build(shape, layer()).is_err(), "{name} of {shape}");
        }
        for empty in [Shape::flat(0), Shape::image(1, 0, 4), Shape::image(1, VAST, 0)] {
            refused(build(empty, layer()), "is not a shape of samples");
        }
    }
    // Any other layer than these is a function of each element.
    refused(build(Shape::image(VAST, 2, 2), add(Relu::new())), "is not a shape of samples");
    for layer in [
        add(Dense::new(0)),
        add(Dense::new(VAST)),
        add(Dense::new(1 << 60)),
        add(Conv2d::new(0, 1)),
        add(Conv2d::new(VAST, 1)),
        add(Conv2d::new(1, 0)),
        add(Conv2d::new(1, 5)),
        add(Conv2d::new(1, VAST)),
        add(Conv2d::new(1, 1).stride(0)),
        add(Conv2d::new(1, 1).padding(VAST)),
        add(Conv2d::new(1, 1).padding(VAST / 2 - 1)),
        add(Conv2d::new(1, VAST).padding(VAST / 2 - 1)),
        add(AvgPool2d::new(0)),
        add(AvgPool2d::new(5)),
        add(AvgPool2d::new(VAST)),
        add(AvgPool2d::new(2).stride(0)),
        add(MaxPool2d::new(0)),
        add(MaxPool2d::new(VAST)),
        add(MaxPool2d::new(2).stride(0)),
        add(Subsample2d::new(0)),
        add(Subsample2d::new(VAST)),
    ] {
        refused(build(image, layer), "network: layer layer:");
    }
    for layer in [add(Conv2d::new(1, 2).stride(VAST)), add(AvgPool2d::new(2).stride(VAST))] {
        build(image, layer).unwrap();
    }
}

#[test]
fn a_users_layer_may_boast() {
    let boast = |output: Shape, params: &[usize], scratch: usize| {
        let layer = Boasting { output, params: params.to_vec(), scratch };
        Network::<f32>::builder(Shape::flat(1)).layer("boasting", layer).build(1)
    };
    let one = Shape::flat(1);
    refused(boast(Shape::flat(0), &[1], 0), "is not a shape of samples");
    refused(boast(Shape::image(VAST, 2, 1), &[1], 0), "is not a shape of samples");
    refused(boast(one, &[VAST, 2], 0), "the size of the parameters of a network overflows");
    refused(boast(one, &[VAST], 0), "the size of the parameters of a network overflows");
    assert_eq!(boast(one, &[0, VAST], 0).unwrap().params().len(), 0);
    for net in [boast(one, &[1], VAST).unwrap(), boast(Shape::flat(VAST), &[1], 0).unwrap()] {
        refused(Workspace::training(&net, 1), "the size of a workspace overflows");
        refused(Workspace::inference(&net, 1), "the size of a workspace overflows");
        refused(Siamese::new(net, Sgd::new(), 1).map(drop), "the size of a workspace overflows");
    }
}

#[test]
fn workspaces_of_more_samples_than_there_is_memory_are_refused() {
    let image = |layer: Add| layer(Network::builder(Shape::image(1, 4, 4))).build(1).unwrap();
    type Add = fn(drlim::nn::Builder<f32>) -> drlim::nn::Builder<f32>;
    let nets: [Add; 7] = [
        |net| net.layer("dense", Dense::new(3)),
        |net| net.layer("conv", Conv2d::new(2, 3)).layer("relu", Relu::new()),
        |net| net.layer("conv", Conv2d::new(2, 3).padding(1)).layer("pool", MaxPool2d::new(2)),
        |net| net.layer("pool", AvgPool2d::new(2)).layer("dense", Dense::new(1)),
        |net| net.layer("pool", Subsample2d::new(4)),
        |net| net.layer("unit", L2Normalize::new()),
        |net| net,
    ];
    for net in nets.map(image) {
        for samples in [VAST, VAST / 2, VAST / 64, 1 << 58] {
            refused(Workspace::training(&net, samples), "the size of a workspace overflows");
            refused(Workspace::inference(&net, samples), "the size of a workspace overflows");
        }
    }
    let towers = |nets, rows| Towers::new(nets, [Sgd::new(), Sgd::new()], rows).map(drop);
    for rows in [VAST, VAST / 64, 1 << 58] {
        refused(towers([dense(1), dense(3)], rows), "the size of a workspace overflows");
    }
    let wide = Network::builder(Shape::flat(1)).layer("map", Dense::new(2)).build(1).unwrap();
    refused(towers([dense(1), wide], 1), "outputs of nets[1] is 2");
    refused(Siamese::new(dense(1), Sgd::new(), VAST).map(drop), "a doubled batch overflows");
    refused(Siamese::new(dense(1), Sgd::new(), 1 << 32).map(drop), "do not fit in a u32");
    let mut none = Siamese::new(dense(1), Sgd::new(), 0).unwrap();
    let (x, mut z) = (Mat::new(&[1.0], 1, 1).unwrap(), [7.0]);
    refused(none.embed(&Cx::default(), x, MatMut::new(&mut z, 1, 1).unwrap()), "max_pairs is 0");
    assert_eq!(z, [7.0]);
    for samples in [0, VAST, 1 << 60] {
        let error = gradcheck::check_layer(Dense::new(1), Shape::flat(1), samples, 1);
        refused(error, if samples == 0 { "samples is 0" } else { "overflows" });
    }
    refused(gradcheck::check(|x| x[0], &[1.0], &[]), "analytic has 0 elements");
}
