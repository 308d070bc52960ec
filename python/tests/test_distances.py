"""Distances, neighbours and hard pairs are those of plain NumPy."""

import numpy as np
import pytest

import drlim
from oracles import close

DISTANCES = {
    "euclidean": lambda a, b: np.linalg.norm(a - b, axis=1),
    "squared": lambda a, b: ((a - b) ** 2).sum(axis=1),
    "dot": lambda a, b: (a * b).sum(axis=1),
    "cosine": lambda a, b: 1 - (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1),
}


@pytest.fixture
def both(rng, dtype):
    return rng.normal(size=(2, 23, 7)).astype(dtype)


@pytest.mark.parametrize("name", DISTANCES)
def test_row_distances_and_their_gradients(name, both, rng, tier):
    a, b = both
    exact = DISTANCES[name]
    wide = both.astype(np.float64)
    close(drlim.row_distances(a, b, name), exact(*wide), a.dtype)
    upstream = rng.normal(size=len(a)).astype(a.dtype)
    grads = drlim.row_distances_backward(a, b, upstream, name)
    step = 1e-6
    for side, grad in enumerate(grads):
        for col in range(a.shape[1]):
            moved = [wide.copy(), wide.copy()]
            moved[0][side, :, col] += step
            moved[1][side, :, col] -= step
            slope = (exact(*moved[0]) - exact(*moved[1])) / (2 * step)
            close(grad[:, col], upstream * slope, a.dtype)


def test_matrix(both, tier):
    a, b = both[0], both[1, :9]
    exact = np.linalg.norm(a[:, None].astype(np.float64) - b[None], axis=2)
    close(drlim.distance_matrix(a, b), exact, a.dtype, 10)
    of_itself = drlim.distance_matrix(a)
    assert (np.diag(of_itself) == 0).all() and np.array_equal(of_itself, of_itself.T)


def test_neighbours(both, tier):
    a, b = both
    exact = np.linalg.norm(a[:, None].astype(np.float64) - b[None], axis=2)
    indices, distances = drlim.nearest(a, b, 4)
    assert np.array_equal(indices, np.argsort(exact, axis=1)[:, :4])
    close(distances, np.sort(exact, axis=1)[:, :4], a.dtype)
    among = np.linalg.norm(a[:, None].astype(np.float64) - a[None], axis=2)
    np.fill_diagonal(among, np.inf)
    indices, _ = drlim.nearest_others(a, 3)
    assert np.array_equal(indices, np.argsort(among, axis=1)[:, :3])
    graph = drlim.Graph.nearest(a, 3)
    pairs = {tuple(sorted((i, j))) for i, row in enumerate(indices) for j in row}
    assert {tuple(pair) for pair in graph.pairs().tolist()} == pairs


def test_hardest(both):
    z, labels = both[0], np.array([0] * 4 + [1] * 18 + [2])
    exact = np.linalg.norm(z[:, None].astype(np.float64) - z[None], axis=2)
    (similar, of_similar), (dissimilar, _) = drlim.hardest(z, labels, 4)
    for i in range(len(z)):
        alike = [j for j in np.argsort(-exact[i], kind="stable") if labels[j] == labels[i] and j != i][:4]
        others = [j for j in np.argsort(exact[i], kind="stable") if labels[j] != labels[i]][:4]
        assert similar[i].tolist() == alike + [-1] * (4 - len(alike))
        assert dissimilar[i].tolist() == others
        assert np.isnan(of_similar[i]).sum() == 4 - len(alike)


def test_hard_pairs():
    distances = np.array([1.0, 0.2, 5.0, 1.0, 1.2])
    similar = [True, False, False, True, True]
    assert drlim.hard_pairs(distances, similar).tolist() == [0, 1, 3, 4]
    assert drlim.hard_pairs(distances, similar, [True, False, False, False, False]).tolist() == [1, 3, 4]
