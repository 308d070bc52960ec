"""Distances without a loss, nearest neighbours, and hard pairs."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _drlim
from ._arrays import Array, as_array, choice, flags, label, matrix, neighbours, weights
from ._drlim import Graph
from ._pairs import similar_rows

Distance = Literal["euclidean", "squared", "dot", "cosine"]

DISTANCES = ("euclidean", "squared", "dot", "cosine")

Found = tuple[NDArray[np.int64], Array]
"""Indices and distances, a row for each query, best first; -1 and NaN where there are fewer."""


def pair_of_matrices(a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    a = matrix("a", a)
    b = matrix("b", b, a.dtype)
    if b.shape != a.shape:
        raise ValueError(f"b has shape {b.shape}, expected {a.shape} as a")
    return a, b


def row_distances(a: ArrayLike, b: ArrayLike, distance: Distance = "euclidean") -> Array:
    """The distance of row i of `a` to row i of `b`, both N x D, for each of the N rows.

    "euclidean" |a - b|, "squared" |a - b|², "dot" the sum of products, "cosine" 1 - cos of the angle.
    """
    a, b = pair_of_matrices(a, b)
    out = np.empty(len(a), a.dtype)
    _drlim.row_distances(choice("distance", distance, DISTANCES), a, b, out)
    return out


def row_distances_backward(
    a: ArrayLike, b: ArrayLike, upstream: ArrayLike, distance: Distance = "euclidean"
) -> tuple[Array, Array]:
    """The gradients of `row_distances` by `a` and `b`: row i times `upstream` i, 0 where there is no derivative."""
    a, b = pair_of_matrices(a, b)
    factors = weights("upstream", upstream, len(a), a.dtype)
    if factors is None:
        raise TypeError("upstream is None, expected an array")
    grads = np.empty(a.shape, a.dtype), np.empty(a.shape, a.dtype)
    _drlim.row_distances_backward(choice("distance", distance, DISTANCES), (a, b), factors, grads)
    return grads


def distance_matrix(a: ArrayLike, b: ArrayLike | None = None) -> Array:
    """The Euclidean distances of every row of `a`, N x D, from every row of `b`, M x D, or of `a` itself: N x M."""
    a = matrix("a", a)
    b = a if b is None else matrix("b", b, a.dtype)
    if b.shape[1] != a.shape[1]:
        raise ValueError(f"b has {b.shape[1]} columns, expected {a.shape[1]} as a")
    out = np.empty((len(a), len(b)), a.dtype)
    _drlim.distance_matrix(a, b, out)
    return out


def nearest(queries: ArrayLike, references: ArrayLike, k: int) -> Found:
    """The `k` nearest rows of `references`, M x D, for each row of `queries`, N x D: indices and distances, N x k.

    The result is exact; of equally distant rows, that of the lowest index comes first. Refused: `k` that is 0 or
    above M.
    """
    queries = matrix("queries", queries)
    references = matrix("references", references, queries.dtype)
    if references.shape[1] != queries.shape[1]:
        raise ValueError(f"references has {references.shape[1]} columns, expected {queries.shape[1]} as queries")
    return _drlim.nearest(queries, references, neighbours("k", k))


def nearest_others(z: ArrayLike, k: int) -> Found:
    """The `k` nearest of the other rows for each row of `z`, N x D: indices and distances, N x k."""
    return _drlim.nearest_others(matrix("z", z), neighbours("k", k))


def hardest(
    z: ArrayLike,
    labels: ArrayLike | None = None,
    k: int = 1,
    *,
    graph: Graph | None = None,
    ignore_label: int | None = None,
) -> tuple[Found, Found]:
    """For each row of `z` the `k` similar rows that are farthest, and the `k` dissimilar ones that are nearest."""
    z = matrix("z", z)
    of_rows, ignored = similar_rows(labels, graph, len(z)), label("ignore_label", ignore_label)
    return _drlim.hardest(z, of_rows, ignored, graph, neighbours("k", k))


def hard_pairs(distances: ArrayLike, similar: ArrayLike, ignored: ArrayLike | None = None) -> NDArray[np.uint32]:
    """The places of the hard pairs among n pairs with these distances, ascending: similar ones farther apart than the
    nearest dissimilar pair, dissimilar ones closer than the farthest similar pair; none where a kind is missing.
    """
    array = as_array("distances", distances)
    if array.dtype.type not in (np.float32, np.float64):
        raise TypeError(f"distances is of {array.dtype}, expected float32 or float64")
    if array.ndim != 1:
        raise ValueError(f"distances has {array.ndim} dimensions, expected 1")
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    of_ignored = None if ignored is None else flags("ignored", ignored, len(array))
    return _drlim.hard_pairs(array, flags("similar", similar, len(array)), of_ignored)
