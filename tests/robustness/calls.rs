//! Every public call on rows: batches, distances, neighbours, metrics. That none is missing is checked
//! against the crate's source.

use drlim::batch::{
    Anchors, AnchorsOut, CrossAnchorsOut, CrossEntropy, CrossOut, CrossSimilar, Distance,
    IndexedHvpOut, IndexedOut, Mining, RowsHvpOut, RowsOut, TripletRows, TripletRowsHvpOut,
    TripletRowsOut, all_anchors, all_pairs, all_pairs_hvp, cross, cross_anchors, cross_entropy,
    cross_hvp, distance_matrix, hard_pairs, indexed, indexed_hvp, row_distances,
    row_distances_backward, rows, rows_hvp, triplet_rows, triplet_rows_hvp, triplets,
};
use drlim::loss::{
    AnchorObjective, AnchorReduction, AnchorSums, Measure, Objective, Pairing, Reduction,
    SlopeTotals, TripletObjective,
};
use drlim::metrics::{knn_error, knn_error_leave_one_out};
use drlim::pairs::{Neighbours, hardest, nearest, nearest_others, neighbour_graph};
use drlim::{Cx, Result, Similar};

use crate::batch::{Batch, Got, Kept, Losses, slice};
use crate::support::{Element, Guarded};

/// Runs a call on a batch with guarded outputs, and gives all that it has given.
pub type Run<T> = fn(&Cx, &Batch<T>, Losses<T>, &mut Kept<T>) -> Result<Got>;

/// A call.
pub struct Call<T> {
    /// Its name, and what it is run with.
    pub name: &'static str,
    /// The fewest rows that it takes.
    pub least: usize,
    /// Whether a loss is part of it.
    pub loss: bool,
    pub run: Run<T>,
}

/// All of them.
pub fn calls<T: Element>() -> Vec<Call<T>> {
    let table: [(&str, usize, bool, Run<T>); 43] = [
        ("rows", 0, true, by_rows),
        ("indexed", 0, true, by_list),
        ("all_pairs by labels", 0, true, |cx, b, l, k| {
            every_pair(cx, b, l, k, Similar::Labels(&b.labels))
        }),
        ("all_pairs by labels, some ignored", 0, true, |cx, b, l, k| {
            every_pair(cx, b, l, k, Similar::LabelsIgnoring { labels: &b.labels, ignored: 1 })
        }),
        ("all_pairs by a graph", 0, true, |cx, b, l, k| {
            every_pair(cx, b, l, k, Similar::Graph(&b.graph))
        }),
        ("cross by labels", 0, true, |cx, b, l, k| {
            let (queries, keys) = (&b.labels, &b.labels);
            crossed(cx, b, l, k, CrossSimilar::Labels { queries, keys, ignored: Some(2) })
        }),
        ("cross by a graph", 0, true, |cx, b, l, k| {
            let similar = CrossSimilar::Graph { graph: &b.graph, first_query: 0, first_key: 0 };
            crossed(cx, b, l, k, similar)
        }),
        ("cross by position", 0, true, |cx, b, l, k| {
            crossed(cx, b, l, k, CrossSimilar::Position { first_key: 0 })
        }),
        ("all_anchors by labels", 0, true, |cx, b, l, k| {
            every_anchor(cx, b, l, k, Similar::Labels(&b.labels), Measure::Cosine)
        }),
        ("all_anchors by labels, some ignored", 0, true, |cx, b, l, k| {
            let similar = Similar::LabelsIgnoring { labels: &b.labels, ignored: 1 };
            every_anchor(cx, b, l, k, similar, Measure::Dot)
        }),
        ("all_anchors by a graph", 0, true, |cx, b, l, k| {
            every_anchor(cx, b, l, k, Similar::Graph(&b.graph), Measure::Distance)
        }),
        ("cross_anchors by labels", 0, true, |cx, b, l, k| {
            let (queries, keys) = (&b.labels, &b.labels);
            let similar = CrossSimilar::Labels { queries, keys, ignored: Some(2) };
            crossed_anchors(cx, b, l, k, similar, Anchors::Queries, Measure::Cosine)
        }),
        ("cross_anchors by position", 0, true, |cx, b, l, k| {
            let similar = CrossSimilar::Position { first_key: 0 };
            crossed_anchors(cx, b, l, k, similar, Anchors::Both, Measure::Dot)
        }),
        ("cross_anchors by a graph", 0, true, |cx, b, l, k| {
            let similar = CrossSimilar::Graph { graph: &b.graph, first_query: 0, first_key: 0 };
            crossed_anchors(cx, b, l, k, similar, Anchors::Keys, Measure::Distance)
        }),
        ("triplet_rows", 0, true, triplets_by_rows),
        ("triplets, all", 0, true, |cx, b, l, k| mined(cx, b, l, k, Mining::All)),
        ("triplets, hardest", 0, true, |cx, b, l, k| mined(cx, b, l, k, Mining::Hardest)),
        ("triplets, semi-hard", 0, true, |cx, b, l, k| mined(cx, b, l, k, Mining::SemiHard)),
        ("rows_hvp", 0, true, by_rows_hvp),
        ("indexed_hvp", 0, true, by_list_hvp),
        ("all_pairs_hvp by labels", 0, true, |cx, b, l, _| {
            every_pair_hvp(cx, b, l, Similar::LabelsIgnoring { labels: &b.labels, ignored: 1 })
        }),
        ("all_pairs_hvp by a graph", 0, true, |cx, b, l, _| {
            every_pair_hvp(cx, b, l, Similar::Graph(&b.graph))
        }),
        ("cross_hvp by labels", 0, true, |cx, b, l, _| {
            let (queries, keys) = (&b.labels, &b.labels);
            crossed_hvp(cx, b, l, CrossSimilar::Labels { queries, keys, ignored: Some(2) })
        }),
        ("cross_hvp by a graph", 0, true, |cx, b, l, _| {
            let similar = CrossSimilar::Graph { graph: &b.graph, first_query: 0, first_key: 0 };
            crossed_hvp(cx, b, l, similar)
        }),
        ("triplet_rows_hvp", 0, true, triplets_by_rows_hvp),
        ("hard_pairs", 0, false, |_, b, _, _| {
            let pairing = Pairing::new(&b.similar).ignoring(&b.ignored);
            Ok(Got::default().numbers(places(&hard_pairs(&b.weights, pairing)?)))
        }),
        ("distance_matrix", 0, false, |cx, b, _, _| {
            let mut out = b.rows.output([b.shape[0]; 2]);
            distance_matrix(cx, b.inputs[0].mat(), b.inputs[1].mat(), out.mat_mut())?;
            Ok(Got::default().written([&out]))
        }),
        ("row_distances, Euclidean", 0, false, |cx, b, _, _| apart(cx, b, Distance::Euclidean)),
        ("row_distances, squared", 0, false, |cx, b, _, _| {
            apart(cx, b, Distance::SquaredEuclidean)
        }),
        ("row_distances, dot", 0, false, |cx, b, _, _| apart(cx, b, Distance::Dot)),
        ("row_distances, cosine", 0, false, |cx, b, _, _| apart(cx, b, Distance::Cosine)),
        ("row_distances_backward, Euclidean", 0, false, |cx, b, _, _| {
            apart_backward(cx, b, Distance::Euclidean)
        }),
        ("row_distances_backward, squared", 0, false, |cx, b, _, _| {
            apart_backward(cx, b, Distance::SquaredEuclidean)
        }),
        ("row_distances_backward, dot", 0, false, |cx, b, _, _| {
            apart_backward(cx, b, Distance::Dot)
        }),
        ("row_distances_backward, cosine", 0, false, |cx, b, _, _| {
            apart_backward(cx, b, Distance::Cosine)
        }),
        ("cross_entropy", 0, false, certain),
        ("nearest", 1, false, |cx, b, _, _| {
            let k = b.shape[0].min(4);
            Ok(found(&nearest(cx, b.inputs[0].mat(), b.inputs[1].mat(), k)?))
        }),
        ("nearest_others", 2, false, |cx, b, _, _| {
            Ok(found(&nearest_others(cx, b.inputs[0].mat(), most(b))?))
        }),
        ("hardest by labels", 2, false, |cx, b, _, _| hard(cx, b, Similar::Labels(&b.labels))),
        ("hardest by a graph", 2, false, |cx, b, _, _| hard(cx, b, Similar::Graph(&b.graph))),
        ("neighbour_graph", 2, false, |cx, b, _, _| {
            let graph = neighbour_graph(cx, b.inputs[0].mat(), most(b))?;
            Ok(Got::default().numbers(graph.pairs().flat_map(|(i, j)| [i.into(), j.into()])))
        }),
        ("knn_error", 1, false, |cx, b, _, _| {
            let [train, test] = [&b.inputs[0], &b.inputs[1]].map(Guarded::mat);
            Ok(Got::default().number(knn_error(cx, train, &b.labels, test, &b.labels, 1)?))
        }),
        ("knn_error_leave_one_out", 2, false, |cx, b, _, _| {
            let set = b.inputs[0].mat();
            Ok(Got::default().number(knn_error_leave_one_out(cx, set, &b.labels, most(b))?))
        }),
    ];
    let call = |(name, least, loss, run)| Call { name, least, loss, run };
    table.into_iter().map(call).collect()
}

/// The most neighbours that are asked for among the rows of a batch.
fn most<T>(batch: &Batch<T>) -> usize {
    batch.shape[0].saturating_sub(1).min(4)
}

fn places(places: &[u32]) -> impl Iterator<Item = f64> {
    places.iter().map(|&place| place.into())
}

fn found<T: Element>(found: &Neighbours<T>) -> Got {
    (0..found.rows()).map(|i| found.row(i)).fold(Got::default(), |got, (indices, distances)| {
        got.numbers(places(indices)).numbers(distances.iter().map(|d| d.to_f64()))
    })
}

/// With all outputs, by a reduction that needs two passes.
fn by_rows<T: Element>(cx: &Cx, b: &Batch<T>, l: Losses<T>, _: &mut Kept<T>) -> Result<Got> {
    let [mut grad_a, mut grad_b] = [(); 2].map(|()| b.rows.output(b.shape));
    let [mut distances, mut values, mut slopes] = [(); 3].map(|()| slice(b.shape[0]));
    let out = RowsOut::grads(grad_a.mat_mut(), grad_b.mat_mut())
        .distances(distances.slice_mut())
        .values(values.slice_mut())
        .slopes(slopes.slice_mut());
    let objective = Objective::sum(l.pairs).reduced(Reduction::BalancedNonZero);
    let pairing = Pairing::new(&b.similar).weighted(&b.weights).ignoring(&b.ignored);
    let outcome = rows(cx, &objective, b.inputs[0].mat(), b.inputs[1].mat(), pairing, out)?;
    Ok(Got::outcome(outcome).written([&grad_a, &grad_b, &distances, &values, &slopes]))
}

fn by_list<T: Element>(cx: &Cx, b: &Batch<T>, l: Losses<T>, k: &mut Kept<T>) -> Result<Got> {
    let mut grad = b.rows.output(b.shape);
    let [mut distances, mut values] = [(); 2].map(|()| slice(b.pairs.len()));
    let out = IndexedOut::grad(grad.mat_mut())
        .distances(distances.slice_mut())
        .values(values.slice_mut());
    let objective = Objective::sum(l.pairs).reduced(Reduction::MeanNonZero);
    let similar = &b.similar[..b.pairs.len()];
    let z = b.inputs[0].mat();
    let outcome = indexed(cx, &objective, z, &b.list, similar, out, &mut k.indexed)?;
    Ok(Got::outcome(outcome).written([&grad, &distances, &values]))
}

fn every_pair<T: Element>(
    cx: &Cx,
    b: &Batch<T>,
    l: Losses<T>,
    k: &mut Kept<T>,
    similar: Similar,
) -> Result<Got> {
    let mut grad = b.rows.output(b.shape);
    let objective = Objective::sum(l.pairs).reduced(Reduction::BalancedNonZero);
    let to = Some(grad.mat_mut());
    let outcome = all_pairs(cx, &objective, b.inputs[0].mat(), similar, to, &mut k.all_pairs)?;
    Ok(Got::outcome(outcome).written([&grad]))
}

fn crossed<T: Element>(
    cx: &Cx,
    b: &Batch<T>,
    l: Losses<T>,
    k: &mut Kept<T>,
    similar: CrossSimilar,
) -> Result<Got> {
    let [mut of_queries, mut of_keys] = [(); 2].map(|()| b.rows.output(b.shape));
    let objective = Objective::mean(l.pairs);
    let [queries, keys] = [&b.inputs[0], &b.inputs[1]].map(Guarded::mat);
    let mut out = CrossOut::grads(of_queries.mat_mut(), of_keys.mat_mut());
    let mut totals = SlopeTotals { slopes: f64::NAN, squares: f64::NAN };
    out.slope_totals = Some(&mut totals);
    let own = own_key(&similar);
    let outcome = cross(cx, &objective, queries, keys, similar, own, out, &mut k.cross)?;
    let got = Got::outcome(outcome).numbers([totals.slopes, totals.squares]);
    Ok(got.written([&of_queries, &of_keys]))
}

/// Where query i is key i, but for keys that belong to queries by their position.
fn own_key(similar: &CrossSimilar) -> Option<usize> {
    (!matches!(similar, CrossSimilar::Position { .. })).then_some(0)
}

/// With all outputs, by a reduction that needs the values first.
fn every_anchor<T: Element>(
    cx: &Cx,
    b: &Batch<T>,
    l: Losses<T>,
    k: &mut Kept<T>,
    similar: Similar,
    measure: Measure,
) -> Result<Got> {
    let (mut grad, mut values) = (b.rows.output(b.shape), slice(b.shape[0]));
    let (mut sums, mut by_scale) = (vec![AnchorSums::default(); b.shape[0]], f64::NAN);
    let mut out = AnchorsOut::grad(grad.mat_mut());
    out.values = Some(values.slice_mut());
    (out.sums, out.grad_scale) = (Some(&mut sums[..]), Some(&mut by_scale));
    let objective = AnchorObjective::mean(l.anchors).measured(measure);
    let objective = objective.reduced(AnchorReduction::MeanNonZero).weighted(&b.weights);
    let objective = objective.scaled(T::from_f64(1.0 / 64.0));
    let z = b.inputs[0].mat();
    let outcome = all_anchors(cx, &objective, z, similar, out, &mut k.anchors)?;
    let got = Got::of_anchors(outcome).sums(&sums).number(by_scale);
    Ok(got.written([&grad, &values]))
}

fn crossed_anchors<T: Element>(
    cx: &Cx,
    b: &Batch<T>,
    l: Losses<T>,
    k: &mut Kept<T>,
    similar: CrossSimilar,
    anchors: Anchors,
    measure: Measure,
) -> Result<Got> {
    let count = if anchors == Anchors::Both { 2 * b.shape[0] } else { b.shape[0] };
    let [mut of_queries, mut of_keys] = [(); 2].map(|()| b.rows.output(b.shape));
    let mut values = slice(count);
    let (mut sums, mut by_scale) = (vec![AnchorSums::default(); count], f64::NAN);
    let mut out = CrossAnchorsOut::grads(of_queries.mat_mut(), of_keys.mat_mut());
    out.values = Some(values.slice_mut());
    (out.sums, out.grad_scale) = (Some(&mut sums[..]), Some(&mut by_scale));
    let objective = AnchorObjective::mean(l.anchors).measured(measure);
    let [queries, keys] = [&b.inputs[0], &b.inputs[1]].map(Guarded::mat);
    let (own, scratch) = (own_key(&similar), &mut k.anchors);
    let outcome =
        cross_anchors(cx, &objective, queries, keys, similar, own, anchors, out, scratch)?;
    let got = Got::of_anchors(outcome).sums(&sums).number(by_scale);
    Ok(got.written([&of_queries, &of_keys, &values]))
}

fn triplets_by_rows<T: Element>(
    cx: &Cx,
    b: &Batch<T>,
    l: Losses<T>,
    _: &mut Kept<T>,
) -> Result<Got> {
    let mut grads = [(); 3].map(|()| b.rows.output(b.shape));
    let mut others = [(); 7].map(|()| slice(b.shape[0]));
    let [ga, gp, gn] = grads.each_mut().map(Guarded::mat_mut);
    let [dp, dn, third, values, ap, an, pn] = others.each_mut().map(Guarded::slice_mut);
    let out = TripletRowsOut::grads(ga, gp, gn).distances(dp, dn).third_distances(third);
    let out = out.values(values).slopes(ap, an, pn);
    let [anchor, positive, negative] = b.inputs.each_ref().map(Guarded::mat);
    let triplets = TripletRows::new(anchor, positive, negative)?;
    let triplets = triplets.weighted(&b.weights)?.ignoring(&b.ignored)?;
    let objective = TripletObjective::sum(l.triplets).reduced(Reduction::MeanNonZero)?;
    let outcome = triplet_rows(cx, &objective, triplets, out)?;
    Ok(Got::outcome(outcome).written(grads.iter().chain(&others)))
}

fn by_rows_hvp<T: Element>(cx: &Cx, b: &Batch<T>, l: Losses<T>, _: &mut Kept<T>) -> Result<Got> {
    let (mut products, mut derivatives) =
        ([(); 2].map(|()| b.rows.output(b.shape)), slice(b.shape[0]));
    let [h_a, h_b] = products.each_mut().map(Guarded::mat_mut);
    let out = RowsHvpOut::products(h_a, h_b).derivatives(derivatives.slice_mut());
    let pairing = Pairing::new(&b.similar).weighted(&b.weights).ignoring(&b.ignored);
    let objective = Objective::sum(l.pairs).reduced(Reduction::BalancedNonZero);
    let [x, y, v] = b.inputs.each_ref().map(Guarded::mat);
    rows_hvp(cx, &objective, [x, y], pairing, [v, x], out)?;
    Ok(Got::default().written(products.iter().chain([&derivatives])))
}

fn by_list_hvp<T: Element>(cx: &Cx, b: &Batch<T>, l: Losses<T>, _: &mut Kept<T>) -> Result<Got> {
    let (mut product, mut derivatives) = (b.rows.output(b.shape), slice(b.list.len()));
    let out = IndexedHvpOut::product(product.mat_mut()).derivatives(derivatives.slice_mut());
    let pairing = Pairing::new(&b.similar[..b.list.len()]);
    let objective = Objective::sum(l.pairs).reduced(Reduction::MeanNonZero);
    let [z, v, _] = b.inputs.each_ref().map(Guarded::mat);
    indexed_hvp(cx, &objective, z, &b.list, pairing, v, out)?;
    Ok(Got::default().written([&product, &derivatives]))
}

fn every_pair_hvp<T: Element>(
    cx: &Cx,
    b: &Batch<T>,
    l: Losses<T>,
    similar: Similar,
) -> Result<Got> {
    let mut product = b.rows.output(b.shape);
    let [z, v, _] = b.inputs.each_ref().map(Guarded::mat);
    all_pairs_hvp(cx, &Objective::mean(l.pairs), z, similar, v, product.mat_mut())?;
    Ok(Got::default().written([&product]))
}

fn crossed_hvp<T: Element>(
    cx: &Cx,
    b: &Batch<T>,
    l: Losses<T>,
    similar: CrossSimilar,
) -> Result<Got> {
    let mut products = [(); 2].map(|()| b.rows.output(b.shape));
    let [h_q, h_k] = products.each_mut().map(Guarded::mat_mut);
    let [q, k, v] = b.inputs.each_ref().map(Guarded::mat);
    let objective = Objective::mean(l.pairs);
    cross_hvp(cx, &objective, [q, k], similar, Some(0), [v, q], CrossOut::grads(h_q, h_k))?;
    Ok(Got::default().written(&products))
}

fn triplets_by_rows_hvp<T: Element>(
    cx: &Cx,
    b: &Batch<T>,
    l: Losses<T>,
    _: &mut Kept<T>,
) -> Result<Got> {
    let (mut products, mut derivatives) =
        ([(); 3].map(|()| b.rows.output(b.shape)), slice(b.shape[0]));
    let [h_a, h_p, h_n] = products.each_mut().map(Guarded::mat_mut);
    let out = TripletRowsHvpOut::products(h_a, h_p, h_n).derivatives(derivatives.slice_mut());
    let [a, p, n] = b.inputs.each_ref().map(Guarded::mat);
    let triplets = TripletRows::new(a, p, n)?.weighted(&b.weights)?.ignoring(&b.ignored)?;
    let objective = TripletObjective::sum(l.triplets).reduced(Reduction::MeanNonZero)?;
    triplet_rows_hvp(cx, &objective, triplets, [n, a, p], out)?;
    Ok(Got::default().written(products.iter().chain([&derivatives])))
}

fn mined<T: Element>(
    cx: &Cx,
    b: &Batch<T>,
    l: Losses<T>,
    k: &mut Kept<T>,
    mining: Mining,
) -> Result<Got> {
    let mut grad = b.rows.output(b.shape);
    let objective = TripletObjective::mean(l.triplets);
    let (z, similar) = (b.inputs[0].mat(), Similar::Labels(&b.labels));
    let to = Some(grad.mat_mut());
    let outcome = triplets(cx, &objective, z, similar, mining, to, &mut k.mined)?;
    Ok(Got::outcome(outcome).written([&grad]))
}

fn apart<T: Element>(cx: &Cx, b: &Batch<T>, distance: Distance) -> Result<Got> {
    let mut out = slice(b.shape[0]);
    row_distances(cx, distance, b.inputs[0].mat(), b.inputs[1].mat(), out.slice_mut())?;
    Ok(Got::default().written([&out]))
}

fn apart_backward<T: Element>(cx: &Cx, b: &Batch<T>, distance: Distance) -> Result<Got> {
    let [x, y] = [&b.inputs[0], &b.inputs[1]].map(Guarded::mat);
    let [mut by_x, mut by_y] = [(); 2].map(|()| b.rows.output(b.shape));
    let to = [&mut by_x, &mut by_y].map(Guarded::mat_mut);
    let [to_x, to_y] = to;
    row_distances_backward(cx, distance, x, y, &b.weights, to_x, to_y)?;
    Ok(Got::default().written([&by_x, &by_y]))
}

fn certain<T: Element>(cx: &Cx, b: &Batch<T>, _: Losses<T>, _: &mut Kept<T>) -> Result<Got> {
    // Where there are fewer columns than labels, some rows are left out.
    let labels: Vec<i64> =
        b.labels.iter().map(|&y| if (y as usize) < b.shape[1] { y } else { -1 }).collect();
    let mut grad = b.rows.output(b.shape);
    let how = CrossEntropy::mean().weighted(&b.weights).ignoring(-1);
    let got = cross_entropy(cx, b.inputs[0].mat(), &labels, how, Some(grad.mat_mut()))?;
    let counts = [got.rows, got.correct].map(|count| count as f64);
    Ok(Got::default().number(got.value).numbers(counts).written([&grad]))
}

fn hard<T: Element>(cx: &Cx, b: &Batch<T>, similar: Similar) -> Result<Got> {
    let hardest = hardest(cx, b.inputs[0].mat(), similar, most(b))?;
    let [similar, dissimilar] = [&hardest.similar, &hardest.dissimilar].map(found);
    Ok(Got::default().numbers(similar.into_numbers()).numbers(dissimilar.into_numbers()))
}

/// The names of functions, or of types, that a module of the crate makes public.
pub fn public(source: &str, types: bool) -> Vec<&str> {
    let exported = source.split("pub use").skip(1).flat_map(|rest| {
        let list = rest.split(';').next().unwrap();
        list.split(['{', '}', ',']).map(|name| name.trim().rsplit("::").next().unwrap())
    });
    let defined =
        source.split("\npub fn ").skip(1).map(|rest| rest.split(['<', '(']).next().unwrap());
    let first = |name: &&str| name.chars().next();
    exported
        .chain(defined)
        .filter(|name| first(name).is_some_and(|c| c.is_uppercase() == types))
        .collect()
}

#[test]
fn the_table_has_every_public_call_on_rows() {
    let names: Vec<&str> = calls::<f32>().into_iter().map(|call| call.name).collect();
    let mut all = 0;
    for source in [
        include_str!("../../src/batch/mod.rs"),
        include_str!("../../src/pairs/mod.rs"),
        include_str!("../../src/pairs/metrics.rs"),
    ] {
        for call in public(source, false) {
            let is_in = names.iter().any(|name| name.split([' ', ',']).next() == Some(call));
            assert!(is_in, "{call} is not in the table");
            all += 1;
        }
    }
    assert_eq!(all, 24, "calls found in the source");
}
