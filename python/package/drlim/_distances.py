"""Distances without a loss, nearest neighbours, and hard pairs."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from . import _drlim
from ._arrays import (
    F32,
    F64,
    Array,
    ArrayLike,
    as_array,
    choice,
    embeddings,
    flags,
    in_full,
    in_line,
    label,
    matrix,
    neighbours,
    weights,
)
from ._drlim import Graph
from ._gradients import in_type_of
from ._similar import similar_rows

Distance = Literal["euclidean", "squared", "dot", "cosine"]

DISTANCES = ("euclidean", "squared", "dot", "cosine")

Found = tuple[NDArray[np.int64], Array]
"""Indices and distances, a row for each query, best first; -1 and NaN where there are fewer."""


def pair_of_matrices(a: ArrayLike, b: ArrayLike) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Matrices of one shape, as calls compute on them and as they were given."""
    a, given_a = embeddings("a", a)
    b, given_b = embeddings("b", b, a.dtype)
    if b.shape != a.shape:
        raise ValueError(f"b has shape {b.shape}, expected {a.shape} as a")
    return (a, b), (given_a, given_b)


def row_distances(a: ArrayLike, b: ArrayLike, distance: Distance = "euclidean") -> Array:
    """The distance of row i of `a` to row i of `b`, both N x D, for each of the N rows.

    "euclidean" |a - b|, "squared" |a - b|², "dot" the sum of products, "cosine" 1 - cos of the angle.

    >>> a, b = np.float32([[0, 0], [1, 0]]), np.float32([[3, 4], [1, 1]])
    >>> drlim.row_distances(a, b).tolist(), drlim.row_distances(a, b, "squared").tolist()
    ([5.0, 1.0], [25.0, 1.0])
    """
    (a, b), _ = pair_of_matrices(a, b)
    out = np.empty(len(a), a.dtype)
    _drlim.row_distances(choice("distance", distance, DISTANCES), a, b, out)
    return out


def row_distances_backward(
    a: ArrayLike, b: ArrayLike, upstream: ArrayLike, distance: Distance = "euclidean"
) -> tuple[Array, Array]:
    """The gradients of `row_distances` by `a` and `b`, N x D: row i times `upstream` i, 0 where there is no derivative.

    >>> grad_a, grad_b = drlim.row_distances_backward(np.float32([[0, 0]]), np.float32([[3, 4]]), upstream=[5.0])
    >>> grad_a.tolist(), grad_b.tolist()
    ([[-3.0, -4.0]], [[3.0, 4.0]])
    """
    (a, b), given = pair_of_matrices(a, b)
    factors = weights("upstream", upstream, len(a), a.dtype)
    if factors is None:
        raise TypeError("upstream is None, expected an array")
    grads = np.empty(a.shape, a.dtype), np.empty(a.shape, a.dtype)
    _drlim.row_distances_backward(choice("distance", distance, DISTANCES), (a, b), factors, grads)
    return in_type_of(given[0], grads[0]), in_type_of(given[1], grads[1])


def distance_matrix(a: ArrayLike, b: ArrayLike | None = None) -> Array:
    """The Euclidean distances of every row of `a`, N x D, from every row of `b`, M x D, or of `a` itself: N x M.

    >>> drlim.distance_matrix(np.float32([[0, 0], [3, 4]]), np.float32([[0, 0], [0, 1]])).round(3).tolist()
    [[0.0, 1.0], [5.0, 4.243000030517578]]
    """
    a = matrix("a", a)
    b = a if b is None else matrix("b", b, a.dtype)
    if b.shape[1] != a.shape[1]:
        raise ValueError(f"b has {b.shape[1]} columns, expected {a.shape[1]} as a")
    out = np.empty((len(a), len(b)), a.dtype)
    _drlim.distance_matrix(a, b, out)
    return out


def nearest(queries: ArrayLike, references: ArrayLike, k: int) -> Found:
    """The `k` nearest rows of `references`, M x D, for each row of `queries`, N x D: indices and distances, N x k.

    The result is exact; of equally distant rows, that of the lowest index comes first. ValueError: `k` that is 0 or
    above M.

    >>> indices, distances = drlim.nearest(np.float32([[0, 0]]), np.float32([[3, 4], [0, 1], [6, 8]]), k=2)
    >>> indices.tolist(), distances.tolist()
    ([[1, 0]], [[1.0, 5.0]])
    """
    queries = matrix("queries", queries)
    references = matrix("references", references, queries.dtype)
    if references.shape[1] != queries.shape[1]:
        raise ValueError(f"references has {references.shape[1]} columns, expected {queries.shape[1]} as queries")
    return _drlim.nearest(queries, references, neighbours("k", k))


def nearest_others(z: ArrayLike, k: int) -> Found:
    """The `k` nearest of the other rows for each row of `z`, N x D: indices and distances, N x k.

    >>> indices, distances = drlim.nearest_others(np.float32([[0, 0], [3, 4], [0, 1]]), k=1)
    >>> indices.tolist()
    [[2], [2], [0]]
    """
    return _drlim.nearest_others(matrix("z", z), neighbours("k", k))


def hardest(
    z: ArrayLike,
    labels: ArrayLike | None = None,
    k: int = 1,
    *,
    graph: Graph | None = None,
    ignore_label: int | None = None,
) -> tuple[Found, Found]:
    """For each row of `z`, B x D, the `k` similar rows that are farthest, and the `k` dissimilar ones that are nearest.

    Both are indices and distances, B x k; -1 and NaN where there are fewer. Who is similar is said as for `all_pairs`.

    >>> (similar, _), (dissimilar, _) = drlim.hardest(np.float32([[0, 0], [3, 4], [0, 1]]), labels=[7, 7, 3])
    >>> similar.tolist(), dissimilar.tolist()
    ([[1], [0], [-1]], [[2], [2], [0]])
    """
    z = matrix("z", z)
    of_rows, ignored = similar_rows(labels, graph, len(z)), label("ignore_label", ignore_label)
    return _drlim.hardest(z, of_rows, ignored, graph, neighbours("k", k))


def hard_pairs(distances: ArrayLike, similar: ArrayLike, ignored: ArrayLike | None = None) -> NDArray[np.uint32]:
    """The places of the hard pairs among n pairs with these distances, ascending: similar ones farther apart than the
    nearest dissimilar pair, dissimilar ones closer than the farthest similar pair; none where a kind is missing. This
    is the rule of OnlineContrastiveLoss in sentence-transformers.

    >>> drlim.hard_pairs(np.float32([0.5, 2.0, 1.0, 3.0]), similar=[True, True, False, False]).tolist()
    [1, 2]
    """
    array = in_full("distances", as_array("distances", distances))
    if array.ndim != 1:
        raise ValueError(f"distances has {array.ndim} dimensions, expected 1")
    array = in_line(array, F32 if array.itemsize == 4 else F64)
    of_ignored = None if ignored is None else flags("ignored", ignored, len(array))
    return _drlim.hard_pairs(array, flags("similar", similar, len(array)), of_ignored)
