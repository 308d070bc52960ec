"""Losses of lists, of whole batches and of two batches are those of the oracle."""

import numpy as np
import pytest

import drlim
import oracles
from oracles import close

COUNT, COLS = 41, 6


@pytest.fixture
def z(rng, dtype):
    return rng.normal(size=(COUNT, COLS)).astype(dtype) / 3


@pytest.fixture
def labels(rng):
    return rng.integers(-1, 4, COUNT)


def all_of(labels):
    pairs = oracles.unordered(len(labels))
    return pairs, labels[pairs[:, 0]] == labels[pairs[:, 1]]


@pytest.mark.parametrize("loss", oracles.PAIR_LOSSES, ids=str)
@pytest.mark.parametrize("reduction", oracles.REDUCTIONS, ids=str)
def test_all_pairs(loss, reduction, z, labels, tier):
    found = drlim.all_pairs(loss, z, labels, reduction=reduction)
    pairs, similar = all_of(labels)
    value, grad, _, values = oracles.pairs(loss, z, pairs, similar, reduction)
    close(found.value, value, z.dtype)
    close(found.grad, grad, z.dtype)
    assert (found.pairs, found.similar.pairs, found.active) == (len(pairs), similar.sum(), (values != 0).sum())


@pytest.mark.parametrize("loss", oracles.PAIR_LOSSES, ids=str)
@pytest.mark.parametrize("reduction", oracles.REDUCTIONS, ids=str)
def test_indexed(loss, reduction, z, rng, tier):
    pairs = rng.integers(0, COUNT, (90, 2))
    similar, weights = rng.random(90) < 0.5, rng.random(90)
    found = drlim.indexed(
        loss, z, pairs, similar, weights=weights, reduction=reduction, distances=True, values=True, slopes=True
    )
    value, grad, distances, values = oracles.pairs(loss, z, pairs, similar, reduction, weights)
    close(found.value, value, z.dtype)
    close(found.grad, grad, z.dtype)
    close(found.distances, distances, z.dtype)
    close(found.values, values, z.dtype)
    again = drlim.indexed(loss, z, drlim.PairList(COUNT, pairs), similar, weights=weights, reduction=reduction)
    assert again.value == found.value and np.array_equal(again.grad, found.grad)


@pytest.mark.parametrize("reduction", oracles.REDUCTIONS, ids=str)
def test_cross(reduction, z, labels, tier):
    loss, split = drlim.LinearHinge(0.1, 1.0), 15
    found = drlim.cross(loss, z[:split], z[split:], labels[:split], labels[split:], reduction=reduction)
    pairs = np.array([(i, j) for i in range(split) for j in range(split, COUNT)])
    similar = labels[pairs[:, 0]] == labels[pairs[:, 1]]
    value, grad, _, _ = oracles.pairs(loss, z, pairs, similar, reduction)
    close(found.value, value, z.dtype)
    close(np.concatenate([found.grad_queries, found.grad_keys]), grad, z.dtype)
    graph = drlim.Graph(COUNT, all_of(labels)[0][all_of(labels)[1]])
    by_graph = drlim.cross(loss, z[:split], z[split:], graph=graph, first_key=split, reduction=reduction)
    close(by_graph.value, value, z.dtype)
    queries_alone = drlim.cross(
        loss, z[:split], z[split:], labels[:split], labels[split:], reduction=reduction, grads=(True, False)
    )
    assert queries_alone.grad_keys is None
    close(queries_alone.grad_queries, grad[:split], z.dtype)


def test_own_keys_are_no_pairs(z, labels):
    found = drlim.cross(drlim.Contrastive(1.0), z[3:9], z, labels[3:9], labels, own=3)
    assert found.pairs == 6 * (COUNT - 1)


def test_a_graph_says_the_same_as_labels(z, labels):
    pairs, similar = all_of(labels)
    graph = drlim.Graph(COUNT, pairs[similar])
    assert (graph.samples, graph.edges) == (COUNT, similar.sum())
    assert np.array_equal(graph.pairs(), pairs[similar])
    loss = drlim.Contrastive(1.0)
    by_graph, by_labels = drlim.all_pairs(loss, z, graph=graph), drlim.all_pairs(loss, z, labels)
    close(by_graph.value, by_labels.value, z.dtype)
    close(by_graph.grad, by_labels.grad, z.dtype)


def test_ignored_labels_are_in_no_pair(z, labels):
    known = labels >= 0
    found = drlim.all_pairs(drlim.Contrastive(1.0), z, labels, ignore_label=-1)
    kept = drlim.all_pairs(drlim.Contrastive(1.0), z[known], labels[known])
    assert found.pairs == kept.pairs
    close(found.value, kept.value, z.dtype)
    assert (found.grad[~known] == 0).all()


@pytest.mark.parametrize("reduction", oracles.REDUCTIONS, ids=str)
def test_rows_scaled_to_unit_length(reduction, z, labels, tier):
    wide = z.astype(np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    unit = wide / length
    pairs, similar = all_of(labels)
    loss = drlim.Contrastive(1.3)
    value, by_unit, _, _ = oracles.pairs(loss, unit, pairs, similar, reduction)
    found = drlim.all_pairs(loss, z, labels, normalize=True, reduction=reduction)
    close(found.value, value, z.dtype)
    # The part along a row changes its length alone.
    close(found.grad, (by_unit - (by_unit * unit).sum(axis=1, keepdims=True) * unit) / length, z.dtype)
    assert drlim.all_pairs(loss, z, labels, normalize=True, reduction=reduction, grad=False).value == found.value
    of_triplets = drlim.triplets(drlim.TripletMargin(0.3), z, labels, normalize=True)
    of_unit = drlim.triplets(drlim.TripletMargin(0.3), unit.astype(z.dtype), labels)
    close(of_triplets.value, of_unit.value, z.dtype)


def test_many_rows_are_scaled_in_parts(rng):
    z, labels = rng.normal(size=(3000, 200)), rng.integers(0, 30, 3000)
    length = np.linalg.norm(z, axis=1, keepdims=True)
    loss = drlim.LinearHinge(0.2, 1.4)
    by_unit = drlim.all_pairs(loss, z / length, labels).grad
    found = drlim.all_pairs(loss, z, labels, normalize=True)
    close(found.grad, (by_unit - (by_unit * z).sum(axis=1, keepdims=True) * z / length**2) / length, z.dtype)


def test_a_row_of_zeros_has_no_direction(z, labels):
    z[3] = 0
    found = drlim.all_pairs(drlim.Contrastive(1.3), z, labels, normalize=True)
    assert np.isfinite(found.value) and np.isfinite(found.grad).all() and (found.grad[3] == 0).all()


def find_triplets(z, labels, mining):
    d = np.sqrt(((z[:, None].astype(np.float64) - z[None]) ** 2).sum(axis=2))
    found = []
    for a in range(len(z)):
        positives = [p for p in range(len(z)) if p != a and labels[p] == labels[a]]
        negatives = [n for n in range(len(z)) if labels[n] != labels[a]]
        if not positives or not negatives:
            continue
        if mining == "all":
            found += [(a, p, n) for p in positives for n in negatives]
        elif mining == "hardest":
            found.append((a, max(positives, key=lambda p: d[a, p]), min(negatives, key=lambda n: d[a, n])))
        else:
            for p in positives:
                farther = [n for n in negatives if d[a, n] > d[a, p]]
                nearest = min(farther, key=lambda n: d[a, n], default=None)
                found.append((a, p, max(negatives, key=lambda n: d[a, n]) if nearest is None else nearest))
    return found


@pytest.mark.parametrize("loss", oracles.TRIPLET_LOSSES, ids=str)
@pytest.mark.parametrize("mining", ["all", "hardest", "semi-hard"])
@pytest.mark.parametrize("reduction", oracles.TRIPLET_REDUCTIONS)
def test_triplets(loss, mining, reduction, z, labels):
    z, labels = z[:14], labels[:14]
    found = drlim.triplets(loss, z, labels, mining=mining, reduction=reduction)
    value, grad, values = oracles.triplets(loss, z, find_triplets(z, labels, mining), reduction)
    assert found.pairs == len(values)
    close(found.value, value, z.dtype)
    close(found.grad, grad, z.dtype, 10)


@pytest.mark.parametrize("loss", oracles.TRIPLET_LOSSES, ids=str)
@pytest.mark.parametrize("reduction", oracles.TRIPLET_REDUCTIONS)
def test_triplet_rows(loss, reduction, z, rng, tier):
    anchor, positive, negative = z[:9], z[9:18], z[18:27]
    weights = rng.random(9)
    found = drlim.triplet_rows(
        loss, anchor, positive, negative, weights=weights, reduction=reduction, distances=True, values=True, slopes=True
    )
    indices = np.arange(27).reshape(3, 9).T
    value, grad, values = oracles.triplets(loss, z[:27], indices, reduction, weights)
    close(found.value, value, z.dtype)
    close(np.concatenate([found.grad_anchor, found.grad_positive, found.grad_negative]), grad, z.dtype, 10)
    close(found.values, values, z.dtype)
    for distances, (x, y) in zip(found.distances, [(anchor, positive), (anchor, negative), (positive, negative)]):
        close(distances, np.linalg.norm(x.astype(np.float64) - y, axis=1), z.dtype)
    ap, an, _ = (slopes[:, None] for slopes in found.slopes)
    close(ap * (anchor - positive) + an * (anchor - negative), found.grad_anchor, z.dtype)


def test_nothing_costs_nothing(dtype):
    empty = np.empty((0, 3), dtype)
    assert drlim.all_pairs(drlim.Contrastive(1.0), empty, []).value == 0
    assert drlim.indexed(drlim.Contrastive(1.0), empty, [], []).value == 0
    assert drlim.cross(drlim.Contrastive(1.0), empty, empty, [], []).value == 0
    assert drlim.triplets(drlim.TripletMargin(1.0), empty, []).value == 0
